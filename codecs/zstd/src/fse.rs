//! Finite-state entropy tables: their descriptions, their construction, the weights of Huffman
//! trees coded with them.

use std::sync::LazyLock;

use crate::bits::{BitReader, Status};
use crate::fault::Table;
use crate::rules::Rules;

/// Symbols a description can name.
const SYMBOLS: usize = 256;

/// Smallest exponent of a table.
const LOG_MIN: u32 = 5;

/// Largest exponent a description can state without being refused at once.
const LOG_MAX: u32 = 15;

/// A table's description, decoded: how many states each symbol has.
#[derive(Debug, Clone)]
pub(crate) struct Counts {
    /// States per symbol; -1 is one state at the table's end, for a symbol rarer than one state.
    counts: [i16; SYMBOLS],
    /// Symbols described.
    pub(crate) symbols: usize,
    /// Exponent of the number of states.
    pub(crate) log: u32,
    /// Bytes of the description.
    pub(crate) size: usize,
}

impl Counts {
    /// Reads a description from the start of `bytes`; symbols above `max` are not allowed.
    ///
    /// A description that is damaged can run past the end of `bytes`; decoders then go on with
    /// the last four bytes, so that whether it is refused depends on them.
    pub(crate) fn read(bytes: &[u8], max: usize) -> Option<Self> {
        if bytes.len() < 8 {
            let mut padded = [0; 8];
            for (to, from) in padded.iter_mut().zip(bytes) {
                *to = *from;
            }
            return Self::read_long(&padded, max).filter(|counts| counts.size <= bytes.len());
        }
        Self::read_long(bytes, max)
    }

    fn read_long(bytes: &[u8], max: usize) -> Option<Self> {
        let mut input = Description::new(bytes);
        let log = (input.bits & 15) + LOG_MIN;
        if log > LOG_MAX {
            return None;
        }
        input.pass(4);
        input.bits >>= 4;
        let end = max + 1;
        let mut counts = [0; SYMBOLS];
        let mut symbol = 0;
        let mut remaining: i32 = (1 << log) + 1;
        let mut threshold: i32 = 1 << log;
        let mut width = log + 1;
        let mut zero_before = false;
        loop {
            if zero_before {
                symbol += input.zeroes();
                if symbol >= end {
                    break;
                }
                input.reload();
            }
            // A value that cannot exceed what remains is written in one bit less.
            let short = 2 * threshold - 1 - remaining;
            let low = i32::try_from(input.bits & (threshold.cast_unsigned() - 1)).ok()?;
            let mut count;
            if low < short {
                count = low;
                input.pass(width - 1);
            } else {
                count = i32::try_from(input.bits & (2 * threshold.cast_unsigned() - 1)).ok()?;
                if count >= threshold {
                    count -= short;
                }
                input.pass(width);
            }
            count -= 1;
            remaining -= count.abs();
            *counts.get_mut(symbol)? = i16::try_from(count).ok()?;
            symbol += 1;
            zero_before = count == 0;
            if remaining < threshold {
                if remaining <= 1 {
                    break;
                }
                width = 32 - remaining.leading_zeros();
                threshold = 1 << (width - 1);
            }
            if symbol >= end {
                break;
            }
            input.reload();
        }
        if remaining != 1 || symbol > end || input.used > 32 {
            return None;
        }
        Some(Self {
            counts,
            symbols: symbol,
            log,
            size: input.position + usize::try_from(input.used.div_ceil(8)).ok()?,
        })
    }

    /// Hands each state's symbol, bits to read and base of the next state to `set`.
    fn build(&self, mut set: impl FnMut(usize, usize, u8, u16)) {
        let size = 1usize << self.log;
        let mask = size - 1;
        let mut symbols = [0u8; 1 << 9];
        let mut next = [0u16; SYMBOLS];
        let mut top = size;
        let described = self.counts.iter().take(self.symbols).zip(0u8..);
        for ((&count, symbol), next) in described.clone().zip(&mut next) {
            *next = count.unsigned_abs();
            if count == -1 {
                top -= 1;
                if let Some(cell) = symbols.get_mut(top) {
                    *cell = symbol;
                }
            }
        }
        // In order first, eight at a time, as most symbols have few states; then spread.
        let mut ordered = [0u8; (1 << 9) + 8];
        let mut end = 0;
        for (&count, symbol) in described {
            let mut at = end;
            end += usize::from(count.max(0).unsigned_abs());
            while at < end {
                if let Some(eight) = ordered.get_mut(at..at + 8) {
                    eight.fill(symbol);
                }
                at += 8;
            }
        }
        let step = (size >> 1) + (size >> 3) + 3;
        let mut position = 0;
        for &symbol in ordered.iter().take(top) {
            if let Some(cell) = symbols.get_mut(position) {
                *cell = symbol;
            }
            loop {
                position = (position + step) & mask;
                if position < top {
                    break;
                }
            }
        }
        for (state, &symbol) in symbols.iter().take(size).enumerate() {
            let symbol = usize::from(symbol);
            if let Some(next) = next.get_mut(symbol) {
                let bits = self.log - (u32::from(*next) | 1).ilog2();
                let base = (usize::from(*next) << bits) - size;
                *next += 1;
                set(
                    state,
                    symbol,
                    u8::try_from(bits).unwrap_or(0),
                    u16::try_from(base).unwrap_or(0),
                );
            }
        }
    }
}

/// The bits of a description, from the first on.
struct Description<'a> {
    bytes: &'a [u8],
    position: usize,
    bits: u32,
    used: u32,
}

impl<'a> Description<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        let mut description = Self {
            bytes,
            position: 0,
            bits: 0,
            used: 0,
        };
        description.load();
        description
    }

    fn load(&mut self) {
        self.bits = self
            .bytes
            .get(self.position..)
            .and_then(|tail| tail.first_chunk::<4>())
            .map_or(0, |chunk| u32::from_le_bytes(*chunk))
            >> (self.used & 31);
    }

    fn pass(&mut self, bits: u32) {
        self.used += bits;
    }

    /// Moves to the next unread bit; near the end the last four bytes stay loaded.
    fn reload(&mut self) {
        let end = self.bytes.len();
        let bytes = usize::try_from(self.used >> 3).unwrap_or(0);
        if self.position + 7 <= end || self.position + bytes + 4 <= end {
            self.position += bytes;
            self.used &= 7;
        } else {
            self.stay(end - 4);
        }
        self.load();
    }

    /// Goes to the last four bytes, and counts the bits from there.
    fn stay(&mut self, from: usize) {
        let last = self.bytes.len() - 4;
        let moved =
            8 * (i64::try_from(from).unwrap_or(0) - i64::try_from(self.position).unwrap_or(0));
        self.used = u32::try_from((i64::from(self.used) - moved) & 31).unwrap_or(0);
        self.position = last;
    }

    /// How many symbols without a state follow: 3 for each pair of set bits, then a last pair.
    fn zeroes(&mut self) -> usize {
        let mut symbols = 0;
        let mut pairs = (!self.bits | 0x8000_0000).trailing_zeros() >> 1;
        while pairs >= 12 {
            symbols += 36;
            if self.position + 7 <= self.bytes.len() {
                self.position += 3;
            } else {
                let end = self.bytes.len();
                // May lie before the start of eight bytes' worth only in theory: `bytes` has 8.
                self.stay(end - 7);
            }
            self.load();
            pairs = (!self.bits | 0x8000_0000).trailing_zeros() >> 1;
            if symbols > 4 * SYMBOLS {
                break;
            }
        }
        self.bits >>= 2 * pairs;
        self.used += 2 * pairs + 2;
        symbols + usize::try_from(3 * pairs + (self.bits & 3)).unwrap_or(0)
    }
}

/// How one state of a table of sequences leads to the next.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Step {
    /// Base of the next state.
    pub(crate) next: u16,
    /// Bits to read for the next state.
    pub(crate) bits: u8,
    /// Bits to read for the next state and for the value, negative.
    pub(crate) all: i8,
}

/// What one state of a table of sequences stands for.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Value {
    /// The smallest value.
    pub(crate) base: u32,
    /// Bits to read for what is added to it.
    pub(crate) extra: u8,
}

/// States a table of sequences can have.
pub(crate) const STATES: usize = 512;

/// A table of sequences.
#[derive(Debug, Clone)]
pub(crate) struct SequenceTable {
    pub(crate) steps: [Step; STATES],
    pub(crate) values: [Value; STATES],
    pub(crate) log: u32,
}

impl SequenceTable {
    pub(crate) const EMPTY: Self = Self {
        steps: [Step {
            next: 0,
            bits: 0,
            all: 0,
        }; STATES],
        values: [Value { base: 0, extra: 0 }; STATES],
        log: 0,
    };

    /// What a state leads to and stands for; all states that the table itself leads to have both.
    #[inline(always)]
    pub(crate) fn state(&self, state: u64) -> Option<(&Step, &Value)> {
        let state = usize::try_from(state).ok()?;
        Some((self.steps.get(state)?, self.values.get(state)?))
    }

    /// Becomes the same as `other`.
    pub(crate) fn copy(&mut self, other: &Self) {
        self.log = other.log;
        let states = 1 << other.log;
        for (to, from) in self.steps.iter_mut().zip(&other.steps).take(states) {
            *to = *from;
        }
        for (to, from) in self.values.iter_mut().zip(&other.values).take(states) {
            *to = *from;
        }
    }

    /// A table of one state.
    pub(crate) fn set_single(&mut self, table: Table, symbol: u8) {
        self.log = 0;
        let value = table.values().get(usize::from(symbol));
        self.set_state(0, (0, 0), value.copied().unwrap_or_default());
    }

    /// The table that `counts` describe, whose exponent is at most 9.
    pub(crate) fn set(&mut self, table: Table, counts: &Counts) {
        self.log = counts.log;
        let values = table.values();
        counts.build(|state, symbol, bits, next| {
            let value = values.get(symbol).copied().unwrap_or_default();
            self.set_state(state, (next, bits), value);
        });
    }

    #[inline(always)]
    fn set_state(&mut self, state: usize, (next, bits): (u16, u8), value: Value) {
        // At most 9 + 31.
        let all = (bits + value.extra).cast_signed().wrapping_neg();
        if let (Some(step), Some(to)) = (self.steps.get_mut(state), self.values.get_mut(state)) {
            *step = Step { next, bits, all };
            *to = value;
        }
    }

    /// How many of the states stand for offsets of 2^23 and more, in 256ths.
    pub(crate) fn long_share(&self) -> usize {
        let states = 1usize << self.log;
        let long = |value: &&Value| value.extra > 22;
        let share = self.values.iter().take(states).filter(long).count();
        share << 8u32.saturating_sub(self.log)
    }
}

/// The three tables in use, side by side: one register finds them all.
#[derive(Debug, Clone)]
pub(crate) struct SequenceTables {
    pub(crate) lengths: SequenceTable,
    pub(crate) offsets: SequenceTable,
    pub(crate) matches: SequenceTable,
}

impl SequenceTables {
    pub(crate) const EMPTY: Self = Self {
        lengths: SequenceTable::EMPTY,
        offsets: SequenceTable::EMPTY,
        matches: SequenceTable::EMPTY,
    };

    pub(crate) fn table(&mut self, table: Table) -> &mut SequenceTable {
        match table {
            Table::LiteralLengths => &mut self.lengths,
            Table::Offsets => &mut self.offsets,
            Table::MatchLengths => &mut self.matches,
        }
    }
}

impl Table {
    /// The largest symbol.
    pub(crate) fn max_symbol(self) -> u8 {
        match self {
            Self::LiteralLengths => 35,
            Self::Offsets => 31,
            Self::MatchLengths => 52,
        }
    }

    /// The largest exponent of a table.
    pub(crate) fn max_log(self) -> u32 {
        match self {
            Self::Offsets => 8,
            _ => 9,
        }
    }

    /// What each symbol stands for (RFC 8878, 3.1.1.3.2.1).
    fn values(self) -> &'static [Value; 64] {
        static LENGTHS: [Value; 64] = values(0, &LITERAL_LENGTHS, 16);
        #[allow(clippy::indexing_slicing, reason = "only while compiling")]
        static OFFSETS: [Value; 64] = {
            let mut values = [Value { base: 0, extra: 0 }; 64];
            let (mut symbol, mut extra) = (0, 0);
            while extra < 32 {
                values[symbol] = Value {
                    base: 1 << extra,
                    extra,
                };
                (symbol, extra) = (symbol + 1, extra + 1);
            }
            values
        };
        static MATCHES: [Value; 64] = values(3, &MATCH_LENGTHS, 32);
        match self {
            Self::LiteralLengths => &LENGTHS,
            Self::Offsets => &OFFSETS,
            Self::MatchLengths => &MATCHES,
        }
    }

    /// The table every decoder knows (RFC 8878, 3.1.1.3.2.2).
    pub(crate) fn predefined(self) -> &'static SequenceTable {
        static TABLES: LazyLock<[SequenceTable; 3]> = LazyLock::new(|| {
            let make = |table, counts: &[i16], log| {
                let mut described = Counts {
                    counts: [0; SYMBOLS],
                    symbols: counts.len(),
                    log,
                    size: 0,
                };
                for (to, from) in described.counts.iter_mut().zip(counts) {
                    *to = *from;
                }
                let mut made = SequenceTable::EMPTY;
                made.set(table, &described);
                made
            };
            [
                make(Table::LiteralLengths, &LITERAL_LENGTH_COUNTS, 6),
                make(Table::Offsets, &OFFSET_COUNTS, 5),
                make(Table::MatchLengths, &MATCH_LENGTH_COUNTS, 6),
            ]
        });
        let [literal_lengths, offsets, match_lengths] = &*TABLES;
        match self {
            Self::LiteralLengths => literal_lengths,
            Self::Offsets => offsets,
            Self::MatchLengths => match_lengths,
        }
    }
}

/// Values of symbols that stand for themselves and `plain` more, and from `from` on for what is
/// listed.
#[allow(clippy::indexing_slicing, reason = "only while compiling")]
const fn values(plain: u32, listed: &[(u32, u8)], from: usize) -> [Value; 64] {
    let mut values = [Value { base: 0, extra: 0 }; 64];
    let (mut symbol, mut base) = (0, plain);
    while symbol < from {
        values[symbol] = Value { base, extra: 0 };
        (symbol, base) = (symbol + 1, base + 1);
    }
    while symbol < from + listed.len() {
        let (base, extra) = listed[symbol - from];
        values[symbol] = Value { base, extra };
        symbol += 1;
    }
    values
}

/// Base and further bits of literal length symbols from 16 on.
const LITERAL_LENGTHS: [(u32, u8); 20] = [
    (16, 1),
    (18, 1),
    (20, 1),
    (22, 1),
    (24, 2),
    (28, 2),
    (32, 3),
    (40, 3),
    (48, 4),
    (64, 6),
    (128, 7),
    (256, 8),
    (512, 9),
    (1024, 10),
    (2048, 11),
    (4096, 12),
    (8192, 13),
    (16384, 14),
    (32768, 15),
    (65536, 16),
];

/// Base and further bits of match length symbols from 32 on.
const MATCH_LENGTHS: [(u32, u8); 21] = [
    (35, 1),
    (37, 1),
    (39, 1),
    (41, 1),
    (43, 2),
    (47, 2),
    (51, 3),
    (59, 3),
    (67, 4),
    (83, 4),
    (99, 5),
    (131, 7),
    (259, 8),
    (515, 9),
    (1027, 10),
    (2051, 11),
    (4099, 12),
    (8195, 13),
    (16387, 14),
    (32771, 15),
    (65539, 16),
];

const LITERAL_LENGTH_COUNTS: [i16; 36] = [
    4, 3, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 2, 3, 2, 1, 1, 1, 1, 1,
    -1, -1, -1, -1,
];

const MATCH_LENGTH_COUNTS: [i16; 53] = [
    1, 4, 3, 2, 2, 2, 2, 2, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
    1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, -1, -1, -1, -1, -1, -1, -1,
];

const OFFSET_COUNTS: [i16; 29] = [
    1, 1, 1, 1, 1, 1, 2, 2, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, -1, -1, -1, -1, -1,
];

/// Largest exponent of the table that codes Huffman weights.
const WEIGHTS_LOG_MAX: u32 = 6;

/// Decodes the FSE-coded weights of a Huffman tree; `None` when they are damaged. Returns how
/// many there are.
///
/// The stream says nothing of their number: it ends when a state asks for bits that are not
/// there, and the other state gives the last weight.
pub(crate) fn weights(bytes: &[u8], out: &mut [u8; 256], rules: Rules) -> Option<usize> {
    let counts = Counts::read(bytes, SYMBOLS - 1)?;
    // libzstd decodes in a small working memory; how many symbols a table may describe follows
    // from its size (`HUF_READ_STATS_WORKSPACE_SIZE`, lib/zstd/common/huf.h).
    let most = match counts.log {
        WEIGHTS_LOG_MAX => 12,
        _ => 92,
    };
    if counts.log > WEIGHTS_LOG_MAX || counts.symbols > most {
        return None;
    }
    let mut cells = [(0u8, 0u8, 0u16); 1 << WEIGHTS_LOG_MAX];
    counts.build(|state, symbol, bits, next| {
        if let Some(cell) = cells.get_mut(state) {
            *cell = (u8::try_from(symbol).unwrap_or(0), bits, next);
        }
    });
    // No symbol has half of the states, so each step reads at least one bit. Decoders then use
    // the reader's other form, which differs beyond the start of the stream.
    let fast = counts
        .counts
        .iter()
        .all(|&count| i32::from(count) < 1 << (counts.log - 1));
    let mut stream = BitReader::new(bytes.get(counts.size..)?)?;
    let mut states = [0usize; 2];
    for state in &mut states {
        *state = usize::try_from(stream.read(counts.log)).ok()?;
        stream.reload();
    }
    if rules.weights_need_states() && stream.reload() == Status::Overflow {
        return None;
    }
    let step = |state: &mut usize, stream: &mut BitReader<'_>| {
        let (symbol, bits, next) = cells.get(*state).copied().unwrap_or_default();
        let low = match fast {
            true => stream.read_fast(u32::from(bits)),
            false => stream.read(u32::from(bits)),
        };
        *state = usize::from(next) + usize::try_from(low).unwrap_or(0);
        symbol
    };
    let [mut first, mut second] = states;
    let mut written = 0;
    let capacity = out.len() - 1;
    stream.reload();
    loop {
        if written + 2 > capacity {
            return None;
        }
        *out.get_mut(written)? = step(&mut first, &mut stream);
        written += 1;
        if stream.reload() == Status::Overflow {
            *out.get_mut(written)? = step(&mut second, &mut stream);
            return Some(written + 1);
        }
        std::mem::swap(&mut first, &mut second);
    }
}
