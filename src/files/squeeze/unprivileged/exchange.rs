//! The kernel compresses a copy, and exchanges the extents.

use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;

use rustix::io::Errno;

use super::parts::{Group, Own, extents_of};
use crate::files::FilesError;
use crate::files::squeeze::give::reason;
use crate::files::squeeze::outcome::Left;
use crate::files::squeeze::pace::Patience;
use crate::files::squeeze::scratch::Scratch;
use crate::ioctl::{self, Deduped, Destination, MAX_DEDUPE, QueryError};
use crate::rules::Codec;
use crate::rules::limits::MAX_EXTENT;
use crate::rules::sums::add;

/// Bytes that are copied, compressed and exchanged at a time.
const STEP: u64 = MAX_DEDUPE;

/// What 128 KiB would take on disk.
pub(super) struct Chunk {
    pub(super) disk_bytes: u64,
    pub(super) is_plain: bool,
}

/// Why a file does not get new extents.
pub(super) enum GiveError {
    /// It stays as it is.
    Left(Left),
    /// All work ends.
    Files(FilesError),
}

impl From<io::Error> for GiveError {
    fn from(error: io::Error) -> Self {
        match Errno::from_io_error(&error) {
            Some(Errno::NOSPC | Errno::DQUOT) => Self::Left(Left::NoSpace),
            _ => Self::Files(FilesError::Plain(error)),
        }
    }
}

impl From<QueryError> for GiveError {
    fn from(error: QueryError) -> Self {
        Self::Files(error.into())
    }
}

/// Has the kernel make the new extents of a group and exchange them.
pub(super) struct Giver<'a> {
    pub(super) own: &'a Own,
    pub(super) group: &'a Group,
    pub(super) scratch: Scratch,
    pub(super) method: (Codec, Option<i8>),
    pub(super) sector_size: u64,
    pub(super) patience: &'a Patience,
    /// Bytes on disk of new extents that the file has got.
    pub(super) given: u64,
}

impl Giver<'_> {
    /// Gives all of it, step by step; what the new extents take.
    pub(super) fn give(&mut self, chunks: &[Chunk]) -> Result<u64, GiveError> {
        let per_step = usize::try_from(STEP / MAX_EXTENT).unwrap_or(1);
        let mut at = 0_u64;
        for chunks in chunks.chunks(per_step) {
            let len = self.group.len.saturating_sub(at).min(STEP);
            let plain = self.write(at, len)?;
            // What was to become smaller and has not takes more than was thought.
            let expected = chunks.iter().filter(|chunk| chunk.is_plain);
            let expected: u64 = expected.map(|chunk| chunk.disk_bytes).sum();
            let more = plain.saturating_sub(expected);
            let disk_bytes: u64 = chunks.iter().map(|chunk| chunk.disk_bytes).sum();
            let saved = len
                .next_multiple_of(self.sector_size)
                .saturating_sub(disk_bytes);
            if self.given == 0 && more > saved / 2 {
                return Err(GiveError::Left(Left::NoSaving));
            }
            let mut from = self.scratch.end();
            let places: Vec<_> = self.group.places(at, len).collect();
            for (offset, len) in places {
                self.share(from, offset, len)?;
                if from == self.scratch.end() {
                    add(&mut self.given, disk_bytes.saturating_add(more));
                }
                from = from.saturating_add(len);
            }
            self.scratch.reset()?;
            at = at.saturating_add(len);
        }
        Ok(self.given)
    }

    /// Copies bytes of the group to the unnamed file and has them compressed; how many of them are
    /// plain then.
    fn write(&mut self, at: u64, len: u64) -> Result<u64, GiveError> {
        let (begin, end) = (self.scratch.end(), at.saturating_add(len));
        let mut buffer = Vec::new();
        let mut from = at;
        while from < end {
            let now = end.saturating_sub(from).min(1 << 20);
            let read = self.own.read(self.group, from, now, &mut buffer);
            read.map_err(GiveError::Left)?;
            let to = begin.saturating_add(from.saturating_sub(at));
            self.scratch.file().write_all_at(&buffer, to)?;
            from = from.saturating_add(now);
        }
        let file = self.scratch.file();
        let (codec, level) = self.method;
        // Only what is on disk is compressed.
        file.sync_data()?;
        ioctl::compress_range(file, begin, len, codec, level)?;
        file.sync_data()?;
        let extents = extents_of(file)?;
        let plain = extents.iter().filter(|extent| !extent.compressed);
        Ok(plain.map(|extent| extent.len).sum())
    }

    /// Has the kernel exchange a part.
    fn share(&mut self, from: u64, offset: u64, len: u64) -> Result<(), GiveError> {
        let destination = Destination {
            file: self.own.file.as_fd(),
            offset,
        };
        loop {
            let mut results = ioctl::dedupe(self.scratch.file(), from, len, &[destination])?;
            match results.pop() {
                Some(Deduped::Same { len: done }) if done >= len => return Ok(()),
                None | Some(Deduped::Same { .. } | Deduped::Different) => {
                    return Err(GiveError::Left(Left::Changed));
                }
                Some(Deduped::Busy) if self.patience.wait() => {}
                Some(Deduped::Busy) => return Err(GiveError::Left(Left::Busy)),
                Some(Deduped::Failed(error)) => return Err(GiveError::Left(reason(&error))),
            }
        }
    }
}
