//! Damaged streams: every flipped bit is found, what is under a repaired checksum is judged as
//! the kernels' models say, and nothing panics or takes memory without bound.

use std::io::Read;

use btrfs_payload::Kernel;
use btrfs_payload::prepare::Level;
use btrfs_payload::rules::{Codec, EncodedIoId, Target};
use btrfs_payload::send_stream::{Reader, Version, command};
use btrfs_payload::transform::{CheckOptions, TransformError, check, decode_extent};
use btrfs_payload::validate::{NotSound, Outcome, Severity, predict};
use bytes::Bytes;
use quickcheck::quickcheck;

use crate::by_hand::begun;
use crate::support::{text, whole, zlib_of, zstd_of};
use crate::work::{Work, checked, codes, jobs};

fn small_stream() -> Vec<u8> {
    let mut writer = begun(Version::V2);
    let data = text(9000);
    writer
        .write_claimed(
            &"f".into(),
            0,
            &whole(&data, EncodedIoId::ZSTD),
            &zstd_of(&data).into(),
        )
        .unwrap();
    let truncate = command::Truncate {
        path: "f".into(),
        size: 9000,
    };
    writer.write_command(&truncate).unwrap();
    writer.finish().unwrap()
}

#[test]
fn every_flipped_bit_is_found() {
    let sound = small_stream();
    assert_eq!(checked(&sound).0, []);
    let mut damaged = sound.clone();
    for bit in 0..sound.len() * 8 {
        // The header has no checksum: versions 2 and 3 frame alike.
        if bit == 13 * 8 {
            continue;
        }
        damaged[bit / 8] ^= 1 << (bit % 8);
        assert!(!checked(&damaged).1.is_sound(), "bit {bit}");
        for work in [Work::decompress(false), Work::reframe(8192)] {
            let error = work.on(&damaged, 1).unwrap_err();
            assert!(error.is_of_stream(), "bit {bit}: {error}");
        }
        damaged[bit / 8] ^= 1 << (bit % 8);
    }
}

/// A restarted send makes the same subvolume once more: nothing is found in what can be cut out.
#[test]
fn a_restarted_send_is_judged_as_a_stream_of_its_own() {
    let whole = small_stream();
    let commands: Vec<_> = Reader::new(&whole[..]).map(Result::unwrap).collect();
    let begin = |number: usize| usize::try_from(commands[number].offset()).unwrap();
    // Cut inside a command, and after one.
    for cut in [begin(2) + 20, begin(2)] {
        let input = [&whole[..cut], &whole].concat();
        let (findings, summary) = checked(&input);
        assert!(!summary.is_sound(), "cut at {cut}");
        let restart = u64::try_from(cut).unwrap() + 17;
        for finding in &findings {
            assert!(finding.offset <= restart, "cut at {cut}: {finding}");
            assert_ne!(finding.code, "path-exists", "cut at {cut}");
        }
    }
    // Two sends that are whole want two names.
    assert_eq!(codes(&[&whole[..], &whole].concat()), ["path-exists"]);
}

/// What is damaged first is what is said, not where reading cannot go on.
#[test]
fn rewriters_say_the_first_damage() {
    let whole = small_stream();
    let mut damaged = whole.clone();
    let middle = whole.len() / 2;
    damaged[middle] ^= 1;
    damaged.truncate(whole.len() - 12);
    for work in [
        Work::decompress(false),
        Work::reframe(8192),
        Work::recompress(Codec::Zstd, Level::Default),
    ] {
        let error = work.on(&damaged, 1).unwrap_err();
        assert!(matches!(error, TransformError::Damaged { .. }), "{error}");
    }
}

/// Data of `WRITE`s is gathered before anybody sums it up: in front of damage nothing but whole
/// extents comes out, wherever in the three commands and two extents it is.
#[test]
fn every_damaged_write_is_refused() {
    let mut writer = begun(Version::V1);
    let before = begun(Version::V1).finish_open().unwrap().len();
    writer.write_data(&"f".into(), 0, &text(140_000)).unwrap();
    let mut stream = writer.finish().unwrap();
    let work = Work::recompress(Codec::Zstd, Level::Number(1));
    assert!(work.on(&stream, 2).is_ok());
    for at in (before..stream.len()).step_by(997) {
        stream[at] ^= 0x10;
        for threads in [1, 3] {
            let error = work.on(&stream, threads).unwrap_err();
            assert!(error.is_of_stream(), "byte {at}: {error}");
        }
        stream[at] ^= 0x10;
    }
    // Damage to data alone is told from the command that has it.
    let second = before + (stream.len() - before) / 2;
    stream[second] ^= 1;
    let error = work.on(&stream, 2).unwrap_err();
    let TransformError::Damaged { offset } = error else {
        panic!("{error}");
    };
    let commands: Vec<u64> = Reader::new(&stream[..])
        .map(|raw| raw.unwrap())
        .filter(|raw| !raw.crc_ok())
        .map(|raw| raw.offset())
        .collect();
    assert_eq!(commands, [offset]);
}

#[test]
fn the_check_goes_on_behind_a_wrong_checksum() {
    let mut stream = small_stream();
    // Inside the payload, which is in the third command; then MKFILE's path.
    let len = stream.len();
    stream[len - 500] ^= 0x40;
    let (findings, _) = checked(&stream);
    assert_eq!(
        (findings[0].code, findings[0].command),
        ("command-checksum", 2)
    );
    assert!(findings[0].path.is_some());
    // What its payload shows of the damage comes after, with the byte.
    let mut behind = findings[1..].iter();
    assert!(behind.all(|f| f.command == 2 && f.payload_offset.is_some()));
    let at = stream.windows(3).position(|w| w == b"\x01\0f").unwrap() + 2;
    stream[at] ^= 1;
    let (findings, summary) = checked(&stream);
    let wrong = findings.iter().filter(|f| f.code == "command-checksum");
    let found: Vec<_> = wrong.map(|f| f.command).collect();
    assert_eq!(found, [1, 2]);
    assert_eq!(summary.commands, 5);
    assert_eq!(summary.whole_bytes, len as u64);
}

#[test]
fn a_cut_stream_says_how_much_is_whole() {
    let stream = small_stream();
    let (findings, summary) = checked(&stream[..stream.len() - 11]);
    assert_eq!(findings.len(), 1);
    assert_eq!(findings[0].code, "truncated");
    assert_eq!((findings[0].command, summary.commands), (3, 3));
    assert_eq!(findings[0].offset, summary.whole_bytes);
    let (findings, _) = checked(&stream[..stream.len() - 10]);
    assert_eq!(findings[0].code, "missing-end");
    assert_eq!(codes(b"no stream"), ["not-a-send-stream"]);
    assert_eq!(codes(b"btrfs-stream\0\x09\0\0\0"), ["unknown-version"]);
}

/// The check has an error wherever a kernel would not give the data, and where it has none,
/// every kernel gives what the decoder gives.
fn judged_as_predicted(payload: Vec<u8>, id: EncodedIoId, len: u64, offset: u64) {
    let fields = btrfs_payload::rules::ExtentFields::whole(len, id);
    let mut writer = begun(Version::V2);
    let payload = Bytes::from(payload);
    if writer
        .write_claimed(&"f".into(), offset, &fields, &payload)
        .is_err()
    {
        return;
    }
    let (findings, summary) = checked(&writer.finish().unwrap());
    let write = command::EncodedWrite::claimed("f".into(), offset, &fields, payload.clone());
    let data = decode_extent(&write);
    let target = Target::default().at(offset);
    for kernel in Kernel::ALL {
        let outcome = predict(&payload, &fields, &target, kernel);
        match (&outcome, &data) {
            (Outcome::Data { bytes, .. }, Ok(data)) => assert_eq!(bytes, &data.data),
            (Outcome::Refused(_), Ok(data)) => assert!(data.falls_back),
            (_, Err(NotSound(_))) => {}
            (outcome, Ok(_)) => panic!("sound, but Linux {kernel}: {outcome:?}"),
        }
    }
    assert_eq!(summary.is_sound(), data.is_ok(), "{findings:?}");
    let errors = findings.iter().filter(|f| f.severity == Severity::Error);
    assert!(errors.clone().count() > 0 || data.is_ok());
    assert!(errors.clone().all(|f| f.path.is_some() && f.command == 2));
}

#[test]
fn damage_under_a_repaired_checksum_is_judged_as_predicted() {
    let data = text(20_000);
    let lzo = {
        use btrfs_payload::prepare::{Options, Prepared, prepare_extent};
        match prepare_extent(&data, &Options::new(Codec::Lzo, Level::Default)).unwrap() {
            Prepared::Encoded(extent) => extent.payload().to_vec(),
            other => panic!("{other:?}"),
        }
    };
    let payloads = [
        (zstd_of(&data), EncodedIoId::ZSTD),
        (zlib_of(&data), EncodedIoId::ZLIB),
        (lzo, EncodedIoId::LZO_4K),
    ];
    for (payload, id) in payloads {
        judged_as_predicted(payload.clone(), id, 20_000, 0);
        for step in 0..120 {
            // The head bit by bit, then all over.
            let bit = if step < 60 {
                step
            } else {
                step * 997 % (payload.len() * 8)
            };
            let mut damaged = payload.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            judged_as_predicted(damaged, id, 20_000, 0);
            judged_as_predicted(payload[..payload.len() - step].to_vec(), id, 20_000, 4096);
        }
    }
}

/// A stream that never ends: one command again and again.
struct Endless {
    head: Vec<u8>,
    again: Vec<u8>,
    at: usize,
    left: usize,
}

impl Read for Endless {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if !self.head.is_empty() {
            let n = buffer.len().min(self.head.len());
            buffer[..n].copy_from_slice(&self.head[..n]);
            self.head.drain(..n);
            return Ok(n);
        }
        if self.left == 0 {
            return Ok(0);
        }
        let rest = &self.again[self.at..];
        let n = buffer.len().min(rest.len());
        buffer[..n].copy_from_slice(&rest[..n]);
        self.at = (self.at + n) % self.again.len();
        if self.at == 0 {
            self.left -= 1;
        }
        Ok(n)
    }
}

fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS"));
    line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok())
        .unwrap_or(0)
}

#[test]
fn memory_does_not_grow_with_the_stream() {
    let data = text(131_072);
    let mut writer = begun(Version::V2);
    writer.write_data(&"f".into(), 0, &data).unwrap();
    let whole = writer.finish_open().unwrap();
    let head = begun(Version::V2).finish_open().unwrap();
    let endless = |left| Endless {
        again: whole[head.len()..].to_vec(),
        head: head.clone(),
        at: 0,
        left,
    };
    let run = |left| {
        let options = CheckOptions::default();
        check(endless(left), &options, jobs(2), |_| {}).unwrap();
        let Work::Recompress(options) = Work::recompress(Codec::Zstd, Level::Number(1)) else {
            panic!();
        };
        use btrfs_payload::transform::recompress;
        // Without an END, which ends the work at last.
        let input = endless(left);
        recompress(input, std::io::sink(), &options, jobs(2), |_| {}).unwrap_err();
        resident_kib()
    };
    let few = run(40);
    let many = run(2000);
    // 256 MiB went through; other tests of this process run besides.
    assert!(many < few + 96 * 1024, "{few} KiB, then {many} KiB");
}

#[test]
fn names_beyond_the_limit_end_the_following_of_paths() {
    let mut writer = begun(Version::V1);
    for ino in 0..100_u64 {
        let path = format!("file {ino}").into();
        writer
            .write_command(&command::MkFile { path, ino })
            .unwrap();
    }
    let unlink = command::Unlink {
        path: "never made".into(),
    };
    writer.write_command(&unlink).unwrap();
    let stream = writer.finish().unwrap();
    assert_eq!(codes(&stream), ["path-unknown"]);
    let mut options = CheckOptions::default();
    options.max_names = 50;
    let mut found = Vec::new();
    check(&stream[..], &options, jobs(1), |f| found.push(f.code)).unwrap();
    assert_eq!(found, ["order-unchecked"]);
}

quickcheck! {
    fn anything_is_worked_on_without_panic(
        bytes: Vec<u8>, changes: Vec<(u16, u8)>, cut: u16
    ) -> bool {
        let mut stream = small_stream();
        for (place, value) in changes {
            let place = usize::from(place) % stream.len();
            stream[place] ^= value;
        }
        stream.truncate(usize::from(cut) % (stream.len() + 1));
        stream.extend(&bytes);
        let sound = checked(&stream).1.is_sound();
        for work in [
            Work::recompress(Codec::Zstd, Level::Number(1)),
            Work::decompress(true),
            Work::reframe(65536),
        ] {
            // What the check finds sound can be worked on.
            if let Err(error) = work.on(&stream, 2) {
                assert!(!sound, "{error}");
            }
        }
        true
    }
}
