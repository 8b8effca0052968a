//! Opening a file by its number.
//!
//! `open_by_handle_at` rather than a path from `BTRFS_IOC_INO_PATHS`: it takes one call for a file
//! of any subvolume, also where that subvolume is not below any mount point, where its names are
//! renamed meanwhile, or too long; and the handle says of which generation the inode is, so that
//! a number that was given to another file is told. It needs `CAP_DAC_READ_SEARCH`, which whoever
//! may search trees has.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::OFlags;
use rustix::io::Errno;

use super::tree::{Key, items};
use super::{QueryError, sys};

/// Opens a file of any subvolume of the filesystem that `fd` is on, for reading. `generation` is
/// the inode's own, from its item; it is looked up where it is `None`.
///
/// Times of access stay as they are. Needs `CAP_DAC_READ_SEARCH`, and `CAP_SYS_ADMIN` for looking
/// up the generation.
///
/// # Errors
/// [`QueryError::Gone`] where there is no such inode any more; others.
#[doc(alias = "open_by_handle_at")]
pub fn open_inode(
    fd: impl AsFd,
    root: u64,
    inode: u64,
    generation: Option<u64>,
) -> Result<OwnedFd, QueryError> {
    const CALL: &str = "open_by_handle_at";
    let fd = fd.as_fd();
    let generation = match generation {
        Some(generation) => generation,
        None => inode_generation(fd, root, inode)?.ok_or(QueryError::Gone { call: CALL })?,
    };
    // The handle has the low half.
    let low = u32::try_from(generation & u64::from(u32::MAX)).unwrap_or(0);
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOATIME;
    rustix::io::retry_on_intr(|| sys::handle::open_by_handle(fd, root, inode, low, flags)).map_err(
        |errno| match errno {
            Errno::STALE | Errno::NOENT => QueryError::Gone { call: CALL },
            errno => QueryError::new(CALL, fd, errno),
        },
    )
}

/// The generation in which an inode was made, from its item.
fn inode_generation(fd: impl AsFd, root: u64, inode: u64) -> Result<Option<u64>, QueryError> {
    let key = Key {
        objectid: inode,
        item_type: Key::INODE_ITEM,
        offset: 0,
    };
    let mut items = items(fd, root, key..=key).buffer_of(4096);
    let item = items.next_item()?;
    let generation = item.and_then(|item| item.bytes.first_chunk().copied());
    Ok(generation.map(u64::from_le_bytes))
}

/// Whether anybody has the file of this descriptor, which is open for reading only, open for
/// writing: asked by a lease that is given back at once (`fcntl`, `F_SETLEASE`). Needs to own the
/// file, or `CAP_LEASE`.
///
/// # Errors
/// [`QueryError`].
#[doc(alias = "F_SETLEASE")]
pub fn is_open_for_writing(fd: impl AsFd) -> Result<bool, QueryError> {
    let fd = fd.as_fd();
    match sys::lease::try_read_lease(fd) {
        Ok(()) => Ok(false),
        Err(Errno::AGAIN) => Ok(true),
        Err(errno) => Err(QueryError::new("F_SETLEASE", fd, errno)),
    }
}
