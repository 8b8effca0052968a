//! The smallest segment: an optimal parse.
//!
//! From left to right, the cheapest way to reach each position with a match is computed, in bytes
//! of output. The cheapest way to the end is then read backwards. In LZO1X, unlike other codes, the
//! cost of a match depends on the number of literals before it. One to three need no instruction of
//! their own, and allow a match of 2 bytes that takes 2. Four and more cost a byte, and allow a
//! match of 3 bytes that takes 2, from a certain distance on. So each position also stores how many
//! literals lead to it.
//!
//! All positions are at most 65536, and all indexes are below the lengths of arrays sized for
//! that. This code reads data to be compressed; it parses no format. Most of its time goes into
//! mispredicted branches, so there are few of them: an impossible choice has a cost that loses
//! every comparison.

use super::matches::{Finder, GOOD, Matches, Short};
use super::{M1_MAX_DISTANCE, M2_MAX_DISTANCE, M2_MAX_LEN, M3_MAX_LEN, M4_MAX_LEN, MAX_DATA, emit};
use crate::error::EncodeError;

/// The cheapest known way to arrive at a position with a match, as one number whose order is
/// that of the cost: bits 36 and up the cost in bytes of output so far, 34 and 35 which
/// [`Start`] the match has, 16 to 32 its length, 0 to 15 its distance. The minimum of two needs
/// no branch.
type Arrival = u64;

const NEVER: Arrival = 1 << 60;

/// More than any cost; that of [`NEVER`].
const FAR: u32 = 1 << 24;

/// One byte longer, as part of an arrival.
const LONGER: Arrival = 1 << 16;

/// The starts a match can have, as bits of an [`Arrival`]: the cheapest of all, the cheapest
/// with one to three literals, the cheapest with four or more.
const BEST: u64 = 0;
const FEW: u64 = 1;
const LONG: u64 = 2;

fn arrival(cost: u32, start: u64, length: usize, distance: usize) -> Arrival {
    u64::from(cost) << 36
        | start << 34
        | u64::from(number(length)) << 16
        | u64::from(number(distance))
}

fn cost_of(arrival: Arrival) -> u32 {
    u32::try_from(arrival >> 36).unwrap_or(u32::MAX)
}

/// The cheapest way to stand somewhere with some literals after the last match.
#[derive(Debug, Clone, Copy)]
struct Start {
    cost: u32,
    run: u32,
}

impl Start {
    const NEVER: Self = Self { cost: FAR, run: 0 };

    /// The cheaper one; of equals that with fewer literals. Needs no branch.
    #[inline(always)]
    fn min(self, other: Self) -> Self {
        let key = |start: Self| u64::from(start.cost) << 32 | u64::from(start.run);
        let least = key(self).min(key(other));
        Self {
            cost: u32::try_from(least >> 32).unwrap_or(u32::MAX),
            run: u32::try_from(least & u64::from(u32::MAX)).unwrap_or(0),
        }
    }
}

/// A match chosen: where it ends, its length and distance, and the literals before it.
#[derive(Debug, Clone, Copy)]
struct Chosen {
    end: usize,
    length: usize,
    distance: usize,
    run: usize,
}

/// The optimal parse with its tables and buffers, about 1.5 MiB for 64 KiB of data: smaller than
/// liblzo2's `lzo1x_999` on every kind of file measured.
///
/// ```
/// use btrfs_payload_lzo::lzo1x::{Smallest, decode};
/// let data = b"again and again and again and again";
/// let mut segment = Vec::new();
/// Smallest::new().compress(data, &mut segment)?;
/// let mut out = [0; 35];
/// assert_eq!(decode(&segment, &mut out, 35), Ok(35));
/// assert_eq!(&out, data);
/// # Ok::<(), btrfs_payload_lzo::EncodeError>(())
/// ```
#[derive(Debug)]
pub struct Smallest {
    finder: Finder,
    /// For each position; a few more, as arrivals are compared six at a time.
    arrivals: Vec<Arrival>,
    /// For each position passed, the literals of each start.
    runs: Vec<[u16; 3]>,
    /// The matches chosen, last one first.
    chosen: Vec<Chosen>,
}

impl Default for Smallest {
    fn default() -> Self {
        Self::new()
    }
}

impl Smallest {
    /// A compressor.
    #[must_use]
    pub fn new() -> Self {
        Self {
            finder: Finder::new(),
            arrivals: Vec::new(),
            runs: Vec::new(),
            chosen: Vec::new(),
        }
    }

    /// Compresses `data`, 1 to [`MAX_DATA`] bytes, into `out`, which is cleared first. What it
    /// makes depends on nothing but the data; it is at most [`crate::layout::worst`] long.
    ///
    /// # Errors
    /// [`EncodeError::Length`] for data of no or of too many bytes; `out` is empty then.
    pub fn compress(&mut self, data: &[u8], out: &mut Vec<u8>) -> Result<(), EncodeError> {
        out.clear();
        EncodeError::check_length(data.len(), MAX_DATA)?;
        self.segment(data, out);
        Ok(())
    }

    /// Puts the segment of `data`, which is not longer than [`MAX_DATA`], into `out`.
    pub(crate) fn segment(&mut self, data: &[u8], out: &mut Vec<u8>) {
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
            let run = usize::from(self.runs[end - length][start]);
            self.chosen.push(Chosen {
                end,
                length,
                distance: field(arrival & 0xffff),
                run,
            });
            end -= length + run;
        }
    }

    /// Fills `arrivals`; returns the number of literals after the last match.
    fn parse(&mut self, data: &[u8]) -> usize {
        self.finder.load(data);
        self.arrivals.clear();
        self.arrivals.resize(data.len() + 9, NEVER);
        self.arrivals[0] = 0;
        if self.runs.len() < data.len() {
            self.runs.resize(data.len(), [0; 3]);
        }
        let mut long = Start::NEVER;
        let mut matches = Matches::NONE;
        let mut at = 0;
        loop {
            let few = self.few(at);
            long = self.long(at, long);
            let none = Start {
                cost: cost_of(self.arrivals[at]),
                run: 0,
            };
            let best = none.min(few).min(long);
            if at == data.len() {
                return field(best.run.into());
            }
            self.runs[at] = [best, few, long].map(|start| half(start.run));
            matches.step();
            self.finder.find(data, at, &mut matches);
            self.relax_short(at, best, few, long);
            self.relax(at, &mut matches, best.cost);
            let longest = matches.longest();
            if longest < GOOD {
                at += 1;
            } else {
                // Straight to its end; what is inside can be copied from later.
                at += longest;
                long = Start::NEVER;
                matches = Matches::NONE;
            }
        }
    }

    /// The cheapest way to be at `at` after one to three literals.
    #[inline(always)]
    fn few(&self, at: usize) -> Start {
        let behind = |run: u32, start: usize| Start {
            cost: cost_of(self.arrivals[start]) + run,
            run,
        };
        if at > 3 {
            let two_or_three = behind(2, at - 2).min(behind(3, at - 3));
            return behind(1, at - 1).min(two_or_three);
        }
        let mut best = Start::NEVER;
        for (run, start) in (1..).zip((0..at).rev()) {
            // At the start of a segment every run of literals has a byte of its own.
            let mut few = behind(run, start);
            few.cost += u32::from(start == 0);
            best = best.min(few);
        }
        best
    }

    /// The cheapest way to be at `at` after four literals or more, given that of the position
    /// before.
    #[inline(always)]
    fn long(&self, at: usize, before: Start) -> Start {
        let Some(start) = at.checked_sub(4) else {
            return Start::NEVER;
        };
        let run = before.run + 1;
        // The run's own length takes another byte now and then.
        let step = u32::from(run == 19 || (run > 19 && (run - 19).is_multiple_of(255)));
        let longer = Start {
            cost: before.cost + 1 + step,
            run,
        };
        let fresh = Start {
            cost: cost_of(self.arrivals[start]) + 5,
            run: 4,
        };
        // Of equals the longer run: its length has its byte already.
        let best = if fresh.cost < longer.cost {
            fresh
        } else {
            longer
        };
        if at > 239 {
            return best;
        }
        // The segment's first byte holds a length of up to 238.
        best.min(Start {
            cost: number(at) + 1 + u32::from(at > 238),
            run: number(at),
        })
    }

    /// Remembers an arrival where it is cheaper than what is known.
    #[inline(always)]
    fn arrive(&mut self, at: usize, arrival: Arrival) {
        let known = &mut self.arrivals[at];
        *known = arrival.min(*known);
    }

    /// Tries the matches of two bytes and of three.
    #[inline(always)]
    fn relax_short(&mut self, at: usize, best: Start, few: Start, long: Start) {
        let Short { pair, triple } = self.finder.short(at);
        let (pair, triple) = (usize::from(pair), usize::from(triple));
        let if_so = |so: bool, arrival: Arrival| if so { arrival } else { NEVER };
        let two = arrival(few.cost + 2, FEW, 2, pair);
        self.arrive(at + 2, if_so(pair > 0, two));
        let price = 2 + u32::from(triple > M2_MAX_DISTANCE);
        let three = arrival(best.cost + price, BEST, 3, triple);
        let behind_long = arrival(long.cost + 2, LONG, 3, triple);
        let in_reach = triple.wrapping_sub(M2_MAX_DISTANCE + 1) < M1_MAX_DISTANCE;
        let three = if_so(triple > 0, three).min(if_so(in_reach, behind_long));
        self.arrive(at + 3, three);
    }

    /// Tries the matches, each cut to every length, from a start that costs `cost`.
    #[inline(always)]
    fn relax(&mut self, at: usize, matches: &mut Matches, cost: u32) {
        let [near, middle, far] = matches.zones;
        // A match that was there one position before ends where it ended, at the same price, or
        // one byte less where the cut falls below a limit. So a start that is no cheaper brings
        // nothing new.
        let near_known = cost + u32::from(near.length < M2_MAX_LEN) > near.known;
        if near_known && cost >= middle.known && cost >= far.known {
            return;
        }
        for found in &mut matches.zones {
            found.known = found.known.min(cost);
        }
        let [mut in_near, mut in_middle, mut in_far] = [(near, 2), (middle, 3), (far, 3)]
            .map(|(found, price)| arrival(cost + price, BEST, 3, found.distance));
        let known = self.arrivals.get_mut(at + 3..);
        if let Some(known) = known.and_then(<[_]>::first_chunk_mut::<{ M2_MAX_LEN - 2 }>) {
            for (length, known) in (3..).zip(known) {
                let mut key = if length <= far.length { in_far } else { NEVER };
                key = if length <= middle.length {
                    in_middle
                } else {
                    key
                };
                key = if length <= near.length { in_near } else { key };
                *known = key.min(*known);
                (in_near, in_middle, in_far) =
                    (in_near + LONGER, in_middle + LONGER, in_far + LONGER);
            }
        }
        let mut covered = M2_MAX_LEN;
        for (found, plain) in [(near, M3_MAX_LEN), (middle, M3_MAX_LEN), (far, M4_MAX_LEN)] {
            if found.length <= covered {
                continue;
            }
            for length in covered + 1..=found.length.min(plain) {
                self.arrive(at + length, arrival(cost + 3, BEST, length, found.distance));
            }
            // Not all of the longer ones: only the last few can matter much.
            for length in (plain + 1).max(found.length.saturating_sub(24))..=found.length {
                let price = 4 + number((length - plain - 1) / 255);
                let longer = arrival(cost + price, BEST, length, found.distance);
                self.arrive(at + length, longer);
            }
            covered = found.length;
        }
    }
}

/// A length, distance or cost as an arrival keeps it. All of them are far below 2^32.
fn number(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

/// A field of an arrival.
fn field(bits: u64) -> usize {
    usize::try_from(bits).unwrap_or(0)
}

/// A run of literals with something after it, so shorter than the data.
fn half(run: u32) -> u16 {
    u16::try_from(run).unwrap_or(u16::MAX)
}
