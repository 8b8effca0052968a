//! Content that the stream has already, and from where it can be cloned.
//!
//! What is remembered of data is its length and its digest as a piece of a file (SHA-256): data with
//! the same ones is the same, as nobody can make two that are not. The first pieces stay, and when there
//! is no more room no more are remembered, so memory is bounded and what is found depends on the order
//! of the stream alone.

use std::collections::HashMap;

use bytes::Bytes;

use super::work::Made;
use crate::tree::digest::PieceDigest;

/// Pieces that are remembered: as many as a hash table with 2^19 slots takes. They stand for 56 GiB
/// where all of them are full extents, and take 29 MiB and the paths of their files.
const MAX_PIECES: usize = (1 << 19) / 8 * 7;

/// Where data stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) path: Bytes,
    /// Offset in the file, bytes.
    pub(super) offset: u64,
}

/// The index.
#[derive(Debug, Default)]
pub(super) struct Known {
    pieces: HashMap<(u64, PieceDigest), (u32, u64)>,
    /// Paths of files that have pieces, in the order of the stream.
    files: Vec<Bytes>,
}

impl Known {
    /// Where the stream has such data already; remembers it otherwise.
    pub(super) fn place(&mut self, made: &Made) -> Option<Place> {
        let key = (made.len, made.fingerprint?);
        if let Some(&(file, offset)) = self.pieces.get(&key) {
            let path = self.files.get(file as usize)?.clone();
            return Some(Place { path, offset });
        }
        if self.pieces.len() < MAX_PIECES {
            if self.files.last() != Some(&made.path) {
                self.files.push(made.path.clone());
            }
            let file = u32::try_from(self.files.len().saturating_sub(1)).ok()?;
            self.pieces.insert(key, (file, made.offset));
        }
        None
    }

    /// Nothing can be cloned any more from what there was.
    pub(super) fn forget(&mut self) {
        self.pieces.clear();
        self.files.clear();
    }
}
