//! Judges zstd payloads: faults that the codec crate names become findings.

use btrfs_payload_zstd::{Event, Fault, FaultKind, walk};

use super::judge::{DECODE_LIMIT, Judge};
use super::report::Severity::{self, Error, Note, Warning};

/// A frame that decodes to more than it claims: every reader cuts what is too much.
pub(super) const TOO_LONG: Severity = Warning;

pub(super) fn judge(judge: &mut Judge<'_>) {
    let mut faults = Vec::new();
    let walked = walk(judge.payload, DECODE_LIMIT, &mut |event| {
        if let Event::Fault(fault) = event {
            faults.push(fault);
        }
    });
    let lacks_data = judge.lacks_data(walked.decoded.len());
    let mut sound = true;
    for Fault { offset, kind, .. } in faults {
        let Some((code, mut severity)) = finding(judge, &kind) else {
            continue;
        };
        // No reader joins frames: what the first one lacks reads as zeroes.
        if lacks_data && matches!(kind, FaultKind::SecondFrame { .. }) {
            severity = Error;
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
        Kind::TruncatedMagic { .. }
        | Kind::WrongMagic { .. }
        | Kind::LegacyFrame { .. }
        | Kind::Magicless
        | Kind::OtherFormat { .. } => ("zstd-magic", Error),
        Kind::SkippableFirst { .. } => ("zstd-skippable-first", Error),
        Kind::EmptyFrame => ("zstd-empty-frame", Error),
        Kind::ReservedBit => ("zstd-reserved-bit", Error),
        Kind::UnusedBit => ("zstd-unused-bit", Warning),
        Kind::WindowLog { .. } | Kind::WindowTooLarge { .. } => ("zstd-window", Error),
        Kind::DictionaryId { .. } => ("zstd-dictionary", Error),
        Kind::DictionaryIdZero { .. } => ("zstd-dictionary-id-zero", Warning),
        Kind::ContentSizeAbsent => ("zstd-content-size-absent", Note),
        Kind::ContentSizeTooLarge { .. } | Kind::ContentSizeWrong { .. } => {
            ("zstd-content-size", Error)
        }
        Kind::TruncatedHeader { .. }
        | Kind::TruncatedBlockHeader { .. }
        | Kind::TruncatedBlock { .. }
        | Kind::NoLastBlock => ("zstd-truncated", Error),
        Kind::TruncatedChecksum { .. } => ("zstd-checksum-truncated", Error),
        Kind::ChecksumWrong { .. } => ("zstd-checksum", Error),
        Kind::ReservedBlock => ("zstd-reserved-block", Error),
        Kind::BlockTooLarge { .. } | Kind::BlockContentTooLarge { .. } => {
            ("zstd-block-too-large", Error)
        }
        Kind::OffsetBeyondWindow { .. } => ("zstd-offset-beyond-window", Error),
        Kind::OffsetBeyondStart { .. } => ("zstd-offset-beyond-start", Error),
        Kind::Trailing { len } if judge.is_sector_padding(len) => return None,
        Kind::Trailing { .. } | Kind::SkippableBehind { .. } => ("zstd-behind-frame", Warning),
        Kind::SecondFrame { .. } => ("zstd-second-frame", Warning),
        _ => ("zstd-block-damaged", Error),
    })
}
