//! The byte table of a zlib stream and its numbers
//! ([RFC 1950](https://www.rfc-editor.org/rfc/rfc1950),
//! [RFC 1951](https://www.rfc-editor.org/rfc/rfc1951)).
//!
//! | bytes | field | what btrfs makes of it |
//! | --- | --- | --- |
//! | 0 | CMF: bits 0-3 CM (8 = deflate), bits 4-7 CINFO (window is 2^(CINFO+8) bytes) | CINFO above 7 is refused, below 7 the small window is enforced |
//! | 1 | FLG: bits 0-4 FCHECK, bit 5 FDICT, bits 6-7 FLEVEL | CMF * 256 + FLG is a multiple of 31; FDICT is refused; FLEVEL is a remark |
//! | 2.. | deflate blocks, least significant bit first | |
//! | last 4 | adler32 of the output, big-endian | checked by few kernels, always by `btrfs receive` |
//!
//! A block starts with BFINAL (1 bit) and BTYPE (2 bits):
//!
//! | BTYPE | block | follows |
//! | --- | --- | --- |
//! | 0 | stored | bits up to the byte boundary, LEN (16), NLEN = !LEN (16), LEN bytes |
//! | 1 | fixed Huffman codes | symbols up to end-of-block |
//! | 2 | dynamic Huffman codes | HLIT (5), HDIST (5), HCLEN (4), code lengths, symbols up to end-of-block |
//! | 3 | reserved | |

use btrfs_payload_common::MAX_EXTENT;

/// Length of CMF and FLG, bytes.
pub const HEADER_LEN: usize = 2;

/// Length of the adler32 trailer, bytes.
pub const TRAILER_LEN: usize = 4;

/// CM of deflate, the only method there is.
pub const CM_DEFLATE: u8 = 8;

/// The largest CINFO: a window of 32 KiB.
pub const CINFO_MAX: u8 = 7;

/// The largest distance deflate can express, and the largest window, bytes.
pub const WINDOW_MAX: usize = 32 * 1024;

/// The longest match, bytes.
pub const MATCH_MAX: usize = 258;

/// Length of the dictionary identifier after the header when FDICT is set, bytes.
pub const DICTID_LEN: usize = 4;

/// The two header bytes, any values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Header {
    /// Byte 0.
    pub cmf: u8,
    /// Byte 1.
    pub flg: u8,
}

impl Header {
    /// The first two bytes of a payload, `None` when there are fewer.
    ///
    /// ```
    /// use btrfs_payload_zlib::layout::Header;
    /// let header = Header::of(&[0x78, 0x9c, 3, 0]).unwrap();
    /// assert!(header.check_ok() && !header.has_dictionary());
    /// assert_eq!((header.method(), header.window()), (8, 32768));
    /// ```
    #[must_use]
    pub fn of(payload: &[u8]) -> Option<Self> {
        payload.first_chunk().map(|&[cmf, flg]| Self { cmf, flg })
    }

    /// CM: 8 is deflate.
    #[must_use]
    pub fn method(self) -> u8 {
        self.cmf & 0x0f
    }

    /// CINFO: the window's base-2 logarithm minus 8.
    #[must_use]
    pub fn cinfo(self) -> u8 {
        self.cmf >> 4
    }

    /// The declared window, bytes: 256 to 32 KiB for a legal CINFO.
    #[must_use]
    pub fn window(self) -> usize {
        1 << (self.cinfo() + 8)
    }

    /// FDICT: a preset dictionary would be needed.
    #[must_use]
    pub fn has_dictionary(self) -> bool {
        self.flg & 0x20 != 0
    }

    /// FLEVEL: 0 fastest, 1 fast, 2 default, 3 best; by convention, nobody checks it.
    #[must_use]
    pub fn level(self) -> u8 {
        self.flg >> 6
    }

    /// CMF * 256 + FLG.
    #[must_use]
    pub fn word(self) -> u16 {
        u16::from_be_bytes([self.cmf, self.flg])
    }

    /// FCHECK makes the word a multiple of 31.
    #[must_use]
    pub fn check_ok(self) -> bool {
        self.word().is_multiple_of(31)
    }
}

/// Most bytes a payload of this crate's encoders can have, for data of one extent: stored
/// blocks of at least 5000 bytes, header, trailer.
pub(crate) const PAYLOAD_MAX: usize = MAX_EXTENT + (MAX_EXTENT / 5000 + 1) * 5 + 64;
