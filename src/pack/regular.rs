//! The content of a regular file, with its holes.

use std::fs::File;
use std::io::{self, Write};
use std::ops::Range;

use rustix::buffer::spare_capacity;
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
        let size = seek(file, SeekFrom::End(0))?;
        self.expect(size);
        let mut at = 0;
        while at < size {
            let end = end_of_data(file, at, size)?;
            self.copy_range(file, at..end)?;
            if end < size {
                at = start_of_data(file, end, size)?;
                self.hole(at.saturating_sub(end))?;
            } else {
                at = end;
            }
        }
        Ok(size)
    }

    /// Goes on with what the file has in a range: one call of the system for each extent.
    fn copy_range(&mut self, file: &File, range: Range<u64>) -> io::Result<()> {
        let mut at = range.start;
        while at < range.end {
            let got = self.append(range.end.saturating_sub(at), |buffer| {
                let read = || rustix::io::pread(file, spare_capacity(buffer), at);
                Ok(rustix::io::retry_on_intr(read)?)
            })?;
            if got == 0 {
                return Err(io::Error::other("the file has become shorter meanwhile"));
            }
            at = at.saturating_add(u64_of(got));
        }
        Ok(())
    }
}

/// Where the data at an offset ends: there, where it is in a hole. Filesystems without `SEEK_HOLE` say
/// that everything is data.
fn end_of_data(file: &File, at: u64, size: u64) -> io::Result<u64> {
    match seek(file, SeekFrom::Hole(at)) {
        Ok(end) => Ok(end.min(size)),
        // Past the end: the file has become shorter, as reading it will show.
        Err(Errno::INVAL | Errno::NXIO) => Ok(size),
        Err(errno) => Err(errno.into()),
    }
}

/// Where the hole at an offset ends.
fn start_of_data(file: &File, at: u64, size: u64) -> io::Result<u64> {
    match seek(file, SeekFrom::Data(at)) {
        Ok(start) => Ok(start.min(size)),
        Err(Errno::NXIO) => Ok(size),
        Err(errno) => Err(errno.into()),
    }
}
