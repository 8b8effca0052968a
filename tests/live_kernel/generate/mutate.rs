//! Changes that any payload can suffer, aware of the structures a walk has found in it.

use std::ops::Range;

use btrfs_payload::MAX_EXTENT;
use btrfs_payload::rules::Codec;
use btrfs_payload_common::Piece;

use super::Random;

/// The structures of a payload by kind, as ranges of bits: a kind with few structures is changed
/// as often as one with many.
#[derive(Debug, Default)]
pub struct Structure(Vec<(String, Vec<Range<usize>>)>);

impl Structure {
    /// What the codec's walk finds.
    pub fn of(codec: Codec, payload: &[u8]) -> Self {
        let mut structure = Self::default();
        const LIMIT: usize = MAX_EXTENT + 65536;
        match codec {
            Codec::Zlib => {
                btrfs_payload_zlib::walk(payload, LIMIT, &mut |event| {
                    if let btrfs_payload_zlib::Event::Piece(piece) = event {
                        structure.add(&piece);
                    }
                });
            }
            Codec::Lzo => {
                btrfs_payload_lzo::walk(payload, 4096, LIMIT, &mut |event| {
                    if let btrfs_payload_lzo::Event::Piece(piece) = event {
                        structure.add(&piece);
                    }
                });
            }
            Codec::Zstd => {
                btrfs_payload_zstd::walk(payload, LIMIT, &mut |event| {
                    if let btrfs_payload_zstd::Event::Piece(piece) = event {
                        structure.add(&piece);
                    }
                });
            }
        }
        structure
    }

    fn add<K: std::fmt::Debug>(&mut self, piece: &Piece<K>) {
        let name = format!("{:?}", piece.kind);
        let name = name
            .split(|c: char| !c.is_alphanumeric())
            .next()
            .unwrap()
            .to_owned();
        let bit = |bit: u64| usize::try_from(bit).unwrap();
        let bits = bit(piece.bits.start)..bit(piece.bits.end);
        match self.0.iter_mut().find(|(known, _)| *known == name) {
            Some((_, pieces)) => pieces.push(bits),
            None => self.0.push((name, vec![bits])),
        }
    }

    /// Some structure.
    fn pick(&self, random: &mut Random) -> Option<Range<usize>> {
        let (_, pieces) = self.0.get(random.below(self.0.len()))?;
        pieces.get(random.below(pieces.len())).cloned()
    }

    /// A structure of the same kind as one in `other`: a place in each, in whole bytes.
    fn pair(&self, other: &Self, random: &mut Random) -> Option<[Range<usize>; 2]> {
        let (name, pieces) = self.0.get(random.below(self.0.len()))?;
        let (_, others) = other.0.iter().find(|(known, _)| known == name)?;
        let bytes = |bits: &Range<usize>| bits.start / 8..bits.end.div_ceil(8);
        Some([bytes(random.pick(pieces)), bytes(random.pick(others))])
    }
}

/// One change of a payload that has these structures, as long as nothing has moved them.
/// `other` is what may be spliced in.
pub fn change(
    random: &mut Random,
    payload: &mut Vec<u8>,
    structure: &Structure,
    other: (&[u8], &Structure),
) {
    if payload.is_empty() {
        return;
    }
    match random.below(20) {
        0..=2 => {
            for _ in 0..random.within(1..=3) {
                let at = place(random, payload.len());
                payload[at] ^= 1 << random.below(8);
            }
        }
        3 | 4 => {
            let at = place(random, payload.len());
            payload[at] = *random.pick(&[0, 1, 0x7f, 0x80, 0xff, payload[at].wrapping_add(1)]);
        }
        5 => {
            let (at, len) = (place(random, payload.len()), random.distance().min(5000));
            let new = random.bytes(len);
            payload.splice(at..at, new);
        }
        6 => {
            let at = place(random, payload.len());
            let end = (at + random.distance()).min(payload.len());
            payload.drain(at..end);
        }
        7 => payload.truncate(place(random, payload.len())),
        8 => payload.truncate(payload.len().saturating_sub(random.within(1..=12)).max(1)),
        // Exactly to a sector: by cutting, or by zeroes.
        9 => payload.truncate((payload.len() / 4096 * 4096).max(1)),
        10 => payload.resize(payload.len().next_multiple_of(4096), 0),
        11 => {
            let len = random.distance();
            let filling = if random.percent(60) { 0 } else { random.byte() };
            payload.resize(payload.len() + len, filling);
        }
        // The beginning of one, the end of another.
        12 => {
            let (other, _) = other;
            let from = place(random, other.len());
            payload.truncate(place(random, payload.len()));
            payload.extend(&other[from..]);
        }
        // One after the other.
        13 => payload.extend(other.0),
        14 => {
            let Some([to, from]) = structure.pair(other.1, random) else {
                return;
            };
            let from = other.0.get(from).unwrap_or_default().to_vec();
            if to.end <= payload.len() {
                payload.splice(to, from);
            }
        }
        _ => {
            if let Some(bits) = structure.pick(random) {
                edit(random, payload, bits);
            }
        }
    }
    payload.truncate(MAX_EXTENT + 2);
}

/// A position, the beginning and the end more often than the middle.
fn place(random: &mut Random, len: usize) -> usize {
    match random.below(8) {
        0 => random.below(len.min(32)),
        1 => len.saturating_sub(1 + random.below(len.min(16))),
        _ => random.below(len),
    }
}

/// Changes one structure: a short one as a number, a long one in a byte.
fn edit(random: &mut Random, payload: &mut Vec<u8>, bits: Range<usize>) {
    let bits = bits.start..bits.end.min(payload.len() * 8);
    if bits.is_empty() {
        return;
    }
    let bytes = bits.start / 8..bits.end.div_ceil(8);
    if bits.len() > 64 {
        match random.below(6) {
            0 if bits.start % 8 == 0 => drop(payload.drain(bytes)),
            1 if bits.start % 8 == 0 => {
                let again = payload[bytes.clone()].to_vec();
                payload.splice(bytes.start..bytes.start, again);
            }
            2 => payload[bytes.start + random.below(bytes.len().min(8))] = random.byte(),
            _ => flip(payload, bits.start + random.below(bits.len())),
        }
        return;
    }
    let old = bits.clone().rev().fold(0_u64, |value, bit| {
        value << 1 | u64::from(is_set(payload, bit))
    });
    let small = random.next() % 9;
    let new = match random.below(8) {
        0 => old.wrapping_add(1),
        1 => old.wrapping_sub(1),
        2 => old.wrapping_add(small),
        3 => old.wrapping_sub(small),
        4 => 0,
        5 => u64::MAX,
        6 => old ^ 1 << random.below(bits.len()),
        _ => random.next(),
    };
    for (number, bit) in bits.enumerate() {
        if is_set(payload, bit) != (new >> number & 1 == 1) {
            flip(payload, bit);
        }
    }
}

fn is_set(payload: &[u8], bit: usize) -> bool {
    payload[bit / 8] >> (bit % 8) & 1 == 1
}

fn flip(payload: &mut [u8], bit: usize) {
    payload[bit / 8] ^= 1 << (bit % 8);
}
