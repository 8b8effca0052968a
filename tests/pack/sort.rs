//! Archives in the order of names.

use std::fs::{self, File};
use std::path::Path;
use std::process::Command;

use btrfs_payload::send_stream::Command as Sent;

use crate::hostile::{FILE, Member, archive, run};
use crate::program::{done, make_tree, packed, program, words};
use crate::work::{assert_sound, commands};

/// An archive with the names of a tree in this order; each but the first name of a file is a hard
/// link.
fn tar_in_order(directory: &Path, names: &[u8], archive: &Path) {
    let list = archive.with_extension("list");
    fs::write(&list, names).unwrap();
    let mut command = Command::new("tar");
    command.arg("-C").arg(directory).arg("-cf").arg(archive);
    command.args(["--format=posix", "--pax-option=delete=atime,delete=ctime"]);
    command.args([
        "--xattrs",
        "--xattrs-include=*",
        "--acls",
        "--numeric-owner",
    ]);
    command.args(["--no-recursion", "--null", "-T"]).arg(&list);
    done(command.output().unwrap());
}

/// Two archives of one tree, in opposite orders, compressed, and through a pipe, give the bytes that
/// the directory gives. Which name of a file comes first in the archive makes no difference.
#[test]
fn archives_of_one_tree_give_the_bytes_of_the_directory() {
    let directory = tempfile::tempdir().unwrap();
    let tree = directory.path().join("tree");
    fs::create_dir(&tree).unwrap();
    make_tree(&tree);
    // After what is in `etc`, though a dot is less than a slash.
    fs::create_dir(tree.join("etc.d")).unwrap();
    let mut find = Command::new("find");
    let names = done(
        find.current_dir(&tree)
            .args([".", "-print0"])
            .output()
            .unwrap(),
    );
    let mut names: Vec<&[u8]> = names.split_inclusive(|&byte| byte == 0).collect();
    names.sort_unstable();
    let first = directory.path().join("first.tar");
    tar_in_order(&tree, &names.concat(), &first);
    names.reverse();
    let last = directory.path().join("last.tar");
    tar_in_order(&tree, &names.concat(), &last);
    let stream = |input: &Path, more: &[&str]| {
        let options = [&["--name", "packed"], more].concat();
        packed(&words(input, &options))
    };
    // But for the sparse file: the directory tells of its holes, these archives do not.
    let whole = stream(&tree, &["--exclude", "/var/sparse", "--sort"]);
    assert!(stream(&tree, &["--exclude", "/var/sparse"]) == whole);
    let sorted = ["--exclude", "/var/sparse", "--sort"];
    assert!(stream(&first, &sorted) == whole);
    assert!(stream(&last, &sorted) == whole);
    assert!(stream(&last, &["--exclude", "/var/sparse"]) != whole);
    assert!(stream(&first, &["--sort"]) == stream(&last, &["--sort"]));
    let compressed = directory.path().join("last.tar.zst");
    let file = File::create(&compressed).unwrap();
    zstd::stream::copy_encode(File::open(&last).unwrap(), file, 1).unwrap();
    let mut pipe = program();
    pipe.args(["pack", "-", "--name", "packed", "-o", "-"])
        .args(sorted);
    pipe.stdin(File::open(&compressed).unwrap());
    assert!(done(pipe.output().unwrap()) == whole);
    let nested = ["--sort", "--subvol", "tmp", "--exclude", "/var/sparse"];
    assert!(stream(&first, &nested) == stream(&last, &nested));
}

/// What comes again counts as it does without sorting: the last one, and hard links are names of what
/// their target was when they came.
#[test]
fn the_last_of_a_name_counts() {
    let file = |name, content| Member {
        name,
        content,
        ..FILE
    };
    let link = |name, link| Member {
        name,
        kind: b'1',
        link,
        ..FILE
    };
    let directory = |name| Member {
        name,
        kind: b'5',
        ..FILE
    };
    let members = archive(&[
        file(b"z", b"first"),
        link(b"a", b"z"),
        file(b"z", b"second"),
        directory(b"d"),
        file(b"d/x", b"x"),
        directory(b"d/"),
        link(b"./d/b", b"/d/x"),
        link(b"d/b", b"d/x"),
    ]);
    let output = run(&members, &["--sort", "--plain"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let said = String::from_utf8(output.stderr).unwrap();
    assert_sound(&output.stdout);
    let sent = commands(&output.stdout)
        .into_iter()
        .filter_map(|command| match command {
            Sent::MkFile(c) => Some((c.path, None)),
            Sent::MkDir(c) => Some((c.path, None)),
            Sent::Write(c) => Some((c.path, Some(c.data))),
            Sent::Link(c) => Some((c.path, Some(c.path_link))),
            _ => None,
        });
    let expected: [(&str, Option<&str>); 8] = [
        ("a", None),
        ("a", Some("first")),
        ("d", None),
        ("d/b", None),
        ("d/b", Some("x")),
        ("d/x", Some("d/b")),
        ("z", None),
        ("z", Some("second")),
    ];
    let expected = expected.map(|(path, what)| (path.into(), what.map(Into::into)));
    assert_eq!(sent.collect::<Vec<_>>(), expected, "{said}");
    let taken = archive(&[directory(b"d"), file(b"d", b"")]);
    let said = String::from_utf8(run(&taken, &["--sort"]).stderr).unwrap();
    assert!(
        said.contains("d: there is a directory of this name already"),
        "{said}"
    );
}
