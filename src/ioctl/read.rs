//! Taking payloads back from the kernel.

use std::io::{self, IoSliceMut};
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd};

use bytes::Bytes;
use rustix::fs::{FileType, SeekFrom};
use rustix::io::Errno;

use super::tree::{Key, find_item};
use super::{QueryError, ReadError, probe, sys};
use crate::extent::{ClaimedExtent, Content, FileExtent};
use crate::rules::{EncodedIoId, ExtentFields};

/// Bytes that every extent fits, in one read.
const BUFFER: usize = btrfs_payload_common::MAX_EXTENT;

/// What one encoded read put into the caller's buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct EncodedRead {
    /// Bytes of the buffer that are filled: the payload, with the padding to a whole sector if
    /// the extent is regular, or plain data.
    pub payload_len: usize,
    /// What the kernel says of them.
    ///
    /// `unencoded_len` is the disk's `ram_bytes`, for a regular extent a multiple of the sector
    /// whatever was given when it was written. `unencoded_offset` counts from the start of the
    /// decoded bytes to the offset that was asked for. `len` ends with the extent's part of the
    /// file, or with the file.
    pub fields: ExtentFields,
}

impl EncodedRead {
    /// True where the buffer has plain data: an extent that is not compressed, or zeroes for a
    /// hole or a preallocated range.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        self.fields.compression == EncodedIoId::NONE && self.fields.encryption == 0
    }
}

/// `ioctl(fd, BTRFS_IOC_ENCODED_READ, args)`: the extent that has byte `offset` of the file, as
/// it is stored.
///
/// One extent per call; the next begins at `offset + fields.len`. `None` at and past the end of
/// the file. A buffer of 128 KiB fits every compressed extent; plain data comes in pieces of the
/// buffer's size. The kernel writes dirty data of the range out first and verifies the
/// checksums, but does not decode.
///
/// # Errors
/// [`ReadError`]; what to do about each is in the table of [`crate::ioctl`].
#[doc(alias = "BTRFS_IOC_ENCODED_READ")]
pub fn encoded_read(
    fd: impl AsFd,
    offset: u64,
    buffer: &mut [u8],
) -> Result<Option<EncodedRead>, ReadError> {
    let fd = fd.as_fd();
    let got = buffer.len();
    if got == 0 {
        return Err(ReadError::BufferTooSmall { got });
    }
    size_of_file(fd)?;
    // An offset beyond 2^63 - 1 is negative to the kernel, and refused.
    let signed = offset.cast_signed();
    let (payload_len, args) =
        rustix::io::retry_on_intr(|| sys::encoded_read(fd, signed, &mut [IoSliceMut::new(buffer)]))
            .map_err(|errno| match errno {
                Errno::PERM => ReadError::NotPermitted,
                Errno::BADF => ReadError::NotReadable,
                Errno::NOTTY if probe::is_btrfs(fd) => ReadError::Unsupported,
                Errno::NOTTY => ReadError::NotBtrfs,
                Errno::NOBUFS => ReadError::BufferTooSmall { got },
                Errno::INVAL => ReadError::Refused { offset },
                Errno::IO => ReadError::Io,
                Errno::UCLEAN => ReadError::UnknownType,
                Errno::NOMEM => ReadError::NoMemory,
                errno => other(errno),
            })?;
    if payload_len == 0 {
        return Ok(None);
    }
    let fields = args.fields();
    // A caller walks on by `len`; 0 would keep it here for ever.
    if payload_len > got || fields.len == 0 || offset.checked_add(fields.len).is_none() {
        return Err(ReadError::Contradiction {
            offset,
            returned: payload_len,
            len: fields.len,
        });
    }
    Ok(Some(EncodedRead {
        payload_len,
        fields,
    }))
}

/// The size of a regular file, bytes; only these are given to the ioctl.
fn size_of_file(fd: BorrowedFd<'_>) -> Result<u64, ReadError> {
    let stat = rustix::fs::fstat(fd).map_err(other)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(ReadError::NotAFile);
    }
    Ok(u64::try_from(stat.st_size).unwrap_or(0))
}

fn other(errno: Errno) -> ReadError {
    ReadError::Other(io::Error::from(errno))
}

/// The extents of a file in order, without gap, from its first byte to its last.
///
/// Holes are found with `SEEK_DATA`, so the position of the descriptor moves. A file that is
/// changed meanwhile gives some extents of before and some of after.
#[must_use]
pub fn extents<F: AsFd>(fd: F) -> Extents<F> {
    Extents {
        fd,
        offset: 0,
        data_until: 0,
        finished: false,
        buffer: Vec::new(),
    }
}

/// Iterator over the extents of a file; made by [`extents`]. Holds one extent in memory.
///
/// It ends after the first error; [`Extents::skip_unreadable`] goes on.
#[derive(Debug)]
pub struct Extents<F> {
    fd: F,
    /// Where the next extent begins, bytes.
    offset: u64,
    /// No hole begins in front of this offset, bytes.
    data_until: u64,
    finished: bool,
    buffer: Vec<u8>,
}

impl<F: AsFd> Extents<F> {
    /// Goes on at this offset of the file, bytes. The first extent then is the rest of the one
    /// that has this byte.
    #[must_use]
    pub fn starting_at(mut self, offset: u64) -> Self {
        self.offset = offset;
        self.data_until = 0;
        self
    }

    /// After an error: goes on with the next extent. Gives the bytes of the file that are left
    /// out, from the one that could not be read to that extent, or to the end of the file.
    ///
    /// # Errors
    /// [`ReadError`], where the next extent cannot be found.
    pub fn skip_unreadable(&mut self) -> Result<Range<u64>, ReadError> {
        let fd = self.fd.as_fd();
        let stat = rustix::fs::fstat(fd).map_err(other)?;
        let size = u64::try_from(stat.st_size).unwrap_or(0);
        // Data that is not written yet has no extent. Where it cannot be written it is left out,
        // as the answer says.
        let _ = rustix::fs::fdatasync(fd);
        let after = self.offset.saturating_add(1);
        let next = find_item(fd, stat.st_ino, Key::EXTENT_DATA, after..=u64::MAX)
            .map_err(|error| match error {
                QueryError::NotPermitted { .. } => ReadError::NotPermitted,
                error => ReadError::Other(io::Error::other(error)),
            })?
            .map_or(size, |item| item.offset.min(size));
        let skipped = self.offset..next.max(self.offset);
        (self.offset, self.data_until, self.finished) = (skipped.end, 0, false);
        Ok(skipped)
    }

    fn read(&mut self) -> Result<Option<FileExtent<ClaimedExtent>>, ReadError> {
        let offset = self.offset;
        if self.offset >= self.data_until {
            match next_data(self.fd.as_fd(), offset)? {
                Next::EndOfFile => return Ok(None),
                Next::Hole { len } => {
                    return Ok(Some(FileExtent::hole(offset, len)));
                }
                Next::Data { until } => self.data_until = until,
            }
        }
        self.buffer.resize(BUFFER, 0);
        let Some(read) = encoded_read(&self.fd, offset, &mut self.buffer)? else {
            return Ok(None);
        };
        let payload = self.buffer.get(..read.payload_len).unwrap_or_default();
        let payload = Bytes::copy_from_slice(payload);
        if read.is_plain() {
            return Ok(Some(FileExtent::plain(offset, payload)));
        }
        let fields = read.fields;
        Ok(Some(FileExtent {
            offset,
            len: fields.len,
            content: Content::Encoded(ClaimedExtent { payload, fields }),
        }))
    }
}

impl<F: AsFd> Iterator for Extents<F> {
    type Item = Result<FileExtent<ClaimedExtent>, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.finished {
            return None;
        }
        let extent = self.read().transpose();
        match &extent {
            Some(Ok(extent)) => self.offset = self.offset.saturating_add(extent.len),
            None | Some(Err(_)) => self.finished = true,
        }
        extent
    }
}

enum Next {
    EndOfFile,
    Hole { len: u64 },
    Data { until: u64 },
}

/// What there is at an offset: a hole, or data up to the next hole.
fn next_data(fd: BorrowedFd<'_>, offset: u64) -> Result<Next, ReadError> {
    let size = size_of_file(fd)?;
    if offset >= size {
        return Ok(Next::EndOfFile);
    }
    let data = match rustix::fs::seek(fd, SeekFrom::Data(offset)) {
        Ok(data) => data,
        // No data after `offset`: the file ends with a hole, or it has just become shorter.
        Err(Errno::NXIO) => size,
        Err(errno) => return Err(other(errno)),
    };
    if data > offset {
        let len = data.saturating_sub(offset);
        return Ok(Next::Hole { len });
    }
    let until = rustix::fs::seek(fd, SeekFrom::Hole(offset)).map_err(other)?;
    Ok(Next::Data { until })
}
