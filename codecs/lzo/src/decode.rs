//! The strict decoder: every byte of the payload is part of one well-formed segment sequence,
//! or there is an error.

#![deny(clippy::indexing_slicing)]

use crate::error::DecodeError;
use crate::layout::{LEN_SIZE, MIN_SEGMENT, is_sector_size, length_at, padding, worst};
use crate::lzo1x;

/// Decodes payloads of one sector size. It holds no buffers; it is as good new as reused.
#[derive(Debug, Clone, Copy)]
pub struct Decoder {
    sector_size: usize,
}

impl Decoder {
    /// A decoder of payloads laid out for sectors of `sector_size` bytes.
    #[must_use]
    pub fn new(sector_size: usize) -> Self {
        Self { sector_size }
    }

    /// Decodes a whole payload into `out` and returns the number of bytes decoded.
    ///
    /// The payload is taken to its last byte: cut the zeroes that pad it to the sector on disk
    /// off with [`crate::layout::total`] first. Padding after the last segment is taken where
    /// it fills a sector, as kernels write it. Bytes of `out` after the decoded ones may be
    /// overwritten.
    ///
    /// # Errors
    /// The first rule that the payload breaks; [`DecodeError::TooLong`] where it decodes to
    /// more than `out` holds.
    pub fn decode(&mut self, payload: &[u8], out: &mut [u8]) -> Result<usize, DecodeError> {
        let sector_size = self.sector_size;
        if !is_sector_size(sector_size) {
            return Err(DecodeError::SectorSize { got: sector_size });
        }
        let end = payload.len();
        let total = length_at(payload, 0).ok_or(DecodeError::Truncated {
            offset: 0,
            got: end,
            expected: LEN_SIZE,
        })?;
        if total != end {
            return Err(DecodeError::Total {
                got: total,
                expected: end,
            });
        }
        if end == LEN_SIZE {
            return Err(DecodeError::NoSegment);
        }
        let limit = worst(sector_size);
        let room = out.len();
        let mut position = LEN_SIZE;
        let mut done = 0;
        while position < end {
            let offset = position;
            let truncated = |got| DecodeError::Truncated {
                offset: wide(offset),
                got,
                expected: LEN_SIZE,
            };
            let len = length_at(payload, offset).ok_or(truncated(end - offset))?;
            if !(MIN_SEGMENT..=limit).contains(&len) {
                return Err(DecodeError::SegmentLength {
                    offset: wide(offset),
                    got: len,
                    expected: limit,
                });
            }
            let start = offset + LEN_SIZE;
            let segment = payload
                .get(start..)
                .and_then(|rest| rest.get(..len))
                .ok_or(DecodeError::SegmentEnd {
                    offset: wide(offset),
                    got: len,
                    expected: end - start,
                })?;
            let rest = out.get_mut(done..).unwrap_or_default();
            let full = rest.len() < sector_size;
            let got = lzo1x::decode(segment, rest, sector_size).map_err(|error| {
                if full && error.fault == lzo1x::Fault::OutputOverrun {
                    DecodeError::TooLong {
                        offset: wide(offset),
                        limit: room,
                    }
                } else {
                    DecodeError::Segment {
                        offset: wide(start + error.offset),
                        fault: error.fault,
                    }
                }
            })?;
            done += got;
            position = start + len;

            let pad = padding(position, sector_size).min(end - position);
            let zeroes = payload.get(position..position + pad).unwrap_or_default();
            if zeroes.iter().any(|&byte| byte != 0) {
                return Err(DecodeError::Padding {
                    offset: wide(position),
                });
            }
            // A part of the padding only is the start of a header that is not there.
            if pad < padding(position, sector_size) && pad > 0 {
                return Err(DecodeError::Truncated {
                    offset: wide(position),
                    got: pad,
                    expected: LEN_SIZE,
                });
            }
            position += pad;
            if got == 0 || (got < sector_size && position < end) {
                return Err(DecodeError::SegmentOutput {
                    offset: wide(offset),
                    got,
                    expected: if got == 0 { 1 } else { sector_size },
                });
            }
        }
        Ok(done)
    }
}

/// An offset in a payload as errors have it.
fn wide(offset: usize) -> u64 {
    u64::try_from(offset).unwrap_or(u64::MAX)
}
