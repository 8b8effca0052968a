//! A directory, and what is in it: nothing outside, whatever the names and whatever symbolic links
//! are there.
//!
//! Every path is opened by openat2(2), which refuses to leave the directory and to follow a
//! symbolic link. Paths may be longer than the 4095 bytes that Linux takes at a time.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

/// Bytes of a path that are opened at a time, at most: less than `PATH_MAX`, by a name.
const STEP: usize = 3840;

/// Times that the kernel may say EAGAIN: somebody renames directories meanwhile.
const TRIES: usize = 16;

/// A directory that is never left.
#[derive(Debug)]
pub struct Beneath {
    top: Arc<OwnedFd>,
    /// The directory that was opened last.
    last: Option<(Vec<u8>, Arc<OwnedFd>)>,
}

impl Beneath {
    /// Opens the directory. Its own path may lead through symbolic links.
    ///
    /// # Errors
    /// [`io::ErrorKind::Unsupported`] where the kernel has no openat2(2), which came with Linux 5.6,
    /// or does not let the process use it; and what opening gives.
    pub fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let top = rustix::fs::open(path, flags, Mode::empty())?;
        let beneath = Self {
            top: Arc::new(top),
            last: None,
        };
        let probe = OFlags::PATH | OFlags::DIRECTORY;
        match open_in(beneath.top.as_fd(), b".", probe, Mode::empty()) {
            Ok(_) => Ok(beneath),
            Err(Errno::NOSYS | Errno::PERM) => Err(io::Error::new(
                io::ErrorKind::Unsupported,
                "this kernel has no openat2(2), which keeps everything inside the directory (Linux \
                 5.6 has it; some containers forbid it)",
            )),
            Err(errno) => Err(errno.into()),
        }
    }

    /// The directory itself.
    #[must_use]
    pub fn top(&self) -> BorrowedFd<'_> {
        self.top.as_fd()
    }

    /// Opens a directory in it, by a path without a slash at the beginning.
    ///
    /// # Errors
    /// What opening gives: ELOOP where a part of the path is a symbolic link, EXDEV where it would
    /// lead outside.
    pub fn directory(&mut self, path: &[u8]) -> io::Result<Arc<OwnedFd>> {
        if path.is_empty() {
            return Ok(Arc::clone(&self.top));
        }
        if let Some((last, directory)) = &self.last
            && last == path
        {
            return Ok(Arc::clone(directory));
        }
        let mut directory = Arc::clone(&self.top);
        let mut rest = path;
        while !rest.is_empty() {
            let (step, after) = split(rest);
            let flags = OFlags::RDONLY | OFlags::DIRECTORY;
            directory = Arc::new(open_in(directory.as_fd(), step, flags, Mode::empty())?);
            rest = after;
        }
        self.last = Some((path.to_vec(), Arc::clone(&directory)));
        Ok(directory)
    }

    /// The directory that a path is in, and its last part.
    ///
    /// # Errors
    /// As [`Beneath::directory`]; EINVAL for what is no name.
    pub fn parent<'a>(&mut self, path: &'a [u8]) -> io::Result<(Arc<OwnedFd>, &'a OsStr)> {
        let (directory, name) = match path.iter().rposition(|&byte| byte == b'/') {
            Some(slash) => {
                let (directory, name) = path.split_at(slash);
                (directory, name.get(1..).unwrap_or_default())
            }
            None => (&[][..], path),
        };
        if matches!(name, b"" | b"." | b"..") {
            return Err(Errno::INVAL.into());
        }
        Ok((self.directory(directory)?, OsStr::from_bytes(name)))
    }

    /// Opens a file in it, and makes it if the flags say so. A symbolic link is never followed.
    ///
    /// # Errors
    /// What opening gives, as for [`Beneath::directory`].
    pub fn file(&mut self, path: &[u8], flags: OFlags, mode: Mode) -> io::Result<OwnedFd> {
        let (directory, name) = self.parent(path)?;
        Ok(open_in(directory.as_fd(), name.as_bytes(), flags, mode)?)
    }

    /// Forgets what was opened last: it is to be removed.
    pub fn forget(&mut self) {
        self.last = None;
    }

    /// A path by which the kernel finds an open file again, for calls that take no descriptor.
    #[must_use]
    pub fn by_descriptor(fd: BorrowedFd<'_>) -> String {
        use std::os::fd::AsRawFd;
        format!("/proc/self/fd/{}", fd.as_raw_fd())
    }
}

/// The beginning of a path that is short enough, and the rest.
fn split(path: &[u8]) -> (&[u8], &[u8]) {
    let Some(start) = path.get(..STEP) else {
        return (path, &[]);
    };
    // A name has at most 255 bytes, so there is a slash.
    match start.iter().rposition(|&byte| byte == b'/') {
        Some(slash) => {
            let (step, rest) = path.split_at(slash);
            (step, rest.get(1..).unwrap_or_default())
        }
        None => (path, &[]),
    }
}

fn open_in(
    directory: BorrowedFd<'_>,
    path: &[u8],
    flags: OFlags,
    mode: Mode,
) -> Result<OwnedFd, Errno> {
    let path = OsStr::from_bytes(path);
    let flags = flags | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let mut tries = TRIES;
    loop {
        tries = tries.saturating_sub(1);
        match rustix::fs::openat2(directory, path, flags, mode, resolve) {
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) if tries > 0 => {}
            result => return result,
        }
    }
}
