//! Comparing two directory trees down to every byte and attribute.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs::{self, File, Metadata};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Panics with every difference between the two trees: names, kinds, modes, owners, device
/// numbers, mtimes, sizes, contents, link targets, extended attributes, and which names are hard
/// links to one file. Modification times of directories count too.
#[track_caller]
pub fn assert_same_tree(left: &Path, right: &Path) {
    let (mut left_tree, mut right_tree) = (Tree::default(), Tree::default());
    left_tree.read(left, Path::new(""));
    right_tree.read(right, Path::new(""));
    let mut differences = Vec::new();
    let names: BTreeSet<_> = left_tree
        .files
        .keys()
        .chain(right_tree.files.keys())
        .collect();
    for name in names {
        match (left_tree.files.get(name), right_tree.files.get(name)) {
            (Some(_), None) => differences.push(format!("{name:?}: only in {left:?}")),
            (None, Some(_)) => differences.push(format!("{name:?}: only in {right:?}")),
            (Some(a), Some(b)) if a != b => differences.push(format!("{name:?}: {a:?} and {b:?}")),
            (Some(a), Some(_)) if a.kind == libc_reg() => {
                if let Some(what) = content_differs(&left.join(name), &right.join(name)) {
                    differences.push(format!("{name:?}: {what}"));
                }
            }
            _ => {}
        }
    }
    for group in left_tree.links().symmetric_difference(&right_tree.links()) {
        differences.push(format!(
            "hard links of one file on one side only: {group:?}"
        ));
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

/// What is compared of one name, content aside.
#[derive(Debug, PartialEq, Eq)]
struct Entry {
    kind: u32,
    mode: u32,
    owner: (u32, u32),
    device: u64,
    mtime: (i64, i64),
    size: u64,
    target: Option<PathBuf>,
    xattrs: BTreeMap<OsString, Vec<u8>>,
}

#[derive(Default)]
struct Tree {
    files: BTreeMap<PathBuf, Entry>,
    inodes: BTreeMap<(u64, u64), BTreeSet<PathBuf>>,
}

impl Tree {
    fn read(&mut self, root: &Path, name: &Path) {
        let path = root.join(name);
        let metadata = fs::symlink_metadata(&path).unwrap();
        if metadata.is_dir() {
            for entry in fs::read_dir(&path).unwrap() {
                self.read(root, &name.join(entry.unwrap().file_name()));
            }
        } else {
            let inode = (metadata.dev(), metadata.ino());
            self.inodes
                .entry(inode)
                .or_default()
                .insert(name.to_owned());
        }
        self.files.insert(name.to_owned(), entry(&path, &metadata));
    }

    fn links(&self) -> BTreeSet<BTreeSet<PathBuf>> {
        let shared = self.inodes.values().filter(|names| names.len() > 1);
        shared.cloned().collect()
    }
}

/// The bits of a mode that say it is a regular file.
fn libc_reg() -> u32 {
    0o100_000
}

fn entry(path: &Path, metadata: &Metadata) -> Entry {
    Entry {
        kind: metadata.mode() & 0o170_000,
        mode: metadata.mode() & 0o7777,
        owner: (metadata.uid(), metadata.gid()),
        device: metadata.rdev(),
        mtime: (metadata.mtime(), metadata.mtime_nsec()),
        // The size of a directory is an affair of its filesystem.
        size: if metadata.is_dir() { 0 } else { metadata.len() },
        target: metadata.is_symlink().then(|| fs::read_link(path).unwrap()),
        xattrs: xattrs(path),
    }
}

fn xattrs(path: &Path) -> BTreeMap<OsString, Vec<u8>> {
    use std::os::unix::ffi::OsStringExt;
    let mut names = vec![0; 64 * 1024];
    let len = rustix::fs::llistxattr(path, &mut names[..]).unwrap_or(0);
    names.truncate(len);
    let names = names
        .split(|&byte| byte == 0)
        .filter(|name| !name.is_empty());
    let value = |name: &[u8]| {
        let mut value = vec![0; 64 * 1024];
        let len = rustix::fs::lgetxattr(path, name, &mut value[..]).unwrap();
        value.truncate(len);
        (OsString::from_vec(name.to_vec()), value)
    };
    names.map(value).collect()
}

/// Reads both in step, so that files of any size can be compared.
fn content_differs(left: &Path, right: &Path) -> Option<String> {
    let mut files = [left, right].map(|path| File::open(path).unwrap());
    let mut offset = 0;
    loop {
        let [a, b] = files.each_mut().map(|file| {
            let mut chunk = Vec::new();
            let result = file.take(1 << 20).read_to_end(&mut chunk);
            result.map(|_| chunk).map_err(|error| error.to_string())
        });
        let (a, b) = match (a, b) {
            (Ok(a), Ok(b)) => (a, b),
            (Err(error), _) => return Some(format!("left at {offset}: {error}")),
            (_, Err(error)) => return Some(format!("right at {offset}: {error}")),
        };
        if a != b {
            let same = a.iter().zip(&b).take_while(|(a, b)| a == b).count();
            return Some(format!("contents differ at {}", offset + same));
        }
        if a.is_empty() {
            return None;
        }
        offset += a.len();
    }
}
