//! Explaining a payload bit by bit: every structure, every fault.

use std::hash::Hasher;
use std::ops::Range;

use btrfs_payload_common::{MAX_EXTENT, Piece};
use twox_hash::XxHash64;

use crate::block::{Bounds, Tables};
use crate::fault::{Fault, FaultKind};
use crate::kernel::low_half;
use crate::kind::Kind;
use crate::layout::{
    BLOCK_HEADER, BLOCK_MAX, BlockHeader, BlockKind, CHECKSUM, FrameHeader, HeaderEnds, MAGIC,
    MAGIC_SKIPPABLE, MAGIC_SKIPPABLE_MASK, WINDOW_MAX,
};
use crate::rules::Rules;
use crate::sink::Ring;

/// What [`walk`] reports.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A structure.
    Piece(Piece<Kind>),
    /// A broken rule.
    Fault(Fault),
}

/// What a payload says and holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Walk {
    /// What the frame decodes to, as far as it could be decoded; never more than a block beyond
    /// the walk's limit.
    pub decoded: Vec<u8>,
    /// Bytes of the payload up to the end of the frame, or up to where it could be followed.
    pub consumed: usize,
    /// The frame header; its methods give the declared window and content size.
    pub header: Option<FrameHeader>,
    /// Whether every block was decoded, by the strict rules or by what libzstd lets pass.
    pub complete: bool,
    /// Faults reported.
    pub faults: usize,
}

/// Reports every structure of `payload` in order, without gap, and every fault.
///
/// Decoding stops when more than `limit` bytes, or more than an extent holds, have come out; what
/// is left is followed by its headers only. After a damaged block, the following ones are decoded only if some libzstd
/// decodes the damaged one.
pub fn walk(payload: &[u8], limit: usize, visit: &mut dyn FnMut(Event)) -> Walk {
    let mut walker = Walker {
        payload,
        at: 0,
        walk: Walk::default(),
        visit,
    };
    walker.payload(limit.min(MAX_EXTENT));
    let end = payload.len();
    walker.piece(end, Kind::Unexplained);
    walker.walk
}

struct Walker<'a, 'v> {
    payload: &'a [u8],
    /// Everything before this has been reported.
    at: usize,
    walk: Walk,
    visit: &'v mut dyn FnMut(Event),
}

impl Walker<'_, '_> {
    /// Reports a structure that starts where the last one ended; none without a byte.
    fn piece(&mut self, end: usize, kind: Kind) {
        if end > self.at {
            let piece = Piece::of_bytes(self.at..end, kind);
            self.at = end;
            (self.visit)(Event::Piece(piece));
        }
    }

    fn fault(&mut self, offset: usize, kind: FaultKind) {
        self.walk.faults += 1;
        let offset = u64::try_from(offset).unwrap_or(u64::MAX);
        (self.visit)(Event::Fault(Fault { offset, kind }));
    }

    fn rest(&self) -> &[u8] {
        self.payload.get(self.at..).unwrap_or_default()
    }

    fn payload(&mut self, limit: usize) {
        let Some(magic) = self
            .payload
            .first_chunk()
            .map(|magic| u32::from_le_bytes(*magic))
        else {
            let available = self.payload.len();
            self.fault(0, FaultKind::TruncatedMagic { available });
            return;
        };
        if magic != MAGIC {
            self.foreign(magic);
            return;
        }
        self.piece(4, Kind::Magic);
        let Some(header) = self.header() else {
            return;
        };
        self.walk.header = Some(header);
        let ended = self.blocks(&header, limit);
        self.walk.consumed = self.at;
        if ended {
            self.end(&header);
            self.walk.consumed = self.at;
            self.behind();
        }
    }

    /// A payload that does not start with a frame.
    fn foreign(&mut self, magic: u32) {
        if magic & MAGIC_SKIPPABLE_MASK == MAGIC_SKIPPABLE {
            let size = self.skippable(magic);
            self.fault(0, FaultKind::SkippableFirst { size });
            self.walk.consumed = self.at;
            if !self.rest().is_empty() {
                let len = self.rest().len();
                let kind = match self.rest().first_chunk() == Some(&MAGIC.to_le_bytes()) {
                    true => FaultKind::SecondFrame { len },
                    false => FaultKind::Trailing { len },
                };
                self.fault(self.at, kind);
            }
            return;
        }
        let [first, second, ..] = magic.to_le_bytes();
        let kind = match magic {
            0xfd2f_b522..=0xfd2f_b527 => FaultKind::LegacyFrame {
                minor: first - 0x20,
            },
            0x184d_2204 => FaultKind::OtherFormat { format: "LZ4" },
            0x587a_37fd => FaultKind::OtherFormat { format: "xz" },
            _ if magic & 0xffff == 0x8b1f => FaultKind::OtherFormat { format: "gzip" },
            _ if first & 0x8f == 0x08 && u16::from_be_bytes([first, second]) % 31 == 0 => {
                FaultKind::OtherFormat { format: "zlib" }
            }
            _ if self.magicless() => FaultKind::Magicless,
            got => FaultKind::WrongMagic { got },
        };
        self.fault(0, kind);
    }

    /// Whether the payload reads as one whole frame once a magic number is put in front.
    fn magicless(&self) -> bool {
        let mut whole = MAGIC.to_le_bytes().to_vec();
        whole.extend(self.payload.iter().take(BLOCK_MAX));
        let Ok(header) = FrameHeader::parse(&whole) else {
            return false;
        };
        let mut at = header.size();
        loop {
            let Some(bytes) = whole.get(at..).and_then(|tail| tail.first_chunk()) else {
                return false;
            };
            let block = BlockHeader::parse(*bytes);
            at += BLOCK_HEADER + block.stored();
            if block.kind == BlockKind::Reserved || at > whole.len() {
                return false;
            }
            if block.last {
                return header.window() > 0 || header.content_size == Some(0);
            }
        }
    }

    /// The pieces of a skippable frame; its declared size.
    fn skippable(&mut self, magic: u32) -> u32 {
        self.piece(self.at + 4, Kind::SkippableMagic(magic));
        let Some(size) = self
            .rest()
            .first_chunk()
            .map(|size| u32::from_le_bytes(*size))
        else {
            return 0;
        };
        self.piece(self.at + 4, Kind::SkippableSize(size));
        let len = usize::try_from(size).unwrap_or(usize::MAX);
        let end = self.at + len.min(self.rest().len());
        self.piece(end, Kind::SkippableContent);
        size
    }

    /// The frame header, if the blocks after it can be followed.
    fn header(&mut self) -> Option<FrameHeader> {
        let header = match FrameHeader::parse(self.payload) {
            Ok(header) => header,
            Err(ends) => {
                let (offset, kind) = match ends {
                    HeaderEnds::Truncated(needed) => (
                        4,
                        FaultKind::TruncatedHeader {
                            needed,
                            available: self.payload.len(),
                        },
                    ),
                    HeaderEnds::ReservedBit => (4, FaultKind::ReservedBit),
                    HeaderEnds::WindowLog(log) => (5, FaultKind::WindowLog { log }),
                };
                self.fault(offset, kind);
                return None;
            }
        };
        self.piece(5, Kind::Descriptor(header.descriptor));
        if header.descriptor & 0x10 != 0 {
            self.fault(4, FaultKind::UnusedBit);
        }
        let window = header.window();
        if header.window_descriptor.is_some() {
            if window > WINDOW_MAX {
                self.fault(self.at, FaultKind::WindowTooLarge { window });
            }
            self.piece(self.at + 1, Kind::Window { window });
        }
        let (id, width) = header.dictionary_id;
        if width > 0 {
            let kind = match id {
                0 => FaultKind::DictionaryIdZero { width },
                _ => FaultKind::DictionaryId { id },
            };
            self.fault(self.at, kind);
            self.piece(self.at + width, Kind::DictionaryId(id));
        }
        match header.known_size() {
            None => self.fault(self.at, FaultKind::ContentSizeAbsent),
            Some(declared) if declared > MAX_EXTENT as u64 => {
                self.fault(self.at, FaultKind::ContentSizeTooLarge { declared });
            }
            Some(_) => {}
        }
        if let Some(size) = header.content_size {
            self.piece(self.at + header.content_size_width, Kind::ContentSize(size));
        }
        Some(header)
    }

    /// The blocks; whether the last one was found.
    fn blocks(&mut self, header: &FrameHeader, limit: usize) -> bool {
        let mut tables = Tables::default();
        let mut before = Tables::default();
        let mut ring = Ring::default();
        // One buffer that never starts again: all that was decoded can be reached.
        let size = limit + 2 * BLOCK_MAX;
        ring.reset(size, size);
        self.walk.complete = true;
        let max = header.block_max();
        let ended = loop {
            let start = self.at;
            let Some(bytes) = self.rest().first_chunk() else {
                let available = self.rest().len();
                match available {
                    0 => self.fault(start, FaultKind::NoLastBlock),
                    _ => self.fault(start, FaultKind::TruncatedBlockHeader { available }),
                }
                break false;
            };
            let block = BlockHeader::parse(*bytes);
            self.piece(start + BLOCK_HEADER, Kind::BlockHeader(block));
            if block.kind == BlockKind::Reserved {
                self.fault(start, FaultKind::ReservedBlock);
                break false;
            }
            if block.size > max {
                let size = block.size;
                self.fault(start, FaultKind::BlockTooLarge { size, max });
            }
            let needed = block.stored();
            let available = self.rest().len();
            if needed > available {
                self.fault(self.at, FaultKind::TruncatedBlock { needed, available });
                self.piece(self.at + available, Kind::NotExamined);
                break false;
            }
            if ring.at > limit {
                self.walk.complete = false;
            }
            before.copy_state(&tables);
            self.block(block, header, (&mut tables, &before), &mut ring);
            ring.finish();
            if block.last {
                break true;
            }
        };
        self.walk.complete &= ended;
        self.walk.decoded = ring.bytes(0, ring.at).to_vec();
        ended
    }

    /// The content of one block, which is there to its last byte.
    fn block(
        &mut self,
        block: BlockHeader,
        header: &FrameHeader,
        tables: (&mut Tables, &Tables),
        ring: &mut Ring,
    ) {
        let start = self.at;
        let end = start + block.stored();
        let body = self.payload.get(start..end).unwrap_or_default();
        let known = self.walk.complete && block.size <= BLOCK_MAX;
        match block.kind {
            BlockKind::Raw => {
                if known {
                    ring.put(body);
                }
                self.piece(end, Kind::RawBlock);
            }
            BlockKind::Rle => {
                if known {
                    ring.fill(body.first().copied().unwrap_or(0), block.size);
                }
                self.piece(end, Kind::RleBlock { times: block.size });
            }
            _ if known => {
                self.walk.complete = self.compressed(body, start, header, tables, ring);
                self.piece(end, Kind::NotExamined);
            }
            _ => self.piece(end, Kind::NotExamined),
        }
        if !known {
            self.walk.complete = false;
        }
    }

    /// The content of a compressed block: strictly first; where that finds a fault, by the rules
    /// of each libzstd, newest first, so that what follows can still be looked into. Whether it
    /// was decoded by any.
    fn compressed(
        &mut self,
        body: &[u8],
        start: usize,
        header: &FrameHeader,
        (tables, before): (&mut Tables, &Tables),
        ring: &mut Ring,
    ) -> bool {
        let from = ring.at;
        let mut bounds = Bounds {
            rules: Rules::Strict,
            block_max: header.block_max(),
            window: header.window(),
            at_once: false,
        };
        ring.begin(from, bounds.block_max);
        let mut report = |range: Range<usize>, kind| self.piece(start + range.end, kind);
        let Err((offset, kind)) = tables.decode(body, bounds, ring, &mut report) else {
            return true;
        };
        self.fault(start + offset, kind);
        bounds.block_max = BLOCK_MAX;
        for rules in [Rules::V1_5_7, Rules::V1_5_2, Rules::V1_4_10] {
            tables.copy_state(before);
            ring.begin(from, BLOCK_MAX);
            bounds.rules = rules;
            if tables.decode(body, bounds, ring, &mut |_, _| ()).is_ok() {
                return true;
            }
        }
        ring.begin(from, 0);
        false
    }

    /// What follows the last block, and what only the whole content can tell.
    fn end(&mut self, header: &FrameHeader) {
        let complete = self.walk.complete;
        let decoded = self.walk.decoded.len() as u64;
        if complete && decoded == 0 {
            self.fault(0, FaultKind::EmptyFrame);
        }
        if let Some(declared) = header
            .known_size()
            .filter(|&size| complete && size != decoded)
        {
            let offset = header.size() - header.content_size_width;
            self.fault(offset, FaultKind::ContentSizeWrong { declared, decoded });
        }
        if !header.checksum() {
            return;
        }
        let Some(got) = self
            .rest()
            .first_chunk()
            .map(|got| u32::from_le_bytes(*got))
        else {
            let available = self.rest().len();
            self.fault(self.at, FaultKind::TruncatedChecksum { available });
            return;
        };
        let mut hash = XxHash64::with_seed(0);
        hash.write(&self.walk.decoded);
        let expected = low_half(hash.finish());
        if complete && got != expected {
            self.fault(self.at, FaultKind::ChecksumWrong { got, expected });
        }
        self.piece(self.at + CHECKSUM, Kind::Checksum { got });
    }

    /// What stands after the frame.
    fn behind(&mut self) {
        let rest = self.rest();
        let len = rest.len();
        if len == 0 {
            return;
        }
        let magic = rest.first_chunk().map(|magic| u32::from_le_bytes(*magic));
        let zero = rest.iter().all(|&byte| byte == 0);
        match magic {
            Some(MAGIC) => self.fault(self.at, FaultKind::SecondFrame { len }),
            Some(magic) if magic & MAGIC_SKIPPABLE_MASK == MAGIC_SKIPPABLE => {
                self.fault(self.at, FaultKind::SkippableBehind { len });
                self.skippable(magic);
            }
            _ => {
                self.fault(self.at, FaultKind::Trailing { len });
                if zero {
                    self.piece(self.at + len, Kind::Padding);
                }
            }
        }
    }
}
