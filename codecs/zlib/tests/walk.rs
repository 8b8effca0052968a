//! The walk: complete, and right about hand-made streams.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)] // a failing test may panic

use btrfs_payload_zlib::{
    CodeSet, Decoder, Encoder, Event, FaultKind, Flaw, Kind, Level, Options, SetFlaw, Structure,
    Walk, walk,
};
use quickcheck::quickcheck;

/// Walks, checks that the pieces cover the payload, and returns pieces and faults.
fn explain(payload: &[u8], limit: usize) -> (Walk, Vec<Kind>, Vec<(u64, FaultKind)>) {
    let (mut kinds, mut faults, mut bit) = (Vec::new(), Vec::new(), 0);
    let walk = walk(payload, limit, &mut |event| match event {
        Event::Piece(piece) => {
            assert_eq!(piece.bits.start, bit, "gap or overlap before {piece:?}");
            assert!(piece.bits.end > bit, "empty {piece:?}");
            bit = piece.bits.end;
            assert!(!piece.kind.to_string().is_empty());
            kinds.push(piece.kind);
        }
        Event::Fault(fault) => {
            assert!(fault.offset <= payload.len() as u64);
            assert!(!fault.kind.to_string().is_empty());
            faults.push((fault.offset, fault.kind));
        }
        _ => {}
    });
    assert_eq!(bit, payload.len() as u64 * 8);
    assert_eq!(walk.faults, faults.len());
    (walk, kinds, faults)
}

fn faults(payload: &[u8]) -> Vec<(u64, FaultKind)> {
    explain(payload, 131_072).2
}

/// Bits, least significant first, into bytes.
#[derive(Default, Clone)]
struct BitWriter {
    bytes: Vec<u8>,
    used: usize,
}

impl BitWriter {
    /// A number, lowest bit first.
    fn number(&mut self, value: u32, count: u32) -> &mut Self {
        for bit in 0..count {
            if self.used.is_multiple_of(8) {
                self.bytes.push(0);
            }
            *self.bytes.last_mut().unwrap() |= u8::from(value >> bit & 1 == 1) << (self.used % 8);
            self.used += 1;
        }
        self
    }

    /// A Huffman code, highest bit first.
    fn code(&mut self, code: &str) -> &mut Self {
        for bit in code.bytes() {
            self.number(u32::from(bit == b'1'), 1);
        }
        self
    }
}

/// Header, the given deflate data, and the adler32 of `data`.
fn stream(deflate: &BitWriter, data: &[u8]) -> Vec<u8> {
    let (mut a, mut b) = (1_u32, 0_u32);
    for &byte in data {
        a = (a + u32::from(byte)) % 65521;
        b = (b + a) % 65521;
    }
    let mut payload = vec![0x78, 0x01];
    payload.extend(&deflate.bytes);
    payload.extend((b << 16 | a).to_be_bytes());
    payload
}

/// A dynamic block header for 257 + `lens.len() - 257` codes given one by one: every length is
/// written with a 4-bit code (lengths 0 to 15 have codes 0000 to 1111).
fn dynamic(bits: &mut BitWriter, litlen: &[u8], distance: &[u8]) {
    bits.number(1, 1).number(2, 2);
    bits.number(u32::try_from(litlen.len() - 257).unwrap(), 5);
    bits.number(u32::try_from(distance.len() - 1).unwrap(), 5);
    bits.number(15, 4);
    // Order 16, 17, 18, 0, 8, ...: no repetitions, sixteen codes of four bits.
    for symbol in 0..19 {
        bits.number(if symbol < 3 { 0 } else { 4 }, 3);
    }
    for &len in litlen.iter().chain(distance) {
        bits.code(&format!("{len:04b}"));
    }
}

/// Code lengths with some symbols set.
fn lens(count: usize, set: &[(usize, u8)]) -> Vec<u8> {
    let mut lens = vec![0; count];
    for &(symbol, len) in set {
        lens[symbol] = len;
    }
    lens
}

#[test]
fn a_stream_of_all_block_types_is_named_piece_by_piece() {
    let mut bits = BitWriter::default();
    bits.number(0, 3).number(0, 5); // stored
    bits.number(2, 16)
        .number(0xfffd, 16)
        .number(u32::from(b'a'), 8)
        .number(u32::from(b'b'), 8);
    bits.number(2, 3).code("10010001").code("0000000"); // fixed: 'a', end of block
    // Dynamic: 'c' is 0, 256 is 10, 257 (length 3) is 11; distance 1 is 0.
    dynamic(&mut bits, &lens(258, &[(99, 1), (256, 2), (257, 2)]), &[1]);
    bits.code("0").code("11").code("0").code("10");
    let payload = stream(&bits, b"abacccc");
    let (walk, kinds, faults) = explain(&payload, 100);
    assert_eq!(faults, []);
    assert_eq!(walk.decoded, b"abacccc");
    assert_eq!(
        (walk.blocks, walk.farthest, walk.consumed),
        (3, 1, payload.len())
    );
    assert!(walk.ended && !walk.limited && walk.adler_stored == walk.adler_computed);
    let words: Vec<_> = kinds.iter().map(ToString::to_string).collect();
    assert_eq!(
        words,
        [
            "header, method 8, window 32768, level 0",
            "stored block",
            "bits up to the byte boundary",
            "stored length 2 and its complement",
            "stored bytes",
            "fixed Huffman block",
            "1 literals and 0 matches, 1 bytes out",
            "end of block",
            "dynamic Huffman block, last",
            "258 literal/length and 1 distance codes",
            "1 literals and 1 matches, 4 bytes out",
            "end of block",
            "bits up to the byte boundary",
            &format!("adler32 {:#010x}", walk.adler_stored.unwrap()),
        ]
    );
    let mut out = [0; 7];
    assert_eq!(Decoder::new().decode(&payload, &mut out), Ok(7));
}

#[test]
fn broken_code_sets() {
    let broken = |litlen: &[u8], distance: &[u8]| {
        let mut bits = BitWriter::default();
        dynamic(&mut bits, litlen, distance);
        let payload = stream(&bits, b"");
        let mut out = [0; 10];
        assert!(Decoder::new().decode(&payload, &mut out).is_err());
        faults(&payload)[0].1
    };
    let set = |flaw| FaultKind::Deflate(Flaw::Set(flaw));
    assert_eq!(
        broken(&lens(257, &[(0, 1), (1, 1), (256, 1)]), &[0]),
        set(SetFlaw::OverSubscribed(CodeSet::LitLen))
    );
    assert_eq!(
        broken(&lens(257, &[(0, 2), (256, 2)]), &[0]),
        set(SetFlaw::Incomplete(CodeSet::LitLen))
    );
    assert_eq!(
        broken(&lens(257, &[(0, 1), (256, 1)]), &[1, 1, 1]),
        set(SetFlaw::OverSubscribed(CodeSet::Distance))
    );
    assert_eq!(
        broken(&lens(257, &[(0, 1), (256, 1)]), &[2]),
        set(SetFlaw::Incomplete(CodeSet::Distance))
    );
    assert_eq!(
        broken(&lens(287, &[(0, 1), (256, 1)]), &[0]),
        FaultKind::Deflate(Flaw::TooManyCodes {
            litlen: 287,
            distance: 1
        })
    );
    assert_eq!(
        broken(&lens(257, &[(0, 1), (256, 1)]), &[0; 31]),
        FaultKind::Deflate(Flaw::TooManyCodes {
            litlen: 257,
            distance: 31
        })
    );
    assert_eq!(
        broken(&lens(257, &[(0, 1), (1, 1)]), &[0]),
        FaultKind::NoEndOfBlock
    );
}

#[test]
fn patterns_without_meaning() {
    // The one distance code is 0; libdeflate takes 1 for it, zlib and kernels do not.
    let mut bits = BitWriter::default();
    dynamic(&mut bits, &lens(258, &[(0, 1), (256, 2), (257, 2)]), &[1]);
    bits.code("0").code("11").code("1").code("10");
    let payload = stream(&bits, &[0; 4]);
    let mut out = [9; 4];
    assert_eq!(
        libdeflater::Decompressor::new().zlib_decompress(&payload, &mut out),
        Ok(4)
    );
    assert!(Decoder::new().decode(&payload, &mut out).is_err());
    assert_eq!(
        faults(&payload)[0].1,
        FaultKind::Deflate(Flaw::DistanceSymbol)
    );

    // Distance symbol 30 and length symbol 286 of the fixed codes.
    for (bits, flaw) in [
        (
            BitWriter::default()
                .number(3, 3)
                .code("00110000")
                .code("0000001")
                .code("11110"),
            Flaw::DistanceSymbol,
        ),
        (
            BitWriter::default().number(3, 3).code("11000110"),
            Flaw::LitLenSymbol,
        ),
    ] {
        bits.number(0, 12);
        assert_eq!(faults(&stream(bits, b""))[0].1, FaultKind::Deflate(flaw));
    }
}

#[test]
fn broken_blocks_and_distances() {
    let first = |bits: &mut BitWriter| faults(&stream(bits, b""))[0];
    assert_eq!(
        first(BitWriter::default().number(7, 3)),
        (2, FaultKind::Deflate(Flaw::BlockType))
    );
    assert_eq!(
        first(
            BitWriter::default()
                .number(1, 8)
                .number(5, 16)
                .number(5, 16)
        ),
        (3, FaultKind::Deflate(Flaw::StoredLen { len: 5, nlen: 5 }))
    );
    // A match of 3 at distance 1 before any output: noted, and the walk goes on to the end.
    let mut bits = BitWriter::default();
    bits.number(3, 3)
        .code("0000001")
        .code("00000")
        .code("0000000");
    let (walk, _, faults) = explain(&stream(&bits, &[0, 0, 0]), 100);
    assert_eq!(
        faults,
        [(
            2,
            FaultKind::TooFarBack {
                distance: 1,
                available: 0,
                matches: 1
            }
        )]
    );
    assert!(walk.ended);
    assert_eq!(walk.decoded, [0, 0, 0]);
}

#[test]
fn headers_and_other_formats() {
    let mut sound = Vec::new();
    let data: Vec<u8> = (0..3000_u32)
        .map(|n| n.to_le_bytes()[0] % 50 * (n.to_le_bytes()[1] % 5 + 1))
        .collect();
    Encoder::new(Options::new(Level::numbered(6).unwrap()))
        .unwrap()
        .encode(&data, &mut sound)
        .unwrap();
    assert_eq!(faults(&sound), []);
    let with = |cmf, flg| {
        let mut payload = sound.clone();
        (payload[0], payload[1]) = (cmf, flg);
        let (walk, _, faults) = explain(&payload, 131_072);
        (walk.decoded == data, faults)
    };
    assert_eq!(
        with(0x78, 0x9d),
        (true, vec![(0, FaultKind::HeaderCheck { got: 0x789d })])
    );
    assert_eq!(
        with(0x79, 0x9b),
        (
            false,
            vec![
                (0, FaultKind::HeaderCheck { got: 0x799b }),
                (0, FaultKind::Method { got: 9 })
            ]
        )
    );
    assert_eq!(
        with(0x88, 0x1c),
        (true, vec![(0, FaultKind::WindowSize { got: 8 })])
    );
    assert_eq!(with(0x1f, 0x8b), (false, vec![(0, FaultKind::Gzip)]));
    assert_eq!(
        faults(&sound[2..sound.len() - 4]),
        [(0, FaultKind::RawDeflate)]
    );

    let cut = |len| faults(&sound[..len]);
    assert_eq!(cut(0), [(0, FaultKind::Empty)]);
    assert_eq!(
        cut(1),
        [(
            1,
            FaultKind::Truncated {
                within: Structure::Header
            }
        )]
    );
    assert_eq!(cut(2), [(2, FaultKind::NoFinalBlock)]);
    let end = sound.len();
    for missing in 1..=4 {
        let within = Structure::Adler32;
        let offset = (end - missing) as u64;
        assert_eq!(
            cut(end - missing),
            [(offset, FaultKind::Truncated { within })]
        );
    }

    let mut damaged = sound.clone();
    damaged[end - 1] ^= 1;
    assert!(
        matches!(faults(&damaged)[..], [(at, FaultKind::Checksum { .. })] if at == end as u64 - 4)
    );
    let mut twice = sound.clone();
    twice.extend(&sound);
    assert_eq!(
        faults(&twice),
        [(
            end as u64,
            FaultKind::Trailing {
                len: end,
                zero: false,
                stream: true
            }
        )]
    );
    let (walk, kinds, _) = explain(&sound, 100);
    assert!(walk.limited && walk.decoded == data[..100] && kinds.ends_with(&[Kind::Unexamined]));
}

/// `count` empty stored blocks.
fn empty_blocks(payload: &mut Vec<u8>, count: usize) {
    for _ in 0..count {
        payload.extend([0, 0, 0, 0xff, 0xff]);
    }
}

#[test]
fn input_without_output() {
    // In front of the data: 815 blocks of five bytes fill the first page but for its last
    // bytes, 4096 is reached within the next.
    for (count, silent) in [(700, false), (814, false), (819, true), (1700, true)] {
        let mut payload = vec![0x78, 0x01];
        empty_blocks(&mut payload, count);
        payload.extend([1, 1, 0, 0xfe, 0xff, b'x', 0, 0x79, 0, 0x79]);
        let faults = faults(&payload);
        assert_eq!(!faults.is_empty(), silent, "{count} {faults:?}");
        let mut decoder = Decoder::new();
        assert_eq!(decoder.decode(&payload, &mut [0; 9]), Ok(1));
        assert_eq!(decoder.may_stall(), silent || count == 814);
        if silent {
            assert_eq!(
                faults[0],
                (
                    0,
                    FaultKind::SilentChunk {
                        chunk: 4096,
                        decoded: 0
                    }
                )
            );
        }
    }
}

#[test]
fn windows() {
    // 5000 bytes, then a match that reaches 4900 back, in a declared window of 4096.
    let data: Vec<u8> = (0..5000_u32)
        .map(|n| ((n * n) >> 3).to_le_bytes()[0] ^ n.to_le_bytes()[1])
        .collect();
    let mut bits = BitWriter::default();
    bits.number(0, 8)
        .number(5000, 16)
        .number(!5000 & 0xffff, 16);
    for &byte in &data {
        bits.number(u32::from(byte), 8);
    }
    // Length 3, distance symbol 24 (4097, 11 extra bits).
    bits.number(3, 3)
        .code("0000001")
        .code("11000")
        .number(4900 - 4097, 11)
        .code("0000000");
    let mut payload = stream(&bits, &[&data[..], &data[100..103]].concat());
    assert_eq!(faults(&payload), []);
    payload[..2].copy_from_slice(&[0x48, 0x05 + 8]); // CINFO 4
    let found = faults(&payload);
    assert!(
        matches!(
            found[..],
            [(
                _,
                FaultKind::BeyondWindow {
                    distance: 4900,
                    window: 4096,
                    matches: 1,
                    is_unsafe: true
                }
            )]
        ),
        "{found:?}"
    );
    let mut out = vec![0; 6000];
    assert!(Decoder::new().decode(&payload, &mut out).is_err());
    payload[..2].copy_from_slice(&[0x58, 0x09]); // CINFO 5
    assert_eq!(faults(&payload), []);
    assert_eq!(Decoder::new().decode(&payload, &mut out), Ok(5003));
}

quickcheck! {
    fn anything_is_covered_to_the_bit(bytes: Vec<u8>, headed: bool, limit: u16) -> bool {
        let mut payload = if headed { vec![0x78, 0x5e] } else { vec![] };
        payload.extend(bytes);
        let (walk, _, _) = explain(&payload, usize::from(limit));
        walk.decoded.len() <= usize::from(limit)
    }

    fn the_strict_decoder_accepts_what_the_walk_has_no_fault_with(level: u32, data: Vec<u8>, flips: Vec<u16>, header: bool) -> bool {
        let mut payload = Vec::new();
        let data = [&data[..], &data[..], b"end"].concat();
        Encoder::new(Options::new(Level::numbered(level % 9 + 1).unwrap())).unwrap().encode(&data, &mut payload).unwrap();
        for &flip in flips.iter().take(3) {
            let bits = if header { 24 } else { payload.len() * 8 };
            let bit = usize::from(flip) % bits;
            payload[bit / 8] ^= 1 << (bit % 8);
        }
        let mut out = vec![0; 1000 + 2 * data.len()];
        let (walk, _, faults) = explain(&payload, out.len());
        match Decoder::new().decode(&payload, &mut out) {
            Ok(len) => faults.is_empty() && out[..len] == walk.decoded,
            Err(_) => !faults.is_empty() || walk.limited,
        }
    }
}
