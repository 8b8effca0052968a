//! Trees become send streams, without root and without btrfs.
//!
//! A [`Builder`] takes directories, files, links and devices, one after another, and writes the
//! full send stream of a subvolume that has them. It sees to what `btrfs receive` needs: names
//! in the right order, owners before capabilities, times last. Contents become compressed
//! extents on many threads; what is there twice is cloned.
//!
//! With a [`Parent`] the stream is an increment: what that has is not sent again.
//!
//! ```
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use std::io::{Cursor, Write};
//!
//! use btrfs_payload::pack::{Builder, Metadata, Node, Options};
//!
//! let mut tree = Builder::new(Cursor::new(Vec::new()), Options::new("image"))?;
//! tree.add("bin", Node::Directory, &Metadata::new(0o755))?;
//! let mut file = tree.add_file("bin/hello", &Metadata::new(0o755))?;
//! file.write_all(b"#!/bin/sh\necho hello\n")?;
//! file.finish()?;
//! tree.add("bin/hi", Node::Symlink(b"hello"), &Metadata::default())?;
//! let (stream, summary) = tree.finish()?;
//! assert_eq!(summary.files, 1);
//! assert!(stream.into_inner().starts_with(b"btrfs-stream\0"));
//! # Ok(())
//! # }
//! ```
//!
//! From bottom to top: `entry` and `error` (what is added, why it cannot be), `names` (what is there
//! already), `temporary` (names for a while), `parent` (what an increment builds on), `options`, `check`
//! and `node` (metadata and nodes as a stream has them), `record` (what is told of them in the digest),
//! `work` (what threads make of data), `dedupe` (content that is there already), `identity` (the UUID of
//! what was packed), `write` (the stream, in order), `queue` and `out` (the way to the threads),
//! `increment` (the difference from a parent), `file` and `builder` (the face).

mod builder;
mod check;
mod dedupe;
mod entry;
mod error;
mod file;
mod identity;
mod increment;
mod names;
mod node;
mod options;
mod out;
mod parent;
mod queue;
mod record;
#[cfg(all(target_os = "linux", not(btrfs_payload_portable)))]
mod regular;
mod temporary;
mod work;
mod write;

pub use builder::Builder;
pub use entry::{Metadata, Node, Times};
pub use error::{EntryFault, PackError};
pub use file::FileWriter;
pub use names::BYTES_PER_NAME;
pub use options::{Identity, Options};
pub use parent::Parent;
pub use write::{Changes, Summary, Sums};
