//! A streaming decoder that does as libzstd's `ZSTD_decompressStream`: which call gives
//! which bytes, what it does when input or output runs out, and how much memory it needs.
//!
//! Source: lib/zstd/decompress/zstd_decompress.c of Linux 6.1, 6.12 and libzstd 1.5.7.

use std::hash::Hasher;

use twox_hash::XxHash64;

use crate::block::{Bounds, Tables};
use crate::layout::{
    BLOCK_HEADER, BLOCK_MAX, BlockHeader, BlockKind, CHECKSUM, FrameHeader, HeaderEnds, MAGIC,
    MAGIC_SKIPPABLE, MAGIC_SKIPPABLE_MASK,
};
use crate::rules::Rules;
use crate::sink::{Ring, SLACK};

/// The decoder refuses the frame; which rule does not matter here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Refused;

/// Largest window that is decoded piece by piece (`ZSTD_MAXWINDOWSIZE_DEFAULT`).
const WINDOW_LIMIT: u64 = (1 << 27) + 1;

/// Smallest window that memory is set aside for (`ZSTD_WINDOWLOG_ABSOLUTEMIN`).
const WINDOW_MIN: u64 = 1 << 10;

/// Calls without any progress after which the decoder gives up
/// (`ZSTD_NO_FORWARD_PROGRESS_MAX`).
const IDLE_MAX: u32 = 16;

/// Header bytes that tell the header's size.
const HEADER_START: usize = 5;

/// Longest header.
const HEADER_MAX: usize = 18;

/// A cut of the input and how much of it has been taken.
#[derive(Debug)]
pub(crate) struct Input<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) taken: usize,
}

/// What a call returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Call {
    /// The frame has ended and everything has been put out.
    FrameEnded,
    /// More input or more room for output is wanted.
    More,
}

/// Where the decoder is in its own loop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Header,
    Read,
    Load,
    Flush,
    /// The frame is over; the next call starts another.
    Over,
}

/// What the frame has next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    BlockHeader,
    Block(BlockHeader),
    Checksum,
    Skip,
    Nothing,
}

/// Memory that is kept from payload to payload.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    tables: Tables,
    ring: Ring,
    input: Vec<u8>,
}

/// The state of one decoder.
pub(crate) struct Stream<'a> {
    memory: &'a mut Memory,
    rules: Rules,
    /// Bytes of output that will be looked at, at most.
    used: usize,
    /// Bytes of buffers that can be had besides the decoder itself.
    limit: u64,
    phase: Phase,
    next: Next,
    /// Bytes the next piece still needs.
    expected: usize,
    header: [u8; HEADER_MAX],
    header_len: usize,
    frame: Option<FrameHeader>,
    block_max: usize,
    ring_size: usize,
    out_start: usize,
    out_end: usize,
    decoded: u64,
    hash: XxHash64,
    hostage: bool,
    idle: u32,
    /// Bytes of buffers the frame needs besides the decoder itself, once that is known.
    pub(crate) buffers: Option<u64>,
}

impl<'a> Stream<'a> {
    /// A decoder of which at most `used` bytes of output will be asked for, and whose buffers
    /// may take up to `limit` bytes.
    pub(crate) fn new(memory: &'a mut Memory, rules: Rules, used: usize, limit: u64) -> Self {
        Self {
            memory,
            rules,
            used,
            limit,
            phase: Phase::Over,
            next: Next::Nothing,
            expected: HEADER_START,
            header: [0; HEADER_MAX],
            header_len: 0,
            frame: None,
            block_max: 0,
            ring_size: 0,
            out_start: 0,
            out_end: 0,
            decoded: 0,
            hash: XxHash64::with_seed(0),
            hostage: false,
            idle: 0,
            buffers: None,
        }
    }

    /// Decodes from `input` into `out`; the bytes put out, and how it ended.
    pub(crate) fn call(
        &mut self,
        input: &mut Input<'_>,
        out: &mut [u8],
    ) -> Result<(usize, Call), Refused> {
        let first = input.taken;
        let mut written = 0;
        if self.phase == Phase::Over {
            self.phase = Phase::Header;
            self.header_len = 0;
            self.memory.input.clear();
            (self.out_start, self.out_end) = (0, 0);
            self.hostage = false;
        }
        loop {
            let rest = input.bytes.get(input.taken..).unwrap_or_default();
            match self.phase {
                Phase::Header => {
                    if let Some(more) = self.header_wants()? {
                        if more > rest.len() {
                            self.keep_header(rest);
                            input.taken = input.bytes.len();
                            if self.rules >= Rules::V1_5_7 {
                                self.header_wants()?;
                            }
                            return Ok((written, Call::More));
                        }
                        self.keep_header(rest.get(..more).unwrap_or_default());
                        input.taken += more;
                        continue;
                    }
                    // Only a frame that starts with this call's input can be wholly there.
                    let whole = match input.taken - first == self.header_len {
                        true => input.bytes.get(first..).unwrap_or_default(),
                        false => &[],
                    };
                    if let Some((size, len)) = self.at_once(whole, out)? {
                        input.taken = first + size;
                        written = len;
                        self.expected = 0;
                        self.next = Next::Nothing;
                        self.phase = Phase::Over;
                        break;
                    }
                    self.begin_frame()?;
                    self.phase = Phase::Read;
                }
                Phase::Read => {
                    let needed = match self.next {
                        Next::Block(block) if block.kind == BlockKind::Raw => {
                            rest.len().max(1).min(self.expected)
                        }
                        _ => self.expected,
                    };
                    if needed == 0 {
                        self.phase = Phase::Over;
                        break;
                    }
                    if let Some(piece) = rest.get(..needed) {
                        self.take(piece)?;
                        input.taken += needed;
                        continue;
                    }
                    if rest.is_empty() {
                        break;
                    }
                    self.phase = Phase::Load;
                }
                Phase::Load => {
                    let wanted = self.expected - self.memory.input.len();
                    let piece = rest.get(..wanted.min(rest.len())).unwrap_or_default();
                    input.taken += piece.len();
                    if self.next == Next::Skip {
                        // What is skipped is only counted; a frame that starts with it has ended
                        // for every reader once its end is reached.
                        self.expected -= piece.len();
                        if self.expected > 0 {
                            break;
                        }
                        self.next = Next::Nothing;
                        self.phase = Phase::Read;
                        continue;
                    }
                    self.memory.input.extend_from_slice(piece);
                    if piece.len() < wanted {
                        break;
                    }
                    let loaded = std::mem::take(&mut self.memory.input);
                    let result = self.take(&loaded);
                    self.memory.input = loaded;
                    self.memory.input.clear();
                    result?;
                }
                Phase::Flush => {
                    let wanted = self.out_end - self.out_start;
                    let len = wanted.min(out.len() - written);
                    let from = self.memory.ring.bytes(self.out_start, self.out_start + len);
                    if let Some(to) = out.get_mut(written..written + len) {
                        to.copy_from_slice(from);
                    }
                    written += len;
                    self.out_start += len;
                    if len < wanted {
                        break;
                    }
                    self.phase = Phase::Read;
                    let content = self.frame.and_then(|frame| frame.known_size());
                    let size = self.ring_size as u64;
                    if content.is_none_or(|content| size < content)
                        && self.out_start + self.block_max > self.ring_size
                    {
                        (self.out_start, self.out_end) = (0, 0);
                    }
                }
                Phase::Over => break,
            }
        }
        self.finish_call(first, written, input)
    }

    fn finish_call(
        &mut self,
        first: usize,
        written: usize,
        input: &mut Input<'_>,
    ) -> Result<(usize, Call), Refused> {
        if input.taken == first && written == 0 {
            self.idle += 1;
            if self.idle >= IDLE_MAX {
                return Err(Refused);
            }
        } else {
            self.idle = 0;
        }
        if self.expected > 0 {
            return Ok((written, Call::More));
        }
        // The last byte of a frame is handed back until everything is put out, so that callers
        // that watch their input come again.
        if self.out_end == self.out_start {
            if self.hostage {
                if input.taken >= input.bytes.len() {
                    self.phase = Phase::Read;
                    return Ok((written, Call::More));
                }
                input.taken += 1;
            }
            return Ok((written, Call::FrameEnded));
        }
        if !self.hostage {
            input.taken = input.taken.saturating_sub(1);
            self.hostage = true;
        }
        Ok((written, Call::More))
    }

    fn keep_header(&mut self, bytes: &[u8]) {
        for (to, from) in self.header.iter_mut().skip(self.header_len).zip(bytes) {
            *to = *from;
        }
        self.header_len += bytes.len();
    }

    fn magic(&self) -> u32 {
        let [first, second, third, fourth, ..] = self.header;
        u32::from_le_bytes([first, second, third, fourth])
    }

    fn skippable(&self) -> bool {
        self.magic() & MAGIC_SKIPPABLE_MASK == MAGIC_SKIPPABLE
    }

    /// How many more bytes the header needs; `None` when it is complete.
    fn header_wants(&mut self) -> Result<Option<usize>, Refused> {
        let have = self.header_len;
        if have < HEADER_START {
            if self.rules >= Rules::V1_5_7 && have > 0 && !self.prefix_known() {
                return Err(Refused);
            }
            return Ok(Some(HEADER_START - have));
        }
        if self.skippable() {
            return Ok(8usize.checked_sub(have).filter(|&more| more > 0));
        }
        if self.magic() != MAGIC {
            return Err(Refused);
        }
        let bytes = self.header.get(..have).unwrap_or_default();
        match FrameHeader::parse(bytes) {
            Ok(frame) => {
                self.frame = Some(frame);
                Ok(None)
            }
            Err(HeaderEnds::Truncated(size)) => Ok(Some(size - have)),
            Err(_) => Err(Refused),
        }
    }

    /// Whether the first few bytes can be the start of a frame.
    fn prefix_known(&self) -> bool {
        let have = self.header.iter().take(self.header_len.min(4));
        let is = |magic: u32| have.clone().zip(magic.to_le_bytes()).all(|(a, b)| *a == b);
        (MAGIC_SKIPPABLE..=MAGIC_SKIPPABLE | 15).any(is) || is(MAGIC)
    }

    /// Decodes the whole frame in one go, where it is all there and its content fits into `out`:
    /// its size and that of its content.
    fn at_once(&mut self, whole: &[u8], out: &mut [u8]) -> Result<Option<(usize, usize)>, Refused> {
        let Some(frame) = self.frame.filter(|_| !self.skippable()) else {
            return Ok(None);
        };
        let Some(content) = frame
            .known_size()
            .and_then(|size| usize::try_from(size).ok())
        else {
            return Ok(None);
        };
        let Some(size) = (content <= out.len())
            .then(|| frame_size(whole, &frame))
            .flatten()
        else {
            return Ok(None);
        };
        if frame.dictionary_id.0 != 0 {
            return Err(Refused);
        }
        let Memory { tables, ring, .. } = &mut *self.memory;
        tables.reset();
        let capacity = out.len();
        ring.reset(capacity, capacity);
        ring.begin(0, capacity);
        let mut rest = whole.get(frame.size()..).unwrap_or_default();
        loop {
            let Some((bytes, tail)) = rest.split_first_chunk() else {
                return Err(Refused);
            };
            let block = BlockHeader::parse(*bytes);
            let Some((body, tail)) = tail.split_at_checked(block.stored()) else {
                return Err(Refused);
            };
            rest = tail;
            let room = capacity - ring.at;
            match block.kind {
                BlockKind::Raw if block.size <= room => ring.put(body),
                BlockKind::Rle if block.size <= room => {
                    ring.fill(body.first().copied().unwrap_or(0), block.size);
                }
                BlockKind::Compressed => {
                    let bounds = Bounds {
                        rules: self.rules,
                        block_max: frame.block_max(),
                        window: frame.window(),
                        at_once: true,
                    };
                    ring.begin(ring.at, room);
                    tables
                        .decode(body, bounds, ring, &mut |_, _| ())
                        .map_err(|_| Refused)?;
                }
                _ => return Err(Refused),
            }
            ring.finish();
            if block.last {
                break;
            }
        }
        let len = ring.at;
        if len != content {
            return Err(Refused);
        }
        let decoded = ring.bytes(0, len);
        if frame.checksum() {
            let mut hash = XxHash64::with_seed(0);
            hash.write(decoded);
            let got = rest
                .first_chunk::<CHECKSUM>()
                .map(|got| u32::from_le_bytes(*got));
            if got != Some(low_half(hash.finish())) {
                return Err(Refused);
            }
        }
        if let Some(to) = out.get_mut(..len) {
            to.copy_from_slice(decoded);
        }
        Ok(Some((size, len)))
    }

    /// Sets buffers up for decoding piece by piece.
    fn begin_frame(&mut self) -> Result<(), Refused> {
        self.decoded = 0;
        self.hash = XxHash64::with_seed(0);
        self.memory.tables.reset();
        if self.skippable() {
            let [.., s0, s1, s2, s3] = *self.header.first_chunk::<8>().unwrap_or(&[0; 8]);
            let size = u32::from_le_bytes([s0, s1, s2, s3]);
            self.expected = usize::try_from(size).map_err(|_| Refused)?;
            self.next = match size {
                0 => Next::Nothing,
                _ => Next::Skip,
            };
            self.frame = None;
            self.block_max = 0;
            self.ring_size = 0;
            return Ok(());
        }
        let frame = self.frame.ok_or(Refused)?;
        if frame.dictionary_id.0 != 0 {
            return Err(Refused);
        }
        self.expected = BLOCK_HEADER;
        self.next = Next::BlockHeader;
        let window = frame.window().max(WINDOW_MIN);
        if window > WINDOW_LIMIT {
            return Err(Refused);
        }
        self.block_max = frame.block_max();
        let block_max = self.block_max as u64;
        let slack = 2 * SLACK as u64;
        let block = window.min(BLOCK_MAX as u64);
        let ring = match self.rules {
            Rules::V1_4_10 => window + block + slack,
            Rules::V1_5_2 => window + block + BLOCK_MAX as u64 + slack,
            _ => window + 2 * block.min(block_max) + slack,
        };
        let ring = frame.known_size().map_or(ring, |content| ring.min(content));
        let buffers = block_max.max(4) + ring;
        if buffers > self.limit {
            return Err(Refused);
        }
        self.buffers = Some(buffers);
        self.ring_size = usize::try_from(ring).map_err(|_| Refused)?;
        let touched = self.used + 2 * BLOCK_MAX;
        self.memory.ring.reset(self.ring_size, touched);
        Ok(())
    }

    /// Takes the next piece, which is complete.
    fn take(&mut self, piece: &[u8]) -> Result<(), Refused> {
        self.phase = Phase::Read;
        let start = self.out_start;
        self.memory.ring.at = start;
        if self.next != Next::Skip {
            self.memory.ring.continues();
        }
        match self.next {
            Next::BlockHeader => self.take_block_header(piece),
            Next::Block(block) => {
                self.take_block(block, piece)?;
                let end = self.memory.ring.at;
                if end > start {
                    self.out_end = end;
                    self.phase = Phase::Flush;
                }
                Ok(())
            }
            Next::Checksum => {
                let got = piece.first_chunk().map(|got| u32::from_le_bytes(*got));
                if got != Some(low_half(self.hash.finish())) {
                    return Err(Refused);
                }
                self.end_frame();
                Ok(())
            }
            Next::Skip | Next::Nothing => {
                self.end_frame();
                Ok(())
            }
        }
    }

    fn end_frame(&mut self) {
        self.next = Next::Nothing;
        self.expected = 0;
    }

    fn take_block_header(&mut self, piece: &[u8]) -> Result<(), Refused> {
        let block = BlockHeader::parse(*piece.first_chunk().ok_or(Refused)?);
        if block.kind == BlockKind::Reserved || block.stored() > self.block_max {
            return Err(Refused);
        }
        self.next = Next::Block(block);
        self.expected = block.stored();
        if self.expected == 0 {
            self.after_block(block.last);
        }
        Ok(())
    }

    /// What follows a block that is done.
    fn after_block(&mut self, last: bool) {
        let checksum = self.frame.is_some_and(|frame| frame.checksum());
        (self.next, self.expected) = match (last, checksum) {
            (false, _) => (Next::BlockHeader, BLOCK_HEADER),
            (true, true) => (Next::Checksum, CHECKSUM),
            (true, false) => (Next::Nothing, 0),
        };
    }

    fn take_block(&mut self, block: BlockHeader, piece: &[u8]) -> Result<(), Refused> {
        let Memory { tables, ring, .. } = &mut *self.memory;
        let frame = self.frame.ok_or(Refused)?;
        let start = ring.at;
        match block.kind {
            BlockKind::Raw => {
                if piece.len() > ring.space() {
                    return Err(Refused);
                }
                ring.put(piece);
                self.expected -= piece.len();
            }
            BlockKind::Rle => {
                if block.size > ring.space() || block.size > self.block_max {
                    return Err(Refused);
                }
                ring.fill(piece.first().copied().unwrap_or(0), block.size);
                self.expected = 0;
            }
            _ => {
                let bounds = Bounds {
                    rules: self.rules,
                    block_max: self.block_max,
                    window: frame.window(),
                    at_once: false,
                };
                ring.begin(start, self.block_max);
                tables
                    .decode(piece, bounds, ring, &mut |_, _| ())
                    .map_err(|_| Refused)?;
                self.expected = 0;
            }
        }
        ring.finish();
        let end = ring.at;
        self.decoded += (end - start) as u64;
        if frame.checksum() {
            self.hash.write(ring.bytes(start, end));
        }
        if self.expected == 0 {
            if block.last && frame.known_size().is_some_and(|size| size != self.decoded) {
                return Err(Refused);
            }
            self.after_block(block.last);
        }
        Ok(())
    }
}

/// The checksum of a frame.
pub(crate) fn low_half(hash: u64) -> u32 {
    u32::try_from(hash & 0xffff_ffff).unwrap_or(0)
}

/// Size of the frame at the start of `bytes`, if it is there to its last byte.
fn frame_size(bytes: &[u8], frame: &FrameHeader) -> Option<usize> {
    let mut at = frame.size();
    loop {
        let block = BlockHeader::parse(*bytes.get(at..)?.first_chunk()?);
        if block.kind == BlockKind::Reserved {
            return None;
        }
        at += BLOCK_HEADER + block.stored();
        if at > bytes.len() {
            return None;
        }
        if block.last {
            break;
        }
    }
    if frame.checksum() {
        at += CHECKSUM;
    }
    (at <= bytes.len()).then_some(at)
}
