//! The three tables of sequences: what a state leads to, and what it stands for.

use std::sync::LazyLock;

use super::{Counts, SYMBOLS};
use crate::fault::Table;

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
