//! What the threads do: data becomes extents, and gets a digest.

use bytes::Bytes;

use crate::extent::{Content, EncodedExtent};
use crate::prepare::{PrepareError, Preparer};
use crate::rules::Target;
use crate::rules::limits::u64_of;
use crate::send_stream::Command;
use crate::tree::digest::PieceDigest;

/// One thing to do, in the order of the stream.
#[derive(Debug)]
pub(super) enum Step {
    /// A command as it is to be.
    Command(Command),
    /// Data of a file.
    Data(Data),
    /// Nothing more comes for the file of this path, which has this size, bytes.
    EndOfFile { path: Bytes, size: u64 },
    /// A name has gone: nothing can be cloned from there.
    Forget,
    /// Everything has been added.
    End,
}

/// A run of bytes of a file, at most an extent.
#[derive(Debug)]
pub(super) struct Data {
    pub(super) path: Bytes,
    /// Offset in the file, bytes.
    pub(super) offset: u64,
    pub(super) bytes: Vec<u8>,
    /// It is all that the file has in a piece of its digest.
    pub(super) is_piece: bool,
}

/// The same after work.
#[derive(Debug)]
pub(super) enum Done {
    Step(Step),
    Data(Made),
}

/// What became of data.
#[derive(Debug)]
pub(super) struct Made {
    pub(super) path: Bytes,
    /// Offset in the file, bytes.
    pub(super) offset: u64,
    /// Bytes of the file.
    pub(super) len: u64,
    /// Where the stream may have it already.
    pub(super) fingerprint: Option<PieceDigest>,
    pub(super) digest: Digest,
    pub(super) content: Content<EncodedExtent>,
}

/// What data does to the digest of the content of its file.
#[derive(Debug)]
pub(super) enum Digest {
    /// It is a piece; `None` where all is zero.
    Piece(Option<PieceDigest>),
    /// It is a part of one.
    Part(Bytes),
}

/// A thread's encoders.
#[derive(Debug)]
pub(super) struct Worker {
    /// `None` where all data stays plain.
    pub(super) preparer: Option<Preparer>,
    pub(super) target: Target,
    /// Data is compared with what the stream has already.
    pub(super) dedupe: bool,
}

impl Worker {
    pub(super) fn work(&mut self, steps: Vec<Step>) -> Result<Vec<Done>, PrepareError> {
        let work = |step| match step {
            Step::Data(data) => self.make(data).map(Done::Data),
            step => Ok(Done::Step(step)),
        };
        steps.into_iter().map(work).collect()
    }

    fn make(&mut self, data: Data) -> Result<Made, PrepareError> {
        let Data {
            path,
            offset,
            bytes,
            is_piece,
        } = data;
        let bytes = Bytes::from(bytes);
        let len = u64_of(bytes.len());
        let piece = PieceDigest::of(&bytes);
        let content = if piece.is_none() {
            Content::Hole
        } else if let Some(preparer) = &mut self.preparer {
            let end = offset.saturating_add(len);
            let place = self.target.at(offset).file_size(end);
            match preparer.prepare_for(&bytes, &place)? {
                Content::Encoded(extent) => Content::Encoded(extent),
                Content::Plain(_) | Content::Hole => Content::Plain(bytes.clone()),
            }
        } else {
            Content::Plain(bytes.clone())
        };
        // Inline data is cheaper than a clone of it.
        let is_long = len > u64::from(self.target.sector_size);
        let digest = if is_piece {
            Digest::Piece(piece)
        } else {
            Digest::Part(bytes)
        };
        Ok(Made {
            path,
            offset,
            len,
            fingerprint: piece.filter(|_| self.dedupe && is_long),
            digest,
            content,
        })
    }
}
