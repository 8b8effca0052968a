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
const BITS: u32 = 15;

/// Earlier places looked at for each position. All of them have four bytes in common with it, or
/// nearly: a chain over three bytes is walked mostly for matches that save nothing.
const DEPTH: usize = 32;

/// A match of this length is taken without looking for anything better inside it; bounds the
/// time spent on long runs.
const GOOD: usize = 512;

/// Where a match is longer than this, the positions inside it are not searched: the rest of the
/// match is good enough there.
const ENOUGH: usize = 32;

/// No position: the last one of the longest data starts no match.
const NOWHERE: u16 = u16::MAX;

/// The cheapest known way to arrive at a position with a match, as one number whose order is
/// that of the cost: bits 36 and up the cost in bytes of output so far, 34 and 35 the [`Start`]
/// of the match, 16 to 32 its length, 0 to 15 its distance. The minimum of two needs no branch.
type Arrival = u64;

const NEVER: Arrival = 1 << 60;

/// More than any cost.
const FAR: u32 = 1 << 24;

fn arrival(cost: u32, start: u64, length: usize, distance: usize) -> Arrival {
    u64::from(cost) << 36
        | start << 34
        | u64::from(number(length)) << 16
        | u64::from(number(distance))
}

fn cost_of(arrival: Arrival) -> u32 {
    u32::try_from(arrival >> 36).unwrap_or(u32::MAX)
}

/// A match chosen: where it ends, its length and distance, and the literals before it.
#[derive(Debug, Clone, Copy)]
struct Chosen {
    end: usize,
    length: usize,
    distance: usize,
    run: usize,
}

/// The starts a match can have, as bits of an [`Arrival`]: the cheapest of all, the cheapest
/// with one to three literals, the cheapest with four or more.
const BEST: u64 = 0;
const FEW: u64 = 1;
const LONG: u64 = 2;

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

impl Matches {
    /// With one match.
    fn of(found: Found) -> Self {
        let mut matches = Self::default();
        matches.put(found);
        matches
    }

    /// Adds a match longer than all in it.
    #[inline(always)]
    fn put(&mut self, found: Found) {
        if found.distance <= M2_MAX_DISTANCE {
            self.near = found;
        } else if found.distance <= M3_MAX_DISTANCE {
            self.middle = found;
        } else {
            self.far = found;
        }
    }

    /// The longest match in it.
    fn longest(&self) -> Found {
        [self.middle, self.far]
            .into_iter()
            .fold(self.near, |a, b| if b.length > a.length { b } else { a })
    }
}

/// Tables and buffers of the optimal parse.
#[derive(Debug)]
pub(crate) struct Smallest {
    /// Last position of each hash of two bytes.
    pairs: Box<[u16]>,
    /// Last position of each hash of three bytes.
    triples: Box<[u16]>,
    /// Last position of each hash of four bytes.
    heads: Box<[u16]>,
    /// For each position, the one before with the same hash of four bytes.
    chain: Vec<u16>,
    arrivals: Vec<Arrival>,
    /// For each position, the literals of each start.
    runs: Vec<[u32; 3]>,
    /// The matches chosen, last one first.
    chosen: Vec<Chosen>,
}

impl Smallest {
    pub(crate) fn new() -> Self {
        Self {
            pairs: vec![NOWHERE; 1 << BITS].into_boxed_slice(),
            triples: vec![NOWHERE; 1 << BITS].into_boxed_slice(),
            heads: vec![NOWHERE; 1 << BITS].into_boxed_slice(),
            chain: Vec::new(),
            arrivals: Vec::new(),
            runs: Vec::new(),
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
        for choice in self.chosen.iter().rev() {
            emit::literals(&data[done..done + choice.run], out);
            emit::copy(choice.length, choice.distance, choice.run, out);
            done = choice.end;
        }
        emit::literals(&data[done..], out);
        emit::end(out);
    }

    /// Collects the matches on the way to `end`, where one ends (or the data begins).
    fn read_back(&mut self, mut end: usize) {
        self.chosen.clear();
        while end > 0 {
            let arrival = self.arrivals[end];
            let length = field(arrival >> 16 & 0x1_ffff);
            let start = field(arrival >> 34 & 3);
            let run = size(self.runs[end - length][start]);
            self.chosen.push(Chosen {
                end,
                length,
                distance: field(arrival & 0xffff),
                run,
            });
            end -= length + run;
        }
    }

    /// Fills `arrivals`; returns the number of literals behind the last match.
    fn parse(&mut self, data: &[u8]) -> usize {
        self.pairs.fill(NOWHERE);
        self.triples.fill(NOWHERE);
        self.heads.fill(NOWHERE);
        self.chain.clear();
        self.chain.resize(data.len(), NOWHERE);
        self.arrivals.clear();
        self.arrivals.resize(data.len() + 1, NEVER);
        self.arrivals[0] = 0;
        self.runs.clear();
        self.runs.resize(data.len() + 1, [0; 3]);

        // The cheapest way to be here behind four literals or more, and how many.
        let mut long = Start { cost: FAR, run: 0 };
        let mut longest = Found::default();
        let mut at = 0;
        loop {
            let few = self.few(at);
            long = self.long(at, long);
            let none = Start {
                cost: cost_of(self.arrivals[at]),
                run: 0,
            };
            let best = [none, few, long]
                .into_iter()
                .min_by_key(|start| start.cost)
                .unwrap_or(long);
            if at == data.len() {
                return size(best.run);
            }
            self.runs[at] = [best.run, few.run, long.run];
            let matches = if longest.length > ENOUGH {
                // One byte on, the same match is one byte shorter.
                self.insert(data, at);
                longest.length -= 1;
                Matches::of(longest)
            } else {
                self.find(data, at)
            };
            longest = matches.longest();
            if at > 0 {
                self.relax(at, matches, best, few, long);
            }
            at += 1;
            if longest.length >= GOOD {
                // Straight to its end; what is inside can be copied from later.
                let end = at - 1 + longest.length;
                while at < end {
                    long = self.long(at, long);
                    self.insert(data, at);
                    at += 1;
                }
                longest = Found::default();
            }
        }
    }

    /// The cheapest way to be at `at` behind one to three literals.
    fn few(&self, at: usize) -> Start {
        let mut best = Start { cost: FAR, run: 0 };
        for run in 1..=at.min(3) {
            // At the start of a segment every run of literals has a byte of its own.
            let first = u32::from(run == at);
            let cost = cost_of(self.arrivals[at - run]) + number(run) + first;
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
            return Start { cost: FAR, run: 0 };
        };
        let fresh = Start {
            cost: cost_of(self.arrivals[start]) + 5,
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

    /// Remembers an arrival where it is cheaper than what is known.
    #[inline(always)]
    fn arrive(&mut self, at: usize, length: usize, distance: usize, start: u64, cost: u32) {
        let known = &mut self.arrivals[at + length];
        *known = arrival(cost, start, length, distance).min(*known);
    }

    /// Remembers the arrivals of a match cut to each of the lengths, all at the same cost.
    #[inline(always)]
    fn arrive_at_all(
        &mut self,
        at: usize,
        lengths: std::ops::RangeInclusive<usize>,
        distance: usize,
        cost: u32,
    ) {
        let mut key = arrival(cost, BEST, *lengths.start(), distance);
        let span = at + *lengths.start()..at + *lengths.end() + 1;
        for known in self.arrivals.get_mut(span).unwrap_or_default() {
            *known = key.min(*known);
            key = key.wrapping_add(1 << 16);
        }
    }

    /// Tries every match at `at`.
    fn relax(&mut self, at: usize, matches: Matches, best: Start, few: Start, long: Start) {
        if matches.pair > 0 {
            self.arrive(at, 2, matches.pair, FEW, few.cost + 2);
        }
        if matches.triple > 0 {
            self.arrive(at, 3, matches.triple, LONG, long.cost + 2);
        }
        let near = matches.near;
        let mut covered = near.length.min(M2_MAX_LEN);
        self.arrive_at_all(at, 3..=covered, near.distance, best.cost + 2);
        for (found, plain) in [
            (near, M3_MAX_LEN),
            (matches.middle, M3_MAX_LEN),
            (matches.far, M4_MAX_LEN),
        ] {
            if found.length <= covered {
                continue;
            }
            let lengths = covered.max(2) + 1..=found.length.min(plain);
            self.arrive_at_all(at, lengths, found.distance, best.cost + 3);
            // Not all of the longer ones: only the last few can matter much.
            let last = (plain + 1).max(found.length.saturating_sub(24))..=found.length;
            for length in last {
                let price = 4 + number((length - plain - 1) / 255);
                self.arrive(at, length, found.distance, BEST, best.cost + price);
            }
            covered = found.length;
        }
    }

    /// Makes `at` known to later positions; returns where its hashes were seen last.
    #[inline(always)]
    fn insert(&mut self, data: &[u8], at: usize) -> Seen {
        let Some(&[a, b, c, d]) = data.get(at..).and_then(<[u8]>::first_chunk::<4>) else {
            return Seen::default();
        };
        let here = u16::try_from(at).unwrap_or(NOWHERE);
        let two = slot([a, b, 0, 0]);
        let three = slot([a, b, c, 0]);
        let four = slot([a, b, c, d]);
        let head = std::mem::replace(&mut self.heads[four], here);
        self.chain[at] = head;
        Seen {
            pair: std::mem::replace(&mut self.pairs[two], here),
            triple: std::mem::replace(&mut self.triples[three], here),
            head,
        }
    }

    /// Finds the matches at `at`.
    fn find(&mut self, data: &[u8], at: usize) -> Matches {
        let seen = self.insert(data, at);
        let mut matches = Matches::default();
        let here = &data[at..];
        let back = |from: u16, count: usize| {
            let from = usize::from(from);
            let same = from < at && data[from..].starts_with(here.get(..count)?);
            same.then(|| at - from)
        };
        matches.pair = back(seen.pair, 2)
            .filter(|distance| *distance <= M1_MAX_DISTANCE)
            .unwrap_or(0);
        let mut best = 2;
        if let Some(distance) = back(seen.triple, 3)
            && distance <= M4_MAX_DISTANCE
        {
            best = equal(here, &data[at - distance..]);
            matches.put(Found {
                length: best,
                distance,
            });
            if distance.wrapping_sub(M2_MAX_DISTANCE + 1) < M1_MAX_DISTANCE {
                matches.triple = distance;
            }
        }
        let mut next = seen.head;
        for _ in 0..DEPTH {
            if next == NOWHERE || best >= GOOD || best == here.len() {
                break;
            }
            let from = usize::from(next);
            next = self.chain[from];
            let distance = at - from;
            if distance > M4_MAX_DISTANCE {
                break;
            }
            let there = &data[from..];
            // Longer than the best so far?
            if best > 2 && four_before(here, best) != four_before(there, best) {
                continue;
            }
            let length = equal(here, there);
            if length > best {
                best = length;
                matches.put(Found { length, distance });
            }
        }
        matches
    }
}

/// Where the first bytes of a position were seen last, or [`NOWHERE`].
#[derive(Debug, Clone, Copy)]
struct Seen {
    /// Two bytes, or others with the same hash.
    pair: u16,
    /// Three.
    triple: u16,
    /// Four.
    head: u16,
}

impl Default for Seen {
    fn default() -> Self {
        Self {
            pair: NOWHERE,
            triple: NOWHERE,
            head: NOWHERE,
        }
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

/// A field of an arrival.
fn field(bits: u64) -> usize {
    usize::try_from(bits).unwrap_or(0)
}

/// And back.
fn size(length: u32) -> usize {
    usize::try_from(length).unwrap_or(0)
}

/// Table entry for a few bytes.
#[inline(always)]
fn slot(bytes: [u8; 4]) -> usize {
    let hash = u32::from_le_bytes(bytes).wrapping_mul(0x9e37_79b1);
    usize::try_from(hash >> (32 - BITS)).unwrap_or(0)
}

/// The four bytes up to `last`, or fewer at the start; `None` where the data ends before.
#[inline(always)]
fn four_before(bytes: &[u8], last: usize) -> Option<u32> {
    let bytes = bytes.get(last.saturating_sub(3)..)?.first_chunk::<4>()?;
    Some(u32::from_le_bytes(*bytes))
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
