//! The longest match in reach of each form, for every position of a segment.
//!
//! Which earlier positions match does not depend on how the segment is cut into matches. So all
//! positions are linked first, in one pass without branches. Two things keep the search short:
//!
//! * At the next position every match is still there, one byte shorter. Only longer ones have to
//!   be looked for.
//! * A match that is longer by a byte includes the four bytes that end with that byte. It is found
//!   on their chain, and on the chain of the first four bytes. The shorter of the two chains is
//!   walked; mostly it is empty, and there is no longer match.

use super::{M1_MAX_DISTANCE, M2_MAX_DISTANCE, M3_MAX_DISTANCE, M4_MAX_DISTANCE};

/// Earlier places looked at for each position.
const DEPTH: usize = 24;

/// A match of this length is taken without looking for anything better inside it; bounds the
/// time spent on long runs.
pub(super) const GOOD: usize = 512;

/// Where there is a match of this length, fewer places are looked at.
const LONG: usize = 16;

/// Bytes up to which the small table of heads does, which is cleared sooner.
const SMALL: usize = 8192;

/// Entries of the tables of hashes of four bytes, three and two.
const HEADS: usize = 1 << 16;
const SMALL_HEADS: usize = 1 << 13;
const TRIPLES: usize = 1 << 14;
const PAIRS: usize = 1 << 13;

/// Farthest distance of each form of three bytes and more.
const ZONES: [usize; 3] = [M2_MAX_DISTANCE, M3_MAX_DISTANCE, M4_MAX_DISTANCE];

/// The form with the fewest bytes that reaches so far.
#[inline(always)]
fn zone(distance: usize) -> usize {
    usize::from(distance > M2_MAX_DISTANCE) + usize::from(distance > M3_MAX_DISTANCE)
}

/// A match that can be used at a position; of length 0 if there is none.
#[derive(Debug, Clone, Copy)]
pub(super) struct Found {
    pub(super) length: usize,
    pub(super) distance: usize,
    /// The lowest cost of a start from which its use is known; see the parse.
    pub(super) known: u32,
}

impl Found {
    const NONE: Self = Self {
        length: 0,
        distance: 0,
        known: 0,
    };
}

/// The longest matches at a position.
#[derive(Debug, Clone, Copy)]
pub(super) struct Matches {
    /// Up to 2048, 16384 and 49151 bytes back. One that is no longer than a nearer one is of
    /// no use.
    pub(super) zones: [Found; 3],
}

impl Matches {
    pub(super) const NONE: Self = Self {
        zones: [Found::NONE; 3],
    };

    /// What is left of them one position on.
    #[inline(always)]
    pub(super) fn step(&mut self) {
        for found in &mut self.zones {
            found.length = found.length.saturating_sub(1);
            if found.length < 3 {
                *found = Found::NONE;
            }
        }
    }

    /// Length of the longest.
    #[inline(always)]
    pub(super) fn longest(&self) -> usize {
        let [near, middle, far] = self.zones;
        near.length.max(middle.length).max(far.length)
    }
}

/// Distances at which the first bytes of a position were seen last; 0 if they were not.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Short {
    /// Two bytes, up to 1024 back.
    pub(super) pair: u16,
    /// Three bytes, up to 49151 back.
    pub(super) triple: u16,
}

/// Tables of the matches of one segment. Positions in it count from 1; 0 is none.
#[derive(Debug)]
pub(super) struct Finder {
    /// Last position of each hash.
    heads: Box<[u16; HEADS]>,
    triples: Box<[u16; TRIPLES]>,
    pairs: Box<[u16; PAIRS]>,
    /// For each place, the position before with the same hash of four bytes.
    chain: Vec<u16>,
    /// For each position, how many there are before it in its chain, at most 254.
    rank: Vec<u8>,
    /// For each place, its short matches.
    shorts: Vec<Short>,
}

impl Finder {
    pub(super) fn new() -> Self {
        Self {
            heads: Box::new([0; HEADS]),
            triples: Box::new([0; TRIPLES]),
            pairs: Box::new([0; PAIRS]),
            chain: Vec::new(),
            rank: Vec::new(),
            shorts: Vec::new(),
        }
    }

    /// Takes `data`, at most 65536 bytes, for the segment to be searched.
    pub(super) fn load(&mut self, data: &[u8]) {
        let len = data.len();
        if self.chain.len() < len {
            self.chain.resize(len, 0);
            self.rank.resize(len + 1, 0);
            self.shorts.resize(len, Short::default());
        }
        if len <= SMALL {
            self.link::<SMALL_HEADS>(data);
        } else {
            self.link::<HEADS>(data);
        }
    }

    /// Links all positions, with `N` heads.
    fn link<const N: usize>(&mut self, data: &[u8]) {
        let Some(heads) = self.heads.first_chunk_mut::<N>() else {
            return;
        };
        heads.fill(0);
        // The first position: who finds it here by mistake has other bytes.
        self.pairs.fill(1);
        self.triples.fill(1);
        let len = data.len();
        let (chain, shorts) = (&mut self.chain[..len], &mut self.shorts[..len]);
        let rank = &mut self.rank[..=len];
        // The last three bytes start nothing.
        let end = len.saturating_sub(3);
        chain[end..].fill(0);
        shorts[end..].fill(Short::default());
        // One more than this is 0.
        rank[0] = u8::MAX;
        let mut here = 0;
        for ((bytes, link), short) in data.windows(4).zip(chain).zip(shorts) {
            here += 1;
            let word = bytes.first_chunk().map_or(0, |&four| word_of(four));
            let head = std::mem::replace(&mut heads[hash::<N>(word)], here);
            let two = std::mem::replace(&mut self.pairs[hash::<PAIRS>(word << 16)], here);
            let three = std::mem::replace(&mut self.triples[hash::<TRIPLES>(word << 8)], here);
            let before = rank[usize::from(head)];
            rank[usize::from(here)] = before.wrapping_add(u8::from(before != u8::MAX - 1));
            *link = head;
            // Masks instead of branches, which would be guessed wrong.
            let distance = |seen: u16, mask: u32, limit: usize| {
                let distance = here.wrapping_sub(seen);
                let same = (four(data, usize::from(seen.wrapping_sub(1))) ^ word) & mask == 0;
                let good = u16::from(same) & u16::from(usize::from(distance) <= limit);
                distance & 0_u16.wrapping_sub(good)
            };
            *short = Short {
                pair: distance(two, 0xffff, M1_MAX_DISTANCE),
                triple: distance(three, 0xff_ffff, M4_MAX_DISTANCE),
            };
        }
    }

    /// The short matches at `at`.
    #[inline(always)]
    pub(super) fn short(&self, at: usize) -> Short {
        self.shorts[at]
    }

    /// Puts into `matches`, which holds what is left of those one position before, the longer
    /// ones of four bytes and more at `at`.
    #[inline(always)]
    pub(super) fn find(&self, data: &[u8], at: usize, matches: &mut Matches) {
        let mut next = self.chain[at];
        if next == 0 {
            return;
        }
        // The chain that is walked is that of the bytes at `at + skip`; `left` places are ahead.
        let (mut skip, mut left) = (0, self.rank[at + 1]);
        let mut steps = match matches.longest() {
            ..LONG => DEPTH,
            _ => DEPTH / 4,
        };
        let mut reach = 0;
        let mut best = matches.zones[0].length.max(3);
        loop {
            // A farther match counts only where it is longer than the nearer ones.
            while reach < 2 && matches.zones[reach + 1].length <= best {
                reach += 1;
            }
            let tail = best - 3;
            if at + tail + 4 > data.len() {
                return;
            }
            let other = self.rank[at + tail + 1];
            let link = self.chain[at + tail];
            (skip, left, next) = if other < left {
                (tail, other, link)
            } else {
                (skip, left, next)
            };
            // What the chain does not promise is compared first.
            let probe = if skip == tail { 0 } else { tail };
            let wanted = four(data, at + probe);
            let nearest_out = (at + skip).saturating_sub(ZONES[reach]).max(skip);
            let from = loop {
                let place = usize::from(next);
                if place <= nearest_out {
                    break None;
                }
                if steps == 0 {
                    return;
                }
                steps -= 1;
                next = self.chain[place - 1];
                let from = place - 1 - skip;
                if four(data, from + probe) == wanted {
                    break Some(from);
                }
            };
            let Some(from) = from else {
                if reach == 2 || next == 0 {
                    return;
                }
                reach += 1;
                best = best.max(matches.zones[reach].length);
                continue;
            };
            let length = equal(data, from, at);
            if length > best {
                best = length;
                left = self.rank[from + skip + 1];
                matches.zones[zone(at - from)] = Found {
                    length,
                    distance: at - from,
                    known: u32::MAX,
                };
                if length >= GOOD {
                    return;
                }
            }
        }
    }
}

fn word_of(bytes: [u8; 4]) -> u32 {
    u32::from_le_bytes(bytes)
}

/// Entry of a table of `N`, a power of two.
#[inline(always)]
fn hash<const N: usize>(word: u32) -> usize {
    let hash = word.wrapping_mul(0x9e37_79b1) >> (u32::BITS - N.trailing_zeros());
    usize::try_from(hash).unwrap_or(0)
}

/// The four bytes at `at`, 0 where there are fewer.
#[inline(always)]
fn four(data: &[u8], at: usize) -> u32 {
    let bytes = data.get(at..).and_then(<[u8]>::first_chunk);
    bytes.map_or(0, |&bytes| word_of(bytes))
}

/// Number of bytes equal from `from` and from `at`, which is later, up to the end.
#[inline(always)]
fn equal(data: &[u8], from: usize, at: usize) -> usize {
    let (there, here) = (&data[from..], &data[at..]);
    let mut count = 0;
    for (a, b) in here.as_chunks::<8>().0.iter().zip(there.as_chunks::<8>().0) {
        let differ = u64::from_le_bytes(*a) ^ u64::from_le_bytes(*b);
        if differ != 0 {
            return count + usize::try_from(differ.trailing_zeros() / 8).unwrap_or(0);
        }
        count += 8;
    }
    let rest = here.iter().zip(there).skip(count);
    count + rest.take_while(|(a, b)| a == b).count()
}
