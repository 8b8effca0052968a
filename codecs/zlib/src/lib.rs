//! zlib streams as payloads of btrfs extents.
//!
//! A payload is one zlib stream (RFC 1950 around RFC 1951) from its first byte to its last. This
//! crate makes such streams ([`Encoder`]), reads them strictly ([`Decoder`]), explains any bytes
//! bit by bit ([`walk`]), and says what a kernel ([`kernel`]) or the fallback decoder of
//! `btrfs receive` ([`receive`]) makes of them.
//!
//! Input is hostile: whatever the bytes, nothing here panics, runs longer than a constant times
//! payload plus output, or holds more memory than the output and a few fixed tables. Nothing
//! here is a general zlib library: no streaming, no dictionaries, no gzip.
//!
//! ```
//! use btrfs_payload_zlib::{Decoder, Encoder, Level, Options};
//! let data = b"twelve bytes twelve bytes twelve bytes";
//! let mut payload = Vec::new();
//! Encoder::new(Options::new(Level::numbered(6)?))?.encode(data, &mut payload)?;
//! let mut out = [0; 100];
//! assert_eq!(Decoder::new().decode(&payload, &mut out), Ok(data.len()));
//! assert_eq!(&out[..data.len()], data);
//! # Ok::<(), btrfs_payload_zlib::EncodeError>(())
//! ```
#![forbid(unsafe_code)]

mod adler;
mod decode;
mod encode;
mod error;
mod inflate;
pub mod kernel;
pub mod layout;
pub mod receive;
mod walk;

pub use decode::Decoder;
/// The library that encodes.
pub const LIBRARY: &str = match cfg!(feature = "libdeflate") {
    true => "libdeflate",
    false => "miniz_oxide",
};

pub use encode::{Encoder, Level, NumberedLevel, Options};
pub use error::{DecodeError, EncodeError};
pub use inflate::{CodeSet, Flaw, SetFlaw};
pub use walk::{BlockType, Event, Fault, FaultKind, Kind, Structure, Walk, walk};

/// The examples of the README, compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
