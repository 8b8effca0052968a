//! One command as it stands in the stream: frame, checksum, attributes as bytes.

#![deny(clippy::indexing_slicing)]

use std::sync::OnceLock;

use btrfs_payload_common::{Cursor, Truncated};
use bytes::Bytes;

use super::crc::command_crc;
use super::format::{Attribute, COMMAND_HEADER_LEN, Version};
use super::issue::CommandError;
use super::kind::CommandKind;
use crate::rules::limits::u64_of;

/// A command with its frame, in one buffer shared by everything that is read out of it.
///
/// The buffer may be part of a larger one that the reader filled: something to be kept for
/// long, a path say, is better copied.
#[derive(Debug, Clone)]
pub struct RawCommand {
    bytes: Bytes,
    place: Place,
    version: Version,
    /// The checksum, once somebody has asked for it.
    computed_crc: OnceLock<u32>,
}

/// Where in the input a command was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Place {
    /// Offset of the command, bytes.
    pub(super) offset: u64,
    /// Commands before it in the input.
    pub(super) index: u64,
    /// Streams before its own in the input.
    pub(super) stream: u64,
    pub(super) lead: Lead,
}

/// What stands before a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Lead {
    /// The stream's header, or another command.
    #[default]
    AsDue,
    /// A header, and before that a stream without its end.
    HeaderWithoutEnd,
    /// The end of a stream.
    End,
}

/// An attribute as it stands in a command.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RawAttribute {
    /// Offset of the attribute's number in the input, bytes.
    pub offset: u64,
    /// The number.
    pub number: u16,
    /// Offset of the value in the input, bytes.
    pub value_offset: u64,
    /// The value.
    pub value: Bytes,
}

impl RawAttribute {
    /// Which attribute it is; `None` for numbers without a meaning.
    #[must_use]
    pub fn attribute(&self) -> Option<Attribute> {
        Attribute::from_number(self.number)
    }
}

impl PartialEq for RawCommand {
    fn eq(&self, other: &Self) -> bool {
        (&self.bytes, self.place, self.version) == (&other.bytes, other.place, other.version)
    }
}

impl Eq for RawCommand {}

impl RawCommand {
    /// A frame as it stands in the input: header and attributes, nothing else.
    pub(super) fn new(bytes: Bytes, version: Version, place: Place) -> Self {
        Self {
            bytes,
            place,
            version,
            computed_crc: OnceLock::new(),
        }
    }

    /// A command from the bytes of all of it, as they stand at an offset of an input; `None` where
    /// they are not as many as its header says.
    #[must_use]
    pub fn from_bytes(bytes: Bytes, version: Version, offset: u64) -> Option<Self> {
        let (len, ..) = parse_header(&bytes)?;
        let whole = usize::try_from(len).ok()?.checked_add(COMMAND_HEADER_LEN)?;
        let place = Place {
            offset,
            ..Place::default()
        };
        (whole == bytes.len()).then(|| Self::new(bytes, version, place))
    }

    /// The whole command, header included.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Offset of the command in the input, bytes.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.place.offset
    }

    /// Commands before it in the input, over all streams.
    #[must_use]
    pub fn index(&self) -> u64 {
        self.place.index
    }

    /// Streams before its own in the input.
    #[must_use]
    pub fn stream(&self) -> u64 {
        self.place.stream
    }

    /// Version of its stream.
    #[must_use]
    pub fn version(&self) -> Version {
        self.version
    }

    /// The command's number.
    #[must_use]
    pub fn number(&self) -> u16 {
        self.header().1
    }

    /// Which command it is; `None` for numbers without a meaning.
    #[must_use]
    pub fn kind(&self) -> Option<CommandKind> {
        CommandKind::from_number(self.number())
    }

    /// True when the checksum is right.
    #[must_use]
    pub fn crc_ok(&self) -> bool {
        self.header().2 == self.computed_crc()
    }

    /// Computed when it is first asked for: not every reader wants to spend the time, and those
    /// who do may have other threads for it.
    pub(super) fn computed_crc(&self) -> u32 {
        *self.computed_crc.get_or_init(|| command_crc(&self.bytes))
    }

    /// What stands before it.
    pub(super) fn lead(&self) -> Lead {
        self.place.lead
    }

    /// Length, number and checksum from the header.
    pub(super) fn header(&self) -> (u32, u16, u32) {
        parse_header(&self.bytes).unwrap_or_default()
    }

    /// The attributes in their order. An error is the last item.
    pub fn attributes(&self) -> impl Iterator<Item = Result<RawAttribute, Truncated>> {
        self.tlvs().map(|tlv| tlv.map(|tlv| self.attribute(&tlv)))
    }

    /// The last attribute of this kind, which is the one that counts.
    #[must_use]
    pub fn value(&self, attribute: Attribute) -> Option<Bytes> {
        self.tlvs()
            .map_while(Result::ok)
            .filter(|tlv| tlv.number == attribute.number())
            .last()
            .map(|tlv| self.bytes.slice_ref(tlv.value))
    }

    pub(super) fn missing(&self, command: CommandKind, attribute: Attribute) -> CommandError {
        CommandError::Missing {
            offset: self.offset(),
            command,
            attribute,
        }
    }

    /// The error for a number without a meaning.
    pub(super) fn unknown(&self) -> CommandError {
        CommandError::UnknownCommand {
            offset: self.offset(),
            got: self.number(),
        }
    }

    /// The attributes, without taking shares of the buffer.
    pub(super) fn tlvs(&self) -> Tlvs<'_> {
        let attributes = self.bytes.get(COMMAND_HEADER_LEN..).unwrap_or_default();
        let offset = self.offset().saturating_add(u64_of(COMMAND_HEADER_LEN));
        Tlvs {
            cursor: Cursor::new(attributes, offset),
            version: self.version,
        }
    }

    fn attribute(&self, tlv: &Tlv<'_>) -> RawAttribute {
        RawAttribute {
            offset: tlv.offset,
            number: tlv.number,
            value_offset: tlv.value_offset,
            value: self.bytes.slice_ref(tlv.value),
        }
    }

    /// Offset in the input of the first byte of a value.
    pub(super) fn offset_of(&self, value: &[u8]) -> u64 {
        self.tlvs()
            .map_while(Result::ok)
            .find(|tlv| std::ptr::eq(tlv.value, value))
            .map_or(self.offset(), |tlv| tlv.value_offset)
    }
}

/// Length, number and checksum of a command header; `None` when it is cut short.
pub(super) fn parse_header(bytes: &[u8]) -> Option<(u32, u16, u32)> {
    let mut cursor = Cursor::new(bytes, 0);
    Some((
        cursor.u32_le().ok()?,
        cursor.u16_le().ok()?,
        cursor.u32_le().ok()?,
    ))
}

/// An attribute that is still part of its command.
pub(super) struct Tlv<'a> {
    /// Offset of its number in the input, bytes.
    pub(super) offset: u64,
    pub(super) number: u16,
    /// Offset of the value in the input, bytes.
    pub(super) value_offset: u64,
    pub(super) value: &'a [u8],
}

/// Goes through the attributes of a command; an error is the last item.
pub(super) struct Tlvs<'a> {
    cursor: Cursor<'a>,
    version: Version,
}

impl<'a> Tlvs<'a> {
    fn read(&mut self) -> Result<Tlv<'a>, Truncated> {
        let offset = self.cursor.offset();
        let number = self.cursor.u16_le()?;
        let unbounded = number == Attribute::Data.number() && self.version.data_is_unbounded();
        let len = if unbounded {
            self.cursor.remaining()
        } else {
            usize::from(self.cursor.u16_le()?)
        };
        Ok(Tlv {
            offset,
            number,
            value_offset: self.cursor.offset(),
            value: self.cursor.take(len)?,
        })
    }
}

impl<'a> Iterator for Tlvs<'a> {
    type Item = Result<Tlv<'a>, Truncated>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.cursor.is_empty() {
            return None;
        }
        let tlv = self.read();
        if tlv.is_err() {
            self.cursor = Cursor::new(&[], self.cursor.offset());
        }
        Some(tlv)
    }
}
