//! `open_by_handle_at`.
//!
//! A handle of btrfs without its parent (`struct btrfs_fid`, fs/btrfs/export.h, the same since
//! 2.6.29), in the machine's byte order:
//!
//! | offset | bytes | field |
//! | --- | --- | --- |
//! | 0 | 8 | `objectid`: the inode |
//! | 8 | 8 | `root_objectid`: the subvolume |
//! | 16 | 4 | `gen`: the low half of the generation in which the inode was made |

use std::mem::offset_of;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use rustix::fs::OFlags;
use rustix::io::{Errno, Result};

/// `FILEID_BTRFS_WITHOUT_PARENT` (include/linux/exportfs.h).
const WITHOUT_PARENT: i32 = 0x4d;
const HANDLE: usize = 20;

#[repr(C)]
struct FileHandle {
    bytes: u32,
    kind: i32,
    handle: [u8; HANDLE],
}

const _: () = {
    assert!(offset_of!(FileHandle, bytes) == offset_of!(libc::file_handle, handle_bytes));
    assert!(offset_of!(FileHandle, kind) == offset_of!(libc::file_handle, handle_type));
    assert!(offset_of!(FileHandle, handle) == offset_of!(libc::file_handle, f_handle));
};

/// Opens an inode of any subvolume of the filesystem that `fd` is on. Needs
/// `CAP_DAC_READ_SEARCH`; ESTALE where there is no such inode.
pub(in super::super) fn open_by_handle(
    fd: BorrowedFd<'_>,
    root: u64,
    inode: u64,
    generation: u32,
    flags: OFlags,
) -> Result<OwnedFd> {
    let mut handle = [0; HANDLE];
    let fields = inode.to_ne_bytes().into_iter().chain(root.to_ne_bytes());
    let fields = fields.chain(generation.to_ne_bytes());
    handle
        .iter_mut()
        .zip(fields)
        .for_each(|(to, from)| *to = from);
    let mut argument = FileHandle {
        bytes: u32::try_from(HANDLE).unwrap_or(0),
        kind: WITHOUT_PARENT,
        handle,
    };
    let flags = i32::try_from((flags | OFlags::CLOEXEC).bits()).map_err(|_| Errno::INVAL)?;
    // SAFETY: the structure has the layout of `struct file_handle`, as checked above, with as
    // many bytes after it as `handle_bytes` says; the kernel reads it during the call only.
    let opened =
        unsafe { libc::open_by_handle_at(fd.as_raw_fd(), (&raw mut argument).cast(), flags) };
    if opened < 0 {
        let error = std::io::Error::last_os_error();
        return Err(Errno::from_io_error(&error).unwrap_or(Errno::IO));
    }
    // SAFETY: the call succeeded, so this is a new descriptor that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(opened) })
}
