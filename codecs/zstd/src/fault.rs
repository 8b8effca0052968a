//! What can be wrong with a payload: one kind per rule.

use thiserror::Error;

/// A rule that a payload breaks, and where.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{kind} (at offset {offset})")]
#[non_exhaustive]
pub struct Fault {
    /// Byte of the payload the fault is about.
    pub offset: u64,
    /// Which rule, with what was found and what was expected.
    pub kind: FaultKind,
}

/// One of the three tables of a sequences section.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Table {
    /// Lengths of literal runs.
    LiteralLengths,
    /// Match distances.
    Offsets,
    /// Lengths of matches.
    MatchLengths,
}

impl std::fmt::Display for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::LiteralLengths => "literal lengths",
            Self::Offsets => "offsets",
            Self::MatchLengths => "match lengths",
        })
    }
}

/// The rules of a payload. Sizes are in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum FaultKind {
    /// No bytes at all, or not enough for a magic number.
    #[error("{available} bytes, too few for the 4-byte magic number")]
    TruncatedMagic {
        /// Bytes there.
        available: usize,
    },
    /// The first four bytes are nothing known.
    #[error("magic number is {got:#010x}, expected 0xfd2fb528")]
    WrongMagic {
        /// The little-endian number found.
        got: u32,
    },
    /// A frame of a zstd before 0.8.
    #[error("frame of the legacy format 0.{minor}, which no kernel reads")]
    LegacyFrame {
        /// Minor version of the zstd that made it.
        minor: u8,
    },
    /// A frame whose magic number was left out.
    #[error("no magic number; the bytes look like a frame in the magicless format")]
    Magicless,
    /// A payload of another format.
    #[error("starts like a {format} stream, not like a zstd frame")]
    OtherFormat {
        /// The format's usual name.
        format: &'static str,
    },
    /// A skippable frame stands where the frame is expected: decoders stop after it.
    #[error("skippable frame of {size} bytes first; decoders stop after it without output")]
    SkippableFirst {
        /// Declared size of its content.
        size: u32,
    },
    /// The payload ends inside the frame header.
    #[error("frame header of {needed} bytes, {available} there")]
    TruncatedHeader {
        /// Bytes of the header, magic number included.
        needed: usize,
        /// Bytes there.
        available: usize,
    },
    /// Bit 3 of the descriptor is set.
    #[error("reserved bit of the frame header is set")]
    ReservedBit,
    /// Bit 4 of the descriptor is set; decoders ignore it.
    #[error("unused bit of the frame header is set")]
    UnusedBit,
    /// The window's exponent is larger than any decoder takes.
    #[error("window exponent {log}, decoders take at most 31")]
    WindowLog {
        /// The exponent.
        log: u32,
    },
    /// The window is larger than the kernel's encoder makes it.
    #[error("window of {window} bytes, at most 131072 are sure to be decoded")]
    WindowTooLarge {
        /// The declared window.
        window: u64,
    },
    /// The frame asks for a dictionary.
    #[error("dictionary {id} is needed, no reader has one")]
    DictionaryId {
        /// The declared ID.
        id: u32,
    },
    /// A dictionary ID field that says "none" is allowed but wasteful.
    #[error("dictionary ID field of {width} bytes that says none")]
    DictionaryIdZero {
        /// Width of the field.
        width: usize,
    },
    /// The content size is not declared.
    #[error("content size is not declared")]
    ContentSizeAbsent,
    /// More content is declared than an extent holds.
    #[error("content size {declared}, an extent holds at most 131072 bytes")]
    ContentSizeTooLarge {
        /// The declared size.
        declared: u64,
    },
    /// The frame decodes to another size than it declares.
    #[error("content size {declared} declared, the blocks decode to {decoded} bytes")]
    ContentSizeWrong {
        /// The declared size.
        declared: u64,
        /// Bytes decoded.
        decoded: u64,
    },
    /// The frame holds nothing.
    #[error("empty frame: decoders stop after it without output")]
    EmptyFrame,
    /// The payload ends inside a block header.
    #[error("block header of 3 bytes, {available} there")]
    TruncatedBlockHeader {
        /// Bytes there.
        available: usize,
    },
    /// Block type 3.
    #[error("block of the reserved type")]
    ReservedBlock,
    /// A block larger than the window or 128 KiB.
    #[error("block of {size} bytes, at most {max} allowed")]
    BlockTooLarge {
        /// The size field.
        size: usize,
        /// The window, at most 128 KiB.
        max: usize,
    },
    /// The payload ends inside a block.
    #[error("block of {needed} bytes, {available} there")]
    TruncatedBlock {
        /// Bytes the block has.
        needed: usize,
        /// Bytes there.
        available: usize,
    },
    /// A block decodes to more than the window or 128 KiB.
    #[error("block decodes to more than the {max} bytes allowed")]
    BlockContentTooLarge {
        /// The window, at most 128 KiB.
        max: usize,
    },
    /// A compressed block too short to hold anything.
    #[error("compressed block of {size} bytes, at least {min} needed")]
    BlockTooShort {
        /// Its size.
        size: usize,
        /// What every decoder needs.
        min: usize,
    },
    /// The literals section ends before its header does.
    #[error("literals section header of {needed} bytes, {available} there")]
    TruncatedLiteralsHeader {
        /// Bytes of the header.
        needed: usize,
        /// Bytes left in the block.
        available: usize,
    },
    /// More literals than a block may hold.
    #[error("{size} literals in a block of at most {max} bytes")]
    TooManyLiterals {
        /// Declared literals.
        size: usize,
        /// The window, at most 128 KiB.
        max: usize,
    },
    /// The literals do not fit in the block.
    #[error("literals of {needed} bytes, {available} left in the block")]
    TruncatedLiterals {
        /// Bytes declared.
        needed: usize,
        /// Bytes left in the block.
        available: usize,
    },
    /// Four streams need at least six literals.
    #[error("{size} literals in four streams, at least 6 needed")]
    TooFewLiterals {
        /// Declared literals.
        size: usize,
    },
    /// Compressed literals that are no literals.
    #[error("Huffman-coded literals section without a literal")]
    NoLiterals,
    /// Treeless literals before any tree.
    #[error("literals reuse a Huffman tree, but no block before has one")]
    NoTree,
    /// The tree description does not fit, or nothing follows it.
    #[error("Huffman tree description of {needed} bytes, {available} there")]
    TruncatedTree {
        /// Bytes it has.
        needed: usize,
        /// Bytes there.
        available: usize,
    },
    /// The FSE-coded weights are damaged.
    #[error("weights of the Huffman tree cannot be decoded")]
    TreeWeights,
    /// A weight larger than allowed.
    #[error("Huffman weight {weight}, at most {max} allowed")]
    TreeWeight {
        /// The weight.
        weight: u8,
        /// The largest that every decoder takes.
        max: u8,
    },
    /// The weights do not make a complete tree.
    #[error("Huffman tree is not complete")]
    TreeIncomplete,
    /// Codes longer than allowed.
    #[error("Huffman codes of up to {bits} bits, at most 11 allowed")]
    TreeTooDeep {
        /// Length of the longest code.
        bits: u32,
    },
    /// The four streams do not fit their space.
    #[error("jump table takes {needed} bytes of the {available} that the streams have")]
    JumpTable {
        /// Bytes of the table and of the first three streams.
        needed: usize,
        /// Bytes there.
        available: usize,
    },
    /// A stream without the bit that ends it.
    #[error("literals stream {stream} has no end mark")]
    StreamEndMark {
        /// 1 to 4.
        stream: usize,
    },
    /// A stream holds more or fewer codes than literals.
    #[error("literals stream {stream} does not end with its last literal")]
    StreamLength {
        /// 1 to 4.
        stream: usize,
    },
    /// The sequences section ends before its header does.
    #[error("sequences section ends inside its header")]
    TruncatedSequences,
    /// Bytes after a sequences section that says it is empty.
    #[error("{extra} bytes after a sequences section without sequences")]
    SequencesTrailing {
        /// How many.
        extra: usize,
    },
    /// No sequences, written in the two-byte form that old decoders misread.
    #[error("number of sequences is zero in the two-byte form, which old decoders misread")]
    ZeroSequencesLong,
    /// The two low bits of the modes byte are not zero.
    #[error("reserved bits of the table modes are set")]
    ReservedModes,
    /// A repeated table before any table.
    #[error("table of {table} is repeated, but no block before has one")]
    NoTable {
        /// Which.
        table: Table,
    },
    /// The one symbol of an RLE table is out of range.
    #[error("symbol {symbol} in the table of {table}, at most {max} allowed")]
    TableSymbol {
        /// Which.
        table: Table,
        /// The symbol.
        symbol: u8,
        /// The largest allowed.
        max: u8,
    },
    /// An FSE table description is damaged.
    #[error("description of the table of {table} is damaged")]
    TableDamaged {
        /// Which.
        table: Table,
    },
    /// An FSE table is finer than allowed.
    #[error("table of {table} has 2^{log} states, at most 2^{max} allowed")]
    TableTooFine {
        /// Which.
        table: Table,
        /// Its exponent.
        log: u32,
        /// The largest allowed.
        max: u32,
    },
    /// The bitstream is empty or lacks its end mark.
    #[error("bitstream of the sequences has no end mark")]
    BitstreamEndMark,
    /// The bitstream is longer or shorter than the sequences.
    #[error("bitstream of the sequences does not end with the last of them")]
    BitstreamLength,
    /// A sequence wants more literals than there are.
    #[error("sequence {sequence} takes {wanted} literals, {available} left")]
    LiteralsExhausted {
        /// Counted from 1.
        sequence: usize,
        /// What it takes.
        wanted: usize,
        /// What is left.
        available: usize,
    },
    /// A repeated offset that works out as zero.
    #[error("sequence {sequence} has offset zero")]
    OffsetZero {
        /// Counted from 1.
        sequence: usize,
    },
    /// A match reaches back before the start of the content.
    #[error("sequence {sequence} reaches back {offset} bytes, {available} decoded")]
    OffsetBeyondStart {
        /// Counted from 1.
        sequence: usize,
        /// How far back.
        offset: u64,
        /// Bytes decoded by then.
        available: usize,
    },
    /// A match reaches back beyond the window.
    #[error("sequence {sequence} reaches back {offset} bytes in a window of {window}")]
    OffsetBeyondWindow {
        /// Counted from 1.
        sequence: usize,
        /// How far back.
        offset: u64,
        /// The declared window.
        window: u64,
    },
    /// The payload ends without a last block.
    #[error("no last block")]
    NoLastBlock,
    /// The checksum is announced but not (wholly) there.
    #[error("checksum of 4 bytes, {available} there")]
    TruncatedChecksum {
        /// Bytes there.
        available: usize,
    },
    /// The checksum is wrong.
    #[error("checksum {got:#010x}, the content has {expected:#010x}")]
    ChecksumWrong {
        /// What the payload says.
        got: u32,
        /// What the content gives.
        expected: u32,
    },
    /// Bytes after the frame.
    #[error("{len} bytes after the frame")]
    Trailing {
        /// How many.
        len: usize,
    },
    /// Another frame after the frame; no reader decodes it.
    #[error("second frame of {len} bytes, which no reader decodes")]
    SecondFrame {
        /// Bytes from its start to the end of the payload.
        len: usize,
    },
    /// A skippable frame after the frame.
    #[error("skippable frame after the frame, {len} bytes to the end")]
    SkippableBehind {
        /// Bytes from its start to the end of the payload.
        len: usize,
    },
}
