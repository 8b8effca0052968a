//! zlib payloads, and what only they have: header, stored blocks, trailer.

use btrfs_payload_zlib::{Encoder, Level, Options};
use miniz_oxide::deflate::core::{CompressorOxide, create_comp_flags_from_zip_params};
use miniz_oxide::deflate::stream::deflate;
use miniz_oxide::{DataFormat, MZFlush};

use super::{Random, data, deflate as by_hand};

/// A sound payload, or nearly, and what it decodes to.
pub fn payload(random: &mut Random, data: &[u8]) -> (Vec<u8>, usize) {
    let mut payload = Vec::new();
    match random.below(10) {
        0..=3 => {
            let level = u32::try_from(random.within(1..=9)).unwrap();
            let level = Level::numbered(level).unwrap();
            let mut encoder = Encoder::new(Options::new(level)).unwrap();
            encoder.encode(data, &mut payload).unwrap();
        }
        4 | 5 => {
            let level = u8::try_from(random.below(11)).unwrap();
            payload = miniz_oxide::deflate::compress_to_vec_zlib(data, level);
        }
        6 => payload = flushed(random, data),
        7 => payload = with_empty_blocks(random, data),
        _ => {
            let (blocks, len) = by_hand::blocks(random, data.len());
            payload = vec![0x78, *random.pick(&[0x01, 0x5e, 0x9c, 0xda])];
            payload.extend(blocks);
            payload.extend(random.bytes(4));
            return (payload, len);
        }
    }
    (payload, data.len())
}

/// As the kernel does it: flushed now and then, so that empty stored blocks lie inside.
fn flushed(random: &mut Random, data: &[u8]) -> Vec<u8> {
    let level = i32::try_from(random.within(1..=9)).unwrap();
    let strategy = i32::try_from(random.below(5)).unwrap();
    let flags = create_comp_flags_from_zip_params(level, 15, strategy);
    let mut compressor = CompressorOxide::new(flags);
    compressor.set_format_and_level(DataFormat::Zlib, level.to_le_bytes()[0]);
    let mut out = vec![0; data.len() * 2 + 100_000];
    let mut len = 0;
    let piece = *random.pick(&[50, 1000, 4096, 4096]);
    let pieces: Vec<&[u8]> = data.chunks(piece.max(data.len() / 500)).collect();
    for (number, input) in pieces.iter().enumerate() {
        let flush = if number + 1 == pieces.len() {
            MZFlush::Finish
        } else {
            *random.pick(&[MZFlush::Sync, MZFlush::Full, MZFlush::Partial])
        };
        len += deflate(&mut compressor, input, &mut out[len..], flush).bytes_written;
    }
    out.truncate(len);
    out
}

/// Runs of empty stored blocks before, between and after stored data.
fn with_empty_blocks(random: &mut Random, data: &[u8]) -> Vec<u8> {
    let mut payload = vec![0x78, 0x01];
    let mut rest = data;
    while !rest.is_empty() {
        let empty = *random.pick(&[0, 1, 3, 700, 812, 815, 820, 1000, 1700, 2500]);
        payload.extend([0, 0, 0, 0xff, 0xff].repeat(empty));
        let (now, later) = rest.split_at(random.within(1..=rest.len()));
        payload.extend(stored(now, false));
        rest = later;
    }
    payload.extend([1, 0, 0, 0xff, 0xff]);
    payload.extend(adler(data).to_be_bytes());
    payload
}

/// A stored block of at most 65535 bytes; a longer one loses its rest.
fn stored(data: &[u8], last: bool) -> Vec<u8> {
    let len = u16::try_from(data.len()).unwrap_or(u16::MAX);
    let mut block = vec![u8::from(last)];
    block.extend(len.to_le_bytes());
    block.extend((!len).to_le_bytes());
    block.extend(&data[..usize::from(len)]);
    block
}

fn adler(data: &[u8]) -> u32 {
    let (a, b) = data.iter().fold((1_u32, 0_u32), |(a, b), &byte| {
        let a = (a + u32::from(byte)) % 65521;
        (a, (a + b) % 65521)
    });
    b << 16 | a
}

/// Changes what only zlib payloads have. Returns by how many bytes the decoded length grew.
pub fn change(random: &mut Random, payload: &mut Vec<u8>) -> usize {
    if payload.len() < 8 {
        return 0;
    }
    match random.below(13) {
        // Any header; four in five with a right FCHECK.
        0 => {
            payload[0] = random.byte();
            payload[1] = random.byte();
            if random.percent(80) {
                let word = usize::from(payload[0]) * 256 + usize::from(payload[1] & 0xe0);
                let check = (31 - word % 31) % 31;
                payload[1] = payload[1] & 0xe0 | u8::try_from(check).unwrap();
            }
        }
        // A right header of another level, or of a smaller window.
        1 => payload[1] = *random.pick(&[0x01, 0x5e, 0x9c, 0xda]),
        2 | 9 => {
            let cmf = u8::try_from(random.below(8)).unwrap() << 4 | 8;
            payload[0] = cmf;
            payload[1] = u8::try_from(31 - usize::from(cmf) * 256 % 31).unwrap();
        }
        // The trailer: wrong, shortened, gone.
        3 => {
            let at = payload.len() - 1 - random.below(4);
            payload[at] ^= random.byte() | 1;
        }
        4 => payload.truncate(payload.len() - random.within(1..=4)),
        // Stored data in front, so that the payload ends exactly with a sector, or near it.
        5 | 6 | 10 => {
            let to = payload.len() % 4096;
            let space = (8192 - 5 - to) % 4096;
            let len = (space + *random.pick(&[0, 0, 0, 1, 4, 4092, 4095])) % 4096;
            let data = data::bytes(random, len);
            payload.splice(2..2, stored(&data, false));
            return len;
        }
        // Empty stored blocks in front.
        7 | 11 => {
            let number = *random.pick(&[1, 2, 50, 700, 812, 815, 820, 1000]);
            payload.splice(2..2, [0, 0, 0, 0xff, 0xff].repeat(number));
        }
        // A block that is cut off, or has another after it, inside.
        12 => {
            let (blocks, len) = by_hand::blocks(random, 3000);
            let keep = random.within(2..=payload.len());
            payload.truncate(keep);
            payload.extend(blocks);
            return len;
        }
        // No header, or that of gzip.
        _ => {
            payload.drain(..2);
            if random.percent(50) {
                payload.splice(0..0, [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3]);
            }
        }
    }
    0
}
