//! Judging a frame without decoding it.
//!
//! Every rule for a frame without checksum is about bits, lengths and distances. No rule depends on
//! which bytes the literals are or what a match copies, so no output is written, and literals are
//! only counted. That makes judging faster than any decoder, and is why this code exists beside the
//! decoder that fills a [`Ring`](crate::sink::Ring). Where a rule is broken, this code only says
//! that; the decoder then names the fault.

pub(crate) mod literals;
pub(crate) mod sequences;

use crate::sink::Sink;
use sequences::{Section, Sum};

/// Counts instead of keeping; for strict rules only.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Count {
    /// Bytes so far.
    pub(crate) total: usize,
    /// Total at which the block must end.
    pub(crate) limit: usize,
}

impl Sink for Count {
    const KEEPS: bool = false;

    #[inline(always)]
    fn room(&self) -> usize {
        self.limit - self.total
    }

    fn narrow(&mut self, room: usize) {
        self.limit = self.total + room;
    }

    #[inline(always)]
    fn reach(&self) -> usize {
        self.total
    }

    #[inline(always)]
    fn literals(&mut self, _: &[u8], _: usize, len: usize) {
        self.total += len;
    }

    #[inline(always)]
    fn copy(&mut self, _: usize, len: usize) {
        self.total += len;
    }

    fn count(&mut self, section: &Section<'_>) -> Option<Sum> {
        let sum = sequences::sum(section, self.total)?;
        (sum.content <= self.room()).then(|| {
            self.total += sum.content;
            sum
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::block::{Bounds, Tables};
    use crate::fault::Table;
    use crate::layout::{BLOCK_HEADER, BlockHeader, BlockKind, FrameHeader};
    use crate::rules::Rules;
    use crate::sink::Ring;
    use quickcheck::{Gen, QuickCheck};
    use zstd_safe::{CCtx, CParameter};

    /// [`Count`], with every sum taken twice: as this processor does it and portably.
    struct Twice(Count);

    impl Sink for Twice {
        const KEEPS: bool = Count::KEEPS;

        fn room(&self) -> usize {
            self.0.room()
        }

        fn narrow(&mut self, room: usize) {
            self.0.narrow(room);
        }

        fn reach(&self) -> usize {
            self.0.reach()
        }

        fn literals(&mut self, literals: &[u8], at: usize, len: usize) {
            self.0.literals(literals, at, len);
        }

        fn copy(&mut self, offset: usize, len: usize) {
            self.0.copy(offset, len);
        }

        fn count(&mut self, section: &Section<'_>) -> Option<Sum> {
            let sum = sequences::sum(section, self.0.total);
            assert_eq!(sum, sequences::sum_portably(section, self.0.total));
            let counted = self.0.count(section);
            assert!(counted.is_none() || counted == sum);
            counted
        }
    }

    /// Records with repeated and new parts, long runs, and noise, by `seed`.
    fn data(seed: u64, len: usize) -> Vec<u8> {
        let mut state = seed | 1;
        let mut next = move |below: u64| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            usize::try_from((state >> 20) % below).unwrap()
        };
        let alphabet = 2 + next(250);
        let period = 3 + next(60);
        let mut data = vec![0; period];
        while data.len() < len {
            match next(8) {
                0 => data.extend_from_within(data.len() - period..),
                1 => data.extend(std::iter::repeat_n(7, next(3000))),
                2 => {
                    let back = 1 + next(data.len() as u64);
                    let start = data.len() - back;
                    data.extend_from_within(start..start + back.min(next(400)));
                }
                _ => {
                    for _ in 0..next(50) {
                        let byte = next(alphabet as u64).min(next(alphabet as u64));
                        data.push(u8::try_from(byte).unwrap());
                    }
                }
            }
        }
        data.truncate(len);
        data
    }

    /// Each block of a frame, sound or damaged, decoded and counted: the same fault at the same
    /// byte, or the same length and the same offsets to go on with.
    fn one_frame(seed: u64, len: u32, damages: Vec<u32>) {
        let data = data(seed, 1 + usize::try_from(len % 100_000).unwrap());
        let mut context = CCtx::create();
        let level = [-5, 1, 3, 7, 16][usize::try_from(seed % 5).unwrap()];
        let window = [10, 12, 17, 17][usize::try_from(seed >> 8 & 3).unwrap()];
        for parameter in [
            CParameter::CompressionLevel(level),
            CParameter::WindowLog(window),
        ] {
            context.set_parameter(parameter).unwrap();
        }
        let mut frame = Vec::with_capacity(zstd_safe::compress_bound(data.len()));
        context.compress2(&mut frame, &data).unwrap();
        let header = FrameHeader::parse(&frame).unwrap();
        let mut rest = &mut frame[header.size()..];
        let max = header.block_max();
        let bounds = Bounds {
            rules: Rules::Strict,
            block_max: max,
            window: header.window(),
            at_once: false,
        };
        let (mut decoding, mut counting) = (Tables::default(), Tables::default());
        let mut ring = Ring::default();
        ring.reset(16 * data.len() + 2 * max, usize::MAX);
        let mut twice = Twice(Count::default());
        for number in 0.. {
            let (bytes, tail) = rest.split_first_chunk_mut::<BLOCK_HEADER>().unwrap();
            let block = BlockHeader::parse(*bytes);
            let (body, tail) = tail.split_at_mut(block.stored());
            rest = tail;
            if block.kind != BlockKind::Compressed {
                ring.fill(0, block.size);
                ring.finish();
                twice.0.total += block.size;
            } else {
                // Blocks before the damaged one hand on what it may go wrong with.
                for damage in damages.iter().filter(|&&damage| damage % 3 == number % 3) {
                    let at = usize::try_from(damage >> 6).unwrap() % body.len();
                    body[at] ^= 1 << (damage >> 3 & 7);
                }
                ring.begin(ring.at, max);
                twice.0.limit = twice.0.total + max;
                let decoded = decoding.decode(body, bounds, &mut ring, &mut |_, _| ());
                let counted = counting.decode(body, bounds, &mut twice, &mut |_, _| ());
                assert_eq!(decoded, counted);
                if decoded.is_err() {
                    return;
                }
                ring.finish();
                assert_eq!(decoding.recent, counting.recent);
            }
            assert_eq!(ring.at, twice.0.total);
            if block.last || ring.space() < max {
                return;
            }
        }
    }

    #[test]
    fn counting_is_decoding_without_bytes() {
        QuickCheck::new()
            .rng(Gen::new(3))
            .tests(2000)
            .quickcheck(one_frame as fn(u64, u32, Vec<u32>));
    }

    /// A section with a table of one symbol for each part, any bits for the values, and as many
    /// sequences as these are enough for: every rule for sequences is broken often.
    fn one_section(symbols: [u8; 3], literals: u8, before: u16, window: u64, bits: &[u8]) {
        let [length, offset, matching] = symbols;
        let mut decoding = Tables::default();
        let mut extras = 0;
        for (table, symbol) in [
            (Table::LiteralLengths, length),
            (Table::Offsets, offset),
            (Table::MatchLengths, matching),
        ] {
            let codes = decoding.codes.table(table);
            codes.set_single(table, symbol);
            extras += usize::from(codes.values[0].extra);
        }
        let count = match extras {
            0 => 5,
            _ => 8 * bits.len() / extras,
        };
        // The end mark after just as many bits.
        let mut bytes = bits.to_vec();
        let last = count * extras;
        bytes.truncate(last.div_ceil(8));
        match (last % 8, bytes.last_mut()) {
            (1.., Some(byte)) => *byte = *byte & ((1 << (last % 8)) - 1) | 1 << (last % 8),
            _ => bytes.push(1),
        }
        let mut counting = Tables::default();
        counting.copy_state(&decoding);
        let bounds = Bounds {
            rules: Rules::Strict,
            block_max: 1 << 17,
            window,
            at_once: false,
        };
        let before = usize::from(before);
        let mut ring = Ring::default();
        ring.reset(1 << 18, usize::MAX);
        ring.fill(0, before);
        ring.finish();
        ring.begin(before, 1 << 17);
        let mut twice = Twice(Count {
            total: before,
            limit: before + (1 << 17),
        });
        let literals = usize::from(literals);
        let decoded = decoding.run(&bytes, count, literals, bounds, &mut ring);
        let counted = counting.run(&bytes, count, literals, bounds, &mut twice);
        assert_eq!(decoded, counted);
        if decoded.is_ok() {
            assert_eq!(ring.at, twice.0.total);
            assert_eq!(decoding.recent, counting.recent);
        }
    }

    #[test]
    fn every_rule_for_sequences_is_kept() {
        fn property(symbols: (u8, u8, u8), literals: u8, before: u16, small: bool, bits: Vec<u8>) {
            let symbols = [symbols.0 % 18, symbols.1 % 12, symbols.2 % 34];
            let window = if small { 1 << 10 } else { 1 << 17 };
            one_section(symbols, literals, before % 2000, window, &bits);
            // Repeated offsets without literals between them, which may come to zero.
            one_section([0, symbols[1] % 2, 0], literals, before, window, &bits);
        }
        QuickCheck::new()
            .rng(Gen::new(60))
            .tests(4000)
            .quickcheck(property as fn((u8, u8, u8), u8, u16, bool, Vec<u8>));
    }
}
