//! What a stream holds, and what compressing it again would give.
//!
//! The estimate compresses a sample. The chance of a piece of data is proportional to its sectors,
//! as far as that is below 1: most files of a tree of sources have one sector, and most sectors are
//! in few files. The choice depends on nothing but the stream: it is a priority sample (Duffield,
//! Lund and Thorup, Priority sampling for estimation of arbitrary subset sums, 2007), which takes
//! the pieces with the lowest quotients of a hash and their sectors. What is estimated is the ratio
//! of sectors after to sectors before, each weighted with the inverse of its chance.

use std::collections::BinaryHeap;
use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

use super::error::TransformError;
use super::gather::Gather;
use super::parents::{MAX_NAMES, Parents};
use super::payload::sectors_of;
use super::recompress::{Recompress, RecompressOptions};
use super::rewrite::{Piece, Rework, Reworked, Unsound};
use super::sizes::Sizes;
use super::source::{Batch, Item, KINDS, Plan, Source};
use crate::pipeline;
use crate::prepare::{Level, Options, Zeroes};
use crate::rules::limits::u64_of;
use crate::rules::sums::add;
use crate::rules::{Codec, Target, plain_sectors};
use crate::send_stream::{Command, CommandKind, IntoReader};

/// What to find out.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct StatsOptions {
    /// The filesystem that sectors are counted for.
    pub target: Target,
    /// Codecs and levels to estimate.
    pub estimates: Vec<(Codec, Level)>,
    /// Pieces of data, of up to 128 KiB each, that the estimate uses, as far as there are so many.
    /// Standard errors are too small where there are fewer than 30.
    pub samples: usize,
}

impl Default for StatsOptions {
    fn default() -> Self {
        Self {
            target: Target::default(),
            estimates: Vec::new(),
            samples: 400,
        }
    }
}

/// Sums over data of one kind. Lengths are bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CodecStats {
    /// Extents; pieces of up to 128 KiB where data is plain.
    pub extents: u64,
    /// Bytes of files they stand for.
    pub data: u64,
    /// Bytes of data or payload in the stream, padding included.
    pub payload: u64,
    /// Sectors the data takes without compression.
    pub plain_sectors: u64,
    /// Sectors it takes as it is in the stream.
    pub sectors: u64,
}

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
    /// Sectors that all data of the stream would take.
    pub sectors: f64,
    /// Standard error of that; 0 where all of the data was compressed, `None` where the pieces used
    /// are too few or too much alike to tell. With 95 % certainty the truth is within 1.96 of it.
    pub standard_error: Option<f64>,
    /// Time that one thread would need to compress all data, as far as the sample tells: it was
    /// measured, so it is another each time.
    pub work: Duration,
}

/// Sums over an input.
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct Stats {
    /// Streams.
    pub streams: u64,
    /// Bytes read.
    pub bytes: u64,
    /// Stream headers that no `END` was before.
    pub header_without_end: u64,
    /// Commands that followed an `END` without a header.
    pub command_after_end: u64,
    /// Commands of each kind that occurs, in the order of their numbers.
    pub commands: Vec<(CommandKind, u64)>,
    /// Plain data.
    pub plain: CodecStats,
    /// Encoded extents by codec: zlib, LZO, zstd.
    pub encoded: [(Option<Codec>, CodecStats); 3],
    /// Encoded extents of types without a meaning.
    pub unknown: CodecStats,
    /// One for each codec and level asked for.
    pub estimates: Vec<Estimate>,
}

/// Sectors of one sampled piece: before, and after for each estimate.
#[derive(Debug, Clone)]
struct Sample {
    priority: u64,
    before: u64,
    after: Vec<Tried>,
}

/// What one method makes of a piece.
#[derive(Debug, Clone, Copy)]
struct Tried {
    sectors: u64,
    took: Duration,
}

/// What a worker has counted.
#[derive(Default)]
struct Counted {
    streams: u64,
    plain: CodecStats,
    encoded: [CodecStats; 3],
    unknown: CodecStats,
    samples: Vec<Sample>,
}

impl CodecStats {
    fn add(&mut self, part: &Self) {
        add(&mut self.extents, part.extents);
        add(&mut self.data, part.data);
        add(&mut self.payload, part.payload);
        add(&mut self.plain_sectors, part.plain_sectors);
        add(&mut self.sectors, part.sectors);
    }
}

/// Counts what is in an input.
///
/// # Errors
/// See [`TransformError`].
pub fn stats(
    input: impl IntoReader<Input: Send>,
    options: &StatsOptions,
    jobs: NonZeroUsize,
) -> Result<Stats, TransformError> {
    let methods: Vec<RecompressOptions> = options
        .estimates
        .iter()
        .map(|&(codec, level)| {
            RecompressOptions::new(Options {
                target: options.target,
                zeroes: Zeroes::Data,
                ..Options::new(codec, level)
            })
        })
        .collect();
    let gather = Gather {
        extent_size: crate::MAX_EXTENT,
        sector_size: options.target.sector_size,
    };
    let plan = Plan {
        version: |version| version,
        gather: Some(gather),
        lower: false,
        sizes: Sizes::new(&Parents::default(), MAX_NAMES, options.target),
    };
    let mut source = Source::new(input.into_reader(), plan);
    let mut choice = Choice::new(if methods.is_empty() {
        0
    } else {
        options.samples
    });
    let mut total = Counted::default();
    let counted: Result<(), TransformError> = pipeline::ordered(
        jobs,
        || {
            Ok(source.next()?.map(|batch| {
                let chosen = batch.items.iter();
                let chosen = chosen
                    .map(|item| choice.of(item, &options.target))
                    .collect();
                (batch, chosen)
            }))
        },
        || {
            let reworks = methods
                .iter()
                .map(|method| Recompress::new(method, &method.extents));
            let mut reworks = reworks.collect::<Result<Vec<_>, _>>()?;
            Ok(move |(batch, chosen)| count(batch, chosen, &mut reworks, &options.target))
        },
        |counted: Result<Counted, TransformError>| {
            let counted = counted?;
            add(&mut total.streams, counted.streams);
            total.plain.add(&counted.plain);
            total.unknown.add(&counted.unknown);
            for (all, part) in total.encoded.iter_mut().zip(&counted.encoded) {
                all.add(part);
            }
            total.samples.extend(counted.samples);
            // Samples that the end will not want are not kept.
            if total.samples.len() > options.samples.saturating_mul(2) {
                prune(&mut total.samples, options.samples);
            }
            Ok(())
        },
    );
    counted?;
    total.samples.retain(|sample| choice.has(sample.priority));
    let (_, bytes) = source.progress();
    Ok(Stats {
        header_without_end: source.header_without_end,
        command_after_end: source.command_after_end,
        ..summed_up(
            &total,
            &source.kinds,
            bytes,
            &options.estimates,
            choice.limit,
        )
    })
}

/// Drops samples the way the choice does, until there are no more than `limit`.
fn prune(samples: &mut Vec<Sample>, limit: usize) {
    samples.sort_unstable_by_key(|sample| sample.priority);
    samples.truncate(limit.max(1));
}

fn summed_up(
    total: &Counted,
    kinds: &[u64; KINDS],
    bytes: u64,
    methods: &[(Codec, Level)],
    limit: Option<u64>,
) -> Stats {
    let [zlib, lzo, zstd] = total.encoded;
    let mut all = total.plain;
    all.add(&total.unknown);
    total.encoded.iter().for_each(|codec| all.add(codec));
    let sectors = all.sectors;
    let estimates = methods.iter().enumerate().map(|(index, &(codec, level))| {
        let work = work(&total.samples, index, sectors, limit);
        let (sectors, standard_error) = estimate(&total.samples, index, sectors, limit);
        Estimate {
            codec,
            level,
            samples: u64_of(total.samples.len()),
            sectors,
            standard_error,
            work,
        }
    });
    Stats {
        streams: total.streams,
        bytes,
        commands: CommandKind::ALL
            .iter()
            .filter_map(|&kind| {
                let count = *kinds.get(usize::from(kind.number()))?;
                (count > 0).then_some((kind, count))
            })
            .collect(),
        plain: total.plain,
        encoded: [
            (Some(Codec::Zlib), zlib),
            (Some(Codec::Lzo), lzo),
            (Some(Codec::Zstd), zstd),
        ],
        unknown: total.unknown,
        estimates: estimates.collect(),
        ..Stats::default()
    }
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
struct Choice {
    pieces: u64,
    samples: usize,
    /// The priorities of the pieces that are chosen so far.
    chosen: BinaryHeap<u64>,
    /// The lowest priority that was left out, if any was: those below it are chosen.
    limit: Option<u64>,
}

impl Choice {
    fn new(samples: usize) -> Self {
        Self {
            pieces: 0,
            samples,
            chosen: BinaryHeap::new(),
            limit: None,
        }
    }

    /// The priority of a piece that is chosen, until the limit goes below it.
    fn of(&mut self, item: &Item, target: &Target) -> Option<u64> {
        if self.samples == 0 {
            return None;
        }
        let sectors = sectors_before(item, target)?;
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

    fn has(&self, priority: u64) -> bool {
        self.limit.is_none_or(|limit| priority < limit)
    }
}

/// Sectors of a piece of data as it is in the stream; `None` for other items.
fn sectors_before(item: &Item, target: &Target) -> Option<u64> {
    match item {
        Item::Data(data) => Some(plain_sectors(u64_of(data.len), &target.at(data.offset))),
        Item::Encoded(encoded) => match &encoded.command {
            Ok(Command::EncodedWrite(write)) => {
                let (payload, target) = (u64_of(write.data.len()), target.at(write.file_offset));
                Some(sectors_of(payload, &write.fields(), false, &target))
            }
            _ => None,
        },
        _ => None,
    }
}

/// splitmix64.
fn hash(number: u64) -> u64 {
    let mut z = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn count(
    batch: Batch,
    chosen: Vec<Option<u64>>,
    reworks: &mut [Recompress<'_>],
    target: &Target,
) -> Result<Counted, TransformError> {
    batch.verify()?;
    let mut counted = Counted::default();
    for (item, priority) in batch.items.iter().zip(chosen) {
        match item {
            Item::Header => add(&mut counted.streams, 1),
            Item::Pass(_)
            | Item::Write(..)
            | Item::Clone(_)
            | Item::Truncate(..)
            | Item::Zeroes(_) => {}
            Item::Data(gathered) => {
                let len = u64_of(gathered.len);
                let target = target.at(gathered.offset);
                let sectors = plain_sectors(len, &target);
                counted.plain.add(&CodecStats {
                    extents: 1,
                    data: len,
                    payload: len,
                    plain_sectors: sectors,
                    sectors,
                });
                if let Some(priority) = priority {
                    let mut room = Vec::new();
                    let data = gathered.joined(&mut room);
                    let mut after = Vec::new();
                    for rework in &mut *reworks {
                        let begun = Instant::now();
                        let extent = rework.plain(data, &target)?;
                        after.push(Tried {
                            took: begun.elapsed(),
                            sectors: extent
                                .map_or(sectors, |extent| Piece::Encoded(extent).sectors(&target)),
                        });
                    }
                    counted.samples.push(Sample {
                        priority,
                        before: sectors,
                        after,
                    });
                }
            }
            Item::Encoded(encoded) => {
                let write = match &encoded.command {
                    Ok(Command::EncodedWrite(write)) => write,
                    Ok(_) => continue,
                    Err(error) => return Err(error.clone().into()),
                };
                let (fields, target) = (write.fields(), target.at(write.file_offset));
                let payload = u64_of(write.data.len());
                let sectors = sectors_of(payload, &fields, false, &target);
                let [zlib, lzo, zstd] = &mut counted.encoded;
                let sums = match fields.codec() {
                    Some(Codec::Zlib) => zlib,
                    Some(Codec::Lzo) => lzo,
                    Some(Codec::Zstd) => zstd,
                    None => &mut counted.unknown,
                };
                sums.add(&CodecStats {
                    extents: 1,
                    data: fields.len,
                    payload,
                    plain_sectors: plain_sectors(fields.len, &target),
                    sectors,
                });
                if let Some(priority) = priority {
                    let mut after = Vec::new();
                    for rework in &mut *reworks {
                        let begun = Instant::now();
                        let reworked = rework.encoded(write, &target);
                        let took = begun.elapsed();
                        let sectors = match reworked {
                            Ok(Reworked::Replaced(pieces)) => {
                                pieces.iter().map(|piece| piece.sectors(&target)).sum()
                            }
                            Err(Unsound::Error(error)) => return Err(error),
                            Ok(_) | Err(_) => sectors,
                        };
                        after.push(Tried { sectors, took });
                    }
                    counted.samples.push(Sample {
                        priority,
                        before: sectors,
                        after,
                    });
                }
            }
        }
    }
    Ok(counted)
}
