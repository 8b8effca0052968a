//! Who compresses: the encoders, and the threads that have nothing else to do.

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::prepare::{Options, PrepareError, Prepared, Preparer};

/// So many threads at a time, and encoders for them.
///
/// A thread that has a long run lends those that wait for work: near the end, or while what they
/// did waits for its turn.
pub(super) struct Crew {
    jobs: NonZeroUsize,
    busy: AtomicUsize,
    options: Options,
    /// Those that nobody uses.
    preparers: Mutex<Vec<Preparer>>,
}

impl Crew {
    pub(super) fn new(jobs: NonZeroUsize, options: Options) -> Self {
        Self {
            jobs,
            busy: AtomicUsize::new(0),
            options,
            preparers: Mutex::new(Vec::new()),
        }
    }

    /// A thread begins to work.
    pub(super) fn begin(&self) -> Busy<'_> {
        self.busy.fetch_add(1, Ordering::Relaxed);
        Busy {
            threads: 1,
            busy: &self.busy,
        }
    }

    /// All threads that have nothing to do; they work until this is dropped.
    pub(super) fn idle(&self) -> Busy<'_> {
        let (jobs, order) = (self.jobs.get(), Ordering::Relaxed);
        let all = |busy: usize| Some(busy.max(jobs));
        // It never fails: `all` always has an answer.
        let (Ok(before) | Err(before)) = self.busy.fetch_update(order, order, all);
        Busy {
            threads: jobs.saturating_sub(before),
            busy: &self.busy,
        }
    }

    /// Makes an extent.
    pub(super) fn prepare(&self, data: &[u8]) -> Result<Prepared, PrepareError> {
        let free = || {
            self.preparers
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
        };
        let last = free().pop();
        let mut preparer = match last {
            Some(preparer) => preparer,
            None => Preparer::new(&self.options)?,
        };
        let prepared = preparer.prepare(data);
        free().push(preparer);
        prepared
    }
}

/// Threads that work.
pub(super) struct Busy<'a> {
    threads: usize,
    busy: &'a AtomicUsize,
}

impl Busy<'_> {
    pub(super) fn threads(&self) -> usize {
        self.threads
    }
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.busy.fetch_sub(self.threads, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prepare::Level;
    use crate::rules::Codec;

    #[test]
    fn nobody_is_lent_twice() {
        let jobs = NonZeroUsize::new(4).expect("not zero");
        let crew = Crew::new(jobs, Options::new(Codec::Lzo, Level::Default));
        let (first, second) = (crew.begin(), crew.begin());
        let lent = crew.idle();
        assert_eq!(lent.threads(), 2);
        assert_eq!(crew.idle().threads(), 0);
        drop(first);
        assert_eq!(crew.idle().threads(), 1);
        // Whoever was lent out works on while a thread gets work of its own.
        let third = [crew.begin(), crew.begin()];
        assert_eq!(crew.idle().threads(), 0);
        drop((second, third, lent));
        assert_eq!(crew.idle().threads(), 4);
    }
}
