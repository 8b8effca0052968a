//! Payloads written out byte by byte, and what each module says of them.
//!
//! The bytes follow from the instruction table of LZO1X; what readers do with the payloads was
//! seen on real kernels.

#![allow(clippy::unwrap_used)] // helpers of tests are tests too

use btrfs_payload_common::{End, Errno, Kernel, Machine};
use btrfs_payload_lzo::lzo1x::{self, Fault};
use btrfs_payload_lzo::{DecodeError, Decoder, Event, FaultKind, kernel, receive, walk};

const END: [u8; 3] = [17, 0, 0];

/// The readers' verdicts on one segment: strict, kernel, liblzo2.
fn three(segment: &[u8]) -> [Result<Vec<u8>, Fault>; 3] {
    [
        lzo1x::decode,
        lzo1x::decode_as_kernel,
        lzo1x::decode_as_liblzo,
    ]
    .map(|decode| {
        let mut out = [0; 4096];
        decode(segment, &mut out, 4096)
            .map(|got| out[..got].to_vec())
            .map_err(|error| error.fault)
    })
}

fn all(segment: &[u8], expected: Result<&[u8], Fault>) {
    for got in three(segment) {
        assert_eq!(got.as_deref(), expected.as_deref(), "{segment:02x?}");
    }
}

fn with_end(code: &[u8]) -> Vec<u8> {
    [code, &END].concat()
}

#[test]
fn every_instruction() {
    // First byte: 17 + 3 literals; then nothing.
    all(&with_end(b"\x14abc"), Ok(b"abc"));
    // The two-byte match after few literals: 2 bytes from 3 back, one literal after it.
    all(&with_end(b"\x14abc\x09\x00d"), Ok(b"abcabd"));
    // The same byte after four literals and more: 3 bytes from 2049 + 2 back, too far here.
    all(
        &with_end(b"\x15abcd\x08\x00"),
        Err(Fault::LookbehindOverrun),
    );
    // 3 bytes from 1 back, overlapping itself.
    all(&with_end(b"\x15abcd\x40\x00"), Ok(b"abcdddd"));
    // 8 bytes from 4 back and two literals.
    all(&with_end(b"\x15abcd\xee\x00xy"), Ok(b"abcdabcdabcdxy"));
    // Form 001: 5 bytes from 2 back; with extension 33 + 1 bytes from 1 back.
    all(&with_end(b"\x15abcd\x23\x04\x00"), Ok(b"abcdcdcdc"));
    let mut long = b"abcd".to_vec();
    long.extend([b'd'; 34]);
    all(&with_end(b"\x15abcd\x20\x01\x00\x00"), Ok(&long));
    long.extend([b'd'; 255]);
    all(&with_end(b"\x15abcd\x20\x00\x01\x00\x00"), Ok(&long));
    // A run of 4 literals after a match, and one of 18 + 2 at the start.
    all(&with_end(b"\x15abcd\x40\x00\x01wxyz"), Ok(b"abcddddwxyz"));
    all(
        &with_end(b"\x00\x02abcdefghijklmnopqrst"),
        Ok(b"abcdefghijklmnopqrst"),
    );
    // The end marker alone; its two literal bits are looked at by nobody.
    all(&END, Ok(b""));
    all(&[17, 3, 0], Ok(b""));
}

#[test]
fn the_far_form_starts_at_16385() {
    let mut out = vec![0; 20_000];
    // "ab", then a run: 16383 more from 1 back = 33 + 255 * 64 + 30.
    let mut code = b"\x13ab\x20".to_vec();
    code.extend([0; 64]);
    code.extend([30, 0, 0]);
    // 3 bytes from 16384 + 1 back: the very first byte is 'a'.
    code.extend([0x11, 4, 0]);
    let got = lzo1x::decode(&with_end(&code), &mut out, 20_000).unwrap();
    assert_eq!(got, 2 + 16_383 + 3);
    assert_eq!(&out[got - 4..got], b"babb");
}

#[test]
fn wrong_segments() {
    all(&[], Err(Fault::NoEndMarker));
    all(&[17, 0], Err(Fault::InputOverrun));
    all(b"\x14abc", Err(Fault::NoEndMarker));
    all(b"\x14ab", Err(Fault::InputOverrun));
    all(b"\x14abc\x11\x00", Err(Fault::InputOverrun));
    all(b"\x14abc\x20\x00\x00", Err(Fault::InputOverrun));
    all(
        &with_end(b"\x15abcd\x40\x01"),
        Err(Fault::LookbehindOverrun),
    );
    all(
        b"\x14abc\x11\x00\x00\x00",
        Err(Fault::BehindEndMarker { got: 1 }),
    );
    // 4096 literals fill the room, one byte more does not fit.
    let mut code = vec![0];
    code.extend([0; 15]);
    code.push(253);
    code.extend([7; 4096]);
    all(&with_end(&code), Ok(&[7; 4096]));
    code[16] = 254;
    code.push(7);
    all(&with_end(&code), Err(Fault::OutputOverrun));
}

#[test]
fn where_the_readers_differ() {
    // End marker with length field 2 + 2 = 4.
    assert_eq!(
        three(b"\x14abc\x12\x00\x00"),
        [
            Err(Fault::EndMarker { got: 4 }),
            Err(Fault::EndMarker { got: 4 }),
            Ok(b"abc".to_vec())
        ]
    );
    // Run-length marker, version 0: plain LZO1X after it.
    let marker = Err(Fault::RunLengthMarker { version: 0 });
    assert_eq!(
        three(b"\x11\x00\x14abc\x11\x00\x00"),
        [marker, Ok(b"abc".to_vec()), Err(Fault::LookbehindOverrun)]
    );
    // Version 1: 3 * 8 + 1 + 4 zeroes and two literals.
    let mut zeroes = b"abc".to_vec();
    zeroes.extend([0; 29]);
    zeroes.extend(b"xy");
    assert_eq!(
        three(b"\x11\x01\x14abc\x19\xfe\xff\x03xy\x11\x00\x00"),
        [
            Err(Fault::RunLengthMarker { version: 1 }),
            Ok(zeroes),
            Err(Fault::LookbehindOverrun),
        ]
    );
    // The same instruction without a version is a match from 49151 back.
    assert_eq!(
        three(b"\x11\x00\x14abc\x19\xfe\xff\x03xy\x11\x00\x00")[1],
        Err(Fault::LookbehindOverrun)
    );
}

/// A payload of the given segments without any care for sectors.
fn payload(segments: &[&[u8]]) -> Vec<u8> {
    let field = |n: usize| u32::try_from(n).unwrap().to_le_bytes();
    let mut payload = vec![0; 4];
    for segment in segments {
        payload.extend(field(segment.len()));
        payload.extend(*segment);
    }
    let total = field(payload.len());
    payload[..4].copy_from_slice(&total);
    payload
}

/// A segment of `count` (19 to 273) literals.
fn literals(count: usize) -> Vec<u8> {
    let mut code = vec![0, u8::try_from(count - 18).unwrap()];
    code.extend(vec![b'x'; count]);
    with_end(&code)
}

/// A segment that decodes to `count` bytes, 38 at least.
fn run(count: usize) -> Vec<u8> {
    // 4 literals, then a match of all the rest from 1 back, its length in an extension.
    let rest = count - 4 - 33;
    let mut code = b"\x15abcd\x20".to_vec();
    code.extend(vec![0; (rest - 1) / 255]);
    code.push(u8::try_from((rest - 1) % 255 + 1).unwrap());
    code.extend([0, 0]);
    with_end(&code)
}

/// A segment of a whole sector of 4096 bytes.
fn sector() -> Vec<u8> {
    run(4096)
}

fn faults(payload: &[u8]) -> Vec<(u64, FaultKind)> {
    let mut faults = Vec::new();
    let mut covered = 0;
    walk(payload, 4096, 131_072, &mut |event| match event {
        Event::Fault(fault) => faults.push((fault.offset, fault.kind)),
        Event::Piece(piece) => {
            assert_eq!(piece.bits.start, covered);
            covered = piece.bits.end;
        }
        _ => {}
    });
    assert_eq!(covered, 8 * u64::try_from(payload.len()).unwrap());
    faults
}

fn strict(payload: &[u8]) -> Result<usize, DecodeError> {
    Decoder::new(4096).decode(payload, &mut vec![0; 131_072])
}

fn regular(payload: &[u8], want: usize, kernel: Kernel) -> (End, usize) {
    let machine = Machine {
        kernel,
        sector_size: 4096,
        page_size: 4096,
    };
    let mut disk = payload.to_vec();
    disk.resize(payload.len().next_multiple_of(4096), 0);
    let mut out = Vec::new();
    let end = kernel::regular(&disk, want, &machine, &mut out).end;
    (end, out.len())
}

fn inline(payload: &[u8], want: usize, kernel: Kernel) -> (End, usize) {
    let machine = Machine {
        kernel,
        sector_size: 4096,
        page_size: 4096,
    };
    let mut out = Vec::new();
    let end = kernel::inline(payload, want, &machine, &mut out).end;
    (end, out.len())
}

const EIO: End = End::Error(Errno::Eio);
const EUCLEAN: End = End::Error(Errno::Euclean);

#[test]
fn a_sound_payload() {
    let good = payload(&[&sector(), &literals(100)]);
    assert_eq!(faults(&good), []);
    assert_eq!(strict(&good), Ok(4196));
    for kernel in Kernel::ALL {
        assert_eq!(regular(&good, 8192, kernel), (End::Complete, 4196));
        assert_eq!(inline(&good, 4096, kernel), (EUCLEAN, 0));
    }
    let mut out = Vec::new();
    assert_eq!(receive::fallback(&good, 5000, 4096, &mut out), Ok(()));
    assert_eq!(&out[4195..4197], b"x\0");
    assert_eq!(out.len(), 5000);
    // Less room than the data has is the undefined case.
    assert!(receive::fallback(&good, 4100, 4096, &mut out).is_err());
}

#[test]
fn totals() {
    let good = payload(&[&sector()]);
    let n = good.len();
    let with = |total: u32| {
        let mut bytes = good.clone();
        bytes[..4].copy_from_slice(&total.to_le_bytes());
        bytes
    };
    let zeroes = End::Complete;
    for kernel in Kernel::ALL {
        assert_eq!(regular(&with(0), 4096, kernel), (EIO, 0));
        for total in 1..=4 {
            assert_eq!(regular(&with(total), 4096, kernel), (zeroes, 0));
        }
        // A segment may run past the total, and the total past the payload.
        for total in [5, 20, 4096] {
            assert_eq!(regular(&with(total), 4096, kernel), (zeroes, 4096));
            assert_eq!(inline(&with(total), 4096, kernel), (EUCLEAN, 0));
        }
        assert_eq!(regular(&with(4097), 4096, kernel), (EIO, 0));
        assert_eq!(regular(&with(u32::MAX), 4096, kernel), (EIO, 0));
    }
    assert_eq!(
        faults(&with(3)).first(),
        Some(&(0, FaultKind::TotalTooShort { got: 3 }))
    );
    assert_eq!(
        faults(&with(20)),
        [(
            4,
            FaultKind::SegmentPastTotal {
                segment: 0,
                got: n,
                expected: 20
            }
        )]
    );
    assert_eq!(
        faults(&with(4097)),
        [
            (
                0,
                FaultKind::TotalPastPayload {
                    got: 4097,
                    expected: n
                }
            ),
            (
                0,
                FaultKind::TotalNotInLastSector {
                    got: 4097,
                    expected: 4096
                }
            )
        ]
    );
    let mut behind = good.clone();
    behind.extend([0; 7]);
    let offset = u64::try_from(n).unwrap();
    assert_eq!(
        faults(&behind),
        [(offset, FaultKind::ZeroesBehindTotal { got: 7 })]
    );
    behind[n + 6] = 1;
    assert_eq!(
        faults(&behind),
        [(offset, FaultKind::BytesBehindTotal { got: 7 })]
    );
    assert_eq!(
        strict(&behind),
        Err(DecodeError::Total {
            got: n,
            expected: n + 7
        })
    );
}

#[test]
fn segments_of_the_wrong_size() {
    let short = payload(&[&literals(100), &sector()]);
    assert_eq!(
        faults(&short),
        [(
            8,
            FaultKind::SegmentOutputShort {
                segment: 0,
                got: 100,
                expected: 4096
            }
        )]
    );
    assert!(matches!(
        strict(&short),
        Err(DecodeError::SegmentOutput { offset: 4, .. })
    ));
    assert_eq!(regular(&short, 8192, Kernel::V6_1), (End::Complete, 4196));
    // Short inline extents were filled up with zeroes by old kernels.
    let one = payload(&[&literals(100)]);
    assert_eq!(inline(&one, 200, Kernel::V6_1), (End::Complete, 100));
    assert_eq!(inline(&one, 200, Kernel::V6_12), (EIO, 0));
    assert_eq!(inline(&one, 50, Kernel::V7_2), (End::Complete, 50));

    // Up to 4421 decoded bytes are joined to the next segment's by kernels, and only by them.
    for (count, expected) in [
        (4097, (End::Complete, 4197)),
        (4421, (End::Complete, 4521)),
        (4422, (EIO, 0)),
    ] {
        let long = payload(&[&run(count), &literals(100)]);
        for kernel in Kernel::ALL {
            assert_eq!(regular(&long, 8192, kernel), expected);
        }
        assert!(receive::fallback(&long, 8192, 4096, &mut Vec::new()).is_err());
        assert!(strict(&long).is_err());
        assert!(!faults(&long).is_empty());
    }
}

#[test]
fn lengths_of_segments() {
    let good = payload(&[&sector(), &literals(100)]);
    let with = |length: u32| {
        let mut bytes = good.clone();
        bytes[4..8].copy_from_slice(&length.to_le_bytes());
        bytes
    };
    for length in [0, 1, 2, 4422, u32::MAX] {
        assert_eq!(regular(&with(length), 8192, Kernel::V6_12), (EIO, 0));
        assert!(matches!(
            strict(&with(length)),
            Err(DecodeError::SegmentLength { .. })
        ));
        assert!(!faults(&with(length)).is_empty());
    }
    // Up to the sector's end the padding on disk is decoded, after it nothing is defined.
    assert_eq!(regular(&with(4000), 8192, Kernel::V6_12), (EIO, 0));
    for kernel in Kernel::ALL {
        assert_eq!(regular(&with(4088), 8192, kernel).0, EIO);
        assert_eq!(regular(&with(4089), 8192, kernel).0, End::Unsafe);
        assert_eq!(regular(&with(4421), 8192, kernel).0, End::Unsafe);
    }
    assert!(faults(&with(4089)).iter().any(|(offset, kind)| {
        *offset == 4 && matches!(kind, FaultKind::SegmentPastDisk { got: 4097, .. })
    }));
    // The zero bytes of the end marker can come from the padding.
    let cut = &good[..good.len() - 2];
    assert_eq!(regular(cut, 8192, Kernel::V6_18), (End::Complete, 4196));
    assert!(strict(cut).is_err());
}

#[test]
fn padding_before_headers() {
    // Segments of 4096 literals: 4096 + 17 + 3 bytes, plus the header.
    let mut code = vec![0; 16];
    code.push(253);
    code.extend([b'x'; 4096]);
    let stored = with_end(&code);
    // The second header of a 4120-byte first segment is at 4 + 4 + 4116 = 4124: no padding.
    // A first segment that ends 3 bytes before the boundary needs them filled.
    let first = &stored[..];
    assert_eq!(first.len(), 4116);
    let second = literals(100);
    let mut third = sector();
    third.splice(0..5, b"\x15wxyz".iter().copied());
    // 8192 - 4124 - 4 = 4064 bytes of segment end at the boundary; one that long is made of
    // 4061 - 17 literals.
    for short in 1..=3_usize {
        let count = 4064 - short - 3 - 17;
        let mut code = vec![0; 16];
        code.push(u8::try_from(count - 18 - 15 * 255).unwrap());
        code.extend(vec![b'y'; count]);
        // Not a sector's worth, which is a fault of its own but not one of the padding.
        let middle = with_end(&code);
        let mut bytes = payload(&[first, &middle]);
        assert_eq!(bytes.len(), 8192 - short);
        bytes.extend(vec![0; short]);
        bytes.extend(u32::try_from(second.len()).unwrap().to_le_bytes());
        bytes.extend(&second);
        let total = u32::try_from(bytes.len()).unwrap().to_le_bytes();
        bytes[..4].copy_from_slice(&total);
        let decoded = 4096 + count + 100;
        assert_eq!(faults(&bytes).len(), 1);
        assert_eq!(
            walk(&bytes, 4096, 131_072, &mut |_| {}).paddings,
            1,
            "{short}"
        );
        for kernel in Kernel::ALL {
            assert_eq!(regular(&bytes, 12_288, kernel), (End::Complete, decoded));
        }
        // Not zero: skipped by the kernel, reported by the walker.
        bytes[8192 - short] = 1;
        assert_eq!(regular(&bytes, 12_288, Kernel::V7_2).1, decoded);
        let offset = u64::try_from(8192 - short).unwrap();
        assert!(faults(&bytes).contains(&(offset, FaultKind::PaddingNotZero { got: short })));
        // Across the boundary: not readable by anybody.
        let across = payload(&[first, &middle, &second]);
        assert!(faults(&across).contains(&(offset, FaultKind::HeaderStraddles { got: short })));
        assert_eq!(regular(&across, 12_288, Kernel::V7_2).0, EIO);
        assert!(receive::fallback(&across, 12_288, 4096, &mut Vec::new()).is_err());
    }
}

#[test]
fn inline_is_one_segment_exactly() {
    let good = payload(&[&sector()]);
    for kernel in Kernel::ALL {
        assert_eq!(inline(&good, 4096, kernel), (End::Complete, 4096));
        assert_eq!(inline(&good, 3000, kernel), (End::Complete, 3000));
        for cut in 0..good.len() {
            assert_eq!(inline(&good[..cut], 4096, kernel), (EUCLEAN, 0));
        }
        let mut longer = good.clone();
        longer.push(0);
        assert_eq!(inline(&longer, 4096, kernel), (EUCLEAN, 0));
        let two = payload(&[&literals(50), &literals(50)]);
        assert_eq!(inline(&two, 100, kernel), (EUCLEAN, 0));
    }
}

#[test]
fn limit_stops_the_walk() {
    let segment = sector();
    let bytes = payload(&[&segment[..]; 10]);
    let mut last = None;
    let summary = walk(&bytes, 4096, 8192, &mut |event| {
        if let Event::Piece(piece) = event {
            last = Some(piece.kind.to_string());
        }
    });
    assert!(!summary.complete);
    assert_eq!(summary.decoded.len(), 3 * 4096);
    assert_eq!(last.as_deref(), Some("not examined, output limit reached"));
}
