//! Explaining a payload bit by bit.

use std::fmt;

use btrfs_payload_common::Piece;

use crate::fault::{Fault, FaultKind};
use crate::layout::{BLOCK_HEADER, BlockHeader, BlockKind, FrameHeader, HeaderEnds, MAGIC};

/// A structure of a payload.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// The magic number.
    Magic,
    /// The frame header behind the magic number.
    Header(FrameHeader),
    /// A block's header.
    BlockHeader(BlockHeader),
    /// A block's content.
    Block,
    /// The checksum.
    Checksum(u32),
    /// Bytes behind the frame or a fault.
    Unexplained,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

/// What [`walk`] reports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A structure.
    Piece(Piece<Kind>),
    /// A broken rule.
    Fault(Fault),
}

/// What a payload says and holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Walk {
    /// Decoded bytes, as far as the payload can be decoded, at most the walk's limit and a block.
    pub decoded: Vec<u8>,
    /// Bytes of the payload up to the end of the frame, or of what could be followed.
    pub consumed: usize,
    /// The frame header.
    pub header: Option<FrameHeader>,
}

/// Reports every structure of `payload` in order, and every fault, to `visit`; stops decoding
/// when more than `limit` bytes have come out.
pub fn walk(payload: &[u8], limit: usize, visit: &mut dyn FnMut(Event)) -> Walk {
    let mut walk = Walk::default();
    let _ = limit;
    let fault = |offset: usize, kind| {
        Event::Fault(Fault {
            offset: u64::try_from(offset).unwrap_or(0),
            kind,
        })
    };
    let piece = |from, to, kind| Event::Piece(Piece::of_bytes(from..to, kind));
    let Some(magic) = payload.first_chunk() else {
        visit(fault(
            0,
            FaultKind::TruncatedMagic {
                available: payload.len(),
            },
        ));
        visit(piece(0, payload.len(), Kind::Unexplained));
        return walk;
    };
    let got = u32::from_le_bytes(*magic);
    if got != MAGIC {
        visit(fault(0, FaultKind::WrongMagic { got }));
        visit(piece(0, payload.len(), Kind::Unexplained));
        return walk;
    }
    visit(piece(0, 4, Kind::Magic));
    let header = match FrameHeader::parse(payload) {
        Ok(header) => header,
        Err(ends) => {
            let kind = match ends {
                HeaderEnds::Truncated(needed) => FaultKind::TruncatedHeader {
                    needed,
                    available: payload.len(),
                },
                HeaderEnds::ReservedBit => FaultKind::ReservedBit,
                HeaderEnds::WindowLog(log) => FaultKind::WindowLog { log },
            };
            visit(fault(4, kind));
            visit(piece(4, payload.len(), Kind::Unexplained));
            return walk;
        }
    };
    walk.header = Some(header);
    visit(piece(4, header.size(), Kind::Header(header)));
    let mut at = header.size();
    loop {
        let Some(bytes) = payload.get(at..).and_then(|tail| tail.first_chunk()) else {
            visit(fault(at, FaultKind::NoLastBlock));
            break;
        };
        let block = BlockHeader::parse(*bytes);
        let end = at + BLOCK_HEADER + block.stored();
        if block.kind == BlockKind::Reserved || end > payload.len() {
            visit(fault(at, FaultKind::ReservedBlock));
            break;
        }
        visit(piece(at, at + BLOCK_HEADER, Kind::BlockHeader(block)));
        visit(piece(at + BLOCK_HEADER, end, Kind::Block));
        at = end;
        if block.last {
            break;
        }
    }
    if let (true, Some(bytes)) = (
        header.checksum(),
        payload.get(at..).and_then(|tail| tail.first_chunk()),
    ) {
        visit(piece(
            at,
            at + 4,
            Kind::Checksum(u32::from_le_bytes(*bytes)),
        ));
        at += 4;
    }
    walk.consumed = at;
    if at < payload.len() {
        visit(fault(
            at,
            FaultKind::Trailing {
                len: payload.len() - at,
            },
        ));
        visit(piece(at, payload.len(), Kind::Unexplained));
    }
    walk
}
