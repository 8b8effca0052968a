//! Results on stdout, trouble on stderr.

use std::ffi::OsStr;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use btrfs_payload::transform::Escaped;
use btrfs_payload::validate::Finding;
use clap::ValueEnum;
use serde::Serialize;

use crate::about::path_of;
use crate::bars::Bars;
pub(crate) use crate::numbers::{add, count, percent};

/// How results are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    Text,
    /// One JSON object per line.
    Json,
}

/// How much is said for people. JSON has everything, whatever this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Detail {
    /// What is wrong.
    Quiet,
    /// The closing lines.
    Summary,
    Normal,
    /// Every extent, and how long it took.
    Verbose,
}

/// Whether words are coloured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Color {
    /// On a terminal, unless NO_COLOR is set.
    Auto,
    Always,
    Never,
}

/// What the options say of the output.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Style {
    pub(crate) format: Format,
    pub(crate) detail: Detail,
    pub(crate) color: Color,
    /// Sums are numbers of bytes, not KiB and MiB.
    pub(crate) raw_bytes: bool,
}

/// Standard output, in one of the formats.
pub(crate) struct Output {
    format: Format,
    detail: Detail,
    is_coloured: bool,
    raw_bytes: bool,
    stdout: BufWriter<io::StdoutLock<'static>>,
    /// The exit status is a result too, so the work goes on without a reader.
    outlives_reader: bool,
    reader_is_gone: bool,
    /// Standard output has data; lines go to standard error.
    stdout_is_taken: bool,
    /// Bytes that the work went through.
    moved: u64,
}

impl Output {
    pub(crate) fn new(style: Style) -> Self {
        let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self {
            format: style.format,
            detail: style.detail,
            is_coloured: match style.color {
                Color::Auto => !no_color && io::stdout().is_terminal(),
                Color::Always => true,
                Color::Never => false,
            },
            raw_bytes: style.raw_bytes,
            stdout: BufWriter::new(io::stdout().lock()),
            outlives_reader: false,
            reader_is_gone: false,
            stdout_is_taken: false,
            moved: 0,
        }
    }

    /// True where words are coloured.
    pub(crate) fn is_coloured(&self) -> bool {
        self.is_coloured
    }

    /// From here on standard output is for data; lines go to standard error.
    pub(crate) fn give_up_stdout(&mut self) {
        self.stdout_is_taken = true;
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

    /// True where people want all, or where JSON has it in any case.
    pub(crate) fn says_all(&self) -> bool {
        self.detail == Detail::Verbose || self.format == Format::Json
    }

    /// A number of bytes in a sum.
    pub(crate) fn size(&self, bytes: u64) -> String {
        /// Below this the number says more than a unit.
        const SMALL: u64 = 10_000;
        if self.raw_bytes || bytes < SMALL {
            return count(bytes, "byte");
        }
        let (mut unit, mut tenths) = ("KiB", u128::from(bytes).saturating_mul(10) / 1024);
        for larger in ["MiB", "GiB", "TiB", "PiB"] {
            if tenths < 10_000 {
                break;
            }
            (unit, tenths) = (larger, tenths / 1024);
        }
        format!("{}.{} {unit}", tenths / 10, tenths % 10)
    }

    /// A line about an extent, for people who want all.
    pub(crate) fn detail(&mut self, line: std::fmt::Arguments<'_>) -> Result<()> {
        match self.detail {
            Detail::Verbose => self.text(line),
            _ => Ok(()),
        }
    }

    /// A row of a table, for people.
    pub(crate) fn row(&mut self, line: std::fmt::Arguments<'_>) -> Result<()> {
        match self.detail {
            Detail::Quiet | Detail::Summary => Ok(()),
            _ => self.text(line),
        }
    }

    /// A finding, for people.
    pub(crate) fn finding(&mut self, line: std::fmt::Arguments<'_>) -> Result<()> {
        match self.detail {
            Detail::Summary => Ok(()),
            _ => self.text(line),
        }
    }

    /// A closing line, for people; `good` where nothing is wrong.
    pub(crate) fn sum(&mut self, good: bool, line: std::fmt::Arguments<'_>) -> Result<()> {
        match self.detail {
            Detail::Quiet if good => Ok(()),
            _ => self.text(line),
        }
    }

    /// Bars, for people at a terminal.
    pub(crate) fn bars(&self) -> Option<Bars> {
        let wanted = matches!(self.detail, Detail::Normal | Detail::Verbose);
        let is_here = self.format == Format::Text && !self.stdout_is_taken;
        (wanted && is_here)
            .then(|| Bars::on_stdout(self.is_coloured))
            .flatten()
    }

    /// Bars for the parts of a whole: their names and bytes.
    pub(crate) fn parts(&mut self, parts: &[(String, u64)]) -> Result<()> {
        let bars = self.bars().map(|bars| bars.parts(parts));
        for bar in bars.into_iter().flatten() {
            self.row(format_args!("{bar}"))?;
        }
        Ok(())
    }

    /// Bytes that the work went through, for its rate.
    pub(crate) fn moved(&mut self, bytes: u64) {
        add(&mut self.moved, bytes);
    }

    /// How long it took, and how fast that is: on a terminal where data was moved, and for people
    /// who want all.
    pub(crate) fn took(&self, time: Duration) {
        /// In less time than that nothing can be said of the rate.
        const MEASURABLE: Duration = Duration::from_millis(10);
        let on_terminal = self.moved > 0 && io::stderr().is_terminal();
        match self.detail {
            Detail::Verbose => {}
            Detail::Normal | Detail::Summary if on_terminal => {}
            _ => return,
        }
        let bytes = u128::from(self.moved).saturating_mul(1000);
        let rate = bytes.checked_div(time.as_millis()).unwrap_or(0);
        let rate = match u64::try_from(rate) {
            Ok(rate) if rate > 0 && time >= MEASURABLE => format!(", {}/s", self.size(rate)),
            _ => String::new(),
        };
        self.warn(format_args!("took {:.2} s{rate}", time.as_secs_f64()));
    }

    /// One line for people, whatever they want; nothing in JSON.
    pub(crate) fn text(&mut self, line: std::fmt::Arguments<'_>) -> Result<()> {
        if self.format != Format::Text || self.reader_is_gone {
            return Ok(());
        }
        if self.stdout_is_taken {
            remark(line);
            return Ok(());
        }
        let written = if self.is_coloured {
            writeln!(self.stdout, "{}", coloured(&line.to_string()))
        } else {
            writeln!(self.stdout, "{line}")
        };
        self.written(written)
    }

    /// Something to worry about, on standard error; nothing in JSON, which has it in its objects.
    pub(crate) fn warn(&self, line: std::fmt::Arguments<'_>) {
        if self.format == Format::Text {
            remark(line);
        }
    }

    /// One object as a line; nothing in text.
    pub(crate) fn json(&mut self, object: &impl Serialize) -> Result<()> {
        if self.format != Format::Json || self.reader_is_gone {
            return Ok(());
        }
        if self.stdout_is_taken {
            json_to_stderr(object);
            return Ok(());
        }
        let written = serde_json::to_writer(&mut self.stdout, object)
            .map_err(io::Error::from)
            .and_then(|()| self.stdout.write_all(b"\n"));
        self.written(written)
    }

    /// Says what went wrong: the error, then its causes; as an object too in JSON.
    pub(crate) fn trouble(&mut self, error: &anyhow::Error) {
        let causes: Vec<String> = error.chain().map(ToString::to_string).collect();
        let message = causes.join(": ");
        // What was found before comes before. Where it cannot be printed, this is still said.
        let _ = self.finish();
        remark(format_args!("{message}"));
        let line = ErrorLine {
            kind: "error",
            message: &message,
            path: path_of(error).map(|path| shown(path).to_string()),
        };
        let _ = self.json(&line).and_then(|()| self.finish());
    }

    /// Data as it is; lines go to standard error then.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> Result<()> {
        self.give_up_stdout();
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

/// What an input is called in sentences and in JSON.
pub(crate) fn input_name(input: &Path) -> String {
    if input == Path::new("-") {
        "standard input".to_owned()
    } else {
        shown(input).to_string()
    }
}

/// A finding in the payload that is the only input, as a JSON line.
#[derive(Serialize)]
pub(crate) struct FindingLine<'a> {
    kind: &'static str,
    #[serde(flatten)]
    finding: &'a Finding,
}

impl<'a> FindingLine<'a> {
    pub(crate) fn new(finding: &'a Finding) -> Self {
        Self {
            kind: "finding",
            finding,
        }
    }
}

/// What went wrong, as a JSON line.
#[derive(Serialize)]
struct ErrorLine<'a> {
    kind: &'static str,
    message: &'a str,
    /// The file that it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<String>,
}

/// A line with its verdict or its severity in colour.
fn coloured(line: &str) -> String {
    /// A word, what is after it, and its colour: names may have these words too.
    const WORDS: [(&str, &[&str], &str); 6] = [
        ("NOT SOUND", VERDICT, "\x1b[1;31m"),
        ("NOT sound", VERDICT, "\x1b[1;31m"),
        ("sound", VERDICT, "\x1b[32m"),
        ("error", SEVERITY, "\x1b[31m"),
        ("warning", SEVERITY, "\x1b[33m"),
        ("note", SEVERITY, "\x1b[36m"),
    ];
    const VERDICT: &[&str] = &[" (", ""];
    const SEVERITY: &[&str] = &[": "];
    for (word, after, color) in WORDS {
        // As a word of ours: after a colon or the columns of a table.
        let found = [": ", "  "].into_iter().find_map(|before| {
            let (start, rest) = line.split_once(&format!("{before}{word}"))?;
            let is_ours = |after: &&str| match *after {
                "" => rest.is_empty(),
                after => rest.starts_with(after),
            };
            after
                .iter()
                .any(is_ours)
                .then(|| format!("{start}{before}{color}{word}\x1b[0m{rest}"))
        });
        if let Some(line) = found {
            return line;
        }
    }
    line.to_owned()
}

/// A remark that is neither a result nor a failure.
pub(crate) fn remark(line: std::fmt::Arguments<'_>) {
    // One write, so that lines of other processes do not mix in. If it fails there is nowhere
    // left to complain.
    let line = format!("btrfs-payload: {line}\n");
    let _ = io::stderr().write_all(line.as_bytes());
}

/// One object as a line on standard error, where standard output has a stream.
fn json_to_stderr(object: &impl Serialize) {
    if let Ok(mut line) = serde_json::to_vec(object) {
        line.push(b'\n');
        // There is nowhere left to complain.
        let _ = io::stderr().write_all(&line);
    }
}
