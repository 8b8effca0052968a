//! The kernel model against what kernels were seen to do, with hand-made payloads.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)] // a failing test may panic

use btrfs_payload_common::{Behaviour, End, Errno, Kernel, Machine};
use btrfs_payload_zlib::{Decoder, Encoder, Level, Options, kernel, receive};
use quickcheck::quickcheck;

const EIO: End = End::Error(Errno::Eio);

fn machine(kernel: Kernel) -> Machine {
    Machine {
        kernel,
        sector_size: 4096,
        page_size: 4096,
    }
}

fn regular(payload: &[u8], want: usize, machine: &Machine) -> (End, Vec<u8>) {
    let mut disk = payload.to_vec();
    disk.resize(disk.len().next_multiple_of(machine.sector_size), 0);
    let mut out = Vec::new();
    let reading = kernel::regular(&disk, want, machine, &mut out);
    assert_eq!(reading.or_nothing, None);
    (reading.end, out)
}

fn inline(payload: &[u8], want: usize, kernel: Kernel) -> (End, Vec<u8>) {
    let mut out = Vec::new();
    let end = kernel::inline(payload, want, &machine(kernel), &mut out).end;
    (end, out)
}

/// Bytes in which every match is near.
fn data(len: usize) -> Vec<u8> {
    (0..len)
        .map(|n| b"abcdefgh"[(n * n / 7 + n / 100) % 8])
        .collect()
}

fn payload(data: &[u8]) -> Vec<u8> {
    let mut payload = Vec::new();
    Encoder::new(Options::new(Level::numbered(6).unwrap()))
        .unwrap()
        .encode(data, &mut payload)
        .unwrap();
    payload
}

#[test]
fn a_wrong_adler32_shows_where_the_header_reads_negative() {
    let data = data(12000);
    let mut wrong = payload(&data);
    *wrong.last_mut().unwrap() ^= 1;
    for (flg, refused) in [(0x01, false), (0x5e, false), (0x9c, true), (0xda, true)] {
        wrong[1] = flg;
        for kernel in Kernel::ALL {
            let (end, out) = regular(&wrong, 12288, &machine(kernel));
            if refused && !kernel.has(Behaviour::UnsignedChar) {
                assert_eq!((end, out.len()), (EIO, 8192));
            } else {
                assert_eq!((end, &out), (End::Complete, &data));
            }
        }
        // With 64 KiB pages `char` is unsigned.
        let machine = Machine {
            page_size: 65536,
            ..machine(Kernel::V6_1)
        };
        assert_eq!(regular(&wrong, 65536, &machine).0, End::Complete);
        assert_eq!(
            receive::fallback(&wrong, 12000, &mut Vec::new()),
            Err(Errno::Eio)
        );
    }
}

#[test]
fn ends_of_streams() {
    let data = data(12000);
    let sound = payload(&data);
    let v6_18 = machine(Kernel::V6_18);
    // Shorter: zeroes follow. A second stream is not read.
    let half = payload(&data[..6000]);
    let twice = [&half[..], &half[..]].concat();
    assert_eq!(
        regular(&twice, 12288, &v6_18),
        (End::Complete, data[..6000].to_vec())
    );
    // Longer: cut.
    assert_eq!(
        regular(&sound, 8192, &v6_18),
        (End::Complete, data[..8192].to_vec())
    );
    // Not closed: the zeroes after the stored block are no block, and the call that meets
    // them, the one for the third input page, fails as a whole.
    let open = [&[0x78, 1, 0, 0x28, 0x23, 0xd7, 0xdc], &data[..9000]].concat();
    assert_eq!(regular(&open, 8185, &v6_18).0, End::Complete);
    let (end, out) = regular(&open, 12288, &v6_18);
    assert_eq!((end, out.len()), (EIO, 3 * 4096 - 4096 - 7));

    let mut out = Vec::new();
    assert_eq!(receive::fallback(&half, 12000, &mut out), Ok(()));
    assert!(out[..6000] == data[..6000] && out[6000..] == [0; 6000]);
    assert_eq!(receive::fallback(&twice, 6000, &mut out), Ok(()));
    assert_eq!(receive::fallback(&sound, 11999, &mut out), Err(Errno::Eio));
    assert!(out.is_empty());
    assert_eq!(
        receive::fallback(&sound[..sound.len() - 1], 12000, &mut out),
        Err(Errno::Eio)
    );
}

#[test]
fn headers() {
    let mut payload = payload(&data(3000));
    for (header, end) in [
        ([0x78, 0x9c], End::Complete),
        ([0x78, 0x9d], EIO),
        ([0x79, 0x9b - 16], EIO),
        ([0x78, 0xbb], EIO), // FDICT
        ([0x1f, 0x8b], EIO),
        ([0x08, 0x1d], End::Complete), // a window of 256 bytes, all within one chunk
        ([0x88, 0x1c], End::Unsafe),
        ([0xf8, 0x1e], EIO),
    ] {
        payload[..2].copy_from_slice(&header);
        for kernel in Kernel::ALL
            .into_iter()
            .filter(|k| k.has(Behaviour::UnsignedChar))
        {
            assert_eq!(
                regular(&payload, 4096, &machine(kernel)).0,
                end,
                "{header:x?}"
            );
            assert_eq!(inline(&payload, 3000, kernel).0, end, "{header:x?}");
        }
    }
    for len in 0..3 {
        assert_eq!(inline(&payload[..len], 2, Kernel::V6_18).0, EIO);
    }
}

#[test]
fn inline_extents() {
    let data = data(3000);
    let sound = payload(&data);
    for kernel in Kernel::ALL {
        assert_eq!(inline(&sound, 3000, kernel), (End::Complete, data.clone()));
        assert_eq!(
            inline(&sound, 2000, kernel),
            (End::Complete, data[..2000].to_vec())
        );
    }
    for kernel in Kernel::ALL {
        // Too short.
        if !kernel.has(Behaviour::InlineZlibAtOnce) {
            assert_eq!(
                inline(&sound, 3001, kernel),
                (End::Uninitialised, data.clone())
            );
            continue;
        }
        assert_eq!(inline(&sound, 3001, kernel), (EIO, vec![]));
        // Cut off after the last byte of data, and longer than the chunk.
        let cut = &sound[..sound.len() - 5];
        assert_eq!(inline(cut, 3000, kernel), (End::Uninitialised, vec![]));
        let long = payload(&self::data(5000));
        assert_eq!(inline(&long, 3000, kernel), (End::Uninitialised, vec![]));
    }
}

#[test]
fn a_page_of_input_without_output() {
    for (count, page, end) in [
        (800, 4096, End::Complete),
        (900, 4096, EIO),
        (900, 65536, End::Complete),
        (14000, 65536, EIO),
    ] {
        let mut payload = vec![0x78, 0x01];
        payload.extend([0, 0, 0, 0xff, 0xff].repeat(count));
        payload.extend([1, 1, 0, 0xfe, 0xff, b'x', 0, 0x79, 0, 0x79]);
        let machine = Machine {
            page_size: page,
            ..machine(Kernel::V6_18)
        };
        assert_eq!(regular(&payload, page, &machine).0, end, "{count} {page}");
        assert_eq!(receive::fallback(&payload, 5, &mut Vec::new()), Ok(()));
    }
}

quickcheck! {
    fn sound_payloads_read_everywhere(seed: u32, len: u32, level: u32) -> bool {
        let len = usize::try_from(len % 131_072).unwrap() + 1;
        let step = usize::try_from(seed % 5).unwrap();
        let data: Vec<u8> = (0..len).map(|n| (n * n * step / 97 + n / 1000).to_le_bytes()[0]).collect();
        let mut payload = Vec::new();
        Encoder::new(Options::new(Level::numbered(level % 9 + 1).unwrap())).unwrap().encode(&data, &mut payload).unwrap();
        let mut decoder = Decoder::new();
        assert_eq!(decoder.decode(&payload, &mut vec![0; len]), Ok(len));
        assert!(!decoder.may_stall());
        for kernel in Kernel::ALL {
            for page_size in [4096, 65536] {
                for sector_size in [4096, 65536] {
                    let machine = Machine { kernel, sector_size, page_size };
                    let want = len.next_multiple_of(65536);
                    assert_eq!(regular(&payload, want, &machine), (End::Complete, data.clone()));
                }
            }
            if len <= 4096 {
                assert_eq!(inline(&payload, len, kernel), (End::Complete, data.clone()));
            }
        }
        true
    }

    fn nothing_panics(bytes: Vec<u8>, headed: bool, want: u16) -> bool {
        let mut payload = if headed { vec![0x58, 0x85] } else { vec![] };
        payload.extend(bytes);
        for kernel in Kernel::ALL {
            regular(&payload, usize::from(want).next_multiple_of(4096), &machine(kernel));
            inline(&payload, usize::from(want) % 4097, kernel);
        }
        let _ = receive::fallback(&payload, usize::from(want), &mut Vec::new());
        true
    }
}
