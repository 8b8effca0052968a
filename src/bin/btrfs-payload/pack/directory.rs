//! Members of a directory, sorted by their names.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use anyhow::{Context, Result, bail};
use indicatif::ProgressBar;
use rustix::fs::OFlags;
use walkdir::WalkDir;

use super::found::{How, Xattrs, kind, metadata};
use super::list::List;
use super::listed::{Source, verify};
use super::member::{Kind, Member, Place};
use super::packing::Packing;
use crate::args::cannot_read;
use crate::output::shown;

/// Adds everything in a directory, and the directory itself as the top one; with what a list says of it,
/// and what only the list has.
pub(super) fn add(
    directory: &Path,
    list: Option<&List>,
    how: How,
    bar: &ProgressBar,
    packing: &mut Packing<'_>,
) -> Result<()> {
    // The first names of files that have several.
    let mut names = HashMap::<(u64, u64), Vec<u8>>::new();
    let mut xattrs = Xattrs::new();
    // Both are in the order of names.
    let mut listed = list.into_iter().flat_map(List::entries).peekable();
    let mut source = Source::new(directory, how)?;
    let mut walk = WalkDir::new(directory)
        .sort_by_file_name()
        .same_file_system(how.one_file_system)
        .into_iter();
    while let Some(entry) = walk.next() {
        let entry = entry?;
        let path = entry.path();
        let name = path.strip_prefix(directory).unwrap_or(path);
        let name = name.as_os_str().as_bytes();
        let mut said = None;
        if list.is_some() {
            let place = Place::new(name)?;
            while let Some((before, entry)) = listed.next_if(|(listed, _)| **listed < place) {
                source.add(before, entry, bar, packing)?;
            }
            said = listed.next_if(|(listed, _)| **listed == place);
        }
        if packing.leaves_out(name) {
            if entry.file_type().is_dir() {
                walk.skip_current_dir();
            }
            continue;
        }
        if !packing.wants(name) {
            continue;
        }
        // Its content is elsewhere.
        if let Some((place, entry)) = said.filter(|(_, entry)| entry.content.is_some()) {
            source.add(place, entry, bar, packing)?;
            continue;
        }
        // The top may be a symbolic link that the user has named.
        let file_type = entry.file_type();
        let opened = if file_type.is_file() {
            Some(open(path).with_context(|| cannot_read(path))?)
        } else {
            None
        };
        let found = match (&opened, entry.depth()) {
            (Some(file), _) => file.metadata(),
            (None, 0) => std::fs::metadata(path),
            (None, _) => path.symlink_metadata(),
        };
        let found = found.with_context(|| cannot_read(path))?;
        let link = || {
            Ok(std::fs::read_link(path)?
                .into_os_string()
                .into_encoded_bytes())
        };
        let mut kind = kind(&found, link).with_context(|| cannot_read(path))?;
        if found.nlink() > 1 && kind != Kind::Directory && !how.hard_dereference {
            let inode = (found.dev(), found.ino());
            match names.get(&inode) {
                Some(first) => kind = Kind::HardLink(first.clone()),
                None => {
                    names.insert(inode, name.to_vec());
                }
            }
        }
        let mut metadata = metadata(&found, how.all_times);
        if !matches!(kind, Kind::HardLink(_)) {
            let read = match &opened {
                Some(file) => xattrs.of_file(file),
                None => xattrs.of_path(path, entry.depth() == 0),
            };
            metadata.xattrs = read.with_context(|| cannot_read(path))?;
        }
        let member = Member {
            path: name.to_vec(),
            kind,
            metadata,
        };
        let said = said.map(|(_, entry)| entry);
        if let (Some(entry), Some(file)) = (said, &opened) {
            verify(file, entry).with_context(|| format!("cannot pack {}", shown(path)))?;
        }
        packing
            .add(member, said, |content| {
                let Some(file) = &opened else {
                    bail!("{} is no longer a file", shown(path));
                };
                bar.inc(content.copy_file(file)?);
                Ok(())
            })
            .with_context(|| format!("cannot pack {}", shown(path)))?;
    }
    listed.try_for_each(|(place, entry)| source.add(place, entry, bar, packing))
}

/// Opens a regular file as it is: no symbolic link that has just taken its place is followed, and
/// no pipe is waited for.
fn open(path: &Path) -> std::io::Result<File> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let mut options = OpenOptions::new();
    options.read(true).custom_flags(flags.bits().cast_signed());
    options.open(path)
}
