//! `FS_IOC_FIEMAP`.
//!
//! `struct fiemap` (include/uapi/linux/fiemap.h, in no crate used here), then the extents:
//!
//! | offset | bytes | field |
//! | --- | --- | --- |
//! | 0 | 8 | first byte of the file that is asked for |
//! | 8 | 8 | so many bytes of it |
//! | 16 | 4 | flags |
//! | 20 | 4 | extents that were found |
//! | 24 | 4 | extents that have room |
//! | 28 | 4 | 0 |
//!
//! | offset | bytes | field of `struct fiemap_extent` |
//! | --- | --- | --- |
//! | 0 | 8 | offset in the file |
//! | 8 | 8 | address of its first byte on disk |
//! | 16 | 8 | length, bytes |
//! | 24 | 16 | 0 |
//! | 40 | 4 | flags |
//! | 44 | 12 | 0 |

use std::os::fd::BorrowedFd;

use rustix::io::Result;
use rustix::ioctl::{Opcode, opcode};

use super::{call_in_buffer, u32_at, u64_at};

/// `struct fiemap` without its array.
#[repr(C)]
struct Header([u64; 4]);

pub(super) const FIEMAP: Opcode = opcode::read_write::<Header>(b'f', 11);

const HEADER: usize = size_of::<Header>();
const ENTRY: usize = 56;
/// Extents per call.
const SLOTS: u32 = 512;
/// `FIEMAP_FLAG_SYNC`: data that is not written yet is written first.
const SYNC: u32 = 1;

/// An extent as the kernel describes it.
#[derive(Debug, Clone, Copy)]
pub(in super::super) struct Entry {
    pub(in super::super) offset: u64,
    pub(in super::super) physical: u64,
    pub(in super::super) len: u64,
    pub(in super::super) flags: u32,
}

/// Some extents of a file from this offset on; none where there are no more.
pub(in super::super) fn fiemap(fd: BorrowedFd<'_>, offset: u64, sync: bool) -> Result<Vec<Entry>> {
    let slots = usize::try_from(SLOTS).unwrap_or(0);
    let mut buffer = Vec::with_capacity(HEADER.saturating_add(slots.saturating_mul(ENTRY)));
    buffer.extend(offset.to_ne_bytes());
    buffer.extend(u64::MAX.saturating_sub(offset).to_ne_bytes());
    buffer.extend(if sync { SYNC } else { 0 }.to_ne_bytes());
    buffer.extend(0_u32.to_ne_bytes());
    buffer.extend(SLOTS.to_ne_bytes());
    buffer.resize(HEADER.saturating_add(slots.saturating_mul(ENTRY)), 0);
    // SAFETY: the buffer begins with the structure, whose fifth field says how many extents have
    // room after it.
    unsafe { call_in_buffer::<FIEMAP>(fd, &mut buffer) }?;
    let found = usize::try_from(u32_at(&buffer, 20)).unwrap_or(0);
    let entries = buffer.get(HEADER..).unwrap_or_default();
    let entries = entries.chunks_exact(ENTRY).take(found).map(|entry| Entry {
        offset: u64_at(entry, 0),
        physical: u64_at(entry, 8),
        len: u64_at(entry, 16),
        flags: u32_at(entry, 40),
    });
    Ok(entries.collect())
}
