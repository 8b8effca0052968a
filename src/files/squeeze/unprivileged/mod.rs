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
//!
//! | file | what it does |
//! | --- | --- |
//! | `parts` | the parts of a file, and which belong together |
//! | `exchange` | the kernel compresses a copy, and exchanges |

mod exchange;
mod parts;

use std::collections::HashSet;
use std::fs::File;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::fs::{IFlags, OFlags};
use rustix::io::Errno;

use exchange::{Chunk, GiveError, Giver};
use parts::{Group, Own, extents_of};

use super::opened::stays_plain;
use super::options::SqueezeOptions;
use super::outcome::{Left, Share, SqueezeSummary, Squeezed};
use super::pace::{Pace, Patience};
use super::scratch::{self, Scratch};
use crate::files::FilesError;
use crate::files::walk::{Walk, is_gone, open};
use crate::ioctl::{self, QueryError};
use crate::prepare::{Level, Options, Prepared, Preparer, Zeroes};
use crate::rules::Codec;
use crate::rules::limits::{MAX_EXTENT, u64_of};
use crate::rules::sums::add;

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
        // What is wrong with them shows now.
        Preparer::new(&options.prepare)?;
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
        } else if stays_plain(&file) {
            Some(Left::NotWanted)
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
        let scratch = match Scratch::new(directory).map_err(GiveError::from) {
            Ok(scratch) => scratch,
            Err(GiveError::Left(reason)) => return left(reason),
            Err(GiveError::Files(error)) => return Err(error),
        };
        let mut giver = Giver {
            own,
            group,
            scratch,
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
            pace.wait_for(len, stop);
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
