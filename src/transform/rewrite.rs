//! The engine of everything that rewrites a stream: batches of items go through workers, and
//! the bytes they make are written in order.
//!
//! A worker frames its commands and computes their checksums; the writing thread only writes.
//! Batches do not depend on each other, so the number of workers changes no byte.

use std::io::{self, Write};
use std::num::NonZeroUsize;

use bytes::Bytes;

use super::error::TransformError;
use super::finding::{MAX_PER_COMMAND, StreamFinding, Subject};
use super::gather::Data;
use super::payload::{decode_extent, ends_inside, sectors_of};
use super::source::{Batch, Encoded, Item, Plan, Source, Zeroes};
use crate::MAX_EXTENT;
use crate::extent::EncodedExtent;
use crate::pipeline;
use crate::rules::limits::u64_of;
use crate::rules::sums::add;
use crate::rules::{Target, plain_sectors};
use crate::send_stream::command::{self, EncodedWrite};
use crate::send_stream::{
    Command, EncodeError, IntoReader, RawCommand, Version, WriteError, Writer,
};
use crate::validate::NotSound;

/// Sums of a rewritten stream. Lengths are bytes; sectors are those of the target filesystem.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct RewriteSummary {
    /// Bytes read.
    pub bytes_in: u64,
    /// Bytes written.
    pub bytes_out: u64,
    /// Commands read.
    pub commands: u64,
    /// Bytes of files that plain and encoded writes stand for.
    #[cfg_attr(feature = "serde", serde(rename = "data_bytes"))]
    pub data: u64,
    /// Encoded writes read.
    pub encoded_in: u64,
    /// Encoded writes written.
    pub encoded_out: u64,
    /// Encoded writes that were replaced by other ones or by plain data.
    pub replaced: u64,
    /// Encoded writes that are not sound and were passed on as they are.
    pub unsound: u64,
    /// Payloads that were not sound and became plain data: what the newest kernel reads.
    pub mended: u64,
    /// Sectors the data takes as it came.
    pub sectors_in: u64,
    /// Sectors it takes as it went.
    pub sectors_out: u64,
    /// `CLONE` commands that the target filesystem does not take, passed on as they are.
    pub refused_clones: u64,
    /// `FILEATTR` commands left out, which version 1 does not have and receivers ignore.
    pub fileattr_left_out: u64,
    /// Stream headers that no `END` was before, and that were passed on.
    pub header_without_end: u64,
    /// Commands that followed an `END` without a header, and were passed on.
    pub command_after_end: u64,
    /// Holes that became zeroes in files of the parent snapshot, whose size is not known: a hole
    /// that goes past the end of its file, which Linux does not send, makes it longer.
    pub holes_trusted: u64,
}

impl RewriteSummary {
    /// True where nothing was passed on that receivers fail at. The order of commands is not
    /// looked at beyond that; [`check`](super::check) does.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.unsound == 0
            && self.refused_clones == 0
            && self.header_without_end == 0
            && self.command_after_end == 0
    }

    fn add(&mut self, part: &Self) {
        add(&mut self.bytes_out, part.bytes_out);
        add(&mut self.data, part.data);
        add(&mut self.encoded_in, part.encoded_in);
        add(&mut self.encoded_out, part.encoded_out);
        add(&mut self.replaced, part.replaced);
        add(&mut self.unsound, part.unsound);
        add(&mut self.mended, part.mended);
        add(&mut self.refused_clones, part.refused_clones);
        add(&mut self.sectors_in, part.sectors_in);
        add(&mut self.sectors_out, part.sectors_out);
    }
}

/// What a worker does with data.
pub(super) trait Rework {
    /// Plain data that is written to this place, at most an extent: an extent of its first
    /// bytes, or `None` to leave all of it plain.
    fn plain(
        &mut self,
        data: &[u8],
        place: &Target,
    ) -> Result<Option<EncodedExtent>, TransformError>;

    /// An encoded write to this place.
    fn encoded(&mut self, write: &EncodedWrite, place: &Target) -> Result<Reworked, Unsound>;
}

/// What becomes of an encoded write.
pub(super) enum Reworked {
    /// It stays as it is; true when receivers decode it themselves.
    Kept { falls_back: bool },
    /// Its data in pieces, one after another.
    Replaced(Vec<Piece>),
    /// It is not sound; what it was to be, as plain data.
    Mended(Bytes, NotSound),
}

/// A part of the data of an encoded write.
pub(super) enum Piece {
    Encoded(EncodedExtent),
    Plain(Bytes),
}

impl Piece {
    /// Bytes of the file.
    pub(super) fn len(&self) -> u64 {
        match self {
            Self::Encoded(extent) => extent.fields().len,
            Self::Plain(data) => u64_of(data.len()),
        }
    }

    /// Sectors that it takes at this place.
    pub(super) fn sectors(&self, place: &Target) -> u64 {
        match self {
            Self::Encoded(extent) => {
                let payload = u64_of(extent.payload().len());
                sectors_of(payload, extent.fields(), false, place)
            }
            Self::Plain(data) => plain_sectors(u64_of(data.len()), place),
        }
    }
}

/// Why an encoded write cannot be reworked.
pub(super) enum Unsound {
    /// It is passed on and reported.
    Pass(NotSound),
    /// It cannot stay in the output.
    Stop(NotSound),
    Error(TransformError),
}

/// The finished bytes of a batch.
struct Finished {
    bytes: Vec<u8>,
    findings: Vec<StreamFinding>,
    summary: RewriteSummary,
}

/// Rewrites a stream.
pub(super) fn rewrite<K: Rework>(
    input: impl IntoReader<Input: Send>,
    mut output: impl Write,
    plan: Plan,
    target: &Target,
    jobs: NonZeroUsize,
    rework: impl Fn() -> Result<K, TransformError> + Sync,
    mut report: impl FnMut(&StreamFinding),
) -> Result<RewriteSummary, TransformError> {
    let mut source = Source::new(input.into_reader(), plan);
    let mut summary = RewriteSummary::default();
    let done = pipeline::ordered(
        jobs,
        || source.next(),
        || {
            let mut worker = Worker {
                rework: rework()?,
                target: *target,
                joined: Vec::new(),
            };
            Ok(move |batch| worker.work(batch))
        },
        |finished: Result<Finished, TransformError>| {
            let finished = finished?;
            finished.findings.iter().for_each(&mut report);
            summary.add(&finished.summary);
            output
                .write_all(&finished.bytes)
                .map_err(TransformError::Output)
        },
    );
    done?;
    output.flush().map_err(TransformError::Output)?;
    (summary.commands, summary.bytes_in) = source.progress();
    summary.fileattr_left_out = source.left_out;
    summary.header_without_end = source.header_without_end;
    summary.command_after_end = source.command_after_end;
    summary.holes_trusted = source.holes_trusted;
    Ok(summary)
}

struct Worker<K> {
    rework: K,
    target: Target,
    /// Data whose pieces were put together.
    joined: Vec<u8>,
}

impl<K: Rework> Worker<K> {
    fn work(&mut self, batch: Batch) -> Result<Finished, TransformError> {
        batch.verify()?;
        let mut part = Part {
            writer: Writer::in_memory(batch.version),
            findings: Vec::new(),
            summary: RewriteSummary::default(),
            target: self.target,
        };
        for item in &batch.items {
            match item {
                Item::Header => part
                    .writer
                    .put_header()
                    .map_err(|error| not_written(0, error))?,
                Item::Pass(raw) => part.pass(raw)?,
                Item::Write(raw, write) => part.pass_write(raw, write)?,
                Item::Clone(finding) => {
                    part.findings.push(finding.as_ref().clone());
                    add(&mut part.summary.refused_clones, 1);
                }
                Item::Data(gathered) => {
                    let data = gathered.joined(&mut self.joined);
                    let place = place_of(&self.target, gathered.offset, gathered.file_size);
                    let extent = self.rework.plain(data, &place)?;
                    part.data(gathered, data, extent, &place)?;
                }
                Item::Truncate(raw, truncate) => part
                    .writer
                    .write_command(truncate)
                    .map_err(|error| not_written(raw.offset(), error))?,
                Item::Zeroes(zeroes) => part.zeroes(zeroes)?,
                Item::Encoded(encoded) => self.encoded(encoded, &mut part)?,
            }
        }
        let bytes = part.writer.into_bytes();
        part.summary.bytes_out = u64_of(bytes.len());
        Ok(Finished {
            bytes,
            findings: part.findings,
            summary: part.summary,
        })
    }

    fn encoded(&mut self, encoded: &Encoded, part: &mut Part) -> Result<(), TransformError> {
        let raw = &encoded.raw;
        let write = match &encoded.command {
            Ok(Command::EncodedWrite(write)) => write,
            Ok(_) => return part.pass(raw),
            Err(error) => return Err(error.clone().into()),
        };
        let place = place_of(&self.target, write.file_offset, encoded.file_size);
        match self.rework.encoded(write, &place) {
            Ok(Reworked::Kept { falls_back }) => part.kept(raw, write, falls_back, &place),
            Ok(Reworked::Replaced(pieces)) => part.replaced(raw, write, &pieces, &place),
            Ok(Reworked::Mended(data, not_sound)) => {
                part.tell(raw, &not_sound);
                add(&mut part.summary.mended, 1);
                part.replaced(raw, write, &[Piece::Plain(data)], &place)
            }
            Err(Unsound::Pass(not_sound)) => {
                part.tell(raw, &not_sound);
                add(&mut part.summary.unsound, 1);
                part.kept(raw, write, false, &place)
            }
            Err(Unsound::Stop(NotSound(report))) => Err(TransformError::Undecodable {
                offset: raw.offset(),
                report,
            }),
            Err(Unsound::Error(error)) => Err(error),
        }
    }
}

/// The output of a batch while it is made.
struct Part {
    writer: Writer<io::Sink>,
    findings: Vec<StreamFinding>,
    summary: RewriteSummary,
    target: Target,
}

impl Part {
    /// Reports what is wrong with a payload.
    fn tell(&mut self, raw: &RawCommand, NotSound(report): &NotSound) {
        let subject = Subject::of(raw);
        let errors = report.errors().take(MAX_PER_COMMAND);
        let findings = errors.map(|error| StreamFinding::of_payload(&subject, error));
        self.findings.extend(findings);
    }

    fn pass(&mut self, raw: &RawCommand) -> Result<(), TransformError> {
        self.writer
            .write_raw(raw)
            .map_err(|error| not_written(raw.offset(), error))
    }

    /// Data that is longer than kernels send it is taken apart: older receivers have no room.
    fn pass_write(
        &mut self,
        raw: &RawCommand,
        write: &command::Write,
    ) -> Result<(), TransformError> {
        let failed = |error| not_written(raw.offset(), error);
        let len = u64_of(write.data.len());
        let sectors = plain_sectors(len, &self.target.at(write.file_offset));
        add(&mut self.summary.data, len);
        add(&mut self.summary.sectors_in, sectors);
        add(&mut self.summary.sectors_out, sectors);
        let version = self.writer.version();
        let is_large = raw.bytes().len() > version.max_command_len()
            || version == Version::V1 && write.data.len() > version.write_data_len();
        if is_large {
            return self
                .writer
                .write_data(&write.path, write.file_offset, &write.data)
                .map_err(failed);
        }
        self.writer.write_raw(raw).map_err(failed)
    }

    /// Data that came plain.
    fn data(
        &mut self,
        gathered: &Data,
        data: &[u8],
        extent: Option<EncodedExtent>,
        place: &Target,
    ) -> Result<(), TransformError> {
        let path = &gathered.path;
        add(&mut self.summary.data, u64_of(data.len()));
        add(
            &mut self.summary.sectors_in,
            plain_sectors(u64_of(data.len()), place),
        );
        let mut rest = data;
        let mut place = *place;
        if let Some(extent) = extent {
            rest = data_after(&extent, data);
            self.piece(gathered.at, path, &Piece::Encoded(extent), &mut place)?;
        }
        add(
            &mut self.summary.sectors_out,
            plain_sectors(u64_of(rest.len()), &place),
        );
        self.writer
            .write_data(path, place.offset, rest)
            .map_err(|error| not_written(gathered.at, error))
    }

    /// Writes a piece to its place, which moves on by its length.
    fn piece(
        &mut self,
        at: u64,
        path: &Bytes,
        piece: &Piece,
        place: &mut Target,
    ) -> Result<(), TransformError> {
        add(&mut self.summary.sectors_out, piece.sectors(place));
        let written = match piece {
            Piece::Encoded(extent) => {
                add(&mut self.summary.encoded_out, 1);
                self.writer.write_encoded(path, place.offset, extent)
            }
            Piece::Plain(data) => self.writer.write_data(path, place.offset, data),
        };
        place.offset = place.offset.saturating_add(piece.len());
        written.map_err(|error| not_written(at, error))
    }

    fn zeroes(&mut self, zeroes: &Zeroes) -> Result<(), TransformError> {
        static ZEROES: [u8; MAX_EXTENT] = [0; MAX_EXTENT];
        let len = usize::try_from(zeroes.len).unwrap_or(MAX_EXTENT);
        let data = ZEROES.get(..len).unwrap_or(&ZEROES);
        let plain = plain_sectors(zeroes.len, &self.target.at(zeroes.offset));
        add(&mut self.summary.data, zeroes.len);
        add(&mut self.summary.sectors_in, plain);
        add(&mut self.summary.sectors_out, plain);
        self.writer
            .write_data(&zeroes.path, zeroes.offset, data)
            .map_err(|error| not_written(zeroes.at, error))
    }

    fn count_in(&mut self, write: &EncodedWrite, falls_back: bool, place: &Target) -> u64 {
        let payload = u64_of(write.data.len());
        let falls_back = falls_back || ends_inside(write.unencoded_file_len, place);
        let sectors = sectors_of(payload, &write.fields(), falls_back, place);
        add(&mut self.summary.encoded_in, 1);
        add(&mut self.summary.data, write.unencoded_file_len);
        add(&mut self.summary.sectors_in, sectors);
        sectors
    }

    fn kept(
        &mut self,
        raw: &RawCommand,
        write: &EncodedWrite,
        falls_back: bool,
        place: &Target,
    ) -> Result<(), TransformError> {
        let sectors = self.count_in(write, falls_back, place);
        add(&mut self.summary.encoded_out, 1);
        add(&mut self.summary.sectors_out, sectors);
        self.writer
            .write_raw(raw)
            .map_err(|error| not_written(raw.offset(), error))
    }

    fn replaced(
        &mut self,
        raw: &RawCommand,
        write: &EncodedWrite,
        pieces: &[Piece],
        place: &Target,
    ) -> Result<(), TransformError> {
        self.count_in(write, false, place);
        add(&mut self.summary.replaced, 1);
        let mut place = *place;
        pieces
            .iter()
            .try_for_each(|piece| self.piece(raw.offset(), &write.path, piece, &mut place))
    }
}

/// A place in a file of this size.
pub(super) fn place_of(target: &Target, offset: u64, file_size: u64) -> Target {
    Target {
        file_size,
        ..target.at(offset)
    }
}

/// What is left of the data whose first bytes are in the extent.
pub(super) fn data_after<'a>(extent: &EncodedExtent, data: &'a [u8]) -> &'a [u8] {
    let len = usize::try_from(extent.fields().len).ok();
    len.and_then(|len| data.get(len..)).unwrap_or_default()
}

/// The data of an encoded write that cannot stay.
pub(super) fn must_decode(write: &EncodedWrite) -> Result<Bytes, Unsound> {
    match decode_extent(write) {
        Ok(decoded) => Ok(decoded.data),
        Err(error) => Err(Unsound::Stop(error)),
    }
}

/// Writing to memory fails for one reason only: the command is not one to write.
fn not_written(offset: u64, error: WriteError) -> TransformError {
    match error {
        WriteError::Command(source) => TransformError::Encode { offset, source },
        WriteError::Io(error) => TransformError::Output(error),
        // Batches end with END.
        WriteError::Ended => TransformError::Encode {
            offset,
            source: EncodeError::Unreadable { offset },
        },
    }
}
