//! Writing LZO1X instructions.

use super::{
    END, M1_MAX_DISTANCE, M2_MAX_DISTANCE, M2_MAX_LEN, M3_MAX_DISTANCE, M3_MAX_LEN, M4_MAX_LEN,
};

/// The low eight bits.
pub(super) const fn low(value: usize) -> u8 {
    value.to_le_bytes()[0]
}

/// Appends a length extension worth `rest`, which is at least 1.
fn extension(mut rest: usize, out: &mut Vec<u8>) {
    while rest > 255 {
        out.push(0);
        rest -= 255;
    }
    out.push(low(rest));
}

/// Appends a run of literals: the first thing of a segment, or directly after a match.
pub(crate) fn literals(run: &[u8], out: &mut Vec<u8>) {
    let count = run.len();
    if count == 0 {
        return;
    }
    if out.is_empty() && count <= 238 {
        out.push(low(count + 17));
    } else if count <= 3 {
        // The second last byte of every match has room for this number.
        let holder = out.len().saturating_sub(2);
        if let Some(byte) = out.get_mut(holder) {
            *byte |= low(count);
        }
    } else if count <= 18 {
        out.push(low(count - 3));
    } else {
        out.push(0);
        extension(count - 18, out);
    }
    out.extend_from_slice(run);
}

/// Appends a match after `run` literals since the previous match (or since the start).
///
/// Lengths are 3 and more, or 2 where the form for it fits (`run` 1 to 3, distance up to 1024);
/// distances are 1 to 49151.
pub(crate) fn copy(length: usize, distance: usize, run: usize, out: &mut Vec<u8>) {
    if length == 2 && (1..=3).contains(&run) && distance <= M1_MAX_DISTANCE {
        let d = distance - 1;
        out.extend_from_slice(&[low((d & 3) << 2), low(d >> 2)]);
    } else if length == 3
        && run >= 4
        && (M2_MAX_DISTANCE + 1..=M2_MAX_DISTANCE + M1_MAX_DISTANCE).contains(&distance)
    {
        let d = distance - M2_MAX_DISTANCE - 1;
        out.extend_from_slice(&[low((d & 3) << 2), low(d >> 2)]);
    } else if length <= M2_MAX_LEN && distance <= M2_MAX_DISTANCE {
        let d = distance - 1;
        out.extend_from_slice(&[low((length - 1) << 5 | (d & 7) << 2), low(d >> 3)]);
    } else if distance <= M3_MAX_DISTANCE {
        if length <= M3_MAX_LEN {
            out.push(low(32 | (length - 2)));
        } else {
            out.push(32);
            extension(length - M3_MAX_LEN, out);
        }
        let d = (distance - 1) << 2;
        out.extend_from_slice(&[low(d), low(d >> 8)]);
    } else {
        let d = distance - M3_MAX_DISTANCE;
        let high = (d & 0x4000) >> 11;
        if length <= M4_MAX_LEN {
            out.push(low(16 | high | (length - 2)));
        } else {
            out.push(low(16 | high));
            extension(length - M4_MAX_LEN, out);
        }
        let d = (d & 0x3fff) << 2;
        out.extend_from_slice(&[low(d), low(d >> 8)]);
    }
}

/// Appends the end marker.
pub(crate) fn end(out: &mut Vec<u8>) {
    out.extend_from_slice(&END);
}

/// A segment of nothing but literals; `out` is cleared first.
pub(crate) fn stored(data: &[u8], out: &mut Vec<u8>) {
    out.clear();
    literals(data, out);
    end(out);
}
