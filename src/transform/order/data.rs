//! Data of files, and their sizes.

use super::super::tree::{NodeId, Tree};
use super::outcome::{Outcome, Trouble, trouble};
use super::{paths, xattr};
use crate::rules::limits::{MAX_FILE_SIZE, u64_of};
use crate::send_stream::command;
use crate::send_stream::format::{KEEP_SIZE, PUNCH_HOLE, ZERO_RANGE};
use crate::validate::Severity::Note;

/// Bytes `offset..offset + len` are inside what a file can have. Returns their end.
pub(super) fn range(offset: u64, len: u64) -> Outcome<u64> {
    match offset.checked_add(len).filter(|&end| end <= MAX_FILE_SIZE) {
        Some(end) => Ok(end),
        None => trouble(
            "beyond-largest-offset",
            format!("{len} bytes at {offset} end beyond the largest file size, 2^63 - 1"),
        ),
    }
}

/// The file is changed, and as long as the range now, if it was not longer.
pub(super) fn grow(tree: &mut Tree, id: NodeId, end: u64) {
    xattr::drop_capability(tree, id);
    if tree.node(id).is_some_and(|node| node.size < end)
        && let Some(node) = tree.node_mut(id)
    {
        node.size = end;
    }
}

pub(super) fn write(tree: &mut Tree, c: &command::Write) -> Outcome<Option<Trouble>> {
    let id = paths::file(tree, &c.path)?;
    if c.data.is_empty() {
        let message = "a write of no bytes; nothing happens".to_owned();
        return Ok(Some(("empty-range", Note, message)));
    }
    let end = range(c.file_offset, u64_of(c.data.len()))?;
    grow(tree, id, end);
    Ok(None)
}

/// Returns the size of the file before, at least.
pub(super) fn encoded_write(tree: &mut Tree, c: &command::EncodedWrite) -> Outcome<u64> {
    let id = paths::file(tree, &c.path)?;
    let before = tree.node(id).map_or(0, |node| node.size);
    // The judge of payloads tells of ranges that are empty or too far.
    if let Ok(end) = range(c.file_offset, c.unencoded_file_len)
        && c.unencoded_file_len > 0
    {
        grow(tree, id, end);
    }
    Ok(before)
}

pub(super) fn truncate(tree: &mut Tree, c: &command::Truncate) -> Outcome {
    range(c.size, 0)?;
    let id = paths::file(tree, &c.path)?;
    xattr::drop_capability(tree, id);
    if let Some(node) = tree.node_mut(id) {
        node.size = c.size;
        node.size_is_known = true;
    }
    Ok(())
}

pub(super) fn fallocate(tree: &mut Tree, c: &command::Fallocate) -> Outcome {
    let id = paths::file(tree, &c.path)?;
    let end = range(c.file_offset, c.size)?;
    if c.size == 0 {
        return trouble("empty-range", "a range of no bytes");
    }
    let keep = c.fallocate_mode & KEEP_SIZE != 0;
    match c.fallocate_mode & !KEEP_SIZE {
        PUNCH_HOLE if keep => grow(tree, id, 0),
        0 | ZERO_RANGE => grow(tree, id, if keep { 0 } else { end }),
        _ => {
            let mode = c.fallocate_mode;
            return trouble("fallocate-mode", format!("btrfs has no mode {mode:#x}"));
        }
    }
    Ok(())
}
