//! LZO payloads of btrfs extents: made, decoded, taken apart, and read as kernels read them.
//!
//! | module | what it owns |
//! | --- | --- |
//! | [`layout`] | the payload's byte table: total, segment headers, padding, limits |
//! | [`lzo1x`] | the instructions inside one segment |
//! | [`Encoder`] | data to payload, at three efforts |
//! | [`Decoder`] | payload to data, strict and fast |
//! | [`walk()`] | every byte of a payload named, every broken rule reported |
//! | [`kernel`] | what the kernel's reader delivers, kernel by kernel |
//! | [`receive`] | what the fallback decoder of `btrfs receive` delivers |
//!
//! No function here panics, reads outside its input or allocates more than a small multiple of
//! 128 KiB, whatever bytes it is given.
//!
//! ```
//! use btrfs_payload_lzo::{Decoder, Effort, Encoder, Options};
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let data = b"segments, segments, segments".repeat(400);
//! let mut payload = Vec::new();
//! Encoder::new(Options::new(Effort::Fast, 4096))?.encode(&data, &mut payload)?;
//! let mut out = vec![0; data.len()];
//! assert_eq!(Decoder::new(4096).decode(&payload, &mut out)?, data.len());
//! assert_eq!(out, data);
//! # Ok(())
//! # }
//! ```

#![forbid(unsafe_code)]

mod decode;
mod encode;
mod error;
pub mod kernel;
pub mod layout;
pub mod lzo1x;
pub mod receive;
mod sectors;
mod walk;

pub use decode::Decoder;
pub use encode::{Effort, Encoder, Options};
pub use error::{DecodeError, EncodeError};
pub use walk::{Event, Fault, FaultKind, Kind, Walk, walk};

/// The examples of the README, compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
