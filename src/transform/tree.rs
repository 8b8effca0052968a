//! The names that a stream has made, as far as they can be known.
//!
//! A node for each file, an entry for each name. An entry is found by its directory's node and
//! a keyed hash of its name, so renaming a directory moves one entry, however much is inside.
//! Two names of one directory are taken for one when their 64-bit hashes are the same, which
//! by chance does not happen in a stream that a disk can hold, and cannot be brought about, as
//! the key is random.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;

/// Number of a node. They are not used again, so a stale one is never taken for another.
pub(super) type NodeId = u32;

/// The subvolume itself.
pub(super) const ROOT: NodeId = 0;

/// What a node is, as far as is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Something of the parent snapshot.
    Unknown,
    Directory,
    File,
    /// A device, pipe, socket or symbolic link.
    Other,
}

/// A file, directory or the like.
#[derive(Debug, Clone, Copy)]
pub(super) struct Node {
    pub(super) kind: Kind,
    /// Everything inside was made by this stream: what is not known is not there.
    pub(super) complete: bool,
    /// Size of a file, bytes; `None` where it is that of the parent snapshot.
    pub(super) size: Option<u64>,
    /// Names of the node.
    names: u32,
    /// Known entries of a directory.
    entries: u32,
    /// The directory that a directory is in.
    parent: NodeId,
}

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

/// There would be more names than may be remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Full;

/// An entry: its directory and the hash of its name.
type Entry = (NodeId, u64);

#[derive(Debug)]
pub(super) struct Tree {
    /// `None` stands for a name that is known not to be there.
    entries: HashMap<Entry, Option<NodeId>>,
    nodes: HashMap<NodeId, Node>,
    next: NodeId,
    hasher: RandomState,
    limit: usize,
}

impl Tree {
    /// An empty subvolume, or one with things that are not known. At most `limit` names are
    /// remembered, at some 70 bytes each.
    pub(super) fn new(complete: bool, limit: usize) -> Self {
        let mut tree = Self {
            entries: HashMap::new(),
            nodes: HashMap::new(),
            next: ROOT,
            hasher: RandomState::new(),
            limit,
        };
        tree.add_node(Kind::Directory, complete);
        tree
    }

    pub(super) fn node(&mut self, id: NodeId) -> Option<&mut Node> {
        self.nodes.get_mut(&id)
    }

    /// From now on, what is not known may be there all the same.
    pub(super) fn forget_completeness(&mut self) {
        for node in self.nodes.values_mut() {
            node.complete = false;
            node.size = None;
        }
    }

    /// Looks a path up; what may be there and is not known is remembered as unknown from then
    /// on.
    pub(super) fn find(&mut self, path: &[u8]) -> Result<Found, Full> {
        let Some((directory, name)) = self.split(path)? else {
            return Ok(Found::Node(ROOT));
        };
        match directory {
            Found::Node(directory) => self.find_in(directory, name),
            missing => Ok(missing),
        }
    }

    /// The directory of a path and the last part; `None` for the root.
    pub(super) fn split<'a>(&mut self, path: &'a [u8]) -> Result<Option<(Found, &'a [u8])>, Full> {
        if path.is_empty() {
            return Ok(None);
        }
        let mut parts = path.split(|&byte| byte == b'/').peekable();
        let mut directory = ROOT;
        while let Some(part) = parts.next() {
            if parts.peek().is_none() {
                let found = match self.nodes.get(&directory).map(|node| node.kind) {
                    Some(Kind::Directory | Kind::Unknown) => Found::Node(directory),
                    _ => Found::NotADirectory,
                };
                return Ok(Some((found, part)));
            }
            match self.find_in(directory, part)? {
                Found::Node(inside) => directory = inside,
                Found::NotADirectory => return Ok(Some((Found::NotADirectory, part))),
                Found::Nothing | Found::NoParent => return Ok(Some((Found::NoParent, part))),
            }
        }
        Ok(None)
    }

    /// What is known of a name, without remembering anything.
    pub(super) fn look(&self, directory: NodeId, name: &[u8]) -> Name {
        match self.entries.get(&self.entry(directory, name)) {
            Some(Some(node)) => Name::Taken(*node),
            Some(None) => Name::Free,
            None if self.nodes.get(&directory).is_some_and(|d| d.complete) => Name::Free,
            None => Name::Unknown,
        }
    }

    fn find_in(&mut self, directory: NodeId, name: &[u8]) -> Result<Found, Full> {
        let entry = self.entry(directory, name);
        match self.entries.get(&entry) {
            Some(Some(node)) => return Ok(Found::Node(*node)),
            Some(None) => return Ok(Found::Nothing),
            None => {}
        }
        let Some(node) = self.nodes.get_mut(&directory) else {
            return Ok(Found::NoParent);
        };
        match node.kind {
            Kind::Directory if node.complete => return Ok(Found::Nothing),
            Kind::Directory => {}
            // It has something inside, so it is one.
            Kind::Unknown => node.kind = Kind::Directory,
            Kind::File | Kind::Other => return Ok(Found::NotADirectory),
        }
        let unknown = self.add_node(Kind::Unknown, false);
        self.put(directory, name, unknown)?;
        Ok(Found::Node(unknown))
    }

    /// Makes a node under a name.
    pub(super) fn make(&mut self, directory: NodeId, name: &[u8], kind: Kind) -> Result<(), Full> {
        let id = self.add_node(kind, true);
        self.put(directory, name, id)
    }

    /// Gives a node a (further) name.
    pub(super) fn put(&mut self, directory: NodeId, name: &[u8], node: NodeId) -> Result<(), Full> {
        if self.entries.len() >= self.limit {
            return Err(Full);
        }
        let entry = self.entry(directory, name);
        if let Some(Some(replaced)) = self.entries.insert(entry, Some(node)) {
            self.drop_name(replaced);
        } else if let Some(directory) = self.nodes.get_mut(&directory) {
            directory.entries = directory.entries.saturating_add(1);
        }
        if let Some(node) = self.nodes.get_mut(&node) {
            node.names = node.names.saturating_add(1);
            node.parent = directory;
        }
        Ok(())
    }

    /// Takes a name away from its node.
    pub(super) fn take(&mut self, directory: NodeId, name: &[u8]) -> Option<NodeId> {
        let entry = self.entry(directory, name);
        let taken = self.entries.remove(&entry).flatten();
        if let Some(node) = self.nodes.get_mut(&directory) {
            if taken.is_some() {
                node.entries = node.entries.saturating_sub(1);
            }
            // Where not everything is known, it has to be remembered that this is gone.
            if !node.complete {
                self.entries.insert(entry, None);
            }
        }
        if let Some(node) = taken {
            self.nodes.entry(node).and_modify(|node| {
                node.names = node.names.saturating_sub(1);
            });
        }
        taken
    }

    /// Forgets a node that has no name any more.
    pub(super) fn drop_nameless(&mut self, id: NodeId) {
        // What the parent snapshot had may have other names that are not known.
        if self.nodes.get(&id).is_some_and(|node| node.names == 0) {
            self.nodes.remove(&id);
        }
    }

    /// Known entries of a directory.
    pub(super) fn entries_of(&self, id: NodeId) -> u32 {
        self.nodes.get(&id).map_or(0, |node| node.entries)
    }

    /// True when `inside` is `directory` or below it. A path has at most 4095 bytes, so the way
    /// up is short in any stream that was made by paths; the bound is for streams that were not.
    pub(super) fn is_inside(&self, inside: NodeId, directory: NodeId) -> bool {
        let mut at = inside;
        for _ in 0..4096 {
            if at == directory {
                return true;
            }
            match self.nodes.get(&at) {
                Some(node) if at != ROOT => at = node.parent,
                _ => return false,
            }
        }
        false
    }

    fn drop_name(&mut self, id: NodeId) {
        if let Some(node) = self.nodes.get_mut(&id) {
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
            size: (kind == Kind::File).then_some(0),
            names: 0,
            entries: 0,
            parent: ROOT,
        };
        self.nodes.insert(id, node);
        id
    }

    fn entry(&self, directory: NodeId, name: &[u8]) -> Entry {
        (directory, self.hasher.hash_one(name))
    }
}
