//! Items of the filesystem's trees, in the order of their keys.

use std::ops::RangeInclusive;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::io::Errno;

use super::QueryError;
pub use super::sys::tree::Key;
use super::sys::tree::{HEADER, RESULTS_AT, Wanted, header, search};

/// The largest buffer that the kernel fills, bytes (`btrfs_ioctl_tree_search_v2`, fs/btrfs/ioctl.c).
const MAX_BUFFER: usize = 16 * 1024 * 1024;
/// Bytes that fit any item of any filesystem: a node has at most 64 KiB.
const ANY_ITEM: usize = 64 * 1024;
const CALL: &str = "BTRFS_IOC_TREE_SEARCH_V2";

impl Key {
    /// `BTRFS_INODE_ITEM_KEY` (include/uapi/linux/btrfs_tree.h), as all of these.
    pub const INODE_ITEM: u8 = 1;
    /// `BTRFS_INODE_REF_KEY`: a name of an inode, in the directory that is the offset.
    pub const INODE_REF: u8 = 12;
    /// `BTRFS_DIR_INDEX_KEY`: an entry of a directory.
    pub const DIR_INDEX: u8 = 96;
    /// `BTRFS_EXTENT_DATA_KEY`: an extent of a file, at the offset.
    pub const EXTENT_DATA: u8 = 108;
    /// `BTRFS_ROOT_ITEM_KEY`, in [`Key::ROOT_TREE`].
    pub const ROOT_ITEM: u8 = 132;
    /// `BTRFS_ROOT_REF_KEY`, in [`Key::ROOT_TREE`]: the subvolume that is the offset lies in this
    /// one.
    pub const ROOT_REF: u8 = 156;
    /// The tree of all subvolumes (`BTRFS_ROOT_TREE_OBJECTID`).
    pub const ROOT_TREE: u64 = 1;
    /// The top of a filesystem (`BTRFS_FS_TREE_OBJECTID`).
    pub const TOP_SUBVOLUME: u64 = 5;
    /// The top directory of every subvolume, and the first number of inodes and of subvolumes
    /// that people make (`BTRFS_FIRST_FREE_OBJECTID`).
    pub const FIRST: u64 = 256;
    /// The last such number (`BTRFS_LAST_FREE_OBJECTID`).
    pub const LAST: u64 = u64::MAX - 255;

    /// The first key that is about this.
    #[must_use]
    pub fn first_of(objectid: u64) -> Self {
        Self {
            objectid,
            item_type: 0,
            offset: 0,
        }
    }

    /// The last key that is about this.
    #[must_use]
    pub fn last_of(objectid: u64) -> Self {
        Self {
            objectid,
            item_type: u8::MAX,
            offset: u64::MAX,
        }
    }

    /// The key that follows; `None` after the last.
    #[must_use]
    pub fn next(self) -> Option<Self> {
        if let Some(offset) = self.offset.checked_add(1) {
            return Some(Self { offset, ..self });
        }
        let offset = 0;
        if let Some(item_type) = self.item_type.checked_add(1) {
            return Some(Self {
                item_type,
                offset,
                ..self
            });
        }
        Some(Self::first_of(self.objectid.checked_add(1)?))
    }
}

/// An item of a tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Item<'a> {
    /// Where it stands.
    pub key: Key,
    /// The transaction that wrote its leaf last.
    pub transid: u64,
    /// Its bytes, as stored: little-endian, and as hostile as the device.
    pub bytes: &'a [u8],
}

/// `ioctl(fd, BTRFS_IOC_TREE_SEARCH_V2)`: the items of a tree from one key to another, with all
/// that lies between, whatever its type. Tree 0 is the subvolume of the descriptor.
///
/// Needs `CAP_SYS_ADMIN`. The tree may change meanwhile: each call to the kernel sees some items
/// of before and some of after, and goes on past the last key it gave, so that the search ends in
/// any case.
#[doc(alias = "BTRFS_IOC_TREE_SEARCH_V2")]
pub fn items<F: AsFd>(fd: F, tree: u64, keys: RangeInclusive<Key>) -> Items<F> {
    Items {
        fd,
        tree,
        min_transid: 0,
        next: Some(*keys.start()),
        last: *keys.end(),
        buffer: vec![0; RESULTS_AT.saturating_add(ANY_ITEM).saturating_add(HEADER)],
        at: 0,
        left: 0,
        is_last: false,
        at_most: u32::MAX,
    }
}

/// The items of a search, one after another; made by [`items`]. Each borrows the buffer, so this
/// is no [`Iterator`].
#[derive(Debug)]
pub struct Items<F> {
    fd: F,
    tree: u64,
    min_transid: u64,
    /// The first key that nobody has seen; `None` where there is none.
    next: Option<Key>,
    last: Key,
    buffer: Vec<u8>,
    /// Where the next header is in the buffer.
    at: usize,
    /// Items that the buffer still has.
    left: u32,
    /// The kernel has no more than the buffer has.
    is_last: bool,
    /// Items per call to the kernel.
    at_most: u32,
}

/// An item and where it stands, as [`find_item`] gives it.
pub(super) struct FoundItem {
    pub(super) offset: u64,
    pub(super) bytes: Vec<u8>,
}

/// The first item of the descriptor's subvolume whose key ends in one of these offsets; `None`
/// where there is no such item. Needs `CAP_SYS_ADMIN`.
pub(super) fn find_item(
    fd: BorrowedFd<'_>,
    objectid: u64,
    item_type: u8,
    offsets: RangeInclusive<u64>,
) -> Result<Option<FoundItem>, QueryError> {
    let key = |offset| Key {
        objectid,
        item_type,
        offset,
    };
    let mut items = items(fd, 0, key(*offsets.start())..=key(*offsets.end())).buffer_of(4096);
    items.at_most = 1;
    Ok(items.next_item()?.map(|item| FoundItem {
        offset: item.key.offset,
        bytes: item.bytes.to_vec(),
    }))
}

impl<F: AsFd> Items<F> {
    /// Leaves out what lies in leaves that were last written before this transaction: of
    /// everything that has changed since, nothing is missing.
    #[must_use]
    pub fn changed_since(mut self, transid: u64) -> Self {
        self.min_transid = transid;
        self
    }

    /// With a buffer of so many bytes, from 4 KiB to 16 MiB; 64 KiB without this. It grows where
    /// an item does not fit. Small ones suit a search for few items: the kernel touches all of it.
    #[must_use]
    pub fn buffer_of(mut self, bytes: usize) -> Self {
        self.buffer.resize(bytes.clamp(4096, MAX_BUFFER), 0);
        self
    }

    /// Searches on for other keys with the same buffer: no memory is asked for.
    pub fn restart(&mut self, tree: u64, keys: RangeInclusive<Key>) {
        (self.tree, self.next, self.last) = (tree, Some(*keys.start()), *keys.end());
        (self.left, self.is_last) = (0, false);
    }

    /// The next item; `None` after the last.
    ///
    /// # Errors
    /// [`QueryError`]: not permitted, no such tree, or a kernel that contradicts itself.
    pub fn next_item(&mut self) -> Result<Option<Item<'_>>, QueryError> {
        if self.left == 0 && !self.fill()? {
            return Ok(None);
        }
        self.left = self.left.saturating_sub(1);
        let odd = || QueryError::Contradiction { call: CALL };
        let header = header(&self.buffer, self.at).ok_or_else(odd)?;
        let start = self.at.saturating_add(HEADER);
        let end = start.checked_add(header.len).ok_or_else(odd)?;
        // Keys only ever grow, or this would never end.
        if self.next.is_none_or(|next| header.key < next) || header.key > self.last {
            return Err(odd());
        }
        self.next = header.key.next();
        self.at = end;
        Ok(Some(Item {
            key: header.key,
            transid: header.transid,
            bytes: self.buffer.get(start..end).ok_or_else(odd)?,
        }))
    }

    /// True where the tree has an item between these keys, asked with the least work.
    ///
    /// # Errors
    /// [`QueryError`].
    pub fn any(&mut self, tree: u64, keys: RangeInclusive<Key>) -> Result<bool, QueryError> {
        self.restart(tree, keys);
        let at_most = std::mem::replace(&mut self.at_most, 1);
        let found = self.fill();
        self.at_most = at_most;
        self.restart(tree, Key::first_of(u64::MAX)..=Key::first_of(0));
        found
    }

    /// Asks the kernel for more; false where there is nothing.
    fn fill(&mut self) -> Result<bool, QueryError> {
        loop {
            let Some(first) = self.next.filter(|next| *next <= self.last && !self.is_last) else {
                return Ok(false);
            };
            let wanted = Wanted {
                tree: self.tree,
                first,
                last: self.last,
                min_transid: self.min_transid,
                max_items: self.at_most,
            };
            match search(self.fd.as_fd(), &wanted, &mut self.buffer) {
                Ok(found) => {
                    (self.at, self.left) = (RESULTS_AT, found);
                    self.is_last = found < self.at_most && self.is_last_fill(found);
                    return Ok(found > 0);
                }
                Err(Errno::OVERFLOW) if self.buffer.len() < MAX_BUFFER => {
                    let len = self.buffer.len().saturating_mul(4).max(2 * ANY_ITEM);
                    self.buffer.resize(len.min(MAX_BUFFER), 0);
                }
                Err(errno) => return Err(QueryError::new(CALL, self.fd.as_fd(), errno)),
            }
        }
    }

    /// True where any item would have fitted after these, so that there are no more: a call to
    /// the kernel is saved.
    fn is_last_fill(&self, found: u32) -> bool {
        let mut at = RESULTS_AT;
        for _ in 0..found {
            let Some(header) = header(&self.buffer, at) else {
                return false;
            };
            at = at.saturating_add(HEADER).saturating_add(header.len);
        }
        let free = self.buffer.len().checked_sub(at);
        free.is_some_and(|free| free >= ANY_ITEM.saturating_add(HEADER))
    }
}
