//! zstd frames as payloads of btrfs extents.
//!
//! * [`Encoder`]: one frame, content size present, window at most 128 KiB, at every level;
//! * [`Decoder`]: strict, exactly one well-formed frame that fills the payload;
//! * [`walk`]: every bit of a payload explained, every fault located and named;
//! * [`kernel`]: what the kernels' readers make of a payload;
//! * [`receive`]: what the fallback decoder of `btrfs receive` makes of it.
//!
//! The last four use a decoder of this crate's own: it names a fault and its byte, and it tells the
//! three versions of libzstd in kernels apart.

#![forbid(unsafe_code)]
#![deny(clippy::indexing_slicing)]

mod bits;
mod block;
mod count;
mod decode;
mod encode;
mod error;
mod fault;
mod fse;
mod huffman;
pub mod kernel;
mod kind;
pub mod layout;
pub mod receive;
mod rules;
mod sequences;
mod sink;
mod walk;

pub use decode::Decoder;
pub use encode::{Checksum, Encoder, Options, library_version};
pub use error::{DecodeError, EncodeError};
pub use fault::{Fault, FaultKind, Table};
pub use kind::{Kind, Literals, Mode};
pub use walk::{Event, Walk, walk};

/// The examples of the README, compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
