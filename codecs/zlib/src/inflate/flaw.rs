//! What can be wrong with deflate data: one variant per rule.

use thiserror::Error;

/// Which code a dynamic block defines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CodeSet {
    /// The code in which code lengths are written.
    Lengths,
    /// Literals, lengths and end of block.
    LitLen,
    /// Distances.
    Distance,
}

impl CodeSet {
    fn name(self) -> &'static str {
        match self {
            Self::Lengths => "code length",
            Self::LitLen => "literal/length",
            Self::Distance => "distance",
        }
    }
}

/// Why a set of code lengths is no Huffman code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Error)]
#[non_exhaustive]
pub enum SetFlaw {
    /// More codes than there are bit patterns.
    #[error("the {} code is over-subscribed", .0.name())]
    OverSubscribed(CodeSet),
    /// Bit patterns without a meaning, and not the one allowed case of a single 1-bit code.
    #[error("the {} code is incomplete", .0.name())]
    Incomplete(CodeSet),
}

/// A broken rule of deflate; decoding cannot go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Error)]
#[non_exhaustive]
pub enum Flaw {
    /// BTYPE 3.
    #[error("the block type is 3, which is reserved")]
    BlockType,
    /// NLEN is not the complement of LEN.
    #[error("a stored block has LEN {len:#06x} and NLEN {nlen:#06x}, which should be its complement {:#06x}", !.len)]
    StoredLen {
        /// LEN.
        len: u16,
        /// NLEN.
        nlen: u16,
    },
    /// HLIT or HDIST beyond the alphabets.
    #[error(
        "a dynamic block has {litlen} literal/length codes (at most 286) and {distance} distance codes (at most 30)"
    )]
    TooManyCodes {
        /// HLIT + 257.
        litlen: usize,
        /// HDIST + 1.
        distance: usize,
    },
    /// A set of code lengths is no Huffman code.
    #[error(transparent)]
    Set(#[from] SetFlaw),
    /// Repeat code 16 as the first of all code lengths.
    #[error("the first code length is a repetition of the previous one")]
    RepeatOfNothing,
    /// A repetition beyond the last code length.
    #[error("a repetition gives {got} code lengths where {codes} are announced")]
    RepeatTooLong {
        /// How many lengths are announced.
        codes: usize,
        /// How many there would be.
        got: usize,
    },
    /// No code for symbol 256.
    #[error("a dynamic block has no end-of-block code")]
    NoEndOfBlock,
    /// A bit pattern without meaning, or symbol 286 or 287.
    #[error("bits that are no literal/length code")]
    LitLenSymbol,
    /// A bit pattern without meaning, or symbol 30 or 31.
    #[error("bits that are no distance code")]
    DistanceSymbol,
    /// A match that starts before the first byte there is.
    #[error("a match starts {distance} bytes back where {available} can be reached")]
    TooFarBack {
        /// The distance, bytes.
        distance: usize,
        /// How far back there is data, bytes.
        available: usize,
    },
}
