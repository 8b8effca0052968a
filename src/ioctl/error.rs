//! Every error number as a cause and what to do; the table is in the documentation of the
//! module `ioctl`.

use std::io;
use std::os::fd::BorrowedFd;

use rustix::io::Errno;
use thiserror::Error;

use super::sys;
use crate::extent::WrongPlace;
use crate::rules::WriteRule;
use crate::rules::limits::MAX_EXTENT;
use crate::validate::NotSound;

/// Why an encoded write failed. Unless it says otherwise, nothing was written.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum WriteError {
    /// EPERM.
    #[error(
        "encoded writes need CAP_SYS_ADMIN (EPERM): run as root outside of any container, or \
         write plain data"
    )]
    NotPermitted,
    /// EBADF.
    #[error("the descriptor is not open for writing (EBADF): open the file for writing")]
    NotWritable,
    /// The descriptor has `O_APPEND`: the kernel would ignore the offset. Found before the call.
    #[error(
        "the descriptor is open for appending, so the offset would be ignored: open the \
             file without O_APPEND"
    )]
    Append,
    /// The extent was not judged for such a place. Found before the call.
    #[error(transparent)]
    WrongPlace(#[from] WrongPlace),
    /// The claims do not hold: only from [`super::encoded_write_vectored`], before the call.
    #[error(transparent)]
    NotSound(#[from] NotSound),
    /// EINVAL: the arguments, or the file, break these rules.
    #[error("the kernel refuses the write (EINVAL): {}", join(.rules))]
    Refused {
        /// Every rule that is broken as far as can be told from outside; empty where none is.
        rules: Vec<WriteRule>,
    },
    /// ENOTTY, and the file is not on btrfs.
    #[error("the file is not on btrfs (ENOTTY): write plain data")]
    NotBtrfs,
    /// ENOTTY, and the file is on btrfs.
    #[error(
        "this kernel has no encoded writes for this filesystem (ENOTTY): they need Linux 5.18, \
         and sectors no larger than a page before 6.19; write plain data"
    )]
    Unsupported,
    /// ENOSPC.
    #[error(
        "no space for the payload in one piece, or for its metadata (ENOSPC): free space, or \
         write plain data, which may lie in several pieces"
    )]
    NoSpace,
    /// EDQUOT.
    #[error("the quota group is full (EDQUOT): raise its limit or free space")]
    QuotaExceeded,
    /// EFBIG.
    #[error(
        "the write ends beyond the file size limit (EFBIG), and it is never shortened: raise \
         the limit of the process (ulimit -f)"
    )]
    TooLarge,
    /// ETXTBSY.
    #[error("the file is an active swap file (ETXTBSY): run swapoff first")]
    SwapFile,
    /// EROFS.
    #[error(
        "the filesystem is read-only (EROFS): mount it read-write; if an error made it so, the \
         kernel's log has it"
    )]
    ReadOnlyFilesystem,
    /// EIO.
    #[error(
        "the filesystem is shut down, or earlier writes of this file failed (EIO): see the \
         kernel's log"
    )]
    Io,
    /// ENOMEM.
    #[error("the kernel has no memory for the write (ENOMEM): try again later")]
    NoMemory,
    /// EFAULT.
    #[error("a buffer's address is not mapped (EFAULT)")]
    Fault,
    /// EBUSY.
    #[error("a page of the range is in use and stays in the page cache (EBUSY): try again")]
    Busy,
    /// The call succeeded and returned 0: an empty payload, or a `len` of 0.
    #[error("the kernel took none of the {payload_len} payload bytes: the payload or its len is 0")]
    NothingWritten {
        /// Payload bytes offered.
        payload_len: usize,
    },
    /// The call succeeded and returned another number than the payload's length. What is in the
    /// file is not known.
    #[error("the kernel says it took {got} of {expected} payload bytes; it takes all or none")]
    Short {
        /// Bytes the kernel says it took.
        got: usize,
        /// Payload bytes offered.
        expected: usize,
    },
    /// Any other error number.
    #[error("the encoded write failed")]
    Other(#[source] io::Error),
}

impl WriteError {
    /// The error number the kernel gave, where it gave one.
    #[must_use]
    pub fn raw_os_error(&self) -> Option<i32> {
        let errno = match self {
            Self::NotPermitted => Errno::PERM,
            Self::NotWritable => Errno::BADF,
            Self::Refused { .. } => Errno::INVAL,
            Self::NotBtrfs | Self::Unsupported => Errno::NOTTY,
            Self::NoSpace => Errno::NOSPC,
            Self::QuotaExceeded => Errno::DQUOT,
            Self::TooLarge => Errno::FBIG,
            Self::SwapFile => Errno::TXTBSY,
            Self::ReadOnlyFilesystem => Errno::ROFS,
            Self::Io => Errno::IO,
            Self::NoMemory => Errno::NOMEM,
            Self::Fault => Errno::FAULT,
            Self::Busy => Errno::BUSY,
            Self::Append
            | Self::WrongPlace(_)
            | Self::NotSound(_)
            | Self::NothingWritten { .. }
            | Self::Short { .. } => return None,
            Self::Other(error) => return error.raw_os_error(),
        };
        Some(errno.raw_os_error())
    }
}

fn join(rules: &[WriteRule]) -> String {
    if rules.is_empty() {
        return "no rule known here is broken".to_owned();
    }
    let rules: Vec<String> = rules.iter().map(ToString::to_string).collect();
    rules.join("; ")
}

/// Why an encoded read failed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ReadError {
    /// EPERM.
    #[error("encoded reads need CAP_SYS_ADMIN (EPERM): run as root outside of any container")]
    NotPermitted,
    /// EBADF.
    #[error("the descriptor is not open for reading (EBADF): open the file for reading")]
    NotReadable,
    /// A directory, a device, a pipe: only regular files have extents. Found before the call.
    #[error("not a regular file: only regular files have extents")]
    NotAFile,
    /// ENOTTY, and the file is not on btrfs.
    #[error("the file is not on btrfs (ENOTTY)")]
    NotBtrfs,
    /// ENOTTY, and the file is on btrfs.
    #[error(
        "this kernel has no encoded reads for this filesystem (ENOTTY): they need Linux 5.18, \
         and sectors no larger than a page before 6.19"
    )]
    Unsupported,
    /// ENOBUFS, or a buffer of no byte.
    #[error(
        "the extent does not fit a buffer of {got} bytes (ENOBUFS): {} bytes always suffice",
        MAX_EXTENT
    )]
    BufferTooSmall {
        /// The buffer's length, bytes.
        got: usize,
    },
    /// EINVAL.
    #[error("the kernel refuses to read at {offset} (EINVAL): the largest offset is 2^63 - 1")]
    Refused {
        /// File offset, bytes.
        offset: u64,
    },
    /// EIO.
    #[error(
        "the stored bytes cannot be read or fail their checksum (EIO): see the kernel's log, \
         and run btrfs scrub"
    )]
    Io,
    /// EUCLEAN.
    #[error(
        "the extent has a compression type this kernel does not know (EUCLEAN): run btrfs check"
    )]
    UnknownType,
    /// ENOMEM.
    #[error("the kernel has no memory for the read (ENOMEM): try again later")]
    NoMemory,
    /// The kernel's description of an extent contradicts itself.
    #[error(
        "the kernel describes an extent at {offset} that cannot be: {returned} bytes returned, \
         len {len}"
    )]
    Contradiction {
        /// File offset, bytes.
        offset: u64,
        /// Bytes the call returned.
        returned: usize,
        /// `len` as filled in, bytes.
        len: u64,
    },
    /// Any other error number.
    #[error("the encoded read failed")]
    Other(#[source] io::Error),
}

/// Why a descriptor could not be probed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ProbeError {
    /// The file is not on btrfs.
    #[error("the file is not on btrfs")]
    NotBtrfs,
    /// A system call failed that should not: the descriptor has `O_PATH`, for example.
    #[error("{call} failed")]
    Call {
        /// Name of the call.
        call: &'static str,
        /// What it answered.
        #[source]
        source: io::Error,
    },
}

/// Why the kernel does not answer a question about a filesystem.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum QueryError {
    /// EPERM or EACCES.
    #[error("{call} needs root: run as root outside of any container")]
    NotPermitted {
        /// Name of the call.
        call: &'static str,
    },
    /// ENOTTY, and the file is not on btrfs.
    #[error("the file is not on btrfs")]
    NotBtrfs,
    /// ENOTTY, and the file is on btrfs.
    #[error("this kernel has no {call}: it is too old")]
    Unsupported {
        /// Name of the call.
        call: &'static str,
    },
    /// ENOENT or ESTALE: the subvolume, the inode or the item is not there (any more).
    #[error("{call}: it is not there any more")]
    Gone {
        /// Name of the call.
        call: &'static str,
    },
    /// The kernel's answer contradicts itself.
    #[error("{call}: the kernel's answer contradicts itself")]
    Contradiction {
        /// Name of the call.
        call: &'static str,
    },
    /// Any other error number. EIO: the tree cannot be read; see the kernel's log.
    #[error("{call} failed")]
    Call {
        /// Name of the call.
        call: &'static str,
        /// What it answered.
        #[source]
        source: io::Error,
    },
}

impl QueryError {
    /// What the error number of a call means.
    pub(super) fn new(call: &'static str, fd: BorrowedFd<'_>, errno: Errno) -> Self {
        match errno {
            Errno::PERM | Errno::ACCESS => Self::NotPermitted { call },
            Errno::NOTTY if sys::space::fs_info(fd).is_ok() => Self::Unsupported { call },
            Errno::NOTTY | Errno::OPNOTSUPP => Self::NotBtrfs,
            Errno::NOENT | Errno::STALE => Self::Gone { call },
            errno => Self::Call {
                call,
                source: errno.into(),
            },
        }
    }
}
