//! Metadata from lists: mtree, and what the kernel's gen_init_cpio reads.

use std::fmt::Write;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use btrfs_payload::send_stream::Command as Sent;
use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};

use crate::program::{NOBODY, done, is_root, packed, program, words};
use crate::support;
use crate::work::commands;

/// A tree that belongs to several users, with devices where this user may make them.
fn make_tree(top: &Path) {
    fs::create_dir_all(top.join("etc/dir with space")).unwrap();
    fs::write(top.join("etc/text"), support::text(300_000)).unwrap();
    fs::write(top.join("etc.conf"), "after what is in etc").unwrap();
    fs::write(top.join("etc/dir with space/#\\\u{e4}\n"), "odd").unwrap();
    fs::hard_link(top.join("etc/text"), top.join("etc/again")).unwrap();
    symlink("../etc/dir with space", top.join("etc/link")).unwrap();
    mknodat(CWD, top.join("pipe"), FileType::Fifo, Mode::from(0o640), 0).unwrap();
    if is_root() {
        let odd = makedev(0xabc, 0xf_1234);
        let block = FileType::BlockDevice;
        mknodat(CWD, top.join("etc/odd"), block, Mode::from(0o600), odd).unwrap();
        for (name, id) in [("etc", 1000), ("etc/text", 7), ("etc/link", 8), ("pipe", 9)] {
            std::os::unix::fs::lchown(top.join(name), Some(id), Some(77)).unwrap();
        }
    }
    fs::set_permissions(top.join("etc/text"), PermissionsExt::from_mode(0o4711)).unwrap();
}

/// All paths in a directory and that of itself, from it.
fn paths(top: &Path) -> Vec<PathBuf> {
    let mut all = vec![PathBuf::new()];
    let mut at = 0;
    while at < all.len() {
        let path = top.join(&all[at]);
        if fs::symlink_metadata(&path).unwrap().is_dir() {
            let entries = fs::read_dir(path).unwrap();
            let below: Vec<_> = entries
                .map(|e| all[at].join(e.unwrap().file_name()))
                .collect();
            all.extend(below);
        }
        at += 1;
    }
    all
}

fn escaped(bytes: &[u8]) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"./-_".contains(&byte);
    bytes.iter().fold(String::new(), |mut all, &byte| {
        match plain(byte) {
            true => all.push(byte.into()),
            false => write!(all, "\\{byte:03o}").unwrap(),
        }
        all
    })
}

/// What mtree(5) says of a tree.
fn mtree(top: &Path) -> String {
    let mut list = "#mtree\n/set uid=0 gid=0\n".to_owned();
    for path in paths(top) {
        let whole = top.join(&path);
        let found = fs::symlink_metadata(&whole).unwrap();
        let kind = found.file_type();
        let name = escaped(path.as_os_str().as_bytes());
        let mode = found.mode() & 0o7777;
        write!(
            list,
            "./{name} mode={mode:o} uid={} gid={} \\\n  time={}.{} ",
            found.uid(),
            found.gid(),
            found.mtime(),
            found.mtime_nsec(),
        )
        .unwrap();
        let (major, minor) = (
            rustix::fs::major(found.rdev()),
            rustix::fs::minor(found.rdev()),
        );
        match () {
            () if kind.is_dir() => list += "type=dir",
            () if kind.is_symlink() => {
                let target = fs::read_link(whole).unwrap();
                list = list + "type=link link=" + &escaped(target.as_os_str().as_bytes());
            }
            () if kind.is_fifo() => list += "type=fifo",
            () if kind.is_block_device() => {
                write!(list, "type=block device=native,{major},{minor}").unwrap()
            }
            () => write!(list, "type=file size={}", found.len()).unwrap(),
        }
        list.push('\n');
    }
    list
}

/// Files alone, with other owners and times.
fn contents(top: &Path, to: &Path) {
    let mut known = std::collections::HashMap::new();
    for path in paths(top) {
        let found = fs::symlink_metadata(top.join(&path)).unwrap();
        if found.is_file() {
            let copy = to.join(&path);
            fs::create_dir_all(copy.parent().unwrap()).unwrap();
            match known.get(&found.ino()) {
                Some(first) => fs::hard_link(first, copy).unwrap(),
                None => {
                    fs::write(&copy, fs::read(top.join(&path)).unwrap()).unwrap();
                    known.insert(found.ino(), copy);
                }
            }
        }
    }
}

#[test]
fn a_list_gives_what_root_had() {
    let directory = tempfile::tempdir().unwrap();
    fs::set_permissions(directory.path(), PermissionsExt::from_mode(0o755)).unwrap();
    let [tree, copy, list] = ["tree", "copy", "list"].map(|name| directory.path().join(name));
    fs::create_dir(&tree).unwrap();
    make_tree(&tree);
    fs::write(&list, mtree(&tree)).unwrap();
    contents(&tree, &copy);
    let whole = packed(&words(&tree, &["--name", "packed"]));
    for option in ["--list", "--overlay"] {
        let mut command = program();
        command.arg("pack").arg(&copy).arg(option).arg(&list);
        command.args(["--name", "packed", "-o", "-"]);
        if is_root() {
            command.uid(NOBODY).gid(NOBODY);
        }
        assert!(done(command.output().unwrap()) == whole, "{option}");
    }
    // A list has the last word.
    let pack = [
        "--name",
        "packed",
        "--all-root",
        "--mode",
        "777",
        "--overlay",
    ]
    .map(AsRef::as_ref);
    assert!(packed(&[&[copy.as_os_str()], &pack[..], &[list.as_os_str()]].concat()) == whole);
    // Names that the list has not are in one of them only.
    fs::write(copy.join("more"), "more").unwrap();
    let pack = |option| {
        packed(&[
            copy.as_os_str(),
            "--name".as_ref(),
            "packed".as_ref(),
            option,
            list.as_os_str(),
        ])
    };
    assert!(pack("--list".as_ref()) == whole);
    let more = commands(&pack("--overlay".as_ref()));
    assert!(
        more.iter()
            .any(|sent| matches!(sent, Sent::MkFile(c) if c.path == "more"))
    );
}

/// Lists that bsdtar writes, of full paths and of names that lead in and out of directories: with them
/// nobody packs what root packs without.
#[test]
fn lists_of_bsdtar_give_what_root_had() {
    let directory = tempfile::tempdir().unwrap();
    fs::set_permissions(directory.path(), PermissionsExt::from_mode(0o755)).unwrap();
    let [tree, copy, list] = ["tree", "copy", "list"].map(|name| directory.path().join(name));
    fs::create_dir(&tree).unwrap();
    make_tree(&tree);
    contents(&tree, &copy);
    let whole = packed(&words(&tree, &["--name", "packed"]));
    for form in ["mtree", "mtree-classic"] {
        let mut bsdtar = Command::new("bsdtar");
        bsdtar.arg("-C").arg(&tree).arg(format!("--format={form}"));
        bsdtar.args(["--options", "sha256,sha384,sha512", "-cf"]);
        let Ok(output) = bsdtar.arg(&list).arg(".").output() else {
            support::skip("lists of bsdtar", "there is no bsdtar");
            return;
        };
        done(output);
        let mut command = program();
        command.arg("pack").arg(&copy).arg("--list").arg(&list);
        command.args(["--name", "packed", "-o", "-"]);
        if is_root() {
            command.uid(NOBODY).gid(NOBODY);
        }
        assert!(done(command.output().unwrap()) == whole, "{form}");
    }
}

fn run(directory: &Path, option: &str, list: &str) -> Output {
    let path = directory.with_extension("list");
    fs::write(&path, list).unwrap();
    let mut command = program();
    command.arg("pack").arg(directory).arg(option).arg(path);
    command.args(["--plain", "-o", "-"]).env("NAME", "text");
    command.output().unwrap()
}

#[test]
fn a_list_for_gen_init_cpio() {
    let directory = tempfile::tempdir().unwrap();
    let tree = directory.path().join("tree");
    fs::create_dir_all(tree.join("build")).unwrap();
    fs::write(tree.join("build/text"), "words").unwrap();
    symlink("/build/text", tree.join("build/inside")).unwrap();
    let output = run(
        &tree,
        "--list",
        "dir /dev 755 0 0\nnod /dev/console 600 0 5 c 5 1\nslink /init bin/init 777 0 0\n\
         file /bin/init build/${NAME} 4755 0 0 /a\nfile /other /build/inside 600 3 4\n",
    );
    let stream = done(output);
    let sent = commands(&stream);
    let said = |sent: &Sent| match sent {
        Sent::MkFile(c) => Some(("file", c.path.clone(), "".into())),
        Sent::MkDir(c) => Some(("dir", c.path.clone(), "".into())),
        Sent::MkNod(c) => Some(("nod", c.path.clone(), format!("{}", c.rdev).into())),
        Sent::Symlink(c) => Some(("slink", c.path.clone(), c.path_link.clone())),
        Sent::Link(c) => Some(("link", c.path.clone(), c.path_link.clone())),
        Sent::Write(c) => Some(("data", c.path.clone(), c.data.clone())),
        Sent::Chown(c) => Some((
            "owner",
            c.path.clone(),
            format!("{}:{}", c.uid, c.gid).into(),
        )),
        _ => None,
    };
    let said: Vec<_> = sent.iter().filter_map(said).collect();
    let has = |what: &str, path: &str, value: &str| {
        let path = path.as_bytes();
        said.iter()
            .any(|(w, p, v)| *w == what && p == path && v == value.as_bytes())
    };
    assert!(
        has("file", "a", "") && has("data", "a", "words"),
        "{said:?}"
    );
    assert!(
        has("link", "bin/init", "a") && has("dir", "bin", ""),
        "{said:?}"
    );
    assert!(
        has("file", "other", "") && has("owner", "other", "3:4"),
        "{said:?}"
    );
    // By a symbolic link that begins with a slash: inside the directory.
    assert!(
        has("data", "other", "words")
            || sent
                .iter()
                .any(|sent| matches!(sent, Sent::Clone(c) if c.path == "other")),
        "{said:?}"
    );
    assert!(
        has("nod", "dev/console", "1281") && has("owner", "dev/console", "0:5"),
        "{said:?}"
    );
    assert!(has("slink", "init", "bin/init"), "{said:?}");
}

#[test]
fn what_does_not_fit_is_named_with_its_line() {
    let directory = tempfile::tempdir().unwrap();
    let tree = directory.path().join("tree");
    fs::create_dir(&tree).unwrap();
    fs::write(tree.join("f"), "words").unwrap();
    symlink("/etc/passwd", tree.join("out")).unwrap();
    symlink("../../../../etc", tree.join("up")).unwrap();
    for (option, list, said) in [
        (
            "--list",
            "./g type=file",
            "cannot pack g, line 1 of the list: there is no g in",
        ),
        (
            "--list",
            "\n./f type=file size=6",
            "line 2 of the list: it has 5 bytes, not 6",
        ),
        ("--overlay", "./f type=file size=6", "it has 5 bytes, not 6"),
        ("--list", "./f sha256=00", "it has another SHA-256"),
        ("--list", "./f sha384=00", "it has another SHA-384"),
        ("--list", "./f sha512=00", "it has another SHA-512"),
        (
            "--list",
            "./f type=dir",
            "line 1 of the list says it is a directory, it is a file",
        ),
        (
            "--overlay",
            "./f type=dir",
            "line 1 of the list says it is a directory, it is a file",
        ),
        ("--list", "./x type=file contents=out", "there is no out in"),
        (
            "--list",
            "./x type=file contents=up/passwd",
            "there is no up/passwd in",
        ),
        (
            "--list",
            "./x type=file contents=../tree/f",
            "there is no ../tree/f in",
        ),
        ("--list", "./../x type=fifo", "line 1: "),
        ("--list", "file /x f 644 0\n", "line 1: no line of a list"),
        ("--list", "# nothing\n", "it is empty"),
    ] {
        let output = run(&tree, option, list);
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(stderr.contains(said), "{list}: {stderr}");
        // What is there is not what the list says; or it is not there, or no list.
        let differs = ["it has", "of the list says"]
            .iter()
            .any(|text| said.contains(text));
        assert_eq!(
            output.status.code(),
            Some(if differs { 1 } else { 2 }),
            "{list}"
        );
    }
    // The digests of `words`, by sha256sum, sha384sum and sha512sum.
    let right = "./f type=file size=5 \\\n\
         sha256=dba36bffa5cab0f922d087a3aeb179f9d4e745df40b323e1b1471402848c8a3e \\\n\
         sha384=985745f6fb7aa521c29336d48ea0ae641a6aab7fbe47e388e7fa7bf3ddc5\
         330854edfd4bf587df8c8e44f1848a6d5ac7 \\\n\
         sha512=fc837da28bb4c2da1dccc30ac0e4a6f7de56547160007ce93b7067311e2602bc\
         02c88b6101772e4e991b878ba3a93b9046ddbf6c696f547876c2d092323fb339\n";
    assert_eq!(run(&tree, "--list", right).status.code(), Some(0));
    let optional = "./g type=file optional\n./p type=fifo optional\n./f type=file\n";
    let optional = run(&tree, "--list", optional);
    assert_eq!(optional.status.code(), Some(0), "{optional:?}");
    let mut made = commands(&optional.stdout).into_iter();
    assert!(made.all(|sent| !matches!(sent, Sent::MkFifo(_))));
}

/// Further names of a file stay where its first is left out.
#[test]
fn names_of_one_file_do_not_need_each_other() {
    let directory = tempfile::tempdir().unwrap();
    let tree = directory.path().join("tree");
    fs::create_dir(&tree).unwrap();
    fs::write(tree.join("f"), "words").unwrap();
    fs::write(directory.path().join("list"), "file /a f 644 0 0 /b /c\n").unwrap();
    let list = directory.path().join("list");
    let stream = packed(&[
        tree.as_os_str(),
        "--exclude".as_ref(),
        "/a".as_ref(),
        "--list".as_ref(),
        list.as_os_str(),
    ]);
    let sent = commands(&stream);
    let files = sent
        .iter()
        .filter(|sent| matches!(sent, Sent::MkFile(c) if c.path == "b"));
    assert_eq!(files.count(), 1);
    let links = sent
        .iter()
        .filter(|sent| matches!(sent, Sent::Link(c) if c.path == "c" && c.path_link == "b"));
    assert_eq!(links.count(), 1);
}
