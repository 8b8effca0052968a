//! Compression by the kernel, of what is written already.

use std::io;
use std::os::fd::AsFd;

use rustix::io::Errno;

use super::sys;
use crate::rules::{Codec, OnDiskId};

/// `ioctl(fd, BTRFS_IOC_DEFRAG_RANGE)` with a compression type: has the kernel write a range of a
/// file again, compressed where that saves a sector. Extents that others share are not shared
/// afterwards. Needs no privilege, but a descriptor that is open for writing.
///
/// What is not on disk yet is left out: call `fdatasync` before it, and again after it. Levels
/// (zlib 1 to 9, zstd -15 to 15) there are since Linux 6.15; `None` is the kernel's own, 3 for
/// both, and LZO has no other.
///
/// # Errors
/// The kernel's error number. EOPNOTSUPP, or EINVAL on kernels before 6.0, where it takes no
/// level. EPERM: the file may not be written to. EROFS: a read-only snapshot or mount. ENOTTY: no
/// btrfs.
#[doc(alias = "BTRFS_IOC_DEFRAG_RANGE")]
pub fn compress_range(
    fd: impl AsFd,
    offset: u64,
    len: u64,
    codec: Codec,
    level: Option<i8>,
) -> io::Result<()> {
    let fd = fd.as_fd();
    let OnDiskId(compression) = OnDiskId::from(codec);
    loop {
        match sys::defrag::compress(fd, offset, len, compression, level) {
            // A signal ends the call, between two parts of the range.
            Err(Errno::AGAIN | Errno::INTR) => {}
            result => return Ok(result?),
        }
    }
}
