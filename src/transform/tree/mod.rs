//! The names that a stream has made, as far as they can be known.
//!
//! There is a node for each file and an entry for each name. An entry is found by its directory's
//! node and a keyed hash of its name, so renaming a directory moves one entry, however much is
//! inside. Two names in one directory are confused when their 64-bit hashes are equal. That does not
//! happen by chance in a stream that a disk can hold, and nobody can provoke it, as the key is
//! random.

mod layer;
mod node;

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;

use super::way::{Way, last_name};
use layer::Layer;
use node::Entry;
pub(super) use node::{Kind, Node, NodeId, ROOT};

/// What is known of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    Node(NodeId),
    /// Certainly nothing.
    Nothing,
    /// The directory it would be in is not there.
    NoParent,
    /// A part of the path is no directory.
    NotADirectory,
}

/// What is known of a name in a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Name {
    Taken(NodeId),
    Free,
    /// It may be taken: the parent snapshot had things here.
    Unknown,
}

/// The names that a path goes through. Empty parts and `.` lead nowhere else.
fn parts(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.split(|&byte| byte == b'/')
        .filter(|part| !matches!(*part, b"" | b"."))
}

/// True for a path that Linux takes for that of a directory: `a//`, `a/.`. `btrfs receive` drops
/// one slash at the end.
pub(super) fn names_directory(path: &[u8]) -> bool {
    ends_in_dot(path) || path.ends_with(b"//")
}

/// True for `a/.` and `a/./`, under which nothing can be made, moved or removed.
pub(super) fn ends_in_dot(path: &[u8]) -> bool {
    let path = path.strip_suffix(b"/").unwrap_or(path);
    path == b"." || path.ends_with(b"/.")
}

/// The names of a subvolume. A clone of a settled tree is cheap: it shares what is there.
#[derive(Debug, Clone)]
pub(super) struct Tree {
    layer: Layer,
    next: NodeId,
    hasher: RandomState,
    way: Way,
}

impl Tree {
    /// An empty subvolume, or one with things that are not known.
    pub(super) fn new(complete: bool) -> Self {
        let mut tree = Self {
            layer: Layer::default(),
            next: ROOT,
            hasher: RandomState::new(),
            way: Way::default(),
        };
        tree.add_node(Kind::Directory, complete);
        tree
    }

    /// Names, or what takes as much memory, that this tree does not share.
    pub(super) fn len(&self) -> usize {
        self.layer.len()
    }

    /// The same, of what it shares since it was settled, or was cloned from one that was.
    pub(super) fn shared_len(&self) -> usize {
        self.layer.len_below()
    }

    /// Makes everything that is known something to be shared. Returns how much of it is new.
    pub(super) fn settle(&mut self) -> usize {
        self.way.forget();
        let settled = std::mem::take(&mut self.layer).settled();
        let new = settled.len();
        self.layer = Layer::on(settled);
        new
    }

    pub(super) fn node(&self, id: NodeId) -> Option<Node> {
        self.layer.node(id)
    }

    pub(super) fn node_mut(&mut self, id: NodeId) -> Option<&mut Node> {
        self.layer.node_mut(id)
    }

    pub(super) fn kind(&self, id: NodeId) -> Option<Kind> {
        self.layer.node(id).map(|node| node.kind)
    }

    /// From now on, what is not known may be there all the same.
    pub(super) fn forget_completeness(&mut self) {
        self.layer.forget_completeness();
    }

    /// Looks a path up; what may be there and is not known is remembered as unknown from then
    /// on.
    pub(super) fn find(&mut self, path: &[u8]) -> Found {
        if let Some(node) = self.way.node(path) {
            let found = Found::Node(node);
            debug_assert!(self.peek(path).is_none_or(|known| known == found));
            return found;
        }
        let found = match self.split(path) {
            None => Found::Node(ROOT),
            Some((Found::Node(directory), name)) => {
                let found = self.find_in(directory, name);
                if let (Found::Node(node), Some(_)) = (found, last_name(path)) {
                    self.way.keep(path, directory, Some(node));
                }
                found
            }
            Some((missing, _)) => missing,
        };
        self.as_named(path, found)
    }

    /// What is no directory is not found under a path that can only be that of one.
    fn as_named(&self, path: &[u8], found: Found) -> Found {
        match found {
            Found::Node(id)
                if names_directory(path) && self.kind(id).is_some_and(Kind::is_no_directory) =>
            {
                Found::NotADirectory
            }
            found => found,
        }
    }

    /// Looks a path up; `None` where it may be there and is not known.
    pub(super) fn peek(&self, path: &[u8]) -> Option<Found> {
        let mut at = ROOT;
        let mut parts = parts(path).peekable();
        while let Some(part) = parts.next() {
            match self.kind(at)? {
                Kind::Directory => {}
                Kind::Unknown => return None,
                Kind::File | Kind::Symlink | Kind::Special => return Some(Found::NotADirectory),
            }
            match self.look(at, part) {
                Name::Taken(inside) => at = inside,
                Name::Unknown => return None,
                Name::Free if parts.peek().is_none() => return Some(Found::Nothing),
                Name::Free => return Some(Found::NoParent),
            }
        }
        Some(self.as_named(path, Found::Node(at)))
    }

    /// The directory of a path and the last part; `None` for the root.
    pub(super) fn split<'a>(&mut self, path: &'a [u8]) -> Option<(Found, &'a [u8])> {
        let Some((before, name)) = last_name(path) else {
            return self.split_all(path);
        };
        if let Some(directory) = self.way.directory(before) {
            let found = Found::Node(directory);
            debug_assert!(self.peek(before).is_none_or(|known| known == found));
            return Some((self.as_directory(directory), name));
        }
        let split = self.split_all(path);
        if let Some((Found::Node(directory), _)) = split {
            self.way.keep(path, directory, None);
        }
        split
    }

    /// The same, part by part.
    fn split_all<'a>(&mut self, path: &'a [u8]) -> Option<(Found, &'a [u8])> {
        let mut parts = parts(path).peekable();
        let mut directory = ROOT;
        while let Some(part) = parts.next() {
            if parts.peek().is_none() {
                return Some((self.as_directory(directory), part));
            }
            match self.find_in(directory, part) {
                Found::Node(inside) => directory = inside,
                Found::NotADirectory => return Some((Found::NotADirectory, part)),
                Found::Nothing | Found::NoParent => return Some((Found::NoParent, part)),
            }
        }
        None
    }

    /// A node that something is in, or is to be.
    fn as_directory(&self, id: NodeId) -> Found {
        match self.kind(id) {
            Some(Kind::Directory | Kind::Unknown) => Found::Node(id),
            _ => Found::NotADirectory,
        }
    }

    /// What is known of a name, without remembering anything.
    pub(super) fn look(&self, directory: NodeId, name: &[u8]) -> Name {
        match self.layer.entry(self.entry(directory, name)) {
            Some(Some(node)) => Name::Taken(node),
            Some(None) => Name::Free,
            None if self.node(directory).is_some_and(|node| node.complete) => Name::Free,
            None => Name::Unknown,
        }
    }

    fn find_in(&mut self, directory: NodeId, name: &[u8]) -> Found {
        match self.layer.entry(self.entry(directory, name)) {
            Some(Some(node)) => return Found::Node(node),
            Some(None) => return Found::Nothing,
            None => {}
        }
        let Some(node) = self.node(directory) else {
            return Found::NoParent;
        };
        match node.kind {
            Kind::Directory if node.complete => return Found::Nothing,
            Kind::Directory => {}
            // It has something inside, so it is one.
            Kind::Unknown => {
                if let Some(node) = self.node_mut(directory) {
                    node.kind = Kind::Directory;
                }
            }
            Kind::File | Kind::Symlink | Kind::Special => return Found::NotADirectory,
        }
        let unknown = self.add_node(Kind::Unknown, false);
        self.put(directory, name, unknown);
        Found::Node(unknown)
    }

    /// Makes a node under a name.
    pub(super) fn make(&mut self, directory: NodeId, name: &[u8], kind: Kind) -> NodeId {
        let id = self.add_node(kind, true);
        self.put(directory, name, id);
        id
    }

    /// Gives a node a (further) name.
    pub(super) fn put(&mut self, directory: NodeId, name: &[u8], node: NodeId) {
        let entry = self.entry(directory, name);
        if let Some(replaced) = self.layer.set_entry(entry, Some(node)) {
            self.way.forget();
            self.drop_name(replaced);
        } else if let Some(directory) = self.node_mut(directory) {
            directory.entries = directory.entries.saturating_add(1);
        }
        if let Some(node) = self.node_mut(node) {
            node.names = node.names.saturating_add(1);
            node.parent = directory;
        }
    }

    /// Takes a name away from its node.
    pub(super) fn take(&mut self, directory: NodeId, name: &[u8]) {
        let entry = self.entry(directory, name);
        // That it is gone has to be remembered where something else would be found.
        let taken = self.layer.set_entry(entry, None);
        if self.layer.is_lowest() && self.node(directory).is_none_or(|node| node.complete) {
            self.layer.forget_entry(entry);
        }
        let Some(taken) = taken else {
            return;
        };
        match self.kind(taken) {
            Some(kind) if kind.is_no_directory() => self.way.forget_node(),
            _ => self.way.forget(),
        }
        if let Some(directory) = self.node_mut(directory) {
            directory.entries = directory.entries.saturating_sub(1);
        }
        if let Some(node) = self.node_mut(taken) {
            node.names = node.names.saturating_sub(1);
        }
    }

    /// Forgets a node that has no name any more.
    pub(super) fn drop_nameless(&mut self, id: NodeId) {
        // What the parent snapshot had may have other names that are not known.
        if self.node(id).is_some_and(|node| node.names == 0) {
            self.layer.drop_node(id);
        }
    }

    /// Known entries of a directory.
    pub(super) fn entries_of(&self, id: NodeId) -> u32 {
        self.node(id).map_or(0, |node| node.entries)
    }

    /// Whether a node has this extended attribute; `None` where that is not known.
    pub(super) fn xattr(&self, id: NodeId, name: &[u8]) -> Option<bool> {
        let known = self.layer.xattr(self.entry(id, name));
        known.or_else(|| self.node(id).filter(|node| node.complete).map(|_| false))
    }

    pub(super) fn set_xattr(&mut self, id: NodeId, name: &[u8], is_set: bool) {
        self.layer.set_xattr(self.entry(id, name), is_set);
    }

    /// True when `inside` is `directory` or below it. A path has at most 4095 bytes, so the way
    /// up is short in any stream that was made by paths; the bound is for streams that were not.
    pub(super) fn is_inside(&self, inside: NodeId, directory: NodeId) -> bool {
        let mut at = inside;
        for _ in 0..4096 {
            if at == directory {
                return true;
            }
            match self.node(at) {
                Some(node) if at != ROOT => at = node.parent,
                _ => return false,
            }
        }
        false
    }

    fn drop_name(&mut self, id: NodeId) {
        if let Some(node) = self.node_mut(id) {
            node.names = node.names.saturating_sub(1);
        }
        self.drop_nameless(id);
    }

    fn add_node(&mut self, kind: Kind, complete: bool) -> NodeId {
        let id = self.next;
        // Four billion commands that make something are more than a stream has; beyond them
        // the last node stands for all.
        self.next = self.next.saturating_add(1);
        let node = Node {
            kind,
            complete,
            size: 0,
            size_is_known: kind == Kind::File,
            names: 0,
            entries: 0,
            parent: ROOT,
        };
        self.layer.add_node(id, node);
        id
    }

    fn entry(&self, node: NodeId, name: &[u8]) -> Entry {
        (node, self.hasher.hash_one(name))
    }
}
