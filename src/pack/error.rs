//! Why a tree cannot be packed.

use std::io;

use bytes::Bytes;
use thiserror::Error;

use crate::prepare::PrepareError;
use crate::send_stream::{EncodeError, Uuid, WriteError};
use crate::tree::TreeError;

/// Why a tree cannot be packed. After [`PackError::Entry`] the builder goes on as if the entry had
/// never come; after anything else the stream cannot be finished.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum PackError {
    /// What is added cannot stand in the tree.
    #[error("{}: {fault}", path.escape_ascii())]
    Entry {
        /// Its path.
        path: Bytes,
        /// What is wrong.
        fault: EntryFault,
    },
    /// The name of the subvolume is none, or a path.
    #[error("\"{}\" cannot be the name of a subvolume", .0.escape_ascii())]
    SubvolumeName(Bytes),
    /// The options cannot be met.
    #[error(transparent)]
    Options(#[from] PrepareError),
    /// The data of the parent cannot be had.
    #[error("the parent: {}", path.escape_ascii())]
    Parent {
        /// The file, by a path of it in the parent; empty where it is about the whole tree.
        path: Bytes,
        /// Why.
        #[source]
        source: TreeError,
    },
    /// Receivers find a parent by its UUID: it has none, or the increment is to have the same.
    #[error("an increment needs a parent with a UUID, and one of its own; both have {0}")]
    ParentUuid(Uuid),
    /// The output failed; how much of the stream it has is unknown.
    #[error("writing the send stream failed")]
    Output(#[from] io::Error),
    /// A command could not be written.
    #[error("a command cannot be written")]
    Encode(#[from] EncodeError),
    /// The content of a file was begun and not ended: it could not be read, or
    /// [`FileWriter::finish`](super::FileWriter::finish) was not called.
    #[error("the content of {} is not complete", .0.escape_ascii())]
    Unfinished(Bytes),
    /// An error has come back before, which has ended the work.
    #[error("packing has failed before")]
    Failed,
    /// The system has no more threads.
    #[error("cannot start a thread")]
    Thread(#[source] io::Error),
}

impl From<WriteError> for PackError {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::Io(error) => Self::Output(error),
            WriteError::Command(error) => Self::Encode(error),
            // There is no END before the last command.
            WriteError::Ended => Self::Failed,
        }
    }
}

/// Why something cannot be added to a tree.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum EntryFault {
    /// A path that leads out of the tree, or could.
    #[error("a path has no part `..`")]
    Outside,
    /// A zero byte in a path, which would end there for a receiver.
    #[error("a path holds no zero byte")]
    ZeroByte,
    /// A part of the path is longer than Linux takes.
    #[error("a part of the path has {got} bytes, at most 255 fit")]
    LongName {
        /// Its bytes.
        got: usize,
    },
    /// The path is longer than a receiver can take, with the name of the subvolume before it.
    #[error("the path has {got} bytes; with the name of the subvolume {most} fit")]
    LongPath {
        /// Its bytes.
        got: usize,
        /// Bytes that fit.
        most: usize,
    },
    /// It is the tree itself.
    #[error("it is the top directory, and can be nothing else")]
    Top,
    /// What it would be in is something else than a directory.
    #[error("what it would be in is no directory: {}", .0.escape_ascii())]
    NotADirectory(Bytes),
    /// Something else cannot take the place of a directory.
    #[error("there is a directory of this name already")]
    IsADirectory,
    /// More names than the options allow.
    #[error("the tree has {most} names already, more are not remembered")]
    TooManyNames {
        /// Names allowed.
        most: usize,
    },
    /// A hard link to what has not been added.
    #[error("it is another name of {}, which is not there", .0.escape_ascii())]
    NoTarget(Bytes),
    /// A hard link to a directory.
    #[error("it is another name of {}, which is a directory", .0.escape_ascii())]
    DirectoryTarget(Bytes),
    /// A file has at most 65535 names on btrfs.
    #[error("a file has at most 65535 names")]
    TooManyLinks,
    /// A symbolic link leads somewhere.
    #[error(
        "the target of a symbolic link has 1 to 4095 bytes and no zero byte, this one has {got}"
    )]
    SymlinkTarget {
        /// Its bytes.
        got: usize,
    },
    /// Device numbers of Linux have 12 and 20 bits.
    #[error("there is no device {major}:{minor}; numbers end at 4095:1048575")]
    Device {
        /// Its major number.
        major: u32,
        /// Its minor number.
        minor: u32,
    },
    /// A time has a second or more of nanoseconds.
    #[error("a time has {got} nanoseconds, a second has 1000000000")]
    Nanoseconds {
        /// The nanoseconds.
        got: u32,
    },
    /// An extended attribute that btrfs has not, or has not there, or does not take with this value.
    #[error("btrfs does not take the extended attribute {} {why}", name.escape_ascii())]
    Xattr {
        /// Its name.
        name: Bytes,
        /// Why not.
        why: &'static str,
    },
    /// The file is longer than any can be.
    #[error("a file ends at or below 2^63 - 1")]
    TooLarge,
}
