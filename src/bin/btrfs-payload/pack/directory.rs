//! Members of a directory, sorted by their names.

use std::collections::HashMap;
use std::fs::{File, Metadata as FileMetadata, OpenOptions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

use anyhow::{Context, Result, bail};
use btrfs_payload::bytes::Bytes;
use btrfs_payload::pack::{Metadata, Times};
use btrfs_payload::send_stream::Timespec;
use indicatif::ProgressBar;
use rustix::fs::OFlags;
use rustix::io::Errno;
use walkdir::WalkDir;

use super::member::{Kind, Member};
use super::packing::Packing;
use crate::args::cannot_read;
use crate::output::shown;

/// How a directory is read.
#[derive(Debug, Clone, Copy)]
pub(super) struct How {
    /// Names of one file become files of their own.
    pub(super) hard_dereference: bool,
    /// Other filesystems are left out.
    pub(super) one_file_system: bool,
    /// All times of the inode, not only that of the last change of its content.
    pub(super) all_times: bool,
}

/// Adds everything in a directory, and the directory itself as the top one.
pub(super) fn add(
    directory: &Path,
    how: How,
    bar: &ProgressBar,
    packing: &mut Packing<'_>,
) -> Result<()> {
    // The first names of files that have several.
    let mut names = HashMap::<(u64, u64), Vec<u8>>::new();
    let mut xattrs = Xattrs::new();
    let mut walk = WalkDir::new(directory)
        .sort_by_file_name()
        .same_file_system(how.one_file_system)
        .into_iter();
    while let Some(entry) = walk.next() {
        let entry = entry?;
        let path = entry.path();
        let name = path.strip_prefix(directory).unwrap_or(path);
        let name = name.as_os_str().as_bytes();
        if packing.leaves_out(name) {
            if entry.file_type().is_dir() {
                walk.skip_current_dir();
            }
            continue;
        }
        if !packing.wants(name) {
            continue;
        }
        // The top may be a symbolic link that the user has named.
        let file_type = entry.file_type();
        let opened = if file_type.is_file() {
            Some(open(path).with_context(|| cannot_read(path))?)
        } else {
            None
        };
        let found = match (&opened, entry.depth()) {
            (Some(file), _) => file.metadata(),
            (None, 0) => std::fs::metadata(path),
            (None, _) => path.symlink_metadata(),
        };
        let found = found.with_context(|| cannot_read(path))?;
        let mut kind = kind(&found, path)?;
        if found.nlink() > 1 && kind != Kind::Directory && !how.hard_dereference {
            let inode = (found.dev(), found.ino());
            match names.get(&inode) {
                Some(first) => kind = Kind::HardLink(first.clone()),
                None => {
                    names.insert(inode, name.to_vec());
                }
            }
        }
        let mut metadata = metadata(&found, how.all_times);
        if !matches!(kind, Kind::HardLink(_)) {
            let read = match &opened {
                Some(file) => xattrs.of_file(file),
                None => xattrs.of_path(path, entry.depth() == 0),
            };
            metadata.xattrs = read.with_context(|| cannot_read(path))?;
        }
        let member = Member {
            path: name.to_vec(),
            kind,
            metadata,
        };
        packing
            .add(member, |content| {
                let Some(file) = &opened else {
                    bail!("{} is no longer a file", shown(path));
                };
                bar.inc(content.copy_file(file)?);
                Ok(())
            })
            .with_context(|| format!("cannot pack {}", shown(path)))?;
    }
    Ok(())
}

/// Opens a regular file as it is: no symbolic link that has just taken its place is followed, and
/// no pipe is waited for.
fn open(path: &Path) -> std::io::Result<File> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let mut options = OpenOptions::new();
    options.read(true).custom_flags(flags.bits().cast_signed());
    options.open(path)
}

fn kind(found: &FileMetadata, path: &Path) -> Result<Kind> {
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
        let target = std::fs::read_link(path).with_context(|| cannot_read(path))?;
        Kind::Symlink(target.into_os_string().as_bytes().to_vec())
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
fn metadata(found: &FileMetadata, all_times: bool) -> Metadata {
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
struct Xattrs {
    /// Linux lists and takes no more than this has room for (`XATTR_LIST_MAX`, `XATTR_SIZE_MAX`).
    buffer: Vec<u8>,
}

impl Xattrs {
    fn new() -> Self {
        let buffer = vec![0; 64 * 1024];
        Self { buffer }
    }

    /// Those of an open file.
    fn of_file(&mut self, file: &File) -> std::io::Result<Vec<(Bytes, Bytes)>> {
        self.read(
            |list| rustix::fs::flistxattr(file, list),
            |name, value| rustix::fs::fgetxattr(file, name, value),
        )
    }

    /// Those of what has a path, or of what a symbolic link there leads to.
    fn of_path(&mut self, path: &Path, follow: bool) -> std::io::Result<Vec<(Bytes, Bytes)>> {
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
