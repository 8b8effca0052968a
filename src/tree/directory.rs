//! A directory as a tree: what there is in it, in the same order as [`Walk`](super::Walk) has it.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use super::digest::is_told;
use super::inode::Kind;
use super::walk::MAX_DEPTH;
use crate::files::Beneath;
use crate::send_stream::Timespec;

/// What a directory has in the place of a subvolume that is not in a snapshot
/// (`BTRFS_EMPTY_SUBVOL_DIR_OBJECTID`, include/uapi/linux/btrfs_tree.h). Directories of other
/// filesystems have two links at least.
const PLACEHOLDER_INODE: u64 = 2;

/// An entry of a directory.
#[derive(Debug)]
pub(super) struct Found {
    /// From the top.
    pub(super) path: Vec<u8>,
    /// The last part; empty for the top.
    pub(super) name: Vec<u8>,
    pub(super) kind: Kind,
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) mtime: Timespec,
    pub(super) size: u64,
    /// Inode number, and names that it has.
    pub(super) inode: u64,
    pub(super) links: u64,
    /// Those that are told in a digest, by name.
    pub(super) xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Of a directory: entries that belong to it.
    pub(super) entries: u64,
    /// Of a regular file: open for reading.
    pub(super) file: Option<OwnedFd>,
}

/// Why a directory cannot be read, and at which path.
pub(super) type Failed = (Vec<u8>, io::Error);

/// Goes through a directory.
pub(super) struct DirectoryWalk {
    beneath: Beneath,
    /// The filesystem, or the subvolume.
    device: u64,
    begun: bool,
    open: Vec<Open>,
}

/// A directory on the way.
struct Open {
    path: Vec<u8>,
    /// Sorted backwards: the next is the last.
    names: Vec<Vec<u8>>,
}

impl DirectoryWalk {
    pub(super) fn new(path: &Path) -> io::Result<Self> {
        let beneath = Beneath::open(path)?;
        let device = rustix::fs::fstat(beneath.top())?.st_dev;
        Ok(Self {
            beneath,
            device,
            begun: false,
            open: Vec::new(),
        })
    }

    /// The next entry; `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<Found>, Failed> {
        if !std::mem::replace(&mut self.begun, true) {
            return self.look(Vec::new(), Vec::new()).map(Some);
        }
        loop {
            let Some(open) = self.open.last_mut() else {
                return Ok(None);
            };
            let Some(name) = open.names.pop() else {
                self.open.pop();
                continue;
            };
            let mut path = open.path.clone();
            if !path.is_empty() {
                path.push(b'/');
            }
            path.extend_from_slice(&name);
            return self.look(path, name).map(Some);
        }
    }

    /// Leaves out what is in the directory that came last.
    pub(super) fn skip_contents(&mut self) {
        self.open.pop();
    }

    fn look(&mut self, path: Vec<u8>, name: Vec<u8>) -> Result<Found, Failed> {
        match self.found(&path, name) {
            Ok((found, names)) => {
                if let Some(names) = names {
                    if self.open.len() >= MAX_DEPTH {
                        return Err((path, io::Error::other("it is too deep")));
                    }
                    self.open.push(Open { path, names });
                }
                Ok(found)
            }
            Err(error) => Err((path, error)),
        }
    }

    /// An entry, and the names in it where it is a directory.
    fn found(&mut self, path: &[u8], name: Vec<u8>) -> io::Result<(Found, Option<Vec<Vec<u8>>>)> {
        if path.is_empty() {
            let stat = rustix::fs::fstat(self.beneath.top())?;
            let directory = self.beneath.directory(path)?;
            return self.directory(path, name, &stat, directory.as_fd());
        }
        let (parent, last) = self.beneath.parent(path)?;
        let stat = rustix::fs::statat(&*parent, last, AtFlags::SYMLINK_NOFOLLOW)?;
        let file_type = FileType::from_raw_mode(stat.st_mode);
        if file_type == FileType::Directory {
            let directory = self.beneath.directory(path)?;
            return self.directory(path, name, &stat, directory.as_fd());
        }
        let (major, minor) = (
            rustix::fs::major(stat.st_rdev),
            rustix::fs::minor(stat.st_rdev),
        );
        let kind = match file_type {
            FileType::Symlink => {
                let target = rustix::fs::readlinkat(&*parent, last, Vec::new())?;
                let target = target.into_bytes().into();
                Kind::Symlink { target }
            }
            FileType::CharacterDevice => Kind::CharDevice { major, minor },
            FileType::BlockDevice => Kind::BlockDevice { major, minor },
            FileType::Fifo => Kind::Fifo,
            FileType::Socket => Kind::Socket,
            _ => Kind::File,
        };
        let mut found = of_stat(path, name, kind, &stat);
        if found.kind == Kind::File {
            let file = self.open_file(path)?;
            found.xattrs = xattrs(
                |list| rustix::fs::flistxattr(&file, list),
                |name, value| rustix::fs::fgetxattr(&file, name, value),
            )?;
            found.file = Some(file);
        } else {
            // By the way of the directory, as there is no descriptor that could be asked.
            let way = Beneath::by_descriptor(parent.as_fd());
            let path = [way.as_bytes(), b"/", last.as_bytes()].concat();
            let path = OsStr::from_bytes(&path);
            found.xattrs = xattrs(
                |list| rustix::fs::llistxattr(path, list),
                |name, value| rustix::fs::lgetxattr(path, name, value),
            )?;
        }
        Ok((found, None))
    }

    /// Times of access stay as they are, where that is the process's affair.
    fn open_file(&mut self, path: &[u8]) -> io::Result<OwnedFd> {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK;
        match self
            .beneath
            .file(path, flags | OFlags::NOATIME, Mode::empty())
        {
            Err(error) if Errno::from_io_error(&error) == Some(Errno::PERM) => {
                self.beneath.file(path, flags, Mode::empty())
            }
            opened => opened,
        }
    }

    fn directory(
        &self,
        path: &[u8],
        name: Vec<u8>,
        stat: &Stat,
        fd: BorrowedFd<'_>,
    ) -> io::Result<(Found, Option<Vec<Vec<u8>>>)> {
        let mut names = Vec::new();
        for entry in Dir::read_from(fd)? {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if !matches!(name, b"." | b"..") && self.is_own(fd, &entry)? {
                names.push(name.to_vec());
            }
        }
        names.sort_unstable_by(|a, b| b.cmp(a));
        let mut found = of_stat(path, name, Kind::Directory, stat);
        found.entries = crate::rules::limits::u64_of(names.len());
        found.xattrs = xattrs(
            |list| rustix::fs::flistxattr(fd, list),
            |name, value| rustix::fs::fgetxattr(fd, name, value),
        )?;
        Ok((found, Some(names)))
    }

    /// False for a directory in which another filesystem or subvolume is, or one that stands for
    /// a subvolume.
    fn is_own(&self, directory: BorrowedFd<'_>, entry: &rustix::fs::DirEntry) -> io::Result<bool> {
        if !matches!(entry.file_type(), FileType::Directory | FileType::Unknown) {
            return Ok(true);
        }
        let stat = rustix::fs::statat(directory, entry.file_name(), AtFlags::SYMLINK_NOFOLLOW)?;
        let is_directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
        let is_placeholder = stat.st_ino == PLACEHOLDER_INODE && stat.st_nlink == 1;
        Ok(!is_directory || stat.st_dev == self.device && !is_placeholder)
    }
}

fn of_stat(path: &[u8], name: Vec<u8>, kind: Kind, stat: &Stat) -> Found {
    Found {
        path: path.to_vec(),
        name,
        kind,
        mode: stat.st_mode & 0o7777,
        uid: stat.st_uid,
        gid: stat.st_gid,
        mtime: Timespec {
            seconds: stat.st_mtime,
            nanoseconds: u32::try_from(stat.st_mtime_nsec).unwrap_or(0),
        },
        size: u64::try_from(stat.st_size).unwrap_or(0),
        inode: stat.st_ino,
        #[allow(clippy::useless_conversion)] // 32 bits on some architectures
        links: u64::from(stat.st_nlink),
        xattrs: BTreeMap::new(),
        entries: 0,
        file: None,
    }
}

/// Extended attributes that are told.
fn xattrs(
    list: impl Fn(&mut [u8]) -> Result<usize, Errno>,
    get: impl Fn(&OsStr, &mut [u8]) -> Result<usize, Errno>,
) -> io::Result<BTreeMap<Vec<u8>, Vec<u8>>> {
    let mut all = BTreeMap::new();
    let names = match fill(list) {
        // The filesystem has none.
        Err(Errno::OPNOTSUPP) => return Ok(all),
        names => names?,
    };
    for name in names.split(|&byte| byte == 0).filter(|name| is_told(name)) {
        let named = OsStr::from_bytes(name);
        match fill(|value| get(named, value)) {
            Ok(value) => drop(all.insert(name.to_vec(), value)),
            Err(Errno::NODATA) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(all)
}

/// Asks with more and more room.
fn fill(ask: impl Fn(&mut [u8]) -> Result<usize, Errno>) -> Result<Vec<u8>, Errno> {
    let mut room = vec![0; 1024];
    loop {
        match ask(&mut room) {
            Ok(len) => {
                room.truncate(len);
                return Ok(room);
            }
            // 64 KiB is the most that Linux has (XATTR_SIZE_MAX, XATTR_LIST_MAX).
            Err(Errno::RANGE) if room.len() < 1 << 17 => {
                let len = room.len().saturating_mul(4);
                room.resize(len, 0);
            }
            Err(errno) => return Err(errno),
        }
    }
}
