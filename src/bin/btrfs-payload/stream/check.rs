//! `stream check`: judges a send stream.

mod page;

use std::fs::File;
use std::io::Read;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use btrfs_payload::send_stream::IntoReader;
use btrfs_payload::send_stream::format::{MAGIC, MAX_PATH_LEN};
use btrfs_payload::transform::{
    CheckOptions, CheckSummary, Escaped, Parents, Shortened, StreamFinding, check_and_keep,
};
use serde::Serialize;

use self::page::Gathered;
use super::io::Input;
use super::known::Known;
use crate::Verdict;
use crate::about::about;
use crate::args::{CommandSize, Filesystem, jobs};
use crate::explain::{Explain, with_sound};
use crate::inputs::{JUDGED, Named, Recursive, Tally};
use crate::output::{Output, count, input_name};
use crate::page::HtmlFile;
use crate::quota::{FindingLimit, Quota, not_printed};

#[derive(Debug, clap::Args)]
#[command(after_help = with_sound(AFTER_HELP))]
pub(crate) struct Args {
    /// The streams, `-` for standard input
    #[arg(default_value = "-")]
    inputs: Vec<PathBuf>,

    /// The streams are one chain, in this order: a full one and its increments. What is built on
    /// has to be there
    #[arg(long, conflicts_with = "recursive")]
    chain: bool,

    #[command(flatten)]
    recursive: Recursive,

    #[command(flatten)]
    explain: Explain,

    #[command(flatten)]
    filesystem: Filesystem,

    #[command(flatten)]
    known: Known,

    #[command(flatten)]
    command_size: CommandSize,

    #[command(flatten)]
    limit: FindingLimit,

    #[command(flatten)]
    html: HtmlFile,

    /// Threads that judge payloads, 1024 at most; 0 for all cores
    #[arg(short, long, value_name = "N", value_parser = jobs, default_value = "0", help_heading = "Limits")]
    jobs: NonZeroUsize,
}

const AFTER_HELP: &str = "\
Examples:
  btrfs send --proto 2 --compressed-data /mnt/snapshot | btrfs-payload stream check
  btrfs-payload stream check backup.stream --sector-size 16K
  btrfs-payload stream check -r /backup
  btrfs-payload stream check backup.stream --html report.html
  btrfs-payload stream check --parent sunday.stream --parent monday.stream tuesday.stream
  btrfs-payload stream check --chain full.stream monday.stream tuesday.stream
  btrfs-payload stream check --explain path-unknown

An increment is checked against the tree of its parent where that is in the same input (cat
sunday.stream monday.stream | ...) or given with --parent, and a clone against the subvolume it
is from. Where neither is, what the stream has not made itself may be there. With --chain each
input is a parent of those after it, and there is nothing else: each parent and each source of a
clone has to be there, and each parent has to be as it was when its increment was made.

Lines of --format json:
  {\"kind\":\"finding\"} input, code, severity, stream_offset (bytes), command (number), name (of
      the command), path (escaped: \\xNN, \\n, \\\\), file_offset, payload_offset (bytes), message
  {\"kind\":\"stream\"} input, streams, commands, whole_bytes, payloads, payload_bytes, errors,
      warnings, notes, findings_not_printed, names_exceeded (--memory was too little), sound

Exit status:
  0  nothing is wrong, or warnings only
  1  the stream, or a payload in it, is not sound
  2  wrong usage, or the input cannot be read";

/// A finding as a JSON line.
#[derive(Serialize)]
pub(super) struct FindingLine<'a> {
    kind: &'static str,
    input: &'a str,
    code: &'static str,
    severity: String,
    stream_offset: u64,
    command: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    file_offset: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload_offset: Option<u64>,
    message: &'a str,
}

impl<'a> FindingLine<'a> {
    pub(super) fn new(input: &'a str, finding: &'a StreamFinding) -> Self {
        Self {
            kind: "finding",
            input,
            code: finding.code,
            severity: finding.severity.to_string(),
            stream_offset: finding.offset,
            command: finding.command,
            name: finding.kind.map(|kind| kind.name()),
            path: finding.path.as_ref().map(|path| path_text(path)),
            file_offset: finding.file_offset,
            payload_offset: finding.payload_offset,
            message: &finding.message,
        }
    }
}

/// The sums as a JSON line.
#[derive(Serialize)]
struct StreamLine<'a> {
    kind: &'static str,
    input: &'a str,
    streams: u64,
    commands: u64,
    whole_bytes: u64,
    payloads: u64,
    payload_bytes: u64,
    errors: u64,
    warnings: u64,
    notes: u64,
    findings_not_printed: u64,
    names_exceeded: bool,
    sound: bool,
}

pub(crate) fn run(args: &Args, output: &mut Output) -> Result<Verdict> {
    if let Some(done) = args.explain.run(output) {
        return done;
    }
    output.outlive_reader();
    let html = args.html.begin(output)?;
    let mut gathered = html.is_some().then(Gathered::default);
    let mut options = CheckOptions::default();
    options.target = args.filesystem.target();
    options.parents = args.known.parents(args.command_size)?;
    options.max_names = args.known.max_names();
    options.chain = args.chain;
    let mut quota = args.limit.quota();
    let mut tally = Tally::new(JUDGED);
    for input in args.recursive.inputs(&args.inputs, |_| None) {
        let checked = input.and_then(|Named { path, found, .. }| {
            if found && !may_be_stream(&path) {
                return Ok(None);
            }
            let mut input = Input::open(&path)?;
            let (name, bar) = (input.name(), input.bar());
            if let Some(gathered) = &mut gathered {
                gathered.made_from(input.origin());
            }
            let reader = args.command_size.reader(input);
            let mut report = |finding: &StreamFinding| {
                if let Some(gathered) = &mut gathered {
                    gathered.finding(&name, finding);
                }
            };
            let summary = check_and_print(
                &path,
                reader,
                &options,
                args.jobs,
                &mut quota,
                output,
                &mut report,
            );
            bar.finish_and_clear();
            let (summary, there) = summary?;
            if args.chain {
                options.parents = there;
            }
            if let Some(gathered) = &mut gathered {
                gathered.checked(&name, &summary);
            }
            Ok(Some(verdict_of(&summary)))
        });
        if let Some(gathered) = &mut gathered {
            match &checked {
                Ok(Some(_)) => {}
                Ok(None) => gathered.skip(),
                Err(error) => gathered.failed(error),
            }
        }
        tally.add(checked, output)?;
    }
    tally.print("", output)?;
    if let Some((file, gathered)) = html.zip(gathered) {
        let (page, origin) = gathered.into_page(output);
        file.finish(&page, &origin)?;
    }
    Ok(tally.verdict())
}

/// True for a file that begins as a stream does, or is empty: what is left of a send that never
/// began.
fn may_be_stream(path: &Path) -> bool {
    let mut start = Vec::new();
    let read = File::open(path).map(|file| file.take(13).read_to_end(&mut start));
    // What cannot be read is for the check to say.
    !matches!(read, Ok(Ok(_))) || start.is_empty() || start == MAGIC
}

/// Checks a stream and prints what is found; `check` does so too.
pub(crate) fn check_stream(
    path: &Path,
    input: impl IntoReader<Input: Send>,
    options: &CheckOptions,
    jobs: NonZeroUsize,
    quota: &mut Quota,
    output: &mut Output,
) -> Result<Verdict> {
    let (summary, _) = check_and_print(path, input, options, jobs, quota, output, &mut |_| {})?;
    Ok(verdict_of(&summary))
}

/// The same; `report` gets every finding, printed or not.
fn check_and_print(
    path: &Path,
    input: impl IntoReader<Input: Send>,
    options: &CheckOptions,
    jobs: NonZeroUsize,
    quota: &mut Quota,
    output: &mut Output,
    report: &mut dyn FnMut(&StreamFinding),
) -> Result<(CheckSummary, Parents)> {
    let name = &input_name(path);
    let mut printed = Ok(());
    // The library has bounded the findings of each command.
    let (summary, there) = check_and_keep(input, options, jobs, |finding| {
        report(finding);
        quota.next_payload();
        if printed.is_ok() && quota.takes(finding.severity) {
            printed = print(name, finding, output);
        }
    })
    .with_context(|| about(path, format_args!("cannot check {name}")))?;
    printed?;
    quota.hold_back(summary.not_reported);
    sums(name, &summary, quota.take_held_back(), output)?;
    Ok((summary, there))
}

fn verdict_of(summary: &CheckSummary) -> Verdict {
    if summary.is_sound() {
        Verdict::Sound
    } else {
        Verdict::NotSound
    }
}

fn print(name: &str, finding: &StreamFinding, output: &mut Output) -> Result<()> {
    output.finding(format_args!("{name}: {finding}"))?;
    output.json(&FindingLine::new(name, finding))
}

/// A path in JSON: whole where it can be one, else its beginning and end.
fn path_text(path: &[u8]) -> String {
    if path.len() > MAX_PATH_LEN {
        Shortened(path).to_string()
    } else {
        Escaped(path).to_string()
    }
}

fn sums(
    name: &str,
    summary: &CheckSummary,
    findings_not_printed: u64,
    output: &mut Output,
) -> Result<()> {
    let &CheckSummary {
        streams,
        commands,
        whole_bytes,
        payloads,
        payload_bytes,
        errors,
        warnings,
        notes,
        names_exceeded,
        ..
    } = summary;
    output.moved(whole_bytes);
    let sound = summary.is_sound();
    let [whole, size] = [whole_bytes, payload_bytes].map(|bytes| output.size(bytes));
    let of_payloads = match payloads {
        0 => "no payload to judge".to_owned(),
        _ => format!("{} of {size}", count(payloads, "payload")),
    };
    output.sum(
        sound,
        format_args!(
            "{}: {} ({}, {}, {whole} whole, {of_payloads}; {}, {}, {}){}{}",
            name,
            if sound { "sound" } else { "NOT SOUND" },
            count(streams, "stream"),
            count(commands, "command"),
            count(errors, "error"),
            count(warnings, "warning"),
            count(notes, "note"),
            not_printed(findings_not_printed),
            if names_exceeded {
                "; paths were followed up to the limit of --memory only"
            } else {
                ""
            },
        ),
    )?;
    output.json(&StreamLine {
        kind: "stream",
        input: name,
        streams,
        commands,
        whole_bytes,
        payloads,
        payload_bytes,
        errors,
        warnings,
        notes,
        findings_not_printed,
        names_exceeded,
        sound,
    })
}
