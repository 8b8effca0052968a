//! The sequences of a block, added up: where their bitstream ends, how many bytes they put out,
//! and whether each match stays within what was there before it.
//!
//! Nearly all sequences go through one loop ([`Sums::usual`]) whose branches are never taken in
//! practice: a branch that depends on the data, such as whether an offset is a repeated one, is
//! mispredicted so often that it costs more than everything else. That the bitstream ends exactly,
//! and that there were enough literals, is checked once, at the end.

use std::hint::select_unpredictable;

use crate::fse::{SequenceTables, Step, Value};

/// Sequences to add up.
#[derive(Debug)]
pub(crate) struct Section<'a> {
    pub(crate) tables: &'a SequenceTables,
    /// The bitstream.
    pub(crate) bytes: &'a [u8],
    /// Sequences in it.
    pub(crate) count: usize,
    /// Literals that they may take.
    pub(crate) literals: usize,
    /// The declared window.
    pub(crate) window: u64,
    /// The last three offsets.
    pub(crate) recent: [u32; 3],
}

/// What sequences come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sum {
    /// Literals taken.
    pub(crate) literals: usize,
    /// Bytes of literals and matches.
    pub(crate) content: usize,
    /// The last three offsets.
    pub(crate) recent: [u32; 3],
}

/// Bits that one look into the bitstream gives for certain.
const WORD_BITS: i64 = 57;

/// Adds up a section that starts after `start` bytes of content; `None` when it breaks a rule,
/// or when content goes beyond the window, which matches may then leave.
pub(crate) fn sum(section: &Section<'_>, start: usize) -> Option<Sum> {
    sum_by(usual, section, start)
}

/// The same without what only some processors have.
#[cfg(test)]
pub(super) fn sum_portably(section: &Section<'_>, start: usize) -> Option<Sum> {
    sum_by(Sums::usual, section, start)
}

fn sum_by(usual: Usual, section: &Section<'_>, start: usize) -> Option<Sum> {
    let mut sums = Sums::new(section, start)?;
    let mut left = section.count;
    while left > 0 {
        left = usual(&mut sums, section.tables, section.bytes, left);
        left -= 1;
        sums.any(section.tables, section.bytes, left == 0)?;
    }
    let literals = usize::try_from(sums.literals).ok()?;
    let content = usize::try_from(sums.total).ok()? - start;
    let mut recent = [0; 3];
    for (to, from) in recent.iter_mut().zip(sums.recent) {
        *to = u32::try_from(from).ok()?;
    }
    let sound = sums.place == 0
        && !sums.far
        && sums.total <= section.window
        && literals <= section.literals;
    sound.then_some(Sum {
        literals,
        content,
        recent,
    })
}

/// Goes through sequences as long as they are usual ones; how many are left, at least one.
type Usual = fn(&mut Sums, &SequenceTables, &[u8], usize) -> usize;

#[multiversion::multiversion(targets("x86_64+bmi1+bmi2+lzcnt+popcnt"))]
fn usual(sums: &mut Sums, tables: &SequenceTables, bytes: &[u8], count: usize) -> usize {
    sums.usual(tables, bytes, count)
}

/// Where the bitstream is read, and what its sequences come to so far.
#[derive(Debug, Clone, Copy)]
struct Sums {
    /// Bits of the bitstream that are left.
    place: u64,
    /// States of the tables: literal length, offset, match length.
    states: [u64; 3],
    /// The last three offsets.
    recent: [u64; 3],
    /// Literals taken; less than 2^18 a sequence, so that it cannot wrap.
    literals: u64,
    /// Bytes of content, less than 2^18 a sequence.
    total: u64,
    /// Whether a match reached beyond the start.
    far: bool,
}

impl Sums {
    fn new(section: &Section<'_>, start: usize) -> Option<Self> {
        let bytes = section.bytes;
        let last = *bytes.last().filter(|&&last| last > 0)?;
        let mut sums = Self {
            place: 8 * bytes.len() as u64 - u64::from(last.leading_zeros()) - 1,
            states: [0; 3],
            recent: section.recent.map(u64::from),
            literals: 0,
            total: start as u64,
            far: false,
        };
        let tables = section.tables;
        let logs = [tables.lengths.log, tables.offsets.log, tables.matches.log];
        for (index, log) in logs.into_iter().enumerate() {
            let state = sums.read(bytes, u64::from(log))?;
            *sums.states.get_mut(index)? = state;
        }
        Some(sums)
    }

    /// The next `count` bits, fewer than [`WORD_BITS`]; `None` when there are not as many.
    fn read(&mut self, bytes: &[u8], count: u64) -> Option<u64> {
        self.place = self.place.checked_sub(count)?;
        let start = usize::try_from(self.place >> 3).ok()?;
        let mut eight = [0; 8];
        for (to, from) in eight.iter_mut().zip(bytes.get(start..)?) {
            *to = *from;
        }
        let mask = (1 << count) - 1;
        Some(u64::from_le_bytes(eight) >> (self.place & 7) & mask)
    }

    /// Goes through sequences until one asks for no bits, or more than [`WORD_BITS`], or fewer
    /// than eight bytes are left, or the last sequence comes; how many are left.
    #[inline(always)]
    fn usual(&mut self, tables: &SequenceTables, bytes: &[u8], count: usize) -> usize {
        let mut left = count;
        // A copy, so that what is used in each round can stay in registers.
        let mut sums = *self;
        while left > 1 {
            let [length, offset, matching] = sums.states;
            let (
                Some((length_step, length)),
                Some((offset_step, offset)),
                Some((match_step, matching)),
            ) = (
                tables.lengths.state(length),
                tables.offsets.state(offset),
                tables.matches.state(matching),
            )
            else {
                break;
            };
            let all =
                i64::from(length_step.all) + i64::from(match_step.all) + i64::from(offset_step.all);
            if !(-WORD_BITS..0).contains(&all) {
                break;
            }
            let all = all.cast_unsigned();
            let Some(word) = word(bytes, sums.place) else {
                break;
            };
            left -= 1;
            sums.place = sums.place.wrapping_add(all);
            // What was read last is lowest.
            let mut bits = word >> (all & 63);
            let mut next = |step: &Step| take(&mut bits, step.bits).wrapping_add(step.next.into());
            let offset_state = next(offset_step);
            let match_state = next(match_step);
            let length_state = next(length_step);
            sums.states = [length_state, offset_state, match_state];
            let run = take(&mut bits, length.extra).wrapping_add(length.base.into());
            let len = take(&mut bits, matching.extra).wrapping_add(matching.base.into());
            let value = bits.wrapping_add(offset.base.into());
            sums.perform(run, len, value);
        }
        *self = sums;
        left
    }

    /// Goes through one sequence of whatever kind; no states follow the `last`.
    fn any(&mut self, tables: &SequenceTables, bytes: &[u8], last: bool) -> Option<()> {
        let [length, offset, matching] = self.states;
        let (length_step, length) = tables.lengths.state(length)?;
        let (offset_step, offset) = tables.offsets.state(offset)?;
        let (match_step, matching) = tables.matches.state(matching)?;
        let [value, len, run] = {
            let mut read = |value: &Value| {
                let low = self.read(bytes, value.extra.into())?;
                Some(u64::from(value.base) + low)
            };
            [read(offset)?, read(matching)?, read(length)?]
        };
        self.perform(run, len, value);
        if !last {
            let mut next = |step: &Step| {
                let low = self.read(bytes, step.bits.into())?;
                Some(u64::from(step.next) + low)
            };
            let length_state = next(length_step)?;
            let match_state = next(match_step)?;
            let offset_state = next(offset_step)?;
            self.states = [length_state, offset_state, match_state];
        }
        Some(())
    }

    /// Adds `run` literals and a match of `len` bytes at what the offset's `value` stands for: a
    /// distance and 3 more, or one of the last distances.
    #[inline(always)]
    fn perform(&mut self, run: u64, len: u64, value: u64) {
        let [first, second, third] = self.recent;
        let known = value <= 3;
        // 1 to 4, as four is what no literals make of three; 5 for a new distance.
        let code = select_unpredictable(known, value.wrapping_add(u64::from(run == 0)), 5);
        let mut distance =
            select_unpredictable(known, first.wrapping_sub(1), value.wrapping_sub(3));
        distance = select_unpredictable(code == 3, third, distance);
        distance = select_unpredictable(code == 2, second, distance);
        distance = select_unpredictable(code == 1, first, distance);
        self.recent = [
            distance,
            select_unpredictable(code == 1, second, first),
            select_unpredictable(code <= 2, third, second),
        ];
        self.literals = self.literals.wrapping_add(run);
        let reach = self.total.wrapping_add(run);
        // A distance of zero is too far as well.
        self.far |= distance.wrapping_sub(1) >= reach;
        self.total = reach.wrapping_add(len);
    }
}

/// The lowest `count` bits, which are taken away.
#[inline(always)]
fn take(bits: &mut u64, count: u8) -> u64 {
    let rest = *bits >> (count & 63);
    let low = bits.wrapping_sub(rest << (count & 63));
    *bits = rest;
    low
}

/// The bits that end at `place`, which is counted in bits from the first byte: next bit on top,
/// [`WORD_BITS`] of them at least. `None` where there are not eight bytes.
#[inline(always)]
fn word(bytes: &[u8], place: u64) -> Option<u64> {
    let end = usize::try_from(place.wrapping_add(7) >> 3).ok()?;
    let eight = bytes.get(end.wrapping_sub(8)..end)?.first_chunk::<8>()?;
    Some(u64::from_le_bytes(*eight) << (place.wrapping_neg() & 7))
}
