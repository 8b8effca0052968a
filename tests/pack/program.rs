//! The program: directories and archives, whoever packs them.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use crate::kernel::receive;
use crate::support::{self, Mount};
use crate::work::{self, assert_sound};

/// Nobody, in every distribution.
pub(crate) const NOBODY: u32 = 65_534;

/// A run of the program in an environment of its own.
pub(crate) fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_btrfs-payload"));
    command.env_clear().env("PATH", "/usr/bin:/bin");
    command.stdin(Stdio::null());
    command
}

#[track_caller]
pub(crate) fn done(output: Output) -> Vec<u8> {
    assert!(output.status.success(), "{output:?}");
    output.stdout
}

/// Packs into standard output with these arguments; the stream has to be sound.
#[track_caller]
pub(crate) fn packed(arguments: &[&OsStr]) -> Vec<u8> {
    let mut command = program();
    let command = command.arg("pack").args(arguments).args(["-o", "-"]);
    let stream = done(command.output().unwrap());
    assert_sound(&stream);
    stream
}

pub(crate) fn words<'a>(input: &'a Path, more: &'a [&'a str]) -> Vec<&'a OsStr> {
    let more = more.iter().map(OsStr::new);
    std::iter::once(input.as_os_str()).chain(more).collect()
}

/// Can a program be run as nobody, and devices be made?
pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// A tree with everything that a tree can have, as far as the user may make it.
pub(crate) fn make_tree(top: &Path) {
    let file = |name: &str, content: &[u8]| {
        let path = top.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        path
    };
    let text = support::text(600_000);
    file("usr/share/text", &text);
    file("usr/share/copy", &text);
    file("usr/share/noise", &work::noise(200_000));
    file("etc/short", b"a few words\n");
    file("etc/empty", b"");
    file("a name with \u{e4}, 'quotes' and \n", b"x");
    let long = "n".repeat(200);
    file(&format!("{long}/{long}/{long}"), b"deep");
    let sparse = file("var/sparse", &text[..100_000]);
    File::options()
        .write(true)
        .open(&sparse)
        .unwrap()
        .set_len(40_000_000)
        .unwrap();
    let pieces = File::options().write(true).open(&sparse).unwrap();
    for piece in 10..40 {
        use std::os::unix::fs::FileExt;
        pieces
            .write_all_at(&text[..5_000], piece * 1_000_000)
            .unwrap();
    }
    symlink("../usr/share/text", top.join("etc/link")).unwrap();
    symlink("l".repeat(300), top.join("etc/long link")).unwrap();
    fs::hard_link(top.join("etc/short"), top.join("etc/another")).unwrap();
    fs::hard_link(top.join("etc/short"), top.join("usr/share/a third")).unwrap();
    fs::create_dir(top.join("tmp")).unwrap();
    let mode = |name: &str, mode| {
        fs::set_permissions(top.join(name), fs::Permissions::from_mode(mode)).unwrap();
    };
    mode("tmp", 0o1777);
    mode("etc/empty", 0o4755);
    mode("usr/share/noise", 0o2755);
    let fifo = rustix::fs::FileType::Fifo;
    let make = |name: &str, kind, device| {
        let mode = rustix::fs::Mode::from_raw_mode(0o640);
        rustix::fs::mknodat(rustix::fs::CWD, top.join(name), kind, mode, device).unwrap();
    };
    make("tmp/fifo", fifo, 0);
    let xattr = |name: &str, attribute: &str, value: &[u8]| {
        let flags = rustix::fs::XattrFlags::empty();
        rustix::fs::setxattr(top.join(name), attribute, value, flags).unwrap();
    };
    if is_root() {
        let makedev = rustix::fs::makedev;
        make("tmp/disk", rustix::fs::FileType::BlockDevice, makedev(8, 1));
        let odd = makedev(0xabc, 0xf_1234);
        make("tmp/odd", rustix::fs::FileType::CharacterDevice, odd);
        for (n, name) in ["etc/short", "usr", "tmp/fifo", "usr/share/noise"]
            .iter()
            .enumerate()
        {
            let id = Some(1000 + u32::try_from(n).unwrap());
            std::os::unix::fs::lchown(top.join(name), id, Some(77)).unwrap();
        }
        std::os::unix::fs::lchown(top.join("etc/link"), Some(5), Some(6)).unwrap();
        // After the owners, which take them away.
        mode("etc/empty", 0o4755);
        mode("usr/share/noise", 0o2755);
        xattr("usr/share/noise", "security.capability", work::CAPABILITY);
        xattr("usr/share/text", "trusted.overlay.x", b"\0\n=\n\xff");
        xattr("etc/short", "system.posix_acl_access", work::ACL);
        xattr("usr", "system.posix_acl_default", work::ACL);
    }
    xattr("usr/share/copy", "user.line", b"feed\nin it\n");
    // Times of directories come last; all are different.
    let mut paths = Vec::new();
    let mut stack = vec![top.to_owned()];
    while let Some(path) = stack.pop() {
        if path.symlink_metadata().unwrap().is_dir() {
            stack.extend(
                fs::read_dir(&path)
                    .unwrap()
                    .map(|entry| entry.unwrap().path()),
            );
        }
        paths.push(path);
    }
    paths.sort();
    for (n, path) in paths.iter().enumerate() {
        let time = rustix::fs::Timespec {
            tv_sec: 1_000_000_000 + i64::try_from(n).unwrap(),
            tv_nsec: 123_456_789,
        };
        let times = rustix::fs::Timestamps {
            last_access: time,
            last_modification: time,
        };
        let flags = rustix::fs::AtFlags::SYMLINK_NOFOLLOW;
        rustix::fs::utimensat(rustix::fs::CWD, path, &times, flags).unwrap();
    }
}

pub(crate) fn tar(directory: &Path, archive: &Path, more: &[&str]) {
    let mut command = Command::new("tar");
    command.arg("-C").arg(directory).arg("-cf").arg(archive);
    done(command.args(more).arg(".").output().unwrap());
}

/// What GNU tar can be told to keep.
pub(crate) const EVERYTHING: [&str; 7] = [
    "--format=posix",
    "--xattrs",
    "--xattrs-include=*",
    "--acls",
    "--numeric-owner",
    "--sparse",
    "--sort=name",
];

#[test]
fn nobody_packs_what_root_unpacks() {
    let test = "nobody_packs_what_root_unpacks";
    let Some(fs) = support::btrfs(test, &support::Options::default()) else {
        return;
    };
    let tree = fs.join("tree");
    fs::create_dir(&tree).unwrap();
    make_tree(&tree);
    let archive = fs.join("tree.tar");
    tar(&tree, &archive, &EVERYTHING);
    fs::set_permissions(&archive, fs::Permissions::from_mode(0o644)).unwrap();
    // What is there before is not looked at: this is what root makes of the archive.
    let unpacked = fs.join("unpacked");
    fs::create_dir(&unpacked).unwrap();
    let mut command = Command::new("tar");
    command.arg("-C").arg(&unpacked).arg("-xf").arg(&archive);
    let options = [
        "--xattrs",
        "--xattrs-include=*",
        "--acls",
        "--numeric-owner",
        "-p",
        "--same-owner",
    ];
    done(command.args(options).output().unwrap());
    support::assert_same_tree(&tree, &unpacked);

    let mut nobody = program();
    nobody.args(["pack", "-", "--name", "packed", "-o", "-"]);
    nobody
        .uid(NOBODY)
        .gid(NOBODY)
        .stdin(File::open(&archive).unwrap());
    let of_archive = done(nobody.output().unwrap());
    // It holds the archive open.
    drop(nobody);
    assert_sound(&of_archive);
    let of_tree = packed(&words(&tree, &["--name", "packed"]));
    let compare = |stream: &[u8], into: &str, more: &[&str]| {
        receive(&fs, stream, into, more);
        fs.remount();
        support::assert_same_tree(&unpacked, &fs.join(into).join("packed"));
    };
    compare(&of_archive, "encoded", &[]);
    compare(&of_archive, "decoded", &["--force-decompress"]);
    compare(&of_tree, "of tree", &[]);
    // The digest is that of the definition, computed from what was received.
    let script = include_str!("../../docs/digest.md");
    let script = script.split("```python\n").nth(1).unwrap();
    let script = script.split("```").next().unwrap();
    let script = format!("{script}\nimport sys\nprint(digest(sys.argv[1]))\n");
    let mut python = Command::new("python3");
    python.arg("-c").arg(script).arg(fs.join("encoded/packed"));
    match python.output() {
        Ok(output) => assert_eq!(
            String::from_utf8(done(output)).unwrap().trim(),
            digest(&tree)
        ),
        Err(_) => support::skip("the digest of a pack", "there is no python3"),
    }
    assert!(blocks(&fs, "encoded") < 1_000, "{}", blocks(&fs, "encoded"));
}

/// What the program says.
pub(crate) fn digest(input: &Path) -> String {
    let mut command = program();
    command
        .arg("pack")
        .arg(input)
        .args(["-o", "/dev/null", "--format", "json"]);
    let line: serde_json::Value = serde_json::from_slice(&done(command.output().unwrap())).unwrap();
    line["digest"].as_str().unwrap().to_owned()
}

/// Of the sparse file.
fn blocks(fs: &Mount, into: &str) -> u64 {
    let path = fs.join(into).join("packed/var/sparse");
    fs::metadata(path).unwrap().blocks()
}

/// Every form of archive that says the same gives the same tree, and sparse ones keep their holes.
#[test]
fn forms_of_archives_make_no_difference() {
    let directory = tempfile::tempdir().unwrap();
    let tree = directory.path().join("tree");
    fs::create_dir(&tree).unwrap();
    make_tree(&tree);
    let archive = |name: &str, options: &[&str]| -> PathBuf {
        let path = directory.path().join(name);
        tar(&tree, &path, options);
        path
    };
    let stream = |archive: &Path| packed(&words(archive, &["--name", "packed"]));
    let posix = archive("posix.tar", &EVERYTHING);
    let whole = stream(&posix);
    for (ending, program) in [("gz", "gzip"), ("xz", "xz"), ("zst", "zstd")] {
        let Ok(output) = Command::new(program).arg("-c").arg(&posix).output() else {
            support::skip(&format!("archives that are .{ending}"), "no such program");
            continue;
        };
        let path = directory.path().join(format!("posix.tar.{ending}"));
        fs::write(&path, done(output)).unwrap();
        assert!(stream(&path) == whole, "{ending}");
        let mut stdin = program_with_stdin(&path);
        assert!(done(stdin.output().unwrap()) == whole, "{ending} in a pipe");
    }
    // Every form has times in seconds but pax, and extended attributes are pax's.
    let plain = ["--numeric-owner", "--sort=name", "--mtime=@7"];
    let form = |name: &str, more: &[&str]| stream(&archive(name, &[&plain[..], more].concat()));
    let gnu = form("gnu.tar", &["--format=gnu"]);
    let pax = ["--format=posix", "--pax-option=delete=atime,delete=ctime"];
    assert!(form("pax.tar", &pax) == gnu);
    let sparse = form("gnu-sparse.tar", &["--format=gnu", "--sparse"]);
    assert!(sparse != gnu);
    assert_eq!(
        digest(&directory.path().join("gnu-sparse.tar")),
        digest(&directory.path().join("gnu.tar"))
    );
    for version in ["0.0", "0.1", "1.0"] {
        let name = format!("sparse-{version}.tar");
        let version = format!("--sparse-version={version}");
        let options = [&pax[..], &["--sparse", &version]].concat();
        assert!(form(&name, &options) == sparse, "{version}");
    }
}

fn program_with_stdin(input: &Path) -> Command {
    let mut command = program();
    command.args(["pack", "-", "--name", "packed", "-o", "-"]);
    command.stdin(File::open(input).unwrap());
    command
}

/// Who packs, where, when and with what around him is not to be seen.
#[test]
fn the_same_tree_gives_the_same_bytes() {
    let directory = tempfile::tempdir().unwrap();
    let (here, there) = (
        directory.path().join("here"),
        directory.path().join("some/where/else"),
    );
    fs::create_dir(&here).unwrap();
    make_tree(&here);
    fs::create_dir_all(there.parent().unwrap()).unwrap();
    done(
        Command::new("cp")
            .arg("-a")
            .arg(&here)
            .arg(&there)
            .output()
            .unwrap(),
    );
    let whole = packed(&words(&here, &["--name", "packed"]));
    assert!(packed(&words(&there, &["--name", "packed"])) == whole);
    for jobs in ["1", "2", "5"] {
        assert!(
            packed(&words(&here, &["--name", "packed", "-j", jobs])) == whole,
            "{jobs}"
        );
    }
    let file = directory.path().join("stream");
    let mut command = Command::new("sh");
    command.args(["-c", "umask 077; exec \"$0\" \"$@\""]);
    command.arg(env!("CARGO_BIN_EXE_btrfs-payload"));
    command
        .args(["pack", "else", "--name", "packed", "-o"])
        .arg(&file);
    command.current_dir(there.parent().unwrap());
    command
        .env("LANG", "tr_TR.UTF-8")
        .env("LC_ALL", "C")
        .env("TZ", "Asia/Kathmandu");
    done(command.output().unwrap());
    assert!(fs::read(&file).unwrap() == whole);
    // One who has no right to see `trusted.` attributes sees no others besides.
    if is_root() {
        for path in [directory.path(), &here] {
            fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        done(
            Command::new("setfattr")
                .args(["-x", "trusted.overlay.x"])
                .arg(here.join("usr/share/text"))
                .output()
                .unwrap(),
        );
        let whole = packed(&words(&here, &["--name", "packed"]));
        let mut nobody = program();
        nobody
            .arg("pack")
            .args(words(&here, &["--name", "packed"]))
            .args(["-o", "-"]);
        nobody.uid(NOBODY).gid(NOBODY).env("TMPDIR", "/tmp");
        assert!(done(nobody.output().unwrap()) == whole);
    }
}

#[test]
fn owners_modes_times_and_names_are_changed_as_asked() {
    use btrfs_payload::send_stream::Command as Sent;
    let directory = tempfile::tempdir().unwrap();
    let tree = directory.path().join("tree");
    fs::create_dir(&tree).unwrap();
    make_tree(&tree);
    let mut command = program();
    command.arg("pack").args(words(
        &tree,
        &["--all-root", "--mode", "go-rwx", "--hard-dereference"],
    ));
    command.args([
        "--exclude",
        "share/noise",
        "--exclude",
        "/usr/share/noise",
        "--exclude",
        "n*n",
        "-o",
        "-",
    ]);
    command.env("SOURCE_DATE_EPOCH", "1000000003");
    let stream = done(command.output().unwrap());
    assert_sound(&stream);
    let mut names = 0;
    for command in work::commands(&stream) {
        match command {
            Sent::Subvol(c) => assert_eq!(c.path, "tree"),
            Sent::Chown(c) => assert_eq!((c.uid, c.gid), (0, 0)),
            Sent::Chmod(c) => assert_eq!(c.mode & 0o077, 0, "{c:?}"),
            Sent::Utimes(c) => {
                names += 1;
                assert!(c.mtime.seconds <= 1_000_000_003, "{c:?}");
                assert!(
                    !c.path.ends_with(b"noise") && !c.path.starts_with(b"nn"),
                    "{c:?}"
                );
            }
            Sent::Link(c) => panic!("{c:?}"),
            _ => {}
        }
    }
    assert!(names > 15, "{names}");
}

/// Nested subvolumes have streams of their own, of a directory and of an archive, and put together
/// they are the tree.
#[test]
fn directories_become_subvolumes_of_their_own() {
    let test = "directories_become_subvolumes_of_their_own";
    let Some(fs) = support::btrfs(test, &support::Options::default()) else {
        return;
    };
    let tree = fs.join("tree");
    fs::create_dir(&tree).unwrap();
    make_tree(&tree);
    // A hard link cannot lead from one subvolume to another. In an archive, where the content is
    // there once, it is refused.
    let archive = fs.outside().join("tree.tar");
    tar(&tree, &archive, &EVERYTHING);
    let nested = ["--name", "root", "--subvol", "/usr/", "--subvol", "tmp"];
    let refused = program()
        .arg("pack")
        .args(words(&archive, &nested))
        .args(["-o", "-"])
        .output()
        .unwrap();
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(said.contains("which is in another subvolume"), "{said}");
    fs::remove_file(tree.join("usr/share/a third")).unwrap();
    tar(&tree, &archive, &EVERYTHING);
    for (input, into) in [(&tree, "of tree"), (&archive, "of archive")] {
        receive(&fs, &packed(&words(input, &nested)), into, &[]);
        let received = fs.join(into);
        assert!(
            fs::read_dir(received.join("root/usr"))
                .unwrap()
                .next()
                .is_none()
        );
        for (subvolume, directory) in [("root-usr", "usr"), ("root-tmp", "tmp")] {
            support::assert_same_tree(&tree.join(directory), &received.join(subvolume));
        }
    }
    let missing = program()
        .arg("pack")
        .args(words(&tree, &["--subvol", "nowhere"]))
        .args(["-o", "-"])
        .output()
        .unwrap();
    assert_eq!(missing.status.code(), Some(2), "{missing:?}");
    assert!(
        String::from_utf8(missing.stderr)
            .unwrap()
            .contains("there is no directory nowhere")
    );
}

#[test]
fn files_are_labelled_for_selinux() {
    use btrfs_payload::send_stream::Command as Sent;
    let directory = tempfile::tempdir().unwrap();
    let tree = directory.path().join("tree");
    fs::create_dir(&tree).unwrap();
    fs::write(tree.join("a.conf"), b"x").unwrap();
    let contexts = directory.path().join("file_contexts");
    fs::write(&contexts, "/.* u:r:any:s0\n/.*\\.conf -- u:r:conf:s0\n").unwrap();
    let contexts = contexts.to_str().unwrap();
    let stream = packed(&words(&tree, &["--selinux", contexts]));
    let labels: Vec<_> = work::commands(&stream)
        .into_iter()
        .filter_map(|command| match command {
            Sent::SetXattr(c) if c.xattr_name == "security.selinux" => Some((c.path, c.xattr_data)),
            _ => None,
        })
        .collect();
    let expected = [("a.conf", "u:r:conf:s0\0"), ("", "u:r:any:s0\0")];
    assert_eq!(
        labels,
        expected.map(|(path, label)| (path.into(), label.into()))
    );
}

/// A chain of three, as a backup makes it.
#[test]
fn increments_are_made_of_directories() {
    let directory = tempfile::tempdir().unwrap();
    let tree = directory.path().join("tree");
    let stream = |name: &str| directory.path().join(name);
    fs::create_dir_all(tree.join("docs")).unwrap();
    fs::write(tree.join("docs/a"), work::noise(300_000)).unwrap();
    fs::write(tree.join("b"), support::text(100_000)).unwrap();
    let pack = |to: &str, parents: &[&str], more: &[&str]| {
        let mut command = program();
        let input = if more.contains(&"-") {
            Path::new("-")
        } else {
            &tree
        };
        command
            .args(["--format", "json", "pack", "--name", to])
            .arg(input);
        for parent in parents {
            command.arg("--parent").arg(stream(parent));
        }
        let more = more.iter().filter(|&&more| more != "-");
        command
            .arg("-o")
            .arg(stream(to))
            .args(more)
            .output()
            .unwrap()
    };
    let number = |output: &[u8], field: &str| {
        let text = std::str::from_utf8(output).unwrap();
        let field = format!("\"{field}\":");
        let rest = &text[text.find(&field)? + field.len()..];
        rest[..rest.find([',', '}']).unwrap()].parse::<u64>().ok()
    };
    let full = done(pack("sun", &[], &[]));
    assert_eq!(number(&full, "unchanged"), None);
    fs::rename(tree.join("docs"), tree.join("papers")).unwrap();
    fs::write(tree.join("c"), "new").unwrap();
    let monday = done(pack("mon", &["sun"], &[]));
    let counts = |output: &[u8]| {
        ["new", "changed", "renamed", "deleted", "unchanged"].map(|of| number(output, of).unwrap())
    };
    assert_eq!(counts(&monday), [1, 0, 1, 0, 2]);
    fs::remove_file(tree.join("b")).unwrap();
    let tuesday = done(pack("tue", &["sun", "mon"], &["--jobs", "1"]));
    assert_eq!(counts(&tuesday), [0, 0, 0, 1, 3]);
    let digest = |arguments: &[&OsStr]| {
        let mut command = program();
        let output = done(
            command
                .args(["stream", "digest"])
                .args(arguments)
                .output()
                .unwrap(),
        );
        String::from_utf8(output).unwrap()[..64].to_owned()
    };
    let chain = ["sun", "mon", "tue"].map(|name| stream(name).into_os_string());
    let chain: Vec<&OsStr> = chain.iter().map(|path| &path[..]).collect();
    assert_eq!(
        digest(&chain),
        digest(&[OsStr::new("--dir"), tree.as_os_str()])
    );
    // The same again, of an archive, on more threads: only the order of names may differ.
    let before = fs::read(stream("tue")).unwrap();
    done(pack("tue", &["sun", "mon"], &["--force"]));
    assert!(fs::read(stream("tue")).unwrap() == before);
    let archive = stream("tree.tar");
    tar(&tree, &archive, &["--format=posix"]);
    let mut of_archive = program();
    of_archive
        .args(["pack", "--name", "tar"])
        .arg(&archive)
        .arg("--parent")
        .arg(stream("sun"));
    done(of_archive.arg("-o").arg(stream("tar")).output().unwrap());
    // The noise has another name and is not sent: its size was told before it came.
    assert!(fs::metadata(stream("tar")).unwrap().len() < 100_000);
    let with_archive = [chain[0], stream("tar").as_os_str()].map(OsStr::to_owned);
    let with_archive: Vec<&OsStr> = with_archive.iter().map(|path| &path[..]).collect();
    assert_eq!(digest(&with_archive), digest(&chain));
    // What does not fit together.
    for (parents, more, expected) in [
        (&["mon"][..], &[][..], 1),
        (&["sun", "sun"], &[], 2),
        (&["tree.tar"], &[], 1),
        (&["sun"], &["--subvol", "papers"], 2),
        (&["none"], &[], 2),
    ] {
        let output = pack("wrong", parents, more);
        assert_eq!(
            output.status.code(),
            Some(expected),
            "{parents:?}: {output:?}"
        );
        assert!(!stream("wrong").exists());
    }
}
