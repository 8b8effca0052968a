//! Compressed blocks: literals, then sequences of literal runs and matches.

use std::ops::Range;

use crate::count::literals::Lengths;
use crate::fault::{FaultKind, Table};
use crate::fse::{Counts, SequenceTables};
use crate::huffman::{self, Decoding, Tree};
use crate::kind::{Kind, Literals, Mode};
use crate::layout::BLOCK_MAX;
use crate::rules::Rules;
use crate::sink::{SLACK, Sink};

/// A fault and the byte of the block it is about.
pub(crate) type Damage = (usize, FaultKind);

/// What blocks of a frame hand on to the next, and room to work in.
#[derive(Debug)]
pub(crate) struct Tables {
    huffman: Decoding,
    /// The same for sinks that keep nothing.
    lengths: Lengths,
    /// A block before had a Huffman tree.
    tree: bool,
    pub(crate) codes: Box<SequenceTables>,
    /// A block before had sequences.
    sequences: bool,
    /// The last three offsets.
    pub(crate) recent: [u32; 3],
    pub(crate) literals: Vec<u8>,
}

impl Default for Tables {
    fn default() -> Self {
        Self {
            huffman: Decoding::default(),
            lengths: Lengths::default(),
            tree: false,
            codes: Box::new(SequenceTables::EMPTY),
            sequences: false,
            recent: [1, 4, 8],
            literals: vec![0; BLOCK_MAX + 2 * SLACK],
        }
    }
}

/// What bounds a block.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// Whose rules count.
    pub(crate) rules: Rules,
    /// Largest block, stored or decoded: the window, at most 128 KiB.
    pub(crate) block_max: usize,
    /// The declared window.
    pub(crate) window: u64,
    /// Decoding a whole frame at once rather than piece by piece.
    pub(crate) at_once: bool,
}

impl Tables {
    /// Forgets everything of the frame before.
    pub(crate) fn reset(&mut self) {
        self.tree = false;
        self.sequences = false;
        self.recent = [1, 4, 8];
    }

    /// Takes over what `other` hands on to the next block.
    pub(crate) fn copy_state(&mut self, other: &Self) {
        self.huffman.clone_from(&other.huffman);
        self.lengths.clone_from(&other.lengths);
        self.tree = other.tree;
        self.codes.clone_from(&other.codes);
        self.sequences = other.sequences;
        self.recent = other.recent;
    }

    /// Decodes the content of a compressed block into `sink`, and reports its structures.
    pub(crate) fn decode(
        &mut self,
        block: &[u8],
        bounds: Bounds,
        sink: &mut impl Sink,
        visit: &mut impl FnMut(Range<usize>, Kind),
    ) -> Result<(), Damage> {
        let rules = bounds.rules;
        if rules == Rules::V1_5_7 && block.len() > bounds.block_max
            || rules != Rules::V1_5_7 && block.len() >= BLOCK_MAX
        {
            return Err((
                0,
                FaultKind::BlockTooLarge {
                    size: block.len(),
                    max: bounds.block_max.min(BLOCK_MAX - 1),
                },
            ));
        }
        if block.len() < rules.block_min() {
            return Err((
                0,
                FaultKind::BlockTooShort {
                    size: block.len(),
                    min: rules.block_min(),
                },
            ));
        }
        let (size, count) = self.decode_literals(block, bounds, sink, visit)?;
        self.decode_sequences(block, size, count, bounds, sink, visit)
    }

    /// Decodes the literals section; its size and the number of literals.
    fn decode_literals<S: Sink>(
        &mut self,
        block: &[u8],
        bounds: Bounds,
        sink: &mut S,
        visit: &mut impl FnMut(Range<usize>, Kind),
    ) -> Result<(usize, usize), Damage> {
        let mut head = [0; 5];
        for (to, from) in head.iter_mut().zip(block) {
            *to = *from;
        }
        let [first, second, third, fourth, fifth] = head;
        let literals = match first & 3 {
            0 => Literals::Raw,
            1 => Literals::Rle,
            2 => Literals::Compressed,
            _ => Literals::Treeless,
        };
        let form = (first >> 2) & 3;
        let word = usize::from(first)
            | usize::from(second) << 8
            | usize::from(third) << 16
            | usize::from(fourth) << 24
            | usize::from(fifth) << 32;
        let coded = matches!(literals, Literals::Compressed | Literals::Treeless);
        // Size of the header, literals, bytes they are stored in.
        let (size, count, stored) = match (coded, form) {
            (false, 0 | 2) => (1, word >> 3 & 0x1f, 0),
            (false, 1) => (2, word >> 4 & 0xfff, 0),
            (false, _) => (3, word >> 4 & 0xf_ffff, 0),
            (true, 0 | 1) => (3, word >> 4 & 0x3ff, word >> 14 & 0x3ff),
            (true, 2) => (4, word >> 4 & 0x3fff, word >> 18 & 0x3fff),
            (true, _) => (5, word >> 4 & 0x3_ffff, word >> 22 & 0x3_ffff),
        };
        let stored = match literals {
            Literals::Raw => count,
            Literals::Rle => 1,
            _ => stored,
        };
        // Decoders want all five bytes there for any coded literals.
        let needed = if coded { 5 } else { size };
        if block.len() < needed {
            return Err((
                0,
                FaultKind::TruncatedLiteralsHeader {
                    needed,
                    available: block.len(),
                },
            ));
        }
        let streams = match (coded, form) {
            (false, _) => 0,
            (true, 0) => 1,
            (true, _) => 4,
        };
        visit(
            0..size,
            Kind::LiteralsHeader {
                literals,
                count,
                stored,
                streams,
            },
        );
        let strict_limit = bounds.rules >= Rules::V1_5_7;
        let max = if strict_limit {
            bounds.block_max
        } else {
            BLOCK_MAX
        };
        if count > max || count > sink.room() {
            return Err((0, FaultKind::TooManyLiterals { size: count, max }));
        }
        let end = size + stored;
        let Some(body) = block.get(size..end) else {
            return Err((
                size,
                FaultKind::TruncatedLiterals {
                    needed: stored,
                    available: block.len() - size,
                },
            ));
        };
        // Decoding at once, libzstd 1.5.7 keeps literals after the block's place where there is
        // room, unless it can use them where they are; the block then ends before them.
        let in_place = literals == Literals::Raw && end + SLACK <= block.len();
        let behind = bounds.block_max + 2 * SLACK + count;
        if bounds.at_once && bounds.rules == Rules::V1_5_7 && !in_place && sink.room() > behind {
            sink.narrow(bounds.block_max + SLACK);
        }
        match literals {
            Literals::Raw => {
                // Where they are used in place, what is read beyond them is what follows.
                let read = if in_place { end + SLACK } else { end };
                let body = block.get(size..read).unwrap_or_default();
                if S::KEEPS
                    && let Some(to) = self.literals.get_mut(..body.len())
                {
                    to.copy_from_slice(body);
                }
                visit(size..end, Kind::RawLiterals);
            }
            Literals::Rle => {
                let byte = body.first().copied().unwrap_or(0);
                let slack = bounds.rules.slack_cleared() * SLACK;
                if S::KEEPS
                    && let Some(to) = self.literals.get_mut(..count + slack)
                {
                    to.fill(byte);
                }
                visit(size..end, Kind::RleLiteral { times: count });
            }
            Literals::Compressed | Literals::Treeless => {
                let treeless = literals == Literals::Treeless;
                self.decode_huffman::<S>(
                    body,
                    size,
                    count,
                    treeless,
                    streams,
                    bounds.rules,
                    visit,
                )?;
            }
        }
        Ok((end, count))
    }

    #[expect(clippy::too_many_arguments, reason = "the fields of one header")]
    fn decode_huffman<S: Sink>(
        &mut self,
        body: &[u8],
        offset: usize,
        count: usize,
        treeless: bool,
        streams: usize,
        rules: Rules,
        visit: &mut impl FnMut(Range<usize>, Kind),
    ) -> Result<(), Damage> {
        let at = |(byte, kind)| (offset + byte, kind);
        if streams == 4 && count < 6 && rules.four_streams_need_six() {
            return Err(at((0, FaultKind::TooFewLiterals { size: count })));
        }
        let mut start = 0;
        if treeless {
            if !self.tree {
                return Err(at((0, FaultKind::NoTree)));
            }
        } else {
            // A stream without literals is a length that does not match, whoever looks.
            if streams == 4 && count == 0 {
                return Err(at((0, FaultKind::NoLiterals)));
            }
            let pairs = streams == 4 && huffman::decodes_pairs(count, body.len(), rules);
            let tree = Tree::read(body, rules).map_err(|kind| at((0, kind)))?;
            if tree.size >= body.len() {
                return Err(at((
                    0,
                    FaultKind::TruncatedTree {
                        needed: tree.size + 1,
                        available: body.len(),
                    },
                )));
            }
            visit(
                offset..offset + tree.size,
                Kind::Tree {
                    symbols: tree.symbols,
                    bits: tree.log,
                },
            );
            match S::KEEPS {
                true => self.huffman.set(&tree, pairs, rules),
                false => self.lengths.set(&tree),
            }
            start = tree.size;
        }
        let coded = body.get(start..).unwrap_or_default();
        if streams == 1 {
            let done = match S::KEEPS {
                true => {
                    let to = self.literals.get_mut(..count).unwrap_or_default();
                    self.huffman.one_stream(coded, to)
                }
                false => self.lengths.one_stream(coded, count),
            };
            done.map_err(|kind| at((start, kind)))?;
            let all = offset + start..offset + body.len();
            visit(all, Kind::Stream { stream: 1, count });
        } else {
            let bounds = huffman::stream_bounds(coded).map_err(|kind| at((start, kind)))?;
            report_streams(&bounds, offset + start, count, visit);
            let done = match S::KEEPS {
                true => {
                    let to = &mut self.literals;
                    self.huffman.four_streams(coded, to, count, rules)
                }
                false => self.lengths.four_streams(coded, count),
            };
            done.map_err(|kind| at((start + stream_start(&bounds, kind), kind)))?;
        }
        let slack = rules.slack_cleared() * SLACK;
        if let Some(slack) = self.literals.get_mut(count..count + slack) {
            slack.fill(0);
        }
        self.tree = true;
        Ok(())
    }

    /// Decodes the sequences section, which starts at `start`.
    fn decode_sequences(
        &mut self,
        block: &[u8],
        start: usize,
        literals: usize,
        bounds: Bounds,
        sink: &mut impl Sink,
        visit: &mut impl FnMut(Range<usize>, Kind),
    ) -> Result<(), Damage> {
        let rules = bounds.rules;
        let ends = (start, FaultKind::TruncatedSequences);
        let section = block.get(start..).unwrap_or_default();
        let (count, size) = match *section {
            [] => return Err(ends),
            [first @ ..0x80, ..] => (usize::from(first), 1),
            [0xff, low, high, ..] => (usize::from(u16::from_le_bytes([low, high])) + 0x7f00, 3),
            [0xff, ..] => return Err(ends),
            [high, low, ..] => (usize::from(high - 0x80) << 8 | usize::from(low), 2),
            [_] => return Err(ends),
        };
        let mut at = start + size;
        visit(start..at, Kind::SequencesHeader { count });
        if count == 0 && size == 2 && rules == Rules::Strict {
            return Err((start, FaultKind::ZeroSequencesLong));
        }
        if count == 0 && (size == 1 || rules.zero_ends_section()) {
            let extra = block.len() - at;
            if extra > 0 {
                return Err((at, FaultKind::SequencesTrailing { extra }));
            }
            return self.put_last(0, literals, at, bounds, sink);
        }
        let Some(&modes) = block.get(at) else {
            return Err((at, FaultKind::TruncatedSequences));
        };
        let mode = |shift: u8| match modes >> shift & 3 {
            0 => Mode::Predefined,
            1 => Mode::Rle,
            2 => Mode::Fse,
            _ => Mode::Repeat,
        };
        let modes3 = [mode(6), mode(4), mode(2)];
        visit(at..at + 1, Kind::Modes(modes3));
        if modes & 3 != 0 && rules.modes_checked() {
            return Err((at, FaultKind::ReservedModes));
        }
        at += 1;
        let tables = [Table::LiteralLengths, Table::Offsets, Table::MatchLengths];
        for (table, mode) in tables.into_iter().zip(modes3) {
            let rest = block.get(at..).unwrap_or_default();
            let size = self
                .set_table(table, mode, rest, &mut |size, kind| {
                    visit(at..at + size, kind)
                })
                .map_err(|kind| (at, kind))?;
            at += size;
        }
        let rest = block.get(at..).unwrap_or_default();
        let taken = match count {
            0 => 0,
            _ => {
                visit(at..block.len(), Kind::Bitstream { count });
                self.sequences = true;
                self.run(rest, count, literals, bounds, sink)
                    .map_err(|(byte, kind)| (at + byte, kind))?
            }
        };
        self.put_last(taken, literals, at, bounds, sink)
    }

    /// Puts out the literals after the last sequence.
    fn put_last(
        &self,
        taken: usize,
        literals: usize,
        at: usize,
        bounds: Bounds,
        sink: &mut impl Sink,
    ) -> Result<(), Damage> {
        let last = literals - taken;
        if last > sink.room() {
            let max = bounds.block_max;
            return Err((at, FaultKind::BlockContentTooLarge { max }));
        }
        sink.literals(&self.literals, taken, last);
        Ok(())
    }

    /// Sets one table from the start of `bytes`; the size of its description.
    fn set_table(
        &mut self,
        table: Table,
        mode: Mode,
        bytes: &[u8],
        visit: &mut impl FnMut(usize, Kind),
    ) -> Result<usize, FaultKind> {
        let known = self.sequences;
        let own = self.codes.table(table);
        match mode {
            Mode::Predefined => {
                own.copy(table.predefined());
                Ok(0)
            }
            Mode::Repeat if known => Ok(0),
            Mode::Repeat => Err(FaultKind::NoTable { table }),
            Mode::Rle => {
                let max = table.max_symbol();
                let &symbol = bytes.first().ok_or(FaultKind::TruncatedSequences)?;
                if symbol > max {
                    return Err(FaultKind::TableSymbol { table, symbol, max });
                }
                own.set_single(table, symbol);
                visit(1, Kind::TableSymbol { table, symbol });
                Ok(1)
            }
            Mode::Fse => {
                let counts = Counts::read(bytes, usize::from(table.max_symbol()))
                    .ok_or(FaultKind::TableDamaged { table })?;
                let max = table.max_log();
                if counts.log > max {
                    return Err(FaultKind::TableTooFine {
                        table,
                        log: counts.log,
                        max,
                    });
                }
                own.set(table, &counts);
                visit(
                    counts.size,
                    Kind::TableDescription {
                        table,
                        symbols: counts.symbols,
                        log: counts.log,
                    },
                );
                Ok(counts.size)
            }
        }
    }
}

/// Reports the jump table and the four streams.
fn report_streams(
    bounds: &[(usize, usize); 4],
    offset: usize,
    count: usize,
    visit: &mut impl FnMut(Range<usize>, Kind),
) {
    let sizes = bounds.map(|(start, end)| end - start);
    let [first, second, third, _] = sizes;
    visit(
        offset..offset + huffman::JUMP_TABLE,
        Kind::JumpTable([first, second, third]),
    );
    let segment = count.div_ceil(4);
    let mut left = count;
    for (stream, &(start, end)) in (1..).zip(bounds) {
        let count = segment.min(left);
        left -= count;
        visit(offset + start..offset + end, Kind::Stream { stream, count });
    }
}

/// Where the stream that a fault is about starts.
fn stream_start(bounds: &[(usize, usize); 4], kind: FaultKind) -> usize {
    let (FaultKind::StreamEndMark { stream } | FaultKind::StreamLength { stream }) = kind else {
        return 0;
    };
    bounds.get(stream - 1).map_or(0, |&(start, _)| start)
}
