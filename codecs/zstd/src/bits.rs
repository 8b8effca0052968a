//! Bits read backwards: FSE and Huffman streams start at their last bit.

/// Where a [`BitReader`] stands after a reload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Status {
    /// At least 57 bits are at hand.
    Unfinished,
    /// The first byte has been loaded; bits are left.
    EndOfBuffer,
    /// Every bit has been read.
    Completed,
    /// More bits were read than there are.
    Overflow,
}

/// A stream read from its end, through a 64-bit register that is reloaded on demand.
///
/// What a read beyond the start gives is part of the kernel models: decoders notice it late, or
/// never. The register then goes on with shift counts taken modulo 64.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BitReader<'a> {
    bytes: &'a [u8],
    register: u64,
    consumed: u32,
    /// Index of the register's lowest byte.
    position: usize,
    /// Index of the lowest byte the stream may read.
    start: usize,
}

/// The lowest bits set, looked up because a shift by a variable is slow on plain x86-64.
const MASKS: [u64; 16] = [
    0, 0x1, 0x3, 0x7, 0xf, 0x1f, 0x3f, 0x7f, 0xff, 0x1ff, 0x3ff, 0x7ff, 0xfff, 0x1fff, 0x3fff,
    0x7fff,
];

/// Eight bytes at `position`, which the callers keep inside.
#[inline(always)]
pub(crate) fn load(bytes: &[u8], position: usize) -> u64 {
    bytes
        .get(position..)
        .and_then(|tail| tail.first_chunk::<8>())
        .map_or(0, |chunk| u64::from_le_bytes(*chunk))
}

impl<'a> BitReader<'a> {
    /// Starts after the highest set bit of the last byte. `None` without such a bit.
    pub(crate) fn new(bytes: &'a [u8]) -> Option<Self> {
        let last = *bytes.last()?;
        if last == 0 {
            return None;
        }
        let mark = last.leading_zeros() + 1;
        if bytes.len() >= 8 {
            let position = bytes.len() - 8;
            return Some(Self {
                bytes,
                register: load(bytes, position),
                consumed: mark,
                position,
                start: 0,
            });
        }
        let mut register = [0; 8];
        for (to, from) in register.iter_mut().zip(bytes) {
            *to = *from;
        }
        let missing = 8 * (8 - u32::try_from(bytes.len()).unwrap_or(0));
        Some(Self {
            bytes,
            register: u64::from_le_bytes(register),
            consumed: mark + missing,
            position: 0,
            start: 0,
        })
    }

    /// Goes on inside `bytes` at a known place: the register's lowest byte and the bits of it
    /// that are used up; `start` is the lowest byte it may read.
    pub(crate) fn resume(bytes: &'a [u8], position: usize, consumed: u32, start: usize) -> Self {
        Self {
            bytes,
            register: load(bytes, position),
            consumed,
            position,
            start,
        }
    }

    /// The next `count` bits; `count` is 1 to 56.
    #[inline(always)]
    pub(crate) fn peek_fast(&self, count: u32) -> u64 {
        (self.register << (self.consumed & 63)) >> ((64 - count) & 63)
    }

    /// The next `count` bits; `count` is 0 to 32.
    #[inline(always)]
    pub(crate) fn peek(&self, count: u32) -> u64 {
        let low = 64u32.wrapping_sub(self.consumed).wrapping_sub(count) & 63;
        (self.register >> low) & ((1 << count) - 1)
    }

    /// Reads `count` bits; `count` is 1 to 56.
    #[inline(always)]
    pub(crate) fn read_fast(&mut self, count: u32) -> u64 {
        let value = self.peek_fast(count);
        self.skip(count);
        value
    }

    /// Reads `count` bits; `count` is 0 to 32.
    #[inline(always)]
    pub(crate) fn read(&mut self, count: u32) -> u64 {
        let value = self.peek(count);
        self.skip(count);
        value
    }

    /// Reads three values in turn, each of at most 9 bits.
    #[inline(always)]
    pub(crate) fn read_three(&mut self, counts: [u8; 3]) -> [u64; 3] {
        let [first, second, third] = counts.map(u32::from);
        let end = self.consumed.wrapping_add(first + second + third);
        if end > 64 {
            return [self.read(first), self.read(second), self.read(third)];
        }
        let mask = |count: u32| {
            let index = usize::try_from(count).unwrap_or(0) & 15;
            MASKS.get(index).copied().unwrap_or(0)
        };
        let bits = self.register >> ((64 - end) & 63);
        let last = bits & mask(third);
        let bits = bits >> (third & 63);
        let middle = bits & mask(second);
        let bits = bits >> (second & 63);
        self.consumed = end;
        [bits & mask(first), middle, last]
    }

    /// Passes over `count` bits.
    #[inline(always)]
    pub(crate) fn skip(&mut self, count: u32) {
        // A block has far fewer bits than 2^32: this cannot wrap, and a check would stand in the
        // one chain of dependent steps that decides the speed.
        self.consumed = self.consumed.wrapping_add(count);
    }

    /// Bits of the register that are used up; more than 64 after reading beyond the start.
    #[inline(always)]
    pub(crate) fn consumed(&self) -> u32 {
        self.consumed
    }

    /// Sets the used-up bits.
    pub(crate) fn set_consumed(&mut self, consumed: u32) {
        self.consumed = consumed;
    }

    /// Refills the register.
    #[inline(always)]
    pub(crate) fn reload(&mut self) -> Status {
        if self.consumed > 64 {
            return Status::Overflow;
        }
        let bytes = usize::try_from(self.consumed >> 3).unwrap_or(0);
        if self.position >= self.start + 8 {
            self.position -= bytes;
            self.consumed &= 7;
            self.register = load(self.bytes, self.position);
            return Status::Unfinished;
        }
        let status;
        (*self, status) = self.reloaded_near_start(bytes);
        status
    }

    /// By value, so that the reader of a hot loop never has to be in memory.
    #[inline(never)]
    fn reloaded_near_start(mut self, bytes: usize) -> (Self, Status) {
        if self.position == self.start {
            let status = match self.consumed {
                64 => Status::Completed,
                _ => Status::EndOfBuffer,
            };
            return (self, status);
        }
        let room = self.position - self.start;
        let (bytes, status) = match bytes > room {
            true => (room, Status::EndOfBuffer),
            false => (bytes, Status::Unfinished),
        };
        self.position -= bytes;
        self.consumed -= 8 * u32::try_from(bytes).unwrap_or(0);
        self.register = load(self.bytes, self.position);
        (self, status)
    }

    /// The byte that holds the next bit.
    #[inline(always)]
    pub(crate) fn byte(&self) -> usize {
        let unread = usize::try_from(63u32.saturating_sub(self.consumed) / 8).unwrap_or(0);
        self.position + unread
    }

    /// True when exactly every bit has been read.
    #[inline(always)]
    pub(crate) fn ended(&self) -> bool {
        self.position == self.start && self.consumed == 64
    }
}
