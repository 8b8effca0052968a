//! Whether an encoded write becomes an inline or a regular extent.
//!
//! The two are read by different code with different rules, so everything that may become
//! inline has to satisfy both. `cow_file_range_inline` and, later, `can_cow_file_range_inline`
//! in fs/btrfs/inode.c decide:
//!
//! | condition | from |
//! | --- | --- |
//! | the write starts at 0 and shows all decoded bytes | all |
//! | `len` is at most a sector | all |
//! | the payload is at most `max_inline` and fits a leaf | all |
//! | the file is not longer than `len` | all |
//! | sectors are not smaller than a page | 6.10 to 6.14 |
//! | `len` and payload are at most a page | since 6.19, which takes sectors larger than a page |
//!
//! Since 6.16 the payload has to be smaller than a sector, which the ioctl asks of it anyway.

use btrfs_payload_common::{Behaviour, Kernel};

use super::limits::INLINE_OVERHEAD;
use super::{EncodedIoId, ExtentFields, Target};

/// The kind of file extent an accepted encoded write becomes.
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "lowercase"))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Placement {
    /// In the metadata leaf, unpadded.
    Inline,
    /// In sectors of its own, zero-padded.
    Regular,
}

/// What becomes of an accepted encoded write of `payload_len` bytes on this kernel. A lack of
/// metadata space can still turn inline into regular.
#[must_use]
pub fn placement(
    payload_len: u64,
    fields: &ExtentFields,
    target: &Target,
    kernel: Kernel,
) -> Placement {
    let on_subpage =
        !kernel.has(Behaviour::NoInlineOnSubpage) || kernel.has(Behaviour::InlineOnSubpage);
    let fits_page = fields.len.max(payload_len) <= u64::from(target.page_size);
    let fits = can_be_inline(payload_len, fields, target)
        && (on_subpage || target.sector_size >= target.page_size)
        && (fits_page || !kernel.has(Behaviour::SectorsBeyondPages));
    if fits {
        Placement::Inline
    } else {
        Placement::Regular
    }
}

/// True when some kernel makes an inline extent of it. It can become regular all the same.
#[must_use]
pub fn can_be_inline(payload_len: u64, fields: &ExtentFields, target: &Target) -> bool {
    let leaf_space = u64::from(target.node_size.saturating_sub(INLINE_OVERHEAD));
    target.offset == 0
        && !fields.is_slice()
        && fields.len <= u64::from(target.sector_size)
        && payload_len <= u64::from(target.max_inline.min(target.sector_size))
        && payload_len <= leaf_space
        && fields.len >= target.file_size
}

/// Sectors that the same bytes of a file take on disk, in two ways.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Sectors {
    /// As plain data.
    pub plain: u64,
    /// As a payload.
    pub encoded: u64,
}

impl Sectors {
    /// For a payload of `payload_len` bytes, and the `len` bytes that it stands for.
    #[must_use]
    pub fn of(payload_len: u64, fields: &ExtentFields, target: &Target) -> Self {
        Self {
            plain: plain_sectors(fields.len, target),
            encoded: sectors_unless(
                can_be_inline(payload_len, fields, target),
                payload_len,
                target,
            ),
        }
    }
}

/// Sectors that `len` bytes of plain data take on disk.
#[must_use]
pub fn plain_sectors(len: u64, target: &Target) -> u64 {
    let fields = ExtentFields::whole(len, EncodedIoId::NONE);
    // Plain data that fills a sector is never inline.
    let inline = can_be_inline(len, &fields, target) && len < u64::from(target.sector_size);
    sectors_unless(inline, len, target)
}

/// An inline extent takes no sector.
fn sectors_unless(inline: bool, bytes: u64, target: &Target) -> u64 {
    if inline {
        0
    } else {
        bytes.div_ceil(u64::from(target.sector_size.max(1)))
    }
}
