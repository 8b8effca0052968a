//! What compressing again would give, from a sample.
//!
//! The chance of a piece of data is proportional to its sectors, as far as that is below 1: most
//! files of a tree of sources have one sector, and most sectors are in few files. The choice
//! depends on nothing but the order of the pieces and their sectors: it is a priority sample
//! (Duffield, Lund and Thorup, Priority sampling for estimation of arbitrary subset sums, 2007),
//! which takes the pieces with the lowest quotients of a hash and their sectors. What is estimated
//! is the ratio of sectors after to sectors before, each weighted with the inverse of its chance.

use std::collections::BinaryHeap;
use std::time::Duration;

use super::options::Level;
use crate::rules::Codec;
use crate::rules::limits::u64_of;
use crate::rules::sums::add;

/// What compressing again would give.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct Estimate {
    /// The codec.
    pub codec: Codec,
    /// The level.
    pub level: Level,
    /// Pieces used.
    pub samples: u64,
    /// Sectors that all of the data would take.
    pub sectors: f64,
    /// Standard error of that; 0 where all of the data was compressed, `None` where the pieces used
    /// are too few or too much alike to tell. With 95 % certainty the truth is within 1.96 of it.
    pub standard_error: Option<f64>,
    /// Time that one thread would need to compress all data, as far as the sample tells: it was
    /// measured, so it is another each time.
    pub work: Duration,
}

/// Sectors of one sampled piece: before, and after for each estimate.
#[derive(Debug, Clone)]
pub(crate) struct Sample {
    pub(crate) priority: u64,
    pub(crate) before: u64,
    pub(crate) after: Vec<Tried>,
}

/// What one method makes of a piece.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tried {
    pub(crate) sectors: u64,
    pub(crate) took: Duration,
}

/// Drops samples the way the choice does, until there are no more than `limit`.
pub(crate) fn prune(samples: &mut Vec<Sample>, limit: usize) {
    samples.sort_unstable_by_key(|sample| sample.priority);
    samples.truncate(limit.max(1));
}

/// An estimate for each method, of pieces that take so many sectors together; `limit` is that of
/// the choice.
pub(crate) fn estimates(
    samples: &[Sample],
    methods: &[(Codec, Level)],
    sectors: u64,
    limit: Option<u64>,
) -> Vec<Estimate> {
    let estimates = methods.iter().enumerate().map(|(index, &(codec, level))| {
        let work = work(samples, index, sectors, limit);
        let (sectors, standard_error) = estimate(samples, index, sectors, limit);
        Estimate {
            codec,
            level,
            samples: u64_of(samples.len()),
            sectors,
            standard_error,
            work,
        }
    });
    estimates.collect()
}

/// The ratio estimator with unequal chances and its standard error (Särndal, Swensson and Wretman,
/// Model Assisted Survey Sampling, 5.6): with the chance `p` of each of `n` pieces that was not
/// certain, and the ratio R of the weighted sums, the error of `sectors * R` has the variance
/// `n / (n - 1) * sum (1 - p) / p^2 * (after - R before)^2`.
fn estimate(
    samples: &[Sample],
    method: usize,
    sectors: u64,
    limit: Option<u64>,
) -> (f64, Option<f64>) {
    let of = |sample: &Sample| {
        let after = sample.after.get(method);
        let after = after.map_or(sample.before, |tried| tried.sectors);
        let chance = limit.map_or(1.0, |limit| chance(sample.before, limit));
        (sample.before as f64, after as f64, chance)
    };
    let (mut all_before, mut all_after) = (0.0, 0.0);
    for (before, after, chance) in samples.iter().map(of) {
        all_before += before / chance;
        all_after += after / chance;
    }
    if all_before == 0.0 {
        return (sectors as f64, limit.is_none().then_some(0.0));
    }
    let ratio = all_after / all_before;
    let total = sectors as f64 * ratio;
    if limit.is_none() {
        return (total, Some(0.0));
    }
    let (mut uncertain, mut squares) = (0.0, 0.0);
    for (before, after, chance) in samples.iter().map(of).filter(|&(.., chance)| chance < 1.0) {
        uncertain += 1.0;
        squares += (1.0 - chance) / chance.powi(2) * (after - ratio * before).powi(2);
    }
    // Pieces that are all alike do not tell how others differ; what is left then is rounding.
    let error = (squares * uncertain / (uncertain - 1.0)).sqrt();
    (
        total,
        (uncertain > 1.0 && error > total * 1e-9).then_some(error),
    )
}

/// The time for all sectors, by the same ratio.
fn work(samples: &[Sample], method: usize, sectors: u64, limit: Option<u64>) -> Duration {
    let (mut all_before, mut seconds) = (0.0, 0.0);
    for sample in samples {
        let chance = limit.map_or(1.0, |limit| chance(sample.before, limit));
        let took = sample.after.get(method).map_or(Duration::ZERO, |t| t.took);
        all_before += sample.before as f64 / chance;
        seconds += took.as_secs_f64() / chance;
    }
    if all_before == 0.0 {
        // Inline extents only: they have no sectors, and all of them were compressed.
        return Duration::try_from_secs_f64(seconds).unwrap_or_default();
    }
    let all = seconds * (sectors as f64 / all_before);
    Duration::try_from_secs_f64(all).unwrap_or(Duration::MAX)
}

/// The chance that a piece of so many sectors has a priority below the limit.
fn chance(sectors: u64, limit: u64) -> f64 {
    (sectors.max(1) as f64 * (limit as f64 / u64::MAX as f64)).min(1.0)
}

/// Chooses pieces by a hash of their number, and their sectors.
pub(crate) struct Choice {
    pieces: u64,
    samples: usize,
    /// The priorities of the pieces that are chosen so far.
    chosen: BinaryHeap<u64>,
    /// The lowest priority that was left out, if any was: those below it are chosen.
    pub(crate) limit: Option<u64>,
}

impl Choice {
    pub(crate) fn new(samples: usize) -> Self {
        Self {
            pieces: 0,
            samples,
            chosen: BinaryHeap::new(),
            limit: None,
        }
    }

    /// The priority of the next piece, which has so many sectors, where it is chosen; until the
    /// limit goes below it.
    pub(crate) fn of(&mut self, sectors: u64) -> Option<u64> {
        if self.samples == 0 {
            return None;
        }
        add(&mut self.pieces, 1);
        let priority = hash(self.pieces).checked_div(sectors.max(1))?;
        if !self.has(priority) {
            return None;
        }
        self.chosen.push(priority);
        if self.chosen.len() > self.samples {
            self.limit = self.chosen.pop();
        }
        self.has(priority).then_some(priority)
    }

    /// True where a piece of this priority is still chosen.
    pub(crate) fn has(&self, priority: u64) -> bool {
        self.limit.is_none_or(|limit| priority < limit)
    }
}

/// splitmix64.
fn hash(number: u64) -> u64 {
    let mut z = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
