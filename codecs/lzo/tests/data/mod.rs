//! Data of different nature from a seed, the same on every machine.

/// Bytes like a program's: runs, near repeats, far repeats, text-like and random parts.
pub(crate) fn mixed(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed | 1;
    let mut next = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let mut data: Vec<u8> = Vec::with_capacity(len + 300);
    while data.len() < len {
        let kind = next() % 8;
        let count = usize::try_from(next() % 70).unwrap() + 1;
        match kind {
            0 => data.extend(std::iter::repeat_n(next().to_le_bytes()[0], count * 3)),
            1 => data.extend((0..count).map(|_| next().to_le_bytes()[2])),
            2 | 3 => data.extend((0..count).map(|_| b'a' + next().to_le_bytes()[1] % 6)),
            _ if data.is_empty() => {}
            _ => {
                // Near copies most often, sometimes from anywhere.
                let span = if kind == 7 { data.len() } else { 3000 };
                let span = span.min(data.len());
                let back = usize::try_from(next()).unwrap_or(usize::MAX) % span + 1;
                let from = data.len() - back;
                for at in from..from + count {
                    data.push(data[at]);
                }
            }
        }
    }
    data.truncate(len);
    data
}
