//! Judges zlib payloads: faults that the codec crate names become findings.

use btrfs_payload_zlib::{Event, Fault, FaultKind, walk};

use super::judge::{DECODE_LIMIT, Judge};
use super::report::Severity::{self, Error, Warning};
use crate::rules::limits::u64_of;

/// A payload that decodes to more than it claims: the kernel cuts what is too much, the fallback
/// of `btrfs receive` gives up. `Judge::lengths` has
/// the exception: the sector of a small file.
pub(super) const TOO_LONG: Severity = Error;

pub(super) fn judge(judge: &mut Judge<'_>) {
    let mut faults = Vec::new();
    let walked = walk(judge.payload, DECODE_LIMIT, &mut |event| {
        if let Event::Fault(fault) = event {
            faults.push(fault);
        }
    });
    let lacks_data = judge.lacks_data(walked.decoded.len());
    // Where matches come from nowhere, the content is not known, nor its checksum.
    let unknown = |fault: &Fault| matches!(fault.kind, FaultKind::TooFarBack { .. });
    let unknown = faults.iter().any(unknown);
    let mut sound = true;
    for Fault { offset, kind, .. } in faults {
        let Some((code, mut severity)) = finding(judge, &kind) else {
            continue;
        };
        match kind {
            // No reader joins streams: what the first one lacks reads as zeroes.
            FaultKind::Trailing { stream: true, .. } if lacks_data => severity = Error,
            FaultKind::Checksum { .. } if unknown => continue,
            _ => {}
        }
        sound &= severity != Error;
        judge.add(code, severity, Some(offset), kind.to_string());
    }
    if sound {
        judge.decoded(walked.decoded, TOO_LONG);
    } else {
        judge.decoded = walked.decoded;
    }
}

/// The finding for a fault, or `None` where it is none.
fn finding(judge: &Judge<'_>, kind: &FaultKind) -> Option<(&'static str, Severity)> {
    use FaultKind as Kind;
    Some(match *kind {
        Kind::Empty
        | Kind::HeaderCheck { .. }
        | Kind::Method { .. }
        | Kind::Gzip
        | Kind::Zstd
        | Kind::RawDeflate => ("zlib-header", Error),
        Kind::WindowSize { .. }
        | Kind::BeyondWindow {
            is_unsafe: true, ..
        } => ("unsafe-payload", Error),
        Kind::BeyondWindow { .. } => ("zlib-beyond-window", Warning),
        Kind::Dictionary => ("zlib-dictionary", Error),
        Kind::Truncated { .. } => ("zlib-truncated", Error),
        Kind::NoFinalBlock => ("zlib-no-final-block", Error),
        Kind::NoEndOfBlock => ("zlib-no-end-of-block", Error),
        Kind::TooFarBack { .. } => ("zlib-distance", Error),
        Kind::Checksum { .. } => ("zlib-adler32", Error),
        Kind::Trailing {
            len, zero: true, ..
        } if judge.is_sector_padding(len) => return None,
        Kind::Trailing { .. } => ("zlib-behind-stream", Warning),
        // A reader that has all it wants does not look that far.
        Kind::SilentChunk { decoded, .. } if u64_of(decoded) >= judge.wanted() => {
            ("zlib-silent-page", Warning)
        }
        Kind::SilentChunk { .. } => ("zlib-silent-page", Error),
        _ => ("zlib-block-damaged", Error),
    })
}
