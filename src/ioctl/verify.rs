//! Reading a file back through the kernel, cold, and comparing.
//!
//! An encoded write drops the pages of its range from the page cache and puts none in their
//! place, so a later read goes to the device and through the kernel's decoder. Plain writes
//! leave their data in the page cache: it is written out first, then `POSIX_FADV_DONTNEED`
//! drops clean pages. `O_DIRECT` would not be colder: btrfs reads compressed extents through
//! the page cache in any case. Pages that another process has mapped stay; nothing else does.

use std::io;
use std::num::NonZeroU64;
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{Advice, SeekFrom};
use rustix::io::Errno;
use thiserror::Error;

use super::encoded_read;
use crate::rules::ExtentFields;
use crate::rules::limits::u64_of;
use crate::rules::sums::add;

/// Bytes read and compared at a time.
const CHUNK: usize = 1024 * 1024;

/// Why a file does not verify.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// `fsync` failed: an earlier write did not reach the device.
    #[error(
        "the data did not reach the device: an earlier write failed late; see the kernel's log"
    )]
    Sync(#[source] io::Error),
    /// The file has another size.
    #[error("the file has {got} bytes, {expected} were written")]
    Size {
        /// Size of the file, bytes.
        got: u64,
        /// Size it should have, bytes.
        expected: u64,
    },
    /// The kernel cannot read the file. EIO and EUCLEAN mean a payload it cannot decode, or a
    /// damaged device.
    #[error("the file cannot be read back at offset {offset}{}", describe(.extent.as_ref()))]
    Read {
        /// File offset of the first byte that cannot be read, bytes.
        offset: u64,
        /// The compressed extent at that place.
        extent: Option<ExtentFields>,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// The kernel reads other bytes.
    #[error(
        "byte {got:#04x} was read back at offset {offset} in place of {expected:#04x}{}",
        describe(.extent.as_ref())
    )]
    Different {
        /// File offset of the first byte that differs, bytes.
        offset: u64,
        /// The byte that was read back.
        got: u8,
        /// The byte that was to be there.
        expected: u8,
        /// The compressed extent at that place.
        extent: Option<ExtentFields>,
    },
    /// The expected data cannot be read.
    #[error("the data to compare with cannot be read at offset {offset}")]
    Source {
        /// File offset, bytes.
        offset: u64,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

fn describe(extent: Option<&ExtentFields>) -> String {
    match extent {
        None => String::new(),
        Some(fields) => format!(
            ", which is byte {} of the {} a compressed extent ({}) decodes to",
            fields.unencoded_offset, fields.unencoded_len, fields.compression
        ),
    }
}

/// Writes the file out, drops it from the page cache, reads it through the kernel's decoders
/// and compares it with what `source` gives for each range: `source(offset, buffer)` fills the
/// buffer with the bytes expected at `offset`.
///
/// Uses 2 MiB of memory whatever the size. Returns the number of bytes compared. The descriptor
/// must be open for reading.
///
/// # Errors
/// [`VerifyError`], the first difference or failure in the file's order.
pub fn verify<F, S>(fd: F, size: u64, source: S) -> Result<u64, VerifyError>
where
    F: AsFd,
    S: FnMut(u64, &mut [u8]) -> io::Result<()>,
{
    verify_around(fd.as_fd(), size, &[], source)
}

/// Holes that are worth skipping, bytes: shorter ones are read as quickly.
pub(super) const LARGE_HOLE: u64 = CHUNK as u64;

/// The same, where the source has nothing in `holes`, in order: what is a hole in the file too is
/// skipped, and not counted.
pub(super) fn verify_around<S>(
    fd: BorrowedFd<'_>,
    size: u64,
    holes: &[Range<u64>],
    mut source: S,
) -> Result<u64, VerifyError>
where
    S: FnMut(u64, &mut [u8]) -> io::Result<()>,
{
    rustix::fs::fsync(fd).map_err(|errno| VerifyError::Sync(errno.into()))?;
    drop_from_page_cache(fd);
    let got = rustix::fs::fstat(fd)
        .map_err(|errno| read_error(fd, 0, errno.into()))?
        .st_size;
    let got = u64::try_from(got).unwrap_or(0);
    if got != size {
        let expected = size;
        return Err(VerifyError::Size { got, expected });
    }
    let mut read = vec![0; CHUNK];
    let mut expected = vec![0; CHUNK];
    let (mut offset, mut compared) = (0, 0);
    let mut holes = holes.iter();
    let mut hole = holes.next();
    while offset < size {
        while hole.is_some_and(|hole| hole.end <= offset) {
            hole = holes.next();
        }
        if let Some(hole) = hole.filter(|hole| hole.contains(&offset)) {
            let data = data_from(fd, offset).unwrap_or(offset).min(hole.end);
            if data > offset {
                offset = data;
                continue;
            }
        }
        let filled = rustix::io::retry_on_intr(|| rustix::io::pread(fd, &mut *read, offset))
            .map_err(|errno| read_error(fd, offset, errno.into()))?;
        if filled == 0 {
            return Err(VerifyError::Size {
                got: offset,
                expected: size,
            });
        }
        // Somebody may have made the file longer meanwhile: nothing after `size` is expected.
        let wanted = usize::try_from(size.saturating_sub(offset))
            .unwrap_or(usize::MAX)
            .min(filled);
        let read = read.get(..wanted).unwrap_or_default();
        let expected = expected.get_mut(..wanted).unwrap_or_default();
        source(offset, expected).map_err(|source| VerifyError::Source { offset, source })?;
        if read != expected {
            return Err(first_difference(fd, offset, read, expected));
        }
        offset = offset.saturating_add(u64_of(wanted));
        add(&mut compared, u64_of(wanted));
    }
    Ok(compared)
}

/// Where the next data is, bytes; `None` where the filesystem does not say.
fn data_from(fd: BorrowedFd<'_>, offset: u64) -> Option<u64> {
    match rustix::fs::seek(fd, SeekFrom::Data(offset)) {
        Ok(data) => Some(data),
        // There is none up to the end.
        Err(Errno::NXIO) => Some(u64::MAX),
        Err(_) => None,
    }
}

/// Best effort: a filesystem that keeps its pages is only less cold.
fn drop_from_page_cache(fd: BorrowedFd<'_>) {
    let to_the_end: Option<NonZeroU64> = None;
    let _ = rustix::fs::fadvise(fd, 0, to_the_end, Advice::DontNeed);
}

fn first_difference(fd: BorrowedFd<'_>, start: u64, read: &[u8], expected: &[u8]) -> VerifyError {
    let pairs = (start..).zip(read.iter().zip(expected));
    let different = pairs
        .into_iter()
        .find(|(_, (got, expected))| got != expected);
    // Both slices have one length and differ, so there is such a pair.
    let (offset, (&got, &expected)) = different.unwrap_or((start, (&0, &0)));
    VerifyError::Different {
        offset,
        got,
        expected,
        extent: extent_at(fd, offset),
    }
}

fn read_error(fd: BorrowedFd<'_>, offset: u64, source: io::Error) -> VerifyError {
    VerifyError::Read {
        offset,
        extent: extent_at(fd, offset),
        source,
    }
}

/// The compressed extent that has this byte of the file, where there is one and the process may
/// ask. Asked only once something is wrong, so that nothing need be kept per extent.
fn extent_at(fd: BorrowedFd<'_>, offset: u64) -> Option<ExtentFields> {
    let mut payload = vec![0; btrfs_payload_common::MAX_EXTENT];
    let read = encoded_read(fd, offset, &mut payload).ok()??;
    (!read.is_plain()).then_some(read.fields)
}
