//! One run of bytes becomes one extent.

use bytes::{Bytes, BytesMut};
use thiserror::Error;

use super::encoder::{Encoder, EncoderError};
use super::ladder::{self, Reach};
use super::{Keep, Options, Zeroes};
use crate::MAX_EXTENT;
use crate::extent::{Content, EncodedExtent};
use crate::rules::limits::{self, u64_of};
use crate::rules::{Codec, ExtentFields, Sectors, Target};

/// What became of the data: a payload worth having, a reason why it is better written as it is,
/// or a hole, where every byte is zero and [`Options::zeroes`] says so.
pub type Prepared = Content<EncodedExtent, PlainReason>;

/// Why data is better written as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Error)]
#[non_exhaustive]
pub enum PlainReason {
    /// The payload is not smaller than the data, so the ioctl would refuse it.
    #[error("does not shrink: the payload would be {payload} bytes")]
    DoesNotShrink {
        /// The smallest payload there was, bytes.
        payload: usize,
    },
    /// It is smaller, but takes as many sectors.
    #[error("saves no sector: the payload would be {payload} bytes")]
    SavesNoSector {
        /// The smallest payload there was, bytes.
        payload: usize,
    },
}

/// Why no extent could be made.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum PrepareError {
    /// There is nothing to encode. Leave empty files empty.
    #[error("there is no data: an extent holds 1 to {MAX_EXTENT} bytes")]
    Empty,
    /// More than an extent holds. Split it, or use [`super::prepare_file`].
    #[error("{got} bytes are more than an extent holds: {MAX_EXTENT}")]
    TooLong {
        /// Length of the data, bytes.
        got: usize,
    },
    /// The options contradict the rules of the filesystem. Correct them.
    #[error("{0}")]
    Options(&'static str),
    /// A codec does not take its level, or has failed.
    #[error(transparent)]
    Encoder(#[from] EncoderError),
}

/// Makes extents, one after another, with contexts and buffers that it keeps.
#[derive(Debug)]
pub struct Preparer {
    attempts: Vec<Attempt>,
    /// Fewer sectors win, not fewer bytes.
    by_sectors: bool,
    target: Target,
    keep: Keep,
    zeroes: Zeroes,
    /// The payload being made and the smallest one so far.
    scratch: [Vec<u8>; 2],
    /// Payloads handed out; its memory comes back when their owners drop them.
    arena: BytesMut,
}

/// An encoder and when its turn comes.
#[derive(Debug)]
struct Attempt {
    encoder: Encoder,
    codec: Codec,
    reach: Option<Reach>,
}

/// Bytes the arena takes at a time: a few extents, so that a consumer may hold some.
const ARENA: usize = 4 * MAX_EXTENT;

impl Preparer {
    /// Contexts for these options.
    ///
    /// # Errors
    /// [`PrepareError::Options`] and [`PrepareError::Encoder`] when the options cannot be met.
    pub fn new(options: &Options) -> Result<Self, PrepareError> {
        check(options)?;
        let sector_size = options.target.sector_size;
        let (rungs, by_sectors) = ladder::climb(&options.methods)?;
        let attempt = |rung: ladder::Rung| {
            Ok(Attempt {
                encoder: Encoder::new(rung.effort, sector_size, options.zstd)?,
                codec: rung.codec,
                reach: rung.reach,
            })
        };
        let attempts = rungs.into_iter().map(attempt);
        Ok(Self {
            attempts: attempts.collect::<Result<_, EncoderError>>()?,
            by_sectors,
            target: options.target,
            keep: options.keep,
            zeroes: options.zeroes,
            scratch: [Vec::new(), Vec::new()],
            arena: BytesMut::new(),
        })
    }

    /// Makes an extent of 1 to 131072 bytes for the place that the options name.
    ///
    /// # Errors
    /// See [`PrepareError`]; that the data does not shrink is not one of them.
    pub fn prepare(&mut self, data: &[u8]) -> Result<Prepared, PrepareError> {
        let target = self.target;
        self.prepare_for(data, &target)
    }

    /// Makes an extent for another place of the same filesystem: the place decides whether it
    /// could become inline.
    ///
    /// # Errors
    /// See [`PrepareError`].
    pub fn prepare_for(&mut self, data: &[u8], target: &Target) -> Result<Prepared, PrepareError> {
        match data.len() {
            0 => return Err(PrepareError::Empty),
            1..=MAX_EXTENT => {}
            got => return Err(PrepareError::TooLong { got }),
        }
        if self.zeroes == Zeroes::Hole && is_zero(data) {
            return Ok(Prepared::Hole);
        }
        let [best, next] = &mut self.scratch;
        let mut winner: Option<(u64, ExtentFields)> = None;
        // What each codec's cheap effort has made of it, bytes.
        let mut made = Codec::ALL.map(|codec| (codec, 0));
        for Attempt {
            encoder,
            codec,
            reach,
        } in &mut self.attempts
        {
            let fields = ExtentFields::whole(u64_of(data.len()), encoder.id());
            let of_codec = made.iter_mut().find(|(of, _)| of == codec);
            if let (Some(reach), Some((_, payload)), Some((least, _))) = (reach, &of_codec, winner)
            {
                let hoped = u64_of(reach.smallest(*payload, data.len()));
                let hoped = Sectors::of(hoped, &fields, target);
                let nothing_less_counts = match self.keep {
                    Keep::SectorSaved => least.min(hoped.plain),
                    Keep::Smaller => least,
                };
                if hoped.encoded >= nothing_less_counts {
                    continue;
                }
            }
            encoder.encode(data, next)?;
            if let Some((_, payload)) = of_codec {
                *payload = next.len();
            }
            let cost = if self.by_sectors {
                Sectors::of(u64_of(next.len()), &fields, target).encoded
            } else {
                u64_of(next.len())
            };
            if winner.is_none_or(|(least, _)| cost < least) {
                std::mem::swap(best, next);
                winner = Some((cost, fields));
            }
        }
        let Some((_, fields)) = winner else {
            return Err(PrepareError::Options("no codec is named"));
        };
        if let Some(reason) = not_worth_it(best.len(), &fields, target, self.keep) {
            return Ok(Prepared::Plain(reason));
        }
        let payload = keep_payload(&mut self.arena, best);
        Ok(Prepared::Encoded(EncodedExtent::of_our_encoder(
            payload,
            fields,
            target.sector_size,
        )))
    }
}

/// Makes one extent. Whoever makes many keeps a [`Preparer`].
///
/// ```
/// use btrfs_payload::prepare::{Level, Options, Prepared, prepare_extent};
/// use btrfs_payload::rules::Codec;
///
/// let data = b"a line that comes again and again\n".repeat(500);
/// let options = Options::new(Codec::Zstd, Level::Number(9));
/// match prepare_extent(&data, &options)? {
///     Prepared::Encoded(extent) => assert!(extent.payload().len() < data.len() / 10),
///     Prepared::Plain(reason) => println!("{reason}"),
///     Prepared::Hole => println!("nothing but zeroes"),
/// }
/// # Ok::<(), btrfs_payload::prepare::PrepareError>(())
/// ```
///
/// # Errors
/// See [`PrepareError`].
pub fn prepare_extent(data: &[u8], options: &Options) -> Result<Prepared, PrepareError> {
    Preparer::new(options)?.prepare(data)
}

fn not_worth_it(
    payload: usize,
    fields: &ExtentFields,
    target: &Target,
    keep: Keep,
) -> Option<PlainReason> {
    if u64_of(payload) >= fields.unencoded_len {
        return Some(PlainReason::DoesNotShrink { payload });
    }
    let sectors = Sectors::of(u64_of(payload), fields, target);
    (keep == Keep::SectorSaved && sectors.encoded >= sectors.plain)
        .then_some(PlainReason::SavesNoSector { payload })
}

/// Copies the payload into memory that comes back: once the extents handed out before are
/// gone, their place is taken again, at best that of the last one, which is still in the cache.
fn keep_payload(arena: &mut BytesMut, payload: &[u8]) -> Bytes {
    if !arena.try_reclaim(ARENA) && arena.capacity() < payload.len() {
        arena.reserve(ARENA);
    }
    arena.extend_from_slice(payload);
    arena.split().freeze()
}

fn check(options: &Options) -> Result<(), PrepareError> {
    let sector_size = options.target.sector_size;
    if options.methods.is_empty() {
        return Err(PrepareError::Options("no codec is named"));
    }
    if !limits::is_sector_size(sector_size) {
        return Err(PrepareError::Options(
            "the sector size is a power of two from 4096 to 65536 bytes",
        ));
    }
    let multiple = u64_of(options.extent_size).is_multiple_of(u64::from(sector_size));
    if !multiple || options.extent_size == 0 || options.extent_size > MAX_EXTENT {
        return Err(PrepareError::Options(
            "the extent size is a multiple of the sector size, at most 131072 bytes",
        ));
    }
    Ok(())
}

/// True when every byte is zero. Compares the data with itself, one byte on, which the
/// standard library does as fast as memory goes.
pub(crate) fn is_zero(data: &[u8]) -> bool {
    match data.split_first() {
        None => true,
        Some((first, rest)) => *first == 0 && data.starts_with(rest),
    }
}
