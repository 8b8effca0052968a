//! Members that a list names, with their contents from a directory.

use std::collections::HashMap;
use std::fs::{File, Metadata as FileMetadata};
use std::io::{self, Seek};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use btrfs_payload::files::Beneath;
use btrfs_payload::pack::Metadata;
use indicatif::ProgressBar;
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use sha2::{Digest, Sha256, Sha384, Sha512};

use super::found::{How, Xattrs, kind, metadata};
use super::list::{Differs, Entry, List};
use super::member::{Kind, Member, Place};
use super::packing::Packing;
use crate::args::cannot_read;

/// The directory that contents come from.
pub(super) struct Source<'a> {
    path: &'a Path,
    top: OwnedFd,
    how: How,
    /// The first names of files that have several.
    names: HashMap<(u64, u64), Vec<u8>>,
    /// The same for those that the list says are one file.
    groups: HashMap<Vec<u8>, Vec<u8>>,
    xattrs: Xattrs,
}

impl<'a> Source<'a> {
    pub(super) fn new(path: &'a Path, how: How) -> Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let top = rustix::fs::openat(CWD, path, flags, Mode::empty());
        Ok(Self {
            path,
            top: top
                .map_err(io::Error::from)
                .with_context(|| cannot_read(path))?,
            how,
            names: HashMap::new(),
            groups: HashMap::new(),
            xattrs: Xattrs::new(),
        })
    }

    /// Adds all that a list names, and nothing else.
    pub(super) fn add_all(
        &mut self,
        list: &List,
        bar: &ProgressBar,
        packing: &mut Packing<'_>,
    ) -> Result<()> {
        let mut entries = list.entries();
        entries.try_for_each(|(place, entry)| self.add(place, entry, bar, packing))
    }

    /// Adds what one line names.
    pub(super) fn add(
        &mut self,
        place: &Place,
        entry: &Entry,
        bar: &ProgressBar,
        packing: &mut Packing<'_>,
    ) -> Result<()> {
        let path = place.path();
        if !packing.wants(&path) {
            return Ok(());
        }
        let added = self.add_wanted(path.clone(), entry, bar, packing);
        added.with_context(|| {
            let path = path.escape_ascii();
            format!("cannot pack {path}, line {} of the list", entry.line)
        })
    }

    fn add_wanted(
        &mut self,
        path: Vec<u8>,
        entry: &Entry,
        bar: &ProgressBar,
        packing: &mut Packing<'_>,
    ) -> Result<()> {
        let found = match &entry.content {
            Some(content) => self.find(content, true)?,
            None => self.find(&path, false)?,
        };
        let content = entry.content.as_deref().unwrap_or(&path);
        let member = match (&found, &entry.kind) {
            (Some(found), _) => self.member(path, entry, found)?,
            // Whatever it would be, as makefs(8) has it.
            (None, _) if entry.optional => return Ok(()),
            (None, Some(kind)) if *kind != Kind::File => Member {
                path,
                kind: kind.clone(),
                metadata: Metadata::new(default_mode(kind)),
            },
            (None, _) => bail!(
                "there is no {} in {}",
                content.escape_ascii(),
                self.path.display()
            ),
        };
        let file = match (&member.kind, &found) {
            (Kind::File, Some((fd, _))) => Some(readable(fd)?),
            _ => None,
        };
        if let Some(file) = &file {
            verify(file, entry)?;
        }
        packing.add(member, Some(entry), |content| {
            let file = file.as_ref().context("it is no longer a file")?;
            bar.inc(content.copy_file(file)?);
            Ok(())
        })
    }

    /// What the directory has there; a symbolic link at the end is followed where that is wished, inside
    /// the directory.
    fn find(&self, path: &[u8], follow: bool) -> Result<Option<(OwnedFd, FileMetadata)>> {
        let mut flags = OFlags::PATH | OFlags::CLOEXEC;
        flags.set(OFlags::NOFOLLOW, !follow);
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        let path = if path.is_empty() { b"." } else { path };
        let opened = rustix::fs::openat2(&self.top, path, flags, Mode::empty(), resolve);
        let fd = match opened {
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
            opened => opened.map_err(io::Error::from)?,
        };
        let file = File::from(fd);
        let found = file.metadata()?;
        Ok(Some((file.into(), found)))
    }

    fn member(
        &mut self,
        path: Vec<u8>,
        entry: &Entry,
        (fd, found): &(OwnedFd, FileMetadata),
    ) -> Result<Member> {
        let link = || Ok(rustix::fs::readlinkat(fd, "", Vec::new())?.into_bytes());
        let mut kind = kind(found, link)?;
        let is_own = entry.content.is_none();
        let mut metadata = metadata(found, self.how.all_times);
        let first = if let Some(group) = &entry.group {
            self.groups
                .entry(group.clone())
                .or_insert_with(|| path.clone())
        } else if is_own && found.nlink() > 1 && kind != Kind::Directory {
            let inode = (found.dev(), found.ino());
            self.names.entry(inode).or_insert_with(|| path.clone())
        } else {
            &path
        };
        if *first != path && !self.how.hard_dereference {
            kind = Kind::HardLink(first.clone());
        }
        if is_own && !matches!(kind, Kind::HardLink(_)) {
            metadata.xattrs = self.xattrs.of_path(&by_descriptor(fd), true)?;
        }
        Ok(Member {
            path,
            kind,
            metadata,
        })
    }
}

/// What the directory does not say.
fn default_mode(kind: &Kind) -> u32 {
    match kind {
        Kind::Directory => 0o755,
        _ => 0o644,
    }
}

fn by_descriptor(fd: &OwnedFd) -> PathBuf {
    Beneath::by_descriptor(fd.as_fd()).into()
}

/// The same regular file, to be read.
fn readable(fd: &OwnedFd) -> Result<File> {
    Ok(File::open(by_descriptor(fd))?)
}

/// Whether the content is what the list says, which leaves the file at its beginning.
pub(super) fn verify(file: &File, entry: &Entry) -> Result<()> {
    if let Some(size) = entry.size {
        let got = file.metadata()?.len();
        if got != size {
            return Err(Differs(format!("it has {got} bytes, not {size}")).into());
        }
    }
    verify_digest::<Sha256>(file, entry.sha256.as_deref(), "SHA-256")?;
    verify_digest::<Sha384>(file, entry.sha384.as_deref(), "SHA-384")?;
    verify_digest::<Sha512>(file, entry.sha512.as_deref(), "SHA-512")
}

fn verify_digest<D: Digest + io::Write>(
    mut file: &File,
    expected: Option<&[u8]>,
    name: &str,
) -> Result<()> {
    let Some(expected) = expected else {
        return Ok(());
    };
    let mut digest = D::new();
    io::copy(&mut file, &mut digest)?;
    file.rewind()?;
    if digest.finalize()[..] != *expected {
        return Err(Differs(format!("it has another {name}")).into());
    }
    Ok(())
}
