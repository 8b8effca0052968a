//! Who refers to an extent, and what those files are called.

use std::os::fd::AsFd;

use rustix::io::Errno;

use super::{QueryError, sys};

/// Bytes of the first container: some 2700 references.
const FIRST_ROOM: usize = 64 * 1024;
/// The largest container that the kernel fills, bytes (`btrfs_ioctl_logical_to_ino`,
/// fs/btrfs/ioctl.c).
const MAX_ROOM: usize = 16 * 1024 * 1024;
/// The same of `btrfs_ioctl_ino_to_path`, which takes what one page holds.
const PATHS_ROOM: usize = 4096;

/// A file that refers to an extent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InodeReference {
    /// The subvolume.
    pub root: u64,
    /// The inode in it.
    pub inode: u64,
    /// Where in the file the part of the extent is shown, bytes: the offset of its file extent
    /// item. How much is shown, and from where in the extent, is in that item.
    pub offset: u64,
}

/// What [`inodes_of`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct InodeReferences {
    /// The references, sorted.
    pub references: Vec<InodeReference>,
    /// There are so many that the kernel's 16 MiB do not hold them: some are missing.
    pub truncated: bool,
}

/// `ioctl(fd, BTRFS_IOC_LOGICAL_INO_V2)` with `IGNORE_OFFSET`: every file of the filesystem, in
/// every subvolume, that refers to a part of the extent that begins at this address (its
/// `disk_bytenr`). Needs `CAP_SYS_ADMIN`.
///
/// What is deleted and not cleaned up yet is not in it; an extent that nobody refers to any more
/// gives none.
///
/// # Errors
/// [`QueryError`].
#[doc(alias = "BTRFS_IOC_LOGICAL_INO_V2")]
pub fn inodes_of(fd: impl AsFd, bytenr: u64) -> Result<InodeReferences, QueryError> {
    let fd = fd.as_fd();
    let mut room = FIRST_ROOM;
    loop {
        let container = match sys::names::logical_ino(fd, bytenr, room) {
            Ok(container) => container,
            Err(Errno::NOENT) => {
                return Ok(InodeReferences {
                    references: Vec::new(),
                    truncated: false,
                });
            }
            Err(errno) => return Err(QueryError::new("BTRFS_IOC_LOGICAL_INO_V2", fd, errno)),
        };
        if container.missing > 0 && room < MAX_ROOM {
            let missing = usize::try_from(container.missing).unwrap_or(MAX_ROOM);
            // More may have come meanwhile.
            room = room.saturating_add(missing).saturating_mul(2).min(MAX_ROOM);
            continue;
        }
        let numbers: Vec<u64> = container.numbers().collect();
        let (triples, _) = numbers.as_chunks::<3>();
        let mut references: Vec<_> = triples
            .iter()
            .map(|&[inode, offset, root]| InodeReference {
                root,
                inode,
                offset,
            })
            .collect();
        references.sort_unstable();
        references.dedup();
        return Ok(InodeReferences {
            references,
            truncated: container.missing > 0,
        });
    }
}

/// `ioctl(fd, BTRFS_IOC_INO_PATHS)`: the paths of an inode from the top of the descriptor's
/// subvolume, as bytes, in the order of its names; several for hard links, none for a file that
/// has no name any more. What does not fit 4 KiB is left out. The names are those of the last
/// transaction: call `syncfs` first for what has just been renamed. Needs `CAP_DAC_READ_SEARCH`.
///
/// # Errors
/// [`QueryError`].
#[doc(alias = "BTRFS_IOC_INO_PATHS")]
pub fn paths_of(fd: impl AsFd, inode: u64) -> Result<Vec<Vec<u8>>, QueryError> {
    let fd = fd.as_fd();
    match sys::names::ino_paths(fd, inode, PATHS_ROOM) {
        Ok(container) => Ok(container.strings().map(<[u8]>::to_vec).collect()),
        Err(Errno::NOENT) => Ok(Vec::new()),
        Err(errno) => Err(QueryError::new("BTRFS_IOC_INO_PATHS", fd, errno)),
    }
}
