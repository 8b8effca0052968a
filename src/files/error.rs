//! Why files on a btrfs cannot be looked at.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use crate::ioctl::{QueryError, ReadError, WriteError};
use crate::prepare::PrepareError;

/// Why files on a btrfs cannot be looked at.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum FilesError {
    /// A path cannot be opened: correct it, or become root.
    #[error("cannot open {}", path.display())]
    Open {
        /// The path.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// Neither a regular file nor a directory: leave it out.
    #[error("{} is neither a regular file nor a directory", path.display())]
    NoFiles {
        /// The path.
        path: PathBuf,
    },
    /// Addresses mean nothing on another filesystem: look at each on its own.
    #[error("{} is on another filesystem than the paths before it", path.display())]
    OtherFilesystem {
        /// The path.
        path: PathBuf,
    },
    /// A path about which the kernel does not answer.
    #[error("{}", path.display())]
    Path {
        /// The path.
        path: PathBuf,
        /// Why not.
        #[source]
        source: QueryError,
    },
    /// The kernel does not hand out extents at all.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// There are no extents with such options: a level that the codec does not have.
    #[error(transparent)]
    Prepare(#[from] PrepareError),
    /// The kernel does not answer a question about the filesystem.
    #[error(transparent)]
    Query(#[from] QueryError),
    /// No unnamed file can be made there: name a writable directory of the same filesystem.
    #[error("cannot make a temporary file in {}", path.display())]
    Temporary {
        /// The directory.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A new extent cannot be written.
    #[error("cannot write to a temporary file")]
    Encoded(#[from] WriteError),
    /// Plain data cannot be written.
    #[error("cannot write to a temporary file")]
    Plain(#[source] io::Error),
}
