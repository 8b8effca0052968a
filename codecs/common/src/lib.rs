//! What the three codecs of btrfs extent payloads share, and nothing else.
//!
//! * [`Cursor`]: reads a byte slice and knows absolute offsets, so that an error deep in a
//!   nested structure names the byte of the payload (or of the send stream) it is about;
//! * [`Piece`]: one structure of a payload as a walker reports it;
//! * [`Kernel`], [`Behaviour`], [`Machine`]: which kernel is meant, and where it differs
//!   from others;
//! * [`Reading`], [`End`], [`Errno`]: how a reader ends.
//!
//! Every codec crate has the same modules: `layout` (the byte table and the format's numbers),
//! `encode`, `decode` (strict, capped), `walk` (every byte accounted for), `kernel` (what the
//! kernel's reader makes of a payload), `receive` (what the fallback decoder of `btrfs receive`
//! makes of it) and `error`.

mod behaviour;
mod cursor;
mod kernel;
mod machine;
mod piece;
mod reading;
mod releases;

pub use behaviour::{Behaviour, Change};
pub use cursor::{Cursor, Truncated};
pub use kernel::{Kernel, ParseKernelError};
pub use machine::Machine;
pub use piece::Piece;
pub use reading::{End, Errno, Reading};
pub use releases::{Releases, name_releases};

/// The largest number of bytes one compressed extent can hold before compression, and the
/// largest payload the ioctl looks at, in bytes (`BTRFS_MAX_UNCOMPRESSED` and
/// `BTRFS_MAX_COMPRESSED`, fs/btrfs/compression.h, the same since 5.18).
pub const MAX_EXTENT: usize = 128 * 1024;
