//! Errors of encoding and decoding.

use thiserror::Error;

use crate::fault::Fault;

/// Why data could not be encoded.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// The level does not exist; choose another.
    #[error("zstd level {got}, expected {min} to {max}")]
    Level {
        /// Level asked for.
        got: i32,
        /// Lowest level of the library.
        min: i32,
        /// Highest level of the library.
        max: i32,
    },
    /// An extent holds 1 to 131072 bytes; split the data.
    #[error("{got} bytes to encode, expected 1 to {max}")]
    Length {
        /// Bytes given.
        got: usize,
        /// Bytes allowed.
        max: usize,
    },
    /// No memory for the library's context.
    #[error("no memory for the zstd context")]
    Memory,
    /// The library failed in a way it should not.
    #[error("libzstd: {message}")]
    Library {
        /// The library's own words.
        message: &'static str,
    },
}

/// Why a payload could not be decoded.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The payload breaks a rule.
    #[error(transparent)]
    Format(#[from] Fault),
    /// The frame is well-formed but decodes to more than the caller's buffer holds.
    #[error("the frame holds {needed} bytes, more than {limit}")]
    TooLong {
        /// Bytes of content.
        needed: u64,
        /// Length of the caller's buffer, bytes.
        limit: usize,
    },
    /// No memory for the library's context.
    #[error("no memory for the zstd context")]
    Memory,
    /// The library failed where this crate's own check found nothing.
    #[error("libzstd: {message}")]
    Library {
        /// The library's own words.
        message: &'static str,
    },
}
