//! The fast compressor: one probe of a hash table per position.

use super::emit;

const BITS: u32 = 12;

/// Tables of the fast compressor, reusable without clearing.
#[derive(Debug)]
pub(crate) struct Fast {
    /// For each hash, `base` of its segment plus a position.
    table: Box<[u32]>,
    /// Entries below this belong to earlier segments.
    base: u32,
}

impl Fast {
    pub(crate) fn new() -> Self {
        Self {
            table: vec![0; 1 << BITS].into_boxed_slice(),
            base: 1,
        }
    }

    /// Compresses `data`, at most 65536 bytes, into `out`, which is cleared first.
    pub(crate) fn compress(&mut self, data: &[u8], out: &mut Vec<u8>) {
        out.clear();
        let length = u32::try_from(data.len()).unwrap_or(u32::MAX);
        if self.base > u32::MAX / 2 || length > 65536 {
            self.table.fill(0);
            self.base = 1;
        }
        let base = self.base;
        self.base += length;

        let mut anchor = 0_usize;
        let mut at = 0_usize;
        while let Some(word) = word(data, at) {
            let slot = usize::try_from(word.wrapping_mul(0x9e37_79b1) >> (32 - BITS)).unwrap_or(0);
            let entry = self.table[slot];
            self.table[slot] = base + u32::try_from(at).unwrap_or(0);
            let from = usize::try_from(entry.wrapping_sub(base)).unwrap_or(usize::MAX);
            let distance = at.wrapping_sub(from);
            if entry < base
                || distance > super::M4_MAX_DISTANCE
                || distance == 0
                || self::word(data, from) != Some(word)
            {
                at += 1 + ((at - anchor) >> 5);
                continue;
            }
            let mut length = 4;
            while at + length < data.len() && data[at + length] == data[from + length] {
                length += 1;
            }
            emit::literals(&data[anchor..at], out);
            emit::copy(length, distance, at - anchor, out);
            at += length;
            anchor = at;
        }
        emit::literals(&data[anchor..], out);
        emit::end(out);
    }
}

/// The four bytes at `at` as a number.
fn word(data: &[u8], at: usize) -> Option<u32> {
    let bytes = data.get(at..)?.first_chunk::<4>()?;
    Some(u32::from_le_bytes(*bytes))
}
