//! Four streams read in step, as the newer libzstd does.

use crate::bits::{BitReader, load};

/// One of four streams that are decoded in step.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Lane {
    /// Index of the register's lowest byte; may fall below the stream's start.
    pub(super) position: usize,
    /// The register: next bit on top, a set bit after the last one.
    pub(super) bits: u64,
    /// Literals decoded.
    pub(super) written: usize,
}

impl Lane {
    #[inline(always)]
    pub(super) fn reload(&mut self, bytes: &[u8]) {
        let used = self.bits.trailing_zeros();
        self.position = self
            .position
            .wrapping_sub(usize::try_from(used >> 3).unwrap_or(0));
        self.bits = (load(bytes, self.position) | 1) << (used & 7);
    }

    /// A reader that goes on here and knows where the stream starts; `None` past the start.
    pub(super) fn within<'a>(&self, own: &'a [u8], start: usize) -> Option<BitReader<'a>> {
        let used = self.bits.trailing_zeros();
        if let Some(position) = self.position.checked_sub(start) {
            return Some(BitReader::resume(own, position, used, 0));
        }
        let below = u32::try_from(start - self.position).ok()?;
        let used = used.checked_add(below.checked_mul(8)?)?;
        (used <= 64).then(|| BitReader::resume(own, 0, used, 0))
    }
}

/// The four streams.
pub(super) struct Lanes(pub(super) [Lane; 4]);

impl Lanes {
    pub(super) fn new(bytes: &[u8], bounds: &[(usize, usize); 4]) -> Self {
        let mut lanes = [Lane::default(); 4];
        for (lane, &(_, end)) in lanes.iter_mut().zip(bounds) {
            lane.position = end - 8;
            // A stream without end mark is taken to start at its first bit.
            let mark = match bytes.get(end - 1) {
                None | Some(0) => 0,
                Some(last) => last.leading_zeros() + 1,
            };
            lane.bits = (load(bytes, lane.position) | 1) << mark;
        }
        Self(lanes)
    }

    /// How many rounds are safe, each of which uses up to 7 bytes of each stream and gives up
    /// to `step` literals; `None` when none is, or when a stream has crossed its neighbour.
    pub(super) fn rounds(
        &self,
        outs: &[&mut [u8]; 4],
        step: usize,
        spare: usize,
        last_only: bool,
    ) -> Option<usize> {
        let mut rounds = self.0[0].position / 7;
        for (index, (lane, out)) in self.0.iter().zip(outs).enumerate() {
            if index == 3 || !last_only {
                let room = out.len().saturating_sub(lane.written + spare);
                rounds = rounds.min(room / step);
            }
        }
        let crossed = self
            .0
            .windows(2)
            .any(|pair| matches!(pair, [before, after] if after.position < before.position));
        (rounds > 0 && !crossed).then_some(rounds)
    }
}
