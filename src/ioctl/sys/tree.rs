//! `BTRFS_IOC_TREE_SEARCH_V2`: items of a tree.

use std::mem::size_of;
use std::os::fd::BorrowedFd;

use linux_raw_sys::btrfs::{btrfs_ioctl_search_args_v2, btrfs_ioctl_search_key};
use rustix::io::Result;
use rustix::ioctl::{Opcode, opcode};

use super::{MAGIC, call_in_buffer, u32_at, u64_at};

pub(super) const SEARCH: Opcode = opcode::read_write::<btrfs_ioctl_search_args_v2>(MAGIC, 17);

/// Where results begin in the buffer, bytes.
pub(in super::super) const RESULTS_AT: usize = size_of::<btrfs_ioctl_search_args_v2>();

const _: () = assert!(RESULTS_AT == 112);

/// Bytes in front of each item: `struct btrfs_ioctl_search_header`.
pub(in super::super) const HEADER: usize = 32;

/// A key of a tree: where an item stands. Trees are sorted by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// What the item is about: an inode, a subvolume, an address.
    pub objectid: u64,
    /// Its kind, such as [`Key::EXTENT_DATA`].
    pub item_type: u8,
    /// The last part; for an extent of a file, the offset in the file.
    pub offset: u64,
}

/// What to search for.
#[derive(Debug, Clone, Copy)]
pub(in super::super) struct Wanted {
    pub(in super::super) tree: u64,
    pub(in super::super) first: Key,
    pub(in super::super) last: Key,
    /// Leaves that no transaction since this one has written are left out.
    pub(in super::super) min_transid: u64,
    pub(in super::super) max_items: u32,
}

/// Searches once. The buffer has room for results from [`RESULTS_AT`] on.
///
/// Gives the number of items. EOVERFLOW where the first does not fit the buffer.
pub(in super::super) fn search(
    fd: BorrowedFd<'_>,
    wanted: &Wanted,
    buffer: &mut [u8],
) -> Result<u32> {
    let Some(room) = buffer.len().checked_sub(RESULTS_AT) else {
        return Err(rustix::io::Errno::OVERFLOW);
    };
    let arguments = btrfs_ioctl_search_args_v2 {
        key: btrfs_ioctl_search_key {
            tree_id: wanted.tree,
            min_objectid: wanted.first.objectid,
            max_objectid: wanted.last.objectid,
            min_offset: wanted.first.offset,
            max_offset: wanted.last.offset,
            min_transid: wanted.min_transid,
            max_transid: u64::MAX,
            min_type: wanted.first.item_type.into(),
            max_type: wanted.last.item_type.into(),
            nr_items: wanted.max_items,
            unused: 0,
            unused1: 0,
            unused2: 0,
            unused3: 0,
            unused4: 0,
        },
        buf_size: u64::try_from(room).unwrap_or(0),
        buf: Default::default(),
    };
    // SAFETY: the buffer has at least RESULTS_AT bytes, which is the size of the structure.
    unsafe {
        buffer
            .as_mut_ptr()
            .cast::<btrfs_ioctl_search_args_v2>()
            .write_unaligned(arguments);
    }
    // SAFETY: the structure is at the start of the buffer, and `buf_size` is what is after it.
    unsafe { call_in_buffer::<SEARCH>(fd, buffer) }?;
    // `nr_items`, 64 bytes into the key.
    Ok(u32_at(buffer, 64))
}

/// `struct btrfs_ioctl_search_header`: transid, objectid, offset (8 bytes each), type and length
/// of the item that follows (4 each).
pub(in super::super) struct Header {
    pub(in super::super) transid: u64,
    pub(in super::super) key: Key,
    pub(in super::super) len: usize,
}

/// The header at this place of the buffer; `None` where it is not whole, or cannot be.
pub(in super::super) fn header(buffer: &[u8], at: usize) -> Option<Header> {
    let header = buffer.get(at..)?.first_chunk::<HEADER>()?;
    Some(Header {
        transid: u64_at(header, 0),
        key: Key {
            objectid: u64_at(header, 8),
            item_type: u8::try_from(u32_at(header, 24)).ok()?,
            offset: u64_at(header, 16),
        },
        len: usize::try_from(u32_at(header, 28)).ok()?,
    })
}
