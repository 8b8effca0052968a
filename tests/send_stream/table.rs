//! The tables of commands and attributes, compared with a transcription of the kernel's
//! (enum btrfs_send_cmd, enum btrfs_send_attr and the functions that emit them, fs/btrfs/send.c).

use std::collections::BTreeSet;

use btrfs_payload::send_stream::{Attribute, CommandKind, ValueType, Version};

/// Number, first version, name, attributes in the order of emission; `?` marks what a
/// receiver does without.
const COMMANDS: &[(u16, u32, &str, &str)] = &[
    (1, 1, "subvol", "path uuid ctransid"),
    (
        2,
        1,
        "snapshot",
        "path uuid ctransid clone_uuid clone_ctransid",
    ),
    (3, 1, "mkfile", "path ino"),
    (4, 1, "mkdir", "path ino"),
    (5, 1, "mknod", "path ino rdev mode"),
    (6, 1, "mkfifo", "path ino rdev? mode?"),
    (7, 1, "mksock", "path ino rdev? mode?"),
    (8, 1, "symlink", "path ino path_link"),
    (9, 1, "rename", "path path_to"),
    (10, 1, "link", "path path_link"),
    (11, 1, "unlink", "path"),
    (12, 1, "rmdir", "path"),
    (13, 1, "set_xattr", "path xattr_name xattr_data"),
    (14, 1, "remove_xattr", "path xattr_name"),
    (15, 1, "write", "path file_offset data"),
    (
        16,
        1,
        "clone",
        "file_offset clone_len path clone_uuid clone_ctransid clone_path clone_offset",
    ),
    (17, 1, "truncate", "path size"),
    (18, 1, "chmod", "path mode"),
    (19, 1, "chown", "path uid gid"),
    (20, 1, "utimes", "path atime mtime ctime otime?"),
    (21, 1, "end", ""),
    (22, 1, "update_extent", "path file_offset size"),
    (23, 2, "fallocate", "path fallocate_mode file_offset size"),
    (24, 2, "fileattr", "path fileattr"),
    (
        25,
        2,
        "encoded_write",
        "path file_offset unencoded_file_len unencoded_len unencoded_offset compression? \
         encryption? data",
    ),
    (
        26,
        3,
        "enable_verity",
        "path verity_algorithm verity_block_size verity_salt_data verity_sig_data",
    ),
];

/// Name, bytes (0: any number; s: a string). Numbers count from 1.
const ATTRIBUTES: &[(&str, &str)] = &[
    ("uuid", "16"),
    ("ctransid", "8"),
    ("ino", "8"),
    ("size", "8"),
    ("mode", "8"),
    ("uid", "8"),
    ("gid", "8"),
    ("rdev", "8"),
    ("ctime", "12"),
    ("mtime", "12"),
    ("atime", "12"),
    ("otime", "12"),
    ("xattr_name", "s"),
    ("xattr_data", "0"),
    ("path", "s"),
    ("path_to", "s"),
    ("path_link", "s"),
    ("file_offset", "8"),
    ("data", "0"),
    ("clone_uuid", "16"),
    ("clone_ctransid", "8"),
    ("clone_path", "s"),
    ("clone_offset", "8"),
    ("clone_len", "8"),
    ("fallocate_mode", "4"),
    ("fileattr", "8"),
    ("unencoded_file_len", "8"),
    ("unencoded_len", "8"),
    ("unencoded_offset", "8"),
    ("compression", "4"),
    ("encryption", "4"),
    ("verity_algorithm", "1"),
    ("verity_block_size", "4"),
    ("verity_salt_data", "0"),
    ("verity_sig_data", "0"),
];

#[test]
fn commands_are_the_kernels() {
    let ours: Vec<_> = CommandKind::ALL
        .iter()
        .map(|kind| {
            let attributes: Vec<String> = kind
                .attributes()
                .iter()
                .map(|usage| {
                    let mark = if usage.optional { "?" } else { "" };
                    format!("{}{mark}", usage.attribute)
                })
                .collect();
            assert_eq!(CommandKind::from_number(kind.number()), Some(*kind));
            let since = kind.since().number();
            (kind.number(), since, kind.name(), attributes.join(" "))
        })
        .collect();
    let theirs: Vec<_> = COMMANDS
        .iter()
        .map(|&(number, since, name, attributes)| (number, since, name, attributes.to_owned()))
        .collect();
    assert_eq!(ours, theirs);
    assert_eq!(CommandKind::from_number(0), None);
    assert_eq!(CommandKind::from_number(27), None);
}

#[test]
fn attributes_are_the_kernels() {
    let ours: Vec<_> = Attribute::ALL
        .iter()
        .map(|attribute| {
            assert_eq!(Attribute::from_number(attribute.number()), Some(*attribute));
            let form = match attribute.value_type() {
                ValueType::String => "s".to_owned(),
                form => form.size().unwrap_or(0).to_string(),
            };
            (attribute.number(), attribute.name(), form)
        })
        .collect();
    let theirs: Vec<_> = (1..)
        .zip(ATTRIBUTES)
        .map(|(number, &(name, form))| (number, name, form.to_owned()))
        .collect();
    assert_eq!(ours, theirs);
    assert_eq!(Attribute::from_number(0), None);
    assert_eq!(Attribute::from_number(36), None);
}

#[test]
fn every_attribute_has_a_command() {
    let used: BTreeSet<_> = CommandKind::ALL
        .iter()
        .flat_map(|kind| kind.attributes())
        .map(|usage| usage.attribute)
        .collect();
    assert_eq!(used, Attribute::ALL.iter().copied().collect());
}

#[test]
fn data_comes_last_and_nothing_is_older_than_its_command() {
    for kind in CommandKind::ALL {
        let attributes = kind.attributes();
        for (i, usage) in attributes.iter().enumerate() {
            let last = i + 1 == attributes.len();
            assert!(usage.attribute != Attribute::Data || last, "{kind}");
            // Only the creation time came to an older command.
            let newer = usage.attribute.since() > kind.since();
            assert_eq!(newer, usage.attribute == Attribute::Otime, "{kind}");
        }
    }
    assert_eq!(Version::from_number(0), None);
    assert_eq!(Version::from_number(4), None);
}
