//! What is added to a tree.

use bytes::Bytes;

use crate::send_stream::Timespec;

/// What stands under a name, but for files, which have a content too
/// ([`Builder::add_file`](super::Builder::add_file)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Node<'a> {
    /// A directory. Where there is one already, it gets the metadata.
    Directory,
    /// A symbolic link, which leads to this path, whatever is there.
    Symlink(&'a [u8]),
    /// Another name of what has been added under this path of the tree. The metadata is not
    /// looked at: it is the same file.
    HardLink(&'a [u8]),
    /// A character device.
    CharDevice {
        /// Its major number, below 4096.
        major: u32,
        /// Its minor number, below 1,048,576.
        minor: u32,
    },
    /// A block device.
    BlockDevice {
        /// Its major number, below 4096.
        major: u32,
        /// Its minor number, below 1,048,576.
        minor: u32,
    },
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
}

/// Whom a file belongs to, who may do what with it, and when it was changed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Metadata {
    /// Permissions with the bits for set-user-id and the like: `0o7777` at the most. Symbolic links
    /// have none.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Times.
    pub times: Times,
    /// Extended attributes, names with their namespaces (`user.comment`), in any order.
    pub xattrs: Vec<(Bytes, Bytes)>,
}

impl Metadata {
    /// These permissions, for what belongs to root and was changed when 1970 began.
    #[must_use]
    pub fn new(mode: u32) -> Self {
        Self {
            mode,
            ..Self::default()
        }
    }

    /// The same with another owner and group.
    #[must_use]
    pub fn owner(self, uid: u32, gid: u32) -> Self {
        Self { uid, gid, ..self }
    }

    /// The same with other times.
    #[must_use]
    pub fn times(self, times: Times) -> Self {
        Self { times, ..self }
    }

    /// The same with one more extended attribute.
    #[must_use]
    pub fn xattr(mut self, name: impl Into<Bytes>, value: impl Into<Bytes>) -> Self {
        self.xattrs.push((name.into(), value.into()));
        self
    }
}

/// The four times of a file. `btrfs receive` sets the first two; the others are in the stream for
/// who looks at that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Times {
    /// Last access.
    pub atime: Timespec,
    /// Last change of the content.
    pub mtime: Timespec,
    /// Last change of the inode.
    pub ctime: Timespec,
    /// Creation.
    pub otime: Timespec,
}

impl Times {
    /// The same moment for all of them.
    #[must_use]
    pub fn all(time: Timespec) -> Self {
        Self {
            atime: time,
            mtime: time,
            ctime: time,
            otime: time,
        }
    }

    /// The same, none later than this.
    pub(super) fn at_most(self, latest: Timespec) -> Self {
        Self {
            atime: self.atime.min(latest),
            mtime: self.mtime.min(latest),
            ctime: self.ctime.min(latest),
            otime: self.otime.min(latest),
        }
    }
}
