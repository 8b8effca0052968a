//! What a stream holds, and what compressing it again would give.
//!
//! The estimate compresses a sample; how it is taken and what it tells is in
//! src/prepare/sample.rs.

use std::num::NonZeroUsize;
use std::time::Instant;

use super::error::TransformError;
use super::gather::Gather;
use super::parents::{MAX_NAMES, Parents};
use super::payload::sectors_of;
use super::recompress::{Recompress, RecompressOptions};
use super::rewrite::{Piece, Rework, Reworked, Unsound};
use super::sizes::Sizes;
use super::source::{Batch, Item, KINDS, Plan, Source};
use crate::pipeline;
use crate::prepare::sample::{Choice, Sample, Tried, estimates, prune};
use crate::prepare::{Estimate, Level, Options, Zeroes};
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
                    .map(|item| choice.of(sectors_before(item, &options.target)?))
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
        estimates: estimates(&total.samples, methods, sectors, limit),
        ..Stats::default()
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
