//! The numbers, each with its unit, its reason and where the kernel has it.

/// Bytes one extent holds before compression at the most, and the largest payload the ioctl
/// looks at (`BTRFS_MAX_UNCOMPRESSED`, `BTRFS_MAX_COMPRESSED`, fs/btrfs/compression.h).
///
/// The same as [`crate::MAX_EXTENT`], as wide as claims are.
pub const MAX_EXTENT: u64 = btrfs_payload_common::MAX_EXTENT as u64;

/// The smallest sector size with an encoded-write compression type of its own, bytes
/// (`BTRFS_ENCODED_IO_COMPRESSION_LZO_4K`, include/uapi/linux/btrfs.h).
pub const MIN_SECTOR_SIZE: u32 = 4096;

/// The largest sector size btrfs knows, bytes (`BTRFS_MAX_METADATA_BLOCKSIZE` bounds it;
/// `BTRFS_ENCODED_IO_COMPRESSION_LZO_64K` is the last type).
pub const MAX_SECTOR_SIZE: u32 = 64 * 1024;

/// Payload bytes that may land in an inline extent by default
/// (`BTRFS_DEFAULT_MAX_INLINE`, fs/btrfs/fs.h; the mount option `max_inline` changes it).
pub const DEFAULT_MAX_INLINE: u32 = 2048;

/// Node size that `mkfs.btrfs` chooses by default, bytes.
pub const DEFAULT_NODE_SIZE: u32 = 16 * 1024;

/// What a tree leaf needs beside the data of one inline extent, bytes: the leaf's header (101),
/// one item (25), and the head of a file extent item (21) (`BTRFS_MAX_INLINE_DATA_SIZE`,
/// fs/btrfs/fs.h and accessors.h).
pub const INLINE_OVERHEAD: u32 = 101 + 25 + 21;

/// Bytes of an encoded-write argument that must be zero (`reserved`,
/// `struct btrfs_ioctl_encoded_io_args`).
pub const RESERVED_BYTES: usize = 64;

/// The largest position a file can have, bytes (`MAX_LFS_FILESIZE`, include/linux/fs.h).
pub const MAX_FILE_SIZE: u64 = i64::MAX.unsigned_abs();

/// The number rounded up to a multiple of the sector size, or `None` beyond 2^64 - 1.
///
/// ```
/// use btrfs_payload::rules::limits::round_up;
/// assert_eq!(round_up(4097, 4096), Some(8192));
/// assert_eq!(round_up(4096, 4096), Some(4096));
/// assert_eq!(round_up(u64::MAX, 4096), None);
/// ```
#[must_use]
pub fn round_up(bytes: u64, sector_size: u32) -> Option<u64> {
    bytes.checked_next_multiple_of(u64::from(sector_size.max(1)))
}

/// True for the sector sizes this crate handles: powers of two, 4096 to 65536 bytes.
#[must_use]
pub fn is_sector_size(bytes: u32) -> bool {
    bytes.is_power_of_two() && (MIN_SECTOR_SIZE..=MAX_SECTOR_SIZE).contains(&bytes)
}

/// A length in memory, as wide as claims are. No platform of Rust's has longer ones.
pub(crate) fn u64_of(len: usize) -> u64 {
    u64::try_from(len).unwrap_or(u64::MAX)
}
