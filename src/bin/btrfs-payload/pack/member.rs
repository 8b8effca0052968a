//! What is on its way into a pack, from wherever it comes.

use btrfs_payload::pack::{Metadata, Node};

/// One name and what stands under it, but for the content of files.
#[derive(Debug)]
pub(super) struct Member {
    /// As the source has it: it may begin with `/` or `./`, and end with `/`.
    pub(super) path: Vec<u8>,
    pub(super) kind: Kind,
    pub(super) metadata: Metadata,
}

/// What a member is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    Directory,
    File,
    Symlink(Vec<u8>),
    /// Another name of what has this path.
    HardLink(Vec<u8>),
    CharDevice(u32, u32),
    BlockDevice(u32, u32),
    Fifo,
    Socket,
}

impl Kind {
    /// As the builder takes it; `None` for a file.
    pub(super) fn node(&self) -> Option<Node<'_>> {
        Some(match self {
            Self::File => return None,
            Self::Directory => Node::Directory,
            Self::Symlink(target) => Node::Symlink(target),
            Self::HardLink(target) => Node::HardLink(target),
            &Self::CharDevice(major, minor) => Node::CharDevice { major, minor },
            &Self::BlockDevice(major, minor) => Node::BlockDevice { major, minor },
            Self::Fifo => Node::Fifo,
            Self::Socket => Node::Socket,
        })
    }
}

/// A path from the top, in its plain form: no `.`, no empty parts.
pub(super) fn plain(path: &[u8]) -> Vec<u8> {
    let parts: Vec<&[u8]> = path
        .split(|&byte| byte == b'/')
        .filter(|part| !matches!(*part, b"" | b"."))
        .collect();
    parts.join(&b'/')
}
