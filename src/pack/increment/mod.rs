//! Increments: the difference between what is packed and a [`Parent`], which a stored chain has.
//!
//! | file | what it does |
//! | --- | --- |
//! | `content` | what goes into the stream of the content of files |
//! | `matching` | which new inode is which of the parent, at the end |
//! | `moves` | names |
//! | `attributes` | owners, permissions, attributes, times |
//!
//! Content goes into the stream as it comes, while all names are those of the parent: into the file
//! of the parent that has the same path, or into a new one under a temporary name. A new file that
//! looks like one of the parent which is elsewhere is compared with that, and nothing is written as
//! long as both are the same. At the end, when it is known what there is, names are moved to where
//! they belong and everything gets its attributes.

mod attributes;
mod content;
mod matching;
mod moves;

use std::io::Write;

use bytes::Bytes;

use self::moves::Moves;
use super::entry::Times;
use super::error::PackError;
use super::names::Names;
use super::out::is_handed_down;
use super::parent::{Change, Old, Parent};
use super::record::Records;
use super::write::{Changes, Sink};
use crate::send_stream::command;

/// Bytes that an increment remembers of a name, beside what a full pack does.
pub(super) const MORE_BYTES: usize = 256;

/// The parent's tree.
pub(super) fn open(parent: &Parent) -> Result<Old, PackError> {
    Old::new(parent).map_err(|source| PackError::Parent {
        path: Bytes::new(),
        source,
    })
}

/// An increment begins.
pub(super) fn begin(parent: &Parent, old: &mut Old, sector_size: u32) -> Change {
    Change {
        uuid: parent.uuid,
        ctransid: parent.ctransid,
        sector_size: sector_size.into(),
        hole: old.temporary(|_| true),
        hole_is_made: false,
        present: None,
        outcomes: Vec::new(),
        unchanged_bytes: 0,
    }
}

/// Files of temporary names, which are at the top, get nothing from the top directory.
pub(super) fn strip_top<W: Write>(sink: &mut Sink<W>, old: &Old) -> Result<(), PackError> {
    let top = old.tree.at(b"").into_iter();
    let names = top.flat_map(|top| top.xattrs().map(|(name, _)| name));
    for name in names.filter(|name| is_handed_down(name)) {
        let command = command::RemoveXattr {
            path: Bytes::new(),
            xattr_name: Bytes::copy_from_slice(name),
        };
        sink.command(&command.into())?;
    }
    Ok(())
}

/// Ends an increment, after the content of all files.
pub(super) fn finish<W: Write>(
    sink: &mut Sink<W>,
    old: &mut Old,
    names: &Names,
    records: &Records,
    times: &[Times],
) -> Result<Changes, PackError> {
    let outcomes = sink.change.as_ref().map(|change| &change.outcomes[..]);
    let items = matching::items(old, names, records, outcomes.unwrap_or_default());
    let mut moves = Moves::new(sink, old, names, records, &items);
    moves.run()?;
    attributes::describe(&mut moves, times)?;
    let mut changes = moves.counts;
    sink.end_clone()?;
    if let Some(change) = &sink.change {
        changes.unchanged_bytes = change.unchanged_bytes;
    }
    Ok(changes)
}
