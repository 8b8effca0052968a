//! The sequences of a block: decoded and executed one by one, by the rules of any decoder.

use crate::bits::{BitReader, Status};
use crate::block::{Bounds, Damage, Tables};
use crate::count::sequences::Section;
use crate::fault::FaultKind;
use crate::fse::{STATES, SequenceTable, SequenceTables, Step, Value};
use crate::rules::Rules;
use crate::sink::Sink;

/// Sequences that the decoder for far matches takes in advance.
const FAR_AHEAD: usize = 8;

impl Tables {
    /// Decodes and performs `count` sequences; the literals they took.
    pub(crate) fn run(
        &mut self,
        bytes: &[u8],
        count: usize,
        literals: usize,
        bounds: Bounds,
        sink: &mut impl Sink,
    ) -> Result<usize, Damage> {
        let rules = bounds.rules;
        let SequenceTables {
            lengths,
            offsets,
            matches,
        } = &*self.codes;
        let section = Section {
            tables: &self.codes,
            bytes,
            count,
            literals,
            window: bounds.window,
            recent: self.recent,
        };
        if let Some(sum) = sink.count(&section) {
            self.recent = sum.recent;
            return Ok(sum.literals);
        }
        let mut stream = BitReader::new(bytes).ok_or((0, FaultKind::BitstreamEndMark))?;
        let mut length_state = State::new(lengths, &mut stream);
        let mut offset_state = State::new(offsets, &mut stream);
        let mut match_state = State::new(matches, &mut stream);
        let mut recent = self.recent.map(u64::from);
        // Old decoders take another way for frames with large windows and far matches.
        let far = rules < Rules::V1_5_7
            && bounds.window > 1 << 24
            && count > ahead(rules)
            && offsets.long_share() >= 7;
        let exact = rules.bitstream_exact();
        let mut taken = 0;
        for sequence in 1..=count {
            if far && stream.reload() == Status::Overflow {
                return Err((0, FaultKind::BitstreamLength));
            }
            let (length_step, length) = length_state.cell(lengths);
            let (offset_step, offset) = offset_state.cell(offsets);
            let (match_step, matching) = match_state.cell(matches);
            let distance = next_offset(&mut recent, offset, length.base == 0, rules, &mut stream);
            let mut len = u64::from(matching.base);
            if matching.extra > 0 {
                len += stream.read_fast(u32::from(matching.extra));
            }
            if u32::from(length.extra) + u32::from(matching.extra) + u32::from(offset.extra) >= 31 {
                stream.reload();
            }
            let mut run = u64::from(length.base);
            if length.extra > 0 {
                run += stream.read_fast(u32::from(length.extra));
            }
            if !exact || sequence < count {
                let bits = [length_step.bits, match_step.bits, offset_step.bits];
                let [first, second, third] = stream.read_three(bits);
                length_state = State::next(length_step, first);
                match_state = State::next(match_step, second);
                offset_state = State::next(offset_step, third);
                stream.reload();
            }
            // Both are below 2^17 + 2^16.
            let run = usize::try_from(run).unwrap_or(usize::MAX);
            let len = usize::try_from(len).unwrap_or(usize::MAX);
            if run + len > sink.room() {
                let max = bounds.block_max;
                return Err((stream.byte(), FaultKind::BlockContentTooLarge { max }));
            }
            if run > literals - taken {
                let kind = FaultKind::LiteralsExhausted {
                    sequence,
                    wanted: run,
                    available: literals - taken,
                };
                return Err((stream.byte(), kind));
            }
            sink.literals(&self.literals, taken, run);
            taken += run;
            let reach = sink.reach();
            match usize::try_from(distance) {
                Ok(distance) if distance <= reach => {
                    if rules == Rules::Strict && distance as u64 > bounds.window {
                        let kind = FaultKind::OffsetBeyondWindow {
                            sequence,
                            offset: distance as u64,
                            window: bounds.window,
                        };
                        return Err((stream.byte(), kind));
                    }
                    sink.copy(distance, len);
                }
                _ => {
                    let kind = match distance {
                        u64::MAX => FaultKind::OffsetZero { sequence },
                        _ => FaultKind::OffsetBeyondStart {
                            sequence,
                            offset: distance,
                            available: reach,
                        },
                    };
                    return Err((stream.byte(), kind));
                }
            }
        }
        let complete = match (exact, far) {
            (true, _) => stream.ended(),
            (false, true) => true,
            (false, false) => matches!(stream.reload(), Status::Completed | Status::Overflow),
        };
        if !complete {
            return Err((0, FaultKind::BitstreamLength));
        }
        for (to, from) in self.recent.iter_mut().zip(recent) {
            // Decoders keep 32 bits.
            *to = u32::try_from(from & 0xffff_ffff).unwrap_or(0);
        }
        Ok(taken)
    }
}

/// Sequences beyond which the decoder for far matches is worth it.
fn ahead(rules: Rules) -> usize {
    match rules {
        Rules::V1_4_10 => 4,
        _ => FAR_AHEAD,
    }
}

/// The distance of the next match, from its symbol and the last three distances. Zero comes out
/// as [`u64::MAX`] where it is refused.
#[inline(always)]
fn next_offset(
    recent: &mut [u64; 3],
    cell: Value,
    no_literals: bool,
    rules: Rules,
    stream: &mut BitReader<'_>,
) -> u64 {
    let [first, second, third] = *recent;
    if cell.extra > 1 {
        let offset = u64::from(cell.base) - 3 + stream.read_fast(u32::from(cell.extra));
        *recent = [offset, first, second];
        return offset;
    }
    let code = match cell.extra {
        0 => u64::from(no_literals),
        _ => 1 + u64::from(no_literals) + stream.read_fast(1),
    };
    let mut offset = match code {
        0 => first,
        1 => second,
        2 => third,
        _ => first.wrapping_sub(1),
    };
    if cell.extra > 0 && offset == 0 {
        offset = if rules.offset_zero_refused() {
            u64::MAX
        } else {
            1
        };
    }
    *recent = match code {
        0 => return offset,
        1 => [offset, first, third],
        _ => [offset, first, second],
    };
    offset
}

/// The state of one of the three tables.
struct State(usize);

impl State {
    #[inline(always)]
    fn new(table: &SequenceTable, stream: &mut BitReader<'_>) -> Self {
        let state = stream.read(table.log);
        stream.reload();
        Self(usize::try_from(state).unwrap_or(0))
    }

    #[inline(always)]
    fn cell(&self, table: &SequenceTable) -> (Step, Value) {
        let state = self.0 & (STATES - 1);
        let step = table.steps.get(state).copied().unwrap_or_default();
        let value = table.values.get(state).copied().unwrap_or_default();
        (step, value)
    }

    #[inline(always)]
    fn next(step: Step, low: u64) -> Self {
        Self(usize::from(step.next) + usize::try_from(low).unwrap_or(0))
    }
}
