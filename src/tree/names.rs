//! The names of a subvolume, and what has them.
//!
//! A snapshot is cheap: it shares what it has in common with the tree that it is taken of.

use std::cmp::Ordering;
use std::ops::Bound;
use std::sync::Arc;

use equivalent::{Comparable, Equivalent};
use imbl::OrdMap;

use super::inode::{Inode, Kind};

/// Number of an inode in this program. They are not used again.
pub(crate) type NodeId = u32;

/// The subvolume itself.
pub(crate) const ROOT: NodeId = 0;

/// Number that the top directory of every subvolume has (`BTRFS_FIRST_FREE_OBJECTID`,
/// include/uapi/linux/btrfs_tree.h).
const FIRST_INODE: u64 = 256;

/// The directory of a name, and the name.
type Key = (NodeId, Arc<[u8]>);

/// The same, borrowed.
struct Looked<'a>(NodeId, &'a [u8]);

impl Equivalent<Key> for Looked<'_> {
    fn equivalent(&self, key: &Key) -> bool {
        (self.0, self.1) == (key.0, &key.1)
    }
}

impl Comparable<Key> for Looked<'_> {
    fn compare(&self, key: &Key) -> Ordering {
        (self.0, self.1).cmp(&(key.0, &key.1))
    }
}

/// The parts of a path that lead somewhere.
pub(super) fn parts(path: &[u8]) -> impl DoubleEndedIterator<Item = &[u8]> {
    path.split(|&byte| byte == b'/')
        .filter(|part| !matches!(*part, b"" | b"."))
}

/// The tree of a subvolume: names and inodes.
#[derive(Debug, Clone)]
pub struct Tree {
    names: OrdMap<Key, NodeId>,
    inodes: OrdMap<NodeId, Arc<Inode>>,
    next: NodeId,
}

/// What was changed is not shared with another tree, and was before: it takes memory now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct WasShared(pub(super) bool);

impl Tree {
    pub(super) fn new() -> Self {
        let mut root = Inode::new(Kind::Directory, FIRST_INODE, 0o755);
        root.links = 1;
        Self {
            names: OrdMap::new(),
            inodes: OrdMap::unit(ROOT, Arc::new(root)),
            next: 1,
        }
    }

    /// Number of names, without the top directory.
    #[must_use]
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// True where there is nothing but the top directory.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// Bytes of data of all files, without holes; what is shared counts for each.
    #[must_use]
    pub fn data_bytes(&self) -> u64 {
        let files = self.inodes.values();
        let data = files.flat_map(|inode| inode.extents());
        data.map(|extent| extent.len).fold(0, u64::saturating_add)
    }

    /// What is at a path; `None` where there is nothing. The empty path is the subvolume itself.
    #[must_use]
    pub fn at(&self, path: &[u8]) -> Option<&Arc<Inode>> {
        self.inode(self.find(path)?)
    }

    pub(crate) fn inode(&self, id: NodeId) -> Option<&Arc<Inode>> {
        self.inodes.get(&id)
    }

    /// To change an inode.
    pub(super) fn inode_mut(&mut self, id: NodeId) -> Option<(&mut Inode, WasShared)> {
        let shared = self.inodes.get_mut(&id)?;
        let was_shared = WasShared(Arc::get_mut(shared).is_none());
        Some((Arc::make_mut(shared), was_shared))
    }

    pub(crate) fn find(&self, path: &[u8]) -> Option<NodeId> {
        parts(path).try_fold(ROOT, |at, part| self.child(at, part))
    }

    pub(crate) fn child(&self, directory: NodeId, name: &[u8]) -> Option<NodeId> {
        self.names.get(&Looked(directory, name)).copied()
    }

    /// The directory of a path and the last part of the path.
    pub(super) fn place<'a>(&self, path: &'a [u8]) -> Option<(NodeId, &'a [u8])> {
        let mut parts = parts(path);
        let name = parts.next_back()?;
        let directory = parts.try_fold(ROOT, |at, part| self.child(at, part))?;
        Some((directory, name))
    }

    /// True where a path goes through an inode, or ends at it.
    pub(super) fn goes_through(&self, path: &[u8], id: NodeId) -> bool {
        let mut at = ROOT;
        for part in parts(path) {
            if at == id {
                return true;
            }
            match self.child(at, part) {
                Some(inside) => at = inside,
                None => return false,
            }
        }
        at == id
    }

    /// Makes an inode under a name; `None` where there is no more number for one.
    pub(super) fn make(&mut self, directory: NodeId, name: &[u8], inode: Inode) -> Option<NodeId> {
        let id = self.next;
        self.next = id.checked_add(1)?;
        self.inodes.insert(id, Arc::new(inode));
        self.link(directory, name, id);
        Some(id)
    }

    /// Gives an inode a (further) name, which another one may have had.
    pub(super) fn link(&mut self, directory: NodeId, name: &[u8], id: NodeId) {
        let before = self.names.insert((directory, name.into()), id);
        if let Some(before) = before {
            self.drop_link(before);
        }
        if let Some((inode, _)) = self.inode_mut(id) {
            inode.links = inode.links.saturating_add(1);
        }
    }

    /// Takes a name away, and the inode with its last one.
    pub(super) fn unlink(&mut self, directory: NodeId, name: &[u8]) {
        if let Some(id) = self.names.remove(&Looked(directory, name)) {
            self.drop_link(id);
        }
    }

    /// Moves a name.
    pub(super) fn rename(&mut self, from: (NodeId, &[u8]), to: (NodeId, &[u8])) {
        if let Some(id) = self.names.remove(&Looked(from.0, from.1))
            && let Some(before) = self.names.insert((to.0, to.1.into()), id)
        {
            self.drop_link(before);
        }
    }

    fn drop_link(&mut self, id: NodeId) {
        let Some((inode, _)) = self.inode_mut(id) else {
            return;
        };
        inode.links = inode.links.saturating_sub(1);
        if inode.links == 0 {
            self.inodes.remove(&id);
        }
    }

    /// The entries of a directory, sorted by the bytes of their names.
    pub(super) fn children(&self, directory: NodeId) -> impl Iterator<Item = (&Arc<[u8]>, NodeId)> {
        self.children_from(directory, b"")
    }

    /// The same from a name on.
    pub(super) fn children_from(
        &self,
        directory: NodeId,
        name: &[u8],
    ) -> impl Iterator<Item = (&Arc<[u8]>, NodeId)> {
        let range = (Bound::Included(Looked(directory, name)), Bound::Unbounded);
        self.names
            .range::<_, Looked<'_>>(range)
            .take_while(move |((of, _), _)| *of == directory)
            .map(|((_, name), id)| (name, *id))
    }
}
