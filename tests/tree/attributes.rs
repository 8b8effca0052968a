//! Flags of files (`chattr`), which the kernel does not send and `btrfs receive` does not set.

use std::process::Command;

use btrfs_payload::send_stream::command;
use btrfs_payload::tree::{Flags, UnpackOptions};

use crate::maker::Maker;
use crate::{Read, support};

#[test]
fn file_attributes_are_kept_as_is_wished() {
    let mut maker = Maker::new();
    maker.file("f").put(command::Fileattr {
        path: "f".into(),
        fileattr: 0x102,
    });
    let stream = maker.stream();
    let read = Read::new(&[&stream]).unwrap();
    let dir = tempfile::tempdir().unwrap();
    for (name, flags) in [("xattr", Flags::Xattr), ("drop", Flags::Drop)] {
        let mut options = UnpackOptions::default();
        options.flags = flags;
        let out = dir.path().join(name);
        let summary = read.unpack(&[], &out, &options).unwrap();
        let value = &mut [0_u8; 16][..];
        let got = rustix::fs::getxattr(out.join("f"), "user.btrfs.flags", &mut *value);
        match flags {
            // Filesystems in memory have had them since Linux 6.6 only.
            Flags::Xattr if summary.left_out.is_empty() => {
                assert_eq!(&value[..got.unwrap()], b"258")
            }
            Flags::Xattr => {}
            _ => assert!(got.is_err()),
        }
    }
}

/// By the flag as btrfs stores it (include/uapi/linux/btrfs_tree.h), and its letter in lsattr(1).
const FLAGS: [(u64, char); 9] = [
    (1 << 1, 'C'),
    (1 << 3, 'm'),
    (1 << 5, 'S'),
    (1 << 6, 'i'),
    (1 << 7, 'a'),
    (1 << 8, 'd'),
    (1 << 9, 'A'),
    (1 << 10, 'D'),
    (1 << 11, 'c'),
];

#[test]
fn file_attributes_are_applied() {
    let Some(fs) = support::btrfs("file_attributes_are_applied", &support::Options::default())
    else {
        return;
    };
    let mut maker = Maker::new();
    let data = b"data that is there before the file is locked\n".repeat(1000);
    let mut expected = Vec::new();
    // Nothing that is not compressed, or NOCOW, is compressed.
    let all = FLAGS.iter().filter(|(_, letter)| !"mcD".contains(*letter));
    let (bits, letters) = all.fold((0, String::new()), |(bits, letters), (bit, letter)| {
        (bits | bit, letters + &letter.to_string())
    });
    let each = FLAGS.map(|(bit, letter)| (bit, letter.to_string()));
    for (bits, letters) in each.into_iter().chain([(bits, letters)]) {
        // Of directories only.
        let path = format!("flags {letters}");
        if letters == "D" {
            maker.directory(&path);
        } else {
            maker.file(&path).put(command::Write {
                path: path.clone().into(),
                file_offset: 0,
                data: data.clone().into(),
            });
        }
        maker.put(command::Fileattr {
            path: path.clone().into(),
            fileattr: bits,
        });
        expected.push((path, letters));
    }
    let stream = maker.stream();
    let out = fs.join("out");
    let mut options = UnpackOptions::default();
    options.flags = Flags::Apply;
    let summary = Read::new(&[&stream]).unwrap().unpack(&[], &out, &options);
    let summary = summary.unwrap();
    assert!(summary.left_out.is_empty(), "{summary:?}");
    for (path, letters) in expected {
        let path = out.join(path);
        let told = Command::new("lsattr")
            .arg("-d")
            .arg(&path)
            .output()
            .unwrap();
        let told = String::from_utf8(told.stdout).unwrap();
        let (flags, _) = told.split_once(' ').unwrap();
        let mut got: Vec<char> = flags.chars().filter(|letter| *letter != '-').collect();
        let mut expected: Vec<char> = letters.chars().collect();
        got.sort_unstable();
        expected.sort_unstable();
        assert_eq!(got, expected, "{told}");
        if path.is_file() {
            assert!(std::fs::read(&path).unwrap() == data);
        }
    }
}
