//! The directories that extents are counted for: numbers on the way in, paths on the way out.

use std::collections::HashMap;

/// A directory, as a place in [`Directories`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DirectoryId(u32);

/// A directory, or a path that was asked for.
#[derive(Debug, Clone)]
struct Node {
    /// `None` for a path that was asked for, and for what is not below one.
    parent: Option<DirectoryId>,
    name: Box<[u8]>,
}

/// Directories by subvolume and inode.
#[derive(Debug, Default)]
pub struct Directories {
    nodes: Vec<Node>,
    index: HashMap<(u64, u64), DirectoryId>,
}

/// A path of more names than this goes in a circle: Linux takes 4096 bytes.
pub(super) const DEEPEST: usize = 2048;

impl Directories {
    /// The directory with this number, new without a name where nobody has named it yet.
    pub(super) fn id(&mut self, root: u64, inode: u64) -> DirectoryId {
        let next = self.nodes.len();
        let id = *self.index.entry((root, inode)).or_insert_with(|| {
            // 2^32 directories do not fit memory.
            DirectoryId(u32::try_from(next).unwrap_or(u32::MAX))
        });
        if id.0 == u32::try_from(next).unwrap_or(u32::MAX) {
            self.nodes.push(Node {
                parent: None,
                name: Box::default(),
            });
        }
        id
    }

    /// The directory with this number, where it is known.
    pub(super) fn known(&self, root: u64, inode: u64) -> Option<DirectoryId> {
        self.index.get(&(root, inode)).copied()
    }

    /// Says where a directory is and what it is called there.
    pub(super) fn name(&mut self, id: DirectoryId, parent: Option<DirectoryId>, name: &[u8]) {
        if let Some(node) = self.node_mut(id) {
            node.parent = parent;
            node.name = name.into();
        }
    }

    fn node(&self, id: DirectoryId) -> Option<&Node> {
        self.nodes.get(usize::try_from(id.0).ok()?)
    }

    fn node_mut(&mut self, id: DirectoryId) -> Option<&mut Node> {
        self.nodes.get_mut(usize::try_from(id.0).ok()?)
    }

    /// The directory and those it lies in, from the path that was asked for down.
    #[must_use]
    pub fn way(&self, id: DirectoryId) -> Vec<DirectoryId> {
        let above = std::iter::successors(Some(id), |id| self.node(*id)?.parent);
        let mut way: Vec<_> = above.take(DEEPEST).collect();
        way.reverse();
        way
    }

    /// The path of a directory as bytes, beginning with the one that was asked for.
    #[must_use]
    pub fn path(&self, id: DirectoryId) -> Vec<u8> {
        let mut path = Vec::new();
        for id in self.way(id) {
            let name = self.node(id).map(|node| &*node.name).unwrap_or_default();
            if !path.is_empty() && path.last() != Some(&b'/') {
                path.push(b'/');
            }
            path.extend(name);
        }
        path
    }

    /// Its own name, as bytes.
    #[must_use]
    pub fn last_name(&self, id: DirectoryId) -> &[u8] {
        self.node(id).map(|node| &*node.name).unwrap_or_default()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// True where there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }
}
