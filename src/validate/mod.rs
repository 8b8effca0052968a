//! Judging payloads.
//!
//! Two questions, answered apart from each other and from the code that makes payloads:
//!
//! * [`validate`]: does the payload hold everywhere, and if not, which rule is broken at which
//!   byte?
//! * [`predict`]: what exactly does this one kernel do with it?

mod predict;
mod report;

pub use predict::{Outcome, predict};
pub use report::{Finding, Report, Severity};
