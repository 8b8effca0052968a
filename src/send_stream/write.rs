//! Writing streams: header, then commands one after another. The mirror of `read`.

#![deny(clippy::indexing_slicing)]

use std::io::{self, Write};

use bytes::Bytes;
use thiserror::Error;

use super::command::{self, Encode, EncodedWrite};
use super::format::{Attribute, MAGIC, Version};
use super::frame::{EncodeError, check_version, frame};
use super::kind::CommandKind;
use super::raw::{Place, RawCommand};
use crate::extent::{EncodedExtent, WrongPlace};
use crate::rules::ExtentFields;
use crate::rules::limits::u64_of;

/// Commands are gathered up to this length and written together, bytes.
const FLUSH_LEN: usize = 128 * 1024;

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
    /// A command after `END`.
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
/// writer.write_command(&command::MkFile { path: "a".into(), ino: 257 })?;
/// let stream = writer.finish()?;
/// assert!(stream.starts_with(b"btrfs-stream\0\x02\0\0\0"));
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Writer<W> {
    output: W,
    /// Bytes handed over so far.
    handed_over: u64,
    /// Bytes not handed over yet.
    buffer: Vec<u8>,
    /// Length of the buffer at which it is handed over, bytes.
    flush_len: usize,
    version: Version,
    ended: bool,
    /// What the extents written so far were judged for, bytes.
    sector_size: Option<u32>,
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
            handed_over: 0,
            buffer: Vec::new(),
            flush_len: FLUSH_LEN,
            version,
            ended: false,
            sector_size: None,
        }
    }

    /// Version of the present stream.
    pub fn version(&self) -> Version {
        self.version
    }

    /// Bytes written so far, headers and what is gathered included: where the next command begins.
    pub fn position(&self) -> u64 {
        self.handed_over.saturating_add(u64_of(self.buffer.len()))
    }

    /// Writes a command.
    ///
    /// # Errors
    /// [`WriteError::Command`] for what a receiver would refuse, [`WriteError::Ended`] after
    /// `END`; neither writes anything. [`WriteError::Io`].
    pub fn write_command(&mut self, command: &impl Encode) -> Result<(), WriteError> {
        self.check_open()?;
        encode(command, self.version, &mut self.buffer)?;
        self.note(Some(command.kind()))
    }

    /// Writes a command as it was read. Between versions of the same framing (all but 1 and
    /// later ones) not a byte changes; otherwise it is framed again, `DATA` comes last, and
    /// attributes that the version does not have are left out: from version 2 to 1 that is the
    /// creation time, which receivers do not use.
    ///
    /// # Errors
    /// As [`Writer::write_command`].
    pub fn write_raw(&mut self, command: &RawCommand) -> Result<(), WriteError> {
        self.check_open()?;
        reframe(command, self.version, &mut self.buffer)?;
        // As the reader: a damaged number does not end the stream.
        self.note(command.kind().filter(|_| command.crc_ok()))
    }

    /// Writes plain data, in as many `WRITE` commands as the version asks for.
    ///
    /// # Errors
    /// As [`Writer::write_command`].
    pub fn write_data(
        &mut self,
        path: &Bytes,
        file_offset: u64,
        data: &[u8],
    ) -> Result<(), WriteError> {
        let mut file_offset = file_offset;
        for piece in data.chunks(self.version.write_data_len()) {
            self.check_open()?;
            frame(CommandKind::Write, self.version, &mut self.buffer, |to| {
                to.put(Attribute::Path, path)?;
                to.put(Attribute::FileOffset, &file_offset.to_le_bytes())?;
                to.put(Attribute::Data, piece)
            })?;
            self.note(Some(CommandKind::Write))?;
            let len = u64_of(piece.len());
            file_offset = file_offset.saturating_add(len);
        }
        Ok(())
    }

    /// Writes a judged extent. A stream is for one filesystem, so all of them are for one
    /// sector size: that of the first.
    ///
    /// # Errors
    /// [`EncodeError::WrongPlace`] for a place that the extent was not judged for, and as
    /// [`Writer::write_command`].
    pub fn write_encoded(
        &mut self,
        path: &Bytes,
        file_offset: u64,
        extent: &EncodedExtent,
    ) -> Result<(), WriteError> {
        let (got, expected) = (extent.sector_size(), self.sector_size);
        if let Some(expected) = expected.filter(|&expected| expected != got) {
            let wrong = WrongPlace::SectorSize { got, expected };
            return Err(EncodeError::from(wrong).into());
        }
        let command = EncodedWrite::new(path.clone(), file_offset, extent);
        self.write_command(&command.map_err(EncodeError::from)?)?;
        self.sector_size = Some(got);
        Ok(())
    }

    /// Writes a payload of which nothing is known but what somebody claims.
    ///
    /// # Errors
    /// As [`Writer::write_command`].
    pub fn write_claimed(
        &mut self,
        path: &Bytes,
        file_offset: u64,
        fields: &ExtentFields,
        payload: &Bytes,
    ) -> Result<(), WriteError> {
        let payload = payload.clone();
        self.write_command(&EncodedWrite::claimed(
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
        self.write_command(&command::End {})
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
        self.handed_over = self.position();
        self.buffer.clear();
        Ok(())
    }
}

impl RawCommand {
    /// Frames a command for a stream of this version. It belongs to no input: its offset and
    /// numbers are 0.
    ///
    /// # Errors
    /// [`EncodeError`] for what a receiver would refuse.
    pub fn encode(command: &impl Encode, version: Version) -> Result<Self, EncodeError> {
        let mut bytes = Vec::new();
        encode(command, version, &mut bytes)?;
        Ok(Self::new(bytes.into(), version, Place::default()))
    }
}

/// Appends a framed command; on an error the buffer is as it was.
fn encode(
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
