//! What the paths mean: subvolumes as wholes, or the inodes below a directory.
//!
//! A path to the top of a subvolume means all of that subvolume, and all subvolumes and snapshots
//! that lie in it. A directory means what is below it, the subvolumes there included. Directories
//! are read from the trees, not by opening them: mounts in between hide nothing.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fs::File;
use std::ops::RangeInclusive;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use btrfs_payload_common::Cursor;

use super::directories::{Directories, DirectoryId};
use super::error::FilesError;
use crate::ioctl::{self, Filesystem, Items, Key, QueryError};

/// Pieces that a whole subvolume is cut into, for several threads.
const PIECES: u64 = 16;
/// `BTRFS_FT_DIR` (include/uapi/linux/btrfs_tree.h).
const FT_DIR: u8 = 2;

/// A subvolume or snapshot that is looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Included {
    /// Its number.
    pub id: u64,
    /// Nobody may write to it.
    pub read_only: bool,
    /// All of it is looked at; else what is below a path.
    pub whole: bool,
    /// Its top directory, or the path that was asked for.
    pub directory: DirectoryId,
    /// The inode of that.
    pub inode: u64,
}

/// Inodes of a subvolume to look at.
#[derive(Debug, Clone, Copy)]
pub(super) struct Piece {
    pub(super) root: u64,
    pub(super) first: u64,
    pub(super) last: u64,
    /// The subvolume is looked at as a whole.
    pub(super) whole: bool,
}

/// What is looked at.
#[derive(Debug)]
pub(super) struct Scope {
    /// Any descriptor of the filesystem.
    pub(super) top: File,
    pub(super) filesystem: Filesystem,
    pub(super) pieces: Vec<Piece>,
    pub(super) included: Vec<Included>,
    pub(super) directories: Directories,
    /// Files that were asked for themselves, and what they are counted for.
    pub(super) alone: HashMap<(u64, u64), DirectoryId>,
    /// No file of the filesystem is left out.
    pub(super) is_everything: bool,
}

impl Scope {
    /// The path that was asked for, where a subvolume is not looked at as a whole.
    pub(super) fn asked_for(&self, root: u64) -> Option<DirectoryId> {
        let mut of_root = self.included.iter().filter(|included| included.id == root);
        let first = of_root.next()?;
        (!first.whole).then_some(first.directory)
    }
}

/// Finds out what to look at. Needs `CAP_SYS_ADMIN`.
pub(super) fn scope(paths: &[PathBuf]) -> Result<Scope, FilesError> {
    let mut opened = Vec::with_capacity(paths.len());
    for path in paths {
        let file = File::open(path).map_err(|source| FilesError::Open {
            path: path.clone(),
            source,
        })?;
        opened.push((path, file));
    }
    let Some((first_path, first)) = opened.first() else {
        return Err(FilesError::Open {
            path: PathBuf::new(),
            source: std::io::ErrorKind::NotFound.into(),
        });
    };
    let of_path = |path: &Path| {
        let path = path.to_owned();
        move |source| FilesError::Path { path, source }
    };
    let filesystem = ioctl::filesystem(first).map_err(of_path(first_path))?;
    let mut finder = Finder::new(first.as_fd());
    for (path, file) in &opened {
        let here = ioctl::filesystem(file).map_err(of_path(path))?;
        if here.uuid != filesystem.uuid {
            let path = path.to_path_buf();
            return Err(FilesError::OtherFilesystem { path });
        }
        finder.add_path(path, file)?;
    }
    let pieces = finder.pieces()?;
    let Finder {
        included,
        directories,
        alone,
        is_everything,
        ..
    } = finder;
    let top = first.try_clone().map_err(|source| FilesError::Open {
        path: first_path.to_path_buf(),
        source,
    })?;
    Ok(Scope {
        top,
        filesystem,
        pieces,
        included,
        directories,
        alone,
        is_everything,
    })
}

struct Finder<'a> {
    items: Items<BorrowedFd<'a>>,
    included: Vec<Included>,
    whole: HashSet<u64>,
    /// Inodes of subvolumes that are not looked at as wholes.
    inodes: BTreeSet<(u64, u64)>,
    directories: Directories,
    alone: HashMap<(u64, u64), DirectoryId>,
    is_everything: bool,
}

/// An entry of a directory.
struct Entry {
    inode: u64,
    item_type: u8,
    is_directory: bool,
    name: Vec<u8>,
}

impl<'a> Finder<'a> {
    fn new(fd: BorrowedFd<'a>) -> Self {
        let none = Key::first_of(0)..=Key::first_of(0);
        Self {
            items: ioctl::items(fd, 0, none),
            included: Vec::new(),
            whole: HashSet::new(),
            inodes: BTreeSet::new(),
            directories: Directories::default(),
            alone: HashMap::new(),
            is_everything: false,
        }
    }

    fn add_path(&mut self, path: &Path, file: &File) -> Result<(), FilesError> {
        let metadata = file.metadata().map_err(|source| FilesError::Open {
            path: path.to_owned(),
            source,
        })?;
        let root = ioctl::subvolume_id(file)?;
        let inode = metadata.ino();
        let name = path.as_os_str().as_bytes();
        if metadata.is_dir() && inode == Key::FIRST {
            self.is_everything |= root == Key::TOP_SUBVOLUME;
            return Ok(self.add_subvolumes(root, None, name)?);
        }
        if !metadata.is_dir() && !metadata.is_file() {
            let path = path.to_owned();
            return Err(FilesError::NoFiles { path });
        }
        let id = self.directories.id(root, inode);
        self.directories.name(id, None, name);
        let read_only = self.is_read_only(root)?.unwrap_or(false);
        self.included.push(Included {
            id: root,
            read_only,
            whole: false,
            directory: id,
            inode,
        });
        self.inodes.insert((root, inode));
        if metadata.is_file() {
            self.alone.insert((root, inode), id);
            return Ok(());
        }
        Ok(self.add_below(root, inode, id)?)
    }

    /// A subvolume and all that lie in it.
    fn add_subvolumes(
        &mut self,
        root: u64,
        parent: Option<DirectoryId>,
        name: &[u8],
    ) -> Result<(), QueryError> {
        let mut found = vec![(root, parent, name.to_vec())];
        while let Some((root, parent, name)) = found.pop() {
            if self.whole.contains(&root) {
                continue;
            }
            // One that is being deleted has no item or no references.
            let Some(read_only) = self.is_read_only(root)? else {
                continue;
            };
            self.whole.insert(root);
            let directory = self.directories.id(root, Key::FIRST);
            self.directories.name(directory, parent, &name);
            self.included.push(Included {
                id: root,
                read_only,
                whole: true,
                directory,
                inode: Key::FIRST,
            });
            self.items
                .restart(Key::ROOT_TREE, root_refs(root, 0..=u64::MAX));
            while let Some(item) = self.items.next_item()? {
                if let Some((directory, name)) = parse_root_ref(item.bytes) {
                    let parent = self.directories.id(root, directory);
                    found.push((item.key.offset, Some(parent), name));
                }
            }
        }
        Ok(())
    }

    /// Whether nobody may write to a subvolume; `None` where it is not there (any more).
    fn is_read_only(&mut self, root: u64) -> Result<Option<bool>, QueryError> {
        /// `flags` and `refs` in `struct btrfs_root_item`.
        const FLAGS_AT: usize = 208;
        let key = |offset| Key {
            objectid: root,
            item_type: Key::ROOT_ITEM,
            offset,
        };
        self.items.restart(Key::ROOT_TREE, key(0)..=key(u64::MAX));
        let mut read_only = None;
        while let Some(item) = self.items.next_item()? {
            let mut fields = Cursor::new(item.bytes.get(FLAGS_AT..).unwrap_or_default(), 0);
            if let (Ok(flags), Ok(refs)) = (fields.u64_le(), fields.u32_le()) {
                read_only = (refs > 0).then_some(flags & 1 != 0);
            }
        }
        Ok(read_only)
    }

    /// What is below a directory.
    fn add_below(&mut self, root: u64, inode: u64, id: DirectoryId) -> Result<(), QueryError> {
        let mut directories = vec![(inode, id)];
        while let Some((inode, id)) = directories.pop() {
            for entry in self.entries(root, inode)? {
                if entry.item_type == Key::ROOT_ITEM {
                    // In a snapshot the entry is left, but the subvolume is elsewhere.
                    if self.lies_in(entry.inode, root, inode)? {
                        self.add_subvolumes(entry.inode, Some(id), &entry.name)?;
                    }
                    continue;
                }
                let is_new = self.inodes.insert((root, entry.inode));
                if is_new && entry.is_directory {
                    let child = self.directories.id(root, entry.inode);
                    self.directories.name(child, Some(id), &entry.name);
                    directories.push((entry.inode, child));
                }
            }
        }
        Ok(())
    }

    fn entries(&mut self, root: u64, directory: u64) -> Result<Vec<Entry>, QueryError> {
        let key = |offset| Key {
            objectid: directory,
            item_type: Key::DIR_INDEX,
            offset,
        };
        self.items.restart(root, key(0)..=key(u64::MAX));
        let mut entries = Vec::new();
        while let Some(item) = self.items.next_item()? {
            entries.extend(parse_entry(item.bytes));
        }
        Ok(entries)
    }

    fn lies_in(&mut self, root: u64, parent: u64, directory: u64) -> Result<bool, QueryError> {
        self.items
            .restart(Key::ROOT_TREE, root_refs(parent, root..=root));
        let item = self.items.next_item()?;
        let found = item.and_then(|item| parse_root_ref(item.bytes));
        Ok(found.is_some_and(|(found, _)| found == directory))
    }

    /// Cuts what was found into pieces.
    fn pieces(&mut self) -> Result<Vec<Piece>, QueryError> {
        let mut pieces = Vec::new();
        let mut roots: Vec<u64> = self.whole.iter().copied().collect();
        roots.sort_unstable();
        for root in roots {
            let last = match self.last_inode(root) {
                Ok(last) => last,
                // It was deleted meanwhile.
                Err(QueryError::Gone { .. }) => continue,
                Err(error) => return Err(error),
            };
            let step = (last.saturating_sub(Key::FIRST) / PIECES).saturating_add(1);
            let mut first = Key::FIRST;
            for _ in 1..PIECES {
                let end = first.saturating_add(step);
                pieces.push(Piece {
                    root,
                    first,
                    last: end.saturating_sub(1),
                    whole: true,
                });
                first = end;
            }
            // What comes while we look is in the last.
            let last = Key::LAST;
            pieces.push(Piece {
                root,
                first,
                last,
                whole: true,
            });
        }
        let whole = &self.whole;
        let inodes = self.inodes.iter().filter(|(root, _)| !whole.contains(root));
        let mut run: Option<Piece> = None;
        for &(root, inode) in inodes {
            match &mut run {
                Some(piece) if piece.root == root && piece.last.checked_add(1) == Some(inode) => {
                    piece.last = inode;
                }
                _ => {
                    pieces.extend(run.replace(Piece {
                        root,
                        first: inode,
                        last: inode,
                        whole: false,
                    }));
                }
            }
        }
        pieces.extend(run);
        self.included
            .retain(|included| included.whole || !whole.contains(&included.id));
        Ok(pieces)
    }

    /// The last inode of a subvolume, by halving the numbers there are.
    fn last_inode(&mut self, root: u64) -> Result<u64, QueryError> {
        let (mut low, mut high) = (Key::FIRST, Key::LAST);
        while low < high {
            let middle = high.saturating_sub(high.saturating_sub(low) / 2);
            let keys = Key::first_of(middle)..=Key::last_of(Key::LAST);
            if self.items.any(root, keys)? {
                low = middle;
            } else {
                high = middle.saturating_sub(1);
            }
        }
        Ok(low)
    }
}

fn root_refs(root: u64, offsets: RangeInclusive<u64>) -> RangeInclusive<Key> {
    let key = |offset| Key {
        objectid: root,
        item_type: Key::ROOT_REF,
        offset,
    };
    key(*offsets.start())..=key(*offsets.end())
}

/// `struct btrfs_root_ref`: the directory (8 bytes), a sequence number (8), the length of the name
/// (2), the name.
fn parse_root_ref(bytes: &[u8]) -> Option<(u64, Vec<u8>)> {
    let directory = Cursor::new(bytes, 0).u64_le().ok()?;
    Some((directory, bytes.get(18..)?.to_vec()))
}

/// `struct btrfs_dir_item`: a key (8, 1 and 8 bytes), a transaction (8), the lengths of data and
/// name (2 each), the kind of file (1), the name.
fn parse_entry(bytes: &[u8]) -> Option<Entry> {
    Some(Entry {
        inode: Cursor::new(bytes, 0).u64_le().ok()?,
        item_type: *bytes.get(8)?,
        is_directory: *bytes.get(29)? == FT_DIR,
        name: bytes.get(30..)?.to_vec(),
    })
}
