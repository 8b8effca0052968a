//! Which new inode is which of the parent.
//!
//! Files have been compared. A directory, link or device is the one that had its name before, and a
//! directory of a new name is the one in which something of it was, under the same name.

use super::super::names::{InodeId, NameId, Names, ROOT};
use super::super::parent::Outcome;
use super::super::parent::{Old, OldId};
use super::super::record::{Kind, Records};
use crate::tree;

/// Names of a file that are looked at.
const MOST_NAMES: usize = 64;

/// An inode of the receiver.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Item {
    /// The parent has it.
    Old(OldId),
    /// It is new.
    New(InodeId),
    /// The file from which holes are cloned.
    Hole,
}

/// What each new inode is, by number.
pub(super) fn items(
    old: &mut Old,
    names: &Names,
    records: &Records,
    outcomes: &[Outcome],
) -> Vec<Item> {
    let mut matching = Matching {
        items: (0..records.len()).map(Item::New).collect(),
        old,
        names,
        records,
    };
    let claimed: Vec<_> = matching
        .old
        .claims
        .iter()
        .map(|(&old, &new)| (old, new))
        .collect();
    for (old, inode) in claimed {
        if names.is_alive(inode) {
            matching.set(inode, old);
        }
    }
    for inode in 0..records.len() {
        if let Some(Kind::File(number)) = records.kind(inode)
            && let Some(&Outcome::Same(old)) = outcomes.get(*number as usize)
        {
            matching.claim(inode, old);
        }
    }
    matching.by_name();
    matching.directories_by_content();
    matching.by_name();
    matching.items
}

struct Matching<'a> {
    items: Vec<Item>,
    old: &'a mut Old,
    names: &'a Names,
    records: &'a Records,
}

impl Matching<'_> {
    fn set(&mut self, inode: InodeId, old: OldId) {
        if let Some(item) = self.items.get_mut(inode as usize) {
            *item = Item::Old(old);
        }
    }

    fn claim(&mut self, inode: InodeId, old: OldId) {
        if self.names.is_alive(inode) && !self.old.claims.contains_key(&old) {
            self.old.claims.insert(old, inode);
            self.set(inode, old);
        }
    }

    fn item(&self, name: NameId) -> Option<Item> {
        let (.., inode) = self.names.entry(name)?;
        self.items.get(inode as usize).copied()
    }

    /// Directories first get theirs, then what is in them.
    fn by_name(&mut self) {
        for id in self.names.ids() {
            let Some((directory, name, _, inode)) = self.names.entry(id) else {
                continue;
            };
            let is_new = self.items.get(inode as usize) == Some(&Item::New(inode));
            if id != ROOT
                && is_new
                && let Some(Item::Old(directory)) = self.item(directory)
                && let Some(old) = self.old.tree.child(directory, name)
                && let Some(kind) = self.records.kind(inode)
                && self
                    .old
                    .tree
                    .inode(old)
                    .is_some_and(|old| is_same(kind, old.kind()))
            {
                self.claim(inode, old);
            }
        }
    }

    /// What is in a directory has its number after it, so from the end on directories come after what
    /// is in them.
    fn directories_by_content(&mut self) {
        for id in self.names.ids().rev() {
            let Some((directory, name, ..)) = self.names.entry(id) else {
                continue;
            };
            if let Some(Item::New(inode)) = self.item(directory)
                && let Some(Item::Old(old)) = self.item(id)
            {
                let names = self.old.names_of(old).map(|(_, name)| name);
                let mut names = names.take(MOST_NAMES);
                let before = names.find(|before| *before.name == *name);
                let before = before.map(|before| before.directory);
                drop(names);
                if let Some(before) = before {
                    self.claim(inode, before);
                }
            }
        }
    }
}

/// Whether what has no content is the same. Files are compared otherwise.
fn is_same(new: &Kind, old: &tree::Kind) -> bool {
    match (new, old) {
        (Kind::Directory, tree::Kind::Directory)
        | (Kind::Fifo, tree::Kind::Fifo)
        | (Kind::Socket, tree::Kind::Socket) => true,
        (Kind::Symlink(new), tree::Kind::Symlink { target }) => new[..] == target[..],
        (Kind::CharDevice(a, b), tree::Kind::CharDevice { major, minor })
        | (Kind::BlockDevice(a, b), tree::Kind::BlockDevice { major, minor }) => {
            (a, b) == (major, minor)
        }
        _ => false,
    }
}
