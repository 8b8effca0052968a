//! Subvolumes and snapshots, made by btrfs-progs.

use std::ffi::OsStr;
use std::path::Path;
use std::process::Command;

fn btrfs(words: &[&str], paths: &[&Path]) {
    let words = words.iter().map(OsStr::new);
    let paths = paths.iter().map(|path| path.as_os_str());
    let output = Command::new("btrfs").args(words.chain(paths)).output();
    let output = output.unwrap();
    assert!(output.status.success(), "{output:?}");
}

pub fn subvolume(path: &Path) {
    btrfs(&["subvolume", "create"], &[path]);
}

/// With options such as `-r`, read-only.
pub fn snapshot(from: &Path, to: &Path, options: &[&str]) {
    btrfs(&[&["subvolume", "snapshot"], options].concat(), &[from, to]);
}

/// Deletes a subvolume, and waits until nothing of it is left.
pub fn delete_subvolume(path: &Path) {
    let parent = path.parent().unwrap();
    btrfs(&["subvolume", "delete", "--commit-after"], &[path]);
    btrfs(&["subvolume", "sync"], &[parent]);
}
