//! What the threads do: data becomes extents, and gets a digest.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use super::error::PackError;
use super::parent::{Base, Begin, Cut, cut, nonzero};
use crate::extent::{Content, EncodedExtent};
use crate::prepare::{PrepareError, Preparer};
use crate::rules::Target;
use crate::rules::limits::u64_of;
use crate::send_stream::Command;
use crate::tree::LastRead;
use crate::tree::digest::PieceDigest;

/// One thing to do, in the order of the stream.
#[derive(Debug)]
pub(super) enum Step {
    /// A command as it is to be.
    Command(Command),
    /// Data of a file.
    Data(Data),
    /// In an increment: a file begins.
    Begin(Begin),
    /// In an increment: a file has a hole, and what it is compared with may not.
    Hole { range: Range<u64>, base: Arc<Base> },
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
    /// In an increment: what it is compared with.
    pub(super) base: Option<Arc<Base>>,
}

/// The same after work.
#[derive(Debug)]
pub(super) enum Done {
    Step(Step),
    Data(Made),
    /// What the data is beside the parent's, in the order of offsets.
    Compared {
        /// Offset of all of it in the file, bytes.
        offset: u64,
        digest: Digest,
        parts: Vec<Part>,
    },
}

/// What became of data.
#[derive(Debug)]
pub(super) struct Made {
    pub(super) piece: Piece,
    pub(super) digest: Digest,
}

/// Data as it goes into the stream.
#[derive(Debug)]
pub(super) struct Piece {
    pub(super) path: Bytes,
    /// Offset in the file, bytes.
    pub(super) offset: u64,
    /// Bytes of the file.
    pub(super) len: u64,
    /// Where the stream may have it already.
    pub(super) fingerprint: Option<PieceDigest>,
    pub(super) content: Content<EncodedExtent>,
}

/// Data beside what the parent has. Offsets and lengths are bytes.
#[derive(Debug)]
pub(super) enum Part {
    /// The same.
    Same {
        offset: u64,
        len: u64,
        /// Where others may be cloned from it.
        fingerprint: Option<PieceDigest>,
    },
    /// Zeroes, in whole sectors.
    Zero {
        offset: u64,
        len: u64,
        was_zero: bool,
    },
    /// Something else.
    New(Piece),
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
    /// Of the parent.
    pub(super) last_read: LastRead,
}

impl Worker {
    pub(super) fn work(&mut self, steps: Vec<Step>) -> Result<Vec<Done>, PackError> {
        let work = |step| match step {
            Step::Data(data) => self.make(data),
            Step::Hole { range, base } => Ok(Done::Compared {
                offset: range.start,
                digest: Digest::Piece(None),
                parts: self.hole(range.clone(), &base)?,
            }),
            step => Ok(Done::Step(step)),
        };
        steps.into_iter().map(work).collect()
    }

    fn make(&mut self, data: Data) -> Result<Done, PackError> {
        let Data {
            path,
            offset,
            bytes,
            is_piece,
            base,
        } = data;
        let bytes = Bytes::from(bytes);
        let hash = PieceDigest::of(&bytes);
        let digest = match is_piece {
            true => Digest::Piece(hash),
            false => Digest::Part(bytes.clone()),
        };
        if let Some(base) = base {
            let parts = self.compare(&path, offset, &bytes, hash, &base)?;
            return Ok(Done::Compared {
                offset,
                digest,
                parts,
            });
        }
        let end = offset.saturating_add(u64_of(bytes.len()));
        let content = match hash {
            None => Content::Hole,
            Some(_) => self.encode(&bytes, offset, end)?,
        };
        let piece = self.piece(path, offset, &bytes, hash, content);
        Ok(Done::Data(Made { piece, digest }))
    }

    /// Data that goes into a file which has this size before or after it.
    fn encode(
        &mut self,
        bytes: &Bytes,
        offset: u64,
        file_size: u64,
    ) -> Result<Content<EncodedExtent>, PrepareError> {
        let Some(preparer) = &mut self.preparer else {
            return Ok(Content::Plain(bytes.clone()));
        };
        let place = self.target.at(offset).file_size(file_size);
        Ok(match preparer.prepare_for(bytes, &place)? {
            Content::Encoded(extent) => Content::Encoded(extent),
            Content::Plain(_) | Content::Hole => Content::Plain(bytes.clone()),
        })
    }

    fn piece(
        &self,
        path: Bytes,
        offset: u64,
        bytes: &Bytes,
        hash: Option<PieceDigest>,
        content: Content<EncodedExtent>,
    ) -> Piece {
        Piece {
            path,
            offset,
            len: u64_of(bytes.len()),
            fingerprint: self.fingerprint(bytes, hash),
            content,
        }
    }

    /// Inline data is cheaper than a clone of it.
    fn fingerprint(&self, bytes: &Bytes, hash: Option<PieceDigest>) -> Option<PieceDigest> {
        let is_long = u64_of(bytes.len()) > u64::from(self.target.sector_size);
        hash.filter(|_| self.dedupe && is_long)
    }

    /// What of the data the parent has, and what becomes of the rest.
    fn compare(
        &mut self,
        path: &Bytes,
        offset: u64,
        bytes: &Bytes,
        hash: Option<PieceDigest>,
        base: &Base,
    ) -> Result<Vec<Part>, PackError> {
        let cuts = cut(
            bytes,
            offset,
            base,
            self.target.sector_size,
            &mut self.last_read,
        );
        let cuts = cuts.map_err(|source| base.error(source))?;
        let is_one = cuts.len() == 1;
        let mut parts = Vec::new();
        for (range, cut) in cuts {
            let offset = offset.saturating_add(u64_of(range.start));
            let bytes = bytes.slice(range);
            let len = u64_of(bytes.len());
            parts.push(match cut {
                Cut::Same => Part::Same {
                    offset,
                    len,
                    fingerprint: match is_one && base.has_end(offset, len, &self.target) {
                        true => self.fingerprint(&bytes, hash),
                        false => None,
                    },
                },
                Cut::Zero { was_zero } => Part::Zero {
                    offset,
                    len,
                    was_zero,
                },
                // Of the file as it is: what ends inside a sector will end it.
                Cut::Other => {
                    let end = offset.saturating_add(len);
                    let size = match end.is_multiple_of(self.target.sector_size.into()) {
                        true => end.max(base.size_in_place()),
                        false => end,
                    };
                    let content = self.encode(&bytes, offset, size)?;
                    let hash = match is_one {
                        true => hash,
                        false => PieceDigest::of(&bytes),
                    };
                    Part::New(self.piece(path.clone(), offset, &bytes, hash, content))
                }
            });
        }
        Ok(parts)
    }

    /// What the parent has where there is a hole now.
    fn hole(&mut self, range: Range<u64>, base: &Base) -> Result<Vec<Part>, PackError> {
        let sector_size = self.target.sector_size;
        let found = nonzero(range, base, sector_size, &mut self.last_read);
        let found = found.map_err(|source| base.error(source))?;
        let part = |range: Range<u64>| Part::Zero {
            offset: range.start,
            len: range.end.saturating_sub(range.start),
            was_zero: false,
        };
        Ok(found.into_iter().map(part).collect())
    }
}
