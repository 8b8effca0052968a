//! Files that show extents, opened by their numbers.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};

use btrfs_payload_common::Cursor;

use super::outcome::Left;
use crate::ioctl::{self, Items, Key, QueryError};

/// Files that are open at most, for each thread.
const OPEN: usize = 64;

/// Flags of `struct btrfs_inode_item` (include/uapi/linux/btrfs_tree.h, `BTRFS_INODE_*`).
const NODATASUM: u64 = 1 << 0;
const NODATACOW: u64 = 1 << 1;
const NOCOMPRESS: u64 = 1 << 3;
const IMMUTABLE: u64 = 1 << 6;
const APPEND: u64 = 1 << 7;

/// Opens files, and keeps some of them open.
pub(super) struct OpenFiles<'a> {
    top: BorrowedFd<'a>,
    items: Items<BorrowedFd<'a>>,
    skip_busy: bool,
    files: HashMap<(u64, u64), Result<File, Left>>,
}

impl<'a> OpenFiles<'a> {
    /// With `skip_busy`, none that somebody has open for writing.
    pub(super) fn new(top: BorrowedFd<'a>, skip_busy: bool) -> Self {
        let none = Key::first_of(0)..=Key::first_of(0);
        Self {
            top,
            items: ioctl::items(top, 0, none).buffer_of(0),
            skip_busy,
            files: HashMap::new(),
        }
    }

    /// The file, or why nothing can be given to it.
    pub(super) fn get(&mut self, root: u64, inode: u64) -> Result<Result<&File, Left>, QueryError> {
        if self.files.len() >= OPEN && !self.files.contains_key(&(root, inode)) {
            self.files.clear();
        }
        let slot = match self.files.entry((root, inode)) {
            Entry::Occupied(slot) => slot.into_mut(),
            Entry::Vacant(slot) => {
                let mut opened = open(self.top, &mut self.items, root, inode)?;
                if self.skip_busy
                    && let Ok(file) = &opened
                    && ioctl::is_open_for_writing(file).unwrap_or(false)
                {
                    opened = Err(Left::OpenForWriting);
                }
                slot.insert(opened)
            }
        };
        Ok(match slot {
            Ok(file) => Ok(&*file),
            Err(left) => Err(*left),
        })
    }

    /// Closes what is open.
    pub(super) fn close(&mut self) {
        self.files.clear();
    }
}

fn open<'a>(
    top: BorrowedFd<'a>,
    items: &mut Items<BorrowedFd<'a>>,
    root: u64,
    inode: u64,
) -> Result<Result<File, Left>, QueryError> {
    let key = Key {
        objectid: inode,
        item_type: Key::INODE_ITEM,
        offset: 0,
    };
    items.restart(root, key..=key);
    let item = match items.next_item() {
        Ok(Some(item)) => parse(item.bytes),
        Ok(None) | Err(QueryError::Gone { .. }) => None,
        Err(error) => return Err(error),
    };
    let Some((generation, flags)) = item else {
        return Ok(Err(Left::Changed));
    };
    if flags & (NODATASUM | NODATACOW) != 0 {
        return Ok(Err(Left::NoChecksums));
    }
    if flags & (IMMUTABLE | APPEND) != 0 {
        return Ok(Err(Left::Immutable));
    }
    match ioctl::open_inode(top, root, inode, Some(generation)) {
        Ok(file) if flags & NOCOMPRESS != 0 && stays_plain(&file) => Ok(Err(Left::NotWanted)),
        Ok(file) => Ok(Ok(file.into())),
        Err(QueryError::Gone { .. }) => Ok(Err(Left::Changed)),
        Err(QueryError::NotPermitted { .. }) => Ok(Err(Left::OutOfReach)),
        Err(error) => Err(error),
    }
}

/// True where somebody has said that a file is not to be compressed: `btrfs property set FILE
/// compression none`, which new files have from their directory.
///
/// `chattr +m` alone does not tell: the kernel marks a file in the same way when the first that is
/// written to it does not shrink (`compress_file_range`, fs/btrfs/inode.c).
pub(super) fn stays_plain(file: impl AsFd) -> bool {
    let mut value = [0; 8];
    let len = rustix::fs::fgetxattr(file, "btrfs.compression", &mut value);
    let value = len.ok().and_then(|len| value.get(..len));
    value.is_some_and(|value| matches!(value, b"none" | b"no"))
}

/// `struct btrfs_inode_item`: `generation` at 0, `flags` at 64.
fn parse(bytes: &[u8]) -> Option<(u64, u64)> {
    let generation = Cursor::new(bytes, 0).u64_le().ok()?;
    let flags = Cursor::new(bytes.get(64..)?, 0).u64_le().ok()?;
    Some((generation, flags))
}
