//! What anybody may see of files: FIEMAP over a walk of the tree.
//!
//! FIEMAP tells of each part of a file where it is on disk, whether it is compressed, and whether
//! something else refers to it. It tells neither with what codec, nor how long a compressed extent
//! is on disk or decodes to, nor what an extent holds that no file shows, nor who else refers to it.
//! [`super::Map`] knows all of that, and needs root.

use std::collections::{HashMap, HashSet};
use std::num::NonZeroUsize;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use super::error::FilesError;
use super::shown::Ranges;
use super::walk::{Walk, is_gone, open};
use crate::ioctl::{self, FiemapExtent, QueryError};
use crate::pipeline;
use crate::rules::sums::add;

/// Sums over files, each place on disk counted once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Survey {
    /// Regular files; one with several names counts once, in each snapshot.
    pub files: u64,
    /// Files and directories that could not be looked at: this user may not read them.
    pub denied: u64,
    /// Bytes of files that show regular and preallocated extents.
    pub referenced_bytes: u64,
    /// Bytes on disk of plain extents that the files show.
    pub plain_bytes: u64,
    /// Of those, bytes that something else refers to as well, among the files or elsewhere.
    pub shared_plain_bytes: u64,
    /// Compressed extents.
    pub compressed: u64,
    /// Bytes that they decode to, at least: the longest part of each that a file shows.
    pub compressed_shown_bytes: u64,
    /// Compressed extents that something else refers to as well.
    pub shared_compressed: u64,
    /// Bytes on disk that are preallocated.
    pub preallocated_bytes: u64,
    /// Inline extents, one per file.
    pub inline: u64,
    /// Bytes that they show.
    pub inline_bytes: u64,
}

/// Looks at files and at all that is below directories, in every subvolume that they lead to but
/// not on other filesystems. Needs no privilege. `jobs` threads ask the kernel.
///
/// Files that go away meanwhile are left out. Memory: 100 bytes per place on disk, and 50 per file
/// with several names.
///
/// # Errors
/// [`FilesError`], of the paths themselves; what may not be read below them is counted.
pub fn survey(paths: &[PathBuf], jobs: NonZeroUsize) -> Result<Survey, FilesError> {
    let mut walk = Walk::new(paths)?;
    let mut sums = Sums::default();
    pipeline::ordered(
        jobs,
        || Ok::<_, FilesError>(walk.next()),
        || Ok(look_at),
        |found: Found| {
            sums.add(found);
            Ok(())
        },
    )?;
    Ok(sums.finish(walk.denied()))
}

/// A file, or something that may not be read.
enum Found {
    File {
        /// Device and inode, where the file has several names.
        several: Option<(u64, u64)>,
        extents: Vec<FiemapExtent>,
    },
    Denied,
    /// It has gone away, or is no file any more.
    Nothing,
}

fn look_at(path: PathBuf) -> Found {
    let opened = open(&path).and_then(|file| Ok((file.metadata()?, file)));
    let (metadata, file) = match opened {
        Ok(opened) => opened,
        Err(error) if is_gone(&error) => return Found::Nothing,
        Err(_) => return Found::Denied,
    };
    if !metadata.is_file() {
        return Found::Nothing;
    }
    let mut extents = Vec::new();
    match ioctl::fiemap(file, |extent| extents.push(extent)) {
        Ok(()) => Found::File {
            several: (metadata.nlink() > 1).then(|| (metadata.dev(), metadata.ino())),
            extents,
        },
        Err(QueryError::Gone { .. }) => Found::Nothing,
        Err(_) => Found::Denied,
    }
}

/// The survey in the making.
#[derive(Default)]
struct Sums {
    sums: Survey,
    seen: HashSet<(u64, u64)>,
    plain: Ranges,
    shared: Ranges,
    preallocated: Ranges,
    /// Compressed extents: the longest part that is shown, and whether it is shared.
    compressed: HashMap<u64, (u64, bool)>,
}

impl Sums {
    fn add(&mut self, found: Found) {
        let (several, extents) = match found {
            Found::File { several, extents } => (several, extents),
            Found::Denied => return add(&mut self.sums.denied, 1),
            Found::Nothing => return,
        };
        if several.is_some_and(|file| !self.seen.insert(file)) {
            return;
        }
        add(&mut self.sums.files, 1);
        for extent in extents {
            if extent.inline {
                add(&mut self.sums.inline, 1);
                add(&mut self.sums.inline_bytes, extent.len);
                continue;
            }
            add(&mut self.sums.referenced_bytes, extent.len);
            if extent.compressed {
                let (longest, shared) = self.compressed.entry(extent.physical).or_default();
                *longest = extent.len.max(*longest);
                *shared |= extent.shared;
                continue;
            }
            let range = extent.physical..extent.physical.saturating_add(extent.len);
            if extent.preallocated {
                self.preallocated.add(range);
                continue;
            }
            if extent.shared {
                self.shared.add(range.clone());
            }
            self.plain.add(range);
        }
    }

    fn finish(self, denied: u64) -> Survey {
        let mut sums = self.sums;
        add(&mut sums.denied, denied);
        sums.plain_bytes = self.plain.sum();
        sums.shared_plain_bytes = self.shared.sum();
        sums.preallocated_bytes = self.preallocated.sum();
        for (longest, shared) in self.compressed.into_values() {
            add(&mut sums.compressed, 1);
            add(&mut sums.compressed_shown_bytes, longest);
            add(&mut sums.shared_compressed, u64::from(shared));
        }
        sums
    }
}
