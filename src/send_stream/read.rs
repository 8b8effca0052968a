//! Reading streams: header, then commands one after another. The mirror of `write`.
//!
//! One input may hold several streams, each with its header and its `END`, one after the
//! other, as `btrfs send` makes them of several subvolumes; with `btrfs send -e` there is one
//! header, a `SUBVOL` or `SNAPSHOT` for each subvolume, and one `END` at last. Both are
//! read alike. Pieces made with `BTRFS_SEND_FLAG_OMIT_STREAM_HEADER` or
//! `BTRFS_SEND_FLAG_OMIT_END_CMD` are read after [`Reader::headerless`] and
//! [`Reader::end_optional`].

#![deny(clippy::indexing_slicing)]

use std::io::{self, Read};

use bytes::{Bytes, BytesMut};
use thiserror::Error;

use super::crc::command_crc;
use super::foreign::Foreign;
use super::format::{COMMAND_HEADER_LEN, MAGIC, MAX_COMMAND_LEN, STREAM_HEADER_LEN, Version};
use super::kind::CommandKind;
use super::raw::{Lead, Place, RawCommand, parse_header};
use crate::rules::limits::u64_of;

/// Bytes asked of the input at a time: more than metadata needs, less than the data of a
/// command, so that little of the next one has to be moved.
pub(super) const READ_LEN: usize = 32 * 1024;

/// Bytes asked for at a time when a command needs more: memory is only taken for bytes that
/// came, whatever length a command claims.
const READ_MAX: usize = 256 * 1024;

/// Bytes of memory taken at a time. Commands share it; what is left of the last one is moved to
/// the next block.
const BLOCK: usize = 128 * 1024;

/// Bytes looked at where no stream begins, to say what is there.
const SEARCHED: usize = 1024 * 1024;

/// Why no further command can be read. Offsets are bytes from the start of the input.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The input failed. Nothing is known of the stream's worth.
    #[error("reading the send stream failed (at offset {offset})")]
    Io {
        /// Bytes read before.
        offset: u64,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// There is not one byte: the sender died before the first.
    #[error("the input is empty")]
    Empty,
    /// What should be a stream header is none.
    #[error("no send stream begins here{found} (at offset {offset})")]
    NotASendStream {
        /// Where a header is due.
        offset: u64,
        /// What is there instead, as far as 64 KiB tell.
        found: Foreign,
    },
    /// The header names a version that does not exist.
    #[error("send stream version {got} is not known; there are 1, 2 and 3 (at offset {offset})")]
    UnknownVersion {
        /// Offset of the header.
        offset: u64,
        /// The version.
        got: u32,
    },
    /// The input ends inside a header or command. What is before it is whole.
    #[error(
        "the input ends after {available} of {needed} bytes of what begins at offset {offset}; \
         the {commands} commands before it are whole"
    )]
    Truncated {
        /// Where the incomplete header or command begins: bytes that are whole.
        offset: u64,
        /// Its length, as far as it is known.
        needed: usize,
        /// Bytes of it that are there.
        available: usize,
        /// Whole commands before it.
        commands: u64,
    },
    /// The input ends after a whole command that is not `END`: it is cut, or made without.
    #[error("the input ends without an END, after {commands} whole commands (at offset {offset})")]
    MissingEnd {
        /// Length of the input.
        offset: u64,
        /// Whole commands.
        commands: u64,
    },
    /// A command claims to be longer than the limit: its length is damaged, or
    /// [`Reader::max_command_len`] has to be raised.
    #[error("a command of {got} bytes, {limit} are allowed (at offset {offset})")]
    Limit {
        /// Offset of the command.
        offset: u64,
        /// Bytes it claims, with its header.
        got: u64,
        /// Bytes allowed.
        limit: usize,
    },
}

impl ReadError {
    /// True where the whole input is compressed: what looks like a stream header in it is none.
    #[must_use]
    pub fn is_of_compressed_input(&self) -> bool {
        matches!(
            self,
            Self::NotASendStream {
                offset: 0,
                found: Foreign::Compressed(_)
            }
        )
    }
}

/// Where in a stream the reader stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Before the first header.
    Start,
    /// Inside a stream of this version.
    Open(Version),
    /// After the `END` of a stream of this version.
    Ended(Version),
    /// Nothing more can be read.
    Done,
}

/// Reads the commands of send streams.
///
/// It knows no codec and has no opinion of the commands: their order and sense are for others
/// to judge. It reads ahead, 32 KiB and more, so no buffering is needed around the input.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use btrfs_payload::send_stream::{Command, Reader};
/// let stream = b"btrfs-stream\0\x01\0\0\0\0\0\0\0\x15\0\x50\x6c\xc9\x9d";
/// let mut reader = Reader::new(&stream[..]);
/// while let Some(raw) = reader.read_command()? {
///     assert_eq!(raw.offset(), 17);
///     assert_eq!(raw.issues().count(), 0);
///     assert!(matches!(Command::parse(&raw)?, Command::End(_)));
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Reader<R> {
    input: R,
    /// Bytes read and not handed out.
    buffer: BytesMut,
    /// Offset in the input of the buffer's first byte.
    offset: u64,
    commands: u64,
    /// Stream headers read, the omitted one of `headerless` included.
    streams: u64,
    state: State,
    max_command_len: usize,
    end_optional: bool,
    /// Bytes asked of the input at a time, at least.
    pub(super) read_len: usize,
    /// A read has found the end; it is not asked for again.
    input_ended: bool,
    /// Bytes that reading inside damaged commands has cost.
    pub(super) reread: u64,
}

impl<R: Read> Reader<R> {
    /// Reads an input that begins with a stream header.
    pub fn new(input: R) -> Self {
        Self {
            input,
            buffer: BytesMut::new(),
            offset: 0,
            commands: 0,
            streams: 0,
            state: State::Start,
            max_command_len: MAX_COMMAND_LEN,
            end_optional: false,
            read_len: READ_LEN,
            input_ended: false,
            reread: 0,
        }
    }

    /// Reads an input whose first stream header was omitted.
    pub fn headerless(input: R, version: Version) -> Self {
        Self {
            state: State::Open(version),
            streams: 1,
            ..Self::new(input)
        }
    }

    /// Takes the end of the input for the end of the stream where `END` was omitted.
    #[must_use]
    pub fn end_optional(self) -> Self {
        Self {
            end_optional: true,
            ..self
        }
    }

    /// Allows commands up to this length, header included, instead of [`MAX_COMMAND_LEN`]. Memory
    /// grows with the commands that come, not before.
    #[must_use]
    pub fn max_command_len(self, bytes: usize) -> Self {
        Self {
            max_command_len: bytes,
            ..self
        }
    }

    /// Bytes of the headers and commands handed out so far.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Commands handed out so far.
    pub fn commands(&self) -> u64 {
        self.commands
    }

    /// The next command, or `None` after the last stream. A wrong checksum is no error:
    /// [`RawCommand::issues`] tells of it, and reading goes on after the length that the
    /// command claims.
    ///
    /// # Errors
    /// [`ReadError`]; after one there is nothing more to read.
    pub fn read_command(&mut self) -> Result<Option<RawCommand>, ReadError> {
        self.step_with(Self::read_framed)
    }

    /// The next command, taken by `framed`, for which the bytes of a header are there; or `None`
    /// after the last stream.
    pub(super) fn step_with<T>(
        &mut self,
        framed: impl FnOnce(&mut Self, Version, Lead) -> Result<T, ReadError>,
    ) -> Result<Option<T>, ReadError> {
        let result = self.step(framed);
        if !matches!(result, Ok(Some(_))) {
            self.state = State::Done;
        }
        result
    }

    fn step<T>(
        &mut self,
        framed: impl FnOnce(&mut Self, Version, Lead) -> Result<T, ReadError>,
    ) -> Result<Option<T>, ReadError> {
        let mut lead = Lead::AsDue;
        loop {
            match self.state {
                State::Done => return Ok(None),
                State::Start => self.read_header()?,
                State::Open(version) => {
                    // No more than a command's header: after END an open pipe may stay silent.
                    let head = self.peek(COMMAND_HEADER_LEN)?;
                    let at_end = head.is_empty();
                    if head.len() == COMMAND_HEADER_LEN && MAGIC.starts_with(head) {
                        self.read_header()?;
                        lead = Lead::HeaderWithoutEnd;
                    } else if !at_end {
                        return framed(self, version, lead).map(Some);
                    } else if self.end_optional {
                        return Ok(None);
                    } else {
                        return Err(ReadError::MissingEnd {
                            offset: self.offset,
                            commands: self.commands,
                        });
                    }
                }
                State::Ended(version) => {
                    let head = self.peek(MAGIC.len())?;
                    if head.is_empty() {
                        return Ok(None);
                    } else if MAGIC.starts_with(head) {
                        self.read_header()?;
                    } else if self.sound_command_follows()? {
                        lead = Lead::End;
                        self.state = State::Open(version);
                    } else {
                        return Err(self.not_a_stream());
                    }
                }
            }
        }
    }

    fn read_header(&mut self) -> Result<(), ReadError> {
        let offset = self.offset;
        let header = self.peek(STREAM_HEADER_LEN)?;
        let (magic, version) = header.split_at(MAGIC.len().min(header.len()));
        if header.is_empty() && offset == 0 {
            return Err(ReadError::Empty);
        }
        if !MAGIC.starts_with(magic) {
            return Err(self.not_a_stream());
        }
        let Ok(version) = version.try_into().map(u32::from_le_bytes) else {
            let available = header.len();
            return Err(self.truncated(STREAM_HEADER_LEN, available));
        };
        let Some(version) = Version::from_number(version) else {
            return Err(ReadError::UnknownVersion {
                offset,
                got: version,
            });
        };
        self.consume(STREAM_HEADER_LEN);
        self.streams = self.streams.saturating_add(1);
        self.state = State::Open(version);
        Ok(())
    }

    /// Takes the next bytes for a command of the open stream.
    pub(super) fn read_framed(
        &mut self,
        version: Version,
        lead: Lead,
    ) -> Result<RawCommand, ReadError> {
        let (needed, number) = self.peek_frame()?;
        let available = self.peek(needed)?.len();
        if available < needed {
            return Err(self.truncated(needed, available));
        }
        let place = self.place(lead);
        let bytes = self.consume(needed).freeze();
        self.count_command();
        let command = RawCommand::new(bytes, version, place);
        // A damaged number must not end the stream.
        if number == CommandKind::End.number() && command.crc_ok() {
            self.state = State::Ended(version);
        }
        Ok(command)
    }

    /// The length of the next command, header included, and its number.
    pub(super) fn peek_frame(&mut self) -> Result<(usize, u16), ReadError> {
        let head = self.peek(COMMAND_HEADER_LEN)?;
        let Some((length, number, _)) = parse_header(head) else {
            let available = head.len();
            return Err(self.truncated(COMMAND_HEADER_LEN, available));
        };
        let limit = self.max_command_len;
        let Some(needed) = command_len(length).filter(|&len| len <= limit) else {
            return Err(ReadError::Limit {
                offset: self.offset,
                got: u64::from(length).saturating_add(u64_of(COMMAND_HEADER_LEN)),
                limit,
            });
        };
        Ok((needed, number))
    }

    /// Where the next command is.
    pub(super) fn place(&self, lead: Lead) -> Place {
        Place {
            offset: self.offset,
            index: self.commands,
            stream: self.streams.saturating_sub(1),
            lead,
        }
    }

    /// True when a whole, known command with a right checksum is next. Known, because zeroes
    /// have a right checksum.
    fn sound_command_follows(&mut self) -> Result<bool, ReadError> {
        let limit = self.max_command_len;
        let head = parse_header(self.peek(COMMAND_HEADER_LEN)?);
        let Some((len, crc)) = head
            .filter(|&(_, number, _)| CommandKind::from_number(number).is_some())
            .and_then(|(length, _, crc)| Some((command_len(length)?, crc)))
            .filter(|&(len, _)| len <= limit)
        else {
            return Ok(false);
        };
        let command = self.peek(len)?;
        Ok(command.len() == len && command_crc(command) == crc)
    }

    /// The error for a place where no stream begins. Where the input fails meanwhile, the next
    /// read says so.
    fn not_a_stream(&mut self) -> ReadError {
        let offset = self.offset;
        let found = match self.peek(SEARCHED) {
            Ok(bytes) => Foreign::of(bytes, offset),
            Err(_) => Foreign::Unknown,
        };
        ReadError::NotASendStream { offset, found }
    }

    /// True where a stream goes on soundly: with a command, a header, or the end of the input.
    pub(super) fn goes_on(&mut self) -> Result<bool, ReadError> {
        let next = self.peek(MAGIC.len())?;
        Ok(next.is_empty() || next == MAGIC || self.sound_command_follows()?)
    }

    /// A stream header is due next.
    pub(super) fn start_again(&mut self) {
        self.state = State::Start;
    }

    /// Puts bytes back that were the last to be handed out.
    pub(super) fn give_back(&mut self, bytes: Bytes) {
        self.offset = self.offset.saturating_sub(u64_of(bytes.len()));
        let rest = std::mem::replace(&mut self.buffer, BytesMut::from(bytes));
        self.buffer.unsplit(rest);
    }

    pub(super) fn truncated(&self, needed: usize, available: usize) -> ReadError {
        ReadError::Truncated {
            offset: self.offset,
            needed,
            available,
            commands: self.commands,
        }
    }

    /// The next `len` bytes, or as many as there are before the end of the input.
    pub(super) fn peek(&mut self, len: usize) -> Result<&[u8], ReadError> {
        while self.buffer.len() < len && !self.input_ended {
            let filled = self.buffer.len();
            let want = len.saturating_sub(filled).clamp(self.read_len, READ_MAX);
            if self.buffer.capacity().saturating_sub(filled) < want {
                self.buffer.reserve(BLOCK);
            }
            self.buffer.resize(filled.saturating_add(want), 0);
            let room = self.buffer.get_mut(filled..).unwrap_or_default();
            let read = read_some(&mut self.input, room);
            let got = *read.as_ref().unwrap_or(&0);
            self.buffer.truncate(filled.saturating_add(got));
            match read {
                Ok(0) => self.input_ended = true,
                Ok(_) => {}
                Err(source) => {
                    return Err(ReadError::Io {
                        offset: self.offset.saturating_add(u64_of(filled)),
                        source,
                    });
                }
            }
        }
        let end = len.min(self.buffer.len());
        Ok(self.buffer.get(..end).unwrap_or_default())
    }

    /// Passes over bytes that come next, most of them without reading. Returns how many there were,
    /// fewer at the end of the input.
    pub(super) fn pass_over(
        &mut self,
        len: usize,
        skip: impl FnOnce(&mut R, u64) -> io::Result<u64>,
    ) -> Result<u64, ReadError> {
        let buffered = u64_of(self.consume(len).len());
        let left = u64_of(len).saturating_sub(buffered);
        if left == 0 {
            return Ok(buffered);
        }
        let offset = self.offset;
        let error = |source| ReadError::Io { offset, source };
        let skipped = skip(&mut self.input, left).map_err(error)?;
        self.offset = offset.saturating_add(skipped);
        Ok(buffered.saturating_add(skipped))
    }

    /// Counts a command that is handed out.
    pub(super) fn count_command(&mut self) {
        self.commands = self.commands.saturating_add(1);
    }

    /// Bytes that a command may have, header included.
    pub(super) fn longest_command(&self) -> usize {
        self.max_command_len
    }

    /// Bytes read ahead.
    pub(super) fn peeked(&self) -> usize {
        self.buffer.len()
    }

    /// Takes bytes that `peek` has shown.
    pub(super) fn consume(&mut self, len: usize) -> BytesMut {
        let taken = self.buffer.split_to(len.min(self.buffer.len()));
        self.offset = self.offset.saturating_add(u64_of(taken.len()));
        taken
    }
}

/// What commands can be read from: an input, or a [`Reader`] that was told more than its input.
pub trait IntoReader {
    /// The input.
    type Input: Read;

    /// The reader.
    fn into_reader(self) -> Reader<Self::Input>;
}

impl<R: Read> IntoReader for R {
    type Input = R;

    fn into_reader(self) -> Reader<R> {
        Reader::new(self)
    }
}

impl<R: Read> IntoReader for Reader<R> {
    type Input = R;

    fn into_reader(self) -> Self {
        self
    }
}

impl<R: Read> Iterator for Reader<R> {
    type Item = Result<RawCommand, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.read_command().transpose()
    }
}

/// Length of a command with its header, from the length in the header.
fn command_len(length: u32) -> Option<usize> {
    usize::try_from(length)
        .ok()?
        .checked_add(COMMAND_HEADER_LEN)
}

/// One read, begun again when a signal interrupts it.
fn read_some(input: &mut impl Read, room: &mut [u8]) -> io::Result<usize> {
    loop {
        match input.read(room) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}
