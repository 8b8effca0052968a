//! Splits an input into extents, on many threads, in order.

use std::convert::Infallible;
use std::io::{self, Read};
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use thiserror::Error;

use super::{Options, PlainReason, PrepareError, Preparer};
use crate::extent::{Content, EncodedExtent, FileExtent};
use crate::pipeline;
use crate::rules::Target;
use crate::rules::limits::u64_of;

/// Why a file could not become extents. `E` is the caller's own error.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum PrepareFileError<E> {
    /// The input cannot be read.
    #[error("cannot read the input at offset {offset}")]
    Read {
        /// Where, bytes.
        offset: u64,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// Not a regular file. Pipes and devices go through [`prepare_reader`].
    #[error("not a regular file")]
    NotAFile,
    /// The file is shorter than it was when it was opened. Try again when nobody writes to it.
    #[error("the file shrank to {found} bytes while it was read; it had {expected}")]
    Shrank {
        /// Where it ended, bytes.
        found: u64,
        /// Its size at the beginning, bytes.
        expected: u64,
    },
    /// An extent cannot be made.
    #[error("cannot make an extent at offset {offset}")]
    Prepare {
        /// Where in the file, bytes.
        offset: u64,
        /// The cause.
        #[source]
        source: PrepareError,
    },
    /// The caller's own error, which ended the work.
    #[error(transparent)]
    Consumer(E),
}

impl<E> PrepareFileError<E> {
    /// The caller's own error, or what else it was.
    ///
    /// # Errors
    /// The error itself where it is not the caller's.
    pub fn into_consumer(self) -> Result<E, PrepareFileError<Infallible>> {
        Err(match self {
            Self::Consumer(error) => return Ok(error),
            Self::Read { offset, source } => PrepareFileError::Read { offset, source },
            Self::NotAFile => PrepareFileError::NotAFile,
            Self::Shrank { found, expected } => PrepareFileError::Shrank { found, expected },
            Self::Prepare { offset, source } => PrepareFileError::Prepare { offset, source },
        })
    }
}

/// A run of the input, on its way to a worker.
pub(super) struct Chunk {
    pub(super) offset: u64,
    /// Size of the whole file as far as it is known.
    pub(super) file_size: u64,
    pub(super) data: ChunkData,
}

pub(super) enum ChunkData {
    Bytes(Buffer),
    /// That many zero bytes; only a regular file knows of them before they are read.
    #[cfg_attr(
        any(not(target_os = "linux"), btrfs_payload_portable),
        expect(dead_code)
    )]
    Hole(u64),
}

/// Input buffers that nobody uses at the moment.
#[derive(Default)]
pub(super) struct Pool(Mutex<Vec<Vec<u8>>>);

impl Pool {
    /// The buffer used last, which is likely still in the cache, or a new one.
    pub(super) fn take(self: &Arc<Self>) -> Buffer {
        Buffer {
            data: self.buffers().pop().unwrap_or_default(),
            pool: Arc::clone(self),
        }
    }

    /// Nothing panics while the lock is held, so it is never poisoned.
    fn buffers(&self) -> MutexGuard<'_, Vec<Vec<u8>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An input buffer; goes back to its pool with the last `Bytes` made of it.
pub(super) struct Buffer {
    pub(super) data: Vec<u8>,
    pool: Arc<Pool>,
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        &self.data
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        self.pool.buffers().push(std::mem::take(&mut self.data));
    }
}

/// Splits what a reader gives, from its present position to its end, into extents and hands them
/// to `consume` in order, on the calling thread.
///
/// Runs of zeroes as long as an extent become holes. Data is cut every `options.extent_size` bytes.
/// `jobs` threads encode; their number changes neither the extents nor a byte of a payload. Memory
/// is bounded by a few extents per job. The options' target names the filesystem; its place in the
/// file is ignored. A regular file is better split by `prepare_file`, which knows its holes.
///
/// # Errors
/// See [`PrepareFileError`].
pub fn prepare_reader<E: Send>(
    reader: impl Read + Send,
    options: &Options,
    jobs: NonZeroUsize,
    mut consume: impl FnMut(FileExtent<EncodedExtent>) -> Result<(), E>,
) -> Result<(), PrepareFileError<E>> {
    prepare_reader_with(
        reader,
        options,
        jobs,
        |_, _| (),
        |extent, ()| consume(extent),
    )
}

/// Like [`prepare_reader`], with more to do on the threads that encode: `inspect` sees each
/// extent with the data that it was made of (nothing for a hole), and what it returns comes to
/// `consume` with it. Of holes that follow one another, which come as one, it sees the parts,
/// and what it returns of the first is kept.
///
/// # Errors
/// See [`PrepareFileError`].
pub fn prepare_reader_with<I: Send, E: Send>(
    mut reader: impl Read + Send,
    options: &Options,
    jobs: NonZeroUsize,
    inspect: impl Fn(&Made, &[u8]) -> I + Sync,
    consume: impl FnMut(FileExtent<EncodedExtent>, I) -> Result<(), E>,
) -> Result<(), PrepareFileError<E>> {
    let mut offset = 0;
    let extent_size = options.extent_size;
    let pool = Arc::<Pool>::default();
    let next = move || {
        let mut buffer = pool.take();
        buffer.data.clear();
        buffer.data.reserve_exact(extent_size);
        (&mut reader)
            .take(u64_of(extent_size))
            .read_to_end(&mut buffer.data)
            .map_err(|source| PrepareFileError::Read { offset, source })?;
        if buffer.data.is_empty() {
            return Ok(None);
        }
        let start = offset;
        offset = offset.saturating_add(u64_of(buffer.data.len()));
        // A file that fits one sector ends with its first chunk, so its size is known by then.
        Ok(Some(Chunk {
            offset: start,
            file_size: offset,
            data: ChunkData::Bytes(buffer),
        }))
    };
    prepare_chunks(options, jobs, next, inspect, consume)
}

pub(super) fn prepare_chunks<I: Send, E: Send>(
    options: &Options,
    jobs: NonZeroUsize,
    source: impl FnMut() -> Result<Option<Chunk>, PrepareFileError<E>> + Send,
    inspect: impl Fn(&Made, &[u8]) -> I + Sync,
    mut consume: impl FnMut(FileExtent<EncodedExtent>, I) -> Result<(), E>,
) -> Result<(), PrepareFileError<E>> {
    let inspect = &inspect;
    let failed = |offset| move |source| PrepareFileError::Prepare { offset, source };
    let worker = || {
        let mut preparer = Preparer::new(options).map_err(failed(0))?;
        Ok(move |chunk: Chunk| {
            let offset = chunk.offset;
            prepare_chunk(&mut preparer, chunk, &options.target, inspect).map_err(failed(offset))
        })
    };
    let mut hole: Option<(FileExtent<EncodedExtent>, I)> = None;
    pipeline::ordered(jobs, source, worker, |extent| {
        let (extent, inspected) = extent?;
        if let (Some((hole, _)), Content::Hole) = (&mut hole, &extent.content) {
            hole.len = hole.len.saturating_add(extent.len);
            return Ok(());
        }
        if let Some((hole, inspected)) = hole.take() {
            consume(hole, inspected).map_err(PrepareFileError::Consumer)?;
        }
        if extent.content == Content::Hole {
            hole = Some((extent, inspected));
            return Ok(());
        }
        consume(extent, inspected).map_err(PrepareFileError::Consumer)
    })?;
    hole.map_or(Ok(()), |(hole, inspected)| {
        consume(hole, inspected).map_err(PrepareFileError::Consumer)
    })
}

/// An extent as it was made: where data is plain, with the reason in place of the data.
pub type Made = FileExtent<EncodedExtent, PlainReason>;

fn prepare_chunk<I>(
    preparer: &mut Preparer,
    chunk: Chunk,
    filesystem: &Target,
    inspect: &impl Fn(&Made, &[u8]) -> I,
) -> Result<(FileExtent<EncodedExtent>, I), PrepareError> {
    let offset = chunk.offset;
    let buffer = match chunk.data {
        ChunkData::Hole(len) => {
            let inspected = inspect(&FileExtent::hole(offset, len), &[]);
            return Ok((FileExtent::hole(offset, len), inspected));
        }
        ChunkData::Bytes(buffer) => buffer,
    };
    let target = Target {
        offset,
        file_size: chunk.file_size,
        ..*filesystem
    };
    let made = Made {
        offset,
        len: u64_of(buffer.data.len()),
        content: preparer.prepare_for(&buffer.data, &target)?,
    };
    let inspected = match made.content {
        Content::Hole => inspect(&made, &[]),
        Content::Encoded(_) | Content::Plain(_) => inspect(&made, &buffer.data),
    };
    let extent = FileExtent {
        offset,
        len: made.len,
        content: match made.content {
            Content::Encoded(extent) => Content::Encoded(extent),
            Content::Plain(_) => Content::Plain(Bytes::from_owner(buffer)),
            Content::Hole => Content::Hole,
        },
    };
    Ok((extent, inspected))
}
