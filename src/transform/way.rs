//! Where the path that was looked up last leads.
//!
//! Commands that follow each other are mostly about one file, and then about another one in the same
//! directory. Whoever takes a name away, moves it, or puts something else under it, has to say so.

/// Number of a file, directory or the like.
type NodeId = u32;

/// A path, the directory it is in, and what is there.
#[derive(Debug, Clone, Default)]
pub(crate) struct Way {
    path: Vec<u8>,
    directory: Option<NodeId>,
    node: Option<NodeId>,
}

/// The directory of a path and the last part of it, where that is a name: the path ends neither in
/// a slash nor in `.`.
pub(crate) fn last_name(path: &[u8]) -> Option<(&[u8], &[u8])> {
    let slash = path.iter().rposition(|&byte| byte == b'/');
    let (directory, name) = match slash {
        Some(slash) => (path.get(..slash)?, path.get(slash.saturating_add(1)..)?),
        None => (&[][..], path),
    };
    (!matches!(name, b"" | b".")).then_some((directory, name))
}

impl Way {
    /// What is at a path.
    pub(crate) fn node(&self, path: &[u8]) -> Option<NodeId> {
        self.node.filter(|_| self.path == path)
    }

    /// The directory that a path names, where the last path was one in it.
    pub(crate) fn directory(&self, path: &[u8]) -> Option<NodeId> {
        self.directory.filter(|_| {
            let (directory, _) = last_name(&self.path).unwrap_or_default();
            directory == path
        })
    }

    /// Remembers a path with a name at its end.
    pub(crate) fn keep(&mut self, path: &[u8], directory: NodeId, node: Option<NodeId>) {
        if self.path != path {
            self.path.clear();
            self.path.extend_from_slice(path);
        }
        self.directory = Some(directory);
        self.node = node;
    }

    /// Directories lead elsewhere now.
    pub(crate) fn forget(&mut self) {
        *self = Self::default();
    }

    /// A name leads elsewhere, and no directory.
    pub(crate) fn forget_node(&mut self) {
        self.node = None;
    }
}
