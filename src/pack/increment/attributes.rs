//! Owners, permissions, attributes and times in an increment: only what is otherwise than in the
//! parent, and what a change of something else takes away.

use std::io::Write;

use bytes::Bytes;

use super::super::entry::Times;
use super::super::error::PackError;
use super::super::names::InodeId;
use super::super::out::is_handed_down;
use super::super::parent::Outcome;
use super::super::record::{Kind, Record};
use super::super::write::Sink;
use super::matching::Item;
use super::moves::Moves;
use crate::rules::sums::add;
use crate::rules::xattr;
use crate::send_stream::{Command, command};
use crate::tree::{self, Inode};

/// Set-user-id and set-group-id.
const SET_ID: u32 = 0o6000;

/// Describes everything, when all names are there.
pub(super) fn describe<W: Write>(
    moves: &mut Moves<'_, W>,
    times: &[Times],
) -> Result<(), PackError> {
    for inode in 0..moves.records.len() {
        let (Some(record), Some(&item)) =
            (moves.records.get(inode), moves.items.get(inode as usize))
        else {
            continue;
        };
        if !moves.names.is_alive(inode) {
            continue;
        }
        let times = times.get(inode as usize).copied().unwrap_or_default();
        let was = Was::of(moves, item, inode);
        let path = moves.final_path(inode);
        let is_said = entry(moves.sink, &path, record, times, was.as_ref())?;
        let stay = moves.stay.get(inode as usize).copied().unwrap_or(0);
        let counts = &mut moves.counts;
        let count = match is_said {
            true => &mut counts.changed,
            false => &mut counts.unchanged,
        };
        add(count, stay.into());
    }
    Ok(())
}

/// An inode of the parent, and what has happened to it.
struct Was {
    inode: std::sync::Arc<Inode>,
    /// Its content has been changed.
    is_written: bool,
    /// Names in it have been changed.
    is_touched: bool,
    /// What it handed down has been removed.
    is_stripped: bool,
}

impl Was {
    fn of<W: Write>(moves: &Moves<'_, W>, item: Item, inode: InodeId) -> Option<Self> {
        let Item::Old(id) = item else {
            return None;
        };
        Some(Self {
            inode: moves.old.tree.inode(id)?.clone(),
            is_written: matches!(
                moves.outcome(inode),
                Some(Outcome::InPlace { touched: true })
            ),
            is_touched: moves.touched.contains(&item),
            is_stripped: moves.stripped.contains(&id),
        })
    }

    /// The attributes that it has now.
    fn xattrs(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.inode.xattrs().filter(|(name, _)| {
            let is_gone = self.is_stripped && is_handed_down(name)
                || self.is_written && *name == xattr::CAPABILITY;
            !is_gone
        })
    }
}

/// Says of an entry what is not so yet; true where something was said.
fn entry<W: Write>(
    sink: &mut Sink<W>,
    path: &Bytes,
    record: &Record,
    times: Times,
    was: Option<&Was>,
) -> Result<bool, PackError> {
    let path = || path.clone();
    let mut commands: Vec<Command> = Vec::new();
    let is_new = |name: &[u8]| record.xattrs.iter().any(|(new, _)| new == name);
    for (name, _) in was.into_iter().flat_map(Was::xattrs) {
        if !is_new(name) {
            let xattr_name = Bytes::copy_from_slice(name);
            let path = path();
            commands.push(command::RemoveXattr { path, xattr_name }.into());
        }
    }
    let inode = was.map(|was| &was.inode);
    let owner = (record.uid, record.gid);
    let has_new_owner = inode.is_none_or(|inode| (inode.uid(), inode.gid()) != owner);
    if has_new_owner {
        commands.push(
            command::Chown {
                path: path(),
                uid: record.uid.into(),
                gid: record.gid.into(),
            }
            .into(),
        );
    }
    let is_written = was.is_some_and(|was| was.is_written);
    let mode = u32::from(record.mode);
    let loses_mode = (has_new_owner || is_written) && mode & SET_ID != 0;
    let has_new_mode = !matches!(record.kind, Kind::Symlink(_))
        && (loses_mode || inode.is_none_or(|inode| inode.mode() != mode));
    if has_new_mode {
        let path = path();
        let mode = mode.into();
        commands.push(command::Chmod { path, mode }.into());
    }
    for (name, value) in &record.xattrs {
        let mut had = was.into_iter().flat_map(Was::xattrs);
        let is_lost = match &name[..] {
            xattr::CAPABILITY => has_new_owner,
            xattr::ACCESS => has_new_mode,
            _ => false,
        };
        if is_lost || had.all(|had| had != (name, value)) {
            commands.push(
                command::SetXattr {
                    path: path(),
                    xattr_name: name.clone(),
                    xattr_data: value.clone(),
                }
                .into(),
            );
        }
    }
    let has_old_times = was.is_some_and(|was| {
        !was.is_written && !was.is_touched && are_same(was.inode.times(), times)
    });
    if !commands.is_empty() || !has_old_times {
        commands.push(
            command::Utimes {
                path: path(),
                atime: times.atime,
                mtime: times.mtime,
                ctime: times.ctime,
                otime: Some(times.otime),
            }
            .into(),
        );
    }
    for command in &commands {
        sink.command(command)?;
    }
    Ok(!commands.is_empty())
}

/// Whether nobody has touched a file. Where all times are the same moment, only the last change of
/// the content is known, which stands for all.
fn are_same(old: &tree::Times, new: Times) -> bool {
    old.mtime == new.mtime && (new == Times::all(new.mtime) || old.atime == new.atime)
}
