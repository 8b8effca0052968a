//! The names that a tree has so far.

use std::hash::{Hash, Hasher};

use bytes::Bytes;
use indexmap::{Equivalent, IndexMap};

use super::error::EntryFault;

/// Longest part of a path, bytes (`NAME_MAX`, include/uapi/linux/limits.h).
const NAME_MAX: usize = 255;
/// A path and its end, bytes (`PATH_MAX`, there).
const PATH_MAX: usize = 4096;
/// Names that a file can have (`BTRFS_LINK_MAX`, fs/btrfs/ctree.h).
const LINK_MAX: u32 = 65_535;

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

/// The names of a tree.
#[derive(Debug)]
pub(super) struct Names {
    entries: IndexMap<Key, Entry>,
    /// Names that each inode has.
    links: Vec<u16>,
    max: usize,
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
        if self.entries.len() > most && !self.entries.contains_key(&Named { parent, name }) {
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
