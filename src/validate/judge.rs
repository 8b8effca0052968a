//! The portable contract: one payload, every kernel since 5.19, the fallback of `btrfs receive`.
//!
//! The claims are held against the rules of the ioctl, the payload's structure is walked by its
//! codec, and then the lengths are compared: what is decoded with what is claimed and shown.
//! A payload that may become inline has to satisfy the inline decoders and the regular ones.

use super::report::{Finding, Report, Severity};
use super::{lzo, zlib, zstd};
use crate::rules::{Codec, ExtentFields, Target, WriteCall, can_be_inline, limits};

/// Judges a payload against its claims, for a filesystem.
///
/// The report has every finding, not only the first. Without an error in it, every kernel since
/// 5.19 (whatever its page size) and the fallback decoders of `btrfs receive` give the bytes
/// that [`super::decode`] gives.
///
/// The payload may end with the zeroes that fill its last sector, as the kernel hands it out.
///
/// Input is not trusted: for any bytes and any claims this does not panic, takes time in
/// proportion to the payload, and holds no more memory than a few extents.
///
/// ```
/// use btrfs_payload::rules::{EncodedIoId, ExtentFields, Target};
/// use btrfs_payload::validate::validate;
///
/// let fields = ExtentFields::whole(8192, EncodedIoId::ZSTD);
/// let report = validate(b"certainly no zstd frame", &fields, &Target::default());
/// let finding = report.errors().next().unwrap();
/// assert_eq!((finding.code, finding.offset), ("zstd-magic", Some(0)));
/// ```
#[must_use]
pub fn validate(payload: &[u8], fields: &ExtentFields, target: &Target) -> Report {
    judge(payload, fields, target).report
}

/// Judges a payload and keeps what it decodes to.
pub(super) fn judge<'a>(
    payload: &'a [u8],
    fields: &'a ExtentFields,
    target: &'a Target,
) -> Judge<'a> {
    let mut judge = Judge::new(payload, fields, target);
    for rule in WriteCall::new(payload.len() as u64, fields, target).broken_rules() {
        judge.add(rule.code(), Severity::Error, None, rule.to_string());
    }
    match fields.codec() {
        Some(Codec::Zlib) => zlib::judge(&mut judge),
        Some(Codec::Lzo) => lzo::judge(&mut judge),
        Some(Codec::Zstd) => zstd::judge(&mut judge),
        // The rules have said that no such type exists; there is no way to look inside.
        None => {}
    }
    judge
}

/// A payload under judgement.
pub(super) struct Judge<'a> {
    pub(super) payload: &'a [u8],
    pub(super) fields: &'a ExtentFields,
    pub(super) target: &'a Target,
    /// Some kernel makes an inline extent of it.
    pub(super) inline: bool,
    pub(super) report: Report,
    /// What a payload without a fault in its structure decodes to.
    pub(super) decoded: Vec<u8>,
}

/// Decoded bytes beyond which nobody looks: an extent and a sector.
pub(super) const DECODE_LIMIT: usize = btrfs_payload_common::MAX_EXTENT + 65536;

impl<'a> Judge<'a> {
    fn new(payload: &'a [u8], fields: &'a ExtentFields, target: &'a Target) -> Self {
        Self {
            payload,
            fields,
            target,
            inline: can_be_inline(payload.len() as u64, fields, target),
            report: Report::default(),
            decoded: Vec::new(),
        }
    }

    pub(super) fn add(
        &mut self,
        code: &'static str,
        severity: Severity,
        offset: Option<u64>,
        message: String,
    ) {
        self.report.add(Finding {
            code,
            severity,
            offset,
            message,
        });
    }

    /// True when `behind` zero bytes at the end of the payload are what fills the last sector
    /// of a regular extent.
    pub(super) fn is_sector_padding(&self, behind: usize) -> bool {
        let sector_size = self.target.sector_size as usize;
        !self.inline
            && behind < sector_size
            && self.payload.len().is_multiple_of(sector_size.max(1))
            && self
                .payload
                .iter()
                .rev()
                .take(behind)
                .all(|&byte| byte == 0)
    }

    /// Decoded position behind the last byte that a reader of a regular extent asks for: whole
    /// sectors.
    pub(super) fn wanted(&self) -> u64 {
        let &ExtentFields {
            len,
            unencoded_offset,
            ..
        } = self.fields;
        limits::round_up(len, self.target.sector_size)
            .and_then(|len| len.checked_add(unencoded_offset))
            .unwrap_or(u64::MAX)
    }

    /// Takes the bytes of a payload that decodes and compares their number with the claims.
    pub(super) fn decoded(&mut self, bytes: Vec<u8>, too_long: Severity) {
        let decoded = bytes.len() as u64;
        self.decoded = bytes;
        let &ExtentFields {
            len,
            unencoded_len,
            unencoded_offset,
            ..
        } = self.fields;
        let shown_end = unencoded_offset.saturating_add(len);
        if decoded > unencoded_len {
            self.add(
                "decodes-too-long",
                too_long,
                None,
                format!("decodes to {decoded} bytes, unencoded_len is {unencoded_len}"),
            );
        } else if decoded < shown_end {
            let (severity, consequence) = if self.inline {
                (Severity::Error, "unreadable where it lands inline")
            } else {
                (Severity::Warning, "the rest reads as zeroes")
            };
            self.add(
                "decodes-too-short",
                severity,
                None,
                format!("decodes to {decoded} bytes, {shown_end} are shown: {consequence}"),
            );
        }
    }
}
