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
    /// The path that was opened last, and the last directories on it, by the lengths of their paths.
    path: Vec<u8>,
    open: Vec<(usize, Arc<OwnedFd>)>,
}

impl Beneath {
    /// Directories on the way to the one opened last that stay open, at most: who goes up again
    /// finds them.
    pub(crate) const MOST_OPEN: usize = 64;

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
            path: Vec::new(),
            open: Vec::new(),
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
        let is_on_the_way = |end: usize| {
            let rest = path
                .get(end..)
                .filter(|_| self.path.get(..end) == path.get(..end));
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
        };
        let known = self.open.iter().rposition(|(end, _)| is_on_the_way(*end));
        self.open
            .truncate(known.map_or(0, |known| known.saturating_add(1)));
        let (mut end, mut directory) = match self.open.last() {
            Some((end, directory)) => (*end, Arc::clone(directory)),
            None => (0, Arc::clone(&self.top)),
        };
        self.path.clear();
        self.path.extend_from_slice(path);
        while let Some(rest) = path.get(end..).filter(|rest| !rest.is_empty()) {
            let (rest, slash) = match rest.strip_prefix(b"/") {
                Some(rest) => (rest, 1),
                None => (rest, 0),
            };
            let step = step(rest);
            let flags = OFlags::RDONLY | OFlags::DIRECTORY;
            let opened = self.open_in(directory.as_fd(), step, flags, Mode::empty());
            directory = Arc::new(opened?);
            end = end.saturating_add(slash).saturating_add(step.len());
            if self.open.len() >= Self::MOST_OPEN {
                self.open.remove(0);
            }
            self.open.push((end, Arc::clone(&directory)));
        }
        Ok(directory)
    }

    /// Closes the directories that stay open for the next path: the process has no descriptor left.
    pub(crate) fn close_kept(&mut self) {
        self.open.clear();
    }

    fn open_in(
        &mut self,
        directory: BorrowedFd<'_>,
        path: &[u8],
        flags: OFlags,
        mode: Mode,
    ) -> Result<OwnedFd, Errno> {
        match open_in(directory, path, flags, mode) {
            Err(Errno::MFILE | Errno::NFILE) => {
                self.close_kept();
                open_in(directory, path, flags, mode)
            }
            opened => opened,
        }
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
        Ok(self.open_in(directory.as_fd(), name.as_bytes(), flags, mode)?)
    }

    /// A path by which the kernel finds an open file again, for calls that take no descriptor.
    #[must_use]
    pub fn by_descriptor(fd: BorrowedFd<'_>) -> String {
        use std::os::fd::AsRawFd;
        format!("/proc/self/fd/{}", fd.as_raw_fd())
    }
}

/// The beginning of a path that is opened at a time: a name where few are left, so that the
/// directories there stay open, else as much as Linux takes.
fn step(path: &[u8]) -> &[u8] {
    let slashes = |bytes: &[u8]| bytes.iter().filter(|&&byte| byte == b'/').count();
    let first = path
        .iter()
        .position(|&byte| byte == b'/')
        .unwrap_or(path.len());
    if path.len() <= STEP && slashes(path) < Beneath::MOST_OPEN {
        return path.get(..first).unwrap_or(path);
    }
    // A name has at most 255 bytes, so there is a slash. The last of them are left.
    let start = path
        .get(..path.len().saturating_sub(Beneath::MOST_OPEN).min(STEP))
        .unwrap_or(path);
    match start.iter().rposition(|&byte| byte == b'/') {
        Some(slash) => path.get(..slash).unwrap_or(path),
        None => path.get(..first).unwrap_or(path),
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
