//! Putting a frame around a command: header, checksum, attributes, and what is refused.

#![deny(clippy::indexing_slicing)]

use thiserror::Error;

use super::crc::command_crc;
use super::format::{Attribute, COMMAND_HEADER_LEN, NANOSECONDS, ValueType, Version};
use super::kind::CommandKind;
use crate::extent::WrongPlace;
use crate::rules::WriteRule;

/// Why a command cannot be written: a receiver would refuse it, or take it for something else.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// The stream's version does not have the command.
    #[error("command {command} needs a stream of version {expected}, this one is version {got}")]
    CommandVersion {
        /// The command.
        command: CommandKind,
        /// The stream's version.
        got: Version,
        /// The first version that has it.
        expected: Version,
    },
    /// The stream's version does not have the attribute.
    #[error(
        "attribute {attribute} needs a stream of version {expected}, this one is version {got}"
    )]
    AttributeVersion {
        /// The attribute.
        attribute: Attribute,
        /// The stream's version.
        got: Version,
        /// The first version that has it.
        expected: Version,
    },
    /// A zero byte in a path or name.
    #[error("attribute {attribute} holds a zero byte")]
    ZeroByte {
        /// The attribute.
        attribute: Attribute,
    },
    /// A value is too long for its length field, or for Linux.
    #[error("attribute {attribute} has {got} bytes, at most {limit} fit")]
    TooLong {
        /// The attribute.
        attribute: Attribute,
        /// Bytes.
        got: usize,
        /// Bytes allowed.
        limit: usize,
    },
    /// A time has a second or more of nanoseconds.
    #[error("attribute {attribute} has {got} nanoseconds, a second has {NANOSECONDS}")]
    Nanoseconds {
        /// The attribute.
        attribute: Attribute,
        /// The nanoseconds.
        got: u32,
    },
    /// The whole command is too long.
    #[error("command {command} has {got} bytes, a stream of version {version} allows {limit}")]
    CommandTooLong {
        /// The command.
        command: CommandKind,
        /// The stream's version.
        version: Version,
        /// Bytes, header included.
        got: usize,
        /// Bytes allowed.
        limit: usize,
    },
    /// An encoded write that `btrfs receive` fails on, or takes without writing anything.
    #[error("encoded_write: {0}")]
    EncodedWrite(WriteRule),
    /// An extent that was not judged for the place it is to get.
    #[error("encoded_write: {0}")]
    WrongPlace(#[from] WrongPlace),
    /// A command that is to be framed again has a wrong checksum: a right one would hide it.
    #[error("the command at offset {offset} has a wrong checksum and cannot be framed again")]
    Checksum {
        /// Its offset in the input it was read from.
        offset: u64,
    },
    /// A command that is to be framed again cannot be taken apart.
    #[error("the command at offset {offset} cannot be framed again: its attributes do not fit it")]
    Unreadable {
        /// Its offset in the input it was read from.
        offset: u64,
    },
}

pub(super) fn check_version(command: CommandKind, version: Version) -> Result<(), EncodeError> {
    if command.since() > version {
        return Err(EncodeError::CommandVersion {
            command,
            got: version,
            expected: command.since(),
        });
    }
    Ok(())
}

/// Puts the header around the attributes that `put` writes.
pub(super) fn frame(
    kind: CommandKind,
    version: Version,
    buffer: &mut Vec<u8>,
    put: impl FnOnce(&mut AttributeWriter<'_>) -> Result<(), EncodeError>,
) -> Result<(), EncodeError> {
    let start = buffer.len();
    buffer.extend_from_slice(&[0; COMMAND_HEADER_LEN]);
    let result = put(&mut AttributeWriter { buffer, version })
        .and_then(|()| fill_header(kind, version, buffer.get_mut(start..).unwrap_or_default()));
    if result.is_err() {
        buffer.truncate(start);
    }
    result
}

/// Writes length, number and checksum over the first bytes of a command.
fn fill_header(kind: CommandKind, version: Version, command: &mut [u8]) -> Result<(), EncodeError> {
    let got = command.len();
    let limit = version.max_command_len();
    let length = u32::try_from(got.saturating_sub(COMMAND_HEADER_LEN));
    let Some(length) = length.ok().filter(|_| got <= limit) else {
        return Err(EncodeError::CommandTooLong {
            command: kind,
            version,
            got,
            limit,
        });
    };
    let number = kind.number().to_le_bytes();
    if let Some(field) = command.first_chunk_mut::<6>() {
        let [l0, l1, l2, l3] = length.to_le_bytes();
        let [n0, n1] = number;
        *field = [l0, l1, l2, l3, n0, n1];
    }
    let crc = command_crc(command).to_le_bytes();
    if let Some(field) = command.get_mut(6..COMMAND_HEADER_LEN) {
        field.copy_from_slice(&crc);
    }
    Ok(())
}

/// Appends attributes to a command.
#[derive(Debug)]
pub struct AttributeWriter<'a> {
    buffer: &'a mut Vec<u8>,
    version: Version,
}

impl AttributeWriter<'_> {
    /// Appends one attribute. `DATA` without length has to come last: the table has it there,
    /// and so has `reframe`.
    pub(super) fn put(&mut self, attribute: Attribute, value: &[u8]) -> Result<(), EncodeError> {
        if attribute.since() > self.version {
            return Err(EncodeError::AttributeVersion {
                attribute,
                got: self.version,
                expected: attribute.since(),
            });
        }
        check_value(attribute, value)?;
        self.buffer
            .extend_from_slice(&attribute.number().to_le_bytes());
        if attribute != Attribute::Data || !self.version.data_is_unbounded() {
            let limit = attribute.max_len();
            let Some(len) = u16::try_from(value.len())
                .ok()
                .filter(|_| value.len() <= limit)
            else {
                return Err(EncodeError::TooLong {
                    attribute,
                    got: value.len(),
                    limit,
                });
            };
            self.buffer.extend_from_slice(&len.to_le_bytes());
        }
        self.buffer.extend_from_slice(value);
        Ok(())
    }
}

/// Refuses values that a receiver cannot use, whatever command they are in.
fn check_value(attribute: Attribute, value: &[u8]) -> Result<(), EncodeError> {
    match attribute.value_type() {
        ValueType::String if value.contains(&0) => Err(EncodeError::ZeroByte { attribute }),
        ValueType::Timespec => match value.last_chunk().copied().map(u32::from_le_bytes) {
            Some(got) if got >= NANOSECONDS => Err(EncodeError::Nanoseconds { attribute, got }),
            _ => Ok(()),
        },
        _ => Ok(()),
    }
}
