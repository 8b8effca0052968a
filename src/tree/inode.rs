//! What a tree says of one file, directory or the like.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;

use bytes::Bytes;

use super::data::{DataMap, Extent};
use crate::send_stream::Timespec;
use crate::transform::Escaped;

/// What an inode is.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// A directory.
    Directory,
    /// A regular file.
    File,
    /// A symbolic link.
    Symlink {
        /// Where it leads.
        target: Bytes,
    },
    /// A character device.
    CharDevice {
        /// Major number.
        major: u32,
        /// Minor number.
        minor: u32,
    },
    /// A block device.
    BlockDevice {
        /// Major number.
        major: u32,
        /// Minor number.
        minor: u32,
    },
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory => f.write_str("a directory"),
            Self::File => f.write_str("a regular file"),
            Self::Symlink { target } => write!(f, "a symbolic link to {}", Escaped(target)),
            Self::CharDevice { major, minor } => write!(f, "the character device {major},{minor}"),
            Self::BlockDevice { major, minor } => write!(f, "the block device {major},{minor}"),
            Self::Fifo => f.write_str("a named pipe"),
            Self::Socket => f.write_str("a socket"),
        }
    }
}

/// The times of an inode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Times {
    /// Last access.
    pub atime: Timespec,
    /// Last change of the data.
    pub mtime: Timespec,
    /// Last change of the inode, at the sender.
    pub ctime: Timespec,
    /// Creation, at the sender; since version 2 of the format.
    pub otime: Option<Timespec>,
}

/// A file, directory or the like, as the streams have left it.
#[derive(Debug, Clone)]
pub struct Inode {
    pub(super) kind: Kind,
    pub(super) number: u64,
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) times: Times,
    pub(super) xattrs: BTreeMap<Bytes, Bytes>,
    pub(super) flags: Option<u64>,
    pub(super) links: u32,
    pub(super) size: u64,
    pub(super) data: DataMap,
}

impl Inode {
    pub(super) fn new(kind: Kind, number: u64, mode: u32) -> Self {
        Self {
            kind,
            number,
            mode,
            uid: 0,
            gid: 0,
            times: Times::default(),
            xattrs: BTreeMap::new(),
            flags: None,
            links: 0,
            size: 0,
            data: DataMap::default(),
        }
    }

    /// What it is.
    #[must_use]
    pub fn kind(&self) -> &Kind {
        &self.kind
    }

    /// True for a directory.
    #[must_use]
    pub fn is_directory(&self) -> bool {
        self.kind == Kind::Directory
    }

    /// Inode number at the sender; 256 for the subvolume itself.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Permissions, twelve bits.
    #[must_use]
    pub fn mode(&self) -> u32 {
        self.mode
    }

    /// Owner.
    #[must_use]
    pub fn uid(&self) -> u32 {
        self.uid
    }

    /// Group.
    #[must_use]
    pub fn gid(&self) -> u32 {
        self.gid
    }

    /// Times; all zero where the stream has set none.
    #[must_use]
    pub fn times(&self) -> &Times {
        &self.times
    }

    /// Extended attributes, by name.
    pub fn xattrs(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.xattrs
            .iter()
            .map(|(name, value)| (&name[..], &value[..]))
    }

    /// The flags of btrfs (`FILEATTR`), where the stream tells them.
    #[must_use]
    pub fn flags(&self) -> Option<u64> {
        self.flags
    }

    /// Names that it has; of a directory always 1.
    #[must_use]
    pub fn links(&self) -> u32 {
        self.links
    }

    /// Size of a file, bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The data of a file, in the order of offsets, up to its size. The rest is holes.
    pub fn extents(&self) -> impl Iterator<Item = Extent> {
        self.extents_in(0..self.size)
    }

    /// The same inside a range of offsets.
    pub fn extents_in(&self, range: Range<u64>) -> impl Iterator<Item = Extent> {
        self.data.inside(range.start..range.end.min(self.size))
    }

    pub(super) fn set_xattr(&mut self, name: &[u8], value: &[u8]) {
        let [name, value] = [name, value].map(Bytes::copy_from_slice);
        self.xattrs.insert(name, value);
    }

    pub(super) fn remove_xattr(&mut self, name: &[u8]) {
        self.xattrs.remove(name);
    }
}
