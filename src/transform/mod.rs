//! What is done to whole send streams: judged, compressed anew, decompressed, laid out for
//! another sector size, listed.
//!
//! | function | in | out |
//! | --- | --- | --- |
//! | [`check`] | any stream | findings: framing, checksums, order of commands, payloads |
//!
//! All of them read an input once, from front to back, with a number of threads that changes no
//! byte of what comes out, and hold a few extents for each thread, whatever the stream's size.
//! Nothing here prints: findings go to a callback, sums come back.

mod check;
mod codes;
mod error;
mod escape;
mod finding;
mod order;
mod payload;
mod tree;

pub use check::{CheckOptions, CheckSummary, check};
pub use codes::{explain, explanations};
pub use error::TransformError;
pub use escape::Escaped;
pub use finding::StreamFinding;
pub use payload::{DecodedExtent, NotDecodable, decode_extent};
