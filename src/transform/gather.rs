//! Data of neighbouring `WRITE`s becomes extents.
//!
//! What one command carries, 48 KiB in version 1, is less than an extent. Nothing is copied
//! here: an extent is a list of pieces of commands, and whoever compresses it puts them
//! together.

use bytes::Bytes;

use super::error::TransformError;
use crate::send_stream::{RawCommand, command};

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
        match usize::try_from(offset % sector_size) {
            Ok(0) | Err(_) => self.extent_size,
            Ok(inside) => (self.sector_size as usize).saturating_sub(inside),
        }
    }
}

/// Data of one file without a gap, at most an extent.
#[derive(Debug)]
pub(super) struct Data {
    pub(super) path: Bytes,
    /// Offset in the file, bytes.
    pub(super) offset: u64,
    /// Bytes of all pieces.
    pub(super) len: usize,
    pieces: Vec<Piece>,
}

/// What a command gives to an extent.
#[derive(Debug)]
struct Piece {
    command: RawCommand,
    /// The command's data begins here: it did not give to the extent before.
    first: bool,
    data: Bytes,
}

impl Data {
    /// Offset of the first command in the input, bytes.
    pub(super) fn at(&self) -> u64 {
        self.pieces
            .first()
            .map_or(0, |piece| piece.command.offset())
    }

    /// Checks the commands' checksums, each where its data begins.
    ///
    /// # Errors
    /// [`TransformError::Damaged`].
    pub(super) fn verify(&self) -> Result<(), TransformError> {
        let mut commands = self.pieces.iter().filter(|piece| piece.first);
        commands.try_for_each(|piece| verify(&piece.command))
    }

    /// The data in one piece; `room` takes it where it is not.
    pub(super) fn joined<'a>(&'a self, room: &'a mut Vec<u8>) -> &'a [u8] {
        if let [only] = &self.pieces[..] {
            return &only.data;
        }
        room.clear();
        for piece in &self.pieces {
            room.extend_from_slice(&piece.data);
        }
        room
    }
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
    pub(super) fn begin(path: Bytes, offset: u64, gather: &Gather) -> Self {
        let data = Data {
            path,
            offset,
            len: 0,
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
            && self.data.offset.checked_add(self.data.len as u64) == Some(write.file_offset)
    }

    /// Takes as much of `rest` as fits. `first` says that the command's data begins there.
    pub(super) fn take(&mut self, command: &RawCommand, rest: &mut Bytes, first: bool) {
        let room = self.full.saturating_sub(self.data.len);
        let data = rest.split_to(room.min(rest.len()));
        self.data.len += data.len();
        self.data.pieces.push(Piece {
            command: command.clone(),
            first,
            data,
        });
    }

    pub(super) fn is_full(&self) -> bool {
        self.data.len >= self.full
    }

    pub(super) fn finish(self) -> Data {
        self.data
    }
}
