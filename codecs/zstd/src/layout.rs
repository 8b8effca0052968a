//! The bytes of a zstd frame ([RFC 8878](https://www.rfc-editor.org/rfc/rfc8878)) and the numbers
//! that bound it.
//!
//! | bytes | field | present |
//! | --- | --- | --- |
//! | 4 | magic number, `28 b5 2f fd` | always |
//! | 1 | frame header descriptor, see [`FrameHeader`] | always |
//! | 1 | window descriptor: exponent (5 bits), mantissa (3 bits) | unless single segment |
//! | 0, 1, 2, 4 | dictionary ID | descriptor bits 0-1 |
//! | 0, 1, 2, 4, 8 | content size (the 2-byte form counts from 256) | descriptor bits 6-7 |
//! | 3 | block header: last block (1 bit), type (2 bits), size (21 bits) | each block |
//! | n | block content: raw bytes, one byte to repeat, or literals and sequences | each block |
//! | 4 | checksum: the low half of XXH64 of the content | descriptor bit 2 |
//!
//! Literals section of a compressed block:
//!
//! | bytes | field |
//! | --- | --- |
//! | 1-5 | header: type (raw, RLE, compressed, treeless), size format, regenerated size, compressed size |
//! | n | Huffman tree description (compressed only): direct 4-bit weights, or FSE-coded ones |
//! | 6 | jump table: sizes of the first three of four streams (unless one stream) |
//! | n | one or four Huffman streams, read from their last bit backwards |
//!
//! Sequences section:
//!
//! | bytes | field |
//! | --- | --- |
//! | 1-3 | number of sequences |
//! | 1 | modes of the three tables: predefined, RLE, FSE, repeat (2 bits each; 2 reserved bits) |
//! | n | tables of literal lengths, offsets and match lengths, as the modes say |
//! | n | bitstream of the sequences, read from its last bit backwards |
//!
//! All numbers are little-endian.

use btrfs_payload_common::Cursor;

/// First four bytes of a frame, as a little-endian number.
pub const MAGIC: u32 = 0xfd2f_b528;

/// First four bytes of a skippable frame; the low four bits are free.
pub const MAGIC_SKIPPABLE: u32 = 0x184d_2a50;

/// The bits of [`MAGIC_SKIPPABLE`] that count.
pub const MAGIC_SKIPPABLE_MASK: u32 = 0xffff_fff0;

/// Largest content of a block and largest block, bytes (`ZSTD_BLOCKSIZE_MAX`).
pub const BLOCK_MAX: usize = 128 * 1024;

/// Largest window that every kernel can always decode, bytes: 2^17, the encoder's limit in the
/// kernel (`ZSTD_BTRFS_MAX_WINDOWLOG`, fs/btrfs/zstd.c).
pub const WINDOW_MAX: u64 = 1 << 17;

/// Bytes of a block header.
pub const BLOCK_HEADER: usize = 3;

/// Bytes of the checksum.
pub const CHECKSUM: usize = 4;

/// Largest exponent of a window that libzstd takes on 64-bit machines (`ZSTD_WINDOWLOG_MAX`).
const WINDOW_LOG_MAX: u32 = 31;

/// The header of a frame, everything between the magic number and the first block.
///
/// Bits of the descriptor byte:
///
/// | bits | field |
/// | --- | --- |
/// | 7-6 | width of the content size: 0 (1 when single segment), 2, 4, 8 bytes |
/// | 5 | single segment: no window descriptor, the window is the content size |
/// | 4 | unused, ignored by decoders |
/// | 3 | reserved, must be zero |
/// | 2 | checksum present |
/// | 1-0 | width of the dictionary ID: 0, 1, 2, 4 bytes |
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct FrameHeader {
    /// The descriptor byte.
    pub descriptor: u8,
    /// The window descriptor byte, unless single segment.
    pub window_descriptor: Option<u8>,
    /// The dictionary ID and the width of its field in bytes; 0 wide when absent.
    pub dictionary_id: (u32, usize),
    /// Declared size of the content in bytes.
    pub content_size: Option<u64>,
    /// Width of the content size field, bytes.
    pub content_size_width: usize,
}

/// Why a frame header cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum HeaderEnds {
    /// Fewer bytes than the header has; the number it has in all, magic included.
    Truncated(usize),
    /// A bit that must be zero is set.
    ReservedBit,
    /// The window's exponent is larger than any decoder takes.
    WindowLog(u32),
}

impl FrameHeader {
    /// Bytes of a header with this descriptor, magic number included.
    #[must_use]
    pub fn size_of(descriptor: u8) -> usize {
        let single = descriptor & 0x20 != 0;
        let content = match (descriptor >> 6, single) {
            (0, false) => 0,
            (0, true) => 1,
            (1, _) => 2,
            (2, _) => 4,
            _ => 8,
        };
        let dictionary = match descriptor & 3 {
            3 => 4,
            width => usize::from(width),
        };
        4 + 1 + usize::from(!single) + dictionary + content
    }

    /// Reads the header at the start of `frame`, whose magic number the caller has seen.
    ///
    /// # Errors
    /// The rules that every decoder enforces, in the order in which decoders check them.
    pub fn parse(frame: &[u8]) -> Result<Self, HeaderEnds> {
        let Some(&descriptor) = frame.get(4) else {
            return Err(HeaderEnds::Truncated(5));
        };
        let size = Self::size_of(descriptor);
        let Some(header) = frame.get(5..size) else {
            return Err(HeaderEnds::Truncated(size));
        };
        if descriptor & 0x08 != 0 {
            return Err(HeaderEnds::ReservedBit);
        }
        let truncated = |_| HeaderEnds::Truncated(size);
        let mut cursor = Cursor::new(header, 5);
        let single = descriptor & 0x20 != 0;
        let window_descriptor = match single {
            true => None,
            false => Some(cursor.u8().map_err(truncated)?),
        };
        if let Some(byte) = window_descriptor {
            let log = 10 + u32::from(byte >> 3);
            if log > WINDOW_LOG_MAX {
                return Err(HeaderEnds::WindowLog(log));
            }
        }
        let dictionary_id = match descriptor & 3 {
            0 => (0, 0),
            1 => (u32::from(cursor.u8().map_err(truncated)?), 1),
            2 => (u32::from(cursor.u16_le().map_err(truncated)?), 2),
            _ => (cursor.u32_le().map_err(truncated)?, 4),
        };
        let (content_size, content_size_width) = match descriptor >> 6 {
            0 if single => (Some(u64::from(cursor.u8().map_err(truncated)?)), 1),
            0 => (None, 0),
            1 => {
                let low = u64::from(cursor.u16_le().map_err(truncated)?);
                (Some(low + 256), 2)
            }
            2 => (Some(u64::from(cursor.u32_le().map_err(truncated)?)), 4),
            _ => (Some(cursor.u64_le().map_err(truncated)?), 8),
        };
        Ok(Self {
            descriptor,
            window_descriptor,
            dictionary_id,
            content_size,
            content_size_width,
        })
    }

    /// Bytes of the header, magic number included.
    #[must_use]
    pub fn size(&self) -> usize {
        Self::size_of(self.descriptor)
    }

    /// True when the content is its own window.
    #[must_use]
    pub fn single_segment(&self) -> bool {
        self.descriptor & 0x20 != 0
    }

    /// True when a checksum follows the last block.
    #[must_use]
    pub fn checksum(&self) -> bool {
        self.descriptor & 0x04 != 0
    }

    /// The declared content size; the largest 8-byte number stands for an unknown one
    /// (`ZSTD_CONTENTSIZE_UNKNOWN`).
    #[must_use]
    pub fn known_size(&self) -> Option<u64> {
        self.content_size.filter(|&size| size != u64::MAX)
    }

    /// The declared window, bytes: how far back a match may reach.
    #[must_use]
    pub fn window(&self) -> u64 {
        let Some(byte) = self.window_descriptor else {
            return self.content_size.unwrap_or(0);
        };
        let base = 1u64 << (10 + u32::from(byte >> 3));
        base + base / 8 * u64::from(byte & 7)
    }

    /// Largest block, compressed or decoded, bytes: the window, at most 128 KiB.
    #[must_use]
    pub fn block_max(&self) -> usize {
        usize::try_from(self.window()).map_or(BLOCK_MAX, |window| window.min(BLOCK_MAX))
    }
}

/// What a block header announces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockHeader {
    /// No block follows.
    pub last: bool,
    /// Raw, RLE, compressed; 3 is reserved.
    pub kind: BlockKind,
    /// The size field: bytes of content that follow, except that an RLE block has one byte and
    /// this is how often it is repeated.
    pub size: usize,
}

/// The four block types.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BlockKind {
    /// Bytes as they are.
    Raw,
    /// One byte, repeated.
    Rle,
    /// Literals and sequences.
    Compressed,
    /// Not allowed.
    Reserved,
}

impl BlockHeader {
    /// Reads three bytes.
    #[must_use]
    pub fn parse(bytes: [u8; BLOCK_HEADER]) -> Self {
        let [low, middle, high] = bytes;
        let kind = match (low >> 1) & 3 {
            0 => BlockKind::Raw,
            1 => BlockKind::Rle,
            2 => BlockKind::Compressed,
            _ => BlockKind::Reserved,
        };
        Self {
            last: low & 1 != 0,
            kind,
            size: usize::from(low >> 3) | usize::from(middle) << 5 | usize::from(high) << 13,
        }
    }

    /// Bytes of content after the header.
    #[must_use]
    pub fn stored(&self) -> usize {
        match self.kind {
            BlockKind::Rle => 1,
            _ => self.size,
        }
    }
}
