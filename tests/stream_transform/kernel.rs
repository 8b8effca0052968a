//! Streams that the running kernel makes: checked, worked on, received, compared.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;

use btrfs_payload::prepare::Level;
use btrfs_payload::rules::Codec;
use btrfs_payload::transform::{CheckOptions, StreamFinding, check};

use crate::support::{self, Mount, Options, assert_same_tree};
use crate::tree::{self, run, text};
use crate::work::{Work, checked, checked_for, jobs};

/// The stream that `btrfs send` makes of these arguments; words that are names on the filesystem
/// are those of snapshots.
pub fn send(fs: &Mount, arguments: &str) -> Vec<u8> {
    let file = fs.outside().join("stream");
    let mut words = vec!["send".into(), "--quiet".into(), "-f".into()];
    words.push(file.clone().into_os_string());
    words.extend(arguments.split(' ').map(|word| {
        let path = fs.join(word);
        let is_name = path.exists();
        if is_name { path.into() } else { word.into() }
    }));
    let words: Vec<&OsStr> = words.iter().map(AsRef::as_ref).collect();
    run("btrfs", &words);
    let bytes = fs::read(&file).unwrap();
    fs::remove_file(file).unwrap();
    bytes
}

/// Returns what `btrfs receive` says, all of it with `-vv`.
pub fn receive(stream: &[u8], options: &[&str], into: &Mount) -> String {
    let file = into.outside().join("to receive");
    fs::write(&file, stream).unwrap();
    let root = into.path();
    let mut words = vec![OsStr::new("receive"), OsStr::new("-f"), file.as_ref()];
    words.extend(options.iter().map(OsStr::new));
    words.push(root.as_ref());
    let output = std::process::Command::new("btrfs").args(words).output();
    let output = output.unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    fs::remove_file(file).unwrap();
    said
}

/// A fresh filesystem receives the streams and shows the same trees, after a mount.
fn received(fs: &Mount, streams: &[Vec<u8>], options: &[&str], names: &[&str]) {
    let into = support::btrfs("received", &Options::default()).unwrap();
    for stream in streams {
        receive(stream, options, &into);
    }
    into.remount();
    for name in names {
        assert_same_tree(&fs.join(name), &into.join(name));
    }
}

/// Every way to send the snapshots.
const SENDS: &[&str] = &[
    "one",
    "--proto 2 one",
    "--proto 2 --compressed-data one",
    "-p one two",
    "--proto 2 -p one two",
    "--proto 2 --compressed-data -p one two",
    "--proto 2 --compressed-data two",
    "--no-data -p one two",
    "--proto 2 --no-data one",
    "-c one two",
    "one two",
    "-e one two",
    "--proto 2 --compressed-data -e one two",
];

/// Works on a full stream and on a difference, and receives both.
fn round(fs: &Mount, from: &[Vec<u8>; 2], work: &Work, options: &[&str]) -> [Vec<u8>; 2] {
    let out = from.each_ref().map(|stream| work.done(stream).0);
    for (before, after) in from.iter().zip(&out) {
        let (findings, _) = checked(after);
        let only_falls_back = findings.iter().all(|f| f.code == "receive-falls-back");
        assert!(
            findings.is_empty() || (only_falls_back && matches!(work, Work::Reframe(_))),
            "{work:?}: {findings:#?}"
        );
        for threads in [1, 7] {
            let again = work.on(before, threads).unwrap().0;
            assert!(again == *after, "{work:?} with {threads} threads");
        }
    }
    received(fs, &out, options, &["one", "two"]);
    out
}

#[test]
fn streams_of_this_kernel() {
    let Some(mut fs) = support::btrfs("streams_of_this_kernel", &Options::default()) else {
        return;
    };
    tree::make(&mut fs);
    tree::change(&fs);
    for arguments in SENDS {
        let stream = send(&fs, arguments);
        let (findings, summary) = checked(&stream);
        let mut codes: Vec<_> = findings.iter().map(|finding| finding.code).collect();
        // What it clones within a file is not there yet: the size comes last.
        codes.dedup();
        let expected: &[&str] = match *arguments {
            "--proto 2 --no-data one" => &["data-left-out", "clone-beyond-end"],
            _ if arguments.contains("--no-data") => &["data-left-out"],
            _ => &[],
        };
        assert_eq!(codes, expected, "btrfs send {arguments}");
        assert_eq!(summary.whole_bytes, stream.len() as u64, "{arguments}");
        assert_eq!(summary, checked_for(&stream, 4096, 1).1, "{arguments}");
    }
    let pair = |options: &str| [format!("{options} one"), format!("{options} -p one two")];
    let sent = |options: &str| pair(options).map(|arguments| send(&fs, arguments.trim()));
    let v1 = sent("--proto 1");
    let v2 = sent("--proto 2");
    let encoded = sent("--proto 2 --compressed-data");
    let force: &[&str] = &["--force-decompress"];
    // On top of the parent, in front of it or given beside it.
    for pair in [&v1, &v2, &encoded] {
        let (findings, _) = checked(&pair.concat());
        assert_eq!(findings, []);
        let mut options = CheckOptions::default();
        options
            .parents
            .read(&pair[0][..], options.max_names)
            .unwrap();
        assert_eq!(options.parents.len(), 1);
        let report = |finding: &StreamFinding| panic!("{finding}");
        check(&pair[1][..], &options, jobs(2), report).unwrap();
    }

    // From plain data.
    let zstd = round(
        &fs,
        &v1,
        &Work::recompress(Codec::Zstd, Level::Number(3)),
        &[],
    );
    assert!(zstd[0].len() < v1[0].len() / 2);
    round(
        &fs,
        &v2,
        &Work::recompress(Codec::Zlib, Level::Number(9)),
        force,
    );
    let lzo = round(
        &fs,
        &v1,
        &Work::recompress(Codec::Lzo, Level::Number(1)),
        &[],
    );
    round(
        &fs,
        &v2,
        &Work::recompress(Codec::Lzo, Level::Number(9)),
        force,
    );
    // From encoded extents of all three codecs, slices among them.
    let small = round(&fs, &encoded, &Work::any_codec(Level::Auto), &[]);
    assert!(small[0].len() < encoded[0].len());
    round(
        &fs,
        &encoded,
        &Work::only_if_smaller(Codec::Zstd, Level::Number(15)),
        force,
    );
    round(
        &fs,
        &encoded,
        &Work::recompress(Codec::Zstd, Level::Smallest),
        &[],
    );
    // And back to plain data.
    round(&fs, &encoded, &Work::decompress(true), &[]);
    round(&fs, &encoded, &Work::decompress(false), &[]);
    let plain = round(&fs, &small, &Work::decompress(true), &[]);
    assert!(plain[0].len() > small[0].len());
    // For another sector size: this kernel's ioctl refuses it, receive decodes it. And back.
    let other = round(&fs, &lzo, &Work::reframe(16384), &[]);
    // Clones between such sectors stay, and are an error there.
    let (findings, _) = checked_for(&other[0], 16384, 2);
    let known = ["receive-falls-back", "clone-unaligned"];
    assert!(
        findings.iter().all(|f| known.contains(&f.code)),
        "{findings:#?}"
    );
    round(&fs, &other, &Work::reframe(4096), &[]);
    round(
        &fs,
        &other,
        &Work::recompress(Codec::Zstd, Level::Number(1)),
        &[],
    );
}

/// Two streams in one input, in both conventions.
#[test]
fn several_subvolumes() {
    let Some(fs) = support::btrfs("several_subvolumes", &Options::default()) else {
        return;
    };
    let work = fs.join("work");
    run(
        "btrfs",
        &["subvolume".as_ref(), "create".as_ref(), work.as_ref()],
    );
    fs::write(work.join("file"), text(300_000, 1)).unwrap();
    snapshot(&fs, "one");
    fs::write(work.join("other"), text(10_000, 2)).unwrap();
    snapshot(&fs, "two");
    for (arguments, options) in [("one two", &[][..]), ("-e one two", &["-e"])] {
        let stream = send(&fs, arguments);
        let (out, _) = Work::recompress(Codec::Zstd, Level::Default).done(&stream);
        assert_eq!(checked(&out).0, []);
        received(&fs, &[out], options, &["one", "two"]);
    }
}

pub fn snapshot(fs: &Mount, name: &str) {
    let (from, to) = (fs.join("work"), fs.join(name));
    let words = ["subvolume", "snapshot", "-r"].map(OsStr::new);
    run(
        "btrfs",
        &[&words[..], &[from.as_ref(), to.as_ref()]].concat(),
    );
}

/// What a hole hides must not show through: zeroes over old data are data.
#[test]
fn zeroes_over_old_data() {
    let Some(fs) = support::btrfs("zeroes_over_old_data", &Options::default()) else {
        return;
    };
    let work = fs.join("work");
    run(
        "btrfs",
        &["subvolume".as_ref(), "create".as_ref(), work.as_ref()],
    );
    let file = File::create(work.join("file")).unwrap();
    file.write_all_at(&text(400_000, 1), 0).unwrap();
    snapshot(&fs, "one");
    file.write_all_at(&[0; 262_144], 65_536).unwrap();
    // A sparse file of 5 GiB with data at both ends.
    let sparse = File::create(work.join("sparse")).unwrap();
    sparse.write_all_at(&text(9000, 6), 0).unwrap();
    sparse
        .write_all_at(&text(9000, 7), (5 << 30) - 9000)
        .unwrap();
    snapshot(&fs, "two");
    let pair = ["--proto 1 one", "--proto 1 -p one two"].map(|arguments| send(&fs, arguments));
    for work in [
        Work::recompress(Codec::Zstd, Level::Default),
        Work::decompress(true),
    ] {
        round(&fs, &pair, &work, &[]);
    }
}
