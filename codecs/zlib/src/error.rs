//! What can go wrong when making and when reading a stream.

use btrfs_payload_common::MAX_EXTENT;
use thiserror::Error;

use crate::inflate::Flaw;

/// Why data could not be encoded.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// No such level; choose one of 1 to 9.
    #[error("zlib has levels 1 to 9, not {got}")]
    Level {
        /// What was asked for.
        got: u32,
    },
    /// The data is empty or larger than an extent; split it.
    #[error("an extent holds 1 to {MAX_EXTENT} bytes, not {got}")]
    DataLen {
        /// Length of the data, bytes.
        got: usize,
    },
    /// The encoder's library gave up; not expected for any input.
    #[error("the deflate library failed")]
    Library,
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
        /// A byte behind the match.
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
    /// The checksum behind the data is not that of the data.
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
    #[error("{len} bytes behind the end of the stream (at offset {offset})")]
    Trailing {
        /// First byte behind the stream.
        offset: u64,
        /// How many there are.
        len: usize,
    },
}
