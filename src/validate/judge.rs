//! A payload while it is judged: its claims, the report so far, what it decodes to.

use super::report::{Finding, Report, Severity};
use crate::rules::limits::{self, u64_of};
use crate::rules::{Codec, ExtentFields, Target, WriteCall, can_be_inline};

/// A payload under judgement.
pub(super) struct Judge<'a> {
    pub(super) payload: &'a [u8],
    pub(super) fields: &'a ExtentFields,
    pub(super) target: &'a Target,
    /// Some kernel makes an inline extent of it.
    pub(super) inline: bool,
    pub(super) report: Report,
    /// What the payload decodes to, up to the first fault in its structure.
    pub(super) decoded: Vec<u8>,
    /// There is no such fault.
    pub(super) whole: bool,
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
            inline: can_be_inline(u64_of(payload.len()), fields, target),
            report: Report::default(),
            decoded: Vec::new(),
            whole: false,
        };
        for rule in WriteCall::new(u64_of(payload.len()), fields, target).broken_rules() {
            judge.report.add(Finding::of_rule(rule));
        }
        judge
    }

    pub(super) fn add(
        &mut self,
        code: &'static str,
        severity: Severity,
        offset: Option<u64>,
        message: String,
    ) {
        self.report.add(Finding {
            offset,
            ..Finding::new(code, severity, message)
        });
    }

    /// True when `behind` zero bytes at the end of the payload are what fills the last sector
    /// of a regular extent, here or on a filesystem with smaller sectors.
    pub(super) fn is_sector_padding(&self, behind: usize) -> bool {
        let largest = self.target.sector_size as usize;
        let smallest = limits::MIN_SECTOR_SIZE as usize;
        let mut sizes = std::iter::successors(Some(smallest), |size| size.checked_mul(2))
            .take_while(|&size| size <= largest);
        !self.inline
            && sizes.any(|size| behind < size && self.payload.len().is_multiple_of(size))
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
        let used = self.payload.len().saturating_sub(zeroes);
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
        u64_of(decoded) < unencoded_offset.saturating_add(len)
    }

    /// Decoded position after the last byte that a reader of a regular extent asks for: whole
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

    /// True for the shape of an inline extent, whatever the mount says of their size, that
    /// decodes to a sector at most: every kernel has room for it, inline or not.
    fn is_sector_of_a_small_file(&self, decoded: u64) -> bool {
        let payload = u64_of(self.payload.len());
        let longest = decoded.max(payload).max(self.fields.len);
        self.target.offset == 0
            && !self.fields.is_slice()
            && longest <= u64::from(self.target.sector_size)
    }

    /// Takes the bytes of a payload that decodes and compares their number with the claims.
    pub(super) fn decoded(&mut self, bytes: Vec<u8>, too_long: Severity) {
        self.lengths(u64_of(bytes.len()), too_long);
        self.decoded = bytes;
        self.whole = true;
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
            let sizes = format!("decodes to {decoded} bytes, unencoded_len is {unencoded_len}");
            // Inline extents of Linux 7: the sector is compressed whole, with the zeroes after
            // the end of the file. A reader with room for a sector cuts them off.
            let (severity, message) = if self.is_sector_of_a_small_file(decoded) {
                let reader = if too_long == Severity::Error {
                    "the fallback of btrfs receive fails"
                } else {
                    "so does the fallback of btrfs receive"
                };
                let message = format!(
                    "{sizes}: an inline extent of a whole sector; kernels cut it, {reader}"
                );
                (Severity::Warning, message)
            } else {
                (too_long, sizes)
            };
            self.add(Finding::DECODES_TOO_LONG, severity, None, message);
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
