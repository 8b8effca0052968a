//! LZO payloads, and what only they have: total, segment table, padding, instructions.

use btrfs_payload_lzo::{Effort, Encoder, Options};

use super::Random;

/// LZO1X bytes and what they decode to, as far as that is known.
#[derive(Debug, Clone)]
struct Segment {
    bytes: Vec<u8>,
    out: usize,
}

/// A sound payload, or nearly, and what it decodes to.
pub fn payload(random: &mut Random, data: &[u8]) -> (Vec<u8>, usize) {
    if random.percent(60) {
        let effort = *random.pick(&[Effort::Fast, Effort::Fast, Effort::High, Effort::Smallest]);
        let effort = if data.len() > 16384 {
            Effort::Fast
        } else {
            effort
        };
        let mut payload = Vec::new();
        let mut encoder = Encoder::new(Options::new(effort, 4096)).unwrap();
        encoder.encode(data, &mut payload).unwrap();
        return (payload, data.len());
    }
    let mut segments = Vec::new();
    let mut rest = data.len();
    while rest > 0 {
        let out = match random.below(20) {
            0..=13 => rest.min(4096),
            14 | 15 => random.within(1..=4096),
            16 => 0,
            17 => random.within(4097..=4421),
            18 => random.within(4415..=4425),
            _ => random.within(1..=64),
        };
        rest = rest.saturating_sub(out.max(1));
        segments.push(instructions(random, out));
    }
    let out = segments.iter().map(|segment| segment.out).sum();
    (assemble(random, &segments, false), out)
}

/// Instructions that decode to `out` bytes, and the end marker; wrong in a few cases.
fn instructions(random: &mut Random, out: usize) -> Segment {
    let mut bytes = Vec::new();
    let version = random.percent(4).then(|| random.below(3));
    if let Some(version) = version {
        bytes.extend([17, u8::try_from(version).unwrap()]);
    }
    let runs = version.is_some_and(|version| version > 0);
    let mut done = 0;
    // How the last instruction ended: nothing after it, a few literals, a run of literals.
    let mut state = 0;
    if out > 0 {
        let len = random.within(1..=out.min(238));
        if len <= 238 && random.percent(70) {
            bytes.push(u8::try_from(17 + len).unwrap());
            bytes.extend(random.bytes(len));
            state = if len < 4 { len } else { 4 };
            done = len;
        }
    }
    while done < out {
        let left = out - done;
        if state == 0 && (left >= 4 && random.percent(30) || done == 0) {
            let len = random.within(4..=left.clamp(4, 600));
            extended(&mut bytes, 0, 15, len - 3);
            bytes.extend(random.bytes(len));
            done += len;
            state = 4;
            continue;
        }
        if runs && random.percent(20) && left >= 4 {
            let len = random.within(4..=left.min(2051)) - 4;
            let literals = random.below(4).min(left - len - 4);
            bytes.push(0x18 | u8::try_from(len & 7).unwrap());
            bytes.extend([0xfc | u8::try_from(literals).unwrap(), 0xff]);
            bytes.push(u8::try_from(len >> 3).unwrap());
            bytes.extend(random.bytes(literals));
            done += len + 4 + literals;
            state = literals;
            continue;
        }
        let (len, literals) = matched(random, &mut bytes, done, left, state);
        done += len + literals;
        state = literals;
    }
    if !random.percent(2) {
        bytes.extend([0x11, 0, 0]);
    }
    if random.percent(1) {
        bytes.push(random.byte());
    }
    Segment { bytes, out: done }
}

/// A match and up to three literals after it; their lengths.
fn matched(
    random: &mut Random,
    bytes: &mut Vec<u8>,
    done: usize,
    left: usize,
    state: usize,
) -> (usize, usize) {
    let reach = if random.percent(1) { done + 3 } else { done };
    let distance = |random: &mut Random, most: usize| match random.below(3) {
        0 => random.within(1..=most.min(reach).clamp(1, 16)),
        _ => random.within(1..=most.min(reach).max(1)),
    };
    let byte = |value: usize| u8::try_from(value & 0xff).unwrap();
    let literals = random.below(4);
    let len = match random.below(4) {
        // The short match that what precedes it makes possible.
        0 if (1..4).contains(&state) => {
            let far = distance(random, 1024) - 1;
            bytes.extend([byte((far & 3) << 2 | literals), byte(far >> 2)]);
            2
        }
        0 if state == 4 && reach > 2048 => {
            let far = random.within(0..=(reach - 2049).min(1023));
            bytes.extend([byte((far & 3) << 2 | literals), byte(far >> 2)]);
            3
        }
        0 | 1 => {
            let len = random.within(3..=left.clamp(3, 8));
            let far = distance(random, 2048) - 1;
            bytes.extend([
                byte((len - 1) << 5 | (far & 7) << 2 | literals),
                byte(far >> 3),
            ]);
            len
        }
        2 | 3 if !random.percent(3) => {
            let len = random.within(2..=left.clamp(2, 1200));
            let far = distance(random, 16384) - 1;
            extended(bytes, 32, 31, len - 2);
            bytes.extend([byte(far << 2 | literals), byte(far >> 6)]);
            len
        }
        // Farther than any segment is long.
        _ => {
            let len = random.within(2..=left.clamp(2, 300));
            let far = random.within(1..=16383);
            extended(bytes, 16 | random.below(2) << 3, 7, len - 2);
            bytes.extend([byte(far << 2 | literals), byte(far >> 6)]);
            len
        }
    };
    let literals = literals.min(3);
    bytes.extend(random.bytes(literals));
    (len, literals)
}

/// An instruction whose length has a short form up to `most` and a long one beyond.
fn extended(bytes: &mut Vec<u8>, code: usize, most: usize, len: usize) {
    let byte = |value: usize| u8::try_from(value).unwrap();
    if (1..=most).contains(&len) {
        bytes.push(byte(code | len));
        return;
    }
    bytes.push(byte(code));
    let Some(rest) = len.checked_sub(most + 1) else {
        // A length of 0 has no form: the shortest there is stands for it.
        *bytes.last_mut().unwrap() = byte(code | 1);
        return;
    };
    bytes.extend(vec![0; rest / 255]);
    bytes.push(byte(rest % 255 + 1));
}

/// The segments of a payload as far as its table leads, not looking into them.
fn segments(payload: &[u8]) -> Vec<Segment> {
    let mut segments = Vec::new();
    let mut at = 4;
    while let Some(header) = payload.get(at..at + 4) {
        let len = u32::from_le_bytes(header.try_into().unwrap()) as usize;
        let Some(bytes) = payload.get(at + 4..at + 4 + len) else {
            break;
        };
        segments.push(Segment {
            bytes: bytes.to_vec(),
            out: 4096,
        });
        at += 4 + len;
        if at % 4096 > 4092 {
            at = at.next_multiple_of(4096);
        }
    }
    segments
}

/// Total, headers, padding: right, or wrong in some way if asked for.
fn assemble(random: &mut Random, segments: &[Segment], wrong: bool) -> Vec<u8> {
    let straddle = wrong && random.percent(20);
    let garbage = wrong && random.percent(20);
    let one_header = (wrong && random.percent(30)).then(|| random.below(segments.len()));
    let mut payload = vec![0; 4];
    for (number, segment) in segments.iter().enumerate() {
        let room = 4096 - payload.len() % 4096;
        if room < 4 && !straddle {
            let byte = if garbage { random.byte() } else { 0 };
            payload.extend(vec![byte; room]);
        }
        let mut len = segment.bytes.len();
        if one_header == Some(number) {
            len = wrong_length(random, len);
        }
        payload.extend(u32::try_from(len).unwrap().to_le_bytes());
        payload.extend(&segment.bytes);
    }
    let mut total = payload.len();
    if wrong {
        match random.below(5) {
            0 => total = wrong_length(random, total),
            1 => total = total.next_multiple_of(4096),
            2 => {
                // What lies after the total, or is counted by it though nothing is there.
                let len = random.distance();
                let filling = if garbage {
                    random.bytes(len)
                } else {
                    vec![0; len]
                };
                payload.extend(filling);
                if random.percent(40) {
                    total = payload.len();
                }
            }
            _ => {}
        }
    }
    payload[..4].copy_from_slice(&u32::try_from(total).unwrap().to_le_bytes());
    payload
}

fn wrong_length(random: &mut Random, len: usize) -> usize {
    let by = random.distance();
    match random.below(8) {
        0..=2 => len.saturating_add(by),
        3..=5 => len.saturating_sub(by),
        6 => *random.pick(&[0, 1, 2, 3, 4, 8, 4420, 4421, 4422, 131_072, 131_073]),
        _ => random.next() as u32 as usize,
    }
}

/// Changes what only LZO payloads have. Returns by how many bytes the decoded length grew.
pub fn change(random: &mut Random, payload: &mut Vec<u8>) -> usize {
    let mut table = segments(payload);
    if table.is_empty() {
        return 0;
    }
    let at = random.below(table.len());
    let mut grown = 0;
    match random.below(10) {
        0 => table.swap(0, at),
        1 => table[at].bytes.extend(random.bytes(1)),
        2 => {
            table[at].bytes.pop();
        }
        // The marker of the run-length variant, with some version.
        3 => {
            table[at].bytes.splice(0..0, [17, random.byte() % 4]);
        }
        // One segment more: empty, short, whole, too long; somewhere.
        4..=6 => {
            let out = *random.pick(&[0, 0, 1, 100, 2048, 4096, 4421, 4422]);
            table.insert(at, instructions(random, out));
            grown = out;
        }
        // So many literals in front that the payload ends exactly with a sector, or near it.
        7 => {
            let end = payload.len() + 4 + 1 + 3 + *random.pick(&[0, 0, 1, 2, 3, 4]);
            let out = (8192 - end % 4096) % 4096;
            if (4..=238).contains(&out) {
                let mut bytes = vec![u8::try_from(17 + out).unwrap()];
                bytes.extend(random.bytes(out));
                bytes.extend([0x11, 0, 0]);
                table.insert(0, Segment { bytes, out });
                grown = out;
            }
        }
        8 => table.truncate(at.max(1)),
        _ => {}
    }
    let wrong = random.percent(70);
    *payload = assemble(random, &table, wrong);
    grown
}
