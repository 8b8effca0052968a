//! The hot loop: symbols while neither input nor room can run out in the middle of one.
// Indices are masked, or checked once per iteration by the loop's condition; see `table`.
#![allow(clippy::indexing_slicing)]

use super::table::{
    Codes, DISTANCE_BITS, FAR_SPECIAL, LITERAL, LITLEN_BITS, PAIR, SPECIAL, is_far_link, is_link,
};
use super::{Bits, Output, extra};
use crate::layout::MATCH_MAX;

/// Input an iteration may look at, bytes: two refills of eight, the second at most seven on.
const IN_ROOM: usize = 16;
/// Output an iteration may produce: six literals and a match.
const OUT_ROOM: usize = 6 + MATCH_MAX;
/// Output an iteration may touch: the last copy overshoots.
const OUT_TOUCHED: usize = OUT_ROOM + 2 * CHUNK;
/// Bytes copied at a time.
const CHUNK: usize = 16;

/// Decodes symbols; stops before the first one it does not want to judge (end of block,
/// anything invalid, or too close to an end) without consuming it.
pub(super) fn symbols(bits: &mut Bits, codes: &Codes, input: &[u8], out: &mut Output<'_>) {
    let Some(last_in) = input.len().checked_sub(IN_ROOM) else {
        return;
    };
    let Some(last_touch) = out.bytes.len().checked_sub(OUT_TOUCHED) else {
        return;
    };
    let Some(last_out) = out.limit.checked_sub(OUT_ROOM) else {
        return;
    };
    let last_out = last_out.min(last_touch);
    let bytes = &mut *out.bytes;
    let floor = out.floor;
    let mut len = out.len;
    let mut pos = bits.pos;
    let mut hold = bits.hold;
    let mut count = bits.count;

    macro_rules! refill {
        () => {
            if let Some(word) = input[pos..].first_chunk() {
                hold |= u64::from_le_bytes(*word) << count;
            }
            pos += (63 - count as usize) >> 3;
            count |= 56;
        };
    }
    macro_rules! consume {
        ($entry:expr) => {
            hold >>= $entry & 0x3f;
            count = count.wrapping_sub($entry & 0x3f);
        };
    }
    macro_rules! literals {
        ($entry:expr) => {
            if let Some(place) = bytes[len..].first_chunk_mut::<2>() {
                let [_, first, second, _] = $entry.to_le_bytes();
                *place = [first, second];
            }
            len += 1 + (($entry & PAIR) >> 28) as usize;
            consume!($entry);
        };
    }

    while pos <= last_in && len <= last_out {
        refill!();
        let mut entry = codes.litlen(hold);
        if entry & LITERAL != 0 {
            literals!(entry);
            entry = codes.litlen(hold);
            if entry & LITERAL != 0 {
                literals!(entry);
                entry = codes.litlen(hold);
                if entry & LITERAL != 0 {
                    literals!(entry);
                    continue;
                }
            }
        }
        // At least 34 bits are left, enough for a length.
        let before = (hold, count, pos);
        if entry & SPECIAL != 0 {
            if !is_link(entry) {
                break;
            }
            entry = codes.litlen_behind(entry, hold);
            if entry & SPECIAL != 0 {
                break;
            }
            consume!(LITLEN_BITS);
            if entry & LITERAL != 0 {
                literals!(entry);
                continue;
            }
        }
        let length = ((entry >> 16) + extra(hold, entry)) as usize;
        consume!(entry);

        refill!();
        let mut entry = codes.distance(hold);
        if is_far_link(entry) {
            entry = codes.distance_behind(entry, hold);
            consume!(DISTANCE_BITS);
        }
        let distance = ((entry >> 16) + extra(hold, entry)) as usize;
        if entry & FAR_SPECIAL != 0 || distance > len - floor {
            (hold, count, pos) = before;
            break;
        }
        consume!(entry);
        copy(bytes, len, distance, length);
        len += length;
    }

    out.len = len;
    *bits = Bits { pos, hold, count };
}

/// Copies a match to `at`; may write up to two chunks beyond its end.
#[inline(always)]
fn copy(bytes: &mut [u8], at: usize, distance: usize, length: usize) {
    let from = at - distance;
    let mut chunk = |from: usize, to: usize| {
        if let Some(&value) = bytes[from..].first_chunk::<CHUNK>()
            && let Some(place) = bytes[to..].first_chunk_mut::<CHUNK>()
        {
            *place = value;
        }
    };
    // Bytes from `from` on that repeat with the period of the match: copying that many
    // doubles them.
    let mut valid = distance;
    while valid < CHUNK {
        chunk(from, from + valid);
        valid *= 2;
    }
    let mut done = valid - distance;
    while done < length {
        chunk(at + done - valid, at + done);
        done += CHUNK;
    }
}
