//! What can go wrong when making and when reading a stream.

use thiserror::Error;

use crate::inflate::Flaw;

/// Why data could not be encoded.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// The level does not exist; choose another.
    #[error("zlib level {got}, expected {min} to {max}")]
    Level {
        /// Level asked for.
        got: u32,
        /// Lowest level.
        min: u32,
        /// Highest level.
        max: u32,
    },
    /// An extent holds 1 to 131072 bytes; split the data.
    #[error("{got} bytes to encode, expected 1 to {max}")]
    Length {
        /// Bytes given.
        got: usize,
        /// Bytes allowed.
        max: usize,
    },
    /// The library failed in a way it should not.
    #[error("deflate: {message}")]
    Library {
        /// What did not work.
        message: &'static str,
    },
}

/// Why a payload is not exactly one well-formed zlib stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The payload ends before the stream does.
    #[error("the stream is cut off: the payload ends at byte {offset}")]
    Truncated {
        /// Length of the payload, bytes.
        offset: u64,
    },
    /// CMF and FLG are not those of a deflate stream that needs no dictionary.
    #[error("header {got:#06x} is not that of a deflate stream without dictionary")]
    Header {
        /// CMF * 256 + FLG.
        got: u16,
    },
    /// The deflate data breaks a rule.
    #[error("{flaw} (at offset {offset})")]
    Deflate {
        /// Byte in which the offending field or symbol starts.
        offset: u64,
        /// The rule.
        flaw: Flaw,
    },
    /// A match reaches further back than the header's window allows.
    #[error("distance {got} in a window of {expected} bytes (before offset {offset})")]
    BeyondWindow {
        /// A byte after the match.
        offset: u64,
        /// The distance, bytes.
        got: usize,
        /// The declared window, bytes.
        expected: usize,
    },
    /// The stream decodes to more than the caller's buffer holds.
    #[error("the stream holds more than {limit} bytes")]
    TooLong {
        /// Length of the caller's buffer, bytes.
        limit: usize,
    },
    /// The checksum after the data is not that of the data.
    #[error("adler32 is {got:#010x}, the data has {expected:#010x} (at offset {offset})")]
    Checksum {
        /// Byte where the stored checksum starts.
        offset: u64,
        /// What is stored.
        got: u32,
        /// What the data has.
        expected: u32,
    },
    /// The stream ends before the payload does.
    #[error("{len} bytes past the end of the stream (at offset {offset})")]
    Trailing {
        /// First byte after the stream.
        offset: u64,
        /// How many there are.
        len: usize,
    },
}
