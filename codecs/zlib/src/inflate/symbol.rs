//! One symbol, where input or room may run out in the middle of it.

use super::table::{self, Codes, END, LITERAL, SPECIAL, extra, is_far_link, is_link};
use super::{Bits, Flaw, Mode, Observer, Output, Rules};

/// Decodes one symbol, with distance if it is a length; consumes nothing if bits are missing.
pub(super) fn symbol(
    bits: &mut Bits,
    codes: &Codes,
    rules: Rules,
    input: &[u8],
    out: &mut Output<'_>,
    observer: &mut impl Observer,
) -> Result<Option<Mode>, Flaw> {
    bits.fill(input);
    let (hold, count) = (bits.hold, bits.count);
    let mut entry = codes.litlen(hold);
    if is_link(entry) {
        if count < table::LITLEN_BITS {
            return Ok(None);
        }
        entry = codes.litlen_behind(entry, hold);
    }
    let used = entry & 0xff;
    if count < used {
        return Ok(None);
    }
    if entry & LITERAL != 0 {
        bits.drop(used);
        let byte = entry.to_le_bytes()[2];
        observer.literal();
        if out.len >= out.limit {
            return Ok(Some(Mode::Literal(byte)));
        }
        out.push(&[byte]);
        return Ok(Some(Mode::Symbols));
    }
    if entry & SPECIAL != 0 {
        if entry & END == 0 {
            return Err(Flaw::LitLenSymbol);
        }
        bits.drop(used);
        return Ok(Some(Mode::Block));
    }
    let length = (entry >> 16) + extra(hold, entry);

    let hold = hold >> used;
    let mut entry = codes.distance(hold);
    if is_far_link(entry) {
        if count < used + table::DISTANCE_BITS {
            return Ok(None);
        }
        entry = codes.distance_behind(entry, hold);
    }
    let used = used + (entry & 0xff);
    if count < used {
        return Ok(None);
    }
    if entry & table::FAR_SPECIAL != 0 {
        return Err(Flaw::DistanceSymbol);
    }
    let distance = (entry >> 16) + extra(hold, entry);
    let (length, distance) = (length as usize, distance as usize);
    let available = out.len - out.floor;
    if rules.refuse_too_far && distance > available {
        return Err(Flaw::TooFarBack {
            distance,
            available,
        });
    }
    bits.drop(used);
    observer.matched(out.len, length, distance);
    Ok(Some(Mode::Match { length, distance }))
}
