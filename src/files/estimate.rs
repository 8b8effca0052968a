//! What compressing the extents of a map again would give, from a sample of them.
//!
//! Every extent on disk counts once, however many files show it, and is thought to be made again
//! for all of them: what no file shows of it is gone then. Compressed extents are taken as wholes,
//! of others the shown parts in pieces of up to 128 KiB. What does not save a sector stays as it
//! is, and so does what cannot be made again for everybody who shows it: the kernel does not name
//! all of them, or a file has no checksums (NODATASUM, NODATACOW), which compressed extents need.
//! Preallocated and inline extents are left out.

use std::num::NonZeroUsize;
use std::ops::{ControlFlow, Range};
use std::time::{Duration, Instant};

use super::error::FilesError;
use super::map::{Extent, Map};
use super::stored::{Bytes, ExtentReader};
use crate::MAX_EXTENT;
use crate::extent::Content;
use crate::pipeline;
use crate::prepare::sample::{Choice, Sample, Tried, estimates};
use crate::prepare::{Estimate, Level, Options, PrepareError, Preparer, Zeroes};
use crate::rules::limits::u64_of;
use crate::rules::sums::add;
use crate::rules::{Codec, ExtentFields, Sectors, Target, plain_sectors};
use crate::validate::Validator;

/// What to estimate.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct EstimateOptions {
    /// Codecs and levels.
    pub methods: Vec<(Codec, Level)>,
    /// Extents or pieces of 128 KiB that are compressed, as far as there are so many. Standard
    /// errors are too small where there are fewer than 30.
    pub samples: usize,
    /// Threads that work. The estimate does not depend on it.
    pub jobs: NonZeroUsize,
}

impl Default for EstimateOptions {
    fn default() -> Self {
        Self {
            methods: Vec::new(),
            samples: 400,
            jobs: NonZeroUsize::MIN,
        }
    }
}

/// Estimates, and what they are of.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Estimates {
    /// Sectors that the regular extents take now.
    pub sectors: u64,
    /// Of those, sectors of plain extents that no file shows: whatever the codec, they are free
    /// once the rest is made again. What no file shows of compressed extents is in the estimates.
    pub unreachable_sectors: u64,
    /// One for each codec and level: the sectors that everything which is shown would take.
    pub estimates: Vec<Estimate>,
}

/// Compresses a sample of the extents of a map. `each` hears of the number of samples that are
/// done and that there are, and may end it: what is done by then is a sample too, as if so many had
/// been asked for. `None` where that is nothing. Needs `CAP_SYS_ADMIN`.
///
/// # Errors
/// [`FilesError`].
pub fn estimate(
    map: &Map,
    options: &EstimateOptions,
    mut each: impl FnMut(u64, u64) -> ControlFlow<()>,
) -> Result<Option<Estimates>, FilesError> {
    let sector_size = map.filesystem.sector_size;
    let mut sampled = sampled(map, options.samples);
    // So that the first of them are a sample of all.
    sampled.units.sort_unstable_by_key(|chosen| chosen.priority);
    let (mut next, mut done) = (sampled.units.iter(), 0);
    let of = u64_of(sampled.units.len());
    let mut samples = Vec::with_capacity(sampled.units.len());
    let result = pipeline::ordered(
        options.jobs,
        || Ok(next.next()),
        || {
            let mut worker = Worker::new(map, options).map_err(End::Failed)?;
            Ok(move |chosen: &Chosen<'_>| worker.sample(chosen))
        },
        |sample: Result<Sample, FilesError>| {
            samples.push(sample.map_err(End::Failed)?);
            add(&mut done, 1);
            if each(done, of).is_break() {
                return Err(End::Stopped);
            }
            Ok(())
        },
    );
    let mut limit = sampled.limit;
    match result {
        Ok(()) => {}
        Err(End::Stopped) if samples.is_empty() => return Ok(None),
        Err(End::Stopped) => {
            let left_out = sampled.units.get(samples.len());
            limit = left_out.map(|chosen| chosen.priority).or(limit);
        }
        Err(End::Failed(error)) => return Err(error),
    }
    let shown = sampled.sectors;
    let hidden = sampled.unreachable.div_ceil(u64::from(sector_size.max(1)));
    Ok(Some(Estimates {
        sectors: shown.saturating_add(hidden),
        unreachable_sectors: hidden,
        estimates: estimates(&samples, &options.methods, shown, limit),
    }))
}

/// Why it ends before the end.
enum End {
    Stopped,
    Failed(FilesError),
}

/// What is made again as one.
#[derive(Debug, Clone)]
struct Unit<'a> {
    extent: &'a Extent,
    /// The decoded bytes of a plain extent; all that is shown of a compressed one.
    piece: Option<Range<u64>>,
    /// Sectors that it takes now.
    sectors: u64,
}

/// A unit of the sample.
struct Chosen<'a> {
    priority: u64,
    unit: Unit<'a>,
}

struct Sampled<'a> {
    units: Vec<Chosen<'a>>,
    /// The lowest priority that was left out.
    limit: Option<u64>,
    /// Sectors of all units.
    sectors: u64,
    /// Bytes of plain extents that no file shows.
    unreachable: u64,
}

/// Chooses, and sums what it chooses from.
fn sampled(map: &Map, samples: usize) -> Sampled<'_> {
    let sector_size = u64::from(map.filesystem.sector_size.max(1));
    let mut choice = Choice::new(samples);
    let (mut units, mut sectors, mut unreachable) = (Vec::new(), 0, 0);
    for extent in map.extents().iter().filter(|extent| !extent.preallocated) {
        let mut take = |bytes: u64, piece| {
            let unit = Unit {
                extent,
                piece,
                sectors: bytes.div_ceil(sector_size),
            };
            add(&mut sectors, unit.sectors);
            if let Some(priority) = choice.of(unit.sectors) {
                units.push(Chosen { priority, unit });
            }
            // What the end will not want is not kept.
            if units.len() > samples.saturating_mul(2) {
                units.retain(|chosen| choice.has(chosen.priority));
            }
        };
        if extent.compression.0 != 0 {
            take(extent.disk_bytes, None);
            continue;
        }
        add(&mut unreachable, map.unreachable(extent));
        for range in map.shown(extent) {
            for piece in pieces(range) {
                take(piece.end.saturating_sub(piece.start), Some(piece));
            }
        }
    }
    units.retain(|chosen| choice.has(chosen.priority));
    Sampled {
        units,
        limit: choice.limit,
        sectors,
        unreachable,
    }
}

/// A range in pieces of what an extent holds.
fn pieces(range: Range<u64>) -> impl Iterator<Item = Range<u64>> {
    let starts = range.clone().step_by(MAX_EXTENT);
    let end = range.end;
    starts.map(move |start| start..start.saturating_add(u64_of(MAX_EXTENT)).min(end))
}

/// Compresses units; keeps encoders and buffers.
struct Worker<'a> {
    map: &'a Map,
    reader: ExtentReader<'a>,
    validator: Validator,
    preparers: Vec<Preparer>,
    /// After the start of a file: what was regular stays so.
    target: Target,
}

impl<'a> Worker<'a> {
    fn new(map: &'a Map, options: &EstimateOptions) -> Result<Self, FilesError> {
        let sector_size = map.filesystem.sector_size;
        let preparers = options.methods.iter().map(|&(codec, level)| {
            Preparer::new(&Options {
                zeroes: Zeroes::Data,
                ..Options::new(codec, level).sector_size(sector_size)
            })
        });
        Ok(Self {
            map,
            reader: ExtentReader::new(map),
            validator: Validator::new(),
            preparers: preparers.collect::<Result<_, _>>()?,
            target: Target::new(sector_size).at(sector_size.into()),
        })
    }

    fn sample(&mut self, chosen: &Chosen<'_>) -> Result<Sample, FilesError> {
        let Unit {
            extent,
            piece,
            sectors,
        } = &chosen.unit;
        let data = match piece {
            Some(piece) => self.plain(extent, piece)?,
            None => self.decoded(extent)?,
        };
        let as_it_is = || {
            let tried = Tried {
                sectors: *sectors,
                took: Duration::ZERO,
            };
            vec![tried; self.preparers.len()]
        };
        let after = match data {
            Some(parts) => after(&mut self.preparers, &parts, *sectors, &self.target)?,
            None => as_it_is(),
        };
        Ok(Sample {
            priority: chosen.priority,
            before: *sectors,
            after,
        })
    }

    /// The bytes of a piece of a plain extent, as one part; `None` where they stay as they are.
    fn plain(
        &mut self,
        extent: &Extent,
        piece: &Range<u64>,
    ) -> Result<Option<Vec<Vec<u8>>>, FilesError> {
        let Some(references) = self.reader.movable(extent)? else {
            return Ok(None);
        };
        let data = self.reader.read_plain(extent, &references, piece)?;
        Ok(data.filter(|data| !data.is_empty()).map(|data| vec![data]))
    }

    /// The parts of a compressed extent that are shown; `None` where it stays as it is.
    fn decoded(&mut self, extent: &Extent) -> Result<Option<Vec<Vec<u8>>>, FilesError> {
        if self.reader.movable(extent)?.is_none() {
            return Ok(None);
        }
        let Some(Bytes::Payload(payload, fields, _)) = self.reader.read(extent)? else {
            return Ok(None);
        };
        let whole = ExtentFields {
            len: fields.unencoded_len,
            unencoded_offset: 0,
            ..fields
        };
        let Ok(data) = self.validator.decode(payload, &whole, &self.target) else {
            return Ok(None);
        };
        let parts = self.map.shown(extent).filter_map(|range| {
            let start = usize::try_from(range.start).ok()?;
            let end = usize::try_from(range.end).ok()?;
            Some(data.get(start..end)?.to_vec())
        });
        Ok(Some(parts.collect()))
    }
}

/// Sectors that some data takes with each method: no more than it does now.
fn after(
    preparers: &mut [Preparer],
    parts: &[Vec<u8>],
    sectors: u64,
    target: &Target,
) -> Result<Vec<Tried>, PrepareError> {
    let mut all = Vec::with_capacity(preparers.len());
    for preparer in preparers {
        let begun = Instant::now();
        let mut after = 0;
        for part in parts.iter().filter(|part| !part.is_empty()) {
            let plain = plain_sectors(u64_of(part.len()), target);
            add(
                &mut after,
                match preparer.prepare_for(part, target)? {
                    Content::Encoded(made) => {
                        Sectors::of(u64_of(made.payload().len()), made.fields(), target).encoded
                    }
                    _ => plain,
                },
            );
        }
        all.push(Tried {
            sectors: after.min(sectors),
            took: begun.elapsed(),
        });
    }
    Ok(all)
}
