//! The portable contract: one payload, every kernel since 5.19, the fallback of `btrfs receive`.
//!
//! First the claims are checked against the rules of the ioctl. Then the codec walks the payload.
//! Then the decoded length is compared with the claims. A payload that may become inline has to be
//! right for the inline decoders and for the regular ones.

use std::cell::RefCell;

use bytes::Bytes;

use super::judge::Judge;
use super::quick::Quick;
use super::report::{Finding, NotSound, Report, Severity};
use super::{lzo, zlib, zstd};
use crate::rules::{Codec, ExtentFields, Target};

/// Judges a payload against its claims, for a filesystem.
///
/// The report has every finding, not only the first. Without an error in it, every kernel since
/// 5.19 (whatever its page size) and the fallback decoders of `btrfs receive` give the bytes
/// that [`decode()`] gives.
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

/// As [`validate()`], for an extent that is on btrfs already, as
/// [`ioctl::extents`](crate::ioctl::extents) gives it. What such an extent may be like although no
/// encoded write may ([`WriteRule::may_be_broken_on_disk`]) is a warning.
///
/// [`WriteRule::may_be_broken_on_disk`]: crate::rules::WriteRule::may_be_broken_on_disk
#[must_use]
pub fn validate_on_disk(payload: &[u8], fields: &ExtentFields, target: &Target) -> Report {
    VALIDATOR.with_borrow_mut(|validator| validator.validate_on_disk(payload, fields, target))
}

/// As [`validate()`], but walks every payload byte by byte, also one that the strict decoders
/// accept. The reports are the same; this is how tests see that they are.
#[must_use]
pub fn validate_by_walking(payload: &[u8], fields: &ExtentFields, target: &Target) -> Report {
    walk(Judge::new(payload, fields, target)).report
}

thread_local! {
    static VALIDATOR: RefCell<Validator> = RefCell::new(Validator::new());
}

/// The `len` bytes that a file shows of a sound payload: the slice of the decoded bytes that
/// the claims name, with zeroes where the payload decodes to less.
///
/// # Errors
/// [`NotSound`]: there is no answer that every reader would give. [`super::predict()`] tells
/// what a single kernel would read.
pub fn decode(payload: &[u8], fields: &ExtentFields, target: &Target) -> Result<Bytes, NotSound> {
    VALIDATOR.with_borrow_mut(|validator| validator.decode(payload, fields, target))
}

/// How many of the bytes that a reader got, from the first on, are what the file is to show of
/// the payload: what it decodes to by the strict rules of its format up to its first fault, and
/// if there is none, zeroes after it.
pub(super) fn right_bytes(
    payload: &[u8],
    fields: &ExtentFields,
    target: &Target,
    read: &[u8],
) -> usize {
    let start = usize::try_from(fields.unencoded_offset).unwrap_or(usize::MAX);
    VALIDATOR.with_borrow_mut(|validator| {
        let mut judge = Judge::new(payload, fields, target);
        let quick = validator.quick.judge(&mut judge, true);
        if quick.is_none() && fields.codec() == Some(Codec::Zlib) {
            // The walk takes long, and adds only whether zeroes after the end are right.
            let right = common(read, validator.quick.zlib_prefix(payload), start);
            if read.get(right) != Some(&0) {
                return right;
            }
        }
        let (decoded, whole) = match quick {
            Some(len) => (validator.quick.bytes(len), true),
            None => {
                judge = walk(judge);
                (judge.decoded.as_slice(), judge.whole)
            }
        };
        let right = common(read, decoded, start);
        let rest = read.get(right..).unwrap_or_default();
        if whole && start.saturating_add(right) >= decoded.len() {
            return right.saturating_add(rest.iter().take_while(|&&byte| byte == 0).count());
        }
        right
    })
}

/// How many bytes, from the first on, are those that are decoded from `start` on.
fn common(read: &[u8], decoded: &[u8], start: usize) -> usize {
    let held = decoded.get(start..).unwrap_or_default();
    let held = held.get(..read.len()).unwrap_or(held);
    if read.starts_with(held) {
        return held.len();
    }
    read.iter().zip(held).take_while(|(a, b)| a == b).count()
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

    /// As [`validate()`]: the same findings, sooner where there are none.
    pub fn validate(&mut self, payload: &[u8], fields: &ExtentFields, target: &Target) -> Report {
        let mut judge = Judge::new(payload, fields, target);
        match self.quick.judge(&mut judge, false) {
            Some(_) => judge.report,
            None => walk(judge).report,
        }
    }

    /// As [`validate_on_disk()`].
    pub fn validate_on_disk(
        &mut self,
        payload: &[u8],
        fields: &ExtentFields,
        target: &Target,
    ) -> Report {
        let report = self.validate(payload, fields, target);
        if report.findings().is_empty() {
            return report;
        }
        report.map(|finding| match finding.rule {
            Some(rule) if rule.may_be_broken_on_disk() => Finding {
                severity: Severity::Warning,
                ..finding
            },
            _ => finding,
        })
    }

    /// As [`decode()`].
    ///
    /// # Errors
    /// As [`decode()`].
    pub fn decode(
        &mut self,
        payload: &[u8],
        fields: &ExtentFields,
        target: &Target,
    ) -> Result<Bytes, NotSound> {
        let mut judge = Judge::new(payload, fields, target);
        let mut bytes = match self.quick.judge(&mut judge, true) {
            Some(len) => self.quick.bytes(len).to_vec(),
            None => {
                judge = walk(judge);
                std::mem::take(&mut judge.decoded)
            }
        };
        // Sound claims are at most 128 KiB, so the conversions cannot fail for them.
        let range = usize::try_from(fields.unencoded_offset)
            .ok()
            .zip(usize::try_from(fields.len).ok());
        match range {
            Some((start, len)) if judge.report.is_sound() => {
                bytes.resize(start.saturating_add(len), 0);
                Ok(Bytes::from(bytes).slice(start..))
            }
            _ => Err(NotSound(judge.report)),
        }
    }
}

/// Walks the payload and finds everything.
fn walk(mut judge: Judge<'_>) -> Judge<'_> {
    match judge.fields.codec() {
        Some(Codec::Zlib) => zlib::judge(&mut judge),
        Some(Codec::Lzo) => lzo::judge(&mut judge),
        Some(Codec::Zstd) => zstd::judge(&mut judge),
        // The rules have said that no such type exists; there is no way to look inside.
        None => {}
    }
    judge
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::EncodedIoId;

    /// The letter `a` in a stored block: 12 bytes of payload for one of data, as kernels make them
    /// of the last piece of a file that does not compress.
    const LONGER: [u8; 12] = [0x78, 1, 1, 1, 0, 0xfe, 0xff, b'a', 0, 0x62, 0, 0x62];

    #[test]
    fn what_kernels_have_stored_is_in_order_but_cannot_be_written() {
        let fields = ExtentFields::whole(1, EncodedIoId::ZLIB);
        let target = Target {
            nodatasum: true,
            ..Target::default().at(131_072)
        };
        let severities = |report: Report| -> Vec<_> {
            let findings = report.findings().iter();
            findings.map(|f| (f.code, f.severity)).collect()
        };
        let codes = ["file-without-checksums", "not-smaller"];
        assert_eq!(
            severities(validate(&LONGER, &fields, &target)),
            codes.map(|code| (code, Severity::Error))
        );
        assert_eq!(
            severities(validate_on_disk(&LONGER, &fields, &target)),
            codes.map(|code| (code, Severity::Warning))
        );
    }

    #[test]
    fn damage_on_disk_stays_an_error() {
        let fields = ExtentFields::whole(1, EncodedIoId::ZLIB);
        let mut damaged = LONGER;
        damaged[11] ^= 1;
        let report = validate_on_disk(&damaged, &fields, &Target::default().at(131_072));
        let codes: Vec<_> = report.errors().map(|finding| finding.code).collect();
        assert_eq!(codes, ["zlib-adler32"]);
    }
}
