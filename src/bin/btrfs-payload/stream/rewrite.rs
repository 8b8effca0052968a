//! What `recompress`, `decompress` and `reframe` have in common: an input, an output, sums.

use std::io::{self, Write};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result};
use btrfs_payload::send_stream::Reader;
use btrfs_payload::transform::{Parents, RewriteSummary, StreamFinding, TransformError};
use serde::Serialize;

use super::check::FindingLine;
use super::io::{Input, stdout};
use super::known::Known;
use crate::Verdict;
use crate::about::about;
use crate::args::{CommandSize, byte_count, jobs};
use crate::explain::{Explain, with_sound};
use crate::new_file::OutFile;
use crate::output::{Output, add, count, remark};
use crate::quota::FindingLimit;

#[derive(Debug, clap::Args)]
pub(super) struct InOut {
    /// The stream, `-` for standard input
    #[arg(default_value = "-")]
    input: PathBuf,

    /// Write to this file, which appears when it is whole; `-` for standard output. Links are
    /// followed, pipes and devices written to as they are
    #[arg(
        short,
        long,
        value_name = "FILE",
        default_value = "-",
        help_heading = "Output"
    )]
    output: PathBuf,

    /// Replace a regular file that exists
    #[arg(short, long, help_heading = "Output")]
    force: bool,

    /// Give up where the output would be longer
    #[arg(long, help_heading = "Limits", value_name = "BYTES", value_parser = byte_count)]
    max_output: Option<u64>,

    #[command(flatten)]
    command_size: CommandSize,

    #[command(flatten)]
    known: Known,

    #[command(flatten)]
    limit: FindingLimit,

    #[command(flatten)]
    pub(super) explain: Explain,

    /// Threads that work, 1024 at most; 0 for all cores
    #[arg(short, long, value_name = "N", value_parser = jobs, default_value = "0", help_heading = "Limits")]
    jobs: NonZeroUsize,
}

/// Printed after the help of every subcommand that rewrites.
pub(super) fn after_help(examples: &str) -> String {
    with_sound(&format!("{examples}\n\n{AFTER_HELP}"))
}

const AFTER_HELP: &str = "\
The sums go to standard output, or to standard error where that has the stream; --format json makes
them one line:
  {\"kind\":\"rewritten\"} input, bytes_in, bytes_out, commands, data_bytes (of files), encoded_in,
      encoded_out, replaced, unsound, mended, sectors_in, sectors_out, refused_clones,
      fileattr_left_out, header_without_end, command_after_end, holes_trusted

Exit status:
  0  done
  1  a payload is not sound, or a clone between sectors, a header without END before it or a command
     after END was passed on; or the stream is damaged
  2  wrong usage, or a file cannot be read or written";

/// The sums as a JSON line.
#[derive(Serialize)]
struct Line<'a> {
    kind: &'static str,
    input: &'a str,
    #[serde(flatten)]
    summary: &'a RewriteSummary,
}

impl InOut {
    /// Subvolumes that are there before the stream is received.
    pub(super) fn parents(&self) -> Result<Parents> {
        self.known.parents(self.command_size)
    }

    /// Names of files that are remembered.
    pub(super) fn max_names(&self) -> usize {
        self.known.max_names()
    }

    /// Opens both ends and lets `work` go from one to the other.
    pub(super) fn run(
        &self,
        output: &mut Output,
        work: impl FnOnce(
            Reader<Input>,
            &mut dyn Write,
            NonZeroUsize,
            &mut dyn FnMut(&StreamFinding),
        ) -> Result<RewriteSummary, TransformError>,
    ) -> Result<Verdict> {
        let to_stdout = self.output == Path::new("-");
        if to_stdout {
            output.give_up_stdout();
        }
        let stdout = to_stdout.then(stdout).transpose()?;
        let mut input = Input::open(&self.input)?;
        let origin = input.origin();
        let mut out = match stdout {
            Some(stdout) => stdout,
            None => OutFile::create(&self.output, self.force)?,
        };
        if !out.is_new() {
            output.give_up_stdout();
        }
        let (name, bar) = (input.name(), input.bar());
        let mut quota = self.limit.quota();
        let mut printed = Ok(());
        let mut report = |finding: &StreamFinding| {
            if printed.is_ok() && quota.takes(finding.severity) {
                printed = bar.suspend(|| {
                    output.warn(format_args!("{name}: {finding}"));
                    output.json(&FindingLine::new(&name, finding))
                });
            }
        };
        let jobs = self.jobs;
        let read = input.read_so_far();
        let ratio = |out: &mut dyn Write| -> Result<RewriteSummary, TransformError> {
            let mut out = Counted {
                out,
                written: 0,
                most: self.max_output.unwrap_or(u64::MAX),
                read,
                bar: bar.clone(),
            };
            work(self.command_size.reader(input), &mut out, jobs, &mut report)
        };
        let worked = ratio(out.file());
        printed?;
        if worked.is_ok() {
            out.finish(&origin)?;
        }
        bar.finish_and_clear();
        match worked {
            Ok(summary) => {
                let held_back = quota.take_held_back();
                if held_back > 0 {
                    let findings = count(held_back, "more finding");
                    remark(format_args!("{name}: {findings} not printed"));
                }
                sums(&name, &summary, output)?;
                Ok(if summary.is_sound() && summary.mended == 0 {
                    Verdict::Sound
                } else {
                    Verdict::NotSound
                })
            }
            Err(error) if error.is_of_stream() => {
                output.trouble(&anyhow::Error::new(error).context(about(&self.input, name)));
                Ok(Verdict::NotSound)
            }
            Err(error) => Err(error)
                .with_context(|| about(&self.input, format_args!("cannot rewrite {name}"))),
        }
    }
}

/// Shows the ratio of what went out to what came in, and ends what grows too long.
struct Counted<'a> {
    out: &'a mut dyn Write,
    written: u64,
    /// Bytes that may be written.
    most: u64,
    read: Arc<AtomicU64>,
    bar: indicatif::ProgressBar,
}

impl Write for Counted<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.most.saturating_sub(self.written) < bytes.len() as u64 {
            let most = self.most;
            let reason = format!("it would be longer than --max-output, {most} bytes");
            return Err(io::Error::other(reason));
        }
        let written = self.out.write(bytes)?;
        add(&mut self.written, written as u64);
        if !self.bar.is_hidden() {
            let read = self.read.load(Ordering::Relaxed);
            let percent = self
                .written
                .saturating_mul(100)
                .checked_div(read)
                .unwrap_or(0);
            self.bar.set_message(format!("({percent} % of the size)"));
        }
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

fn sums(name: &str, summary: &RewriteSummary, output: &mut Output) -> Result<()> {
    let &RewriteSummary {
        bytes_in,
        bytes_out,
        commands,
        data,
        encoded_in,
        encoded_out,
        replaced,
        unsound,
        mended,
        sectors_in,
        sectors_out,
        refused_clones,
        fileattr_left_out,
        header_without_end,
        command_after_end,
        holes_trusted,
        ..
    } = summary;
    output.moved(bytes_in);
    output.json(&Line {
        kind: "rewritten",
        input: name,
        summary,
    })?;
    let [before, after, of_data] = [bytes_in, bytes_out, data].map(|bytes| output.size(bytes));
    let percent = bytes_in
        .saturating_sub(bytes_out)
        .saturating_mul(100)
        .checked_div(bytes_in);
    let saved = match percent.filter(|&percent| percent > 0) {
        Some(percent) => format!(", {percent} % saved"),
        None => String::new(),
    };
    output.sum(
        summary.is_sound(),
        format_args!(
            "{name}: {before} became {after}{saved} ({}, {of_data} of data); encoded extents: \
             {encoded_in} in, {encoded_out} out, {replaced} replaced; sectors: {sectors_in} in, \
             {sectors_out} out",
            count(commands, "command"),
        ),
    )?;
    if unsound > 0 {
        output.warn(format_args!(
            "{name}: passed on as they are: {}, NOT sound",
            count(unsound, "payload")
        ));
    }
    if mended > 0 {
        output.warn(format_args!(
            "{name}: became plain, as the newest kernel reads it: {}, NOT sound",
            count(mended, "payload")
        ));
    }
    if refused_clones > 0 {
        output.warn(format_args!(
            "{name}: passed on as they are: {} between sectors, which the filesystem does NOT take",
            count(refused_clones, "clone")
        ));
    }
    if header_without_end > 0 || command_after_end > 0 {
        output.warn(format_args!(
            "{name}: passed on as they are, and receivers fail there: {} without END before them, \
             {} after END",
            count(header_without_end, "header"),
            count(command_after_end, "command")
        ));
    }
    if holes_trusted > 0 {
        output.warn(format_args!(
            "{name}: became zeroes: {} in files of the parent snapshot; one past the end of its \
             file, which Linux does not send, makes the file longer",
            count(holes_trusted, "hole")
        ));
    }
    if fileattr_left_out > 0 {
        output.warn(format_args!(
            "{name}: left out: {}; version 1 has none, and receivers ignore them",
            count(fileattr_left_out, "FILEATTR command")
        ));
    }
    Ok(())
}
