//! Makes, judges and moves the compressed payloads of btrfs extents.
//!
//! btrfs takes compressed extents as they are: through the encoded-write ioctl and through
//! `ENCODED_WRITE` commands of send streams. The kernel does not look inside when it takes
//! them; a wrong payload gets a valid checksum and fails, or reads back wrong, later. The
//! contract of this crate: every payload it makes reads back byte for byte on every kernel
//! since 5.19 and through the fallback decoders of `btrfs receive`, and of every payload it is
//! given it says whether that holds, and if not, which rule is broken at which byte.
//!
//! From top to bottom; imports only ever go down:
//!
//! | module | what it does | stands on |
//! | --- | --- | --- |
//! | [`pack`] | packs trees into send streams | `tree`, `send_stream`, `prepare`, `extent`, `rules`, `pipeline` |
//! | [`tree`] | the tree that a chain of streams describes: its names, its data, its digest | `transform`, `files`, `ioctl`, `send_stream`, `extent`, `validate`, `rules`, `pipeline` |
//! | [`files`] | files on a mounted btrfs: their extents, and who shows them | `prepare`, `ioctl`, `extent`, `validate`, `rules`, `pipeline` |
//! | [`transform`] | checks, recompresses and rewrites whole send streams, in parallel | `send_stream`, `prepare`, `extent`, `validate`, `rules`, `pipeline` |
//! | [`prepare`] | makes extents: splitting, encoding | `extent`, `validate`, `rules`, `pipeline` |
//! | [`ioctl`] | hands extents to the kernel and takes them back | `extent`, `validate`, `rules` |
//! | [`send_stream`] | reads and writes send streams | `extent`, `rules` |
//! | [`extent`] | [`extent::EncodedExtent`]: what is made, moved and taken | `validate`, `rules` |
//! | [`validate`] | judges payloads: findings, and what a named kernel returns | `rules` |
//! | [`rules`] | every number and size rule; what a caller claims of a payload | |
//! | `pipeline` | work on many threads, results in order, memory bounded | |
//! | `codecs/` | one crate per compression type: zlib, LZO, zstd | |
#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects))]

pub mod extent;
#[cfg(all(target_os = "linux", not(btrfs_payload_portable)))]
pub mod files;
#[cfg(all(target_os = "linux", not(btrfs_payload_portable)))]
pub mod ioctl;
pub mod pack;
mod pipeline;
pub mod prepare;
pub mod rules;
pub mod send_stream;
pub mod transform;
pub mod tree;
pub mod validate;

pub use btrfs_payload_common::{
    Behaviour, Change, Errno, Kernel, MAX_EXTENT, ParseKernelError, Releases, name_releases,
};
/// The crate of [`Bytes`](bytes::Bytes), which payloads, paths and names are.
pub use bytes;

/// The crates of the compression types and what they share, whose errors and structures are in
/// signatures here.
pub mod codecs {
    pub use {
        btrfs_payload_common as common, btrfs_payload_lzo as lzo, btrfs_payload_zlib as zlib,
        btrfs_payload_zstd as zstd,
    };
}

/// The examples of the README, compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
