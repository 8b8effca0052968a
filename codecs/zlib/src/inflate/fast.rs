//! The hot loop: symbols while neither input nor room can run out in the middle of one.
//!
//! It is compiled twice and the processor decides: with BMI2, shifts by a variable count are one
//! instruction and leave the flags alone, which gains 8 %.
//!
//! Numbers wrap where the loop's conditions keep them in range, because a checked operation per
//! bit field costs a fifth of the speed. Slices are checked all the same. Where the room's length
//! is a constant the compiler proves nearly all of these checks from the loop's conditions, which
//! gains 8 % again; so an extent's full length has a copy of the loop to itself.
// Shifts are masked, see `table`.
#![allow(clippy::cast_possible_truncation)]

use super::table::{
    Codes, FAR_SPECIAL, LITERAL, LITLEN_BITS, SPECIAL, extra, is_far_link, is_link,
};
use super::{Bits, Output};
use crate::layout::MATCH_MAX;

/// Input an iteration may look at, bytes: two refills of eight, the second at most seven on.
const IN_ROOM: usize = 16;
/// Bits that a distance and the look-up of the next symbol take.
const DISTANCE_AND_NEXT: u32 = 28 + LITLEN_BITS;
/// Output an iteration may produce: three literals and a match.
const OUT_ROOM: usize = 3 + MATCH_MAX;
/// Output an iteration may touch: the last copy overshoots.
const OUT_TOUCHED: usize = OUT_ROOM + CHUNK;
/// Bytes copied at a time: most matches take one or two chunks.
const CHUNK: usize = 32;
/// The room for an extent, bytes.
const EXTENT: usize = 128 * 1024;

/// Decodes symbols; stops before the first one it does not want to judge (end of block,
/// anything invalid, or too close to an end) without consuming it.
#[multiversion::multiversion(targets("x86_64+bmi1+bmi2+lzcnt+popcnt"))]
pub(super) fn symbols(bits: &mut Bits, codes: &Codes, input: &[u8], out: &mut Output<'_>) {
    portable(bits, codes, input, out);
}

/// The same, compiled for whatever it is inlined into.
#[inline(always)]
pub(super) fn portable(bits: &mut Bits, codes: &Codes, input: &[u8], out: &mut Output<'_>) {
    let (limit, floor) = (out.limit, out.floor);
    out.len = match out.bytes.first_chunk_mut::<EXTENT>() {
        Some(room) if floor == 0 => decode(bits, codes, input, room, out.len, limit, 0),
        _ => decode(bits, codes, input, out.bytes, out.len, limit, floor),
    };
}

/// Decodes after the first `len` bytes, at most up to `limit`; returns how many there are then.
#[inline(always)]
fn decode(
    bits: &mut Bits,
    codes: &Codes,
    input: &[u8],
    bytes: &mut [u8],
    mut len: usize,
    limit: usize,
    floor: usize,
) -> usize {
    let Some(last_in) = input.len().checked_sub(IN_ROOM) else {
        return len;
    };
    let Some(last_touch) = bytes.len().checked_sub(OUT_TOUCHED) else {
        return len;
    };
    let Some(last_out) = limit.checked_sub(OUT_ROOM) else {
        return len;
    };
    let last_out = last_out.min(last_touch);
    if bits.pos > last_in || len > last_out {
        return len;
    }
    let mut pos = bits.pos;
    let mut hold = bits.hold;
    // Only the low six bits count.
    let mut count = bits.count;

    macro_rules! refill {
        ($ahead:expr, $used:expr) => {
            if let Some(word) = $ahead.get($used..).and_then(|rest| rest.first_chunk()) {
                hold |= u64::from_le_bytes(*word).wrapping_shl(count);
            }
            $used = $used.wrapping_add((!count & 63) as usize >> 3);
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
    refill!(input, pos);
    let mut entry = codes.litlen(hold);
    while len <= last_out
        && let Some(ahead) = input
            .get(pos..)
            .and_then(|rest| rest.first_chunk::<IN_ROOM>())
    {
        let mut used = 0_usize;
        if entry & LITERAL != 0 {
            literal!(entry);
            entry = codes.litlen(hold);
            if entry & LITERAL != 0 {
                literal!(entry);
                entry = codes.litlen(hold);
                if entry & LITERAL != 0 {
                    literal!(entry);
                    refill!(ahead, used);
                    pos = pos.wrapping_add(used);
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
                refill!(ahead, used);
                pos = pos.wrapping_add(used);
                entry = codes.litlen(hold);
                continue;
            }
        }
        let length = (entry >> 16).wrapping_add(extra(hold, entry)) as usize;
        consume!(entry);

        if count & 63 < DISTANCE_AND_NEXT {
            refill!(ahead, used);
        }
        let mut far = codes.distance(hold);
        if far & FAR_SPECIAL != 0 {
            if is_far_link(far) {
                far = codes.distance_behind(far, hold);
            }
            if far & FAR_SPECIAL != 0 {
                undo = entry & 0xff;
                pos = pos.wrapping_add(used);
                break;
            }
        }
        let distance = (far >> 16).wrapping_add(extra(hold, far)) as usize;
        let from = len.wrapping_sub(distance);
        // Too far back wraps to a number beyond any room. The last few bytes of the room are not
        // copied from either, so that the compiler knows a chunk from there to be inside.
        if from > last_touch || from < floor {
            undo = entry & 0xff;
            pos = pos.wrapping_add(used);
            break;
        }
        consume!(far);
        // At least 28 bits are left, enough to look the next symbol up while the copy goes on.
        entry = codes.litlen(hold);
        refill!(ahead, used);
        pos = pos.wrapping_add(used);
        copy(bytes, len, from, length);
        len = len.wrapping_add(length);
    }

    *bits = Bits {
        pos,
        hold,
        count: count & 63,
    };
    if undo != 0 {
        let bit = bits.position() - u64::from(undo);
        *bits = Bits::at(bit, input);
    }
    len
}

/// Copies a match to `at`; may write beyond its end, but nothing at or past `at + MATCH_MAX +
/// CHUNK`.
#[inline(always)]
fn copy(bytes: &mut [u8], at: usize, from: usize, length: usize) {
    let distance = at.wrapping_sub(from);
    // Chunks read nothing that the match itself writes, or nothing of that is needed.
    if distance >= length.min(CHUNK) {
        copy_chunk(bytes, from, at);
        copy_chunk(bytes, from.wrapping_add(CHUNK), at.wrapping_add(CHUNK));
        let mut done = 2 * CHUNK;
        while done < length {
            copy_chunk(bytes, from.wrapping_add(done), at.wrapping_add(done));
            done = done.wrapping_add(CHUNK);
        }
        return;
    }
    if distance == 1 {
        let chunk = [bytes.get(from).copied().unwrap_or(0); CHUNK];
        let mut done = 0;
        while done < length {
            put_chunk(bytes, at.wrapping_add(done), chunk);
            done = done.wrapping_add(CHUNK);
        }
        return;
    }
    // Bytes from `from` on that repeat with the period of the match: copying that many
    // doubles them.
    let mut valid = distance;
    while valid < CHUNK {
        copy_chunk(bytes, from, from.wrapping_add(valid));
        valid *= 2;
    }
    let mut done = valid.wrapping_sub(distance);
    while done < length {
        let to = at.wrapping_add(done);
        copy_chunk(bytes, to.wrapping_sub(valid), to);
        done = done.wrapping_add(CHUNK);
    }
}

#[inline(always)]
fn copy_chunk(bytes: &mut [u8], from: usize, to: usize) {
    if let Some(&chunk) = bytes.get(from..).and_then(|rest| rest.first_chunk()) {
        put_chunk(bytes, to, chunk);
    }
}

#[inline(always)]
fn put_chunk(bytes: &mut [u8], to: usize, chunk: [u8; CHUNK]) {
    if let Some(place) = bytes.get_mut(to..).and_then(|rest| rest.first_chunk_mut()) {
        *place = chunk;
    }
}
