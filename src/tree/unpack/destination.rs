//! The directory that everything goes into, as all threads know it.

use std::ffi::OsStr;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::fs::{Mode, OFlags};

use super::UnpackOptions;
use crate::files::Beneath;
use crate::rules::Target;

/// Where to, how, and what the filesystem there can do.
pub(super) struct Destination<'a> {
    pub(super) options: &'a UnpackOptions,
    /// One for all threads: they work close to each other, so the directories that one has opened
    /// serve the others.
    beneath: Mutex<Beneath>,
    target: Option<Target>,
    /// The filesystem has not said that it takes no encoded extents.
    encodes: AtomicBool,
    /// It has not said that it cannot share data.
    shares: AtomicBool,
}

impl<'a> Destination<'a> {
    /// `target` is where encoded extents can be written, as far as is known.
    pub(super) fn new(
        beneath: Beneath,
        options: &'a UnpackOptions,
        target: Option<Target>,
    ) -> Self {
        Self {
            options,
            beneath: Mutex::new(beneath),
            target,
            encodes: AtomicBool::new(true),
            shares: AtomicBool::new(true),
        }
    }

    /// Where encoded extents can be written.
    pub(super) fn target(&self) -> Option<&Target> {
        let target = self.target.as_ref();
        target.filter(|_| self.encodes.load(Ordering::Relaxed))
    }

    /// No encoded extent is tried from here on.
    pub(super) fn encodes_not(&self) {
        self.encodes.store(false, Ordering::Relaxed);
    }

    /// Whether data may be shared there.
    pub(super) fn shares(&self) -> bool {
        self.shares.load(Ordering::Relaxed)
    }

    /// No sharing is tried from here on.
    pub(super) fn shares_not(&self) {
        self.shares.store(false, Ordering::Relaxed);
    }

    /// [`Beneath::directory`].
    pub(super) fn directory(&self, path: &[u8]) -> io::Result<Arc<OwnedFd>> {
        self.beneath().directory(path)
    }

    /// [`Beneath::parent`].
    pub(super) fn parent<'p>(&self, path: &'p [u8]) -> io::Result<(Arc<OwnedFd>, &'p OsStr)> {
        self.beneath().parent(path)
    }

    /// [`Beneath::file`], of a file that is there.
    pub(super) fn file(&self, path: &[u8], flags: OFlags) -> io::Result<OwnedFd> {
        self.beneath().file(path, flags, Mode::empty())
    }

    /// [`Beneath::close_kept`].
    pub(super) fn close_kept(&self) {
        self.beneath().close_kept();
    }

    /// Waits until the whole filesystem is on the disk.
    pub(super) fn sync(&self) -> io::Result<()> {
        Ok(rustix::fs::syncfs(self.beneath().top())?)
    }

    /// Whatever a thread did while it had the lock, the next path is looked up from what is kept of
    /// earlier ones, so a panic elsewhere does no harm.
    fn beneath(&self) -> MutexGuard<'_, Beneath> {
        self.beneath.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
