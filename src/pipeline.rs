//! Work on many threads, results in order, memory bounded.
//!
//! Each worker takes an item from the source, works on it, and puts the result into its place in a
//! queue. The caller's thread takes results from the front of the queue; while there are none, it
//! is a worker too. The thread that read an item also works on it, so its bytes are still in the
//! cache of that core, and no thread is woken for every result.

use std::collections::VecDeque;
use std::num::NonZeroUsize;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

/// Places in the line for each worker: enough that the others need not wait while one of them
/// has an item that takes a few times longer.
const PLACES_PER_JOB: usize = 4;

/// Places for results that wait for their turn, with many workers: memory is to depend on the
/// workers' own tables and little else.
const MAX_WAITING: usize = 24;

/// Hands every item of `source` to one of `jobs` workers and the results to `sink`, in the
/// order of the items, whatever the number of workers. Where the system gives fewer threads,
/// there are fewer workers.
///
/// `source` is asked by the workers, one at a time, `sink` by the caller's thread, which is one
/// of them: while it waits for `source`, results wait too. At most `4 * jobs + 1` items and
/// results exist at a time, and no more than `jobs + 25`. `worker` makes a worker, on its thread.
///
/// # Errors
/// The first error of `source`, `worker` or `sink`; results in front of a source's error reach the
/// sink.
pub(crate) fn ordered<T, R, E, W>(
    jobs: NonZeroUsize,
    source: impl FnMut() -> Result<Option<T>, E> + Send,
    worker: impl Fn() -> Result<W, E> + Sync,
    mut sink: impl FnMut(R) -> Result<(), E>,
) -> Result<(), E>
where
    T: Send,
    R: Send,
    E: Send,
    W: FnMut(T) -> R,
{
    let places = jobs.get().saturating_mul(PLACES_PER_JOB);
    let line = Line::new(places.min(jobs.get().saturating_add(MAX_WAITING)));
    let source = Mutex::new(source);
    thread::scope(|scope| {
        // Declared inside the scope: it goes before the scope waits for the workers.
        let _end = Stop(&line);
        for _ in 1..jobs.get() {
            let spawned = thread::Builder::new().spawn_scoped(scope, || {
                let _panic = StopOnPanic(&line);
                let mut work = match worker() {
                    Ok(work) => work,
                    Err(error) => return line.fail(error),
                };
                while line.wait_for_room() {
                    if let Some((place, item)) = next_item(&source, &line) {
                        line.put(place, item.map(&mut work));
                    }
                }
            });
            // The system gives no more threads. The caller's own can do all of the work.
            if spawned.is_err() {
                break;
            }
        }
        let mut work = worker()?;
        loop {
            let result = if let Some(result) = line.take_ready() {
                result
            } else if let Some((place, item)) = next_item(&source, &line) {
                line.put(place, item.map(&mut work));
                continue;
            } else if let Some(result) = line.take() {
                result
            } else {
                return Ok(());
            };
            sink(result?)?;
        }
    })
}

/// The next item or error of the source and its place; `None` when there is no more to do, or
/// no place for it.
fn next_item<T, R, E>(
    source: &Mutex<impl FnMut() -> Result<Option<T>, E>>,
    line: &Line<R, E>,
) -> Option<(usize, Result<T, E>)> {
    // A poisoned lock means that the source has panicked.
    let mut source = source.lock().ok()?;
    // Whoever holds the source is alone in taking places, so places follow the items. Nobody
    // waits for a place while holding it: the caller's thread, which makes room, may want it.
    let place = line.place()?;
    match source() {
        Ok(Some(item)) => Some((place, Ok(item))),
        Ok(None) => {
            line.end_at(place);
            None
        }
        Err(error) => {
            line.end_at(place.wrapping_add(1));
            Some((place, Err(error)))
        }
    }
}

/// Results on their way to the sink.
struct Line<R, E> {
    state: Mutex<State<R, E>>,
    /// The front of the line can be taken, or there is no more.
    ready: Condvar,
    /// A place is free, or none is needed any more.
    free: Condvar,
    places: usize,
}

struct State<R, E> {
    /// Results from number `taken` on; `None` where somebody still works.
    results: VecDeque<Option<Result<R, E>>>,
    /// Results that have left the line. Numbers of places wrap: what counts is how far from
    /// here they are, and that is never further than the line is long.
    taken: usize,
    /// Number of items, once it is known.
    end: Option<usize>,
    /// Nobody takes results, or a worker is gone.
    stopped: bool,
    /// The caller's thread waits for the front of the line.
    awaited: bool,
    /// Workers that wait for a place.
    waiting: usize,
}

impl<R, E> State<R, E> {
    /// Items are wanted.
    fn is_open(&self) -> bool {
        !self.stopped && self.end.is_none()
    }
}

impl<R, E> Line<R, E> {
    fn new(places: usize) -> Self {
        Self {
            state: Mutex::new(State {
                results: VecDeque::with_capacity(places),
                taken: 0,
                end: None,
                stopped: false,
                awaited: false,
                waiting: 0,
            }),
            ready: Condvar::new(),
            free: Condvar::new(),
            places,
        }
    }

    /// Nothing panics while the state is locked, so it is never poisoned.
    fn lock(&self) -> MutexGuard<'_, State<R, E>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a free place; false when no item is wanted any more.
    fn wait_for_room(&self) -> bool {
        let full = |state: &mut State<R, E>| state.is_open() && state.results.len() >= self.places;
        let mut state = self.lock();
        state.waiting = state.waiting.saturating_add(1);
        let waited = self.free.wait_while(state, full);
        let mut state = waited.unwrap_or_else(PoisonError::into_inner);
        state.waiting = state.waiting.saturating_sub(1);
        state.is_open()
    }

    /// A place, if one is free and an item is wanted.
    fn place(&self) -> Option<usize> {
        let mut state = self.lock();
        if !state.is_open() || state.results.len() >= self.places {
            return None;
        }
        let place = state.taken.wrapping_add(state.results.len());
        state.results.push_back(None);
        Some(place)
    }

    /// Fills a place.
    fn put(&self, place: usize, result: Result<R, E>) {
        let mut state = self.lock();
        let index = place.wrapping_sub(state.taken);
        if let Some(slot) = state.results.get_mut(index) {
            *slot = Some(result);
        }
        // Notifying costs a system call, whether somebody waits or not.
        if index == 0 && state.awaited {
            self.ready.notify_one();
        }
    }

    /// There are `items` items and no more: the places after them are given back.
    fn end_at(&self, items: usize) {
        let mut state = self.lock();
        state.end = Some(items);
        let len = items.wrapping_sub(state.taken);
        state.results.truncate(len);
        drop(state);
        self.ready.notify_one();
        self.free.notify_all();
    }

    /// There is an error and no more: results that somebody works on come before it.
    fn fail(&self, error: E) {
        let mut state = self.lock();
        if state.is_open() {
            state.results.push_back(Some(Err(error)));
            state.end = Some(state.taken.wrapping_add(state.results.len()));
        }
        drop(state);
        self.ready.notify_one();
        self.free.notify_all();
    }

    /// Waits for the next result; `None` after the last.
    fn take(&self) -> Option<Result<R, E>> {
        let missing = |state: &mut State<R, E>| {
            !state.stopped
                && state.end != Some(state.taken)
                && !matches!(state.results.front(), Some(Some(_)))
        };
        let mut state = self.lock();
        state.awaited = true;
        let waited = self.ready.wait_while(state, missing);
        let mut state = waited.unwrap_or_else(PoisonError::into_inner);
        state.awaited = false;
        self.take_front(state)
    }

    /// The next result, if it is there.
    fn take_ready(&self) -> Option<Result<R, E>> {
        let state = self.lock();
        matches!(state.results.front(), Some(Some(_)))
            .then(|| self.take_front(state))
            .flatten()
    }

    fn take_front(&self, mut state: MutexGuard<'_, State<R, E>>) -> Option<Result<R, E>> {
        let result = state.results.pop_front()??;
        state.taken = state.taken.wrapping_add(1);
        let awaited = state.waiting > 0;
        drop(state);
        if awaited {
            self.free.notify_one();
        }
        Some(result)
    }

    fn stop(&self) {
        self.lock().stopped = true;
        self.ready.notify_one();
        self.free.notify_all();
    }
}

/// Stops the workers when the caller's thread leaves, however it does.
struct Stop<'a, R, E>(&'a Line<R, E>);

impl<R, E> Drop for Stop<'_, R, E> {
    fn drop(&mut self) {
        self.0.stop();
    }
}

/// Stops everybody when a worker panics: its result will never come. The scope passes the panic
/// on.
struct StopOnPanic<'a, R, E>(&'a Line<R, E>);

impl<R, E> Drop for StopOnPanic<'_, R, E> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.stop();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(jobs: usize, items: u32, fail_at: Option<u32>) -> (Vec<u32>, Result<(), String>) {
        let mut next = 0;
        let mut seen = Vec::new();
        let result = ordered(
            NonZeroUsize::new(jobs).unwrap(),
            || {
                if Some(next) == fail_at {
                    return Err("source".to_owned());
                }
                next += 1;
                Ok((next <= items).then_some(next - 1))
            },
            || {
                Ok(|item: u32| {
                    if item.is_multiple_of(7) {
                        thread::yield_now();
                    }
                    item * 2
                })
            },
            |result| {
                seen.push(result);
                Ok(())
            },
        );
        (seen, result)
    }

    #[test]
    fn results_come_in_order_for_any_number_of_jobs() {
        let expected: Vec<u32> = (0..500).map(|item| item * 2).collect();
        for jobs in [1, 2, 3, 16] {
            assert_eq!(run(jobs, 500, None), (expected.clone(), Ok(())));
            assert_eq!(run(jobs, 0, None), (Vec::new(), Ok(())));
        }
    }

    #[test]
    fn an_error_of_the_source_comes_after_what_was_read_before_it() {
        for jobs in [1, 4] {
            let (seen, result) = run(jobs, 500, Some(100));
            assert_eq!(seen.len(), 100);
            assert_eq!(result, Err("source".to_owned()));
        }
    }

    #[test]
    fn an_error_of_the_sink_stops_the_source() {
        for jobs in [1, 4] {
            let result: Result<(), &str> = ordered(
                NonZeroUsize::new(jobs).unwrap(),
                || Ok(Some(())), // endless
                || Ok(|()| ()),
                |()| Err("sink"),
            );
            assert_eq!(result, Err("sink"));
        }
    }

    /// On the caller's thread, on the others, and on all of them.
    #[test]
    fn an_error_of_a_worker_s_making_comes_out() {
        let caller = thread::current().id();
        for (jobs, on_caller, elsewhere) in [
            (1, true, false),
            (3, true, false),
            (3, false, true),
            (3, true, true),
        ] {
            let mut left = 10_000_u32;
            let result: Result<(), &str> = ordered(
                NonZeroUsize::new(jobs).unwrap(),
                || {
                    left -= 1;
                    // Long enough for every worker to be made.
                    thread::sleep(std::time::Duration::from_micros(100));
                    Ok((left > 0).then_some(()))
                },
                || {
                    let fails = if thread::current().id() == caller {
                        on_caller
                    } else {
                        elsewhere
                    };
                    if fails { Err("worker") } else { Ok(|()| ()) }
                },
                |()| Ok(()),
            );
            assert_eq!(result, Err("worker"), "{jobs} {on_caller} {elsewhere}");
        }
    }

    #[test]
    fn at_most_four_items_a_job_and_one_exist() {
        assert!(most_items_at_a_time(3) <= 3 * PLACES_PER_JOB + 1);
        assert!(most_items_at_a_time(40) <= 40 + MAX_WAITING + 1);
    }

    fn most_items_at_a_time(jobs: usize) -> usize {
        use std::sync::atomic::{AtomicUsize, Ordering};
        let (alive, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let mut left = 1000;
        let result: Result<(), ()> = ordered(
            NonZeroUsize::new(jobs).unwrap(),
            || {
                left -= 1;
                if left == 0 {
                    return Ok(None);
                }
                most.fetch_max(alive.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                Ok(Some(()))
            },
            || Ok(|()| ()),
            |()| {
                thread::yield_now();
                alive.fetch_sub(1, Ordering::SeqCst);
                Ok(())
            },
        );
        assert_eq!(result, Ok(()));
        most.into_inner()
    }

    /// The queue fills up again and again, while nobody but the caller makes room.
    #[test]
    fn a_slow_item_stops_nobody_for_good() {
        for jobs in [2, 3] {
            let (mut left, mut seen) = (200_u32, 0);
            let result: Result<(), ()> = ordered(
                NonZeroUsize::new(jobs).unwrap(),
                || {
                    left = left.saturating_sub(1);
                    Ok((left > 0).then_some(left))
                },
                || {
                    Ok(|item: u32| {
                        if item.is_multiple_of(20) {
                            thread::sleep(std::time::Duration::from_millis(5));
                        }
                    })
                },
                |()| {
                    seen += 1;
                    Ok(())
                },
            );
            assert_eq!((result, seen), (Ok(()), 199));
        }
    }

    /// While the caller's thread is busy the line fills up and the worker goes to sleep.
    #[test]
    fn a_worker_that_waited_for_room_works_again() {
        let caller = thread::current().id();
        let first = std::sync::atomic::AtomicBool::new(true);
        let (mut next, mut late) = (0_usize, Vec::new());
        let result: Result<(), ()> = ordered(
            NonZeroUsize::new(2).unwrap(),
            || {
                next += 1;
                Ok((next < 100).then_some(next))
            },
            || {
                Ok(|item: usize| {
                    let here = thread::current().id();
                    let busy =
                        here == caller && first.swap(false, std::sync::atomic::Ordering::Relaxed);
                    thread::sleep(std::time::Duration::from_millis(if busy { 100 } else { 1 }));
                    (item, here)
                })
            },
            |(item, thread)| {
                if item > 3 * PLACES_PER_JOB {
                    late.push(thread);
                }
                Ok(())
            },
        );
        assert_eq!(result, Ok(()));
        assert!(late.iter().any(|thread| *thread != caller));
    }

    #[test]
    fn the_caller_is_one_of_the_workers() {
        for jobs in [1, 2, 4] {
            let mut left = 400_u32;
            let mut threads = std::collections::HashSet::new();
            let result: Result<(), ()> = ordered(
                NonZeroUsize::new(jobs).unwrap(),
                || {
                    left -= 1;
                    Ok((left > 0).then_some(()))
                },
                || {
                    Ok(|()| {
                        thread::sleep(std::time::Duration::from_micros(200));
                        thread::current().id()
                    })
                },
                |id| {
                    threads.insert(id);
                    Ok(())
                },
            );
            assert_eq!(result, Ok(()));
            assert!(threads.contains(&thread::current().id()));
            assert!(threads.len() <= jobs, "{threads:?} for {jobs} jobs");
        }
    }

    #[test]
    fn a_panic_anywhere_ends_everything_and_comes_out() {
        for place in ["source", "worker", "sink"] {
            let ended = std::panic::catch_unwind(|| {
                let mut item = 0;
                let hit = |item: u32, at: &str| assert!(item < 50 || at != place, "as wanted");
                ordered(
                    NonZeroUsize::new(3).unwrap(),
                    || {
                        item += 1;
                        hit(item, "source");
                        Ok::<_, ()>(Some(item)) // endless
                    },
                    || {
                        Ok(|item| {
                            hit(item, "worker");
                            item
                        })
                    },
                    |item| {
                        hit(item, "sink");
                        Ok(())
                    },
                )
            });
            assert!(ended.is_err(), "{place}");
        }
    }
}
