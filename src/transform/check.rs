//! Judging a whole stream.
//!
//! One thread reads and follows the commands, the workers look at every attribute and judge
//! the payloads, the caller's thread hands the findings on in the order of the stream.

use std::io::Read;
use std::num::NonZeroUsize;

use super::error::TransformError;
use super::finding::{MAX_PER_COMMAND, StreamFinding, Subject, issue_code};
use super::order::Order;
use super::parents::{MAX_NAMES, Parents};
use super::payload;
use super::source::BATCH_LEN;
use crate::pipeline;
use crate::rules::limits::u64_of;
use crate::rules::sums::add;
use crate::rules::{Codec, Target};
use crate::send_stream::command::EncodedWrite;
use crate::send_stream::{Command, IntoReader, Issue, RawCommand, ReadError, Reader};
use crate::validate::{Report, Severity};

/// Memory that a name takes at the most, bytes: an entry, its node and the room that their tables
/// keep free (139 were measured with four million names).
pub const BYTES_PER_NAME: u64 = 144;

/// How to judge a stream.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct CheckOptions {
    /// The filesystem that is to receive it.
    pub target: Target,
    /// Names that are remembered, at [`BYTES_PER_NAME`] each, those of the parents and of all
    /// streams of the input together; where there are more, the check of paths stops with a note.
    /// Memory is only taken for names that come.
    pub max_names: usize,
    /// Subvolumes that are there when the stream is received.
    pub parents: Parents,
    /// The parents, and what is in the input, are all that the receiver has: an increment whose
    /// parent is not there or has changed, and a clone from what is not there, are errors.
    pub chain: bool,
    /// Findings of one command that are reported; the others are counted. Where some of a command
    /// are errors, one of those reported is.
    pub max_findings_per_command: usize,
}

impl Default for CheckOptions {
    fn default() -> Self {
        Self {
            target: Target::default(),
            max_names: MAX_NAMES,
            parents: Parents::default(),
            chain: false,
            max_findings_per_command: MAX_PER_COMMAND,
        }
    }
}

/// Sums over data of one kind. Lengths are bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Carried {
    /// Data of files, as far as they show it.
    pub data: u64,
    /// Data or payload in the stream, padding included.
    pub payload: u64,
}

/// What a stream carries, by what it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CarriedBy {
    /// Plain data.
    pub plain: Carried,
    /// Payloads of zlib.
    pub zlib: Carried,
    /// Payloads of LZO.
    pub lzo: Carried,
    /// Payloads of zstd.
    pub zstd: Carried,
    /// Payloads of types without a meaning.
    pub unknown: Carried,
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
    /// Data and payloads of all whole writes.
    pub carried: CarriedBy,
    /// Findings that are errors.
    pub errors: u64,
    /// Warnings.
    pub warnings: u64,
    /// Notes.
    pub notes: u64,
    /// Findings among them that were not reported, as their command had too many.
    pub not_reported: u64,
    /// There were more names than [`CheckOptions::max_names`]: from some command on paths were not
    /// followed.
    pub names_exceeded: bool,
}

impl CheckSummary {
    /// True without an error among the findings.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.errors == 0
    }
}

impl Carried {
    fn add(&mut self, data: u64, payload: u64) {
        add(&mut self.data, data);
        add(&mut self.payload, payload);
    }
}

impl CarriedBy {
    fn of(&mut self, codec: Option<Codec>) -> &mut Carried {
        match codec {
            Some(Codec::Zlib) => &mut self.zlib,
            Some(Codec::Lzo) => &mut self.lzo,
            Some(Codec::Zstd) => &mut self.zstd,
            None => &mut self.unknown,
        }
    }

    /// Adds what another input carries.
    pub fn add(&mut self, other: &Self) {
        let Self {
            plain,
            zlib,
            lzo,
            zstd,
            unknown,
        } = other;
        self.plain.add(plain.data, plain.payload);
        self.zlib.add(zlib.data, zlib.payload);
        self.lzo.add(lzo.data, lzo.payload);
        self.zstd.add(zstd.data, zstd.payload);
        self.unknown.add(unknown.data, unknown.payload);
    }
}

/// Commands on their way to a worker.
#[derive(Default)]
struct Batch {
    steps: Vec<Step>,
    bytes: usize,
    /// What following the commands has found.
    order: Vec<StreamFinding>,
}

/// A part of a batch.
enum Step {
    /// A command, and its payload or the bytes of its data if it has any.
    Command(RawCommand, Content),
    /// What is not about one command.
    Finding(StreamFinding),
}

/// What a command carries.
enum Content {
    Payload(Payload),
    Plain(u64),
    Nothing,
}

/// An encoded write to be judged, and the size its file has by then.
struct Payload {
    write: EncodedWrite,
    file_size: u64,
}

/// What a worker has found.
#[derive(Default)]
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
    input: impl IntoReader<Input: Send>,
    options: &CheckOptions,
    jobs: NonZeroUsize,
    report: impl FnMut(&StreamFinding),
) -> Result<CheckSummary, TransformError> {
    check_and_keep(input, options, jobs, report).map(|(summary, _)| summary)
}

/// Like [`check`]. Also returns what the receiver has by then: the parents of the next stream of a
/// chain.
///
/// # Errors
/// As [`check`].
pub fn check_and_keep(
    input: impl IntoReader<Input: Send>,
    options: &CheckOptions,
    jobs: NonZeroUsize,
    mut report: impl FnMut(&StreamFinding),
) -> Result<(CheckSummary, Parents), TransformError> {
    let mut source = Source {
        reader: input.into_reader(),
        order: Order::new(
            options.parents.subvolumes(),
            options.target,
            options.max_names,
        )
        .chain(options.chain),
    };
    let mut summary = CheckSummary::default();
    pipeline::ordered(
        jobs,
        || source.next(),
        || Ok(|batch| judge(batch, options)),
        |judged: Judged| {
            judged.findings.iter().for_each(&mut report);
            summary.add(&judged.summary);
            Ok::<_, ReadError>(())
        },
    )?;
    Ok((summary, Parents::of(source.order)))
}

impl CheckSummary {
    fn count(&mut self, severity: Severity, number: u64) {
        let sum = match severity {
            Severity::Error => &mut self.errors,
            Severity::Warning => &mut self.warnings,
            Severity::Note => &mut self.notes,
        };
        add(sum, number);
    }

    fn add(&mut self, part: &Self) {
        self.streams = self.streams.max(part.streams);
        add(&mut self.commands, part.commands);
        self.whole_bytes = self.whole_bytes.max(part.whole_bytes);
        add(&mut self.payloads, part.payloads);
        add(&mut self.payload_bytes, part.payload_bytes);
        self.carried.add(&part.carried);
        add(&mut self.errors, part.errors);
        add(&mut self.warnings, part.warnings);
        add(&mut self.notes, part.notes);
        add(&mut self.not_reported, part.not_reported);
        self.names_exceeded |= part.names_exceeded;
    }
}

/// Reads commands, follows their order, gathers batches.
struct Source<R> {
    reader: Reader<R>,
    order: Order,
}

/// What a finding that is not about one command counts for in a batch, bytes.
const FINDING_LEN: usize = 512;

impl<R: Read> Source<R> {
    /// # Errors
    /// [`ReadError::Io`].
    fn next(&mut self) -> Result<Option<Batch>, ReadError> {
        let mut batch = Batch::default();
        while batch.bytes < BATCH_LEN {
            match self.reader.read_command() {
                Ok(Some(raw)) => {
                    let is_damaged = !raw.crc_ok();
                    let starts_again = is_damaged && self.reader.resync_inside(&raw)?;
                    self.take(raw, &mut batch);
                    if starts_again {
                        self.found_stream(&mut batch);
                    }
                }
                Ok(None) => break,
                Err(error) => {
                    let Some(finding) = StreamFinding::of_end(&error, self.reader.commands())
                    else {
                        return Err(error);
                    };
                    batch.add(finding);
                    self.order.lost();
                    // What looks like a header in a compressed stream is none.
                    if error.is_of_compressed_input() || self.reader.resync()?.is_none() {
                        break;
                    }
                    self.found_stream(&mut batch);
                }
            }
        }
        Ok((!batch.steps.is_empty()).then_some(batch))
    }

    /// After damage the reader stands at the header of another stream.
    fn found_stream(&self, batch: &mut Batch) {
        let (offset, commands) = (self.reader.offset(), self.reader.commands());
        batch.add(StreamFinding::of_header(offset, commands));
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
        let content = match command {
            Some(Command::EncodedWrite(write)) => Content::Payload(Payload { write, file_size }),
            Some(Command::Write(write)) => Content::Plain(u64_of(write.data.len())),
            _ => Content::Nothing,
        };
        batch.steps.push(Step::Command(raw, content));
    }
}

impl Batch {
    fn add(&mut self, finding: StreamFinding) {
        self.bytes = self.bytes.saturating_add(FINDING_LEN);
        self.steps.push(Step::Finding(finding));
    }
}

/// The findings of one command: all are counted, some are kept.
struct Found<'a> {
    raw: &'a RawCommand,
    /// Looked up for the first finding.
    subject: Option<Subject>,
    /// How many more are kept.
    room: usize,
    /// One of those kept is an error.
    has_error: bool,
    judged: &'a mut Judged,
}

impl<'a> Found<'a> {
    fn new(raw: &'a RawCommand, room: usize, judged: &'a mut Judged) -> Self {
        Self {
            raw,
            subject: None,
            room: room.max(1),
            has_error: false,
            judged,
        }
    }

    fn add(&mut self, severity: Severity, finding: impl FnOnce(&Subject) -> StreamFinding) {
        self.judged.summary.count(severity, 1);
        let is_error = severity == Severity::Error;
        let replaces_last = self.room == 0 && is_error && !self.has_error;
        if self.room == 0 && !replaces_last {
            add(&mut self.judged.summary.not_reported, 1);
            return;
        }
        let subject = self.subject.get_or_insert_with(|| Subject::of(self.raw));
        let finding = finding(subject);
        if replaces_last {
            self.judged.findings.pop();
            add(&mut self.judged.summary.not_reported, 1);
        }
        self.judged.findings.push(finding);
        self.room = self.room.saturating_sub(1);
        self.has_error |= is_error;
    }

    /// What a report has counted and not kept.
    fn left_out(&mut self, report: &Report) {
        for severity in [Severity::Error, Severity::Warning, Severity::Note] {
            let kept = report.findings().iter().filter(|f| f.severity == severity);
            let left_out = report.count(severity).saturating_sub(u64_of(kept.count()));
            self.judged.summary.count(severity, left_out);
            add(&mut self.judged.summary.not_reported, left_out);
        }
    }
}

/// Looks at every command of a batch.
fn judge(batch: Batch, options: &CheckOptions) -> Judged {
    let mut judged = Judged::default();
    let mut order = batch.order.into_iter().peekable();
    for step in batch.steps {
        let (raw, content) = match step {
            Step::Command(raw, content) => (raw, content),
            Step::Finding(finding) => {
                judged.summary.count(finding.severity, 1);
                judged.findings.push(finding);
                continue;
            }
        };
        let summary = &mut judged.summary;
        summary.streams = raw.stream().saturating_add(1);
        add(&mut summary.commands, 1);
        summary.whole_bytes = raw.offset().saturating_add(u64_of(raw.bytes().len()));
        match &content {
            Content::Payload(Payload { write, .. }) => {
                let payload = u64_of(write.data.len());
                add(&mut summary.payloads, 1);
                add(&mut summary.payload_bytes, payload);
                let fields = write.fields();
                let carried = summary.carried.of(fields.codec());
                carried.add(fields.len, payload);
            }
            Content::Plain(len) => summary.carried.plain.add(*len, *len),
            Content::Nothing => {}
        }
        let mut found = Found::new(&raw, options.max_findings_per_command, &mut judged);
        // The rest of a damaged command says nothing.
        let is_whole = raw.crc_ok();
        let issues = raw
            .issues()
            .take_while(|issue| is_whole || is_framing(issue));
        let (len, usual) = (raw.bytes().len(), raw.version().max_command_len());
        if len > usual {
            found.add(Severity::Note, |subject| {
                let message = format!("a command of {len} bytes; kernels make at most {usual}");
                subject.finding("large-command", Severity::Note, message)
            });
        }
        for issue in issues {
            let (code, severity) = issue_code(&issue);
            found.add(severity, |subject| {
                subject.finding(code, severity, issue.to_string())
            });
        }
        while let Some(finding) = order.next_if(|finding| finding.command == raw.index()) {
            found.judged.summary.names_exceeded |= finding.code == "order-unchecked";
            found.add(finding.severity, |_| finding);
        }
        if let Content::Payload(Payload { write, file_size }) = &content {
            let target = Target {
                file_size: *file_size,
                ..options.target
            };
            let report = payload::judge(write, &target);
            for finding in report.findings() {
                found.add(finding.severity, |subject| {
                    StreamFinding::of_payload(subject, finding)
                });
            }
            found.left_out(&report);
        }
    }
    judged
}

/// True for what is not about the attributes.
fn is_framing(issue: &Issue) -> bool {
    matches!(
        issue,
        Issue::Checksum { .. } | Issue::HeaderWithoutEnd { .. } | Issue::CommandAfterEnd { .. }
    )
}
