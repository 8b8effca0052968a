//! The extents of a file: what they are made of, and what is known of a payload.

use bytes::Bytes;
use thiserror::Error;

use crate::rules::limits::u64_of;
use crate::rules::{ExtentFields, Target, can_be_inline};
use crate::validate::{NotSound, validate};

/// A run of bytes of a file.
///
/// `E` is an extent with a payload: an [`EncodedExtent`] where it is to be written, a
/// [`ClaimedExtent`] where it was read. `P` is what there is of plain data, the bytes themselves
/// if nothing else is said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileExtent<E, P = Bytes> {
    /// Where it begins in the file, bytes.
    pub offset: u64,
    /// Bytes of the file it stands for.
    pub len: u64,
    /// What is there.
    pub content: Content<E, P>,
}

/// What a run of bytes of a file holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content<E, P = Bytes> {
    /// A payload.
    Encoded(E),
    /// Data as it is.
    Plain(P),
    /// Zeroes that are not stored.
    Hole,
}

/// A payload of which nothing is known but what somebody claims: a kernel, a manifest.
/// [`EncodedExtent::new`] judges it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimedExtent {
    /// The payload, maybe with zeroes that fill its last sector.
    pub payload: Bytes,
    /// The claims.
    pub fields: ExtentFields,
}

impl FileExtent<EncodedExtent> {
    /// The extent, at this offset of a file, bytes.
    #[must_use]
    pub fn encoded(offset: u64, extent: EncodedExtent) -> Self {
        Self {
            offset,
            len: extent.fields.len,
            content: Content::Encoded(extent),
        }
    }
}

impl<E> FileExtent<E> {
    /// The data, at this offset of a file, bytes.
    #[must_use]
    pub fn plain(offset: u64, data: Bytes) -> Self {
        Self {
            offset,
            len: u64_of(data.len()),
            content: Content::Plain(data),
        }
    }
}

impl<E, P> FileExtent<E, P> {
    /// So many zero bytes that are not stored, at this offset of a file, bytes.
    #[must_use]
    pub fn hole(offset: u64, len: u64) -> Self {
        Self {
            offset,
            len,
            content: Content::Hole,
        }
    }
}

/// A payload together with what is true of it, and the places that it was judged for.
///
/// There are only checked ways to make one. Whoever puts it into a file or a send stream asks
/// [`EncodedExtent::check_place`] first, so that it gets to no place that nobody has thought of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncodedExtent {
    payload: Bytes,
    fields: ExtentFields,
    /// Of the filesystems it was judged for, bytes.
    sector_size: u32,
    /// It is sound where it may become inline, or never does.
    sound_inline: bool,
}

/// The extent was judged, but not for such a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum WrongPlace {
    /// The filesystem has sectors of another size. Judge the payload for it, or make another.
    #[error(
        "the extent was judged for {got}-byte sectors, and the filesystem has {expected}-byte \
         sectors"
    )]
    SectorSize {
        /// What it was judged for, bytes.
        got: u32,
        /// What the place has, bytes.
        expected: u32,
    },
    /// It may become an inline extent here, and is sound as a regular one only: every other
    /// place in the file takes it. Make another payload, or write plain data.
    #[error(
        "{len} bytes at offset 0 may become an inline extent, which the extent is not sound as"
    )]
    Inline {
        /// Bytes of the file that it stands for.
        len: u64,
    },
}

/// The file cannot show that part of the extent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error(
    "no slice of {len} bytes at {unencoded_offset}: the extent shows {shown} decoded bytes at \
     {shown_offset}, and a slice of it begins at a sector, is not empty, and ends inside"
)]
#[non_exhaustive]
pub struct NoSuchSlice {
    /// Where the slice begins in the decoded bytes.
    pub unencoded_offset: u64,
    /// Its length, bytes.
    pub len: u64,
    /// Where in the decoded bytes it would have to begin at the earliest.
    pub shown_offset: u64,
    /// How many there are from there on.
    pub shown: u64,
}

impl EncodedExtent {
    /// An extent whose payload is sound for this target: every kernel since 5.19 and the
    /// fallback decoders of `btrfs receive` give the same bytes.
    ///
    /// It is as sound at every other place that a filesystem of this sector size takes it at,
    /// but for the start of a file, where short extents become inline: whether it is sound there
    /// is found out too, and remembered.
    ///
    /// # Errors
    /// [`NotSound`] with everything that is wrong. A payload that some kernel may come to harm
    /// on is never sound.
    pub fn new(payload: Bytes, fields: ExtentFields, target: &Target) -> Result<Self, NotSound> {
        let report = validate(&payload, &fields, target);
        if !report.is_sound() {
            return Err(NotSound(report));
        }
        let sector_size = target.sector_size;
        let start = likely_inline(Target::new(sector_size));
        let may_be_inline = |place| can_be_inline(u64_of(payload.len()), &fields, place);
        let sound_inline = may_be_inline(target)
            || !may_be_inline(&start)
            || validate(&payload, &fields, &start).is_sound();
        Ok(Self {
            payload,
            fields,
            sector_size,
            sound_inline,
        })
    }

    /// An extent fresh from one of our encoders, sound everywhere on filesystems of this sector
    /// size: the properties in tests/ stand for it.
    pub(crate) fn of_our_encoder(payload: Bytes, fields: ExtentFields, sector_size: u32) -> Self {
        Self {
            payload,
            fields,
            sector_size,
            sound_inline: true,
        }
    }

    /// The same payload, of which the file shows only the `len` bytes from `unencoded_offset`
    /// on: a bookend. It has to lie in what the extent shows: nobody has judged the rest.
    ///
    /// # Errors
    /// [`NoSuchSlice`] when the slice is empty, begins inside a sector or leaves the extent.
    pub fn slice(&self, unencoded_offset: u64, len: u64) -> Result<Self, NoSuchSlice> {
        let ExtentFields {
            len: shown,
            unencoded_offset: shown_offset,
            ..
        } = self.fields;
        let inside = unencoded_offset
            .checked_sub(shown_offset)
            .and_then(|skipped| shown.checked_sub(skipped))
            .is_some_and(|rest| len <= rest);
        if len == 0 || !inside || !unencoded_offset.is_multiple_of(u64::from(self.sector_size)) {
            return Err(NoSuchSlice {
                unencoded_offset,
                len,
                shown_offset,
                shown,
            });
        }
        Ok(Self {
            payload: self.payload.clone(),
            fields: ExtentFields {
                len,
                unencoded_offset,
                ..self.fields
            },
            ..*self
        })
    }

    /// Whether the extent was judged for this place: a filesystem of this sector size, and, where
    /// it may become inline, such extents. That is at offset 0 of a file that is no longer than
    /// the extent. The mount option `max_inline`, which nobody sees from outside, is taken for
    /// the largest.
    ///
    /// What the kernel itself looks at is not asked here: alignment, and whether the file keeps
    /// checksums ([`WriteCall`](crate::rules::WriteCall)).
    ///
    /// # Errors
    /// [`WrongPlace`] says what is different.
    pub fn check_place(&self, place: &Target) -> Result<(), WrongPlace> {
        if self.sector_size != place.sector_size {
            return Err(WrongPlace::SectorSize {
                got: self.sector_size,
                expected: place.sector_size,
            });
        }
        let payload_len = u64_of(self.payload.len());
        if !self.sound_inline && can_be_inline(payload_len, &self.fields, &likely_inline(*place)) {
            let len = self.fields.len;
            return Err(WrongPlace::Inline { len });
        }
        Ok(())
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

    /// Sector size of the filesystems it was judged for, bytes.
    #[must_use]
    pub fn sector_size(&self) -> u32 {
        self.sector_size
    }
}

/// The place, with as much as a mount option can let become inline.
fn likely_inline(place: Target) -> Target {
    Target {
        max_inline: place.sector_size,
        ..place
    }
}
