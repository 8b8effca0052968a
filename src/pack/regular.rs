//! The content of a regular file, with its holes.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;

use rustix::fs::{SeekFrom, seek};
use rustix::io::Errno;

use super::file::FileWriter;
use crate::rules::limits::u64_of;

impl<W: Write + Send + 'static> FileWriter<'_, W> {
    /// Goes on with the content of a regular file: its holes become holes (`SEEK_HOLE`). Returns
    /// its size, bytes.
    ///
    /// # Errors
    /// As [`FileWriter::copy`]; also where the file has become shorter than it was.
    pub fn copy_file(&mut self, file: &File) -> io::Result<u64> {
        let size = file.metadata()?.len();
        let mut at = 0;
        while at < size {
            let (data, end) = data_region(file, at, size)?;
            self.hole(data.saturating_sub(at))?;
            let len = end.saturating_sub(data);
            if self.copy_at_most(ReadAt { file, at: data }, len)? != len {
                return Err(io::Error::other("the file has become shorter meanwhile"));
            }
            at = end;
        }
        Ok(size)
    }
}

/// Where the next data at or past an offset begins and ends. Filesystems without `SEEK_HOLE` say
/// that everything is data.
fn data_region(file: &File, at: u64, size: u64) -> io::Result<(u64, u64)> {
    let start = match seek(file, SeekFrom::Data(at)) {
        Ok(start) => start.min(size),
        Err(Errno::NXIO) => return Ok((size, size)),
        Err(Errno::INVAL) => return Ok((at, size)),
        Err(errno) => return Err(errno.into()),
    };
    if start == size {
        return Ok((size, size));
    }
    let end = seek(file, SeekFrom::Hole(start))?.min(size);
    Ok((start, end))
}

/// Reads a file from an offset on.
struct ReadAt<'a> {
    file: &'a File,
    at: u64,
}

impl io::Read for ReadAt<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let got = self.file.read_at(buffer, self.at)?;
        self.at = self.at.saturating_add(u64_of(got));
        Ok(got)
    }
}
