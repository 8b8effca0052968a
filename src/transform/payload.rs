//! The payload of an `ENCODED_WRITE`: what a receiver makes of it, and its data.
//!
//! `btrfs receive` hands the payload to the ioctl; where that says EINVAL it decodes the payload
//! itself and writes plain data. So a broken rule of the ioctl costs compression and not data,
//! as long as the fallback decoders read the payload.

use bytes::Bytes;

use crate::rules::{ExtentFields, Sectors, Target, limits};
use crate::send_stream::command::EncodedWrite;
use crate::validate::{self, Finding, NotSound, Severity, validate};

/// The data of an encoded write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecodedExtent {
    /// The bytes that the file shows.
    pub data: Bytes,
    /// The ioctl refuses the payload; a receiver has to decode it.
    pub falls_back: bool,
}

/// Codes of the rules of the ioctl whose breach makes `btrfs receive` decode the payload: they
/// are about the place, not about the payload.
const FALL_BACK: [&str; 5] = [
    "lzo-other-sector-size",
    "not-smaller",
    "unaligned-offset",
    "unaligned-end",
    "unaligned-unencoded-offset",
];

pub(super) fn makes_fall_back(finding: &Finding) -> bool {
    FALL_BACK.contains(&finding.code)
}

/// Findings of an encoded write in a stream, for a filesystem and a file of this size (0 where
/// it is not known). What only makes a receiver fall back is a warning.
pub(super) fn judge(write: &EncodedWrite, target: &Target) -> Vec<Finding> {
    let fields = write.fields();
    let report = validate(&write.data, &fields, &target.at(write.file_offset));
    let fall_back = |finding: &Finding| Finding {
        code: "receive-falls-back",
        severity: Severity::Warning,
        offset: None,
        message: format!(
            "{}; btrfs receive decodes the payload and writes plain data",
            finding.message
        ),
    };
    report
        .findings()
        .iter()
        .map(|finding| {
            if makes_fall_back(finding) {
                fall_back(finding)
            } else {
                finding.clone()
            }
        })
        .collect()
}

/// The bytes that a receiver writes for an encoded write, through the ioctl or through its
/// fallback decoders, on any filesystem.
///
/// # Errors
/// [`NotSound`] when some kernel since 5.19 or the fallback decoders would not give them.
pub fn decode_extent(write: &EncodedWrite) -> Result<DecodedExtent, NotSound> {
    let fields = write.fields();
    // A payload is judged on a filesystem it was made for; what the rules say of another one
    // is not the payload's fault.
    let lzo = fields.compression.lzo_sector_size();
    let target = Target::new(lzo.unwrap_or(limits::MIN_SECTOR_SIZE)).at(write.file_offset);
    let report = match validate::decode(&write.data, &fields, &target) {
        Ok(data) => {
            return Ok(DecodedExtent {
                data,
                falls_back: false,
            });
        }
        Err(NotSound(report)) => report,
    };
    if !report.errors().all(makes_fall_back) {
        return Err(NotSound(report));
    }
    match decode_elsewhere(write, &fields, target) {
        Some(data) => Ok(DecodedExtent {
            data,
            falls_back: true,
        }),
        None => Err(NotSound(report)),
    }
}

/// Decodes a payload whose only fault is its place: as if all its decoded bytes stood at the
/// beginning of a sector behind the file's first, and were enough to call the payload smaller.
/// The report on the real claims has shown that it does not decode to more than those say.
fn decode_elsewhere(write: &EncodedWrite, fields: &ExtentFields, target: Target) -> Option<Bytes> {
    let start = usize::try_from(fields.unencoded_offset).ok()?;
    let end = fields.unencoded_offset.checked_add(fields.len)?;
    let payload_len = u64::try_from(write.data.len()).ok()?;
    let elsewhere = ExtentFields {
        len: end,
        unencoded_offset: 0,
        unencoded_len: fields.unencoded_len.max(payload_len.checked_add(1)?),
        ..*fields
    };
    let place = target.at(u64::from(target.sector_size));
    let data = validate::decode(&write.data, &elsewhere, &place).ok()?;
    (start <= data.len()).then(|| data.slice(start..))
}

/// Sectors an encoded write takes on disk; plain data where a receiver falls back.
pub(super) fn sectors_of(
    payload_len: u64,
    fields: &ExtentFields,
    falls_back: bool,
    target: &Target,
) -> u64 {
    let sectors = Sectors::of(payload_len, fields, target);
    // A payload laid out for other sectors is not taken by this filesystem either.
    let foreign = fields
        .compression
        .lzo_sector_size()
        .is_some_and(|size| size != target.sector_size);
    if falls_back || foreign {
        sectors.plain
    } else {
        sectors.encoded
    }
}
