//! The hot loop: symbols while neither input nor room can run out in the middle of one.
//!
//! Numbers wrap where the loop's conditions keep them in range, because a checked operation per
//! bit field costs a fifth of the speed. Slices are checked all the same.
// Indices and shifts are masked; see `table`.
#![allow(clippy::indexing_slicing, clippy::cast_possible_truncation)]

use super::table::{
    Codes, FAR_SPECIAL, LITERAL, LITLEN_BITS, SPECIAL, extra, is_far_link, is_link,
};
use super::{Bits, Output};
use crate::layout::MATCH_MAX;

/// Input an iteration may look at, bytes: two refills of eight, the second at most seven on,
/// and one at the end of the iteration before.
const IN_ROOM: usize = 24;
/// Bits that a distance and the look-up of the next symbol take.
const DISTANCE_AND_NEXT: u32 = 28 + LITLEN_BITS;
/// Output an iteration may produce: three literals and a match.
const OUT_ROOM: usize = 3 + MATCH_MAX;
/// Output an iteration may touch: the last copy overshoots.
const OUT_TOUCHED: usize = OUT_ROOM + 2 * CHUNK;
/// Bytes copied at a time.
const CHUNK: usize = 16;

/// Decodes symbols; stops before the first one it does not want to judge (end of block,
/// anything invalid, or too close to an end) without consuming it.
#[inline(never)] // the registers are all needed here
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
    if bits.pos > last_in || out.len > last_out {
        return;
    }
    let bytes = &mut *out.bytes;
    let floor = out.floor;
    let mut len = out.len;
    let mut pos = bits.pos;
    let mut hold = bits.hold;
    // Only the low six bits count.
    let mut count = bits.count;

    macro_rules! refill {
        () => {
            if let Some(word) = input.get(pos..).and_then(|rest| rest.first_chunk()) {
                hold |= u64::from_le_bytes(*word).wrapping_shl(count);
            }
            pos = pos.wrapping_add((!count & 63) as usize >> 3);
            count |= 56;
        };
    }
    macro_rules! consume {
        ($entry:expr) => {
            hold = hold.wrapping_shr($entry);
            count = count.wrapping_sub($entry);
        };
    }
    macro_rules! literal {
        ($entry:expr) => {
            if let Some(place) = bytes.get_mut(len) {
                *place = ($entry >> 16) as u8;
            }
            len = len.wrapping_add(1);
            consume!($entry);
        };
    }

    // Bits of a length symbol that turned out not to be followed by a good distance.
    let mut undo = 0;
    refill!();
    let mut entry = codes.litlen(hold);
    while pos <= last_in && len <= last_out {
        if entry & LITERAL != 0 {
            literal!(entry);
            entry = codes.litlen(hold);
            if entry & LITERAL != 0 {
                literal!(entry);
                entry = codes.litlen(hold);
                if entry & LITERAL != 0 {
                    literal!(entry);
                    refill!();
                    entry = codes.litlen(hold);
                    continue;
                }
            }
        }
        // At least 34 bits are left, enough for a length.
        if entry & SPECIAL != 0 {
            if !is_link(entry) {
                break;
            }
            entry = codes.litlen_behind(entry, hold);
            if entry & SPECIAL != 0 {
                break;
            }
            if entry & LITERAL != 0 {
                literal!(entry);
                refill!();
                entry = codes.litlen(hold);
                continue;
            }
        }
        let length = (entry >> 16).wrapping_add(extra(hold, entry)) as usize;
        consume!(entry);

        if count & 63 < DISTANCE_AND_NEXT {
            refill!();
        }
        let mut far = codes.distance(hold);
        if far & FAR_SPECIAL != 0 {
            if is_far_link(far) {
                far = codes.distance_behind(far, hold);
            }
            if far & FAR_SPECIAL != 0 {
                undo = entry & 0xff;
                break;
            }
        }
        let distance = (far >> 16).wrapping_add(extra(hold, far)) as usize;
        if distance > len.wrapping_sub(floor) {
            undo = entry & 0xff;
            break;
        }
        consume!(far);
        // At least 28 bits are left, enough to look the next symbol up while the copy goes on.
        entry = codes.litlen(hold);
        refill!();
        copy(bytes, len, distance, length);
        len = len.wrapping_add(length);
    }

    out.len = len;
    *bits = Bits {
        pos,
        hold,
        count: count & 63,
    };
    if undo != 0 {
        let bit = bits.position() - u64::from(undo);
        *bits = Bits::at(bit, input);
    }
}

/// Copies a match to `at`; may write up to two chunks beyond its end.
#[inline(always)]
fn copy(bytes: &mut [u8], at: usize, distance: usize, length: usize) {
    let chunk = |bytes: &mut [u8], from: usize, to: usize| {
        if let Some(&value) = bytes
            .get(from..)
            .and_then(|rest| rest.first_chunk::<CHUNK>())
            && let Some(place) = bytes.get_mut(to..).and_then(|rest| rest.first_chunk_mut())
        {
            *place = value;
        }
    };
    let from = at.wrapping_sub(distance);
    if distance >= CHUNK {
        chunk(bytes, from, at);
        chunk(bytes, from.wrapping_add(CHUNK), at.wrapping_add(CHUNK));
        let mut done = 2 * CHUNK;
        while done < length {
            chunk(bytes, from.wrapping_add(done), at.wrapping_add(done));
            done = done.wrapping_add(CHUNK);
        }
        return;
    }
    if distance == 1 {
        let byte = bytes.get(from).copied().unwrap_or(0);
        if let Some(places) = bytes.get_mut(at..at.wrapping_add(length)) {
            places.fill(byte);
        }
        return;
    }
    // Bytes from `from` on that repeat with the period of the match: copying that many
    // doubles them.
    let mut valid = distance;
    while valid < CHUNK {
        chunk(bytes, from, from.wrapping_add(valid));
        valid *= 2;
    }
    let mut done = valid.wrapping_sub(distance);
    while done < length {
        let to = at.wrapping_add(done);
        chunk(bytes, to.wrapping_sub(valid), to);
        done = done.wrapping_add(CHUNK);
    }
}
