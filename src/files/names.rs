//! What the files that show an extent are called.

use std::collections::HashMap;
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};

use super::directories::DEEPEST;
use super::map::Map;
use super::references::{Reference, References};
use super::scope::Included;
use crate::ioctl::{self, Key, QueryError};

/// A file as people know it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Name {
    /// A path that begins with one that was asked for, as bytes.
    Path(Vec<u8>),
    /// Below none of them: the path of the subvolume from the top of the filesystem, and that of
    /// the file in it, as bytes.
    Elsewhere {
        /// The subvolume; empty for the top.
        subvolume: Vec<u8>,
        /// The file in it.
        path: Vec<u8>,
    },
    /// A file that has no name any more, or one that cannot be found out.
    Nameless,
}

/// A place where a file shows a part of an extent, with the names of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Place {
    /// The place.
    pub reference: Reference,
    /// Never empty: one [`Name::Nameless`] where there is no name; several for hard links, as many
    /// as fit 4 KiB.
    pub names: Vec<Name>,
}

/// Names files; remembers what subvolumes are called.
///
/// Names are those of the last transaction: `syncfs` first, as [`super::verify`] does.
#[derive(Debug)]
pub struct Names<'a> {
    map: &'a Map,
    references: References<BorrowedFd<'a>>,
    /// The path of each subvolume that is looked at as a whole.
    whole: HashMap<u64, Vec<u8>>,
    /// Other paths that were asked for, by subvolume.
    directories: HashMap<u64, Vec<Asked>>,
    /// The same by subvolume and inode.
    files: HashMap<(u64, u64), Vec<u8>>,
    /// What other subvolumes are called.
    subvolumes: HashMap<u64, Vec<u8>>,
}

/// A directory that was asked for.
#[derive(Debug)]
struct Asked {
    /// Its path from the top of its subvolume.
    inside: Vec<u8>,
    /// As it was asked for.
    path: Vec<u8>,
}

impl<'a> Names<'a> {
    /// For the extents of a map. Needs `CAP_SYS_ADMIN`.
    #[must_use]
    pub fn new(map: &'a Map) -> Self {
        let mut names = Self {
            map,
            references: References::new(map.top().as_fd()),
            whole: HashMap::new(),
            directories: HashMap::new(),
            files: HashMap::new(),
            subvolumes: HashMap::new(),
        };
        for included in &map.included {
            let &Included { id, inode, .. } = included;
            let path = map.directories.path(included.directory);
            if included.whole {
                names.whole.insert(id, path);
                continue;
            }
            // A file has nothing below it, and a directory shows no extent.
            if let Ok(inside) = ioctl::directory_path(map.top(), id, inode) {
                let asked = Asked {
                    inside,
                    path: path.clone(),
                };
                names.directories.entry(id).or_default().push(asked);
            }
            names.files.insert((id, inode), path);
        }
        names
    }

    /// Gives `each` every place where a file of the filesystem shows a part of the extent at this
    /// address, in the order of [`References::of`]. True where some are missing
    /// ([`super::Found::truncated`]).
    ///
    /// # Errors
    /// [`QueryError`], or what `each` returns.
    pub fn of_extent<E: From<QueryError>>(
        &mut self,
        bytenr: u64,
        mut each: impl FnMut(Place) -> Result<(), E>,
    ) -> Result<bool, E> {
        let found = self.references.of(bytenr)?;
        // A file often shows an extent in several places.
        let mut last: Option<((u64, u64), Vec<Name>)> = None;
        for reference in found.references {
            let file = (reference.root, reference.inode);
            let names = match last.take() {
                Some((of, names)) if of == file => names,
                _ => self.of_file(file.0, file.1)?,
            };
            last = Some((file, names.clone()));
            each(Place { reference, names })?;
        }
        Ok(found.truncated)
    }

    /// The names of a file.
    ///
    /// # Errors
    /// [`QueryError`].
    pub fn of_file(&mut self, root: u64, inode: u64) -> Result<Vec<Name>, QueryError> {
        if let Some(path) = self.files.get(&(root, inode)) {
            return Ok(vec![Name::Path(path.clone())]);
        }
        let paths = match ioctl::open_inode(self.map.top(), root, inode, None) {
            Ok(file) => ioctl::paths_of(file, inode)?,
            Err(QueryError::Gone { .. }) => Vec::new(),
            Err(error) => return Err(error),
        };
        let mut names = Vec::with_capacity(paths.len());
        for path in paths {
            names.push(self.name(root, path)?);
        }
        if names.is_empty() {
            names.push(Name::Nameless);
        }
        Ok(names)
    }

    fn name(&mut self, root: u64, path: Vec<u8>) -> Result<Name, QueryError> {
        if let Some(top) = self.whole.get(&root) {
            return Ok(Name::Path(joined(top, &path)));
        }
        for asked in self.directories.get(&root).into_iter().flatten() {
            let rest = path.strip_prefix(asked.inside.as_slice());
            if let Some(rest) = rest.and_then(|rest| rest.strip_prefix(b"/")) {
                return Ok(Name::Path(joined(&asked.path, rest)));
            }
        }
        Ok(Name::Elsewhere {
            subvolume: self.subvolume(root)?,
            path,
        })
    }

    /// The path of a subvolume from the top of the filesystem.
    fn subvolume(&mut self, root: u64) -> Result<Vec<u8>, QueryError> {
        if let Some(path) = self.subvolumes.get(&root) {
            return Ok(path.clone());
        }
        let path = path_of_subvolume(self.map.top(), root)?;
        self.subvolumes.insert(root, path.clone());
        Ok(path)
    }
}

fn path_of_subvolume(top: &File, root: u64) -> Result<Vec<u8>, QueryError> {
    let mut path = Vec::new();
    let mut below = root;
    // No path has more names; a damaged tree may go in a circle.
    for _ in 0..DEEPEST {
        let info = ioctl::subvolume(ioctl::open_inode(top, below, Key::FIRST, None)?)?;
        if info.parent == 0 {
            break;
        }
        let directory = ioctl::directory_path(top, info.parent, info.directory)?;
        path = joined(&joined(&directory, &info.name), &path);
        below = info.parent;
    }
    Ok(path)
}

fn joined(path: &[u8], rest: &[u8]) -> Vec<u8> {
    let slash: &[u8] = match (path.last(), rest) {
        (None | Some(b'/'), _) | (_, []) => b"",
        _ => b"/",
    };
    [path, slash, rest].concat()
}
