//! What is done to whole send streams: judged, compressed again, decompressed, laid out for
//! another sector size, listed.
//!
//! | function | in | out |
//! | --- | --- | --- |
//! | [`check`] | any stream | findings: framing, checksums, order of commands, payloads |
//! | [`recompress`] | version 1, 2 or 3 | version 2 (or 3), data as encoded extents |
//! | [`decompress`] | version 1 or 2 | version 1 or 2, plain data only |
//! | [`reframe`] | version 1, 2 or 3 | the same with LZO payloads for another sector size |
//! | [`stats`] | any stream | counts, sizes, and what another codec would give |
//!
//! All of them read an input once, from front to back, with a number of threads that changes no
//! byte of what comes out, and hold a few extents for each thread, whatever the stream's size.
//! Nothing here prints: findings go to a callback, sums come back.

mod check;
mod codes;
mod decompress;
mod error;
mod escape;
mod finding;
mod gather;
mod order;
mod parents;
mod payload;
mod recompress;
mod reframe;
mod rewrite;
mod sizes;
mod source;
mod stats;
mod tree;
mod way;

pub use crate::prepare::Estimate;
pub use check::{
    BYTES_PER_NAME, Carried, CarriedBy, CheckOptions, CheckSummary, check, check_and_keep,
};
pub use codes::{explain, explanations};
pub use decompress::{DecompressOptions, PlainVersion, decompress};
pub use error::TransformError;
pub use escape::{Escaped, EscapedWord, Shortened};
pub use finding::StreamFinding;
pub(crate) use order::{Order, Subvolumes};
pub use parents::Parents;
pub use payload::{DecodedExtent, decode_extent};
pub use recompress::{OnUnsound, ParseSavingError, RecompressOptions, Saving, recompress};
pub use reframe::{ReframeOptions, reframe};
pub use rewrite::RewriteSummary;
pub use stats::{CodecStats, Stats, StatsOptions, stats};
pub(crate) use way::{Way, last_name};
