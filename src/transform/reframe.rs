//! LZO payloads for another sector size.
//!
//! The layout of an LZO payload follows the sector size of its filesystem, and the ioctl takes
//! no other. zlib and zstd payloads do not change, nor does anything else.

use std::io::{Read, Write};
use std::num::NonZeroUsize;

use super::error::TransformError;
use super::finding::StreamFinding;
use super::payload::decode_extent;
use super::rewrite::{Rework, Reworked, RewriteSummary, Unsound, rewrite};
use super::source::Plan;
use crate::extent::EncodedExtent;
use crate::prepare::{Keep, Level, Options, PrepareError, Prepared, Preparer};
use crate::rules::{Codec, Target};
use crate::send_stream::command::EncodedWrite;

/// How to lay out LZO payloads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReframeOptions {
    /// The filesystem that is to receive the stream.
    pub target: Target,
    /// How hard to compress.
    pub level: Level,
}

/// Writes a stream anew with its LZO payloads laid out for the target's sector size. Data that
/// does not shrink in the new layout, and data at offsets where such a filesystem takes no
/// encoded write, becomes plain. Payloads that are not sound are passed on as they are, with
/// their findings handed to `report`.
///
/// # Errors
/// See [`TransformError`]; the output is not whole then.
pub fn reframe(
    input: impl Read + Send,
    output: impl Write,
    options: &ReframeOptions,
    jobs: NonZeroUsize,
    report: impl FnMut(&StreamFinding),
) -> Result<RewriteSummary, TransformError> {
    let extents = Options {
        target: options.target,
        keep: Keep::SectorSaved,
        find_holes: false,
        ..Options::new(Codec::Lzo, options.level)
    };
    Preparer::new(&extents)?;
    let plan = Plan {
        version: |version| version,
        gather: None,
        lower: false,
    };
    let target = options.target;
    let rework = || Reframe {
        preparer: Preparer::new(&extents),
        target,
    };
    rewrite(input, output, plan, &target, jobs, rework, report)
}

struct Reframe {
    preparer: Result<Preparer, PrepareError>,
    target: Target,
}

impl Rework for Reframe {
    fn plain(&mut self, _: u64, _: &[u8]) -> Result<Option<EncodedExtent>, TransformError> {
        Ok(None)
    }

    fn encoded(&mut self, write: &EncodedWrite) -> Result<Reworked, Unsound> {
        let layout = write.fields().compression.lzo_sector_size();
        if layout.is_none_or(|size| size == self.target.sector_size) {
            return Ok(Reworked::Kept { falls_back: false });
        }
        let data = decode_extent(write).map_err(Unsound::Pass)?.data;
        let target = self.target.at(write.file_offset);
        if !write
            .file_offset
            .is_multiple_of(u64::from(target.sector_size))
        {
            return Ok(Reworked::Plain(data));
        }
        let prepared = match &mut self.preparer {
            Ok(preparer) => preparer.prepare_for(&data, &target),
            Err(_) => Err(PrepareError::Options("the options cannot be met")),
        };
        match prepared.map_err(|error| Unsound::Error(error.into()))? {
            Prepared::Encoded(extent) => Ok(Reworked::Encoded(extent)),
            Prepared::Plain { .. } | Prepared::Hole => Ok(Reworked::Plain(data)),
        }
    }
}
