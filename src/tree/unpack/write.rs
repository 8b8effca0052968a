//! Makes files, directories and the like, and writes data.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::super::data::Extent;
use super::super::inode::{Inode, Kind};
use super::super::read::{Data, ReadAt};
use super::attributes::{self, Attributes, PRIVATE};
use super::destination::Destination;
use super::error::UnpackError;
use super::plan::Todo;
use super::{LeftOut, UnpackSummary};
use crate::extent::EncodedExtent;
use crate::ioctl::{self, WriteError};
use crate::rules::limits::u64_of;
use crate::rules::sums::add;

/// What a directory has until all of it is there: nobody else may look inside.
const PRIVATE_DIRECTORY: u32 = 0o700;

/// A file being written.
struct Open {
    path: Arc<[u8]>,
    inode: Arc<Inode>,
    fd: OwnedFd,
}

/// Does what is planned, for one thread.
pub(super) struct Writer<'a, R> {
    destination: &'a Destination<'a>,
    data: Data<'a, R>,
    summary: UnpackSummary,
    file: Option<Open>,
    /// The file that data was shared from last.
    from: Option<(Arc<[u8]>, OwnedFd)>,
}

impl<'a, R: ReadAt> Writer<'a, R> {
    pub(super) fn new(destination: &'a Destination<'a>, data: Data<'a, R>) -> Self {
        Self {
            destination,
            data,
            summary: UnpackSummary::default(),
            file: None,
            from: None,
        }
    }

    /// What was made since this was asked last.
    pub(super) fn take_summary(&mut self) -> UnpackSummary {
        std::mem::take(&mut self.summary)
    }

    /// Does steps in their order.
    pub(super) fn write(&mut self, steps: Vec<Todo>) -> Result<(), UnpackError> {
        steps.into_iter().try_for_each(|step| self.step(step))
    }

    /// Does what needs nothing but its directory: symbolic links and the like, and files that are
    /// whole here and share no data. Gives back the rest: it may need what comes before it.
    pub(super) fn write_what_stands_alone(
        &mut self,
        steps: Vec<Todo>,
    ) -> Result<Vec<Todo>, UnpackError> {
        let mut rest = Vec::new();
        let mut file = Vec::new();
        for step in steps {
            match step {
                Todo::Begin(..) => {
                    rest.append(&mut file);
                    file.push(step);
                }
                Todo::End if matches!(file.first(), Some(Todo::Begin(..))) => {
                    file.push(step);
                    self.write(std::mem::take(&mut file))?;
                }
                Todo::Plain(..) | Todo::Encoded(..) | Todo::Failed(_) if !file.is_empty() => {
                    file.push(step);
                }
                Todo::Make(..) => self.step(step)?,
                Todo::Link(..)
                | Todo::Shared(..)
                | Todo::Plain(..)
                | Todo::Encoded(..)
                | Todo::Failed(_)
                | Todo::End => {
                    rest.append(&mut file);
                    rest.push(step);
                }
            }
        }
        rest.append(&mut file);
        Ok(rest)
    }

    fn step(&mut self, step: Todo) -> Result<(), UnpackError> {
        match step {
            Todo::Make(path, inode) => self.make(&path, &inode),
            Todo::Link(path, first, inode) => self.link(&path, &first, &inode),
            Todo::Begin(path, inode) => self.begin(path, inode),
            Todo::End => self.end(),
            Todo::Plain(extent, bytes) => {
                self.plain(&extent, &bytes)?;
                add(&mut self.summary.data, extent.len);
                Ok(())
            }
            Todo::Encoded(extent, encoded) => self.encoded(&extent, &encoded),
            Todo::Shared(extent, from, offset) => self.shared(&extent, &from, offset),
            Todo::Failed(error) => {
                let path = self.file.as_ref().map_or(&[][..], |file| &file.path);
                Err(UnpackError::data(path, error))
            }
        }
    }

    /// Does what makes something under a path; what is there is removed first where that is wished.
    fn under<T>(
        &mut self,
        path: &[u8],
        make: impl Fn(BorrowedFd<'_>, &OsStr) -> Result<T, Errno>,
    ) -> Result<T, UnpackError> {
        let error = |source: io::Error| UnpackError::io("make", path, source);
        let (directory, name) = self.destination.parent(path).map_err(error)?;
        let mut made = make(directory.as_fd(), name);
        if matches!(made, Err(Errno::MFILE | Errno::NFILE)) {
            self.destination.close_kept();
            made = make(directory.as_fd(), name);
        }
        if !self.destination.options.force || !matches!(made, Err(Errno::EXIST)) {
            return made.map_err(|errno| error(errno.into()));
        }
        rustix::fs::unlinkat(&*directory, name, AtFlags::empty())
            .and_then(|()| make(directory.as_fd(), name))
            .map_err(|errno| error(errno.into()))
    }

    fn make(&mut self, path: &[u8], inode: &Inode) -> Result<(), UnpackError> {
        match inode.kind() {
            Kind::Directory => return self.directory(path, inode),
            Kind::Symlink { target } => {
                let target = OsStr::from_bytes(target);
                self.under(path, |directory, name| {
                    rustix::fs::symlinkat(target, directory, name)
                })?;
                add(&mut self.summary.symlinks, 1);
            }
            kind => {
                let (file_type, device) = match *kind {
                    Kind::CharDevice { major, minor } => {
                        (FileType::CharacterDevice, rustix::fs::makedev(major, minor))
                    }
                    Kind::BlockDevice { major, minor } => {
                        (FileType::BlockDevice, rustix::fs::makedev(major, minor))
                    }
                    Kind::Socket => (FileType::Socket, 0),
                    _ => (FileType::Fifo, 0),
                };
                let mode = Mode::from_raw_mode(PRIVATE);
                let made = self.under(path, |directory, name| {
                    match rustix::fs::mknodat(directory, name, file_type, mode, device) {
                        Err(Errno::PERM) if device != 0 => Ok(false),
                        made => made.map(|()| true),
                    }
                })?;
                if !made {
                    self.left_out(LeftOut::Device);
                    return Ok(());
                }
                add(&mut self.summary.specials, 1);
            }
        }
        let (directory, name) = self.parent(path)?;
        let mut attributes = Attributes::new(self.destination.options, &mut self.summary);
        attributes
            .of_name(directory.as_fd(), name, inode)
            .map_err(|source| UnpackError::io("set the attributes of", path, source))
    }

    fn directory(&mut self, path: &[u8], inode: &Inode) -> Result<(), UnpackError> {
        let mode = Mode::from_raw_mode(PRIVATE_DIRECTORY);
        let force = self.destination.options.force;
        self.under(path, |directory, name| {
            match rustix::fs::mkdirat(directory, name, mode) {
                Err(Errno::EXIST) if force && is_directory(directory, name) => Ok(()),
                made => made,
            }
        })?;
        add(&mut self.summary.directories, 1);
        let fd = self.destination.directory(path);
        let fd = fd.map_err(|source| UnpackError::io("make", path, source))?;
        Attributes::new(self.destination.options, &mut self.summary).before_data(fd.as_fd(), inode);
        Ok(())
    }

    fn parent<'p>(&mut self, path: &'p [u8]) -> Result<(Arc<OwnedFd>, &'p OsStr), UnpackError> {
        let parent = self.destination.parent(path);
        parent.map_err(|source| UnpackError::io("make", path, source))
    }

    fn link(&mut self, path: &[u8], first: &[u8], inode: &Inode) -> Result<(), UnpackError> {
        let (from, old) = self.parent(first)?;
        let is_device = matches!(
            inode.kind(),
            Kind::CharDevice { .. } | Kind::BlockDevice { .. }
        );
        let linked = self.under(path, |directory, name| {
            match rustix::fs::linkat(&*from, old, directory, name, AtFlags::empty()) {
                // It was left out.
                Err(Errno::NOENT) if is_device => Ok(false),
                linked => linked.map(|()| true),
            }
        })?;
        if linked {
            add(&mut self.summary.links, 1);
        } else {
            self.left_out(LeftOut::Device);
        }
        Ok(())
    }

    fn begin(&mut self, path: Arc<[u8]>, inode: Arc<Inode>) -> Result<(), UnpackError> {
        let flags =
            OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = Attributes::first_mode(&inode);
        let fd = self.under(&path, |directory, name| {
            // A name without a slash, that is not there yet: it leads nowhere.
            rustix::fs::openat(directory, name, flags, mode)
        })?;
        Attributes::new(self.destination.options, &mut self.summary)
            .before_data(fd.as_fd(), &inode);
        add(&mut self.summary.files, 1);
        self.file = Some(Open { path, inode, fd });
        Ok(())
    }

    fn end(&mut self) -> Result<(), UnpackError> {
        let Some(Open { path, inode, fd }) = self.file.take() else {
            return Ok(());
        };
        let error = |source: io::Error| UnpackError::io("write", &path, source);
        let now = rustix::fs::fstat(&fd).map_err(|errno| error(errno.into()))?;
        if u64::try_from(now.st_size).unwrap_or(0) != inode.size() {
            rustix::fs::ftruncate(&fd, inode.size()).map_err(|errno| error(errno.into()))?;
        }
        let mut attributes = Attributes::new(self.destination.options, &mut self.summary);
        attributes.of_file(fd.as_fd(), &now, &inode).map_err(error)
    }

    fn plain(&mut self, extent: &Extent, bytes: &[u8]) -> Result<(), UnpackError> {
        let Some(file) = &self.file else {
            return Ok(());
        };
        let (mut rest, mut at) = (bytes, extent.offset);
        while !rest.is_empty() {
            let written = rustix::io::retry_on_intr(|| rustix::io::pwrite(&file.fd, rest, at));
            let written = match written {
                Ok(0) => Err(io::ErrorKind::WriteZero.into()),
                written => written.map_err(io::Error::from),
            };
            let written = written.map_err(|source| UnpackError::io("write", &file.path, source))?;
            rest = rest.get(written..).unwrap_or_default();
            at = at.saturating_add(u64_of(written));
        }
        Ok(())
    }

    /// Where the kernel does not take the extent, its data is written; where it never will, others
    /// are not tried.
    fn encoded(&mut self, extent: &Extent, encoded: &EncodedExtent) -> Result<(), UnpackError> {
        let Some(file) = &self.file else {
            return Ok(());
        };
        if let Some(target) = self.destination.target() {
            let written = if self.destination.options.force {
                // Other filesystems may be mounted in a directory that was there.
                ioctl::encoded_write(&file.fd, extent.offset, encoded)
            } else {
                // The file is new and written from front to back: nothing is at the place or after it.
                let place = target.at(extent.offset).file_size(extent.offset);
                ioctl::encoded_write_at(file.fd.as_fd(), extent.offset, &place, encoded)
            };
            match written {
                Ok(_) => {
                    add(&mut self.summary.encoded, extent.len);
                    add(&mut self.summary.data, extent.len);
                    return Ok(());
                }
                Err(WriteError::NotBtrfs | WriteError::Unsupported | WriteError::NotPermitted) => {
                    self.destination.encodes_not();
                }
                Err(_) => {}
            }
        }
        self.copy(extent)
    }

    /// Writes the data of an extent that no worker has decoded.
    fn copy(&mut self, extent: &Extent) -> Result<(), UnpackError> {
        let bytes = self.data.bytes(extent);
        let bytes = bytes.map_err(|error| {
            let path = self.file.as_ref().map_or(&[][..], |file| &file.path);
            UnpackError::data(path, error)
        })?;
        self.plain(extent, &bytes)?;
        add(&mut self.summary.data, extent.len);
        Ok(())
    }

    fn shared(
        &mut self,
        extent: &Extent,
        from: &Arc<[u8]>,
        offset: u64,
    ) -> Result<(), UnpackError> {
        if !self.destination.shares() {
            return self.copy(extent);
        }
        match self.share(extent, from, offset) {
            Ok(()) => {
                add(&mut self.summary.shared, extent.len);
                add(&mut self.summary.data, extent.len);
                Ok(())
            }
            Err(error) => {
                // The filesystem cannot; no other extent is tried.
                let errno = Errno::from_io_error(&error);
                if matches!(errno, Some(Errno::OPNOTSUPP | Errno::NOTTY | Errno::NOSYS)) {
                    self.destination.shares_not();
                }
                self.copy(extent)
            }
        }
    }

    fn share(&mut self, extent: &Extent, from: &Arc<[u8]>, offset: u64) -> io::Result<()> {
        let Some(file) = &self.file else {
            return Ok(());
        };
        if *from == file.path {
            return ioctl::clone_range(&file.fd, offset, extent.len, &file.fd, extent.offset);
        }
        let source = match self.from.take() {
            Some((path, fd)) if path == *from => fd,
            _ => self.destination.file(from, OFlags::RDONLY)?,
        };
        let shared = ioctl::clone_range(&source, offset, extent.len, &file.fd, extent.offset);
        self.from = Some((Arc::clone(from), source));
        shared
    }

    fn left_out(&mut self, what: LeftOut) {
        attributes::left_out(&mut self.summary, what);
    }
}

fn is_directory(directory: BorrowedFd<'_>, name: &OsStr) -> bool {
    rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)
        .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode).is_dir())
}
