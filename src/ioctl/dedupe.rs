//! Sharing of what is equal.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::io::Errno;

use super::{QueryError, sys};

/// Bytes that one call compares at most: the kernel's own limit of a step
/// (`BTRFS_MAX_DEDUPE_LEN`, fs/btrfs/reflink.c).
pub const MAX_DEDUPE: u64 = 16 * 1024 * 1024;

/// A range that is to be shared with the source.
#[derive(Debug, Clone, Copy)]
pub struct Destination<'a> {
    /// The file. Root may give a descriptor that is open for reading only, and one of a
    /// read-only snapshot; others need to own the file, or a descriptor open for writing.
    pub file: BorrowedFd<'a>,
    /// Where the range begins, bytes; a multiple of the sector size.
    pub offset: u64,
}

/// What has become of a destination.
#[derive(Debug)]
pub enum Deduped {
    /// The first `len` bytes are equal and shared now.
    Same {
        /// Bytes.
        len: u64,
    },
    /// The ranges differ; nothing has changed.
    Different,
    /// EAGAIN: a snapshot that is being sent, among other things. Try again later.
    Busy,
    /// Nothing was shared. EINVAL: offsets or length are no multiples of the sector size, or one
    /// file keeps checksums and the other does not. EPERM: not the owner. EXDEV: another
    /// filesystem. EROFS: it is mounted read-only. ETXTBSY: a swap file.
    Failed(io::Error),
}

/// `ioctl(source, FIDEDUPERANGE)`: has the kernel compare `len` bytes of the source with each
/// destination, under its locks, and share the source's extents where all bytes are equal. Times
/// of the files stay as they are.
///
/// Compares [`MAX_DEDUPE`] bytes and 126 destinations at most. `len` is a multiple of the sector
/// size, or ends where the source ends. The last sector of a file can be shared only with the
/// last sector of another. Reads both sides through the page cache.
///
/// # Errors
/// [`QueryError`], where the call as a whole fails: a source that is not open for reading,
/// a length of more than [`MAX_DEDUPE`], too many destinations.
#[doc(alias = "FIDEDUPERANGE")]
pub fn dedupe(
    source: impl AsFd,
    offset: u64,
    len: u64,
    destinations: &[Destination<'_>],
) -> Result<Vec<Deduped>, QueryError> {
    const CALL: &str = "FIDEDUPERANGE";
    let fd = source.as_fd();
    if len > MAX_DEDUPE || destinations.len() > sys::dedupe::MAX_DESTINATIONS {
        return Err(QueryError::new(CALL, fd, Errno::INVAL));
    }
    let destinations: Vec<_> = destinations
        .iter()
        .map(|destination| (destination.file, destination.offset))
        .collect();
    let results = rustix::io::retry_on_intr(|| sys::dedupe::dedupe(fd, offset, len, &destinations))
        .map_err(|errno| QueryError::new(CALL, fd, errno))?;
    Ok(results
        .into_iter()
        .map(|(len, status)| match status {
            0 => Deduped::Same { len },
            1.. => Deduped::Different,
            errno if errno == Errno::AGAIN.raw_os_error().saturating_neg() => Deduped::Busy,
            errno => Deduped::Failed(io::Error::from_raw_os_error(errno.saturating_neg())),
        })
        .collect())
}
