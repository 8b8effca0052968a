//! Files written extent by extent on the running kernel: fallbacks, verification, late errors.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)] // helpers fail as tests do

mod support;

use std::fs::{self, File, OpenOptions};
use std::io::{self, IoSlice, Read, Seek, SeekFrom, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::process::Command;

use btrfs_payload::extent::{Content, EncodedExtent, FileExtent};
use btrfs_payload::ioctl::{
    self, ExtentWriter, FallbackReason, Submission, VerifyError, WriteError, WriterError,
};
use btrfs_payload::rules::EncodedIoId;
use bytes::Bytes;
use support::{chattr_c, create, extent, from, text, unprivileged, whole, zlib_of, zstd_of};

const KIB: u64 = 1024;

/// A file of every kind of item, and what it reads as.
fn items(data: &[u8]) -> (Vec<FileExtent<EncodedExtent>>, Vec<u8>) {
    let zstd = extent(
        zstd_of(&data[..131_072]),
        whole(&data[..131_072], EncodedIoId::ZSTD),
        0,
    );
    let tail = &data[..5000];
    let zlib = extent(zlib_of(tail), whole(tail, EncodedIoId::ZLIB), 256 * KIB);
    let noise = support::generated(24 * 1024).remove(4).data;
    let mut expected = data[..131_072].to_vec();
    expected.extend(&noise[..4096]);
    expected.resize(256 * 1024, 0);
    expected.extend(tail);
    expected.resize(1 << 20, 0);
    let items = vec![
        FileExtent::encoded(0, zstd),
        FileExtent::plain(128 * KIB, Bytes::copy_from_slice(&noise[..4096])),
        FileExtent::hole(132 * KIB, 124 * KIB),
        FileExtent::encoded(256 * KIB, zlib),
        FileExtent::hole(256 * KIB + 5000, (1 << 20) - 256 * KIB - 5000),
    ];
    (items, expected)
}

#[test]
fn files_are_written_with_fallbacks_and_verified() {
    let test = "files_are_written_with_fallbacks_and_verified";
    let Some(fs) = support::btrfs(test, &Default::default()) else {
        return;
    };
    let data = text(128 * 1024);
    let (items, expected) = items(&data);
    let write = |file: &File| {
        let mut writer = ExtentWriter::new(file, from(&expected)).unwrap();
        for item in &items {
            writer.write(item).unwrap();
        }
        let summary = writer.finish_verified().unwrap();
        assert_eq!(summary.verified, 1 << 20);
        let mut read = Vec::new();
        let mut file = file;
        file.seek(SeekFrom::Start(0)).unwrap();
        file.read_to_end(&mut read).unwrap();
        assert!(read == expected);
        summary
    };
    let fallbacks = |summary: &ioctl::WriteSummary| {
        let all = summary.fallbacks.iter();
        all.map(|fallback| (fallback.reason, fallback.tally.extents))
            .collect::<Vec<_>>()
    };

    let summary = write(&create(fs.join("new")));
    assert_eq!(
        (summary.encoded.extents, summary.encoded.bytes),
        (2, 131_072 + 5000)
    );
    assert_eq!((summary.plain.extents, summary.plain.bytes), (1, 4096));
    assert_eq!((summary.holes.extents, summary.holes.stored), (2, 0));
    assert_eq!(fallbacks(&summary), []);

    // Over old data: holes are made.
    let old = create(fs.join("old"));
    old.write_all_at(&vec![7; 200 * 1024], 0).unwrap();
    write(&old);
    let holes = ioctl::extents(&old).map(Result::unwrap);
    let holes = holes.filter(|extent| extent.content == Content::Hole);
    assert!(holes.map(|hole| hole.len).sum::<u64>() > 800 * KIB);

    for (file, reason) in [
        (chattr_c(&fs.join("no-cow")), FallbackReason::NoDataSum),
        (
            create(fs.outside().join("elsewhere")),
            FallbackReason::NotBtrfs,
        ),
    ] {
        let summary = write(&file);
        assert_eq!(summary.encoded.extents, 0);
        assert_eq!(summary.plain.bytes, 131_072 + 4096 + 5000);
        assert_eq!(fallbacks(&summary), [(reason, 2)]);
    }
    let file = create(fs.join("denied"));
    let summary = unprivileged(|| write(&file));
    assert_eq!(fallbacks(&summary), [(FallbackReason::NotPermitted, 2)]);

    let append = OpenOptions::new()
        .append(true)
        .open(fs.join("new"))
        .unwrap();
    let refused = ExtentWriter::new(&append, from(&expected)).unwrap_err();
    assert!(matches!(refused, WriterError::Append));
    // Plain data would not be better aligned: an error, not a fallback.
    let file = create(fs.join("unaligned"));
    let mut writer = ExtentWriter::new(&file, from(&expected)).unwrap();
    let unaligned = FileExtent {
        offset: 100,
        ..items[0].clone()
    };
    let error = writer.write(&unaligned).unwrap_err();
    assert!(
        matches!(error, WriterError::Encoded { offset: 100, .. }),
        "{error}"
    );
}

#[test]
fn verification_finds_what_the_kernel_took_unseen() {
    let test = "verification_finds_what_the_kernel_took_unseen";
    let Some(fs) = support::btrfs(test, &Default::default()) else {
        return;
    };
    let data = text(256 * 1024);
    let (first, second) = data.split_at(128 * 1024);
    let good = zstd_of(first);
    let write = |name: &str, payload: &[u8], id| {
        let file = create(fs.join(name));
        let parts = [(0, &good[..], EncodedIoId::ZSTD), (128 * 1024, payload, id)];
        for (offset, payload, id) in parts {
            let submission = Submission::new(offset, whole(first, id));
            ioctl::submit(&file, &submission, &[IoSlice::new(payload)]).unwrap();
        }
        file
    };
    let size = 256 * KIB;

    let file = write("good", &zlib_of(second), EncodedIoId::ZLIB);
    assert_eq!(ioctl::verify(&file, size, from(&data)).unwrap(), size);
    assert!(matches!(
        ioctl::verify(&file, size - 1, from(&data)),
        Err(VerifyError::Size { got, expected }) if got == size && expected == size - 1
    ));
    let failing = ioctl::verify(&file, size, |_, _: &mut [u8]| {
        Err(io::ErrorKind::NotFound.into())
    });
    assert!(matches!(
        failing,
        Err(VerifyError::Source { offset: 0, .. })
    ));

    // A stream that decodes well, to something else: one byte of 131072 is another.
    let mut other = second.to_vec();
    other[100_000] ^= 0x20;
    let file = write("other", &zlib_of(&other), EncodedIoId::ZLIB);
    let error = ioctl::verify(&file, size, from(&data)).unwrap_err();
    let VerifyError::Different {
        offset,
        got,
        expected,
        extent,
    } = error
    else {
        panic!("{error}");
    };
    assert_eq!(offset, 128 * KIB + 100_000);
    assert_eq!((got, expected), (other[100_000], second[100_000]));
    let extent = extent.unwrap();
    assert_eq!(extent.compression, EncodedIoId::ZLIB);
    assert_eq!(extent.unencoded_offset, 100_000);

    // A frame with a checksum of something else: the last page cannot be read.
    let mut compressor = zstd::bulk::Compressor::new(3).unwrap();
    compressor.include_checksum(true).unwrap();
    let mut wrong = compressor.compress(second).unwrap();
    *wrong.last_mut().unwrap() ^= 1;
    let file = write("checksum", &wrong, EncodedIoId::ZSTD);
    let error = ioctl::verify(&file, size, from(&data)).unwrap_err();
    let VerifyError::Read {
        offset,
        extent,
        source,
    } = error
    else {
        panic!("{error}");
    };
    assert_eq!(offset, size - 4096);
    assert_eq!(extent.unwrap().compression, EncodedIoId::ZSTD);
    assert_eq!(source.raw_os_error(), Some(5));
}

#[test]
fn errors_of_the_device_are_reported_late_but_reported() {
    let test = "errors_of_the_device_are_reported_late_but_reported";
    let options = support::Options {
        device_holds: Some(24 << 20),
        ..support::Options::default().sized(512 << 20)
    };
    let Some(fs) = support::btrfs(test, &options) else {
        return;
    };
    // 48 MiB of payload for a device that holds 24: every call succeeds.
    let noise = support::generated(6 << 17).remove(4).data;
    let mut data = noise[..126_000].to_vec();
    data.resize(128 * 1024, 0);
    let good = extent(zstd_of(&data), whole(&data, EncodedIoId::ZSTD), 0);
    let file = create(fs.join("file"));
    let mut writer = ExtentWriter::new(file.as_fd(), from(&[])).unwrap();
    for i in 0..384 {
        writer
            .write(&FileExtent::encoded(i * 128 * KIB, good.clone()))
            .unwrap();
    }
    let error = writer.finish().unwrap_err();
    assert!(
        matches!(error, WriterError::Verify(VerifyError::Sync(_))),
        "{error}"
    );
}

#[test]
fn verification_reads_from_the_device() {
    let test = "verification_reads_from_the_device";
    let options = support::Options::default().sized(128 << 20);
    let Some(fs) = support::btrfs(test, &options) else {
        return;
    };
    let data = text(64 * 1024);
    let path = fs.join("file");
    let file = create(&path);
    file.write_all_at(&data, 0).unwrap();
    assert_eq!(
        ioctl::verify(&file, 64 * KIB, from(&data)).unwrap(),
        64 * KIB
    );
    // With the file in the page cache, its data changes behind the filesystem's back.
    assert!(fs::read(&path).unwrap() == data);
    let image = OpenOptions::new()
        .read(true)
        .write(true)
        .open(fs.image())
        .unwrap();
    let mut bytes = Vec::new();
    (&image).read_to_end(&mut bytes).unwrap();
    let at = bytes
        .windows(64)
        .position(|window| window == &data[8192..8256])
        .unwrap();
    image
        .write_all_at(b"X", u64::try_from(at).unwrap())
        .unwrap();
    let error = ioctl::verify(&file, 64 * KIB, from(&data)).unwrap_err();
    assert!(
        matches!(
            error,
            VerifyError::Read {
                offset: 8192,
                extent: None,
                ..
            }
        ),
        "{error}"
    );
}

#[test]
fn full_filesystems_and_quotas_are_told_apart() {
    let test = "full_filesystems_and_quotas_are_told_apart";
    let options = support::Options::default()
        .sized(128 << 20)
        .made_with(&["--mixed"]);
    let Some(fs) = support::btrfs(test, &options) else {
        return;
    };
    let data = text(128 * 1024);
    let good = extent(zstd_of(&data), whole(&data, EncodedIoId::ZSTD), 0);

    let btrfs = |arguments: &[&str]| {
        let output = Command::new("btrfs")
            .args(arguments)
            .arg(fs.join("limited"))
            .output();
        assert!(output.unwrap().status.success(), "btrfs {arguments:?}");
    };
    btrfs(&["subvolume", "create"]);
    btrfs(&["quota", "enable"]);
    btrfs(&["qgroup", "limit", "64K"]);
    let file = create(fs.join("limited/file"));
    let until_it_fails = |file: &File| {
        (0..10_000)
            .find_map(|i| ioctl::encoded_write(file, i * 128 * KIB, &good).err())
            .unwrap()
    };
    let error = until_it_fails(&file);
    assert!(matches!(error, WriteError::QuotaExceeded), "{error}");

    let [mut filler, file, last] = ["filler", "file", "last"].map(|name| create(fs.join(name)));
    let noise = support::generated(6 << 20).pop().unwrap().data;
    while filler
        .write_all(&noise)
        .and_then(|()| filler.sync_all())
        .is_ok()
    {}
    let error = until_it_fails(&file);
    assert!(matches!(error, WriteError::NoSpace), "{error}");

    // Then plain data is tried, and has no place either.
    let data = noise.repeat(20);
    let mut writer = ExtentWriter::new(&last, from(&data)).unwrap();
    let outcome =
        (0..100).try_for_each(|i| writer.write(&FileExtent::encoded(i * 128 * KIB, good.clone())));
    let outcome = outcome.and_then(|()| writer.finish().map(|_| ()));
    let error = outcome.unwrap_err();
    assert!(
        matches!(
            error,
            WriterError::Plain { .. } | WriterError::Verify(VerifyError::Sync(_))
        ),
        "{error}"
    );
}
