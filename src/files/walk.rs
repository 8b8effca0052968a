//! A walk through files and directories, as any user may do it.

use std::collections::HashMap;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use rustix::io::Errno;

use super::error::FilesError;
use crate::ioctl;
use crate::rules::sums::add;

/// Opens a file for reading, never through a link.
pub(super) fn open(path: &Path) -> io::Result<File> {
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    OpenOptions::new().read(true).custom_flags(flags).open(path)
}

/// Whether such a path was not opened because it is not there any more, or is a link, which has no
/// extents of its own.
pub(super) fn is_gone(error: &io::Error) -> bool {
    let is_link = error.raw_os_error() == Some(Errno::LOOP.raw_os_error());
    is_link || error.kind() == io::ErrorKind::NotFound
}

/// Goes through directories; gives regular files.
#[derive(Debug)]
pub(super) struct Walk {
    /// Directories that are open, and paths that were asked for.
    open: Vec<fs::ReadDir>,
    files: Vec<PathBuf>,
    /// Devices by whether they are of the filesystem: each subvolume has its own.
    devices: HashMap<u64, bool>,
    uuid: [u8; 16],
    denied: u64,
}

impl Walk {
    /// Of some paths, which are on one filesystem.
    pub(super) fn new(paths: &[PathBuf]) -> Result<Self, FilesError> {
        let mut walk = Self {
            open: Vec::new(),
            files: Vec::new(),
            devices: HashMap::new(),
            uuid: [0; 16],
            denied: 0,
        };
        let mut whole: Vec<PathBuf> = Vec::new();
        for (number, path) in paths.iter().enumerate() {
            let failed = |source| FilesError::Open {
                path: path.clone(),
                source,
            };
            let real = path.canonicalize().map_err(failed)?;
            let metadata = fs::metadata(&real).map_err(failed)?;
            if !metadata.is_dir() && !metadata.is_file() {
                let path = path.clone();
                return Err(FilesError::NoFiles { path });
            }
            let file = open(&real).map_err(failed)?;
            let filesystem = ioctl::filesystem(&file).map_err(|source| FilesError::Path {
                path: path.clone(),
                source,
            })?;
            if number == 0 {
                walk.uuid = filesystem.uuid;
            } else if walk.uuid != filesystem.uuid {
                let path = path.clone();
                return Err(FilesError::OtherFilesystem { path });
            }
            // What is below another path is looked at with it.
            if whole.iter().any(|above| real.starts_with(above)) {
                continue;
            }
            whole.retain(|below| !below.starts_with(&real));
            whole.push(real);
        }
        for path in whole {
            match fs::metadata(&path) {
                Ok(metadata) if metadata.is_dir() => walk.enter(&path, &metadata),
                _ => walk.files.push(path),
            }
        }
        Ok(walk)
    }

    /// Files and directories that this user may not look at, so far.
    pub(super) fn denied(&self) -> u64 {
        self.denied
    }

    /// Opens a directory, where it is of the filesystem.
    fn enter(&mut self, path: &Path, metadata: &Metadata) {
        let uuid = self.uuid;
        let is_ours = self.devices.entry(metadata.dev()).or_insert_with(|| {
            let filesystem = open(path)
                .ok()
                .and_then(|file| ioctl::filesystem(file).ok());
            filesystem.is_none_or(|filesystem| filesystem.uuid == uuid)
        });
        if !*is_ours {
            return;
        }
        match fs::read_dir(path) {
            Ok(entries) => self.open.push(entries),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(_) => add(&mut self.denied, 1),
        }
    }

    /// The next file.
    pub(super) fn next(&mut self) -> Option<PathBuf> {
        loop {
            if let Some(file) = self.files.pop() {
                return Some(file);
            }
            let Some(entry) = self.open.last_mut()?.next() else {
                self.open.pop();
                continue;
            };
            let Ok(entry) = entry else {
                // A directory that was deleted, or that cannot be read on.
                self.open.pop();
                continue;
            };
            let Ok(kind) = entry.file_type() else {
                continue;
            };
            if kind.is_file() {
                return Some(entry.path());
            }
            if kind.is_dir() {
                match entry.metadata() {
                    Ok(metadata) => self.enter(&entry.path(), &metadata),
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    Err(_) => add(&mut self.denied, 1),
                }
            }
        }
    }
}
