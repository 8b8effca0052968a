//! Several inputs, and what is in directories: each output has its place, a bad input does not end
//! the work, nothing is overwritten, and one line says what came of all.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use crate::material::{lines, noise};
use crate::pipes::fifo;
use crate::support::{self, Options, create};
use crate::{Run, assert_trouble, run, tree};

/// Files `a` and `b`, and a tree with a private directory in it, a link and a pipe.
fn dir() -> TempDir {
    let dir = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir());
    let dir = dir.unwrap();
    let path = |name: &str| dir.path().join(name);
    fs::write(path("a"), lines(200_000)).unwrap();
    fs::write(path("b"), noise(9000)).unwrap();
    fs::create_dir_all(path("tree/private/deep")).unwrap();
    fs::create_dir(path("tree/empty")).unwrap();
    fs::write(path("tree/c"), lines(9000)).unwrap();
    fs::write(path("tree/private/d"), lines(5000)).unwrap();
    fs::write(path("tree/private/deep/e"), lines(7000)).unwrap();
    fs::write(path("tree/z"), lines(100)).unwrap();
    symlink("c", path("tree/link")).unwrap();
    fifo(&path("tree"));
    fs::set_permissions(path("tree/private"), Permissions::from_mode(0o700)).unwrap();
    fs::set_permissions(path("tree"), Permissions::from_mode(0o755)).unwrap();
    dir
}

fn in_words(dir: &Path, words: &str) -> Run {
    run(dir, words.split(' '))
}

fn last(run: &Run) -> &str {
    run.stdout.lines().last().unwrap()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn each_file_gets_a_directory_of_payloads() {
    let dir = dir();
    let prepare = in_words(dir.path(), "prepare a missing b --out all --level 1");
    assert_eq!(prepare.code, Some(2), "{prepare:?}");
    let missing = "btrfs-payload: cannot read missing: No such file or directory (os error 2)\n";
    assert_eq!(prepare.stderr, missing);
    let sums =
        "3 inputs: 2 prepared, 1 failed; 204.1 KiB in 3 extents (2 encoded, 1 plain, 0 holes)";
    assert!(last(&prepare).starts_with(sums), "{prepare:?}");
    assert!(prepare.stdout.starts_with("a:\n"), "{prepare:?}");
    assert!(prepare.stdout.contains("\nb: 9000 bytes in 1 extent "));
    assert_eq!(
        tree(&dir.path().join("all")),
        [
            "a/",
            "a/000000000000.zstd",
            "a/000000131072.zstd",
            "a/manifest.jsonl",
            "b/",
            "b/000000000000.plain",
            "b/manifest.jsonl"
        ]
    );
    let check = in_words(dir.path(), "check -r all");
    assert_eq!(check.code, Some(0), "{check:?}");
    // Once more: nothing is overwritten, unless that is asked for.
    let again = in_words(dir.path(), "prepare a b --out all");
    assert_eq!(again.code, Some(2), "{again:?}");
    assert_eq!(again.stderr.matches("exists already").count(), 2);
    let again = in_words(dir.path(), "prepare a b --out all --force");
    assert_eq!(again.code, Some(0), "{again:?}");
    // Nor are the payloads of one file mixed with directories of others.
    let mixed = in_words(dir.path(), "prepare a b --out all/a");
    assert_trouble(&mixed, &["all/a has the payloads of one file"]);
}

#[test]
fn a_tree_of_payloads_is_laid_out_like_the_tree() {
    let dir = dir();
    let prepare = in_words(dir.path(), "prepare -r tree --out all --summary");
    assert_eq!((prepare.code, prepare.stderr.as_str()), (Some(0), ""));
    let sums = "4 inputs: 4 prepared, 2 files left out, as not regular; ";
    assert!(last(&prepare).starts_with(sums), "{prepare:?}");
    let made = tree(&dir.path().join("all"));
    let manifests = made.iter().filter(|name| name.ends_with("manifest.jsonl"));
    assert_eq!(
        manifests.collect::<Vec<_>>(),
        [
            "tree/c/manifest.jsonl",
            "tree/private/d/manifest.jsonl",
            "tree/private/deep/e/manifest.jsonl",
            "tree/z/manifest.jsonl"
        ]
    );
    assert_eq!(mode(&dir.path().join("all/tree/private")), 0o700);
    assert_eq!(mode(&dir.path().join("all/tree")), 0o755);
    // The directory that one stands in has a name too.
    let here = run(
        &dir.path().join("tree"),
        ["prepare", "-r", ".", "--out", "../here"],
    );
    assert_eq!(here.code, Some(0), "{here:?}");
    assert!(
        dir.path()
            .join("here/tree/private/d/manifest.jsonl")
            .exists()
    );
    // Without -r a directory is none of the files, and the others are prepared.
    let without = in_words(dir.path(), "prepare tree a --summary");
    assert_eq!(without.code, Some(2));
    assert!(
        without
            .stderr
            .contains("tree is a directory; -r prepares the files in it")
    );
    assert!(last(&without).starts_with("2 inputs: 1 prepared, 1 failed; "));
}

#[test]
fn names_that_would_meet_are_refused() {
    let dir = dir();
    fs::create_dir(dir.path().join("new")).unwrap();
    let before = tree(dir.path());
    for command in [
        "prepare -r a tree/../a --out new",
        "write -r a tree/../a new",
    ] {
        let run = in_words(dir.path(), command);
        assert_trouble(&run, &["two inputs have the name a"]);
    }
    fs::create_dir(dir.path().join("tree/into")).unwrap();
    for command in ["prepare -r tree --out tree/into", "write -r tree tree/into"] {
        let run = in_words(dir.path(), command);
        assert_trouble(&run, &["tree cannot go into itself"]);
    }
    fs::remove_dir(dir.path().join("tree/into")).unwrap();
    let stdin = in_words(dir.path(), "prepare a - --out new");
    assert_trouble(&stdin, &["standard input has no name"]);
    assert_eq!(tree(dir.path()), before);
}

#[test]
fn files_are_written_into_a_directory_as_cp_does() {
    let dir = dir();
    let path = |name: &str| dir.path().join(name);
    let write = |words: &str| in_words(dir.path(), &format!("write --plain-ok {words}"));
    assert_trouble(
        &write("a b nowhere"),
        &["nowhere is no directory that exists"],
    );
    assert_trouble(&write("-r tree a"), &["a is no directory that exists"]);
    fs::create_dir(path("new")).unwrap();
    let one = write("a new");
    assert_eq!(one.code, Some(0), "{one:?}");
    assert!(fs::read(path("new/a")).unwrap() == lines(200_000));
    // One that is there already stays, and is said; the others are written.
    let several = write("a missing b new");
    assert_eq!(several.code, Some(2), "{several:?}");
    assert!(
        several
            .stderr
            .contains("new/a exists already; --force replaces it")
    );
    let sums = "3 inputs: 1 written, 2 failed; 9000 bytes for 9000 bytes of data, 0 % saved";
    assert_eq!(last(&several), sums);
    assert!(fs::read(path("new/b")).unwrap() == noise(9000));
    let of_tree = write("-r tree new --summary");
    assert_eq!((of_tree.code, of_tree.stderr.as_str()), (Some(0), ""));
    assert!(last(&of_tree).starts_with("4 inputs: 4 written, 2 files left out, as not regular"));
    for name in ["c", "private/d", "private/deep/e", "z"] {
        let [from, to] = ["tree", "new/tree"].map(|root| path(root).join(name));
        assert!(fs::read(from).unwrap() == fs::read(to).unwrap(), "{name}");
    }
    assert_eq!(mode(&path("new/tree/private")), 0o700);
    let json = write("-r tree new --force --format json");
    let line: Value = serde_json::from_str(last(&json)).unwrap();
    let expected = r#"{"kind":"inputs","inputs":4,"good":4,"bad":0,"failed":0,"skipped":2}"#;
    assert_eq!(line, serde_json::from_str::<Value>(expected).unwrap());
    // Without --plain-ok each is refused, which is no failure.
    let refused = in_words(dir.path(), "write -r tree new --force");
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(last(&refused).starts_with("4 inputs: 0 written, 4 NOT written, 2 files"));
}

/// Other names of a file would keep what it was.
#[test]
fn a_file_with_other_names_is_not_replaced() {
    let dir = dir();
    let path = |name: &str| dir.path().join(name);
    fs::hard_link(path("b"), path("other")).unwrap();
    symlink("b", path("to-b")).unwrap();
    symlink("tree/c", path("to-c")).unwrap();
    for dest in ["b", "other", "to-b"] {
        let write = in_words(dir.path(), &format!("write --plain-ok a {dest} --force"));
        assert_trouble(&write, &[dest, "2 names (hard links)"]);
    }
    assert!(fs::read(path("other")).unwrap() == noise(9000));
    // What a link points to is replaced, and the link stays.
    let write = in_words(dir.path(), "write --plain-ok a to-c --force");
    assert_eq!(write.code, Some(0), "{write:?}");
    assert!(fs::symlink_metadata(path("to-c")).unwrap().is_symlink());
    assert!(fs::read(path("tree/c")).unwrap() == lines(200_000));
}

#[test]
fn a_tree_is_compressed_in_place_and_lost_sharing_is_said() {
    let name = "a_tree_is_compressed_in_place_and_lost_sharing_is_said";
    let Some(fs) = support::btrfs(name, &Options::default()) else {
        return;
    };
    fs::create_dir_all(fs.join("tree/sub")).unwrap();
    for name in ["one", "sub/two", "shared"] {
        fs::write(fs.join("tree").join(name), lines(300_000)).unwrap();
    }
    drop(create(fs.join("tree/empty")));
    let cp = |from: &Path, to: &Path| {
        let mut cp = Command::new("cp");
        let cp = cp.arg("--reflink=always").arg(from).arg(to);
        assert!(cp.status().unwrap().success());
    };
    cp(&fs.join("tree/shared"), &fs.join("clone"));
    let root = fs.path();
    let [tree, root] = [fs.join("tree"), root].map(|path| path.to_str().unwrap().to_owned());
    let write = run(
        fs.outside(),
        ["write", "-r", &tree, &root, "--force", "--verify"],
    );
    assert_eq!(write.code, Some(0), "{write:?}");
    // Whole sectors: 300,000 bytes are 74 of them.
    let said = format!(
        "btrfs-payload: {tree}/shared: 296.0 KiB were shared with snapshots or reflinks, which keep \
         the old extents; that space is freed when they go\n"
    );
    assert_eq!(write.stderr, said);
    assert!(
        last(&write).starts_with("4 inputs: 4 written; "),
        "{write:?}"
    );
    fs.remount();
    for name in ["one", "sub/two", "shared"] {
        assert!(fs::read(fs.join("tree").join(name)).unwrap() == lines(300_000));
    }
    let check = run(fs.outside(), ["check", "-r", &tree]);
    assert!(
        last(&check).starts_with("3 inputs: 3 sound, 1 file without"),
        "{check:?}"
    );
    // Again, now that nothing is shared; and as data.
    let path = format!("{tree}/shared");
    let json = ["write", &path, &path, "--force", "--format", "json"];
    let lost = |run: Run| {
        assert_eq!(run.stderr, "");
        serde_json::from_str::<Value>(&run.stdout).unwrap()["sharing_lost_bytes"].clone()
    };
    assert_eq!(lost(run(fs.outside(), json)), 0);
    cp(&fs.join("tree/shared"), &fs.join("clone2"));
    assert_eq!(
        lost(run(fs.outside(), json)),
        300_000_u32.next_multiple_of(4096)
    );
}
