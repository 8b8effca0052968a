//! Archives that are made to do harm, or are damaged: refused with the name of the member, or kept
//! inside the tree.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Output, Stdio};

use tar::{EntryType, Header};

use crate::program::program;
use crate::work::{assert_sound, commands};

/// A member of an archive that is made by hand.
pub(crate) struct Member<'a> {
    pub(crate) name: &'a [u8],
    pub(crate) kind: u8,
    pub(crate) link: &'a [u8],
    pub(crate) content: &'a [u8],
}

pub(crate) const FILE: Member<'_> = Member {
    name: b"f",
    kind: b'0',
    link: b"",
    content: b"",
};

fn block(member: &Member<'_>) -> [u8; 512] {
    let mut header = Header::new_gnu();
    let old = header.as_old_mut();
    old.name[..member.name.len()].copy_from_slice(member.name);
    old.linkname[..member.link.len()].copy_from_slice(member.link);
    header.set_entry_type(EntryType::new(member.kind));
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(member.content.len() as u64);
    header.set_cksum();
    *header.as_bytes()
}

pub(crate) fn archive(members: &[Member<'_>]) -> Vec<u8> {
    let mut archive = Vec::new();
    for member in members {
        archive.extend(block(member));
        archive.extend(member.content);
        archive.resize(archive.len().next_multiple_of(512), 0);
    }
    archive.resize(archive.len() + 1024, 0);
    archive
}

/// Sets bytes of the first header and its checksum.
fn changed(at: usize, bytes: &[u8]) -> Vec<u8> {
    let mut archive = archive(&[Member {
        content: b"content",
        ..FILE
    }]);
    archive[at..at + bytes.len()].copy_from_slice(bytes);
    let mut header = Header::from_byte_slice(&archive[..512]).clone();
    header.set_cksum();
    archive[..512].copy_from_slice(header.as_bytes());
    archive
}

fn pax(records: &[(&str, &[u8])]) -> Vec<u8> {
    let mut text = Vec::new();
    for (key, value) in records {
        let rest = key.len() + value.len() + 3;
        let len = (1..)
            .find(|len| (rest + len).to_string().len() == *len)
            .unwrap()
            + rest;
        text.extend(format!("{len} {key}=").bytes());
        text.extend(*value);
        text.push(b'\n');
    }
    text
}

fn with_pax(records: &[(&str, &[u8])], member: Member<'_>) -> Vec<u8> {
    let text = pax(records);
    let header = Member {
        kind: b'x',
        content: &text,
        ..FILE
    };
    archive(&[header, member])
}

pub(crate) fn run(archive: &[u8], more: &[&str]) -> Output {
    let mut command = program();
    command
        .args(["pack", "-", "--name", "packed", "-o", "-"])
        .args(more);
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let archive = archive.to_vec();
    let feeder = std::thread::spawn(move || drop(stdin.write_all(&archive)));
    let output = child.wait_with_output().unwrap();
    feeder.join().unwrap();
    output
}

#[track_caller]
fn assert_refused(archive: &[u8], expected: &str) {
    for order in [&[][..], &["--sort"]] {
        let output = run(archive, order);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(output.stdout.is_empty());
        assert_eq!(said.lines().count(), 1, "{said}");
        assert!(said.contains(expected), "{said}");
    }
}

#[test]
fn members_that_lead_outside_are_refused() {
    let link = Member {
        name: b"link",
        kind: b'2',
        link: b"/etc",
        content: b"",
    };
    let file = |name| Member {
        name,
        content: b"x",
        ..FILE
    };
    let hard = |name, link| Member {
        name,
        kind: b'1',
        link,
        content: b"",
    };
    for (members, expected) in [
        (
            vec![file(b"../../etc/passwd")],
            "../../etc/passwd: a path has no part `..`",
        ),
        (vec![file(b"a/../b")], "a/../b: a path has no part `..`"),
        (
            vec![link, file(b"link/passwd")],
            "link/passwd: what it would be in is no directory: link",
        ),
        (
            vec![hard(b"h", b"../../etc/passwd")],
            "h: a path has no part `..`",
        ),
        (
            vec![hard(b"h", b"/etc/passwd")],
            "h: it is another name of /etc/passwd, which is not there",
        ),
        (
            vec![hard(b"h", b"later"), file(b"later")],
            "h: it is another name of later",
        ),
        (
            vec![hard(b"h", b"h")],
            "h: it is another name of h, which is not there",
        ),
        (
            vec![hard(b"a", b"b"), hard(b"b", b"a")],
            "a: it is another name of b",
        ),
        (
            vec![file(b"f"), file(b"f/inside")],
            "f/inside: what it would be in is no directory",
        ),
    ] {
        assert_refused(&archive(&members), expected);
    }
    // As tar does: the slash in front is no part of the name.
    let inside = run(&archive(&[file(b"/etc/passwd")]), &[]);
    assert_eq!(inside.status.code(), Some(0), "{inside:?}");
    assert_sound(&inside.stdout);
    let made = commands(&inside.stdout);
    assert!(made.iter().any(|command| matches!(
        command,
        btrfs_payload::send_stream::Command::MkFile(c) if c.path == "etc/passwd"
    )));
}

#[test]
fn numbers_that_lie_are_refused() {
    const MODE: usize = 100;
    const UID: usize = 108;
    const SIZE: usize = 124;
    const MTIME: usize = 136;
    const KIND: usize = 156;
    for (archive, expected) in [
        (
            changed(SIZE, b"77777777777\0"),
            "the archive ends inside a member",
        ),
        (
            changed(SIZE, b"\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff"),
            "the archive ends inside a member",
        ),
        (
            changed(SIZE, b"\x80\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff"),
            "is not a number that fits",
        ),
        (
            changed(SIZE, b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"),
            "is not a number that fits",
        ),
        (
            changed(SIZE, b"99999999999\0"),
            "its size \"99999999999\\x00\" is not a number",
        ),
        (
            changed(UID, b"\xff\xff\xff\xff\xff\xff\xff\xfe"),
            "its owner",
        ),
        (
            changed(UID, b"\x80\0\0\0\xff\xff\xff\xff"),
            "owner 4294967295 is too large",
        ),
        (changed(MODE, b"rwxr-xr-"), "its mode"),
        (changed(MTIME, b"-1         \0"), "its time"),
        (changed(KIND, b"M"), "a member of type 'M' is not read here"),
        (
            changed(KIND, b"\xff"),
            "a member of type '\\u{ff}' is not read here",
        ),
        (
            changed(KIND, b"5"),
            "it has a size of 7 bytes, and is no file",
        ),
        (
            with_pax(&[("size", b"-1")], FILE),
            "its size is not a number",
        ),
        (
            with_pax(&[("size", b"99999999999999999999")], FILE),
            "its size is not a number",
        ),
        (
            with_pax(&[("size", b"9223372036854775807")], FILE),
            "the archive ends inside a member",
        ),
        (
            with_pax(&[("mtime", b"soon")], FILE),
            "f: its mtime is not a time",
        ),
        (with_pax(&[("uid", b"-1")], FILE), "its uid is not a number"),
        (
            with_pax(&[("path", b"a\0b")], FILE),
            "a\\x00b: a path holds no zero byte",
        ),
        (
            with_pax(&[("path", &[b'n'; 256])], FILE),
            "a part of the path has 256 bytes",
        ),
        (
            with_pax(&[("path", &b"d/".repeat(10_000))], FILE),
            "the path has 19999 bytes",
        ),
        (
            with_pax(&[("SCHILY.xattr.security.capability", b"?")], FILE),
            "security.capability with this value",
        ),
        (
            with_pax(&[("SCHILY.acl.access", b"user:lisa:rwx")], FILE),
            "names lisa, and has no number",
        ),
    ] {
        assert_refused(&archive, expected);
    }
    // Before 1970, in two's complement.
    let old = run(
        &changed(MTIME, b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"),
        &[],
    );
    assert_eq!(old.status.code(), Some(0), "{old:?}");
    assert_sound(&old.stdout);
}

#[test]
fn what_is_no_whole_archive_is_refused() {
    let good = archive(&[
        Member {
            content: &[7; 1000],
            ..FILE
        },
        Member { name: b"g", ..FILE },
    ]);
    assert_refused(b"", "there is nothing in it");
    assert_refused(&[0xff; 2048], "it is no tar archive");
    assert_refused(
        b"#!/bin/sh\necho hello\n",
        "the archive ends inside a header",
    );
    assert_refused(b"BZh91AY&SY", "bzip2 is not read here");
    for len in [1, 511, 513, 1511, 1512, 2040] {
        assert_refused(&good[..len], "ends inside");
    }
    let mut damaged = good.clone();
    damaged[1536 + 3] ^= 1;
    assert_refused(
        &damaged,
        "the checksum of the header after member 1 is wrong",
    );
    assert_refused(
        &with_pax(&[("path", b"x")], FILE)[..1024],
        "a name that no member follows",
    );
    for broken in [
        &b"x path=f\n"[..],
        b"9 path=f",
        b"99999999999999999999 path=f\n",
        b"8 path-f\n",
    ] {
        let header = Member {
            kind: b'x',
            content: broken,
            ..FILE
        };
        assert_refused(&archive(&[header, FILE]), "a pax record is malformed");
    }
    // Damage inside what is compressed.
    let mut zstd = zstd::encode_all(&good[..], 3).unwrap();
    zstd.truncate(zstd.len() - 5);
    assert_refused(&zstd, "");
}

#[test]
fn maps_of_sparse_files_that_lie_are_refused() {
    let sparse = |map: &[u8], real: &[u8], content| {
        with_pax(
            &[("GNU.sparse.map", map), ("GNU.sparse.size", real)],
            Member { content, ..FILE },
        )
    };
    for (archive, expected) in [
        (
            sparse(b"0,4,2,4", b"100", b"12345678"),
            "a piece of 4 bytes at 2, which is over another",
        ),
        (sparse(b"98,4", b"100", b"1234"), "a piece of 4 bytes at 98"),
        (
            sparse(b"0,4", b"100", b"12345"),
            "has 4 bytes, the archive 5",
        ),
        (
            sparse(b"18446744073709551615,4", b"100", b"1234"),
            "its sparse map",
        ),
        (sparse(b"0", b"100", b""), "ends with an offset"),
        (sparse(b"x,y", b"100", b""), "its sparse map is malformed"),
        (
            sparse(b"0,4", b"9223372036854775808", b"1234"),
            "a file ends at or below 2^63 - 1",
        ),
    ] {
        assert_refused(&archive, expected);
    }
    let long = "1".repeat(600);
    for map in ["99999999\n", "x\n", "-1\n", &long, "1\n0\n"] {
        let mut content = map.as_bytes().to_vec();
        content.resize(content.len().next_multiple_of(512), b'\n');
        let records: [(&str, &[u8]); 3] = [
            ("GNU.sparse.major", b"1"),
            ("GNU.sparse.minor", b"0"),
            ("GNU.sparse.realsize", b"100"),
        ];
        let member = Member {
            content: &content,
            ..FILE
        };
        assert_refused(&with_pax(&records, member), "");
    }
    // The largest file that there can be, all of it a hole.
    let largest = run(&sparse(b"0,0", b"9223372036854775807", b""), &[]);
    assert_eq!(largest.status.code(), Some(0), "{largest:?}");
    assert_sound(&largest.stdout);
}

/// Names and attributes that are not held in memory, and names that are not UTF-8.
#[test]
fn long_records_are_refused_and_odd_names_kept() {
    let long = vec![b'n'; 2 << 20];
    for kind in [b'L', b'K', b'x', b'g'] {
        let header = Member {
            kind,
            content: &long,
            ..FILE
        };
        assert_refused(&archive(&[header, FILE]), "at most 1048576 are read");
    }
    let odd = run(
        &archive(&[Member {
            name: b"\xff\xfe",
            ..FILE
        }]),
        &[],
    );
    assert_eq!(odd.status.code(), Some(0), "{odd:?}");
    assert_sound(&odd.stdout);
    let refused = run(
        &archive(&[Member {
            name: b"\xff\x1b[2J/..",
            ..FILE
        }]),
        &[],
    );
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(said.contains("\\xff\\x1b[2J/.."), "{said}");
}

/// Many names, in little memory; and a limit to them.
#[test]
fn many_names_are_taken_and_limited() {
    let mut archive = Vec::new();
    for n in 0..100_000 {
        let name = format!("directory/{n}");
        archive.extend(block(&Member {
            name: name.as_bytes(),
            ..FILE
        }));
    }
    let output = run(&archive, &["--memory", "32M"]);
    assert_eq!(
        output.status.code(),
        Some(0),
        "{:?}",
        String::from_utf8(output.stderr)
    );
    assert_sound(&output.stdout);
    let output = run(&archive, &["--memory", "1M"]);
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("the tree has 4096 names already"), "{said}");
    let output = run(&archive, &["--memory", "1M", "--sort"]);
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.contains("names already, more are not remembered"),
        "{said}"
    );
    let output = run(&archive, &["--memory", "32M", "--sort"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
}

/// Nothing appears under the name of the output.
#[test]
fn nothing_is_left_of_a_pack_that_fails() {
    let directory = tempfile::tempdir().unwrap();
    let bad = directory.path().join("bad.tar");
    fs::write(
        &bad,
        archive(&[
            FILE,
            Member {
                name: b"../x",
                ..FILE
            },
        ]),
    )
    .unwrap();
    let out = directory.path().join("out.stream");
    let mut command = program();
    let output = command
        .arg("pack")
        .arg(&bad)
        .arg("-o")
        .arg(&out)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let left: Vec<_> = fs::read_dir(directory.path()).unwrap().collect();
    assert_eq!(left.len(), 1, "{left:?}");
    assert!(!Path::new(&out).exists());
}
