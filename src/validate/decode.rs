//! The bytes of a sound payload.

use bytes::Bytes;
use thiserror::Error;

use super::{Report, judge};
use crate::rules::{ExtentFields, Target};

/// Why a payload is not decoded.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// There is no answer that every reader would give. The report says why;
    /// [`super::predict`] tells what a single kernel would read.
    #[error("the payload is not sound: {}", first(.0))]
    NotSound(Report),
}

fn first(report: &Report) -> String {
    report
        .errors()
        .next()
        .map_or_else(String::new, ToString::to_string)
}

/// The `len` bytes that a file shows of a sound payload: the slice of the decoded bytes that
/// the claims name, with zeroes where the payload decodes to less.
///
/// # Errors
/// [`DecodeError::NotSound`] with everything that [`super::validate`] finds.
pub fn decode(
    payload: &[u8],
    fields: &ExtentFields,
    target: &Target,
) -> Result<Bytes, DecodeError> {
    judge::decode(payload, fields, target)
}
