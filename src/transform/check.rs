//! Judging a whole stream.
//!
//! One thread reads and follows the commands, the workers look at every attribute and judge
//! the payloads, the caller's thread hands the findings on in the order of the stream.

use std::io::Read;
use std::num::NonZeroUsize;

use super::error::TransformError;
use super::finding::StreamFinding;
use super::order::{MAX_NAMES, Order};
use super::parents::Parents;
use super::payload;
use super::source::BATCH_LEN;
use crate::pipeline;
use crate::rules::Target;
use crate::rules::sums::add;
use crate::send_stream::command::EncodedWrite;
use crate::send_stream::{Command, RawCommand, ReadError, Reader};
use crate::validate::Severity;

/// How to judge a stream.
#[derive(Debug, Clone)]
pub struct CheckOptions {
    /// The filesystem that is to receive it.
    pub target: Target,
    /// Names that are remembered, at some 70 bytes each, those of the parents and of all streams
    /// of the input together; where there are more, the check of paths stops with a note.
    pub max_names: usize,
    /// Subvolumes that are there when the stream is received.
    pub parents: Parents,
}

impl Default for CheckOptions {
    fn default() -> Self {
        Self {
            target: Target::default(),
            max_names: MAX_NAMES,
            parents: Parents::default(),
        }
    }
}

/// Sums of a check.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CheckSummary {
    /// Streams that have begun.
    pub streams: u64,
    /// Whole commands.
    pub commands: u64,
    /// Bytes up to the end of the last whole command.
    pub whole_bytes: u64,
    /// Encoded writes.
    pub payloads: u64,
    /// Bytes of their payloads.
    pub payload_bytes: u64,
    /// Findings that are errors.
    pub errors: u64,
    /// Warnings.
    pub warnings: u64,
    /// Notes.
    pub notes: u64,
}

impl CheckSummary {
    /// True without an error among the findings.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.errors == 0
    }
}

/// Commands on their way to a worker.
#[derive(Default)]
struct Batch {
    commands: Vec<(RawCommand, Option<Payload>)>,
    bytes: usize,
    /// What following the commands has found.
    order: Vec<StreamFinding>,
}

/// An encoded write to be judged, and the size its file has by then.
struct Payload {
    write: EncodedWrite,
    file_size: u64,
}

/// What a worker has found.
struct Judged {
    findings: Vec<StreamFinding>,
    summary: CheckSummary,
}

/// Judges an input: one stream or several. Every finding is handed to `report`, in the order of
/// the stream; a damaged one is read as far as its framing holds.
///
/// # Errors
/// [`TransformError::Read`] when the input itself fails. Everything that is wrong with a stream
/// is a finding.
pub fn check(
    input: impl Read + Send,
    options: &CheckOptions,
    jobs: NonZeroUsize,
    mut report: impl FnMut(&StreamFinding),
) -> Result<CheckSummary, TransformError> {
    let mut source = Source {
        reader: Reader::new(input),
        order: Order::new(
            options.parents.subvolumes(),
            options.target,
            options.max_names,
        ),
        error: None,
    };
    let mut summary = CheckSummary::default();
    let read = pipeline::ordered(
        jobs,
        || source.next(),
        || Ok(|batch| judge(batch, &options.target)),
        |judged: Judged| {
            for finding in &judged.findings {
                summary.count(finding);
                report(finding);
            }
            summary.add(&judged.summary);
            Ok(())
        },
    );
    if let Err(error) = read {
        let Some(finding) = StreamFinding::of_end(&error, summary.commands) else {
            return Err(error.into());
        };
        summary.count(&finding);
        report(&finding);
    }
    Ok(summary)
}

impl CheckSummary {
    fn count(&mut self, finding: &StreamFinding) {
        let sum = match finding.severity {
            Severity::Error => &mut self.errors,
            Severity::Warning => &mut self.warnings,
            Severity::Note => &mut self.notes,
        };
        add(sum, 1);
    }

    fn add(&mut self, part: &Self) {
        self.streams = self.streams.max(part.streams);
        add(&mut self.commands, part.commands);
        self.whole_bytes = self.whole_bytes.max(part.whole_bytes);
        add(&mut self.payloads, part.payloads);
        add(&mut self.payload_bytes, part.payload_bytes);
    }
}

/// Reads commands, follows their order, gathers batches.
struct Source<R> {
    reader: Reader<R>,
    order: Order,
    /// What ended the reading, kept until the batch before it is on its way.
    error: Option<ReadError>,
}

impl<R: Read> Source<R> {
    fn next(&mut self) -> Result<Option<Batch>, ReadError> {
        if let Some(error) = self.error.take() {
            return Err(error);
        }
        let mut batch = Batch::default();
        while batch.bytes < BATCH_LEN {
            match self.reader.read_command() {
                Ok(Some(raw)) => self.take(raw, &mut batch),
                Ok(None) => break,
                Err(error) if batch.commands.is_empty() => return Err(error),
                Err(error) => {
                    self.error = Some(error);
                    break;
                }
            }
        }
        Ok((!batch.commands.is_empty()).then_some(batch))
    }

    fn take(&mut self, raw: RawCommand, batch: &mut Batch) {
        batch.bytes = batch.bytes.saturating_add(raw.bytes().len());
        let command = Command::parse(&raw).ok();
        // A damaged command moves nothing, but its payload is looked at: it shows where the
        // damage is.
        let file_size = match &command {
            Some(command) if raw.crc_ok() => self.order.follow(&raw, command, &mut batch.order),
            _ => {
                self.order.lost();
                0
            }
        };
        let payload = match command {
            Some(Command::EncodedWrite(write)) => Some(Payload { write, file_size }),
            _ => None,
        };
        batch.commands.push((raw, payload));
    }
}

/// Looks at every command of a batch.
fn judge(batch: Batch, target: &Target) -> Judged {
    let mut findings = Vec::new();
    let mut summary = CheckSummary::default();
    let mut order = batch.order.into_iter().peekable();
    for (raw, payload) in &batch.commands {
        summary.streams = raw.stream().saturating_add(1);
        add(&mut summary.commands, 1);
        summary.whole_bytes = raw.offset().saturating_add(raw.bytes().len() as u64);
        if raw.crc_ok() {
            findings.extend(raw.issues().map(|i| StreamFinding::of_issue(raw, &i)));
        } else {
            // The rest of a damaged command says nothing.
            let framing = raw.issues().take_while(|issue| {
                use crate::send_stream::Issue;
                matches!(
                    issue,
                    Issue::Checksum { .. }
                        | Issue::HeaderWithoutEnd { .. }
                        | Issue::CommandAfterEnd { .. }
                )
            });
            findings.extend(framing.map(|i| StreamFinding::of_issue(raw, &i)));
        }
        findings.extend(std::iter::from_fn(|| {
            order.next_if(|finding| finding.command == raw.index())
        }));
        if let Some(Payload { write, file_size }) = payload {
            add(&mut summary.payloads, 1);
            add(&mut summary.payload_bytes, write.data.len() as u64);
            let target = Target {
                file_size: *file_size,
                ..*target
            };
            let found = payload::judge(write, &target);
            findings.extend(found.iter().map(|f| StreamFinding::of_payload(raw, f)));
        }
    }
    Judged { findings, summary }
}
