//! Inputs and outputs that fail: one sentence with the cause, the right exit status, and nothing
//! half-written.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{BufRead, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use crate::material::{dir, lines, stream};
use crate::process::standing_still;
use crate::{Run, as_nobody, assert_trouble, program, run, tree};

#[test]
fn a_file_that_may_not_grow_is_trouble() {
    let dir = dir(&lines(9000));
    fs::write(dir.path().join("stream"), stream()).unwrap();
    let limited = |arguments: &[&str]| {
        let mut command = Command::new("prlimit");
        command
            .arg("--fsize=1000")
            .arg(env!("CARGO_BIN_EXE_btrfs-payload"));
        let output = command.args(arguments).current_dir(dir.path()).output();
        assert_trouble(&output.unwrap().into(), &["File too large"]);
        assert_eq!(tree(dir.path()), ["data", "stream"]);
    };
    limited(&["prepare", "data", "--codec", "lzo", "--out", "extents"]);
    limited(&["stream", "decompress", "stream", "-o", "out"]);
    limited(&["write", "--plain-ok", "data", "copy"]);
}

#[test]
fn a_file_that_shrinks_meanwhile_is_trouble() {
    let dir = dir(&lines(24 << 20));
    let (child, mut stdout) = standing_still(dir.path());
    let mut line = String::new();
    // The first extent is there, so the size has been asked for; the rest waits for a reader.
    for _ in 0..2 {
        stdout.read_line(&mut line).unwrap();
    }
    let mut write = OpenOptions::new();
    let file = write.write(true).open(dir.path().join("data")).unwrap();
    file.set_len(12 << 20).unwrap();
    stdout.read_to_string(&mut line).unwrap();
    let run = Run::from(child.wait_with_output().unwrap());
    let shrank = "the file shrank to 12582912 bytes while it was read; it had 25165824";
    assert_trouble(&run, &["cannot read data", shrank]);
    assert_eq!(tree(dir.path()), ["data"]);
}

#[test]
fn no_permission_is_trouble() {
    let dir = dir(&lines(9000));
    let path = |name: &str| dir.path().join(name);
    fs::write(path("secret"), "secret").unwrap();
    fs::set_permissions(path("secret"), Permissions::from_mode(0o000)).unwrap();
    fs::set_permissions(path("data"), Permissions::from_mode(0o644)).unwrap();
    fs::create_dir(path("closed")).unwrap();
    fs::set_permissions(path("closed"), Permissions::from_mode(0o555)).unwrap();
    let claims = ["--codec", "zstd", "--unencoded-len", "9000"];
    let try_it = |arguments: &[&str], parts: &[&str]| {
        let output = as_nobody(dir.path()).args(arguments).output().unwrap();
        assert_trouble(&output.into(), parts);
    };
    let denied = "Permission denied";
    for command in ["prepare", "check"] {
        try_it(&[command, "secret"], &["cannot read secret", denied]);
    }
    for command in ["check", "decode", "dump"] {
        let arguments = [&[command, "secret"], claims.as_slice()].concat();
        try_it(&arguments, &["cannot read secret", denied]);
    }
    try_it(
        &["write", "secret", "dest"],
        &["cannot read secret", denied],
    );
    try_it(
        &["read", "secret", "--out", "dir"],
        &["cannot read secret", denied],
    );
    let made = ["cannot make closed/extents in closed", "permission denied"];
    try_it(&["prepare", "data", "--out", "closed/extents"], &made);
    let made = ["cannot make closed/dest in closed", "permission denied"];
    try_it(&["write", "--plain-ok", "data", "closed/dest"], &made);
    assert_eq!(tree(&path("closed")), Vec::<String>::new());
    fs::set_permissions(path("closed"), Permissions::from_mode(0o755)).unwrap();
}

/// Files of proc have data and say that they are empty.
#[test]
fn a_file_that_does_not_tell_its_size_is_read_or_refused() {
    let dir = tempfile::tempdir().unwrap();
    let version = fs::read("/proc/version").unwrap();
    let prepare = run(dir.path(), ["prepare", "/proc/version"]);
    assert_eq!(prepare.code, Some(0), "{prepare:?}");
    let sum = format!("{} bytes in 1 extent ", version.len());
    assert!(prepare.stdout.contains(&sum), "{prepare:?}");
    let write = run(dir.path(), ["write", "/proc/version", "dest"]);
    assert_trouble(
        &write,
        &["/proc/version has data and does not tell its size"],
    );
    assert_eq!(tree(dir.path()), Vec::<String>::new());
}

#[test]
fn names_are_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let name = OsStr::from_bytes(b"new\nline and \xff");
    fs::write(dir.path().join(name), lines(9000)).unwrap();
    let arguments = [
        OsStr::new("prepare"),
        name,
        OsStr::new("--out"),
        OsStr::new("x"),
    ];
    let prepare = run(dir.path(), arguments);
    assert_eq!(prepare.code, Some(0), "{prepare:?}");
    let check = run(dir.path(), ["check", "x/manifest.jsonl"]);
    assert_eq!(check.code, Some(0), "{check:?}");
    let arguments = ["assemble", "--force", "--format=json", "x"].map(OsStr::new);
    let assemble = run(dir.path(), arguments.into_iter().chain([name]));
    assert_eq!(assemble.code, Some(0), "{assemble:?}");
    let made: serde_json::Value = serde_json::from_str(&assemble.stdout).unwrap();
    assert_eq!(made["dest"], r"new\nline and \xff");
}

/// A manifest stands for its directory where payloads are judged; streams beside it are still
/// looked at where streams are.
#[test]
fn a_stream_beside_a_manifest_is_checked() {
    let dir = tempfile::tempdir().unwrap();
    let tree = dir.path().join("tree");
    fs::create_dir(&tree).unwrap();
    fs::write(tree.join("manifest.jsonl"), "{}\n").unwrap();
    fs::write(tree.join("stream"), &stream()[..5000]).unwrap();
    let check = run(dir.path(), ["stream", "check", "-r", "tree"]);
    assert_eq!(check.code, Some(1), "{check:?}");
    assert!(check.stdout.contains("tree/stream: NOT SOUND"), "{check:?}");
}

/// A directory that may not be read is said under a name that says nothing to the terminal.
#[test]
fn closed_directories_are_said() {
    let dir = tempfile::tempdir().unwrap();
    let closed = dir.path().join("tree/\x1b[31mred");
    fs::create_dir_all(&closed).unwrap();
    for path in [dir.path(), &dir.path().join("tree")] {
        fs::set_permissions(path, Permissions::from_mode(0o755)).unwrap();
    }
    fs::set_permissions(&closed, Permissions::from_mode(0o000)).unwrap();
    for command in [&["check"][..], &["stream", "check"]] {
        let output = as_nobody(dir.path())
            .args(command)
            .args(["-r", "tree"])
            .output()
            .unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(
            (output.status.code(), stderr.as_str()),
            (
                Some(2),
                concat!(
                    r"btrfs-payload: cannot read tree/\x1b[31mred: ",
                    "Permission denied (os error 13)\n"
                )
            )
        );
    }
    fs::set_permissions(&closed, Permissions::from_mode(0o755)).unwrap();
}

/// Somebody writes to the source all the time: what is written has some of both, and is said to.
#[test]
fn a_source_that_changes_meanwhile_is_named() {
    let dir = dir(&lines(8 << 20));
    let source = File::options().write(true).open(dir.path().join("data"));
    let source = source.unwrap();
    let mut command = program(dir.path());
    command.args(["write", "--plain-ok", "data", "copy", "--level", "19"]);
    let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
    while child.try_wait().unwrap().is_none() {
        source.write_all_at(b"LINE", 0).unwrap();
        thread::sleep(Duration::from_millis(1));
    }
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("data changed while it was read"), "{said}");
    // And one that nobody touches is not.
    let quiet = run(dir.path(), ["write", "--plain-ok", "data", "again"]);
    assert_eq!((quiet.code, quiet.stderr.as_str()), (Some(0), ""));
}
