//! What is told of each inode, for the digest of the tree (docs/digest.md).

use bytes::Bytes;

use super::entry::{Metadata, Node};
use super::names::{InodeId, Names, Walked};
use crate::send_stream::Timespec;
use crate::tree::digest::{Attributes, ContentDigest, Tree, TreeDigest, What};

/// The content of a file.
#[derive(Debug, Clone, Copy)]
pub(super) struct FileContent {
    /// Its size, bytes.
    pub(super) size: u64,
    pub(super) digest: ContentDigest,
}

/// What an inode is.
#[derive(Debug)]
pub(super) enum Kind {
    Directory,
    /// The number of the file: contents come in this order.
    File(u32),
    Symlink(Box<[u8]>),
    CharDevice(u32, u32),
    BlockDevice(u32, u32),
    Fifo,
    Socket,
}

/// An inode.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) kind: Kind,
    pub(super) mode: u16,
    pub(super) uid: u32,
    pub(super) gid: u32,
    mtime: Timespec,
    pub(super) xattrs: Box<[(Bytes, Bytes)]>,
}

/// Inodes by their numbers.
#[derive(Debug, Default)]
pub(super) struct Records {
    records: Vec<Record>,
    files: u32,
}

impl Records {
    /// A new inode, which is a file where it is nothing else.
    pub(super) fn add(&mut self, node: Option<Node<'_>>, metadata: &Metadata) {
        let kind = match node {
            None => {
                let file = self.files;
                self.files = self.files.saturating_add(1);
                Kind::File(file)
            }
            Some(Node::Symlink(target)) => Kind::Symlink(target.into()),
            Some(Node::CharDevice { major, minor }) => Kind::CharDevice(major, minor),
            Some(Node::BlockDevice { major, minor }) => Kind::BlockDevice(major, minor),
            Some(Node::Fifo) => Kind::Fifo,
            Some(Node::Socket) => Kind::Socket,
            Some(Node::Directory | Node::HardLink(_)) => Kind::Directory,
        };
        self.records.push(record(kind, metadata));
    }

    /// Other metadata for a directory; returns the extended attributes that it had.
    pub(super) fn replace(&mut self, inode: InodeId, metadata: &Metadata) -> Box<[(Bytes, Bytes)]> {
        match self.records.get_mut(inode as usize) {
            Some(old) => std::mem::replace(old, record(Kind::Directory, metadata)).xattrs,
            None => Box::default(),
        }
    }

    /// How many inodes there are.
    pub(super) fn len(&self) -> InodeId {
        u32::try_from(self.records.len()).unwrap_or(InodeId::MAX)
    }

    pub(super) fn get(&self, inode: InodeId) -> Option<&Record> {
        self.records.get(inode as usize)
    }

    pub(super) fn kind(&self, inode: InodeId) -> Option<&Kind> {
        self.get(inode).map(|record| &record.kind)
    }

    /// The digest of the tree.
    pub(super) fn digest(&self, names: &Names, contents: &[FileContent]) -> TreeDigest {
        let mut tree = Tree::new();
        names.walk(|name, walked| match walked {
            Walked::Again { first } => {
                tree.add(name, &Attributes::default(), &What::HardLink { first })
            }
            Walked::Inode { inode, entries } => {
                let Some(record) = self.records.get(inode as usize) else {
                    return 0;
                };
                let xattrs: Vec<_> = record
                    .xattrs
                    .iter()
                    .map(|(name, value)| (&name[..], &value[..]))
                    .collect();
                let attributes = Attributes {
                    mode: record.mode.into(),
                    uid: record.uid,
                    gid: record.gid,
                    mtime: record.mtime,
                    xattrs: &xattrs,
                };
                let what = match record.kind {
                    Kind::Directory => What::Directory { entries },
                    Kind::File(number) => match contents.get(number as usize) {
                        Some(&FileContent { size, digest }) => What::File {
                            size,
                            content: digest,
                        },
                        // Every file has been ended.
                        None => return 0,
                    },
                    Kind::Symlink(ref target) => What::Symlink { target },
                    Kind::CharDevice(major, minor) => What::CharDevice { major, minor },
                    Kind::BlockDevice(major, minor) => What::BlockDevice { major, minor },
                    Kind::Fifo => What::Fifo,
                    Kind::Socket => What::Socket,
                };
                tree.add(name, &attributes, &what)
            }
        });
        tree.finish()
    }
}

impl Record {
    /// As it was added; `None` for a file.
    pub(super) fn node(&self) -> Option<Node<'_>> {
        Some(match &self.kind {
            Kind::File(_) => return None,
            Kind::Directory => Node::Directory,
            Kind::Symlink(target) => Node::Symlink(target),
            &Kind::CharDevice(major, minor) => Node::CharDevice { major, minor },
            &Kind::BlockDevice(major, minor) => Node::BlockDevice { major, minor },
            Kind::Fifo => Node::Fifo,
            Kind::Socket => Node::Socket,
        })
    }
}

fn record(kind: Kind, metadata: &Metadata) -> Record {
    Record {
        kind,
        mode: u16::try_from(metadata.mode & 0o7777).unwrap_or(0),
        uid: metadata.uid,
        gid: metadata.gid,
        mtime: metadata.times.mtime,
        xattrs: metadata.xattrs.clone().into_boxed_slice(),
    }
}
