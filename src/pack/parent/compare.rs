//! New data beside what the parent has at the same place of a file. This runs on the threads.

use std::ops::Range;

use super::old::Base;
use crate::prepare::is_zero;
use crate::rules::limits::u64_of;
use crate::tree::{LastRead, TreeError};

/// What new data is, beside the parent's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Cut {
    /// The same, and to be had from there.
    Same,
    /// Zeroes, and the same where `was_zero`. Where the file of the parent ends is zero too.
    Zero { was_zero: bool },
    /// Something else.
    Other,
}

/// Cuts new data of a file, at sectors. The data begins at a sector, and ends at one or at the end of
/// the new file.
pub(in super::super) fn cut(
    data: &[u8],
    offset: u64,
    base: &Base,
    sector_size: u32,
    last: &mut LastRead,
) -> Result<Vec<(Range<usize>, Cut)>, TreeError> {
    let end = offset.saturating_add(u64_of(data.len()));
    let mut old = vec![0; data.len()];
    for extent in base.inode.extents_in(offset..end) {
        let bytes = base.streams.bytes(&extent, last)?;
        let at = usize::try_from(extent.offset.saturating_sub(offset)).unwrap_or(usize::MAX);
        let place = old.get_mut(at..).and_then(|old| old.get_mut(..bytes.len()));
        if let Some(place) = place {
            place.copy_from_slice(&bytes);
        }
    }
    let size = base.inode.size();
    let sector = sector_size as usize;
    // A range is cloned up to a sector, or up to the end of the file.
    let can_be_had = |end: u64, len: usize| {
        base.in_place || end <= size && (len.is_multiple_of(sector) || end == size)
    };
    if old == data && can_be_had(end, data.len()) {
        return Ok(vec![(0..data.len(), Cut::Same)]);
    }
    let mut cuts: Vec<(Range<usize>, Cut)> = Vec::new();
    let mut at = 0_usize;
    for (new, old) in data.chunks(sector).zip(old.chunks(sector)) {
        let to = at.saturating_add(new.len());
        let (is_zero, is_same) = (is_zero(new), new == old);
        let is_whole = new.len() == sector;
        let cut = if is_zero && (is_same || is_whole || !base.in_place) {
            Cut::Zero { was_zero: is_same }
        } else if is_same && can_be_had(offset.saturating_add(u64_of(to)), new.len()) {
            Cut::Same
        } else {
            Cut::Other
        };
        match cuts.last_mut() {
            Some((range, last)) if *last == cut => range.end = to,
            _ => cuts.push((at..to, cut)),
        }
        at = to;
    }
    Ok(cuts)
}

/// Where the parent has something else than zeroes, in whole sectors of a range that is a hole now.
pub(in super::super) fn nonzero(
    range: Range<u64>,
    base: &Base,
    sector_size: u32,
    last: &mut LastRead,
) -> Result<Vec<Range<u64>>, TreeError> {
    let sector = u64::from(sector_size);
    let mut found: Vec<Range<u64>> = Vec::new();
    for extent in base.inode.extents_in(range) {
        let bytes = base.streams.bytes(&extent, last)?;
        let (mut at, mut rest) = (extent.offset, &bytes[..]);
        while !rest.is_empty() {
            let inside = at.checked_rem(sector).unwrap_or(0);
            let room = usize::try_from(sector.saturating_sub(inside)).unwrap_or(usize::MAX);
            let (now, after) = rest.split_at(rest.len().min(room));
            if !is_zero(now) {
                let start = at.saturating_sub(inside);
                let end = start.saturating_add(sector);
                match found.last_mut() {
                    Some(before) if before.end >= start => before.end = end,
                    _ => found.push(start..end),
                }
            }
            at = at.saturating_add(u64_of(now.len()));
            rest = after;
        }
    }
    Ok(found)
}
