//! `explain`, and `--explain` beside the commands that print findings: what a code means, who is
//! hurt when its rule is broken, and what to do. docs/findings.md has the same as tables.

use std::fmt;

use anyhow::{Result, bail};
use btrfs_payload::transform;
use btrfs_payload::validate::{self, Explanation, Severity};
use serde::Serialize;

use crate::Verdict;
use crate::output::Output;
use crate::words::words;

#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    /// Codes of findings; none, or `all`, for every code
    #[arg(value_name = "CODE", value_parser = words(parse, codes), hide_possible_values = true)]
    codes: Vec<String>,
}

const AFTER_HELP: &str = "\
Examples:
  btrfs-payload explain lzo-header-straddles
  btrfs-payload explain --format json

Exit status:
  0  done
  2  there is no such code";

/// The help of a command that uses the word, with what it means before the exit statuses.
pub(crate) fn with_sound(help: &str) -> String {
    const SOUND: &str = "\
Sound: every reader gets the same bytes, the kernels since 5.19 and btrfs receive. It does not say
that they are your bytes: digests do (manifests have them), and --zstd-checksum finds damage.";
    help.replacen("Exit status:", &format!("{SOUND}\n\nExit status:"), 1)
}

/// For commands that print findings.
#[derive(Debug, clap::Args)]
pub(crate) struct Explain {
    /// Explain the code of a finding, and do nothing else; every code without one, or with `all`
    #[arg(long, value_name = "CODE", num_args = 0..=1, default_missing_value = ALL, value_parser = words(parse, codes), hide_possible_values = true, help_heading = "Output")]
    explain: Option<String>,
}

impl Explain {
    /// The explanation, if it is asked for.
    pub(crate) fn run(&self, output: &mut Output) -> Option<Result<Verdict>> {
        let code = self.explain.as_deref()?;
        Some(explain(code, output).map(|()| Verdict::Sound))
    }
}

pub(crate) fn run(args: &Args, output: &mut Output) -> Result<Verdict> {
    if args.codes.is_empty() {
        explain(ALL, output)?;
    }
    for code in &args.codes {
        explain(code, output)?;
    }
    Ok(Verdict::Sound)
}

const ALL: &str = "all";

#[expect(clippy::unnecessary_wraps, reason = "a parser of clap")]
fn parse(code: &str) -> Result<String, String> {
    Ok(code.to_owned())
}

fn codes() -> Vec<String> {
    let codes = every().map(|(_, explanation)| explanation.code);
    std::iter::once(ALL)
        .chain(codes)
        .map(str::to_owned)
        .collect()
}

/// What a code is of.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Of {
    Payload,
    Stream,
    Manifest,
    File,
}

/// What to do about a finding.
#[derive(Debug, Clone, Copy)]
struct Advice {
    /// That is an error.
    error: &'static str,
    /// That is none, where findings can be.
    other: Option<&'static str>,
}

impl fmt::Display for Advice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.other {
            Some(other) => write!(f, "an error: {}. A warning or a note: {other}", self.error),
            None => f.write_str(self.error),
        }
    }
}

impl Of {
    fn advice(self) -> Advice {
        let (error, other) = match self {
            Self::Payload => (
                "make the payload again from a good copy of its data (prepare, write, stream \
                 recompress)",
                Some("nothing, unless the effect matters to you"),
            ),
            Self::Stream => (
                "fetch or send the stream again; what comes before the damage can be received, and \
                 is not the whole subvolume. Where a parent is not known to the check, give it \
                 with --parent",
                Some("nothing, if your receiver is none of those named"),
            ),
            Self::Manifest => (
                "make the directory again with prepare or read, or fetch it again",
                None,
            ),
            Self::File => (
                "restore the file from a backup, and look at the kernel's log",
                None,
            ),
        };
        Advice { error, other }
    }
}

/// An explanation as a JSON line.
#[derive(Serialize)]
struct Line<'a> {
    kind: &'static str,
    of: Of,
    #[serde(flatten)]
    explanation: &'a Explanation,
    advice: String,
}

fn explain(code: &str, output: &mut Output) -> Result<()> {
    let mut found = every().filter(|(_, known)| code == ALL || known.code == code);
    let mut any = false;
    for (of, explanation) in &mut found {
        if any {
            output.text(format_args!(""))?;
        }
        any = true;
        let advice = of.advice().to_string();
        output.text(format_args!("{explanation}\n  to do:  {advice}"))?;
        output.json(&Line {
            kind: "explanation",
            of,
            explanation,
            advice,
        })?;
    }
    if any {
        return Ok(());
    }
    match near(code).as_slice() {
        [] => bail!("no finding has the code {code:?}; `explain all` lists them"),
        near => bail!(
            "no finding has the code {code:?}; did you mean {}?",
            near.join(" or ")
        ),
    }
}

/// Codes that one may have meant, the nearest first.
fn near(code: &str) -> Vec<&'static str> {
    /// As far as clap goes with names of its own.
    const ENOUGH: f64 = 0.8;
    let likeness = |of: &str| strsim::jaro_winkler(code, of);
    let codes = every().map(|(_, known)| known.code);
    let mut near: Vec<_> = codes.filter(|known| likeness(known) > ENOUGH).collect();
    near.sort_by(|a, b| likeness(b).total_cmp(&likeness(a)));
    near.truncate(3);
    near
}

/// What a code means, and what to do about a finding of this severity.
pub(crate) fn of(code: &str, severity: Severity) -> Option<(&'static Explanation, &'static str)> {
    let (of, explanation) = every().find(|(_, known)| known.code == code)?;
    let Advice { error, other } = of.advice();
    let is_error = severity == Severity::Error;
    Some((explanation, other.filter(|_| !is_error).unwrap_or(error)))
}

/// Every code with what it is of.
fn every() -> impl Iterator<Item = (Of, &'static Explanation)> {
    let all = |of, table: &'static [Explanation]| table.iter().map(move |entry| (of, entry));
    all(Of::Payload, validate::explanations())
        .chain(all(Of::Stream, transform::explanations()))
        .chain(all(Of::Manifest, &MANIFEST))
        .chain(all(Of::File, &FILE))
}

macro_rules! table {
    ($($code:literal, $rule:literal, $effect:literal;)*) => {
        [$(Explanation::new($code, $rule, $effect)),*]
    };
}

const MANIFEST: [Explanation; 18] = table![
    "manifest-line", "every line is a JSON object of a known kind with its fields", "the line is left out of the judgement, so what it describes seems to be missing";
    "manifest-header", "the first line, and no other, is the header", "the size of the file and of its sectors is not known; the options are taken instead";
    "manifest-gap", "every byte of the file is in a line", "the file cannot be made of it: extents are missing";
    "manifest-overlap", "no byte of the file is in two lines", "what the file has there depends on who reads the manifest";
    "manifest-order", "the extents come in the order of the file", "lines were moved, or two manifests mixed";
    "manifest-beyond-end", "no extent goes past the end of the file", "the file would become longer than it was";
    "manifest-size", "header, extents and end line agree on the size of the file", "one of them is not of this file";
    "manifest-no-end", "the last line is the end line", "the manifest may be cut anywhere; one that was never finished has no end either";
    "manifest-after-end", "nothing follows the end line", "two manifests were joined, or lines were added; they are not judged";
    "manifest-counts", "the end line counts the lines before it", "lines are missing or were added";
    "manifest-changed", "the lines before the end line have the SHA-256 that it gives", "lines were changed, by damage or by an editor, after they were written";
    "manifest-payload-name", "a payload is a regular file beside the manifest", "the payload is not looked at: a path or a link may lead anywhere";
    "manifest-payload-missing", "the payloads are there", "the file cannot be made of it";
    "manifest-payload-len", "a payload is as long as its line says", "it is cut, or another one";
    "manifest-payload-digest", "a payload has the SHA-256 that its line gives", "it is damaged, or another one; where it decodes all the same, nobody else notices";
    "manifest-data-digest", "a payload decodes to data with the SHA-256 that its line gives", "the payload is not of this data, or the data changed while it was read";
    "manifest-no-digest", "every payload has a SHA-256", "swapped payloads, and damage that decodes, cannot be found";
    "manifest-extra-file", "there is nothing beside a manifest but its payloads", "lines may be missing; --force does not replace such a directory";
];

const FILE: [Explanation; 2] = table![
    "unreadable-extent", "the kernel can read every extent", "reads of the file fail with EIO there; btrfs scrub says whether another copy is good";
    "compressed-without-checksums", "compressed extents have checksums", "damage is decoded like data; new kernels make no such extents, and btrfs check calls them an error";
];
