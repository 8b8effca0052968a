//! The weights of a Huffman tree, decoded by an FSE table of their own.

use super::{Counts, SYMBOLS};
use crate::bits::{BitReader, Status};
use crate::rules::Rules;

/// Largest exponent of the table that codes Huffman weights.
const WEIGHTS_LOG_MAX: u32 = 6;

/// Decodes the FSE-coded weights of a Huffman tree; `None` when they are damaged. Returns how
/// many there are.
///
/// The stream says nothing of their number: it ends when a state asks for bits that are not
/// there, and the other state gives the last weight.
pub(crate) fn weights(bytes: &[u8], out: &mut [u8; 256], rules: Rules) -> Option<usize> {
    let counts = Counts::read(bytes, SYMBOLS - 1)?;
    // libzstd decodes in a small working memory; how many symbols a table may describe follows
    // from its size (`HUF_READ_STATS_WORKSPACE_SIZE`, lib/zstd/common/huf.h).
    let most = match counts.log {
        WEIGHTS_LOG_MAX => 12,
        _ => 92,
    };
    if counts.log > WEIGHTS_LOG_MAX || counts.symbols > most {
        return None;
    }
    let mut cells = [(0u8, 0u8, 0u16); 1 << WEIGHTS_LOG_MAX];
    counts.build(|state, symbol, bits, next| {
        if let Some(cell) = cells.get_mut(state) {
            *cell = (u8::try_from(symbol).unwrap_or(0), bits, next);
        }
    });
    // No symbol has half of the states, so each step reads at least one bit. Decoders then use
    // the reader's other form, which differs beyond the start of the stream.
    let fast = counts
        .counts
        .iter()
        .all(|&count| i32::from(count) < 1 << (counts.log - 1));
    let mut stream = BitReader::new(bytes.get(counts.size..)?)?;
    let mut states = [0usize; 2];
    for state in &mut states {
        *state = usize::try_from(stream.read(counts.log)).ok()?;
        stream.reload();
    }
    if rules.weights_need_states() && stream.reload() == Status::Overflow {
        return None;
    }
    let step = |state: &mut usize, stream: &mut BitReader<'_>| {
        let (symbol, bits, next) = cells.get(*state).copied().unwrap_or_default();
        let low = match fast {
            true => stream.read_fast(u32::from(bits)),
            false => stream.read(u32::from(bits)),
        };
        *state = usize::from(next) + usize::try_from(low).unwrap_or(0);
        symbol
    };
    let [mut first, mut second] = states;
    let mut written = 0;
    let capacity = out.len() - 1;
    stream.reload();
    loop {
        if written + 2 > capacity {
            return None;
        }
        *out.get_mut(written)? = step(&mut first, &mut stream);
        written += 1;
        if stream.reload() == Status::Overflow {
            *out.get_mut(written)? = step(&mut second, &mut stream);
            return Some(written + 1);
        }
        std::mem::swap(&mut first, &mut second);
    }
}
