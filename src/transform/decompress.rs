//! Plain data for receivers that know no encoded writes.

use std::io::{Read, Write};
use std::num::NonZeroUsize;

use bytes::Bytes;

use super::error::TransformError;
use super::rewrite::{Rework, Reworked, RewriteSummary, Unsound, must_decode, rewrite};
use super::source::Plan;
use crate::extent::EncodedExtent;
use crate::rules::Target;
use crate::send_stream::Version;
use crate::send_stream::command::EncodedWrite;

/// How to decompress a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DecompressOptions {
    /// The output is of version 1, which every receiver takes, and not of version 2.
    ///
    /// Version 1 has no `FALLOCATE`: holes become zeroes, up to 64 GiB each. `FILEATTR`, which
    /// receivers ignore, is left out. A stream that enables fs-verity has no form in version 1.
    pub version_1: bool,
}

impl Default for DecompressOptions {
    fn default() -> Self {
        Self { version_1: true }
    }
}

/// Writes a stream anew with plain data only.
///
/// # Errors
/// See [`TransformError`]; the output is not whole then. A payload that cannot be decoded is
/// one.
pub fn decompress(
    input: impl Read + Send,
    output: impl Write,
    options: &DecompressOptions,
    jobs: NonZeroUsize,
) -> Result<RewriteSummary, TransformError> {
    let plan = Plan {
        version: if options.version_1 {
            |_| Version::V1
        } else {
            |version| version.max(Version::V2)
        },
        gather: None,
        lower: options.version_1,
    };
    let target = Target::default();
    // Nothing is reported: what is not sound ends the work.
    rewrite(input, output, plan, &target, jobs, || Decompress, |_| {})
}

struct Decompress;

impl Rework for Decompress {
    fn plain(&mut self, _: u64, _: &[u8]) -> Result<Option<EncodedExtent>, TransformError> {
        Ok(None)
    }

    fn encoded(&mut self, write: &EncodedWrite) -> Result<Reworked, Unsound> {
        must_decode(write).map(|data: Bytes| Reworked::Plain(data))
    }
}
