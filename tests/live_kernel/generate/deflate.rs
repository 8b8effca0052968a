//! Deflate data written block by block at random: mostly right, wrong in places.
//!
//! Distances may be up to 32 KiB, so what this makes goes after a header that declares a window
//! of that size.

use super::Random;

/// Bits in the order of deflate: least significant first.
#[derive(Debug, Default)]
pub struct Bits {
    bytes: Vec<u8>,
    /// Bits used of the last byte; 0 where it is full.
    used: u32,
}

impl Bits {
    pub fn put(&mut self, value: usize, bits: u32) {
        for bit in 0..bits {
            if self.used == 0 {
                self.bytes.push(0);
            }
            if value >> bit & 1 == 1 {
                *self.bytes.last_mut().unwrap() |= 1 << self.used;
            }
            self.used = (self.used + 1) % 8;
        }
    }

    /// A Huffman code: most significant bit first.
    fn put_code(&mut self, (code, len): (usize, u32)) {
        for bit in (0..len).rev() {
            self.put(code >> bit & 1, 1);
        }
    }

    pub fn align(&mut self) {
        self.used = 0;
    }

    pub fn extend(&mut self, bytes: &[u8]) {
        self.bytes.extend(bytes);
    }

    pub fn finish(self) -> Vec<u8> {
        self.bytes
    }
}

/// Base and extra bits of length codes 257 to 285.
fn length_code(code: usize) -> (usize, u32) {
    match code {
        0..8 => (code + 3, 0),
        28 => (258, 0),
        _ => {
            let extra = (code / 4 - 1) as u32;
            (((4 + code % 4) << extra) + 3, extra)
        }
    }
}

/// Base and extra bits of distance codes.
fn distance_code(code: usize) -> (usize, u32) {
    match code {
        0..4 => (code + 1, 0),
        _ => {
            let extra = (code / 2 - 1) as u32;
            (((2 + code % 2) << extra) + 1, extra)
        }
    }
}

/// About `target` decoded bytes in a few blocks, the last one marked, and how many there are.
pub fn blocks(random: &mut Random, target: usize) -> (Vec<u8>, usize) {
    let mut bits = Bits::default();
    let mut produced = 0;
    let number = random.within(1..=6);
    for block in 1..=number {
        let last = block == number && !random.percent(3);
        bits.put(usize::from(last), 1);
        let budget = if random.percent(15) {
            0
        } else {
            target / number + 1
        };
        match random.below(10) {
            0..=1 => stored(random, &mut bits, &mut produced, budget),
            2..=5 => fixed(random, &mut bits, &mut produced, budget),
            6..=8 => dynamic(random, &mut bits, &mut produced, budget),
            _ if random.percent(5) => bits.put(3, 2),
            _ => stored(random, &mut bits, &mut produced, 0),
        }
    }
    (bits.finish(), produced)
}

fn stored(random: &mut Random, bits: &mut Bits, produced: &mut usize, len: usize) {
    let len = len.min(65535);
    bits.put(0, 2);
    bits.align();
    let wrong = if random.percent(1) { 1 } else { 0 };
    bits.put(len, 16);
    bits.put(0xffff ^ len ^ wrong, 16);
    let data = super::data::bytes(random, len);
    bits.extend(&data);
    *produced += len;
}

fn fixed(random: &mut Random, bits: &mut Bits, produced: &mut usize, budget: usize) {
    bits.put(1, 2);
    let litlen = |symbol: usize| match symbol {
        0..144 => (0x30 + symbol, 8),
        144..256 => (0x190 + symbol - 144, 9),
        256..280 => (symbol - 256, 7),
        _ => (0xc0 + symbol - 280, 8),
    };
    let litlens: Vec<_> = (0..288).map(litlen).collect();
    let distances: Vec<_> = (0..32).map(|symbol| (symbol, 5)).collect();
    symbols(random, bits, &litlens, &distances, produced, budget);
}

fn dynamic(random: &mut Random, bits: &mut Bits, produced: &mut usize, budget: usize) {
    bits.put(2, 2);
    let mut used: Vec<usize> = Vec::new();
    let literals = random.within(1..=60);
    used.extend((0..literals).map(|_| random.below(256)));
    if !random.percent(2) {
        used.push(256);
    }
    let lengths = random.below(12);
    used.extend((0..lengths).map(|_| random.within(257..=285)));
    let mut litlen = code_lengths(random, &used, 286, 15);
    let number = random.below(14);
    let used: Vec<usize> = (0..number).map(|_| random.below(30)).collect();
    let mut distance = code_lengths(random, &used, 30, 15);
    for lengths in [&mut litlen, &mut distance] {
        if random.percent(3) {
            // A set that is over-subscribed or incomplete.
            let at = random.below(lengths.len());
            lengths[at] = random.below(16);
        }
    }
    let trim = |lengths: &[usize], least: usize| {
        let used = lengths
            .iter()
            .rposition(|&len| len > 0)
            .map_or(0, |i| i + 1);
        used.max(least)
    };
    let (hlit, hdist) = (trim(&litlen, 257), trim(&distance, 1));
    let all = [&litlen[..hlit], &distance[..hdist]].concat();
    put_lengths(random, bits, (hlit, hdist), &all);
    symbols(
        random,
        bits,
        &codes(&litlen),
        &codes(&distance),
        produced,
        budget,
    );
}

/// HLIT, HDIST, HCLEN, and the lengths in the code of their own.
fn put_lengths(random: &mut Random, bits: &mut Bits, counts: (usize, usize), lengths: &[usize]) {
    let mut tokens: Vec<(usize, usize, u32)> = Vec::new();
    let mut rest = lengths;
    let mut previous = None;
    while let Some(&first) = rest.first() {
        let run = rest.iter().take_while(|&&len| len == first).count();
        let run = random.within(1..=run);
        let taken = match (first, run) {
            (0, 11..) if random.percent(90) => {
                tokens.push((18, run.min(138) - 11, 7));
                run.min(138)
            }
            (0, 3..) if random.percent(90) => {
                tokens.push((17, run.min(10) - 3, 3));
                run.min(10)
            }
            (_, 3..) if previous == Some(first) => {
                tokens.push((16, run.min(6) - 3, 2));
                run.min(6)
            }
            _ => {
                tokens.push((first, 0, 0));
                1
            }
        };
        previous = Some(first);
        rest = &rest[taken..];
    }
    let used: Vec<usize> = tokens.iter().map(|token| token.0).collect();
    let mut own = code_lengths(random, &used, 19, 7);
    if random.percent(2) {
        let at = random.below(19);
        own[at] = random.below(8);
    }
    const ORDER: [usize; 19] = [
        16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15,
    ];
    let count = ORDER
        .iter()
        .rposition(|&symbol| own[symbol] > 0)
        .map_or(4, |i| (i + 1).max(4));
    bits.put(counts.0 - 257, 5);
    bits.put(counts.1 - 1, 5);
    bits.put(count - 4, 4);
    for &symbol in &ORDER[..count] {
        bits.put(own[symbol], 3);
    }
    let codes = codes(&own);
    for (symbol, value, extra) in tokens {
        bits.put_code(codes[symbol]);
        bits.put(value, extra);
    }
}

/// Literals and matches up to the budget, then (nearly always) the end of the block.
fn symbols(
    random: &mut Random,
    bits: &mut Bits,
    litlen: &[(usize, u32)],
    distance: &[(usize, u32)],
    produced: &mut usize,
    budget: usize,
) {
    let usable = |codes: &[(usize, u32)], range: std::ops::Range<usize>| {
        let coded = range.filter(|&symbol| codes.get(symbol).is_some_and(|code| code.1 > 0));
        coded.collect::<Vec<_>>()
    };
    let literals = usable(litlen, 0..256);
    // 286, 287 and distance codes 30, 31 have codes in fixed blocks and no meaning.
    let most = if random.percent(2) { 288 } else { 286 };
    let lengths = usable(litlen, 257..most);
    let distances = usable(distance, 0..if most == 288 { 32 } else { 30 });
    let end = *produced + budget;
    while *produced < end {
        let literal = lengths.is_empty() || distances.is_empty() || random.percent(40);
        if literal {
            if literals.is_empty() {
                break;
            }
            bits.put_code(litlen[*random.pick(&literals)]);
            *produced += 1;
            continue;
        }
        let reachable: Vec<usize> = distances
            .iter()
            .copied()
            .filter(|&code| code < 30 && distance_code(code).0 <= *produced)
            .collect();
        let beyond = reachable.is_empty() || random.percent(1);
        if beyond && !literals.is_empty() && !random.percent(2) {
            bits.put_code(litlen[*random.pick(&literals)]);
            *produced += 1;
            continue;
        }
        let symbol = *random.pick(&lengths);
        let (base, extra) = length_code((symbol - 257).min(28));
        let more = random.below(1 << extra);
        bits.put_code(litlen[symbol]);
        bits.put(more, extra);
        *produced += base + more;
        let code = *random.pick(if beyond { &distances } else { &reachable });
        let (base, extra) = distance_code(code.min(29));
        bits.put_code(distance[code]);
        let room = produced.saturating_sub(base + 300).min((1 << extra) - 1);
        bits.put(if beyond { 0 } else { random.below(room + 1) }, extra);
    }
    if litlen.get(256).is_some_and(|code| code.1 > 0) && !random.percent(1) {
        bits.put_code(litlen[256]);
    }
}

/// Lengths of a complete code for the symbols that are used, of which there may be one or none.
fn code_lengths(random: &mut Random, used: &[usize], symbols: usize, longest: usize) -> Vec<usize> {
    let mut used = used.to_vec();
    used.sort_unstable();
    used.dedup();
    let mut leaves = vec![0_usize];
    while leaves.len() < used.len() {
        let at = random.below(leaves.len());
        let at = (0..leaves.len())
            .map(|i| (at + i) % leaves.len())
            .find(|&i| leaves[i] < longest);
        let at = at.unwrap();
        leaves[at] += 1;
        leaves.push(leaves[at]);
    }
    random.shuffle(&mut leaves);
    let mut lengths = vec![0; symbols];
    for (&symbol, &len) in used.iter().zip(&leaves) {
        lengths[symbol] = len.max(1);
    }
    lengths
}

/// The canonical code of these lengths.
fn codes(lengths: &[usize]) -> Vec<(usize, u32)> {
    let mut next = [0_usize; 17];
    for len in 1..16 {
        let shorter = lengths.iter().filter(|&&l| l == len).count();
        next[len + 1] = (next[len] + shorter) << 1;
    }
    lengths
        .iter()
        .map(|&len| {
            let code = next[len];
            next[len] += 1;
            (if len == 0 { 0 } else { code }, len as u32)
        })
        .collect()
}
