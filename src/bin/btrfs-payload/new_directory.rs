//! A directory of payloads that appears whole or not at all.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, BufWriter, ErrorKind, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use anyhow::{Context, Result, bail};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;
use tempfile::TempDir;

use crate::about::{About, about, bail_about};
use crate::interrupt::Temporary;
use crate::manifest;
use crate::new_file::{PREFIX, Place, in_words};
use crate::origin::{Origin, directory_mode};
use crate::output::shown;

/// A directory that takes its name when it is complete.
pub(crate) struct NewDirectory {
    parts: TempDir,
    temporary: Temporary,
    place: Place,
    /// Opened first, so that it knows of everything that fails to reach the disk.
    handle: File,
    /// Mode of the files in it.
    mode: u32,
}

impl NewDirectory {
    /// Nothing of that name may exist, except an empty directory; `force` replaces a directory
    /// that this program has made, and never any other. Only who may read `origin` may read it.
    pub(crate) fn create(name: &Path, force: bool, origin: &Origin) -> Result<Self> {
        if name == Path::new("-") {
            bail!("a directory cannot go to standard output; ./- is one of that name");
        }
        let place = Place::find(name)?;
        if place.old.is_some() && !is_empty(&place.name)? {
            check_ours(&place)?;
            if !force {
                bail_about!(name, "{} exists already; --force replaces it", shown(name));
            }
        }
        place.check_parent()?;
        let begin = || {
            let parts = tempfile::Builder::new()
                .prefix(PREFIX)
                .permissions(Permissions::from_mode(0o700))
                .tempdir_in(&place.parent)?;
            let handle = File::open(parts.path())?;
            let mode = origin.mode(handle.metadata()?.gid(), place.old.as_ref());
            Ok((parts, handle, mode))
        };
        let (parts, handle, mode) = begin()
            .map_err(|error: io::Error| in_words(&error))
            .with_context(|| place.cannot_make())?;
        Ok(Self {
            temporary: Temporary::new(parts.path()),
            parts,
            place,
            handle,
            mode,
        })
    }

    /// Writes a file into it.
    pub(crate) fn file(&self, name: &str, content: &[u8]) -> Result<()> {
        self.begin(name)
            .and_then(|mut file| file.write_all(content))
            .with_context(|| self.cannot_write(name))
    }

    /// Opens a file in it for writing.
    pub(crate) fn open(&self, name: &str) -> Result<BufWriter<File>> {
        let file = self.begin(name);
        file.map(BufWriter::new)
            .with_context(|| self.cannot_write(name))
    }

    /// Nobody else can enter the directory yet, so its files may have their mode at once.
    fn begin(&self, name: &str) -> io::Result<File> {
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(self.mode)
            .open(self.parts.path().join(name))
    }

    fn cannot_write(&self, name: &str) -> About {
        let asked = &self.place.asked;
        about(
            asked,
            format_args!("cannot write {name} for {}", shown(asked)),
        )
    }

    /// Gives it its name, once all of it is on the disk.
    pub(crate) fn finish(self) -> Result<()> {
        let cannot_complete = || self.place.cannot_complete();
        let mode = Permissions::from_mode(directory_mode(self.mode));
        self.handle
            .set_permissions(mode)
            .and_then(|()| Ok(rustix::fs::syncfs(&self.handle)?))
            .with_context(cannot_complete)?;
        if self.place.old.is_some() && !is_empty(&self.place.name)? {
            // Much can have happened since it was looked at.
            check_ours(&self.place)?;
            replace(self.parts.path(), &self.place).with_context(cannot_complete)?;
        } else {
            fs::rename(self.parts.path(), &self.place.name).with_context(cannot_complete)?;
            // Its name is no longer the temporary one; there is nothing to remove.
            drop(self.temporary);
            let _ = self.parts.keep();
        }
        let synced = self.place.sync_parent(&self.handle);
        synced.with_context(|| self.place.cannot_complete())
    }
}

/// Puts a directory in the place of another, which then has the temporary name.
fn replace(new: &Path, place: &Place) -> io::Result<()> {
    let name = &place.name;
    match renameat_with(CWD, new, CWD, name, RenameFlags::EXCHANGE) {
        Ok(()) => return Ok(()),
        // Some filesystems cannot do it in one step.
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {}
        Err(errno) => return Err(errno.into()),
    }
    let aside = tempfile::Builder::new()
        .prefix(PREFIX)
        .tempdir_in(&place.parent)?
        .keep();
    fs::rename(name, &aside).inspect_err(|_| {
        let _ = fs::remove_dir(&aside);
    })?;
    fs::rename(new, name).inspect_err(|_| {
        // Whatever comes of it, the old directory is not removed.
        let _ = fs::rename(&aside, name);
    })?;
    fs::rename(&aside, new)
}

/// True for an empty directory; false for one that is not, and for all else.
fn is_empty(name: &Path) -> Result<bool> {
    match fs::read_dir(name) {
        Ok(mut entries) => Ok(entries.next().is_none()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotADirectory => Ok(false),
        Err(error) => Err(error)
            .with_context(|| about(name, format_args!("cannot look into {}", shown(name)))),
    }
}

/// Refuses a directory that this program has not made, or that has since got anything else.
fn check_ours(place: &Place) -> Result<()> {
    if let Some(reason) = manifest::not_ours(&place.name)? {
        bail_about!(
            &place.asked,
            "{} exists already and is no directory of this program's alone: {reason}; name another",
            shown(&place.asked)
        );
    }
    Ok(())
}
