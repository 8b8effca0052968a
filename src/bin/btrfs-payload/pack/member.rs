//! What is on its way into a pack, from wherever it comes.

use btrfs_payload::pack::{EntryFault, Metadata, Node};

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
    /// In words.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Directory => "directory",
            Self::File => "file",
            Self::Symlink(_) => "symbolic link",
            Self::HardLink(_) => "hard link",
            Self::CharDevice(..) => "character device",
            Self::BlockDevice(..) => "block device",
            Self::Fifo => "pipe",
            Self::Socket => "socket",
        }
    }

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

/// A path from the top in its plain form. In their order everything in a directory comes after the
/// directory and before what has a later name: as one goes through directories with sorted names.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Place(
    /// The path, with zero bytes for the slashes: these come before all that names have.
    Box<[u8]>,
);

impl Place {
    /// # Errors
    /// A zero byte, and a part `..`.
    pub(super) fn new(path: &[u8]) -> Result<Self, EntryFault> {
        if path.contains(&0) {
            return Err(EntryFault::ZeroByte);
        }
        if path.split(|&byte| byte == b'/').any(|part| part == b"..") {
            return Err(EntryFault::Outside);
        }
        let mut place = plain(path);
        for byte in &mut place {
            if *byte == b'/' {
                *byte = 0;
            }
        }
        Ok(Self(place.into()))
    }

    pub(super) fn path(&self) -> Vec<u8> {
        let slash = |&byte: &u8| if byte == 0 { b'/' } else { byte };
        self.0.iter().map(slash).collect()
    }

    /// Bytes of the path.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}
