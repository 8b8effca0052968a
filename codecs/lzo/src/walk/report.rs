//! What the walker reports: pieces of a payload, and faults, in words.

use std::fmt;

use thiserror::Error;

use crate::lzo1x;

/// One structure of a payload; `Display` is its meaning in words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// The total.
    Total {
        /// Its value, bytes.
        total: usize,
    },
    /// A segment header.
    Header {
        /// Number of the segment, from 0.
        segment: usize,
        /// Its length, bytes.
        len: usize,
    },
    /// The LZO1X bytes of a segment, as far as they are in the payload.
    Segment {
        /// Number of the segment, from 0.
        segment: usize,
        /// Bytes it decodes to; `None` where it does not.
        out: Option<usize>,
    },
    /// The rest of a sector that has no room for a header.
    Padding {
        /// True if every byte is zero.
        zero: bool,
    },
    /// Bytes after the total.
    Behind {
        /// True if every byte is zero.
        zero: bool,
    },
    /// Bytes that the structure before them does not explain.
    Unexplained,
    /// Not looked at, because the output limit was reached before.
    Unexamined,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Total { total } => write!(f, "total, {total} bytes"),
            Self::Header { segment, len } => {
                write!(f, "header of segment {segment}, {len} bytes follow")
            }
            Self::Segment {
                segment,
                out: Some(out),
            } => write!(f, "segment {segment}, {out} bytes out"),
            Self::Segment { segment, out: None } => {
                write!(f, "segment {segment}, does not decode")
            }
            Self::Padding { zero: true } => f.write_str("padding to the sector"),
            Self::Padding { zero: false } => f.write_str("padding to the sector, not zero"),
            Self::Behind { zero: true } => f.write_str("zeroes after the total"),
            Self::Behind { zero: false } => f.write_str("bytes after the total"),
            Self::Unexplained => f.write_str("not part of any structure"),
            Self::Unexamined => f.write_str("not examined, output limit reached"),
        }
    }
}

/// A broken rule, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Fault {
    /// Byte of the payload.
    pub offset: u64,
    /// Which rule.
    pub kind: FaultKind,
}

/// A rule that is broken; `Display` is one sentence that says what is there and what was
/// expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Error)]
#[non_exhaustive]
pub enum FaultKind {
    /// There is no compression type for the sector size.
    #[error("the sector size is {got}, a power of two from 4096 to 65536 expected")]
    SectorSize {
        /// The sector size given, bytes.
        got: usize,
    },
    /// The payload has no room for the total.
    #[error("the payload has {got} bytes, 4 are needed for the total alone")]
    PayloadTooShort {
        /// Length of the payload, bytes.
        got: usize,
    },
    /// The total covers no segment.
    #[error("the total is {got}, at least 11 expected (total, header and end marker)")]
    TotalTooShort {
        /// The total, bytes.
        got: usize,
    },
    /// The total is greater than any extent.
    #[error("the total is {got}, at most {expected} expected")]
    TotalTooLong {
        /// The total, bytes.
        got: usize,
        /// The greatest extent, bytes.
        expected: usize,
    },
    /// The total is greater than the payload.
    #[error("the total is {got}, the payload has {expected} bytes")]
    TotalPastPayload {
        /// The total, bytes.
        got: usize,
        /// Length of the payload, bytes.
        expected: usize,
    },
    /// Rounded up to the sector, total and payload differ: the kernel refuses the extent.
    #[error("the total {got} does not end in the payload's last sector, which ends at {expected}")]
    TotalNotInLastSector {
        /// The total, bytes.
        got: usize,
        /// Length of the payload rounded up to the sector, bytes.
        expected: usize,
    },
    /// Zeroes after the total: harmless in the last sector of a regular extent, wrong in an
    /// inline extent.
    #[error("{got} zero bytes after the total, none expected")]
    ZeroesBehindTotal {
        /// Number of bytes.
        got: usize,
    },
    /// Other bytes after the total; no reader of a regular extent looks at them.
    #[error("{got} bytes after the total, none expected")]
    BytesBehindTotal {
        /// Number of bytes.
        got: usize,
    },
    /// The total ends inside a segment header.
    #[error("the total ends {got} bytes into a segment header of {expected}")]
    HeaderPastTotal {
        /// Bytes of the header that the total covers.
        got: usize,
        /// Bytes of a header.
        expected: usize,
    },
    /// The payload ends inside a segment header.
    #[error("the payload ends {got} bytes into a segment header of {expected}")]
    HeaderPastPayload {
        /// Bytes of the header that are there.
        got: usize,
        /// Bytes of a header.
        expected: usize,
    },
    /// A header lies across a sector boundary.
    #[error(
        "a segment header crosses the sector boundary, {got} bytes before it; zero padding and a header after it expected"
    )]
    HeaderStraddles {
        /// Bytes of the header before the boundary.
        got: usize,
    },
    /// The padding before a header is not zero; readers skip it unseen.
    #[error("padding of {got} bytes is not zero")]
    PaddingNotZero {
        /// Number of padding bytes.
        got: usize,
    },
    /// The segment is shorter than an end marker.
    #[error("segment {segment} has {got} bytes, at least 3 expected")]
    SegmentTooShort {
        /// Number of the segment, from 0.
        segment: usize,
        /// Its length, bytes.
        got: usize,
    },
    /// The segment is longer than readers take.
    #[error("segment {segment} has {got} bytes, at most {expected} expected")]
    SegmentTooLong {
        /// Number of the segment, from 0.
        segment: usize,
        /// Its length, bytes.
        got: usize,
        /// The greatest length, bytes.
        expected: usize,
    },
    /// The segment ends after the total.
    #[error("segment {segment} ends at {got}, the total is {expected}")]
    SegmentPastTotal {
        /// Number of the segment, from 0.
        segment: usize,
        /// Where it ends.
        got: usize,
        /// The total, bytes.
        expected: usize,
    },
    /// The segment ends after the payload, but before its last sector does: the zeroes that
    /// pad it on disk are decoded.
    #[error("segment {segment} ends at {got}, the payload has {expected} bytes")]
    SegmentPastPayload {
        /// Number of the segment, from 0.
        segment: usize,
        /// Where it ends.
        got: usize,
        /// Length of the payload, bytes.
        expected: usize,
    },
    /// The segment ends after the last sector of the payload: what kernels do is undefined.
    #[error("segment {segment} ends at {got}, the payload's last sector ends at {expected}")]
    SegmentPastDisk {
        /// Number of the segment, from 0.
        segment: usize,
        /// Where it ends.
        got: usize,
        /// Length of the payload rounded up to the sector, bytes.
        expected: usize,
    },
    /// The segment starts with the marker of the kernel's run-length extension, which only the
    /// kernel understands.
    #[error("segment {segment} starts with the run-length marker 11, version {version}")]
    RunLengthMarker {
        /// Number of the segment, from 0.
        segment: usize,
        /// The byte after the marker.
        version: u8,
    },
    /// The segment does not decode.
    #[error("in segment {segment}, {fault}")]
    Segment {
        /// Number of the segment, from 0.
        segment: usize,
        /// What is wrong with the instruction.
        fault: lzo1x::Fault,
    },
    /// The segment decodes to more than a sector; the kernel takes that, others do not.
    #[error("segment {segment} decodes to {got} bytes, at most a sector of {expected} expected")]
    SegmentOutputLong {
        /// Number of the segment, from 0.
        segment: usize,
        /// Bytes it decodes to.
        got: usize,
        /// Bytes of a sector.
        expected: usize,
    },
    /// The segment decodes to less than a sector and is not the last.
    #[error(
        "segment {segment} decodes to {got} bytes and another follows, a sector of {expected} expected"
    )]
    SegmentOutputShort {
        /// Number of the segment, from 0.
        segment: usize,
        /// Bytes it decodes to.
        got: usize,
        /// Bytes of a sector.
        expected: usize,
    },
    /// The segment decodes to nothing.
    #[error("segment {segment} decodes to nothing, at least 1 byte expected")]
    SegmentOutputEmpty {
        /// Number of the segment, from 0.
        segment: usize,
    },
    /// More segments than an extent has sectors.
    #[error("segment {segment} is one more than the {expected} that an extent can need")]
    TooManySegments {
        /// Number of the segment, from 0.
        segment: usize,
        /// The most segments there can be.
        expected: usize,
    },
}
