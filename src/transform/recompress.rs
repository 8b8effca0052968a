//! Compressing a stream anew.
//!
//! Data of neighbouring `WRITE`s is gathered and cut into extents, each as large as an extent
//! can be, beginning at a sector; what is in front of the first sector is written plain. An
//! `ENCODED_WRITE` is an extent of its own: of a slice, only what the file shows is kept. It is
//! replaced where that pays, and stays as it is otherwise. Nothing else changes, nor does the
//! order, so `CLONE`, which speaks of ranges of files, still shares what it shared.

use std::fmt;
use std::io::{Read, Write};
use std::num::NonZeroUsize;
use std::str::FromStr;

use super::error::TransformError;
use super::finding::StreamFinding;
use super::gather::Gather;
use super::payload::{DecodedExtent, decode_extent, sectors_of};
use super::rewrite::{Rework, Reworked, RewriteSummary, Unsound, rewrite};
use super::source::Plan;
use crate::extent::EncodedExtent;
use crate::prepare::{Keep, Options, PrepareError, Prepared, Preparer};
use crate::rules::{Target, plain_sectors};
use crate::send_stream::Version;
use crate::send_stream::command::EncodedWrite;

/// The least that a new extent has to save, against what was there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Saving {
    /// So many sectors.
    Sectors(u64),
    /// So many percent of the sectors, and at least one.
    Percent(u8),
}

impl Default for Saving {
    /// One sector: less saves nothing on disk.
    fn default() -> Self {
        Self::Sectors(1)
    }
}

impl Saving {
    fn is_met(self, before: u64, after: u64) -> bool {
        let saved = before.saturating_sub(after);
        match self {
            Self::Sectors(least) => saved >= least,
            Self::Percent(percent) => {
                let [saved, before] = [saved, before].map(u128::from);
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
        }
    }
}

impl FromStr for Saving {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parsed = match text.strip_suffix('%') {
            Some(percent) => percent
                .parse()
                .ok()
                .filter(|&percent: &u8| percent <= 100)
                .map(Self::Percent),
            None => text.parse().ok().map(Self::Sectors),
        };
        parsed.ok_or_else(|| "a number of sectors, or a percentage such as 10%".to_owned())
    }
}

/// How to compress a stream anew.
#[derive(Debug, Clone)]
pub struct RecompressOptions {
    /// Codecs, levels and the filesystem. Zeroes are always data here: something else may stand
    /// in their place at the receiver.
    pub extents: Options,
    /// What a new extent has to save.
    pub min_saving: Saving,
    /// Takes every extent that makes the stream smaller, if only by a byte, whatever sectors it
    /// saves.
    pub only_if_smaller: bool,
}

impl RecompressOptions {
    /// These extents, wherever they save a sector.
    #[must_use]
    pub fn new(extents: Options) -> Self {
        Self {
            extents,
            min_saving: Saving::default(),
            only_if_smaller: false,
        }
    }
}

/// Writes a stream anew with its data compressed as the options say. Streams of version 1
/// become version 2. Payloads that are not sound are passed on as they are, with their findings
/// handed to `report`.
///
/// # Errors
/// See [`TransformError`]; the output is not whole then.
pub fn recompress(
    input: impl Read + Send,
    output: impl Write,
    options: &RecompressOptions,
    jobs: NonZeroUsize,
    report: impl FnMut(&StreamFinding),
) -> Result<RewriteSummary, TransformError> {
    let mut extents = options.extents.clone();
    extents.find_holes = false;
    if options.only_if_smaller {
        extents.keep = Keep::Smaller;
    }
    // What is wrong with the options shows here, before a byte is written.
    Preparer::new(&extents)?;
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
    };
    let rework = || Recompress::new(options, &extents, target);
    rewrite(input, output, plan, &target, jobs, rework, report)
}

/// A worker's encoders.
pub(super) struct Recompress<'a> {
    preparer: Result<Preparer, PrepareError>,
    options: &'a RecompressOptions,
    target: Target,
}

impl<'a> Recompress<'a> {
    pub(super) fn new(options: &'a RecompressOptions, extents: &Options, target: Target) -> Self {
        Self {
            preparer: Preparer::new(extents),
            options,
            target,
        }
    }

    /// An extent of the data where one pays against what was there.
    fn extent(
        &mut self,
        offset: u64,
        data: &[u8],
        pays: impl FnOnce(u64, &EncodedExtent) -> bool,
    ) -> Result<Option<EncodedExtent>, TransformError> {
        let target = self.target.at(offset);
        if !offset.is_multiple_of(u64::from(target.sector_size)) {
            return Ok(None);
        }
        let preparer = match &mut self.preparer {
            Ok(preparer) => preparer,
            Err(_) => return Err(PrepareError::Options("the options cannot be met").into()),
        };
        match preparer.prepare_for(data, &target)? {
            Prepared::Encoded(extent) => {
                let payload = extent.payload().len() as u64;
                let sectors = sectors_of(payload, extent.fields(), false, &target);
                Ok(pays(sectors, &extent).then_some(extent))
            }
            Prepared::Plain { .. } | Prepared::Hole => Ok(None),
        }
    }
}

impl Rework for Recompress<'_> {
    fn plain(&mut self, offset: u64, data: &[u8]) -> Result<Option<EncodedExtent>, TransformError> {
        let before = plain_sectors(data.len() as u64, &self.target.at(offset));
        let options = self.options;
        self.extent(offset, data, |after, _| {
            options.only_if_smaller || options.min_saving.is_met(before, after)
        })
    }

    fn encoded(&mut self, write: &EncodedWrite) -> Result<Reworked, Unsound> {
        let DecodedExtent { data, falls_back } = decode_extent(write).map_err(Unsound::Pass)?;
        let offset = write.file_offset;
        let payload = write.data.len();
        let target = self.target.at(offset);
        let before = sectors_of(payload as u64, &write.fields(), falls_back, &target);
        let options = self.options;
        let extent = self
            .extent(offset, &data, |after, extent| {
                if options.only_if_smaller {
                    extent.payload().len() < payload
                } else {
                    options.min_saving.is_met(before, after)
                }
            })
            .map_err(Unsound::Error)?;
        Ok(match extent {
            Some(extent) => Reworked::Encoded(extent),
            None => Reworked::Kept { falls_back },
        })
    }
}
