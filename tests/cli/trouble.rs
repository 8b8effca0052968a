//! Inputs and outputs that fail: one sentence with the cause, the right exit status, and nothing
//! half-written.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, geteuid, kill_process};
use tempfile::TempDir;

use crate::material::{content, lines, noise, stream};
use crate::support::skip;
use crate::{Run, assert_trouble, program, run, tree};

/// A directory with one file `data`.
fn dir(data: &[u8]) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("data"), data).unwrap();
    dir
}

/// `prepare` of a file in so many extents that its table does not fit a pipe: it stands still
/// until somebody reads.
const LONG_TABLE: [&str; 5] = ["prepare", "data", "--extent-size", "4096", "--level=-100"];

/// Runs the program with nobody at the other end of standard output.
fn without_a_reader(dir: &Path, arguments: &[&str]) -> Output {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = program(dir);
    command.args(arguments).stdin(Stdio::null());
    command.stdout(writer).output().unwrap()
}

#[test]
fn a_filter_without_a_reader_dies_of_it() {
    let dir = dir(&lines(9000));
    fs::write(dir.path().join("payload"), content("valid zlib-inline")).unwrap();
    fs::write(dir.path().join("stream"), stream()).unwrap();
    let commands: [&[&str]; 11] = [
        &["prepare", "data"],
        &["prepare", "data", "--out", "extents"],
        &["--format", "json", "prepare", "data"],
        &["check", "--explain", "all"],
        &["completions", "bash"],
        &[
            "decode",
            "payload",
            "--codec",
            "zlib",
            "--unencoded-len=3000",
        ],
        &["dump", "payload", "--codec", "zlib", "--unencoded-len=3000"],
        &["stream", "recompress", "stream"],
        &["stream", "decompress", "stream", "-o", "/dev/stdout"],
        &["stream", "reframe", "stream"],
        &["stream", "dump", "stream"],
    ];
    for arguments in commands {
        let output = without_a_reader(dir.path(), arguments);
        let pipe = Signal::PIPE.as_raw();
        assert_eq!(output.status.signal(), Some(pipe), "{arguments:?}");
        assert_eq!(Run::from(output).stderr, "", "{arguments:?}");
    }
    assert_eq!(tree(dir.path()), ["data", "payload", "stream"]);
}

#[test]
fn a_verdict_does_not_depend_on_a_reader() {
    let dir = tempfile::tempdir().unwrap();
    let damaged = [&stream()[..5000], b"x", &stream()[5001..]].concat();
    let files = [
        ("good", content("valid zlib-inline")),
        ("bad", content("case zlib-adler32-wrong")),
        ("stream", stream()),
        ("damaged", damaged),
    ];
    for (name, content) in files {
        fs::write(dir.path().join(name), content).unwrap();
    }
    let payload = ["--codec", "zlib", "--unencoded-len"];
    let payload = |name, len| [&["check", name], &payload[..], &[len]].concat();
    for (arguments, code) in [
        (payload("good", "3000"), 0),
        (payload("bad", "8192"), 1),
        (vec!["check", "stream"], 0),
        (vec!["check", "damaged"], 1),
        (vec!["stream", "check", "damaged"], 1),
        (vec!["--format", "json", "stream", "check", "damaged"], 1),
        (vec!["check", "damaged", "missing"], 2),
    ] {
        let run = Run::from(without_a_reader(dir.path(), &arguments));
        assert_eq!(run.code, Some(code), "{arguments:?}: {run:?}");
    }
    // Nor does anything panic for want of somebody to complain to.
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = program(dir.path());
    command.args(["check", "missing"]).stdin(Stdio::null());
    assert_eq!(command.stderr(writer).status().unwrap().code(), Some(2));
}

/// What receivers fail at is passed on, and not called done.
#[test]
fn rewriters_tell_of_ends_in_the_wrong_place() {
    /// END: a header of no bytes, its number and its checksum.
    const END: usize = 10;
    let dir = tempfile::tempdir().unwrap();
    let one = stream();
    let (without_end, end) = one.split_at(one.len() - END);
    let inputs = [
        ("one", one.clone(), 0, ""),
        ("two", [&one[..], &one].concat(), 0, ""),
        (
            "glued",
            [without_end, &one].concat(),
            1,
            "1 header without END",
        ),
        (
            "twice",
            [&one[..], end, end].concat(),
            1,
            "2 commands after END",
        ),
    ];
    for (name, bytes, code, said) in inputs {
        fs::write(dir.path().join(name), &bytes).unwrap();
        for command in ["recompress", "decompress", "reframe"] {
            let run = run(
                dir.path(),
                ["stream", command, name, "-o", "out", "--force"],
            );
            assert_eq!(run.code, Some(code), "{command} {name}: {run:?}");
            assert!(run.stderr.contains(said), "{command} {name}: {run:?}");
        }
    }
}

#[test]
fn output_has_a_limit_where_one_is_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("stream"), stream()).unwrap();
    fs::write(dir.path().join("payload"), content("valid zlib-inline")).unwrap();
    let decode = [
        "decode",
        "payload",
        "--codec",
        "zlib",
        "--unencoded-len=3000",
    ];
    let limits = [("2999", "3000", &decode[..])].into_iter();
    let rewriters = ["recompress", "decompress", "reframe"].map(|command| {
        let arguments: &[&str] = match command {
            "recompress" => &["stream", "recompress", "stream"],
            "decompress" => &["stream", "decompress", "stream"],
            _ => &["stream", "reframe", "stream"],
        };
        ("5k", "1T", arguments)
    });
    for (less, enough, arguments) in limits.chain(rewriters) {
        let limited = |limit| {
            let more = ["-o", "out", "--max-output", limit];
            run(dir.path(), [arguments, &more].concat())
        };
        let limit = format!("{} bytes", less.replace("5k", "5120"));
        assert_trouble(&limited(less), &["longer than --max-output", &limit]);
        assert_eq!(tree(dir.path()), ["payload", "stream"]);
        assert_eq!(limited(enough).code, Some(0), "{arguments:?}");
        fs::remove_file(dir.path().join("out")).unwrap();
    }
    for wrong in ["", "K", "-1", "1.5M", "16777216T", "5KiB"] {
        let limit = format!("--max-output={wrong}");
        let run = run(dir.path(), ["stream", "decompress", "stream", &limit]);
        assert_eq!(run.code, Some(2), "{wrong}: {run:?}");
    }
}

#[test]
fn fewer_threads_than_asked_for_do_the_work() {
    let dir = dir(&lines(1 << 20));
    let expected = run(dir.path(), ["prepare", "data", "--jobs", "1"]);
    let many = run(dir.path(), ["prepare", "data", "--jobs", "1000000"]);
    assert_eq!(many, expected);
    if !geteuid().is_root() {
        return skip("fewer_threads_than_asked_for_do_the_work", "needs root");
    }
    // A user of whom there is nobody else, who may have one process.
    let mut command = as_nobody(dir.path());
    let program = command.get_program().to_owned();
    command = Command::new("prlimit");
    command
        .arg("--nproc=1")
        .arg(program)
        .args(["prepare", "data", "--jobs", "8"]);
    command.current_dir(dir.path()).stdin(Stdio::null());
    let run = Run::from(command.uid(61_234).gid(61_234).output().unwrap());
    assert_eq!(
        (run.code, &run.stdout),
        (Some(0), &expected.stdout),
        "{run:?}"
    );
    assert!(
        run.stderr.contains("an interrupt may leave"),
        "no limit: {run:?}"
    );
}

#[test]
fn a_pipe_without_a_writer_is_not_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    fifo(dir.path());
    let started = Instant::now();
    let check = run(dir.path(), ["check", "pipe"]);
    assert_trouble(&check, &["pipe is a pipe that nobody writes to"]);
    let claims = ["check", "pipe", "--codec", "zlib", "--unencoded-len=3000"];
    assert_trouble(&run(dir.path(), claims), &["nobody writes to"]);
    let read = run(dir.path(), ["read", "pipe", "--out", "extents"]);
    assert_trouble(&read, &["pipe is not a regular file"]);
    let write = run(dir.path(), ["write", "pipe", "dest"]);
    assert_trouble(&write, &["pipe is not a regular file"]);
    let assemble = run(dir.path(), ["assemble", "pipe", "dest"]);
    assert_trouble(&assemble, &["pipe is not a regular file"]);
    // Beside a payload, by the name of a manifest.
    fs::rename(dir.path().join("pipe"), dir.path().join("manifest.jsonl")).unwrap();
    fs::write(dir.path().join("a.zlib"), [0; 9]).unwrap();
    let dump = run(dir.path(), ["dump", "a.zlib", "--format", "json"]);
    assert_trouble(&dump, &["needs --unencoded-len"]);
    assert!(started.elapsed() < Duration::from_secs(30));
    assert_eq!(tree(dir.path()), ["a.zlib", "manifest.jsonl"]);
}

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
fn a_full_standard_output_is_trouble() {
    let dir = dir(&lines(9000));
    fs::write(dir.path().join("payload"), content("valid zlib-inline")).unwrap();
    let claims = ["--codec", "zlib", "--unencoded-len", "3000"];
    let commands: [&[&str]; 7] = [
        &["prepare", "data"],
        &["--format", "json", "prepare", "data"],
        &["check", "payload"],
        &["decode", "payload"],
        &["dump", "payload"],
        &["completions", "zsh"],
        &["man"],
    ];
    for arguments in commands {
        let mut command = program(dir.path());
        command.args(arguments).stdin(Stdio::null());
        if arguments.last() == Some(&"payload") {
            command.args(claims);
        }
        let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
        let run = Run::from(command.stdout(full).output().unwrap());
        assert_trouble(
            &run,
            &["cannot write to standard output", "No space left on device"],
        );
    }
}

#[test]
fn the_number_of_jobs_changes_no_byte() {
    let mixed: Vec<u8> = (0..6).flat_map(|_| content("mixed")).collect();
    let dir = dir(&mixed);
    for codec in ["zlib", "lzo", "zstd", "zlib,lzo,zstd"] {
        let prepare = |jobs: &str, out: &str| {
            let run = run(
                dir.path(),
                [
                    "prepare", "data", "--codec", codec, "--jobs", jobs, "--out", out, "--force",
                ],
            );
            assert_eq!(run.code, Some(0), "{run:?}");
            run.stdout
        };
        assert_eq!(prepare("1", "one"), prepare("8", "eight"));
        let (one, eight) = (dir.path().join("one"), dir.path().join("eight"));
        let names = tree(&one);
        assert!(names.len() > 10);
        assert_eq!(names, tree(&eight));
        for name in names {
            assert!(
                fs::read(one.join(&name)).unwrap() == fs::read(eight.join(&name)).unwrap(),
                "{codec}: {name}"
            );
        }
    }
    assert_eq!(
        tree(dir.path())
            .iter()
            .filter(|name| name.ends_with('/'))
            .count(),
        2
    );
}

#[test]
fn a_file_that_shrinks_meanwhile_is_trouble() {
    let dir = dir(&lines(24 << 20));
    let mut command = program(dir.path());
    command.args(LONG_TABLE).args(["--out", "extents"]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
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
fn an_interrupt_leaves_nothing_behind() {
    for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
        let dir = dir(&lines(8 << 20));
        let mut command = program(dir.path());
        command.args(LONG_TABLE).args(["--out", "extents"]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        assert!(tree(dir.path()).len() > 1, "nothing to interrupt");
        kill_process(Pid::from_child(&child), signal).unwrap();
        let output = child.wait_with_output().unwrap();
        // What a shell needs to see, to end a loop around it.
        assert_eq!(output.status.signal(), Some(signal.as_raw()));
        let run = Run::from(output);
        assert_eq!(
            run.stderr,
            "btrfs-payload: interrupted; nothing is left behind\n"
        );
        assert_eq!(tree(dir.path()), ["data"]);
    }
}

#[test]
fn a_signal_that_was_ignored_stays_ignored() {
    let dir = dir(&lines(8 << 20));
    let script = format!(
        "trap '' HUP; exec {} {}",
        env!("CARGO_BIN_EXE_btrfs-payload"),
        LONG_TABLE.join(" ")
    );
    let mut command = Command::new("sh");
    command.args(["-c", &script]).current_dir(dir.path());
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut text = String::new();
    stdout.read_line(&mut text).unwrap();
    kill_process(Pid::from_child(&child), Signal::HUP).unwrap();
    stdout.read_to_string(&mut text).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    // To its closing line: at this level everything stays plain.
    assert!(text.ends_with("saved; there is no payload to judge\n"));
}

/// The program as a user without privileges, who can reach and run it.
pub(crate) fn as_nobody(dir: &Path) -> Command {
    fs::set_permissions(dir, Permissions::from_mode(0o755)).unwrap();
    let copy = dir.join("program");
    if !copy.exists() {
        // By another process: what this one has open for writing, a test that starts a program
        // at that moment has open as well, and then it cannot be run.
        let mut cp = Command::new("cp");
        cp.arg(env!("CARGO_BIN_EXE_btrfs-payload")).arg(&copy);
        assert!(cp.status().unwrap().success());
    }
    let mut command = Command::new(copy);
    command.current_dir(dir).stdin(Stdio::null());
    if geteuid().is_root() {
        command.uid(65534).gid(65534);
    }
    command
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

pub(crate) fn fifo(dir: &Path) -> PathBuf {
    let path = dir.join("pipe");
    assert!(
        Command::new("mkfifo")
            .arg(&path)
            .status()
            .unwrap()
            .success()
    );
    path
}

/// Runs the program with a pipe named `pipe` that holds these bytes.
fn with_pipe(bytes: &[u8], arguments: &[&str]) -> Run {
    let dir = tempfile::tempdir().unwrap();
    let path = fifo(dir.path());
    thread::scope(|scope| {
        // Opens once the program does; the program may close it before it has read everything.
        scope.spawn(|| {
            let mut pipe = OpenOptions::new().write(true).open(&path).unwrap();
            let _ = pipe.write_all(bytes);
        });
        run(dir.path(), arguments)
    })
}

/// `check` says of a stream kept compressed, with text in front of it, cut short or empty what
/// `stream check` says, from a file and from a pipe.
#[test]
fn what_was_a_stream_is_checked_as_one() {
    let stream = [
        &b"btrfs-stream\0\x01\0\0\0"[..],
        &[0, 0, 0, 0, 1, 0, 0, 0, 0, 0],
    ]
    .concat();
    let text = [&b"At subvol a\n"[..], &stream].concat();
    // Anything shorter may be a payload.
    let long_zstd = [&[0x28, 0xb5, 0x2f, 0xfd][..], &noise(128 << 10)].concat();
    for (bytes, says) in [
        (&b""[..], "the input is empty"),
        (&[0x1f, 0x8b, 8, 0, 1, 2, 3], "gzip -dc"),
        (&long_zstd, "zstd -dc"),
        (&text, "a stream begins at offset 12"),
        (&stream[..10], "the input ends after 10 of 17 bytes"),
    ] {
        let dir = dir(bytes);
        let of_file = run(dir.path(), ["check", "data"]);
        let of_pipe = with_pipe(bytes, &["check", "pipe"]);
        for run in [of_file, of_pipe] {
            assert_eq!(run.code, Some(1), "{says}: {run:?}");
            assert!(run.stdout.contains(says), "{says}: {run:?}");
        }
    }
}

#[test]
fn a_pipe_is_read_where_that_makes_sense() {
    let data = lines(300_000);
    let run_of_pipe = with_pipe(&data, &["prepare", "pipe", "--level", "1"]);
    assert_eq!(run_of_pipe.code, Some(0), "{run_of_pipe:?}");
    let dir = dir(&data);
    let run_of_file = run(dir.path(), ["prepare", "data", "--level", "1"]);
    assert_eq!(run_of_pipe.stdout, run_of_file.stdout);

    let payload = content("valid zlib-inline");
    let claims = ["--codec", "zlib", "--unencoded-len", "3000"];
    let run = with_pipe(&payload, &[&["check", "pipe"], claims.as_slice()].concat());
    assert_eq!(run.code, Some(0), "{run:?}");
    let run = with_pipe(&payload, &["check", "pipe"]);
    assert_trouble(&run, &["pipe is no send stream"]);
    let run = with_pipe(&[], &["check", "pipe"]);
    assert_eq!(run.code, Some(1), "{run:?}");
    assert!(run.stdout.contains("the input is empty"), "{run:?}");
    // More than any payload is not waited for.
    let long = noise(1 << 20);
    let run = with_pipe(&long, &[&["check", "pipe"], claims.as_slice()].concat());
    assert_trouble(&run, &["pipe is longer than any payload"]);
}

#[test]
fn a_pipe_is_refused_where_a_file_is_needed() {
    let dir = tempfile::tempdir().unwrap();
    let path = fifo(dir.path());
    // Keeps the pipe open for reading and writing, so that nobody waits for anybody.
    let _both = OpenOptions::new()
        .read(true)
        .write(true)
        .open(path)
        .unwrap();
    let write = run(dir.path(), ["write", "pipe", "dest"]);
    assert_trouble(&write, &["pipe is not a regular file"]);
    let read = run(dir.path(), ["read", "pipe", "--out", "extents"]);
    assert_eq!(read.code, Some(2), "{read:?}");
    assert_eq!(tree(dir.path()), ["pipe"]);
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
fn an_endless_input_needs_little_memory() {
    let dir = tempfile::tempdir().unwrap();
    let claims = ["--codec", "zstd", "--unencoded-len", "9000"];
    let arguments = [&["check", "/dev/zero"], claims.as_slice()].concat();
    let check = run(dir.path(), arguments);
    assert_trouble(&check, &["/dev/zero is longer than any payload"]);
    // A manifest of one endless line.
    let path = dir.path().join("manifest.jsonl");
    File::create(&path).unwrap().set_len(8 << 30).unwrap();
    let started = Instant::now();
    let check = run(dir.path(), ["check", "manifest.jsonl"]);
    assert_trouble(&check, &["manifest.jsonl, line 1: too long"]);
    assert!(started.elapsed() < Duration::from_secs(60));
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

/// Receivers fail there; who lists or counts the commands is told.
#[test]
fn dump_and_stats_tell_of_streams_that_do_not_end() {
    let whole = stream();
    let end = whole.len() - 10;
    let (head, last) = (&whole[..17], &whole[end..]);
    let twice = |of: &[u8]| [of, &whole].concat();
    let inputs = [
        (twice(&whole[..end]), "1 header without END before"),
        ([&whole[..], last, last].concat(), "2 commands after END"),
        (
            [&whole[..], last, head, last].concat(),
            "1 command after END",
        ),
    ];
    for (input, said) in inputs {
        let dir = dir(&input);
        for work in ["dump", "stats"] {
            let Run {
                code,
                stdout,
                stderr,
            } = run(dir.path(), ["stream", work, "data"]);
            assert_eq!(code, Some(1), "{work}: {stderr}");
            assert!(stderr.contains(said), "{work}: {stderr}");
            assert!(!stdout.is_empty());
        }
        let check = run(dir.path(), ["stream", "check", "data"]);
        assert_eq!(check.code, Some(1), "{}", check.stdout);
    }
    // Damage: a cut stream, text, and a whole stream.
    let dir = dir(&[&whole[..whole.len() - 300], b"\ntext\n", &whole].concat());
    let dump = run(dir.path(), ["stream", "dump", "data"]);
    assert_eq!(dump.code, Some(1));
    assert!(
        dump.stderr.contains("a stream header at offset"),
        "{}",
        dump.stderr
    );
    let subvolumes = dump.stdout.matches(" subvol ").count();
    assert_eq!(subvolumes, 2, "{}", dump.stdout);
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
