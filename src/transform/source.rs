//! The reading end of what rewrites streams: commands become items, items become batches.

use std::collections::VecDeque;
use std::io::Read;

use bytes::Bytes;

use super::error::TransformError;
use super::finding::StreamFinding;
use super::gather::{Data, Gather, Run, is_copied, verify};
use super::payload::MAX_DECODED;
use super::sizes::Sizes;
use crate::MAX_EXTENT;
use crate::rules::limits::{self, u64_of};
use crate::rules::sums::add;
use crate::send_stream::format::{KEEP_SIZE, PUNCH_HOLE, ZERO_RANGE};
use crate::send_stream::{
    Command, CommandError, CommandKind, RawCommand, Reader, Version, command,
};

/// Bytes of commands a worker gets at a time.
pub(super) const BATCH_LEN: usize = 128 * 1024;

/// Zeroes that one `FALLOCATE` may turn into, bytes. A stream that asks for more is not
/// written out: it would take hours, and a disk.
const MAX_ZEROES: u64 = 64 << 30;

/// One place for the number of each command; 0 is for those without a meaning.
pub(super) const KINDS: usize = 27;

/// A part of the output, to be made by a worker.
#[derive(Debug)]
pub(super) enum Item {
    /// A stream header.
    Header,
    /// A command that stays as it is.
    Pass(RawCommand),
    /// What is wrong with the CLONE passed on before.
    Clone(Box<StreamFinding>),
    /// Data to be written to a file.
    Data(Data),
    /// Zeroes to be written to a file.
    Zeroes(Zeroes),
    /// A file gets this size, bytes.
    Truncate(RawCommand, command::Truncate),
    /// Data that stays as it is.
    Write(RawCommand, command::Write),
    /// An encoded write.
    Encoded(Box<Encoded>),
}

/// An encoded write that is to be looked at.
#[derive(Debug)]
pub(super) struct Encoded {
    pub(super) raw: RawCommand,
    pub(super) command: Result<Command, CommandError>,
    /// Bytes that the file has at the receiver, at most; see `Sizes::at_most`.
    pub(super) file_size: u64,
}

/// Items that one worker takes at a time. Checksums of commands in `Data` and `Encoded` are not
/// checked yet; see [`Batch::verify`].
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) version: Version,
    pub(super) items: Vec<Item>,
}

impl Batch {
    /// Checks the checksums of the commands that carry data.
    ///
    /// # Errors
    /// [`TransformError::Damaged`].
    pub(super) fn verify(&self) -> Result<(), TransformError> {
        self.items.iter().try_for_each(|item| match item {
            Item::Data(data) => data.verify(),
            Item::Encoded(encoded) => verify(&encoded.raw),
            Item::Header
            | Item::Pass(_)
            | Item::Clone(_)
            | Item::Truncate(..)
            | Item::Write(..)
            | Item::Zeroes(_) => Ok(()),
        })
    }
}

/// What is to become of commands.
#[derive(Debug)]
pub(super) struct Plan {
    /// The version of the output, from the version of the input.
    pub(super) version: fn(Version) -> Version,
    /// `WRITE`s are gathered to pieces of this size, bytes, from sectors of that size on.
    pub(super) gather: Option<Gather>,
    /// Commands that version 1 does not have are replaced or left out.
    pub(super) lower: bool,
    /// Sizes of the files that are there before.
    pub(super) sizes: Sizes,
}

/// A run of zeroes in a file.
#[derive(Debug, Clone)]
pub(super) struct Zeroes {
    /// Offset of the command in the input, bytes.
    pub(super) at: u64,
    pub(super) path: Bytes,
    /// Offset in the file, bytes.
    pub(super) offset: u64,
    /// Bytes.
    pub(super) len: u64,
}

#[derive(Debug)]
pub(super) struct Source<R> {
    reader: Reader<R>,
    plan: Plan,
    /// Streams whose header has been passed on.
    streams: u64,
    version: Version,
    ready: VecDeque<Batch>,
    items: Vec<Item>,
    bytes: usize,
    run: Option<Run>,
    zeroes: Option<Zeroes>,
    /// Commands read, by their numbers.
    pub(super) kinds: [u64; KINDS],
    /// `FILEATTR` commands left out.
    pub(super) left_out: u64,
    /// Headers that no `END` was before.
    pub(super) header_without_end: u64,
    /// Commands after `END`.
    pub(super) command_after_end: u64,
    /// The present stream has had its `END`.
    stream_ended: bool,
    /// Holes that became zeroes in files of unknown size.
    pub(super) holes_trusted: u64,
    ended: bool,
    /// Why it has ended, to be said after what was before it.
    failed: Option<TransformError>,
}

impl<R: Read> Source<R> {
    pub(super) fn new(reader: Reader<R>, plan: Plan) -> Self {
        Self {
            reader,
            plan,
            streams: 0,
            version: Version::V1,
            ready: VecDeque::new(),
            items: Vec::new(),
            bytes: 0,
            run: None,
            zeroes: None,
            kinds: [0; KINDS],
            left_out: 0,
            header_without_end: 0,
            command_after_end: 0,
            stream_ended: false,
            holes_trusted: 0,
            ended: false,
            failed: None,
        }
    }

    /// Commands and bytes read so far.
    pub(super) fn progress(&self) -> (u64, u64) {
        (self.reader.commands(), self.reader.offset())
    }

    /// The next batch. Those in front of an error come before it.
    pub(super) fn next(&mut self) -> Result<Option<Batch>, TransformError> {
        loop {
            if let Some(batch) = self.ready.pop_front() {
                return Ok(Some(batch));
            }
            if self.ended {
                return self.failed.take().map_or(Ok(None), Err);
            }
            if self.write_zeroes() {
                continue;
            }
            let goes_on = self.read();
            if !matches!(goes_on, Ok(true)) {
                self.failed = goes_on.err();
                self.ended = true;
                self.close();
            }
        }
    }

    /// Reads a command; false at the end.
    fn read(&mut self) -> Result<bool, TransformError> {
        let Some(raw) = self.reader.read_command()? else {
            return Ok(false);
        };
        // Parsed once, for all that look at it.
        let command = Command::parse(&raw);
        self.take(&raw, &command)?;
        if let Some(finding) = self.plan.sizes.follow(&raw, command.as_ref().ok()) {
            self.items.push(Item::Clone(Box::new(finding)));
        }
        Ok(true)
    }

    /// Makes an item of a command; the sizes of files are still those before it.
    fn take(
        &mut self,
        raw: &RawCommand,
        command: &Result<Command, CommandError>,
    ) -> Result<(), TransformError> {
        if raw.stream() >= self.streams {
            let is_first = self.streams == 0;
            let without_end = !is_first && !self.stream_ended;
            add(&mut self.header_without_end, u64::from(without_end));
            self.stream_ended = false;
            self.close();
            self.streams = raw.stream().saturating_add(1);
            self.version = (self.plan.version)(raw.version());
            self.items.push(Item::Header);
        } else if self.stream_ended {
            add(&mut self.command_after_end, 1);
        }
        self.stream_ended |= raw.kind() == Some(CommandKind::End);
        let number = raw.kind().map_or(0, |kind| usize::from(kind.number()));
        if let Some(count) = self.kinds.get_mut(number) {
            *count = count.saturating_add(1);
        }
        match raw.kind() {
            // The checksums of data are left to the workers.
            Some(CommandKind::EncodedWrite) => {
                let (bytes, path) = match command {
                    Ok(Command::EncodedWrite(write)) => (weight(raw, write), &write.path[..]),
                    _ => (raw.bytes().len(), &[][..]),
                };
                let file_size = self.plan.sizes.at_most(path);
                let encoded = Encoded {
                    raw: raw.clone(),
                    command: command.clone(),
                    file_size,
                };
                self.push(Item::Encoded(Box::new(encoded)), bytes);
                return Ok(());
            }
            Some(CommandKind::Write) if self.gather(raw, command)? => return Ok(()),
            _ => verify(raw)?,
        }
        let command = match command {
            Ok(command) => Some(command),
            // It is not what a command of its kind should be: say so where it is looked into.
            Err(error) if self.looks_into(raw) => return Err(error.clone().into()),
            Err(_) => None,
        };
        match (raw.kind(), command) {
            (_, Some(Command::Fallocate(c))) if self.lowers() => self.lower_fallocate(raw, c)?,
            (Some(CommandKind::Fileattr), _) if self.lowers() => add(&mut self.left_out, 1),
            (Some(CommandKind::EnableVerity), _) if self.lowers() => {
                return Err(self.no_counterpart(raw, "fs-verity came with version 3"));
            }
            (_, Some(Command::Write(write))) => {
                let item = Item::Write(raw.clone(), write.clone());
                self.push(item, raw.bytes().len());
            }
            (kind, _) => {
                self.push(Item::Pass(raw.clone()), raw.bytes().len());
                // A writer takes nothing after END, so the batch ends there too.
                if kind == Some(CommandKind::End) {
                    self.close();
                }
            }
        }
        Ok(())
    }

    fn lowers(&self) -> bool {
        self.plan.lower
    }

    /// True for commands that do not go out just as they came.
    fn looks_into(&self, raw: &RawCommand) -> bool {
        match raw.kind() {
            Some(CommandKind::Write) => true,
            Some(CommandKind::Fallocate) => self.lowers(),
            _ => false,
        }
    }

    fn no_counterpart(&self, raw: &RawCommand, reason: &'static str) -> TransformError {
        TransformError::NoCounterpart {
            offset: raw.offset(),
            version: self.version.number(),
            reason,
        }
    }

    /// `FALLOCATE` for version 1: holes become zeroes, as kernels before 6.17 send them;
    /// reserved space is not data. What keeps the size ends at the end of the file, where
    /// zeroes would not.
    fn lower_fallocate(
        &mut self,
        raw: &RawCommand,
        c: &command::Fallocate,
    ) -> Result<(), TransformError> {
        match c.fallocate_mode {
            mode if mode == PUNCH_HOLE | KEEP_SIZE || mode & !KEEP_SIZE == ZERO_RANGE => {}
            KEEP_SIZE => return Ok(()),
            0 => return self.lengthen(raw, c),
            _ => return Err(self.no_counterpart(raw, "only holes can be written as zeroes")),
        }
        let Some(mut end) = c.file_offset.checked_add(c.size) else {
            return Err(self.no_counterpart(raw, "a hole that no file can have"));
        };
        self.finish_run();
        if c.fallocate_mode & KEEP_SIZE != 0 {
            match self.plan.sizes.of(&c.path) {
                Some(size) => end = end.min(size),
                None if end <= self.plan.sizes.at_least(&c.path) => {}
                // Linux sends no holes past the end of a file.
                None if c.fallocate_mode & PUNCH_HOLE != 0 => {
                    self.holes_trusted = self.holes_trusted.saturating_add(1);
                }
                None => {
                    let reason =
                        "where the zeroes end depends on the size of a file that is not known";
                    return Err(self.no_counterpart(raw, reason));
                }
            }
        }
        let len = end.saturating_sub(c.file_offset);
        if len > MAX_ZEROES {
            return Err(self.no_counterpart(raw, "a hole of more than 64 GiB"));
        }
        self.zeroes = Some(Zeroes {
            at: raw.offset(),
            path: Bytes::copy_from_slice(&c.path),
            offset: c.file_offset,
            len,
        });
        Ok(())
    }

    /// Space that is reserved past the end of a file makes it longer, as `TRUNCATE` does.
    fn lengthen(&mut self, raw: &RawCommand, c: &command::Fallocate) -> Result<(), TransformError> {
        let end = c.file_offset.saturating_add(c.size);
        if end <= self.plan.sizes.at_least(&c.path) {
            return Ok(());
        }
        if self.plan.sizes.of(&c.path).is_none() {
            let reason = "it may make a file longer or not, whose size is not known";
            return Err(self.no_counterpart(raw, reason));
        }
        let truncate = command::Truncate {
            path: c.path.clone(),
            size: end,
        };
        let bytes = raw.bytes().len();
        self.push(Item::Truncate(raw.clone(), truncate), bytes);
        Ok(())
    }

    /// Takes one piece of the zeroes that are due; false when there are none.
    fn write_zeroes(&mut self) -> bool {
        let Some(mut zeroes) = self.zeroes.take().filter(|zeroes| zeroes.len > 0) else {
            return false;
        };
        let len = zeroes.len.min(limits::MAX_EXTENT);
        let piece = Zeroes {
            len,
            ..zeroes.clone()
        };
        zeroes.offset = zeroes.offset.saturating_add(len);
        zeroes.len = zeroes.len.saturating_sub(len);
        self.zeroes = Some(zeroes);
        self.push(Item::Zeroes(piece), MAX_EXTENT);
        true
    }

    /// Adds the data of a `WRITE` to the run, or begins another one. False when it is not to be
    /// gathered, or has no data.
    fn gather(
        &mut self,
        raw: &RawCommand,
        command: &Result<Command, CommandError>,
    ) -> Result<bool, TransformError> {
        let (Some(gather), Ok(Command::Write(write))) = (self.plan.gather, command) else {
            return Ok(false);
        };
        if is_copied(write) {
            verify(raw)?;
        }
        if !self
            .run
            .as_ref()
            .is_some_and(|run| run.is_followed_by(write))
        {
            self.finish_run();
        }
        let mut done = 0;
        while done < write.data.len() {
            let offset = write.file_offset.saturating_add(u64_of(done));
            let run = self.run.get_or_insert_with(|| {
                Run::begin(raw.offset(), write.path.clone(), offset, &gather)
            });
            done = done.saturating_add(run.take(raw, write, done));
            if run.is_full() {
                self.finish_run();
            }
        }
        Ok(done > 0)
    }

    fn finish_run(&mut self) {
        if let Some(run) = self.run.take() {
            let file_size = self.plan.sizes.at_most(run.path());
            let data = run.finish(file_size);
            let bytes = data.len;
            self.put(Item::Data(data), bytes);
        }
    }

    /// Adds an item after everything gathered so far.
    fn push(&mut self, item: Item, bytes: usize) {
        self.finish_run();
        self.put(item, bytes);
    }

    fn put(&mut self, item: Item, bytes: usize) {
        self.items.push(item);
        self.bytes = self.bytes.saturating_add(bytes);
        if self.bytes >= BATCH_LEN {
            self.close_items();
        }
    }

    fn close(&mut self) {
        self.finish_run();
        self.close_items();
    }

    fn close_items(&mut self) {
        if !self.items.is_empty() {
            self.ready.push_back(Batch {
                version: self.version,
                items: std::mem::take(&mut self.items),
            });
        }
        self.bytes = 0;
    }
}

/// Bytes that an encoded write counts for in a batch: those of the command or those it decodes
/// to, whatever is more, so that no batch grows far beyond an extent. What it claims is not
/// checked yet, and more than `MAX_DECODED` is not decoded.
fn weight(raw: &RawCommand, write: &command::EncodedWrite) -> usize {
    let claimed = usize::try_from(write.unencoded_len.min(MAX_DECODED)).unwrap_or(MAX_EXTENT);
    raw.bytes().len().max(claimed)
}

#[cfg(test)]
mod tests {
    use super::super::parents::{MAX_NAMES, Parents};
    use super::*;
    use crate::prepare::{Level, Options, Prepared, Preparer};
    use crate::rules::{Codec, Target};
    use crate::send_stream::Writer;

    /// Zeroes in the payload of a few bytes: what it decodes to has to bound the batch.
    #[test]
    fn a_batch_decodes_to_about_an_extent() {
        let options = Options {
            zeroes: crate::prepare::Zeroes::Data,
            ..Options::new(Codec::Zstd, Level::Default)
        };
        let mut preparer = Preparer::new(&options).unwrap();
        let Prepared::Encoded(extent) = preparer.prepare(&[0; MAX_EXTENT]).unwrap() else {
            panic!("zeroes shrink");
        };
        let mut writer = Writer::new(Vec::new(), Version::V2).unwrap();
        let subvol = command::Subvol {
            path: "s".into(),
            uuid: crate::send_stream::Uuid([1; 16]),
            ctransid: 1,
        };
        writer.write_command(&subvol).unwrap();
        for number in 0..50 {
            let offset = number * limits::MAX_EXTENT;
            writer.write_encoded(&"f".into(), offset, &extent).unwrap();
        }
        let stream = writer.finish().unwrap();
        let plan = Plan {
            version: |version| version,
            gather: None,
            lower: false,
            sizes: Sizes::new(&Parents::default(), MAX_NAMES, Target::default()),
        };
        let mut source = Source::new(Reader::new(&stream[..]), plan);
        let mut seen = 0;
        while let Some(batch) = source.next().unwrap() {
            let encoded = |item: &&Item| matches!(item, Item::Encoded(_));
            let count = batch.items.iter().filter(encoded).count();
            assert!(count <= 1, "{count} extents in a batch");
            seen += count;
        }
        assert_eq!(seen, 50);
    }

    /// A list of them would take a hundred times the memory of the data.
    #[test]
    fn bytes_that_come_one_by_one_are_put_together() {
        let mut writer = Writer::headerless(Vec::new(), Version::V2);
        let path = "f".into();
        for offset in 0..10_000 {
            writer.write_data(&path, offset, &[7]).unwrap();
        }
        writer.write_data(&path, 10_000, &[7; 9_000]).unwrap();
        writer.write_data(&path, 19_000, &[7; 100]).unwrap();
        let stream = [&b"btrfs-stream\0\x02\0\0\0"[..], &writer.finish().unwrap()].concat();
        let plan = Plan {
            version: |version| version,
            gather: Some(Gather {
                extent_size: MAX_EXTENT,
                sector_size: 4096,
            }),
            lower: false,
            sizes: Sizes::new(&Parents::default(), MAX_NAMES, Target::default()),
        };
        let mut source = Source::new(Reader::new(&stream[..]), plan);
        let batch = source.next().unwrap().unwrap();
        let gathered = batch.items.iter().find_map(|item| match item {
            Item::Data(data) => Some(data),
            _ => None,
        });
        let gathered = gathered.unwrap();
        assert_eq!((gathered.pieces(), gathered.len), (3, 19_100));
        assert_eq!(gathered.joined(&mut Vec::new()), [7; 19_100]);
    }
}
