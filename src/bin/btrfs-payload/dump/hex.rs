//! `dump --hex`: the bytes of a payload, and what each of them is for.

use std::fmt::Write;

use anyhow::Result;
use btrfs_payload::validate::{Finding, Part, Piece, Severity, Structure};

use crate::output::Output;

/// Bytes on a line.
const WIDTH: usize = 16;

/// What each byte of a payload is for.
pub(super) struct Map {
    parts: Vec<Option<Part>>,
    broken: Vec<bool>,
}

impl Map {
    /// Of a payload of so many bytes.
    pub(super) fn new(len: usize) -> Self {
        Self {
            parts: vec![None; len],
            broken: vec![false; len],
        }
    }

    /// A byte that several structures share counts for the one that has its first bit.
    pub(super) fn add(&mut self, piece: &Piece<Structure>) {
        let byte = |bit: u64| usize::try_from(bit.div_ceil(8)).unwrap_or(usize::MAX);
        let (start, end) = (byte(piece.bits.start), byte(piece.bits.end));
        let end = end.min(self.parts.len());
        if let Some(parts) = self.parts.get_mut(start..end) {
            parts.fill(Some(piece.kind.part()));
        }
    }

    pub(super) fn mark(&mut self, finding: &Finding) {
        let at = finding.offset.and_then(|at| usize::try_from(at).ok());
        if let Some(broken) = at.and_then(|at| self.broken.get_mut(at)) {
            *broken |= finding.severity == Severity::Error;
        }
    }

    /// Prints bytes in hexadecimal and, beside them, a letter for each.
    pub(super) fn print(&self, payload: &[u8], output: &mut Output) -> Result<()> {
        let coloured = output.is_coloured();
        output.row(format_args!(
            "h header   t table   d data   c checksum   . padding   ? not explained   ! broken"
        ))?;
        let bytes: Vec<(u8, Option<Part>, bool)> = payload
            .iter()
            .zip(&self.parts)
            .zip(&self.broken)
            .map(|((byte, part), broken)| (*byte, *part, *broken))
            .collect();
        for (row, bytes) in bytes.chunks(WIDTH).enumerate() {
            let (mut hex, mut letters) = (String::new(), String::new());
            for (byte, part, broken) in bytes {
                let (letter, color) = shown(*part, *broken);
                // Writing to a string does not fail.
                let _ = match coloured {
                    true => write!(hex, "\x1b[{color}m{byte:02x}\x1b[0m "),
                    false => write!(hex, "{byte:02x} "),
                };
                letters.push(letter);
            }
            let missing = WIDTH.saturating_sub(bytes.len()).saturating_mul(3);
            let offset = row.saturating_mul(WIDTH);
            output.row(format_args!(
                "{offset:#08x}   {hex}{:missing$}  {letters}",
                ""
            ))?;
        }
        output.row(format_args!(""))
    }
}

/// The letter for a byte, and its colour on a terminal (ECMA-48).
fn shown(part: Option<Part>, broken: bool) -> (char, &'static str) {
    if broken {
        return ('!', "1;41");
    }
    match part {
        Some(Part::Header) => ('h', "36"),
        Some(Part::Table) => ('t', "33"),
        Some(Part::Data) => ('d', "0"),
        Some(Part::Checksum) => ('c', "35"),
        Some(Part::Padding) => ('.', "2"),
        _ => ('?', "31"),
    }
}
