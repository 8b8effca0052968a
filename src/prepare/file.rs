//! A file or a reader becomes extents.

use std::convert::Infallible;
use std::fs::File;
use std::io::{self, Read};
use std::num::NonZeroUsize;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use rustix::fs::{SeekFrom, seek};
use rustix::io::Errno;
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
struct Chunk {
    offset: u64,
    /// Size of the whole file as far as it is known.
    file_size: u64,
    data: ChunkData,
}

enum ChunkData {
    Bytes(Buffer),
    /// That many zero bytes.
    Hole(u64),
}

/// Input buffers that nobody uses at the moment.
#[derive(Default)]
struct Pool(Mutex<Vec<Vec<u8>>>);

impl Pool {
    /// The buffer used last, which is likely still in the cache, or a new one.
    fn take(self: &Arc<Self>) -> Buffer {
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
struct Buffer {
    data: Vec<u8>,
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

/// Splits a regular file into extents and hands them to `consume` in the order of the file, on
/// the calling thread. They cover the file from its first byte to its last.
///
/// Holes (`SEEK_HOLE`) and runs of zeroes as long as an extent stay holes. Data is cut every
/// `options.extent_size` bytes. `jobs` threads encode; their number changes neither the extents
/// nor a byte of a payload. Memory is bounded by a few extents for each job, whatever the
/// file's size. The options' target names the filesystem; its place in the file is ignored.
///
/// # Errors
/// See [`PrepareFileError`]; an error of `consume` ends the work and comes back.
pub fn prepare_file<E: Send>(
    file: &File,
    options: &Options,
    jobs: NonZeroUsize,
    mut consume: impl FnMut(FileExtent<EncodedExtent>) -> Result<(), E>,
) -> Result<(), PrepareFileError<E>> {
    prepare_file_with(file, options, jobs, |_, _| (), |extent, ()| consume(extent))
}

/// Like [`prepare_file`], with more to do on the threads that encode: `inspect` sees each
/// extent with the data that it was made of (nothing for a hole), and what it returns comes to
/// `consume` with it. Of holes that follow one another, which come as one, it sees the parts,
/// and what it returns of the first is kept.
///
/// # Errors
/// See [`prepare_file`].
pub fn prepare_file_with<I: Send, E: Send>(
    file: &File,
    options: &Options,
    jobs: NonZeroUsize,
    inspect: impl Fn(&Made, &[u8]) -> I + Sync,
    consume: impl FnMut(FileExtent<EncodedExtent>, I) -> Result<(), E>,
) -> Result<(), PrepareFileError<E>> {
    let metadata = file
        .metadata()
        .map_err(|source| PrepareFileError::Read { offset: 0, source })?;
    if !metadata.is_file() {
        return Err(PrepareFileError::NotAFile);
    }
    let mut chunks = FileChunks {
        file,
        size: metadata.len(),
        position: 0,
        data_end: 0,
        extent_size: options.extent_size,
        pool: Arc::default(),
    };
    prepare_chunks(options, jobs, || chunks.next(), inspect, consume)
}

/// The same for anything that can be read once, from its present position to its end. Holes
/// are found by their zeroes.
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

/// Like [`prepare_reader`], with `inspect` as in [`prepare_file_with`].
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

fn prepare_chunks<I: Send, E: Send>(
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

/// Walks the data regions of a file.
struct FileChunks<'a> {
    file: &'a File,
    size: u64,
    position: u64,
    /// End of the data region that `position` is in.
    data_end: u64,
    extent_size: usize,
    pool: Arc<Pool>,
}

impl FileChunks<'_> {
    fn next<E>(&mut self) -> Result<Option<Chunk>, PrepareFileError<E>> {
        if self.position >= self.size {
            return Ok(None);
        }
        let offset = self.position;
        if offset >= self.data_end {
            let data_start = self.seek_region()?;
            if data_start > offset {
                self.position = data_start;
                let hole = ChunkData::Hole(data_start.saturating_sub(offset));
                return Ok(Some(self.chunk(offset, hole)));
            }
        }
        let len = self.data_end.saturating_sub(offset);
        let len = len.min(u64_of(self.extent_size));
        let mut buffer = self.pool.take();
        buffer
            .data
            .resize(usize::try_from(len).unwrap_or(self.extent_size), 0);
        let read = read_full_at(self.file, &mut buffer.data, offset)
            .map_err(|source| PrepareFileError::Read { offset, source })?;
        if read < buffer.data.len() {
            return Err(PrepareFileError::Shrank {
                found: offset.saturating_add(u64_of(read)),
                expected: self.size,
            });
        }
        self.position = self.position.saturating_add(len);
        Ok(Some(self.chunk(offset, ChunkData::Bytes(buffer))))
    }

    fn chunk(&self, offset: u64, data: ChunkData) -> Chunk {
        Chunk {
            offset,
            file_size: self.size,
            data,
        }
    }

    /// Finds the data region at or behind the position: returns its start and remembers its
    /// end. Filesystems without `SEEK_HOLE` say that everything is data.
    fn seek_region<E>(&mut self) -> Result<u64, PrepareFileError<E>> {
        let offset = self.position;
        let failed = |errno: Errno| PrepareFileError::Read {
            offset,
            source: errno.into(),
        };
        let start = match seek(self.file, SeekFrom::Data(offset)) {
            Ok(start) => start,
            // No data behind the position: a hole up to the end, unless the file has shrunk.
            Err(Errno::NXIO) => {
                let now = self.file.metadata().map_or(0, |metadata| metadata.len());
                if now < self.size {
                    return Err(PrepareFileError::Shrank {
                        found: now,
                        expected: self.size,
                    });
                }
                self.size
            }
            Err(Errno::INVAL) => {
                self.data_end = self.size;
                return Ok(offset);
            }
            Err(errno) => return Err(failed(errno)),
        };
        if start < self.size {
            let end = seek(self.file, SeekFrom::Hole(start)).map_err(failed)?;
            self.data_end = end.min(self.size);
        }
        Ok(start.min(self.size))
    }
}

/// Reads until the buffer is full or the file ends; an interrupted call goes on.
fn read_full_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, offset.saturating_add(u64_of(filled))) {
            Ok(0) => break,
            Ok(read) => filled = filled.saturating_add(read),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}
