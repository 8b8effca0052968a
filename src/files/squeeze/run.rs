//! Old extents, what files show of them, and which of them become new extents together.

use std::collections::HashSet;
use std::os::fd::BorrowedFd;
use std::os::unix::fs::MetadataExt;

use super::opened::OpenFiles;
use super::outcome::{Left, Share};
use crate::files::{Extent, Reference, References};
use crate::ioctl::QueryError;
use crate::rules::limits::{MAX_EXTENT, u64_of};

/// Bytes of a run of several extents.
const MAX_RUN: u64 = 4 * 1024 * 1024;

/// A reference as far as its file goes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub(super) reference: Reference,
    /// Bytes up to the end of the part or of the file.
    pub(super) len: u64,
}

impl Place {
    /// Where the part ends in what the extent decodes to.
    fn decoded_end(&self) -> u64 {
        self.reference.extent_offset.saturating_add(self.len)
    }
}

/// Bytes that can be read from a file.
#[derive(Debug, Clone, Copy)]
pub(super) struct Source {
    /// Where in the run.
    pub(super) at: u64,
    pub(super) len: u64,
    pub(super) root: u64,
    pub(super) inode: u64,
    /// Where in the file.
    pub(super) offset: u64,
}

/// A part of an old extent that files show, and where it is in the run.
#[derive(Debug, Clone, Copy)]
struct Shown {
    from: u64,
    to: u64,
    at: u64,
}

/// An extent that is to be replaced.
#[derive(Debug)]
pub(super) struct Old {
    pub(super) extent: Extent,
    pub(super) places: Vec<Place>,
    shown: Vec<Shown>,
    sources: Vec<Source>,
    /// Bytes that files show, up to the end of the file.
    len: u64,
}

/// Extents that become new ones together: their bytes follow each other in every file that shows
/// them.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) extents: Vec<Old>,
    /// Bytes; no multiple of the sector where a file ends with it.
    pub(super) len: u64,
}

impl Old {
    /// Asks who shows the extent; or why it is to be left as it is. `None` where nobody does.
    pub(super) fn ask(
        extent: &Extent,
        references: &mut References<BorrowedFd<'_>>,
        files: &mut OpenFiles<'_>,
        sector_size: u64,
    ) -> Result<Result<Option<Self>, Left>, QueryError> {
        let mut places = match ask_places(extent, references, files)? {
            Ok(places) => places,
            Err(left) => return Ok(Err(left)),
        };
        if places.is_empty() {
            return Ok(Ok(None));
        }
        let end = places.iter().map(Place::decoded_end).max().unwrap_or(0);
        let is_tail = |at: u64| !at.is_multiple_of(sector_size);
        // One sector is the last of a file of this length, and of another length elsewhere.
        if places
            .iter()
            .any(|place| is_tail(place.decoded_end()) && place.decoded_end() != end)
        {
            return Ok(Err(Left::DifferentEnds));
        }
        places.sort_by_key(|place| (place.reference.extent_offset, place.decoded_end()));
        let (shown, sources, len) = unite(&places);
        places.sort_by_key(|place| {
            let Reference {
                root,
                inode,
                offset,
                ..
            } = place.reference;
            (root, inode, offset)
        });
        let extent = extent.clone();
        Ok(Ok(Some(Self {
            extent,
            places,
            shown,
            sources,
            len,
        })))
    }

    /// Bytes of what it decodes to that no file shows.
    pub(super) fn is_all_shown(&self, sector_size: u64) -> bool {
        self.len.next_multiple_of(sector_size) >= self.extent.ram_bytes
    }

    /// True where `next` follows in every file that shows the last byte of this one.
    fn is_followed_by(&self, next: &Self) -> bool {
        let (Some(last), Some(first)) = (self.shown.last(), next.shown.first()) else {
            return false;
        };
        self.places.len() == next.places.len()
            && self.places.iter().zip(&next.places).all(|(this, next)| {
                let (before, after) = (&this.reference, &next.reference);
                (before.root, before.inode) == (after.root, after.inode)
                    && before.offset.checked_add(this.len) == Some(after.offset)
                    && this.decoded_end() == last.to
                    && after.extent_offset == first.from
            })
    }

    /// Where in the run the decoded byte is that a reference begins with, and how many bytes of
    /// it are there.
    pub(super) fn place(&self, extent_offset: u64) -> Option<(u64, u64)> {
        let found = self
            .shown
            .iter()
            .find(|shown| (shown.from..shown.to).contains(&extent_offset))?;
        let skipped = extent_offset.checked_sub(found.from)?;
        Some((
            found.at.saturating_add(skipped),
            found.to.saturating_sub(extent_offset),
        ))
    }
}

/// Every place that shows an extent; or why it is to be left as it is.
pub(super) fn ask_places(
    extent: &Extent,
    references: &mut References<BorrowedFd<'_>>,
    files: &mut OpenFiles<'_>,
) -> Result<Result<Vec<Place>, Left>, QueryError> {
    let found = references.of(extent.bytenr)?;
    if found.truncated {
        return Ok(Err(Left::TooManyReferences));
    }
    let mut places = Vec::with_capacity(found.references.len());
    for reference in found.references {
        // The address has another extent by now.
        if reference.disk_bytes != extent.disk_bytes {
            return Ok(Ok(Vec::new()));
        }
        if reference.preallocated {
            return Ok(Err(Left::Preallocated));
        }
        let file = match files.get(reference.root, reference.inode)? {
            Ok(file) => file,
            Err(left) => return Ok(Err(left)),
        };
        let size = match file.metadata() {
            Ok(metadata) => metadata.size(),
            Err(_) => return Ok(Err(Left::OutOfReach)),
        };
        let len = reference.len.min(size.saturating_sub(reference.offset));
        if len == 0 {
            return Ok(Err(Left::PastTheEnd));
        }
        places.push(Place { reference, len });
    }
    Ok(Ok(places))
}

/// What the places show together, who has it, and how much it is.
fn unite(places: &[Place]) -> (Vec<Shown>, Vec<Source>, u64) {
    let mut shown: Vec<Shown> = Vec::new();
    let mut sources = Vec::new();
    let mut len = 0_u64;
    for place in places {
        let (from, to) = (place.reference.extent_offset, place.decoded_end());
        // From here on it is new.
        let new = match shown.last_mut() {
            Some(last) if from <= last.to => {
                let new = last.to;
                last.to = last.to.max(to);
                new
            }
            _ => {
                shown.push(Shown { from, to, at: len });
                from
            }
        };
        let more = to.saturating_sub(new);
        if more > 0 {
            sources.push(Source {
                at: len,
                len: more,
                root: place.reference.root,
                inode: place.reference.inode,
                offset: place
                    .reference
                    .offset
                    .saturating_add(new.saturating_sub(from)),
            });
            len = len.saturating_add(more);
        }
    }
    (shown, sources, len)
}

impl Run {
    /// Cuts extents that follow each other in a file into runs.
    ///
    /// Short extents become one with their neighbours. Where a long one begins, a run begins: so
    /// what is compressed already keeps its borders, and each extent of 128 KiB is a run.
    pub(super) fn of(extents: Vec<Old>, sector_size: u64) -> Vec<Self> {
        let mut runs: Vec<Self> = Vec::new();
        for mut old in extents {
            let joins = runs.last().is_some_and(|run| {
                let follows = |last: &Old| last.is_followed_by(&old);
                old.len < MAX_EXTENT
                    && run.len.is_multiple_of(sector_size)
                    && !run.len.is_multiple_of(MAX_EXTENT)
                    && run.len.saturating_add(old.len) <= MAX_RUN
                    && run.extents.last().is_some_and(follows)
            });
            match runs.last_mut().filter(|_| joins) {
                Some(run) => {
                    old.move_by(run.len);
                    run.len = run.len.saturating_add(old.len);
                    run.extents.push(old);
                }
                None => runs.push(Self {
                    len: old.len,
                    extents: vec![old],
                }),
            }
        }
        runs
    }

    /// Bytes on disk of the old extents.
    pub(super) fn disk_bytes(&self) -> u64 {
        let extents = self.extents.iter();
        extents.fold(0, |sum, old| sum.saturating_add(old.extent.disk_bytes))
    }

    /// The old extents.
    pub(super) fn share(&self) -> Share {
        Share::new(u64_of(self.extents.len()), self.disk_bytes())
    }

    /// References of the old extents.
    pub(super) fn references(&self) -> usize {
        let extents = self.extents.iter();
        extents.fold(0, |sum, old| sum.saturating_add(old.places.len()))
    }

    /// Subvolumes that show them.
    pub(super) fn subvolumes(&self) -> usize {
        let places = self.extents.iter().flat_map(|old| &old.places);
        let roots: HashSet<u64> = places.map(|place| place.reference.root).collect();
        roots.len()
    }

    /// Who has which bytes, in order.
    pub(super) fn sources(&self) -> impl Iterator<Item = &Source> {
        self.extents.iter().flat_map(|old| &old.sources)
    }
}

impl Old {
    fn move_by(&mut self, bytes: u64) {
        for shown in &mut self.shown {
            shown.at = shown.at.saturating_add(bytes);
        }
        for source in &mut self.sources {
            source.at = source.at.saturating_add(bytes);
        }
    }
}
