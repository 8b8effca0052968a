//! What the benches share: content, contestants, and a clock.
#![allow(dead_code, unreachable_pub)] // each bench uses a part of it
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a bench that fails, fails

pub mod contest;
pub mod contests;
pub mod corpus;
#[cfg(feature = "peers")]
pub mod peers;
