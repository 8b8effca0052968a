//! What a subvolume holds: as the generator thinks, and as it is on the filesystem.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use bytes::Bytes;

/// What a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Directory,
    File,
    Symlink,
    Fifo,
    Socket,
    Device,
}

/// A file, directory or the like.
#[derive(Debug, Clone)]
pub struct Node {
    pub kind: Kind,
    /// Bytes of a file.
    pub size: u64,
    pub xattrs: BTreeSet<Bytes>,
}

/// Number of a node; stays the same when it is renamed.
pub type Id = usize;

/// A subvolume; its own path is empty.
#[derive(Debug, Clone)]
pub struct Tree {
    names: BTreeMap<Bytes, Id>,
    nodes: Vec<Node>,
}

impl Tree {
    pub fn new() -> Self {
        let mut tree = Self {
            names: BTreeMap::new(),
            nodes: Vec::new(),
        };
        tree.make("".into(), Kind::Directory);
        tree
    }

    pub fn make(&mut self, path: Bytes, kind: Kind) {
        self.names.insert(path, self.nodes.len());
        self.nodes.push(Node {
            kind,
            size: 0,
            xattrs: BTreeSet::new(),
        });
    }

    pub fn id(&self, path: &[u8]) -> Option<Id> {
        self.names.get(path).copied()
    }

    pub fn node(&self, path: &[u8]) -> Option<&Node> {
        self.id(path).map(|id| &self.nodes[id])
    }

    pub fn node_mut(&mut self, path: &[u8]) -> &mut Node {
        let id = self.id(path).unwrap();
        &mut self.nodes[id]
    }

    pub fn kind(&self, path: &[u8]) -> Option<Kind> {
        self.node(path).map(|node| node.kind)
    }

    /// The paths of nodes of some kinds, the subvolume itself among the directories.
    pub fn paths(&self, wanted: impl Fn(Kind) -> bool) -> Vec<Bytes> {
        let of_kind = |&(_, &id): &(&Bytes, &Id)| wanted(self.nodes[id].kind);
        let names = self.names.iter().filter(of_kind);
        names.map(|(path, _)| path.clone()).collect()
    }

    /// True where nothing is inside.
    pub fn is_empty(&self, directory: &[u8]) -> bool {
        !self.names.keys().any(|path| is_inside(path, directory))
    }

    pub fn link(&mut self, path: Bytes, to: &[u8]) {
        let id = self.id(to).unwrap();
        self.names.insert(path, id);
    }

    pub fn remove(&mut self, path: &[u8]) {
        self.names.remove(path);
    }

    /// Moves a name with everything inside.
    pub fn rename(&mut self, from: &[u8], to: &[u8]) {
        let moved: Vec<Bytes> = self
            .names
            .keys()
            .filter(|path| &path[..] == from || is_inside(path, from))
            .cloned()
            .collect();
        for old in moved {
            let id = self.names.remove(&old).unwrap();
            let new = [to, &old[from.len()..]].concat();
            self.names.insert(new.into(), id);
        }
    }

    /// How it differs from a directory on a filesystem; empty where it does not.
    pub fn differences(&self, root: &Path) -> Vec<String> {
        let mut differences = Vec::new();
        let mut there = BTreeMap::new();
        read(root, b"", &mut there);
        for (path, &id) in &self.names {
            let node = &self.nodes[id];
            let names = self.names.values().filter(|&&other| other == id).count();
            let links = if node.kind == Kind::Directory {
                1
            } else {
                names
            };
            let expected = (node.kind, node.size, links as u64);
            let got = there.remove(&path[..]);
            if got != Some(expected) {
                differences.push(format!("{path:?}: {expected:?} expected, got {got:?}"));
            }
        }
        differences.extend(there.keys().map(|path| {
            let path = Bytes::copy_from_slice(path);
            format!("{path:?}: nothing expected")
        }));
        differences
    }
}

/// True for what is anywhere inside a directory.
pub fn is_inside(path: &[u8], directory: &[u8]) -> bool {
    if directory.is_empty() {
        return !path.is_empty();
    }
    let rest = path.strip_prefix(directory);
    rest.is_some_and(|rest| rest.starts_with(b"/"))
}

/// The path of a name in a directory.
pub fn join(directory: &[u8], name: &[u8]) -> Bytes {
    if directory.is_empty() {
        Bytes::copy_from_slice(name)
    } else {
        [directory, b"/", name].concat().into()
    }
}

/// Kinds, sizes and links of everything below a path.
fn read(root: &Path, path: &[u8], there: &mut BTreeMap<Vec<u8>, (Kind, u64, u64)>) {
    let full = root.join(std::ffi::OsStr::from_bytes(path));
    let metadata = fs::symlink_metadata(&full).unwrap();
    let of_type = metadata.file_type();
    let kind = match () {
        () if of_type.is_dir() => Kind::Directory,
        () if of_type.is_file() => Kind::File,
        () if of_type.is_symlink() => Kind::Symlink,
        () if of_type.is_fifo() => Kind::Fifo,
        () if of_type.is_socket() => Kind::Socket,
        () => Kind::Device,
    };
    let size = if kind == Kind::File {
        metadata.len()
    } else {
        0
    };
    let links = if kind == Kind::Directory {
        1
    } else {
        metadata.nlink()
    };
    there.insert(path.to_vec(), (kind, size, links));
    if kind == Kind::Directory {
        for entry in fs::read_dir(&full).unwrap() {
            let name = entry.unwrap().file_name();
            read(root, &join(path, name.as_bytes()), there);
        }
    }
}
