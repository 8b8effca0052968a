//! From the names of the parent to those of the new tree.
//!
//! 1. Names that go are removed, but for one of each file that gets another.
//! 2. The new tree is gone through, each directory before what is in it: each name that is not there
//!    is moved to, linked or made. What has a place that another one gets goes to a temporary name
//!    first. A directory is where it stays when something is put into it, so no directory is moved
//!    into itself.
//! 3. Directories that have gone are empty now, and are removed, each after what was in it.

use std::collections::{HashMap, HashSet};
use std::io::Write;
use std::sync::Arc;

use bytes::Bytes;

use super::super::error::{EntryFault, PackError};
use super::super::identity::ino;
use super::super::names::{InodeId, NameId, Names, ROOT};
use super::super::node::made;
use super::super::out::is_handed_down;
use super::super::parent::{Base, Old, OldId, OldName};
use super::super::parent::{Begin, Outcome};
use super::super::record::{Kind, Records};
use super::super::write::{Changes, Sink};
use super::matching::Item;
use crate::rules::sums::add;
use crate::send_stream::command;
use crate::tree::TOP;

/// A place for a name.
type Spot = (Item, Arc<[u8]>);

/// Moves names.
pub(super) struct Moves<'a, W> {
    pub(super) sink: &'a mut Sink<W>,
    pub(super) old: &'a mut Old,
    pub(super) names: &'a Names,
    pub(super) records: &'a Records,
    pub(super) items: &'a [Item],
    outcomes: Vec<Outcome>,
    /// The name that each new inode has, or its first one.
    name_of: Vec<NameId>,
    /// Where things are that are not at their first name in the parent.
    at: HashMap<Item, Spot>,
    /// Spots that are not as they were.
    spots: HashMap<Spot, Option<Item>>,
    /// What has one of its new names already.
    placed: HashSet<Item>,
    /// Directories whose times have changed, as names in them have.
    pub(super) touched: HashSet<Item>,
    /// Directories that hand nothing down any more.
    pub(super) stripped: HashSet<OldId>,
    /// Names of each inode that stay.
    pub(super) stay: Vec<u32>,
    pub(super) counts: Changes,
}

impl<'a, W: Write> Moves<'a, W> {
    pub(super) fn new(
        sink: &'a mut Sink<W>,
        old: &'a mut Old,
        names: &'a Names,
        records: &'a Records,
        items: &'a [Item],
    ) -> Self {
        let mut name_of = vec![ROOT; items.len()];
        for id in names.ids().rev() {
            if let Some((.., inode)) = names.entry(id)
                && let Some(name) = name_of.get_mut(inode as usize)
            {
                *name = id;
            }
        }
        let top = Item::Old(TOP);
        let (mut at, mut spots) = (HashMap::new(), HashMap::new());
        let mut put = |item: Item, name: &Bytes| {
            let spot: Spot = (top, name[..].into());
            at.insert(item, spot.clone());
            spots.insert(spot, Some(item));
        };
        let mut outcomes = Vec::new();
        if let Some(change) = &mut sink.change {
            if change.hole_is_made {
                put(Item::Hole, &change.hole);
            }
            outcomes = std::mem::take(&mut change.outcomes);
        }
        for inode in 0..records.len() {
            if let Some(Kind::File(number)) = records.kind(inode)
                && let Some(Outcome::New(name)) = outcomes.get(*number as usize)
            {
                put(Item::New(inode), name);
            }
        }
        Self {
            sink,
            old,
            names,
            records,
            items,
            outcomes,
            name_of,
            at,
            spots,
            placed: HashSet::from([top]),
            touched: HashSet::from([top]),
            stripped: HashSet::from([TOP]),
            stay: vec![0; items.len()],
            counts: Changes::default(),
        }
    }

    pub(super) fn run(&mut self) -> Result<(), PackError> {
        self.remove_names()?;
        self.place_names()?;
        self.remove_directories()?;
        self.remove_temporary()
    }

    /// The path that a new inode has now, when all names are there.
    pub(super) fn final_path(&self, inode: InodeId) -> Bytes {
        let name = self.name_of.get(inode as usize).copied().unwrap_or(ROOT);
        self.names.path(name)
    }

    /// What has become of a file.
    pub(super) fn outcome(&self, inode: InodeId) -> Option<&Outcome> {
        match self.records.kind(inode)? {
            Kind::File(number) => self.outcomes.get(*number as usize),
            _ => None,
        }
    }

    /// The new inode that an old one is, where it stays.
    fn alive(&self, old: OldId) -> Option<InodeId> {
        let &inode = self.old.claims.get(&old)?;
        (self.items.get(inode as usize) == Some(&Item::Old(old))).then_some(inode)
    }

    /// What the new tree has under a name of the parent.
    fn new_at(&self, name: &OldName) -> Option<Item> {
        let directory = self.alive(name.directory)?;
        let directory = *self.name_of.get(directory as usize)?;
        let (.., inode) = self.names.look(directory, &name.name)?;
        self.items.get(inode as usize).copied()
    }

    fn remove_names(&mut self) -> Result<(), PackError> {
        for number in 0..self.old.names.len() {
            let Some(name) = self.old.names.get(number) else {
                break;
            };
            let (id, item) = (name.id, Item::Old(name.id));
            if self
                .old
                .tree
                .inode(id)
                .is_some_and(|inode| inode.is_directory())
            {
                continue;
            }
            let now = self.new_at(name);
            let spot: Spot = (Item::Old(name.directory), Arc::clone(&name.name));
            let is_first = self
                .old
                .names_of(id)
                .next()
                .map(|(first, _)| first as usize)
                == Some(number);
            if self.alive(id).is_some() {
                if is_first {
                    let mut names = self.old.names_of(id).map(|(_, name)| name);
                    let stays = names.find(|name| self.new_at(name) == Some(item));
                    let Some(stays) = stays else {
                        // It is moved.
                        continue;
                    };
                    let spot = (Item::Old(stays.directory), Arc::clone(&stays.name));
                    self.at.insert(item, spot);
                    self.placed.insert(item);
                }
                if now == Some(item) {
                    continue;
                }
            }
            if now.is_none() {
                add(&mut self.counts.deleted, 1);
            }
            let path = self.path_of(&spot)?;
            self.sink.command(&command::Unlink { path }.into())?;
            self.leave(spot);
        }
        Ok(())
    }

    fn place_names(&mut self) -> Result<(), PackError> {
        for id in self.names.ids() {
            let Some((directory, name, _, inode)) = self.names.entry(id) else {
                continue;
            };
            let Some(&item) = self.items.get(inode as usize) else {
                continue;
            };
            if id == ROOT {
                continue;
            }
            let Some(&directory) = self
                .names
                .entry(directory)
                .and_then(|(.., inode)| self.items.get(inode as usize))
            else {
                continue;
            };
            let spot: Spot = (directory, name.into());
            match self.occupant(&spot) {
                Some(there) if there == item => {
                    self.placed.insert(item);
                    if let Some(stay) = self.stay.get_mut(inode as usize) {
                        *stay = stay.saturating_add(1);
                    }
                    continue;
                }
                Some(there) => self.evict(there, spot.clone())?,
                None => {}
            }
            self.place(item, inode, spot)?;
        }
        Ok(())
    }

    /// Gives something a name that nothing has.
    fn place(&mut self, item: Item, inode: InodeId, spot: Spot) -> Result<(), PackError> {
        let (directory, name) = &spot;
        let was_there = match directory {
            Item::Old(directory) => self.old.tree.child(*directory, name).is_some(),
            _ => false,
        };
        let path = self.path_of(&spot)?;
        let is_old = matches!(item, Item::Old(_));
        let mut count = match was_there {
            true => &mut self.counts.changed,
            false => &mut self.counts.new,
        };
        if self.placed.contains(&item) {
            add(count, 1);
            let path_link = self.path(item)?;
            self.sink
                .command(&command::Link { path, path_link }.into())?;
        } else if is_old || self.at.contains_key(&item) {
            if is_old {
                count = &mut self.counts.renamed;
            }
            add(count, 1);
            let from = self.spot(item).ok_or(PackError::Failed)?;
            self.rename(from, path)?;
            self.at.insert(item, spot.clone());
        } else {
            add(count, 1);
            self.strip(*directory)?;
            self.make(inode, path)?;
            self.at.insert(item, spot.clone());
        }
        self.placed.insert(item);
        self.touched.insert(spot.0);
        self.spots.insert(spot, Some(item));
        Ok(())
    }

    fn make(&mut self, inode: InodeId, path: Bytes) -> Result<(), PackError> {
        let (ino, outcome) = (ino(inode), self.outcome(inode).cloned());
        if let Some(Outcome::Same(id)) = outcome {
            let base = self.old.other(id).ok_or(PackError::Failed)?;
            let size = base.inode.size();
            let base: Option<Arc<Base>> = Some(base.into());
            // Nothing is written under a name twice; see `FileWriter`.
            let temporary = self.temporary();
            let begin = Begin {
                path: temporary.clone(),
                ino,
                base,
            };
            self.sink.copy_file(begin, size)?;
            let rename = command::Rename {
                path: temporary,
                path_to: path,
            };
            return self.sink.command(&rename.into());
        }
        let record = self.records.get(inode).ok_or(PackError::Failed)?;
        let node = record.node().ok_or(PackError::Failed)?;
        self.sink
            .command(&made(&path, ino, node, record.mode.into()))
    }

    /// Moves something out of the way.
    fn evict(&mut self, item: Item, spot: Spot) -> Result<(), PackError> {
        let name = self.temporary();
        self.rename(spot, name.clone())?;
        let to: Spot = (Item::Old(TOP), name[..].into());
        self.at.insert(item, to.clone());
        self.spots.insert(to, Some(item));
        Ok(())
    }

    /// A name at the top that nothing has or will have.
    fn temporary(&mut self) -> Bytes {
        let (names, spots) = (self.names, &self.spots);
        self.old.temporary(|name| {
            names.look(ROOT, name).is_none() && !spots.contains_key(&(Item::Old(TOP), name.into()))
        })
    }

    fn rename(&mut self, from: Spot, path_to: Bytes) -> Result<(), PackError> {
        let path = self.path_of(&from)?;
        self.leave(from);
        self.sink.command(&command::Rename { path, path_to }.into())
    }

    /// A name has gone.
    fn leave(&mut self, spot: Spot) {
        self.touched.insert(spot.0);
        self.spots.insert(spot, None);
    }

    fn remove_directories(&mut self) -> Result<(), PackError> {
        for number in (0..self.old.names.len()).rev() {
            let Some(name) = self.old.names.get(number) else {
                break;
            };
            let id = name.id;
            let is_directory = self
                .old
                .tree
                .inode(id)
                .is_some_and(|inode| inode.is_directory());
            if !is_directory || self.alive(id).is_some() {
                continue;
            }
            if self.new_at(name).is_none() {
                add(&mut self.counts.deleted, 1);
            }
            let spot = self.spot(Item::Old(id)).ok_or(PackError::Failed)?;
            let path = self.path_of(&spot)?;
            self.sink.command(&command::RmDir { path }.into())?;
            self.leave(spot);
        }
        Ok(())
    }

    /// Files whose names came again, and the one from which holes are cloned.
    fn remove_temporary(&mut self) -> Result<(), PackError> {
        let files = (0..self.records.len()).map(Item::New);
        for item in files.chain([Item::Hole]) {
            let is_dead = match item {
                Item::New(inode) => !self.names.is_alive(inode),
                _ => true,
            };
            if is_dead && self.at.contains_key(&item) {
                let path = self.path(item)?;
                self.sink.command(&command::Unlink { path }.into())?;
            }
        }
        Ok(())
    }

    /// What is to be made in a directory gets nothing from it.
    fn strip(&mut self, directory: Item) -> Result<(), PackError> {
        let Item::Old(id) = directory else {
            return Ok(());
        };
        let Some(inode) = self.old.tree.inode(id).cloned() else {
            return Ok(());
        };
        if self.stripped.insert(id) {
            for (name, _) in inode.xattrs().filter(|(name, _)| is_handed_down(name)) {
                let command = command::RemoveXattr {
                    path: self.path(directory)?,
                    xattr_name: Bytes::copy_from_slice(name),
                };
                self.sink.command(&command.into())?;
            }
        }
        Ok(())
    }

    /// What has a name now.
    fn occupant(&self, spot: &Spot) -> Option<Item> {
        match (self.spots.get(spot), spot.0) {
            (Some(item), _) => *item,
            (None, Item::Old(directory)) => self.old.tree.child(directory, &spot.1).map(Item::Old),
            (None, _) => None,
        }
    }

    /// A name that something has now.
    fn spot(&self, item: Item) -> Option<Spot> {
        match (self.at.get(&item), item) {
            (Some(spot), _) => Some(spot.clone()),
            (None, Item::Old(id)) => {
                let (_, name) = self.old.names_of(id).next()?;
                Some((Item::Old(name.directory), Arc::clone(&name.name)))
            }
            (None, _) => None,
        }
    }

    fn path(&self, item: Item) -> Result<Bytes, PackError> {
        match self.spot(item) {
            Some(spot) => self.path_of(&spot),
            None => Ok(Bytes::new()),
        }
    }

    /// The path of a name as things are now.
    fn path_of(&self, spot: &Spot) -> Result<Bytes, PackError> {
        let mut parts = vec![Arc::clone(&spot.1)];
        let mut len = spot.1.len();
        let mut at = spot.0;
        while let Some((directory, name)) = self.spot(at) {
            len = len.saturating_add(name.len()).saturating_add(1);
            parts.push(name);
            at = directory;
            let most = self.names.longest();
            if len > most {
                return Err(PackError::Entry {
                    path: Bytes::copy_from_slice(&spot.1),
                    fault: EntryFault::LongPath { got: len, most },
                });
            }
        }
        parts.reverse();
        let parts: Vec<&[u8]> = parts.iter().map(|part| &part[..]).collect();
        Ok(parts.join(&b'/').into())
    }
}
