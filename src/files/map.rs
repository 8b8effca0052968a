//! The map: every extent that files show, once, whatever shows it.

use std::collections::HashMap;
use std::fs::File;
use std::num::NonZeroUsize;
use std::ops::Range;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use super::directories::{Directories, DirectoryId};
use super::error::FilesError;
use super::item::{FileExtentItem, Stored};
use super::read::{Batch, PieceReader, Seen, place_of};
use super::references::References;
use super::scope::{Included, Piece, Scope, scope};
use super::shown::Ranges;
use crate::ioctl::{self, Filesystem, QueryError};
use crate::rules::OnDiskId;

/// How to make a [`Map`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct MapOptions {
    /// Threads that work. The map does not depend on it.
    pub jobs: NonZeroUsize,
    /// Only extents that were made in this transaction or after it; 0 for all. With it files,
    /// holes and names are not all there, and neither is what is shown of an extent.
    pub since: u64,
}

impl Default for MapOptions {
    fn default() -> Self {
        Self {
            jobs: NonZeroUsize::MIN,
            since: 0,
        }
    }
}

/// An extent on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Extent {
    /// Its address (`disk_bytenr`).
    pub bytenr: u64,
    /// Bytes on disk.
    pub disk_bytes: u64,
    /// Bytes that it decodes to.
    pub ram_bytes: u64,
    /// The transaction that made it.
    pub generation: u64,
    /// The compression type; 0 for none.
    pub compression: OnDiskId,
    /// Whoever shows it reads zeroes.
    pub preallocated: bool,
    /// More than one file shows it, of those that were looked at; the same file in two snapshots
    /// is two.
    pub shared: bool,
    /// What is shown is in several pieces: [`Map::shown`] has them.
    in_pieces: bool,
    /// From the first byte that is shown to the last.
    shown: (u64, u64),
    /// A file that shows it: of all the first, by subvolume, inode and offset.
    pub root: u64,
    /// Its inode.
    pub inode: u64,
    /// Where in it.
    pub offset: u64,
    /// The directory that the extent is counted for: that of this file.
    pub directory: DirectoryId,
}

/// Data in the metadata: of files of one directory, with one compression type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct InlineSum {
    /// Extents.
    pub extents: u64,
    /// Bytes in the metadata.
    pub disk_bytes: u64,
    /// Bytes that they decode to.
    pub ram_bytes: u64,
}

/// Every extent that files show, and where.
///
/// Memory: at most 64 MiB, 300 bytes per extent, 200 bytes and its name per directory, 48 bytes
/// per piece of what is shown of an extent where that is in several, and 32 bytes per file below
/// a path that is not the top of a subvolume. Measured for a whole process with one thread: 5 MiB,
/// and 104 bytes per extent of a file with 400,000 of them, 155 per extent of a tree of sources
/// with 215,000 files, its directories included.
#[derive(Debug)]
pub struct Map {
    /// The filesystem.
    pub filesystem: Filesystem,
    /// The subvolumes that were looked at, in the order in which they were found.
    pub included: Vec<Included>,
    /// The directories of their files.
    pub directories: Directories,
    /// Regular files; one with several names counts once, in each snapshot.
    pub files: u64,
    /// Holes in them.
    pub holes: u64,
    /// Bytes of holes.
    pub hole_bytes: u64,
    /// Bytes of files that show regular and preallocated extents.
    pub referenced_bytes: u64,
    /// Inline extents by directory and compression type (0 to 3; 4 for all others).
    pub inline: HashMap<(DirectoryId, usize), InlineSum>,
    extents: Vec<Extent>,
    pieces: HashMap<u64, Ranges>,
    /// What was read.
    read: Vec<Piece>,
    top: File,
}

impl Map {
    /// Looks at the paths and all that is below them; see [`crate::files`] for what that is.
    /// Needs `CAP_SYS_ADMIN`.
    ///
    /// Where not every file of the filesystem is looked at, extents of which a part is not shown
    /// are asked for their references, so that "shown by no file" is true of the whole
    /// filesystem.
    ///
    /// # Errors
    /// [`FilesError`].
    pub fn new(paths: &[PathBuf], options: &MapOptions) -> Result<Self, FilesError> {
        let (mut map, is_everything) = Self::made_of(paths, options)?;
        if !is_everything && options.since == 0 {
            map.ask_who_else()?;
        }
        Ok(map)
    }

    /// The same without asking who else shows an extent: what files elsewhere show is not in it.
    pub(super) fn of_extents(paths: &[PathBuf], options: &MapOptions) -> Result<Self, FilesError> {
        Ok(Self::made_of(paths, options)?.0)
    }

    /// With whether it has every file of the filesystem.
    fn made_of(paths: &[PathBuf], options: &MapOptions) -> Result<(Self, bool), FilesError> {
        let scope = scope(paths)?;
        let is_everything = scope.is_everything;
        let pieces = scope.pieces.clone();
        let top = scope.top.try_clone().map_err(|source| FilesError::Open {
            path: paths.first().cloned().unwrap_or_default(),
            source,
        })?;
        let builder = Mutex::new(Builder::new(scope));
        read_all(&top, &pieces, options, &builder)?;
        let builder = builder.into_inner();
        let map = builder.unwrap_or_else(PoisonError::into_inner).finish();
        Ok((map, is_everything))
    }

    /// The extents, by address.
    #[must_use]
    pub fn extents(&self) -> &[Extent] {
        &self.extents
    }

    /// The extent that begins at this address.
    #[must_use]
    pub fn get(&self, bytenr: u64) -> Option<&Extent> {
        let found = self
            .extents
            .binary_search_by_key(&bytenr, |extent| extent.bytenr);
        self.extents.get(found.ok()?)
    }

    /// The bytes of what an extent decodes to that files show: ranges in order, with gaps between
    /// them. No range ends after `ram_bytes`.
    pub fn shown(&self, extent: &Extent) -> impl Iterator<Item = Range<u64>> {
        let pieces = self.pieces.get(&extent.bytenr).filter(|_| extent.in_pieces);
        let whole = pieces.is_none().then_some(extent.shown.0..extent.shown.1);
        let size = extent.ram_bytes;
        whole
            .into_iter()
            .chain(pieces.into_iter().flat_map(Ranges::iter))
            .map(move |range| range.start.min(size)..range.end.min(size))
    }

    /// Bytes of what it decodes to that no file shows.
    #[must_use]
    pub fn unreachable(&self, extent: &Extent) -> u64 {
        let shown = self.shown(extent);
        shown.fold(extent.ram_bytes, |left, range| {
            left.saturating_sub(range.end.saturating_sub(range.start))
        })
    }

    /// The inodes that were read, for reading them again.
    pub(super) fn read(&self) -> &[Piece] {
        &self.read
    }

    /// A descriptor of the filesystem, for [`References`] and [`ioctl::open_inode`].
    #[must_use]
    pub fn top(&self) -> &File {
        &self.top
    }

    /// Opens the file that an extent names, for reading.
    ///
    /// # Errors
    /// [`QueryError`]; [`QueryError::Gone`] where it is not there any more.
    pub fn open(&self, extent: &Extent) -> Result<OwnedFd, QueryError> {
        ioctl::open_inode(&self.top, extent.root, extent.inode, None)
    }

    /// Adds what files elsewhere show of extents of which something seems to be left.
    fn ask_who_else(&mut self) -> Result<(), QueryError> {
        let mut references = References::new(self.top.as_fd());
        for index in 0..self.extents.len() {
            let Some(extent) = self.extents.get(index) else {
                break;
            };
            if self.unreachable(extent) == 0 {
                continue;
            }
            let found = references.of(extent.bytenr)?;
            let Some(extent) = self.extents.get_mut(index) else {
                break;
            };
            for reference in found.references {
                let end = reference.extent_offset.saturating_add(reference.len);
                show(extent, &mut self.pieces, reference.extent_offset..end);
            }
            if found.truncated {
                // Whoever is left out may show any of it.
                let ram_bytes = extent.ram_bytes;
                show(extent, &mut self.pieces, 0..ram_bytes);
            }
        }
        Ok(())
    }
}

/// Adds to what is shown of an extent.
fn show(extent: &mut Extent, pieces: &mut HashMap<u64, Ranges>, range: Range<u64>) {
    if range.is_empty() {
        return;
    }
    if !extent.in_pieces {
        let (start, end) = extent.shown;
        if start <= range.end && range.start <= end {
            extent.shown = (start.min(range.start), end.max(range.end));
            return;
        }
        let new = pieces.entry(extent.bytenr).or_default();
        new.add(start..end);
        extent.in_pieces = true;
    }
    let united = pieces.entry(extent.bytenr).or_default();
    united.add(range);
    if united.len() == 1 {
        extent.shown = united
            .iter()
            .next()
            .map_or(extent.shown, |all| (all.start, all.end));
        extent.in_pieces = false;
        pieces.remove(&extent.bytenr);
    }
}

/// Reads all pieces, on several threads.
fn read_all(
    top: &File,
    pieces: &[Piece],
    options: &MapOptions,
    builder: &Mutex<Builder>,
) -> Result<(), QueryError> {
    let next = AtomicUsize::new(0);
    let work = || -> Result<(), QueryError> {
        let mut reader = PieceReader::new(top.as_fd(), options.since);
        let mut take = |batch: &mut Batch| {
            // Whoever panics ends the work.
            let mut builder = builder.lock().unwrap_or_else(PoisonError::into_inner);
            builder.add(batch);
            Ok(())
        };
        while let Some(piece) = pieces.get(next.fetch_add(1, Ordering::Relaxed)) {
            match reader.read(*piece, &mut take) {
                // A subvolume that was deleted meanwhile.
                Ok(()) | Err(QueryError::Gone { .. }) => {}
                Err(error) => {
                    next.store(pieces.len(), Ordering::Relaxed);
                    return Err(error);
                }
            }
        }
        Ok(())
    };
    thread::scope(|scope| {
        let mut others = Vec::new();
        for _ in 1..options.jobs.get() {
            match thread::Builder::new().spawn_scoped(scope, work) {
                Ok(thread) => others.push(thread),
                // The system gives no more threads. The caller's own can do all of the work.
                Err(_) => break,
            }
        }
        let mut result = work();
        for thread in others {
            match thread.join() {
                Ok(other) => result = result.and(other),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        result
    })
}

/// A map in the making. What it becomes does not depend on the order of what comes.
struct Builder {
    scope: Scope,
    index: HashMap<u64, usize>,
    extents: Vec<Extent>,
    pieces: HashMap<u64, Ranges>,
    inline: HashMap<(DirectoryId, usize), InlineSum>,
    files: u64,
    holes: u64,
    hole_bytes: u64,
    referenced_bytes: u64,
    /// The directory of the last file: the next one is often in it.
    last: Option<((u64, u64), DirectoryId)>,
}

impl Builder {
    fn new(scope: Scope) -> Self {
        Self {
            scope,
            index: HashMap::new(),
            extents: Vec::new(),
            pieces: HashMap::new(),
            inline: HashMap::new(),
            files: 0,
            holes: 0,
            hole_bytes: 0,
            referenced_bytes: 0,
            last: None,
        }
    }

    /// Takes what a batch has; leaves it empty.
    fn add(&mut self, batch: &mut Batch) {
        self.files = self.files.saturating_add(batch.files);
        self.holes = self.holes.saturating_add(batch.holes);
        self.hole_bytes = self.hole_bytes.saturating_add(batch.hole_bytes);
        (batch.files, batch.holes, batch.hole_bytes) = (0, 0, 0);
        for (root, inode, parent, name) in batch.directories.drain(..) {
            let parent = self.scope.directories.id(root, parent);
            let id = self.scope.directories.id(root, inode);
            self.scope.directories.name(id, Some(parent), &name);
        }
        for seen in batch.seen.drain(..) {
            if seen.item.stored == Stored::Inline {
                self.add_inline(&seen);
            } else {
                self.add_extent(&seen);
            }
        }
    }

    /// What a file is counted for.
    fn directory(&mut self, seen: &Seen) -> DirectoryId {
        if let Some(id) = self.scope.alone.get(&(seen.root, seen.inode)) {
            return *id;
        }
        let key = (seen.root, seen.parent);
        if let Some((_, id)) = self.last.filter(|(last, _)| *last == key) {
            return id;
        }
        let id = match self.scope.asked_for(seen.root) {
            // A name elsewhere: below the path it has another.
            Some(path) => self
                .scope
                .directories
                .known(seen.root, seen.parent)
                .unwrap_or(path),
            None => self.scope.directories.id(seen.root, seen.parent),
        };
        self.last = Some((key, id));
        id
    }

    fn add_inline(&mut self, seen: &Seen) {
        let directory = self.directory(seen);
        let key = (directory, place_of(seen.item.compression));
        let sum = self.inline.entry(key).or_default();
        sum.extents = sum.extents.saturating_add(1);
        sum.disk_bytes = sum.disk_bytes.saturating_add(seen.item.disk_bytes);
        sum.ram_bytes = sum.ram_bytes.saturating_add(seen.item.ram_bytes);
    }

    fn add_extent(&mut self, seen: &Seen) {
        let item = &seen.item;
        self.referenced_bytes = self.referenced_bytes.saturating_add(item.len);
        let directory = self.directory(seen);
        let next = self.extents.len();
        let index = *self.index.entry(item.bytenr).or_insert(next);
        let Some(extent) = self.extents.get_mut(index) else {
            self.extents.push(new_extent(seen, directory));
            return;
        };
        // A damaged filesystem may say different things.
        extent.disk_bytes = extent.disk_bytes.max(item.disk_bytes);
        extent.ram_bytes = extent.ram_bytes.max(item.ram_bytes);
        extent.generation = extent.generation.max(item.generation);
        extent.compression = extent.compression.max(item.compression);
        extent.preallocated &= item.stored == Stored::Preallocated;
        extent.shared |= (extent.root, extent.inode) != (seen.root, seen.inode);
        if (seen.root, seen.inode, seen.offset) < (extent.root, extent.inode, extent.offset) {
            (extent.root, extent.inode, extent.offset) = (seen.root, seen.inode, seen.offset);
            extent.directory = directory;
        }
        show(extent, &mut self.pieces, shown_by(item));
    }

    fn finish(self) -> Map {
        let Scope {
            top,
            filesystem,
            pieces: read,
            included,
            directories,
            ..
        } = self.scope;
        let mut extents = self.extents;
        drop(self.index);
        extents.sort_unstable_by_key(|extent| extent.bytenr);
        Map {
            filesystem,
            included,
            directories,
            files: self.files,
            holes: self.holes,
            hole_bytes: self.hole_bytes,
            referenced_bytes: self.referenced_bytes,
            inline: self.inline,
            extents,
            pieces: self.pieces,
            read,
            top,
        }
    }
}

fn shown_by(item: &FileExtentItem) -> Range<u64> {
    item.extent_offset..item.extent_offset.saturating_add(item.len)
}

fn new_extent(seen: &Seen, directory: DirectoryId) -> Extent {
    let item = &seen.item;
    let shown = shown_by(item);
    Extent {
        bytenr: item.bytenr,
        disk_bytes: item.disk_bytes,
        ram_bytes: item.ram_bytes,
        generation: item.generation,
        compression: item.compression,
        preallocated: item.stored == Stored::Preallocated,
        shared: false,
        in_pieces: false,
        shown: (shown.start, shown.end),
        root: seen.root,
        inode: seen.inode,
        offset: seen.offset,
        directory,
    }
}
