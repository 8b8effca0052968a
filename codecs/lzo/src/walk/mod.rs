//! Taking a payload apart: every byte named, every broken rule reported.

#![deny(clippy::indexing_slicing)]

use std::ops::Range;

use btrfs_payload_common::{MAX_EXTENT, Piece};

use crate::layout::{
    LEN_SIZE, MIN_SEGMENT, is_sector_size, length_at, max_segments, padding, round_up, worst,
};
use crate::lzo1x;

mod report;

pub use report::{Fault, FaultKind, Kind};

/// What a walker hands out.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// The next structure of the payload.
    Piece(Piece<Kind>),
    /// A broken rule.
    Fault(Fault),
}

/// What a payload declares and what is in it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Walk {
    /// The decoded bytes of all segments that decode, joined; at most the limit and one
    /// segment.
    pub decoded: Vec<u8>,
    /// The total, bytes, if it is there.
    pub total: Option<usize>,
    /// Where the last segment ends: the bytes that are needed to decode.
    pub consumed: usize,
    /// Number of segments.
    pub segments: usize,
    /// How often a header was moved to the next sector.
    pub paddings: usize,
    /// True if all of the payload was looked at.
    pub complete: bool,
    /// The first fault.
    pub first_fault: Option<Fault>,
}

impl Walk {
    /// True if the payload of `payload_len` bytes has the one shape that an inline extent can
    /// have: one segment, no padding, total and header exact.
    #[must_use]
    pub fn fits_inline(&self, payload_len: usize) -> bool {
        self.segments == 1 && self.consumed == payload_len && self.total == Some(payload_len)
    }
}

/// Takes `payload` apart, as laid out for sectors of `sector_size` bytes.
///
/// `payload` is what the ioctl gets: without the padding that goes to disk (where it is
/// included, it is reported as zeroes after the total). `visit` gets pieces that cover the
/// payload from its first to its last byte in order, and every fault, each before the piece it
/// was found in or directly after. Decoding stops when more than `limit` bytes are decoded.
pub fn walk(
    payload: &[u8],
    sector_size: usize,
    limit: usize,
    visit: &mut dyn FnMut(Event),
) -> Walk {
    let mut walker = Walker {
        payload,
        sector_size,
        limit,
        visit,
        covered: 0,
        scratch: Vec::new(),
        summary: Walk {
            complete: true,
            ..Walk::default()
        },
    };
    if is_sector_size(sector_size) {
        walker.payload();
    } else {
        walker.fault(0, FaultKind::SectorSize { got: sector_size });
    }
    walker.rest(Kind::Unexplained);
    walker.summary
}

/// What to do after a segment.
enum Next {
    /// The next header is at this position.
    At(usize),
    /// Nothing more can be made of the payload.
    Stop,
}

struct Walker<'a> {
    payload: &'a [u8],
    sector_size: usize,
    limit: usize,
    visit: &'a mut dyn FnMut(Event),
    /// Bytes that have been handed out as pieces.
    covered: usize,
    scratch: Vec<u8>,
    summary: Walk,
}

impl Walker<'_> {
    fn fault(&mut self, offset: usize, kind: FaultKind) {
        let fault = Fault {
            offset: u64::try_from(offset).unwrap_or(u64::MAX),
            kind,
        };
        self.summary.first_fault.get_or_insert(fault);
        (self.visit)(Event::Fault(fault));
    }

    /// Hands out the bytes up to `end`, as far as the payload goes.
    fn piece(&mut self, end: usize, kind: Kind) {
        let end = end.min(self.payload.len());
        if end > self.covered {
            (self.visit)(Event::Piece(Piece::of_bytes(self.covered..end, kind)));
            self.covered = end;
        }
    }

    /// Hands out what is left of the payload.
    fn rest(&mut self, kind: Kind) {
        self.piece(self.payload.len(), kind);
    }

    fn is_zero(&self, range: Range<usize>) -> bool {
        let bytes = self.payload.get(range).unwrap_or_default();
        bytes.iter().all(|&byte| byte == 0)
    }

    fn payload(&mut self) {
        let len = self.payload.len();
        let Some(total) = length_at(self.payload, 0) else {
            self.fault(0, FaultKind::PayloadTooShort { got: len });
            return;
        };
        self.summary.total = Some(total);
        self.summary.consumed = LEN_SIZE;
        self.total(total);
        self.piece(LEN_SIZE, Kind::Total { total });

        let mut position = LEN_SIZE;
        while position < total.min(len) {
            match self.segment(position, total) {
                Next::At(next) => position = next,
                Next::Stop => break,
            }
        }
        if total < len && self.summary.complete {
            let start = total.max(self.covered);
            self.piece(start, Kind::Unexplained);
            let zero = self.is_zero(start..len);
            let got = len - start;
            if got > 0 {
                self.fault(
                    start,
                    if zero {
                        FaultKind::ZeroesBehindTotal { got }
                    } else {
                        FaultKind::BytesBehindTotal { got }
                    },
                );
                self.rest(Kind::Behind { zero });
            }
        }
    }

    /// Judges the total.
    fn total(&mut self, total: usize) {
        let len = self.payload.len();
        let disk = round_up(len, self.sector_size);
        if total < LEN_SIZE + LEN_SIZE + MIN_SEGMENT {
            self.fault(0, FaultKind::TotalTooShort { got: total });
        }
        if total > MAX_EXTENT {
            self.fault(
                0,
                FaultKind::TotalTooLong {
                    got: total,
                    expected: MAX_EXTENT,
                },
            );
        }
        if total > len {
            self.fault(
                0,
                FaultKind::TotalPastPayload {
                    got: total,
                    expected: len,
                },
            );
        }
        if round_up(total, self.sector_size) != disk {
            self.fault(
                0,
                FaultKind::TotalNotInLastSector {
                    got: total,
                    expected: disk,
                },
            );
        }
    }

    /// Takes the header at `position` and its segment; `position` is inside total and payload.
    fn segment(&mut self, position: usize, total: usize) -> Next {
        let len = self.payload.len();
        let number = self.summary.segments;
        if total - position < LEN_SIZE {
            self.fault(
                position,
                FaultKind::HeaderPastTotal {
                    got: total - position,
                    expected: LEN_SIZE,
                },
            );
        }
        let Some(length) = length_at(self.payload, position) else {
            self.fault(
                position,
                FaultKind::HeaderPastPayload {
                    got: len - position,
                    expected: LEN_SIZE,
                },
            );
            return Next::Stop;
        };
        let start = position + LEN_SIZE;
        let longest = worst(self.sector_size);
        if length > longest {
            self.piece(
                start,
                Kind::Header {
                    segment: number,
                    len: length,
                },
            );
            self.fault(
                position,
                FaultKind::SegmentTooLong {
                    segment: number,
                    got: length,
                    expected: longest,
                },
            );
            return Next::Stop;
        }
        self.piece(
            start,
            Kind::Header {
                segment: number,
                len: length,
            },
        );
        if length < MIN_SEGMENT {
            self.fault(
                position,
                FaultKind::SegmentTooShort {
                    segment: number,
                    got: length,
                },
            );
            // A length of zero is most often the zeroes after the data, counted as payload.
            if length == 0 {
                return Next::Stop;
            }
        }
        self.segment_end(position, start + length, total);
        self.segment_bytes(start, length, total)
    }

    /// Judges where a segment ends.
    fn segment_end(&mut self, header: usize, end: usize, total: usize) {
        let len = self.payload.len();
        let disk = round_up(len, self.sector_size);
        let segment = self.summary.segments;
        if end > disk {
            self.fault(
                header,
                FaultKind::SegmentPastDisk {
                    segment,
                    got: end,
                    expected: disk,
                },
            );
        } else if end > len {
            self.fault(
                header,
                FaultKind::SegmentPastPayload {
                    segment,
                    got: end,
                    expected: len,
                },
            );
        }
        if end > total {
            self.fault(
                header,
                FaultKind::SegmentPastTotal {
                    segment,
                    got: end,
                    expected: total,
                },
            );
        }
        if segment == max_segments(self.sector_size) {
            self.fault(
                header,
                FaultKind::TooManySegments {
                    segment,
                    expected: segment,
                },
            );
        }
    }

    /// Decodes a segment and finds the next header.
    fn segment_bytes(&mut self, start: usize, length: usize, total: usize) -> Next {
        let number = self.summary.segments;
        let payload = self.payload;
        let end = start + length;
        let available = payload.get(start..).unwrap_or_default();
        let code = available.get(..length).unwrap_or(available);
        if let Some(version) = lzo1x::run_length_version(code) {
            self.fault(
                start,
                FaultKind::RunLengthMarker {
                    segment: number,
                    version,
                },
            );
        }
        let cap = worst(self.sector_size);
        self.scratch.resize(cap, 0);
        let result = lzo1x::decode_as_kernel(code, &mut self.scratch, cap);
        let next = end + padding(end, self.sector_size);
        let last = next >= total.min(payload.len());
        match result {
            Ok(got) => {
                let decoded = self.scratch.get(..got).unwrap_or_default();
                self.summary.decoded.extend_from_slice(decoded);
                self.segment_output(start, got, last);
            }
            Err(error) => self.fault(
                start + error.offset,
                FaultKind::Segment {
                    segment: number,
                    fault: error.fault,
                },
            ),
        }
        self.piece(
            end,
            Kind::Segment {
                segment: number,
                out: result.ok(),
            },
        );
        self.summary.segments += 1;
        self.summary.consumed = end.min(payload.len());
        if self.summary.decoded.len() > self.limit {
            self.summary.complete = false;
            self.rest(Kind::Unexamined);
            return Next::Stop;
        }
        self.padding(end, total)
    }

    /// Judges how much a segment decodes to.
    fn segment_output(&mut self, offset: usize, got: usize, last: bool) {
        let segment = self.summary.segments;
        let expected = self.sector_size;
        if got > expected {
            self.fault(
                offset,
                FaultKind::SegmentOutputLong {
                    segment,
                    got,
                    expected,
                },
            );
        } else if got == 0 {
            self.fault(offset, FaultKind::SegmentOutputEmpty { segment });
        } else if got < expected && !last {
            self.fault(
                offset,
                FaultKind::SegmentOutputShort {
                    segment,
                    got,
                    expected,
                },
            );
        }
    }

    /// Skips the padding after a segment that ends at `end`.
    fn padding(&mut self, end: usize, total: usize) -> Next {
        let pad = padding(end, self.sector_size);
        let next = end + pad;
        if pad == 0 || end >= total || end >= self.payload.len() {
            return Next::At(next);
        }
        let zero = self.is_zero(end..next.min(self.payload.len()));
        if !zero && self.is_header(end) && !self.is_header(next) {
            self.fault(end, FaultKind::HeaderStraddles { got: pad });
            return Next::At(end);
        }
        if !zero {
            self.fault(end, FaultKind::PaddingNotZero { got: pad });
        }
        if next < total {
            self.summary.paddings += 1;
        }
        self.piece(next.min(total), Kind::Padding { zero });
        Next::At(next)
    }

    /// True if a header at `position` is followed by a segment that decodes.
    fn is_header(&mut self, position: usize) -> bool {
        let cap = worst(self.sector_size);
        let segment = length_at(self.payload, position)
            .filter(|length| (MIN_SEGMENT..=cap).contains(length))
            .and_then(|length| self.payload.get(position + LEN_SIZE..)?.get(..length));
        self.scratch.resize(cap, 0);
        segment.is_some_and(|code| lzo1x::decode_as_kernel(code, &mut self.scratch, cap).is_ok())
    }
}
