//! The file extent item: what part of which extent a file shows, and where.
//!
//! `struct btrfs_file_extent_item` (include/uapi/linux/btrfs_tree.h), little-endian:
//!
//! | offset | bytes | field |
//! | --- | --- | --- |
//! | 0 | 8 | `generation`: the transaction that made the extent |
//! | 8 | 8 | `ram_bytes`: what the whole extent decodes to |
//! | 16 | 1 | `compression` |
//! | 17 | 1 | `encryption`, 0 |
//! | 18 | 2 | `other_encoding`, 0 |
//! | 20 | 1 | `type`: 0 inline, 1 regular, 2 preallocated |
//! | 21 | | inline: the data or the payload, to the end of the item |
//! | 21 | 8 | else `disk_bytenr`: the extent's address; 0 is a hole |
//! | 29 | 8 | `disk_num_bytes` |
//! | 37 | 8 | `offset` in what the extent decodes to |
//! | 45 | 8 | `num_bytes`: what the file shows of it |

use btrfs_payload_common::Cursor;

use crate::rules::OnDiskId;
use crate::rules::limits::u64_of;

/// Bytes in front of inline data.
const INLINE_AT: usize = 21;

/// Where the bytes of an extent are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stored {
    /// In the item itself.
    Inline,
    /// In sectors of their own.
    Regular,
    /// Nowhere yet: its sectors are reserved, and it reads as zeroes.
    Preallocated,
    /// Nowhere: it reads as zeroes.
    Hole,
}

/// A file extent item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct FileExtentItem {
    /// The transaction that made the extent.
    pub generation: u64,
    /// Bytes that the whole extent decodes to.
    pub ram_bytes: u64,
    /// The compression type; 0 for none.
    pub compression: OnDiskId,
    /// Where its bytes are.
    pub stored: Stored,
    /// The address of the extent; 0 where it is inline or a hole.
    pub bytenr: u64,
    /// Bytes that the extent has there; of an inline one, those in the item.
    pub disk_bytes: u64,
    /// Where in what the extent decodes to the shown part begins, bytes.
    pub extent_offset: u64,
    /// Bytes of the file.
    pub len: u64,
}

impl FileExtentItem {
    /// Reads the bytes of an item; `None` where they are too few, or the type is unknown.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let mut cursor = Cursor::new(bytes, 0);
        let generation = cursor.u64_le().ok()?;
        let ram_bytes = cursor.u64_le().ok()?;
        let compression = OnDiskId(*bytes.get(16)?);
        let item_type = *bytes.get(20)?;
        let mut new = Self {
            generation,
            ram_bytes,
            compression,
            stored: Stored::Inline,
            bytenr: 0,
            disk_bytes: u64_of(bytes.len().checked_sub(INLINE_AT)?),
            extent_offset: 0,
            len: ram_bytes,
        };
        if item_type == 0 {
            return Some(new);
        }
        let mut cursor = Cursor::new(bytes.get(INLINE_AT..)?, 0);
        new.bytenr = cursor.u64_le().ok()?;
        new.disk_bytes = cursor.u64_le().ok()?;
        new.extent_offset = cursor.u64_le().ok()?;
        new.len = cursor.u64_le().ok()?;
        new.stored = match item_type {
            _ if new.bytenr == 0 => Stored::Hole,
            1 => Stored::Regular,
            2 => Stored::Preallocated,
            _ => return None,
        };
        Some(new)
    }

    /// The data or the payload in the bytes of an inline item.
    #[must_use]
    pub fn inline_bytes(bytes: &[u8]) -> &[u8] {
        bytes.get(INLINE_AT..).unwrap_or_default()
    }
}
