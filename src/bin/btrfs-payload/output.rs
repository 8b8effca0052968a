//! Results on stdout, trouble on stderr.

use std::ffi::OsStr;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::os::unix::ffi::OsStrExt;

use anyhow::{Context, Result};
use btrfs_payload::transform::Escaped;
use clap::ValueEnum;
use serde::Serialize;

/// How results are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    Text,
    /// One JSON object per line.
    Json,
}

/// Standard output, in one of the formats.
pub(crate) struct Output {
    format: Format,
    stdout: BufWriter<io::StdoutLock<'static>>,
    /// The exit status is a result too, so the work goes on without a reader.
    outlives_reader: bool,
    reader_is_gone: bool,
}

impl Output {
    pub(crate) fn new(format: Format) -> Self {
        Self {
            format,
            stdout: BufWriter::new(io::stdout().lock()),
            outlives_reader: false,
            reader_is_gone: false,
        }
    }

    /// From here on a reader that goes away is no failure: what is left to say is not said.
    pub(crate) fn outlive_reader(&mut self) {
        self.outlives_reader = true;
    }

    fn written(&mut self, result: io::Result<()>) -> Result<()> {
        match result {
            Err(error) if self.outlives_reader && error.kind() == io::ErrorKind::BrokenPipe => {
                self.reader_is_gone = true;
                Ok(())
            }
            result => result.context("cannot write to standard output"),
        }
    }

    /// One line for people; nothing in JSON.
    pub(crate) fn text(&mut self, line: std::fmt::Arguments<'_>) -> Result<()> {
        if self.format != Format::Text || self.reader_is_gone {
            return Ok(());
        }
        let written = writeln!(self.stdout, "{line}");
        self.written(written)
    }

    /// One object as a line; nothing in text.
    pub(crate) fn json(&mut self, object: &impl Serialize) -> Result<()> {
        if self.format != Format::Json || self.reader_is_gone {
            return Ok(());
        }
        let written = serde_json::to_writer(&mut self.stdout, object)
            .map_err(io::Error::from)
            .and_then(|()| self.stdout.write_all(b"\n"));
        self.written(written)
    }

    /// The format asked for.
    pub(crate) fn format(&self) -> Format {
        self.format
    }

    /// Bytes as they are.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> Result<()> {
        self.stdout
            .write_all(bytes)
            .context("cannot write to standard output")
    }

    pub(crate) fn finish(&mut self) -> Result<()> {
        if self.reader_is_gone {
            return Ok(());
        }
        let flushed = self.stdout.flush();
        self.written(flushed)
    }
}

/// A path or a name as it is shown to people: escaped, so that it can be turned back, stays on
/// its line, and says nothing to the terminal.
pub(crate) fn shown(name: &(impl AsRef<OsStr> + ?Sized)) -> Escaped<'_> {
    Escaped(name.as_ref().as_bytes())
}

/// Says what went wrong: the error, then its causes.
pub(crate) fn trouble(error: &anyhow::Error) {
    let causes: Vec<String> = error.chain().map(ToString::to_string).collect();
    remark(format_args!("{}", causes.join(": ")));
}

/// Adds to a sum, which stays at the largest number instead of wrapping.
pub(crate) fn add(sum: &mut u64, more: u64) {
    *sum = sum.saturating_add(more);
}

/// A number and what it counts: `1 extent`, `2 extents`.
pub(crate) fn count(number: u64, noun: &str) -> String {
    let ending = if number == 1 { "" } else { "s" };
    format!("{number} {noun}{ending}")
}

/// A remark that is neither a result nor a failure.
pub(crate) fn remark(line: std::fmt::Arguments<'_>) {
    // One write, so that lines of other processes do not mix in. If it fails there is nowhere
    // left to complain.
    let line = format!("btrfs-payload: {line}\n");
    let _ = io::stderr().write_all(line.as_bytes());
}

/// One object as a line on standard error, where standard output has a stream.
pub(crate) fn json_to_stderr(object: &impl Serialize) {
    if let Ok(mut line) = serde_json::to_vec(object) {
        line.push(b'\n');
        // There is nowhere left to complain.
        let _ = io::stderr().write_all(&line);
    }
}

/// A bar on the terminal while long work goes on; nothing in a pipe.
pub(crate) fn progress(bytes: u64) -> indicatif::ProgressBar {
    if io::stderr().is_terminal() && bytes > 0 {
        let style = indicatif::ProgressStyle::with_template(
            "{wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {msg} {eta}",
        );
        let bar = indicatif::ProgressBar::new(bytes);
        match style {
            Ok(style) => bar.with_style(style),
            Err(_) => bar,
        }
    } else {
        indicatif::ProgressBar::hidden()
    }
}

/// The same for a stream whose length may not be known (0).
pub(crate) fn stream_progress(bytes: u64) -> indicatif::ProgressBar {
    if !io::stderr().is_terminal() {
        return indicatif::ProgressBar::hidden();
    }
    let (bar, template) = if bytes > 0 {
        let template = "{wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {msg} {eta}";
        (indicatif::ProgressBar::new(bytes), template)
    } else {
        let template = "{spinner} {bytes} {bytes_per_sec} {msg}";
        (indicatif::ProgressBar::new_spinner(), template)
    };
    match indicatif::ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}
