//! `fcntl` with `F_SETLEASE`, which rustix has not.

use std::os::fd::{AsRawFd, BorrowedFd};

use linux_raw_sys::general::F_SETSIG;
use rustix::io::{Errno, Result};

/// Asks for a lease for reading, and gives it back: EAGAIN where somebody has the file open for
/// writing. The descriptor is open for reading only; its owner, or `CAP_LEASE`.
pub(in super::super) fn try_read_lease(fd: BorrowedFd<'_>) -> Result<()> {
    // Whoever opens the file in between has a signal sent to us; SIGIO would end the process, and
    // SIGURG does nothing.
    let set_signal = i32::try_from(F_SETSIG).map_err(|_| Errno::INVAL)?;
    fcntl(fd, set_signal, libc::SIGURG)?;
    fcntl(fd, libc::F_SETLEASE, libc::F_RDLCK)?;
    fcntl(fd, libc::F_SETLEASE, libc::F_UNLCK)
}

fn fcntl(fd: BorrowedFd<'_>, command: i32, argument: i32) -> Result<()> {
    // SAFETY: both commands take a number, and touch no memory of ours.
    if unsafe { libc::fcntl(fd.as_raw_fd(), command, argument) } < 0 {
        let error = std::io::Error::last_os_error();
        return Err(Errno::from_io_error(&error).unwrap_or(Errno::IO));
    }
    Ok(())
}
