//! Where decoded bytes go: into memory as decoders lay it out, or nowhere.

use crate::count::sequences::{Section, Sum};

/// Bytes that may be read after literals, so that short runs are copied in one go.
pub(crate) const SLACK: usize = 32;

/// Takes what a block decodes to.
pub(crate) trait Sink {
    /// Whether it looks at the bytes of literals; else they are not decoded.
    const KEEPS: bool;
    /// Bytes the block may still put out.
    fn room(&self) -> usize;
    /// Lets the block put out `room` more bytes, fewer than [`Sink::room`].
    fn narrow(&mut self, room: usize);
    /// How far back a match may reach from here.
    fn reach(&self) -> usize;
    /// Puts out `len` literals from `at` on; the caller keeps within [`Sink::room`], and
    /// `literals` has [`SLACK`] more bytes.
    fn literals(&mut self, literals: &[u8], at: usize, len: usize);
    /// Puts out `len` bytes that stand `offset` bytes before; within room and reach.
    fn copy(&mut self, offset: usize, len: usize);
    /// Performs all sequences of a block at once, if it knows how to and they are sound.
    fn count(&mut self, _: &Section<'_>) -> Option<Sum> {
        None
    }
}

/// A buffer that is filled from its start again when it is full, as streaming decoders do.
///
/// A match may reach into what the last round left behind the place of writing; what it finds
/// there when it reaches too far depends on how decoders copy, 16 or 32 bytes at a time and
/// beyond the end of what they need, so copying here does the same.
#[derive(Debug, Default)]
pub(crate) struct Ring {
    memory: Vec<u8>,
    /// Next byte to write.
    pub(crate) at: usize,
    /// Where the block must end.
    limit: usize,
    /// End of the memory as the decoder sees it.
    end: usize,
    /// Start of what was written without a break.
    prefix: usize,
    /// Bytes of the last round that can still be reached, and their end.
    before: usize,
    before_end: usize,
    /// Where writing ended last.
    written: usize,
    touched: bool,
}

impl Ring {
    /// Starts again with a buffer of `size` bytes, of which at most `used` will be touched.
    pub(crate) fn reset(&mut self, size: usize, used: usize) {
        let memory = size.min(used) + 2 * SLACK;
        if self.memory.len() < memory {
            self.memory.resize(memory, 0);
        }
        self.at = 0;
        self.limit = 0;
        self.end = size;
        self.prefix = 0;
        self.before = 0;
        self.before_end = 0;
        self.written = 0;
        self.touched = false;
    }

    /// Bytes from the place of writing to the end of the buffer.
    pub(crate) fn space(&self) -> usize {
        self.end - self.at
    }

    /// Starts a block at `at` that may put out `room` bytes; notices when `at` is a new round.
    pub(crate) fn begin(&mut self, at: usize, room: usize) {
        self.at = at;
        self.continues();
        self.limit = at + room.min(self.space());
    }

    /// Tells that the decoder looks at the place of writing.
    pub(crate) fn continues(&mut self) {
        if self.touched && self.at != self.written && self.space() > 0 {
            self.before = self.written - self.prefix;
            self.before_end = self.written;
            self.prefix = self.at;
            self.written = self.at;
        }
        if self.space() > 0 {
            self.touched = true;
        }
    }

    /// Ends the block.
    pub(crate) fn finish(&mut self) {
        self.written = self.at;
    }

    /// Written bytes.
    pub(crate) fn bytes(&self, from: usize, to: usize) -> &[u8] {
        self.memory.get(from..to).unwrap_or_default()
    }

    /// Puts out bytes as they are.
    pub(crate) fn put(&mut self, bytes: &[u8]) {
        if let Some(to) = self.memory.get_mut(self.at..self.at + bytes.len()) {
            to.copy_from_slice(bytes);
        }
        self.at += bytes.len();
    }

    /// Puts out a byte `times` times.
    pub(crate) fn fill(&mut self, byte: u8, times: usize) {
        if let Some(to) = self.memory.get_mut(self.at..self.at + times) {
            to.fill(byte);
        }
        self.at += times;
    }

    /// Copies `total` bytes from `from` to `to`, 16 at a time; the two are at least 16 apart.
    #[inline(always)]
    fn chunks(&mut self, mut from: usize, mut to: usize, total: usize) {
        let end = to + total;
        while to < end {
            let chunk = self
                .memory
                .get(from..)
                .and_then(|tail| tail.first_chunk::<16>())
                .copied();
            let place = self
                .memory
                .get_mut(to..)
                .and_then(|tail| tail.first_chunk_mut::<16>());
            let (Some(chunk), Some(place)) = (chunk, place) else {
                return;
            };
            *place = chunk;
            from += 16;
            to += 16;
        }
    }

    /// Copies `total` bytes to the place of writing that repeat the `offset` bytes before it.
    fn repeat(&mut self, offset: usize, total: usize) {
        let from = self.at - offset;
        let mut to = self.at;
        let end = (self.at + total).min(self.memory.len());
        let mut known = offset;
        while to < end {
            let step = known.min(end - to);
            self.memory.copy_within(from..from + step, to);
            to += step;
            known += step;
        }
    }

    /// A match that starts in the last round.
    #[inline(never)]
    fn copy_before(&mut self, offset: usize, len: usize) {
        let from = self.before_end - (offset - (self.at - self.prefix));
        let first = len.min(self.before_end - from);
        self.memory.copy_within(from..from + first, self.at);
        self.at += first;
        let rest = len - first;
        if rest > 0 {
            self.repeat(self.at - self.prefix, rest);
            self.at += rest;
        }
    }
}

/// Bytes that decoders write for `len` wanted ones: the first 16, then `first` more at once, then
/// 32 at a time.
#[inline(always)]
fn written_for(len: usize, head: usize) -> usize {
    match len.checked_sub(head) {
        None | Some(0) => head,
        Some(more) => head + more.next_multiple_of(32),
    }
}

impl Sink for Ring {
    const KEEPS: bool = true;

    #[inline(always)]
    fn room(&self) -> usize {
        self.limit - self.at
    }

    fn narrow(&mut self, room: usize) {
        self.limit = self.at + room;
    }

    #[inline(always)]
    fn reach(&self) -> usize {
        self.at - self.prefix + self.before
    }

    #[inline(always)]
    fn literals(&mut self, literals: &[u8], at: usize, len: usize) {
        if self.at + len + SLACK <= self.end {
            let from = literals.get(at..).and_then(|tail| tail.first_chunk::<16>());
            let to = self
                .memory
                .get_mut(self.at..)
                .and_then(|tail| tail.first_chunk_mut::<16>());
            if let (Some(from), Some(to)) = (from, to) {
                *to = *from;
            }
            if len > 16 {
                let total = written_for(len, 32).min(literals.len() - at);
                let from = literals.get(at + 16..at + total);
                let to = self.memory.get_mut(self.at + 16..self.at + total);
                if let (Some(from), Some(to)) = (from, to) {
                    to.copy_from_slice(from);
                }
            }
        } else {
            let from = literals.get(at..at + len);
            let to = self.memory.get_mut(self.at..self.at + len);
            if let (Some(from), Some(to)) = (from, to) {
                to.copy_from_slice(from);
            }
        }
        self.at += len;
    }

    #[inline(always)]
    fn copy(&mut self, offset: usize, len: usize) {
        if offset > self.at - self.prefix {
            self.copy_before(offset, len);
            return;
        }
        if self.at + len + SLACK > self.end {
            self.repeat(offset, len);
        } else if offset >= 16 {
            self.chunks(self.at - offset, self.at, written_for(len, 16));
        } else {
            self.repeat(offset, len.next_multiple_of(8));
        }
        self.at += len;
    }
}
