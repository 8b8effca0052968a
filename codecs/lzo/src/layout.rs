//! How a payload is put together, and the numbers that bound its parts.
//!
//! | offset | bytes | meaning |
//! | --- | --- | --- |
//! | 0 | 4 | total: little-endian length of the payload in bytes, these four included |
//! | 4 | 4 | header of segment 0: little-endian length `L` of its LZO1X bytes |
//! | 8 | `L` | segment 0: decodes to the first sector of the data |
//! | | 0-3 | padding, only where fewer than 4 bytes are left of a sector |
//! | | 4 | header of segment 1 |
//! | | ... | and so on, one segment for each sector of the data, the last one shorter |
//!
//! A segment header never crosses a sector boundary of the payload: where it would, the rest of
//! the sector is filled with zeroes and the header starts the next sector. The LZO1X bytes
//! themselves cross boundaries freely. The padding counts towards the total when a header
//! follows it; kernels also count it after the last segment, which no reader minds in a
//! regular extent.
//!
//! The kernel describes this framing in a comment of fs/btrfs/lzo.c (*Btrfs LZO compression
//! format*). [`lzo1x`](crate::lzo1x) has the code inside a segment.
//!
//! The sector size is not in the payload. It is the ioctl's compression type (`LZO_4K` to
//! `LZO_64K`), and a payload laid out for one sector size is not readable with another.
//!
//! In an inline extent a payload is exactly one segment and no padding: the total is the
//! payload's length and `L` is the total less 8. [`crate::Encoder`] makes that shape of any
//! data of at most one sector.

use btrfs_payload_common::MAX_EXTENT;

/// Size of the total and of each segment header, bytes (`LZO_LEN` in fs/btrfs/lzo.c, 5.19 to
/// 7.2).
pub const LEN_SIZE: usize = 4;

/// Smallest segment, bytes: the LZO1X end marker alone (lib/lzo/lzo1x_decompress_safe.c, 5.19
/// to 7.2).
pub const MIN_SEGMENT: usize = 3;

/// Smallest sector size of an LZO payload, bytes (`BTRFS_ENCODED_IO_COMPRESSION_LZO_4K`,
/// include/uapi/linux/btrfs.h, 5.18).
pub const MIN_SECTOR: usize = 4096;

/// Largest sector size of an LZO payload, bytes (`BTRFS_ENCODED_IO_COMPRESSION_LZO_64K`,
/// include/uapi/linux/btrfs.h, 5.18).
pub const MAX_SECTOR: usize = 65536;

/// True for the sector sizes there is a compression type for: the powers of two from 4096 to
/// 65536.
#[must_use]
pub const fn is_sector_size(sector_size: usize) -> bool {
    sector_size.is_power_of_two() && sector_size >= MIN_SECTOR && sector_size <= MAX_SECTOR
}

/// The length, in bytes, that neither a segment nor what it decodes to may exceed for a sector
/// (or page) of `x` bytes.
///
/// It is the worst case of LZO1X for `x` bytes of input plus 2: `lzo1x_worst_compress` in
/// include/linux/lzo.h, as used by fs/btrfs/lzo.c, 5.19 to 7.2.
///
/// ```
/// use btrfs_payload_lzo::layout::worst;
/// assert_eq!(worst(4096), 4421);
/// assert_eq!(worst(65536), 69701);
/// ```
#[must_use]
pub const fn worst(x: usize) -> usize {
    x.saturating_add(x / 16).saturating_add(64 + 3 + 2)
}

/// Number of padding bytes between payload offset `position` and the next segment header.
///
/// ```
/// use btrfs_payload_lzo::layout::padding;
/// assert_eq!(padding(4092, 4096), 0);
/// assert_eq!(padding(4093, 4096), 3);
/// assert_eq!(padding(4095, 4096), 1);
/// assert_eq!(padding(4096, 4096), 0);
/// ```
#[must_use]
pub const fn padding(position: usize, sector_size: usize) -> usize {
    let used = match position.checked_rem(sector_size) {
        Some(used) => used,
        None => return 0,
    };
    let left = sector_size - used;
    if left < LEN_SIZE { left } else { 0 }
}

/// `length` rounded up to whole sectors, bytes; the largest `usize` where that overflows.
#[must_use]
pub const fn round_up(length: usize, sector_size: usize) -> usize {
    match length.checked_next_multiple_of(sector_size) {
        Some(rounded) => rounded,
        None => usize::MAX,
    }
}

/// The most bytes a payload for `data` bytes can have at the given sector size.
#[must_use]
pub const fn bound(data: usize, sector_size: usize) -> usize {
    let segments = data.div_ceil(if sector_size == 0 { 1 } else { sector_size });
    let each = worst(sector_size).saturating_add(2 * LEN_SIZE);
    segments.saturating_mul(each).saturating_add(LEN_SIZE)
}

/// The total a payload declares, bytes; `None` when it is shorter than the field.
///
/// A payload as it lies on disk or in a send stream is padded to the sector with zeroes; what
/// the total covers is the part that [`crate::Decoder`] takes.
#[must_use]
pub fn total(payload: &[u8]) -> Option<usize> {
    length_at(payload, 0)
}

/// The length that the first segment's header declares, bytes; `None` when the payload is shorter
/// than that header.
#[must_use]
pub fn first_segment(payload: &[u8]) -> Option<usize> {
    length_at(payload, LEN_SIZE)
}

/// The little-endian length at `position`, if its four bytes are there.
pub(crate) fn length_at(payload: &[u8], position: usize) -> Option<usize> {
    let bytes = payload.get(position..)?.first_chunk::<LEN_SIZE>()?;
    usize::try_from(u32::from_le_bytes(*bytes)).ok()
}

/// Most segments a payload can need: one for each sector of the largest extent.
#[must_use]
pub const fn max_segments(sector_size: usize) -> usize {
    MAX_EXTENT.div_ceil(if sector_size == 0 { 1 } else { sector_size })
}
