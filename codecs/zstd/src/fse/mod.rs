//! Finite-state entropy (FSE): the description of a table, and the order of its states. The modules
//! below make tables of them: those of sequences, and the one for the weights of Huffman trees.

mod tables;
mod weights;

pub(crate) use tables::{STATES, SequenceTable, SequenceTables, Step, Value};
pub(crate) use weights::weights;

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
