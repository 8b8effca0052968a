//! An estimate in bytes and in time.

use std::num::NonZeroUsize;
use std::time::Duration;

use btrfs_payload::transform::Estimate;

/// Standard errors within which the truth is, with 95 % certainty.
const SURE: f64 = 1.96;

/// What compressing again would give.
#[derive(Debug)]
pub(super) struct Estimated {
    /// Codec and level.
    pub(super) method: String,
    /// Bytes on disk.
    pub(super) bytes: u64,
    /// How far away the truth may be with 95 % certainty, bytes; `None` where that is not known.
    pub(super) error: Option<u64>,
    /// How long it takes.
    pub(super) time: Duration,
}

impl Estimated {
    /// On a filesystem with sectors of this size, by so many threads.
    pub(super) fn new(estimate: &Estimate, sector_size: u32, jobs: NonZeroUsize) -> Self {
        let size = f64::from(sector_size);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a size that is not negative, and no more than the stream has"
        )]
        let bytes = |sectors: f64| (sectors * size).round() as u64;
        let jobs = u32::try_from(jobs.get()).unwrap_or(u32::MAX);
        Self {
            method: format!("{}:{}", estimate.codec, estimate.level),
            bytes: bytes(estimate.sectors),
            error: estimate.standard_error.map(|error| bytes(error * SURE)),
            time: estimate.work.checked_div(jobs).unwrap_or_default(),
        }
    }

    /// The time in words. It is a guess: one figure that matters is enough.
    pub(super) fn time_text(&self) -> String {
        let seconds = self.time.as_secs();
        match seconds {
            0 => "under 1 s".to_owned(),
            1..120 => format!("{seconds} s"),
            120..7200 => format!("{} min", seconds / 60),
            _ => format!("{} h", seconds / 3600),
        }
    }
}
