//! What is compressed: data of several kinds and of lengths around every boundary.

use super::Random;

/// A length from 1 to `most`, boundaries more often than others and small ones more often than
/// large ones.
pub fn length(random: &mut Random, most: usize) -> usize {
    const BOUNDARIES: [usize; 8] = [1, 2048, 4096, 8192, 12288, 65536, 126_976, 131_072];
    let len = match random.below(100) {
        0..=14 => (random.pick(&BOUNDARIES) + random.below(3)).saturating_sub(1),
        15..=59 => random.within(1..=4096),
        60..=92 => random.within(1..=16384),
        _ => random.within(1..=131_072),
    };
    len.clamp(1, most)
}

/// So many bytes, of a kind that chance chooses.
pub fn bytes(random: &mut Random, len: usize) -> Vec<u8> {
    let mut data = match random.below(10) {
        0..=3 => text(random, len),
        4 => vec![random.byte(); len],
        5 => {
            let len_of_period = random.within(2..=300);
            let period = random.bytes(len_of_period);
            period.iter().copied().cycle().take(len).collect()
        }
        6 => repeats(random, len),
        7 => (0..len).map(|_| b"acgt"[random.below(4)]).collect(),
        8 => islands(random, len),
        _ => random.bytes(len),
    };
    // A few bytes that break what is regular.
    for _ in 0..random.below(4) {
        let at = random.below(len);
        if let Some(byte) = data.get_mut(at) {
            *byte = random.byte();
        }
    }
    data
}

/// Numbered lines with a word that varies.
fn text(random: &mut Random, len: usize) -> Vec<u8> {
    let mut data = Vec::with_capacity(len + 40);
    let mut number = random.below(1000);
    while data.len() < len {
        let word = random.pick(&["extent", "sector", "segment", "frame", "stream"]);
        data.extend(format!("{number} {word} {:x}\n", random.below(4096)).bytes());
        number += 1;
    }
    data.truncate(len);
    data
}

/// Noise that comes again after a long distance.
fn repeats(random: &mut Random, len: usize) -> Vec<u8> {
    let distance = random.within(1..=40_000).min(len);
    let noise = random.bytes(distance);
    noise.iter().copied().cycle().take(len).collect()
}

/// Noise between zeroes.
fn islands(random: &mut Random, len: usize) -> Vec<u8> {
    let mut data = vec![0; len];
    for _ in 0..random.below(6) {
        let at = random.below(len);
        let end = (at + random.below(600)).min(len);
        data[at..end].fill_with(|| random.byte());
    }
    data
}
