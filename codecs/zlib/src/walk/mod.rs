//! Taking a payload apart: every bit named, every broken rule reported.
//!
//! Pieces follow the table in [`crate::layout`]. After a fault the walk goes on where the
//! structure still tells what comes next: a wrong FCHECK, window, dictionary flag, distance or
//! checksum does not hide what follows, a broken block does.

#![deny(clippy::indexing_slicing)]

mod event;

pub use event::{BlockType, Event, Fault, FaultKind, Kind, Structure};

use btrfs_payload_common::Piece;

use crate::adler::adler32;
use crate::inflate::{Inflate, Mode, Observer, Output, Rules, Step};
use crate::kernel;
use crate::layout::{
    CINFO_MAX, CM_DEFLATE, DICTID_LEN, HEADER_LEN, Header, TRAILER_LEN, WINDOW_MAX,
};

/// What a walk found out.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Walk {
    /// The decoded bytes, at most `limit`.
    pub decoded: Vec<u8>,
    /// The header, if there are two bytes.
    pub header: Option<Header>,
    /// The declared window, bytes; 32 KiB where CINFO is not legal.
    pub window: usize,
    /// The largest distance of any match, bytes; 0 without matches.
    pub farthest: usize,
    /// Number of block headers.
    pub blocks: usize,
    /// The last block ended.
    pub ended: bool,
    /// Decoding stopped because there is more than `limit` bytes of output.
    pub limited: bool,
    /// The adler32 stored after the last block.
    pub adler_stored: Option<u32>,
    /// The adler32 of the decoded bytes, if the last block ended.
    pub adler_computed: Option<u32>,
    /// Bytes of the payload that belong to the stream: up to the end of the trailer, or to
    /// where decoding stopped.
    pub consumed: usize,
    /// The longest run of input without output, bits.
    pub longest_silence: u64,
    /// Number of faults reported.
    pub faults: usize,
}

/// Takes `payload` apart. Pieces cover it to the bit and in order; decoding stops when there
/// are more than `limit` bytes of output. Memory: `limit` bytes, or 1032 times the payload
/// (deflate's largest ratio) if that is less.
pub fn walk(payload: &[u8], limit: usize, visit: &mut dyn FnMut(Event)) -> Walk {
    let limit = limit.min(payload.len().saturating_mul(1032));
    let mut walker = Walker {
        payload,
        visit,
        bit: 0,
        out: Walk {
            decoded: Vec::new(),
            header: Header::of(payload),
            window: WINDOW_MAX,
            farthest: 0,
            blocks: 0,
            ended: false,
            limited: false,
            adler_stored: None,
            adler_computed: None,
            consumed: 0,
            longest_silence: 0,
            faults: 0,
        },
    };
    if let Some((start, raw)) = walker.header() {
        let mut bytes = vec![0; limit];
        let len = walker.blocks(start, &mut bytes);
        walker.silent_chunks(start, &mut bytes, len);
        bytes.truncate(len);
        walker.out.decoded = bytes;
        if !raw && walker.out.ended {
            walker.trailer();
        }
    }
    walker.rest();
    walker.out
}

struct Walker<'a> {
    payload: &'a [u8],
    visit: &'a mut dyn FnMut(Event),
    /// End of the latest piece.
    bit: u64,
    out: Walk,
}

impl Walker<'_> {
    fn fault(&mut self, bit: u64, kind: FaultKind) {
        self.out.faults += 1;
        (self.visit)(Event::Fault(Fault {
            offset: bit / 8,
            kind,
        }));
    }

    /// Reports the bits from the latest piece up to `end`, if there are any.
    fn piece(&mut self, end: u64, kind: Kind) {
        if end > self.bit {
            (self.visit)(Event::Piece(Piece {
                bits: self.bit..end,
                kind,
            }));
            self.bit = end;
        }
    }

    fn end(&self) -> u64 {
        bits(self.payload.len())
    }

    fn cut_off(&mut self, within: Structure) {
        self.fault(self.end(), FaultKind::Truncated { within });
        self.piece(self.end(), Kind::CutOff(within));
    }

    /// Header and dictionary identifier; returns the byte at which deflate data starts and
    /// whether there is no header at all.
    fn header(&mut self) -> Option<(usize, bool)> {
        let Some(header) = self.out.header else {
            if self.payload.is_empty() {
                self.fault(0, FaultKind::Empty);
            } else {
                self.cut_off(Structure::Header);
            }
            return None;
        };
        if self.payload.starts_with(&[0x1f, 0x8b]) {
            self.fault(0, FaultKind::Gzip);
            return None;
        }
        if self.payload.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
            self.fault(0, FaultKind::Zstd);
            return None;
        }
        let plain = header.check_ok() && header.method() == CM_DEFLATE;
        if !plain && is_raw_deflate(self.payload) {
            self.fault(0, FaultKind::RawDeflate);
            return Some((0, true));
        }
        self.piece(bits(HEADER_LEN), Kind::Header(header));
        if !header.check_ok() {
            self.fault(0, FaultKind::HeaderCheck { got: header.word() });
        }
        if header.method() != CM_DEFLATE {
            let got = header.method();
            self.fault(0, FaultKind::Method { got });
            return None;
        }
        if header.cinfo() > CINFO_MAX {
            let got = header.cinfo();
            self.fault(0, FaultKind::WindowSize { got });
        } else {
            self.out.window = header.window();
        }
        if !header.has_dictionary() {
            return Some((HEADER_LEN, false));
        }
        self.fault(bits(1), FaultKind::Dictionary);
        let id = self.payload.get(HEADER_LEN..).unwrap_or_default();
        let Some(&id) = id.first_chunk::<DICTID_LEN>() else {
            self.cut_off(Structure::DictId);
            return None;
        };
        let start = HEADER_LEN + DICTID_LEN;
        self.piece(bits(start), Kind::DictId(u32::from_be_bytes(id)));
        Some((start, false))
    }

    /// All blocks; returns how much was decoded.
    fn blocks(&mut self, start: usize, bytes: &mut [u8]) -> usize {
        let mut inflate = Inflate::new(Rules {
            need_end_of_block: false,
            refuse_too_far: false,
        });
        inflate.reset(start);
        let mut output = Output {
            limit: bytes.len(),
            bytes,
            len: 0,
            floor: 0,
        };
        let mut block = Block::default();
        let mut latest = LatestSymbol::default();
        // Where input without output began.
        let mut silence = inflate.bit();
        loop {
            let (before, len) = (inflate.mode(), output.len);
            let step = inflate.step(self.payload, &mut output, &mut latest);
            if let Some(distance) = latest.matched.take() {
                self.distance(&mut block, distance, output.len, inflate.start());
            }
            block.literals += std::mem::take(&mut latest.literals);
            if output.len > len {
                let quiet = inflate.start().saturating_sub(silence);
                self.out.longest_silence = self.out.longest_silence.max(quiet);
                silence = inflate.bit();
            }
            match step {
                Step::Next => self.stepped(before, &inflate, &mut block, &output),
                Step::Input => {
                    self.input_ends(before, &inflate, &mut block, &output);
                    break;
                }
                Step::Room => {
                    self.out.limited = true;
                    self.symbols(inflate.bit(), &block, &output);
                    self.distance_faults(&mut block);
                    self.out.consumed = bytes_of(inflate.bit());
                    self.piece(self.end(), Kind::Unexamined);
                    break;
                }
                Step::End => {
                    self.out.ended = true;
                    self.out.consumed = bytes_of(inflate.bit());
                    break;
                }
                Step::Broken => {
                    self.symbols(inflate.start(), &block, &output);
                    self.distance_faults(&mut block);
                    self.out.consumed = bytes_of(inflate.start());
                    if let Some(flaw) = inflate.flaw() {
                        self.fault(inflate.start(), FaultKind::Deflate(flaw));
                    }
                    break;
                }
            }
        }
        self.out.longest_silence = self
            .out
            .longest_silence
            .max(inflate.bit().saturating_sub(silence));
        output.len
    }

    /// Reports what a step from mode `before` went over.
    fn stepped(&mut self, before: Mode, inflate: &Inflate, block: &mut Block, output: &Output<'_>) {
        match (before, inflate.mode()) {
            (Mode::Block, Mode::End) => self.piece(inflate.bit(), Kind::Padding),
            (Mode::Block, next) => {
                *block = Block {
                    start: output.len,
                    ..Block::default()
                };
                self.out.blocks += 1;
                let kind = Kind::BlockHeader {
                    block: match next {
                        Mode::StoredLen => BlockType::Stored,
                        Mode::Counts => BlockType::Dynamic,
                        _ => BlockType::Fixed,
                    },
                    last: inflate.last(),
                };
                self.piece(inflate.bit(), kind);
            }
            (Mode::StoredLen, Mode::Stored(len)) => {
                self.piece(inflate.start(), Kind::Padding);
                self.piece(
                    inflate.bit(),
                    Kind::StoredLen(u16::try_from(len).unwrap_or(0)),
                );
            }
            (Mode::Stored(_), Mode::Block) => self.piece(inflate.bit(), Kind::StoredData),
            (Mode::Lengths, _) => {
                let (litlen, distance, end_of_block) = inflate.dynamic();
                if !end_of_block {
                    self.fault(self.bit, FaultKind::NoEndOfBlock);
                }
                self.piece(inflate.bit(), Kind::CodeLengths { litlen, distance });
            }
            (Mode::Symbols, Mode::Block) => {
                self.symbols(inflate.start(), block, output);
                self.distance_faults(block);
                self.piece(inflate.bit(), Kind::EndOfBlock);
            }
            _ => {}
        }
    }

    /// Reports symbols up to `end`, if that is what the latest piece was followed by.
    fn symbols(&mut self, end: u64, block: &Block, output: &Output<'_>) {
        let (literals, matches) = (block.literals, block.matches);
        if literals + matches > 0 {
            let out = output.len - block.start;
            self.piece(
                end,
                Kind::Symbols {
                    literals,
                    matches,
                    out,
                },
            );
        } else if output.len > block.start {
            self.piece(end, Kind::StoredData);
        }
    }

    /// The payload ended in mode `mode`.
    fn input_ends(
        &mut self,
        mode: Mode,
        inflate: &Inflate,
        block: &mut Block,
        output: &Output<'_>,
    ) {
        self.out.consumed = self.payload.len();
        let within = match mode {
            Mode::StoredLen => Structure::StoredLen,
            Mode::Stored(_) => Structure::StoredData,
            Mode::Counts | Mode::LengthsLens | Mode::Lengths => Structure::CodeLengths,
            Mode::Block => {
                self.fault(self.end(), FaultKind::NoFinalBlock);
                self.piece(self.end(), Kind::CutOff(Structure::BlockHeader));
                return;
            }
            _ => {
                self.symbols(inflate.start(), block, output);
                self.distance_faults(block);
                Structure::Symbol
            }
        };
        self.cut_off(within);
    }

    /// Notes a match that was decoded with `len` bytes of output before it.
    fn distance(&mut self, block: &mut Block, distance: usize, len: usize, bit: u64) {
        block.matches += 1;
        self.out.farthest = self.out.farthest.max(distance);
        let first = Match {
            bit,
            distance,
            available: len,
            count: 0,
        };
        if distance > len {
            block.too_far.get_or_insert(first).count += 1;
        } else if distance > self.out.window {
            block.beyond_window.get_or_insert(first).count += 1;
        }
    }

    fn distance_faults(&mut self, block: &mut Block) {
        if let Some(first) = block.too_far.take() {
            let kind = FaultKind::TooFarBack {
                distance: first.distance,
                available: first.available,
                matches: first.count,
            };
            self.fault(first.bit, kind);
        }
        if let Some(first) = block.beyond_window.take() {
            let kind = FaultKind::BeyondWindow {
                distance: first.distance,
                window: self.out.window,
                matches: first.count,
                is_unsafe: kernel::is_unsafe(self.payload),
            };
            self.fault(first.bit, kind);
        }
    }

    /// Reports input chunks without output. That takes a long run of empty blocks, so it is
    /// decoded again only then. (A symbol of 48 bits or a LEN may begin in the chunk, too.)
    fn silent_chunks(&mut self, start: usize, bytes: &mut [u8], len: usize) {
        for chunk in [4096, 65536] {
            if self.out.longest_silence + 64 < bits(chunk - HEADER_LEN) {
                return;
            }
            // The output may be cut in several ways; one that fails is enough.
            for room in [chunk, 4096] {
                if let Some((at, decoded)) =
                    kernel::silent_chunk(self.payload, start, (chunk, room), bytes, len)
                {
                    self.fault(bits(at), FaultKind::SilentChunk { chunk, decoded });
                    break;
                }
            }
        }
    }

    fn trailer(&mut self) {
        let expected = adler32(&self.out.decoded);
        self.out.adler_computed = Some(expected);
        let start = bytes_of(self.bit);
        let rest = self.payload.get(start..).unwrap_or_default();
        let Some(&stored) = rest.first_chunk::<TRAILER_LEN>() else {
            self.out.consumed = self.payload.len();
            self.cut_off(Structure::Adler32);
            return;
        };
        let got = u32::from_be_bytes(stored);
        self.out.adler_stored = Some(got);
        self.out.consumed = start + TRAILER_LEN;
        if got != expected {
            self.fault(self.bit, FaultKind::Checksum { got, expected });
        }
        self.piece(bits(start + TRAILER_LEN), Kind::Adler32(got));
    }

    /// Whatever follows the last piece.
    fn rest(&mut self) {
        if self.bit >= self.end() {
            return;
        }
        if !self.out.ended {
            self.piece(self.end(), Kind::Unexplained);
            return;
        }
        let rest = self.payload.get(bytes_of(self.bit)..).unwrap_or_default();
        let zero = rest.iter().all(|&byte| byte == 0);
        let stream = Header::of(rest)
            .is_some_and(|header| header.check_ok() && header.method() == CM_DEFLATE);
        let len = rest.len();
        self.fault(self.bit, FaultKind::Trailing { len, zero, stream });
        self.piece(self.end(), Kind::Trailing { zero });
    }
}

/// What is counted per block.
#[derive(Debug, Default)]
struct Block {
    /// Output before it, bytes.
    start: usize,
    literals: usize,
    matches: usize,
    too_far: Option<Match>,
    beyond_window: Option<Match>,
}

/// The first match of its sort in a block, and how many there are.
#[derive(Debug)]
struct Match {
    bit: u64,
    distance: usize,
    available: usize,
    count: usize,
}

/// What the latest step decoded.
#[derive(Debug, Default)]
struct LatestSymbol {
    literals: usize,
    matched: Option<usize>,
}

impl Observer for LatestSymbol {
    fn literal(&mut self) {
        self.literals += 1;
    }

    fn matched(&mut self, _at: usize, _length: usize, distance: usize) {
        self.matched = Some(distance);
    }
}

/// True if the payload decodes as deflate data from its first byte to its last.
fn is_raw_deflate(payload: &[u8]) -> bool {
    let mut inflate = Inflate::new(Rules {
        need_end_of_block: true,
        refuse_too_far: true,
    });
    inflate.reset(0);
    let mut bytes = vec![
        0;
        payload
            .len()
            .saturating_mul(1032)
            .min(2 * btrfs_payload_common::MAX_EXTENT)
    ];
    let mut output = Output {
        limit: bytes.len(),
        bytes: &mut bytes,
        len: 0,
        floor: 0,
    };
    let step = inflate.run(payload, &mut output, &mut crate::inflate::Unobserved);
    step == Step::End && output.len > 0 && inflate.pos() == payload.len()
}

/// Position of a byte in bits.
fn bits(byte: usize) -> u64 {
    u64::try_from(byte)
        .unwrap_or(u64::MAX / 8)
        .saturating_mul(8)
}

/// The byte that a bit is in.
fn bytes_of(bit: u64) -> usize {
    usize::try_from(bit / 8).unwrap_or(usize::MAX)
}
