//! A subvolume with everything a send stream can tell of, and how it changes.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::Write;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

use rustix::fs::{CWD, FallocateFlags, FileType, Mode, XattrFlags, makedev, mknodat};

use crate::support::{Mount, generated};

/// Runs a command that must succeed, and gives its output.
pub fn run(program: &str, arguments: &[&OsStr]) -> Vec<u8> {
    let output = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("{program}: {error}"));
    let trouble = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{program} {arguments:?}: {trouble}"
    );
    output.stdout
}

fn btrfs(words: &[&str], paths: &[&Path]) {
    let mut arguments: Vec<&OsStr> = words.iter().map(OsStr::new).collect();
    arguments.extend(paths.iter().map(|path| path.as_os_str()));
    run("btrfs", &arguments);
}

/// Lines that shrink to a third or so.
pub fn text(len: usize, seed: u32) -> Vec<u8> {
    let line = |i: u32| {
        let number = (i ^ seed).wrapping_mul(2_654_435_761);
        format!("line {i} says {number:08x}\n").into_bytes()
    };
    let mut text: Vec<u8> = (0..).flat_map(line).take(len).collect();
    text.truncate(len);
    text
}

fn noise(len: usize) -> Vec<u8> {
    let mut samples = generated(len * 6);
    samples.swap_remove(4).data
}

fn set_xattr(path: &Path, name: &str, value: &[u8]) {
    rustix::fs::lsetxattr(path, name, value, XattrFlags::empty()).unwrap();
}

/// Copies a range between files by sharing it: btrfs clones aligned ranges.
fn share(from: &Path, from_offset: u64, to: &Path, to_offset: u64, len: usize) {
    let from = File::open(from).unwrap();
    let to = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .open(to)
        .unwrap();
    let (mut from_offset, mut to_offset) = (from_offset, to_offset);
    let copied = rustix::fs::copy_file_range(
        &from,
        Some(&mut from_offset),
        &to,
        Some(&mut to_offset),
        len,
    );
    assert_eq!(copied, Ok(len));
}

/// A name that is no text: a newline, bytes that are no UTF-8, a space, a quote, 255 bytes.
fn odd_names() -> Vec<OsString> {
    [
        b"new\nline".to_vec(),
        b"no utf-8 \xff\xfe\x80".to_vec(),
        b"quotes ' \" and \\ backslash".to_vec(),
        b"\x01\x7f".to_vec(),
        vec![0xe9; 255],
    ]
    .map(OsString::from_vec)
    .into()
}

/// Makes the subvolume `work` and its read-only snapshot `one`.
pub fn make(fs: &mut Mount) {
    let root = fs.join("work");
    btrfs(&["subvolume", "create"], &[&root]);
    special_files(&root);
    links_and_names(&root);
    for codec in ["zstd", "zlib", "lzo"] {
        fs.remount_with(&[&format!("compress-force={codec}")]);
        data(&root.join(codec));
    }
    fs.remount();
    data(&root.join("plain"));
    shared(&root);
    // Directories last: what was done inside changed them.
    let old = SystemTime::UNIX_EPOCH - Duration::from_millis(1_500);
    for name in ["zstd/one", "dir"] {
        File::open(root.join(name))
            .unwrap()
            .set_modified(old)
            .unwrap();
    }
    snapshot(fs, "one");
}

/// Changes `work` in every way that an incremental stream can tell, and makes `two`.
pub fn change(fs: &Mount) {
    let root = fs.join("work");
    fs::remove_file(root.join("fifo")).unwrap();
    fs::remove_dir_all(root.join("dir/sub")).unwrap();
    fs::rename(root.join("zlib"), root.join("renamed")).unwrap();
    fs::rename(root.join("plain/one"), root.join("dir/moved")).unwrap();
    rustix::fs::removexattr(root.join("xattrs"), "user.empty").unwrap();
    set_xattr(&root.join("xattrs"), "user.binary", b"changed");
    fs::set_permissions(root.join("mode"), Permissions::from_mode(0o6711)).unwrap();
    chown(root.join("owner"), Some(3), Some(4)).unwrap();
    for codec in ["zstd", "renamed", "lzo"] {
        let edit = |name: &str| {
            OpenOptions::new()
                .write(true)
                .open(root.join(codec).join(name))
        };
        // The middle of compressed extents: what is left of them is shown in slices.
        let file = edit("megabyte").unwrap();
        file.write_all_at(&noise(8192), 40_960).unwrap();
        file.write_all_at(&text(5000, 9), 400_000).unwrap();
        let punch = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        rustix::fs::fallocate(&file, punch, 262_144, 16_384).unwrap();
        edit("odd").unwrap().set_len(70_000).unwrap();
        let mut file = OpenOptions::new()
            .append(true)
            .open(root.join(codec).join("inline"))
            .unwrap();
        file.write_all(&text(3000, 4)).unwrap();
    }
    // A directory where a file was, a file where a directory was.
    fs::remove_file(root.join("plain/two")).unwrap();
    fs::create_dir(root.join("plain/two")).unwrap();
    fs::remove_dir_all(root.join("empty")).unwrap();
    fs::write(root.join("empty"), b"not a directory").unwrap();
    run("chattr", &[OsStr::new("+A"), root.join("mode").as_os_str()]);
    for name in odd_names() {
        let new = [name.as_bytes(), b"2"].concat();
        let new = &new[new.len().saturating_sub(255)..];
        fs::rename(root.join(&name), root.join(OsStr::from_bytes(new))).unwrap();
    }
    share(
        &root.join("zstd/megabyte"),
        0,
        &root.join("dir/cloned again"),
        131_072,
        262_144,
    );
    snapshot(fs, "two");
}

fn snapshot(fs: &Mount, name: &str) {
    btrfs(
        &["subvolume", "snapshot", "-r"],
        &[&fs.join("work"), &fs.join(name)],
    );
}

/// Everything that is no regular file, and attributes.
fn special_files(root: &Path) {
    fs::create_dir_all(root.join("dir/sub/sub")).unwrap();
    fs::create_dir(root.join("empty")).unwrap();
    let mode = Mode::from_raw_mode(0o640);
    for (name, kind, device) in [
        ("char", FileType::CharacterDevice, makedev(5, 300)),
        ("block", FileType::BlockDevice, makedev(259, 70_000)),
        ("fifo", FileType::Fifo, 0),
        ("socket", FileType::Socket, 0),
    ] {
        mknodat(CWD, root.join(name), kind, mode, device).unwrap();
    }
    symlink("zstd/megabyte", root.join("symlink")).unwrap();
    symlink(
        OsString::from_vec(vec![b'/'; 3000]),
        root.join("long symlink"),
    )
    .unwrap();
    symlink(OsStr::from_bytes(b"no\nwhere \xff"), root.join("dangling")).unwrap();
    for name in ["xattrs", "mode", "owner"] {
        File::create(root.join(name)).unwrap();
    }
    set_xattr(&root.join("xattrs"), "user.empty", b"");
    set_xattr(&root.join("xattrs"), "user.binary", &[0, 255, 10, 0]);
    set_xattr(
        &root.join("xattrs"),
        &format!("user.{}", "n".repeat(250)),
        &[7; 3000],
    );
    set_xattr(&root.join("xattrs"), "trusted.t", b"t");
    set_xattr(&root.join("dir"), "user.dir", b"on a directory");
    set_xattr(&root.join("dir"), "btrfs.compression", b"zstd");
    fs::set_permissions(root.join("mode"), Permissions::from_mode(0o4755)).unwrap();
    chown(root.join("owner"), Some(1), Some(2)).unwrap();
    chown(root, Some(1000), None).unwrap();
}

fn links_and_names(root: &Path) {
    fs::write(root.join("linked"), b"by three names").unwrap();
    fs::hard_link(root.join("linked"), root.join("dir/other name")).unwrap();
    fs::hard_link(root.join("linked"), root.join("dir/third")).unwrap();
    for name in odd_names() {
        fs::write(root.join(name), b"odd").unwrap();
    }
    let deep: PathBuf = std::iter::repeat_n("deep", 60).collect();
    fs::create_dir_all(root.join(&deep)).unwrap();
    fs::write(root.join(&deep).join("file"), b"deep").unwrap();
}

/// Files of many sizes, as the mount options make their extents.
fn data(dir: &Path) {
    fs::create_dir(dir).unwrap();
    let write = |name: &str, data: &[u8]| fs::write(dir.join(name), data).unwrap();
    write("none", b"");
    write("one", b"1");
    write("two", b"22");
    write("three", b"333");
    write("inline", &text(1500, 1));
    write("inline that shrinks well", &[b'x'; 4000]);
    write("sector", &text(4096, 2));
    write("odd", &text(131_073, 3));
    write("megabyte", &text(1 << 20, 5));
    write("noise", &noise(300_000));
    let sparse = File::create(dir.join("sparse")).unwrap();
    sparse.set_len(5 << 30).unwrap();
    sparse.write_all_at(&text(9000, 6), 1 << 20).unwrap();
    sparse.write_all_at(&text(100_000, 7), 20 << 20).unwrap();
    sparse.set_len(40 << 20).unwrap();
    let mut reserved = File::create(dir.join("reserved")).unwrap();
    rustix::fs::fallocate(&reserved, FallocateFlags::empty(), 0, 300_000).unwrap();
    reserved.write_all(&text(20_000, 8)).unwrap();
    let beyond = FallocateFlags::KEEP_SIZE;
    rustix::fs::fallocate(&reserved, beyond, 300_000, 100_000).unwrap();
    rustix::fs::sync();
}

/// Extents in more than one place.
fn shared(root: &Path) {
    let megabyte = root.join("zstd/megabyte");
    share(&megabyte, 0, &root.join("dir/cloned"), 0, 1 << 20);
    // A part, and within one file.
    share(
        &megabyte,
        65_536,
        &root.join("dir/cloned part"),
        8192,
        16_384,
    );
    share(
        &root.join("lzo/megabyte"),
        0,
        &root.join("lzo/megabyte"),
        2 << 20,
        131_072,
    );
    rustix::fs::sync();
}
