//! Whatever is encoded comes back, through every reader, at every effort and sector size.

#![allow(clippy::unwrap_used)] // helpers of tests are tests too

mod data;

use btrfs_payload_common::{Behaviour, End, Kernel, Machine};
use btrfs_payload_lzo::{
    DecodeError, Decoder, Effort, EncodeError, Encoder, Event, FaultKind, Options, kernel, layout,
    lzo1x, receive, walk,
};
use quickcheck::{QuickCheck, TestResult};

const EFFORTS: [Effort; 4] = [
    Effort::Fast,
    Effort::High,
    Effort::Smallest,
    Effort::FewestSectors,
];
const SECTORS: [usize; 5] = [4096, 8192, 16384, 32768, 65536];

/// Encodes, checks the shape, and reads back through all readers.
fn check(encoder: &mut Encoder, data: &[u8], sector_size: usize) {
    let mut payload = Vec::new();
    encoder.encode(data, &mut payload).unwrap();
    assert_eq!(layout::total(&payload), Some(payload.len()));
    assert!(payload.len() <= layout::bound(data.len(), sector_size));

    let mut out = vec![0xa5; data.len()];
    assert_eq!(
        Decoder::new(sector_size).decode(&payload, &mut out),
        Ok(data.len())
    );
    assert!(out == data, "strict decoder");
    if data.len() > 1 {
        let mut short = vec![0; data.len() - 1];
        assert!(matches!(
            Decoder::new(sector_size).decode(&payload, &mut short),
            Err(DecodeError::TooLong { .. })
        ));
    }

    let mut faults = Vec::new();
    let mut covered = 0;
    let summary = walk(
        &payload,
        sector_size,
        data.len(),
        &mut |event| match event {
            Event::Piece(piece) => {
                assert_eq!(piece.bits.start, covered);
                covered = piece.bits.end;
            }
            // Only data that does not shrink makes a payload longer than an extent.
            Event::Fault(fault) if payload.len() > 131_072 => {
                assert!(matches!(fault.kind, FaultKind::TotalTooLong { .. }));
            }
            Event::Fault(fault) => faults.push(fault),
            _ => {}
        },
    );
    assert_eq!(covered, 8 * u64::try_from(payload.len()).unwrap());
    assert_eq!(faults, []);
    assert!(summary.decoded == data, "walker");
    assert_eq!(summary.segments, data.len().div_ceil(sector_size));
    assert_eq!(summary.consumed, payload.len());
    assert!(summary.complete);
    assert_eq!(
        summary.fits_inline(payload.len()),
        data.len() <= sector_size
    );

    receive::fallback(&payload, data.len(), sector_size, &mut out).unwrap();
    assert!(out == data, "receive");

    let mut disk = payload.clone();
    disk.resize(layout::round_up(payload.len(), sector_size), 0);
    for kernel in Kernel::ALL {
        for page_size in [4096, 65536] {
            let machine = Machine {
                kernel,
                sector_size,
                page_size,
            };
            if data.len() <= sector_size && payload.len() <= 2048 && page_size <= sector_size {
                let reading = kernel::inline(&payload, data.len(), &machine, &mut out);
                // Old kernels decode inline extents into a page.
                if data.len() <= page_size || kernel.has(Behaviour::InlineLzoShort) {
                    assert_eq!(reading.end, End::Complete, "{machine:?}");
                    assert!(out == data, "inline, {machine:?}");
                }
            }
            if payload.len() <= 131_072
                && (kernel.has(Behaviour::SectorChunks) || page_size >= sector_size)
            {
                let want = layout::round_up(data.len(), page_size);
                let reading = kernel::regular(&disk, want, &machine, &mut out);
                assert_eq!(reading.end, End::Complete, "{machine:?}");
                assert!(out == data, "regular, {machine:?}");
            }
        }
    }
}

#[test]
fn every_length_around_a_boundary() {
    let source = data::mixed(7, 131_072);
    let noise: Vec<u8> = {
        let mut x = 1_u32;
        (0..131_072)
            .map(|_| {
                x = x.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                x.to_le_bytes()[3]
            })
            .collect()
    };
    let zeroes = vec![0; 131_072];
    for effort in EFFORTS {
        for sector_size in SECTORS {
            let mut encoder = Encoder::new(Options::new(effort, sector_size)).unwrap();
            for around in [0, sector_size, 2 * sector_size, 65_536, 131_072] {
                for length in around.saturating_sub(2)..=(around + 20).min(131_072) {
                    if length > 0 {
                        check(&mut encoder, &source[..length], sector_size);
                    }
                }
                if around > 0 {
                    check(&mut encoder, &noise[..around], sector_size);
                    check(&mut encoder, &zeroes[..around], sector_size);
                }
            }
        }
    }
}

#[test]
fn any_data() {
    fn property(seed: u64, length: usize, effort: usize, sector: usize) -> TestResult {
        let sector_size = SECTORS[sector % SECTORS.len()];
        let effort = EFFORTS[effort % EFFORTS.len()];
        let data = data::mixed(seed, length % 131_072 + 1);
        let mut encoder = Encoder::new(Options::new(effort, sector_size)).unwrap();
        check(&mut encoder, &data, sector_size);
        // Tables left over from other data change nothing that matters.
        check(&mut encoder, &data[data.len() / 3..], sector_size);
        TestResult::passed()
    }
    QuickCheck::new()
        .tests(150)
        .quickcheck(property as fn(u64, usize, usize, usize) -> TestResult);
}

#[test]
fn padding_before_a_header_occurs_and_is_right() {
    // About one header in 1365 falls into the last three bytes of a sector.
    let mut paddings = 0;
    let mut encoder = Encoder::new(Options::new(Effort::Fast, 4096)).unwrap();
    let mut payload = Vec::new();
    for seed in 1..400 {
        let data = data::mixed(seed, 131_072);
        encoder.encode(&data, &mut payload).unwrap();
        let summary = walk(&payload, 4096, data.len(), &mut |_| {});
        assert_eq!(summary.first_fault, None);
        assert!(summary.decoded == data);
        paddings += summary.paddings;
    }
    assert!(paddings >= 3, "{paddings}");
}

#[test]
fn what_cannot_be_encoded() {
    for sector_size in [0, 1, 2048, 4095, 5000, 131_072] {
        assert_eq!(
            Encoder::new(Options::new(Effort::Fast, sector_size)).err(),
            Some(EncodeError::SectorSize { got: sector_size })
        );
    }
    let mut encoder = Encoder::new(Options::new(Effort::High, 4096)).unwrap();
    let mut payload = vec![1];
    assert_eq!(
        encoder.encode(&[], &mut payload),
        Err(EncodeError::Length {
            got: 0,
            max: 131_072
        })
    );
    assert_eq!(
        encoder.encode(&vec![0; 131_073], &mut payload),
        Err(EncodeError::Length {
            got: 131_073,
            max: 131_072
        })
    );
    assert_eq!(payload, []);
}

#[test]
fn the_past_changes_no_byte() {
    for effort in EFFORTS {
        let data = data::mixed(11, 100_000);
        let (mut once, mut again) = (Vec::new(), Vec::new());
        let mut encoder = Encoder::new(Options::new(effort, 4096)).unwrap();
        encoder.encode(&data, &mut once).unwrap();
        encoder
            .encode(&data::mixed(12, 131_072), &mut again)
            .unwrap();
        encoder.encode(&data, &mut again).unwrap();
        assert!(once == again, "{effort:?}");
    }
}

#[test]
fn smallest_is_smaller() {
    for sector_size in SECTORS {
        for seed in [3, 5, 9] {
            let data = data::mixed(seed, 131_072);
            let length = |effort| {
                let mut payload = Vec::new();
                let mut encoder = Encoder::new(Options::new(effort, sector_size)).unwrap();
                encoder.encode(&data, &mut payload).unwrap();
                payload.len()
            };
            let high = length(Effort::High);
            assert!(
                length(Effort::Smallest) < high,
                "{sector_size}, seed {seed}"
            );
            assert!(high < length(Effort::Fast), "{sector_size}, seed {seed}");
        }
    }
}

/// Where no sector can be saved nothing is made smaller than the fast effort makes it, and where
/// one can it is.
#[test]
fn segments_are_small_only_where_that_saves_a_sector() {
    let made = |effort, data: &[u8]| {
        let mut payload = Vec::new();
        let mut encoder = Encoder::new(Options::new(effort, 4096)).unwrap();
        encoder.encode(data, &mut payload).unwrap();
        payload
    };
    // Words that repay a closer look; those of the first data fit one sector anyhow.
    let words: Vec<u8> = (0..700_u32)
        .flat_map(|n| format!("{:x} ", n.wrapping_mul(n) % 613).into_bytes())
        .collect();
    let one = [&words[..2048], &[0; 6144]].concat();
    let [fast, few] = [Effort::Fast, Effort::FewestSectors].map(|effort| made(effort, &one));
    assert!(fast.len() < 4096);
    assert_eq!(fast, few);
    // Until the payload ends a sector sooner.
    let all = words
        .iter()
        .copied()
        .cycle()
        .take(131_072)
        .collect::<Vec<_>>();
    let [fast, few, smallest] = [Effort::Fast, Effort::FewestSectors, Effort::Smallest]
        .map(|effort| made(effort, &all).len());
    assert!(
        smallest.div_ceil(4096) < fast.div_ceil(4096),
        "the data does not tell"
    );
    assert_eq!(few.div_ceil(4096), smallest.div_ceil(4096));
}

#[test]
fn single_segments_come_back_and_data_of_a_wrong_length_is_refused() {
    let (mut fast, mut smallest) = (lzo1x::Fast::new(), lzo1x::Smallest::new());
    let mut segment = vec![1];
    for len in [1, 2, 3, 19, 238, 239, 4096, 5000, 65_535, lzo1x::MAX_DATA] {
        let data = data::mixed(23, len);
        let mut out = vec![0; len];
        fast.compress(&data, &mut segment).unwrap();
        assert_eq!(lzo1x::decode(&segment, &mut out, len), Ok(len));
        assert_eq!(out, data, "fast, {len}");
        out.fill(0);
        smallest.compress(&data, &mut segment).unwrap();
        assert!(segment.len() <= layout::worst(len));
        assert_eq!(lzo1x::decode_as_liblzo(&segment, &mut out, len), Ok(len));
        assert_eq!(out, data, "smallest, {len}");
    }
    for len in [0, lzo1x::MAX_DATA + 1] {
        let refused = Err(EncodeError::Length {
            got: len,
            max: lzo1x::MAX_DATA,
        });
        assert_eq!(fast.compress(&vec![0; len], &mut segment), refused);
        assert!(segment.is_empty());
        assert_eq!(smallest.compress(&vec![0; len], &mut segment), refused);
        assert!(segment.is_empty());
    }
}
