//! Agreement with libzstd 1.5.7, and round trips.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use btrfs_payload_common::{End, Kernel, Machine};
use btrfs_payload_zstd::layout::{FrameHeader, HeaderEnds};
use btrfs_payload_zstd::{Checksum, Decoder, Encoder, Event, Options, kernel, receive, walk};
use quickcheck::{Gen, QuickCheck, TestResult};
use zstd_safe::{CCtx, CParameter, DCtx, InBuffer, OutBuffer};

/// Data with matches, repeated bytes and skewed literals, from a seed.
fn data(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed | 1;
    let mut next = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33
    };
    let spread = 1 + next() % 255;
    let mut data: Vec<u8> = Vec::with_capacity(len + 64);
    while data.len() < len {
        let run = usize::try_from(next() % 40).unwrap();
        let have = data.len();
        match next() % 3 {
            0 if have > 0 => {
                let back = 1 + usize::try_from(next()).unwrap() % have;
                for _ in 0..run {
                    data.push(data[data.len() - back]);
                }
            }
            1 => data.extend(std::iter::repeat_n((next() % spread).to_le_bytes()[0], run)),
            _ => data
                .extend((0..run).map(|_| (next() % spread).min(next() % spread).to_le_bytes()[0])),
        }
    }
    data.truncate(len);
    data
}

/// All 256 descriptor bytes, with every kind of length, against `ZSTD_getFrameHeader`.
#[test]
fn every_descriptor_reads_as_libzstd_reads_it() {
    for descriptor in 0..=255u8 {
        for fill in [0x00, 0x01, 0x11, 0x50, 0x9f, 0xa8, 0xff] {
            let mut bytes = vec![0x28, 0xb5, 0x2f, 0xfd, descriptor];
            bytes.extend([fill; 14]);
            for len in 5..bytes.len() {
                let bytes = &bytes[..len];
                let ours = FrameHeader::parse(bytes);
                let theirs = zstd_safe::get_frame_content_size(bytes);
                let size = zstd_safe::get_dict_id_from_frame(bytes).map_or(0, |id| id.get());
                match ours {
                    Ok(header) => {
                        assert_eq!(theirs.ok().flatten(), header.known_size(), "{bytes:02x?}");
                        assert_eq!(size, header.dictionary_id.0, "{bytes:02x?}");
                        assert!(header.size() <= len);
                    }
                    Err(HeaderEnds::Truncated(needed)) => {
                        assert!(needed > len, "{bytes:02x?}");
                        assert!(theirs.is_err(), "{bytes:02x?}");
                    }
                    Err(_) => assert!(theirs.is_err(), "{bytes:02x?}"),
                }
            }
        }
    }
}

#[test]
fn every_level_keeps_to_the_contract() {
    let mut levels: Vec<i32> = (-8..=Encoder::max_level()).collect();
    levels.extend([Encoder::min_level(), Encoder::min_level() / 2, -1000, -64]);
    let mut decoder = Decoder::new().unwrap();
    let (mut payload, mut out) = (vec![], vec![0; 131_072]);
    for level in levels {
        let checksum = match level % 2 {
            0 => Checksum::Content,
            _ => Checksum::None,
        };
        let mut encoder = Encoder::new(Options::new(level).with_checksum(checksum)).unwrap();
        for len in [
            1, 2, 63, 1000, 1024, 4095, 4097, 16_383, 16_385, 65_537, 131_071, 131_072,
        ] {
            if level > 15 && len > 70_000 && len != 131_072 {
                continue;
            }
            let data = data(len as u64 * 31 + u64::from(level.unsigned_abs()), len);
            encoder.encode(&data, &mut payload).unwrap();
            let header = FrameHeader::parse(&payload).unwrap();
            assert!(header.window() <= 131_072, "level {level}, {len} bytes");
            assert_eq!(header.known_size(), Some(len as u64));
            assert_eq!(header.dictionary_id, (0, 0));
            assert_eq!(header.checksum(), level % 2 == 0);
            assert_eq!(decoder.decode(&payload, &mut out), Ok(len));
            assert_eq!(decoder.check(&payload, &mut out), Ok(len));
            assert!(out[..len] == data, "level {level}, {len} bytes");
        }
    }
    assert!(Encoder::new(Options::new(Encoder::max_level() + 1)).is_err());
    assert!(Encoder::new(Options::new(Encoder::min_level() - 1)).is_err());
    let mut encoder = Encoder::new(Options::new(3)).unwrap();
    assert!(encoder.encode(&[], &mut payload).is_err());
    assert!(encoder.encode(&[0; 131_073], &mut payload).is_err());
}

/// A frame with options an encoder of ours never uses.
fn frame(seed: u64, data: &[u8]) -> Vec<u8> {
    let mut context = CCtx::create();
    let level = [-20, -1, 1, 3, 6, 9, 13, 19][usize::try_from(seed % 8).unwrap()];
    for parameter in [
        CParameter::CompressionLevel(level),
        CParameter::ChecksumFlag(seed >> 8 & 1 == 1),
        CParameter::ContentSizeFlag(seed >> 9 & 3 != 1),
    ] {
        context.set_parameter(parameter).unwrap();
    }
    if seed >> 16 & 1 == 1 {
        let log = 10 + u32::try_from(seed >> 20 & 7).unwrap();
        context.set_parameter(CParameter::WindowLog(log)).unwrap();
    }
    let mut frame = Vec::with_capacity(zstd_safe::compress_bound(data.len()));
    context.compress2(&mut frame, data).unwrap();
    frame
}

fn damage(frame: &mut Vec<u8>, seeds: &[u32]) {
    for &seed in seeds {
        let len = frame.len();
        if len == 0 {
            return;
        }
        let at = usize::try_from(seed >> 6).unwrap() % len;
        match seed % 8 {
            0..=3 => frame[at] ^= 1 << (seed >> 3 & 7),
            4 => frame[at] = (seed >> 24).to_le_bytes()[0],
            5 => frame.truncate(len - at.min(16)),
            6 => drop(frame.remove(at)),
            _ => frame.insert(at, (seed >> 20).to_le_bytes()[0]),
        }
    }
}

/// What libzstd gives in the way of a regular extent of Linux 6.18; `None` on an error.
fn libzstd_regular(disk: &[u8], want: usize) -> Option<Vec<u8>> {
    let mut context = DCtx::create();
    let (mut piece, mut out) = (vec![0; 4096], vec![]);
    let mut chunks = disk.chunks(4096);
    let mut input = InBuffer::around(chunks.next()?);
    loop {
        let mut output = OutBuffer::around(&mut piece[..]);
        let hint = context.decompress_stream(&mut output, &mut input).ok()?;
        let len = output.pos().min(want - out.len());
        out.extend(&piece[..len]);
        let used = input.pos == input.src.len();
        if out.len() == want || hint == 0 || used && chunks.len() == 0 {
            return Some(out);
        }
        if used {
            input = InBuffer::around(chunks.next()?);
        }
    }
}

/// Valid and damaged frames: the model of Linux 6.18 against libzstd driven the same way, the
/// walker and the strict decoder against each other.
fn one_frame(seed: u64, len: u32, damages: Vec<u32>) -> TestResult {
    let len = 1 + usize::try_from(len).unwrap() % 40_000;
    let data = data(seed, len);
    let mut payload = frame(seed, &data);
    damage(&mut payload, &damages[..damages.len().min(3)]);
    let mut disk = payload.clone();
    disk.resize(payload.len().max(1).next_multiple_of(4096), 0);
    let want = len.next_multiple_of(4096);

    // libzstd does not have a kernel's little memory: such readings are not compared.
    let machine = Machine {
        kernel: Kernel::V6_18,
        sector_size: 4096,
        page_size: 4096,
    };
    let mut out = vec![];
    let reading = kernel::regular(&disk, want, &machine, &mut out);
    let theirs = libzstd_regular(&disk, want);
    let window = FrameHeader::parse(&disk).map_or(0, |header| header.window());
    if window <= 131_072 {
        match theirs {
            Some(theirs) => assert!(reading.end == End::Complete && out == theirs),
            None => assert!(matches!(reading.end, End::Error(_))),
        }
    }
    for kernel in Kernel::ALL {
        for page_size in [4096, 65_536] {
            let machine = Machine {
                kernel,
                page_size,
                ..machine
            };
            kernel::regular(&disk, want, &machine, &mut out);
            assert!(out.len() <= want);
            kernel::inline(&payload, len.min(4096), &machine, &mut out);
            assert!(out.len() <= len.min(4096));
        }
    }

    let mut faults = 0;
    let mut bit = 0;
    let walk = walk(&payload, 131_072, &mut |event| match event {
        Event::Piece(piece) => {
            assert_eq!(piece.bits.start, bit);
            bit = piece.bits.end;
        }
        Event::Fault(_) => faults += 1,
        _ => {}
    });
    assert_eq!(bit, 8 * payload.len() as u64);
    let mut decoder = Decoder::new().unwrap();
    let mut buffer = vec![0; 131_072];
    let decoded = decoder.decode(&payload, &mut buffer);
    assert_eq!(decoded.is_ok(), faults == 0, "{decoded:?}");
    assert_eq!(decoder.check(&payload, &mut vec![0; 131_072]), decoded);
    if let Ok(len) = decoded {
        assert!(walk.decoded == buffer[..len]);
        // What is sound reads back on every kernel and through the fallback.
        for kernel in Kernel::ALL {
            let machine = Machine { kernel, ..machine };
            let reading = kernel::regular(&disk, want, &machine, &mut out);
            assert_eq!((reading.end, reading.or_nothing), (End::Complete, None));
            assert!(out[..] == buffer[..len.min(want)]);
        }
        receive::fallback(&disk, want, &mut out).unwrap();
        assert!(out[..len] == buffer[..len]);
    }
    if damages.is_empty() {
        assert!(walk.decoded == data);
    }
    TestResult::passed()
}

#[test]
fn valid_and_damaged_frames() {
    QuickCheck::new()
        .rng(Gen::new(4))
        .tests(600)
        .quickcheck(one_frame as fn(u64, u32, Vec<u32>) -> TestResult);
}

/// The fallback decoder against libzstd itself.
#[test]
fn fallback_is_what_libzstd_gives() {
    fn property(seed: u64, len: u16, damages: Vec<u32>) -> bool {
        let len = 1 + usize::from(len) % 20_000;
        let mut payload = frame(seed, &data(seed, len));
        damage(&mut payload, &damages[..damages.len().min(2)]);
        if payload.is_empty() || FrameHeader::parse(&payload).is_ok_and(|h| h.window() > 1 << 20) {
            return true;
        }
        let mut theirs = vec![0; len];
        let mut context = DCtx::create();
        let mut input = InBuffer::around(&payload);
        let mut output = OutBuffer::around(&mut theirs[..]);
        let mut fails = false;
        while input.pos < payload.len() && output.pos() < len {
            match context.decompress_stream(&mut output, &mut input) {
                Ok(0) => break,
                Ok(_) => {}
                Err(_) => {
                    fails = true;
                    break;
                }
            }
        }
        let mut out = vec![];
        let ours = receive::fallback(&payload, len, &mut out);
        ours.is_err() == fails && (fails || out == theirs)
    }
    QuickCheck::new()
        .rng(Gen::new(4))
        .tests(400)
        .quickcheck(property as fn(u64, u16, Vec<u32>) -> bool);
}

#[test]
fn any_bytes_are_survived() {
    fn property(bytes: Vec<u8>, magic: bool, len: u16) {
        let mut payload = bytes;
        if magic {
            payload.splice(..0, [0x28, 0xb5, 0x2f, 0xfd]);
        }
        walk(&payload, usize::from(len), &mut |_| ());
        let mut out = vec![0; 4096];
        let _ = Decoder::new().unwrap().decode(&payload, &mut out);
        let mut out = vec![];
        let _ = receive::fallback(&payload, usize::from(len), &mut out);
        assert_eq!(out.len(), usize::from(len));
    }
    QuickCheck::new()
        .tests(2000)
        .quickcheck(property as fn(Vec<u8>, bool, u16));
}
