//! Writing streams: header, then commands one after another. The mirror of `read`.

#![deny(clippy::indexing_slicing)]

use std::io::{self, Write};

use bytes::Bytes;
use thiserror::Error;

use super::command::{self, CommandKind, Encode, EncodedWrite};
use super::crc::command_crc;
use super::format::{Attribute, COMMAND_HEADER_LEN, MAGIC, ValueType, Version};
use super::raw::RawCommand;
use crate::extent::EncodedExtent;
use crate::rules::{ExtentFields, WriteRule};

/// Nanoseconds of a second: a time has fewer.
pub(super) const NANOSECONDS: u32 = 1_000_000_000;

/// Commands are gathered up to this length and written together, bytes.
const FLUSH_LEN: usize = 128 * 1024;

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
    /// A command that is to be framed anew has a wrong checksum: a right one would hide it.
    #[error("the command at offset {offset} has a wrong checksum and cannot be framed anew")]
    Checksum {
        /// Its offset in the input it was read from.
        offset: u64,
    },
    /// A command that is to be framed anew cannot be taken apart.
    #[error("the command at offset {offset} cannot be framed anew: its attributes do not fit it")]
    Unreadable {
        /// Its offset in the input it was read from.
        offset: u64,
    },
}

/// Why a stream cannot be written on.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum WriteError {
    /// The output failed; how much of the stream it has is unknown.
    #[error("writing the send stream failed")]
    Io(#[from] io::Error),
    /// The command was refused; nothing of it was written.
    #[error(transparent)]
    Command(#[from] EncodeError),
    /// A command behind `END`.
    #[error("the stream has ended; a command needs a new stream header before it")]
    Ended,
}

/// Writes send streams.
///
/// Output is gathered: only [`Writer::finish`] makes sure that everything is handed over.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use btrfs_payload::send_stream::{Version, Writer, command};
/// let mut writer = Writer::new(Vec::new(), Version::V2)?;
/// writer.command(&command::MkFile { path: "a".into(), ino: 257 })?;
/// let stream = writer.finish()?;
/// assert!(stream.starts_with(b"btrfs-stream\0\x02\0\0\0"));
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Writer<W> {
    output: W,
    /// Bytes not handed over yet.
    buffer: Vec<u8>,
    /// Length of the buffer at which it is handed over, bytes.
    flush_len: usize,
    version: Version,
    ended: bool,
}

impl Writer<io::Sink> {
    /// Writes to memory, without a header: commands are framed where they stay.
    pub(crate) fn in_memory(version: Version) -> Self {
        Self {
            flush_len: usize::MAX,
            ..Self::headerless(io::sink(), version)
        }
    }

    /// What was written to memory.
    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.buffer
    }
}

impl<W: Write> Writer<W> {
    /// Begins a stream.
    ///
    /// # Errors
    /// [`WriteError::Io`].
    pub fn new(output: W, version: Version) -> Result<Self, WriteError> {
        let mut writer = Self::headerless(output, version);
        writer.put_header()?;
        Ok(writer)
    }

    /// Goes on with a stream whose header is elsewhere
    /// (`BTRFS_SEND_FLAG_OMIT_STREAM_HEADER`).
    pub fn headerless(output: W, version: Version) -> Self {
        Self {
            output,
            buffer: Vec::new(),
            flush_len: FLUSH_LEN,
            version,
            ended: false,
        }
    }

    /// Version of the present stream.
    pub fn version(&self) -> Version {
        self.version
    }

    /// Writes a command.
    ///
    /// # Errors
    /// [`WriteError::Command`] for what a receiver would refuse, [`WriteError::Ended`] behind
    /// `END`; neither writes anything. [`WriteError::Io`].
    pub fn command(&mut self, command: &impl Encode) -> Result<(), WriteError> {
        self.check_open()?;
        encode(command, self.version, &mut self.buffer)?;
        self.note(Some(command.kind()))
    }

    /// Writes a command as it was read. Between versions of the same framing (all but 1 and
    /// later ones) not a byte changes; otherwise it is framed anew, `DATA` comes last, and
    /// attributes that the version does not have are left out: from version 2 to 1 that is the
    /// creation time, which receivers do not use.
    ///
    /// # Errors
    /// As [`Writer::command`].
    pub fn raw(&mut self, command: &RawCommand) -> Result<(), WriteError> {
        self.check_open()?;
        reframe(command, self.version, &mut self.buffer)?;
        // As the reader: a damaged number does not end the stream.
        self.note(command.kind().filter(|_| command.crc_ok()))
    }

    /// Writes plain data, in as many `WRITE` commands as the version asks for.
    ///
    /// # Errors
    /// As [`Writer::command`].
    pub fn write(&mut self, path: &Bytes, file_offset: u64, data: &[u8]) -> Result<(), WriteError> {
        let mut file_offset = file_offset;
        for piece in data.chunks(self.version.write_data_len()) {
            self.check_open()?;
            frame(CommandKind::Write, self.version, &mut self.buffer, |to| {
                to.put(Attribute::Path, path)?;
                to.put(Attribute::FileOffset, &file_offset.to_le_bytes())?;
                to.put(Attribute::Data, piece)
            })?;
            self.note(Some(CommandKind::Write))?;
            let len = u64::try_from(piece.len()).unwrap_or(u64::MAX);
            file_offset = file_offset.saturating_add(len);
        }
        Ok(())
    }

    /// Writes a checked extent.
    ///
    /// # Errors
    /// As [`Writer::command`].
    pub fn encoded_write(
        &mut self,
        path: &Bytes,
        file_offset: u64,
        extent: &EncodedExtent,
    ) -> Result<(), WriteError> {
        self.command(&EncodedWrite::new(path.clone(), file_offset, extent))
    }

    /// Writes a payload of which nothing is known but what somebody claims.
    ///
    /// # Errors
    /// As [`Writer::command`].
    pub fn claimed_write(
        &mut self,
        path: &Bytes,
        file_offset: u64,
        fields: &ExtentFields,
        payload: &Bytes,
    ) -> Result<(), WriteError> {
        let payload = payload.clone();
        self.command(&EncodedWrite::claimed(
            path.clone(),
            file_offset,
            fields,
            payload,
        ))
    }

    /// Ends the present stream, if that is not done, and begins another one.
    ///
    /// # Errors
    /// [`WriteError::Io`].
    pub fn next_stream(&mut self, version: Version) -> Result<(), WriteError> {
        self.end()?;
        self.version = version;
        self.ended = false;
        self.put_header()
    }

    /// Ends the stream, if that is not done, and gives the output back with everything in it.
    ///
    /// # Errors
    /// [`WriteError::Io`].
    pub fn finish(mut self) -> Result<W, WriteError> {
        self.end()?;
        self.finish_open()
    }

    /// Gives the output back with everything in it, without an `END` of its own
    /// (`BTRFS_SEND_FLAG_OMIT_END_CMD`).
    ///
    /// # Errors
    /// [`WriteError::Io`].
    pub fn finish_open(mut self) -> Result<W, WriteError> {
        self.hand_over()?;
        self.output.flush()?;
        Ok(self.output)
    }

    fn end(&mut self) -> Result<(), WriteError> {
        if self.ended {
            return Ok(());
        }
        self.command(&command::End {})
    }

    fn check_open(&self) -> Result<(), WriteError> {
        if self.ended {
            Err(WriteError::Ended)
        } else {
            Ok(())
        }
    }

    /// Writes a stream header.
    ///
    /// # Errors
    /// [`WriteError::Io`].
    pub(crate) fn put_header(&mut self) -> Result<(), WriteError> {
        self.buffer.extend_from_slice(&MAGIC);
        self.buffer
            .extend_from_slice(&self.version.number().to_le_bytes());
        self.note(None)
    }

    /// Takes note of what was put into the buffer.
    fn note(&mut self, kind: Option<CommandKind>) -> Result<(), WriteError> {
        self.ended = kind == Some(CommandKind::End);
        if self.buffer.len() >= self.flush_len {
            self.hand_over()?;
        }
        Ok(())
    }

    fn hand_over(&mut self) -> Result<(), WriteError> {
        self.output.write_all(&self.buffer)?;
        self.buffer.clear();
        Ok(())
    }
}

/// Appends a framed command; on an error the buffer is as it was.
pub(super) fn encode(
    command: &impl Encode,
    version: Version,
    buffer: &mut Vec<u8>,
) -> Result<(), EncodeError> {
    let kind = command.kind();
    check_version(kind, version)?;
    frame(kind, version, buffer, |attributes| command.put(attributes))
}

/// Appends a command that was read; on an error the buffer is as it was.
fn reframe(
    command: &RawCommand,
    version: Version,
    buffer: &mut Vec<u8>,
) -> Result<(), EncodeError> {
    let kind = command.kind();
    if let Some(kind) = kind {
        check_version(kind, version)?;
    }
    if command.version().data_is_unbounded() == version.data_is_unbounded() {
        buffer.extend_from_slice(command.bytes());
        return Ok(());
    }
    let offset = command.offset();
    if !command.crc_ok() {
        return Err(EncodeError::Checksum { offset });
    }
    let kind = kind.ok_or(EncodeError::Unreadable { offset })?;
    frame(kind, version, buffer, |attributes| {
        for attribute in command.attributes() {
            let raw = attribute.map_err(|_| EncodeError::Unreadable { offset })?;
            let attribute = raw.attribute().ok_or(EncodeError::Unreadable { offset })?;
            if attribute != Attribute::Data && attribute.since() <= version {
                attributes.put(attribute, &raw.value)?;
            }
        }
        // Wherever it was: without a length it has to come last.
        match command.value(Attribute::Data) {
            Some(data) => attributes.put(Attribute::Data, &data),
            None => Ok(()),
        }
    })
}

fn check_version(command: CommandKind, version: Version) -> Result<(), EncodeError> {
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
fn frame(
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
