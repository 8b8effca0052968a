//! Members of an archive that wait until all have come, and go on in the order of their names.
//!
//! What an archive says in its own order is carried out here: the last of a name counts, and hard
//! links are names of what their target was when they came. Contents wait in an unnamed file.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

use anyhow::{Context, Result};
use btrfs_payload::bytes::Bytes;
use btrfs_payload::pack::{BYTES_PER_NAME, EntryFault, PackError};

use super::member::{Kind, Member, Place};
use super::sparse_map::Map;

/// What has come so far.
pub(super) struct Sorted {
    names: BTreeMap<Place, usize>,
    inodes: Vec<Inode>,
    contents: File,
    /// Bytes of contents.
    end: u64,
    /// Bytes of memory that all this takes, and may take.
    taken: u64,
    memory: u64,
    /// Names that have come again, and whose first owner has gone.
    replaced: u64,
}

/// A member that is no hard link. Its names are elsewhere.
struct Inode {
    member: Member,
    links: u32,
    content: Content,
}

/// Where the content of a member waits.
pub(super) struct Content {
    start: u64,
    pub(super) len: u64,
    pub(super) map: Option<Map>,
}

impl Sorted {
    /// Nothing yet; all that comes may take so much memory, bytes.
    pub(super) fn new(memory: u64) -> Result<Self> {
        Ok(Self {
            names: BTreeMap::new(),
            inodes: Vec::new(),
            contents: tempfile::tempfile().context("cannot make a temporary file for --sort")?,
            end: 0,
            taken: 0,
            memory,
            replaced: 0,
        })
    }

    /// Takes a member with what the archive holds of its content.
    pub(super) fn hold(
        &mut self,
        member: Member,
        map: Option<Map>,
        mut content: impl Read,
    ) -> Result<()> {
        let path = member.path.clone();
        let entry = |fault| PackError::Entry {
            path: Bytes::copy_from_slice(&path),
            fault,
        };
        let place = Place::new(&member.path).map_err(entry)?;
        let there = self.names.get(&place).copied();
        let is_directory = |inode: usize| {
            let inode = self.inodes.get(inode);
            inode.is_some_and(|inode| inode.member.kind == Kind::Directory)
        };
        if there.is_some_and(is_directory) && member.kind != Kind::Directory {
            return Err(entry(EntryFault::IsADirectory).into());
        }
        let replaces = there.filter(|&there| !is_directory(there));
        let inode = if let Kind::HardLink(target) = &member.kind {
            let shown = || Bytes::copy_from_slice(target);
            let target_place = Place::new(target).map_err(entry)?;
            let Some(&inode) = self.names.get(&target_place) else {
                return Err(entry(EntryFault::NoTarget(shown())).into());
            };
            if is_directory(inode) {
                return Err(entry(EntryFault::DirectoryTarget(shown())).into());
            }
            if there == Some(inode) {
                return Ok(());
            }
            self.take_memory(place.len(), entry)?;
            inode
        } else {
            self.take_memory(
                place.len().saturating_add(memory(&member, map.as_ref())),
                entry,
            )?;
            let len = io::copy(&mut content, &mut self.contents)?;
            let content = Content {
                start: self.end,
                len,
                map,
            };
            self.end = self.end.saturating_add(len);
            self.inodes.push(Inode {
                member,
                links: 0,
                content,
            });
            self.inodes.len().saturating_sub(1)
        };
        if let Some(old) = replaces {
            self.replaced = self.replaced.saturating_add(1);
            self.count_links(old, |links| links.saturating_sub(1));
        }
        self.count_links(inode, |links| links.saturating_add(1));
        self.names.insert(place, inode);
        Ok(())
    }

    fn count_links(&mut self, inode: usize, change: impl Fn(u32) -> u32) {
        if let Some(inode) = self.inodes.get_mut(inode) {
            inode.links = change(inode.links);
        }
    }

    /// Every name is taken to need as much as it does in the tree.
    fn take_memory(
        &mut self,
        bytes: usize,
        entry: impl Fn(EntryFault) -> PackError,
    ) -> Result<(), PackError> {
        let bytes = BYTES_PER_NAME.saturating_add(bytes);
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        let taken = self.taken.saturating_add(bytes);
        if taken > self.memory {
            let most = self.names.len();
            return Err(entry(EntryFault::TooManyNames { most }));
        }
        self.taken = taken;
        Ok(())
    }

    /// Gives each member on, the first name of a file with its content; returns how many names had
    /// come again.
    pub(super) fn release(
        self,
        mut add: impl FnMut(Member, &Content, &mut dyn Read) -> Result<()>,
    ) -> Result<u64> {
        let Self {
            names,
            inodes,
            mut contents,
            replaced,
            ..
        } = self;
        // First names of what has several.
        let mut first = HashMap::<usize, Place>::new();
        for (place, number) in names {
            let Some(inode) = inodes.get(number) else {
                continue;
            };
            let Inode {
                member,
                links,
                content,
            } = inode;
            let kind = match first.get(&number) {
                Some(first) => Kind::HardLink(first.path()),
                None => member.kind.clone(),
            };
            let path = place.path();
            let shown = path.escape_ascii().to_string();
            let member = Member {
                path,
                kind,
                metadata: member.metadata.clone(),
            };
            if *links > 1 {
                first.entry(number).or_insert(place);
            }
            contents.seek(SeekFrom::Start(content.start))?;
            let mut bytes = (&contents).take(content.len);
            add(member, content, &mut bytes).with_context(|| shown)?;
        }
        Ok(replaced)
    }
}

/// Bytes that are remembered of a member beside its name.
fn memory(member: &Member, map: Option<&Map>) -> usize {
    let xattrs = member.metadata.xattrs.iter();
    let bytes = xattrs.map(|(name, value)| name.len().saturating_add(value.len()));
    let target = match &member.kind {
        Kind::Symlink(target) => target.len(),
        _ => 0,
    };
    let map = map.map_or(0, Map::memory);
    bytes.fold(
        target.saturating_add(member.path.len()).saturating_add(map),
        usize::saturating_add,
    )
}
