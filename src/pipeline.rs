//! Work on many threads, results in order, memory bounded.

use std::num::NonZeroUsize;
use std::thread;

use crossbeam_channel::{Receiver, Sender, bounded};

/// Items that may wait between two stages, for each worker. Two keep a worker busy while the
/// next item is read and the last one is written.
const QUEUE_PER_JOB: usize = 2;

/// Hands every item of `source` to one of `jobs` workers and the results to `sink`, in the
/// order of the items, whatever the number of workers.
///
/// `source` runs on a thread of its own, `sink` on the caller's. At most
/// `2 * QUEUE_PER_JOB * jobs + 2` items exist at a time. With one job everything runs on the
/// caller's thread.
///
/// # Errors
/// The first error of `source` or `sink`; results in front of a source's error reach the sink.
pub(crate) fn ordered<T, R, E, W>(
    jobs: NonZeroUsize,
    mut source: impl FnMut() -> Result<Option<T>, E> + Send,
    worker: impl Fn() -> W + Sync,
    mut sink: impl FnMut(R) -> Result<(), E>,
) -> Result<(), E>
where
    T: Send,
    R: Send,
    E: Send,
    W: FnMut(T) -> R,
{
    if jobs.get() == 1 {
        let mut work = worker();
        while let Some(item) = source()? {
            sink(work(item))?;
        }
        return Ok(());
    }
    let depth = jobs.get().saturating_mul(QUEUE_PER_JOB);
    thread::scope(|scope| {
        let (work_in, work_out) = bounded::<(T, Sender<R>)>(depth);
        let (turn_in, turn_out) = bounded::<Result<Receiver<R>, E>>(depth);
        for _ in 0..jobs.get() {
            let work_out = work_out.clone();
            let worker = &worker;
            scope.spawn(move || {
                let mut work = worker();
                for (item, result) in work_out {
                    // The sink has stopped when nobody takes the result.
                    let _ = result.send(work(item));
                }
            });
        }
        drop(work_out);
        scope.spawn(move || {
            loop {
                let (result_in, result_out) = bounded(1);
                let turn = match source() {
                    Ok(Some(item)) => {
                        if work_in.send((item, result_in)).is_err() {
                            return;
                        }
                        Ok(result_out)
                    }
                    Ok(None) => return,
                    Err(error) => Err(error),
                };
                let last = turn.is_err();
                if turn_in.send(turn).is_err() || last {
                    return;
                }
            }
        });
        for turn in turn_out {
            // A worker that panicked sends nothing; the scope passes its panic on.
            let Ok(result) = turn?.recv() else { break };
            sink(result)?;
        }
        Ok(())
    })
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
                |item: u32| {
                    if item.is_multiple_of(7) {
                        thread::yield_now();
                    }
                    item * 2
                }
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
                || |()| (),
                |()| Err("sink"),
            );
            assert_eq!(result, Err("sink"));
        }
    }
}
