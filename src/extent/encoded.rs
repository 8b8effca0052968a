//! The one type that the ioctl and the writer of send streams accept.

use bytes::Bytes;
use thiserror::Error;

use crate::rules::{ExtentFields, Target, WriteCall};

/// A payload together with what is true of it.
///
/// There are only checked ways to make one, so that what reaches a kernel or a send stream has
/// been judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncodedExtent {
    payload: Bytes,
    fields: ExtentFields,
}

/// Why a payload cannot become an [`EncodedExtent`].
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ExtentError {
    /// The payload is not sound. The text lists the findings; [`crate::validate::validate`]
    /// gives them one by one.
    #[error("the payload is not sound: {0}")]
    NotSound(String),
    /// Some kernels may come to harm on it; nothing makes this crate submit it.
    #[error("unsafe-payload: some kernels may come to harm on it, so it is never submitted")]
    Unsafe,
}

impl EncodedExtent {
    /// An extent whose payload is sound for this target: every kernel since 5.19 and the
    /// fallback decoders of `btrfs receive` give the same bytes.
    ///
    /// # Errors
    /// [`ExtentError::NotSound`] with what is wrong.
    pub fn new(payload: Bytes, fields: ExtentFields, target: &Target) -> Result<Self, ExtentError> {
        let broken: Vec<String> = WriteCall::new(payload.len() as u64, &fields, target)
            .broken_rules()
            .map(|rule| rule.to_string())
            .collect();
        if broken.is_empty() {
            Ok(Self { payload, fields })
        } else {
            Err(ExtentError::NotSound(broken.join("; ")))
        }
    }

    /// The payload, without padding.
    #[must_use]
    pub fn payload(&self) -> &Bytes {
        &self.payload
    }

    /// What is true of the payload.
    #[must_use]
    pub fn fields(&self) -> &ExtentFields {
        &self.fields
    }
}
