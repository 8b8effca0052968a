//! What a walk reports: pieces and faults, in words.

use std::fmt;

use btrfs_payload_common::Piece;
use thiserror::Error;

use crate::inflate::Flaw;
use crate::layout::Header;

/// What a walk comes across, in the order of the payload.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// The next structure.
    Piece(Piece<Kind>),
    /// A broken rule; reported before or after the piece it concerns.
    Fault(Fault),
}

/// The three types of block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BlockType {
    /// BTYPE 0.
    Stored,
    /// BTYPE 1.
    Fixed,
    /// BTYPE 2.
    Dynamic,
}

impl fmt::Display for BlockType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Stored => "stored",
            Self::Fixed => "fixed Huffman",
            Self::Dynamic => "dynamic Huffman",
        })
    }
}

/// One structure of a payload; `Display` is its meaning in words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// CMF and FLG.
    Header(Header),
    /// The dictionary identifier that FDICT announces.
    DictId(u32),
    /// BFINAL and BTYPE, 3 bits.
    BlockHeader {
        /// BTYPE.
        block: BlockType,
        /// BFINAL.
        last: bool,
    },
    /// Bits up to the byte boundary, before LEN or adler32.
    Padding,
    /// LEN and NLEN.
    StoredLen(u16),
    /// The bytes of a stored block.
    StoredData,
    /// HLIT, HDIST, HCLEN and the code lengths.
    CodeLengths {
        /// Number of literal/length codes announced.
        litlen: usize,
        /// Number of distance codes announced.
        distance: usize,
    },
    /// The symbols of a block but for its end.
    Symbols {
        /// Number of literals.
        literals: usize,
        /// Number of matches.
        matches: usize,
        /// Bytes they stand for.
        out: usize,
    },
    /// Symbol 256.
    EndOfBlock,
    /// The trailer.
    Adler32(u32),
    /// After the trailer.
    Trailing {
        /// True if every byte is zero.
        zero: bool,
    },
    /// The beginning of something that the payload does not hold to its end.
    CutOff(Structure),
    /// Bits that the structure before them does not explain.
    Unexplained,
    /// Not looked at, because the output limit was reached before.
    Unexamined,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Header(header) => write!(
                f,
                "header, method {}, window {}, level {}{}",
                header.method(),
                header.window(),
                header.level(),
                if header.has_dictionary() {
                    ", dictionary"
                } else {
                    ""
                }
            ),
            Self::DictId(id) => write!(f, "dictionary identifier {id:#010x}"),
            Self::BlockHeader { block, last } => {
                write!(f, "{block} block{}", if *last { ", last" } else { "" })
            }
            Self::Padding => f.write_str("bits up to the byte boundary"),
            Self::StoredLen(len) => write!(f, "stored length {len} and its complement"),
            Self::StoredData => f.write_str("stored bytes"),
            Self::CodeLengths { litlen, distance } => {
                write!(f, "{litlen} literal/length and {distance} distance codes")
            }
            Self::Symbols {
                literals,
                matches,
                out,
            } => write!(
                f,
                "{literals} literals and {matches} matches, {out} bytes out"
            ),
            Self::EndOfBlock => f.write_str("end of block"),
            Self::Adler32(adler) => write!(f, "adler32 {adler:#010x}"),
            Self::Trailing { zero: true } => f.write_str("zeroes after the stream"),
            Self::Trailing { zero: false } => f.write_str("bytes after the stream"),
            Self::CutOff(structure) => write!(f, "beginning of {structure}, cut off"),
            Self::Unexplained => f.write_str("not part of any structure"),
            Self::Unexamined => f.write_str("not examined, output limit reached"),
        }
    }
}

/// A part of the stream that the payload may end in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Structure {
    /// CMF and FLG.
    Header,
    /// The dictionary identifier.
    DictId,
    /// BFINAL and BTYPE.
    BlockHeader,
    /// LEN and NLEN.
    StoredLen,
    /// The bytes of a stored block.
    StoredData,
    /// Counts or code lengths.
    CodeLengths,
    /// A symbol.
    Symbol,
    /// The trailer.
    Adler32,
}

impl fmt::Display for Structure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Header => "the header",
            Self::DictId => "the dictionary identifier",
            Self::BlockHeader => "a block header",
            Self::StoredLen => "the lengths of a stored block",
            Self::StoredData => "the bytes of a stored block",
            Self::CodeLengths => "the code lengths of a dynamic block",
            Self::Symbol => "a symbol",
            Self::Adler32 => "the adler32",
        })
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
    /// No byte at all.
    #[error("the payload is empty, a zlib stream expected")]
    Empty,
    /// The payload ends inside the stream.
    #[error("the payload ends in {within}")]
    Truncated {
        /// Inside what.
        within: Structure,
    },
    /// The payload ends after a block that is not the last one.
    #[error("the payload ends after a block that is not marked as the last")]
    NoFinalBlock,
    /// FCHECK is wrong.
    #[error("the header {got:#06x} leaves {} when divided by 31, 0 expected", .got % 31)]
    HeaderCheck {
        /// CMF * 256 + FLG.
        got: u16,
    },
    /// CM is not deflate.
    #[error("the compression method is {got}, 8 (deflate) expected")]
    Method {
        /// CM.
        got: u8,
    },
    /// CINFO above 7; unsafe where everything else of the header is right.
    #[error("CINFO is {got}, at most 7 (a window of 32 KiB) expected")]
    WindowSize {
        /// CINFO.
        got: u8,
    },
    /// FDICT is set; no reader has a dictionary.
    #[error("the header asks for a preset dictionary, there is none in btrfs")]
    Dictionary,
    /// The first bytes are those of a gzip member.
    #[error("the payload starts like a gzip file, a zlib stream expected")]
    Gzip,
    /// The first bytes are those of a zstd frame.
    #[error("the payload starts like a zstd frame, a zlib stream expected")]
    Zstd,
    /// Deflate data without header and trailer.
    #[error("the payload is raw deflate data, without the header and adler32 of a zlib stream")]
    RawDeflate,
    /// A rule of deflate is broken; what follows cannot be explained.
    #[error(transparent)]
    Deflate(Flaw),
    /// A dynamic block without a code for symbol 256; kernels decode it, others refuse it.
    #[error("a dynamic block has no end-of-block code")]
    NoEndOfBlock,
    /// Matches that start before the first byte of output. Zeroes are assumed there.
    #[error(
        "a match starts {distance} bytes back where {available} exist ({matches} such matches in this block)"
    )]
    TooFarBack {
        /// Distance of the first such match of the block, bytes.
        distance: usize,
        /// Output before it, bytes.
        available: usize,
        /// How many there are in the block.
        matches: usize,
    },
    /// Matches that reach beyond the declared window.
    #[error(
        "a match starts {distance} bytes back, the declared window is {window} bytes ({matches} such matches in this block)"
    )]
    BeyondWindow {
        /// Distance of the first such match of the block, bytes.
        distance: usize,
        /// The declared window, bytes.
        window: usize,
        /// How many there are in the block.
        matches: usize,
        /// Whether any of the stream's matches makes it unsafe; otherwise readers happen to get
        /// it right.
        is_unsafe: bool,
    },
    /// The trailer is not the checksum of the output.
    #[error("adler32 is {got:#010x}, {expected:#010x} expected")]
    Checksum {
        /// What is stored.
        got: u32,
        /// What the output has.
        expected: u32,
    },
    /// Bytes after the stream.
    #[error("{len} {} after the stream, none expected", trailing(*.zero, *.stream))]
    Trailing {
        /// How many.
        len: usize,
        /// Every one is zero.
        zero: bool,
        /// They start like another zlib stream.
        stream: bool,
    },
    /// An input chunk without any output; kernels that read chunks of this size give up there,
    /// unless they have all they want by then.
    #[error(
        "the {chunk} bytes of input from here yield no output, at least one byte expected (after {decoded} bytes)"
    )]
    SilentChunk {
        /// Size of the input chunk (page), bytes.
        chunk: usize,
        /// Output before it, bytes.
        decoded: usize,
    },
}

fn trailing(zero: bool, stream: bool) -> &'static str {
    match (zero, stream) {
        (true, _) => "zero bytes",
        (_, true) => "bytes that look like a second stream",
        _ => "bytes",
    }
}
