//! The data of extents, read from the streams again and decoded.

use std::io;
use std::sync::Arc;

use bytes::Bytes;

use super::chain::{Chain, Source};
use super::data::{Content, Extent, Place};
use super::error::TreeError;
use crate::send_stream::{Command, RawCommand};
use crate::transform::decode_extent;

/// An input that can be read at any place.
pub trait ReadAt {
    /// Fills the buffer with the bytes at an offset.
    ///
    /// # Errors
    /// What reading gives; [`io::ErrorKind::UnexpectedEof`] where there are not as many.
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;
}

#[cfg(unix)]
impl ReadAt for std::fs::File {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        std::os::unix::fs::FileExt::read_exact_at(self, buffer, offset)
    }
}

impl ReadAt for [u8] {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let rest = usize::try_from(offset).ok().and_then(|at| self.get(at..));
        let bytes = rest.and_then(|rest| rest.get(..buffer.len()));
        buffer.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}

impl<T: ReadAt + ?Sized> ReadAt for &T {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        T::read_exact_at(self, buffer, offset)
    }
}

impl<T: ReadAt + ?Sized> ReadAt for Arc<T> {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        T::read_exact_at(self, buffer, offset)
    }
}

/// Reads the data of extents, with the inputs that a chain was read from, in their order.
///
/// What it has decoded last is kept: an extent is often shown in several pieces.
#[derive(Debug)]
pub struct Data<'a, R> {
    sources: &'a [Source],
    inputs: &'a [R],
    last: LastRead,
}

/// What was decoded last: its source, the offset of its command, and all data of that.
pub(crate) type LastRead = Option<(u32, u64, Bytes)>;

/// Of the same inputs, with nothing decoded yet.
impl<R> Clone for Data<'_, R> {
    fn clone(&self) -> Self {
        Self {
            sources: self.sources,
            inputs: self.inputs,
            last: None,
        }
    }
}

/// A command that has been read again, and is not decoded yet.
#[derive(Debug, Clone)]
pub(super) struct Fetched {
    raw: RawCommand,
}

impl<'a, R: ReadAt> Data<'a, R> {
    /// Nothing is read yet.
    #[must_use]
    pub fn new(chain: &'a Chain, inputs: &'a [R]) -> Self {
        Self {
            sources: chain.sources(),
            inputs,
            last: None,
        }
    }

    /// Of the same inputs as before, with what was decoded last.
    pub(crate) fn resume(sources: &'a [Source], inputs: &'a [R], last: LastRead) -> Self {
        Self {
            sources,
            inputs,
            last,
        }
    }

    /// What was decoded last.
    pub(crate) fn into_last(self) -> LastRead {
        self.last
    }

    /// Of no stream: there is no extent to be read.
    #[cfg(all(target_os = "linux", not(btrfs_payload_portable)))]
    pub(super) fn of_nothing(inputs: &'a [R]) -> Self {
        Self {
            sources: &[],
            inputs,
            last: None,
        }
    }

    /// The bytes of an extent. The checksum of its command is verified.
    ///
    /// # Errors
    /// [`TreeError::NotSent`]; [`TreeError::Data`] where the input is not what it was;
    /// [`TreeError::Damaged`] and [`TreeError::Payload`] where it is not sound.
    pub fn bytes(&mut self, extent: &Extent) -> Result<Bytes, TreeError> {
        let place = match extent.content {
            Content::Data(place) => place,
            Content::NotSent => {
                return Err(TreeError::NotSent {
                    offset: extent.offset,
                });
            }
        };
        let all = match &self.last {
            Some((source, command, all))
                if (*source, *command) == (place.source, place.command) =>
            {
                all.clone()
            }
            _ => {
                let all = self.fetch(&place)?.decode()?;
                self.last = Some((place.source, place.command, all.clone()));
                all
            }
        };
        part(&all, &place, extent.len)
    }

    /// Reads the command of an extent.
    pub(super) fn fetch(&self, place: &Place) -> Result<Fetched, TreeError> {
        let offset = place.command;
        let error = |source| TreeError::Data { offset, source };
        let source = usize::try_from(place.source).ok();
        let source = source.and_then(|source| self.sources.get(source));
        let input = source.and_then(|source| self.inputs.get(source.input));
        let (Some(source), Some(input)) = (source, input) else {
            return Err(error(io::ErrorKind::NotFound.into()));
        };
        let len = usize::try_from(place.command_len).unwrap_or(usize::MAX);
        let mut bytes = vec![0; len];
        input.read_exact_at(&mut bytes, offset).map_err(error)?;
        let raw = RawCommand::from_bytes(bytes.into(), source.version, offset);
        let raw = raw.ok_or_else(|| error(io::ErrorKind::InvalidData.into()))?;
        Ok(Fetched { raw })
    }
}

impl Fetched {
    /// Verifies and parses it.
    pub(super) fn command(&self) -> Result<Command, TreeError> {
        if !self.raw.crc_ok() {
            let offset = self.raw.offset();
            return Err(TreeError::Damaged { offset });
        }
        Ok(Command::parse(&self.raw)?)
    }

    /// All data of the command, decoded.
    pub(super) fn decode(&self) -> Result<Bytes, TreeError> {
        let offset = self.raw.offset();
        match self.command()? {
            Command::Write(c) => Ok(c.data),
            Command::EncodedWrite(c) => match decode_extent(&c) {
                Ok(decoded) => Ok(decoded.data),
                Err(source) => Err(TreeError::Payload { offset, source }),
            },
            _ => Err(changed(offset)),
        }
    }
}

/// The part of a command's data that an extent shows.
pub(super) fn part(all: &Bytes, place: &Place, len: u64) -> Result<Bytes, TreeError> {
    let begin = usize::try_from(place.skip).unwrap_or(usize::MAX);
    let end = usize::try_from(len)
        .ok()
        .and_then(|len| begin.checked_add(len));
    let end = end.filter(|&end| end <= all.len());
    Ok(all.slice(begin..end.ok_or_else(|| changed(place.command))?))
}

/// The input is not the one that the chain was read from.
fn changed(offset: u64) -> TreeError {
    TreeError::Data {
        offset,
        source: io::Error::new(io::ErrorKind::InvalidData, "it has changed meanwhile"),
    }
}
