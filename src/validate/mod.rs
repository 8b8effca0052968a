//! Judging payloads.
//!
//! Two questions, answered apart from each other and from the code that makes payloads:
//!
//! * [`validate`]: does the payload hold everywhere, and if not, which rule is broken at which
//!   byte?
//! * [`predict`]: what exactly does this one kernel do with it?
//!
//! [`validate_on_disk`] is the first for an extent that a filesystem has already.
//! A [`Validator`] judges many payloads, at the speed of decoding where nothing is wrong.
//! [`decode()`] gives the bytes of a sound payload, [`dump()`] explains every byte of any payload,
//! and [`explain`] the reason behind a code.

mod codes;
mod dump;
mod judge;
mod lzo;
mod predict;
mod quick;
mod report;
mod validator;
mod zlib;
mod zstd;

pub use btrfs_payload_common::Piece;
pub use codes::{Explanation, explain, explanations};
pub use dump::{DumpLine, Headline, Part, Structure, dump};
pub use predict::{Agreement, Outcome, predict, predict_all};
pub use report::{Finding, NotSound, Report, Severity};
// The slow way to the same report, for tests that compare.
#[doc(hidden)]
pub use validator::validate_by_walking;
pub use validator::{Validator, decode, validate, validate_on_disk};
