//! Steps on their way to the threads, in batches.

use std::io::Write;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use super::error::PackError;
use super::options::Options;
use super::work::{Step, Worker};
use super::write::Sink;
use crate::MAX_EXTENT;
use crate::pipeline;
use crate::prepare::Preparer;

/// Steps of a batch, and bytes of data: enough that handing it over costs little beside the work.
const MAX_STEPS: usize = 512;
const MAX_WEIGHT: usize = 2 * MAX_EXTENT;

/// Batches that wait for a thread, beside those that threads have.
const WAITING: usize = 2;

/// Where batches go, and the thread that hands them on to others.
type Line<W> = (
    SyncSender<Vec<Step>>,
    JoinHandle<Result<Sink<W>, PackError>>,
);

/// The way to the threads.
#[derive(Debug)]
pub(super) struct Queue<W> {
    batch: Vec<Step>,
    /// What the batch holds, bytes.
    weight: usize,
    /// `None` once the work has ended.
    line: Option<Line<W>>,
}

impl<W: Write + Send + 'static> Queue<W> {
    /// Starts the threads.
    pub(super) fn start(sink: Sink<W>, options: &Options) -> Result<Self, PackError> {
        let (sender, receiver) = sync_channel::<Vec<Step>>(WAITING);
        let (extents, jobs) = (options.extents.clone(), options.jobs);
        let (plain, dedupe) = (options.plain, options.dedupe);
        let run = move || {
            let mut sink = sink;
            let worker = || {
                let preparer = (!plain).then(|| Preparer::new(&extents)).transpose()?;
                let mut worker = Worker {
                    preparer,
                    target: extents.target,
                    dedupe,
                    last_read: None,
                };
                Ok(move |steps| worker.work(steps))
            };
            // A sender that is gone has sent the end before, or has given up.
            let source = move || Ok(receiver.recv().ok());
            pipeline::ordered(jobs, source, worker, |done| sink.take(done?))?;
            Ok(sink)
        };
        let thread = thread::Builder::new()
            .name("pack".to_owned())
            .spawn(run)
            .map_err(PackError::Thread)?;
        Ok(Self {
            batch: Vec::new(),
            weight: 0,
            line: Some((sender, thread)),
        })
    }

    /// Takes a step that holds so many bytes.
    pub(super) fn push(&mut self, step: Step, weight: usize) -> Result<(), PackError> {
        self.batch.push(step);
        self.weight = self.weight.saturating_add(weight);
        if self.weight >= MAX_WEIGHT || self.batch.len() >= MAX_STEPS {
            self.send()?;
        }
        Ok(())
    }

    fn send(&mut self) -> Result<(), PackError> {
        let batch = std::mem::take(&mut self.batch);
        self.weight = 0;
        let Some((sender, _)) = &self.line else {
            return Err(PackError::Failed);
        };
        match sender.send(batch) {
            Ok(()) => Ok(()),
            // The threads have ended, so there is an error.
            Err(_) => Err(self.join().err().unwrap_or(PackError::Failed)),
        }
    }

    /// Sends what is left and waits for the threads.
    pub(super) fn finish(mut self) -> Result<Sink<W>, PackError> {
        self.push(Step::End, 0)?;
        self.send()?;
        self.join().and_then(|sink| {
            if sink.complete {
                Ok(sink)
            } else {
                Err(PackError::Failed)
            }
        })
    }

    fn join(&mut self) -> Result<Sink<W>, PackError> {
        let (sender, thread) = self.line.take().ok_or(PackError::Failed)?;
        drop(sender);
        match thread.join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
}
