//! Going through a tree: each directory before what is in it, names sorted by their bytes.

use std::sync::Arc;

use super::error::TreeError;
use super::inode::Inode;
use super::names::{NodeId, Tree, parts};

/// Directories that may be in each other. Paths of 4095 bytes lead 2048 deep; what was put
/// together by renaming can be deeper, and takes a path that grows with each step.
pub const MAX_DEPTH: usize = 16 * 1024;

/// An entry that a walk comes to.
#[derive(Debug, Clone, Copy)]
pub struct Visit<'a> {
    /// The last part of the path; empty for the top directory.
    pub name: &'a [u8],
    /// What it is.
    pub inode: &'a Arc<Inode>,
    /// The same number for all names of an inode, and for no other.
    pub id: u32,
    /// Directories that it is in, below where the walk began.
    pub depth: usize,
}

/// A step of a walk.
#[derive(Debug, Clone, Copy)]
pub enum Step<'a> {
    /// An entry; the next ones are in it, where it is a directory.
    Enter(Visit<'a>),
    /// A directory of which everything has been visited.
    Leave(Visit<'a>),
}

/// A walk through a tree.
pub struct Walk<'a> {
    tree: &'a Tree,
    /// The entry it begins at, before that was visited.
    first: Option<Visit<'a>>,
    open: Vec<Open<'a>>,
    path: Vec<u8>,
}

/// A directory on the way.
struct Open<'a> {
    visit: Visit<'a>,
    rest: Box<dyn Iterator<Item = (&'a Arc<[u8]>, NodeId)> + Send + 'a>,
    /// Bytes of its path.
    path_len: usize,
}

/// By hand, as the rest of a directory is an iterator.
impl std::fmt::Debug for Walk<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Walk")
            .field("path", &self.path)
            .field("depth", &self.open.len())
            .finish_non_exhaustive()
    }
}

impl Tree {
    /// A walk through what is at a path; `None` where nothing is. The empty path is all.
    #[must_use]
    pub fn walk<'a>(&'a self, path: &[u8]) -> Option<Walk<'a>> {
        let id = self.find(path)?;
        let name = match self.place(path) {
            Some((directory, name)) => self.children_from(directory, name).next()?.0,
            None => &[][..],
        };
        let first = Visit {
            name,
            inode: self.inode(id)?,
            id,
            depth: 0,
        };
        Some(Walk {
            tree: self,
            first: Some(first),
            open: Vec::new(),
            path: parts(path).collect::<Vec<_>>().join(&b'/'),
        })
    }
}

impl<'a> Walk<'a> {
    /// The next step; `None` at the end.
    ///
    /// # Errors
    /// [`TreeError::TooDeep`].
    #[allow(clippy::should_implement_trait)] // the path is borrowed between steps
    pub fn next(&mut self) -> Result<Option<Step<'a>>, TreeError> {
        if let Some(first) = self.first.take() {
            self.enter(first)?;
            return Ok(Some(Step::Enter(first)));
        }
        let depth = self.open.len();
        let Some(open) = self.open.last_mut() else {
            return Ok(None);
        };
        self.path.truncate(open.path_len);
        for (name, id) in open.rest.by_ref() {
            let Some(inode) = self.tree.inode(id) else {
                continue;
            };
            if !self.path.is_empty() {
                self.path.push(b'/');
            }
            self.path.extend_from_slice(name);
            let visit = Visit {
                name,
                inode,
                id,
                depth,
            };
            self.enter(visit)?;
            return Ok(Some(Step::Enter(visit)));
        }
        let visit = open.visit;
        self.open.pop();
        Ok(Some(Step::Leave(visit)))
    }

    /// The path of the entry that the last step was about, from the top of the tree.
    #[must_use]
    pub fn path(&self) -> &[u8] {
        &self.path
    }

    /// Leaves out what is in the directory that the last step has entered.
    pub fn skip_contents(&mut self) {
        if let Some(open) = self.open.last_mut() {
            open.rest = Box::new(std::iter::empty());
        }
    }

    fn enter(&mut self, visit: Visit<'a>) -> Result<(), TreeError> {
        if !visit.inode.is_directory() {
            return Ok(());
        }
        if self.open.len() >= MAX_DEPTH {
            return Err(TreeError::TooDeep { limit: MAX_DEPTH });
        }
        self.open.push(Open {
            visit,
            rest: Box::new(self.tree.children(visit.id)),
            path_len: self.path.len(),
        });
        Ok(())
    }
}
