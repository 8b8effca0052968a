//! Why unpacking ends.

use std::io;

use bytes::Bytes;
use thiserror::Error;

use super::super::error::TreeError;
use crate::transform::Shortened;

/// Why unpacking ends. What was unpacked until then stays.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum UnpackError {
    /// The directory cannot be made or opened, or is not empty.
    #[error("the directory cannot be used")]
    Directory(#[source] io::Error),
    /// There is no such path in the tree.
    #[error("there is no {} in the tree", Shortened(path))]
    NoSuchPath {
        /// The path.
        path: Bytes,
    },
    /// The data of a file cannot be had.
    #[error("{}", Shortened(path))]
    Data {
        /// The file.
        path: Bytes,
        /// Why.
        #[source]
        source: TreeError,
    },
    /// Something cannot be made or written.
    #[error("cannot {what} {}", Shortened(path))]
    Io {
        /// What was to be done: `make`, `write`.
        what: &'static str,
        /// The path.
        path: Bytes,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The tree is too deep.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// What was written did not reach the disk.
    #[error("the files did not all reach the disk")]
    Sync(#[source] io::Error),
}

impl UnpackError {
    /// True where the streams are at fault.
    #[must_use]
    pub fn is_of_stream(&self) -> bool {
        match self {
            Self::Data { source, .. } | Self::Tree(source) => source.is_of_stream(),
            _ => false,
        }
    }

    /// The directory itself is `.`.
    pub(super) fn io(what: &'static str, path: &[u8], source: impl Into<io::Error>) -> Self {
        let path = if path.is_empty() { b"." } else { path };
        Self::Io {
            what,
            path: Bytes::copy_from_slice(path),
            source: source.into(),
        }
    }

    pub(super) fn data(path: &[u8], source: TreeError) -> Self {
        Self::Data {
            path: Bytes::copy_from_slice(path),
            source,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_directory_itself_has_a_name() {
        let error = |path| UnpackError::io("make", path, io::ErrorKind::Other).to_string();
        assert_eq!(error(b""), "cannot make .");
        assert_eq!(error(b"a"), "cannot make a");
    }
}
