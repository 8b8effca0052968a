//! Why a chain of streams does not give a tree.

use std::io;

use bytes::Bytes;
use thiserror::Error;

use crate::send_stream::{CommandError, ReadError, Uuid};
use crate::transform::{Shortened, StreamFinding};
use crate::validate::NotSound;

/// Why no tree comes of streams, or no data of a tree. Offsets are bytes from the start of an
/// input.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TreeError {
    /// The input cannot be read, or is no whole send stream.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A command is not what it should be.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// The checksum of a command is wrong. `stream check` tells more.
    #[error("the checksum of the command at offset {offset} is wrong")]
    Damaged {
        /// Offset of the command.
        offset: u64,
    },
    /// A receiver would fail at a command, or do something else than was meant.
    #[error("{0}")]
    Refused(Box<StreamFinding>),
    /// The stream is an increment, and its parent did not come before.
    #[error(
        "{} is an increment on the subvolume {parent} (transaction {ctransid}), which is not among \
         the streams before it (at offset {offset})",
        Shortened(name)
    )]
    NoParent {
        /// Offset of the command.
        offset: u64,
        /// The subvolume that would be made.
        name: Bytes,
        /// What was expected.
        parent: Uuid,
        /// Transaction of the parent's last change.
        ctransid: u64,
    },
    /// Something is cloned from a subvolume that did not come before.
    #[error(
        "{} is cloned from the subvolume {uuid}, which is not among the streams before it (at \
         offset {offset})",
        Shortened(path)
    )]
    NoCloneSource {
        /// Offset of the command.
        offset: u64,
        /// The file.
        path: Bytes,
        /// What was expected.
        uuid: Uuid,
    },
    /// The trees would take more memory than is allowed.
    #[error("the trees take more than {limit} bytes of memory (at offset {offset})")]
    Memory {
        /// Offset of the command.
        offset: u64,
        /// [`Options::max_memory`](super::Options::max_memory).
        limit: u64,
    },
    /// A part of the data was not sent (`btrfs send --no-data`).
    #[error("the stream was sent without the data of the file at its offset {offset}")]
    NotSent {
        /// Offset in the file.
        offset: u64,
    },
    /// An input is not the one that was read before, or cannot be read again.
    #[error("cannot read the command at offset {offset} again")]
    Data {
        /// Offset of the command.
        offset: u64,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The payload of an encoded write does not decode.
    #[error("the payload of the command at offset {offset} does not decode")]
    Payload {
        /// Offset of the command.
        offset: u64,
        /// What is wrong with it.
        source: NotSound,
    },
    /// Directories are too deep in each other.
    #[error("directories are more than {limit} deep in each other")]
    TooDeep {
        /// The deepest that are walked through.
        limit: usize,
    },
    /// The streams make no subvolume.
    #[error("the streams make no subvolume")]
    NoSubvolume,
    /// The streams make several subvolumes that do not lead to one.
    #[error("the streams make several subvolumes: name one of {names}")]
    Several {
        /// Their names, for people.
        names: String,
    },
    /// No subvolume has this name or UUID.
    #[error("no subvolume is {}; there are {names}", Shortened(name))]
    NoSuchSubvolume {
        /// The name.
        name: Bytes,
        /// Those that there are, for people.
        names: String,
    },
}

impl TreeError {
    /// True where the streams are at fault, and not their reading or what was asked for.
    #[must_use]
    pub fn is_of_stream(&self) -> bool {
        match self {
            Self::Read(ReadError::Io { .. })
            | Self::Memory { .. }
            | Self::Several { .. }
            | Self::NoSuchSubvolume { .. } => false,
            Self::Data { source, .. } => source.kind() == io::ErrorKind::UnexpectedEof,
            _ => true,
        }
    }
}

/// Why a tree and a directory cannot be read to their ends: which path, and why.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum PathError {
    /// The data of a file is not sound, or not to be had.
    #[error("{}", Shortened(path))]
    Data {
        /// The file.
        path: Bytes,
        /// Why.
        #[source]
        source: TreeError,
    },
    /// The directory, or a file in it, cannot be read.
    #[error("cannot read {}", Shortened(if path.is_empty() { b"the directory" } else { path }))]
    Directory {
        /// The path in the directory; empty for itself.
        path: Bytes,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The tree cannot be walked through.
    #[error(transparent)]
    Tree(#[from] TreeError),
}

impl PathError {
    /// True where the streams are at fault, and not what was asked for.
    #[must_use]
    pub fn is_of_stream(&self) -> bool {
        match self {
            Self::Data { source, .. } | Self::Tree(source) => source.is_of_stream(),
            Self::Directory { .. } => false,
        }
    }

    #[cfg(all(target_os = "linux", not(btrfs_payload_portable)))]
    pub(super) fn data(path: &[u8], source: TreeError) -> Self {
        let path = Bytes::copy_from_slice(path);
        Self::Data { path, source }
    }

    #[cfg(all(target_os = "linux", not(btrfs_payload_portable)))]
    pub(super) fn directory(path: &[u8], source: io::Error) -> Self {
        let path = Bytes::copy_from_slice(path);
        Self::Directory { path, source }
    }
}
