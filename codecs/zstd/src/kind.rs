//! What the structures of a payload are called.

use std::fmt;

use crate::fault::Table;
use crate::layout::{BlockHeader, BlockKind};

/// How the literals of a block are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Literals {
    /// As they are.
    Raw,
    /// One byte, repeated.
    Rle,
    /// Huffman-coded, with a tree.
    Compressed,
    /// Huffman-coded with the tree of an earlier block.
    Treeless,
}

/// Where a table of sequences comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// The table every decoder knows.
    Predefined,
    /// One symbol.
    Rle,
    /// A description in the block.
    Fse,
    /// The table of an earlier block.
    Repeat,
}

/// A structure of a payload. Sizes are in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// The magic number of a frame.
    Magic,
    /// The frame header's first byte.
    Descriptor(u8),
    /// The window descriptor.
    Window {
        /// Window it declares.
        window: u64,
    },
    /// The dictionary ID.
    DictionaryId(u32),
    /// The content size.
    ContentSize(u64),
    /// A block's header.
    BlockHeader(BlockHeader),
    /// The content of a raw block.
    RawBlock,
    /// The byte of an RLE block.
    RleBlock {
        /// How often it is repeated.
        times: usize,
    },
    /// The header of a literals section.
    LiteralsHeader {
        /// How they are stored.
        literals: Literals,
        /// How many.
        count: usize,
        /// Bytes they take after the header.
        stored: usize,
        /// In how many streams.
        streams: usize,
    },
    /// Literals as they are.
    RawLiterals,
    /// A literal to repeat.
    RleLiteral {
        /// How often.
        times: usize,
    },
    /// A Huffman tree description.
    Tree {
        /// Symbols described.
        symbols: usize,
        /// Longest code, bits.
        bits: u32,
    },
    /// Sizes of the first three streams.
    JumpTable([usize; 3]),
    /// Huffman-coded literals.
    Stream {
        /// 1 to 4.
        stream: usize,
        /// Literals in it.
        count: usize,
    },
    /// The number of sequences.
    SequencesHeader {
        /// How many.
        count: usize,
    },
    /// The modes of the three tables.
    Modes([Mode; 3]),
    /// A table's description.
    TableDescription {
        /// Which.
        table: Table,
        /// Symbols described.
        symbols: usize,
        /// Exponent of the number of states.
        log: u32,
    },
    /// A table's one symbol.
    TableSymbol {
        /// Which.
        table: Table,
        /// The symbol.
        symbol: u8,
    },
    /// The bits of the sequences.
    Bitstream {
        /// Sequences in it.
        count: usize,
    },
    /// The frame's checksum.
    Checksum {
        /// What it says.
        got: u32,
    },
    /// The magic number of a skippable frame.
    SkippableMagic(u32),
    /// The size field of a skippable frame.
    SkippableSize(u32),
    /// The content of a skippable frame.
    SkippableContent,
    /// A compressed block, or the rest of one, that was not looked into: an earlier block could
    /// not be decoded, or enough has come out.
    NotExamined,
    /// Zero bytes after the frame.
    Padding,
    /// Bytes that are no structure of a frame, or cannot be told apart.
    Unexplained,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Magic => f.write_str("magic number"),
            Self::Descriptor(byte) => {
                f.write_str("frame header descriptor")?;
                if byte & 0x20 != 0 {
                    f.write_str(", single segment")?;
                }
                if byte & 0x04 != 0 {
                    f.write_str(", checksum")?;
                }
                Ok(())
            }
            Self::Window { window } => write!(f, "window descriptor, {window} bytes"),
            Self::DictionaryId(id) => write!(f, "dictionary ID {id}"),
            Self::ContentSize(size) => write!(f, "content size {size}"),
            Self::BlockHeader(header) => {
                let kind = match header.kind {
                    BlockKind::Raw => "raw",
                    BlockKind::Rle => "RLE",
                    BlockKind::Compressed => "compressed",
                    BlockKind::Reserved => "reserved",
                };
                let last = if header.last { "last, " } else { "" };
                match header.kind {
                    BlockKind::Rle => {
                        write!(f, "{kind} block, {last}1 byte times {}", header.size)
                    }
                    _ => write!(f, "{kind} block, {last}{} bytes", header.size),
                }
            }
            Self::RawBlock => f.write_str("content as it is"),
            Self::RleBlock { times } => write!(f, "byte, {times} times"),
            Self::LiteralsHeader {
                literals,
                count,
                stored,
                streams,
            } => {
                let kind = match literals {
                    Literals::Raw => "raw",
                    Literals::Rle => "RLE",
                    Literals::Compressed => "compressed",
                    Literals::Treeless => "treeless",
                };
                write!(f, "{kind} literals, {count} in {stored} bytes")?;
                match streams {
                    0 => Ok(()),
                    1 => f.write_str(", one stream"),
                    _ => write!(f, ", {streams} streams"),
                }
            }
            Self::RawLiterals => f.write_str("literals as they are"),
            Self::RleLiteral { times } => write!(f, "literal, {times} times"),
            Self::Tree { symbols, bits } => {
                write!(
                    f,
                    "Huffman tree of {symbols} symbols, codes of up to {bits} bits"
                )
            }
            Self::JumpTable([first, second, third]) => {
                write!(
                    f,
                    "jump table, streams of {first}, {second} and {third} bytes"
                )
            }
            Self::Stream { stream, count } => {
                write!(f, "literals stream {stream}, {count} literals")
            }
            Self::SequencesHeader { count } => write!(f, "{count} sequences"),
            Self::Modes([lengths, offsets, matches]) => {
                write!(
                    f,
                    "tables: literal lengths {lengths}, offsets {offsets}, match lengths {matches}"
                )
            }
            Self::TableDescription {
                table,
                symbols,
                log,
            } => write!(f, "table of {table}, {symbols} symbols, 2^{log} states"),
            Self::TableSymbol { table, symbol } => {
                write!(f, "table of {table}, only symbol {symbol}")
            }
            Self::Bitstream { count } => write!(f, "bits of {count} sequences"),
            Self::Checksum { got } => write!(f, "checksum {got:#010x}"),
            Self::SkippableMagic(magic) => {
                write!(
                    f,
                    "magic number of a skippable frame, variant {}",
                    magic & 15
                )
            }
            Self::SkippableSize(size) => write!(f, "skippable frame of {size} bytes"),
            Self::SkippableContent => f.write_str("content of the skippable frame"),
            Self::NotExamined => f.write_str("not examined"),
            Self::Padding => f.write_str("zero bytes after the frame"),
            Self::Unexplained => f.write_str("unexplained"),
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Predefined => "predefined",
            Self::Rle => "RLE",
            Self::Fse => "FSE",
            Self::Repeat => "repeated",
        })
    }
}
