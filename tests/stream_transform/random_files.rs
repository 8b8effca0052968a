//! Random changes to files, sent by this kernel, rewritten and received: the subvolumes are those
//! of the sender again.
//!
//! ```text
//! BTRFS_PAYLOAD_REWRITE_CASES=50 BTRFS_PAYLOAD_REWRITE_SEED=7 cargo test --test stream_transform random
//! BTRFS_PAYLOAD_REWRITE_SEED=7 BTRFS_PAYLOAD_REWRITE_ONLY=12 cargo test --test stream_transform random
//! ```

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use btrfs_payload::prepare::Level;
use btrfs_payload::rules::Codec;
use rustix::fs::{FallocateFlags, SeekFrom, seek};

use crate::kernel::{receive, send, snapshot};
use crate::support::Random;
use crate::support::{self, Mount, Options, assert_same_tree};
use crate::tree::{run, text};
use crate::work::Work;

/// Cases in an ordinary run of the tests.
const CASES: u64 = 2;
/// The seed of an ordinary run.
const SEED: u64 = 1;

const SNAPSHOTS: [&str; 3] = ["zero", "one", "two"];
const COMPRESSION: [&str; 5] = [
    "compress=no",
    "compress=zlib",
    "compress-force=zstd",
    "compress-force=lzo",
    "compress-force=zlib",
];
const SENDS: [&str; 3] = ["--proto 1", "--proto 2", "--proto 2 --compressed-data"];

#[test]
fn random_files_are_received_as_they_were_sent() {
    let Some(mut mount) = support::btrfs("random_files", &Options::default()) else {
        return;
    };
    let seed = variable("SEED").unwrap_or(SEED);
    let cases = match variable("ONLY") {
        Some(only) => only..only + 1,
        None => 0..variable("CASES").unwrap_or(CASES),
    };
    for number in cases {
        let mut random = Random::of_case(seed, number);
        make(&mut mount, &mut random);
        for options in SENDS {
            let streams = sent(&mount, options);
            let before = Received::of(&streams, &[], &mount);
            for work in works() {
                // All in one input or each by itself: sizes of files are known or are not.
                let together = random.percent(50);
                let force = random.percent(30);
                eprintln!("case {number}, {options}, {work:?}, {together} {force}");
                let rewritten = rewrite(&work, &streams, together);
                let forced: &[&str] = if force { &["--force-decompress"] } else { &[] };
                let after = Received::of(&rewritten, forced, &mount);
                if !matches!(work, Work::Decompress(_)) {
                    assert_eq!(after.data, before.data, "holes");
                }
                let is_compressed = options.contains("compressed");
                match &work {
                    // What Linux makes may stay, if nothing better is to be had.
                    Work::Recompress(_) if !is_compressed => assert_eq!(after.fell_back, 0),
                    _ => assert!(after.fell_back <= before.fell_back),
                }
            }
        }
        for name in SNAPSHOTS.iter().chain(&["work"]) {
            let path = mount.join(name);
            run(
                "btrfs",
                &[OsStr::new("subvolume"), "delete".as_ref(), path.as_ref()],
            );
        }
    }
}

fn variable(name: &str) -> Option<u64> {
    let value = std::env::var(format!("BTRFS_PAYLOAD_REWRITE_{name}")).ok()?;
    Some(value.parse().unwrap())
}

fn works() -> [Work; 5] {
    [
        Work::recompress(Codec::Zstd, Level::Number(3)),
        Work::only_if_smaller(Codec::Lzo, Level::Number(1)),
        Work::decompress(true),
        Work::decompress(false),
        Work::reframe(4096),
    ]
}

fn rewrite(work: &Work, streams: &[Vec<u8>], together: bool) -> Vec<Vec<u8>> {
    if together {
        return vec![work.done(&streams.concat()).0];
    }
    streams.iter().map(|stream| work.done(stream).0).collect()
}

/// The snapshots, each but the first as a difference.
fn sent(mount: &Mount, options: &str) -> Vec<Vec<u8>> {
    let mut streams = vec![send(mount, &format!("{options} {}", SNAPSHOTS[0]))];
    streams.extend(SNAPSHOTS.windows(2).map(|pair| {
        let [parent, child] = [pair[0], pair[1]];
        send(mount, &format!("{options} -p {parent} {child}"))
    }));
    streams
}

/// What a receiver has, which is what was sent.
struct Received {
    /// Where each file has data and no hole: begin and end, bytes.
    data: Vec<(PathBuf, Vec<(u64, u64)>)>,
    /// Encoded writes that `btrfs receive` had to decode.
    fell_back: usize,
}

impl Received {
    fn of(streams: &[Vec<u8>], options: &[&str], sender: &Mount) -> Self {
        let into = support::btrfs("received", &Options::default()).unwrap();
        let options = [&["-vv"], options].concat();
        let said: Vec<String> = streams
            .iter()
            .map(|stream| receive(stream, &options, &into))
            .collect();
        into.remount();
        let mut data = Vec::new();
        for name in SNAPSHOTS {
            assert_same_tree(&sender.join(name), &into.join(name));
            let mut names: Vec<_> = fs::read_dir(into.join(name)).unwrap().collect();
            names.sort_by_key(|entry| entry.as_ref().unwrap().file_name());
            for entry in names {
                let entry = entry.unwrap();
                let ranges = ranges_of_data(&entry.path());
                data.push((Path::new(name).join(entry.file_name()), ranges));
            }
        }
        let fell_back = said.iter().map(|said| said.matches("falling back").count());
        Self {
            data,
            fell_back: fell_back.sum(),
        }
    }
}

fn ranges_of_data(path: &Path) -> Vec<(u64, u64)> {
    let file = File::open(path).unwrap();
    let mut ranges = Vec::new();
    let mut end = 0;
    while let Ok(begin) = seek(&file, SeekFrom::Data(end)) {
        end = seek(&file, SeekFrom::Hole(begin)).unwrap();
        ranges.push((begin, end));
    }
    ranges
}

/// Makes the subvolume `work` and its snapshots.
fn make(mount: &mut Mount, random: &mut Random) {
    let root = mount.join("work");
    run(
        "btrfs",
        &[OsStr::new("subvolume"), "create".as_ref(), root.as_ref()],
    );
    let mut files = Files {
        root,
        names: Vec::new(),
        made: 0,
        random,
    };
    for name in SNAPSHOTS {
        // Each part of the changes under compression of another kind.
        for _ in 0..2 {
            let compression = *files.random.pick(&COMPRESSION);
            mount.remount_with(&[compression]);
            for _ in 0..files.random.within(5..=25) {
                files.change();
            }
        }
        snapshot(mount, name);
    }
}

/// The files of a directory, with what is done to them.
struct Files<'a> {
    root: PathBuf,
    names: Vec<PathBuf>,
    made: u32,
    random: &'a mut Random,
}

impl Files<'_> {
    fn change(&mut self) {
        if self.names.len() < 4 {
            return self.create();
        }
        let path = self.random.pick(&self.names).clone();
        let file = OpenOptions::new().read(true).write(true).open(&path);
        let file = file.unwrap();
        let size = file.metadata().unwrap().len();
        let (offset, len) = self.range(size);
        let keep = FallocateFlags::KEEP_SIZE;
        let some_keep = *self.random.pick(&[keep, FallocateFlags::empty()]);
        let reserve = |flags| rustix::fs::fallocate(&file, flags, offset, len).unwrap();
        match self.random.below(20) {
            0 | 1 => self.create(),
            2..=7 => file.write_all_at(&self.data(len), offset).unwrap(),
            8..=10 => reserve(FallocateFlags::PUNCH_HOLE | keep),
            11 => reserve(some_keep),
            12 | 13 => reserve(FallocateFlags::ZERO_RANGE | some_keep),
            14 => file
                .set_len(self.random.below(usize::try_from(size).unwrap() + 1) as u64)
                .unwrap(),
            15 => file.set_len(offset + len).unwrap(),
            16 => self.share(&file),
            17 => self.rename(path),
            18 => {
                let name = self.name();
                fs::hard_link(path, &name).unwrap();
                self.names.push(name);
            }
            _ => {
                fs::remove_file(&path).unwrap();
                self.names.retain(|name| *name != path);
            }
        }
        if self.random.percent(20) {
            rustix::fs::sync();
        }
    }

    fn create(&mut self) {
        let name = self.name();
        let len = *self.random.pick(&[0, 1, 300, 2000, 4096, 70_000, 300_000]);
        fs::write(&name, self.data(len)).unwrap();
        self.names.push(name);
    }

    fn name(&mut self) -> PathBuf {
        self.made += 1;
        self.root.join(format!("f{}", self.made))
    }

    /// A range inside of a file, over its end, at it or past it; at sectors or not.
    fn range(&mut self, size: u64) -> (u64, u64) {
        let inside = self.random.below(usize::try_from(size).unwrap() + 1) as u64;
        let offset = match self.random.below(8) {
            0 => 0,
            1 => size,
            2 => size.next_multiple_of(4096),
            3 => size + self.random.below(200_000) as u64,
            4 | 5 => inside,
            _ => inside / 4096 * 4096,
        };
        let len = match self.random.below(5) {
            0 => self.random.within(1..=5000) as u64,
            1 => 4096 * self.random.within(1..=64) as u64,
            2 if offset < size => size - offset,
            _ => self.random.within(1..=200_000) as u64,
        };
        (offset, len)
    }

    fn data(&mut self, len: u64) -> Vec<u8> {
        let len = usize::try_from(len).unwrap();
        match self.random.below(5) {
            0 => vec![0; len],
            1 => self.random.bytes(len),
            _ => text(len, self.random.byte().into()),
        }
    }

    /// Shares some sectors of any file with this one.
    fn share(&mut self, to: &File) {
        let from = File::open(self.random.pick(&self.names)).unwrap();
        let sectors = usize::try_from(from.metadata().unwrap().len() / 4096).unwrap();
        let first = self.random.below(sectors);
        let sector = |number: usize| 4096 * number as u64;
        let len = 4096 * self.random.below(sectors - first + 1);
        let (mut from_offset, mut to_offset) = (sector(first), sector(self.random.below(60)));
        // Ranges that overlap are refused, which changes nothing.
        let _ = rustix::fs::copy_file_range(
            &from,
            Some(&mut from_offset),
            to,
            Some(&mut to_offset),
            len,
        );
    }

    /// To a new name, or over another file.
    fn rename(&mut self, path: PathBuf) {
        let other = self.random.pick(&self.names).clone();
        let to = if self.random.percent(50) {
            self.name()
        } else {
            other
        };
        fs::rename(&path, &to).unwrap();
        // Two names of one inode both stay.
        self.names.push(to);
        self.names.sort();
        self.names.dedup();
        self.names.retain(|name| name.exists());
    }
}
