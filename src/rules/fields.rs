//! What somebody claims of a payload, and where the payload is to land.
//!
//! The claims are arguments of the ioctl. On disk they are fields of a file extent item
//! ([On-disk format](https://btrfs.readthedocs.io/en/latest/dev/On-disk-format.html)) under other
//! names, which docs/architecture.md lists side by side.

use super::limits::{DEFAULT_MAX_INLINE, DEFAULT_NODE_SIZE, MIN_SECTOR_SIZE};
use super::{Codec, EncodedIoId};

/// What a file, a send stream or a caller claims of a payload. Nothing is checked: a judge must
/// be able to look at bad claims.
///
/// The names are those of `struct btrfs_ioctl_encoded_io_args` (include/uapi/linux/btrfs.h), which
/// has no others: callers may write the struct out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct ExtentFields {
    /// Bytes of the file that the extent stands for: a slice of the decoded bytes.
    pub len: u64,
    /// Bytes the payload decodes to (the disk's `ram_bytes`).
    pub unencoded_len: u64,
    /// Where in the decoded bytes the slice begins, bytes.
    pub unencoded_offset: u64,
    /// Compression type, in the ioctl's numbering.
    pub compression: EncodedIoId,
    /// Encryption type; 0 is none, and no kernel knows another.
    pub encryption: u32,
}

impl ExtentFields {
    /// An extent of which the file shows everything: `unencoded_len` bytes, no encryption.
    #[must_use]
    pub fn whole(unencoded_len: u64, compression: EncodedIoId) -> Self {
        Self {
            len: unencoded_len,
            unencoded_len,
            unencoded_offset: 0,
            compression,
            encryption: 0,
        }
    }

    /// The codec, where `compression` names one.
    #[must_use]
    pub fn codec(&self) -> Option<Codec> {
        self.compression.codec()
    }

    /// True when the file shows only a part of the decoded bytes.
    #[must_use]
    pub fn is_slice(&self) -> bool {
        self.unencoded_offset != 0 || self.len != self.unencoded_len
    }
}

/// Where a payload is to land: the filesystem's sizes and the place in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Target {
    /// Sector size of the filesystem, bytes.
    pub sector_size: u32,
    /// Page size of the machine that reads it, bytes.
    pub page_size: u32,
    /// The mount option `max_inline`, bytes.
    pub max_inline: u32,
    /// Node size of the filesystem, bytes.
    pub node_size: u32,
    /// Offset in the file, bytes.
    pub offset: u64,
    /// Size of the file before the write, bytes: 0 for a new file.
    pub file_size: u64,
    /// The file has the attribute NODATASUM or NODATACOW (`chattr +C`).
    pub nodatasum: bool,
}

impl Target {
    /// The start of a new file on a filesystem of this sector size, other sizes as
    /// `mkfs.btrfs` and `mount` choose them, pages of the size of a sector.
    #[must_use]
    pub fn new(sector_size: u32) -> Self {
        Self {
            sector_size,
            page_size: sector_size.max(MIN_SECTOR_SIZE),
            max_inline: DEFAULT_MAX_INLINE,
            node_size: DEFAULT_NODE_SIZE,
            offset: 0,
            file_size: 0,
            nodatasum: false,
        }
    }

    /// The same filesystem, at another offset of the file, bytes.
    #[must_use]
    pub fn at(self, offset: u64) -> Self {
        Self { offset, ..self }
    }

    /// The same, where the file has this size before the write, bytes.
    #[must_use]
    pub fn file_size(self, file_size: u64) -> Self {
        Self { file_size, ..self }
    }

    /// The same, read by a machine with pages of this size, bytes.
    #[must_use]
    pub fn page_size(self, page_size: u32) -> Self {
        Self { page_size, ..self }
    }

    /// The same with this mount option `max_inline`, bytes.
    #[must_use]
    pub fn max_inline(self, max_inline: u32) -> Self {
        Self { max_inline, ..self }
    }

    /// The same with nodes of this size, bytes.
    #[must_use]
    pub fn node_size(self, node_size: u32) -> Self {
        Self { node_size, ..self }
    }

    /// The same, where the file has no checksums (NODATASUM or NODATACOW), or has them.
    #[must_use]
    pub fn nodatasum(self, nodatasum: bool) -> Self {
        Self { nodatasum, ..self }
    }
}

impl Default for Target {
    /// The start of a new file on a filesystem with 4096-byte sectors.
    fn default() -> Self {
        Self::new(MIN_SECTOR_SIZE)
    }
}
