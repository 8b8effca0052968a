//! The argument structures, the ioctl numbers and the calls; the only unsafe code of the
//! library.
//!
//! `struct btrfs_ioctl_encoded_io_args`
//! ([include/uapi/linux/btrfs.h](https://github.com/torvalds/linux/blob/v6.18/include/uapi/linux/btrfs.h),
//! the same since 5.18, with the kernel's own description), with 64-bit pointers:
//!
//! | offset | bytes | field |
//! | --- | --- | --- |
//! | 0 | 8 | `iov`: address of the scatter list |
//! | 8 | 8 | `iovcnt`: its length |
//! | 16 | 8 | `offset` in the file, bytes, signed |
//! | 24 | 8 | `flags`, 0 |
//! | 32 | 8 | `len`, bytes |
//! | 40 | 8 | `unencoded_len`, bytes |
//! | 48 | 8 | `unencoded_offset`, bytes |
//! | 56 | 4 | `compression` |
//! | 60 | 4 | `encryption` |
//! | 64 | 64 | `reserved`, zeroes |
//!
//! With 32-bit pointers the first two fields have 4 bytes each and the rest follows without a
//! gap, 120 bytes in all.
//!
//! The other argument structures are those of linux-raw-sys, except where a file says so.
#![allow(unsafe_code)]

pub(super) mod dedupe;
pub(super) mod defrag;
pub(super) mod fiemap;
pub(super) mod handle;
pub(super) mod lease;
pub(super) mod names;
pub(super) mod space;
pub(super) mod tree;

use std::ffi::c_void;
use std::io::{IoSlice, IoSliceMut};
use std::marker::PhantomData;
use std::mem::{offset_of, size_of};
use std::os::fd::BorrowedFd;
use std::ptr;

use rustix::io::{Errno, Result};
use rustix::ioctl::{self, Ioctl, IoctlOutput, Opcode, opcode};

use crate::rules::limits::RESERVED_BYTES;
use crate::rules::{EncodedIoId, ExtentFields};

/// The group of btrfs's ioctl numbers (`BTRFS_IOCTL_MAGIC`).
const MAGIC: u8 = 0x94;

/// `BTRFS_IOC_ENCODED_READ`, in the encoding of this platform: 0x80809440 on most.
#[doc(alias = "BTRFS_IOC_ENCODED_READ")]
pub const ENCODED_READ: u32 = opcode::read::<EncodedIoArgs>(MAGIC, 64);

/// `BTRFS_IOC_ENCODED_WRITE`, in the encoding of this platform: 0x40809440 on most.
#[doc(alias = "BTRFS_IOC_ENCODED_WRITE")]
pub const ENCODED_WRITE: u32 = opcode::write::<EncodedIoArgs>(MAGIC, 64);

/// The argument of both encoded ioctls, as the kernel sees it.
///
/// The functions of this module fill it in themselves; it is public for callers who bring their
/// own way into the kernel, as `IORING_OP_URING_CMD` (reads since 6.13, writes since 6.14).
#[doc(alias = "btrfs_ioctl_encoded_io_args")]
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct EncodedIoArgs {
    /// Address of an array of `struct iovec`: where the payload is, or goes.
    pub iov: *const c_void,
    /// Entries of the array, 1024 at the most (`UIO_MAXIOV`).
    pub iovcnt: usize,
    /// Offset in the file, bytes.
    pub offset: i64,
    /// No flag is defined: 0.
    pub flags: u64,
    /// Bytes of the file that the extent stands for. Ignored on input, filled in by a read, as
    /// are the fields that follow.
    pub len: u64,
    /// Bytes the payload decodes to.
    pub unencoded_len: u64,
    /// Where in the decoded bytes the slice of `len` bytes begins.
    pub unencoded_offset: u64,
    /// Compression type, in the ioctl's numbering ([`EncodedIoId`]).
    pub compression: u32,
    /// Encryption type; 0 is none and the only one.
    pub encryption: u32,
    /// Zeroes.
    pub reserved: [u8; RESERVED_BYTES],
}

#[cfg(target_pointer_width = "64")]
const _: () = {
    assert!(size_of::<EncodedIoArgs>() == 128);
    assert!(offset_of!(EncodedIoArgs, iov) == 0);
    assert!(offset_of!(EncodedIoArgs, iovcnt) == 8);
    assert!(offset_of!(EncodedIoArgs, offset) == 16);
    assert!(offset_of!(EncodedIoArgs, flags) == 24);
    assert!(offset_of!(EncodedIoArgs, len) == 32);
    assert!(offset_of!(EncodedIoArgs, unencoded_len) == 40);
    assert!(offset_of!(EncodedIoArgs, unencoded_offset) == 48);
    assert!(offset_of!(EncodedIoArgs, compression) == 56);
    assert!(offset_of!(EncodedIoArgs, encryption) == 60);
    assert!(offset_of!(EncodedIoArgs, reserved) == 64);
};

#[cfg(target_pointer_width = "32")]
const _: () = {
    assert!(size_of::<EncodedIoArgs>() == 120);
    assert!(offset_of!(EncodedIoArgs, iov) == 0);
    assert!(offset_of!(EncodedIoArgs, iovcnt) == 4);
    assert!(offset_of!(EncodedIoArgs, offset) == 8);
    assert!(offset_of!(EncodedIoArgs, flags) == 16);
    assert!(offset_of!(EncodedIoArgs, len) == 24);
    assert!(offset_of!(EncodedIoArgs, unencoded_len) == 32);
    assert!(offset_of!(EncodedIoArgs, unencoded_offset) == 40);
    assert!(offset_of!(EncodedIoArgs, compression) == 48);
    assert!(offset_of!(EncodedIoArgs, encryption) == 52);
    assert!(offset_of!(EncodedIoArgs, reserved) == 56);
};

impl EncodedIoArgs {
    /// Arguments without a buffer: no flag, reserved bytes zero.
    #[must_use]
    pub fn new(offset: i64, fields: &ExtentFields) -> Self {
        Self {
            iov: ptr::null(),
            iovcnt: 0,
            offset,
            flags: 0,
            len: fields.len,
            unencoded_len: fields.unencoded_len,
            unencoded_offset: fields.unencoded_offset,
            compression: fields.compression.0,
            encryption: fields.encryption,
            reserved: [0; RESERVED_BYTES],
        }
    }

    /// What the arguments claim of the payload.
    #[must_use]
    pub fn fields(&self) -> ExtentFields {
        ExtentFields {
            len: self.len,
            unencoded_len: self.unencoded_len,
            unencoded_offset: self.unencoded_offset,
            compression: EncodedIoId(self.compression),
            encryption: self.encryption,
        }
    }
}

/// An encoded write together with the payload its arguments point to.
struct EncodedWrite<'a> {
    args: EncodedIoArgs,
    payload: PhantomData<&'a [IoSlice<'a>]>,
}

// SAFETY: the opcode belongs to this structure, whose layout is checked above. `iov` and
// `iovcnt` come from a slice of `IoSlice`, which has the layout of `struct iovec`, borrowed for
// 'a. The kernel only reads the structure, the list and the payload, so IS_MUTATING is false.
unsafe impl Ioctl for EncodedWrite<'_> {
    type Output = usize;

    const IS_MUTATING: bool = false;

    fn opcode(&self) -> Opcode {
        ENCODED_WRITE
    }

    fn as_ptr(&mut self) -> *mut c_void {
        (&raw mut self.args).cast()
    }

    unsafe fn output_from_ptr(out: IoctlOutput, _: *mut c_void) -> Result<usize> {
        usize::try_from(out).map_err(|_| Errno::OVERFLOW)
    }
}

/// Calls `BTRFS_IOC_ENCODED_WRITE` once, with the scatter list in place of what `args` has.
///
/// Gives what the kernel returns: the number of payload bytes it took.
pub(super) fn encoded_write(
    fd: BorrowedFd<'_>,
    mut args: EncodedIoArgs,
    payload: &[IoSlice<'_>],
) -> Result<usize> {
    args.iov = payload.as_ptr().cast();
    args.iovcnt = payload.len();
    let call = EncodedWrite {
        args,
        payload: PhantomData,
    };
    // SAFETY: see the implementation of `Ioctl`; `payload` outlives the call. Where the
    // descriptor is not of btrfs the number is unknown and the answer is ENOTTY.
    unsafe { ioctl::ioctl(fd, call) }
}

/// An encoded read together with the buffers its arguments point to.
struct EncodedReadCall<'a> {
    args: EncodedIoArgs,
    buffers: PhantomData<&'a mut [IoSliceMut<'a>]>,
}

// SAFETY: as for `EncodedWrite`, but the kernel writes into the structure and into the buffers,
// which are borrowed mutably for 'a, so IS_MUTATING is true. Every bit pattern is a valid
// `EncodedIoArgs`.
unsafe impl Ioctl for EncodedReadCall<'_> {
    type Output = (usize, EncodedIoArgs);

    const IS_MUTATING: bool = true;

    fn opcode(&self) -> Opcode {
        ENCODED_READ
    }

    fn as_ptr(&mut self) -> *mut c_void {
        (&raw mut self.args).cast()
    }

    unsafe fn output_from_ptr(
        out: IoctlOutput,
        args: *mut c_void,
    ) -> Result<(usize, EncodedIoArgs)> {
        let filled = usize::try_from(out).map_err(|_| Errno::OVERFLOW)?;
        // SAFETY: the caller passes the pointer that `as_ptr` gave, to a live `EncodedIoArgs`.
        Ok((filled, unsafe { args.cast::<EncodedIoArgs>().read() }))
    }
}

/// Calls `BTRFS_IOC_ENCODED_READ` once.
///
/// Gives the number of bytes put into the buffers, and the arguments as the kernel filled them
/// in (with pointers that mean nothing any more).
pub(super) fn encoded_read(
    fd: BorrowedFd<'_>,
    offset: i64,
    buffers: &mut [IoSliceMut<'_>],
) -> Result<(usize, EncodedIoArgs)> {
    let mut args = EncodedIoArgs::new(offset, &ExtentFields::whole(0, EncodedIoId::NONE));
    args.iov = buffers.as_mut_ptr().cast_const().cast();
    args.iovcnt = buffers.len();
    let call = EncodedReadCall {
        args,
        buffers: PhantomData,
    };
    // SAFETY: see the implementation of `Ioctl`; `buffers` outlives the call.
    unsafe { ioctl::ioctl(fd, call) }
}

/// An argument structure with an array after it, in one buffer.
struct InBuffer<'a, const OPCODE: Opcode>(&'a mut [u8]);

// SAFETY: whoever makes one (`call_in_buffer`) promises that the structure of this opcode is at
// the start of the buffer and says no more bytes of results than the buffer has. Any bytes are
// valid in a buffer of bytes, and the kernel asks for no alignment.
unsafe impl<const OPCODE: Opcode> Ioctl for InBuffer<'_, OPCODE> {
    type Output = ();

    const IS_MUTATING: bool = true;

    fn opcode(&self) -> Opcode {
        OPCODE
    }

    fn as_ptr(&mut self) -> *mut c_void {
        self.0.as_mut_ptr().cast()
    }

    unsafe fn output_from_ptr(_: IoctlOutput, _: *mut c_void) -> Result<()> {
        Ok(())
    }
}

/// Calls an ioctl whose results go after its argument.
///
/// # Safety
/// The buffer begins with the argument structure of the opcode, which tells the kernel of no more
/// room for results than the buffer has after it.
unsafe fn call_in_buffer<const OPCODE: Opcode>(
    fd: BorrowedFd<'_>,
    buffer: &mut [u8],
) -> Result<()> {
    // SAFETY: the caller's promise is the one that `InBuffer` asks for.
    unsafe { ioctl::ioctl(fd, InBuffer::<OPCODE>(buffer)) }
}

/// A number of 8 bytes in the machine's order, as the kernel puts it into a buffer; 0 past the end.
fn u64_at(buffer: &[u8], at: usize) -> u64 {
    let bytes = buffer.get(at..).and_then(|rest| rest.first_chunk());
    u64::from_ne_bytes(bytes.copied().unwrap_or_default())
}

/// The same of 4 bytes.
fn u32_at(buffer: &[u8], at: usize) -> u32 {
    let bytes = buffer.get(at..).and_then(|rest| rest.first_chunk());
    u32::from_ne_bytes(bytes.copied().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The numbers that a C program gets from the header.
    #[test]
    #[cfg(target_pointer_width = "64")]
    fn the_numbers_are_those_of_the_header() {
        let (read, write) = (0x8080_9440, 0x4080_9440);
        // mips, powerpc and sparc number the two directions the other way round.
        let swapped = cfg!(any(
            target_arch = "mips64",
            target_arch = "powerpc64",
            target_arch = "sparc64"
        ));
        let expected = if swapped {
            (write, read)
        } else {
            (read, write)
        };
        assert_eq!((ENCODED_READ, ENCODED_WRITE), expected);
    }

    #[test]
    #[cfg(target_arch = "x86_64")]
    fn the_other_numbers_are_those_of_the_header() {
        use linux_raw_sys::ioctl as header;
        let numbers = [
            (space::FS_INFO, header::BTRFS_IOC_FS_INFO),
            (space::SPACE_INFO, header::BTRFS_IOC_SPACE_INFO),
            (tree::SEARCH, header::BTRFS_IOC_TREE_SEARCH_V2),
            (names::INO_LOOKUP, header::BTRFS_IOC_INO_LOOKUP),
            (names::INO_PATHS, header::BTRFS_IOC_INO_PATHS),
            (names::LOGICAL_INO, header::BTRFS_IOC_LOGICAL_INO_V2),
            (names::SUBVOL_INFO, header::BTRFS_IOC_GET_SUBVOL_INFO),
            (dedupe::DEDUPE, header::FIDEDUPERANGE),
            (dedupe::CLONE, header::FICLONERANGE),
            (defrag::DEFRAG_RANGE, header::BTRFS_IOC_DEFRAG_RANGE),
            (fiemap::FIEMAP, header::FS_IOC_FIEMAP),
        ];
        for (ours, theirs) in numbers {
            assert_eq!(ours, theirs, "{theirs:#x}");
        }
    }
}
