//! The kernel interface on the running kernel: what goes in comes out, and every failure that
//! can be provoked is called by its cause.
//!
//! Payloads are made by libzstd, miniz_oxide and by hand, not by this crate's encoders.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)] // helpers fail as tests do

mod support;

use std::fs::{self, File, OpenOptions};
use std::io::{self, IoSlice, Read};
use std::os::unix::fs::{FileExt, OpenOptionsExt};

use btrfs_payload::extent::{ClaimedExtent, Content, EncodedExtent};
use btrfs_payload::ioctl::{self, EncodedIo, ProbeError, ReadError, Submission, WriteError};
use btrfs_payload::rules::{EncodedIoId, ExtentFields, WriteRule};
use btrfs_payload::validate::NotSound;
use bytes::Bytes;
use miniz_oxide::inflate::TINFLStatus;
use miniz_oxide::inflate::core::{decompress as inflate, inflate_flags};
use support::{chattr_c, create, extent, lzo_of_a, text, unprivileged, whole, zlib_of, zstd_of};

const KIB: u64 = 1024;

fn padded(payload: &[u8]) -> Vec<u8> {
    let mut padded = payload.to_vec();
    padded.resize(payload.len().next_multiple_of(4096), 0);
    padded
}

#[test]
fn what_is_written_is_read_back() {
    let Some(fs) = support::btrfs("what_is_written_is_read_back", &Default::default()) else {
        return;
    };
    let path = fs.join("file");
    let data = text(128 * 1024);
    let (zstd, zlib, lzo) = (zstd_of(&data), zlib_of(&data[..40_000]), lzo_of_a(2));
    let bookend = zstd_of(&data[..65536]);
    let slice = ExtentFields {
        len: 8192,
        unencoded_offset: 16384,
        ..whole(&data[..65536], EncodedIoId::ZSTD)
    };
    let noise = support::generated(24 * 1024).pop().unwrap().data;

    let file = create(&path);
    let write = |offset, payload: &Vec<u8>, fields| {
        let extent = extent(payload.clone(), fields, offset);
        assert_eq!(
            ioctl::encoded_write(&file, offset, &extent).unwrap(),
            payload.len()
        );
    };
    write(0, &zstd, whole(&data, EncodedIoId::ZSTD));
    write(
        128 * KIB,
        &lzo,
        ExtentFields::whole(8192, EncodedIoId::LZO_4K),
    );
    // A hole from 136 to 192 KiB.
    write(192 * KIB, &bookend, slice);
    file.write_all_at(&noise[..4096], 200 * KIB).unwrap();
    // An unaligned end is allowed at the end of the file.
    write(204 * KIB, &zlib, whole(&data[..40_000], EncodedIoId::ZLIB));
    let mut expected = data.clone();
    expected.resize(136 * 1024, b'a');
    expected.resize(192 * 1024, 0);
    expected.extend(&data[16384..24576]);
    expected.extend(&noise[..4096]);
    expected.extend(&data[..40_000]);

    // The same payload in three pieces, one empty.
    let vectored = create(fs.join("vectored"));
    let pieces = [&zstd[..1], &[], &zstd[1..5000], &zstd[5000..]].map(IoSlice::new);
    let fields = whole(&data, EncodedIoId::ZSTD);
    assert_eq!(
        ioctl::encoded_write_vectored(&vectored, 0, &fields, &pieces).unwrap(),
        zstd.len()
    );
    // At offset 0, all shown, at most a sector and at most max_inline: an inline extent.
    let inline = create(fs.join("inline"));
    let short = zlib_of(&data[..3000]);
    assert!(short.len() <= 2048);
    let fields = whole(&data[..3000], EncodedIoId::ZLIB);
    ioctl::encoded_write(&inline, 0, &extent(short.clone(), fields, 0)).unwrap();
    file.sync_all().unwrap();
    drop((file, vectored, inline));
    fs.remount();

    assert!(fs::read(&path).unwrap() == expected);
    assert!(fs::read(fs.join("vectored")).unwrap() == data);
    assert!(fs::read(fs.join("inline")).unwrap() == data[..3000]);

    let file = File::open(&path).unwrap();
    let found: Vec<_> = ioctl::extents(&file).map(Result::unwrap).collect();
    let offsets: Vec<_> = found
        .iter()
        .map(|extent| (extent.offset, extent.len))
        .collect();
    let kib = |(start, end): (u64, u64)| (start * KIB, (end - start) * KIB);
    let bounds = [(0, 128), (128, 136), (136, 192), (192, 200), (200, 204)].map(kib);
    assert_eq!(offsets[..5], bounds);
    assert_eq!(offsets[5..], [(204 * KIB, 40_000)]);
    let encoded = |payload: &[u8], fields| {
        let payload = padded(payload).into();
        Content::Encoded(ClaimedExtent { payload, fields })
    };
    assert!(found[0].content == encoded(&zstd, whole(&data, EncodedIoId::ZSTD)));
    assert!(found[1].content == encoded(&lzo, ExtentFields::whole(8192, EncodedIoId::LZO_4K)));
    assert!(found[2].content == Content::Hole);
    assert!(found[3].content == encoded(&bookend, slice));
    assert!(found[4].content == Content::Plain(Bytes::copy_from_slice(&noise[..4096])));
    // The disk has only the rounded unencoded length.
    let rounded = ExtentFields {
        unencoded_len: 40_960,
        ..whole(&data[..40_000], EncodedIoId::ZLIB)
    };
    assert!(found[5].content == encoded(&zlib, rounded));

    // From the middle of an extent: the rest of it.
    let rest = ioctl::extents(&file)
        .starting_at(196 * KIB)
        .next()
        .unwrap()
        .unwrap();
    let rest_of_slice = ExtentFields {
        len: 4096,
        unencoded_offset: 16384 + 4096,
        ..slice
    };
    assert!(rest.content == encoded(&bookend, rest_of_slice));

    // An inline payload is not padded, and its unencoded length not rounded.
    let inline = File::open(fs.join("inline")).unwrap();
    let found: Vec<_> = ioctl::extents(&inline).map(Result::unwrap).collect();
    assert_eq!(found.len(), 1);
    let fields = whole(&data[..3000], EncodedIoId::ZLIB);
    let payload = Bytes::from(short);
    assert!(found[0].content == Content::Encoded(ClaimedExtent { payload, fields }));
}

#[test]
fn reads_end_and_fail_by_name() {
    let Some(fs) = support::btrfs("reads_end_and_fail_by_name", &Default::default()) else {
        return;
    };
    let file = create(fs.join("file"));
    let data = text(128 * 1024);
    let zstd = zstd_of(&data);
    assert!(zstd.len() > 8192);
    let fields = whole(&data, EncodedIoId::ZSTD);
    ioctl::encoded_write(&file, 0, &extent(zstd, fields, 0)).unwrap();

    let mut buffer = vec![0; 128 * 1024];
    assert!(
        ioctl::encoded_read(&file, 128 * KIB, &mut buffer)
            .unwrap()
            .is_none()
    );
    assert!(
        ioctl::encoded_read(&file, 1 << 62, &mut buffer)
            .unwrap()
            .is_none()
    );
    let error = |result: Result<_, ReadError>| result.unwrap_err();
    let beyond = error(ioctl::encoded_read(&file, 1 << 63, &mut buffer));
    assert!(matches!(beyond, ReadError::Refused { offset } if offset == 1 << 63));
    for got in [0, 1, 8192] {
        let small = error(ioctl::encoded_read(&file, 0, &mut buffer[..got]));
        assert!(
            matches!(small, ReadError::BufferTooSmall { got: g } if g == got),
            "{small}"
        );
        assert!(small.to_string().contains("131072"));
    }
    let directory = File::open(fs.path()).unwrap();
    let error_of_directory = error(ioctl::encoded_read(&directory, 0, &mut buffer));
    assert!(matches!(error_of_directory, ReadError::NotAFile));
    let first = ioctl::extents(&directory).next().unwrap();
    assert!(matches!(first, Err(ReadError::NotAFile)));
    let (pipe, _keep) = io::pipe().unwrap();
    assert!(matches!(
        error(ioctl::encoded_read(&pipe, 0, &mut buffer)),
        ReadError::NotAFile
    ));
    let elsewhere = create(fs.outside().join("file"));
    elsewhere.set_len(4096).unwrap();
    let not_btrfs = error(ioctl::encoded_read(&elsewhere, 0, &mut buffer));
    assert!(matches!(not_btrfs, ReadError::NotBtrfs));
    let denied = unprivileged(|| error(ioctl::encoded_read(&file, 0, &mut [0; 4096])));
    assert!(matches!(denied, ReadError::NotPermitted));
    let path_only = OpenOptions::new()
        .read(true)
        .custom_flags(libc_o_path())
        .open(fs.join("file"));
    let path_only = error(ioctl::encoded_read(path_only.unwrap(), 0, &mut buffer));
    assert!(matches!(path_only, ReadError::NotReadable));

    // An empty file has no extent; a file of nothing but a hole has one.
    let empty = create(fs.join("empty"));
    assert_eq!(ioctl::extents(&empty).count(), 0);
    empty.set_len(5 << 30).unwrap();
    let holes: Vec<_> = ioctl::extents(&empty).map(Result::unwrap).collect();
    assert_eq!(holes.len(), 1);
    assert!((holes[0].len, &holes[0].content) == (5 << 30, &Content::Hole));
}

/// `O_PATH` (include/uapi/asm-generic/fcntl.h).
fn libc_o_path() -> i32 {
    i32::try_from(rustix::fs::OFlags::PATH.bits()).unwrap()
}

#[test]
fn write_failures_are_called_by_their_cause() {
    let test = "write_failures_are_called_by_their_cause";
    let Some(fs) = support::btrfs(test, &Default::default()) else {
        return;
    };
    let data = text(64 * 1024);
    let zstd = zstd_of(&data);
    let fields = whole(&data, EncodedIoId::ZSTD);
    let good = extent(zstd.clone(), fields, 0);
    let path = fs.join("file");
    let file = create(&path);

    let read_only = File::open(&path).unwrap();
    let error = ioctl::encoded_write(&read_only, 0, &good).unwrap_err();
    assert!(matches!(error, WriteError::NotWritable), "{error}");
    let error = ioctl::encoded_write(File::open(fs.path()).unwrap(), 0, &good).unwrap_err();
    assert!(matches!(error, WriteError::NotWritable), "{error}");
    let append = OpenOptions::new().append(true).open(&path).unwrap();
    let error = ioctl::encoded_write(&append, 0, &good).unwrap_err();
    assert!(matches!(error, WriteError::Append), "{error}");
    let elsewhere = create(fs.outside().join("file"));
    let error = ioctl::encoded_write(&elsewhere, 0, &good).unwrap_err();
    assert!(matches!(error, WriteError::NotBtrfs), "{error}");
    assert_eq!(error.raw_os_error(), Some(25));
    let error = unprivileged(|| ioctl::encoded_write(&file, 0, &good).unwrap_err());
    assert!(matches!(error, WriteError::NotPermitted), "{error}");
    assert_eq!(file.metadata().unwrap().len(), 0);

    // Every broken rule is named, whichever the kernel stumbled over first.
    let codes = |file: &File, offset, extent: &EncodedExtent| match ioctl::encoded_write(
        file, offset, extent,
    )
    .unwrap_err()
    {
        WriteError::Refused { rules } => rules.iter().map(|rule| rule.code()).collect::<Vec<_>>(),
        error => panic!("{error}"),
    };
    assert_eq!(codes(&file, 100, &good), ["unaligned-offset"]);
    assert_eq!(codes(&file, 1 << 63, &good)[0], "beyond-largest-file");
    // Claims that hold nowhere do not get as far as that.
    let unsound = |file: &File, offset, fields: &ExtentFields, payload: &[u8]| {
        let payload = [IoSlice::new(payload)];
        match ioctl::encoded_write_vectored(file, offset, fields, &payload).unwrap_err() {
            WriteError::NotSound(NotSound(report)) => {
                report.errors().map(|error| error.code).collect::<Vec<_>>()
            }
            error => panic!("{error}"),
        }
    };
    let lzo_16k = ExtentFields {
        compression: EncodedIoId(5),
        unencoded_offset: 100,
        len: 200,
        ..fields
    };
    let found = unsound(&file, 4096, &lzo_16k, &zstd);
    assert_eq!(
        found[..2],
        ["lzo-other-sector-size", "unaligned-unencoded-offset"]
    );
    file.set_len(1 << 20).unwrap();
    let unaligned_end = good.slice(0, 5000).unwrap();
    assert_eq!(codes(&file, 0, &unaligned_end), ["unaligned-end"]);
    let no_cow = chattr_c(&fs.join("no-cow"));
    assert_eq!(codes(&no_cow, 0, &good), ["file-without-checksums"]);

    // Two ways to success without a byte written; for us they are not sound.
    let written = create(fs.join("nothing"));
    let nothing = ExtentFields { len: 0, ..fields };
    for (fields, payload) in [(fields, &[][..]), (nothing, &zstd[..])] {
        let slices = [IoSlice::new(payload)];
        let submission = Submission::new(0, fields);
        assert_eq!(ioctl::submit(&written, &submission, &slices).unwrap(), 0);
        assert!(unsound(&written, 0, &fields, payload)[0].starts_with("empty-"));
        assert_eq!(written.metadata().unwrap().len(), 0);
    }

    // What only `submit` can do: flags, reserved bytes, a negative offset.
    let submission = Submission::new(0, fields);
    let mut reserved = submission;
    reserved.reserved[63] = 1;
    let flags = Submission {
        flags: 1,
        ..submission
    };
    let offset = Submission {
        offset: -4096,
        ..submission
    };
    for broken in [reserved, flags, offset] {
        let error = ioctl::submit(&written, &broken, &[IoSlice::new(&zstd)]).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(22));
    }
    let taken = ioctl::submit(&written, &submission, &[IoSlice::new(&zstd)]).unwrap();
    assert_eq!(taken, zstd.len());
}

#[test]
fn probing_tells_what_a_file_can_take() {
    let test = "probing_tells_what_a_file_can_take";
    let options = support::Options::default().made_with(&["--nodesize", "4096"]);
    let Some(mut fs) = support::btrfs(test, &options) else {
        return;
    };
    let path = fs.join("file");
    fs::write(&path, [1; 5000]).unwrap();
    let found = ioctl::probe(File::open(&path).unwrap()).unwrap();
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    assert_eq!(found.release, release.trim());
    assert_eq!((found.sector_size, found.node_size), (4096, 4096));
    assert_eq!(found.encoded_io, EncodedIo::Supported);
    assert!(found.kernel.is_some());
    assert_eq!(found.file_size, 5000);
    assert!(found.regular_file && !found.writable && !found.append);
    assert!(!found.nodatacow && !found.nodatasum);

    let append = OpenOptions::new().append(true).open(&path).unwrap();
    let found = ioctl::probe(append).unwrap();
    assert!(found.writable && found.append);
    let directory = ioctl::probe(File::open(fs.path()).unwrap()).unwrap();
    assert!(!directory.regular_file);
    assert_eq!(directory.encoded_io, EncodedIo::Supported);

    let no_cow = ioctl::probe(chattr_c(&fs.join("no-cow"))).unwrap();
    assert!(no_cow.nodatacow && no_cow.nodatasum);
    assert!(no_cow.target(4096).nodatasum);
    let file = File::open(&path).unwrap();
    let denied = unprivileged(|| ioctl::probe(&file).unwrap());
    assert_eq!(denied.encoded_io, EncodedIo::NotPermitted);
    drop(file);

    // Created under nodatasum: no attribute shows it, and no later mount option changes it.
    fs.remount_with(&["nodatasum"]);
    let path = fs.join("no-sum");
    let before = ioctl::probe(create(&path)).unwrap();
    assert!(before.nodatasum && !before.nodatacow);
    fs.remount_with(&[]);
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(&path)
        .unwrap();
    let after = ioctl::probe(&file).unwrap();
    assert!(after.nodatasum && !after.nodatacow);
    let data = text(8192);
    let good = extent(zstd_of(&data), whole(&data, EncodedIoId::ZSTD), 0);
    match ioctl::encoded_write(&file, 0, &good).unwrap_err() {
        WriteError::Refused { rules } => assert_eq!(rules[0].code(), "file-without-checksums"),
        error => panic!("{error}"),
    }

    let elsewhere = create(fs.outside().join("file"));
    assert!(matches!(
        ioctl::probe(&elsewhere),
        Err(ProbeError::NotBtrfs)
    ));
}

/// What a payload of the kernel decodes to, by libzstd or miniz_oxide; padding may follow it.
fn decode(payload: &[u8], id: EncodedIoId) -> Vec<u8> {
    if id == EncodedIoId::ZSTD {
        let decoder = zstd::stream::read::Decoder::with_buffer(payload).unwrap();
        let mut data = Vec::new();
        decoder.single_frame().read_to_end(&mut data).unwrap();
        return data;
    }
    assert_eq!(id, EncodedIoId::ZLIB);
    let (mut data, mut state) = (vec![0; 128 * 1024], Default::default());
    let flags = inflate_flags::TINFL_FLAG_PARSE_ZLIB_HEADER
        | inflate_flags::TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF;
    let (status, _, len) = inflate(&mut state, payload, &mut data, 0, flags);
    assert_eq!(status, TINFLStatus::Done);
    data.truncate(len);
    data
}

#[test]
fn extents_that_the_kernel_made_decode_to_the_file() {
    let test = "extents_that_the_kernel_made_decode_to_the_file";
    let Some(mut fs) = support::btrfs(test, &Default::default()) else {
        return;
    };
    let noise = support::generated(6 * 4096).remove(4).data;
    for (option, id) in [
        ("compress-force=zlib:3", EncodedIoId::ZLIB),
        ("compress-force=zstd:3", EncodedIoId::ZSTD),
    ] {
        fs.remount_with(&[option]);
        let (mut encoded, mut bookends, mut inline) = (0, 0, 0);
        for sample in support::corpus(8 << 20) {
            let path = fs.join(&sample.name);
            let mut data = sample.data;
            // A short file in between, for inline extents.
            data.truncate(if encoded % 3 == 2 { 1500 } else { usize::MAX });
            fs::write(&path, &data).unwrap();
            let file = OpenOptions::new()
                .read(true)
                .write(true)
                .open(&path)
                .unwrap();
            file.sync_all().unwrap();
            // Overwriting the middle of an extent leaves two slices of it.
            if data.len() > 65536 {
                data[40_960..45_056].copy_from_slice(&noise);
                file.write_all_at(&noise, 40_960).unwrap();
            }
            let mut end = 0;
            for extent in ioctl::extents(&file).map(Result::unwrap) {
                assert_eq!(extent.offset, end, "{path:?}");
                end += extent.len;
                let [from, to] = [extent.offset, end].map(|at| usize::try_from(at).unwrap());
                let expected = &data[from..to];
                match extent.content {
                    Content::Hole => assert!(expected.iter().all(|&byte| byte == 0)),
                    Content::Plain(plain) => assert!(plain == expected),
                    Content::Encoded(ClaimedExtent { payload, fields }) => {
                        let mut decoded = decode(&payload, fields.compression);
                        // Zeroes up to the end of the last sector need not be in the payload.
                        decoded.resize(decoded.len().next_multiple_of(4096), 0);
                        let start = usize::try_from(fields.unencoded_offset).unwrap();
                        assert!(
                            decoded[start..start + expected.len()] == *expected,
                            "{path:?}"
                        );
                        assert_eq!(fields.compression, id);
                        encoded += 1;
                        bookends += usize::from(start != 0);
                        inline += usize::from(payload.len() % 4096 != 0);
                    }
                }
            }
            assert_eq!(end, u64::try_from(data.len()).unwrap());
            fs::remove_file(&path).unwrap();
        }
        assert!(
            encoded > 20 && bookends > 0 && inline > 0,
            "{encoded} {bookends} {inline}"
        );
    }
}

/// The kernel puts a hole into the file before it sees that the offset is wrong; here nothing
/// happens.
#[test]
fn an_unaligned_place_past_the_end_is_refused_before_the_kernel_is_asked() {
    let test = "an_unaligned_place_past_the_end_is_refused_before_the_kernel_is_asked";
    let Some(fs) = support::btrfs(test, &Default::default()) else {
        return;
    };
    let file = create(fs.join("file"));
    file.write_all_at(b"four", 0).unwrap();
    let before = file.metadata().unwrap();
    let data = text(8192);
    let extent = extent(zstd_of(&data), whole(&data, EncodedIoId::ZSTD), 4096);
    let error = ioctl::encoded_write(&file, 1_000_001, &extent).unwrap_err();
    let WriteError::Refused { rules } = error else {
        panic!("{error:?}");
    };
    assert!(
        matches!(rules[..], [WriteRule::UnalignedOffset { .. }]),
        "{rules:?}"
    );
    let after = file.metadata().unwrap();
    assert_eq!(before.len(), after.len());
    assert_eq!(before.modified().unwrap(), after.modified().unwrap());
    assert_eq!(std::fs::read(fs.join("file")).unwrap(), b"four");
}
