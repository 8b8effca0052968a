//! One extent: a payload that has been judged, with what is true of it.

use bytes::Bytes;
use thiserror::Error;

use crate::rules::{ExtentFields, Target};
use crate::validate::{Report, validate};

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
    /// The payload is not sound; the report says why. Encode the data anew, or write it plain.
    #[error("the payload is not sound: {}", .0.errors().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    NotSound(Report),
    /// The slice is not one of whole sectors inside the decoded bytes.
    #[error(
        "no slice of {len} bytes at {unencoded_offset} in {unencoded_len} decoded bytes: it \
         begins at a sector, is not empty, and ends inside"
    )]
    Slice {
        /// Where the slice begins, bytes.
        unencoded_offset: u64,
        /// Its length, bytes.
        len: u64,
        /// What there is, bytes.
        unencoded_len: u64,
    },
}

impl EncodedExtent {
    /// An extent whose payload is sound for this target: every kernel since 5.19 and the
    /// fallback decoders of `btrfs receive` give the same bytes.
    ///
    /// # Errors
    /// [`ExtentError::NotSound`] with everything that is wrong. A payload that some kernel may
    /// come to harm on is never sound.
    pub fn new(payload: Bytes, fields: ExtentFields, target: &Target) -> Result<Self, ExtentError> {
        let report = validate(&payload, &fields, target);
        if report.is_sound() {
            Ok(Self { payload, fields })
        } else {
            Err(ExtentError::NotSound(report))
        }
    }

    /// An extent fresh from one of our encoders, for which the properties in tests/ stand.
    pub(crate) fn of_our_encoder(payload: Bytes, fields: ExtentFields) -> Self {
        Self { payload, fields }
    }

    /// The same payload, of which the file shows only the `len` bytes from `unencoded_offset`
    /// on: a bookend.
    ///
    /// # Errors
    /// [`ExtentError::Slice`] when the slice is empty, begins inside a sector or leaves the
    /// decoded bytes.
    pub fn slice(
        &self,
        unencoded_offset: u64,
        len: u64,
        sector_size: u32,
    ) -> Result<Self, ExtentError> {
        let inside = unencoded_offset
            .checked_add(len)
            .is_some_and(|end| end <= self.fields.unencoded_len);
        if len == 0 || !inside || !unencoded_offset.is_multiple_of(u64::from(sector_size)) {
            return Err(ExtentError::Slice {
                unencoded_offset,
                len,
                unencoded_len: self.fields.unencoded_len,
            });
        }
        Ok(Self {
            payload: self.payload.clone(),
            fields: ExtentFields {
                len,
                unencoded_offset,
                ..self.fields
            },
        })
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
