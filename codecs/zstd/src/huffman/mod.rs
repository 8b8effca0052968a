//! Huffman-coded literals: the tree's description, its decoding tables, one stream or four.

mod choice;
mod decode;
mod lanes;
mod tree;

pub(crate) use choice::decodes_pairs;
pub(crate) use decode::Decoding;
pub(crate) use tree::Tree;

use crate::fault::FaultKind;

/// Exponent that tables are widened to, so that one loop decodes them all.
const LOG: u32 = 11;

/// Longest code that any decoder takes, bits.
const LOG_MAX: u32 = 12;

/// Bytes of the jump table.
pub(crate) const JUMP_TABLE: usize = 6;

/// Start and end of each of the four streams in `bytes`.
pub(crate) fn stream_bounds(bytes: &[u8]) -> Result<[(usize, usize); 4], FaultKind> {
    let size = |index: usize| {
        bytes
            .get(2 * index..)
            .and_then(|tail| tail.first_chunk::<2>())
            .map_or(0, |size| usize::from(u16::from_le_bytes(*size)))
    };
    let second = JUMP_TABLE + size(0);
    let third = second + size(1);
    let fourth = third + size(2);
    if bytes.len() < JUMP_TABLE + 4 || fourth > bytes.len() {
        return Err(FaultKind::JumpTable {
            needed: fourth,
            available: bytes.len(),
        });
    }
    Ok([
        (JUMP_TABLE, second),
        (second, third),
        (third, fourth),
        (fourth, bytes.len()),
    ])
}
