//! The content of files in an increment: what differs is written, holes are punched, and what is the
//! same elsewhere is cloned from the parent.
//!
//! No command of version 2 punches a hole. A clone of a hole does: what stood there is gone
//! (`btrfs_clone`, fs/btrfs/reflink.c). So a file without data is made where one is needed, and goes
//! at the end.

use std::io::Write;
use std::ops::Range;

use bytes::Bytes;

use super::super::dedupe::Place;
use super::super::error::PackError;
use super::super::parent::{Begin, Change, Outcome, Present};
use super::super::work::{Part, Piece};
use super::super::write::{LONGEST_CLONE, Sink};
use crate::extent::Content;
use crate::rules::sums::add;
use crate::send_stream::command;

impl<W: Write> Sink<W> {
    /// A file begins.
    pub(in super::super) fn begin_file(&mut self, begin: Begin) -> Result<(), PackError> {
        let in_place = begin.base.as_ref().filter(|base| base.in_place);
        let present = Present {
            is_made: in_place.is_some(),
            touched: false,
            size: in_place.map_or(0, |base| base.inode.size()),
            same: 0,
            begin,
        };
        let is_new = present.begin.base.is_none();
        if let Some(change) = &mut self.change {
            change.present = Some(present);
        }
        if is_new { self.make_file(0) } else { Ok(()) }
    }

    /// Parts of the present file, beside the parent's.
    pub(in super::super) fn compared(&mut self, parts: Vec<Part>) -> Result<(), PackError> {
        parts.into_iter().try_for_each(|part| self.part(part))
    }

    fn part(&mut self, part: Part) -> Result<(), PackError> {
        let Some(present) = self.present() else {
            return Err(PackError::Failed);
        };
        let is_made = present.is_made;
        let path = present.begin.path.clone();
        let Some(base) = present.begin.base.clone() else {
            return match part {
                Part::New(piece) => self.new_piece(piece),
                Part::Same { .. } | Part::Zero { .. } => Ok(()),
            };
        };
        match part {
            Part::Same {
                offset,
                len,
                fingerprint,
            } => {
                let place = Place {
                    path: base.path.clone(),
                    offset,
                    of_parent: true,
                };
                if let Some(fingerprint) = fingerprint {
                    self.known.remember(len, fingerprint, &place);
                }
                if base.in_place || !is_made {
                    add(&mut present_of(&mut self.change)?.same, len);
                    return Ok(());
                }
                add(&mut self.sums.cloned_bytes, len);
                self.clone_to(&path, offset, len, place)
            }
            Part::Zero { was_zero: true, .. } => Ok(()),
            Part::Zero { offset, .. } if !is_made => self.make_file(offset),
            Part::Zero { offset, len, .. } if base.in_place => self.punch(&path, offset, len),
            Part::Zero { .. } => Ok(()),
            Part::New(piece) => {
                if !is_made {
                    self.make_file(piece.offset)?;
                }
                self.new_piece(piece)
            }
        }
    }

    fn present(&self) -> Option<&Present> {
        self.change.as_ref()?.present.as_ref()
    }

    /// Data that the parent has not there.
    pub(in super::super) fn new_piece(&mut self, piece: Piece) -> Result<(), PackError> {
        if piece.content == Content::Hole {
            return Ok(());
        }
        let end = piece.offset.saturating_add(piece.len);
        let change = self.change.as_mut().ok_or(PackError::Failed)?;
        let sector = change.sector_size;
        let present = present_of(&mut self.change)?;
        present.touched = true;
        // What ends inside a sector ends the file, and can only be put at its end.
        let is_cut = !end.is_multiple_of(sector) && present.size > end;
        present.size = if is_cut { end } else { present.size.max(end) };
        if is_cut {
            let path = piece.path.clone();
            self.command(&command::Truncate { path, size: end }.into())?;
        }
        self.piece(piece)
    }

    /// Makes the present file, whose content up to here is that of its base.
    fn make_file(&mut self, up_to: u64) -> Result<(), PackError> {
        let present = present_of(&mut self.change)?;
        present.is_made = true;
        present.touched = true;
        let (path, ino) = (present.begin.path.clone(), present.begin.ino);
        let base = present.begin.base.clone();
        let cloned = std::mem::take(&mut present.same);
        add(&mut self.sums.cloned_bytes, cloned);
        self.command(
            &command::MkFile {
                path: path.clone(),
                ino,
            }
            .into(),
        )?;
        let Some(base) = base else {
            return Ok(());
        };
        self.clone_file(&path, &base.path, &base.inode, up_to)
    }

    /// Clones the data of a file of the parent, up to an offset, into one that has been made.
    fn clone_file(
        &mut self,
        path: &Bytes,
        from: &Bytes,
        inode: &crate::tree::Inode,
        up_to: u64,
    ) -> Result<(), PackError> {
        let sector = self
            .change
            .as_ref()
            .map_or(4096, |change| change.sector_size);
        let down = |at: u64| at.saturating_sub(at.checked_rem(sector).unwrap_or(0));
        let mut run: Option<Range<u64>> = None;
        for extent in inode.extents_in(0..up_to) {
            let start = down(extent.offset);
            // What is left of a sector is zero, where the new file ends in it.
            let end = match down(extent.end().saturating_add(sector.saturating_sub(1))) {
                end if end <= up_to.min(inode.size()) => end,
                _ if up_to >= inode.size() => inode.size(),
                _ => down(up_to),
            };
            if start >= end {
                continue;
            }
            match &mut run {
                Some(run) if start <= run.end => run.end = run.end.max(end),
                _ => {
                    let before = run.replace(start..end);
                    self.clone_run(path, from, before)?;
                }
            }
        }
        self.clone_run(path, from, run)
    }

    /// Makes a file that is the same as one of the parent.
    pub(super) fn copy_file(&mut self, begin: Begin, size: u64) -> Result<(), PackError> {
        self.begin_file(begin)?;
        present_of(&mut self.change)?.same = size;
        self.make_file(size)?;
        self.end_clone()?;
        let change = self.change.as_mut().ok_or(PackError::Failed)?;
        change.unchanged_bytes = change.unchanged_bytes.saturating_sub(size);
        let present = change.present.take().ok_or(PackError::Failed)?;
        if present.size != size {
            let path = present.begin.path;
            self.command(&command::Truncate { path, size }.into())?;
        }
        Ok(())
    }

    fn clone_run(
        &mut self,
        path: &Bytes,
        from: &Bytes,
        run: Option<Range<u64>>,
    ) -> Result<(), PackError> {
        let Some(run) = run else {
            return Ok(());
        };
        let mut at = run.start;
        while at < run.end {
            let len = run.end.saturating_sub(at).min(LONGEST_CLONE);
            let place = Place {
                path: from.clone(),
                offset: at,
                of_parent: true,
            };
            self.clone_to(path, at, len, place)?;
            at = at.saturating_add(len);
        }
        Ok(())
    }

    /// Clones a range to the same or another place, and notes how long the present file is then.
    fn clone_to(
        &mut self,
        path: &Bytes,
        offset: u64,
        len: u64,
        place: Place,
    ) -> Result<(), PackError> {
        if let Some(present) = self
            .change
            .as_mut()
            .and_then(|change| change.present.as_mut())
        {
            present.size = present.size.max(offset.saturating_add(len));
        }
        self.clone(path, offset, len, place)
    }

    /// Makes a range of a file a hole.
    fn punch(&mut self, path: &Bytes, offset: u64, len: u64) -> Result<(), PackError> {
        let present = present_of(&mut self.change)?;
        present.touched = true;
        present.size = present.size.max(offset.saturating_add(len));
        let change = self.change.as_mut().ok_or(PackError::Failed)?;
        let hole = change.hole.clone();
        if !std::mem::replace(&mut change.hole_is_made, true) {
            // Inode numbers are for reading only.
            let ino = u64::MAX;
            self.command(
                &command::MkFile {
                    path: hole.clone(),
                    ino,
                }
                .into(),
            )?;
            let size = LONGEST_CLONE;
            self.command(
                &command::Truncate {
                    path: hole.clone(),
                    size,
                }
                .into(),
            )?;
        }
        let (mut at, end) = (offset, offset.saturating_add(len));
        while at < end {
            // From the same offset there, so that what follows becomes one clone.
            let from = at.checked_rem(LONGEST_CLONE).unwrap_or(0);
            let len = end
                .saturating_sub(at)
                .min(LONGEST_CLONE.saturating_sub(from));
            let place = Place {
                path: hole.clone(),
                offset: from,
                of_parent: false,
            };
            self.clone(path, at, len, place)?;
            at = at.saturating_add(len);
        }
        Ok(())
    }

    /// Nothing more comes for the present file, which has this size.
    pub(in super::super) fn end_changed_file(&mut self, size: u64) -> Result<(), PackError> {
        let present = self.present().ok_or(PackError::Failed)?;
        let base_size = present.begin.base.as_ref().map(|base| base.inode.size());
        if !present.is_made && base_size != Some(size) {
            self.make_file(size)?;
        }
        self.end_clone()?;
        let change = self.change.as_mut().ok_or(PackError::Failed)?;
        let mut present = change.present.take().ok_or(PackError::Failed)?;
        add(&mut change.unchanged_bytes, present.same);
        let is_longer = present.is_made && present.size != size;
        present.touched |= is_longer;
        let path = present.begin.path;
        change.outcomes.push(match present.begin.base {
            Some(base) if base.in_place => Outcome::InPlace {
                touched: present.touched,
            },
            Some(base) if !present.is_made => Outcome::Same(base.id),
            _ => Outcome::New(path.clone()),
        });
        if is_longer {
            self.command(&command::Truncate { path, size }.into())?;
        }
        Ok(())
    }
}

fn present_of(change: &mut Option<Change>) -> Result<&mut Present, PackError> {
    let present = change.as_mut().and_then(|change| change.present.as_mut());
    present.ok_or(PackError::Failed)
}
