//! Clones: the rules of the clone ioctl (`generic_remap_file_range_prep`, fs/remap_range.c).

use super::super::escape::Shortened;
use super::super::tree::{Found, Kind, Node, NodeId, Tree};
use super::outcome::{Outcome, Trouble, trouble};
use super::subvolumes::Subvolumes;
use super::{data, paths};
use crate::rules::{Target, limits};
use crate::send_stream::{Uuid, command};
use crate::validate::Severity::Error;

/// Bytes that a clone has at most. Senders clone an extent at a time, which has 128 MiB at most
/// (`BTRFS_MAX_EXTENT_SIZE`, fs/btrfs/fs.h).
const LONGEST: u64 = (1 << 31) - 1;

/// Where the bytes come from.
struct Source {
    node: Node,
    /// The node of the own subvolume.
    own: Option<NodeId>,
}

impl Source {
    /// The file certainly ends there.
    fn ends_at(&self, end: u64) -> bool {
        self.node.size_is_known && self.node.size == end
    }

    /// The file certainly does not end there.
    fn does_not_end_at(&self, end: u64) -> bool {
        self.node.size > end || self.node.size_is_known && self.node.size < end
    }
}

/// A clone whose offsets no filesystem with these sectors takes, whatever the files are.
pub(in super::super) fn misplaced(c: &command::Clone, target: &Target) -> Option<Trouble> {
    let sector = u64::from(target.sector_size);
    [("from", c.clone_offset), ("to", c.file_offset)]
        .into_iter()
        .find(|(_, offset)| !offset.is_multiple_of(sector))
        .map(|(which, offset)| {
            let message = format!(
                "the offset cloned {which}, {offset}, is not a multiple of the sector size {sector}"
            );
            ("clone-unaligned", Error, message)
        })
}

pub(super) fn clone(
    tree: &mut Tree,
    c: &command::Clone,
    own: Uuid,
    known: &mut Subvolumes,
    target: &Target,
    is_chain: bool,
) -> Outcome<Option<Trouble>> {
    let id = paths::file(tree, &c.path)?;
    let lands_at = data::range(c.file_offset, c.clone_len)?;
    let end = data::range(c.clone_offset, c.clone_len)?;
    if c.clone_len > LONGEST {
        let message = format!(
            "a clone of {} bytes; at most {LONGEST} go as one",
            c.clone_len
        );
        return trouble("clone-too-long", message);
    }
    let mut remark = None;
    let source = if own == c.clone_uuid {
        let found = tree.find(&c.clone_path);
        source(tree, Some(found), c)?
    } else if let Some(other) = known.tree(c.clone_uuid) {
        source(other, other.peek(&c.clone_path), c)?.map(|source| Source {
            own: None,
            ..source
        })
    } else {
        remark = known.missing(c.clone_uuid, "clone-source-missing", is_chain);
        None
    };
    if c.clone_len == 0 {
        return to_the_end(tree, id, c, source.as_ref());
    }
    if let Some(trouble) = misplaced(c, target) {
        return Err(trouble);
    }
    if let Some(source) = &source {
        of_source(source, id, c, end, target)?;
    }
    let is_whole = c.clone_len.is_multiple_of(target.sector_size.into());
    if !is_whole && tree.node(id).is_some_and(|node| node.size > lands_at) {
        return trouble(
            "clone-into-middle",
            format!(
                "a range that ends inside a sector lands at {lands_at}, before the end of the file"
            ),
        );
    }
    data::grow(tree, id, lands_at);
    Ok(remark)
}

/// The file cloned from; `None` where nothing is known of it.
fn source(tree: &Tree, found: Option<Found>, c: &command::Clone) -> Outcome<Option<Source>> {
    let id = match found {
        None => return Ok(None),
        Some(Found::Node(id)) => id,
        Some(_) => {
            let path = Shortened(&c.clone_path);
            return trouble("clone-source-unknown", format!("{path} has not been made"));
        }
    };
    let Some(node) = tree.node(id) else {
        return Ok(None);
    };
    match node.kind {
        Kind::Directory | Kind::Symlink | Kind::Special => {
            trouble("not-a-file", "what is cloned from is no regular file")
        }
        Kind::File | Kind::Unknown => Ok(Some(Source {
            node,
            own: Some(id),
        })),
    }
}

/// Linux takes a length of 0 for the rest of the source.
fn to_the_end(
    tree: &mut Tree,
    id: NodeId,
    c: &command::Clone,
    source: Option<&Source>,
) -> Outcome<Option<Trouble>> {
    if let Some(source) = source {
        let len = source.node.size.saturating_sub(c.clone_offset);
        if let Ok(end) = data::range(c.file_offset, len)
            && len > 0
        {
            data::grow(tree, id, end);
        }
    }
    if source.is_none_or(|source| !source.node.size_is_known)
        && let Some(node) = tree.node_mut(id)
    {
        node.size_is_known = false;
    }
    trouble(
        "empty-range",
        "CLONE of length 0: Linux clones everything from there to the end of the source",
    )
}

/// What can be said where the source is known.
fn of_source(
    source: &Source,
    id: NodeId,
    c: &command::Clone,
    end: u64,
    target: &Target,
) -> Outcome {
    let size = source.node.size;
    if source.node.size_is_known && end > size {
        return trouble(
            "clone-beyond-end",
            format!("the range ends at {end}, the file cloned from at {size}"),
        );
    }
    let sector = target.sector_size;
    if !c.clone_len.is_multiple_of(sector.into()) && source.does_not_end_at(end) {
        return trouble(
            "clone-unaligned",
            format!(
                "a length of {} bytes, which is not a multiple of the sector size {sector}, does \
                 not end at the end of the file cloned from",
                c.clone_len
            ),
        );
    }
    if source.own == Some(id) {
        // A range to the end counts with the rest of its sector.
        let end = match limits::round_up(end, sector) {
            Some(rounded) if source.ends_at(end) => rounded,
            _ => end,
        };
        let len = end.saturating_sub(c.clone_offset);
        if c.file_offset.saturating_add(len) > c.clone_offset && c.file_offset < end {
            let message = "the ranges cloned from and to are in one file and overlap";
            return trouble("clone-overlap", message);
        }
    }
    Ok(())
}
