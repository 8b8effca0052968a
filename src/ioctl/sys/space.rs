//! What a filesystem is, and how much of it is used.

use std::mem::{offset_of, size_of};
use std::os::fd::BorrowedFd;

use linux_raw_sys::btrfs::{
    btrfs_ioctl_fs_info_args, btrfs_ioctl_space_args, btrfs_ioctl_space_info,
};
use rustix::io::Result;
use rustix::ioctl::{self, Getter, Opcode, Setter, opcode};

use super::{MAGIC, call_in_buffer, u64_at};

pub(super) const FS_INFO: Opcode = opcode::read::<btrfs_ioctl_fs_info_args>(MAGIC, 31);
pub(super) const SPACE_INFO: Opcode = opcode::read_write::<btrfs_ioctl_space_args>(MAGIC, 20);

const _: () = {
    assert!(size_of::<btrfs_ioctl_fs_info_args>() == 1024);
    assert!(offset_of!(btrfs_ioctl_fs_info_args, nodesize) == 32);
    assert!(offset_of!(btrfs_ioctl_fs_info_args, sectorsize) == 36);
    assert!(size_of::<btrfs_ioctl_space_args>() == HEADER);
    assert!(size_of::<btrfs_ioctl_space_info>() == ENTRY);
};

/// `BTRFS_IOC_START_SYNC` and `BTRFS_IOC_WAIT_SYNC` (include/uapi/linux/btrfs.h).
pub(super) const START_SYNC: Opcode = opcode::read::<u64>(MAGIC, 24);
pub(super) const WAIT_SYNC: Opcode = opcode::write::<u64>(MAGIC, 22);

const HEADER: usize = 16;
const ENTRY: usize = 24;
/// Entries that are asked for. There is one per kind and profile: 3 kinds, 9 profiles, and the
/// reserve; a filesystem in the middle of a conversion has two profiles per kind.
const SLOTS: usize = 32;

/// `BTRFS_IOC_FS_INFO`: the sizes of the filesystem. Needs no privilege; ENOTTY where there is
/// no btrfs.
pub(in super::super) fn fs_info(fd: BorrowedFd<'_>) -> Result<btrfs_ioctl_fs_info_args> {
    // SAFETY: the opcode is computed from the structure, whose size and used offsets are checked
    // above; the kernel fills in all 1024 bytes, and every bit pattern is valid.
    unsafe { ioctl::ioctl(fd, Getter::<FS_INFO, _>::new()) }
}

/// `BTRFS_IOC_SPACE_INFO`: flags and used bytes of each kind of block group. Needs no privilege.
pub(in super::super) fn space_info(fd: BorrowedFd<'_>) -> Result<Vec<(u64, u64)>> {
    let mut buffer = [0; HEADER + SLOTS * ENTRY];
    let slots = u64::try_from(SLOTS).unwrap_or(0);
    let (header, entries) = buffer.split_at_mut(HEADER);
    header
        .iter_mut()
        .zip(slots.to_ne_bytes())
        .for_each(|(to, from)| *to = from);
    debug_assert_eq!(entries.len(), SLOTS * ENTRY);
    // SAFETY: the buffer begins with the structure, whose first field says how many entries have
    // room after it.
    unsafe { call_in_buffer::<SPACE_INFO>(fd, &mut buffer) }?;
    let filled = usize::try_from(u64_at(&buffer, 8)).unwrap_or(SLOTS);
    let entries = buffer.get(HEADER..).unwrap_or_default();
    let entries = entries.chunks_exact(ENTRY).take(filled);
    Ok(entries
        .map(|entry| (u64_at(entry, 0), u64_at(entry, 16)))
        .collect())
}

/// `BTRFS_IOC_START_SYNC`: begins to commit; the number of that transaction. Needs no privilege.
pub(in super::super) fn start_sync(fd: BorrowedFd<'_>) -> Result<u64> {
    // SAFETY: the opcode is that of an ioctl which writes a u64.
    unsafe { ioctl::ioctl(fd, Getter::<START_SYNC, u64>::new()) }
}

/// `BTRFS_IOC_WAIT_SYNC`: waits until that transaction is committed. Needs no privilege.
pub(in super::super) fn wait_sync(fd: BorrowedFd<'_>, transaction: u64) -> Result<()> {
    // SAFETY: the opcode is that of an ioctl which reads a u64.
    unsafe { ioctl::ioctl(fd, Setter::<WAIT_SYNC, u64>::new(transaction)) }
}
