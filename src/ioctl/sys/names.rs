//! Who refers to an extent, what an inode is called, what a subvolume is.

use std::mem::{offset_of, size_of};
use std::os::fd::BorrowedFd;

use linux_raw_sys::btrfs::{
    BTRFS_LOGICAL_INO_ARGS_IGNORE_OFFSET, btrfs_ioctl_get_subvol_info_args,
    btrfs_ioctl_ino_lookup_args, btrfs_ioctl_ino_path_args, btrfs_ioctl_logical_ino_args,
};
use rustix::io::Result;
use rustix::ioctl::{self, Getter, Opcode, Updater, opcode};

use super::{MAGIC, u32_at, u64_at};

pub(super) const INO_LOOKUP: Opcode = opcode::read_write::<btrfs_ioctl_ino_lookup_args>(MAGIC, 18);
pub(super) const INO_PATHS: Opcode = opcode::read_write::<btrfs_ioctl_ino_path_args>(MAGIC, 35);
pub(super) const LOGICAL_INO: Opcode =
    opcode::read_write::<btrfs_ioctl_logical_ino_args>(MAGIC, 59);
pub(super) const SUBVOL_INFO: Opcode = opcode::read::<btrfs_ioctl_get_subvol_info_args>(MAGIC, 60);

const _: () = {
    assert!(size_of::<btrfs_ioctl_ino_lookup_args>() == 4096);
    assert!(size_of::<btrfs_ioctl_ino_path_args>() == 56);
    assert!(offset_of!(btrfs_ioctl_ino_path_args, fspath) == 48);
    assert!(size_of::<btrfs_ioctl_logical_ino_args>() == 56);
    assert!(offset_of!(btrfs_ioctl_logical_ino_args, inodes) == 48);
};

/// Bytes of the counts in front of a container (`struct btrfs_data_container`).
const CONTAINER_HEADER: usize = 16;

/// `BTRFS_IOC_INO_LOOKUP`: a tree's number (0 is asked as the descriptor's subvolume) and a
/// directory's path from the top of it, ending in `/`.
pub(in super::super) fn ino_lookup(
    fd: BorrowedFd<'_>,
    tree: u64,
    inode: u64,
) -> Result<(u64, Vec<u8>)> {
    let mut arguments = btrfs_ioctl_ino_lookup_args {
        treeid: tree,
        objectid: inode,
        name: [0; 4080],
    };
    // SAFETY: the opcode is computed from the structure; the kernel reads and writes those 4096
    // bytes, and every bit pattern is valid.
    unsafe { ioctl::ioctl(fd, Updater::<INO_LOOKUP, _>::new(&mut arguments)) }?;
    let bytes = arguments.name.iter().map(|&byte| byte.cast_unsigned());
    let name = bytes.take_while(|&byte| byte != 0).collect();
    Ok((arguments.treeid, name))
}

/// What the kernel has put into a `struct btrfs_data_container`.
pub(in super::super) struct Container {
    bytes: Vec<u8>,
    /// Bytes that did not fit.
    pub(in super::super) missing: u32,
    elements: usize,
}

impl Container {
    fn new(bytes: Vec<u8>) -> Self {
        Self {
            missing: u32_at(&bytes, 4),
            elements: usize::try_from(u32_at(&bytes, 8)).unwrap_or(0),
            bytes,
        }
    }

    /// Its elements as numbers; no more than the buffer has.
    pub(in super::super) fn numbers(&self) -> impl Iterator<Item = u64> {
        let numbers = self.bytes.get(CONTAINER_HEADER..).unwrap_or_default();
        let words = numbers.chunks_exact(8).map(|word| u64_at(word, 0));
        words.take(self.elements)
    }

    /// Its elements as strings: each number says where one begins, counted from the first number.
    pub(in super::super) fn strings(&self) -> impl Iterator<Item = &[u8]> {
        let values = self.bytes.get(CONTAINER_HEADER..).unwrap_or_default();
        self.numbers().filter_map(move |at| {
            let string = values.get(usize::try_from(at).ok()?..)?;
            string.split(|&byte| byte == 0).next()
        })
    }
}

/// `BTRFS_IOC_LOGICAL_INO_V2`, offset ignored: for each reference to the extent its inode, the
/// offset in the file and the subvolume.
pub(in super::super) fn logical_ino(
    fd: BorrowedFd<'_>,
    logical: u64,
    room: usize,
) -> Result<Container> {
    let mut container = vec![0; room];
    let mut arguments = btrfs_ioctl_logical_ino_args {
        logical,
        size: u64::try_from(room).unwrap_or(0),
        reserved: [0; 3],
        flags: BTRFS_LOGICAL_INO_ARGS_IGNORE_OFFSET.into(),
        inodes: address(&mut container),
    };
    // SAFETY: the opcode is computed from the structure, which points to `size` bytes that this
    // function owns until the call is over.
    unsafe { ioctl::ioctl(fd, Updater::<LOGICAL_INO, _>::new(&mut arguments)) }?;
    Ok(Container::new(container))
}

/// `BTRFS_IOC_INO_PATHS`: the paths of an inode from the top of the descriptor's subvolume.
pub(in super::super) fn ino_paths(
    fd: BorrowedFd<'_>,
    inode: u64,
    room: usize,
) -> Result<Container> {
    let mut container = vec![0; room];
    let mut arguments = btrfs_ioctl_ino_path_args {
        inum: inode,
        size: u64::try_from(room).unwrap_or(0),
        reserved: [0; 4],
        fspath: address(&mut container),
    };
    // SAFETY: as for `logical_ino`.
    unsafe { ioctl::ioctl(fd, Updater::<INO_PATHS, _>::new(&mut arguments)) }?;
    Ok(Container::new(container))
}

/// A buffer's address as the kernel takes it.
fn address(buffer: &mut [u8]) -> u64 {
    u64::try_from(buffer.as_mut_ptr().expose_provenance()).unwrap_or(0)
}

/// `BTRFS_IOC_GET_SUBVOL_INFO`: the subvolume of the descriptor. Needs no privilege.
pub(in super::super) fn subvol_info(
    fd: BorrowedFd<'_>,
) -> Result<btrfs_ioctl_get_subvol_info_args> {
    // SAFETY: the opcode is computed from the structure, which the kernel fills in as a whole;
    // every bit pattern is valid.
    unsafe { ioctl::ioctl(fd, Getter::<SUBVOL_INFO, _>::new()) }
}
