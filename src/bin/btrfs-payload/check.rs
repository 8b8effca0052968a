//! `check`: judges payloads, wherever they are.

mod manifest;

use std::fs::File;
use std::io::{Read, Seek};
use std::ops::Range;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use btrfs_payload::extent::{ClaimedExtent, Content};
use btrfs_payload::ioctl::{self, ProbeError, ReadError};
use btrfs_payload::rules::{ExtentFields, Target, limits};
use btrfs_payload::send_stream::{self, Foreign, ReadError as StreamError};
use btrfs_payload::transform::CheckOptions;
use btrfs_payload::validate::{
    Finding, Outcome, Severity, predict, predict_all, validate, validate_on_disk,
};
use serde::Serialize;

use crate::Verdict;
use crate::about::{about, bail_about};
use crate::args::{all_cores, cannot_read, open_with_writer, payload_in};
use crate::beside::{Beside, Claim};
use crate::claims::Claims;
use crate::explain::{Explain, with_sound};
use crate::inputs::{self, JUDGED, Named, Recursive, Tally};
use crate::kernels::{self, Which};
use crate::output::{Output, add, count, input_name, remark, shown};
use crate::progress::progress;
use crate::quota::{FindingLimit, Quota, not_printed};
use crate::stream::check_stream;
use crate::words::words;

#[derive(Debug, clap::Args)]
#[command(override_usage = USAGE, after_help = with_sound(AFTER_HELP))]
pub(crate) struct Args {
    /// Manifests, send streams, files on btrfs, or with --codec and --unencoded-len one payload;
    /// `-` for a stream or a payload on standard input
    #[arg(required_unless_present = "explain")]
    inputs: Vec<PathBuf>,

    #[command(flatten)]
    recursive: Recursive,

    #[command(flatten)]
    claims: Claims,

    /// Say also what this kernel does: a release (6.8.12, 6.1.0-50-amd64), a line (6.18), the
    /// running one, or all together; the verdict stays that of all
    #[arg(short, long, value_name = "RELEASE|running|all", help_heading = "Kernels",
          hide_possible_values = true,
          value_parser = words(str::parse::<Which>, kernels::names_and_all))]
    kernel: Vec<Which>,

    #[command(flatten)]
    limit: FindingLimit,

    #[command(flatten)]
    explain: Explain,
}

/// What every send stream starts with.
const STREAM_START: &[u8; 13] = b"btrfs-stream\0";

const USAGE: &str = "\
btrfs-payload check [OPTIONS] <INPUTS>...
       btrfs-payload check --explain [CODE]";

const AFTER_HELP: &str = "\
Examples:
  btrfs-payload check extents/manifest.jsonl
  btrfs-payload check /mnt/compressed/file
  btrfs-payload check extents/000000000000.zstd --kernel all
  btrfs-payload check a.lzo --codec lzo --unencoded-len 128K
  btrfs-payload check -r /mnt/compressed /backup/streams
  btrfs-payload check --explain lzo-header-straddles

Exit status:
  0  every payload is sound
  1  a payload is not sound, or what is around it: a manifest, a stream, an unreadable extent
  2  wrong usage, or an input cannot be read; the other inputs are judged all the same, but none
     of their faults changes the status";

pub(crate) fn run(args: &Args, output: &mut Output) -> Result<Verdict> {
    if let Some(done) = args.explain.run(output) {
        return done;
    }
    for which in &args.kernel {
        if let Which::One(kernels::Named {
            note: Some(note), ..
        }) = which
        {
            remark(format_args!("{note}"));
        }
    }
    output.outlive_reader();
    let mut check = Check {
        output,
        kernels: &args.kernel,
        quota: args.limit.quota(),
        verdict: Verdict::Sound,
        extents: 0,
        plain: 0,
        unsound: 0,
        other_errors: 0,
        payload_bytes: 0,
        is_stream: false,
        beside: Beside::default(),
    };
    if args.claims.are_given() {
        let [input] = args.inputs.as_slice() else {
            bail!("--codec and --unencoded-len describe one payload; one input is expected");
        };
        let payload = payload_in(&open_with_writer(input)?, input)?;
        let (fields, target) = args.claims.of(input, &payload)?;
        check.start();
        check.quota = check.quota.for_one_payload();
        check.payload(input, &payload, &fields, &target)?;
        check.end(input)?;
        return Ok(check.verdict);
    }
    let mut tally = Tally::new(JUDGED);
    for input in args.recursive.inputs(&args.inputs, inputs::manifest_in) {
        check.start();
        let judged = input.and_then(|Named { path, found, .. }| {
            let holds_extents = check.input(&path, found, &args.claims)?;
            if holds_extents {
                check.end(&path)?;
            }
            Ok(holds_extents.then_some(check.verdict))
        });
        tally.add(judged, check.output)?;
    }
    tally.print("", check.output)?;
    Ok(tally.verdict())
}

/// The work and what it has found in the present input.
struct Check<'a> {
    output: &'a mut Output,
    kernels: &'a [Which],
    quota: Quota,
    verdict: Verdict,
    extents: u64,
    /// Extents that are not compressed.
    plain: u64,
    unsound: u64,
    /// Errors that are not of a payload.
    other_errors: u64,
    payload_bytes: u64,
    /// The input is a send stream, which has sums of its own.
    is_stream: bool,
    beside: Beside,
}

/// The compressor whose files begin as payloads do.
const COMPRESSED_AS_PAYLOADS: &str = "zstd";

/// The next bytes of an input, as many as tell what it was.
fn start_of(input: impl Read) -> std::io::Result<Vec<u8>> {
    const ENOUGH: u64 = 1 << 20;
    let mut start = Vec::new();
    input.take(ENOUGH).read_to_end(&mut start)?;
    Ok(start)
}

/// True for what is no stream any more, or not yet: nothing, less than a header, a compressed
/// file, text in front of a stream. The check of streams says so. What may as well be a payload,
/// a short zstd frame, is left out.
fn was_stream(start: &[u8]) -> bool {
    match send_stream::Reader::new(start).read_command() {
        Err(StreamError::Empty | StreamError::Truncated { .. }) => true,
        Err(StreamError::NotASendStream { found, .. }) => {
            let may_be_payload = found == Foreign::Compressed(COMPRESSED_AS_PAYLOADS)
                && start.len() as u64 <= limits::MAX_EXTENT;
            matches!(found, Foreign::Compressed(_) | Foreign::HeaderAt(_)) && !may_be_payload
        }
        _ => false,
    }
}

/// Where in an input a finding is.
#[derive(Debug, Default, Clone, Copy)]
struct Place {
    /// Line of a manifest, from 1.
    line: Option<u64>,
    /// Offset of the extent in its file; `None` for a payload on its own.
    extent: Option<u64>,
}

impl Place {
    fn line(number: u64) -> Self {
        Self {
            line: Some(number),
            extent: None,
        }
    }

    fn extent(offset: u64) -> Self {
        Self {
            line: None,
            extent: Some(offset),
        }
    }

    /// The input and the place in it, for people.
    fn of(self, input: &Path) -> String {
        let name = shown(input);
        match self {
            Self {
                extent: Some(at), ..
            } => format!("{name}: extent at {at}"),
            Self {
                line: Some(line), ..
            } => format!("{name}, line {line}"),
            _ => name.to_string(),
        }
    }
}

/// A finding as a JSON line.
#[derive(Serialize)]
struct FindingLine<'a> {
    kind: &'static str,
    input: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    extent: Option<u64>,
    code: &'static str,
    severity: String,
    /// Byte of the payload.
    offset: Option<u64>,
    message: &'a str,
}

/// What kernels do, as a JSON line.
#[derive(Serialize)]
struct KernelLine<'a> {
    kind: &'static str,
    input: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    extent: Option<u64>,
    /// A release, or several in words.
    kernel: &'a str,
    #[serde(flatten)]
    outcome: &'a Outcome,
}

/// The verdict on an input, as a JSON line.
#[derive(Serialize)]
struct InputLine<'a> {
    kind: &'static str,
    input: &'a str,
    extents: u64,
    payload_bytes: u64,
    unsound: u64,
    other_errors: u64,
    findings_not_printed: u64,
    sound: bool,
}

impl Check<'_> {
    /// One payload that is a file of its own.
    fn payload(
        &mut self,
        input: &Path,
        payload: &[u8],
        fields: &ExtentFields,
        target: &Target,
    ) -> Result<()> {
        let report = validate(payload, fields, target);
        self.quota.hold_back(report.left_out());
        let place = Place::default();
        self.judged(input, place, payload, fields, target, report.findings())
    }

    fn start(&mut self) {
        self.verdict = Verdict::Sound;
        (self.extents, self.unsound, self.payload_bytes) = (0, 0, 0);
        self.plain = 0;
        self.other_errors = 0;
        self.is_stream = false;
    }

    fn end(&mut self, input: &Path) -> Result<()> {
        if self.is_stream {
            return Ok(());
        }
        let sound = self.unsound == 0 && self.other_errors == 0;
        if !sound {
            self.verdict = self.verdict.max(Verdict::NotSound);
        }
        let name = input_name(input);
        let held_back = self.quota.take_held_back();
        if sound && self.extents == 0 {
            self.output.sum(
                true,
                format_args!(
                    "{}: nothing to judge: {}",
                    shown(input),
                    count(self.plain, "plain extent")
                ),
            )?;
        } else {
            let payload_bytes = self.output.size(self.payload_bytes);
            self.output.sum(
                sound,
                format_args!(
                    "{}: {} ({}, {payload_bytes} of payload{}{}){}",
                    shown(input),
                    if sound { "sound" } else { "NOT SOUND" },
                    count(self.extents, "extent"),
                    if sound {
                        String::new()
                    } else {
                        format!(", {} unsound", self.unsound)
                    },
                    if self.other_errors == 0 {
                        String::new()
                    } else {
                        format!(", {}", count(self.other_errors, "other error"))
                    },
                    not_printed(held_back),
                ),
            )?;
        }
        self.output.json(&InputLine {
            kind: "input",
            input: &name,
            extents: self.extents,
            payload_bytes: self.payload_bytes,
            unsound: self.unsound,
            other_errors: self.other_errors,
            findings_not_printed: held_back,
            sound,
        })
    }

    /// Finds out what an input is, and judges it. False for a file that was found somewhere and
    /// has nothing to judge.
    fn input(&mut self, input: &Path, found: bool, claims: &Claims) -> Result<bool> {
        if input == Path::new("-") {
            self.unseekable(input, std::io::stdin(), claims)?;
            return Ok(true);
        }
        let mut file = open_with_writer(input)?;
        let metadata = file.metadata().with_context(|| cannot_read(input))?;
        if metadata.is_dir() {
            bail_about!(
                input,
                "{} is a directory; name a manifest, a send stream, a file on btrfs, or a payload; \
                 -r checks what is in it",
                shown(input)
            );
        }
        let is_json_lines = input
            .extension()
            .is_some_and(|extension| extension == "jsonl");
        // Somewhere below a directory they may be of anything; what has our name is ours.
        if is_json_lines && (!found || crate::manifest::is_one(input)) {
            self.manifest(input, file, claims)?;
            return Ok(true);
        }
        if !metadata.is_file() {
            self.unseekable(input, file, claims)?;
            return Ok(true);
        }
        let mut start = [0; STREAM_START.len()];
        if file.read_exact(&mut start).is_ok() && start == *STREAM_START {
            self.stream(input, start.chain(file), claims)?;
            return Ok(true);
        }
        file.rewind().with_context(|| cannot_read(input))?;
        match self.beside.find(input)? {
            Some(Claim::Payload(fields, target)) => {
                let payload = payload_in(&file, input)?;
                self.payload(input, &payload, &fields, &target)?;
                return Ok(true);
            }
            Some(Claim::Data(len, sha256)) => {
                self.plain_data(input, len, sha256.as_deref())?;
                return Ok(true);
            }
            None => {}
        }
        // An empty file is what is left of a send that never began, and is told of.
        if found && metadata.len() > 0 && matches!(ioctl::probe(&file), Err(ProbeError::NotBtrfs)) {
            return Ok(false);
        }
        self.file_on_btrfs(input, &file, claims)?;
        Ok(!found || self.extents > 0 || self.other_errors > 0 || self.is_stream)
    }

    /// What cannot be read again, nor be a file on btrfs: a send stream, or nothing.
    fn unseekable(
        &mut self,
        input: &Path,
        mut reader: impl Read + Send,
        claims: &Claims,
    ) -> Result<()> {
        let mut start = Vec::new();
        let first = STREAM_START.len() as u64;
        let read = reader.by_ref().take(first).read_to_end(&mut start);
        read.with_context(|| cannot_read(input))?;
        if start == STREAM_START {
            return self.stream(input, start.chain(reader), claims);
        }
        start.extend(start_of(&mut reader).with_context(|| cannot_read(input))?);
        if was_stream(&start) {
            return self.stream(input, start.chain(reader), claims);
        }
        if input == Path::new("-") {
            bail!("standard input is no send stream; a payload needs --codec and --unencoded-len");
        }
        bail_about!(
            input,
            "{} is no send stream; a payload needs --codec and --unencoded-len",
            shown(input)
        )
    }

    fn stream(&mut self, input: &Path, stream: impl Read + Send, claims: &Claims) -> Result<()> {
        self.is_stream = true;
        let mut options = CheckOptions::default();
        options.target = claims.filesystem.target();
        let verdict = check_stream(
            input,
            stream,
            &options,
            all_cores(),
            &mut self.quota,
            self.output,
        )?;
        self.verdict = self.verdict.max(verdict);
        Ok(())
    }

    fn judged(
        &mut self,
        input: &Path,
        place: Place,
        payload: &[u8],
        fields: &ExtentFields,
        target: &Target,
        findings: &[Finding],
    ) -> Result<()> {
        let is_error = |finding: &Finding| finding.severity == Severity::Error;
        add(&mut self.extents, 1);
        add(&mut self.payload_bytes, payload.len() as u64);
        add(&mut self.unsound, u64::from(findings.iter().any(is_error)));
        self.quota.next_payload();
        if !findings.iter().any(is_error) {
            let codec = fields.codec().map_or("unknown", |codec| codec.name());
            self.output.detail(format_args!(
                "{}: {codec}, {} bytes for {}: sound",
                place.of(input),
                payload.len(),
                fields.len
            ))?;
        }
        for finding in findings {
            self.finding(input, place, finding)?;
        }
        for which in self.kernels {
            match which {
                Which::One(named) => {
                    let outcome = predict(payload, fields, target, named.kernel);
                    self.kernel(input, place, &named.kernel.to_string(), &outcome)?;
                }
                Which::All => {
                    for agreement in predict_all(payload, fields, target) {
                        self.kernel(input, place, &agreement.kernels, &agreement.outcome)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// A finding that is not of a payload.
    fn other(&mut self, input: &Path, place: Place, finding: &Finding) -> Result<()> {
        let is_error = finding.severity == Severity::Error;
        self.other_errors = self.other_errors.saturating_add(u64::from(is_error));
        self.quota.next_payload();
        self.finding(input, place, finding)
    }

    fn finding(&mut self, input: &Path, place: Place, finding: &Finding) -> Result<()> {
        if !self.quota.takes(finding.severity) {
            return Ok(());
        }
        self.output
            .finding(format_args!("{}: {finding}", place.of(input)))?;
        self.output.json(&FindingLine {
            kind: "finding",
            input: &input_name(input),
            line: place.line,
            extent: place.extent,
            code: finding.code,
            severity: finding.severity.to_string(),
            offset: finding.offset,
            message: &finding.message,
        })
    }

    fn kernel(
        &mut self,
        input: &Path,
        place: Place,
        kernel: &str,
        outcome: &Outcome,
    ) -> Result<()> {
        let place_of = place.of(input);
        self.output
            .row(format_args!("{place_of}: Linux {kernel}: {outcome}"))?;
        self.output.json(&KernelLine {
            kind: "kernel",
            input: &input_name(input),
            extent: place.extent,
            kernel,
            outcome,
        })
    }

    fn file_on_btrfs(&mut self, input: &Path, file: &File, claims: &Claims) -> Result<()> {
        let probe = match ioctl::probe(file) {
            Ok(probe) => probe,
            Err(error) => {
                let start = start_of(file).with_context(|| cannot_read(input))?;
                if was_stream(&start) {
                    return self.stream(input, start.chain(file), claims);
                }
                let sentence = format!(
                    "{} is no manifest and no file on btrfs, and --codec and --unencoded-len are \
                     missing",
                    shown(input)
                );
                return Err(error).with_context(|| about(input, sentence));
            }
        };
        let size = file.metadata().with_context(|| cannot_read(input))?.len();
        let target = Target::new(probe.sector_size)
            .file_size(size)
            .max_inline(claims.filesystem.max_inline)
            .node_size(probe.node_size);
        let bar = progress(size);
        // Compressed extents, where the file has no checksums: their number, and the first.
        let mut unprotected: Option<(u64, u64)> = None;
        let mut extents = ioctl::extents(file);
        while let Some(extent) = extents.next() {
            let extent = match extent {
                Ok(extent) => extent,
                Err(error @ (ReadError::Io | ReadError::UnknownType)) => {
                    let skipped = extents
                        .skip_unreadable()
                        .with_context(|| cannot_read(input))?;
                    let place = Place::extent(skipped.start);
                    self.other(input, place, &unreadable(&error, &skipped))?;
                    continue;
                }
                Err(error) => return Err(error).with_context(|| cannot_read(input)),
            };
            bar.set_position(extent.offset);
            if matches!(extent.content, Content::Plain(_)) {
                add(&mut self.plain, 1);
            }
            if let Content::Encoded(ClaimedExtent { payload, fields }) = &extent.content {
                if probe.nodatasum {
                    let (number, _) = unprotected.get_or_insert((0, extent.offset));
                    *number = number.saturating_add(1);
                }
                let target = target.at(extent.offset);
                let report = validate_on_disk(payload, fields, &target);
                self.quota.hold_back(report.left_out());
                let place = Place::extent(extent.offset);
                self.judged(input, place, payload, fields, &target, report.findings())?;
            }
        }
        bar.finish_and_clear();
        if let Some((number, first)) = unprotected {
            self.other(input, Place::extent(first), &without_checksums(number))?;
        }
        Ok(())
    }
}

/// An extent that the kernel does not hand out.
fn unreadable(error: &ReadError, skipped: &Range<u64>) -> Finding {
    let Range { start, end } = skipped;
    Finding::new(
        "unreadable-extent",
        Severity::Error,
        format!("bytes {start} to {end} are not judged: {error}"),
    )
}

/// Compressed extents of a file with NODATASUM or NODATACOW.
fn without_checksums(number: u64) -> Finding {
    Finding::new(
        "compressed-without-checksums",
        Severity::Warning,
        format!(
            "{} from here on, and the file has no checksums (NODATASUM)",
            count(number, "compressed extent")
        ),
    )
}
