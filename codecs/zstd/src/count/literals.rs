//! Counts Huffman-coded literals: how many a stream holds, and whether the last ends with it.
//!
//! Which literals they are does not matter, so the symbols of the codes do not either. A table made
//! from the code lengths alone says how many codes the next bits hold, and how long they are
//! together. Most look-ups pass over several literals.

use crate::bits::load;
use crate::fault::FaultKind;
use crate::huffman::{self, Tree};

/// Bits looked at together: at least the longest code, 11; few enough that four looks need no
/// more than a refilled register has, and that the table is quickly made.
const LOG: u32 = 11;

/// Looks between two refills.
const LOOKS: usize = 5;

/// What looks find, by how many bits are looked at: the table for `n` bits starts at `1 << n`.
///
/// Each cell has the length of all codes that are whole in these bits, and 256 times their
/// number.
#[derive(Debug, Clone)]
pub(crate) struct Lengths {
    cells: Box<[u16; 2 << LOG]>,
}

impl Default for Lengths {
    fn default() -> Self {
        Self {
            cells: Box::new([0; 2 << LOG]),
        }
    }
}

impl Lengths {
    /// Makes the tables for a tree.
    pub(crate) fn set(&mut self, tree: &Tree) {
        let codes = tree.lengths();
        for bits in 1..=LOG {
            let size = 1usize << bits;
            let (before, table) = self.cells.split_at_mut(size);
            let table = table.get_mut(..size).unwrap_or_default();
            // From the end on, as the shortest codes come last.
            let mut end = size;
            for (length, &count) in (1..bits + 1).zip(&codes) {
                // After each code of one length stands anything that the other bits may hold.
                let rest = 1usize << (bits - length);
                let start = end.saturating_sub(rest * usize::from(count));
                let Some(all) = table.get_mut(start..end).filter(|all| !all.is_empty()) else {
                    continue;
                };
                let one = 256 + u16::try_from(length).unwrap_or(0);
                for (cell, behind) in all.iter_mut().zip(before.iter().skip(rest).take(rest)) {
                    *cell = behind + one;
                }
                let mut done = rest;
                while done < all.len() {
                    let more = done.min(all.len() - done);
                    all.copy_within(..more, done);
                    done += more;
                }
                end = start;
            }
            // Longer codes are not whole in these bits.
            table.get_mut(..end).unwrap_or_default().fill(0);
        }
    }

    /// Checks that one stream that fills `bytes` holds `count` literals.
    pub(crate) fn one_stream(&self, bytes: &[u8], count: usize) -> Result<(), FaultKind> {
        let mut lanes = [Lane::new(bytes, 0).ok_or(FaultKind::StreamEndMark { stream: 1 })?];
        follow(&*self.cells, bytes, &mut lanes);
        match lanes {
            [lane] if lane.finish(&*self.cells, bytes) == Some(count) => Ok(()),
            _ => Err(FaultKind::StreamLength { stream: 1 }),
        }
    }

    /// Checks that four streams after their jump table, which together fill `bytes`, hold
    /// `count` literals, each its share.
    pub(crate) fn four_streams(&self, bytes: &[u8], count: usize) -> Result<(), FaultKind> {
        let bounds = huffman::stream_bounds(bytes)?;
        let segment = count.div_ceil(4);
        let last = count
            .checked_sub(3 * segment)
            .ok_or(FaultKind::TooFewLiterals { size: count })?;
        let mut lanes = [Lane::default(); 4];
        for ((lane, (start, end)), stream) in lanes.iter_mut().zip(bounds).zip(1..) {
            let own = bytes.get(..end).unwrap_or_default();
            *lane = Lane::new(own, start).ok_or(FaultKind::StreamEndMark { stream })?;
        }
        follow(&*self.cells, bytes, &mut lanes);
        let counts = [segment, segment, segment, last];
        for ((lane, count), stream) in lanes.into_iter().zip(counts).zip(1..) {
            if lane.finish(&*self.cells, bytes) != Some(count) {
                return Err(FaultKind::StreamLength { stream });
            }
        }
        Ok(())
    }
}

/// Follows streams to within eight bytes of their starts.
#[multiversion::multiversion(targets("x86_64+bmi1+bmi2+lzcnt+popcnt"))]
fn follow(cells: &[u16], bytes: &[u8], lanes: &mut [Lane]) {
    follow_lanes(cells, bytes, lanes);
}

#[inline(always)]
fn follow_lanes(cells: &[u16], bytes: &[u8], lanes: &mut [Lane]) {
    let Some(cells) = cells
        .get(1 << LOG..)
        .and_then(|cells| cells.first_chunk::<{ 1 << LOG }>())
    else {
        return;
    };
    if let Ok(lanes) = <&mut [Lane; 4]>::try_from(&mut *lanes) {
        // In step, as what one lane waits for leaves time for the others.
        loop {
            let rounds = lanes.iter().map(Lane::rounds).min().unwrap_or(0);
            if rounds == 0 {
                break;
            }
            for _ in 0..rounds {
                for lane in &mut *lanes {
                    lane.round(cells, bytes);
                }
            }
        }
    }
    for lane in lanes {
        while lane.rounds() > 0 {
            lane.round(cells, bytes);
        }
    }
}

/// A stream that is being read, backwards.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Lane {
    /// The next bits, next on top. What lies below the bits at hand is what will be there.
    register: u64,
    /// How many bits are at hand, below 64; less 256 times the literals so far.
    state: u64,
    /// End of the bytes that are not at hand yet.
    end: usize,
    /// Start of the stream.
    start: usize,
}

impl Lane {
    /// Starts a stream that ends where `bytes` do; `None` without end mark.
    fn new(bytes: &[u8], start: usize) -> Option<Self> {
        let own = bytes.get(start..)?;
        let last = *own.last().filter(|&&last| last > 0)?;
        let mark = last.leading_zeros() + 1;
        let held = own.len().min(8);
        let end = bytes.len() - held;
        Some(Self {
            register: last_bytes(own) << mark,
            state: 8 * held as u64 - u64::from(mark),
            end,
            start,
        })
    }

    /// Rounds that are possible for certain, each of which uses up to seven bytes.
    #[inline(always)]
    fn rounds(&self) -> usize {
        self.end.saturating_sub(self.start) / 8
    }

    #[inline(always)]
    fn round(&mut self, cells: &[u16; 1 << LOG], bytes: &[u8]) {
        let Self {
            mut register,
            mut state,
            ..
        } = *self;
        for _ in 0..LOOKS {
            let index = usize::try_from(register >> (64 - LOG)).unwrap_or(0);
            let cell = u64::from(cells.get(index).copied().unwrap_or(0));
            register <<= cell & 63;
            state = state.wrapping_sub(cell);
        }
        let more = load(bytes, self.end.wrapping_sub(8));
        self.register = register | more >> (state & 63);
        let used = usize::try_from((!state & 63) >> 3).unwrap_or(0);
        self.end = self.end.wrapping_sub(used);
        self.state = state | 56;
    }

    /// Literals in all; `None` when the stream does not end where the last one does.
    fn finish(self, cells: &[u16], bytes: &[u8]) -> Option<usize> {
        let rest = bytes.get(self.start..self.end)?;
        let held = self.state & 63;
        let mut left = held + 8 * rest.len() as u64;
        let mut literals = held.wrapping_sub(self.state) >> 8;
        let mut bits = u128::from(self.register) << 64 | u128::from(last_bytes(rest)) << 64 >> held;
        while left > 0 {
            let look = left.min(u64::from(LOG));
            let index = (1 << look) + usize::try_from(bits >> (128 - look)).ok()?;
            let cell = u64::from(*cells.get(index)?);
            let length = cell & 63;
            if length == 0 {
                return None;
            }
            bits <<= length;
            left -= length;
            literals += cell >> 8;
        }
        usize::try_from(literals).ok()
    }
}

/// The last eight bytes, zeroes below those that are not there.
fn last_bytes(bytes: &[u8]) -> u64 {
    let mut eight = [0; 8];
    for (to, from) in eight.iter_mut().rev().zip(bytes.iter().rev()) {
        *to = *from;
    }
    u64::from_le_bytes(eight)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::huffman::Decoding;
    use crate::rules::Rules;
    use quickcheck::{Gen, QuickCheck};

    /// A complete tree: a code is split in two for each of `splits`.
    fn tree(splits: &[u8]) -> Tree {
        let mut lengths = vec![1u8, 1];
        for &split in splits.iter().take(120) {
            let at = usize::from(split) % lengths.len();
            if lengths[at] < 11 {
                lengths[at] += 1;
                lengths.push(lengths[at]);
            }
        }
        let longest = lengths.iter().max().unwrap();
        let mut weights: Vec<u8> = lengths.iter().map(|length| longest + 1 - length).collect();
        // The last one is implied.
        weights.pop();
        let mut description = vec![127 + u8::try_from(weights.len()).unwrap()];
        description.extend(weights.chunks(2).map(|pair| match *pair {
            [first, second] => first << 4 | second,
            _ => pair[0] << 4,
        }));
        Tree::read(&description, Rules::Strict).unwrap()
    }

    /// Any bits are codes of a complete tree; whether they end with the last one is luck.
    fn streams(splits: Vec<u8>, bytes: Vec<u8>, cuts: [u8; 3]) {
        let tree = tree(&splits);
        let mut lengths = Lengths::default();
        lengths.set(&tree);
        let mut decoding = Decoding::default();
        decoding.set(&tree, false, Rules::Strict);
        let Some(lane) = Lane::new(&bytes, 0) else {
            assert!(lengths.one_stream(&bytes, 0).is_err());
            return;
        };
        let mut lanes = [[lane], [lane]];
        follow(&*lengths.cells, &bytes, &mut lanes[0]);
        follow_lanes(&*lengths.cells, &bytes, &mut lanes[1]);
        assert_eq!(lanes[0], lanes[1]);
        let held = lanes[0][0].finish(&*lengths.cells, &bytes);
        let mut out = vec![0; 8 * bytes.len() + 2];
        for count in 0..out.len() {
            let counted = lengths.one_stream(&bytes, count);
            assert_eq!(counted.is_ok(), held == Some(count));
            assert_eq!(counted, decoding.one_stream(&bytes, &mut out[..count]));
        }

        // The same bytes four times, each with another part of the start missing.
        let parts = [0, cuts[0], cuts[1], cuts[2]].map(|cut| {
            let start = usize::from(cut) * bytes.len() / 256;
            &bytes[start..]
        });
        let mut four: Vec<u8> = parts[..3]
            .iter()
            .flat_map(|part| u16::try_from(part.len()).unwrap().to_le_bytes())
            .collect();
        four.extend(parts.concat());
        for count in held.map_or(0..9, |held| (4 * held).saturating_sub(5)..4 * held + 2) {
            let mut out = vec![0; 4 * count + 8];
            assert_eq!(
                lengths.four_streams(&four, count),
                decoding.four_streams(&four, &mut out, count, Rules::Strict)
            );
        }
        let bounds = huffman::stream_bounds(&four).unwrap();
        let lanes = bounds.map(|(start, end)| Lane::new(&four[..end], start).unwrap());
        let mut both = [lanes, lanes];
        follow(&*lengths.cells, &four, &mut both[0]);
        follow_lanes(&*lengths.cells, &four, &mut both[1]);
        assert_eq!(both[0], both[1]);
    }

    #[test]
    fn streams_end_where_decoding_ends() {
        fn property(splits: Vec<u8>, bytes: Vec<u8>, cuts: (u8, u8, u8), same: bool) {
            let cuts = match same {
                true => [0; 3],
                false => cuts.into(),
            };
            streams(splits, bytes, cuts);
        }
        QuickCheck::new()
            .rng(Gen::new(120))
            .tests(3000)
            .quickcheck(property as fn(Vec<u8>, Vec<u8>, (u8, u8, u8), bool));
    }
}
