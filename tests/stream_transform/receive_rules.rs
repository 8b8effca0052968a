//! What a command may hold beside paths that are there: clones, extended attributes, nodes,
//! names. Each stream is judged, and then given to `btrfs receive`, which has to agree.

use std::fs::File;
use std::io::Seek;
use std::process::{Command as Process, Stdio};

use btrfs_payload::send_stream::command::{
    Chmod, Clone, MkDir, MkFile, MkNod, RemoveXattr, SetXattr, Snapshot, Subvol, Symlink, Truncate,
    UpdateExtent, Write,
};
use btrfs_payload::send_stream::{Command, Uuid, Version, Writer};
use btrfs_payload::validate::Severity;
use bytes::Bytes;

use crate::support::{self, Mount, Options};
use crate::work::{Work, checked, checked_for};

const ONE: Uuid = Uuid([1; 16]);
const TWO: Uuid = Uuid([2; 16]);
/// An access list: the owner, the group, others.
const LIST: [u8; 28] = *b"\x02\0\0\0\x01\0\x06\0\xff\xff\xff\xff\x04\0\x04\0\xff\xff\xff\xff\
                          \x20\0\x04\0\xff\xff\xff\xff";

fn write(path: &'static str, file_offset: u64, len: usize) -> Command {
    Write {
        path: path.into(),
        file_offset,
        data: vec![b'x'; len].into(),
    }
    .into()
}

fn truncate(path: &'static str, size: u64) -> Command {
    Truncate {
        path: path.into(),
        size,
    }
    .into()
}

fn clone(from: (Uuid, &'static str, u64), to: (&'static str, u64), clone_len: u64) -> Command {
    Clone {
        path: to.0.into(),
        file_offset: to.1,
        clone_len,
        clone_uuid: from.0,
        clone_ctransid: 1,
        clone_path: from.1.into(),
        clone_offset: from.2,
    }
    .into()
}

fn set(path: &'static str, name: impl Into<Bytes>, value: impl Into<Bytes>) -> Command {
    SetXattr {
        path: path.into(),
        xattr_name: name.into(),
        xattr_data: value.into(),
    }
    .into()
}

fn remove(path: &'static str, name: &'static str) -> Command {
    RemoveXattr {
        path: path.into(),
        xattr_name: name.into(),
    }
    .into()
}

fn node(mode: u64, rdev: u64) -> Command {
    MkNod {
        path: "n".into(),
        ino: 9,
        rdev,
        mode,
    }
    .into()
}

fn symlink(path: &'static str, path_link: &'static str) -> Command {
    Symlink {
        path: path.into(),
        ino: 9,
        path_link: path_link.into(),
    }
    .into()
}

fn mkfile(path: impl Into<Bytes>) -> Command {
    MkFile {
        path: path.into(),
        ino: 9,
    }
    .into()
}

fn mkdir(path: impl Into<Bytes>) -> Command {
    MkDir {
        path: path.into(),
        ino: 9,
    }
    .into()
}

fn chmod(path: &'static str) -> Command {
    Chmod {
        path: path.into(),
        mode: 0o600,
    }
    .into()
}

fn update_extent(path: &'static str, size: u64) -> Command {
    UpdateExtent {
        path: path.into(),
        file_offset: 0,
        size,
    }
    .into()
}

/// A subvolume `s` with the file `f` of 40960 bytes, the empty file `g`, the file `odd` of 5000
/// bytes, the directory `d` and the symbolic link `l`, and then these commands.
fn full(commands: &[Command]) -> Vec<u8> {
    let subvol = Subvol {
        path: "s".into(),
        uuid: ONE,
        ctransid: 1,
    };
    let before = [
        subvol.into(),
        mkfile("f"),
        write("f", 0, 40_960),
        mkfile("g"),
        mkfile("odd"),
        write("odd", 0, 5000),
        mkdir("d"),
        symlink("l", "nowhere"),
    ];
    stream(&before, commands)
}

/// A snapshot `t` of what [`full`] makes.
fn increment(commands: &[Command]) -> Vec<u8> {
    let snapshot = Snapshot {
        path: "t".into(),
        uuid: TWO,
        ctransid: 2,
        clone_uuid: ONE,
        clone_ctransid: 1,
    };
    stream(&[snapshot.into()], commands)
}

fn stream(before: &[Command], commands: &[Command]) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new(), Version::V2).unwrap();
    for command in before.iter().chain(commands) {
        writer.write_command(command).unwrap();
    }
    writer.finish().unwrap()
}

/// What is wrong, if anything, with the last command.
type Rule = (&'static str, Vec<Command>);

fn clones() -> Vec<Rule> {
    let own = |path, offset| (ONE, path, offset);
    vec![
        ("", vec![clone(own("f", 0), ("g", 0), 40_960)]),
        ("", vec![clone(own("odd", 4096), ("g", 8192), 904)]),
        ("", vec![clone(own("f", 8192), ("f", 0), 8192)]),
        (
            "clone-unaligned",
            vec![clone(own("f", 100), ("g", 0), 4096)],
        ),
        (
            "clone-unaligned",
            vec![clone(own("f", 0), ("g", 100), 4096)],
        ),
        ("clone-unaligned", vec![clone(own("f", 0), ("g", 0), 5000)]),
        (
            "clone-beyond-end",
            vec![clone(own("f", 0), ("g", 0), 45_056)],
        ),
        ("clone-beyond-end", vec![clone(own("g", 0), ("f", 0), 4096)]),
        ("clone-overlap", vec![clone(own("f", 0), ("f", 4096), 8192)]),
        (
            "clone-overlap",
            vec![clone(own("odd", 0), ("odd", 4096), 5000)],
        ),
        (
            "clone-into-middle",
            vec![clone(own("odd", 0), ("f", 0), 5000)],
        ),
        (
            "",
            vec![truncate("g", 5000), clone(own("odd", 0), ("g", 0), 5000)],
        ),
        (
            "clone-source-unknown",
            vec![clone(own("no", 0), ("g", 0), 4096)],
        ),
        ("not-a-file", vec![clone(own("d", 0), ("g", 0), 4096)]),
    ]
}

fn attributes() -> Vec<Rule> {
    let room = 16_384 - 101 - 25 - 30 - "user.a".len();
    let capability = [&[1, 0, 0, 2][..], &[0; 16]].concat();
    vec![
        ("", vec![set("f", "user.a", "")]),
        ("", vec![set("f", "user.a", vec![0; room])]),
        (
            "xattr-too-long",
            vec![set("f", "user.a", vec![0; room + 1])],
        ),
        ("xattr-name", vec![set("f", "", "v")]),
        ("xattr-name", vec![set("f", "user.", "v")]),
        ("xattr-name", vec![set("f", "user", "v")]),
        ("xattr-name", vec![set("f", "other.a", "v")]),
        ("xattr-name", vec![set("f", "system.a", "v")]),
        ("xattr-name", vec![set("f", "btrfs.other", "v")]),
        ("xattr-kind", vec![set("l", "user.a", "v")]),
        ("", vec![set("l", "trusted.a", "v")]),
        ("xattr-unknown", vec![remove("f", "user.a")]),
        ("", vec![set("f", "user.a", "v"), remove("f", "user.a")]),
        (
            "xattr-unknown",
            vec![
                set("f", "user.a", "v"),
                remove("f", "user.a"),
                remove("f", "user.a"),
            ],
        ),
        ("", vec![set("f", "btrfs.compression", "zstd")]),
        ("xattr-value", vec![set("f", "btrfs.compression", "gzip")]),
        // It comes with the directory.
        (
            "",
            vec![
                set("d", "btrfs.compression", "lzo"),
                mkfile("d/f"),
                remove("d/f", "btrfs.compression"),
            ],
        ),
        (
            "xattr-unknown",
            vec![
                set("d", "btrfs.compression", "none"),
                mkfile("d/f"),
                remove("d/f", "btrfs.compression"),
            ],
        ),
        ("xattr-value", vec![set("f", "security.capability", "v")]),
        // A change of the file drops it.
        (
            "xattr-unknown",
            vec![
                set("f", "security.capability", capability.clone()),
                write("f", 0, 1),
                remove("f", "security.capability"),
            ],
        ),
        (
            "",
            vec![
                set("f", "security.capability", capability),
                remove("f", "security.capability"),
            ],
        ),
        ("", vec![set("f", "system.posix_acl_access", &LIST[..])]),
        ("", vec![set("f", "system.posix_acl_access", "")]),
        ("", vec![remove("f", "system.posix_acl_access")]),
        ("", vec![set("d", "system.posix_acl_default", &LIST[..])]),
        (
            "xattr-kind",
            vec![set("f", "system.posix_acl_default", &LIST[..])],
        ),
        (
            "xattr-kind",
            vec![set("l", "system.posix_acl_access", &LIST[..])],
        ),
        (
            "xattr-value",
            vec![set("f", "system.posix_acl_access", &LIST[..20])],
        ),
    ]
}

fn names() -> Vec<Rule> {
    let long = |len: usize| vec![b'n'; len];
    vec![
        ("", vec![mkfile(long(255))]),
        ("name-too-long", vec![mkfile(long(256))]),
        (
            "name-too-long",
            vec![mkdir([&b"d/"[..], &long(256)].concat())],
        ),
        ("empty-target", vec![symlink("n", "")]),
        ("", vec![node(0o020_000, 0xffff_ffff)]),
        ("node-kind", vec![node(0o020_000, 1 << 32)]),
        ("node-kind", vec![node(0o040_000, 0)]),
        ("", vec![node(0o100_000, 0), write("n", 0, 1)]),
        ("through-symlink", vec![chmod("l")]),
        ("", vec![write("f", 0, 0)]),
        ("path-unknown", vec![write("no", 0, 0)]),
        // Nobody looks at these.
        ("", vec![update_extent("no", 0)]),
        ("", vec![update_extent("no", 4096)]),
        // Without data, the file is as long as it is made, and what is cloned from it a hole.
        (
            "",
            vec![
                mkfile("h"),
                update_extent("h", 8192),
                truncate("h", 8192),
                clone((ONE, "h", 0), ("g", 0), 8192),
            ],
        ),
        (
            "clone-beyond-end",
            vec![
                mkfile("h"),
                update_extent("h", 8192),
                clone((ONE, "h", 0), ("g", 0), 8192),
            ],
        ),
    ]
}

fn errors(input: &[u8]) -> Vec<(u64, &'static str)> {
    let (findings, _) = checked(input);
    findings
        .iter()
        .filter(|finding| finding.severity == Severity::Error)
        .map(|finding| (finding.command, finding.code))
        .collect()
}

/// Receives into an empty filesystem; the words of the error.
fn receive(fs: &Mount, input: &[u8]) -> Result<(), String> {
    let path = fs.outside().join("input");
    std::fs::write(&path, input).unwrap();
    let mut file = File::open(path).unwrap();
    let mut receive = Process::new("btrfs");
    receive.args(["--quiet", "receive"]).arg(fs.path());
    receive.stdin(file.try_clone().unwrap());
    let output = receive.stdout(Stdio::null()).output().unwrap();
    for entry in std::fs::read_dir(fs.path()).unwrap() {
        let mut delete = Process::new("btrfs");
        delete.args(["--quiet", "subvolume", "delete"]);
        assert!(
            delete
                .arg(entry.unwrap().path())
                .status()
                .unwrap()
                .success()
        );
    }
    // Whatever the status is, the position says how far it came.
    if output.status.success() && file.stream_position().unwrap() == input.len() as u64 {
        Ok(())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

#[test]
fn rules_of_clones_attributes_and_names() {
    let fs = support::btrfs("rules_of_clones_attributes_and_names", &Options::default());
    for (code, commands) in [clones(), attributes(), names()].concat() {
        let last = 7 + commands.len() as u64;
        let alone = full(&commands);
        let expected = Vec::from_iter((!code.is_empty()).then_some((last, code)));
        assert_eq!(errors(&alone), expected, "{commands:?}");
        // The same on top of the parent: all that is known of it bears on the increment.
        let commands: Vec<Command> = commands
            .into_iter()
            .map(|command| match command {
                Command::Clone(c) => Clone {
                    clone_uuid: TWO,
                    ..c
                }
                .into(),
                other => other,
            })
            .collect();
        let both = [full(&[]), increment(&commands)].concat();
        let last = 9 + commands.len() as u64;
        let expected = Vec::from_iter((!code.is_empty()).then_some((last, code)));
        assert_eq!(errors(&both), expected, "increment of {commands:?}");
        let Some(fs) = &fs else {
            continue;
        };
        for input in [alone, both] {
            let received = receive(fs, &input);
            assert_eq!(
                received.is_ok(),
                code.is_empty(),
                "{commands:?}: {received:?}"
            );
        }
    }
}

#[test]
fn clones_between_subvolumes() {
    let from = |path, offset, len| vec![clone((ONE, path, offset), ("g", 0), len)];
    let rules = [
        ("", from("f", 0, 40_960)),
        ("", from("odd", 0, 5000)),
        ("clone-unaligned", from("f", 0, 5000)),
        ("clone-beyond-end", from("odd", 0, 8192)),
        ("clone-source-unknown", from("no", 0, 4096)),
        ("not-a-file", from("l", 0, 4096)),
    ];
    let fs = support::btrfs("clones_between_subvolumes", &Options::default());
    for (code, commands) in rules {
        let input = [full(&[]), increment(&commands)].concat();
        let expected = Vec::from_iter((!code.is_empty()).then_some((10, code)));
        assert_eq!(errors(&input), expected, "{commands:?}");
        if let Some(fs) = &fs {
            let received = receive(fs, &input);
            assert_eq!(
                received.is_ok(),
                code.is_empty(),
                "{commands:?}: {received:?}"
            );
        }
    }
}

#[test]
fn clones_between_sectors_of_the_target() {
    let codes = |stream: &[u8], sector_size| {
        let (findings, _) = checked_for(stream, sector_size, 2);
        let errors = findings.iter().filter(|f| f.severity == Severity::Error);
        errors.map(|f| f.code).collect::<Vec<_>>()
    };
    let offset = full(&[clone((ONE, "f", 4096), ("g", 0), 4096)]);
    assert_eq!(codes(&offset, 4096), [""; 0]);
    let length = full(&[clone((ONE, "f", 0), ("g", 0), 4096)]);
    let end = full(&[clone((ONE, "f", 32_768), ("g", 0), 8192)]);
    for sector_size in [16_384, 32_768, 65_536] {
        assert_eq!(codes(&offset, sector_size), ["clone-unaligned"]);
        assert_eq!(codes(&length, sector_size), ["clone-unaligned"]);
        // Who passes such a clone on says so too.
        for stream in [&offset, &length] {
            let (_, summary, findings) = Work::reframe(sector_size).on(stream, 2).unwrap();
            assert_eq!(findings.len(), 1);
            assert_eq!(
                (findings[0].code, findings[0].command),
                ("clone-unaligned", 8)
            );
            assert_eq!(summary.refused_clones, 1);
        }
    }
    assert_eq!(codes(&end, 32_768), [""; 0]);
    for stream in [&offset, &length, &end] {
        assert_eq!(Work::reframe(4096).done(stream).1.refused_clones, 0);
    }
}

#[test]
fn data_that_is_left_out_is_said_once() {
    let codes = |commands: &[Command]| {
        let (findings, summary) = checked(&full(commands));
        assert!(summary.is_sound());
        findings.iter().map(|f| f.code).collect::<Vec<_>>()
    };
    let some = update_extent("f", 4096);
    assert_eq!(codes(&[some.clone(), some]), ["data-left-out"]);
    assert_eq!(codes(&[update_extent("no", 0)]), [""; 0]);
}

/// The codes of everything found, whatever its severity.
fn codes(input: &[u8]) -> Vec<&'static str> {
    crate::work::codes(input)
}

#[test]
fn a_parent_that_is_not_at_hand_is_named() {
    let nine = Uuid([9; 16]);
    let snapshot = |path: &'static str| -> Command {
        Snapshot {
            path: path.into(),
            uuid: TWO,
            ctransid: 2,
            clone_uuid: nine,
            clone_ctransid: 1,
        }
        .into()
    };
    let use_it = [
        write("unknown", 0, 4),
        clone((nine, "unknown", 0), ("unknown", 4096), 4096),
    ];
    let alone = stream(&[snapshot("t")], &use_it);
    assert_eq!(codes(&alone), [""; 0]);
    let both = [full(&[]), alone].concat();
    assert_eq!(codes(&both), ["parent-missing"]);
    let (findings, summary) = checked(&both);
    assert!(summary.is_sound());
    assert!(
        findings[0].message.contains(&nine.to_string()),
        "{}",
        findings[0].message
    );
    let from = [
        full(&[]),
        increment(&[clone((nine, "x", 0), ("g", 0), 4096)]),
    ]
    .concat();
    assert_eq!(codes(&from), ["clone-source-missing"]);
}

#[test]
fn increments_of_increments_know_what_each_made() {
    let next = |path: &'static str, uuid: Uuid, parent: Uuid, commands: &[Command]| {
        let snapshot = Snapshot {
            path: path.into(),
            uuid,
            ctransid: 3,
            clone_uuid: parent,
            clone_ctransid: 2,
        };
        stream(&[snapshot.into()], commands)
    };
    let three = Uuid([3; 16]);
    let first = [full(&[]), increment(&[mkfile("new"), truncate("f", 5)])].concat();
    // Names and sizes of each; the first one stays as it was.
    let rest = [
        next("u", three, TWO, &[mkfile("newer"), write("new", 0, 1)]),
        next(
            "v",
            Uuid([4; 16]),
            three,
            &[write("newer", 0, 1), clone((TWO, "f", 0), ("g", 0), 5)],
        ),
        next(
            "w",
            Uuid([5; 16]),
            ONE,
            &[clone((ONE, "f", 0), ("g", 0), 40_960)],
        ),
    ]
    .concat();
    assert_eq!(codes(&[&first[..], &rest].concat()), [""; 0]);
    let wrong = [
        next("u", three, TWO, &[mkfile("new")]),
        next("v", Uuid([4; 16]), ONE, &[write("new", 0, 1)]),
    ]
    .concat();
    assert_eq!(
        codes(&[&first[..], &wrong].concat()),
        ["path-exists", "path-unknown"]
    );
}

/// What Linux does not do: an encoded write that ends inside a sector of a file that is longer.
#[test]
fn an_encoded_write_inside_a_longer_file_makes_receive_fall_back() {
    use crate::support::{text, whole, zlib_of};
    use btrfs_payload::rules::EncodedIoId;
    let data = text(5000);
    let claimed = |len: usize| -> Command {
        let fields = whole(&data[..len], EncodedIoId::ZLIB);
        let payload = zlib_of(&data[..len]);
        btrfs_payload::send_stream::command::EncodedWrite::claimed(
            "f".into(),
            0,
            &fields,
            payload.into(),
        )
        .into()
    };
    let shrinks = |len| [full(&[]), increment(&[claimed(len), truncate("f", 5000)])].concat();
    assert_eq!(codes(&shrinks(5000)), ["receive-falls-back"]);
    assert_eq!(codes(&shrinks(4096)), [""; 0]);
    // Without the parent, the file is known to be longer where the stream has written further on.
    let further = increment(&[write("f", 8192, 1), claimed(5000)]);
    assert_eq!(codes(&further), ["receive-falls-back"]);
    assert_eq!(codes(&increment(&[claimed(5000)])), [""; 0]);
}

/// A sender pads payloads to its own sectors.
#[test]
fn padding_of_smaller_sectors_is_no_finding() {
    use crate::support::{text, whole, zlib_of, zstd_of};
    use btrfs_payload::rules::{EncodedIoId, Target};
    let data = text(65_536);
    for (payload, id) in [
        (zlib_of(&data), EncodedIoId::ZLIB),
        (zstd_of(&data), EncodedIoId::ZSTD),
    ] {
        let mut padded = payload;
        padded.resize(padded.len().next_multiple_of(4096), 0);
        let fields = whole(&data, id);
        for sector_size in [4096, 16_384, 65_536] {
            let report =
                btrfs_payload::validate::validate(&padded, &fields, &Target::new(sector_size));
            assert_eq!(report.findings(), [], "{id:?} for {sector_size}");
        }
        padded.resize(padded.len() + 4096, 0);
        let report = btrfs_payload::validate::validate(&padded, &fields, &Target::default());
        assert_eq!(report.findings().len(), 1, "{id:?}: a sector of zeroes");
    }
}
