//! The values of attributes as Rust types, and how a command's fields hold them.

use std::fmt;

use bytes::Bytes;

use super::format::{Attribute, ValueType};
use super::frame::{AttributeWriter, EncodeError};
use super::issue::CommandError;
use super::kind::CommandKind;
use super::raw::{RawAttribute, RawCommand};
use crate::rules::EncodedIoId;

/// Sixteen bytes that identify a subvolume.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Uuid(pub [u8; 16]);

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, byte) in self.0.iter().enumerate() {
            if matches!(i, 4 | 6 | 8 | 10) {
                f.write_str("-")?;
            }
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

/// A time as an inode has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timespec {
    /// Seconds since 1970, negative before.
    pub seconds: i64,
    /// Nanoseconds after it, below 1,000,000,000 in a sound stream.
    pub nanoseconds: u32,
}

/// The value of an attribute, whatever command it is in.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum AttributeValue {
    /// A number of one, four or eight bytes.
    Number(u64),
    /// Sixteen bytes.
    Uuid(Uuid),
    /// A time.
    Time(Timespec),
    /// A path or name.
    Text(Bytes),
    /// Any bytes; those of an attribute without a meaning too.
    Data(Bytes),
    /// Bytes that are too many or too few for what the attribute is.
    WrongSize(Bytes),
}

impl RawAttribute {
    /// The value as the attribute's form has it.
    #[must_use]
    pub fn typed(&self) -> AttributeValue {
        let bytes = &self.value;
        fn number<T: Value + Into<u64>>(bytes: &Bytes) -> Option<AttributeValue> {
            T::from_bytes(bytes, bytes).map(|number| AttributeValue::Number(number.into()))
        }
        let value = match self.attribute().map(Attribute::value_type) {
            Some(ValueType::U8) => number::<u8>(bytes),
            Some(ValueType::U32) => number::<u32>(bytes),
            Some(ValueType::U64) => number::<u64>(bytes),
            Some(ValueType::Uuid) => Uuid::from_bytes(bytes, bytes).map(AttributeValue::Uuid),
            Some(ValueType::Timespec) => {
                Timespec::from_bytes(bytes, bytes).map(AttributeValue::Time)
            }
            Some(ValueType::String) => Some(AttributeValue::Text(bytes.clone())),
            Some(ValueType::Data) | None => Some(AttributeValue::Data(bytes.clone())),
        };
        value.unwrap_or_else(|| AttributeValue::WrongSize(bytes.clone()))
    }
}

/// A type that stands for the value of an attribute.
pub(super) trait Value: Sized {
    /// The value, or `None` when the bytes have not the size it must have. They are part of
    /// `buffer`, which byte strings go on sharing.
    fn from_bytes(bytes: &[u8], buffer: &Bytes) -> Option<Self>;

    /// Hands the value's bytes to `sink`.
    fn with_bytes<R>(&self, sink: impl FnOnce(&[u8]) -> R) -> R;
}

macro_rules! integer_values {
    ($($integer:ty),*) => {$(
        impl Value for $integer {
            fn from_bytes(bytes: &[u8], _: &Bytes) -> Option<Self> {
                bytes.try_into().ok().map(Self::from_le_bytes)
            }

            fn with_bytes<R>(&self, sink: impl FnOnce(&[u8]) -> R) -> R {
                sink(&self.to_le_bytes())
            }
        }
    )*};
}

integer_values!(u8, u32, u64);

impl Value for EncodedIoId {
    fn from_bytes(bytes: &[u8], buffer: &Bytes) -> Option<Self> {
        u32::from_bytes(bytes, buffer).map(Self)
    }

    fn with_bytes<R>(&self, sink: impl FnOnce(&[u8]) -> R) -> R {
        self.0.with_bytes(sink)
    }
}

impl Value for Uuid {
    fn from_bytes(bytes: &[u8], _: &Bytes) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    fn with_bytes<R>(&self, sink: impl FnOnce(&[u8]) -> R) -> R {
        sink(&self.0)
    }
}

impl Value for Timespec {
    fn from_bytes(bytes: &[u8], _: &Bytes) -> Option<Self> {
        let (seconds, nanoseconds) = bytes.split_first_chunk()?;
        Some(Self {
            seconds: i64::from_le_bytes(*seconds),
            nanoseconds: u32::from_le_bytes(nanoseconds.try_into().ok()?),
        })
    }

    fn with_bytes<R>(&self, sink: impl FnOnce(&[u8]) -> R) -> R {
        let mut bytes = [0; 12];
        let (seconds, nanoseconds) = bytes.split_at_mut(8);
        seconds.copy_from_slice(&self.seconds.to_le_bytes());
        nanoseconds.copy_from_slice(&self.nanoseconds.to_le_bytes());
        sink(&bytes)
    }
}

impl Value for Bytes {
    fn from_bytes(bytes: &[u8], buffer: &Bytes) -> Option<Self> {
        Some(buffer.slice_ref(bytes))
    }

    fn with_bytes<R>(&self, sink: impl FnOnce(&[u8]) -> R) -> R {
        sink(self)
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

impl<'a> Attributes<'a> {
    /// Finds the value of every attribute in one pass.
    pub(super) fn of(command: &'a RawCommand, kind: CommandKind) -> Result<Self, CommandError> {
        let mut values = [None; VALUES];
        for tlv in command.tlvs() {
            let tlv = tlv.map_err(CommandError::Truncated)?;
            if let Some(value) = values.get_mut(usize::from(tlv.number)) {
                *value = Some(tlv.value);
            }
        }
        Ok(Self {
            command,
            kind,
            values,
        })
    }

    /// The value, if the attribute is there.
    pub(super) fn value<T: Value>(&self, attribute: Attribute) -> Result<Option<T>, CommandError> {
        let value = self.values.get(usize::from(attribute.number()));
        let Some(value) = value.copied().flatten() else {
            return Ok(None);
        };
        T::from_bytes(value, self.command.bytes())
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

/// A field of a command: a value that must be there, or an `Option` of one that may be.
pub(super) trait Field: Sized {
    fn read(attributes: &Attributes<'_>, attribute: Attribute) -> Result<Self, CommandError>;

    fn write(&self, attribute: Attribute, to: &mut AttributeWriter<'_>) -> Result<(), EncodeError>;
}

impl<T: Value> Field for T {
    fn read(attributes: &Attributes<'_>, attribute: Attribute) -> Result<Self, CommandError> {
        attributes
            .value(attribute)?
            .ok_or_else(|| attributes.missing(attribute))
    }

    fn write(&self, attribute: Attribute, to: &mut AttributeWriter<'_>) -> Result<(), EncodeError> {
        self.with_bytes(|value| to.put(attribute, value))
    }
}

impl<T: Value> Field for Option<T> {
    fn read(attributes: &Attributes<'_>, attribute: Attribute) -> Result<Self, CommandError> {
        attributes.value(attribute)
    }

    fn write(&self, attribute: Attribute, to: &mut AttributeWriter<'_>) -> Result<(), EncodeError> {
        match self {
            Some(value) => value.write(attribute, to),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uuid_prints_as_the_usual_groups() {
        let uuid = Uuid([
            0x29, 0xa9, 0x99, 0xd9, 0x2f, 0x6f, 0xaa, 0x40, 0xaf, 0xc9, 0xfb, 0x81, 0xc8, 0x17,
            0x64, 0x23,
        ]);
        assert_eq!(uuid.to_string(), "29a999d9-2f6f-aa40-afc9-fb81c8176423");
    }

    #[test]
    fn times_before_1970_are_negative() {
        let bytes = Bytes::from_static(&[
            0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x00, 0xca, 0x9a, 0x3b,
        ]);
        let time = Timespec::from_bytes(&bytes, &bytes).unwrap();
        assert_eq!((time.seconds, time.nanoseconds), (-1, 1_000_000_000));
        time.with_bytes(|written| assert_eq!(written, &bytes[..]));
        assert_eq!(Timespec::from_bytes(&bytes[1..], &bytes), None);
    }
}
