//! What the encoders make, both decoders of this crate's neighbours and ours read.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)] // a failing test may panic

use btrfs_payload_zlib::layout::Header;
use btrfs_payload_zlib::{DecodeError, Decoder, EncodeError, Encoder, Level, Options};
use quickcheck::quickcheck;

fn levels() -> Vec<Level> {
    let mut levels: Vec<_> = (1..=9).map(|n| Level::numbered(n).unwrap()).collect();
    levels.push(Level::Smallest);
    levels
}

/// Data with repetitions near and far, from a seed.
fn data(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let mut data = Vec::with_capacity(len);
    while data.len() < len {
        let (kind, run) = (next() % 4, 1 + usize::try_from(next() % 200).unwrap());
        for _ in 0..run {
            let back = 1 + usize::try_from(next() % 30000).unwrap();
            data.push(match kind {
                0 => u8::try_from(next() % 256).unwrap(),
                1 => 0,
                2 => b'a' + u8::try_from(next() % 4).unwrap(),
                _ => *data
                    .len()
                    .checked_sub(run * 3 + back / 1000)
                    .and_then(|at| data.get(at))
                    .unwrap_or(&7),
            });
        }
    }
    data.truncate(len);
    data
}

fn check(encoder: &mut Encoder, data: &[u8]) {
    let mut payload = Vec::new();
    encoder.encode(data, &mut payload).unwrap();
    let header = Header::of(&payload).unwrap();
    assert!(header.check_ok() && !header.has_dictionary());
    assert_eq!((header.method(), header.cinfo()), (8, 7));

    let mut out = vec![0; data.len()];
    assert_eq!(Decoder::new().decode(&payload, &mut out), Ok(data.len()));
    assert!(out == data);
    out.fill(0);
    let mut libdeflate = libdeflater::Decompressor::new();
    assert_eq!(
        libdeflate.zlib_decompress(&payload, &mut out),
        Ok(data.len())
    );
    assert!(out == data);
    assert!(miniz_oxide::inflate::decompress_to_vec_zlib(&payload).unwrap() == data);
}

#[test]
fn every_level_at_every_boundary() {
    for level in levels() {
        let mut encoder = Encoder::new(Options::new(level)).unwrap();
        let longest = if format!("{level:?}") == "Zopfli" {
            4097
        } else {
            131_072
        };
        for len in [
            1, 2, 3, 257, 258, 259, 4095, 4096, 4097, 32768, 32769, 65535, 65536, 131_071, 131_072,
        ] {
            if len <= longest {
                check(&mut encoder, &data(len as u64, len));
                check(&mut encoder, &vec![0; len]);
            }
        }
    }
}

quickcheck! {
    fn any_bytes_come_back(level: u32, bytes: Vec<u8>) -> bool {
        let mut encoder = Encoder::new(Options::new(Level::numbered(level % 9 + 1).unwrap())).unwrap();
        if !bytes.is_empty() {
            check(&mut encoder, &bytes);
        }
        true
    }

    fn any_length_comes_back(level: u32, seed: u64, len: u32) -> bool {
        let mut encoder = Encoder::new(Options::new(Level::numbered(level % 9 + 1).unwrap())).unwrap();
        check(&mut encoder, &data(seed, usize::try_from(len % 131_072).unwrap() + 1));
        true
    }

    fn damage_is_refused_and_nothing_panics(seed: u64, len: u16, flips: Vec<u32>) -> bool {
        let mut payload = Vec::new();
        let data = data(seed, usize::from(len) + 1);
        Encoder::new(Options::new(Level::Smallest)).unwrap().encode(&data, &mut payload).unwrap();
        let sound = payload.clone();
        for flip in flips {
            let bit = usize::try_from(flip).unwrap() % (payload.len() * 8);
            payload[bit / 8] ^= 1 << (bit % 8);
        }
        let mut out = vec![0; data.len()];
        match Decoder::new().decode(&payload, &mut out) {
            // FLEVEL and padding bits may differ; an adler32 that fits by chance may not be
            // excluded, but then the data has to be the same.
            Ok(decoded) => out[..decoded] == data,
            Err(_) => payload != sound,
        }
    }
}

#[test]
fn every_cut_is_truncated_and_every_addition_trailing() {
    let data = data(5, 5000);
    for level in levels() {
        let mut payload = Vec::new();
        Encoder::new(Options::new(level))
            .unwrap()
            .encode(&data, &mut payload)
            .unwrap();
        let mut out = vec![0; data.len()];
        for len in 0..payload.len() {
            assert_eq!(
                Decoder::new().decode(&payload[..len], &mut out),
                Err(DecodeError::Truncated { offset: len as u64 })
            );
        }
        let end = payload.len() as u64;
        payload.extend([0; 3]);
        assert_eq!(
            Decoder::new().decode(&payload, &mut out),
            Err(DecodeError::Trailing {
                offset: end,
                len: 3
            })
        );
        assert_eq!(
            Decoder::new().decode(&payload, &mut out[1..]),
            Err(DecodeError::TooLong {
                limit: data.len() - 1
            })
        );
    }
}

#[test]
fn sizes_and_levels_outside_the_range_are_refused() {
    let mut encoder = Encoder::new(Options::new(Level::Smallest)).unwrap();
    let mut payload = vec![1];
    for len in [0, 131_073] {
        assert_eq!(
            encoder.encode(&vec![0; len], &mut payload),
            Err(EncodeError::Length {
                got: len,
                max: 131_072
            })
        );
        assert!(payload.is_empty());
    }
    for level in [0, 10, 300] {
        assert_eq!(
            Level::numbered(level),
            Err(EncodeError::Level {
                got: level,
                min: 1,
                max: 9
            })
        );
    }
}

#[test]
fn the_payload_buffer_is_allocated_once() {
    let mut encoder = Encoder::new(Options::new(Level::numbered(6).unwrap())).unwrap();
    let mut payload = Vec::new();
    encoder.encode(&[1], &mut payload).unwrap();
    let (place, capacity) = (payload.as_ptr(), payload.capacity());
    encoder.encode(&data(1, 131_072), &mut payload).unwrap();
    assert_eq!((payload.as_ptr(), payload.capacity()), (place, capacity));
}
