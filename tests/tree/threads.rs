//! Unpacking with many threads: what needs other files comes after them, whoever makes which.

use std::fs;
use std::num::NonZeroUsize;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use btrfs_payload::bytes::Bytes;
use btrfs_payload::send_stream::{Timespec, Uuid, command};
use btrfs_payload::tree::{UnpackOptions, unpack};

use crate::maker::Maker;
use crate::{Read, support};

/// From nothing to more than two batches.
const SIZES: [usize; 8] = [0, 100, 4096, 5000, 5000, 20_000, 70_000, 600_000];
const MODES: [u32; 8] = [0o644, 0o644, 0o755, 0o600, 0o444, 0o666, 0o640, 0o4755];

/// A tree made in a directory and put into a stream at the same time.
struct Both<'a> {
    top: &'a Path,
    maker: Maker,
    random: support::Random,
    directories: Vec<String>,
    files: Vec<String>,
    links: Vec<String>,
}

impl Both<'_> {
    fn name(&mut self, number: usize) -> String {
        let directory = self.random.below(self.directories.len());
        format!("{}n{number}", self.directories[directory])
    }

    /// One that is there already.
    fn earlier(&mut self) -> Option<String> {
        let number = self.random.below(self.files.len().max(1));
        self.files.get(number).cloned()
    }

    fn add(&mut self, number: usize) {
        let name = self.name(number);
        let path = Bytes::copy_from_slice(name.as_bytes());
        let there = self.top.join(&name);
        let kind = self.random.below(20);
        let earlier = self.earlier();
        match (kind, earlier) {
            (0, _) => {
                fs::create_dir(&there).unwrap();
                self.maker.directory(&name);
                self.directories.push(format!("{name}/"));
            }
            (1, _) => {
                symlink("n0", &there).unwrap();
                self.maker.symlink(&name, Path::new("n0"));
                self.links.push(name);
                return;
            }
            (2..=5, Some(first)) => {
                fs::hard_link(self.top.join(&first), &there).unwrap();
                let path_link = Bytes::copy_from_slice(first.as_bytes());
                self.maker.put(command::Link { path, path_link });
                return;
            }
            (6..=8, Some(source)) => {
                let len = fs::copy(self.top.join(&source), &there).unwrap();
                self.maker.file(&name);
                if len > 0 {
                    self.maker.put(command::Clone {
                        file_offset: 0,
                        clone_len: len,
                        path: path.clone(),
                        clone_uuid: Uuid([1; 16]),
                        clone_ctransid: 1,
                        clone_path: Bytes::copy_from_slice(source.as_bytes()),
                        clone_offset: 0,
                    });
                }
                self.files.push(name);
            }
            _ => {
                let size = SIZES[self.random.below(SIZES.len())];
                let content = self.random.bytes(size);
                fs::write(&there, &content).unwrap();
                self.maker.file(&name);
                self.maker.0.write_data(&path, 0, &content).unwrap();
                self.files.push(name);
            }
        }
        let mode = match kind {
            0 => 0o750,
            _ => MODES[self.random.below(MODES.len())],
        };
        fs::set_permissions(&there, fs::Permissions::from_mode(mode)).unwrap();
        self.maker.put(command::Chmod {
            path,
            mode: mode.into(),
        });
    }

    /// Times come last: what is made in a directory changes them.
    fn finish(mut self) -> Vec<u8> {
        let metadata = fs::metadata(self.top).unwrap();
        let (uid, gid) = (metadata.uid().into(), metadata.gid().into());
        let time = Timespec {
            seconds: 1_500_000_000,
            nanoseconds: 123_456_789,
        };
        let links = self.links.iter();
        for name in self.files.iter().chain(&self.directories).chain(links) {
            let name = name.trim_end_matches('/');
            let there = self.top.join(name);
            super::kernel::time(&there, time.seconds);
            let path = Bytes::copy_from_slice(name.as_bytes());
            let path = || path.clone();
            self.maker.put(command::Chown {
                path: path(),
                uid,
                gid,
            });
            // A change of owner takes set-id bits away.
            let metadata = fs::symlink_metadata(&there).unwrap();
            if !metadata.is_symlink() {
                let mode = u64::from(metadata.mode() & 0o7777);
                self.maker.put(command::Chmod { path: path(), mode });
            }
            self.maker.put(command::Utimes {
                path: path(),
                atime: time,
                mtime: time,
                ctime: time,
                otime: None,
            });
        }
        self.maker.stream()
    }
}

fn any_number_of_threads_makes_the_same(room: &Path, source: &Path, stream: &[u8]) -> Vec<u64> {
    let read = Read::new(&[stream]).unwrap();
    let mut shared = Vec::new();
    for jobs in [1, 2, 16] {
        let out = room.join(format!("out{jobs}"));
        let mut options = UnpackOptions::default();
        options.sync = false;
        let mut told = 0;
        let summary = unpack(
            &read.subvolume().tree,
            &read.data(),
            &[],
            &out,
            &options,
            NonZeroUsize::new(jobs).unwrap(),
            |bytes| told += bytes,
        );
        let summary = summary.unwrap();
        assert!(summary.left_out.is_empty(), "{summary:?}");
        assert_eq!(told, summary.data);
        shared.push(summary.shared);
        let is_file = |metadata: &fs::Metadata| metadata.is_file();
        let made = walkdir(&out).filter(is_file).map(|file| file.ino());
        let made = made.collect::<std::collections::HashSet<_>>().len();
        assert_eq!(summary.files, made as u64);
        support::assert_same_tree(source, &out);
    }
    shared
}

fn walkdir(top: &Path) -> Box<dyn Iterator<Item = fs::Metadata>> {
    let entries = fs::read_dir(top).unwrap().flat_map(|entry| {
        let path = entry.unwrap().path();
        let metadata = fs::symlink_metadata(&path).unwrap();
        let inside = metadata.is_dir().then(|| walkdir(&path));
        std::iter::once(metadata).chain(inside.into_iter().flatten())
    });
    Box::new(entries)
}

#[test]
fn many_threads_make_what_one_makes() {
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("source");
    fs::create_dir(&source).unwrap();
    let mut both = Both {
        top: &source,
        maker: Maker::new(),
        random: support::Random::new(7),
        directories: vec![String::new()],
        files: Vec::new(),
        links: Vec::new(),
    };
    (0..1500).for_each(|number| both.add(number));
    let stream = both.finish();
    any_number_of_threads_makes_the_same(dir.path(), &source, &stream);
    let name = "many_threads_make_what_one_makes on btrfs";
    if let Some(fs) = support::btrfs(name, &support::Options::default()) {
        let shared = any_number_of_threads_makes_the_same(&fs.path(), &source, &stream);
        assert!(shared[0] > 0 && shared.iter().all(|one| *one == shared[0]));
    }
}
