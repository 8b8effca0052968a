//! The order of commands: every rule broken once, and what is no breach.

use btrfs_payload::send_stream::command::{
    Clone, End, Fallocate, Link, MkDir, MkFile, Rename, RmDir, Snapshot, Subvol, Truncate, Unlink,
    Write,
};
use btrfs_payload::send_stream::{Command, Uuid, Version, Writer};
use btrfs_payload::transform::{Escaped, explain, explanations};

use crate::work::{checked, codes};

const OWN: Uuid = Uuid([1; 16]);
const PARENT: Uuid = Uuid([2; 16]);

fn subvol() -> Command {
    named("s")
}

fn named(path: &'static str) -> Command {
    Subvol {
        path: path.into(),
        uuid: OWN,
        ctransid: 1,
    }
    .into()
}

fn snapshot() -> Command {
    Snapshot {
        path: "s".into(),
        uuid: OWN,
        ctransid: 2,
        clone_uuid: PARENT,
        clone_ctransid: 1,
    }
    .into()
}

fn mkdir(path: &'static str) -> Command {
    MkDir {
        path: path.into(),
        ino: 1,
    }
    .into()
}

fn mkfile(path: &'static str) -> Command {
    MkFile {
        path: path.into(),
        ino: 1,
    }
    .into()
}

fn rename(path: &'static str, path_to: &'static str) -> Command {
    Rename {
        path: path.into(),
        path_to: path_to.into(),
    }
    .into()
}

fn link(path: &'static str, path_link: &'static str) -> Command {
    Link {
        path: path.into(),
        path_link: path_link.into(),
    }
    .into()
}

fn unlink(path: &'static str) -> Command {
    Unlink { path: path.into() }.into()
}

fn rmdir(path: &'static str) -> Command {
    RmDir { path: path.into() }.into()
}

fn write(path: &'static str, file_offset: u64) -> Command {
    Write {
        path: path.into(),
        file_offset,
        data: "data".into(),
    }
    .into()
}

/// From a file of the same subvolume to the beginning of another.
fn clone_to(path: &'static str, from: &'static str, clone_offset: u64, len: u64) -> Command {
    Clone {
        path: path.into(),
        file_offset: 0,
        clone_len: len,
        clone_uuid: OWN,
        clone_ctransid: 1,
        clone_path: from.into(),
        clone_offset,
    }
    .into()
}

fn fallocate(fallocate_mode: u32, size: u64) -> Command {
    Fallocate {
        path: "f".into(),
        fallocate_mode,
        file_offset: 0,
        size,
    }
    .into()
}

fn truncate(size: u64) -> Command {
    Truncate {
        path: "f".into(),
        size,
    }
    .into()
}

fn stream(commands: impl IntoIterator<Item = Command>) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new(), Version::V2).unwrap();
    for command in commands {
        writer.write_command(&command).unwrap();
    }
    writer.finish().unwrap()
}

/// The codes found in a full stream of these commands, which has made the directory `d` and
/// the file `f` already.
fn full<const N: usize>(commands: [Command; N]) -> Vec<&'static str> {
    let before = [subvol(), mkdir("d"), mkfile("f")];
    codes(&stream(before.into_iter().chain(commands)))
}

/// The codes found in an incremental stream.
fn difference<const N: usize>(commands: [Command; N]) -> Vec<&'static str> {
    codes(&stream([snapshot()].into_iter().chain(commands)))
}

const NONE: [&str; 0] = [];

#[test]
fn a_stream_begins_with_a_subvolume() {
    assert_eq!(codes(&stream([mkfile("f")])), ["no-subvolume"]);
    assert_eq!(codes(&stream([])), ["no-subvolume"]);
    assert_eq!(codes(&stream([subvol()])), NONE);
}

#[test]
fn paths_are_made_before_they_are_used() {
    assert_eq!(full([write("g", 0)]), ["path-unknown"]);
    assert_eq!(full([write("d/g", 0)]), ["path-unknown"]);
    assert_eq!(full([write("no/g", 0)]), ["path-unknown"]);
    assert_eq!(full([mkfile("no/g")]), ["parent-unknown"]);
    assert_eq!(full([mkfile("f")]), ["path-exists"]);
    assert_eq!(full([mkdir("f")]), ["path-exists"]);
    assert_eq!(full([mkfile("f/g")]), ["not-a-directory"]);
    assert_eq!(full([rename("g", "h")]), ["path-unknown"]);
    assert_eq!(full([rename("f", "no/f")]), ["parent-unknown"]);
    assert_eq!(full([link("g", "no")]), ["path-unknown"]);
    assert_eq!(full([link("d/g", "f"), write("d/g", 0)]), NONE);
    assert_eq!(full([link("d", "f")]), ["path-exists"]);
    assert_eq!(full([link("g", "d")]), ["is-a-directory"]);
    assert_eq!(full([unlink("f"), write("f", 0)]), ["path-unknown"]);
    assert_eq!(full([unlink("f"), mkfile("f"), write("f", 0)]), NONE);
    assert_eq!(full([unlink("d")]), ["is-a-directory"]);
    assert_eq!(full([rmdir("f")]), ["not-a-directory"]);
    assert_eq!(full([rmdir("d"), mkdir("d")]), NONE);
    assert_eq!(full([mkfile("d/g"), rmdir("d")]), ["directory-not-empty"]);
    assert_eq!(full([write("d", 0)]), ["not-a-file"]);
}

#[test]
fn what_is_in_a_directory_moves_with_it() {
    let moved = [mkfile("d/g"), rename("d", "e")];
    let [a, b] = moved;
    assert_eq!(
        full([a, b, write("e/g", 0), write("d/g", 0)]),
        ["path-unknown"]
    );
    assert_eq!(full([mkdir("d/e"), rename("d", "d/e/d")]), ["into-itself"]);
    assert_eq!(full([mkfile("g"), rename("f", "g")]), ["path-exists"]);
    // Two names of one file both stay, and so does a name that becomes itself.
    assert_eq!(
        full([
            link("g", "f"),
            rename("f", "g"),
            write("f", 0),
            write("g", 0)
        ]),
        NONE
    );
    assert_eq!(full([rename("f", "f"), write("f", 0)]), NONE);
    assert_eq!(full([rename("d", "f")]), ["not-a-directory"]);
    assert_eq!(full([rename("f", "d")]), ["is-a-directory"]);
    assert_eq!(full([mkdir("e"), rename("e", "d")]), ["path-exists"]);
    assert_eq!(
        full([mkdir("e"), mkfile("d/g"), rename("e", "d")]),
        ["directory-not-empty"]
    );
    // Exchanged by way of a third name.
    assert_eq!(
        full([
            mkdir("e"),
            mkfile("d/one"),
            rename("d", "x"),
            rename("e", "d"),
            rename("x", "e"),
            write("e/one", 0),
            mkfile("d/one"),
        ]),
        NONE
    );
}

#[test]
fn paths_stay_inside() {
    for path in ["../f", "d/../f", "..", "d/.."] {
        assert_eq!(full([mkfile(path)]), ["path-outside"], "{path}");
    }
    assert_eq!(full([mkfile("..f"), mkfile("d/f..")]), NONE);
}

/// What btrfs-progs 6.2 and Linux 6.18 do with each of them.
#[test]
fn a_file_is_the_same_in_every_form_of_its_path() {
    const FORM: &str = "path-form";
    for path in ["/g", "./g", "g/", ".//g", "d//g", "d/./g", "//d/g"] {
        let plain = if path.contains('d') { "d/g" } else { "g" };
        assert_eq!(full([mkfile(path), write(plain, 0)]), [FORM], "{path}");
        assert_eq!(full([mkfile(plain), write(path, 0)]), [FORM], "{path}");
        assert_eq!(
            full([mkfile(plain), mkfile(path)]),
            [FORM, "path-exists"],
            "{path}"
        );
        let moved = [mkfile(plain), rename(path, "h"), write(plain, 0)];
        assert_eq!(full(moved), [FORM, "path-unknown"], "{path}");
        let removed = [mkfile(plain), unlink(path), unlink(plain)];
        assert_eq!(full(removed), [FORM, "path-unknown"], "{path}");
    }
    assert_eq!(full([rmdir("d/")]), [FORM]);
    assert_eq!(full([rmdir("d//")]), [FORM]);
    assert_eq!(full([mkdir("e//"), rename("e//", "g//")]), [FORM, FORM]);
    // What ends in a dot, or is no directory and ends as if it were one.
    assert_eq!(full([rmdir("d/.")]), [FORM, FORM]);
    assert_eq!(full([mkdir("g/.")]), [FORM, FORM]);
    assert_eq!(full([rename("d", "g/.")]), [FORM, FORM]);
    assert_eq!(full([mkfile("g//")]), [FORM, FORM]);
    assert_eq!(full([rename("f", "g//")]), [FORM, FORM]);
    for path in ["f/.", "f//"] {
        assert_eq!(full([write(path, 0)]), [FORM, "not-a-directory"], "{path}");
        assert_eq!(full([unlink(path)]), [FORM, "not-a-directory"], "{path}");
    }
    // The subvolume itself.
    for path in [".", "/", "./"] {
        assert_eq!(full([write(path, 0)]), [FORM, "not-a-file"], "{path}");
        assert_eq!(full([mkdir(path)])[0], FORM, "{path}");
    }
    assert_eq!(codes(&stream([named("s/")])), ["subvolume-name"]);
}

#[test]
fn ranges_are_possible() {
    let most = i64::MAX.unsigned_abs();
    assert_eq!(full([write("f", most - 4)]), NONE);
    assert_eq!(full([write("f", most - 3)]), ["beyond-largest-offset"]);
    assert_eq!(full([truncate(most)]), NONE);
    assert_eq!(full([truncate(most + 1)]), ["beyond-largest-offset"]);
    assert_eq!(
        full([fallocate(3, 5), fallocate(0, 1), fallocate(17, 1)]),
        NONE
    );
    assert_eq!(full([fallocate(2, 5)]), ["fallocate-mode"]);
    assert_eq!(full([fallocate(8, 5)]), ["fallocate-mode"]);
    assert_eq!(full([fallocate(3, 0)]), ["empty-range"]);
    // What keeps the size keeps it.
    assert_eq!(
        full([mkfile("g"), fallocate(0, 9), clone_to("g", "f", 0, 9)]),
        NONE
    );
    assert_eq!(
        full([mkfile("g"), fallocate(1, 9), clone_to("g", "f", 0, 9)]),
        ["clone-beyond-end"]
    );
}

#[test]
fn of_a_parent_snapshot_only_what_was_touched_is_known() {
    assert_eq!(difference([write("a/b/c", 7), unlink("a/b/d")]), NONE);
    assert_eq!(difference([unlink("a"), write("a", 0)]), ["path-unknown"]);
    assert_eq!(
        difference([rename("a", "b"), write("a/x", 0)]),
        ["path-unknown"]
    );
    assert_eq!(
        difference([rename("a", "b"), write("b/x", 0), rmdir("b/y")]),
        NONE
    );
    assert_eq!(
        difference([mkdir("new"), write("new/x", 0)]),
        ["path-unknown"]
    );
    assert_eq!(difference([mkfile("a"), mkfile("a")]), ["path-exists"]);
    // Known to have been there, since it was written to.
    assert_eq!(difference([write("a", 0), mkfile("a")]), ["path-exists"]);
    assert_eq!(difference([unlink("a"), mkfile("a")]), NONE);
    assert_eq!(difference([write("a", 0), mkfile("a/b")]), NONE);
    assert_eq!(difference([rmdir("d"), mkfile("d/x")]), ["parent-unknown"]);
    // Sizes of files of the parent are not known.
    assert_eq!(
        difference([write("f", 0), clone_to("g", "f", 4096, 4096)]),
        NONE
    );
}

#[test]
fn the_next_stream_starts_anew() {
    let mut two = stream([subvol(), mkfile("f")]);
    two.extend(stream([named("t"), write("f", 0)]));
    let (findings, summary) = checked(&two);
    assert_eq!(summary.streams, 2);
    assert_eq!(findings.len(), 1);
    assert_eq!((findings[0].code, findings[0].command), ("path-unknown", 4));
    assert_eq!(findings[0].file_offset, Some(0));
    // With one END for both.
    assert_eq!(
        codes(&stream([subvol(), mkfile("f"), named("t"), mkfile("f")])),
        NONE
    );
    assert_eq!(codes(&stream([subvol(), subvol()])), ["path-exists"]);
    // A command without a stream header, after END.
    let mut behind = stream([subvol()]);
    let second = stream([named("t")]);
    behind.extend(&second[17..]);
    assert_eq!(codes(&behind), ["command-after-end"]);
    let open = &stream([subvol()])[..];
    let open = &open[..open.len() - 10];
    assert_eq!(codes(&[open, &second[..]].concat()), ["header-without-end"]);
    let _ = End {};
}

#[test]
fn every_code_is_explained_once() {
    let mut codes: Vec<_> = explanations().iter().map(|e| e.code).collect();
    codes.extend(
        btrfs_payload::validate::explanations()
            .iter()
            .map(|e| e.code),
    );
    let all = codes.len();
    codes.sort_unstable();
    codes.dedup();
    assert_eq!(codes.len(), all, "codes of streams and payloads differ");
    for code in codes {
        assert_eq!(explain(code).unwrap().code, code);
    }
    assert_eq!(Escaped(b"a\n").to_string(), "a\\n");
}
