//! Nodes and entries, of which a tree is made.

/// Number of a node. They are not used again, so a stale one is never taken for another.
pub(in super::super) type NodeId = u32;

/// The subvolume itself.
pub(in super::super) const ROOT: NodeId = 0;

/// What a node is, as far as is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Kind {
    /// Something of a parent snapshot that is not at hand.
    Unknown,
    Directory,
    File,
    Symlink,
    /// A device, pipe or socket.
    Special,
}

impl Kind {
    /// It is known to be something else than a directory.
    pub(in super::super) fn is_no_directory(self) -> bool {
        matches!(self, Self::File | Self::Symlink | Self::Special)
    }
}

/// A file, directory or the like.
#[derive(Debug, Clone, Copy)]
pub(in super::super) struct Node {
    pub(in super::super) kind: Kind,
    /// Everything in it and about it was made by streams at hand: what is not known is not
    /// there.
    pub(in super::super) complete: bool,
    /// Size of a file, bytes; the least it can be where it is not known.
    pub(in super::super) size: u64,
    pub(in super::super) size_is_known: bool,
    /// Names of the node.
    pub(in super::super) names: u32,
    /// Known entries of a directory.
    pub(in super::super) entries: u32,
    /// The directory that a directory is in.
    pub(super) parent: NodeId,
}

/// An entry: its directory and the hash of its name. An extended attribute: its node and the
/// hash of its name.
pub(super) type Entry = (NodeId, u64);
