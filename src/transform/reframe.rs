//! LZO payloads for another sector size.
//!
//! The layout of an LZO payload depends on the sector size of its filesystem, and the ioctl takes
//! no other layout. zlib and zstd payloads do not change, nor does anything else.

use std::io::Write;
use std::num::NonZeroUsize;

use super::error::TransformError;
use super::finding::StreamFinding;
use super::parents::{MAX_NAMES, Parents};
use super::payload::{DecodedExtent, decode_extent, ends_inside};
use super::recompress::pieces;
use super::rewrite::{Rework, Reworked, RewriteSummary, Unsound, rewrite};
use super::sizes::Sizes;
use super::source::Plan;
use crate::MAX_EXTENT;
use crate::extent::EncodedExtent;
use crate::prepare::{Keep, Level, Options, Prepared, Preparer, Zeroes};
use crate::rules::limits::u64_of;
use crate::rules::{Codec, Target};
use crate::send_stream::IntoReader;
use crate::send_stream::command::EncodedWrite;

/// How to lay out LZO payloads.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ReframeOptions {
    /// The filesystem that is to receive the stream.
    pub target: Target,
    /// How hard to compress.
    pub level: Level,
    /// Subvolumes that are there when the stream is received: sizes of files are known from them.
    pub parents: Parents,
    /// Names that are remembered, as in [`CheckOptions`](super::CheckOptions::max_names); where
    /// there are more, sizes of files are not known from there on.
    pub max_names: usize,
}

impl ReframeOptions {
    /// For this filesystem.
    #[must_use]
    pub fn new(target: Target, level: Level) -> Self {
        Self {
            target,
            level,
            parents: Parents::default(),
            max_names: MAX_NAMES,
        }
    }
}

/// Writes a stream again with its LZO payloads laid out for the target's sector size. Data that
/// does not shrink in the new layout, and data at offsets where such a filesystem takes no
/// encoded write, becomes plain. Inline zlib and LZO extents that decode to a whole sector, as Linux 7
/// makes them, are compressed again. Every payload is judged: those that are not sound are passed on as they are, with
/// their findings handed to `report`.
///
/// # Errors
/// See [`TransformError`]; the output is not whole then.
pub fn reframe(
    input: impl IntoReader<Input: Send>,
    output: impl Write,
    options: &ReframeOptions,
    jobs: NonZeroUsize,
    report: impl FnMut(&StreamFinding),
) -> Result<RewriteSummary, TransformError> {
    let extents = Options {
        target: options.target,
        keep: Keep::SectorSaved,
        zeroes: Zeroes::Data,
        ..Options::new(Codec::Lzo, options.level)
    };
    let plan = Plan {
        version: |version| version,
        gather: None,
        lower: false,
        sizes: Sizes::new(&options.parents, options.max_names, options.target),
    };
    let target = options.target;
    let zlib = Options {
        methods: vec![(Codec::Zlib, Level::Default)],
        ..extents.clone()
    };
    let rework = || {
        Ok(Reframe {
            lzo: Preparer::new(&extents)?,
            zlib: Preparer::new(&zlib)?,
            sector_size: target.sector_size,
        })
    };
    rewrite(input, output, plan, &target, jobs, rework, report)
}

struct Reframe {
    lzo: Preparer,
    /// For payloads that `btrfs receive` cannot decode.
    zlib: Preparer,
    sector_size: u32,
}

impl Rework for Reframe {
    fn plain(&mut self, _: &[u8], _: &Target) -> Result<Option<EncodedExtent>, TransformError> {
        Ok(None)
    }

    fn encoded(&mut self, write: &EncodedWrite, place: &Target) -> Result<Reworked, Unsound> {
        let DecodedExtent {
            data,
            falls_back,
            receive_fails,
        } = decode_extent(write).map_err(Unsound::Pass)?;
        let layout = write.fields().compression.lzo_sector_size();
        if !receive_fails && layout.is_none_or(|size| size == self.sector_size) {
            return Ok(Reworked::Kept { falls_back });
        }
        let aligned = place.offset.is_multiple_of(u64::from(self.sector_size));
        if !aligned || data.len() > MAX_EXTENT || ends_inside(u64_of(data.len()), place) {
            return Ok(Reworked::Replaced(pieces(None, data)));
        }
        let preparer = match layout {
            Some(_) => &mut self.lzo,
            None => &mut self.zlib,
        };
        let prepared = preparer.prepare_for(&data, place);
        let extent = match prepared.map_err(|error| Unsound::Error(error.into()))? {
            Prepared::Encoded(extent) => Some(extent),
            Prepared::Plain(_) | Prepared::Hole => None,
        };
        Ok(Reworked::Replaced(pieces(extent, data)))
    }
}
