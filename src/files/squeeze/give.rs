//! New extents are given to every file that shows the old ones.
//!
//! The kernel compares, byte for byte and under its locks, and exchanges only what is equal: a
//! file that is being written keeps what was written. Whoever shows an old extent is asked for
//! again until nobody does, so that a snapshot or a clone that was made meanwhile is not missed.

use std::collections::HashSet;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::io::Errno;

use super::opened::OpenFiles;
use super::outcome::Left;
use super::pace::Patience;
use super::run::{Place, Run, ask_places};
use super::scratch::Scratch;
use crate::files::{FilesError, References};
use crate::ioctl::{self, Deduped, Destination, MAX_DEDUPE, QueryError};

/// How often whoever still shows an old extent is asked for. A writer makes one more necessary.
const ROUNDS: u32 = 5;
/// A part of a run that a file is to get.
#[derive(Debug, Clone, Copy)]
struct Gift {
    root: u64,
    inode: u64,
    /// Where in the file, bytes.
    offset: u64,
    len: u64,
    /// Where in the run.
    at: u64,
}

/// What has become of a run.
pub(super) enum Given {
    /// Nobody shows the old extents any more.
    All,
    /// Some file shows one, for this reason; `freed` bytes of the others are free.
    Left {
        left: Left,
        freed: u64,
        /// Some files show new extents.
        moved: bool,
    },
}

/// Gives.
pub(super) struct Giver<'a, 'b> {
    pub(super) references: &'b mut References<BorrowedFd<'a>>,
    pub(super) files: &'b mut OpenFiles<'a>,
    pub(super) scratch: &'b Scratch,
    pub(super) patience: &'b Patience,
    pub(super) sector_size: u64,
    /// Subvolumes that nobody may write to.
    pub(super) read_only: &'b HashSet<u64>,
    /// Files that got something keep it even where others did not.
    pub(super) allow_growth: bool,
}

impl Giver<'_, '_> {
    /// Gives a run, which begins at `base` of the scratch file.
    pub(super) fn give(&mut self, run: &Run, base: u64) -> Result<Given, FilesError> {
        let mut places: Vec<Vec<Place>> =
            run.extents.iter().map(|old| old.places.clone()).collect();
        let mut moved = Vec::new();
        let mut reason = Left::Changed;
        for _ in 0..ROUNDS {
            let mut is_over = false;
            for gift in self.gifts(run, &places) {
                match self.share(&gift, base)? {
                    Ok(()) => moved.push(gift),
                    Err(left) => {
                        reason = left;
                        is_over = left != Left::Changed;
                        if left == Left::Changed {
                            // Or else what was to be written was not.
                            let written = self.scratch.file().sync_data();
                            written.map_err(FilesError::Plain)?;
                        }
                    }
                }
                // Nothing has happened yet: it is left whole.
                if is_over && (moved.is_empty() || !self.allow_growth) {
                    break;
                }
            }
            for (old, places) in run.extents.iter().zip(&mut places) {
                match ask_places(&old.extent, self.references, self.files)? {
                    Ok(now) => *places = now,
                    Err(left) => (reason, is_over) = (left, true),
                }
            }
            if places.iter().all(Vec::is_empty) {
                return Ok(Given::All);
            }
            if is_over {
                break;
            }
        }
        if !self.allow_growth && !moved.is_empty() {
            self.take_back(run, &places, &moved)?;
            // What no other file shows cannot be taken back.
            let back = |gift: &Gift| self.is_taken_back(run, &places, gift);
            moved.retain(|gift| !back(gift));
        }
        let mut freed = 0_u64;
        for (old, places) in run.extents.iter().zip(&places) {
            if places.is_empty() {
                freed = freed.saturating_add(old.extent.disk_bytes);
            }
        }
        Ok(Given::Left {
            left: reason,
            freed,
            moved: !moved.is_empty(),
        })
    }

    /// What each file is to get; what follows each other, in one.
    fn gifts(&self, run: &Run, places: &[Vec<Place>]) -> Vec<Gift> {
        let mut gifts = Vec::new();
        for (old, places) in run.extents.iter().zip(places) {
            for place in places {
                let reference = &place.reference;
                let Some((at, most)) = old.place(reference.extent_offset) else {
                    continue;
                };
                let mut len = place.len.min(most);
                // The last sector can be shared only where both files end with it.
                if !len.is_multiple_of(self.sector_size) && at.saturating_add(len) != run.len {
                    len = len.saturating_sub(len.checked_rem(self.sector_size).unwrap_or(0));
                }
                if len > 0 {
                    gifts.push(Gift {
                        root: reference.root,
                        inode: reference.inode,
                        offset: reference.offset,
                        len,
                        at,
                    });
                }
            }
        }
        // Read-only snapshots first: where one refuses, as it is being sent, nothing has happened.
        gifts.sort_unstable_by_key(|gift| {
            let writable = !self.read_only.contains(&gift.root);
            (writable, gift.root, gift.inode, gift.offset)
        });
        gifts.dedup_by(|next, gift| {
            let follows = (gift.root, gift.inode) == (next.root, next.inode)
                && gift.offset.checked_add(gift.len) == Some(next.offset)
                && gift.at.checked_add(gift.len) == Some(next.at);
            if follows {
                gift.len = gift.len.saturating_add(next.len);
            }
            follows
        });
        gifts
    }

    fn share(&mut self, gift: &Gift, base: u64) -> Result<Result<(), Left>, QueryError> {
        let file = match self.files.get(gift.root, gift.inode)? {
            Ok(file) => file,
            Err(left) => return Ok(Err(left)),
        };
        let mut done = 0;
        while done < gift.len {
            let len = gift.len.saturating_sub(done).min(MAX_DEDUPE);
            let destination = Destination {
                file: file.as_fd(),
                offset: gift.offset.saturating_add(done),
            };
            let from = base.saturating_add(gift.at).saturating_add(done);
            let mut results = ioctl::dedupe(self.scratch.file(), from, len, &[destination])?;
            match results.pop() {
                Some(Deduped::Same { len: 1.. }) if results.is_empty() => {
                    done = done.saturating_add(len);
                }
                None | Some(Deduped::Same { .. } | Deduped::Different) => {
                    return Ok(Err(Left::Changed));
                }
                Some(Deduped::Busy) if self.patience.wait() => {}
                Some(Deduped::Busy) => return Ok(Err(Left::Busy)),
                Some(Deduped::Failed(error)) => return Ok(Err(reason(&error))),
            }
        }
        Ok(Ok(()))
    }

    /// Gives what files have got the old extents again, from a file that still shows them: shared
    /// as it was before.
    fn take_back(
        &mut self,
        run: &Run,
        places: &[Vec<Place>],
        moved: &[Gift],
    ) -> Result<(), QueryError> {
        for (old, places) in run.extents.iter().zip(places) {
            for place in places {
                let Some((at, most)) = old.place(place.reference.extent_offset) else {
                    continue;
                };
                let end = at.saturating_add(place.len.min(most));
                for gift in moved {
                    let from = gift.at.max(at);
                    let to = gift.at.saturating_add(gift.len).min(end);
                    let Some(len) = to.checked_sub(from).filter(|&len| len > 0) else {
                        continue;
                    };
                    let reference = &place.reference;
                    let source = reference.offset.saturating_add(from.saturating_sub(at));
                    let offset = gift.offset.saturating_add(from.saturating_sub(gift.at));
                    self.copy_back((reference.root, reference.inode, source), gift, offset, len)?;
                }
            }
        }
        Ok(())
    }

    /// Whether other files show all of what a file was given, so that it has the old extents again.
    fn is_taken_back(&self, run: &Run, places: &[Vec<Place>], gift: &Gift) -> bool {
        let mut shown = Vec::new();
        for (old, places) in run.extents.iter().zip(places) {
            for place in places {
                let found = old.place(place.reference.extent_offset);
                shown.extend(found.map(|(at, most)| (at, at.saturating_add(place.len.min(most)))));
            }
        }
        shown.sort_unstable();
        let end = gift.at.saturating_add(gift.len);
        let reached = shown.iter().fold(gift.at, |reached, &(from, to)| {
            if from <= reached {
                reached.max(to)
            } else {
                reached
            }
        });
        // The last sector of a file is shown to its end.
        reached.next_multiple_of(self.sector_size.max(1)) >= end
    }

    fn copy_back(
        &mut self,
        (root, inode, source): (u64, u64, u64),
        gift: &Gift,
        offset: u64,
        len: u64,
    ) -> Result<(), QueryError> {
        let Ok(from) = self.files.get(root, inode)?.map(std::fs::File::try_clone) else {
            return Ok(());
        };
        let (Ok(from), Ok(file)) = (from, self.files.get(gift.root, gift.inode)?) else {
            return Ok(());
        };
        let mut done = 0;
        while done < len {
            let destination = Destination {
                file: file.as_fd(),
                offset: offset.saturating_add(done),
            };
            let now = len.saturating_sub(done).min(MAX_DEDUPE);
            // Where it does not work, the file keeps the new extents, which are as good.
            let _ = ioctl::dedupe(&from, source.saturating_add(done), now, &[destination])?;
            done = done.saturating_add(now);
        }
        Ok(())
    }
}

/// Why the kernel does not share (fs/remap_range.c and fs/btrfs/reflink.c, 6.18).
pub(super) fn reason(error: &std::io::Error) -> Left {
    match Errno::from_io_error(error) {
        Some(Errno::PERM | Errno::ACCESS) => Left::OutOfReach,
        Some(Errno::ROFS) => Left::ReadOnly,
        Some(Errno::TXTBSY) => Left::NoChecksums,
        Some(Errno::NOSPC | Errno::DQUOT) => Left::NoSpace,
        Some(Errno::IO) => Left::Unreadable,
        // A file that has become longer or shorter.
        Some(Errno::INVAL) => Left::Changed,
        _ => Left::OutOfReach,
    }
}
