//! Input, bit by bit.

/// Bits taken from the input and not consumed yet.
#[derive(Debug, Default)]
pub(crate) struct Bits {
    /// Next byte to take.
    pub(super) pos: usize,
    /// Bits, the next one lowest. Those above `count` are either zero or the bits that follow.
    pub(super) hold: u64,
    /// How many, at most 63.
    pub(super) count: u32,
}

impl Bits {
    /// After the first `bit` bits of the input.
    #[cold]
    pub(super) fn at(bit: u64, input: &[u8]) -> Self {
        let mut bits = Self {
            pos: usize::try_from(bit / 8).unwrap_or(usize::MAX),
            ..Self::default()
        };
        let rest = u32::try_from(bit % 8).unwrap_or(0);
        if bits.need(input, rest) {
            bits.drop(rest);
        }
        bits
    }

    /// Takes bytes until there are more than 56 bits or none is left.
    #[inline(always)]
    pub(super) fn fill(&mut self, input: &[u8]) {
        if let Some(word) = input.get(self.pos..).and_then(|rest| rest.first_chunk()) {
            self.hold |= u64::from_le_bytes(*word) << self.count;
            self.pos += (63 - self.count as usize) >> 3;
            self.count |= 56;
        } else {
            while self.count < 56
                && let Some(&byte) = input.get(self.pos)
            {
                self.hold |= u64::from(byte) << self.count;
                self.pos += 1;
                self.count += 8;
            }
        }
    }

    /// Makes sure of `count` bits; false, and everything taken, if there are fewer.
    pub(super) fn need(&mut self, input: &[u8], count: u32) -> bool {
        if self.count < count {
            self.fill(input);
        }
        self.count >= count
    }

    /// The next `count` bits, at most 32, which must have been made sure of.
    pub(super) fn peek(&self, count: u32) -> u32 {
        u32::try_from(self.hold & ((1 << count) - 1)).unwrap_or(0)
    }

    pub(super) fn drop(&mut self, count: u32) {
        self.hold >>= count;
        self.count -= count;
    }

    /// Consumes `count` bits if there are as many.
    pub(super) fn take(&mut self, input: &[u8], count: u32) -> Option<u32> {
        self.need(input, count).then(|| {
            let value = self.peek(count);
            self.drop(count);
            value
        })
    }

    /// Gives back whole bytes of which no bit was consumed.
    pub(super) fn give_back(&mut self) {
        self.pos -= self.count as usize / 8;
        self.count %= 8;
        self.hold &= (1 << self.count) - 1;
    }

    /// Consumes the rest of the current byte.
    pub(super) fn align(&mut self) {
        self.drop(self.count % 8);
    }

    /// Position of the next bit, from the start of the input.
    pub(super) fn position(&self) -> u64 {
        let bytes = u64::try_from(self.pos).unwrap_or(u64::MAX / 8);
        bytes * 8 - u64::from(self.count)
    }
}
