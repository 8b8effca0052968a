//! An extent gets to no place that it was not judged for: not through the ioctl, and not through
//! a send stream. What the kernel does where nobody asks is shown beside it.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)] // helpers fail as tests do

mod support;

use std::fs::{self, File};
use std::io::IoSlice;
use std::path::Path;

use btrfs_payload::extent::{EncodedExtent, FileExtent, WrongPlace};
use btrfs_payload::ioctl::{self, ExtentWriter, Submission, WriteError, WriterError};
use btrfs_payload::rules::{EncodedIoId, ExtentFields, Target};
use btrfs_payload::send_stream::{self, EncodeError, Version, Writer};
use btrfs_payload::validate::NotSound;
use bytes::Bytes;
use sha2::{Digest, Sha256};
use support::{create, extent, from, text, whole, zlib_of, zstd_of};

/// 4096 bytes as an LZO payload of two segments, made by hand: no kernel reads it as an inline
/// extent, every kernel reads it as a regular one. And the digest of the bytes.
fn two_segments() -> (Bytes, ExtentFields, String) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("testdata/cases/lzo-two-segments-where-inline-is-possible.json");
    let case: serde_json::Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    let digits: String = case["payload"]
        .as_array()
        .unwrap()
        .iter()
        .map(|line| line.as_str().unwrap())
        .collect();
    let byte = |at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap();
    let payload: Vec<u8> = (0..digits.len()).step_by(2).map(byte).collect();
    let fields = ExtentFields::whole(4096, EncodedIoId::LZO_4K);
    let digest = case["intended_sha256"].as_str().unwrap().to_owned();
    (payload.into(), fields, digest)
}

fn digest(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The two segments, judged after the start of a file.
fn judged_at_4096() -> EncodedExtent {
    let (payload, fields, _) = two_segments();
    EncodedExtent::new(payload, fields, &Target::default().at(4096)).unwrap()
}

const INLINE: WrongPlace = WrongPlace::Inline { len: 4096 };

#[test]
fn the_kernel_takes_what_it_cannot_read_and_we_refuse() {
    let test = "the_kernel_takes_what_it_cannot_read_and_we_refuse";
    let Some(fs) = support::btrfs(test, &Default::default()) else {
        return;
    };
    let (payload, fields, intended) = two_segments();
    let pieces = [IoSlice::new(&payload[..100]), IoSlice::new(&payload[100..])];
    let judged = judged_at_4096();

    // As a regular extent it is good: after the start, or in a file that is longer.
    for name in ["after", "after, in pieces"] {
        let file = create(fs.join(name));
        let taken = match name {
            "after" => ioctl::encoded_write(&file, 4096, &judged),
            _ => ioctl::encoded_write_vectored(&file, 4096, &fields, &pieces),
        };
        assert_eq!(taken.unwrap(), payload.len());
    }
    let longer = create(fs.join("longer"));
    longer.set_len(4097).unwrap();
    ioctl::encoded_write(&longer, 0, &judged).unwrap();

    // At the start of a file that is no longer it is refused, and nothing is written.
    for size in [0, 4096] {
        let file = create(fs.join(format!("start of {size}")));
        file.set_len(size).unwrap();
        let error = ioctl::encoded_write(&file, 0, &judged).unwrap_err();
        assert!(
            matches!(error, WriteError::WrongPlace(INLINE)),
            "{error}, {size}"
        );
        let error = ioctl::encoded_write_vectored(&file, 0, &fields, &pieces).unwrap_err();
        let WriteError::NotSound(NotSound(report)) = error else {
            panic!("{error}");
        };
        let codes: Vec<_> = report.errors().map(|error| error.code).collect();
        assert_eq!(codes, ["lzo-inline-shape"]);
        let mut writer = ExtentWriter::new(&file, from(&[])).unwrap();
        let error = writer.write(&FileExtent::encoded(0, judged.clone()));
        assert!(matches!(
            error.unwrap_err(),
            WriterError::Encoded {
                offset: 0,
                source: WriteError::WrongPlace(INLINE)
            }
        ));
        assert_eq!(ioctl::extents(&file).count(), usize::from(size > 0));
    }

    // The kernel does not look: it takes it, and cannot read it.
    let raw = create(fs.join("raw"));
    let taken = ioctl::submit(&raw, &Submission::new(0, fields), &pieces).unwrap();
    assert_eq!(taken, payload.len());

    drop((longer, raw));
    fs.remount();
    for name in ["after", "after, in pieces"] {
        let read = fs::read(fs.join(name)).unwrap();
        assert!(read[..4096].iter().all(|&byte| byte == 0), "{name}");
        assert_eq!(digest(&read[4096..]), intended, "{name}");
    }
    let read = fs::read(fs.join("longer")).unwrap();
    assert_eq!(digest(&read[..4096]), intended);
    // EUCLEAN.
    let error = fs::read(fs.join("raw")).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(117), "{error}");
}

/// What a mount option makes inline is out of sight.
#[test]
fn the_largest_max_inline_is_taken_for_granted() {
    let test = "the_largest_max_inline_is_taken_for_granted";
    let options = support::Options::default().mounted_with("max_inline=4095");
    let Some(fs) = support::btrfs(test, &options) else {
        return;
    };
    // A stream that decodes to 96 bytes less than it stands for: zeroes in a regular extent, no
    // answer in an inline one (from Linux 6.8 on).
    let samples = support::generated(6 * 4096);
    let (words, noise) = (&samples[2].data, &samples[4].data);
    let payload = zlib_of(&[&noise[..1500], &words[..2500]].concat());
    assert!((2049..4000).contains(&payload.len()), "{}", payload.len());
    let fields = ExtentFields::whole(4096, EncodedIoId::ZLIB);
    // With the default of `max_inline`, 2048 bytes, it is a regular extent at offset 0.
    let judged = extent(payload.clone(), fields, 0);
    let file = create(fs.join("file"));
    let error = ioctl::encoded_write(&file, 0, &judged).unwrap_err();
    assert!(matches!(error, WriteError::WrongPlace(INLINE)), "{error}");
    ioctl::submit(
        &file,
        &Submission::new(0, fields),
        &[IoSlice::new(&payload)],
    )
    .unwrap();
    drop(file);
    fs.remount();
    let error = fs::read(fs.join("file")).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(5), "{error}");
}

#[test]
fn another_sector_size_is_refused() {
    let Some(fs) = support::btrfs("another_sector_size_is_refused", &Default::default()) else {
        return;
    };
    let data = text(32 * 1024);
    let fields = whole(&data, EncodedIoId::ZSTD);
    let judged = EncodedExtent::new(zstd_of(&data).into(), fields, &Target::new(16384)).unwrap();
    let file: File = create(fs.join("file"));
    let error = ioctl::encoded_write(&file, 0, &judged).unwrap_err();
    let sizes = WrongPlace::SectorSize {
        got: 16384,
        expected: 4096,
    };
    assert!(matches!(error, WriteError::WrongPlace(wrong) if wrong == sizes));
    assert_eq!(file.metadata().unwrap().len(), 0);
}

#[test]
fn a_stream_takes_no_extent_for_another_place() {
    let path = Bytes::from("f");
    let wrong = |result: Result<(), send_stream::WriteError>| match result {
        Err(send_stream::WriteError::Command(EncodeError::WrongPlace(wrong))) => Some(wrong),
        Ok(()) => None,
        Err(error) => panic!("{error}"),
    };
    let mut writer = Writer::new(Vec::new(), Version::V2).unwrap();
    // A receiver may have an empty file, whatever this stream does before.
    let judged = judged_at_4096();
    assert_eq!(wrong(writer.write_encoded(&path, 0, &judged)), Some(INLINE));
    assert_eq!(wrong(writer.write_encoded(&path, 4096, &judged)), None);
    let data = text(32 * 1024);
    let fields = whole(&data, EncodedIoId::ZSTD);
    let other = EncodedExtent::new(zstd_of(&data).into(), fields, &Target::new(16384)).unwrap();
    assert_eq!(
        wrong(writer.write_encoded(&path, 16384, &other)),
        Some(WrongPlace::SectorSize {
            got: 16384,
            expected: 4096
        })
    );
    // Nothing of what was refused is in the stream.
    let mut expected = Writer::new(Vec::new(), Version::V2).unwrap();
    expected.write_encoded(&path, 4096, &judged).unwrap();
    assert!(writer.finish().unwrap() == expected.finish().unwrap());
}

/// What nobody has judged is not shown: a second stream, which no reader joins to the first,
/// does no harm to those who want the first only.
#[test]
fn a_slice_stays_in_what_was_judged() {
    let data = text(8192);
    let mut payload = zlib_of(&data[..4096]);
    payload.extend(zlib_of(&data[4096..]));
    let fields = whole(&data, EncodedIoId::ZLIB);
    let target = Target::default();
    let first = ExtentFields {
        len: 4096,
        ..fields
    };
    assert!(EncodedExtent::new(payload.clone().into(), fields, &target).is_err());
    let judged = EncodedExtent::new(payload.into(), first, &target).unwrap();
    judged.slice(0, 4096).unwrap();
    judged.slice(0, 100).unwrap();
    for (unencoded_offset, len) in [(0, 8192), (4096, 4096), (0, 0), (100, 100), (0, u64::MAX)] {
        let refused = judged.slice(unencoded_offset, len).unwrap_err();
        assert_eq!(
            (refused.unencoded_offset, refused.len),
            (unencoded_offset, len)
        );
        assert_eq!((refused.shown_offset, refused.shown), (0, 4096));
    }
}
