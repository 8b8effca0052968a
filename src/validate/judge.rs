//! The portable contract: one payload, every kernel since 5.19, the fallback of `btrfs receive`.
//!
//! The claims are held against the rules of the ioctl, the payload's structure is walked by its
//! codec, and then the lengths are compared: what is decoded with what is claimed and shown.
//! A payload that may become inline has to satisfy the inline decoders and the regular ones.

use std::cell::RefCell;

use bytes::Bytes;

use super::quick::Quick;
use super::report::{Finding, Report, Severity};
use super::{DecodeError, lzo, zlib, zstd};
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
/// Each thread keeps the decoders for the next payload; [`Validator`] is for whoever wants to
/// say when they go.
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
    VALIDATOR.with_borrow_mut(|validator| validator.validate(payload, fields, target))
}

/// As [`validate`], but walks every payload byte by byte, also one that the strict decoders
/// accept. The reports are the same; this is how tests see that they are.
#[must_use]
pub fn validate_by_walking(payload: &[u8], fields: &ExtentFields, target: &Target) -> Report {
    Judge::new(payload, fields, target).slowly().report
}

thread_local! {
    static VALIDATOR: RefCell<Validator> = RefCell::new(Validator::new());
}

/// The thread's validator decodes.
pub(super) fn decode(
    payload: &[u8],
    fields: &ExtentFields,
    target: &Target,
) -> Result<Bytes, DecodeError> {
    VALIDATOR.with_borrow_mut(|validator| validator.decode(payload, fields, target))
}

/// Judges one payload after another; keeps decoders and buffers, so that nothing is allocated
/// for a payload without findings.
#[derive(Debug)]
pub struct Validator {
    quick: Quick,
}

impl Default for Validator {
    fn default() -> Self {
        Self::new()
    }
}

impl Validator {
    /// Allocates some 400 KiB.
    #[must_use]
    pub fn new() -> Self {
        Self {
            quick: Quick::new(),
        }
    }

    /// As [`validate`]: the same findings, sooner where there are none.
    pub fn validate(&mut self, payload: &[u8], fields: &ExtentFields, target: &Target) -> Report {
        let mut judge = Judge::new(payload, fields, target);
        match self.quick.judge(&mut judge, false) {
            Some(_) => judge.report,
            None => judge.slowly().report,
        }
    }

    /// As [`super::decode`].
    ///
    /// # Errors
    /// As [`super::decode`].
    pub fn decode(
        &mut self,
        payload: &[u8],
        fields: &ExtentFields,
        target: &Target,
    ) -> Result<Bytes, DecodeError> {
        let mut judge = Judge::new(payload, fields, target);
        let mut bytes = match self.quick.judge(&mut judge, true) {
            Some(len) => self.quick.bytes(len).to_vec(),
            None => {
                judge = judge.slowly();
                std::mem::take(&mut judge.decoded)
            }
        };
        // Sound claims are at most 128 KiB, so the conversions cannot fail for them.
        let range = usize::try_from(fields.unencoded_offset)
            .ok()
            .zip(usize::try_from(fields.len).ok());
        match range {
            Some((start, len)) if judge.report.is_sound() => {
                bytes.resize(start + len, 0);
                Ok(Bytes::from(bytes).slice(start..))
            }
            _ => Err(DecodeError::NotSound(judge.report)),
        }
    }
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
    /// Begins with the claims: what is wrong with them is in the report.
    pub(super) fn new(payload: &'a [u8], fields: &'a ExtentFields, target: &'a Target) -> Self {
        let mut judge = Self {
            payload,
            fields,
            target,
            inline: can_be_inline(payload.len() as u64, fields, target),
            report: Report::default(),
            decoded: Vec::new(),
        };
        for rule in WriteCall::new(payload.len() as u64, fields, target).broken_rules() {
            judge.add(rule.code(), Severity::Error, None, rule.to_string());
        }
        judge
    }

    /// Walks the payload and finds everything.
    pub(super) fn slowly(mut self) -> Self {
        match self.fields.codec() {
            Some(Codec::Zlib) => zlib::judge(&mut self),
            Some(Codec::Lzo) => lzo::judge(&mut self),
            Some(Codec::Zstd) => zstd::judge(&mut self),
            // The rules have said that no such type exists; there is no way to look inside.
            None => {}
        }
        self
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

    /// The payload without the zeroes that may only fill its last sector.
    pub(super) fn without_padding(&self) -> &'a [u8] {
        let zeroes = self
            .payload
            .iter()
            .rev()
            .take_while(|&&byte| byte == 0)
            .count();
        if zeroes == 0 || !self.is_sector_padding(zeroes) {
            return self.payload;
        }
        let used = self.payload.len() - zeroes;
        // An LZO payload says itself how long it is, and may end with zeroes.
        let total = match self.fields.codec() {
            Some(Codec::Lzo) => self
                .payload
                .first_chunk()
                .and_then(|total| usize::try_from(u32::from_le_bytes(*total)).ok()),
            _ => None,
        };
        let used = total.filter(|&total| total >= used).unwrap_or(used);
        self.payload.get(..used).unwrap_or(self.payload)
    }

    /// True when `decoded` bytes are fewer than the file shows.
    pub(super) fn lacks_data(&self, decoded: usize) -> bool {
        let &ExtentFields {
            len,
            unencoded_offset,
            ..
        } = self.fields;
        (decoded as u64) < unencoded_offset.saturating_add(len)
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
        self.lengths(bytes.len() as u64, too_long);
        self.decoded = bytes;
    }

    /// Compares the number of decoded bytes with the claims.
    pub(super) fn lengths(&mut self, decoded: u64, too_long: Severity) {
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
