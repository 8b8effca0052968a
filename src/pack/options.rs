//! How a tree is packed.

use std::num::NonZeroUsize;

use bytes::Bytes;

use super::parent::Parent;
use crate::prepare;
use crate::rules::Codec;
use crate::send_stream::{Timespec, Uuid};

/// The UUID that the stream says its subvolume has at the sender; the receiver knows it by that
/// (`btrfs subvolume list -R`), and increments name it as their parent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Identity {
    /// Made from everything that was packed: the same tree has the same UUID, whatever the codec
    /// and the level. It is known at the end and stands at the beginning, so the output is one to
    /// seek in.
    #[default]
    OfContent,
    /// This one.
    Given(Uuid),
}

/// How to pack a tree.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Options {
    /// The name of the subvolume.
    pub subvolume: Bytes,
    /// Its UUID.
    pub identity: Identity,
    /// What the stream is an increment on; without one it is a full stream.
    pub parent: Option<Parent>,
    /// Codecs, levels and the filesystem. Zeroes become holes.
    pub extents: prepare::Options,
    /// A stream of version 1, with all data in plain writes: larger, and smaller once a
    /// compressor with a long window has had it (`zstd -19 --long`).
    pub plain: bool,
    /// Content that is there twice is sent once, and cloned where it is again. Of data that fills a
    /// sector or less, every file has its own.
    pub dedupe: bool,
    /// No time is later than this.
    pub latest: Option<Timespec>,
    /// Extended attributes that btrfs has not, or not there, are left out and counted; otherwise they
    /// are refused. Wrong values are refused in any case.
    pub leave_out_xattrs: bool,
    /// Names that a tree may have: each is remembered, with some hundred bytes.
    pub max_names: usize,
    /// Threads that compress. Their number changes no byte.
    pub jobs: NonZeroUsize,
}

impl Options {
    /// A subvolume of this name, compressed as the kernel does it by default with zstd, on as many
    /// threads as there are cores.
    #[must_use]
    pub fn new(subvolume: impl Into<Bytes>) -> Self {
        Self {
            subvolume: subvolume.into(),
            identity: Identity::default(),
            parent: None,
            extents: prepare::Options::new(Codec::Zstd, prepare::Level::Default),
            plain: false,
            dedupe: true,
            latest: None,
            leave_out_xattrs: false,
            max_names: 16 << 20,
            jobs: std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN),
        }
    }
}
