//! Streams made by hand, so that every extent is where it should be.

use btrfs_payload::prepare::Level;
use btrfs_payload::rules::{Codec, EncodedIoId, ExtentFields};
use btrfs_payload::send_stream::{Command, Reader, Uuid, Version, Writer, command};
use btrfs_payload::transform::{OnUnsound, TransformError, decode_extent};
use bytes::Bytes;

use crate::support::{extent, lzo_of_a, text, whole, zlib_of, zstd_of};
use crate::work::{Work, checked, codes};

/// A stream that has made the empty file `f`.
pub fn begun(version: Version) -> Writer<Vec<u8>> {
    let mut writer = Writer::new(Vec::new(), version).unwrap();
    writer
        .write_command(&command::Subvol {
            path: "sub".into(),
            uuid: Uuid([7; 16]),
            ctransid: 9,
        })
        .unwrap();
    writer
        .write_command(&command::MkFile {
            path: "f".into(),
            ino: 257,
        })
        .unwrap();
    writer
}

pub fn parsed(stream: &[u8]) -> Vec<Command> {
    Reader::new(stream)
        .map(|raw| Command::parse(&raw.unwrap()).unwrap())
        .collect()
}

/// Every write of the stream: encoded or not, offset, length in the file.
pub fn writes(stream: &[u8]) -> Vec<(bool, u64, u64)> {
    parsed(stream)
        .iter()
        .filter_map(|command| match command {
            Command::Write(c) => Some((false, c.file_offset, c.data.len() as u64)),
            Command::EncodedWrite(c) => Some((true, c.file_offset, c.unencoded_file_len)),
            _ => None,
        })
        .collect()
}

/// The file `f` as a receiver writes it.
pub fn file(stream: &[u8]) -> Vec<u8> {
    let mut file = Vec::new();
    let mut put = |offset: u64, data: &[u8]| {
        let start = usize::try_from(offset).unwrap();
        file.resize(file.len().max(start + data.len()), 0);
        file[start..start + data.len()].copy_from_slice(data);
    };
    for command in parsed(stream) {
        match command {
            Command::Write(c) => put(c.file_offset, &c.data),
            Command::EncodedWrite(c) => put(c.file_offset, &decode_extent(&c).unwrap().data),
            _ => {}
        }
    }
    file
}

fn zstd3() -> Work {
    Work::recompress(Codec::Zstd, Level::Number(3))
}

#[test]
fn neighbouring_writes_become_extents_cut_every_128_kib() {
    let data = text(400_000);
    let mut writer = begun(Version::V1);
    // As kernels write them: 48 KiB each, the next file interrupts.
    writer.write_data(&"f".into(), 0, &data[..300_000]).unwrap();
    let chmod = command::Chmod {
        path: "f".into(),
        mode: 0o600,
    };
    writer.write_command(&chmod).unwrap();
    writer
        .write_data(&"f".into(), 300_000, &data[300_000..])
        .unwrap();
    let stream = writer.finish().unwrap();
    let (out, summary) = zstd3().done(&stream);
    let sector = 300_000_u64.next_multiple_of(4096);
    assert_eq!(
        writes(&out),
        [
            (true, 0, 131_072),
            (true, 131_072, 131_072),
            (true, 262_144, 37_856),
            // Up to the next sector plain, then aligned.
            (false, 300_000, sector - 300_000),
            (true, sector, 400_000 - sector),
        ]
    );
    assert_eq!(file(&out), data);
    assert_eq!(summary.data, 400_000);
    assert_eq!(summary.encoded_out, 4);
    assert!(
        parsed(&out)
            .iter()
            .any(|command| *command == chmod.clone().into())
    );
    assert_eq!(checked(&out).0, []);
}

#[test]
fn a_gap_another_file_and_a_step_back_end_a_run() {
    let data = Bytes::from(text(20_000));
    let mut writer = begun(Version::V2);
    let other = command::MkFile {
        path: "g".into(),
        ino: 258,
    };
    writer.write_command(&other).unwrap();
    for (path, offset) in [("f", 0), ("g", 20_480), ("f", 20_480), ("f", 8192)] {
        writer.write_data(&path.into(), offset, &data).unwrap();
    }
    let (out, _) = zstd3().done(&writer.finish().unwrap());
    let offsets: Vec<u64> = writes(&out).iter().map(|write| write.1).collect();
    // The last one ends inside a sector of a longer file.
    assert_eq!(offsets, [0, 20_480, 20_480, 8192, 24_576]);
}

#[test]
fn zeroes_stay_data_and_noise_stays_plain() {
    let noise = crate::support::generated(6 << 18).swap_remove(4).data;
    let noise = &noise[..131_072];
    let mut writer = begun(Version::V1);
    writer
        .write_data(&"f".into(), 0, &vec![0; 131_072])
        .unwrap();
    writer.write_data(&"f".into(), 131_072, noise).unwrap();
    let (out, _) = zstd3().done(&writer.finish().unwrap());
    assert_eq!(
        writes(&out),
        [(true, 0, 131_072), (false, 131_072, 131_072)]
    );
    assert_eq!(file(&out), [&[0; 131_072], noise].concat());
}

/// A stream with one encoded write of the payload.
pub fn encoded(payload: Vec<u8>, fields: ExtentFields, offset: u64) -> Vec<u8> {
    let mut writer = begun(Version::V2);
    writer
        .write_claimed(&"f".into(), offset, &fields, &payload.into())
        .unwrap();
    writer.finish().unwrap()
}

#[test]
fn of_a_slice_only_what_the_file_shows_is_kept() {
    let data = text(100_000);
    let fields = ExtentFields {
        len: 20_480,
        unencoded_offset: 8192,
        ..whole(&data, EncodedIoId::ZLIB)
    };
    let stream = encoded(zlib_of(&data), fields, 40_960);
    assert_eq!(checked(&stream).0, []);
    let (out, summary) = zstd3().done(&stream);
    assert_eq!((summary.encoded_in, summary.replaced), (1, 1));
    assert_eq!(writes(&out), [(true, 40_960, 20_480)]);
    let shown = &data[8192..28_672];
    assert_eq!(&file(&out)[40_960..], shown);
    let (plain, _) = Work::decompress(true).done(&stream);
    assert_eq!(writes(&plain), [(false, 40_960, 20_480)]);
    assert_eq!(&file(&plain)[40_960..], shown);
    assert_eq!(&plain[13..17], [1, 0, 0, 0]);
}

#[test]
fn what_does_not_pay_stays_to_the_byte() {
    let data = text(131_072);
    let best = zstd::bulk::compress(&data, 19).unwrap();
    let stream = encoded(best, whole(&data, EncodedIoId::ZSTD), 0);
    for work in [
        Work::recompress(Codec::Lzo, Level::Number(1)),
        Work::only_if_smaller(Codec::Zlib, Level::Number(1)),
    ] {
        let (out, summary) = work.done(&stream);
        assert!(out == stream, "{work:?}");
        assert_eq!(summary.replaced, 0);
    }
}

#[test]
fn a_payload_that_is_not_sound_ends_the_stream_or_becomes_plain() {
    let data = text(100_000);
    let len = zlib_of(&data).len();
    let zlib = |damaged: usize| {
        let mut payload = zlib_of(&data);
        payload[damaged] ^= 1;
        encoded(payload, whole(&data, EncodedIoId::ZLIB), 0)
    };
    // The checksum, which kernels do not look at; and the header.
    let (readable, unreadable) = (zlib(len - 1), zlib(0));
    let stops = |work: &Work, stream: &[u8]| {
        let done = work.on(stream, 2);
        matches!(done, Err(TransformError::Undecodable { .. }))
    };
    for stream in [&readable, &unreadable] {
        assert!(stops(&zstd3(), stream));
    }
    let plain = zstd3().when_unsound(OnUnsound::Plain);
    assert!(stops(&plain, &unreadable));
    let (out, summary, findings) = plain.on(&readable, 2).unwrap();
    assert_eq!((summary.mended, summary.unsound), (1, 0));
    assert_eq!(findings[0].code, "zlib-adler32");
    let written: Vec<u8> = parsed(&out)
        .into_iter()
        .filter_map(|command| match command {
            Command::Write(write) => Some(write.data),
            _ => None,
        })
        .flatten()
        .collect();
    assert!(written == data);
    assert!(checked(&out).1.is_sound());
}

#[test]
fn a_payload_that_is_not_sound_is_passed_on_and_reported() {
    let data = text(131_072);
    let mut payload = zstd_of(&data);
    payload[0] ^= 1;
    let stream = encoded(payload, whole(&data, EncodedIoId::ZSTD), 0);
    assert_eq!(codes(&stream), ["zstd-magic"]);
    let (out, summary, findings) = zstd3()
        .when_unsound(OnUnsound::Pass)
        .on(&stream, 2)
        .unwrap();
    assert!(out == stream);
    assert_eq!(summary.unsound, 1);
    assert_eq!(findings[0].code, "zstd-magic");
    assert_eq!(findings[0].path.as_deref(), Some(&b"f"[..]));
    let error = Work::decompress(false).on(&stream, 2).unwrap_err();
    assert!(
        matches!(error, TransformError::Undecodable { .. }),
        "{error}"
    );
    assert!(error.is_of_stream());
}

#[test]
fn reframe_touches_lzo_of_another_sector_size_only() {
    let data = text(131_072);
    let zstd = encoded(zstd_of(&data), whole(&data, EncodedIoId::ZSTD), 0);
    assert!(Work::reframe(16384).done(&zstd).0 == zstd);
    let a = vec![b'a'; 16 * 4096];
    let lzo = encoded(lzo_of_a(16), whole(&a, EncodedIoId::LZO_4K), 131_072);
    assert!(Work::reframe(4096).done(&lzo).0 == lzo);
    let (out, summary) = Work::reframe(16384).done(&lzo);
    assert_eq!(summary.replaced, 1);
    assert_eq!(&file(&out)[131_072..], a);
    let id = parsed(&out).iter().find_map(|command| match command {
        Command::EncodedWrite(c) => c.compression,
        _ => None,
    });
    assert_eq!(id, Some(EncodedIoId(5)));
    // Not at a sector of such a filesystem: plain.
    let lzo = encoded(lzo_of_a(16), whole(&a, EncodedIoId::LZO_4K), 4096);
    let (out, _) = Work::reframe(16384).done(&lzo);
    assert_eq!(writes(&out), [(false, 4096, 65_536)]);
    assert_eq!(&file(&out)[4096..], a);
}

#[test]
fn what_only_makes_receive_fall_back_is_a_warning_and_is_decoded() {
    let a = vec![b'a'; 16 * 4096];
    // LZO for 4096-byte sectors, a file offset inside a sector of 16384 bytes.
    let stream = encoded(lzo_of_a(16), whole(&a, EncodedIoId::LZO_4K), 4096);
    let (findings, summary) = crate::work::checked_for(&stream, 16384, 2);
    let codes: Vec<_> = findings.iter().map(|f| f.code).collect();
    assert_eq!(codes, ["receive-falls-back", "receive-falls-back"]);
    assert!(summary.is_sound());
    // Not smaller than what it stands for, and inside a sector.
    let noise = b"nothing that shrinks";
    let payload = miniz_oxide::deflate::compress_to_vec_zlib(noise, 0);
    assert!(payload.len() > noise.len());
    let stream = encoded(payload, whole(noise, EncodedIoId::ZLIB), 8199);
    assert_eq!(crate::work::codes(&stream), ["receive-falls-back"; 2]);
    assert_eq!(&file(&stream)[8199..], noise);
    let (out, _) = Work::decompress(true).done(&stream);
    assert_eq!(&file(&out)[8199..], noise);
}

#[test]
fn version_1_gets_zeroes_for_holes_and_no_fileattr() {
    let mut writer = begun(Version::V2);
    let data = Bytes::from(text(70_000));
    // More than one command of version 1 holds.
    writer.write_data(&"f".into(), 0, &data).unwrap();
    let hole = |mode, size| command::Fallocate {
        path: "f".into(),
        fallocate_mode: mode,
        file_offset: 4096,
        size,
    };
    writer.write_command(&hole(3, 8192)).unwrap();
    writer.write_command(&hole(1, 1 << 50)).unwrap();
    let fileattr = command::Fileattr {
        path: "f".into(),
        fileattr: 0,
    };
    writer.write_command(&fileattr).unwrap();
    let stream = writer.finish().unwrap();
    let (out, summary) = Work::decompress(true).done(&stream);
    assert_eq!(
        writes(&out),
        [
            (false, 0, 49_152),
            (false, 49_152, 20_848),
            (false, 4096, 8192)
        ]
    );
    assert_eq!(summary.fileattr_left_out, 1);
    let mut expected = data.to_vec();
    expected[4096..12_288].fill(0);
    assert_eq!(file(&out), expected);
    assert!(Reader::new(&out[..]).all(|raw| raw.unwrap().issues().count() == 0));

    let mut writer = begun(Version::V2);
    writer.write_command(&hole(16, 1 << 40)).unwrap();
    let error = Work::decompress(true).on(&writer.finish().unwrap(), 1);
    assert!(matches!(error, Err(TransformError::NoCounterpart { .. })));
    let mut writer = begun(Version::V3);
    writer
        .write_command(&command::EnableVerity {
            path: "f".into(),
            verity_algorithm: 1,
            verity_block_size: 4096,
            verity_salt_data: Bytes::new(),
            verity_sig_data: Bytes::new(),
        })
        .unwrap();
    let stream = writer.finish().unwrap();
    let error = Work::decompress(true).on(&stream, 1);
    assert!(matches!(error, Err(TransformError::NoCounterpart { .. })));
    // Version 3 stays what it is.
    assert!(zstd3().done(&stream).0 == stream);
}

#[test]
fn stats_count_and_estimate_all_of_a_small_stream_exactly() {
    use btrfs_payload::transform::{StatsOptions, stats};
    let data = text(1 << 20);
    let mut writer = begun(Version::V2);
    writer.write_data(&"f".into(), 0, &data).unwrap();
    let fields = whole(&data[..131_072], EncodedIoId::ZLIB);
    let zlib = extent(zlib_of(&data[..131_072]), fields, 1 << 20);
    writer.write_encoded(&"f".into(), 1 << 20, &zlib).unwrap();
    let stream = writer.finish().unwrap();
    let mut options = StatsOptions::default();
    options.estimates = vec![(Codec::Zstd, Level::Number(3))];
    let stats = stats(&stream[..], &options, crate::work::jobs(2)).unwrap();
    assert_eq!((stats.streams, stats.bytes), (1, stream.len() as u64));
    assert_eq!((stats.plain.extents, stats.plain.data), (8, 1 << 20));
    assert_eq!(stats.plain.sectors, 256);
    let (_, sums) = stats.encoded[0];
    assert_eq!((sums.extents, sums.data), (1, 131_072));
    assert_eq!(sums.sectors, (zlib.payload().len() as u64).div_ceil(4096));
    // All pieces are compressed, so the estimate is what recompressing gives.
    let (_, done) = zstd3().done(&stream);
    let estimate = stats.estimates[0];
    assert_eq!(estimate.standard_error, Some(0.0));
    assert!((estimate.sectors - done.sectors_out as f64).abs() < 1e-6);
}

#[test]
fn an_estimate_is_within_its_error() {
    use btrfs_payload::transform::{StatsOptions, stats};
    use std::time::Duration;
    // Text and noise by turns, in pieces of different length, so that samples differ.
    let noise = crate::support::generated(6 << 20).swap_remove(4).data;
    let mut writer = begun(Version::V2);
    let mut offset = 0;
    for piece in 0..400_usize {
        let len = 8192 + piece * 37 % 24_576;
        let data = if piece % 3 == 0 {
            noise[piece..piece + len].to_vec()
        } else {
            text(len)
        };
        writer.write_data(&"f".into(), offset, &data).unwrap();
        offset += 65_536;
    }
    let stream = writer.finish().unwrap();
    let (_, done) = zstd3().done(&stream);
    let mut options = StatsOptions::default();
    options.estimates = vec![(Codec::Zstd, Level::Number(3))];
    options.samples = 50;
    let [one, two] = [1, 3].map(|jobs| stats(&stream[..], &options, crate::work::jobs(jobs)));
    let (mut one, two) = (one.unwrap(), two.unwrap());
    // All but the time is the same, whatever works on it.
    one.estimates[0].work = two.estimates[0].work;
    assert_eq!(one, two);
    let estimate = one.estimates[0];
    assert!(estimate.work > Duration::ZERO, "{estimate:?}");
    assert_eq!(estimate.samples, 50, "{estimate:?}");
    let error = estimate.standard_error.unwrap();
    assert!(error > 0.0);
    // The sample is always the same; four errors are far out.
    let off = (estimate.sectors - done.sectors_out as f64).abs();
    assert!(off < 4.0 * error, "{estimate:?}: {done:?}");
}

/// As in a tree of sources: of 2020 files 2000 have one sector, and 20 have a quarter of all sectors
/// and all that can be saved. By chance alike, a sample of 100 would have one of them or none.
#[test]
fn an_estimate_does_not_miss_the_few_large_files() {
    use btrfs_payload::transform::{StatsOptions, stats};
    let mut writer = begun(Version::V2);
    let large = text(131_072);
    for file in 0..2020_u64 {
        let data = if file % 101 == 0 {
            &large[..]
        } else {
            &large[..4096]
        };
        writer.write_data(&"f".into(), file << 18, data).unwrap();
    }
    let stream = writer.finish().unwrap();
    let (_, done) = zstd3().done(&stream);
    let mut options = StatsOptions::default();
    options.estimates = vec![(Codec::Zstd, Level::Number(3))];
    options.samples = 100;
    let stats = stats(&stream[..], &options, crate::work::jobs(2)).unwrap();
    let (truth, estimate) = (done.sectors_out as f64, stats.estimates[0]);
    let error = estimate.standard_error.unwrap();
    assert!(error < truth / 10.0, "{estimate:?}: {done:?}");
    assert!(
        (estimate.sectors - truth).abs() < 4.0 * error,
        "{estimate:?}: {done:?}"
    );
}

#[test]
fn an_estimate_from_pieces_that_are_all_alike_has_no_error_to_tell() {
    use btrfs_payload::transform::{StatsOptions, stats};
    let mut writer = begun(Version::V2);
    let one = text(65_536);
    for piece in 0..200_u64 {
        writer.write_data(&"f".into(), piece << 18, &one).unwrap();
    }
    let stream = writer.finish().unwrap();
    let mut options = StatsOptions::default();
    options.estimates = vec![(Codec::Zstd, Level::Number(3))];
    for (samples, error) in [(50, None), (200, Some(0.0))] {
        options.samples = samples;
        let stats = stats(&stream[..], &options, crate::work::jobs(2)).unwrap();
        assert_eq!(stats.estimates[0].standard_error, error, "{samples}");
    }
}
