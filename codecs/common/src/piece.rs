//! One structure of a payload, as a walker reports it.

use std::ops::Range;

/// A structure of a payload and the bits it occupies.
///
/// A walker hands out pieces in order, without gap and without overlap, from bit 0 to the last
/// bit of the payload: whatever cannot be explained is a piece too. Formats made of whole bytes
/// (LZO, zstd frames) have boundaries that are multiples of 8.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece<K> {
    /// First bit, and the bit after the last. Bit `8 * n` is the least significant bit of byte
    /// `n` (the order in which deflate fills bytes).
    pub bits: Range<u64>,
    /// What it is; its `Display` is the meaning in words.
    pub kind: K,
}

impl<K> Piece<K> {
    /// A piece made of whole bytes.
    #[must_use]
    pub fn of_bytes(bytes: Range<usize>, kind: K) -> Self {
        let bit = |byte: usize| u64::try_from(byte).unwrap_or(u64::MAX).saturating_mul(8);
        Self {
            bits: bit(bytes.start)..bit(bytes.end),
            kind,
        }
    }

    /// The same bits, called something else.
    #[must_use]
    pub fn map<L>(self, name: impl FnOnce(K) -> L) -> Piece<L> {
        Piece {
            bits: self.bits,
            kind: name(self.kind),
        }
    }

    /// The bytes it touches: the byte of its first bit up to and including that of its last.
    /// A piece without a bit touches no byte.
    #[must_use]
    pub fn bytes(&self) -> Range<u64> {
        let start = self.bits.start / 8;
        start..self.bits.end.div_ceil(8).max(start)
    }
}
