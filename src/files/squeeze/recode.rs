//! The bytes of a run become new extents.

use std::io::ErrorKind;
use std::num::NonZeroUsize;
use std::ops::Range;
use std::os::unix::fs::FileExt;

use rustix::fs::Advice;
use rustix::io::ReadWriteFlags;

use super::crew::Crew;
use super::opened::OpenFiles;
use super::outcome::Left;
use super::pace::Pace;
use super::run::{Run, Source};
use super::scratch::{Scratch, ScratchError};
use crate::MAX_EXTENT;
use crate::extent::EncodedExtent;
use crate::files::FilesError;
use crate::ioctl::{QueryError, WriteError};
use crate::pipeline;
use crate::prepare::{PrepareError, Prepared};
use crate::rules::limits::u64_of;

/// Payloads of a run that wait in memory for the verdict, bytes. Of a longer run they are written
/// before it is known whether it is worth it.
const WAITING: usize = 4 * 1024 * 1024;
/// Bytes of a run that are read and compressed before what is made of them is looked at, by one
/// thread alone, and for each thread where others help.
const ALONE: u64 = 1024 * 1024;
const TOGETHER: u64 = 4 * 1024 * 1024;

/// Why a run is not recoded.
pub(super) enum RecodeError {
    /// It stays as it is.
    Left(Left),
    /// It was to stop.
    Stopped,
    /// All work ends.
    Files(FilesError),
}

impl From<QueryError> for RecodeError {
    fn from(error: QueryError) -> Self {
        Self::Files(error.into())
    }
}

impl From<PrepareError> for RecodeError {
    fn from(error: PrepareError) -> Self {
        Self::Files(error.into())
    }
}

/// Some of it may be tried again later; what does not go away ends all work.
impl From<ScratchError> for RecodeError {
    fn from(error: ScratchError) -> Self {
        match error {
            ScratchError::Encoded(WriteError::NoSpace | WriteError::QuotaExceeded) => {
                Self::Left(Left::NoSpace)
            }
            ScratchError::Plain(error)
                if matches!(
                    error.kind(),
                    ErrorKind::StorageFull | ErrorKind::QuotaExceeded
                ) =>
            {
                Self::Left(Left::NoSpace)
            }
            ScratchError::Encoded(error) => Self::Files(error.into()),
            ScratchError::Plain(error) => Self::Files(FilesError::Plain(error)),
        }
    }
}

/// What a run can become.
pub(super) struct Recoded {
    /// Bytes on disk.
    pub(super) disk_bytes: u64,
    /// Extents, where plain ones are as long as the run lets them be.
    pub(super) extents: u64,
}

/// A part of a run in its new form.
enum Piece {
    Encoded(EncodedExtent),
    Plain { len: u64 },
}

/// Reads runs, and makes payloads of them.
pub(super) struct Recoder<'a> {
    crew: &'a Crew,
    pace: &'a Pace,
    sector_size: u64,
    buffer: Vec<u8>,
}

impl<'a> Recoder<'a> {
    pub(super) fn new(crew: &'a Crew, sector_size: u64, pace: &'a Pace) -> Self {
        Self {
            crew,
            pace,
            sector_size,
            buffer: Vec::new(),
        }
    }

    /// Makes the new extents of a run, and writes them at the end of `scratch` where `is_worth_it`
    /// says so.
    pub(super) fn recode(
        &mut self,
        run: &Run,
        files: &mut OpenFiles<'_>,
        scratch: Option<&Scratch>,
        stop: &(impl Fn() -> bool + Sync),
        is_worth_it: impl FnOnce(&Recoded) -> bool,
    ) -> Result<Recoded, RecodeError> {
        let mut pieces = Pieces {
            base: scratch.map_or(0, Scratch::end),
            waiting: Vec::new(),
            waiting_bytes: 0,
            begin: 0,
            scratch,
        };
        let mut recoded = Recoded {
            disk_bytes: 0,
            extents: 0,
        };
        let mut cold = Cold::default();
        let mut at = 0_u64;
        let mut last_is_plain = false;
        while at < run.len {
            let helpers = self.crew.idle();
            let part = match u64_of(helpers.threads()) {
                0 => ALONE,
                threads => TOGETHER.saturating_mul(threads.saturating_add(1)),
            };
            let part = at..at.saturating_add(part).min(run.len);
            at = part.end;
            let threads = NonZeroUsize::MIN.saturating_add(helpers.threads());
            let read = |at, data: &mut [u8]| read(run, at, data, files, &mut cold);
            self.compress(part, threads, stop, read, |piece| {
                let is_plain = matches!(piece, Piece::Plain { .. });
                let (disk, goes_on) = match &piece {
                    Piece::Encoded(extent) => (u64_of(extent.payload().len()), false),
                    Piece::Plain { len } => (*len, last_is_plain),
                };
                let disk = disk.next_multiple_of(self.sector_size);
                recoded.disk_bytes = recoded.disk_bytes.saturating_add(disk);
                recoded.extents = recoded.extents.saturating_add((!goes_on).into());
                last_is_plain = is_plain;
                pieces.add(piece);
            })?;
            if pieces.waiting_bytes >= WAITING {
                pieces.write(run, files, &mut self.buffer, at == run.len)?;
            }
        }
        if is_worth_it(&recoded) {
            pieces.write(run, files, &mut self.buffer, true)?;
        } else {
            cold.drop(files)?;
        }
        Ok(recoded)
    }

    /// Reads a part of a run, and hands over what becomes of it, in order.
    fn compress(
        &self,
        part: Range<u64>,
        threads: NonZeroUsize,
        stop: &(impl Fn() -> bool + Sync),
        mut read: impl FnMut(u64, &mut [u8]) -> Result<(), RecodeError> + Send,
        mut each: impl FnMut(Piece),
    ) -> Result<(), RecodeError> {
        let mut at = part.start;
        pipeline::ordered(
            threads,
            || {
                let len = part.end.saturating_sub(at).min(u64_of(MAX_EXTENT));
                if len == 0 {
                    return Ok(None);
                }
                self.pace.wait_for(len, stop);
                if stop() {
                    return Err(RecodeError::Stopped);
                }
                let mut data = vec![0; usize::try_from(len).unwrap_or(0)];
                read(at, &mut data)?;
                at = at.saturating_add(len);
                Ok(Some(data))
            },
            || {
                Ok(|data: Vec<u8>| match self.crew.prepare(&data)? {
                    Prepared::Encoded(extent) => Ok(Piece::Encoded(extent)),
                    Prepared::Plain(_) | Prepared::Hole => Ok(Piece::Plain {
                        len: u64_of(data.len()),
                    }),
                })
            },
            |piece: Result<Piece, RecodeError>| {
                each(piece?);
                Ok(())
            },
        )
    }
}

/// What was not in the page cache before it was read. What becomes of the rest of what is read is
/// that the kernel drops it: the page cache of a range that is given new extents.
#[derive(Default)]
struct Cold(Vec<Source>);

impl Cold {
    fn drop(self, files: &mut OpenFiles<'_>) -> Result<(), QueryError> {
        for Source {
            root,
            inode,
            offset,
            len,
            ..
        } in self.0
        {
            if let Ok(file) = files.get(root, inode)? {
                // It is the kernel's choice whether it does so.
                let _ = rustix::fs::fadvise(file, offset, len.try_into().ok(), Advice::DontNeed);
            }
        }
        Ok(())
    }
}

/// Fills the buffer with the bytes of a run from `at` on.
fn read(
    run: &Run,
    at: u64,
    buffer: &mut [u8],
    files: &mut OpenFiles<'_>,
    cold: &mut Cold,
) -> Result<(), RecodeError> {
    let end = at.saturating_add(u64_of(buffer.len()));
    let mut rest = buffer;
    for source in run.sources() {
        let (from, to) = (
            source.at.max(at),
            source.at.saturating_add(source.len).min(end),
        );
        let Some(len) = to.checked_sub(from).filter(|&len| len > 0) else {
            continue;
        };
        let skipped = from.saturating_sub(source.at);
        let offset = source.offset.saturating_add(skipped);
        let len = usize::try_from(len).unwrap_or(0);
        let Some((now, after)) = std::mem::take(&mut rest).split_at_mut_checked(len) else {
            break;
        };
        rest = after;
        let file = match files.get(source.root, source.inode)? {
            Ok(file) => file,
            Err(left) => return Err(RecodeError::Left(left)),
        };
        if skipped == 0 && !is_cached(file, offset) {
            cold.0.push(*source);
        }
        file.read_exact_at(now, offset)
            .map_err(|error| match error.kind() {
                ErrorKind::UnexpectedEof => RecodeError::Left(Left::Changed),
                _ => RecodeError::Left(Left::Unreadable),
            })?;
    }
    Ok(())
}

fn is_cached(file: &std::fs::File, offset: u64) -> bool {
    let mut byte = [0];
    let mut buffers = [std::io::IoSliceMut::new(&mut byte)];
    rustix::io::preadv2(file, &mut buffers, offset, ReadWriteFlags::NOWAIT).is_ok()
}

/// New extents on their way to the scratch file.
struct Pieces<'a> {
    /// Where the run begins in the scratch file, bytes.
    base: u64,
    waiting: Vec<Piece>,
    waiting_bytes: usize,
    /// Where in the run those that wait begin.
    begin: u64,
    scratch: Option<&'a Scratch>,
}

impl Pieces<'_> {
    fn add(&mut self, piece: Piece) {
        if self.scratch.is_none() {
            return;
        }
        match (piece, self.waiting.last_mut()) {
            (Piece::Plain { len }, Some(Piece::Plain { len: before })) => {
                *before = before.saturating_add(len);
            }
            (piece, _) => {
                if let Piece::Encoded(extent) = &piece {
                    let payload = extent.payload().len();
                    self.waiting_bytes = self.waiting_bytes.saturating_add(payload);
                }
                self.waiting.push(piece);
            }
        }
    }

    /// Writes what waits, but for plain data that may go on.
    fn write(
        &mut self,
        run: &Run,
        files: &mut OpenFiles<'_>,
        buffer: &mut Vec<u8>,
        is_all: bool,
    ) -> Result<(), RecodeError> {
        let Some(scratch) = self.scratch else {
            return Ok(());
        };
        let goes_on = self
            .waiting
            .pop_if(|last| !is_all && matches!(last, Piece::Plain { .. }));
        for piece in self.waiting.drain(..) {
            let at = self.base.saturating_add(self.begin);
            match piece {
                Piece::Encoded(extent) => {
                    scratch.write(at, &extent)?;
                    self.begin = self.begin.saturating_add(extent.fields().len);
                }
                Piece::Plain { len } => {
                    scratch.reserve(at, len)?;
                    copy(run, self.begin, len, scratch, self.base, files, buffer)?;
                    self.begin = self.begin.saturating_add(len);
                }
            }
        }
        self.waiting.extend(goes_on);
        self.waiting_bytes = 0;
        Ok(())
    }
}

/// Copies plain data of a run, from `begin` in it.
fn copy(
    run: &Run,
    begin: u64,
    len: u64,
    scratch: &Scratch,
    base: u64,
    files: &mut OpenFiles<'_>,
    buffer: &mut Vec<u8>,
) -> Result<(), RecodeError> {
    let end = begin.saturating_add(len);
    let mut at = begin;
    while at < end {
        let now = end.saturating_sub(at).min(1 << 20);
        buffer.resize(usize::try_from(now).unwrap_or(0), 0);
        read(run, at, buffer, files, &mut Cold::default())?;
        scratch.write_plain(base.saturating_add(at), buffer)?;
        at = at.saturating_add(now);
    }
    Ok(())
}
