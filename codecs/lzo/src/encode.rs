//! Making payloads.

use btrfs_payload_common::MAX_EXTENT;

use crate::error::EncodeError;
use crate::layout::{LEN_SIZE, is_sector_size, padding, worst};
use crate::lzo1x::{self, Fast, Smallest};
use crate::sectors::Sectors;

/// How hard to look for matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Effort {
    /// One look per position: what the kernel writes, faster.
    Fast,
    /// The lazy search of lzokay-native.
    High,
    /// An optimal parse of our own: smaller than `High` and liblzo2's lzo1x_999.
    Smallest,
    /// As few sectors as `Smallest` takes, in less time: `Fast`, and `Smallest` for as many
    /// segments as it takes to get below the last sector boundary in reach. Data that takes as
    /// many sectors without compression is left early. What is in reach is estimated from the
    /// segments tried: about one extent in two thousand takes a sector more.
    FewestSectors,
}

/// How to encode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Options {
    /// How hard to look for matches.
    pub effort: Effort,
    /// Sector size of the filesystem the payload is for, bytes.
    pub sector_size: usize,
}

impl Options {
    /// Encoding with an effort for sectors of `sector_size` bytes.
    #[must_use]
    pub const fn new(effort: Effort, sector_size: usize) -> Self {
        Self {
            effort,
            sector_size,
        }
    }
}

/// Makes payloads of one effort and sector size; keeps its tables and buffers between calls.
///
/// The same data makes the same payload, whatever was encoded before. Once the caller's
/// `payload` has grown, nothing is allocated, except by [`Effort::High`], whose compressor
/// returns a new vector for each sector.
#[derive(Debug)]
pub struct Encoder {
    sector_size: usize,
    search: Search,
    buffer: Vec<u8>,
}

/// The compressor of each effort.
enum Search {
    Fast(Fast),
    Smallest(Smallest),
    FewestSectors(Sectors),
    High {
        dict: Box<lzokay_native::Dict>,
        check: Vec<u8>,
    },
}

impl std::fmt::Debug for Search {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Fast(_) => "Fast",
            Self::Smallest(_) => "Smallest",
            Self::FewestSectors(_) => "FewestSectors",
            Self::High { .. } => "High",
        })
    }
}

impl Encoder {
    /// An encoder of this effort and sector size.
    ///
    /// # Errors
    /// [`EncodeError::SectorSize`] unless that is a power of two from 4096 to 65536.
    pub fn new(options: Options) -> Result<Self, EncodeError> {
        let Options {
            effort,
            sector_size,
        } = options;
        if !is_sector_size(sector_size) {
            return Err(EncodeError::SectorSize { got: sector_size });
        }
        let search = match effort {
            Effort::Fast => Search::Fast(Fast::new()),
            Effort::Smallest => Search::Smallest(Smallest::new()),
            Effort::FewestSectors => Search::FewestSectors(Sectors::new()),
            Effort::High => Search::High {
                dict: Box::new(lzokay_native::Dict::new()),
                check: vec![0; sector_size],
            },
        };
        Ok(Self {
            sector_size,
            search,
            buffer: Vec::with_capacity(worst(sector_size)),
        })
    }

    /// Encodes `data`, 1 to 131072 bytes, into `payload`, which is cleared first.
    ///
    /// Every reader gives the data back. The payload can be longer than the data; keeping it
    /// is the caller's decision. Data of at most one sector becomes a single segment without
    /// padding, which is also right for an inline extent.
    ///
    /// # Errors
    /// [`EncodeError::Length`] for data of no or of too many bytes; `payload` is empty then.
    pub fn encode(&mut self, data: &[u8], payload: &mut Vec<u8>) -> Result<(), EncodeError> {
        payload.clear();
        EncodeError::check_length(data.len(), MAX_EXTENT)?;
        payload.extend_from_slice(&[0; LEN_SIZE]);
        if let Search::FewestSectors(sectors) = &mut self.search {
            sectors.make(data, self.sector_size);
        }
        for (number, sector) in data.chunks(self.sector_size).enumerate() {
            let pad = padding(payload.len(), self.sector_size);
            payload.resize(payload.len() + pad, 0);
            let segment = self.search.segment(number, sector, &mut self.buffer);
            payload.extend_from_slice(&length_field(segment.len()));
            payload.extend_from_slice(segment);
        }
        let total = length_field(payload.len());
        if let Some(field) = payload.first_chunk_mut::<LEN_SIZE>() {
            *field = total;
        }
        Ok(())
    }
}

/// A length as the payload stores it. Payloads are below 160 KiB, so it always fits.
fn length_field(length: usize) -> [u8; LEN_SIZE] {
    u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes()
}

impl Search {
    /// The segment of a sector, in `buffer` or in the compressor's own.
    fn segment<'a>(
        &'a mut self,
        number: usize,
        sector: &[u8],
        buffer: &'a mut Vec<u8>,
    ) -> &'a [u8] {
        match self {
            Self::FewestSectors(sectors) => return sectors.segment(number),
            Self::Fast(fast) => return fast.segment(sector),
            Self::Smallest(smallest) => smallest.segment(sector, buffer),
            Self::High { dict, check } => {
                // Not our code: its output is decoded before it is believed.
                let made = lzokay_native::compress_with_dict(sector, dict).unwrap_or_default();
                let cap = check.len();
                let good = made.len() <= worst(cap)
                    && lzo1x::decode(&made, check, cap) == Ok(sector.len())
                    && check.get(..sector.len()) == Some(sector);
                if good {
                    *buffer = made;
                } else {
                    lzo1x::stored(sector, buffer);
                }
            }
        }
        buffer
    }
}
