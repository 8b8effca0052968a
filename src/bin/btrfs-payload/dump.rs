//! `dump`: every byte of a payload explained.

use std::fmt::Display;
use std::path::PathBuf;

use anyhow::Result;
use btrfs_payload::rules::Codec;
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
    let mut dump = Dump {
        payload: &payload,
        output,
        verdict: Verdict::Sound,
        result: Ok(()),
    };
    match fields.codec() {
        Some(Codec::Zlib) => {
            use btrfs_payload_zlib::{Event, walk};
            walk(&payload, LIMIT, &mut |event| match event {
                Event::Piece(piece) => dump.piece(&piece),
                Event::Fault(fault) => dump.fault(fault.offset, &fault.kind),
            });
        }
        Some(Codec::Lzo) => {
            use btrfs_payload_lzo::{Event, walk};
            let sector_size = args.claims.filesystem.sector_size as usize;
            walk(&payload, sector_size, LIMIT, &mut |event| match event {
                Event::Piece(piece) => dump.piece(&piece),
                Event::Fault(fault) => dump.fault(fault.offset, &fault.kind),
                _ => {}
            });
        }
        Some(Codec::Zstd) => {
            use btrfs_payload_zstd::{Event, walk};
            walk(&payload, LIMIT, &mut |event| match event {
                Event::Piece(piece) => dump.piece(&piece),
                Event::Fault(fault) => dump.fault(fault.offset, &fault.kind),
            });
        }
        None => {}
    }
    dump.result?;
    Ok(dump.verdict)
}

struct Dump<'a> {
    payload: &'a [u8],
    output: &'a mut Output,
    verdict: Verdict,
    /// The first failure to print; nothing is printed behind it.
    result: Result<()>,
}

impl Dump<'_> {
    fn piece<K: Display>(&mut self, piece: &Piece<K>) {
        if self.result.is_err() {
            return;
        }
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
        self.result = self
            .output
            .text(format_args!("{place:<11}{raw:<28}{meaning}"))
            .and_then(|()| {
                self.output.json(&Line {
                    kind: "piece",
                    offset,
                    bit,
                    bits: piece.bits.end - piece.bits.start,
                    raw,
                    meaning: &meaning,
                })
            });
    }

    fn fault(&mut self, offset: u64, kind: &impl Display) {
        self.verdict = Verdict::NotSound;
        if self.result.is_err() {
            return;
        }
        let meaning = kind.to_string();
        self.result = self
            .output
            .text(format_args!("{offset:#08x}   fault: {meaning}"))
            .and_then(|()| {
                self.output.json(&Line {
                    kind: "fault",
                    offset,
                    bit: 0,
                    bits: 0,
                    raw: "",
                    meaning: &meaning,
                })
            });
    }
}
