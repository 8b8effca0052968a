//! Squeezing files on a real btrfs: nothing changes but the space that they take.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)] // helpers fail as tests do

mod limits;
#[cfg(feature = "cli")]
mod own;
mod root;
#[path = "../support/mod.rs"]
mod support;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;
use std::num::NonZeroUsize;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use btrfs_payload::files::{Squeeze, SqueezeOptions, Squeezed};
use btrfs_payload::ioctl::{self, SpaceUsed};
use btrfs_payload::prepare::{Level, Options};
use btrfs_payload::rules::Codec;
use support::{Mount, create, snapshot, subvolume, text};

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;

fn mounted(test: &str) -> Option<Mount> {
    support::btrfs(test, &support::Options::default())
}

/// As a length in memory.
fn size(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap()
}

/// Bytes that nothing shrinks (xorshift64), different ones for each seed.
fn noise(len: u64, seed: u64) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64 ^ seed.wrapping_mul(0xff51_afd7_ed55_8ccd);
    let words = std::iter::from_fn(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        Some(state.to_le_bytes())
    });
    words.flatten().take(size(len)).collect()
}

fn written(path: &Path, data: &[u8]) -> File {
    let file = create(path);
    file.write_all_at(data, 0).unwrap();
    file.sync_all().unwrap();
    file
}

fn zstd(level: i32) -> SqueezeOptions {
    options(Codec::Zstd, Level::Number(level))
}

fn options(codec: Codec, level: Level) -> SqueezeOptions {
    let mut options = SqueezeOptions::new(Options::new(codec, level));
    options.jobs = NonZeroUsize::new(2).unwrap();
    options.patience = Duration::from_millis(300);
    options
}

/// What is used on disk, by the filesystem's own account.
fn used(fs: &Mount) -> SpaceUsed {
    let top = File::open(fs.path()).unwrap();
    ioctl::commit(&top).unwrap();
    // What is deleted in a transaction is free after it.
    ioctl::commit(&top).unwrap();
    ioctl::space_used(&top).unwrap()
}

fn squeezed(path: &Path, options: SqueezeOptions) -> (Squeeze, Vec<Squeezed>) {
    let mut squeeze = Squeeze::new(&[path.to_owned()], options).unwrap();
    let mut all = Vec::new();
    squeeze
        .run(|| false, |squeezed, _| all.push(*squeezed))
        .unwrap();
    (squeeze, all)
}

/// What of a file is to stay: the times, owner and so on, and the contents.
type Kept = (Vec<i64>, Vec<u8>);

fn state_of(path: &Path) -> Kept {
    let metadata = fs::symlink_metadata(path).unwrap();
    let mut numbers = vec![
        metadata.mtime(),
        metadata.mtime_nsec(),
        metadata.ctime(),
        metadata.ctime_nsec(),
    ];
    numbers.extend([metadata.mode(), metadata.uid(), metadata.gid()].map(i64::from));
    numbers.extend([metadata.nlink(), metadata.size()].map(|it| i64::try_from(it).unwrap()));
    let contents = match metadata.is_file() {
        true => fs::read(path).unwrap(),
        false => Vec::new(),
    };
    (numbers, contents)
}

/// That of everything below a directory, by path.
fn state(root: &Path) -> BTreeMap<PathBuf, Kept> {
    let mut all = BTreeMap::new();
    let mut directories = vec![root.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(&directory).unwrap() {
            let path = entry.unwrap().path();
            if fs::symlink_metadata(&path).unwrap().is_dir() {
                directories.push(path.clone());
            }
            let state = state_of(&path);
            all.insert(path, state);
        }
    }
    all
}

/// A subvolume with a text, and read-only snapshots of it.
fn live_with(fs: &Mount, len: u64, snapshots: &[&str]) -> PathBuf {
    let live = fs.join("live");
    subvolume(&live);
    written(&live.join("text"), &text(size(len)));
    for name in snapshots {
        snapshot(&live, &fs.join(name), &["-r"]);
    }
    live
}

/// A `btrfs send` that goes on only when more of it is read.
fn sending(snapshot: &Path) -> (Child, ChildStdout) {
    let mut send = Command::new("btrfs");
    send.arg("send").arg("-q").arg(snapshot);
    let mut send = send.stdout(Stdio::piped()).spawn().unwrap();
    let mut pipe = send.stdout.take().unwrap();
    pipe.read_exact(&mut [0; 4096]).unwrap();
    (send, pipe)
}

fn sent((mut send, mut pipe): (Child, ChildStdout)) {
    std::io::copy(&mut pipe, &mut std::io::sink()).unwrap();
    assert!(send.wait().unwrap().success());
}
