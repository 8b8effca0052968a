//! The smallest segment: an optimal parse.
//!
//! For every position the cheapest way to arrive there with a match is worked out, in bytes of
//! output, from left to right; the cheapest way to the end is then read backwards. What makes
//! LZO1X different from other codes is that the price of a match depends on the literals before
//! it: one to three are free of overhead and allow a two-byte match of 2, four and more cost a
//! byte and allow a two-byte match of 3 from a certain distance. So each arrival knows its
//! literals.
//!
//! All positions are at most 65536 and all indexes are below the lengths of arrays sized for
//! that; this code reads data that the caller wants compressed, it parses no format.

use super::{
    M1_MAX_DISTANCE, M2_MAX_DISTANCE, M2_MAX_LEN, M3_MAX_DISTANCE, M3_MAX_LEN, M4_MAX_DISTANCE,
    M4_MAX_LEN, emit,
};

/// Longest data, bytes: the largest sector.
const MAX_DATA: usize = 65536;

/// Binary logarithm of the entries of the tables of hashes.
const BITS: u32 = 13;

/// Earlier places looked at for each position.
const DEPTH: usize = 64;

/// A match of this length is taken without looking for anything better inside it; bounds the
/// time spent on long runs.
const GOOD: usize = 512;

/// No position: the last one of the longest data starts no match.
const NOWHERE: u16 = u16::MAX;

/// The cheapest known way to arrive at a position with a match.
#[derive(Debug, Clone, Copy)]
struct Arrival {
    /// Bytes of output up to here.
    cost: u32,
    /// The match, bytes.
    length: u32,
    /// Where it copies from, bytes back.
    distance: u32,
    /// Literals before it.
    run: u32,
}

const NEVER: Arrival = Arrival {
    cost: u32::MAX / 2,
    length: 0,
    distance: 0,
    run: 0,
};

/// A match that can be used at a position.
#[derive(Debug, Clone, Copy, Default)]
struct Found {
    length: usize,
    distance: usize,
}

/// The longest match in reach of each form.
#[derive(Debug, Clone, Copy, Default)]
struct Matches {
    /// Up to 2048 back.
    near: Found,
    /// Up to 16384 back, longer than the one before.
    middle: Found,
    /// Up to 49151 back, longer than the ones before.
    far: Found,
    /// Distance of a match of 2, up to 1024 back; 0 if there is none.
    pair: usize,
    /// Distance of a match of 3, from 2049 to 3072 back; 0 if there is none.
    triple: usize,
}

/// Tables and buffers of the optimal parse.
#[derive(Debug)]
pub(crate) struct Smallest {
    /// Last position of each hash of two bytes.
    pairs: Box<[u16]>,
    /// Last position of each hash of three bytes.
    heads: Box<[u16]>,
    /// For each position, the one before with the same hash of three bytes.
    chain: Vec<u16>,
    arrivals: Vec<Arrival>,
    /// The matches chosen, last one first: where, and how.
    chosen: Vec<(usize, Arrival)>,
}

impl Smallest {
    pub(crate) fn new() -> Self {
        Self {
            pairs: vec![NOWHERE; 1 << BITS].into_boxed_slice(),
            heads: vec![NOWHERE; 1 << BITS].into_boxed_slice(),
            chain: Vec::new(),
            arrivals: Vec::new(),
            chosen: Vec::new(),
        }
    }

    /// Compresses `data`, at most 65536 bytes, into `out`, which is cleared first.
    pub(crate) fn compress(&mut self, data: &[u8], out: &mut Vec<u8>) {
        out.clear();
        let data = data.get(..MAX_DATA).unwrap_or(data);
        let tail = self.parse(data);
        self.read_back(data.len() - tail);
        let mut done = 0;
        for &(end, arrival) in self.chosen.iter().rev() {
            let (length, run) = (size(arrival.length), size(arrival.run));
            emit::literals(&data[done..done + run], out);
            emit::copy(length, size(arrival.distance), run, out);
            done = end;
        }
        emit::literals(&data[done..], out);
        emit::end(out);
    }

    /// Collects the matches on the way to `end`, where one ends (or the data begins).
    fn read_back(&mut self, mut end: usize) {
        self.chosen.clear();
        while end > 0 {
            let arrival = self.arrivals[end];
            self.chosen.push((end, arrival));
            end -= size(arrival.length) + size(arrival.run);
        }
    }

    /// Fills `arrivals`; returns the number of literals behind the last match.
    fn parse(&mut self, data: &[u8]) -> usize {
        self.pairs.fill(NOWHERE);
        self.heads.fill(NOWHERE);
        self.chain.clear();
        self.chain.resize(data.len(), NOWHERE);
        self.arrivals.clear();
        self.arrivals.resize(data.len() + 1, NEVER);
        self.arrivals[0].cost = 0;

        // The cheapest way to be here behind four literals or more, and how many.
        let mut long = Start {
            cost: NEVER.cost,
            run: 0,
        };
        let mut at = 0;
        loop {
            let few = self.few(at);
            long = self.long(at, long);
            let none = Start {
                cost: self.arrivals[at].cost,
                run: 0,
            };
            let best = [none, few, long]
                .into_iter()
                .min_by_key(|start| start.cost)
                .unwrap_or(long);
            if at == data.len() {
                return size(best.run);
            }
            let matches = self.find(data, at);
            let longest = matches
                .far
                .length
                .max(matches.middle.length)
                .max(matches.near.length);
            if at > 0 {
                self.relax(at, matches, best, few, long);
            }
            at += 1;
            if longest >= GOOD {
                // Straight to its end; what is inside can be copied from later.
                let end = at - 1 + longest;
                while at < end {
                    long = self.long(at, long);
                    self.insert(data, at);
                    at += 1;
                }
            }
        }
    }

    /// The cheapest way to be at `at` behind one to three literals.
    fn few(&self, at: usize) -> Start {
        let mut best = Start {
            cost: NEVER.cost,
            run: 0,
        };
        for run in 1..=at.min(3) {
            // At the start of a segment every run of literals has a byte of its own.
            let first = u32::from(run == at);
            let cost = self.arrivals[at - run].cost + number(run) + first;
            if cost < best.cost {
                best = Start {
                    cost,
                    run: number(run),
                };
            }
        }
        best
    }

    /// The same behind four or more, given that of the position before.
    fn long(&self, at: usize, before: Start) -> Start {
        let run = before.run + 1;
        // The run's own length takes another byte now and then.
        let step = u32::from(run == 19 || (run > 19 && (run - 19).is_multiple_of(255)));
        let longer = Start {
            cost: before.cost + 1 + step,
            run,
        };
        let Some(start) = at.checked_sub(4) else {
            return Start {
                cost: NEVER.cost,
                run: 0,
            };
        };
        let fresh = Start {
            cost: self.arrivals[start].cost + 5,
            run: 4,
        };
        let first = Start {
            cost: number(at)
                + 1
                + u32::from(at > 238)
                + number(at.saturating_sub(19) / 255) * u32::from(at > 238),
            run: number(at),
        };
        [longer, fresh, first]
            .into_iter()
            .min_by_key(|start| start.cost)
            .unwrap_or(fresh)
    }

    /// Remembers the arrival `length` behind `at` if it is cheaper than what is known.
    #[inline(always)]
    fn arrive(&mut self, at: usize, length: usize, distance: usize, start: Start, price: u32) {
        let cost = start.cost + price;
        let arrival = &mut self.arrivals[at + length];
        if cost < arrival.cost {
            *arrival = Arrival {
                cost,
                length: number(length),
                distance: number(distance),
                run: start.run,
            };
        }
    }

    /// Tries every match at `at`.
    fn relax(&mut self, at: usize, matches: Matches, best: Start, few: Start, long: Start) {
        if matches.pair > 0 {
            self.arrive(at, 2, matches.pair, few, 2);
        }
        if matches.triple > 0 {
            self.arrive(at, 3, matches.triple, long, 2);
        }
        let near = matches.near;
        let mut covered = near.length.min(M2_MAX_LEN);
        for length in 3..=covered {
            self.arrive(at, length, near.distance, best, 2);
        }
        for (found, plain) in [
            (near, M3_MAX_LEN),
            (matches.middle, M3_MAX_LEN),
            (matches.far, M4_MAX_LEN),
        ] {
            if found.length <= covered {
                continue;
            }
            for length in covered.max(2) + 1..=found.length.min(plain) {
                self.arrive(at, length, found.distance, best, 3);
            }
            if found.length > plain {
                let price = |length: usize| 4 + number((length - plain - 1) / 255);
                // Not all of the longer ones: those that save a byte of length, and the last few.
                for length in (plain + 1).max(found.length.saturating_sub(24))..=found.length {
                    self.arrive(at, length, found.distance, best, price(length));
                }
            }
            covered = found.length;
        }
    }

    /// Makes `at` known to later positions; returns where its hashes were seen last.
    #[inline(always)]
    fn insert(&mut self, data: &[u8], at: usize) -> (u16, u16) {
        let Some(&[a, b, c]) = data.get(at..).and_then(<[u8]>::first_chunk::<3>) else {
            return (NOWHERE, NOWHERE);
        };
        let here = u16::try_from(at).unwrap_or(NOWHERE);
        let two = slot(u32::from_le_bytes([a, b, 0, 0]));
        let three = slot(u32::from_le_bytes([a, b, c, 0]));
        let pair = std::mem::replace(&mut self.pairs[two], here);
        let head = std::mem::replace(&mut self.heads[three], here);
        self.chain[at] = head;
        (pair, head)
    }

    /// Finds the matches at `at`.
    fn find(&mut self, data: &[u8], at: usize) -> Matches {
        let (pair, mut next) = self.insert(data, at);
        let mut matches = Matches::default();
        let here = &data[at..];
        let from = usize::from(pair);
        if pair != NOWHERE && at - from <= M1_MAX_DISTANCE && data[from..].starts_with(&here[..2]) {
            matches.pair = at - from;
        }
        let mut best = 2;
        for _ in 0..DEPTH {
            if next == NOWHERE {
                break;
            }
            let from = usize::from(next);
            next = self.chain[from];
            let distance = at - from;
            if distance > M4_MAX_DISTANCE {
                break;
            }
            let there = &data[from..];
            let triple = distance > M2_MAX_DISTANCE
                && distance <= M2_MAX_DISTANCE + M1_MAX_DISTANCE
                && matches.triple == 0;
            // Longer than the best so far, or of the one kind where 3 will do.
            if !triple && here.get(best) != there.get(best) {
                continue;
            }
            let length = equal(here, there);
            if triple && length >= 3 {
                matches.triple = distance;
            }
            if length > best {
                best = length;
                let found = Found { length, distance };
                if distance <= M2_MAX_DISTANCE {
                    matches.near = found;
                } else if distance <= M3_MAX_DISTANCE {
                    matches.middle = found;
                } else {
                    matches.far = found;
                }
                if length >= GOOD || length == here.len() {
                    break;
                }
            }
        }
        matches
    }
}

/// The cheapest way to stand somewhere with some literals behind the last match.
#[derive(Debug, Clone, Copy)]
struct Start {
    cost: u32,
    run: u32,
}

/// A length, distance or cost as an arrival keeps it. All of them are far below 2^32.
fn number(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

/// And back.
fn size(length: u32) -> usize {
    usize::try_from(length).unwrap_or(0)
}

/// Table entry for a few bytes.
#[inline(always)]
fn slot(bytes: u32) -> usize {
    usize::try_from(bytes.wrapping_mul(0x9e37_79b1) >> (32 - BITS)).unwrap_or(0)
}

/// Number of bytes equal at the start of both; `here` is the shorter one.
#[inline(always)]
fn equal(here: &[u8], there: &[u8]) -> usize {
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
