//! Payloads that the running kernel makes, judged and decoded by us; ours, decoded by btrfs-progs.
//!
//! The environment variable `BTRFS_PAYLOAD_KERNEL_MIB` raises how much data the kernel is given
//! for each type and level, MiB.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // helpers fail as tests do

mod support;

use std::fs::{self, File};
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;

use btrfs_payload::extent::{ClaimedExtent, Content};
use btrfs_payload::ioctl;
use btrfs_payload::prepare::{Level, Options, Prepared, Preparer};
use btrfs_payload::rules::{Codec, Placement, Target, placement};
use btrfs_payload::send_stream::{Uuid, Version, Writer, command};
use btrfs_payload::validate::{decode, validate};
use btrfs_payload::{Kernel, MAX_EXTENT};
use bytes::Bytes;
use support::{Mount, create};

/// What was seen of one mount option.
#[derive(Debug, Default)]
struct Seen {
    /// Bytes of files.
    bytes: u64,
    payloads: u64,
    inline: u64,
    /// Payloads of which the file shows a part that does not begin with the first byte.
    bookends: u64,
    plain: u64,
    /// LZO headers moved to the next sector.
    paddings: usize,
    /// Inline extents that became larger than the data, as LZO does under `compress-force`: they
    /// can be read, and not be written back as they are.
    grown: u64,
}

/// Mount options under which the kernel compresses, and the codec it uses.
const WAYS: [(&str, Codec); 7] = [
    ("compress-force=zlib:1", Codec::Zlib),
    ("compress-force=zlib:3", Codec::Zlib),
    ("compress-force=zlib:9", Codec::Zlib),
    ("compress-force=lzo", Codec::Lzo),
    ("compress-force=zstd:1", Codec::Zstd),
    ("compress-force=zstd:3", Codec::Zstd),
    ("compress-force=zstd:15", Codec::Zstd),
];

#[test]
fn payloads_of_this_kernel_are_sound() {
    let mib: u64 = std::env::var("BTRFS_PAYLOAD_KERNEL_MIB")
        .map_or(3, |text| text.parse().expect("a number of MiB"));
    let options = support::Options::default().sized((mib * 3 + 1024) << 20);
    let Some(mut fs) = support::btrfs("payloads_of_this_kernel_are_sound", &options) else {
        return;
    };
    let samples = support::corpus(usize::try_from(mib << 20).unwrap());
    for (option, codec) in WAYS {
        fs.remount_with(&[option]);
        let directory = fs.join("files");
        fs::create_dir(&directory).unwrap();
        for sample in &samples {
            fs::write(directory.join(&sample.name), &sample.data).unwrap();
        }
        let together: Vec<u8> = samples.iter().flat_map(|s| s.data.clone()).collect();
        fs::write(directory.join("together"), together).unwrap();
        small_files(&directory, &samples);
        growing_sectors(&directory);
        rustix::fs::syncfs(File::open(&directory).unwrap()).unwrap();
        bookends(&directory, "together");
        fs.remount();

        let mut seen = Seen::default();
        for entry in fs::read_dir(&directory).unwrap() {
            check_file(&entry.unwrap().path(), codec, &mut seen);
        }
        println!("{option}: {seen:?}");
        assert!(seen.payloads > 5 * mib, "{option}: {seen:?}");
        assert!(seen.inline > 50, "{option}: {seen:?}");
        assert!(seen.bookends > 5, "{option}: {seen:?}");
        assert!(
            seen.paddings > 0 || codec != Codec::Lzo,
            "{option}: {seen:?}"
        );
        fs::remove_dir_all(directory).unwrap();
    }
}

/// Files that fit inline, of many lengths, cut out of the samples.
fn small_files(directory: &Path, samples: &[support::Sample]) {
    for number in 1..=120 {
        let sample = &samples[number % samples.len()].data;
        let len = (number * 37).min(sample.len());
        fs::write(directory.join(format!("small-{number}")), &sample[..len]).unwrap();
    }
}

/// Files whose first sector compresses to ever more bytes, one at a time: some LZO segment ends
/// just before a sector does, and the next header has to move.
fn growing_sectors(directory: &Path) {
    let noise = support::generated(6 * 4096).swap_remove(4).data;
    for len in 4000..4090 {
        let mut data = vec![0; 4096 - len];
        data.extend(&noise[..len]);
        data.extend(b"what follows shrinks to next to nothing\n".repeat(200));
        fs::write(directory.join(format!("growing-{len}")), data).unwrap();
    }
}

/// Replaces, punches out and shares parts of a file's extents, so that files show only parts of
/// them.
fn bookends(directory: &Path, name: &str) {
    let options = File::options().read(true).write(true).clone();
    let file = options.open(directory.join(name)).unwrap();
    let shared = create(directory.join("shared"));
    let size = file.metadata().unwrap().len();
    let mut end_of_shared = 0;
    for start in (0..size.saturating_sub(600_000)).step_by(512 * 1024) {
        let mut other = vec![0; 12_288];
        file.read_exact_at(&mut other, start).unwrap();
        file.write_all_at(&other, start + 20_480).unwrap();
        file.sync_all().unwrap();
        let hole = rustix::fs::FallocateFlags::PUNCH_HOLE | rustix::fs::FallocateFlags::KEEP_SIZE;
        rustix::fs::fallocate(&file, hole, start + 151_552, 8192).unwrap();
        // On btrfs a copy of whole sectors shares the extents.
        for (from, len) in [(290_816, 40_960), (4096, 4096), (397_312, 196_608)] {
            let (mut from, mut to) = (start + from, end_of_shared);
            let copied =
                rustix::fs::copy_file_range(&file, Some(&mut from), &shared, Some(&mut to), len);
            end_of_shared += u64::try_from(copied.unwrap()).unwrap();
        }
    }
    shared.sync_all().unwrap();
}

/// Judges and decodes every payload of a file, and compares with what the kernel reads.
fn check_file(path: &Path, codec: Codec, seen: &mut Seen) {
    let file = File::open(path).unwrap();
    let size = file.metadata().unwrap().len();
    let probe = ioctl::probe(file.as_fd()).unwrap();
    seen.bytes += size;
    for extent in ioctl::extents(&file) {
        let extent = extent.unwrap();
        let Content::Encoded(ClaimedExtent { payload, fields }) = &extent.content else {
            seen.plain += u64::from(matches!(extent.content, Content::Plain(_)));
            continue;
        };
        let place = || format!("{} at {}", path.display(), extent.offset);
        assert_eq!(fields.codec(), Some(codec), "{}", place());
        let target = probe.target(extent.offset).file_size(size);
        let mut read = vec![0; usize::try_from(fields.len).unwrap()];
        file.read_exact_at(&mut read, extent.offset).unwrap();
        let report = validate(payload, fields, &target);
        let findings = report.findings();
        let len = u64::try_from(payload.len()).unwrap();
        if codec == Codec::Lzo && len >= fields.unencoded_len {
            let codes: Vec<_> = findings.iter().map(|finding| finding.code).collect();
            assert_eq!(codes, ["not-smaller"], "{}", place());
            let mut decoded = vec![0; read.len()];
            let mut decoder = btrfs_payload_lzo::Decoder::new(4096);
            assert_eq!(decoder.decode(payload, &mut decoded), Ok(read.len()));
            assert!(decoded == read, "{}", place());
            seen.grown += 1;
            continue;
        }
        assert_eq!(findings, [], "{}", place());
        let decoded = decode(payload, fields, &target).unwrap();
        assert!(decoded == read, "{}", place());

        seen.payloads += 1;
        seen.bookends += u64::from(fields.unencoded_offset > 0);
        let kernel = probe.kernel.unwrap_or(Kernel::V6_18);
        let inline = placement(len, fields, &target, kernel) == Placement::Inline;
        seen.inline += u64::from(inline);
        if codec == Codec::Lzo {
            let walk = btrfs_payload_lzo::walk(payload, 4096, MAX_EXTENT, &mut |_| {});
            seen.paddings += walk.paddings;
        }
    }
}

/// Content of the files that are sent: real data in several extents, a small file, slices.
fn contents() -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<_> = support::corpus(3 << 20)
        .into_iter()
        .map(|sample| (sample.name, sample.data))
        .collect();
    for len in [10, 100, 2000, 4095, 4096, 4097, 131_073] {
        files.push((format!("text-{len}"), support::text(len)));
    }
    files
}

/// A stream that creates the files in a subvolume of the codec's name, and how many encoded
/// writes it has.
fn stream(codec: Codec, files: &[(String, Vec<u8>)]) -> (Vec<u8>, usize) {
    let mut writer = Writer::new(Vec::new(), Version::V2).unwrap();
    let mut uuid = [0; 16];
    uuid[..codec.name().len()].copy_from_slice(codec.name().as_bytes());
    let subvol = command::Subvol {
        path: Bytes::from_static(codec.name().as_bytes()),
        uuid: Uuid(uuid),
        ctransid: 1,
    };
    writer.write_command(&subvol).unwrap();
    let mut preparer = Preparer::new(&Options::new(codec, Level::Default)).unwrap();
    let mut encoded = 0;
    for (number, (name, data)) in files.iter().enumerate() {
        let path = Bytes::from(name.clone());
        let ino = 257 + u64::try_from(number).unwrap();
        let make = command::MkFile {
            path: path.clone(),
            ino,
        };
        writer.write_command(&make).unwrap();
        let mut offset = 0;
        for part in data.chunks(MAX_EXTENT) {
            let target = Target::default().at(offset).file_size(offset);
            match preparer.prepare_for(part, &target).unwrap() {
                Prepared::Encoded(extent) => {
                    encoded += 1;
                    writer.write_encoded(&path, offset, &extent).unwrap();
                }
                Prepared::Plain { .. } => {
                    let data = Bytes::copy_from_slice(part);
                    writer.write_data(&path, offset, &data).unwrap();
                }
                Prepared::Hole => {}
            }
            offset += u64::try_from(part.len()).unwrap();
        }
        let truncate = command::Truncate { path, size: offset };
        writer.write_command(&truncate).unwrap();
    }
    (writer.finish().unwrap(), encoded)
}

fn receive(fs: &Mount, stream: &[u8], options: &[&str]) {
    let file = fs.outside().join("stream");
    fs::write(&file, stream).unwrap();
    let mut command = Command::new("btrfs");
    command.args(["receive", "--quiet"]).args(options);
    let output = command.arg("-f").arg(file).arg(fs.path()).output().unwrap();
    let trouble = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{options:?}: {trouble}");
}

/// Encoded extents of all files of a directory.
fn encoded_extents(directory: &Path) -> usize {
    let files = fs::read_dir(directory).unwrap();
    let encoded = files.flat_map(|entry| {
        let file = File::open(entry.unwrap().path()).unwrap();
        let extents: Vec<_> = ioctl::extents(&file).map(Result::unwrap).collect();
        extents
    });
    encoded
        .filter(|extent| matches!(extent.content, Content::Encoded(_)))
        .count()
}

#[test]
fn our_payloads_are_received_and_decoded_by_btrfs_progs() {
    let test = "our_payloads_are_received_and_decoded_by_btrfs_progs";
    let files = contents();
    for options in [&[][..], &["--force-decompress"]] {
        let Some(fs) = support::btrfs(test, &support::Options::default()) else {
            return;
        };
        let mut expected = Vec::new();
        for codec in Codec::ALL {
            let (stream, encoded) = stream(codec, &files);
            assert!(encoded > 10, "{codec}: only {encoded} extents are encoded");
            receive(&fs, &stream, options);
            expected.push((codec, encoded));
        }
        fs.remount();
        for (codec, encoded) in expected {
            let directory = fs.join(codec.name());
            for (name, data) in &files {
                let read = fs::read(directory.join(name)).unwrap();
                assert!(read == *data, "{codec} {name} {options:?}");
            }
            // Taken as they are, or every one of them decoded.
            let expected = if options.is_empty() { encoded } else { 0 };
            assert_eq!(encoded_extents(&directory), expected, "{codec} {options:?}");
        }
    }
}
