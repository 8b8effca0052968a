//! A regular file becomes extents; its holes stay holes.

use std::fs::File;
use std::io;
use std::num::NonZeroUsize;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use rustix::fs::{SeekFrom, seek};
use rustix::io::Errno;

use super::Options;
use super::file::{Chunk, ChunkData, Made, Pool, PrepareFileError, prepare_chunks};
use crate::extent::{EncodedExtent, FileExtent};
use crate::rules::limits::u64_of;

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

    /// Finds the data region at or past the position: returns its start and remembers its
    /// end. Filesystems without `SEEK_HOLE` say that everything is data.
    fn seek_region<E>(&mut self) -> Result<u64, PrepareFileError<E>> {
        let offset = self.position;
        let failed = |errno: Errno| PrepareFileError::Read {
            offset,
            source: errno.into(),
        };
        let start = match seek(self.file, SeekFrom::Data(offset)) {
            Ok(start) => start,
            // No data past the position: a hole up to the end, unless the file has shrunk.
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
