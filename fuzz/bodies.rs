//! What the fuzz targets do with their input. The tests run the same bodies on random input, so
//! that a target that no longer works is noticed without a fuzzer.

use btrfs_payload::Kernel;
use btrfs_payload::prepare::{Keep, Level, Options, Prepared, prepare_extent};
use btrfs_payload::rules::{Codec, EncodedIoId, ExtentFields, Target};
use btrfs_payload::send_stream::{Command, Reader};
use btrfs_payload::transform::{
    CheckOptions, DecompressOptions, PlainVersion, RecompressOptions, ReframeOptions, StatsOptions,
    check, decompress, recompress, reframe, stats,
};
use btrfs_payload::validate::{Outcome, decode, predict, validate, validate_by_walking};

/// Claims from the first bytes, the payload from the rest: judged in both ways, predicted for
/// every kernel; what is sound is read alike.
pub fn payload(input: &[u8]) {
    let Some((claims, payload)) = input.split_first_chunk::<8>() else {
        return;
    };
    let [kind, sectors, slice, shift, a, b, c, place] = *claims;
    let unencoded_len = u64::from(u32::from_le_bytes([a, b, c & 1, 0])) + 1;
    let unencoded_offset = u64::from(slice % 32) * 4096;
    let fields = ExtentFields {
        len: unencoded_len.saturating_sub(unencoded_offset),
        unencoded_len,
        unencoded_offset,
        compression: EncodedIoId(u32::from(kind % 9)),
        encryption: 0,
    };
    let target = Target::new(4096 << (shift % 5))
        .at(u64::from(place % 2) * 65536)
        .file_size(u64::from(sectors) * 4096);
    let report = validate(payload, &fields, &target);
    assert_eq!(report, validate_by_walking(payload, &fields, &target));
    let bytes = decode(payload, &fields, &target).ok();
    assert_eq!(bytes.is_some(), report.is_sound());
    for kernel in Kernel::ALL {
        let outcome = predict(payload, &fields, &target, kernel);
        if let Some(bytes) = &bytes {
            assert!(
                matches!(
                    &outcome,
                    Outcome::Data { bytes: read, right, .. } if read == bytes && *right == read.len()
                ),
                "{kernel}"
            );
        }
    }
}

/// A send stream: every command parsed, every finding of the reader asked for.
pub fn stream(input: &[u8]) {
    for raw in Reader::new(input) {
        let Ok(raw) = raw else { return };
        let _ = raw.issues().count();
        let _ = Command::parse(&raw);
    }
}

/// Data: what is made of it is sound and decodes to it.
pub fn encode(input: &[u8]) {
    let Some(([choice, shift], data)) = input.split_first_chunk::<2>() else {
        return;
    };
    let codec = match choice % 3 {
        0 => Codec::Zlib,
        1 => Codec::Lzo,
        _ => Codec::Zstd,
    };
    let level = match choice / 3 % 4 {
        0 => Level::Default,
        1 => Level::Number(1),
        2 => Level::Number(9),
        _ => Level::Smallest,
    };
    let mut options = Options::new(codec, level).sector_size(4096 << (shift % 5));
    options.keep = Keep::Smaller;
    if let Ok(Prepared::Encoded(extent)) = prepare_extent(data, &options) {
        let decoded = decode(extent.payload(), extent.fields(), &options.target);
        assert_eq!(decoded.as_deref(), Ok(data));
    }
}

/// Commands made of the input, with lengths and checksums that are right and claims that are not:
/// everything that is done to streams is done to them. What is made of a stream without an error
/// has none either.
pub fn rewrite(input: &[u8]) {
    let stream = commands::stream(input);
    let jobs =
        std::num::NonZeroUsize::MIN.saturating_add(usize::from(input.len().is_multiple_of(2)));
    let errors = |stream: &[u8]| {
        let options = CheckOptions::default();
        let summary = check(stream, &options, jobs, |_| ()).unwrap_or_default();
        summary.errors
    };
    let is_sound = errors(&stream) == 0;
    let mut results = Vec::new();
    let extents = Options::new(Codec::Zstd, Level::Number(1));
    let recompression = RecompressOptions::new(extents);
    let mut out = Bounded::default();
    let done = recompress(&stream[..], &mut out, &recompression, jobs, |_| ());
    results.push((done.is_ok(), out.0, "recompress"));
    for version in [PlainVersion::V1, PlainVersion::V2] {
        let mut options = DecompressOptions::default();
        options.version = version;
        let mut out = Bounded::default();
        let done = decompress(&stream[..], &mut out, &options, jobs);
        results.push((done.is_ok(), out.0, "decompress"));
    }
    let mut options = ReframeOptions::new(Target::new(4096), Level::Default);
    let mut out = Bounded::default();
    let done = reframe(&stream[..], &mut out, &options, jobs, |_| ());
    results.push((done.is_ok(), out.0, "reframe"));
    options.target = Target::new(65536);
    let _ = reframe(&stream[..], std::io::sink(), &options, jobs, |_| ());
    let mut counted = StatsOptions::default();
    counted.estimates = vec![(Codec::Zlib, Level::Number(1))];
    let _ = stats(&stream[..], &counted, jobs);
    for (done, out, work) in results {
        assert!(!(is_sound && done) || errors(&out) == 0, "{work}");
    }
}

/// Takes up to a megabyte: a hole of 64 GiB is a legal command.
#[derive(Default)]
struct Bounded(Vec<u8>);

impl std::io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if self.0.len() + bytes.len() > 1 << 20 {
            return Err(std::io::ErrorKind::StorageFull.into());
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Streams whose frames are right.
mod commands {
    use btrfs_payload::send_stream::{Attribute, CommandKind, ValueType};

    const NUMBERS: [u64; 16] = [
        0,
        1,
        3,
        100,
        4095,
        4096,
        8192,
        1 << 17,
        (1 << 31) - 1,
        1 << 31,
        u32::MAX as u64,
        (1 << 62) + 4096,
        (1 << 63) - 4096,
        (1 << 63) - 1,
        u64::MAX - 4095,
        u64::MAX,
    ];

    const NAMES: [&[u8]; 8] = [
        b"f", b"g", b"d", b"d/f", b"", b"user.x", b"a/../b", b"\xff\n",
    ];

    /// One zstd frame of 12 bytes, `AAAABBBBCCCC` in a raw block.
    const FRAME: &[u8] = b"\x28\xb5\x2f\xfd\x20\x0c\x61\0\0AAAABBBBCCCC";

    /// Bytes of the input, zero past its end.
    struct Choices<'a>(&'a [u8]);

    impl Choices<'_> {
        fn byte(&mut self) -> u8 {
            let (first, rest) = self.0.split_first().unwrap_or((&0, &[]));
            self.0 = rest;
            *first
        }

        fn of<T: Copy>(&mut self, from: &[T]) -> T {
            from[usize::from(self.byte()) % from.len()]
        }

        fn value(&mut self, attribute: Attribute) -> Vec<u8> {
            match attribute.value_type() {
                ValueType::U8 => vec![self.byte()],
                ValueType::U32 => {
                    let number = self.of(&[0, 1, 2, 3, 5, 7, 16, 17, u32::MAX]);
                    number.to_le_bytes().to_vec()
                }
                ValueType::U64 => self.of(&NUMBERS).to_le_bytes().to_vec(),
                ValueType::Uuid => vec![self.byte() % 3; 16],
                ValueType::Timespec => vec![self.byte() % 60; 12],
                ValueType::String => self.of(&NAMES).to_vec(),
                // Data, and what may come.
                _ => match self.byte() {
                    0 => Vec::new(),
                    1..=99 => FRAME.to_vec(),
                    more => vec![more; usize::from(more) * 20],
                },
            }
        }
    }

    pub fn stream(input: &[u8]) -> Vec<u8> {
        let mut choices = Choices(input);
        let version = choices.byte() % 3 + 1;
        let mut stream = b"btrfs-stream\0".to_vec();
        stream.extend([version, 0, 0, 0]);
        let mut kind = choices.of(&[CommandKind::Subvol, CommandKind::Snapshot]);
        while !choices.0.is_empty() {
            let mut attributes = Vec::new();
            for used in kind.attributes() {
                let value = choices.value(used.attribute);
                attributes.extend(used.attribute.number().to_le_bytes());
                if used.attribute != Attribute::Data || version == 1 {
                    let len = u16::try_from(value.len()).unwrap_or(0);
                    attributes.extend(len.to_le_bytes());
                }
                attributes.extend(value);
            }
            stream.extend(frame(kind.number(), &attributes));
            kind = choices.of(CommandKind::ALL);
        }
        stream.extend(frame(CommandKind::End.number(), &[]));
        stream
    }

    fn frame(number: u16, attributes: &[u8]) -> Vec<u8> {
        let len = u32::try_from(attributes.len()).unwrap_or(0);
        let mut frame = [&len.to_le_bytes()[..], &number.to_le_bytes(), &[0; 4]].concat();
        frame.extend(attributes);
        let crc = crc(&frame);
        frame[6..10].copy_from_slice(&crc.to_le_bytes());
        frame
    }

    /// CRC-32C with the initial value 0 and no inversion, from the polynomial.
    fn crc(bytes: &[u8]) -> u32 {
        bytes.iter().fold(0, |crc, &byte| {
            (0..8).fold(crc ^ u32::from(byte), |crc, _| {
                (crc >> 1) ^ if crc & 1 == 1 { 0x82F6_3B78 } else { 0 }
            })
        })
    }
}
