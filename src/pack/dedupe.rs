//! Content that the stream has already, and from where it can be cloned.
//!
//! What is remembered of data is its length and its digest as a piece of a file (SHA-256): data with
//! the same ones is the same, as nobody can make two that are not. The first pieces stay, and when there
//! is no more room no more are remembered, so memory is bounded and what is found depends on the order
//! of the stream alone.

use std::collections::HashMap;

use bytes::Bytes;

use super::work::Piece;
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
    /// The file is one of the parent.
    pub(super) of_parent: bool,
}

/// The index.
#[derive(Debug, Default)]
pub(super) struct Known {
    pieces: HashMap<(u64, PieceDigest), (u32, u64)>,
    /// Paths of files that have pieces, in the order of the stream, and whether they are of the parent.
    files: Vec<(Bytes, bool)>,
}

impl Known {
    /// Where the stream has such data already; remembers it otherwise.
    pub(super) fn place(&mut self, piece: &Piece) -> Option<Place> {
        let fingerprint = piece.fingerprint?;
        if let Some(&(file, offset)) = self.pieces.get(&(piece.len, fingerprint)) {
            let (path, of_parent) = self.files.get(file as usize)?.clone();
            return Some(Place {
                path,
                offset,
                of_parent,
            });
        }
        let here = Place {
            path: piece.path.clone(),
            offset: piece.offset,
            of_parent: false,
        };
        self.remember(piece.len, fingerprint, &here);
        None
    }

    /// Remembers where data is, while there is room.
    pub(super) fn remember(&mut self, len: u64, fingerprint: PieceDigest, place: &Place) {
        if self.pieces.len() >= MAX_PIECES {
            return;
        }
        let is_last = |(path, of_parent): &(Bytes, bool)| {
            (path, *of_parent) == (&place.path, place.of_parent)
        };
        if !self.files.last().is_some_and(is_last) {
            self.files.push((place.path.clone(), place.of_parent));
        }
        if let Ok(file) = u32::try_from(self.files.len().saturating_sub(1)) {
            let piece = self.pieces.entry((len, fingerprint));
            piece.or_insert((file, place.offset));
        }
    }

    /// Nothing can be cloned any more from what there was.
    pub(super) fn forget(&mut self) {
        self.pieces.clear();
        self.files.clear();
    }
}
