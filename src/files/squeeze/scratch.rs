//! The unnamed file in which new extents are made before they are given to others.
//!
//! It has a hole at its beginning, so that nothing in it becomes inline: an inline extent can be
//! given to nobody. Plain data goes into space that is reserved first. The kernel then takes it as
//! it is, in one piece where there is one, also where the filesystem is mounted with
//! `compress-force`, which would cut it into pieces of 128 KiB (`btrfs_run_delalloc_range`,
//! fs/btrfs/inode.c: reserved space comes before compression).

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FallocateFlags, IFlags, Mode, OFlags};

use crate::extent::EncodedExtent;
use crate::files::FilesError;
use crate::ioctl::{self, Filesystem, WriteError};

/// Bytes of the hole: a multiple of every sector size.
pub(super) const HOLE: u64 = 64 * 1024;

/// Why something could not be written.
pub(super) enum ScratchError {
    Encoded(WriteError),
    Plain(io::Error),
}

/// An unnamed file.
pub(super) struct Scratch {
    file: File,
    /// Where the next run goes, bytes.
    end: u64,
}

impl Scratch {
    /// A new one in this directory.
    pub(super) fn new(directory: &File) -> io::Result<Self> {
        let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
        let mode = Mode::RUSR | Mode::WUSR;
        let file = File::from(rustix::fs::openat(directory, ".", flags, mode)?);
        // A directory or a mount option may say that new files keep no checksums. An empty one does
        // once its flags are set without NOCOW, even where they were without it before
        // (btrfs_fileattr_set, fs/btrfs/ioctl.c).
        let flags = rustix::fs::ioctl_getflags(&file)?;
        rustix::fs::ioctl_setflags(&file, flags.difference(IFlags::NOCOW))?;
        Ok(Self { file, end: HOLE })
    }

    pub(super) fn file(&self) -> &File {
        &self.file
    }

    /// Where the next run is to begin.
    pub(super) fn end(&self) -> u64 {
        self.end
    }

    /// The run that has been written ends here; the next begins at a sector.
    pub(super) fn end_at(&mut self, end: u64, sector_size: u64) {
        self.end = end.next_multiple_of(sector_size);
    }

    pub(super) fn write(&self, at: u64, extent: &EncodedExtent) -> Result<(), ScratchError> {
        match ioctl::encoded_write(&self.file, at, extent) {
            Ok(_) => Ok(()),
            Err(error) => Err(ScratchError::Encoded(error)),
        }
    }

    /// Reserves space for plain data.
    pub(super) fn reserve(&self, at: u64, len: u64) -> Result<(), ScratchError> {
        rustix::fs::fallocate(&self.file, FallocateFlags::empty(), at, len)
            .map_err(|errno| ScratchError::Plain(errno.into()))
    }

    /// Whether so much could be written at the end: nothing is.
    pub(super) fn try_room(&self, len: u64) -> Result<(), ScratchError> {
        self.reserve(self.end, len)?;
        self.file.set_len(self.end).map_err(ScratchError::Plain)
    }

    pub(super) fn write_plain(&self, at: u64, data: &[u8]) -> Result<(), ScratchError> {
        self.file
            .write_all_at(data, at)
            .map_err(ScratchError::Plain)
    }

    /// Empties it. What was given to other files stays theirs.
    pub(super) fn reset(&mut self) -> io::Result<()> {
        self.end = HOLE;
        self.file.set_len(0)
    }
}

/// The first directory in which such a file can be made: `wanted`, or that of one of the paths.
pub(super) fn directory(
    wanted: Option<&Path>,
    paths: &[PathBuf],
    filesystem: &Filesystem,
) -> Result<File, FilesError> {
    let mut first = None;
    let of_paths = paths.iter().map(|path| match path.is_dir() {
        true => path.as_path(),
        false => match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        },
    });
    let candidates: Vec<&Path> = match wanted {
        Some(wanted) => vec![wanted],
        None => of_paths.collect(),
    };
    for path in candidates {
        let made = File::open(path).and_then(|directory| {
            Scratch::new(&directory)?;
            Ok(directory)
        });
        match made {
            Ok(directory) => {
                let here = ioctl::filesystem(&directory);
                if here.is_ok_and(|here| here.uuid == filesystem.uuid) {
                    return Ok(directory);
                }
                let path = path.to_owned();
                return Err(FilesError::OtherFilesystem { path });
            }
            Err(source) => {
                first.get_or_insert(FilesError::Temporary {
                    path: path.to_owned(),
                    source,
                });
            }
        }
    }
    Err(first.unwrap_or(FilesError::Temporary {
        path: PathBuf::new(),
        source: io::ErrorKind::NotFound.into(),
    }))
}
