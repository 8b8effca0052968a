//! `dump`: every byte of a payload explained.

mod hex;
mod page;

use std::ops::Range;
use std::path::PathBuf;

use anyhow::{Context, Result};
use btrfs_payload::validate::{DumpLine, Finding, Piece, Structure, dump};
use serde::Serialize;

use crate::Verdict;
use crate::claims::Claims;
use crate::explain::{Explain, with_sound};
use crate::origin::Origin;
use crate::output::{FindingLine, Output, input_name};
use crate::page::HtmlFile;

/// Raw bytes shown of one structure.
const SHOWN: usize = 8;

#[derive(Debug, clap::Args)]
#[command(override_usage = USAGE, after_help = with_sound(AFTER_HELP))]
pub(crate) struct Args {
    /// The payload, `-` for standard input
    #[arg(required_unless_present = "explain")]
    payload: Option<PathBuf>,

    /// Print all bytes too, with a letter and, on a terminal, a colour for what each is for; red
    /// where a rule is broken
    #[arg(short = 'x', long, help_heading = "Output")]
    hex: bool,

    #[command(flatten)]
    html: HtmlFile,

    #[command(flatten)]
    claims: Claims,

    #[command(flatten)]
    explain: Explain,
}

const USAGE: &str = "\
btrfs-payload dump [OPTIONS] <PAYLOAD>
       btrfs-payload dump --explain [CODE]";

const AFTER_HELP: &str = "\
Examples:
  btrfs-payload dump extents/000000000000.zstd
  btrfs-payload dump --hex payload.zlib --unencoded-len 3000 | less -R
  btrfs-payload dump extents/000000000000.zstd --html payload.html
  btrfs-payload dump payload --codec lzo --unencoded-len 64K --format json
  btrfs-payload dump --explain lzo-header-straddles

Exit status:
  0  the payload is sound
  1  it is not
  2  wrong usage, or the payload cannot be read";

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
    if let Some(done) = args.explain.run(output) {
        return done;
    }
    let path = args.payload.as_deref().context("a payload is expected")?;
    let (input, payload, fields, target) = args.claims.read(path)?;
    let html = args.html.begin(output)?;
    // Nothing is printed after the first failure to print.
    let mut printed = Ok(());
    if args.hex {
        let mut map = hex::Map::new(payload.len());
        dump(&payload, &fields, &target, &mut |line| match line {
            DumpLine::Structure(piece) => map.add(&piece),
            DumpLine::Finding(finding) => map.mark(finding),
            _ => {}
        });
        map.print(&payload, output)?;
    }
    let report = dump(&payload, &fields, &target, &mut |line| {
        if printed.is_ok() {
            printed = match line {
                DumpLine::Structure(piece) => print_structure(&payload, &piece, output),
                DumpLine::Finding(finding) => print_finding(finding, output),
                _ => Ok(()),
            };
        }
    });
    printed?;
    if let Some(html) = html {
        let mut gathered = page::Gathered::default();
        dump(&payload, &fields, &target, &mut |line| match line {
            DumpLine::Structure(piece) => {
                let raw = first_bytes(&payload, piece.bytes());
                gathered.structure(&piece, place_of(&piece), raw);
            }
            DumpLine::Finding(finding) => gathered.finding(finding),
            _ => {}
        });
        let name = input_name(path);
        let page = gathered.page(&name, payload.len(), &fields, &report, output);
        html.finish(&page, &Origin::of(&input))?;
    }
    Ok(if report.is_sound() {
        Verdict::Sound
    } else {
        Verdict::NotSound
    })
}

fn print_finding(finding: &Finding, output: &mut Output) -> Result<()> {
    let place = finding
        .offset
        .map_or_else(String::new, |offset| format!("{offset:#08x}"));
    let Finding { severity, code, .. } = finding;
    output.text(format_args!(
        "{place:<11}{:<28}{severity}: {code}: {}",
        "", finding.message
    ))?;
    output.json(&FindingLine::new(finding))
}

fn print_structure(payload: &[u8], piece: &Piece<Structure>, output: &mut Output) -> Result<()> {
    let (offset, bit) = (piece.bits.start / 8, piece.bits.start % 8);
    let place = place_of(piece);
    let line = Line {
        kind: "piece",
        offset,
        bit,
        bits: piece.bits.end.saturating_sub(piece.bits.start),
        raw: &first_bytes(payload, piece.bytes()),
        meaning: &piece.kind.to_string(),
    };
    let Line { raw, meaning, .. } = &line;
    output.text(format_args!("{place:<11}{raw:<28}{meaning}"))?;
    output.json(&line)
}

/// Where a structure begins: the byte, and the bit where it is not the first.
fn place_of(piece: &Piece<Structure>) -> String {
    let (offset, bit) = (piece.bits.start / 8, piece.bits.start % 8);
    if bit == 0 {
        format!("{offset:#08x}")
    } else {
        format!("{offset:#08x}.{bit}")
    }
}

/// The first of some bytes, in hexadecimal.
fn first_bytes(payload: &[u8], bytes: Range<u64>) -> String {
    let range = usize::try_from(bytes.start)
        .ok()
        .zip(usize::try_from(bytes.end).ok())
        .and_then(|(start, end)| payload.get(start..end))
        .unwrap_or_default();
    let shown: Vec<String> = range
        .iter()
        .take(SHOWN)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let more = if range.len() > SHOWN { " ..." } else { "" };
    shown.join(" ") + more
}
