//! A mounted filesystem, files to write cases into, and reading them back.
//!
//! An encoded write leaves nothing in the page cache, so that what is read right after it comes
//! from the kernel's decompressor. Files are emptied between cases, which drops their pages.

use std::fs::{File, OpenOptions};
use std::io::{self, IoSlice};
use std::os::unix::fs::FileExt;
use std::path::Path;

use btrfs_payload::ioctl::{self, Submission};
use rustix::fs::Advice;

use crate::generate::Case;
use crate::observed::{BEHIND, Observed, PAGE, Read, Stored};

/// A file for one case at a time.
#[derive(Debug)]
pub struct Slot {
    file: File,
    read_only: File,
}

/// What a write came to; the file is still to be read.
#[derive(Debug)]
pub struct Written(io::Result<usize>);

impl Slot {
    /// A new file in the directory.
    pub fn new(directory: &Path, name: &str) -> io::Result<Self> {
        let path = directory.join(name);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .open(&path)?;
        // One read is one request to the filesystem, of exactly its pages.
        rustix::fs::fadvise(&file, 0, None, Advice::Random)?;
        let read_only = File::open(path)?;
        Ok(Self { file, read_only })
    }

    /// Empties the file, prepares it as the case wants it, and writes the payload.
    pub fn write(&self, case: &Case) -> io::Result<Written> {
        self.file.set_len(0)?;
        if case.file_size > 0 {
            self.file.set_len(case.file_size)?;
            if case.background != 0 {
                let len = usize::try_from(case.file_size).unwrap();
                self.file.write_all_at(&vec![case.background; len], 0)?;
            }
        }
        let submission = Submission {
            flags: case.flags,
            reserved: case.reserved,
            ..Submission::new(case.offset.cast_signed(), case.fields)
        };
        let file = if case.read_only {
            &self.read_only
        } else {
            &self.file
        };
        for _ in 0..3 {
            let payload = [IoSlice::new(&case.payload)];
            match ioctl::submit(file, &submission, &payload) {
                // Freed space comes back when a transaction is committed.
                Err(error) if error.raw_os_error() == Some(28) => rustix::fs::syncfs(&self.file)?,
                result => return Ok(Written(result)),
            }
        }
        Err(io::ErrorKind::StorageFull.into())
    }

    /// Reads back what was written, and if asked for the extent as it is stored.
    pub fn read(&self, case: &Case, written: Written, stored: bool) -> io::Result<Observed> {
        let size = || Ok::<_, io::Error>(self.file.metadata()?.len());
        let returned = match written.0 {
            Err(error) => {
                return error.raw_os_error().map(Observed::Refused).ok_or(error);
            }
            Ok(0) => return Ok(Observed::NothingWritten { size: size()? }),
            Ok(returned) => returned,
        };
        let size = size()?;
        let end = case.offset.saturating_add(case.fields.len);
        let end = end.saturating_add(BEHIND).min(size);
        let len = usize::try_from(end.saturating_sub(case.offset)).unwrap();
        let read = if case.by_pages {
            self.pages(case.offset, len)
        } else {
            self.whole(case.offset, len)
        };
        let stored = if stored { self.stored(case)? } else { None };
        Ok(Observed::Taken {
            returned,
            size,
            read,
            stored,
        })
    }

    fn whole(&self, offset: u64, len: usize) -> Read {
        let mut bytes = vec![0; len];
        let mut done = 0;
        let mut error = None;
        while done < len {
            match self.file.read_at(&mut bytes[done..], offset + done as u64) {
                Ok(0) => break,
                Ok(read) => done += read,
                Err(failed) => {
                    error = failed.raw_os_error();
                    break;
                }
            }
        }
        bytes.truncate(done);
        Read::Whole { bytes, error }
    }

    fn pages(&self, offset: u64, len: usize) -> Read {
        let mut pages = Vec::new();
        for start in (0..len).step_by(PAGE).rev() {
            let mut page = vec![0; PAGE.min(len - start)];
            let result = self.file.read_at(&mut page, offset + start as u64);
            pages.push(match result {
                Ok(read) => {
                    page.truncate(read);
                    Ok(page)
                }
                Err(error) => Err(error.raw_os_error().unwrap_or(0)),
            });
        }
        pages.reverse();
        Read::Pages(pages)
    }

    fn stored(&self, case: &Case) -> io::Result<Option<Stored>> {
        let mut payload = vec![0; 131_072];
        let read = ioctl::encoded_read(&self.file, case.offset, &mut payload);
        let Some(read) = read.map_err(io::Error::other)? else {
            return Ok(None);
        };
        payload.truncate(read.payload_len);
        Ok(Some(Stored {
            payload,
            len: read.fields.len,
            compression: read.fields.compression.0,
        }))
    }
}
