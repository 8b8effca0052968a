//! Sharing of a range between files.

use std::io;
use std::os::fd::AsFd;

use super::sys;

/// `ioctl(to, FICLONERANGE)`: shows `len` bytes of a file in another, or elsewhere in it, without
/// copying them. Offsets are multiples of the sector size; the length too, unless the range ends
/// where the source ends, and at or past the end of what it goes to.
///
/// # Errors
/// The kernel's error number. EOPNOTSUPP or ENOTTY: the filesystem shares nothing. EXDEV: another
/// filesystem. EINVAL: offsets, or one file keeps checksums and the other does not.
#[doc(alias = "FICLONERANGE")]
pub fn clone_range(
    from: impl AsFd,
    offset: u64,
    len: u64,
    to: impl AsFd,
    to_offset: u64,
) -> io::Result<()> {
    let call = || sys::dedupe::clone_range(from.as_fd(), offset, len, to.as_fd(), to_offset);
    Ok(rustix::io::retry_on_intr(call)?)
}
