//! Hand-made frames: what each part means, what each fault is called, what strict decoding says.
//!
//! The bytes follow RFC 8878; libzstd is the second opinion where a frame is well-formed.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use btrfs_payload_common::{Behaviour, End, Errno, Kernel, Machine};
use btrfs_payload_zstd::{DecodeError, Decoder, Event, Fault, FaultKind, Kind, kernel, walk};

/// Magic number and a single-segment header that declares `content` bytes.
fn start(content: u8) -> Vec<u8> {
    vec![0x28, 0xb5, 0x2f, 0xfd, 0x20, content]
}

/// The same with a window of 1 KiB, so that a block may be larger than its content.
fn start_wide(content: u32) -> Vec<u8> {
    let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd, 0x80, 0];
    frame.extend(content.to_le_bytes());
    frame
}

fn block(frame: &mut Vec<u8>, kind: u8, last: bool, size: usize, body: &[u8]) {
    let header = u32::try_from(size).unwrap() << 3 | u32::from(kind) << 1 | u32::from(last);
    frame.extend(&header.to_le_bytes()[..3]);
    frame.extend(body);
}

/// Pieces and faults; checks that the pieces cover the payload without gap.
fn explain(payload: &[u8]) -> (Vec<Kind>, Vec<Fault>, Vec<u8>) {
    let (mut kinds, mut faults, mut bit) = (vec![], vec![], 0);
    let walk = walk(payload, 131_072, &mut |event| match event {
        Event::Piece(piece) => {
            assert_eq!(piece.bits.start, bit, "gap or overlap");
            assert!(piece.bits.end > bit, "empty piece");
            bit = piece.bits.end;
            kinds.push(piece.kind);
        }
        Event::Fault(fault) => faults.push(fault),
        _ => {}
    });
    assert_eq!(bit, 8 * u64::try_from(payload.len()).unwrap());
    assert_eq!(walk.faults, faults.len());
    (kinds, faults, walk.decoded)
}

fn faults(payload: &[u8]) -> Vec<FaultKind> {
    explain(payload)
        .1
        .into_iter()
        .map(|fault| fault.kind)
        .collect()
}

fn strict(payload: &[u8]) -> Result<Vec<u8>, DecodeError> {
    let mut out = vec![0; 131_072];
    let len = Decoder::new().unwrap().decode(payload, &mut out)?;
    out.truncate(len);
    Ok(out)
}

#[test]
fn raw_and_rle_blocks() {
    let mut frame = start(8);
    block(&mut frame, 0, false, 3, b"abc");
    block(&mut frame, 1, true, 5, b"z");
    assert_eq!(strict(&frame).unwrap(), b"abczzzzz");
    let (kinds, faults, decoded) = explain(&frame);
    assert_eq!(decoded, b"abczzzzz");
    assert!(faults.is_empty());
    assert_eq!(kinds.len(), 7);
    assert_eq!(kinds[4], Kind::RawBlock);
    assert_eq!(kinds[6], Kind::RleBlock { times: 5 });
}

/// Raw literals "abcd" and two sequences with predefined tables would need hand-packed bits; an
/// RLE table of each kind needs only those of the values.
#[test]
fn sequences_with_tables_of_one_symbol() {
    // Literals: raw, 4 bytes. One sequence; modes RLE, RLE, RLE: literal length 4, offset code 2
    // (two further bits on top of 1), match length 3 + 4.
    let mut body = vec![4 << 3];
    body.extend(b"abcd");
    body.extend([1, 0b0101_0100, 4, 2, 4]);
    // The highest set bit ends the stream; below it the two offset bits, 11: offset 1 + 3 = 4.
    body.push(0b0000_0111);
    let mut frame = start_wide(11);
    block(&mut frame, 2, true, body.len(), &body);
    assert_eq!(strict(&frame).unwrap(), b"abcdabcdabc");
    let (kinds, faults, decoded) = explain(&frame);
    assert_eq!(faults, []);
    assert_eq!(decoded, b"abcdabcdabc");
    assert!(kinds.contains(&Kind::Bitstream { count: 1 }));

    // A second block repeats the tables; its offset bits 00 mean offset 1.
    let mut frame = start_wide(22);
    block(&mut frame, 2, false, body.len(), &body);
    let mut second = vec![4 << 3];
    second.extend(b"wxyz");
    second.extend([1, 0b1111_1100, 0b0000_0100]);
    block(&mut frame, 2, true, second.len(), &second);
    assert_eq!(strict(&frame).unwrap(), b"abcdabcdabcwxyzzzzzzzz");

    // The same with nothing to repeat.
    let mut frame = start_wide(11);
    block(&mut frame, 2, true, second.len(), &second);
    assert!(matches!(
        faults_of(&frame)[..],
        [FaultKind::NoTable { .. }, ..]
    ));

    // An offset of 4 with three literals before it.
    let mut short = vec![3 << 3];
    short.extend(b"abc");
    short.extend([1, 0b0101_0100, 3, 2, 4, 0b0000_0111]);
    let mut frame = start_wide(10);
    block(&mut frame, 2, true, short.len(), &short);
    assert!(matches!(
        faults_of(&frame)[..],
        [
            FaultKind::OffsetBeyondStart {
                sequence: 1,
                offset: 4,
                available: 3
            },
            ..
        ]
    ));
}

fn faults_of(payload: &[u8]) -> Vec<FaultKind> {
    let found = faults(payload);
    assert!(strict(payload).is_err(), "a fault, and yet strictly fine");
    found
}

/// Two symbols of weight 1: 'a' is code 0, 'b' code 1 (direct weights up to symbol 97, implied
/// last). One stream of eight literals: "abbabaab" from the last bit down.
fn huffman_block(treeless: bool) -> Vec<u8> {
    let mut tree = vec![127 + 98];
    tree.extend([0; 48]);
    tree.push(0x01); // symbols 96 and 97
    let stream = [0b0110_1001, 1];
    let stored = stream.len() + if treeless { 0 } else { tree.len() };
    let kind = if treeless { 3 } else { 2 };
    let header = kind | 8 << 4 | u32::try_from(stored).unwrap() << 14;
    let mut body = header.to_le_bytes()[..3].to_vec();
    if !treeless {
        body.extend(&tree);
    }
    body.extend(stream);
    body.push(0);
    body
}

#[test]
fn huffman_and_treeless_literals() {
    let mut frame = start_wide(16);
    let body = huffman_block(false);
    block(&mut frame, 2, false, body.len(), &body);
    let again = huffman_block(true);
    block(&mut frame, 2, true, again.len(), &again);
    assert_eq!(strict(&frame).unwrap(), b"abbabaababbabaab");
    let (kinds, _, _) = explain(&frame);
    assert!(kinds.contains(&Kind::Tree {
        symbols: 99,
        bits: 1
    }));

    let mut frame = start_wide(8);
    block(&mut frame, 2, true, again.len(), &again);
    assert_eq!(faults_of(&frame)[0], FaultKind::NoTree);

    // One bit more in the stream than literals take.
    let mut longer = body;
    let len = longer.len();
    longer[len - 2] = 2;
    let mut frame = start_wide(8);
    block(&mut frame, 2, true, longer.len(), &longer);
    assert_eq!(faults_of(&frame)[0], FaultKind::StreamLength { stream: 1 });
}

#[test]
fn every_fault_of_the_frame_is_named() {
    let sound = || {
        let mut frame = start(3);
        block(&mut frame, 0, true, 3, b"abc");
        frame
    };
    let with = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut frame = sound();
        change(&mut frame);
        faults_of(&frame)
    };
    use FaultKind as F;
    assert_eq!(faults(&sound()), []);
    assert_eq!(
        with(&|f| f.truncate(2)),
        [F::TruncatedMagic { available: 2 }]
    );
    assert_eq!(with(&|f| f[0] = 0), [F::WrongMagic { got: 0xfd2f_b500 }]);
    assert_eq!(with(&|f| f[0] = 0x27), [F::LegacyFrame { minor: 7 }]);
    assert_eq!(with(&|f| drop(f.drain(..4))), [F::Magicless]);
    assert_eq!(
        with(&|f| f.splice(..0, [0x78, 0x9c]).for_each(drop)),
        [F::OtherFormat { format: "zlib" }]
    );
    assert_eq!(
        with(&|f| f
            .splice(..0, [0x5f, 0x2a, 0x4d, 0x18, 1, 0, 0, 0, 9])
            .for_each(drop)),
        [F::SkippableFirst { size: 1 }, F::SecondFrame { len: 12 }]
    );
    assert_eq!(
        with(&|f| f.truncate(5)),
        [F::TruncatedHeader {
            needed: 6,
            available: 5
        }]
    );
    assert_eq!(with(&|f| f[4] |= 8), [F::ReservedBit]);
    assert_eq!(with(&|f| f[4] |= 0x10), [F::UnusedBit]);
    assert_eq!(
        with(&|f| {
            f[4] = 0;
            f[5] = 0x3f;
        }),
        [F::WindowTooLarge { window: 245_760 }, F::ContentSizeAbsent]
    );
    assert_eq!(
        with(&|f| {
            f[4] = 0;
            f[5] = 22 << 3;
        }),
        [F::WindowLog { log: 32 }]
    );
    assert_eq!(
        with(&|f| {
            f[4] |= 1;
            f.insert(5, 7);
        }),
        [F::DictionaryId { id: 7 }]
    );
    assert_eq!(
        with(&|f| {
            f[4] |= 1;
            f.insert(5, 0);
        }),
        [F::DictionaryIdZero { width: 1 }]
    );
    assert_eq!(
        with(&|f| f[5] = 4),
        [F::ContentSizeWrong {
            declared: 4,
            decoded: 3
        }]
    );
    assert_eq!(
        with(&|f| f[5] = 2),
        [
            F::BlockTooLarge { size: 3, max: 2 },
            F::ContentSizeWrong {
                declared: 2,
                decoded: 3
            }
        ]
    );
    assert_eq!(with(&|f| f[6] |= 6), [F::ReservedBlock]);
    assert_eq!(with(&|f| f[6] &= !1), [F::NoLastBlock]);
    assert_eq!(
        with(&|f| f.truncate(8)),
        [F::TruncatedBlockHeader { available: 2 }]
    );
    assert_eq!(
        with(&|f| f.truncate(10)),
        [F::TruncatedBlock {
            needed: 3,
            available: 1
        }]
    );
    assert_eq!(
        with(&|f| f[4] |= 4),
        [F::TruncatedChecksum { available: 0 }]
    );
    assert!(matches!(
        with(&|f| {
            f[4] |= 4;
            f.extend([0; 4]);
        })[..],
        [F::ChecksumWrong { got: 0, .. }]
    ));
    assert_eq!(with(&|f| f.push(1)), [F::Trailing { len: 1 }]);
    assert_eq!(with(&|f| f.extend(sound())), [F::SecondFrame { len: 12 }]);
    assert_eq!(
        with(&|f| f.extend([0x50, 0x2a, 0x4d, 0x18, 0, 0, 0, 0])),
        [F::SkippableBehind { len: 8 }]
    );
    let mut empty = start(0);
    block(&mut empty, 0, true, 0, b"");
    assert_eq!(faults_of(&empty), [F::EmptyFrame]);
}

/// The checksum of "abc" as `xxhsum -H64` gives it, low half first.
#[test]
fn checksum_is_the_low_half_of_xxh64() {
    let mut frame = start(3);
    frame[4] |= 4;
    block(&mut frame, 0, true, 3, b"abc");
    frame.extend(0xad77_0999_u32.to_le_bytes());
    assert_eq!(faults(&frame), []);
    assert_eq!(strict(&frame).unwrap(), b"abc");
}

/// Several faults in one payload are all reported.
#[test]
fn faults_do_not_hide_each_other() {
    let mut frame = start(5);
    frame[4] |= 0x14;
    block(&mut frame, 0, true, 3, b"abc");
    frame.extend([1, 2, 3, 4, 5]);
    let found = faults(&frame);
    assert_eq!(found.len(), 4, "{found:?}");
}

/// What kernel-behaviour tables say of the plainest cases (measured on Linux 6.18).
#[test]
fn kernels_on_the_plainest_cases() {
    let machine = |kernel| Machine {
        kernel,
        sector_size: 4096,
        page_size: 4096,
    };
    let mut frame = start(8);
    block(&mut frame, 0, false, 3, b"abc");
    block(&mut frame, 1, true, 5, b"z");
    let mut padded = frame.clone();
    padded.resize(4096, 0);
    let mut out = vec![];
    for kernel in Kernel::ALL {
        let machine = machine(kernel);
        let reading = kernel::regular(&padded, 4096, &machine, &mut out);
        assert_eq!((reading.end, &out[..]), (End::Complete, &b"abczzzzz"[..]));
        let reading = kernel::inline(&frame, 8, &machine, &mut out);
        assert_eq!((reading.end, &out[..]), (End::Complete, &b"abczzzzz"[..]));
        // One byte more wanted than there is: old kernels show what their buffer held.
        let reading = kernel::inline(&frame, 9, &machine, &mut out);
        let expected = match kernel.has(Behaviour::InlineZstdAtOnce) {
            true => End::Error(Errno::Eio),
            false => End::Uninitialised,
        };
        assert_eq!(reading.end, expected);
        // A skippable frame first hides the rest.
        let mut hidden = vec![0x50, 0x2a, 0x4d, 0x18, 0, 0, 0, 0];
        hidden.extend(&frame);
        hidden.resize(4096, 0);
        let reading = kernel::regular(&hidden, 4096, &machine, &mut out);
        assert_eq!((reading.end, out.len()), (End::Complete, 0));
    }
}
