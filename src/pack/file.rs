//! The content of a file, as it comes.

use std::io::{self, Read, Write};

use bytes::Bytes;

use super::entry::Metadata;
use super::error::{EntryFault, PackError};
use super::out::Out;
use super::work::{Data, Step};
use crate::rules::limits::{MAX_FILE_SIZE, u64_of};

/// Takes the content of a file that has just been added: what is written to it, front to back, and
/// holes. Nothing else can be added until [`FileWriter::finish`].
///
/// Errors of `Write` are [`PackError`]s inside `io::Error`s.
pub struct FileWriter<'a, W> {
    out: &'a mut Out<W>,
    path: Bytes,
    metadata: Metadata,
    /// Data that is not on its way yet; it begins at `start` in the file, which is a multiple of the
    /// sector size.
    buffer: Vec<u8>,
    start: u64,
    sector_size: u64,
    extent_size: usize,
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
}

impl<'a, W: Write + Send + 'static> FileWriter<'a, W> {
    pub(super) fn new(
        out: &'a mut Out<W>,
        path: Bytes,
        metadata: Metadata,
        sector_size: u32,
        extent_size: usize,
    ) -> Self {
        Self {
            out,
            path,
            metadata,
            buffer: Vec::new(),
            start: 0,
            sector_size: sector_size.into(),
            extent_size,
        }
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
            self.start = self.start.saturating_add(whole);
        }
        self.zeroes(rest)
    }

    /// Goes on with everything that a reader gives; returns how much that was, bytes.
    ///
    /// # Errors
    /// As for writing, and when the reader fails; the file cannot be finished then.
    pub fn copy(&mut self, reader: impl Read) -> io::Result<u64> {
        self.copy_at_most(reader, u64::MAX)
    }

    /// The same for so many bytes at the most.
    pub(super) fn copy_at_most(&mut self, mut reader: impl Read, most: u64) -> io::Result<u64> {
        let mut left = most;
        loop {
            let room = self.extent_size.saturating_sub(self.buffer.len());
            let wanted = left.min(u64_of(room));
            self.buffer
                .reserve_exact(usize::try_from(wanted).unwrap_or(room));
            let got = (&mut reader).take(wanted).read_to_end(&mut self.buffer)?;
            self.check(0)?;
            left = left.saturating_sub(u64_of(got));
            if self.buffer.len() >= self.extent_size {
                self.send()?;
            }
            if left == 0 || u64_of(got) < wanted {
                return Ok(most.saturating_sub(left));
            }
        }
    }

    /// Ends the file.
    ///
    /// # Errors
    /// When packing has failed.
    pub fn finish(mut self) -> Result<(), PackError> {
        let size = self.size();
        self.send_as(self.start == 0)?;
        let Self {
            out,
            path,
            metadata,
            ..
        } = self;
        let end = Step::EndOfFile {
            path: path.clone(),
            size,
        };
        out.step(end, 0)?;
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
        if self.buffer.len() >= self.extent_size {
            self.send()?;
        }
        Ok(())
    }

    /// Sends what there is. Extents end at sectors, so this is for full ones and for the end.
    fn send(&mut self) -> Result<(), PackError> {
        self.send_as(false)
    }

    /// The same, which may be all that the file has.
    fn send_as(&mut self, is_whole: bool) -> Result<(), PackError> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let mut bytes = std::mem::take(&mut self.buffer);
        // Many short files are on their way at a time.
        if bytes.len() < self.extent_size {
            bytes.shrink_to_fit();
        }
        let (offset, len) = (self.start, bytes.len());
        self.start = self.start.saturating_add(u64_of(len));
        let data = Data {
            path: self.path.clone(),
            offset,
            bytes,
            is_whole,
        };
        self.out.step(Step::Data(data), len)
    }
}

impl<W: Write + Send + 'static> Write for FileWriter<'_, W> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let room = self.extent_size.saturating_sub(self.buffer.len());
        let taken = data.get(..room.min(data.len())).unwrap_or_default();
        self.check(u64_of(taken.len()))?;
        self.buffer.extend_from_slice(taken);
        if self.buffer.len() >= self.extent_size {
            self.send()?;
        }
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
