//! Huffman-coded literals: the tree's description, its decoding tables, one stream or four.

use crate::bits::{BitReader, Status, load};
use crate::fault::FaultKind;
use crate::fse;
use crate::rules::Rules;

/// Exponent that tables are widened to, so that one loop decodes them all.
const LOG: u32 = 11;

/// Longest code that any decoder takes, bits.
const LOG_MAX: u32 = 12;

/// Bytes of the jump table.
pub(crate) const JUMP_TABLE: usize = 6;

/// A decoded tree description.
#[derive(Debug, Clone)]
pub(crate) struct Tree {
    weights: [u8; 256],
    /// Symbols described; the last one's weight is implied.
    pub(crate) symbols: usize,
    /// Length of the longest code, bits.
    pub(crate) log: u32,
    /// Bytes of the description.
    pub(crate) size: usize,
}

impl Tree {
    /// Reads a description from the start of `bytes`.
    pub(crate) fn read(bytes: &[u8], rules: Rules) -> Result<Self, FaultKind> {
        let Some((&head, rest)) = bytes.split_first() else {
            return Err(FaultKind::TruncatedTree {
                needed: 1,
                available: 0,
            });
        };
        let mut weights = [0; 256];
        let direct = usize::from(head).checked_sub(127);
        let size = match direct {
            Some(count) => count.div_ceil(2),
            None => usize::from(head),
        };
        let Some(coded) = rest.get(..size) else {
            return Err(FaultKind::TruncatedTree {
                needed: size + 1,
                available: bytes.len(),
            });
        };
        let count = match direct {
            Some(count) => {
                for (pair, byte) in weights.chunks_exact_mut(2).zip(coded) {
                    if let [first, second] = pair {
                        (*first, *second) = (byte >> 4, byte & 15);
                    }
                }
                count
            }
            None => fse::weights(coded, &mut weights, rules).ok_or(FaultKind::TreeWeights)?,
        };
        Self::complete(weights, count, size + 1, rules)
    }

    /// Finds the weight of the last symbol, which makes the tree complete.
    fn complete(
        mut weights: [u8; 256],
        count: usize,
        size: usize,
        rules: Rules,
    ) -> Result<Self, FaultKind> {
        let mut total = 0u32;
        let mut longest = 0;
        for &weight in weights.iter().take(count) {
            if weight > rules.weight_max() {
                return Err(FaultKind::TreeWeight {
                    weight,
                    max: rules.weight_max(),
                });
            }
            total += (1 << weight) >> 1;
            longest += u32::from(weight == 1);
        }
        if total == 0 {
            return Err(FaultKind::TreeIncomplete);
        }
        let log = total.ilog2() + 1;
        if log > LOG_MAX || rules == Rules::Strict && log > LOG {
            return Err(FaultKind::TreeTooDeep { bits: log });
        }
        let rest = (1 << log) - total;
        let last = rest.ilog2() + 1;
        longest += u32::from(last == 1);
        if !rest.is_power_of_two() || longest < 2 || longest % 2 != 0 {
            return Err(FaultKind::TreeIncomplete);
        }
        // What a caller left behind the described symbols must not count.
        for weight in weights.iter_mut().skip(count) {
            *weight = 0;
        }
        if let Some(weight) = weights.get_mut(count) {
            *weight = u8::try_from(last).unwrap_or(0);
        }
        Ok(Self {
            weights,
            symbols: count + 1,
            log,
            size,
        })
    }
}

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

    /// Decodes four streams behind their jump table, which together fill `bytes`, into the first
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

/// `out` cut in two; a cut behind the end gives all and nothing.
fn split(out: &mut [u8], at: usize) -> (&mut [u8], &mut [u8]) {
    let at = at.min(out.len());
    out.split_at_mut(at)
}

/// Start and end of each of the four streams in `bytes`.
pub(crate) fn stream_bounds(bytes: &[u8]) -> Result<[(usize, usize); 4], FaultKind> {
    let size = |index: usize| {
        bytes
            .get(2 * index..)
            .and_then(|tail| tail.first_chunk::<2>())
            .map_or(0, |size| usize::from(u16::from_le_bytes(*size)))
    };
    let second = JUMP_TABLE + size(0);
    let third = second + size(1);
    let fourth = third + size(2);
    if bytes.len() < JUMP_TABLE + 4 || fourth > bytes.len() {
        return Err(FaultKind::JumpTable {
            needed: fourth,
            available: bytes.len(),
        });
    }
    Ok([
        (JUMP_TABLE, second),
        (second, third),
        (third, fourth),
        (fourth, bytes.len()),
    ])
}

/// One of four streams that are decoded in step.
#[derive(Debug, Clone, Copy, Default)]
struct Lane {
    /// Index of the register's lowest byte; may fall below the stream's start.
    position: usize,
    /// The register: next bit on top, a set bit behind the last one.
    bits: u64,
    /// Literals decoded.
    written: usize,
}

impl Lane {
    #[inline(always)]
    fn reload(&mut self, bytes: &[u8]) {
        let used = self.bits.trailing_zeros();
        self.position = self
            .position
            .wrapping_sub(usize::try_from(used >> 3).unwrap_or(0));
        self.bits = (load(bytes, self.position) | 1) << (used & 7);
    }

    /// A reader that goes on here and knows where the stream starts; `None` behind the start.
    fn within<'a>(&self, own: &'a [u8], start: usize) -> Option<BitReader<'a>> {
        let used = self.bits.trailing_zeros();
        if let Some(position) = self.position.checked_sub(start) {
            return Some(BitReader::resume(own, position, used, 0));
        }
        let below = u32::try_from(start - self.position).ok()?;
        let used = used.checked_add(below.checked_mul(8)?)?;
        (used <= 64).then(|| BitReader::resume(own, 0, used, 0))
    }
}

/// The four streams.
struct Lanes([Lane; 4]);

impl Lanes {
    fn new(bytes: &[u8], bounds: &[(usize, usize); 4]) -> Self {
        let mut lanes = [Lane::default(); 4];
        for (lane, &(_, end)) in lanes.iter_mut().zip(bounds) {
            lane.position = end - 8;
            // A stream without end mark is taken to start at its first bit.
            let mark = match bytes.get(end - 1) {
                None | Some(0) => 0,
                Some(last) => last.leading_zeros() + 1,
            };
            lane.bits = (load(bytes, lane.position) | 1) << mark;
        }
        Self(lanes)
    }

    /// How many rounds are safe, each of which uses up to 7 bytes of each stream and gives up
    /// to `step` literals; `None` when none is, or when a stream has crossed its neighbour.
    fn rounds(
        &self,
        outs: &[&mut [u8]; 4],
        step: usize,
        spare: usize,
        last_only: bool,
    ) -> Option<usize> {
        let mut rounds = self.0[0].position / 7;
        for (index, (lane, out)) in self.0.iter().zip(outs).enumerate() {
            if index == 3 || !last_only {
                let room = out.len().saturating_sub(lane.written + spare);
                rounds = rounds.min(room / step);
            }
        }
        let crossed = self
            .0
            .windows(2)
            .any(|pair| matches!(pair, [before, after] if after.position < before.position));
        (rounds > 0 && !crossed).then_some(rounds)
    }
}

/// Whether a decoder takes literals one or two at a time, from what it believes to be faster:
/// `HUF_selectDecoder` and its measured table, which old and new generations have each their own
/// (lib/zstd/decompress/huf_decompress.c).
pub(crate) fn decodes_pairs(literals: usize, stored: usize, rules: Rules) -> bool {
    if rules.single_literals() {
        return false;
    }
    let ratio = match stored >= literals {
        true => 15,
        false => stored * 16 / literals.max(1),
    };
    let (costs, favour) = match rules {
        Rules::V1_4_10 => (&COSTS_1_4, 3),
        _ => (&COSTS_1_5, 5),
    };
    let Some(&[table_one, each_one, table_two, each_two]) = costs.get(ratio) else {
        return false;
    };
    let units = u32::try_from(literals >> 8).unwrap_or(0);
    let one = table_one + each_one * units;
    let two = table_two + each_two * units;
    two + (two >> favour) < one
}

/// Per sixteenth of compression: time for the table and for 256 literals, singly and in pairs.
const COSTS_1_4: [[u32; 4]; 16] = [
    [0, 0, 1, 1],
    [0, 0, 1, 1],
    [38, 130, 1313, 74],
    [448, 128, 1353, 74],
    [556, 128, 1353, 74],
    [714, 128, 1418, 74],
    [883, 128, 1437, 74],
    [897, 128, 1515, 75],
    [926, 128, 1613, 75],
    [947, 128, 1729, 77],
    [1107, 128, 2083, 81],
    [1177, 128, 2379, 87],
    [1242, 128, 2415, 93],
    [1349, 128, 2644, 106],
    [1455, 128, 2422, 124],
    [722, 128, 1891, 145],
];

/// The same since 1.5.0.
const COSTS_1_5: [[u32; 4]; 16] = [
    [0, 0, 1, 1],
    [0, 0, 1, 1],
    [150, 216, 381, 119],
    [170, 205, 514, 112],
    [177, 199, 539, 110],
    [197, 194, 644, 107],
    [221, 192, 735, 107],
    [256, 189, 881, 106],
    [359, 188, 1167, 109],
    [582, 187, 1570, 114],
    [688, 187, 1712, 122],
    [825, 186, 1965, 136],
    [976, 185, 2131, 150],
    [1180, 186, 2070, 175],
    [1377, 185, 1731, 202],
    [1412, 185, 1695, 202],
];
