//! What the system tells of files, directories and the like.

use std::fs::{File, Metadata as FileMetadata};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use btrfs_payload::bytes::Bytes;
use btrfs_payload::pack::{Metadata, Times};
use btrfs_payload::send_stream::Timespec;
use rustix::io::Errno;

use super::member::Kind;

/// What is taken of a directory.
#[derive(Debug, Clone, Copy)]
pub(super) struct How {
    /// Names of one file become files of their own.
    pub(super) hard_dereference: bool,
    /// Other filesystems are left out.
    pub(super) one_file_system: bool,
    /// All times of the inode, not only that of the last change of its content.
    pub(super) all_times: bool,
}

/// What was found; `link` says where a symbolic link leads.
pub(super) fn kind(
    found: &FileMetadata,
    link: impl FnOnce() -> std::io::Result<Vec<u8>>,
) -> std::io::Result<Kind> {
    let file_type = found.file_type();
    let device = || {
        let device = found.rdev();
        (rustix::fs::major(device), rustix::fs::minor(device))
    };
    Ok(if file_type.is_dir() {
        Kind::Directory
    } else if file_type.is_file() {
        Kind::File
    } else if file_type.is_symlink() {
        Kind::Symlink(link()?)
    } else if file_type.is_char_device() {
        let (major, minor) = device();
        Kind::CharDevice(major, minor)
    } else if file_type.is_block_device() {
        let (major, minor) = device();
        Kind::BlockDevice(major, minor)
    } else if file_type.is_fifo() {
        Kind::Fifo
    } else {
        Kind::Socket
    })
}

/// What is told of what was found, without extended attributes.
pub(super) fn metadata(found: &FileMetadata, all_times: bool) -> Metadata {
    let mut metadata = Metadata::new(found.mode() & 0o7777).owner(found.uid(), found.gid());
    let time = |seconds, nanoseconds: i64| Timespec {
        seconds,
        nanoseconds: u32::try_from(nanoseconds).unwrap_or(0),
    };
    let mtime = time(found.mtime(), found.mtime_nsec());
    metadata.times = Times::all(mtime);
    if all_times {
        metadata.times.atime = time(found.atime(), found.atime_nsec());
        metadata.times.ctime = time(found.ctime(), found.ctime_nsec());
        metadata.times.otime = found.created().map_or(mtime, since_1970);
    }
    metadata
}

fn since_1970(time: std::time::SystemTime) -> Timespec {
    let after = time
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default();
    Timespec {
        seconds: i64::try_from(after.as_secs()).unwrap_or(0),
        nanoseconds: after.subsec_nanos(),
    }
}

/// Reads extended attributes: all that the user may see, none where the filesystem has none.
pub(super) struct Xattrs {
    /// Linux lists and takes no more than this has room for (`XATTR_LIST_MAX`, `XATTR_SIZE_MAX`).
    buffer: Vec<u8>,
}

impl Xattrs {
    pub(super) fn new() -> Self {
        let buffer = vec![0; 64 * 1024];
        Self { buffer }
    }

    /// Those of an open file.
    pub(super) fn of_file(&mut self, file: &File) -> std::io::Result<Vec<(Bytes, Bytes)>> {
        self.read(
            |list| rustix::fs::flistxattr(file, list),
            |name, value| rustix::fs::fgetxattr(file, name, value),
        )
    }

    /// Those of what has a path, or of what a symbolic link there leads to.
    pub(super) fn of_path(
        &mut self,
        path: &Path,
        follow: bool,
    ) -> std::io::Result<Vec<(Bytes, Bytes)>> {
        if follow {
            return self.read(
                |list| rustix::fs::listxattr(path, list),
                |name, value| rustix::fs::getxattr(path, name, value),
            );
        }
        self.read(
            |list| rustix::fs::llistxattr(path, list),
            |name, value| rustix::fs::lgetxattr(path, name, value),
        )
    }

    fn read(
        &mut self,
        list: impl FnOnce(&mut [u8]) -> Result<usize, Errno>,
        get: impl Fn(&[u8], &mut [u8]) -> Result<usize, Errno>,
    ) -> std::io::Result<Vec<(Bytes, Bytes)>> {
        let len = match list(&mut self.buffer) {
            Ok(0) | Err(Errno::NOTSUP | Errno::NOSYS) => return Ok(Vec::new()),
            len => len?,
        };
        let names = self.buffer.get(..len).unwrap_or_default().to_vec();
        let names = names
            .split(|&byte| byte == 0)
            .filter(|name| !name.is_empty());
        let mut xattrs = Vec::new();
        for name in names {
            let len = match get(name, &mut self.buffer) {
                // It has gone meanwhile, or is listed and cannot be had.
                Err(Errno::NODATA | Errno::NOTSUP) => continue,
                len => len?,
            };
            let value = self.buffer.get(..len).unwrap_or_default();
            xattrs.push((Bytes::copy_from_slice(name), Bytes::copy_from_slice(value)));
        }
        Ok(xattrs)
    }
}
