//! `dump`: every byte of a payload explained.

use std::fmt::Display;
use std::iter::Peekable;
use std::path::PathBuf;

use anyhow::Result;
use btrfs_payload::rules::Codec;
use btrfs_payload::validate::{Finding, validate};
use btrfs_payload_common::Piece;
use serde::Serialize;

use crate::Verdict;
use crate::args::{Claims, read_payload};
use crate::output::Output;

/// Raw bytes shown of one structure.
const SHOWN: usize = 8;

/// Decoded bytes beyond which a dump goes no further.
const LIMIT: usize = 1 << 20;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The payload, `-` for standard input
    payload: PathBuf,

    #[command(flatten)]
    claims: Claims,
}

/// A structure, as a JSON line.
#[derive(Serialize)]
struct Line<'a> {
    kind: &'static str,
    /// First byte, and the bit in it where the structure does not begin at a byte.
    offset: u64,
    bit: u64,
    /// Length, bits.
    bits: u64,
    raw: &'a str,
    meaning: &'a str,
}

pub(crate) fn run(args: &Args, output: &mut Output) -> Result<Verdict> {
    let payload = read_payload(&args.payload)?;
    let fields = args.claims.fields()?;
    let report = validate(&payload, &fields, &args.claims.target());
    let mut findings: Vec<&Finding> = report.findings().iter().collect();
    // What is about claims and not about a byte comes first.
    findings.sort_by_key(|finding| finding.offset);
    let mut dump = Dump {
        payload: &payload,
        output,
        findings: findings.into_iter().peekable(),
        result: Ok(()),
    };
    match fields.codec() {
        Some(Codec::Zlib) => {
            use btrfs_payload_zlib::{Event, walk};
            walk(&payload, LIMIT, &mut |event| {
                if let Event::Piece(piece) = event {
                    dump.piece(&piece);
                }
            });
        }
        Some(Codec::Lzo) => {
            use btrfs_payload_lzo::{Event, walk};
            let sector_size = args.claims.filesystem.sector_size as usize;
            walk(&payload, sector_size, LIMIT, &mut |event| {
                if let Event::Piece(piece) = event {
                    dump.piece(&piece);
                }
            });
        }
        Some(Codec::Zstd) => {
            use btrfs_payload_zstd::{Event, walk};
            walk(&payload, LIMIT, &mut |event| {
                if let Event::Piece(piece) = event {
                    dump.piece(&piece);
                }
            });
        }
        None => {}
    }
    dump.findings_before(u64::MAX);
    dump.result?;
    Ok(if report.is_sound() {
        Verdict::Sound
    } else {
        Verdict::NotSound
    })
}

struct Dump<'a, F: Iterator<Item = &'a Finding>> {
    payload: &'a [u8],
    output: &'a mut Output,
    /// Not printed yet, in the order of their offsets.
    findings: Peekable<F>,
    /// The first failure to print; nothing is printed behind it.
    result: Result<()>,
}

impl<'a, F: Iterator<Item = &'a Finding>> Dump<'a, F> {
    /// Prints a line in both formats, unless printing has failed.
    fn line(&mut self, place: &str, raw: &str, line: &Line<'_>) {
        if self.result.is_ok() {
            let meaning = line.meaning;
            self.result = self
                .output
                .text(format_args!("{place:<11}{raw:<28}{meaning}"))
                .and_then(|()| self.output.json(line));
        }
    }

    /// Prints the findings about claims and about bytes before `end`.
    fn findings_before(&mut self, end: u64) {
        while let Some(finding) = self
            .findings
            .next_if(|finding| finding.offset.is_none_or(|offset| offset < end))
        {
            let place = finding
                .offset
                .map_or_else(String::new, |offset| format!("{offset:#08x}"));
            let meaning = format!(
                "{}: {}: {}",
                finding.severity, finding.code, finding.message
            );
            self.line(
                &place,
                "",
                &Line {
                    kind: "finding",
                    offset: finding.offset.unwrap_or(0),
                    bit: 0,
                    bits: 0,
                    raw: "",
                    meaning: &meaning,
                },
            );
        }
    }

    fn piece<K: Display>(&mut self, piece: &Piece<K>) {
        let (offset, bit) = (piece.bits.start / 8, piece.bits.start % 8);
        let bytes = piece.bytes();
        let range = usize::try_from(bytes.start)
            .ok()
            .zip(usize::try_from(bytes.end).ok())
            .and_then(|(start, end)| self.payload.get(start..end))
            .unwrap_or_default();
        let mut raw: String = range
            .iter()
            .take(SHOWN)
            .map(|byte| format!("{byte:02x} "))
            .collect();
        if range.len() > SHOWN {
            raw.push_str("...");
        }
        let raw = raw.trim_end();
        let place = if bit == 0 {
            format!("{offset:#08x}")
        } else {
            format!("{offset:#08x}.{bit}")
        };
        let meaning = piece.kind.to_string();
        self.line(
            &place,
            raw,
            &Line {
                kind: "piece",
                offset,
                bit,
                bits: piece.bits.end - piece.bits.start,
                raw,
                meaning: &meaning,
            },
        );
        self.findings_before(bytes.end);
    }
}
