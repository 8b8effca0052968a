//! `BTRFS_IOC_DEFRAG_RANGE`.
//!
//! `struct btrfs_ioctl_defrag_range_args` (include/uapi/linux/btrfs.h):
//!
//! | offset | bytes | field |
//! | --- | --- | --- |
//! | 0 | 8 | first byte of the file |
//! | 8 | 8 | so many bytes of it |
//! | 16 | 8 | flags |
//! | 24 | 4 | extents of so many bytes are long enough; 0 is the kernel's own number |
//! | 28 | 4 | compression type; with a level, one byte for it, one for the level (signed), two of 0 |
//! | 32 | 16 | 0 |
//!
//! Built from bytes: the structure of linux-raw-sys has a union with bytes that nobody sets.

use std::os::fd::BorrowedFd;

use linux_raw_sys::btrfs::{
    BTRFS_DEFRAG_RANGE_COMPRESS, BTRFS_DEFRAG_RANGE_COMPRESS_LEVEL, BTRFS_DEFRAG_RANGE_START_IO,
    btrfs_ioctl_defrag_range_args,
};
use rustix::io::Result;
use rustix::ioctl::{Opcode, opcode};

use super::{MAGIC, call_in_buffer};

pub(super) const DEFRAG_RANGE: Opcode = opcode::write::<btrfs_ioctl_defrag_range_args>(MAGIC, 16);

const ARGUMENT: usize = 48;

const _: () = assert!(size_of::<btrfs_ioctl_defrag_range_args>() == ARGUMENT);

/// Writes a range of a file again, compressed with this type, and begins to write it to disk.
pub(in super::super) fn compress(
    fd: BorrowedFd<'_>,
    offset: u64,
    len: u64,
    compression: u8,
    level: Option<i8>,
) -> Result<()> {
    let mut flags = BTRFS_DEFRAG_RANGE_COMPRESS | BTRFS_DEFRAG_RANGE_START_IO;
    let compression = match level {
        Some(level) => {
            flags |= BTRFS_DEFRAG_RANGE_COMPRESS_LEVEL;
            [compression, level.cast_unsigned(), 0, 0]
        }
        None => u32::from(compression).to_ne_bytes(),
    };
    let mut buffer = Vec::with_capacity(ARGUMENT);
    buffer.extend(offset.to_ne_bytes());
    buffer.extend(len.to_ne_bytes());
    buffer.extend(u64::from(flags).to_ne_bytes());
    buffer.extend(0_u32.to_ne_bytes());
    buffer.extend(compression);
    buffer.resize(ARGUMENT, 0);
    // SAFETY: the buffer is the structure, whose size is checked above; the kernel only reads it.
    unsafe { call_in_buffer::<DEFRAG_RANGE>(fd, &mut buffer) }
}
