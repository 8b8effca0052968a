//! The parent's tree, looked at from below: which names an inode has, and which file a new one
//! may be the same as.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;

use super::super::error::PackError;
use super::super::names::InodeId;
use super::super::temporary::temporary;
use super::stored::{Parent, Streams};
use crate::rules::Target;
use crate::send_stream::Timespec;
use crate::tree::{Inode, Kind, Step, TOP, Tree, TreeError};

/// What temporary names begin to count from, as inode numbers do.
const FIRST: u64 = 257;

/// Files of the same size, time and name that are looked at.
const MOST_LIKE: usize = 64;

/// Number of an inode of the parent.
pub(in super::super) type OldId = u32;

/// A name of the parent.
#[derive(Debug)]
pub(in super::super) struct OldName {
    pub(in super::super) directory: OldId,
    pub(in super::super) name: Arc<[u8]>,
    pub(in super::super) id: OldId,
    /// The next name of the same inode.
    next: Option<u32>,
}

/// The parent's tree.
pub(in super::super) struct Old {
    pub(in super::super) tree: Tree,
    streams: Arc<dyn Streams>,
    /// All names, each directory before what is in it.
    pub(in super::super) names: Vec<OldName>,
    /// The first name of each inode, as a number of the list above.
    first: HashMap<OldId, u32>,
    /// Files, as numbers of names, sorted by size, time and name.
    files: Vec<u32>,
    /// Which new inode is which old one.
    pub(in super::super) claims: HashMap<OldId, InodeId>,
    /// A directory of the new tree, and the one of the parent in which a file like one of it was.
    last_directory: Option<(Bytes, OldId)>,
    /// Temporary names made so far.
    temporary: u64,
}

impl std::fmt::Debug for Old {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Old")
            .field("names", &self.names.len())
            .finish_non_exhaustive()
    }
}

/// A file of the parent that a new one is compared with.
pub(in super::super) struct Base {
    pub(in super::super) id: OldId,
    pub(in super::super) inode: Arc<Inode>,
    /// One of its paths, in the parent.
    pub(in super::super) path: Bytes,
    /// The new file is this one, under the same name: what differs is written into it. Otherwise
    /// what is the same is cloned from it.
    pub(in super::super) in_place: bool,
    pub(in super::super) streams: Arc<dyn Streams>,
}

impl std::fmt::Debug for Base {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Base")
            .field("path", &self.path)
            .field("in_place", &self.in_place)
            .finish_non_exhaustive()
    }
}

impl Base {
    /// A range of it can be cloned: it ends at a sector, or at the end of the file.
    pub(in super::super) fn has_end(&self, offset: u64, len: u64, target: &Target) -> bool {
        let end = offset.saturating_add(len);
        let size = self.inode.size();
        end <= size && (end.is_multiple_of(target.sector_size.into()) || end == size)
    }

    pub(in super::super) fn is_in_place(&self) -> bool {
        self.in_place
    }

    /// The size that the file has before anything is written into it.
    pub(in super::super) fn size_in_place(&self) -> u64 {
        if self.in_place { self.inode.size() } else { 0 }
    }

    pub(in super::super) fn error(&self, source: TreeError) -> PackError {
        let path = self.path.clone();
        PackError::Parent { path, source }
    }
}

impl Old {
    pub(in super::super) fn new(parent: &Parent) -> Result<Self, TreeError> {
        let mut old = Self {
            tree: parent.tree.clone(),
            streams: Arc::clone(&parent.streams),
            names: Vec::new(),
            first: HashMap::new(),
            files: Vec::new(),
            claims: HashMap::from([(TOP, 0)]),
            last_directory: None,
            temporary: 0,
        };
        old.index()?;
        Ok(old)
    }

    fn index(&mut self) -> Result<(), TreeError> {
        let tree = self.tree.clone();
        let mut walk = tree.walk(b"").ok_or(TreeError::NoSubvolume)?;
        let mut directories = Vec::new();
        // The last known name of each inode with several.
        let mut last = HashMap::<OldId, u32>::new();
        while let Some(step) = walk.next()? {
            let visit = match step {
                Step::Leave(_) => {
                    directories.pop();
                    continue;
                }
                Step::Enter(visit) => visit,
            };
            let id = visit.id;
            if let Some(&directory) = directories.last() {
                let number = u32::try_from(self.names.len()).unwrap_or(u32::MAX);
                self.names.push(OldName {
                    directory,
                    name: visit.name.into(),
                    id,
                    next: None,
                });
                if visit.inode.links() > 1
                    && let Some(before) = last.insert(id, number)
                    && let Some(before) = self.names.get_mut(before as usize)
                {
                    before.next = Some(number);
                } else {
                    self.first.insert(id, number);
                }
                if *visit.inode.kind() == Kind::File {
                    self.files.push(number);
                }
            }
            if visit.inode.is_directory() {
                directories.push(id);
            }
        }
        let mut files = std::mem::take(&mut self.files);
        files.sort_by(|&a, &b| self.file_key(a).cmp(&self.file_key(b)).then(a.cmp(&b)));
        self.files = files;
        Ok(())
    }

    fn file_key(&self, number: u32) -> Option<(u64, Timespec, &[u8])> {
        let name = self.names.get(number as usize)?;
        let inode = self.tree.inode(name.id)?;
        Some((inode.size(), inode.times().mtime, &name.name))
    }

    /// The names of an inode.
    pub(in super::super) fn names_of(&self, id: OldId) -> impl Iterator<Item = (u32, &OldName)> {
        let number = self.first.get(&id).copied();
        let name = move |number: u32| Some((number, self.names.get(number as usize)?));
        std::iter::successors(number.and_then(name), move |(_, old)| name(old.next?))
    }

    /// A path of an inode in the parent.
    pub(in super::super) fn path(&self, id: OldId) -> Bytes {
        let mut parts: Vec<&[u8]> = Vec::new();
        let mut at = id;
        while at != TOP
            && let Some((_, name)) = self.names_of(at).next()
        {
            parts.push(&name.name);
            at = name.directory;
        }
        parts.reverse();
        parts.join(&b'/').into()
    }

    /// The file that a new one of this path is compared with, if there is any: the one of that
    /// path, or one that has the same size and time.
    pub(in super::super) fn base(
        &mut self,
        path: &Bytes,
        mtime: Timespec,
        size: Option<u64>,
        inode: InodeId,
    ) -> Option<Base> {
        let is_file = |id: &OldId| {
            self.tree
                .inode(*id)
                .is_some_and(|i| *i.kind() == Kind::File)
        };
        let here = self.tree.find(path).filter(is_file);
        let has_time = |id: OldId| {
            self.tree
                .inode(id)
                .is_some_and(|i| i.times().mtime == mtime)
        };
        let moved = match (here, size) {
            (Some(id), _) if has_time(id) => None,
            (_, None) => None,
            (_, Some(size)) => self.like((size, mtime), path),
        };
        let id = moved.or(here)?;
        let in_place = moved.is_none() && !self.claims.contains_key(&id);
        if in_place {
            self.claims.insert(id, inode);
        }
        Some(Base {
            id,
            inode: Arc::clone(self.tree.inode(id)?),
            path: if moved.is_none() {
                path.clone()
            } else {
                self.path(id)
            },
            in_place,
            streams: Arc::clone(&self.streams),
        })
    }

    /// A file of the parent, from which a new one is cloned.
    pub(in super::super) fn other(&self, id: OldId) -> Option<Base> {
        Some(Base {
            id,
            inode: Arc::clone(self.tree.inode(id)?),
            path: self.path(id),
            in_place: false,
            streams: Arc::clone(&self.streams),
        })
    }

    /// A file of this size and time: of the same name, at best in the directory in which the one found
    /// last was, or of any name where it has data.
    fn like(&mut self, mark: (u64, Timespec), path: &[u8]) -> Option<OldId> {
        let name = path.rsplit(|&byte| byte == b'/').next()?;
        let directory = path.strip_suffix(name).unwrap_or_default();
        let key = |number: u32| self.file_key(number);
        let from = |name: &[u8]| {
            let wanted = Some((mark.0, mark.1, name));
            let start = self.files.partition_point(|&number| key(number) < wanted);
            let like = self.files.get(start..).unwrap_or_default().iter();
            like.map_while(|&number| self.names.get(number as usize))
        };
        let is_it = |old: &&OldName, name: Option<&[u8]>| {
            let inode = self.tree.inode(old.id);
            let of = inode.map(|inode| (inode.size(), inode.times().mtime));
            of == Some(mark) && name.is_none_or(|name| *old.name == *name)
        };
        let beside = self.last_directory.as_ref();
        let beside = beside
            .filter(|(new, _)| *new == directory)
            .map(|(_, old)| *old);
        let named = || from(name).take_while(|old| is_it(old, Some(name)));
        let found = named()
            .take(MOST_LIKE)
            .find(|old| Some(old.directory) == beside)
            .or_else(|| named().next());
        let (old, directory_of) = match found {
            Some(old) => (old.id, Some(old.directory)),
            None => {
                let mut any = from(b"").filter(|_| mark.0 > 0);
                (any.next().filter(|old| is_it(old, None))?.id, None)
            }
        };
        if let Some(old) = directory_of {
            self.last_directory = Some((Bytes::copy_from_slice(directory), old));
        }
        Some(old)
    }

    /// A name at the top that nothing in the parent has, in the way of the kernel's own.
    pub(in super::super) fn temporary(&mut self, is_free: impl Fn(&[u8]) -> bool) -> Bytes {
        let number = self.temporary.saturating_add(FIRST);
        self.temporary = self.temporary.saturating_add(1);
        let is_new = |name: &[u8]| self.tree.child(TOP, name).is_none();
        temporary(number, |name| is_new(name) && is_free(name))
    }
}
