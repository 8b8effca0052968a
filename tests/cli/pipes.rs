//! Pipes: without a reader, without a writer, and as inputs.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::material::{content, dir, lines, noise, stream};
use crate::{Run, assert_trouble, program, run, tree};

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

pub(crate) fn fifo(dir: &Path) -> PathBuf {
    let path = dir.join("pipe");
    make_fifo(&path);
    path
}

pub(crate) fn make_fifo(path: &Path) {
    let made = Command::new("mkfifo").arg(path).status().unwrap();
    assert!(made.success());
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
