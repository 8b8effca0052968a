//! Chains that the running kernel makes: unpacked, compared, digested, broken.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use btrfs_payload::ioctl::clone_range;
use btrfs_payload::prepare::{Level, Options};
use btrfs_payload::rules::Codec;
use btrfs_payload::transform::{RecompressOptions, recompress};
use btrfs_payload::tree::{Kind, Step, UnpackOptions, directory_digest};
use rustix::fs::{CWD, FallocateFlags, FileType, Mode, XattrFlags};

use crate::support::{self, Mount, assert_same_tree};
use crate::{JOBS, Read};

const SNAPSHOTS: usize = 6;

fn run(program: &str, words: &[&OsStr]) {
    let output = Command::new(program).args(words).output().unwrap();
    assert!(output.status.success(), "{words:?}: {output:?}");
}

fn reflink(from: &Path, to: &Path) {
    run(
        "cp",
        &["--reflink=always".as_ref(), from.as_ref(), to.as_ref()],
    );
}

fn xattr(path: &Path, name: &str, value: &[u8]) {
    rustix::fs::lsetxattr(path, name, value, XattrFlags::empty()).unwrap();
}

pub(super) fn time(path: &Path, seconds: i64) {
    let time = rustix::fs::Timespec {
        tv_sec: seconds,
        tv_nsec: 123_456_789,
    };
    let times = rustix::fs::Timestamps {
        last_access: time,
        last_modification: time,
    };
    rustix::fs::utimensat(CWD, path, &times, rustix::fs::AtFlags::SYMLINK_NOFOLLOW).unwrap();
}

fn lines(from: usize, to: usize) -> Vec<u8> {
    (from..to)
        .flat_map(|n| format!("line {n}\n").into_bytes())
        .collect()
}

/// Changes before each snapshot; everything that a stream can say.
fn change(top: &Path, number: usize) {
    let at = |name: &str| top.join(name);
    let odd = top.join(OsStr::from_bytes(b"odd\nname \xff"));
    match number {
        0 => {
            fs::create_dir_all(at("a/b/c")).unwrap();
            fs::create_dir(at("d")).unwrap();
            fs::create_dir(&odd).unwrap();
            fs::write(at("a/text"), lines(0, 60_000)).unwrap();
            fs::write(at("tiny"), "tiny").unwrap();
            fs::write(at("empty"), "").unwrap();
            fs::write(at(&"n".repeat(255)), "long").unwrap();
            fs::hard_link(at("a/text"), at("a/b/hard")).unwrap();
            symlink("../text", at("a/b/sym")).unwrap();
            for (name, kind, device) in [
                (
                    "d/null",
                    FileType::CharacterDevice,
                    rustix::fs::makedev(1, 3),
                ),
                ("d/disk", FileType::BlockDevice, rustix::fs::makedev(8, 300)),
                ("d/pipe", FileType::Fifo, 0),
                ("d/sock", FileType::Socket, 0),
            ] {
                rustix::fs::mknodat(CWD, at(name), kind, Mode::from_raw_mode(0o640), device)
                    .unwrap();
            }
            for number in 0..200 {
                fs::write(at(&format!("a/b/c/f{number}")), lines(number, number * 7)).unwrap();
            }
            xattr(&at("a/text"), "user.note", b"\0value");
            xattr(&at("d"), "trusted.t", b"on a directory");
            xattr(&at("a/b/sym"), "security.test", b"on a link");
            let sparse = File::create(at("sparse")).unwrap();
            sparse.set_len(10 << 20).unwrap();
            sparse.write_all_at(b"x", 5_000_000).unwrap();
            reflink(&at("a/text"), &at("a/copy"));
            fs::set_permissions(at("tiny"), fs::Permissions::from_mode(0o4755)).unwrap();
            chown(at("a/b"), Some(1000), Some(100)).unwrap();
            time(&at("a/b/sym"), 1_100_000_000);
            time(&at("d/null"), -5);
        }
        1 => {
            fs::rename(at("a/b"), at("d/moved")).unwrap();
            for number in 0..50 {
                fs::remove_file(at(&format!("d/moved/c/f{number}"))).unwrap();
            }
            let text = File::options().write(true).open(at("a/text")).unwrap();
            text.write_all_at(&[b'#'; 12_288], 40_960).unwrap();
            fs::write(at("a/new"), lines(100_000, 150_000)).unwrap();
        }
        2 => {
            fs::remove_dir(&odd).unwrap();
            fs::create_dir(&odd).unwrap();
            fs::rename(at("tiny"), odd.join("x")).unwrap();
            let new = File::options().write(true).open(at("a/new")).unwrap();
            let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
            rustix::fs::fallocate(&new, flags, 8192, 16_384).unwrap();
            new.set_len(300_001).unwrap();
            reflink(&at("a/copy"), &at("d/copy"));
        }
        3 => {
            // Two directories change their names with each other.
            fs::rename(at("a"), at("z")).unwrap();
            fs::rename(at("d"), at("a")).unwrap();
            fs::rename(at("z"), at("d")).unwrap();
            rustix::fs::removexattr(at("d/text"), "user.note").unwrap();
            fs::set_permissions(at("d/text"), fs::Permissions::from_mode(0o600)).unwrap();
            fs::hard_link(at("d/new"), at("a/again")).unwrap();
        }
        4 => {
            // A part of one file in the middle of another, and of the same.
            let copy = File::options()
                .read(true)
                .write(true)
                .open(at("d/copy"))
                .unwrap();
            let text = File::open(at("d/text")).unwrap();
            clone_range(&text, 4096, 65_536, &copy, 131_072).unwrap();
            clone_range(&copy, 0, 8192, &copy, 262_144).unwrap();
            fs::remove_file(at("a/copy")).unwrap();
            fs::create_dir_all(at("p/q/r/s")).unwrap();
            fs::rename(at("a/moved/c"), at("p/q/c")).unwrap();
        }
        _ => {
            fs::remove_dir_all(at("p/q/r")).unwrap();
            let sparse = File::options().write(true).open(at("sparse")).unwrap();
            sparse.set_len(3_000_000).unwrap();
            let file = File::create(at("p/q/c/f100")).unwrap();
            file.write_all_at(&lines(5, 20_000), 0).unwrap();
            symlink("nowhere", at("d/link")).unwrap();
            time(&at("p"), 1_200_000_000);
        }
    }
}

/// A filesystem with the snapshots `s0` and so on, and the chain that leads to the last, in both
/// versions.
fn chain(fs: &Mount) -> [Vec<Vec<u8>>; 2] {
    let top = fs.join("top");
    support::subvolume(&top);
    let name = |number: usize| fs.join(format!("s{number}"));
    let mut chains = [Vec::new(), Vec::new()];
    for number in 0..SNAPSHOTS {
        change(&top, number);
        support::snapshot(&top, &name(number), &["-r"]);
        for (chain, proto) in chains.iter_mut().zip(["1", "2"]) {
            let file = fs.outside().join("stream");
            let mut words: Vec<&OsStr> = ["send", "--quiet", "--proto", proto]
                .map(OsStr::new)
                .to_vec();
            if proto == "2" {
                words.push("--compressed-data".as_ref());
            }
            let parent = number.checked_sub(1).map(name);
            if let Some(parent) = &parent {
                words.extend(["-p".as_ref(), parent.as_os_str()]);
            }
            let snapshot = name(number);
            words.extend(["-f".as_ref(), file.as_os_str(), snapshot.as_os_str()]);
            run("btrfs", &words);
            chain.push(fs::read(file).unwrap());
        }
    }
    chains
}

fn recompressed(streams: &[Vec<u8>], codec: Codec, level: Level) -> Vec<Vec<u8>> {
    let streams = streams.iter().map(|stream| {
        let mut out = Vec::new();
        let options = RecompressOptions::new(Options::new(codec, level));
        recompress(&stream[..], &mut out, &options, JOBS, |_| {}).unwrap();
        out
    });
    streams.collect()
}

fn slices(streams: &[Vec<u8>]) -> Vec<&[u8]> {
    streams.iter().map(Vec::as_slice).collect()
}

#[test]
fn chains_of_the_kernel_are_what_it_had() {
    let options = support::Options::default().mounted_with("compress-force=zstd:3");
    let Some(fs) = support::btrfs("chains_of_the_kernel_are_what_it_had", &options) else {
        return;
    };
    let chains = chain(&fs);
    for number in 0..SNAPSHOTS {
        let snapshot = fs.join(format!("s{number}"));
        let expected = directory_digest(&snapshot, JOBS).unwrap();
        for streams in &chains {
            let streams = slices(&streams[..=number]);
            let read = Read::new(&streams).unwrap();
            assert_eq!(read.digest(), Ok(expected), "s{number}");
            assert_eq!(read.differences(&snapshot), []);
            // Beside it, usually in memory, and on btrfs with extents as they are.
            for out in [fs.outside().join("out"), fs.join("out")] {
                let mut options = UnpackOptions::default();
                options.sync = false;
                let summary = read.unpack(&[], &out, &options).unwrap();
                assert!(summary.left_out.is_empty(), "{summary:?}");
                let is_encoded = streams[0][13] == 2 && out.starts_with(fs.path());
                assert_eq!(summary.encoded > 0, is_encoded);
                assert_same_tree(&snapshot, &out);
                fs::remove_dir_all(out).unwrap();
            }
        }
    }
    // What no codec, level and splitting changes.
    let expected = directory_digest(&fs.join("s5"), JOBS).unwrap();
    for (codec, level) in [
        (Codec::Zlib, Level::Number(1)),
        (Codec::Zlib, Level::Number(9)),
        (Codec::Lzo, Level::Default),
        (Codec::Zstd, Level::Number(1)),
        (Codec::Zstd, Level::Number(15)),
    ] {
        for streams in &chains {
            let again = recompressed(streams, codec, level);
            assert_eq!(
                Read::new(&slices(&again)).unwrap().digest(),
                Ok(expected),
                "{codec}"
            );
        }
    }
    paths_and_content(&fs, &slices(&chains[1]));
    received(&fs, &chains[1]);
    breaks(&chains[0], expected);
    breaks(&chains[1], expected);
}

/// The names of a walk are those of the directory, and so is the content of each file.
fn paths_and_content(fs: &Mount, streams: &[&[u8]]) {
    let snapshot = fs.join("s5");
    let read = Read::new(streams).unwrap();
    let mut data = read.data();
    let mut walk = read.subvolume().tree.walk(b"").unwrap();
    let mut seen = 0;
    while let Some(step) = walk.next().unwrap() {
        let Step::Enter(visit) = step else { continue };
        let path: PathBuf = snapshot.join(OsStr::from_bytes(walk.path()));
        let metadata = fs::symlink_metadata(&path).unwrap();
        assert_eq!(
            u64::from(visit.inode.links()),
            std::os::unix::fs::MetadataExt::nlink(&metadata)
        );
        if *visit.inode.kind() == Kind::File {
            let mut content = vec![0; usize::try_from(visit.inode.size()).unwrap()];
            for extent in visit.inode.extents() {
                let [from, to] =
                    [extent.offset, extent.end()].map(|at| usize::try_from(at).unwrap());
                content[from..to].copy_from_slice(&data.bytes(&extent).unwrap());
            }
            assert!(content == fs::read(&path).unwrap(), "{path:?}");
        }
        seen += 1;
    }
    assert!(seen > 170, "{seen}");
    // A part of it, with the directories it is in.
    let out = fs.outside().join("part");
    let options = UnpackOptions::default();
    read.unpack(&[b"p/q/c/f100", b"d", b"d/text"], &out, &options)
        .unwrap();
    assert_same_tree(&snapshot.join("d"), &out.join("d"));
    let content = |top: &Path| fs::read(top.join("p/q/c/f100")).unwrap();
    assert!(content(&snapshot) == content(&out));
    let mut names: Vec<_> = fs::read_dir(&out)
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    names.sort();
    assert_eq!(names, ["d", "p"]);
    fs::remove_dir_all(out).unwrap();
}

/// `btrfs receive` makes the same of it. Only the time of the top is the receiver's own: increments
/// make and move things there, and set it where it has changed at the sender.
fn received(fs: &Mount, streams: &[Vec<u8>]) {
    let into = support::btrfs("received", &support::Options::default()).unwrap();
    for stream in streams {
        let file = into.outside().join("to receive");
        fs::write(&file, stream).unwrap();
        run(
            "btrfs",
            &[
                "receive".as_ref(),
                "-f".as_ref(),
                file.as_ref(),
                into.path().as_ref(),
            ],
        );
    }
    let slices = slices(streams);
    let read = Read::new(&slices).unwrap();
    let mut differences = read.differences(&into.join("s5"));
    differences.retain(|found| !(found.path.is_empty() && found.what == "mtime"));
    assert_eq!(differences, []);
    // And where it is not the same, it is found.
    support::snapshot(&into.join("s5"), &into.join("changed"), &[]);
    let changed = |name: &str| into.join("changed").join(name);
    let file = File::options()
        .write(true)
        .open(changed("p/q/c/f100"))
        .unwrap();
    file.write_all_at(b"!", 100_000).unwrap();
    fs::set_permissions(changed("d/new"), fs::Permissions::from_mode(0o611)).unwrap();
    let out: Vec<_> = read.differences(&into.join("changed"));
    let out: Vec<_> = out
        .iter()
        .map(|found| (&found.path[..], found.what))
        .collect();
    for expected in [
        (&b"a/again"[..], "mode"),
        (b"d/new", "mode"),
        (b"p/q/c/f100", "content"),
    ] {
        assert!(out.contains(&expected), "{out:?}");
    }
    drop(file);
    let _ = fs;
}

/// Every increment that is missing or out of order is found, and damage never gives another tree.
fn breaks(streams: &[Vec<u8>], expected: btrfs_payload::tree::digest::TreeDigest) {
    let all = slices(streams);
    for number in 0..SNAPSHOTS - 1 {
        let mut missing = all.clone();
        missing.remove(number);
        assert!(Read::new(&missing).is_err(), "{number} is missing");
        let mut swapped = all.clone();
        swapped.swap(number, number + 1);
        assert!(Read::new(&swapped).is_err(), "{number} is swapped");
    }
    let mut found = 0;
    for (number, stream) in streams.iter().enumerate() {
        for at in (0..stream.len()).step_by(stream.len() / 40 + 1) {
            let mut damaged = stream.clone();
            damaged[at] ^= 0x40;
            let mut all = all.clone();
            all[number] = &damaged;
            let digest = Read::new(&all).map_err(|error| error.to_string());
            match digest.and_then(|read| read.digest()) {
                // Data that a later increment replaces is not looked at.
                Ok(digest) => assert_eq!(digest, expected, "{number} at {at}"),
                Err(_) => found += 1,
            }
        }
    }
    assert!(found > 150, "{found}");
}
