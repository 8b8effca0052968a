//! The hot loop compared with the code that decodes one symbol at a time.

#![allow(clippy::indexing_slicing, clippy::unwrap_used)] // a failing test may panic
#![allow(clippy::cast_possible_truncation)] // of small numbers

use quickcheck::{Arbitrary, Gen, TestResult};

use super::{Flaw, Inflate, Mode, Observer, Output, Rules, Step, Unobserved, fast, table};
use crate::layout::HEADER_LEN;
use crate::{Encoder, Level, Options};

/// Sees every symbol, so that the hot loop is not used.
struct Watching;

impl Observer for Watching {
    fn matched(&mut self, _at: usize, _length: usize, _distance: usize) {}
}

/// Who decodes the bulk of the symbols.
#[derive(Debug, Clone, Copy)]
enum Loop {
    /// The hot loop as compiled for this processor.
    Dispatched,
    /// The hot loop as compiled for any.
    Portable,
    /// No hot loop.
    None,
}

/// All that can be told of a run.
#[derive(Debug, PartialEq)]
struct Seen {
    data: Vec<u8>,
    step: Step,
    mode: Mode,
    flaw: Option<Flaw>,
    pos: usize,
    start: u64,
    quiet: u64,
}

/// Damaged payload and how it is read.
#[derive(Debug, Clone)]
struct Case {
    payload: Vec<u8>,
    /// Length of the buffer, and how much of it may be used.
    room: usize,
    limit: usize,
    refuse_too_far: bool,
}

/// Data of an encoder.
fn encoded(g: &mut Gen) -> Vec<u8> {
    let mut data = vec![0];
    let len = 1 + usize::from(u16::arbitrary(g)) * 2;
    let scarcity = 1 + u8::arbitrary(g) % 8;
    while data.len() < len {
        // Distances down to 1, so that matches overlap themselves, and long matches.
        let back = 1 + usize::from(u16::arbitrary(g) >> (u8::arbitrary(g) % 16));
        let run = 3 + usize::from(u8::arbitrary(g)) * usize::from(u8::arbitrary(g) % 4);
        if bool::arbitrary(g) && back <= data.len() {
            (0..run).for_each(|_| data.push(data[data.len() - back]));
        } else {
            // Some bytes are frequent and some are not.
            let byte = |g: &mut Gen| u8::arbitrary(g) >> (u8::arbitrary(g) % scarcity);
            (0..run / 8).for_each(|_| data.push(byte(g)));
        }
    }
    data.truncate(len);
    let level = Level::numbered(1 + u32::arbitrary(g) % 9).unwrap();
    let mut payload = Vec::new();
    let mut encoder = Encoder::new(Options::new(level)).unwrap();
    encoder.encode(&data, &mut payload).unwrap();
    payload
}

/// The bits of a stream, and codes to write them with.
struct Writer(Vec<bool>);

/// For each symbol its code, first bit highest, and the code's length.
type Code = Vec<(u64, u8)>;

impl Writer {
    /// A number, lowest bit first.
    fn number(&mut self, value: u64, bits: u8) {
        self.0.extend((0..bits).map(|bit| value >> bit & 1 == 1));
    }

    fn symbol(&mut self, code: &Code, symbol: usize) {
        let (value, bits) = code[symbol];
        self.0
            .extend((0..bits).rev().map(|bit| value >> bit & 1 == 1));
    }
}

/// The canonical code of these lengths (RFC 1951, 3.2.2).
fn canonical(lens: &[u8]) -> Code {
    let mut code = vec![(0, 0); lens.len()];
    let mut next = 0;
    for len in 1..=15 {
        next <<= 1;
        for symbol in (0..lens.len()).filter(|&symbol| lens[symbol] == len) {
            code[symbol] = (next, len);
            next += 1;
        }
    }
    code
}

/// Code lengths of a complete code: leaves of a tree that grows at random.
fn tree(g: &mut Gen, symbols: usize) -> Vec<u8> {
    let mut lens = vec![0];
    while lens.len() < symbols {
        let leaf = usize::arbitrary(g) % lens.len();
        if lens[leaf] < 15 {
            lens[leaf] += 1;
            lens.push(lens[leaf]);
        }
    }
    lens
}

/// Bytes for any distance, then a block in which long codes are as frequent as short ones, so
/// that few bits are left between refills.
fn long_codes(g: &mut Gen) -> Vec<u8> {
    let (litlen, distance) = (tree(g, 286), tree(g, 30));
    let mut bits = Writer(Vec::new());
    for (value, count) in [(0b101, 3), (286 - 257, 5), (30 - 1, 5), (19 - 4, 4)] {
        bits.number(value, count);
    }
    let lengths: Vec<u8> = (0..19).map(|symbol| 4 + u8::from(symbol < 6)).collect();
    for symbol in super::LENGTHS_ORDER {
        bits.number(lengths[symbol].into(), 3);
    }
    let lengths = canonical(&lengths);
    for &len in litlen.iter().chain(&distance) {
        bits.symbol(&lengths, len.into());
    }
    let (litlen, distance) = (canonical(&litlen), canonical(&distance));
    for _ in 0..u16::arbitrary(g) / 32 {
        if u8::arbitrary(g) % 3 > 0 {
            bits.symbol(&litlen, usize::arbitrary(g) % 256);
            continue;
        }
        let symbol = usize::arbitrary(g) % 29;
        bits.symbol(&litlen, 257 + symbol);
        bits.number(u64::arbitrary(g), table::LENGTHS[symbol].1 as u8);
        let symbol = usize::arbitrary(g) % 30;
        bits.symbol(&distance, symbol);
        bits.number(u64::arbitrary(g), table::DISTANCES[symbol].1 as u8);
    }
    bits.symbol(&litlen, 256);

    let mut payload = vec![0x78, 0x01, 0x00, 0x00, 0x80, 0xff, 0x7f];
    payload.extend((0..0x8000).map(|_| u8::arbitrary(g)));
    let byte = |bits: &[bool]| (0..).zip(bits).map(|(n, &bit)| u8::from(bit) << n).sum();
    payload.extend(bits.0.chunks(8).map(byte).collect::<Vec<u8>>());
    payload.extend([0; 4]);
    payload
}

impl Arbitrary for Case {
    fn arbitrary(g: &mut Gen) -> Self {
        let mut payload = if u8::arbitrary(g) % 4 == 0 {
            long_codes(g)
        } else {
            encoded(g)
        };
        for _ in 0..u8::arbitrary(g) % 3 {
            let at = usize::arbitrary(g) % payload.len();
            payload[at] ^= 1 << (u8::arbitrary(g) % 8);
        }
        if u8::arbitrary(g) % 4 == 0 {
            payload.truncate(HEADER_LEN + usize::arbitrary(g) % payload.len());
        }
        let room = match u8::arbitrary(g) % 3 {
            0 => usize::from(u16::arbitrary(g)) * 2,
            1 => 131_072,
            _ => 140_000,
        };
        Self {
            payload,
            room,
            limit: match u8::arbitrary(g) % 4 {
                0 => usize::arbitrary(g) % (room + 1),
                _ => room,
            },
            refuse_too_far: bool::arbitrary(g),
        }
    }
}

impl Case {
    fn run(&self, by: Loop) -> Seen {
        let mut inflate = Inflate::new(Rules {
            need_end_of_block: self.refuse_too_far,
            refuse_too_far: self.refuse_too_far,
        });
        inflate.reset(HEADER_LEN);
        let mut bytes = vec![0; self.room];
        let mut out = Output {
            bytes: &mut bytes,
            len: 0,
            limit: self.limit,
            floor: 0,
        };
        let step = match by {
            Loop::Dispatched => inflate.run(&self.payload, &mut out, &mut Unobserved),
            Loop::None => inflate.run(&self.payload, &mut out, &mut Watching),
            Loop::Portable => inflate.run_portably(&self.payload, &mut out),
        };
        let data = out.bytes[..out.len].to_vec();
        Seen {
            data,
            step,
            mode: inflate.mode(),
            flaw: inflate.flaw(),
            pos: inflate.pos(),
            start: inflate.start(),
            quiet: inflate.quiet(),
        }
    }
}

impl Inflate {
    /// [`Inflate::run`], where each block begins with the portable loop.
    fn run_portably(&mut self, input: &[u8], out: &mut Output<'_>) -> Step {
        loop {
            if self.mode == Mode::Symbols {
                let codes = if self.fixed {
                    &super::FIXED
                } else {
                    &self.codes
                };
                fast::portable(&mut self.bits, codes, input, out);
            }
            match self.step(input, out, &mut Unobserved) {
                Step::Next => {}
                Step::Input => return Step::Input,
                end => {
                    self.bits.give_back();
                    return end;
                }
            }
        }
    }
}

#[test]
fn the_hot_loop_decodes_what_single_symbols_decode() {
    fn property(case: Case) -> TestResult {
        let expected = case.run(Loop::None);
        for by in [Loop::Dispatched, Loop::Portable] {
            let seen = case.run(by);
            if seen != expected {
                let same = seen
                    .data
                    .iter()
                    .zip(&expected.data)
                    .take_while(|(a, b)| a == b);
                return TestResult::error(format!(
                    "{by:?} loop, limit {} of {}: {:?} at {} with {} bytes, expected {:?} at {} \
                     with {}, of which {} are the same",
                    case.limit,
                    case.room,
                    (seen.step, seen.mode, seen.flaw),
                    (seen.pos),
                    seen.data.len(),
                    (expected.step, expected.mode, expected.flaw),
                    (expected.pos),
                    expected.data.len(),
                    same.count(),
                ));
            }
        }
        TestResult::passed()
    }
    quickcheck::QuickCheck::new()
        .tests(2000)
        .quickcheck(property as fn(Case) -> TestResult);
}
