//! Plain data for receivers that know no encoded writes.

use std::io::Write;
use std::num::NonZeroUsize;

use super::error::TransformError;
use super::parents::{MAX_NAMES, Parents};
use super::rewrite::{Piece, Rework, Reworked, RewriteSummary, Unsound, must_decode, rewrite};
use super::sizes::Sizes;
use super::source::Plan;
use crate::extent::EncodedExtent;
use crate::rules::Target;
use crate::send_stream::command::EncodedWrite;
use crate::send_stream::{IntoReader, Version};

/// The version of a stream with plain data only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum PlainVersion {
    /// Version 1, whatever the input has.
    #[default]
    V1,
    /// Version 2, or that of the input where it is higher.
    V2,
}

/// How to decompress a stream.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct DecompressOptions {
    /// The version of the output. Every receiver takes version 1.
    ///
    /// Version 1 has no `FALLOCATE`: holes become zeroes, up to 64 GiB each. Holes that keep the
    /// size end at the end of their file. Where an increment does not tell the size of a file,
    /// punched holes are taken to end inside of it, as those that Linux sends do
    /// ([`RewriteSummary::holes_trusted`]), and zeroed ranges are an error. Space that is reserved
    /// is left out; where it makes a file longer, it becomes a `TRUNCATE`.
    ///
    /// `FILEATTR`, which receivers ignore, is left out. A stream that enables fs-verity has no
    /// form in version 1.
    pub version: PlainVersion,
    /// Subvolumes that are there when the stream is received: sizes of files are known from them.
    pub parents: Parents,
    /// Names that are remembered, as in [`CheckOptions`](super::CheckOptions::max_names); where
    /// there are more, sizes of files are not known from there on.
    pub max_names: usize,
}

impl Default for DecompressOptions {
    fn default() -> Self {
        Self {
            version: PlainVersion::V1,
            parents: Parents::default(),
            max_names: MAX_NAMES,
        }
    }
}

/// Writes a stream again with plain data only.
///
/// # Errors
/// See [`TransformError`]; the output is not whole then. A payload that cannot be decoded is
/// one.
pub fn decompress(
    input: impl IntoReader<Input: Send>,
    output: impl Write,
    options: &DecompressOptions,
    jobs: NonZeroUsize,
) -> Result<RewriteSummary, TransformError> {
    let plan = Plan {
        version: match options.version {
            PlainVersion::V1 => |_| Version::V1,
            PlainVersion::V2 => |version| version.max(Version::V2),
        },
        gather: None,
        lower: options.version == PlainVersion::V1,
        sizes: Sizes::new(&options.parents, options.max_names, Target::default()),
    };
    let target = Target::default();
    // Nothing is reported: what is not sound ends the work.
    let rework = || Ok(Decompress);
    rewrite(input, output, plan, &target, jobs, rework, |_| {})
}

struct Decompress;

impl Rework for Decompress {
    fn plain(&mut self, _: &[u8], _: &Target) -> Result<Option<EncodedExtent>, TransformError> {
        Ok(None)
    }

    fn encoded(&mut self, write: &EncodedWrite, _: &Target) -> Result<Reworked, Unsound> {
        must_decode(write).map(|data| Reworked::Replaced(vec![Piece::Plain(data)]))
    }
}
