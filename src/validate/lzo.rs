//! Judges LZO payloads: faults that the codec crate names become findings.

use btrfs_payload_lzo::{Event, Fault, FaultKind, walk};

use super::judge::{DECODE_LIMIT, Judge};
use super::report::Severity::{self, Error, Warning};

/// A payload that decodes to more than it claims: the kernel cuts what is too much; the fallback
/// of `btrfs receive` has no room for it. `Judge::lengths` has
/// the exception: the sector of a small file.
pub(super) const TOO_LONG: Severity = Error;

/// True where a payload without a fault, which decodes to this many bytes, has the shape of an
/// inline extent, or need not have it: one segment, which data of more than a sector is not.
pub(super) fn may_fit_inline(judge: &Judge<'_>, decoded: usize) -> bool {
    !judge.inline || decoded <= judge.target.sector_size as usize
}

pub(super) fn judge(judge: &mut Judge<'_>) {
    // Laid out for the sector size that its type names, whatever the target's is.
    let Some(sector_size) = judge.fields.compression.lzo_sector_size() else {
        return;
    };
    let mut faults = Vec::new();
    let walked = walk(
        judge.payload,
        sector_size as usize,
        DECODE_LIMIT,
        &mut |event| {
            if let Event::Fault(fault) = event {
                faults.push(fault);
            }
        },
    );
    let mut sound = true;
    for Fault { offset, kind, .. } in faults {
        let Some((code, severity)) = finding(judge, &kind) else {
            continue;
        };
        sound &= severity != Error;
        judge.add(code, severity, Some(offset), kind.to_string());
    }
    if judge.inline && sound && !walked.fits_inline(judge.payload.len()) {
        judge.add(
            "lzo-inline-shape",
            Error,
            Some(0),
            format!(
                "{} segments and {} of {} bytes used; an inline extent is one segment that \
                 fills the payload",
                walked.segments,
                walked.consumed,
                judge.payload.len()
            ),
        );
        sound = false;
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
        Kind::PayloadTooShort { .. } | Kind::TotalTooShort { .. } => ("lzo-too-short", Error),
        Kind::TotalTooLong { .. } | Kind::TotalPastPayload { .. } => ("lzo-total", Error),
        Kind::TotalNotInLastSector { .. } => ("lzo-total-not-in-last-sector", Error),
        Kind::ZeroesBehindTotal { got } if judge.is_sector_padding(got) => return None,
        Kind::ZeroesBehindTotal { .. } | Kind::BytesBehindTotal { .. } => (
            "lzo-behind-total",
            if judge.inline { Error } else { Warning },
        ),
        Kind::HeaderPastTotal { .. } | Kind::HeaderPastPayload { .. } => {
            ("lzo-header-truncated", Error)
        }
        Kind::HeaderStraddles { .. } => ("lzo-header-straddles", Error),
        Kind::PaddingNotZero { .. } => ("lzo-padding-not-zero", Warning),
        Kind::SegmentTooShort { .. } | Kind::SegmentTooLong { .. } => ("lzo-segment-length", Error),
        Kind::SegmentPastTotal { .. } | Kind::SegmentPastPayload { .. } => {
            ("lzo-segment-truncated", Error)
        }
        Kind::SegmentPastDisk { .. } => ("unsafe-payload", Error),
        Kind::RunLengthMarker { .. } => ("lzo-run-length", Error),
        Kind::SegmentOutputLong { .. } => ("lzo-segment-output", Error),
        Kind::SegmentOutputShort { .. } | Kind::SegmentOutputEmpty { .. } => {
            ("lzo-segment-not-a-sector", Warning)
        }
        // Every reader has all it wants by then, or joins them all.
        Kind::TooManySegments { .. } => ("lzo-too-many-segments", Warning),
        _ => ("lzo-segment-damaged", Error),
    })
}
