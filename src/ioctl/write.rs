//! Handing payloads to the kernel.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::OFlags;
use rustix::io::Errno;

use super::sys::{self, EncodedIoArgs};
use super::{WriteError, probe};
use crate::extent::EncodedExtent;
use crate::rules::limits::{RESERVED_BYTES, u64_of};
use crate::rules::{ExtentFields, Target, WriteCall, WriteRule};

/// `ioctl(fd, BTRFS_IOC_ENCODED_WRITE, args)`: makes the extent part of the file at `offset`.
///
/// Returns the payload's length, which is what the kernel took: it takes all or nothing, and a
/// return value of 0, which it gives where it wrote nothing, is an error here. The data is on
/// disk after `fsync`, not before.
///
/// A write that begins past the end of the file leaves a hole; one that ends after it makes
/// the file longer, to the exact byte. The kernel takes an extent at places it was not judged
/// for; here it is refused, and so is a place that breaks a rule of the ioctl, before the kernel
/// is asked: nothing of the file has changed then. Nobody else should change the size of the file meanwhile: that
/// decides, too, whether an extent becomes inline.
///
/// # Errors
/// [`WriteError::WrongPlace`] for a place that the extent was not judged for; what to do about
/// the others is in the table of [`crate::ioctl`].
#[doc(alias = "BTRFS_IOC_ENCODED_WRITE")]
pub fn encoded_write(
    fd: impl AsFd,
    offset: u64,
    extent: &EncodedExtent,
) -> Result<usize, WriteError> {
    let fd = fd.as_fd();
    encoded_write_at(fd, offset, &place(fd, offset)?, extent)
}

/// [`encoded_write`] for who knows the place: the filesystem and the size of the file are those of
/// `place`, and the descriptor has no `O_APPEND`. It spares small files three system calls.
pub(crate) fn encoded_write_at(
    fd: BorrowedFd<'_>,
    offset: u64,
    place: &Target,
    extent: &EncodedExtent,
) -> Result<usize, WriteError> {
    extent.check_place(place)?;
    let (fields, payload) = (extent.fields(), extent.payload());
    // The kernel refuses these too, but past the end of the file only after it has put a hole
    // there (fs/btrfs/inode.c, btrfs_do_encoded_write: after btrfs_cont_expand).
    let call = WriteCall::new(u64_of(payload.len()), fields, place);
    let rules: Vec<WriteRule> = call.broken_rules().collect();
    if !rules.is_empty() {
        return Err(WriteError::Refused { rules });
    }
    // An offset beyond 2^63 - 1 is negative to the kernel, and refused.
    let args = EncodedIoArgs::new(offset.cast_signed(), fields);
    let expected = payload.len();
    let call = || sys::encoded_write(fd, args, &[IoSlice::new(payload)]);
    match rustix::io::retry_on_intr(call) {
        Ok(got) if got == expected && got > 0 => Ok(got),
        Ok(0) => Err(WriteError::NothingWritten {
            payload_len: expected,
        }),
        Ok(got) => Err(WriteError::Short { got, expected }),
        Err(errno) => Err(cause(fd, errno, || {
            broken_rules(fd, offset, fields, expected)
        })),
    }
}

/// Like [`encoded_write`], for a payload in pieces and claims that nobody has checked: they are
/// put together and judged for this place first.
///
/// # Errors
/// [`WriteError::NotSound`] with everything that is wrong, and as [`encoded_write`].
pub fn encoded_write_vectored(
    fd: impl AsFd,
    offset: u64,
    fields: &ExtentFields,
    payload: &[IoSlice<'_>],
) -> Result<usize, WriteError> {
    let place = place(fd.as_fd(), offset)?;
    let mut joined = Vec::new();
    for piece in payload {
        joined.extend_from_slice(piece);
    }
    let extent = EncodedExtent::new(joined.into(), *fields, &place)?;
    encoded_write(fd, offset, &extent)
}

/// The place, as far as it decides what becomes of an extent there.
fn place(fd: BorrowedFd<'_>, offset: u64) -> Result<Target, WriteError> {
    if is_append(fd) {
        return Err(WriteError::Append);
    }
    let error = |errno| cause(fd, errno, Vec::new);
    let filesystem = sys::space::fs_info(fd).map_err(error)?;
    let stat = rustix::fs::fstat(fd).map_err(error)?;
    Ok(Target {
        node_size: filesystem.nodesize,
        file_size: u64::try_from(stat.st_size).unwrap_or(0),
        ..Target::new(filesystem.sectorsize).at(offset)
    })
}

/// True where the descriptor has `O_APPEND`: the kernel then writes at the end of the file,
/// whatever the offset, and says nothing of it.
pub(super) fn is_append(fd: BorrowedFd<'_>) -> bool {
    rustix::fs::fcntl_getfl(fd).is_ok_and(|flags| flags.contains(OFlags::APPEND))
}

fn cause(fd: BorrowedFd<'_>, errno: Errno, rules: impl FnOnce() -> Vec<WriteRule>) -> WriteError {
    match errno {
        Errno::PERM => WriteError::NotPermitted,
        Errno::BADF => WriteError::NotWritable,
        Errno::INVAL => WriteError::Refused { rules: rules() },
        Errno::NOTTY if probe::is_btrfs(fd) => WriteError::Unsupported,
        Errno::NOTTY => WriteError::NotBtrfs,
        Errno::NOSPC => WriteError::NoSpace,
        Errno::DQUOT => WriteError::QuotaExceeded,
        Errno::FBIG => WriteError::TooLarge,
        Errno::TXTBSY => WriteError::SwapFile,
        Errno::ROFS => WriteError::ReadOnlyFilesystem,
        Errno::IO => WriteError::Io,
        Errno::NOMEM => WriteError::NoMemory,
        Errno::FAULT => WriteError::Fault,
        Errno::BUSY => WriteError::Busy,
        errno => WriteError::Other(errno.into()),
    }
}

/// Every rule that is broken, as far as the file can be asked; none where it cannot.
fn broken_rules(
    fd: BorrowedFd<'_>,
    offset: u64,
    fields: &ExtentFields,
    payload_len: usize,
) -> Vec<WriteRule> {
    let Ok(probe) = super::probe(fd) else {
        return Vec::new();
    };
    let payload_len = u64_of(payload_len);
    let target = probe.target(offset);
    WriteCall::new(payload_len, fields, &target)
        .broken_rules()
        .collect()
}

/// One call of the ioctl with every argument in the caller's hand, broken ones too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Submission {
    /// Offset in the file, bytes; negative ones are refused by the kernel.
    pub offset: i64,
    /// The claims.
    pub fields: ExtentFields,
    /// `flags`.
    pub flags: u64,
    /// `reserved`.
    pub reserved: [u8; RESERVED_BYTES],
}

impl Submission {
    /// A call as [`encoded_write`] makes it: no flag, reserved bytes zero.
    #[must_use]
    pub fn new(offset: i64, fields: ExtentFields) -> Self {
        Self {
            offset,
            fields,
            flags: 0,
            reserved: [0; RESERVED_BYTES],
        }
    }
}

/// Makes one call of the ioctl, whatever the arguments, and gives what the kernel returns. For
/// tests and fuzzers; everything else wants [`encoded_write`].
///
/// Nothing is checked and nothing repeated: the result may be 0, and the payload may be anything.
/// It is the caller's duty that it is not one that is judged `unsafe-payload`: some kernels may
/// come to harm when such a payload is read.
///
/// # Errors
/// The kernel's error number, as it is.
pub fn submit(
    fd: impl AsFd,
    submission: &Submission,
    payload: &[IoSlice<'_>],
) -> io::Result<usize> {
    let args = EncodedIoArgs {
        flags: submission.flags,
        reserved: submission.reserved,
        ..EncodedIoArgs::new(submission.offset, &submission.fields)
    };
    Ok(sys::encoded_write(fd.as_fd(), args, payload)?)
}

// The numbers are those of asm-generic; a few platforms have others.
#[cfg(test)]
#[cfg(any(
    target_arch = "x86_64",
    target_arch = "aarch64",
    target_arch = "riscv64"
))]
mod tests {
    use super::*;

    /// No error number gets lost on the way to its cause and back.
    #[test]
    fn every_error_number_has_a_cause() {
        let elsewhere = std::fs::File::open("/dev/null").unwrap();
        // include/uapi/asm-generic/errno.h ends with EHWPOISON, 133.
        for number in 1..=133 {
            let errno = Errno::from_raw_os_error(number);
            let error = cause(elsewhere.as_fd(), errno, Vec::new);
            assert_eq!(error.raw_os_error(), Some(number), "{error}");
            let named = [1, 5, 9, 12, 14, 16, 22, 25, 26, 27, 28, 30, 122].contains(&number);
            let other = matches!(error, WriteError::Other(_));
            assert_eq!(other, !named, "{number}: {error}");
        }
    }
}
