//! Reading commands without their data: who wants names and sizes has no need of it.
//!
//! Data is the last attribute of the commands that have it, so most of a stream can be passed over
//! by seeking.

#![deny(clippy::indexing_slicing)]

use std::fs::File;
use std::io::{self, Cursor, Read, Seek, SeekFrom};
use std::ops::Range;

use bytes::BytesMut;

use super::format::{Attribute, COMMAND_HEADER_LEN, MAX_PATH_LEN, Version};
use super::kind::CommandKind;
use super::raw::{Lead, RawCommand};
use super::read::{READ_LEN, ReadError, Reader};
use crate::rules::limits::u64_of;

/// Bytes in which the attributes before the data are looked for: a path, and some numbers.
const LEAD_LEN: usize = MAX_PATH_LEN + 256;

/// Bytes read at a time after data was passed over: less than what comes next has to be read.
const READ_SHORT: usize = 4096;

/// An input of which parts can be passed over.
pub trait Skip: Read {
    /// Passes over so many bytes. Returns how many there were: fewer only at the end of the input.
    ///
    /// # Errors
    /// What reading or seeking gives.
    fn skip(&mut self, bytes: u64) -> io::Result<u64>;
}

/// Pipes are read through.
impl Skip for File {
    fn skip(&mut self, bytes: u64) -> io::Result<u64> {
        match self.stream_position() {
            Ok(at) => seek_forward(self, at, bytes),
            Err(error) if error.kind() == io::ErrorKind::NotSeekable => read_through(self, bytes),
            Err(error) => Err(error),
        }
    }
}

impl<T: AsRef<[u8]>> Skip for Cursor<T> {
    fn skip(&mut self, bytes: u64) -> io::Result<u64> {
        let at = self.position();
        seek_forward(self, at, bytes)
    }
}

impl Skip for &[u8] {
    fn skip(&mut self, bytes: u64) -> io::Result<u64> {
        read_through(self, bytes)
    }
}

fn seek_forward(input: &mut impl Seek, at: u64, bytes: u64) -> io::Result<u64> {
    let end = input.seek(SeekFrom::End(0))?;
    let skipped = bytes.min(end.saturating_sub(at));
    input.seek(SeekFrom::Start(at.saturating_add(skipped)))?;
    Ok(skipped)
}

fn read_through(input: &mut impl Read, bytes: u64) -> io::Result<u64> {
    io::copy(&mut input.take(bytes), &mut io::sink())
}

/// A command, and where its data is.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Skimmed {
    /// The command, with no byte of data where that was passed over.
    pub raw: RawCommand,
    /// Where the data is in the input; `None` for commands that have none.
    pub data: Option<Range<u64>>,
    /// Bytes of the whole command, header included.
    pub len: usize,
    /// The checksum of the whole command is wrong; `None` where it was not all read.
    pub damaged: Option<bool>,
}

impl<R: Skip> Reader<R> {
    /// Like [`Reader::read_command`], and passes over the data of `WRITE` and `ENCODED_WRITE`
    /// without reading it all. Their checksums are not looked at then.
    ///
    /// # Errors
    /// As [`Reader::read_command`].
    pub fn skim_command(&mut self) -> Result<Option<Skimmed>, ReadError> {
        self.step_with(Self::skim_framed)
    }

    fn skim_framed(&mut self, version: Version, lead: Lead) -> Result<Skimmed, ReadError> {
        let (needed, number) = self.peek_frame()?;
        let has_data = matches!(
            CommandKind::from_number(number),
            Some(CommandKind::Write | CommandKind::EncodedWrite)
        );
        let before = if has_data && needed > READ_SHORT {
            data_begins_at(self.peek(needed.min(LEAD_LEN))?, needed, version)
        } else {
            None
        };
        let Some(before) = before else {
            self.read_len = READ_LEN;
            return Ok(Skimmed::read(self.read_framed(version, lead)?));
        };
        let place = self.place(lead);
        let short = |available| ReadError::Truncated {
            offset: place.offset,
            needed,
            available,
            commands: place.index,
        };
        let mut bytes = self.consume(before);
        let len = needed.saturating_sub(before);
        let passed = self.pass_over(len, Skip::skip)?;
        if passed < u64_of(len) {
            let passed = usize::try_from(passed).unwrap_or(len);
            return Err(short(before.saturating_add(passed)));
        }
        self.read_len = READ_SHORT;
        self.count_command();
        clear_data_len(&mut bytes, version);
        let begin = place.offset.saturating_add(u64_of(before));
        Ok(Skimmed {
            raw: RawCommand::new(bytes.freeze(), version, place),
            data: Some(begin..begin.saturating_add(u64_of(len))),
            len: needed,
            damaged: None,
        })
    }
}

impl Skimmed {
    /// A command that was read as a whole.
    fn read(raw: RawCommand) -> Self {
        let kinds = [CommandKind::Write, CommandKind::EncodedWrite];
        let data = raw
            .kind()
            .filter(|kind| kinds.contains(kind))
            .and_then(|_| {
                let tlvs = raw.tlvs().map_while(Result::ok);
                let last = tlvs
                    .filter(|tlv| tlv.number == Attribute::Data.number())
                    .last()?;
                let end = last.value_offset.saturating_add(u64_of(last.value.len()));
                Some(last.value_offset..end)
            });
        Self {
            data,
            len: raw.bytes().len(),
            damaged: Some(!raw.crc_ok()),
            raw,
        }
    }
}

/// Where the data of a command begins that is its last attribute, in bytes from the command's
/// beginning; `None` where the bytes that are there do not tell.
fn data_begins_at(bytes: &[u8], needed: usize, version: Version) -> Option<usize> {
    let mut at = COMMAND_HEADER_LEN;
    loop {
        let number = number_at(bytes, at)?;
        if number == Attribute::Data.number() && version.data_is_unbounded() {
            return Some(at.saturating_add(2));
        }
        let len = usize::from(number_at(bytes, at.saturating_add(2))?);
        let value = at.saturating_add(4);
        at = value.saturating_add(len);
        if number == Attribute::Data.number() {
            return (at == needed).then_some(value);
        }
    }
}

fn number_at(bytes: &[u8], at: usize) -> Option<u16> {
    let bytes = bytes.get(at..at.checked_add(2)?)?;
    Some(u16::from_le_bytes(bytes.try_into().ok()?))
}

/// The attribute says that it has no byte, as is the case now.
fn clear_data_len(bytes: &mut BytesMut, version: Version) {
    if !version.data_is_unbounded()
        && let Some(len) = bytes.last_chunk_mut::<2>()
    {
        *len = [0; 2];
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::send_stream::{Command, Writer, command};

    fn stream(version: Version) -> Vec<u8> {
        let mut writer = Writer::new(Vec::new(), version).unwrap();
        let path = "dir/file".into();
        for len in [1, 5_000, 40_000] {
            writer.write_data(&path, 77, &vec![7; len]).unwrap();
        }
        writer
            .write_command(&command::Truncate { path, size: 9 })
            .unwrap();
        writer.finish().unwrap()
    }

    /// Everything but the data is as reading has it, and the data is where it is said to be.
    #[test]
    fn skimming_passes_over_data_and_nothing_else() {
        for version in [Version::V1, Version::V2] {
            let stream = stream(version);
            let whole: Vec<RawCommand> = Reader::new(&stream[..]).map(Result::unwrap).collect();
            let mut reader = Reader::new(Cursor::new(&stream));
            let mut passed_over = 0;
            for raw in &whole {
                let skimmed = reader.skim_command().unwrap().unwrap();
                assert_eq!(skimmed.raw.offset(), raw.offset());
                assert_eq!(skimmed.len, raw.bytes().len());
                match (
                    Command::parse(raw).unwrap(),
                    Command::parse(&skimmed.raw).unwrap(),
                ) {
                    (Command::Write(a), Command::Write(b)) => {
                        assert_eq!((a.path, a.file_offset), (b.path, b.file_offset));
                        let at = skimmed.data.unwrap();
                        let [begin, end] =
                            [at.start, at.end].map(|at| usize::try_from(at).unwrap());
                        assert_eq!(stream[begin..end], a.data);
                        passed_over += usize::from(skimmed.damaged.is_none());
                    }
                    (a, b) => assert_eq!((a, skimmed.damaged), (b, Some(false))),
                }
            }
            assert!(reader.skim_command().unwrap().is_none());
            assert_eq!(passed_over, 2);
        }
    }

    #[test]
    fn data_that_is_not_all_there_is_missed() {
        let stream = stream(Version::V2);
        for len in [6_000, 45_000] {
            let ends = |mut skim: Box<dyn FnMut() -> Option<ReadError>>| loop {
                if let Some(error) = skim() {
                    return error.to_string();
                }
            };
            let mut whole = Reader::new(&stream[..len]);
            let mut skimming = Reader::new(Cursor::new(&stream[..len]));
            let read = ends(Box::new(move || whole.read_command().err()));
            let skimmed = ends(Box::new(move || skimming.skim_command().err()));
            assert_eq!(read, skimmed);
        }
    }
}
