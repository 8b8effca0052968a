//! Decoding tables, and literals decoded by them one or two at a time.

use super::lanes::Lanes;
use super::{LOG, LOG_MAX, Tree, stream_bounds};
use crate::bits::{BitReader, Status};
use crate::fault::FaultKind;
use crate::rules::Rules;

/// A table that decodes literals.
#[derive(Debug)]
pub(crate) struct Decoding {
    /// Bits looked up at a time.
    log: u32,
    /// Whether [`Decoding::double`] is in use.
    pairs: bool,
    /// For each value of the next `log` bits: the code's length, and the literal times 256.
    single: Box<[u16; 1 << LOG_MAX]>,
    /// The same for up to two literals: the literals, the bits of both (<< 16), how many (<< 24).
    double: Box<[u32; 1 << LOG_MAX]>,
}

impl Clone for Decoding {
    fn clone(&self) -> Self {
        Self {
            log: self.log,
            pairs: self.pairs,
            single: self.single.clone(),
            double: self.double.clone(),
        }
    }

    fn clone_from(&mut self, other: &Self) {
        self.log = other.log;
        self.pairs = other.pairs;
        self.single.clone_from(&other.single);
        self.double.clone_from(&other.double);
    }
}

impl Default for Decoding {
    fn default() -> Self {
        Self {
            log: LOG,
            pairs: false,
            single: Box::new([0; 1 << LOG_MAX]),
            double: Box::new([0; 1 << LOG_MAX]),
        }
    }
}

impl Decoding {
    /// Builds the table of a tree; `pairs` for one that decodes two literals at a time.
    pub(crate) fn set(&mut self, tree: &Tree, pairs: bool, rules: Rules) {
        self.pairs = pairs;
        self.log = match (tree.log <= LOG, pairs) {
            (false, _) => LOG_MAX,
            (true, true) => rules.pair_table_log(),
            (true, false) => LOG,
        };
        let widen = self.log - tree.log;
        // Codes of one length are neighbours, the longest first, each length in symbol order.
        let mut start = [0usize; 16];
        let mut count = [0usize; 16];
        for &weight in tree.weights.iter().take(tree.symbols) {
            if let Some(count) = count.get_mut(usize::from(weight)) {
                *count += 1;
            }
        }
        let mut next = 0;
        for ((start, count), weight) in start.iter_mut().zip(&count).zip(0u32..).skip(1) {
            *start = next;
            next += count << (weight - 1 + widen);
        }
        for (&weight, symbol) in tree.weights.iter().take(tree.symbols).zip(0u16..) {
            if weight == 0 {
                continue;
            }
            let Some(start) = start.get_mut(usize::from(weight)) else {
                continue;
            };
            let width = 1usize << (u32::from(weight) - 1 + widen);
            let bits = u16::try_from(tree.log + 1).unwrap_or(0) - u16::from(weight);
            if let Some(cells) = self.single.get_mut(*start..*start + width) {
                cells.fill(symbol << 8 | bits);
            }
            *start += width;
        }
        if pairs {
            self.set_pairs();
        }
    }

    fn set_pairs(&mut self) {
        let size = 1usize << self.log;
        let mask = size - 1;
        for (index, (cell, &first)) in self.double.iter_mut().zip(self.single.iter()).enumerate() {
            if index > mask {
                break;
            }
            let bits = u32::from(first & 0xff);
            let second = self
                .single
                .get((index << bits) & mask)
                .copied()
                .unwrap_or(0);
            let both = bits + u32::from(second & 0xff);
            *cell = match both <= self.log {
                true => u32::from(first >> 8) | u32::from(second & 0xff00) | both << 16 | 2 << 24,
                false => u32::from(first >> 8) | bits << 16 | 1 << 24,
            };
        }
    }

    #[inline(always)]
    fn single(&self, index: u64) -> u16 {
        let index = usize::try_from(index).unwrap_or(0) & ((1 << LOG_MAX) - 1);
        self.single.get(index).copied().unwrap_or(0)
    }

    #[inline(always)]
    fn double(&self, index: u64) -> u32 {
        let index = usize::try_from(index).unwrap_or(0) & ((1 << LOG_MAX) - 1);
        self.double.get(index).copied().unwrap_or(0)
    }

    /// Decodes one stream that fills `bytes` into `out`.
    pub(crate) fn one_stream(&self, bytes: &[u8], out: &mut [u8]) -> Result<(), FaultKind> {
        let mut stream = BitReader::new(bytes).ok_or(FaultKind::StreamEndMark { stream: 1 })?;
        self.finish(&mut stream, out);
        match stream.ended() {
            true => Ok(()),
            false => Err(FaultKind::StreamLength { stream: 1 }),
        }
    }

    /// Decodes a stream's literals to the end of `out`.
    fn finish(&self, stream: &mut BitReader<'_>, out: &mut [u8]) {
        match self.pairs {
            true => self.finish_pairs(stream, out),
            false => self.finish_singles(stream, out),
        }
    }

    fn finish_singles(&self, stream: &mut BitReader<'_>, out: &mut [u8]) {
        let mut at = 0;
        if out.len() > 3 {
            while (stream.reload() == Status::Unfinished) & (at + 3 < out.len()) {
                for _ in 0..4 {
                    self.put_single(stream, out, &mut at);
                }
            }
        } else {
            stream.reload();
        }
        while at < out.len() {
            self.put_single(stream, out, &mut at);
        }
    }

    #[inline(always)]
    fn put_single(&self, stream: &mut BitReader<'_>, out: &mut [u8], at: &mut usize) {
        let cell = self.single(stream.peek_fast(self.log));
        stream.skip(u32::from(cell & 0xff));
        if let Some(byte) = out.get_mut(*at) {
            *byte = cell.to_le_bytes()[1];
        }
        *at += 1;
    }

    fn finish_pairs(&self, stream: &mut BitReader<'_>, out: &mut [u8]) {
        let mut at = 0;
        let len = out.len();
        if len >= 8 {
            let (lookups, room) = match self.log <= LOG {
                true => (5, 9),
                false => (4, 7),
            };
            while (stream.reload() == Status::Unfinished) & (at + room < len) {
                for _ in 0..lookups {
                    self.put_pair(stream, out, &mut at);
                }
            }
        } else {
            stream.reload();
        }
        if at + 2 <= len {
            while (stream.reload() == Status::Unfinished) & (at + 2 <= len) {
                self.put_pair(stream, out, &mut at);
            }
            while at + 2 <= len {
                self.put_pair(stream, out, &mut at);
            }
        }
        if let Some(byte) = out.get_mut(at) {
            *byte = self.last_of_pairs(stream);
        }
    }

    #[inline(always)]
    fn put_pair(&self, stream: &mut BitReader<'_>, out: &mut [u8], at: &mut usize) {
        let cell = self.double(stream.peek_fast(self.log));
        let [first, second, bits, count] = cell.to_le_bytes();
        stream.skip(u32::from(bits));
        if let Some(two) = out.get_mut(*at..*at + 2) {
            two.copy_from_slice(&[first, second]);
        }
        *at += usize::from(count);
    }

    /// The last literal of a stream decoded in pairs. Where the table gives two, the bits of the
    /// second are taken to have been there or not, whichever makes the stream end.
    fn last_of_pairs(&self, stream: &mut BitReader<'_>) -> u8 {
        let cell = self.double(stream.peek_fast(self.log));
        let [first, _, bits, count] = cell.to_le_bytes();
        if count == 1 {
            stream.skip(u32::from(bits));
        } else if stream.consumed() < 64 {
            stream.skip(u32::from(bits));
            stream.set_consumed(stream.consumed().min(64));
        }
        first
    }

    /// Decodes four streams after their jump table, which together fill `bytes`, into the first
    /// `len` bytes of `out`, which has room for three quarters of `len` rounded up.
    pub(crate) fn four_streams(
        &self,
        bytes: &[u8],
        out: &mut [u8],
        len: usize,
        rules: Rules,
    ) -> Result<(), FaultKind> {
        let bounds = stream_bounds(bytes)?;
        let segment = len.div_ceil(4);
        let last = len.saturating_sub(3 * segment);
        if rules.streams_start_inside() && 3 * segment > len {
            return Err(FaultKind::TooFewLiterals { size: len });
        }
        let (first, rest) = split(out, segment);
        let (second, rest) = split(rest, segment);
        let (third, rest) = split(rest, segment);
        let (fourth, _) = split(rest, last);
        let mut outs = [first, second, third, fourth];
        let long = bounds.iter().all(|&(start, end)| end - start >= 8);
        let anywhere = rules.streams_end_anywhere() && self.log == LOG && long && last > 0;
        if !anywhere {
            for (stream, &(start, end)) in (1..).zip(&bounds) {
                if end == start || bytes.get(end - 1) == Some(&0) {
                    return Err(FaultKind::StreamEndMark { stream });
                }
            }
        }
        let mut lanes = None;
        if long && self.log == LOG {
            let mut started = Lanes::new(bytes, &bounds);
            let spare = if anywhere { 0 } else { 2 };
            match self.pairs {
                true => self.fast_pairs(bytes, &mut started, &mut outs, spare),
                false => self.fast_singles(bytes, &mut started, &mut outs, spare),
            }
            lanes = Some(started);
        }
        for (index, (out, &(start, end))) in outs.iter_mut().zip(&bounds).enumerate() {
            let stream = index + 1;
            let wrong = FaultKind::StreamLength { stream };
            let own = bytes.get(start..end).unwrap_or_default();
            let (mut reader, done) = match lanes.as_ref().and_then(|lanes| lanes.0.get(index)) {
                None => (
                    BitReader::new(own).ok_or(FaultKind::StreamEndMark { stream })?,
                    0,
                ),
                Some(lane) if anywhere => {
                    if lane.position + 8 < start {
                        return Err(wrong);
                    }
                    let consumed = lane.bits.trailing_zeros();
                    (
                        BitReader::resume(bytes, lane.position, consumed, 0),
                        lane.written,
                    )
                }
                Some(lane) => (lane.within(own, start).ok_or(wrong)?, lane.written),
            };
            self.finish(&mut reader, out.get_mut(done..).unwrap_or_default());
            if !anywhere && !reader.ended() {
                return Err(wrong);
            }
        }
        Ok(())
    }

    /// Decodes five literals of each stream at a time, as long as the first stream's place
    /// leaves room for it and no stream has crossed the one before it.
    ///
    /// Where this stops decides which damaged streams are noticed by decoders that let streams
    /// end anywhere, so it follows their loop: libzstd 1.5.7, lib/zstd/decompress/huf_decompress.c.
    fn fast_singles(
        &self,
        bytes: &[u8],
        lanes: &mut Lanes,
        outs: &mut [&mut [u8]; 4],
        spare: usize,
    ) {
        loop {
            let Some(rounds) = lanes.rounds(outs, 5, spare, true) else {
                return;
            };
            for _ in 0..rounds {
                for (lane, out) in lanes.0.iter_mut().zip(outs.iter_mut()) {
                    let Some(five) = out
                        .get_mut(lane.written..)
                        .and_then(|tail| tail.first_chunk_mut::<5>())
                    else {
                        return;
                    };
                    // In a local, as the literals might alias it for all the compiler knows.
                    let mut bits = lane.bits;
                    for byte in five {
                        let cell = self.single(bits >> (64 - LOG));
                        bits <<= cell & 63;
                        *byte = cell.to_le_bytes()[1];
                    }
                    lane.bits = bits;
                    lane.written += 5;
                    lane.reload(bytes);
                }
            }
        }
    }

    /// The same, five lookups of up to two literals at a time.
    fn fast_pairs(&self, bytes: &[u8], lanes: &mut Lanes, outs: &mut [&mut [u8]; 4], spare: usize) {
        loop {
            let Some(rounds) = lanes.rounds(outs, 10, spare, false) else {
                return;
            };
            let limit = lanes.0[3].written + 5 * rounds;
            while lanes.0[3].written < limit {
                for (lane, out) in lanes.0.iter_mut().zip(outs.iter_mut()) {
                    let Some(ten) = out
                        .get_mut(lane.written..)
                        .and_then(|tail| tail.first_chunk_mut::<10>())
                    else {
                        return;
                    };
                    let mut at = 0;
                    let mut register = lane.bits;
                    for _ in 0..5 {
                        let cell = self.double(register >> (64 - LOG));
                        let [first, second, bits, count] = cell.to_le_bytes();
                        register <<= bits & 63;
                        if let Some(two) = ten.get_mut(at..at + 2) {
                            two.copy_from_slice(&[first, second]);
                        }
                        at += usize::from(count);
                    }
                    lane.bits = register;
                    lane.written += at;
                    lane.reload(bytes);
                }
            }
        }
    }
}

/// `out` cut in two; a cut past the end gives all and nothing.
fn split(out: &mut [u8], at: usize) -> (&mut [u8], &mut [u8]) {
    let at = at.min(out.len());
    out.split_at_mut(at)
}
