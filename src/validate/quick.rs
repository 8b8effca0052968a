//! The fast way to a clean report.
//!
//! Most payloads are sound. A strict decoder that accepts a payload has checked everything that the
//! walker would report, and does so faster; only the comparison with the claims is left. Where it
//! does not accept, the walker finds out what is wrong. A property test compares the two.

use super::judge::Judge;
use super::{lzo, zlib, zstd};
use crate::MAX_EXTENT;
use crate::rules::Codec;
use crate::rules::limits::u64_of;

/// Strict decoders and room for what they decode, kept from payload to payload.
#[derive(Debug)]
pub(super) struct Quick {
    zlib: btrfs_payload_zlib::Decoder,
    /// `None` where there was no memory for it; then there is no fast way for zstd.
    zstd: Option<btrfs_payload_zstd::Decoder>,
    room: Vec<u8>,
}

impl Quick {
    pub(super) fn new() -> Self {
        Self {
            zlib: btrfs_payload_zlib::Decoder::new(),
            zstd: btrfs_payload_zstd::Decoder::new().ok(),
            room: vec![0; MAX_EXTENT],
        }
    }

    /// Judges a payload whose structure is beyond reproach: the length it decodes to, with
    /// what the lengths give added to the report. `None` where it takes the slow way.
    ///
    /// With `keep` the decoded bytes can be taken from [`Quick::bytes`].
    pub(super) fn judge(&mut self, judge: &mut Judge<'_>, keep: bool) -> Option<usize> {
        let payload = judge.without_padding();
        let room = &mut self.room;
        let (decoded, too_long) = match judge.fields.codec()? {
            Codec::Zlib => {
                let decoded = self.zlib.decode(payload, room).ok()?;
                if self.zlib.may_stall() {
                    return None;
                }
                (decoded, zlib::TOO_LONG)
            }
            Codec::Lzo => {
                let sector_size = judge.fields.compression.lzo_sector_size()? as usize;
                let mut decoder = btrfs_payload_lzo::Decoder::new(sector_size);
                let decoded = decoder.decode(payload, room).ok()?;
                if !lzo::may_fit_inline(judge, decoded) {
                    return None;
                }
                (decoded, lzo::TOO_LONG)
            }
            Codec::Zstd => {
                let zstd = self.zstd.as_mut()?;
                let decoded = if keep {
                    zstd.decode(payload, room)
                } else {
                    zstd.check(payload, room)
                };
                (decoded.ok()?, zstd::TOO_LONG)
            }
        };
        judge.lengths(u64_of(decoded), too_long);
        Some(decoded)
    }

    /// What a zlib payload decodes to before its first fault, at most an extent.
    pub(super) fn zlib_prefix(&mut self, payload: &[u8]) -> &[u8] {
        let len = btrfs_payload_zlib::kernel::decode_prefix(payload, &mut self.room);
        self.bytes(len)
    }

    /// The bytes decoded last.
    pub(super) fn bytes(&self, len: usize) -> &[u8] {
        self.room.get(..len).unwrap_or_default()
    }
}
