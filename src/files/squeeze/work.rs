//! What a thread does with a stretch of extents.

use std::collections::HashSet;
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::MetadataExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use super::cost::{Leaves, saves};
use super::crew::Crew;
use super::give::{Given, Giver};
use super::opened::OpenFiles;
use super::options::SqueezeOptions;
use super::outcome::{Left, Share, Squeezed};
use super::pace::{Pace, Patience};
use super::recode::{RecodeError, Recoded, Recoder};
use super::run::{Old, Run};
use super::scratch::{Scratch, ScratchError};
use crate::files::{Extent, FileExtentItem, FilesError, Map, References, Stored};
use crate::ioctl::{self, Items, Key};
use crate::rules::limits::MAX_EXTENT;

/// What all threads know.
pub(super) struct Shared {
    pub(super) crew: Crew,
    /// Addresses of new extents.
    pub(super) made: Mutex<HashSet<u64>>,
    pub(super) patience: Patience,
    pub(super) pace: Pace,
    /// There was no space for the last that was written.
    pub(super) is_full: AtomicBool,
}

impl Shared {
    pub(super) fn has_made(&self, bytenr: u64) -> bool {
        let made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        made.contains(&bytenr)
    }
}

/// Works on stretches; keeps its buffers and its unnamed files.
pub(super) struct Worker<'a> {
    options: &'a SqueezeOptions,
    sector_size: u64,
    /// Bytes that a run has to save.
    least: u64,
    references: References<BorrowedFd<'a>>,
    files: OpenFiles<'a>,
    recoder: Recoder<'a>,
    /// Where unnamed files are made; `None` where nothing is to be changed.
    directory: Option<&'a File>,
    /// A file may end inside a sector, and then nothing else fits into it: there are several.
    scratches: Vec<Scratch>,
    /// Of the tree that the unnamed files are in.
    items: Items<BorrowedFd<'a>>,
    /// Subvolumes that nobody may write to.
    read_only: HashSet<u64>,
    /// Bytes of a leaf of a tree.
    leaf: u64,
    shared: &'a Shared,
}

/// A run that is written and not given yet.
struct Written {
    run: Run,
    recoded: Recoded,
    /// Which unnamed file has it, and where; `None` where nothing is to be changed.
    scratch: Option<(usize, u64)>,
}

impl<'a> Worker<'a> {
    pub(super) fn new(
        map: &'a Map,
        options: &'a SqueezeOptions,
        directory: Option<&'a File>,
        shared: &'a Shared,
    ) -> Result<Self, FilesError> {
        let top = map.top().as_fd();
        let sector_size = u64::from(map.filesystem.sector_size);
        let none = Key::first_of(0)..=Key::first_of(0);
        Ok(Self {
            options,
            sector_size,
            least: options.min_saving.unwrap_or(sector_size),
            references: References::new(top),
            files: OpenFiles::new(top, options.skip_busy),
            recoder: Recoder::new(&shared.crew, sector_size, &shared.pace),
            directory,
            scratches: Vec::new(),
            items: ioctl::items(top, 0, none),
            read_only: map
                .included
                .iter()
                .filter(|included| included.read_only)
                .map(|included| included.id)
                .collect(),
            leaf: map.filesystem.node_size.into(),
            shared,
        })
    }

    /// Squeezes a stretch.
    pub(super) fn work(
        &mut self,
        stretch: Vec<Extent>,
        stop: &(impl Fn() -> bool + Sync),
    ) -> Result<Vec<Squeezed>, FilesError> {
        let _busy = self.shared.crew.begin();
        let mut done = Vec::new();
        let mut olds = Vec::new();
        for extent in &stretch {
            let is_known = extent.compression.0 == 0 || extent.compression.codec().is_some();
            let asked = match is_known {
                true => Old::ask(
                    extent,
                    &mut self.references,
                    &mut self.files,
                    self.sector_size,
                )?,
                false => Err(Left::UnknownType),
            };
            match asked {
                Ok(Some(old)) if self.options.reclaim || old.is_all_shown(self.sector_size) => {
                    olds.push(old);
                }
                Ok(Some(_)) => done.push(left(extent, Left::NoSaving)),
                Ok(None) => {}
                Err(reason) => done.push(left(extent, reason)),
            }
        }
        let mut written = Vec::new();
        let mut scratch = 0;
        for run in Run::of(olds, self.sector_size) {
            if stop() {
                break;
            }
            self.write(run, stop, &mut scratch, &mut written, &mut done)?;
        }
        for written in self.worth_their_leaves(&stretch, written, &mut done) {
            self.give(written, &mut done)?;
        }
        // What a full quota does not let be emptied goes away as a whole.
        self.scratches.retain_mut(|scratch| scratch.reset().is_ok());
        self.files.close();
        Ok(done)
    }

    /// Writes the new extents of a run, if they save enough.
    fn write(
        &mut self,
        run: Run,
        stop: &(impl Fn() -> bool + Sync),
        scratch: &mut usize,
        written: &mut Vec<Written>,
        done: &mut Vec<Squeezed>,
    ) -> Result<(), FilesError> {
        let best = Recoded {
            disk_bytes: run
                .len
                .div_ceil(MAX_EXTENT)
                .saturating_mul(self.sector_size),
            extents: 1,
        };
        if !saves(&run, &best, self.least) {
            done.push(left_run(&run, Left::NoSaving));
            return Ok(());
        }
        let mut is_enough = false;
        let least = self.least;
        let result = match self.make_room(&run, *scratch) {
            Ok(()) => self.recoder.recode(
                &run,
                &mut self.files,
                self.scratches.get(*scratch),
                stop,
                |recoded| {
                    is_enough = saves(&run, recoded, least);
                    is_enough
                },
            ),
            Err(error) => Err(error),
        };
        let recoded = match result {
            Ok(recoded) => recoded,
            Err(RecodeError::Files(error)) => return Err(error),
            Err(RecodeError::Stopped) => {
                *scratch = self.after(*scratch);
                return Ok(());
            }
            Err(RecodeError::Left(reason)) => {
                // A part may be written.
                *scratch = self.after(*scratch);
                if reason == Left::NoSpace {
                    self.shared.is_full.store(true, Ordering::Relaxed);
                }
                done.push(left_run(&run, reason));
                return Ok(());
            }
        };
        if !is_enough {
            done.push(left_run(&run, Left::NoSaving));
            // A part of a long one may be written.
            if run.len > MAX_EXTENT {
                *scratch = self.after(*scratch);
            }
            return Ok(());
        }
        let Some(file) = self.scratches.get_mut(*scratch) else {
            written.push(Written {
                run,
                recoded,
                scratch: None,
            });
            return Ok(());
        };
        let base = file.end();
        file.end_at(base.saturating_add(run.len), self.sector_size);
        let index = *scratch;
        if !run.len.is_multiple_of(self.sector_size) {
            *scratch = self.after(index);
        }
        written.push(Written {
            run,
            recoded,
            scratch: Some((index, base)),
        });
        Ok(())
    }

    /// The unnamed file after this one; or this one still, where it could not be made.
    fn after(&self, scratch: usize) -> usize {
        scratch.saturating_add(1).min(self.scratches.len())
    }

    /// Makes sure that there is such an unnamed file. Where there was no space before, asks for a
    /// quarter of what a run takes now: it need not be compressed to know that there is none.
    fn make_room(&mut self, run: &Run, scratch: usize) -> Result<(), RecodeError> {
        let Some(directory) = self.directory else {
            return Ok(());
        };
        if self.scratches.len() <= scratch {
            let new = Scratch::new(directory).map_err(ScratchError::Plain)?;
            self.scratches.push(new);
        }
        let is_full = &self.shared.is_full;
        if let Some(scratch) = self.scratches.get(scratch)
            && is_full.load(Ordering::Relaxed)
        {
            scratch.try_room(run.disk_bytes().div_ceil(4))?;
            is_full.store(false, Ordering::Relaxed);
        }
        Ok(())
    }

    fn give(&mut self, written: Written, done: &mut Vec<Squeezed>) -> Result<(), FilesError> {
        let Written {
            run,
            recoded,
            scratch,
        } = &written;
        let Some((index, base)) = *scratch else {
            done.push(squeezed(run, recoded));
            return Ok(());
        };
        let Some(scratch) = self.scratches.get(index) else {
            return Ok(());
        };
        let given = Giver {
            references: &mut self.references,
            files: &mut self.files,
            scratch,
            patience: &self.shared.patience,
            sector_size: self.sector_size,
            read_only: &self.read_only,
            allow_growth: self.options.allow_growth,
        }
        .give(run, base)?;
        let squeezed = match given {
            Given::All => squeezed(run, recoded),
            Given::Left { left, moved, freed } => {
                let mut squeezed = left_run(run, left);
                let all = &mut squeezed.after.disk_bytes;
                if moved {
                    *all = all.saturating_sub(freed).saturating_add(recoded.disk_bytes);
                }
                squeezed
            }
        };
        self.remember(index, base, base.saturating_add(run.len))?;
        done.push(squeezed);
        Ok(())
    }

    /// Those runs that are worth the leaves of trees that snapshots will have for themselves.
    fn worth_their_leaves(
        &self,
        stretch: &[Extent],
        written: Vec<Written>,
        done: &mut Vec<Squeezed>,
    ) -> Vec<Written> {
        let mut leaves = Leaves::of(stretch, self.leaf);
        for Written { run, recoded, .. } in &written {
            leaves.change(run, recoded);
        }
        let (worth_it, not): (Vec<_>, Vec<_>) = written
            .into_iter()
            .partition(|written| leaves.is_worth_it(&written.run));
        let not = not.iter();
        done.extend(not.map(|written| left_run(&written.run, Left::NoSaving)));
        worth_it
    }

    /// Remembers the new extents between two offsets of an unnamed file.
    fn remember(&mut self, scratch: usize, from: u64, to: u64) -> Result<(), FilesError> {
        let Some(scratch) = self.scratches.get(scratch) else {
            return Ok(());
        };
        let file = scratch.file();
        let inode = file.metadata().map_err(FilesError::Plain)?.ino();
        let key = |offset| Key {
            objectid: inode,
            item_type: Key::EXTENT_DATA,
            offset,
        };
        let root = ioctl::subvolume_id(file)?;
        self.items
            .restart(root, key(from)..=key(to.saturating_sub(1)));
        let mut made = Vec::new();
        while let Some(item) = self.items.next_item()? {
            let item = FileExtentItem::parse(item.bytes);
            made.extend(item.filter(|item| item.stored == Stored::Regular));
        }
        let all = self.shared.made.lock();
        all.unwrap_or_else(PoisonError::into_inner)
            .extend(made.iter().map(|item| item.bytenr));
        Ok(())
    }
}

fn left(extent: &Extent, left: Left) -> Squeezed {
    let share = Share::new(1, extent.disk_bytes);
    Squeezed {
        root: extent.root,
        inode: extent.inode,
        offset: extent.offset,
        generation: extent.generation,
        before: share,
        after: share,
        left: Some(left),
    }
}

fn left_run(run: &Run, left: Left) -> Squeezed {
    let before = run.share();
    become_of(run, before, Some(left))
}

fn squeezed(run: &Run, recoded: &Recoded) -> Squeezed {
    become_of(run, Share::new(recoded.extents, recoded.disk_bytes), None)
}

fn become_of(run: &Run, after: Share, left: Option<Left>) -> Squeezed {
    let extents = run.extents.iter().map(|old| &old.extent);
    let first = extents.clone().next();
    Squeezed {
        root: first.map_or(0, |extent| extent.root),
        inode: first.map_or(0, |extent| extent.inode),
        offset: first.map_or(0, |extent| extent.offset),
        generation: extents.map(|extent| extent.generation).min().unwrap_or(0),
        before: run.share(),
        after,
        left,
    }
}
