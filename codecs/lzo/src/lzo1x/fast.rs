//! The fast compressor: one probe of a small hash table per position, no search.
//!
//! The table holds the last position of each hash of four bytes. It is small, and
//! cleared for each segment; the time for that shows only where nothing matches. So no entry points
//! past the current position, and the only branch is whether the data there matches.
//!
//! Input and output live in arrays of fixed size, indexed through masks. All positions are
//! below 65536 (input) and 131072 (output) and the masks change none of them; they let the
//! compiler leave the bounds checks out of the loop. For the same reason arithmetic on
//! positions is written as wrapping.

use super::{
    END, M2_MAX_DISTANCE, M2_MAX_LEN, M3_MAX_DISTANCE, M3_MAX_LEN, M4_MAX_DISTANCE, M4_MAX_LEN,
    MAX_DATA, emit::low,
};
use crate::error::EncodeError;

/// Binary logarithm of the number of table entries: 16 KiB, half of a small L1 cache.
const BITS: u32 = 13;

/// Bytes at the end of the data in which no match starts, so that a probe always has eight bytes
/// of data to compare.
const TAIL: usize = 16;

/// Bytes copied at a time, which may be more than there are to copy.
const CHUNK: usize = 16;

/// Bytes that a probe compares.
const PROBE: usize = 8;

/// Room for the output, bytes: a power of two above the worst case.
const MAX_OUT: usize = 131_072;

/// The fast compressor with its tables and buffers, about 216 KiB: as fast as liblzo2's
/// `lzo1x_1`, at about its ratio.
///
/// ```
/// use btrfs_payload_lzo::lzo1x::{Fast, decode};
/// let data = b"again and again and again and again";
/// let mut segment = Vec::new();
/// Fast::new().compress(data, &mut segment)?;
/// let mut out = [0; 35];
/// assert_eq!(decode(&segment, &mut out, 35), Ok(35));
/// assert_eq!(&out, data);
/// # Ok::<(), btrfs_payload_lzo::EncodeError>(())
/// ```
#[derive(Debug)]
pub struct Fast {
    table: Box<[u16; 1 << BITS]>,
    data: Box<[u8; MAX_DATA + CHUNK]>,
    out: Box<[u8; MAX_OUT + CHUNK]>,
}

impl Fast {
    /// A compressor.
    #[must_use]
    pub fn new() -> Self {
        Self {
            table: Box::new([0; 1 << BITS]),
            data: Box::new([0; MAX_DATA + CHUNK]),
            out: Box::new([0; MAX_OUT + CHUNK]),
        }
    }

    /// Compresses `data`, 1 to [`MAX_DATA`] bytes, into `out`, which is cleared first. What it
    /// makes depends on nothing but the data; it is at most [`crate::layout::worst`] long.
    ///
    /// # Errors
    /// [`EncodeError::Length`] for data of no or of too many bytes; `out` is empty then.
    pub fn compress(&mut self, data: &[u8], out: &mut Vec<u8>) -> Result<(), EncodeError> {
        out.clear();
        EncodeError::check_length(data.len(), MAX_DATA)?;
        out.extend_from_slice(self.segment(data));
        Ok(())
    }

    /// The segment of `data`, which is not longer than [`MAX_DATA`].
    pub(crate) fn segment(&mut self, data: &[u8]) -> &[u8] {
        let length = data.len().min(MAX_DATA);
        if let (Some(to), Some(from)) = (self.data.get_mut(..length), data.get(..length)) {
            to.copy_from_slice(from);
        }
        self.table.fill(0);
        let written = run(&mut self.table, &self.data, length, &mut self.out);
        self.out.get(..written).unwrap_or_default()
    }
}

impl Default for Fast {
    fn default() -> Self {
        Self::new()
    }
}

/// The loop; returns the number of bytes written to `out`.
fn run(
    table: &mut [u16; 1 << BITS],
    data: &[u8; MAX_DATA + CHUNK],
    length: usize,
    out: &mut [u8; MAX_OUT + CHUNK],
) -> usize {
    let mut op = 0_usize;
    let mut anchor = 0_usize;
    let mut at = 1_usize;
    let end = length.saturating_sub(TAIL);
    while at < end {
        // One probe: what is here against what is where the table points. Four equal bytes are
        // a match; the same comparison tells the length of most of them.
        let here = eight(data, at);
        let slot = slot(low_half(here));
        let from = usize::from(table[slot]);
        table[slot] = position(at);
        let differ = here ^ eight(data, from);
        if low_half(differ) != 0 {
            at = at
                .wrapping_add(1)
                .wrapping_add(at.wrapping_sub(anchor) >> 5);
            continue;
        }
        let distance = at.wrapping_sub(from);
        if distance > M4_MAX_DISTANCE {
            at = at.wrapping_add(1);
            continue;
        }
        let count = if differ == 0 {
            PROBE.wrapping_add(equal_after(data, at, from, length))
        } else {
            equal_bytes(differ)
        };
        op = literals(data, anchor, at, out, op);
        op = copy(count, distance, out, op);
        at = at.wrapping_add(count);
        anchor = at;
    }
    op = literals(data, anchor, length, out, op);
    for (to, byte) in out.iter_mut().skip(op).zip(END) {
        *to = byte;
    }
    op.wrapping_add(END.len())
}

/// Number of bytes equal after the first eight, within the `length` bytes of data.
#[inline(always)]
fn equal_after(data: &[u8; MAX_DATA + CHUNK], at: usize, from: usize, length: usize) -> usize {
    let (at, from) = (at.wrapping_add(PROBE), from.wrapping_add(PROBE));
    let most = length.wrapping_sub(at);
    let mut count = 0_usize;
    while count < most {
        let differ = eight(data, at.wrapping_add(count)) ^ eight(data, from.wrapping_add(count));
        // The sum is taken only where something differs: a long match waits for no addition.
        if differ != 0 {
            count = count.wrapping_add(equal_bytes(differ));
            break;
        }
        count = count.wrapping_add(PROBE);
    }
    // After the end of the data there may be anything.
    count.min(most)
}

/// The eight bytes at `at`.
#[inline(always)]
fn eight(data: &[u8; MAX_DATA + CHUNK], at: usize) -> u64 {
    data[at & (MAX_DATA - 1)..]
        .first_chunk()
        .map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

/// The first four of eight bytes.
#[inline(always)]
fn low_half(word: u64) -> u32 {
    let [a, b, c, d, ..] = word.to_le_bytes();
    u32::from_le_bytes([a, b, c, d])
}

/// The low quarter of a position, which is all of it below 65536.
#[inline(always)]
fn position(at: usize) -> u16 {
    let [a, b, ..] = at.to_le_bytes();
    u16::from_le_bytes([a, b])
}

/// Table entry for four bytes.
#[inline(always)]
fn slot(word: u32) -> usize {
    usize::try_from(word.wrapping_mul(0x9e37_79b1) >> (32 - BITS)).unwrap_or(0)
}

/// How many low bytes are equal, given the exclusive or of both words.
#[inline(always)]
fn equal_bytes(differ: u64) -> usize {
    usize::try_from(differ.trailing_zeros() / 8).unwrap_or(0)
}

/// Copies 16 bytes.
#[inline(always)]
fn chunk(data: &[u8; MAX_DATA + CHUNK], from: usize, out: &mut [u8; MAX_OUT + CHUNK], op: usize) {
    let source = data[from & (MAX_DATA - 1)..].first_chunk::<CHUNK>();
    let room = out[op & (MAX_OUT - 1)..].first_chunk_mut::<CHUNK>();
    if let (Some(source), Some(room)) = (source, room) {
        *room = *source;
    }
}

/// Writes a byte.
#[inline(always)]
fn put(out: &mut [u8; MAX_OUT + CHUNK], op: &mut usize, value: usize) {
    out[*op & (MAX_OUT - 1)] = low(value);
    *op = op.wrapping_add(1);
}

/// Writes a length extension worth `rest`, which is at least 1.
fn extension(out: &mut [u8; MAX_OUT + CHUNK], op: &mut usize, mut rest: usize) {
    while rest > 255 {
        put(out, op, 0);
        rest -= 255;
    }
    put(out, op, rest);
}

/// Writes `data[from..to]` as literals at `op`; returns where they end.
#[inline(always)]
fn literals(
    data: &[u8; MAX_DATA + CHUNK],
    from: usize,
    to: usize,
    out: &mut [u8; MAX_OUT + CHUNK],
    mut op: usize,
) -> usize {
    let count = to.wrapping_sub(from);
    if op > 0 && count <= CHUNK {
        // Up to three go into the match before, more have a byte of their own; without a
        // branch. What is written too much is overwritten by what follows.
        let own = usize::from(count > 3);
        let held = if own == 0 { count } else { 0 };
        out[op.wrapping_sub(2) & (MAX_OUT - 1)] |= low(held);
        out[op & (MAX_OUT - 1)] = low(count.wrapping_sub(3));
        op = op.wrapping_add(own);
        chunk(data, from, out, op);
        return op.wrapping_add(count);
    }
    long_literals(data, from, count, out, op)
}

/// Literals at the start of a segment, or many of them.
#[inline(never)]
fn long_literals(
    data: &[u8; MAX_DATA + CHUNK],
    from: usize,
    count: usize,
    out: &mut [u8; MAX_OUT + CHUNK],
    mut op: usize,
) -> usize {
    if count == 0 {
        return op;
    }
    if op == 0 && count <= 238 {
        put(out, &mut op, count + 17);
    } else if count <= 18 {
        put(out, &mut op, count - 3);
    } else {
        put(out, &mut op, 0);
        extension(out, &mut op, count - 18);
    }
    let source = data.get(from..from + count);
    let room = out.get_mut(op..op + count);
    if let (Some(source), Some(room)) = (source, room) {
        room.copy_from_slice(source);
    }
    op + count
}

/// Writes a match at `op`; returns where it ends.
#[inline(always)]
fn copy(length: usize, distance: usize, out: &mut [u8; MAX_OUT + CHUNK], op: usize) -> usize {
    if length > M3_MAX_LEN || distance > M3_MAX_DISTANCE {
        return long_copy(length, distance, out, op);
    }
    let d = distance.wrapping_sub(1);
    let short = length <= M2_MAX_LEN && distance <= M2_MAX_DISTANCE;
    let two = (length.wrapping_sub(1)) << 5 | (d & 7) << 2 | d >> 3 << 8;
    let three = 32 | length.wrapping_sub(2) | d << 10;
    let code = if short { two } else { three };
    let [a, b, c, ..] = code.to_le_bytes();
    if let Some(room) = out[op & (MAX_OUT - 1)..].first_chunk_mut() {
        *room = [a, b, c, 0];
    }
    op.wrapping_add(if short { 2 } else { 3 })
}

/// A match with a length extension, or a far one.
#[inline(never)]
fn long_copy(
    length: usize,
    distance: usize,
    out: &mut [u8; MAX_OUT + CHUNK],
    mut op: usize,
) -> usize {
    let (form, d, most) = if distance <= M3_MAX_DISTANCE {
        (32, distance - 1, M3_MAX_LEN)
    } else {
        let d = distance - M3_MAX_DISTANCE;
        (16 | (d & 0x4000) >> 11, d & 0x3fff, M4_MAX_LEN)
    };
    if length <= most {
        put(out, &mut op, form | (length - 2));
    } else {
        put(out, &mut op, form);
        extension(out, &mut op, length - most);
    }
    put(out, &mut op, d << 2);
    put(out, &mut op, d >> 6);
    op
}
