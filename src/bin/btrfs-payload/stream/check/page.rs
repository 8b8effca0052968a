//! The page of `stream check`.

use btrfs_payload::transform::{Carried, CarriedBy, CheckSummary, Shortened, StreamFinding};

use crate::Verdict;
use crate::origin::Origin;
use crate::output::{Output, add, count};
use crate::page::{Cell, Findings, Ink, Page, Place, Tone, percent};

/// Inputs of one verdict that get a row.
const ROWS: usize = 100;

/// What is gathered for it: a bounded part, whatever is found.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    /// What is not sound, or could not be judged.
    bad: Vec<Row>,
    good: Vec<Row>,
    not_judged: u64,
    not_sound: u64,
    sound: u64,
    skipped: u64,
    streams: u64,
    commands: u64,
    bytes: u64,
    payloads: u64,
    errors: u64,
    warnings: u64,
    names_exceeded: bool,
    carried: CarriedBy,
    findings: Findings,
    origin: Option<Origin>,
}

/// An input.
#[derive(Debug)]
struct Row {
    input: String,
    bytes: u64,
    verdict: Verdict,
    /// The verdict in a few words.
    words: String,
}

impl Gathered {
    /// Who may read an input may read what is said of it.
    pub(super) fn made_from(&mut self, origin: Origin) {
        self.origin = Some(match self.origin.take() {
            None => origin,
            Some(others) => others.and(&origin),
        });
    }

    pub(super) fn finding(&mut self, input: &str, finding: &StreamFinding) {
        self.findings.add(finding.code, finding.severity, || {
            let offsets = [
                (finding.file_offset, "of the file"),
                (Some(finding.offset), "of the stream"),
                (finding.payload_offset, "of the payload"),
            ];
            let offsets = offsets
                .into_iter()
                .filter_map(|(offset, of)| offset.map(|offset| format!("byte {offset} {of}")));
            let path = finding.path.as_ref();
            let within = path.map(|_| format!("in {input}"));
            let command = finding.kind.map(|kind| format!("command {kind}"));
            let offsets: Vec<String> = within.into_iter().chain(command).chain(offsets).collect();
            Place {
                name: path.map_or_else(|| input.to_owned(), |path| Shortened(path).to_string()),
                offsets: offsets.join(", "),
                message: finding.message.clone(),
            }
        });
    }

    pub(super) fn checked(&mut self, input: &str, summary: &CheckSummary) {
        add(&mut self.streams, summary.streams);
        add(&mut self.commands, summary.commands);
        add(&mut self.bytes, summary.whole_bytes);
        add(&mut self.payloads, summary.payloads);
        add(&mut self.errors, summary.errors);
        add(&mut self.warnings, summary.warnings);
        self.names_exceeded |= summary.names_exceeded;
        self.carried.add(&summary.carried);
        self.findings.add_others(summary.not_reported);
        let (verdict, words) = if summary.is_sound() {
            add(&mut self.sound, 1);
            let words = match summary.warnings {
                0 => "sound".to_owned(),
                warnings => format!("sound, {}", count(warnings, "warning")),
            };
            (Verdict::Sound, words)
        } else {
            add(&mut self.not_sound, 1);
            let errors = count(summary.errors, "error");
            (Verdict::NotSound, format!("NOT SOUND, {errors}"))
        };
        self.row(Row {
            input: input.to_owned(),
            bytes: summary.whole_bytes,
            verdict,
            words,
        });
    }

    /// An input that could not be judged, and why.
    pub(super) fn failed(&mut self, error: &anyhow::Error) {
        add(&mut self.not_judged, 1);
        self.row(Row {
            input: format!("{error:#}"),
            bytes: 0,
            verdict: Verdict::Trouble,
            words: "not judged".to_owned(),
        });
    }

    /// A file that is no stream.
    pub(super) fn skip(&mut self) {
        add(&mut self.skipped, 1);
    }

    fn row(&mut self, row: Row) {
        let rows = match row.verdict {
            Verdict::Sound => &mut self.good,
            _ => &mut self.bad,
        };
        if rows.len() < ROWS {
            rows.push(row);
        }
    }

    fn inputs(&self) -> u64 {
        [self.sound, self.not_sound, self.not_judged]
            .into_iter()
            .fold(0, u64::saturating_add)
    }

    /// The page, and who may read it.
    pub(super) fn into_page(self, output: &Output) -> (Page, Origin) {
        let inputs = self.inputs();
        let about = match (self.bad.first(), self.good.first()) {
            (Some(one), None) | (None, Some(one)) if inputs == 1 => one.input.clone(),
            _ => count(inputs, "input"),
        };
        let (tone, verdict, sentence) = self.verdict(inputs);
        let mut page = Page::new(&format!("{about}: {verdict}"));
        page.verdict(tone, verdict, &about, &sentence);
        let size = output.size(self.bytes);
        page.figures(&[
            ("streams", self.streams.to_string()),
            ("commands", self.commands.to_string()),
            ("size", size),
            ("payloads judged", self.payloads.to_string()),
            ("errors", self.errors.to_string()),
            ("warnings", self.warnings.to_string()),
        ]);
        if self.names_exceeded {
            page.note("Paths were followed up to the limit of --memory only.");
        }
        if inputs > 1 || self.skipped > 0 {
            self.inputs_on(&mut page, output);
        }
        page.findings(&self.findings);
        carried(&self.carried, &mut page, output);
        (page, self.origin.unwrap_or_default())
    }

    fn verdict(&self, inputs: u64) -> (Tone, &'static str, String) {
        if self.not_sound > 0 {
            let errors = count(self.errors, "error");
            let sentence = match inputs {
                1 => format!("{errors}; below is where, and what to do."),
                _ => format!(
                    "{errors} in {} of {inputs} inputs; below is where, and what to do.",
                    self.not_sound
                ),
            };
            return (Tone::Bad, "Not sound", sentence);
        }
        if self.not_judged > 0 {
            let sentence = format!(
                "{} could not be read; nothing is wrong with the others.",
                count(self.not_judged, "input")
            );
            return (Tone::Bad, "Not judged", sentence);
        }
        let sentence = "btrfs receive takes all of it, and every payload reads back the same on \
                        every Linux since 5.19.";
        (Tone::Good, "Sound", sentence.to_owned())
    }

    fn inputs_on(&self, page: &mut Page, output: &Output) {
        page.heading("Inputs");
        let rows = self.bad.iter().chain(&self.good).map(|row| {
            let sound = row.verdict == Verdict::Sound;
            [
                Cell::Name(row.input.clone()),
                Cell::Number(output.size(row.bytes)),
                Cell::Verdict(sound, row.words.clone()),
            ]
        });
        page.table(["input", "size", "verdict"], rows);
        let shown = self.bad.len().saturating_add(self.good.len());
        let shown = u64::try_from(shown).unwrap_or(u64::MAX);
        let more = self.inputs().saturating_sub(shown);
        if more > 0 {
            page.note(&format!("{} more.", count(more, "input")));
        }
        if self.skipped > 0 {
            let skipped = count(self.skipped, "file");
            page.note(&format!("{skipped} that are no streams were left out."));
        }
    }
}

/// What is in the streams, by codec, and what that saves.
fn carried(carried: &CarriedBy, page: &mut Page, output: &Output) {
    let kinds = [
        (Ink::Plain, "plain", &carried.plain),
        (Ink::Zlib, "zlib", &carried.zlib),
        (Ink::Lzo, "lzo", &carried.lzo),
        (Ink::Zstd, "zstd", &carried.zstd),
        (Ink::Unknown, "unknown", &carried.unknown),
    ];
    let sum = |of: fn(&Carried) -> u64| {
        let all = kinds.iter().map(|(.., carried)| of(carried));
        all.fold(0, u64::saturating_add)
    };
    let (data, payload) = (sum(|kind| kind.data), sum(|kind| kind.payload));
    if data == 0 {
        return;
    }
    let saved = data.saturating_sub(payload);
    page.heading("Data in it");
    let [of_files, in_stream] = [data, payload].map(|bytes| output.size(bytes));
    page.paragraph(&match saved {
        0 => format!("{of_files} of files; nothing is saved by compression."),
        _ => format!(
            "{of_files} of files in {in_stream}: compression saves {}.",
            percent(saved, data)
        ),
    });
    let parts = kinds.map(|(ink, name, kind)| (ink, name, kind.payload));
    page.bytes_and_saved(parts, saved, output);
}
