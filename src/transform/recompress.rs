//! Compressing a stream again.
//!
//! Data of neighbouring `WRITE`s is gathered and cut into extents, each as large as an extent
//! can be, beginning at a sector; what is in front of the first sector is written plain. An
//! `ENCODED_WRITE` is an extent of its own: of a slice, only what the file shows is kept. It is
//! replaced where that pays or where receivers could not decode it, and stays as it is otherwise.
//! The ioctl refuses data that ends inside a sector where the file goes on; there, the last part is
//! written plain. Nothing else changes, and the order stays, so a `CLONE` still shares what it
//! shared.

use std::fmt;
use std::io::Write;
use std::num::NonZeroUsize;
use std::str::FromStr;

use bytes::{Buf, Bytes};
use thiserror::Error;

use super::error::TransformError;
use super::finding::StreamFinding;
use super::gather::Gather;
use super::parents::{MAX_NAMES, Parents};
use super::payload::{DecodedExtent, decode_extent, ends_inside, sectors_of};
use super::rewrite::{Piece, Rework, Reworked, RewriteSummary, Unsound, data_after, rewrite};
use super::sizes::Sizes;
use super::source::Plan;
use crate::extent::EncodedExtent;
use crate::prepare::{Keep, Options, Prepared, Preparer, Zeroes};
use crate::rules::limits::u64_of;
use crate::rules::{Target, plain_sectors};
use crate::send_stream::command::EncodedWrite;
use crate::send_stream::{IntoReader, Version};
use crate::validate::{NotSound, Outcome, predict};
use crate::{Kernel, MAX_EXTENT};

/// The least that a new extent has to save, against what was there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Saving {
    /// So many sectors.
    Sectors(u64),
    /// So many percent of the sectors, and at least one.
    Percent(u8),
    /// A byte of the stream, whatever sectors it saves: every payload that is smaller.
    AnyByte,
}

impl Default for Saving {
    /// One sector: less saves nothing on disk.
    fn default() -> Self {
        Self::Sectors(1)
    }
}

/// What data takes in one form.
#[derive(Clone, Copy)]
struct Cost {
    /// On disk.
    sectors: u64,
    /// Of the stream, without what commands add.
    bytes: u64,
}

impl Saving {
    /// True when what took `before` takes enough less now.
    fn is_met(self, before: Cost, after: Cost) -> bool {
        let saved = before.sectors.saturating_sub(after.sectors);
        match self {
            Self::AnyByte => after.bytes < before.bytes,
            Self::Sectors(least) => saved >= least,
            Self::Percent(percent) => {
                let [saved, before] = [saved, before.sectors].map(u128::from);
                saved > 0 && saved.saturating_mul(100) >= before.saturating_mul(u128::from(percent))
            }
        }
    }
}

impl fmt::Display for Saving {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sectors(sectors) => write!(f, "{sectors}"),
            Self::Percent(percent) => write!(f, "{percent}%"),
            Self::AnyByte => f.write_str("any byte"),
        }
    }
}

/// The text is not a saving.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0:?} is not a saving; it is a number of sectors, or a percentage such as 10%")]
pub struct ParseSavingError(String);

impl FromStr for Saving {
    type Err = ParseSavingError;

    fn from_str(text: &str) -> Result<Self, ParseSavingError> {
        let parsed = match text.strip_suffix('%') {
            Some(percent) => percent
                .parse()
                .ok()
                .filter(|&percent: &u8| percent <= 100)
                .map(Self::Percent),
            None => text.parse().ok().map(Self::Sectors),
        };
        parsed.ok_or_else(|| ParseSavingError(text.to_owned()))
    }
}

/// What becomes of a payload that is not sound. Whoever receives it gets a file that some kernel,
/// or every one, cannot read at that place, and `btrfs receive` does not say so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum OnUnsound {
    /// It ends the stream with [`TransformError::Undecodable`]: receivers then fail, too.
    #[default]
    Fail,
    /// It is passed on as it is, with its findings.
    Pass,
    /// What the newest kernel reads is written as plain data, where it reads all that the payload
    /// decodes to; elsewhere as [`OnUnsound::Fail`]. A payload with a wrong checksum may have had
    /// other data: the findings tell.
    Plain,
}

/// How to compress a stream again.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct RecompressOptions {
    /// Codecs, levels and the filesystem. Zeroes are always data here: something else may stand
    /// in their place at the receiver.
    pub extents: Options,
    /// What a new extent has to save.
    pub min_saving: Saving,
    /// What becomes of payloads that are not sound.
    pub on_unsound: OnUnsound,
    /// Subvolumes that are there when the stream is received: sizes of files are known from them.
    pub parents: Parents,
    /// Names that are remembered, as in [`CheckOptions`](super::CheckOptions::max_names); where
    /// there are more, sizes of files are not known from there on.
    pub max_names: usize,
}

impl RecompressOptions {
    /// These extents, wherever they save a sector.
    #[must_use]
    pub fn new(extents: Options) -> Self {
        Self {
            extents,
            min_saving: Saving::default(),
            on_unsound: OnUnsound::default(),
            parents: Parents::default(),
            max_names: MAX_NAMES,
        }
    }
}

/// Writes a stream again with its data compressed as the options say. Streams of version 1
/// become version 2. Payloads that are not sound end it, unless the options say otherwise; findings
/// of those that are passed on or become plain are handed to `report`.
///
/// # Errors
/// See [`TransformError`]; the output is not whole then.
pub fn recompress(
    input: impl IntoReader<Input: Send>,
    output: impl Write,
    options: &RecompressOptions,
    jobs: NonZeroUsize,
    report: impl FnMut(&StreamFinding),
) -> Result<RewriteSummary, TransformError> {
    let mut extents = options.extents.clone();
    extents.zeroes = Zeroes::Data;
    if options.min_saving == Saving::AnyByte {
        extents.keep = Keep::Smaller;
    }
    let target = Target {
        file_size: 0,
        ..extents.target
    };
    let plan = Plan {
        version: |version| version.max(Version::V2),
        gather: Some(Gather {
            extent_size: extents.extent_size,
            sector_size: target.sector_size,
        }),
        lower: false,
        sizes: Sizes::new(&options.parents, options.max_names, options.extents.target),
    };
    let rework = || Recompress::new(options, &extents);
    rewrite(input, output, plan, &target, jobs, rework, report)
}

/// A worker's encoders.
pub(super) struct Recompress<'a> {
    preparer: Preparer,
    options: &'a RecompressOptions,
}

impl<'a> Recompress<'a> {
    pub(super) fn new(
        options: &'a RecompressOptions,
        extents: &Options,
    ) -> Result<Self, TransformError> {
        Ok(Self {
            preparer: Preparer::new(extents)?,
            options,
        })
    }

    /// An extent of the data where one pays against what was there: of all the data, or, where
    /// the ioctl would refuse that, of its whole sectors, as Linux does it. `pays` is told what the
    /// data then takes.
    fn extent(
        &mut self,
        data: &[u8],
        place: &Target,
        pays: impl FnOnce(Cost) -> bool,
    ) -> Result<Option<EncodedExtent>, TransformError> {
        let sector_size = u64::from(place.sector_size);
        if !place.offset.is_multiple_of(sector_size) {
            return Ok(None);
        }
        let len = u64_of(data.len());
        let rest = if ends_inside(len, place) {
            len.checked_rem(sector_size).unwrap_or(0)
        } else {
            0
        };
        let whole = usize::try_from(len.saturating_sub(rest)).unwrap_or(0);
        let data = data.get(..whole).unwrap_or_default();
        if data.is_empty() {
            return Ok(None);
        }
        match self.preparer.prepare_for(data, place)? {
            Prepared::Encoded(extent) => {
                let payload = u64_of(extent.payload().len());
                let sectors = sectors_of(payload, extent.fields(), false, place);
                let behind = place.at(place.offset.saturating_add(extent.fields().len));
                let cost = Cost {
                    sectors: sectors.saturating_add(plain_sectors(rest, &behind)),
                    bytes: payload.saturating_add(rest),
                };
                Ok(pays(cost).then_some(extent))
            }
            Prepared::Plain { .. } | Prepared::Hole => Ok(None),
        }
    }
}

impl Recompress<'_> {
    /// Data of more than an extent, which no ioctl takes as it came: it is cut into extents.
    fn long(&mut self, data: &Bytes, place: &Target) -> Result<Reworked, TransformError> {
        let mut place = *place;
        let mut made = Vec::new();
        for at in (0..data.len()).step_by(self.options.extents.extent_size.max(1)) {
            let end = at.saturating_add(self.options.extents.extent_size);
            let data = data.slice(at..end.min(data.len()));
            let len = u64_of(data.len());
            let extent = self.plain(&data, &place)?;
            made.extend(pieces(extent, data));
            place.offset = place.offset.saturating_add(len);
        }
        Ok(Reworked::Replaced(made))
    }
}

impl Rework for Recompress<'_> {
    fn plain(
        &mut self,
        data: &[u8],
        place: &Target,
    ) -> Result<Option<EncodedExtent>, TransformError> {
        let bytes = u64_of(data.len());
        let sectors = plain_sectors(bytes, place);
        let before = Cost { sectors, bytes };
        let min_saving = self.options.min_saving;
        self.extent(data, place, |after| min_saving.is_met(before, after))
    }

    fn encoded(&mut self, write: &EncodedWrite, place: &Target) -> Result<Reworked, Unsound> {
        let DecodedExtent {
            data,
            falls_back,
            receive_fails,
        } = match decode_extent(write) {
            Ok(decoded) => decoded,
            Err(not_sound) => return self.unsound(write, place, not_sound),
        };
        let falls_back = falls_back || ends_inside(write.unencoded_file_len, place);
        if data.len() > MAX_EXTENT {
            return self.long(&data, place).map_err(Unsound::Error);
        }
        let bytes = u64_of(write.data.len());
        let sectors = sectors_of(bytes, &write.fields(), falls_back, place);
        let before = Cost { sectors, bytes };
        let min_saving = self.options.min_saving;
        let extent = self
            .extent(&data, place, |after| {
                receive_fails || min_saving.is_met(before, after)
            })
            .map_err(Unsound::Error)?;
        Ok(match extent {
            None if !receive_fails => Reworked::Kept { falls_back },
            extent => Reworked::Replaced(pieces(extent, data)),
        })
    }
}

impl Recompress<'_> {
    /// What the options want done with a payload that is not sound.
    fn unsound(
        &self,
        write: &EncodedWrite,
        place: &Target,
        not_sound: NotSound,
    ) -> Result<Reworked, Unsound> {
        match self.options.on_unsound {
            OnUnsound::Pass => Err(Unsound::Pass(not_sound)),
            OnUnsound::Fail => Err(Unsound::Stop(not_sound)),
            OnUnsound::Plain => {
                match predict(&write.data, &write.fields(), place, Kernel::NEWEST) {
                    Outcome::Data { bytes, right, .. } if right == bytes.len() => {
                        Ok(Reworked::Mended(bytes.into(), not_sound))
                    }
                    _ => Err(Unsound::Stop(not_sound)),
                }
            }
        }
    }
}

/// An extent of the first bytes of the data and the rest, or all of it plain.
pub(super) fn pieces(extent: Option<EncodedExtent>, mut data: Bytes) -> Vec<Piece> {
    let mut pieces = Vec::new();
    if let Some(extent) = extent {
        let rest = data_after(&extent, &data).len();
        data.advance(data.len().saturating_sub(rest));
        pieces.push(Piece::Encoded(extent));
    }
    if !data.is_empty() {
        pieces.push(Piece::Plain(data));
    }
    pieces
}
