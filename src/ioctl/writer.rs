//! A file written extent by extent: encoded where the file takes it, plain where it does not.

use std::fmt;
use std::io;
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::FallocateFlags;
use thiserror::Error;

use super::verify::{LARGE_HOLE, verify_around};
use super::write::is_append;
use super::{EncodedIo, ProbeError, VerifyError, WriteError, encoded_write, probe};
use crate::extent::{Content, EncodedExtent, FileExtent};
use crate::rules::WriteRule;
use crate::rules::limits::u64_of;
use crate::rules::sums::add;

/// Why an extent that had a payload was written as plain data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum FallbackReason {
    /// The file is not on btrfs.
    NotBtrfs,
    /// The kernel has no encoded writes for this filesystem.
    Unsupported,
    /// The process has no `CAP_SYS_ADMIN`.
    NotPermitted,
    /// The file keeps no checksums, and so no compressed extents.
    NoDataSum,
    /// No space for the payload in one piece.
    NoSpace,
}

impl FallbackReason {
    /// True where it holds for the file and not only for one extent.
    fn concerns_the_file(self) -> bool {
        self != Self::NoSpace
    }

    fn of(error: &WriteError) -> Option<Self> {
        match error {
            WriteError::NotBtrfs => Some(Self::NotBtrfs),
            WriteError::Unsupported => Some(Self::Unsupported),
            WriteError::NotPermitted => Some(Self::NotPermitted),
            WriteError::Refused { rules } if rules.as_slice() == [WriteRule::NoDataSum] => {
                Some(Self::NoDataSum)
            }
            WriteError::NoSpace => Some(Self::NoSpace),
            _ => None,
        }
    }
}

impl fmt::Display for FallbackReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotBtrfs => "the file is not on btrfs",
            Self::Unsupported => "this kernel has no encoded writes for this filesystem",
            Self::NotPermitted => "encoded writes need CAP_SYS_ADMIN",
            Self::NoDataSum => "the file is NODATASUM or NODATACOW",
            Self::NoSpace => "no space for the payload in one piece",
        })
    }
}

/// How much went one way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Tally {
    /// Number of extents.
    pub extents: u64,
    /// Bytes of the file.
    pub bytes: u64,
    /// Bytes handed to the kernel for them, without padding.
    pub stored: u64,
}

impl Tally {
    fn add(&mut self, bytes: u64, stored: u64) {
        add(&mut self.extents, 1);
        self.bytes = self.bytes.saturating_add(bytes);
        self.stored = self.stored.saturating_add(stored);
    }
}

/// Extents that had a payload and were written as plain data, for one reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Fallback {
    /// The reason.
    pub reason: FallbackReason,
    /// What was written plain because of it; also counted in [`WriteSummary::plain`].
    pub tally: Tally,
}

/// What an [`ExtentWriter`] did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct WriteSummary {
    /// Written as payloads.
    pub encoded: Tally,
    /// Written as plain data, by the caller's wish or as a fallback.
    pub plain: Tally,
    /// Left as holes.
    pub holes: Tally,
    /// Fallbacks, one entry a reason.
    pub fallbacks: Vec<Fallback>,
    /// Bytes read back and compared, without holes that were skipped; 0 where that was not asked for.
    pub verified: u64,
}

/// Why an extent could not be written, or the file not be finished.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum WriterError {
    /// The descriptor cannot be asked.
    #[error("the file cannot be examined")]
    Probe(#[from] ProbeError),
    /// The descriptor has `O_APPEND`: every offset would be ignored.
    #[error(
        "the descriptor is open for appending, so offsets would be ignored: open the file \
         without O_APPEND"
    )]
    Append,
    /// The kernel refused a payload for a reason that plain data does not help.
    #[error("the extent at offset {offset} was not written")]
    Encoded {
        /// File offset, bytes.
        offset: u64,
        /// Why.
        #[source]
        source: WriteError,
    },
    /// Plain data could not be written.
    #[error("the data at offset {offset} was not written")]
    Plain {
        /// File offset, bytes.
        offset: u64,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Old data could not be replaced by a hole.
    #[error("no hole could be made at offset {offset}")]
    Hole {
        /// File offset, bytes.
        offset: u64,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The data of an extent, needed for a fallback, could not be read.
    #[error("the data at offset {offset} could not be read")]
    Source {
        /// File offset, bytes.
        offset: u64,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The size could not be set.
    #[error("the file could not be made {size} bytes long")]
    Size {
        /// The size, bytes.
        size: u64,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Written, but it did not reach the device, or does not verify.
    #[error(transparent)]
    Verify(#[from] VerifyError),
}

/// Writes a file from payloads, plain data and holes.
///
/// `source(offset, buffer)` fills the buffer with the file's bytes at `offset`. It is asked where
/// a payload has to be written as plain data, and by [`ExtentWriter::finish_verified`]; it reads
/// the original, so no more than one extent is in memory.
///
/// Payloads become plain data where the whole file can take none (not on btrfs, a kernel
/// without encoded writes, no privilege, a file without checksums) and where the filesystem has
/// no contiguous space for one; the summary says how many and why. Every other failure is an
/// error: plain data would only hide it.
///
/// Extents may come in any order that the kernel takes: a payload that ends inside a sector has to
/// end at or past the end of the file as it is then. In order of offsets, into a new file, that
/// is always so. A file that was longer stays so.
pub struct ExtentWriter<F, S> {
    fd: F,
    source: S,
    /// Why this file takes no payload.
    plain_only: Option<FallbackReason>,
    /// Size before the first write, bytes.
    old_size: u64,
    /// End of the last extent in the file, bytes.
    end: u64,
    summary: WriteSummary,
    /// Large holes, in order where they were written so.
    holes: Vec<Range<u64>>,
    buffer: Vec<u8>,
}

/// By hand, as `source` is a closure more often than not.
impl<F, S> fmt::Debug for ExtentWriter<F, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExtentWriter")
            .field("plain_only", &self.plain_only)
            .field("old_size", &self.old_size)
            .field("end", &self.end)
            .field("summary", &self.summary)
            .finish_non_exhaustive()
    }
}

impl<F, S> ExtentWriter<F, S>
where
    F: AsFd,
    S: FnMut(u64, &mut [u8]) -> io::Result<()>,
{
    /// Looks at the descriptor and what it can take. It must be open for writing and, to verify,
    /// for reading.
    ///
    /// # Errors
    /// [`WriterError::Probe`] where the descriptor cannot be asked; [`WriterError::Append`].
    pub fn new(fd: F, source: S) -> Result<Self, WriterError> {
        if is_append(fd.as_fd()) {
            return Err(WriterError::Append);
        }
        let plain_only = match probe(&fd) {
            Err(ProbeError::NotBtrfs) => Some(FallbackReason::NotBtrfs),
            Err(error) => return Err(error.into()),
            Ok(found) => match found.encoded_io {
                EncodedIo::Unsupported => Some(FallbackReason::Unsupported),
                EncodedIo::NotPermitted => Some(FallbackReason::NotPermitted),
                // Kernels before 6.2 would take payloads and leave them without checksums.
                EncodedIo::Supported if found.nodatasum => Some(FallbackReason::NoDataSum),
                EncodedIo::Supported => None,
            },
        };
        let stat = rustix::fs::fstat(&fd).map_err(|errno| ProbeError::Call {
            call: "fstat",
            source: errno.into(),
        })?;
        Ok(Self {
            fd,
            source,
            plain_only,
            old_size: u64::try_from(stat.st_size).unwrap_or(0),
            end: 0,
            summary: WriteSummary::default(),
            holes: Vec::new(),
            buffer: Vec::new(),
        })
    }

    /// Why nothing of this file can be written as payloads, if that is so.
    #[must_use]
    pub fn plain_only(&self) -> Option<FallbackReason> {
        self.plain_only
    }

    /// Writes one extent.
    ///
    /// # Errors
    /// [`WriterError`] with the offset. What was written before stays.
    pub fn write(&mut self, extent: &FileExtent<EncodedExtent>) -> Result<(), WriterError> {
        let offset = extent.offset;
        let len = match &extent.content {
            Content::Encoded(encoded) => {
                self.write_encoded(offset, encoded)?;
                encoded.fields().len
            }
            Content::Plain(data) => {
                write_plain(self.fd.as_fd(), offset, data)?;
                let len = u64_of(data.len());
                self.summary.plain.add(len, len);
                len
            }
            Content::Hole => {
                self.punch_hole(offset, extent.len)?;
                self.summary.holes.add(extent.len, 0);
                if extent.len >= LARGE_HOLE {
                    let end = offset.saturating_add(extent.len);
                    self.holes.push(offset..end);
                }
                extent.len
            }
        };
        self.end = self.end.max(offset.saturating_add(len));
        Ok(())
    }

    fn write_encoded(&mut self, offset: u64, extent: &EncodedExtent) -> Result<(), WriterError> {
        let reason = match self.plain_only {
            Some(reason) => reason,
            None => match encoded_write(&self.fd, offset, extent) {
                Ok(stored) => {
                    let stored = u64_of(stored);
                    self.summary.encoded.add(extent.fields().len, stored);
                    return Ok(());
                }
                Err(source) => match FallbackReason::of(&source) {
                    Some(reason) => reason,
                    None => return Err(WriterError::Encoded { offset, source }),
                },
            },
        };
        if reason.concerns_the_file() {
            self.plain_only = Some(reason);
        }
        self.write_instead(offset, extent.fields().len, reason)
    }

    fn write_instead(
        &mut self,
        offset: u64,
        len: u64,
        reason: FallbackReason,
    ) -> Result<(), WriterError> {
        // At most 128 KiB: the constructor of `EncodedExtent` saw to it.
        self.buffer.resize(usize::try_from(len).unwrap_or(0), 0);
        (self.source)(offset, &mut self.buffer)
            .map_err(|source| WriterError::Source { offset, source })?;
        write_plain(self.fd.as_fd(), offset, &self.buffer)?;
        self.summary.plain.add(len, len);
        let fallbacks = &mut self.summary.fallbacks;
        match fallbacks
            .iter_mut()
            .find(|fallback| fallback.reason == reason)
        {
            Some(fallback) => fallback.tally.add(len, len),
            None => {
                let mut tally = Tally::default();
                tally.add(len, len);
                fallbacks.push(Fallback { reason, tally });
            }
        }
        Ok(())
    }

    /// Old data in the range goes; past the old end of the file there is none.
    fn punch_hole(&mut self, offset: u64, len: u64) -> Result<(), WriterError> {
        let len = len.min(self.old_size.saturating_sub(offset));
        if len == 0 {
            return Ok(());
        }
        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        rustix::io::retry_on_intr(|| rustix::fs::fallocate(&self.fd, flags, offset, len)).map_err(
            |errno| WriterError::Hole {
                offset,
                source: errno.into(),
            },
        )
    }

    /// Makes the file as long as the last extent wants it and waits until everything is on the
    /// device.
    ///
    /// # Errors
    /// [`WriterError::Size`]; [`VerifyError::Sync`], where a write failed late.
    pub fn finish(mut self) -> Result<WriteSummary, WriterError> {
        self.set_size()?;
        rustix::fs::fsync(&self.fd).map_err(|errno| VerifyError::Sync(errno.into()))?;
        Ok(self.summary)
    }

    /// Like [`ExtentWriter::finish`], then reads the file back through the kernel's decoders and
    /// compares it with the source; see [`super::verify()`]. Holes are
    /// not read where they are holes in the file too.
    ///
    /// # Errors
    /// As [`ExtentWriter::finish`], and [`WriterError::Verify`].
    pub fn finish_verified(mut self) -> Result<WriteSummary, WriterError> {
        let size = self.set_size()?;
        self.holes.sort_by_key(|hole| hole.start);
        let fd = self.fd.as_fd();
        self.summary.verified = verify_around(fd, size, &self.holes, &mut self.source)?;
        Ok(self.summary)
    }

    /// Returns the size, bytes.
    fn set_size(&mut self) -> Result<u64, WriterError> {
        let size = self.end.max(self.old_size);
        let error = |errno: rustix::io::Errno| WriterError::Size {
            size,
            source: errno.into(),
        };
        let stat = rustix::fs::fstat(&self.fd).map_err(error)?;
        if u64::try_from(stat.st_size).unwrap_or(0) < size {
            rustix::io::retry_on_intr(|| rustix::fs::ftruncate(&self.fd, size)).map_err(error)?;
        }
        Ok(size)
    }
}

/// `pwrite` until everything is written.
fn write_plain(fd: BorrowedFd<'_>, offset: u64, data: &[u8]) -> Result<(), WriterError> {
    let mut rest = data;
    let mut at = offset;
    while !rest.is_empty() {
        let error = |source: io::Error| WriterError::Plain { offset: at, source };
        let written = rustix::io::retry_on_intr(|| rustix::io::pwrite(fd, rest, at))
            .map_err(|errno| error(errno.into()))?;
        if written == 0 {
            return Err(error(io::ErrorKind::WriteZero.into()));
        }
        rest = rest.get(written..).unwrap_or_default();
        at = at.saturating_add(u64_of(written));
    }
    Ok(())
}
