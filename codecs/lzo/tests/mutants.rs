//! Damaged payloads: nothing panics, every byte stays accounted for, and what the strict
//! decoder takes every reader gives back alike.

#![allow(clippy::unwrap_used)] // helpers of tests are tests too

mod data;

use btrfs_payload_common::{End, Kernel, Machine};
use btrfs_payload_lzo::{Decoder, Effort, Encoder, Event, Options, kernel, layout, receive, walk};
use quickcheck::{Arbitrary, Gen, QuickCheck};

/// One change to a payload; positions are taken modulo its length.
#[derive(Debug, Clone)]
enum Damage {
    Flip(usize, u8),
    Set(usize, u8),
    Remove(usize),
    Insert(usize, u8),
    Cut(usize),
    Length(usize, u32),
    Total(u32),
}

impl Arbitrary for Damage {
    fn arbitrary(g: &mut Gen) -> Self {
        let (at, byte, number) = (usize::arbitrary(g), u8::arbitrary(g), u32::arbitrary(g));
        match byte % 7 {
            0 => Self::Flip(at, u8::arbitrary(g) % 8),
            1 => Self::Set(at, u8::arbitrary(g)),
            2 => Self::Remove(at),
            3 => Self::Insert(at, u8::arbitrary(g)),
            4 => Self::Cut(at % 40),
            5 => Self::Length(at, number % 5000),
            _ => Self::Total(number % 20_000),
        }
    }
}

impl Damage {
    fn apply(&self, payload: &mut Vec<u8>) {
        let len = payload.len().max(1);
        match *self {
            Self::Flip(at, bit) => payload[at % len] ^= 1 << bit,
            Self::Set(at, byte) => payload[at % len] = byte,
            Self::Remove(at) => {
                payload.remove(at % len);
            }
            Self::Insert(at, byte) => payload.insert(at % len, byte),
            Self::Cut(count) => payload.truncate(len.saturating_sub(count).max(1)),
            Self::Total(total) => replace(payload, 0, total),
            Self::Length(which, length) => {
                // The header of one of the segments, as far as the chain can be followed.
                let mut at = 4;
                for _ in 0..which % 4 {
                    let Some(field) = payload.get(at..).and_then(|rest| rest.first_chunk()) else {
                        break;
                    };
                    let step = usize::try_from(u32::from_le_bytes(*field)).unwrap();
                    at = at.saturating_add(4).saturating_add(step);
                    at = at.saturating_add(layout::padding(at, 4096));
                }
                replace(payload, at, length);
            }
        }
        if payload.is_empty() {
            payload.push(0);
        }
    }
}

fn replace(payload: &mut [u8], at: usize, value: u32) {
    if let Some(field) = payload
        .get_mut(at..)
        .and_then(|rest| rest.first_chunk_mut())
    {
        *field = value.to_le_bytes();
    }
}

/// All readers on any bytes.
fn read(payload: &[u8], len: usize) -> bool {
    let (mut covered, mut faults) = (0, 0);
    let summary = walk(payload, 4096, 1 << 20, &mut |event| match event {
        Event::Piece(piece) => {
            assert_eq!(piece.bits.start, covered);
            assert!(piece.bits.end > covered);
            covered = piece.bits.end;
        }
        Event::Fault(_) => faults += 1,
        _ => {}
    });
    assert_eq!(covered, 8 * u64::try_from(payload.len()).unwrap());

    let mut strict = vec![0; 1 << 18];
    let result = Decoder::new(4096).decode(payload, &mut strict);
    assert_eq!(
        result.is_ok(),
        faults == 0,
        "{result:?} {:?}",
        summary.first_fault
    );
    let sound = result.ok().map(|got| &strict[..got]);
    if let Some(sound) = sound {
        assert!(summary.decoded == sound);
    }

    let mut disk = payload.to_vec();
    disk.resize(layout::round_up(payload.len(), 4096), 0);
    let mut out = Vec::new();
    for kernel in Kernel::ALL {
        for page_size in [4096, 65536] {
            let machine = Machine {
                kernel,
                sector_size: 4096,
                page_size,
            };
            let reading = kernel::regular(&disk, len, &machine, &mut out);
            assert!(out.len() <= len);
            assert_ne!(reading.end, End::Uninitialised);
            if let Some(sound) = sound {
                assert_eq!(reading.end, End::Complete);
                assert!(out == sound[..sound.len().min(len)]);
            }
            // Asking for less gives a part of the same.
            let mut part = Vec::new();
            kernel::regular(&disk, len / 2, &machine, &mut part);
            assert!(out.starts_with(&part));
            kernel::inline(payload, len.min(4096), &machine, &mut part);
            assert!(part.len() <= len.min(4096));
        }
    }
    if receive::fallback(payload, len, 4096, &mut out).is_ok() {
        assert_eq!(out.len(), len);
    }
    if let Some(sound) = sound {
        receive::fallback(payload, sound.len(), 4096, &mut out).unwrap();
        assert!(out == sound);
    }
    sound.is_some()
}

#[test]
fn damaged_payloads() {
    fn property(seed: u64, len: usize, effort: bool, damage: Vec<Damage>) -> bool {
        let len = len % 20_000 + 1;
        let effort = if effort {
            Effort::Fast
        } else {
            Effort::Smallest
        };
        let mut payload = Vec::new();
        let mut encoder = Encoder::new(Options::new(effort, 4096)).unwrap();
        encoder
            .encode(&data::mixed(seed, len), &mut payload)
            .unwrap();
        for damage in damage.iter().take(4) {
            damage.apply(&mut payload);
        }
        read(&payload, len);
        true
    }
    QuickCheck::new()
        .tests(3000)
        .quickcheck(property as fn(u64, usize, bool, Vec<Damage>) -> bool);
}

#[test]
fn any_bytes() {
    QuickCheck::new().tests(3000).quickcheck(
        (|mut bytes: Vec<u8>| {
            bytes.push(0);
            read(&bytes, 8192);
            true
        }) as fn(Vec<u8>) -> bool,
    );
}

#[test]
fn every_cut_is_refused() {
    let mut payload = Vec::new();
    let mut encoder = Encoder::new(Options::new(Effort::Fast, 4096)).unwrap();
    encoder
        .encode(&data::mixed(21, 9000), &mut payload)
        .unwrap();
    assert!(read(&payload, 9000));
    for cut in 1..payload.len() {
        assert!(!read(&payload[..cut], 9000), "{cut}");
        // Also with a total that fits, unless the cut is between two segments.
        let mut shorter = payload[..cut].to_vec();
        replace(&mut shorter, 0, u32::try_from(cut).unwrap());
        let decoded = walk(&shorter, 4096, 1 << 20, &mut |_| {}).decoded;
        let whole = decoded.len().is_multiple_of(4096);
        assert!(!read(&shorter, 9000) || whole, "{cut}");
    }
}
