//! Huffman code tables: from code lengths to one look-up per symbol.
//!
//! An entry is a `u32`. Its low byte is always the number of bits to consume.
//!
//! | entry | bits 31..28 | 27..16 | 15..8 | 7..0 |
//! | --- | --- | --- | --- | --- |
//! | literal | `LITERAL` | the byte | code length | code length |
//! | match length | 0 | base | code length | code + extra bits |
//! | end of block, invalid code | `SPECIAL` and `END` or `INVALID` | - | code length | code length |
//! | link to a second-level table | `SPECIAL` | start | its index bits | primary bits |
//!
//! In the distance table the base takes bits 30..16 and `FAR_SPECIAL` (31) marks links and,
//! with `FAR_INVALID` (30), invalid codes. Code lengths are those of the whole code in both
//! levels.
// Table indices are masked to the (power of two) length of their arrays; a checked `get` per
// symbol costs a tenth of the decoding speed.
// Symbols are counted in 16 bits.
#![allow(clippy::indexing_slicing, clippy::cast_possible_truncation)]

use std::sync::LazyLock;

use super::{CodeSet, SetFlaw};

/// Index bits of the first level, literals and lengths.
pub(super) const LITLEN_BITS: u32 = 11;
/// Index bits of the first level, distances.
pub(super) const DISTANCE_BITS: u32 = 8;
/// The longest code of the code length alphabet, and index bits of its only level.
const LENGTHS_BITS: u32 = 7;
/// The longest code of the other two alphabets.
const MAX_BITS: usize = 15;
/// Array lengths: powers of two above the most entries 288 (32) codes of at most 15 bits can
/// need with these first levels: 2342 (402), by the exhaustive count of zlib's `enough.c`.
const LITLEN_LEN: usize = 4096;
const DISTANCE_LEN: usize = 512;

pub(super) const LITERAL: u32 = 1 << 31;
pub(super) const SPECIAL: u32 = 1 << 30;
pub(super) const END: u32 = 1 << 29;
const INVALID: u32 = 1 << 28;
pub(super) const FAR_SPECIAL: u32 = 1 << 31;
const FAR_INVALID: u32 = 1 << 30;

/// Base and number of extra bits of the length symbols 257 to 285 (RFC 1951, 3.2.5).
pub(super) const LENGTHS: [(u32, u32); 29] = [
    (3, 0),
    (4, 0),
    (5, 0),
    (6, 0),
    (7, 0),
    (8, 0),
    (9, 0),
    (10, 0),
    (11, 1),
    (13, 1),
    (15, 1),
    (17, 1),
    (19, 2),
    (23, 2),
    (27, 2),
    (31, 2),
    (35, 3),
    (43, 3),
    (51, 3),
    (59, 3),
    (67, 4),
    (83, 4),
    (99, 4),
    (115, 4),
    (131, 5),
    (163, 5),
    (195, 5),
    (227, 5),
    (258, 0),
];

/// Base and number of extra bits of the distance symbols 0 to 29 (RFC 1951, 3.2.5).
pub(super) const DISTANCES: [(u32, u32); 30] = [
    (1, 0),
    (2, 0),
    (3, 0),
    (4, 0),
    (5, 1),
    (7, 1),
    (9, 2),
    (13, 2),
    (17, 3),
    (25, 3),
    (33, 4),
    (49, 4),
    (65, 5),
    (97, 5),
    (129, 6),
    (193, 6),
    (257, 7),
    (385, 7),
    (513, 8),
    (769, 8),
    (1025, 9),
    (1537, 9),
    (2049, 10),
    (3073, 10),
    (4097, 11),
    (6145, 11),
    (8193, 12),
    (12289, 12),
    (16385, 13),
    (24577, 13),
];

/// Entries of the literal/length symbols without what depends on the code.
static LITLEN_ENTRIES: [u32; 288] = {
    let mut entries = [SPECIAL | INVALID; 288];
    let mut byte = 0_u32;
    while byte < 256 {
        entries[byte as usize] = LITERAL | byte << 16;
        byte += 1;
    }
    entries[256] = SPECIAL | END;
    let mut symbol = 0;
    while symbol < LENGTHS.len() {
        let (base, extra) = LENGTHS[symbol];
        entries[257 + symbol] = base << 16 | extra;
        symbol += 1;
    }
    entries
};

/// Entries of the distance symbols without what depends on the code.
static DISTANCE_ENTRIES: [u32; 32] = {
    let mut entries = [FAR_SPECIAL | FAR_INVALID; 32];
    let mut symbol = 0;
    while symbol < DISTANCES.len() {
        let (base, extra) = DISTANCES[symbol];
        entries[symbol] = base << 16 | extra;
        symbol += 1;
    }
    entries
};

/// Entries of the code length symbols without what depends on the code: the last three are
/// followed by how often they repeat a length.
static LENGTHS_ENTRIES: [u32; 20] = {
    let mut entries = [0; 20];
    let mut symbol = 0_u32;
    while symbol < 19 {
        entries[symbol as usize] = symbol << 16;
        symbol += 1;
    }
    entries[16] |= 2;
    entries[17] |= 3;
    entries[18] |= 7;
    entries
};

/// The two codes of a Huffman block.
pub(crate) struct Codes {
    litlen: [u32; LITLEN_LEN],
    distance: [u32; DISTANCE_LEN],
}

/// The codes of BTYPE 1; symbols 286, 287, 30 and 31 have codes but no meaning.
pub(super) static FIXED: LazyLock<Box<Codes>> = LazyLock::new(|| {
    let mut codes = Codes::new();
    let mut lens = [8; 288];
    lens[144..256].fill(9);
    lens[256..280].fill(7);
    // Both sets are complete, so neither is refused.
    let _ = codes.build_litlen(&lens);
    let _ = codes.build_distance(&[5; 32]);
    codes
});

impl Codes {
    pub(super) fn new() -> Box<Self> {
        Box::new(Self {
            litlen: [0; LITLEN_LEN],
            distance: [0; DISTANCE_LEN],
        })
    }

    /// First-level entry for the low bits of `hold`.
    #[inline(always)]
    pub(super) fn litlen(&self, hold: u64) -> u32 {
        self.litlen[low(hold, LITLEN_BITS)]
    }

    /// Second-level entry: `hold` still starts with the primary index.
    #[inline(always)]
    pub(super) fn litlen_behind(&self, link: u32, hold: u64) -> u32 {
        let index = (link >> 16 & 0xfff) as usize + low(hold >> LITLEN_BITS, link >> 8 & 0xf);
        self.litlen[index & (LITLEN_LEN - 1)]
    }

    /// First-level entry for the low bits of `hold`.
    #[inline(always)]
    pub(super) fn distance(&self, hold: u64) -> u32 {
        self.distance[low(hold, DISTANCE_BITS)]
    }

    /// Second-level entry: `hold` still starts with the primary index.
    #[inline(always)]
    pub(super) fn distance_behind(&self, link: u32, hold: u64) -> u32 {
        let index = (link >> 16 & 0xfff) as usize + low(hold >> DISTANCE_BITS, link >> 8 & 0xf);
        self.distance[index & (DISTANCE_LEN - 1)]
    }

    pub(super) fn build_litlen(&mut self, lens: &[u8]) -> Result<(), SetFlaw> {
        build(
            &mut self.litlen,
            LITLEN_BITS,
            lens,
            CodeSet::LitLen,
            (SPECIAL | INVALID | 1, SPECIAL),
            &LITLEN_ENTRIES,
        )
    }

    pub(super) fn build_distance(&mut self, lens: &[u8]) -> Result<(), SetFlaw> {
        build(
            &mut self.distance,
            DISTANCE_BITS,
            lens,
            CodeSet::Distance,
            (FAR_SPECIAL | FAR_INVALID | 1, FAR_SPECIAL),
            &DISTANCE_ENTRIES,
        )
    }
}

/// True for a link to a second-level table.
#[inline(always)]
pub(super) fn is_link(entry: u32) -> bool {
    entry & (LITERAL | SPECIAL | END | INVALID) == SPECIAL
}

/// True for a link to a second-level table of distances.
#[inline(always)]
pub(super) fn is_far_link(entry: u32) -> bool {
    entry & (FAR_SPECIAL | FAR_INVALID) == FAR_SPECIAL
}

/// The value of the extra bits, at most 13, that follow the code of `entry`; `hold` starts with
/// the code.
#[allow(clippy::cast_possible_truncation)] // masked
#[inline(always)]
pub(super) fn extra(hold: u64, entry: u32) -> u32 {
    let value = hold & 1_u64.wrapping_shl(entry).wrapping_sub(1);
    value.wrapping_shr(entry >> 8) as u32
}

/// The low `count` bits, at most 15, as an index.
#[allow(clippy::cast_possible_truncation)] // masked
#[inline(always)]
fn low(hold: u64, count: u32) -> usize {
    (hold & ((1 << count) - 1)) as usize
}

/// The code of the code lengths; its entries are those of match lengths, with the symbol as the
/// base.
pub(crate) struct LengthsCode([u32; 1 << LENGTHS_BITS]);

/// A symbol of the code length alphabet.
pub(super) struct LengthsSymbol {
    /// 0 to 18.
    pub(super) value: u8,
    /// Length of its code.
    pub(super) code_bits: u32,
    /// Length of its code and of the extra bits.
    pub(super) bits: u32,
}

impl LengthsCode {
    pub(super) fn new() -> Self {
        Self([0; 1 << LENGTHS_BITS])
    }

    pub(super) fn build(&mut self, lens: &[u8]) -> Result<(), SetFlaw> {
        // A set without any code passes (zlib 1.2.3 and every later one): each bit then stands
        // for the symbol 0.
        build(
            &mut self.0,
            LENGTHS_BITS,
            lens,
            CodeSet::Lengths,
            (0x101, 0),
            &LENGTHS_ENTRIES,
        )
    }

    /// The symbol that `hold` starts with.
    pub(super) fn symbol(&self, hold: u64) -> LengthsSymbol {
        let [bits, code_bits, value, _] = self.0[low(hold, LENGTHS_BITS)].to_le_bytes();
        LengthsSymbol {
            value,
            code_bits: code_bits.into(),
            bits: bits.into(),
        }
    }
}

/// Fills a table of `primary` index bits, and second levels after it, with canonical codes.
///
/// Refused are over-subscribed sets and incomplete ones, except a set of no code at all and
/// (not among code lengths) a set of one code of one bit; the unused codes then are `invalid`.
/// Links to second levels carry `mark`. `entries` are those of the symbols, to which the code's
/// length is added.
fn build<const TABLE: usize, const SYMBOLS: usize>(
    table: &mut [u32; TABLE],
    primary: u32,
    lens: &[u8],
    set: CodeSet,
    (invalid, mark): (u32, u32),
    entries: &[u32; SYMBOLS],
) -> Result<(), SetFlaw> {
    let (sorted, count) = sort::<SYMBOLS>(lens);
    let longest = (1..=MAX_BITS)
        .rev()
        .find(|&len| count[len] != 0)
        .unwrap_or(0);
    let mut left = 1_i32;
    for &codes in count.iter().skip(1) {
        left = left * 2 - i32::from(codes);
        if left < 0 {
            return Err(SetFlaw::OverSubscribed(set));
        }
    }
    let lone = longest <= 1 && (longest == 0 || set != CodeSet::Lengths);
    if left > 0 && !lone {
        return Err(SetFlaw::Incomplete(set));
    }

    let value = |symbol: u16, bits: u32| {
        let entry = entries.get(usize::from(symbol)).copied().unwrap_or(invalid);
        entry.wrapping_add(bits * 0x101)
    };
    let mut rest = sorted.as_slice();
    let mut code = 0_u32; // the next code, first bit highest
    table[0] = invalid;
    for bits in 1..=primary {
        code <<= 1;
        // What a shorter index means, it means whatever bit follows.
        let half = 1 << (bits - 1);
        table.copy_within(..half, half);
        let (symbols, longer) = rest.split_at(usize::from(count[bits as usize]).min(rest.len()));
        rest = longer;
        for &symbol in symbols {
            let reversed = code.reverse_bits() >> (32 - bits);
            table[reversed as usize & (TABLE - 1)] = value(symbol, bits);
            code += 1;
        }
    }

    let mut link = u32::MAX; // primary index of the current second level
    let mut start = 1_usize << primary; // where that second level starts
    let mut width = 0_u32; // its index bits
    for len in primary as usize + 1..=longest {
        code <<= 1;
        let bits = u32::try_from(len).unwrap_or(0);
        let (symbols, longer) = rest.split_at(usize::from(count[len]).min(rest.len()));
        rest = longer;
        for (done, &symbol) in (0_u16..).zip(symbols) {
            let reversed = code.reverse_bits() >> (32 - bits);
            code += 1;
            let index = reversed & ((1 << primary) - 1);
            if index != link {
                // Wide enough for all codes that share this index.
                start += if link == u32::MAX { 0 } else { 1 << width };
                link = index;
                width = bits - primary;
                let mut room = (1_i32 << width) + i32::from(done);
                while ((width + primary) as usize) < longest {
                    room -= i32::from(count[(width + primary) as usize]);
                    if room <= 0 {
                        break;
                    }
                    width += 1;
                    room <<= 1;
                }
                let start = u32::try_from(start).unwrap_or(0);
                table[index as usize & (TABLE - 1)] = mark | start << 16 | width << 8 | primary;
            }
            let value = value(symbol, bits);
            let level = table
                .get_mut(start..start + (1 << width))
                .unwrap_or_default();
            for place in level
                .iter_mut()
                .skip((reversed >> primary) as usize)
                .step_by(1 << (bits - primary))
            {
                *place = value;
            }
        }
    }
    Ok(())
}

/// The symbols in the order of their codes, by length, then by number; and how many there are
/// of each length. Symbols without a code come last.
///
/// Each count depends on the one before, and neighbours often have codes of the same length; so
/// the quarters of the symbols are counted, and sorted, side by side.
fn sort<const SYMBOLS: usize>(lens: &[u8]) -> ([u16; SYMBOLS], [u16; MAX_BITS + 1]) {
    let mut all = [0_u8; SYMBOLS];
    for (place, &len) in all.iter_mut().zip(lens) {
        *place = len & 15;
    }
    const { assert!(SYMBOLS.is_multiple_of(4)) };
    let quarter = SYMBOLS / 4;
    let mut next = [[0_u16; MAX_BITS + 1]; 4];
    for at in 0..quarter {
        for (part, next) in next.iter_mut().enumerate() {
            let count = &mut next[usize::from(all[part * quarter + at] & 15)];
            *count = count.wrapping_add(1);
        }
    }
    let mut count = [0; MAX_BITS + 1];
    let mut place = 0_u16;
    for len in (1..=MAX_BITS).chain([0]) {
        let first = place;
        for next in &mut next {
            let codes = std::mem::replace(&mut next[len], place);
            place += codes;
        }
        count[len] = place - first;
    }
    count[0] = 0;

    let mut sorted = [0; SYMBOLS];
    for at in 0..quarter {
        for (part, next) in next.iter_mut().enumerate() {
            let symbol = part * quarter + at;
            let place = &mut next[usize::from(all[symbol] & 15)];
            if let Some(sorted) = sorted.get_mut(usize::from(*place)) {
                *sorted = symbol as u16;
            }
            *place = place.wrapping_add(1);
        }
    }
    (sorted, count)
}
