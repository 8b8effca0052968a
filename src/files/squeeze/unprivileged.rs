//! The same without root, where neither trees nor references nor encoded writes are to be had.
//!
//! FIEMAP tells which parts of a file are plain and shown by nothing else. They are copied to the
//! unnamed file, the kernel compresses that ([`ioctl::compress_range`]), and exchanges the extents
//! where all bytes are equal, as the owner of a file may ask for. How much they would take is
//! found out first, with encoders of the same kind.
//!
//! FIEMAP does not tell where an extent begins and ends, nor what else it holds: parts of a file
//! that may be of one extent (`Group`) get new extents together or not at all. An extent of which
//! a part stayed would take its space beside the new ones.

use std::collections::HashSet;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::fs::{IFlags, OFlags};
use rustix::io::Errno;

use super::give::reason;
use super::options::SqueezeOptions;
use super::outcome::{Left, Share, SqueezeSummary, Squeezed};
use super::pace::{Pace, Patience};
use super::scratch::{self, Scratch};
use crate::files::FilesError;
use crate::files::shown::Ranges;
use crate::files::walk::{Walk, is_gone, open};
use crate::ioctl::{self, Deduped, Destination, FiemapExtent, MAX_DEDUPE, QueryError};
use crate::prepare::{Level, Options, Prepared, Preparer, Zeroes};
use crate::rules::Codec;
use crate::rules::limits::{MAX_EXTENT, u64_of};
use crate::rules::sums::add;

/// Bytes that are copied, compressed and exchanged at a time.
const STEP: u64 = MAX_DEDUPE;

/// The longest plain extent, bytes (`BTRFS_MAX_EXTENT_SIZE`, fs/btrfs/fs.h).
const MAX_PLAIN: u64 = 128 * 1024 * 1024;

/// All of a group is written again: one part of so many is to be saved at least.
const LEAST_PART: u64 = 32;

/// Squeezes the files of this user: plain extents that nothing else shows. One thread.
///
/// The kernel compresses, with the first of the methods: zstd up to level 15, zlib, or LZO at its
/// only level; levels there are since Linux 6.15. [`SqueezeOptions::since`], `jobs`, `reclaim`
/// and `allow_growth` mean nothing here. [`Share`] counts parts of files as FIEMAP has them:
/// neighbours on disk are one; what is shared counts for each file, and what is compressed has no
/// bytes.
///
/// A file that is reflinked, or a snapshot that is made, in the moment in which it gets its new
/// extents makes the filesystem fuller, and no data wrong.
///
/// ```no_run
/// use btrfs_payload::files::{SqueezeOptions, SqueezeOwn};
/// use btrfs_payload::prepare::{Level, Options};
/// use btrfs_payload::rules::Codec;
///
/// let options = SqueezeOptions::new(Options::new(Codec::Zstd, Level::Number(15)));
/// let mut squeeze = SqueezeOwn::new(&["/mnt/home/me".into()], options)?;
/// squeeze.run(|| false, |done, path| println!("{}: {done:?}", path.display()))?;
/// println!("{} bytes freed", squeeze.summary().freed_bytes());
/// # Ok::<(), btrfs_payload::files::FilesError>(())
/// ```
#[derive(Debug)]
pub struct SqueezeOwn {
    options: SqueezeOptions,
    walk: Walk,
    codec: Codec,
    /// What the kernel is asked for.
    level: Option<i8>,
    takes_levels: bool,
    /// Where the unnamed file is made; `None` while no directory is known that will do.
    directory: Option<File>,
    sector_size: u64,
    /// Device and inode of files with several names.
    seen: HashSet<(u64, u64)>,
    denied: u64,
    summary: SqueezeSummary,
    is_finished: bool,
}

impl SqueezeOwn {
    /// Looks at the paths. Needs no privilege.
    ///
    /// # Errors
    /// [`FilesError`]: a path that cannot be looked at, a [`SqueezeOptions::temp_dir`] that is
    /// of no use, a level that the codec does not have.
    pub fn new(paths: &[PathBuf], mut options: SqueezeOptions) -> Result<Self, FilesError> {
        let walk = Walk::new(paths)?;
        let first = paths.first().cloned().unwrap_or_default();
        let failed = |source| FilesError::Open {
            path: first.clone(),
            source,
        };
        let top = open(&first.canonicalize().map_err(failed)?).map_err(failed)?;
        let filesystem = ioctl::filesystem(&top)?;
        let method = options.prepare.methods.first().copied();
        let (codec, wanted) = method.unwrap_or((Codec::Zstd, Level::Default));
        let level = kernel_level(codec, wanted);
        options.prepare = prepare_options(codec, level, filesystem.sector_size);
        let mut squeeze = Self {
            walk,
            codec,
            level,
            takes_levels: true,
            directory: None,
            sector_size: filesystem.sector_size.into(),
            seen: HashSet::new(),
            denied: 0,
            summary: SqueezeSummary::default(),
            is_finished: false,
            options,
        };
        if !squeeze.options.dry_run {
            let temp_dir = squeeze.options.temp_dir.as_deref();
            match scratch::directory(temp_dir, paths, &filesystem) {
                Ok(directory) => squeeze.use_directory(directory, filesystem.sector_size)?,
                Err(error) if temp_dir.is_some() => return Err(error),
                Err(_) => {}
            }
        }
        Ok(squeeze)
    }

    /// The kernel is asked to compress with this codec and level; `None` is its own level.
    #[must_use]
    pub fn method(&self) -> (Codec, Option<i8>) {
        (self.codec, self.level)
    }

    /// False where the kernel was found to take no level.
    #[must_use]
    pub fn takes_levels(&self) -> bool {
        self.takes_levels
    }

    /// Files and directories that this user may not look at, so far.
    #[must_use]
    pub fn denied(&self) -> u64 {
        self.denied.saturating_add(self.walk.denied())
    }

    /// What has been done so far.
    #[must_use]
    pub fn summary(&self) -> &SqueezeSummary {
        &self.summary
    }

    /// All files have been looked at.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.is_finished
    }

    /// Does it; `each` hears of everything that is done, with the path of the file. Once `stop`
    /// says so it ends after what is begun; what is done stays done.
    ///
    /// # Errors
    /// [`FilesError`], for what hits everything. What keeps an extent as it is, is counted.
    pub fn run(
        &mut self,
        stop: impl Fn() -> bool,
        mut each: impl FnMut(&Squeezed, &Path),
    ) -> Result<(), FilesError> {
        let patience = Patience::new(self.options.patience);
        let pace = Pace::new(self.options.bytes_per_second);
        while !stop() {
            let Some(path) = self.walk.next() else {
                self.is_finished = true;
                break;
            };
            let Some(own) = self.look_at(&path) else {
                continue;
            };
            let mut tell = |squeeze: &mut Self, squeezed: Squeezed| {
                squeeze.summary.add(&squeezed);
                each(&squeezed, &path);
            };
            let (groups, left) = own.sort();
            for (left, share) in left {
                tell(self, own.squeezed(0, share, share, Some(left)));
            }
            for group in groups {
                match self.squeeze(&path, &own, &group, &patience, &pace, &stop)? {
                    Some(squeezed) => tell(self, squeezed),
                    None => break,
                }
            }
        }
        Ok(())
    }

    /// Opens a file; `None` where it is nothing for us.
    fn look_at(&mut self, path: &Path) -> Option<Own> {
        let opened = open(path).and_then(|file| Ok((file.metadata()?, file)));
        let (metadata, file) = match opened {
            Ok(opened) => opened,
            Err(error) => {
                add(&mut self.denied, u64::from(!is_gone(&error)));
                return None;
            }
        };
        let is_seen = metadata.nlink() > 1 && !self.seen.insert((metadata.dev(), metadata.ino()));
        if !metadata.is_file() || is_seen {
            return None;
        }
        // Reading is no access that anybody wants to know of. Its owner may ask for that.
        let _ = rustix::fs::fcntl_setfl(&file, OFlags::NOATIME);
        let extents = match extents_of(&file) {
            Ok(extents) => extents,
            Err(error) => {
                add(
                    &mut self.denied,
                    u64::from(!matches!(error, QueryError::Gone { .. })),
                );
                return None;
            }
        };
        let flags = rustix::fs::ioctl_getflags(&file).unwrap_or(IFlags::empty());
        let left = if metadata.uid() != rustix::process::geteuid().as_raw() {
            Some(Left::OutOfReach)
        } else if flags.contains(IFlags::NOCOW) {
            Some(Left::NoChecksums)
        } else if flags.intersects(IFlags::IMMUTABLE | IFlags::APPEND) {
            Some(Left::Immutable)
        } else if self.options.skip_busy && ioctl::is_open_for_writing(&file).unwrap_or(false) {
            Some(Left::OpenForWriting)
        } else {
            None
        };
        Some(Own {
            root: ioctl::subvolume_id(&file).unwrap_or(0),
            inode: metadata.ino(),
            len: metadata.len(),
            file,
            extents,
            left,
        })
    }

    /// Gives a group new extents; `None` where it was stopped before anything was done.
    fn squeeze(
        &mut self,
        path: &Path,
        own: &Own,
        group: &Group,
        patience: &Patience,
        pace: &Pace,
        stop: &impl Fn() -> bool,
    ) -> Result<Option<Squeezed>, FilesError> {
        let old = group.share();
        let left = |left| Ok(Some(own.squeezed(group.offset(), old, old, Some(left))));
        let best = group
            .len
            .div_ceil(MAX_EXTENT)
            .saturating_mul(self.sector_size);
        if !self.is_worth_it(old.disk_bytes, best) {
            return left(Left::NoSaving);
        }
        if !self.options.dry_run && self.directory.is_none() && !self.find_directory(path)? {
            return left(Left::NoTemporary);
        }
        let chunks = match self.estimate(own, group, pace, stop)? {
            Ok(chunks) => chunks,
            Err(left_so) => return left(left_so),
        };
        if stop() {
            return Ok(None);
        }
        let mut new = Share::new(u64_of(chunks.len()), 0);
        new.disk_bytes = chunks.iter().map(|chunk| chunk.disk_bytes).sum();
        if !self.is_worth_it(old.disk_bytes, new.disk_bytes) {
            return left(Left::NoSaving);
        }
        let Some(directory) = &self.directory else {
            return Ok(Some(own.squeezed(group.offset(), old, new, None)));
        };
        // Somebody may have shared it while we compressed.
        if !group.is_still_so(&extents_of(&own.file)?) {
            return left(Left::Changed);
        }
        let mut giver = Giver {
            own,
            group,
            scratch: Scratch::new(directory).map_err(FilesError::Plain)?,
            method: (self.codec, self.level),
            sector_size: self.sector_size,
            patience,
            given: 0,
        };
        Ok(Some(match giver.give(&chunks) {
            Ok(disk_bytes) => {
                let new = Share::new(new.extents, disk_bytes);
                own.squeezed(group.offset(), old, new, None)
            }
            Err(GiveError::Files(error)) => return Err(error),
            Err(GiveError::Left(reason)) => {
                let all = old.disk_bytes.saturating_add(giver.given);
                let now = Share::new(old.extents, all);
                own.squeezed(group.offset(), old, now, Some(reason))
            }
        }))
    }

    fn is_worth_it(&self, old: u64, new: u64) -> bool {
        let least = self.options.min_saving.unwrap_or(self.sector_size).max(1);
        let part = old.checked_div(LEAST_PART).unwrap_or(0);
        old.checked_sub(new)
            .is_some_and(|saved| saved >= least.max(part))
    }

    /// What each 128 KiB of a group would take.
    fn estimate(
        &self,
        own: &Own,
        group: &Group,
        pace: &Pace,
        stop: &impl Fn() -> bool,
    ) -> Result<Result<Vec<Chunk>, Left>, FilesError> {
        let mut preparer = Preparer::new(&self.options.prepare)?;
        let mut buffer = Vec::new();
        let mut chunks = Vec::new();
        let mut at = 0;
        while at < group.len && !stop() {
            let len = group.len.saturating_sub(at).min(MAX_EXTENT);
            pace.wait_for(len);
            if let Err(left) = own.read(group, at, len, &mut buffer) {
                return Ok(Err(left));
            }
            chunks.push(match preparer.prepare(&buffer)? {
                Prepared::Encoded(extent) => Chunk {
                    disk_bytes: u64_of(extent.payload().len()).next_multiple_of(self.sector_size),
                    is_plain: false,
                },
                Prepared::Plain(_) | Prepared::Hole => Chunk {
                    disk_bytes: len.next_multiple_of(self.sector_size),
                    is_plain: true,
                },
            });
            at = at.saturating_add(len);
        }
        Ok(Ok(chunks))
    }

    /// Looks for a place for the unnamed file, in the directory of a file.
    fn find_directory(&mut self, path: &Path) -> Result<bool, FilesError> {
        let parent = path.parent().map(File::open);
        let Some(Ok(directory)) = parent else {
            return Ok(false);
        };
        if Scratch::new(&directory).is_err() {
            return Ok(false);
        }
        let sector_size = self.options.prepare.target.sector_size;
        self.use_directory(directory, sector_size)?;
        Ok(true)
    }

    /// Takes a directory for the unnamed file, and asks the kernel there whether it takes levels.
    fn use_directory(&mut self, directory: File, sector_size: u32) -> Result<(), FilesError> {
        if self.level.is_some() {
            let scratch = Scratch::new(&directory).map_err(FilesError::Plain)?;
            let (begin, file) = (scratch.end(), scratch.file());
            file.write_all_at(&[0], begin).map_err(FilesError::Plain)?;
            let asked = ioctl::compress_range(file, begin, 1, self.codec, self.level);
            let errno = asked.err().as_ref().and_then(Errno::from_io_error);
            if matches!(errno, Some(Errno::OPNOTSUPP | Errno::INVAL)) {
                self.takes_levels = false;
                self.level = None;
                self.options.prepare = prepare_options(self.codec, None, sector_size);
            }
        }
        self.directory = Some(directory);
        Ok(())
    }
}

/// The level to ask the kernel for (`btrfs_compress_level_valid`, fs/btrfs/compression.c, 6.18).
fn kernel_level(codec: Codec, level: Level) -> Option<i8> {
    let (least, most) = match codec {
        Codec::Zstd => (-15, 15),
        Codec::Zlib => (1, 9),
        Codec::Lzo => return None,
    };
    match level {
        Level::Default => None,
        Level::Number(level) => i8::try_from(level.clamp(least, most)).ok(),
        Level::Smallest | Level::Auto => i8::try_from(most).ok(),
    }
}

/// How to make payloads as the kernel makes them.
fn prepare_options(codec: Codec, level: Option<i8>, sector_size: u32) -> Options {
    let level = level.map_or(Level::Default, |level| Level::Number(level.into()));
    let mut options = Options::new(codec, level).sector_size(sector_size);
    options.zeroes = Zeroes::Data;
    options
}

fn extents_of(file: &File) -> Result<Vec<FiemapExtent>, QueryError> {
    let mut extents = Vec::new();
    ioctl::fiemap(file, |extent| extents.push(extent))?;
    extents.retain(|extent| !extent.inline);
    Ok(extents)
}

/// What 128 KiB would take on disk.
struct Chunk {
    disk_bytes: u64,
    is_plain: bool,
}

/// A file that is looked at.
struct Own {
    root: u64,
    inode: u64,
    len: u64,
    file: File,
    extents: Vec<FiemapExtent>,
    /// Why all of it is left as it is.
    left: Option<Left>,
}

impl Own {
    /// What may get new extents, and what is left.
    fn sort(&self) -> (Vec<Group>, Vec<(Left, Share)>) {
        let mut left: Vec<(Left, Share)> = Vec::new();
        let mut leave = |reason, extents: &[FiemapExtent]| {
            let share = share(extents);
            if share.extents > 0 {
                left.push((reason, share));
            }
        };
        if let Some(reason) = self.left {
            leave(reason, &self.extents);
            return (Vec::new(), left);
        }
        let (compressed, rest): (Vec<FiemapExtent>, Vec<FiemapExtent>) = self
            .extents
            .iter()
            .copied()
            .partition(|extent| extent.compressed);
        let (shared, rest): (Vec<_>, Vec<_>) = rest.into_iter().partition(|extent| extent.shared);
        leave(Left::CompressedUnseen, &compressed);
        leave(Left::SharedUnseen, &shared);
        let mut groups = Vec::new();
        for parts in grouped(rest) {
            let end = parts
                .last()
                .map_or(0, |part| part.offset.saturating_add(part.len));
            if parts.iter().any(|part| part.preallocated) {
                leave(Left::Preallocated, &parts);
            } else if parts.iter().any(|part| part.physical == 0) {
                // It is being written.
                leave(Left::Changed, &parts);
            } else if parts.last().is_some_and(|part| part.offset >= self.len) {
                leave(Left::PastTheEnd, &parts);
            } else {
                let sum = parts
                    .iter()
                    .map(|part| part.len)
                    .fold(0, u64::saturating_add);
                let len = sum.saturating_sub(end.saturating_sub(self.len));
                groups.push(Group { parts, len });
            }
        }
        (groups, left)
    }

    /// Reads bytes of a group.
    fn read(&self, group: &Group, at: u64, len: u64, buffer: &mut Vec<u8>) -> Result<(), Left> {
        buffer.resize(usize::try_from(len).unwrap_or(0), 0);
        let mut rest = buffer.as_mut_slice();
        for (offset, len) in group.places(at, len) {
            let len = usize::try_from(len).unwrap_or(0);
            let (now, after) = rest.split_at_mut_checked(len).ok_or(Left::Changed)?;
            self.file
                .read_exact_at(now, offset)
                .map_err(|error| match error.kind() {
                    io::ErrorKind::UnexpectedEof => Left::Changed,
                    _ => Left::Unreadable,
                })?;
            rest = after;
        }
        Ok(())
    }

    fn squeezed(&self, offset: u64, before: Share, after: Share, left: Option<Left>) -> Squeezed {
        Squeezed {
            root: self.root,
            inode: self.inode,
            offset,
            generation: 0,
            before,
            after,
            left,
        }
    }
}

/// What parts take on disk, as far as it is known; preallocated ones are not counted.
fn share(parts: &[FiemapExtent]) -> Share {
    let mut compressed = HashSet::new();
    let mut share = Share::default();
    let mut disk = Ranges::default();
    for part in parts.iter().filter(|part| !part.preallocated) {
        if part.compressed {
            // Parts of one extent have its address.
            add(
                &mut share.extents,
                u64::from(compressed.insert(part.physical)),
            );
        } else {
            add(&mut share.extents, 1);
            disk.add(part.physical..part.physical.saturating_add(part.len));
        }
    }
    share.disk_bytes = disk.sum();
    share
}

/// Puts those together that may be of one extent: an extent could begin in one and end in the
/// next, by their places on disk. Each group is in the order of the file.
fn grouped(mut parts: Vec<FiemapExtent>) -> Vec<Vec<FiemapExtent>> {
    parts.sort_unstable_by_key(|part| part.physical);
    let mut groups: Vec<Vec<FiemapExtent>> = Vec::new();
    let mut end = 0_u64;
    for part in parts {
        match groups.last_mut() {
            Some(group) if part.physical.saturating_sub(end) < MAX_PLAIN => group.push(part),
            _ => groups.push(vec![part]),
        }
        end = end.max(part.physical.saturating_add(part.len));
    }
    for group in &mut groups {
        group.sort_unstable_by_key(|part| part.offset);
    }
    groups
}

/// Parts of a file that get new extents together, as if they followed each other.
struct Group {
    /// In the order of the file, whole sectors.
    parts: Vec<FiemapExtent>,
    /// Bytes of the file.
    len: u64,
}

impl Group {
    fn share(&self) -> Share {
        share(&self.parts)
    }

    fn offset(&self) -> u64 {
        self.parts.first().map_or(0, |part| part.offset)
    }

    /// Where in the file `len` bytes are from `at` in the group on: offsets and lengths.
    fn places(&self, at: u64, len: u64) -> impl Iterator<Item = (u64, u64)> {
        let end = at.saturating_add(len).min(self.len);
        let mut begin = 0_u64;
        self.parts.iter().filter_map(move |part| {
            let first = begin;
            begin = begin.saturating_add(part.len);
            let (from, to) = (first.max(at), begin.min(end));
            let len = to.checked_sub(from).filter(|&len| len > 0)?;
            let offset = part.offset.saturating_add(from.saturating_sub(first));
            Some((offset, len))
        })
    }

    /// Whether the file has all parts where they were, and none is shared by now.
    fn is_still_so(&self, now: &[FiemapExtent]) -> bool {
        self.parts.iter().all(|part| {
            let found = now.binary_search_by_key(&part.offset, |extent| extent.offset);
            found.is_ok_and(|index| now.get(index) == Some(part))
        })
    }
}

enum GiveError {
    /// It stays as it is.
    Left(Left),
    /// All work ends.
    Files(FilesError),
}

impl From<io::Error> for GiveError {
    fn from(error: io::Error) -> Self {
        match Errno::from_io_error(&error) {
            Some(Errno::NOSPC | Errno::DQUOT) => Self::Left(Left::NoSpace),
            _ => Self::Files(FilesError::Plain(error)),
        }
    }
}

impl From<QueryError> for GiveError {
    fn from(error: QueryError) -> Self {
        Self::Files(error.into())
    }
}

/// Has the kernel make the new extents of a group and exchange them.
struct Giver<'a> {
    own: &'a Own,
    group: &'a Group,
    scratch: Scratch,
    method: (Codec, Option<i8>),
    sector_size: u64,
    patience: &'a Patience,
    /// Bytes on disk of new extents that the file has got.
    given: u64,
}

impl Giver<'_> {
    /// Gives all of it, step by step; what the new extents take.
    fn give(&mut self, chunks: &[Chunk]) -> Result<u64, GiveError> {
        let per_step = usize::try_from(STEP / MAX_EXTENT).unwrap_or(1);
        let mut at = 0_u64;
        for chunks in chunks.chunks(per_step) {
            let len = self.group.len.saturating_sub(at).min(STEP);
            let plain = self.write(at, len)?;
            // What was to become smaller and has not takes more than was thought.
            let expected = chunks.iter().filter(|chunk| chunk.is_plain);
            let expected: u64 = expected.map(|chunk| chunk.disk_bytes).sum();
            let more = plain.saturating_sub(expected);
            let disk_bytes: u64 = chunks.iter().map(|chunk| chunk.disk_bytes).sum();
            let saved = len
                .next_multiple_of(self.sector_size)
                .saturating_sub(disk_bytes);
            if self.given == 0 && more > saved / 2 {
                return Err(GiveError::Left(Left::NoSaving));
            }
            let mut from = self.scratch.end();
            let places: Vec<_> = self.group.places(at, len).collect();
            for (offset, len) in places {
                self.share(from, offset, len)?;
                if from == self.scratch.end() {
                    add(&mut self.given, disk_bytes.saturating_add(more));
                }
                from = from.saturating_add(len);
            }
            self.scratch.reset()?;
            at = at.saturating_add(len);
        }
        Ok(self.given)
    }

    /// Copies bytes of the group to the unnamed file and has them compressed; how many of them are
    /// plain then.
    fn write(&mut self, at: u64, len: u64) -> Result<u64, GiveError> {
        let (begin, end) = (self.scratch.end(), at.saturating_add(len));
        let mut buffer = Vec::new();
        let mut from = at;
        while from < end {
            let now = end.saturating_sub(from).min(1 << 20);
            let read = self.own.read(self.group, from, now, &mut buffer);
            read.map_err(GiveError::Left)?;
            let to = begin.saturating_add(from.saturating_sub(at));
            self.scratch.file().write_all_at(&buffer, to)?;
            from = from.saturating_add(now);
        }
        let file = self.scratch.file();
        let (codec, level) = self.method;
        // Only what is on disk is compressed.
        file.sync_data()?;
        ioctl::compress_range(file, begin, len, codec, level)?;
        file.sync_data()?;
        let extents = extents_of(file)?;
        let plain = extents.iter().filter(|extent| !extent.compressed);
        Ok(plain.map(|extent| extent.len).sum())
    }

    /// Has the kernel exchange a part.
    fn share(&mut self, from: u64, offset: u64, len: u64) -> Result<(), GiveError> {
        let destination = Destination {
            file: self.own.file.as_fd(),
            offset,
        };
        loop {
            let mut results = ioctl::dedupe(self.scratch.file(), from, len, &[destination])?;
            match results.pop() {
                Some(Deduped::Same { len: done }) if done >= len => return Ok(()),
                None | Some(Deduped::Same { .. } | Deduped::Different) => {
                    return Err(GiveError::Left(Left::Changed));
                }
                Some(Deduped::Busy) if self.patience.wait() => {}
                Some(Deduped::Busy) => return Err(GiveError::Left(Left::Busy)),
                Some(Deduped::Failed(error)) => return Err(GiveError::Left(reason(&error))),
            }
        }
    }
}
