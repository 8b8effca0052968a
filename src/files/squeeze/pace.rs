//! Time that is waited: for snapshots that are being sent, and not to be in the way of others.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// Time between two tries.
const PAUSE: Duration = Duration::from_millis(100);

/// Time to wait for snapshots that are being sent: one budget for all threads, as a send takes
/// minutes and has thousands of extents.
pub(super) struct Patience(AtomicU64);

impl Patience {
    pub(super) fn new(time: Duration) -> Self {
        let pauses = time.as_millis().checked_div(PAUSE.as_millis()).unwrap_or(0);
        Self(AtomicU64::new(u64::try_from(pauses).unwrap_or(u64::MAX)))
    }

    /// Waits a little; false where there is no time left.
    pub(super) fn wait(&self) -> bool {
        let less = |left: u64| left.checked_sub(1);
        let order = Ordering::Relaxed;
        let took = self.0.fetch_update(order, order, less);
        if took.is_ok() {
            thread::sleep(PAUSE);
        }
        took.is_ok()
    }
}

/// So many bytes per second, for all threads together.
pub(super) struct Pace {
    per_second: Option<u64>,
    /// When the next bytes may be read.
    next: Mutex<Instant>,
}

impl Pace {
    pub(super) fn new(per_second: Option<u64>) -> Self {
        Self {
            per_second,
            next: Mutex::new(Instant::now()),
        }
    }

    /// Waits until so many bytes may be read, or until `stop` says so.
    pub(super) fn wait_for(&self, bytes: u64, stop: &impl Fn() -> bool) {
        let Some(per_second) = self.per_second else {
            return;
        };
        let micros = u128::from(bytes)
            .saturating_mul(1_000_000)
            .checked_div(per_second.into())
            .and_then(|micros| u64::try_from(micros).ok());
        let time = Duration::from_micros(micros.unwrap_or(u64::MAX));
        let now = Instant::now();
        let begin = {
            let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
            let begin = (*next).max(now);
            *next = begin.checked_add(time).unwrap_or(begin);
            begin
        };
        while !stop() {
            let left = begin.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            thread::sleep(left.min(PAUSE));
        }
    }
}
