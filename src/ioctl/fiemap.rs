//! The extents of a file as any user may see them.

use std::os::fd::AsFd;

use super::{QueryError, sys};

/// An extent as FIEMAP has it: the part that the file shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct FiemapExtent {
    /// Where in the file, bytes.
    pub offset: u64,
    /// Bytes of the file.
    pub len: u64,
    /// Where on disk, bytes: of a compressed extent its first byte, of another the first byte that
    /// the file shows; 0 where it is inline.
    pub physical: u64,
    /// Compressed (`FIEMAP_EXTENT_ENCODED`); with what, FIEMAP does not say.
    pub compressed: bool,
    /// In the metadata (`FIEMAP_EXTENT_DATA_INLINE`).
    pub inline: bool,
    /// Preallocated, reads as zeroes (`FIEMAP_EXTENT_UNWRITTEN`).
    pub preallocated: bool,
    /// Another file refers to it too (`FIEMAP_EXTENT_SHARED`).
    pub shared: bool,
}

/// `FIEMAP_EXTENT_*` (include/uapi/linux/fiemap.h).
const LAST: u32 = 0x1;
const ENCODED: u32 = 0x8;
const INLINE: u32 = 0x200;
const UNWRITTEN: u32 = 0x800;
const SHARED: u32 = 0x2000;

/// `ioctl(fd, FS_IOC_FIEMAP)`: gives each extent of a file to `each`, in the file's order. Needs
/// no privilege. Data that is not written yet is written first.
///
/// # Errors
/// [`QueryError`].
#[doc(alias = "FS_IOC_FIEMAP")]
pub fn fiemap(fd: impl AsFd, mut each: impl FnMut(FiemapExtent)) -> Result<(), QueryError> {
    const CALL: &str = "FS_IOC_FIEMAP";
    let fd = fd.as_fd();
    let mut from = 0;
    loop {
        let entries = sys::fiemap::fiemap(fd, from, from == 0)
            .map_err(|errno| QueryError::new(CALL, fd, errno))?;
        let Some(last) = entries.last().copied() else {
            return Ok(());
        };
        for entry in entries {
            let is = |flag: u32| entry.flags & flag != 0;
            each(FiemapExtent {
                offset: entry.offset,
                len: entry.len,
                physical: entry.physical,
                compressed: is(ENCODED),
                inline: is(INLINE),
                preallocated: is(UNWRITTEN),
                shared: is(SHARED),
            });
        }
        let next = last.offset.saturating_add(last.len);
        if last.flags & LAST != 0 {
            return Ok(());
        }
        // It would never end otherwise.
        if next <= from {
            return Err(QueryError::Contradiction { call: CALL });
        }
        from = next;
    }
}
