//! The names that a tree has so far.

use std::collections::HashMap;
use std::hash::{Hash, Hasher};

use bytes::Bytes;
use indexmap::{Equivalent, IndexMap};

use super::error::EntryFault;
use crate::rules::limits::u64_of;

/// Longest part of a path, bytes (`NAME_MAX`, include/uapi/linux/limits.h).
const NAME_MAX: usize = 255;
/// A path and its end, bytes (`PATH_MAX`, there).
const PATH_MAX: usize = 4096;
/// Names that a file can have (`BTRFS_LINK_MAX`, fs/btrfs/ctree.h).
const LINK_MAX: u32 = 65_535;

/// Bytes that a name is taken to need beside its own, with what is told of it and its share of
/// tables that grow; measured with a million names, which took 214 each. The bytes of names,
/// attributes and targets of links come on top.
pub const BYTES_PER_NAME: usize = 256;

/// Number of a name.
pub(super) type NameId = u32;
/// Number of a file, directory or the like, which may have several names.
pub(super) type InodeId = u32;

/// The tree itself.
pub(super) const ROOT: NameId = 0;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Directory,
    Other,
}

/// A name, and what it is in.
#[derive(Debug, PartialEq, Eq)]
struct Key {
    parent: NameId,
    name: Box<[u8]>,
}

/// The same, borrowed.
struct Named<'a> {
    parent: NameId,
    name: &'a [u8],
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.parent, &self.name[..]).hash(state);
    }
}

impl Hash for Named<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.parent, self.name).hash(state);
    }
}

impl Equivalent<Key> for Named<'_> {
    fn equivalent(&self, key: &Key) -> bool {
        self.parent == key.parent && *self.name == *key.name
    }
}

/// What a name stands for; `None` where that has been removed.
type Entry = Option<(Kind, InodeId)>;

/// What a walk finds under a name.
pub(super) enum Walked {
    /// An inode, for the first time; of a directory, with the number of its entries.
    Inode { inode: InodeId, entries: u64 },
    /// Another name of what was told as the record of this number.
    Again { first: u64 },
}

/// The names of a tree.
#[derive(Debug)]
pub(super) struct Names {
    entries: IndexMap<Key, Entry>,
    /// Names that each inode has.
    links: Vec<u16>,
    max: usize,
    /// What is remembered beside names, in so many bytes' worth of names.
    more: usize,
    /// Longest path, bytes.
    longest: usize,
}

impl Names {
    /// A tree with nothing but its top directory, in a subvolume whose name has so many bytes.
    pub(super) fn new(subvolume_len: usize, max: usize) -> Self {
        let root = Key {
            parent: NameId::MAX,
            name: Box::default(),
        };
        Self {
            entries: IndexMap::from([(root, Some((Kind::Directory, 0)))]),
            links: vec![1],
            max,
            more: 0,
            // `/`, the name of the subvolume and another `/` come before the path where the
            // filesystem is mounted at `/`, and `btrfs receive` leaves two bytes unused.
            longest: PATH_MAX.saturating_sub(subvolume_len.saturating_add(5)),
        }
    }

    /// The parts of a path, where it can be one. Empty parts and `.` lead nowhere else.
    pub(super) fn parts<'a>(&self, path: &'a [u8]) -> Result<Vec<&'a [u8]>, EntryFault> {
        let parts: Vec<&[u8]> = path
            .split(|&byte| byte == b'/')
            .filter(|part| !matches!(*part, b"" | b"."))
            .collect();
        for part in &parts {
            if *part == b".." {
                return Err(EntryFault::Outside);
            }
            if part.contains(&0) {
                return Err(EntryFault::ZeroByte);
            }
            if part.len() > NAME_MAX {
                return Err(EntryFault::LongName { got: part.len() });
            }
        }
        let got = parts
            .iter()
            .fold(parts.len().saturating_sub(1), |sum, part| {
                sum.saturating_add(part.len())
            });
        if got > self.longest {
            let most = self.longest;
            return Err(EntryFault::LongPath { got, most });
        }
        Ok(parts)
    }

    /// What stands under a name.
    pub(super) fn look(&self, parent: NameId, name: &[u8]) -> Option<(NameId, Kind, InodeId)> {
        let (id, _, entry) = self.entries.get_full(&Named { parent, name })?;
        let (kind, inode) = (*entry)?;
        Some((u32::try_from(id).ok()?, kind, inode))
    }

    /// What stands under a path.
    pub(super) fn find(&self, parts: &[&[u8]]) -> Option<(NameId, Kind, InodeId)> {
        let root = (ROOT, Kind::Directory, 0);
        parts
            .iter()
            .try_fold(root, |(id, ..), part| self.look(id, part))
    }

    /// Whether one more name is remembered, unless it is already.
    pub(super) fn check_room(&self, parent: NameId, name: &[u8]) -> Result<(), EntryFault> {
        let most = self.max.min(i32::MAX.unsigned_abs() as usize);
        let taken = self
            .entries
            .len()
            .saturating_add(self.more / BYTES_PER_NAME);
        if taken > most && !self.entries.contains_key(&Named { parent, name }) {
            return Err(EntryFault::TooManyNames { most });
        }
        Ok(())
    }

    /// Gives a new inode a name that nothing has. There has to be room.
    pub(super) fn make(&mut self, parent: NameId, name: &[u8], kind: Kind) -> (NameId, InodeId) {
        let inode = u32::try_from(self.links.len()).unwrap_or(InodeId::MAX);
        self.links.push(1);
        (self.put(parent, name, (kind, inode)), inode)
    }

    /// Whether an inode can have one more name.
    pub(super) fn check_links(&self, inode: InodeId) -> Result<(), EntryFault> {
        match self.links.get(inode as usize) {
            Some(&links) if u32::from(links) >= LINK_MAX => Err(EntryFault::TooManyLinks),
            _ => Ok(()),
        }
    }

    /// Gives an inode another name, which nothing has. There has to be room, in both ways.
    pub(super) fn link(&mut self, parent: NameId, name: &[u8], inode: InodeId) {
        if let Some(links) = self.links.get_mut(inode as usize) {
            *links = links.saturating_add(1);
        }
        self.put(parent, name, (Kind::Other, inode));
    }

    fn put(&mut self, parent: NameId, name: &[u8], entry: (Kind, InodeId)) -> NameId {
        self.remember(name.len());
        let key = Key {
            parent,
            name: name.into(),
        };
        let (id, _) = self.entries.insert_full(key, Some(entry));
        u32::try_from(id).unwrap_or(NameId::MAX)
    }

    /// Takes away a name of something that is no directory.
    pub(super) fn remove(&mut self, id: NameId) {
        if let Some((_, entry)) = self.entries.get_index_mut(id as usize)
            && let Some((_, inode)) = entry.take()
            && let Some(links) = self.links.get_mut(inode as usize)
        {
            *links = links.saturating_sub(1);
        }
    }

    /// So many bytes are remembered beside a name.
    pub(super) fn remember(&mut self, bytes: usize) {
        self.more = self.more.saturating_add(bytes);
    }

    /// Goes through all names: each directory before what is in it, names sorted by their bytes.
    /// `visit` returns the number of its record.
    pub(super) fn walk(&self, mut visit: impl FnMut(&[u8], Walked) -> u64) {
        let alive = |(_, (_, entry)): &(usize, (&Key, &Entry))| entry.is_some();
        let alive = self.entries.iter().enumerate().filter(alive);
        let mut sorted: Vec<usize> = alive.map(|(id, _)| id).collect();
        let key = |id: usize| {
            let key = self.entries.get_index(id).map(|(key, _)| key);
            key.map(|key| (key.parent, &*key.name))
        };
        sorted.sort_unstable_by(|&a, &b| key(a).cmp(&key(b)));
        // The entries of a directory stand together.
        let inside = |directory: usize| {
            let parent_of = |id: &usize| key(*id).map(|(parent, _)| parent as usize);
            let start = sorted.partition_point(|id| parent_of(id) < Some(directory));
            let len = sorted
                .get(start..)
                .unwrap_or_default()
                .partition_point(|id| parent_of(id) == Some(directory));
            (start, start.saturating_add(len))
        };
        let mut first = HashMap::<InodeId, u64>::new();
        // What is left of each directory that the walk is in.
        let mut stack = Vec::new();
        let mut next = Some(ROOT as usize);
        while let Some(id) = next {
            if let Some((key, Some((kind, inode)))) = self.entries.get_index(id) {
                let (start, end) = match kind {
                    Kind::Directory => inside(id),
                    Kind::Other => (0, 0),
                };
                let walked = match first.get(inode) {
                    Some(&first) => Walked::Again { first },
                    None => Walked::Inode {
                        inode: *inode,
                        entries: u64_of(end.saturating_sub(start)),
                    },
                };
                let number = visit(&key.name, walked);
                let links = self.links.get(*inode as usize);
                if *kind == Kind::Other && links.is_some_and(|&links| links > 1) {
                    first.entry(*inode).or_insert(number);
                }
                stack.push(start..end);
            }
            next = loop {
                match stack.last_mut().map(Iterator::next) {
                    None => break None,
                    Some(Some(at)) => break sorted.get(at).copied(),
                    Some(None) => {
                        stack.pop();
                    }
                }
            };
        }
    }

    /// Longest path, bytes.
    pub(super) fn longest(&self) -> usize {
        self.longest
    }

    /// All numbers of names, also of those that have gone. What is in a directory has its number
    /// after it.
    pub(super) fn ids(&self) -> std::ops::Range<NameId> {
        0..u32::try_from(self.entries.len()).unwrap_or(NameId::MAX)
    }

    /// The directory that a name is in, the name and what has it; `None` where it has gone.
    pub(super) fn entry(&self, id: NameId) -> Option<(NameId, &[u8], Kind, InodeId)> {
        let (key, entry) = self.entries.get_index(id as usize)?;
        let (kind, inode) = (*entry)?;
        Some((key.parent, &key.name, kind, inode))
    }

    /// Whether an inode has a name.
    pub(super) fn is_alive(&self, inode: InodeId) -> bool {
        self.links
            .get(inode as usize)
            .is_some_and(|&links| links > 0)
    }

    /// The path of a name.
    pub(super) fn path(&self, id: NameId) -> Bytes {
        let mut parts = Vec::new();
        let mut at = id;
        while at != ROOT
            && let Some((key, _)) = self.entries.get_index(at as usize)
        {
            parts.push(&key.name[..]);
            at = key.parent;
        }
        parts.reverse();
        parts.join(&b'/').into()
    }
}
