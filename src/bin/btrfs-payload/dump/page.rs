//! `dump --html`: a map of the payload beside the explanation of its bytes.

use std::collections::BTreeMap;

use btrfs_payload::rules::ExtentFields;
use btrfs_payload::validate::{Finding, Part, Piece, Report, Severity, Structure};

use crate::output::{Output, add, count};
use crate::page::{Findings, Ink, Line, Page, Place, Share, Tone};

/// What a dump has said.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    lines: Vec<Line>,
    /// Bits that are for this.
    bits: BTreeMap<Ink, u64>,
    findings: Findings,
}

/// The parts of a payload in the order of the legend.
const NAMES: [(Ink, &str); 6] = [
    (Ink::Header, "header"),
    (Ink::Table, "trees and tables"),
    (Ink::Data, "data: literals, sequences, segments"),
    (Ink::Checksum, "checksum"),
    (Ink::Padding, "padding"),
    (Ink::Unexplained, "not explained"),
];

impl Gathered {
    pub(super) fn structure(&mut self, piece: &Piece<Structure>, place: String, raw: String) {
        let ink = match piece.kind.part() {
            Part::Header => Ink::Header,
            Part::Table => Ink::Table,
            Part::Data => Ink::Data,
            Part::Checksum => Ink::Checksum,
            Part::Padding => Ink::Padding,
            _ => Ink::Unexplained,
        };
        let bits = piece.bits.end.saturating_sub(piece.bits.start);
        add(self.bits.entry(ink).or_default(), bits);
        let byte = |bits: u64| usize::try_from(bits).unwrap_or(usize::MAX);
        self.lines.push(Line::Part {
            ink,
            start: byte(piece.bits.start / 8),
            end: byte(piece.bits.end.div_ceil(8)),
            place,
            raw,
            meaning: piece.kind.to_string(),
        });
    }

    pub(super) fn finding(&mut self, finding: &Finding) {
        let Finding { severity, code, .. } = finding;
        let at = finding.offset.and_then(|at| usize::try_from(at).ok());
        let text = format!("{severity}: {code}: {}", finding.message);
        self.lines.push(Line::Remark {
            at: at.filter(|_| *severity == Severity::Error),
            text,
        });
        self.findings.add(code, *severity, || Place {
            name: finding.offset.map_or_else(
                || "what is claimed".to_owned(),
                |offset| format!("byte {offset}"),
            ),
            offsets: String::new(),
            message: finding.message.clone(),
        });
    }

    pub(super) fn page(
        &self,
        name: &str,
        len: usize,
        fields: &ExtentFields,
        report: &Report,
        output: &Output,
    ) -> Page {
        let codec = fields.codec().map_or("unknown", |codec| codec.name());
        let of = |severity| count(report.count(severity), &severity.to_string());
        let (tone, verdict) = match report.is_sound() {
            true => (Tone::Good, "Sound"),
            false => (Tone::Bad, "Not sound"),
        };
        let sentence = format!(
            "{}, {}, {}.",
            of(Severity::Error),
            of(Severity::Warning),
            of(Severity::Note)
        );
        let mut page = Page::new(&format!("{name}: {verdict}"));
        page.verdict(tone, verdict, name, &sentence);
        let len_bytes = u64::try_from(len).unwrap_or(u64::MAX);
        page.figures(&[
            ("codec", codec.to_owned()),
            ("payload", output.size(len_bytes)),
            ("decodes to", output.size(fields.unencoded_len)),
        ]);
        page.heading("Its bytes");
        let bits = |ink| self.bits.get(&ink).copied().unwrap_or(0);
        let shares = NAMES.map(|(ink, name)| Share {
            ink,
            name,
            number: bits(ink),
            text: output.size(bits(ink).div_ceil(8)),
        });
        page.shares(&shares);
        page.explained(len, &self.lines);
        page.findings(&self.findings);
        page
    }
}
