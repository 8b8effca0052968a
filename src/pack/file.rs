//! The content of a file, as it comes.

use std::io::{self, Read, Write};
use std::sync::Arc;

use bytes::Bytes;

use super::entry::Metadata;
use super::error::{EntryFault, PackError};
use super::identity::ino;
use super::names::InodeId;
use super::out::Out;
use super::parent::{Base, Begin};
use super::work::{Data, Step};
use crate::rules::limits::{MAX_FILE_SIZE, u64_of};
use crate::send_stream::command;
use crate::tree::digest::PIECE;

/// Takes the content of a file that has just been added: what is written to it, front to back, and
/// holes. Nothing else can be added until [`FileWriter::finish`].
///
/// Errors of `Write` are [`PackError`]s inside `io::Error`s.
pub struct FileWriter<'a, W> {
    out: &'a mut Out<W>,
    path: Bytes,
    /// The name that it gets in the end, where that is another one: a file that takes the place of another
    /// one is complete before it has its name, for any receiver.
    moves_to: Option<Bytes>,
    metadata: Metadata,
    /// Data that is not on its way yet; it begins at `start` in the file, which is a multiple of the
    /// sector size.
    buffer: Vec<u8>,
    start: u64,
    sector_size: u64,
    extent_size: usize,
    inode: InodeId,
    /// The size that it will have, where that is known, bytes.
    expected: Option<u64>,
    /// In an increment: what it is compared with, when it has begun.
    base: Option<Option<Arc<Base>>>,
}

impl<W> std::fmt::Debug for FileWriter<'_, W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FileWriter")
            .field("path", &self.path)
            .field("size", &self.size())
            .finish_non_exhaustive()
    }
}

impl<W> FileWriter<'_, W> {
    /// Bytes so far.
    fn size(&self) -> u64 {
        self.start.saturating_add(u64_of(self.buffer.len()))
    }

    /// Bytes that the buffer can still take: extents end at multiples of their size.
    fn room(&self) -> usize {
        let into = self.start.checked_rem(u64_of(self.extent_size));
        let into = into.and_then(|into| usize::try_from(into).ok());
        self.extent_size
            .saturating_sub(into.unwrap_or(0))
            .saturating_sub(self.buffer.len())
    }
}

impl<'a, W: Write + Send + 'static> FileWriter<'a, W> {
    pub(super) fn new(
        out: &'a mut Out<W>,
        path: Bytes,
        moves_to: Option<Bytes>,
        metadata: Metadata,
        inode: InodeId,
        sector_size: u32,
        extent_size: usize,
    ) -> Self {
        Self {
            out,
            path,
            moves_to,
            metadata,
            buffer: Vec::new(),
            start: 0,
            sector_size: sector_size.into(),
            extent_size,
            inode,
            expected: None,
            base: None,
        }
    }

    /// Says how long the file will be, before anything of it comes, bytes. An increment finds files
    /// that have been moved by that; where it turns out not to be so, nothing is wrong but the
    /// increment may be larger.
    pub fn expect(&mut self, size: u64) {
        self.expected = Some(size);
    }

    /// In an increment: finds what the file is compared with.
    fn begin(&mut self) -> Result<Option<Arc<Base>>, PackError> {
        let Some(old) = self.out.old.as_mut() else {
            return Ok(None);
        };
        if let Some(base) = &self.base {
            return Ok(base.clone());
        }
        let mtime = self.metadata.times.mtime;
        let base = old.base(&self.path, mtime, self.expected, self.inode);
        let base = base.map(Arc::new);
        let path = match &base {
            Some(base) if base.is_in_place() => self.path.clone(),
            _ => old.temporary(|_| true),
        };
        let begin = Begin {
            path: path.clone(),
            ino: ino(self.inode),
            base: base.clone(),
        };
        self.path = path;
        self.base = Some(base.clone());
        self.out.step(Step::Begin(begin), 0)?;
        Ok(base)
    }

    /// Goes on with so many zero bytes. Whole sectors of them become a hole.
    ///
    /// # Errors
    /// [`PackError::Entry`] where the file would be longer than any can be; and when packing has
    /// failed.
    pub fn hole(&mut self, len: u64) -> Result<(), PackError> {
        self.check(len)?;
        let mut left = len;
        // Extents end at sectors, so what is before the hole gets the rest of its sector.
        let inside = self.size().checked_rem(self.sector_size).unwrap_or(0);
        if inside > 0 {
            let rest = left.min(self.sector_size.saturating_sub(inside));
            self.zeroes(rest)?;
            left = left.saturating_sub(rest);
        }
        let rest = left.checked_rem(self.sector_size).unwrap_or(0);
        let whole = left.saturating_sub(rest);
        if whole > 0 {
            self.send()?;
            let end = self.start.saturating_add(whole);
            if let Some(base) = self.begin()? {
                let range = self.start..end;
                self.out.step(Step::Hole { range, base }, 0)?;
            }
            self.start = end;
        }
        self.zeroes(rest)
    }

    /// Goes on with everything that a reader gives; returns how much that was, bytes.
    ///
    /// # Errors
    /// As for writing, and when the reader fails; the file cannot be finished then.
    pub fn copy(&mut self, mut reader: impl Read) -> io::Result<u64> {
        let mut sum = 0_u64;
        loop {
            let room = u64_of(self.room());
            let got = self.append(room, |buffer| (&mut reader).take(room).read_to_end(buffer))?;
            sum = sum.saturating_add(u64_of(got));
            if u64_of(got) < room {
                return Ok(sum);
            }
        }
    }

    /// Goes on with what `read` appends to a buffer with room for so many bytes, or for an extent:
    /// more is not taken. Returns how much that was, bytes.
    pub(super) fn append(
        &mut self,
        most: u64,
        read: impl FnOnce(&mut Vec<u8>) -> io::Result<usize>,
    ) -> io::Result<usize> {
        let room = self.room();
        let most = usize::try_from(most).map_or(room, |most| most.min(room));
        let before = self.buffer.len();
        self.buffer.reserve_exact(most);
        let got = read(&mut self.buffer)?.min(most);
        self.buffer.truncate(before.saturating_add(got));
        self.check(0)?;
        self.send_full()?;
        Ok(got)
    }

    /// Sends an extent that is full.
    fn send_full(&mut self) -> Result<(), PackError> {
        if self.room() == 0 {
            self.send()
        } else {
            Ok(())
        }
    }

    /// Ends the file.
    ///
    /// # Errors
    /// When packing has failed.
    pub fn finish(mut self) -> Result<(), PackError> {
        let size = self.size();
        if self.start == 0 {
            self.expected = Some(size);
        }
        self.send_as(true)?;
        self.begin()?;
        let Self {
            out,
            mut path,
            moves_to,
            metadata,
            ..
        } = self;
        let end = Step::EndOfFile {
            path: path.clone(),
            size,
        };
        out.step(end, 0)?;
        if let Some(path_to) = moves_to {
            let from = std::mem::replace(&mut path, path_to.clone());
            out.command(command::Rename {
                path: from,
                path_to,
            })?;
            out.step(Step::Forget, 0)?;
        }
        let late = out.describe(&path, &metadata, true)?;
        out.xattrs(&path, late)?;
        out.utimes(path, metadata.times)?;
        out.unfinished = None;
        Ok(())
    }

    fn check(&self, more: u64) -> Result<(), PackError> {
        match self.size().checked_add(more) {
            Some(size) if size <= MAX_FILE_SIZE => Ok(()),
            _ => Err(PackError::Entry {
                path: self.path.clone(),
                fault: EntryFault::TooLarge,
            }),
        }
    }

    /// Fewer than a sector.
    fn zeroes(&mut self, len: u64) -> Result<(), PackError> {
        let len = usize::try_from(len).unwrap_or(0);
        self.buffer.resize(self.buffer.len().saturating_add(len), 0);
        self.send_full()
    }

    /// Sends what there is. Extents end at sectors, so this is for full ones, before holes and at the end.
    fn send(&mut self) -> Result<(), PackError> {
        self.send_as(false)
    }

    /// The same, which may be the last that the file has.
    fn send_as(&mut self, is_last: bool) -> Result<(), PackError> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let base = self.begin()?;
        let mut bytes = std::mem::take(&mut self.buffer);
        // Many short files are on their way at a time.
        bytes.shrink_to_fit();
        let (offset, len) = (self.start, bytes.len());
        self.start = self.start.saturating_add(u64_of(len));
        let piece = u64_of(PIECE);
        let is_piece =
            offset.is_multiple_of(piece) && (is_last || self.start.is_multiple_of(piece));
        let data = Data {
            path: self.path.clone(),
            offset,
            bytes,
            is_piece,
            base,
        };
        self.out.step(Step::Data(data), len)
    }
}

impl<W: Write + Send + 'static> Write for FileWriter<'_, W> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let room = self.room();
        let taken = data.get(..room.min(data.len())).unwrap_or_default();
        self.check(u64_of(taken.len()))?;
        self.buffer.extend_from_slice(taken);
        self.send_full()?;
        Ok(taken.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl From<PackError> for io::Error {
    fn from(error: PackError) -> Self {
        match error {
            PackError::Output(error) => error,
            error => Self::other(error),
        }
    }
}
