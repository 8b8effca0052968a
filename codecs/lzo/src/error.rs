//! What can go wrong when encoding and when decoding strictly.

use thiserror::Error;

use crate::lzo1x;

/// Why [`crate::Encoder`] made no payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// There is no LZO compression type for this sector size. Caller's mistake.
    #[error("sector size {got} is not a power of two from 4096 to 65536")]
    SectorSize {
        /// The sector size asked for, bytes.
        got: usize,
    },
    /// An extent holds 1 to 131072 bytes, a segment 1 to 65536; split the data.
    #[error("{got} bytes to encode, expected 1 to {max}")]
    Length {
        /// Bytes given.
        got: usize,
        /// Bytes allowed.
        max: usize,
    },
}

impl EncodeError {
    /// Refuses data of no or of more than `max` bytes.
    pub(crate) fn check_length(got: usize, max: usize) -> Result<(), Self> {
        if got == 0 || got > max {
            return Err(Self::Length { got, max });
        }
        Ok(())
    }
}

/// Why [`crate::Decoder`] refused a payload. Every offset counts bytes from the payload's
/// start. [`crate::walk()`] tells all faults; this is only the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// There is no LZO compression type for this sector size. Caller's mistake.
    #[error("sector size {got} is not a power of two from 4096 to 65536")]
    SectorSize {
        /// The sector size asked for, bytes.
        got: usize,
    },
    /// The payload ends inside the total or inside a segment header.
    #[error("a length field needs {expected} bytes, {got} are there (at offset {offset})")]
    Truncated {
        /// Where the field starts.
        offset: u64,
        /// Bytes that are there.
        got: usize,
        /// Bytes of the field.
        expected: usize,
    },
    /// The total is not the length of the payload.
    #[error("total is {got}, the payload has {expected} bytes (at offset 0)")]
    Total {
        /// The declared total, bytes.
        got: usize,
        /// Length of the payload, bytes.
        expected: usize,
    },
    /// There is no segment at all.
    #[error("no segment (at offset 4)")]
    NoSegment,
    /// A segment's length is below the end marker's or above what readers take.
    #[error("segment of {got} bytes, 3 to {expected} are possible (at offset {offset})")]
    SegmentLength {
        /// Where the segment's header starts.
        offset: u64,
        /// The declared length, bytes.
        got: usize,
        /// The greatest length readers take, bytes.
        expected: usize,
    },
    /// A segment runs past the payload.
    #[error("segment of {got} bytes, {expected} are left (at offset {offset})")]
    SegmentEnd {
        /// Where the segment's header starts.
        offset: u64,
        /// The declared length, bytes.
        got: usize,
        /// Bytes left in the payload.
        expected: usize,
    },
    /// A segment decodes to a part of a sector, and another one follows.
    #[error("segment of {got} decoded bytes, {expected} expected (header at offset {offset})")]
    SegmentOutput {
        /// Where the segment's header starts.
        offset: u64,
        /// Bytes it decodes to.
        got: usize,
        /// Bytes of a sector (or 1, where it decodes to nothing).
        expected: usize,
    },
    /// A padding byte is not zero.
    #[error("padding is not zero (at offset {offset})")]
    Padding {
        /// Where the padding starts.
        offset: u64,
    },
    /// The LZO1X bytes of a segment are wrong.
    #[error("{fault} (at offset {offset})")]
    Segment {
        /// The instruction at fault.
        offset: u64,
        /// What is wrong with it.
        fault: lzo1x::Fault,
    },
    /// The payload decodes to more than the caller's buffer holds.
    #[error("the payload holds more than {limit} bytes (segment at offset {offset})")]
    TooLong {
        /// Where the header of the segment that does not fit starts.
        offset: u64,
        /// Length of the caller's buffer, bytes.
        limit: usize,
    },
}
