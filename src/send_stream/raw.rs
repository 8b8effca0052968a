//! One command as it stands in the stream: frame, checksum, attributes as bytes.

#![deny(clippy::indexing_slicing)]

use std::sync::OnceLock;

use btrfs_payload_common::{Cursor, Truncated};
use bytes::Bytes;

use super::command::{CommandKind, Encode};
use super::crc::command_crc;
use super::format::{Attribute, COMMAND_HEADER_LEN, STREAM_HEADER_LEN, ValueType, Version};
use super::issue::{CommandError, Issue};
use super::value::Value;
use super::write::{self, EncodeError};

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

    /// Frames a command for a stream of this version. It belongs to no input: its offset and
    /// numbers are 0.
    ///
    /// # Errors
    /// [`EncodeError`] for what a receiver would refuse.
    pub fn encode(command: &impl Encode, version: Version) -> Result<Self, EncodeError> {
        let mut bytes = Vec::new();
        write::encode(command, version, &mut bytes)?;
        Ok(Self::new(bytes.into(), version, Place::default()))
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
    fn computed_crc(&self) -> u32 {
        *self.computed_crc.get_or_init(|| command_crc(&self.bytes))
    }

    /// Length, number and checksum from the header.
    fn header(&self) -> (u32, u16, u32) {
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

    /// Everything about the command that a sound stream does not have, in the order of the
    /// bytes; what is missing comes last.
    pub fn issues(&self) -> impl Iterator<Item = Issue> {
        let mut seen = Seen::default();
        self.header_issues()
            .into_iter()
            .chain(
                self.tlvs()
                    .flat_map(move |tlv| self.attribute_issues(tlv, &mut seen)),
            )
            .flatten()
            .chain(self.missing_attributes())
    }

    fn header_issues(&self) -> [Option<Issue>; 4] {
        let offset = self.offset();
        let (_, number, stored) = self.header();
        let kind = CommandKind::from_number(number);
        [
            match self.place.lead {
                Lead::AsDue => None,
                Lead::HeaderWithoutEnd => Some(Issue::HeaderWithoutEnd {
                    offset: offset.saturating_sub(STREAM_HEADER_LEN as u64),
                }),
                Lead::End => Some(Issue::CommandAfterEnd { offset }),
            },
            (stored != self.computed_crc()).then_some(Issue::Checksum {
                offset,
                stored,
                computed: self.computed_crc(),
            }),
            kind.is_none().then(|| self.unknown().into()),
            kind.filter(|kind| kind.since() > self.version)
                .map(|command| Issue::CommandVersion {
                    offset,
                    command,
                    got: self.version,
                    expected: command.since(),
                }),
        ]
    }

    fn attribute_issues(
        &self,
        tlv: Result<Tlv<'_>, Truncated>,
        seen: &mut Seen,
    ) -> [Option<Issue>; 4] {
        let tlv = match tlv {
            Ok(tlv) => tlv,
            Err(truncated) => {
                let issue = CommandError::Truncated(truncated).into();
                return [Some(issue), None, None, None];
            }
        };
        let offset = tlv.offset;
        let Some(attribute) = Attribute::from_number(tlv.number) else {
            let got = tlv.number;
            let issue = Issue::UnknownAttribute { offset, got };
            return [Some(issue), None, None, None];
        };
        [
            (!seen.insert(attribute)).then_some(Issue::DuplicateAttribute { offset, attribute }),
            self.kind()
                .filter(|kind| kind.attributes().iter().all(|u| u.attribute != attribute))
                .map(|command| Issue::UnusedAttribute {
                    offset,
                    command,
                    attribute,
                }),
            (attribute.since() > self.version).then(|| Issue::AttributeVersion {
                offset,
                attribute,
                got: self.version,
                expected: attribute.since(),
            }),
            value_issue(attribute, tlv.value_offset, tlv.value),
        ]
    }

    /// Needed attributes that are not there. Nothing where the attributes cannot be told
    /// apart, or the command is unknown.
    fn missing_attributes(&self) -> impl Iterator<Item = Issue> {
        let mut seen = Seen::default();
        let whole = self.tlvs().all(|tlv| {
            tlv.is_ok_and(|tlv| {
                if let Some(attribute) = Attribute::from_number(tlv.number) {
                    seen.insert(attribute);
                }
                true
            })
        });
        self.kind()
            .filter(|_| whole)
            .into_iter()
            .flat_map(move |command| {
                command
                    .attributes()
                    .iter()
                    .filter(move |usage| !usage.optional && !seen.contains(usage.attribute))
                    .map(move |usage| self.missing(command, usage.attribute).into())
            })
    }

    fn missing(&self, command: CommandKind, attribute: Attribute) -> CommandError {
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

    /// Finds the value of every attribute in one pass.
    pub(super) fn index_attributes(
        &self,
        kind: CommandKind,
    ) -> Result<Attributes<'_>, CommandError> {
        let mut values = [None; VALUES];
        for tlv in self.tlvs() {
            let tlv = tlv.map_err(CommandError::Truncated)?;
            if let Some(value) = values.get_mut(usize::from(tlv.number)) {
                *value = Some(tlv.value);
            }
        }
        Ok(Attributes {
            command: self,
            kind,
            values,
        })
    }

    /// The attributes, without taking shares of the buffer.
    fn tlvs(&self) -> Tlvs<'_> {
        let attributes = self.bytes.get(COMMAND_HEADER_LEN..).unwrap_or_default();
        let offset = self.offset().saturating_add(COMMAND_HEADER_LEN as u64);
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
    fn offset_of(&self, value: &[u8]) -> u64 {
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

/// What is wrong with the value of an attribute, whatever command it is in.
fn value_issue(attribute: Attribute, offset: u64, value: &[u8]) -> Option<Issue> {
    let got = value.len();
    let form = attribute.value_type();
    if let Some(expected) = form.size().filter(|&size| size != got) {
        return Some(Issue::Command(CommandError::Size {
            offset,
            attribute,
            got,
            expected,
        }));
    }
    match form {
        ValueType::Timespec => {
            let got = u32::from_le_bytes(*value.last_chunk()?);
            (got >= write::NANOSECONDS).then_some(Issue::Nanoseconds {
                offset,
                attribute,
                got,
            })
        }
        ValueType::String if got > attribute.max_len() => Some(Issue::TooLong {
            offset,
            attribute,
            got,
            limit: attribute.max_len(),
        }),
        ValueType::String => {
            let zero = value.iter().position(|&byte| byte == 0)?;
            Some(Issue::ZeroByte {
                offset: offset.saturating_add(u64::try_from(zero).unwrap_or(u64::MAX)),
                attribute,
            })
        }
        _ => None,
    }
}

/// A set of attributes.
#[derive(Debug, Clone, Copy, Default)]
struct Seen(u64);

impl Seen {
    /// The attribute's bit; numbers end at 35.
    fn bit(attribute: Attribute) -> u64 {
        1 << attribute.number()
    }

    /// Adds it; false when it was there.
    fn insert(&mut self, attribute: Attribute) -> bool {
        let new = !self.contains(attribute);
        self.0 |= Self::bit(attribute);
        new
    }

    fn contains(self, attribute: Attribute) -> bool {
        self.0 & Self::bit(attribute) != 0
    }
}

/// An attribute that is still part of its command.
struct Tlv<'a> {
    /// Offset of its number in the input, bytes.
    offset: u64,
    number: u16,
    /// Offset of the value in the input, bytes.
    value_offset: u64,
    value: &'a [u8],
}

/// Goes through the attributes of a command; an error is the last item.
struct Tlvs<'a> {
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

/// One for each number, 0 unused.
const VALUES: usize = 36;

/// The values of a command's attributes.
pub(super) struct Attributes<'a> {
    command: &'a RawCommand,
    kind: CommandKind,
    values: [Option<&'a [u8]>; VALUES],
}

impl Attributes<'_> {
    /// The value, if the attribute is there.
    pub(super) fn value<T: Value>(&self, attribute: Attribute) -> Result<Option<T>, CommandError> {
        let value = self.values.get(usize::from(attribute.number()));
        let Some(value) = value.copied().flatten() else {
            return Ok(None);
        };
        T::from_bytes(value, &self.command.bytes)
            .map(Some)
            .ok_or_else(|| CommandError::Size {
                offset: self.command.offset_of(value),
                attribute,
                got: value.len(),
                expected: attribute.value_type().size().unwrap_or_default(),
            })
    }

    /// The error for an attribute that must be there.
    pub(super) fn missing(&self, attribute: Attribute) -> CommandError {
        self.command.missing(self.kind, attribute)
    }
}
