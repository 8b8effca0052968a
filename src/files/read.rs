//! Reads the items of a piece: what its files show, in batches.

use std::os::fd::BorrowedFd;

use btrfs_payload_common::Cursor;

use super::item::{FileExtentItem, Stored};
use super::scope::Piece;
use crate::ioctl::{self, Items, Key, QueryError};
use crate::rules::OnDiskId;

/// Bytes that a search returns at most: a few thousand items.
const BUFFER: usize = 256 * 1024;
/// Records in a batch: 1 MiB of them.
const BATCH: usize = 8192;

/// A part of an extent that a file shows.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen {
    pub(super) item: FileExtentItem,
    pub(super) root: u64,
    pub(super) inode: u64,
    /// Where in the file.
    pub(super) offset: u64,
    /// The directory of the file's first name.
    pub(super) parent: u64,
}

/// What some files have.
#[derive(Debug, Default)]
pub(super) struct Batch {
    /// Regular and preallocated extents, and inline ones.
    pub(super) seen: Vec<Seen>,
    /// Directories: subvolume, inode, where it lies, its name.
    pub(super) directories: Vec<(u64, u64, u64, Vec<u8>)>,
    pub(super) files: u64,
    pub(super) holes: u64,
    pub(super) hole_bytes: u64,
}

/// Reads pieces; keeps its buffers.
pub(super) struct PieceReader<'a> {
    items: Items<BorrowedFd<'a>>,
    batch: Batch,
    since: u64,
}

/// The inode whose items are being read.
#[derive(Debug, Default)]
struct Inode {
    number: u64,
    is_file: bool,
    is_directory: bool,
    size: u64,
    parent: u64,
    /// So far its extents go.
    covered: u64,
}

impl<'a> PieceReader<'a> {
    pub(super) fn new(fd: BorrowedFd<'a>, since: u64) -> Self {
        let none = Key::first_of(0)..=Key::first_of(0);
        Self {
            items: ioctl::items(fd, 0, none)
                .buffer_of(BUFFER)
                .changed_since(since),
            batch: Batch::default(),
            since,
        }
    }

    /// Reads a piece and gives what it has to `take`, a batch at a time.
    pub(super) fn read(
        &mut self,
        piece: Piece,
        take: &mut impl FnMut(&mut Batch) -> Result<(), QueryError>,
    ) -> Result<(), QueryError> {
        let keys = Key::first_of(piece.first)..=Key::last_of(piece.last);
        self.items.restart(piece.root, keys);
        let batch = &mut self.batch;
        let mut inode = Inode::default();
        while let Some(item) = self.items.next_item()? {
            let Key {
                objectid,
                item_type,
                offset,
            } = item.key;
            if objectid != inode.number {
                inode.finish(batch);
                inode = Inode {
                    number: objectid,
                    ..Inode::default()
                };
                if batch.seen.len() >= BATCH || batch.directories.len() >= BATCH {
                    take(batch)?;
                }
            }
            match item_type {
                Key::INODE_ITEM => inode.read(item.bytes),
                // The first name is what the file is counted for; a directory has one.
                Key::INODE_REF if inode.parent == 0 => {
                    inode.parent = offset;
                    if inode.is_directory && piece.whole && objectid != Key::FIRST {
                        // An index (8 bytes), the length of the name (2), the name.
                        let name = item.bytes.get(10..).unwrap_or_default().to_vec();
                        let directory = (piece.root, objectid, offset, name);
                        batch.directories.push(directory);
                    }
                }
                // Links are in items of extents too, but have no contents.
                Key::EXTENT_DATA if inode.is_file || self.since > 0 => {
                    let Some(extent) = FileExtentItem::parse(item.bytes) else {
                        continue;
                    };
                    inode.shows(offset, &extent, batch);
                    if extent.stored != Stored::Hole && extent.generation >= self.since {
                        batch.seen.push(Seen {
                            item: extent,
                            root: piece.root,
                            inode: objectid,
                            offset,
                            parent: inode.parent,
                        });
                        if batch.seen.len() >= BATCH {
                            take(batch)?;
                        }
                    }
                }
                _ => {}
            }
        }
        inode.finish(batch);
        take(batch)
    }
}

impl Inode {
    /// `struct btrfs_inode_item`: `size` at 16, `mode` at 52.
    fn read(&mut self, bytes: &[u8]) {
        let mut size = Cursor::new(bytes.get(16..).unwrap_or_default(), 0);
        let mut mode = Cursor::new(bytes.get(52..).unwrap_or_default(), 0);
        let (Ok(size), Ok(mode)) = (size.u64_le(), mode.u32_le()) else {
            return;
        };
        self.size = size;
        self.is_file = mode & 0o170_000 == 0o100_000;
        self.is_directory = mode & 0o170_000 == 0o040_000;
    }

    /// An extent of the file; what is not covered before it is a hole.
    fn shows(&mut self, offset: u64, extent: &FileExtentItem, batch: &mut Batch) {
        if extent.stored == Stored::Hole {
            return;
        }
        self.hole_up_to(offset, batch);
        let end = offset.saturating_add(extent.len);
        self.covered = self.covered.max(end);
    }

    fn hole_up_to(&mut self, offset: u64, batch: &mut Batch) {
        let hole = offset.min(self.size).saturating_sub(self.covered);
        if hole > 0 {
            batch.holes = batch.holes.saturating_add(1);
            batch.hole_bytes = batch.hole_bytes.saturating_add(hole);
        }
    }

    fn finish(&mut self, batch: &mut Batch) {
        if self.is_file {
            batch.files = batch.files.saturating_add(1);
            self.hole_up_to(self.size, batch);
        }
    }
}

/// A compression type by its place in a table: plain, zlib, lzo, zstd, unknown.
pub(super) fn place_of(compression: OnDiskId) -> usize {
    usize::from(compression.0.min(4))
}
