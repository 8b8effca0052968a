//! How to squeeze.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use crate::prepare::Options;

/// How to squeeze.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct SqueezeOptions {
    /// How to make extents. The sector size is that of the filesystem, whatever is said here;
    /// zeroes stay data.
    pub prepare: Options,
    /// Threads that work.
    pub jobs: NonZeroUsize,
    /// Only extents that were made in this transaction or after it; 0 for all. What
    /// [`super::Squeeze::next_generation`] said the last time leaves out what has been looked at by then. One that the filesystem has not reached counts as 0.
    /// Bytes of older extents that no file shows any more are not found by it.
    pub since: u64,
    /// Bytes that new extents have to save at least, in place of those that become new ones
    /// together; `None` for one sector.
    pub min_saving: Option<u64>,
    /// Also extents of which no file shows some bytes: they become shorter.
    pub reclaim: bool,
    /// Find out what would be saved, and change nothing.
    pub dry_run: bool,
    /// Where some file cannot be given the new extents, let the others have them all the same:
    /// more space is used then.
    pub allow_growth: bool,
    /// Where the unnamed files are; any writable directory of the filesystem. Without it, that of
    /// the first of the paths that is writable.
    pub temp_dir: Option<PathBuf>,
    /// Leave what a file shows that somebody has open for writing.
    pub skip_busy: bool,
    /// Time to wait in all for snapshots that are being sent.
    pub patience: Duration,
    /// Bytes that are read per second at most, for all threads together; decoded ones.
    pub bytes_per_second: Option<u64>,
}

impl SqueezeOptions {
    /// With one thread, for all extents, saving at least a sector.
    #[must_use]
    pub fn new(prepare: Options) -> Self {
        Self {
            prepare,
            jobs: NonZeroUsize::MIN,
            since: 0,
            min_saving: None,
            reclaim: true,
            dry_run: false,
            allow_growth: false,
            temp_dir: None,
            skip_busy: false,
            patience: Duration::from_secs(10),
            bytes_per_second: None,
        }
    }
}
