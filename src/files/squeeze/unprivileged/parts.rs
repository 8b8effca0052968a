//! Parts of a file that may get new extents, as FIEMAP has them.

use std::collections::HashSet;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use crate::files::shown::Ranges;
use crate::files::squeeze::outcome::{Left, Share, Squeezed};
use crate::ioctl::{self, FiemapExtent, QueryError};
use crate::rules::sums::add;

/// The longest plain extent, bytes (`BTRFS_MAX_EXTENT_SIZE`, fs/btrfs/fs.h).
const MAX_PLAIN: u64 = 128 * 1024 * 1024;

/// The extents of a file, but for inline ones.
pub(super) fn extents_of(file: &File) -> Result<Vec<FiemapExtent>, QueryError> {
    let mut extents = Vec::new();
    ioctl::fiemap(file, |extent| extents.push(extent))?;
    extents.retain(|extent| !extent.inline);
    Ok(extents)
}

/// A file that is looked at.
pub(super) struct Own {
    pub(super) root: u64,
    pub(super) inode: u64,
    pub(super) len: u64,
    pub(super) file: File,
    pub(super) extents: Vec<FiemapExtent>,
    /// Why all of it is left as it is.
    pub(super) left: Option<Left>,
}

impl Own {
    /// What may get new extents, and what is left.
    pub(super) fn sort(&self) -> (Vec<Group>, Vec<(Left, Share)>) {
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
    pub(super) fn read(
        &self,
        group: &Group,
        at: u64,
        len: u64,
        buffer: &mut Vec<u8>,
    ) -> Result<(), Left> {
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

    pub(super) fn squeezed(
        &self,
        offset: u64,
        before: Share,
        after: Share,
        left: Option<Left>,
    ) -> Squeezed {
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
pub(super) struct Group {
    /// In the order of the file, whole sectors.
    parts: Vec<FiemapExtent>,
    /// Bytes of the file.
    pub(super) len: u64,
}

impl Group {
    pub(super) fn share(&self) -> Share {
        share(&self.parts)
    }

    pub(super) fn offset(&self) -> u64 {
        self.parts.first().map_or(0, |part| part.offset)
    }

    /// Where in the file `len` bytes are from `at` in the group on: offsets and lengths.
    pub(super) fn places(&self, at: u64, len: u64) -> impl Iterator<Item = (u64, u64)> {
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
    pub(super) fn is_still_so(&self, now: &[FiemapExtent]) -> bool {
        self.parts.iter().all(|part| {
            let found = now.binary_search_by_key(&part.offset, |extent| extent.offset);
            found.is_ok_and(|index| now.get(index) == Some(part))
        })
    }
}
