//! Data of neighbouring `WRITE`s becomes extents.
//!
//! A command of version 1 carries up to 48 KiB, less than an extent. Its data is not copied here: an
//! extent is a list of pieces of commands, and the worker that compresses it joins them. Only small
//! commands are copied, as a list of many small pieces takes more memory than their bytes.

use bytes::Bytes;

use super::error::TransformError;
use crate::rules::limits::u64_of;
use crate::send_stream::{RawCommand, command};

/// Commands with less data than this are copied, bytes: an extent has at most 32 pieces that are
/// longer, and no more copies than that between them.
const COPIED: usize = 4096;

/// How data is cut.
#[derive(Debug, Clone, Copy)]
pub(super) struct Gather {
    /// Bytes of a piece, a multiple of the sector size.
    pub(super) extent_size: usize,
    /// Bytes of a sector: pieces begin at one.
    pub(super) sector_size: u32,
}

impl Gather {
    /// Bytes of an extent that begins here: up to the next sector if that is inside one.
    fn full_at(&self, offset: u64) -> usize {
        let sector_size = u64::from(self.sector_size.max(1));
        match usize::try_from(offset.checked_rem(sector_size).unwrap_or(0)) {
            Ok(0) | Err(_) => self.extent_size,
            Ok(inside) => (self.sector_size as usize).saturating_sub(inside),
        }
    }
}

/// Data of one file without a gap, at most an extent.
#[derive(Debug)]
pub(super) struct Data {
    /// Offset of the first command in the input, bytes.
    pub(super) at: u64,
    pub(super) path: Bytes,
    /// Offset in the file, bytes.
    pub(super) offset: u64,
    /// Bytes of all pieces.
    pub(super) len: usize,
    /// Bytes that the file has at the receiver, at most; see `Sizes::at_most`.
    pub(super) file_size: u64,
    pieces: Vec<Piece>,
}

#[derive(Debug)]
enum Piece {
    /// What a command gives to an extent.
    Shared {
        command: RawCommand,
        /// The command's data begins here: it did not give to the extent before.
        first: bool,
        data: Bytes,
    },
    /// What small commands give, whose checksums were right.
    Copied(Vec<u8>),
}

impl Piece {
    fn data(&self) -> &[u8] {
        match self {
            Self::Shared { data, .. } => data,
            Self::Copied(data) => data,
        }
    }
}

impl Data {
    /// Checks the commands' checksums, each where its data begins.
    ///
    /// # Errors
    /// [`TransformError::Damaged`].
    pub(super) fn verify(&self) -> Result<(), TransformError> {
        self.pieces.iter().try_for_each(|piece| match piece {
            Piece::Shared {
                command,
                first: true,
                ..
            } => verify(command),
            _ => Ok(()),
        })
    }

    /// The data in one piece; `room` takes it where it is not.
    pub(super) fn joined<'a>(&'a self, room: &'a mut Vec<u8>) -> &'a [u8] {
        if let [only] = &self.pieces[..] {
            return only.data();
        }
        room.clear();
        for piece in &self.pieces {
            room.extend_from_slice(piece.data());
        }
        room
    }
}

/// True for data so small that it is copied.
pub(super) fn is_copied(write: &command::Write) -> bool {
    write.data.len() < COPIED
}

/// Checks a command's checksum.
///
/// # Errors
/// [`TransformError::Damaged`].
pub(super) fn verify(command: &RawCommand) -> Result<(), TransformError> {
    if command.crc_ok() {
        return Ok(());
    }
    Err(TransformError::Damaged {
        offset: command.offset(),
    })
}

/// An extent that is not full yet.
#[derive(Debug)]
pub(super) struct Run {
    data: Data,
    /// Length at which it is cut, bytes.
    full: usize,
}

impl Run {
    pub(super) fn begin(at: u64, path: Bytes, offset: u64, gather: &Gather) -> Self {
        let data = Data {
            at,
            path,
            offset,
            len: 0,
            file_size: u64::MAX,
            pieces: Vec::new(),
        };
        Self {
            data,
            full: gather.full_at(offset),
        }
    }

    /// True for data that goes on where this ends.
    pub(super) fn is_followed_by(&self, write: &command::Write) -> bool {
        self.data.path == write.path
            && self.data.offset.checked_add(u64_of(self.data.len)) == Some(write.file_offset)
    }

    /// Takes as much of `write` after `done` bytes of it as fits; returns how much.
    pub(super) fn take(
        &mut self,
        command: &RawCommand,
        write: &command::Write,
        done: usize,
    ) -> usize {
        let room = self.full.saturating_sub(self.data.len);
        let data = write.data.slice(done..);
        let data = data.slice(..room.min(data.len()));
        let len = data.len();
        // At most an extent.
        self.data.len = self.data.len.saturating_add(len);
        let pieces = &mut self.data.pieces;
        if !is_copied(write) {
            pieces.push(Piece::Shared {
                command: command.clone(),
                first: done == 0,
                data,
            });
        } else if let Some(Piece::Copied(copied)) = pieces.last_mut() {
            copied.extend_from_slice(&data);
        } else {
            pieces.push(Piece::Copied(data.to_vec()));
        }
        len
    }

    pub(super) fn is_full(&self) -> bool {
        self.data.len >= self.full
    }

    pub(super) fn path(&self) -> &Bytes {
        &self.data.path
    }

    /// `file_size`: what the file has at the receiver, bytes, at most.
    pub(super) fn finish(self, file_size: u64) -> Data {
        Data {
            file_size,
            ..self.data
        }
    }
}

#[cfg(test)]
impl Data {
    pub(super) fn pieces(&self) -> usize {
        self.pieces.len()
    }
}
