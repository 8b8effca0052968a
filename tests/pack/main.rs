//! Packing: the streams that a builder makes, judged, and received by the running kernel.
#![allow(clippy::unwrap_used, clippy::panic)] // a failing test may panic

#[path = "../support/mod.rs"]
mod support;

mod builder;
#[cfg(feature = "cli")]
mod hostile;
mod increment;
mod kernel;
#[cfg(feature = "cli")]
mod list;
#[cfg(feature = "cli")]
mod program;
mod random;
#[cfg(feature = "cli")]
mod sort;
mod work;
