//! The payload of an `ENCODED_WRITE`: what a receiver makes of it, and its data.
//!
//! `btrfs receive` hands the payload to the ioctl; where that says EINVAL it decodes the payload
//! itself and writes plain data. So a broken rule of the ioctl costs compression and not data,
//! as long as the fallback decoders read the payload.

use bytes::Bytes;

use crate::rules::limits::{self, u64_of};
use crate::rules::{Codec, ExtentFields, Received, Sectors, Target, WriteCall};
use crate::send_stream::command::EncodedWrite;
use crate::validate::{self, Finding, NotSound, Report, Severity, validate};

/// The data of an encoded write.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct DecodedExtent {
    /// The bytes that the file shows.
    pub data: Bytes,
    /// The ioctl refuses the payload; a receiver has to decode it.
    pub falls_back: bool,
    /// `btrfs receive` cannot decode it: it has to be made again before a receiver may have to.
    /// Inline zlib and LZO extents of Linux 7 are such, which decode to a whole sector.
    pub receive_fails: bool,
}

/// Bytes that are decoded at the most for one encoded write. The ioctl takes no more than an
/// extent; with more, `btrfs receive` decodes, and so do we.
pub(super) const MAX_DECODED: u64 = 16 << 20;

/// `btrfs receive` decodes the payload; the rule is about its place, or about its gain.
fn makes_fall_back(finding: &Finding) -> bool {
    finding
        .rule
        .is_some_and(|rule| rule.received() == Received::FallsBack && !rule.is_too_long())
}

/// `btrfs receive` decodes the payload, which cannot be judged as an extent.
fn is_long(finding: &Finding) -> bool {
    finding.rule.is_some_and(|rule| rule.is_too_long())
}

/// True for a payload whose fallback decoding by `btrfs receive` fails: its decoders for zlib and
/// LZO have room for what is claimed.
fn receive_fails(fields: &ExtentFields, report: &Report) -> bool {
    fields.codec() != Some(Codec::Zstd) && report.findings().iter().any(Finding::decodes_too_long)
}

/// True where a file is longer than a write that ends inside a sector: the ioctl refuses it.
pub(super) fn ends_inside(len: u64, target: &Target) -> bool {
    let end = target.offset.saturating_add(len);
    end < target.file_size && !end.is_multiple_of(u64::from(target.sector_size.max(1)))
}

/// Findings of an encoded write in a stream, for a filesystem and a file of this size (0 where
/// it is not known). What only makes a receiver fall back is a warning, unless its decoders
/// fail then.
pub(super) fn judge(write: &EncodedWrite, target: &Target) -> Report {
    let fields = write.fields();
    let report = validate(&write.data, &fields, &target.at(write.file_offset));
    let fall_back = |finding: Finding| Finding {
        code: "receive-falls-back",
        severity: Severity::Warning,
        message: format!(
            "{}; btrfs receive decodes the payload and writes plain data",
            finding.message
        ),
        ..finding
    };
    let rules = || report.errors().filter(|f| makes_fall_back(f) || is_long(f));
    if report.errors().any(is_long) && decode_long(write).is_some() {
        return rules().cloned().map(fall_back).collect();
    }
    let fails = rules().next().is_some() && receive_fails(&fields, &report);
    report.map(|finding| {
        if makes_fall_back(&finding) {
            fall_back(finding)
        } else if finding.decodes_too_long() && fails {
            Finding {
                severity: Severity::Error,
                ..finding
            }
        } else {
            finding
        }
    })
}

/// The bytes that a receiver writes for an encoded write, through the ioctl or through its
/// fallback decoders, on any filesystem. Payloads of more than an extent are decoded up to
/// 16 MiB.
///
/// # Errors
/// [`NotSound`] when some kernel since 5.19 or the fallback decoders would not give them; see
/// [`DecodedExtent::receive_fails`] for the exception.
pub fn decode_extent(write: &EncodedWrite) -> Result<DecodedExtent, NotSound> {
    // A payload is judged on a filesystem it was made for; what the rules say of another one
    // is not the payload's fault.
    let lzo = write.fields().compression.lzo_sector_size();
    let home = Target::new(lzo.unwrap_or(limits::MIN_SECTOR_SIZE)).at(write.file_offset);
    let report = match decode_at(write, &home) {
        Err(NotSound(report)) => report,
        decoded => return decoded,
    };
    if report.errors().any(is_long)
        && let Some(data) = decode_long(write)
    {
        return Ok(DecodedExtent {
            data,
            falls_back: true,
            receive_fails: false,
        });
    }
    // It may be the inline extent of a machine with larger sectors.
    if lzo.is_none() && report.errors().any(Finding::decodes_too_long) {
        let home = Target::new(limits::MAX_SECTOR_SIZE).at(write.file_offset);
        if let Ok(decoded) = decode_at(write, &home) {
            return Ok(decoded);
        }
    }
    Err(NotSound(report))
}

fn decode_at(write: &EncodedWrite, home: &Target) -> Result<DecodedExtent, NotSound> {
    let fields = write.fields();
    let decoded = |data, falls_back| DecodedExtent {
        data,
        falls_back,
        // Of what is sound, only a small file's only extent can be too long for receive.
        receive_fails: home.offset == 0
            && fields.unencoded_len <= u64::from(home.sector_size)
            && receive_fails(&fields, &validate(&write.data, &fields, home)),
    };
    let report = match validate::decode(&write.data, &fields, home) {
        Ok(data) => return Ok(decoded(data, false)),
        Err(NotSound(report)) => report,
    };
    if !report.errors().all(makes_fall_back) {
        return Err(NotSound(report));
    }
    match decode_elsewhere(write, &fields, *home) {
        Some(data) => Ok(decoded(data, true)),
        None => Err(NotSound(report)),
    }
}

/// Decodes a payload whose only fault is its place: as if all its decoded bytes stood at the
/// beginning of a sector after the file's first, in an extent of the largest size. How long it
/// may be by its real claims has been judged before.
fn decode_elsewhere(write: &EncodedWrite, fields: &ExtentFields, target: Target) -> Option<Bytes> {
    let start = usize::try_from(fields.unencoded_offset).ok()?;
    let end = fields.unencoded_offset.checked_add(fields.len)?;
    let elsewhere = ExtentFields {
        len: end,
        unencoded_offset: 0,
        unencoded_len: limits::MAX_EXTENT,
        ..*fields
    };
    let place = target.at(u64::from(target.sector_size));
    let data = validate::decode(&write.data, &elsewhere, &place).ok()?;
    (start <= data.len()).then(|| data.slice(start..))
}

/// Decodes what is larger than an extent, as `btrfs receive` does after the ioctl has refused it.
fn decode_long(write: &EncodedWrite) -> Option<Bytes> {
    let fields = write.fields();
    let home = fields.compression.lzo_sector_size();
    let home = Target::new(home.unwrap_or(limits::MIN_SECTOR_SIZE)).at(write.file_offset);
    let call = WriteCall::new(u64_of(write.data.len()), &fields, &home);
    let mut rules = call.broken_rules();
    if fields.unencoded_len > MAX_DECODED
        || !rules.all(|rule| rule.received() == Received::FallsBack)
    {
        return None;
    }
    let len = usize::try_from(fields.unencoded_len).ok()?;
    let mut out = Vec::new();
    match fields.codec()? {
        Codec::Zlib => btrfs_payload_zlib::receive::fallback(&write.data, len, &mut out).ok()?,
        Codec::Lzo => {
            let sector_size = usize::try_from(home.sector_size).ok()?;
            btrfs_payload_lzo::receive::fallback(&write.data, len, sector_size, &mut out).ok()?;
        }
        Codec::Zstd => {
            out.resize(len, 0);
            let mut decoder = btrfs_payload_zstd::Decoder::new().ok()?;
            decoder.decode_long(&write.data, &mut out).ok()?;
        }
    }
    let start = usize::try_from(fields.unencoded_offset).ok()?;
    let end = start.checked_add(usize::try_from(fields.len).ok()?)?;
    (end <= out.len()).then(|| Bytes::from(out).slice(start..end))
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
