//! `FIDEDUPERANGE` and `FICLONERANGE`.

use std::mem::{offset_of, size_of};
use std::os::fd::{AsRawFd, BorrowedFd};

use linux_raw_sys::general::{file_clone_range, file_dedupe_range, file_dedupe_range_info};
use rustix::io::{Errno, Result};
use rustix::ioctl::{self, Opcode, Setter, opcode};

use super::{call_in_buffer, u32_at, u64_at};

pub(super) const DEDUPE: Opcode = opcode::read_write::<file_dedupe_range>(0x94, 54);

pub(super) const CLONE: Opcode = opcode::write::<file_clone_range>(0x94, 13);

const HEADER: usize = size_of::<file_dedupe_range>();
const ENTRY: usize = size_of::<file_dedupe_range_info>();

const _: () = {
    assert!(HEADER == 24);
    assert!(ENTRY == 32);
    assert!(offset_of!(file_dedupe_range_info, bytes_deduped) == 16);
    assert!(offset_of!(file_dedupe_range_info, status) == 24);
};

/// Destinations of one call: the kernel takes a page of arguments.
pub(in super::super) const MAX_DESTINATIONS: usize = (4096 - HEADER) / ENTRY;

/// Compares a range with each destination and shares it where they are equal. For each the bytes
/// that were shared, and its status: 0 for equal, 1 for different, or a negative error number.
pub(in super::super) fn dedupe(
    fd: BorrowedFd<'_>,
    offset: u64,
    len: u64,
    destinations: &[(BorrowedFd<'_>, u64)],
) -> Result<Vec<(u64, i32)>> {
    let count = u16::try_from(destinations.len()).map_err(|_| Errno::INVAL)?;
    let mut buffer = Vec::with_capacity(HEADER.saturating_add(ENTRY.saturating_mul(count.into())));
    buffer.extend(offset.to_ne_bytes());
    buffer.extend(len.to_ne_bytes());
    buffer.extend(count.to_ne_bytes());
    buffer.resize(HEADER, 0);
    for (destination, offset) in destinations {
        buffer.extend(i64::from(destination.as_raw_fd()).to_ne_bytes());
        buffer.extend(offset.to_ne_bytes());
        buffer.extend([0; 16]); // bytes_deduped, status, reserved
    }
    // SAFETY: the buffer begins with the structure, which names as many entries as follow it.
    unsafe { call_in_buffer::<DEDUPE>(fd, &mut buffer) }?;
    let entries = buffer.get(HEADER..).unwrap_or_default();
    let results = entries.chunks_exact(ENTRY).map(|entry| {
        let status = u32_at(entry, 24).cast_signed();
        (u64_at(entry, 16), status)
    });
    Ok(results.collect())
}

/// Shows a range of a file in another.
pub(in super::super) fn clone_range(
    from: BorrowedFd<'_>,
    offset: u64,
    len: u64,
    to: BorrowedFd<'_>,
    to_offset: u64,
) -> Result<()> {
    let argument = file_clone_range {
        src_fd: from.as_raw_fd().into(),
        src_offset: offset,
        src_length: len,
        dest_offset: to_offset,
    };
    // SAFETY: the opcode takes this structure and changes nothing of it; the descriptor in it is
    // open for as long as it is borrowed.
    unsafe { ioctl::ioctl(to, Setter::<CLONE, _>::new(argument)) }
}
