//! The program's face: streams through pipes and files.

use std::fs;
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use btrfs_payload::prepare::Level;
use btrfs_payload::rules::Codec;
use btrfs_payload::send_stream::Version;

use crate::by_hand::{begun, file};
use crate::support::text;
use crate::work::Work;

/// signal(7).
const SIGPIPE: i32 = 13;

fn sound() -> Vec<u8> {
    let mut writer = begun(Version::V1);
    writer.write_data(&"f".into(), 0, &text(300_000)).unwrap();
    writer.finish().unwrap()
}

fn program(arguments: &[&str], stdin: &[u8]) -> Output {
    program_to(Stdio::piped(), arguments, stdin)
}

fn program_to(stdout: Stdio, arguments: &[&str], stdin: &[u8]) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_btrfs-payload"))
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(stdout)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut pipe = child.stdin.take().unwrap();
    let stdin = stdin.to_vec();
    // A program that stops reading is no trouble of this test.
    let feeder = std::thread::spawn(move || drop(pipe.write_all(&stdin)));
    let output = child.wait_with_output().unwrap();
    feeder.join().unwrap();
    output
}

fn status(output: &Output) -> i32 {
    output.status.code().unwrap()
}

#[test]
fn check_says_sound_or_not() {
    let stream = sound();
    let output = program(&["stream", "check"], &stream);
    assert_eq!(status(&output), 0);
    assert!(String::from_utf8(output.stdout).unwrap().contains("sound"));
    let mut damaged = stream.clone();
    damaged[1000] ^= 1;
    for arguments in [
        &["stream", "check", "-"][..],
        &["--format", "json", "stream", "check"],
    ] {
        let output = program(arguments, &damaged);
        assert_eq!(status(&output), 1);
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.contains("command-checksum"), "{text}");
    }
    let output = program(&["--format", "json", "stream", "check"], &damaged);
    for line in output.stdout.split(|&byte| byte == b'\n') {
        if !line.is_empty() {
            let line: serde_json::Value = serde_json::from_slice(line).unwrap();
            assert!(line["kind"].is_string());
        }
    }
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("some.stream");
    fs::write(&path, &stream).unwrap();
    let path = path.to_str().unwrap();
    assert_eq!(status(&program(&["check", path], &[])), 0);
    fs::write(path, &damaged).unwrap();
    assert_eq!(status(&program(&["check", path], &[])), 1);
    assert_eq!(status(&program(&["stream", "check", "/no/such"], &[])), 2);
    let output = program(&["check", "--explain", "path-unknown"], &[]);
    assert_eq!(status(&output), 0);
}

#[test]
fn recompress_through_pipes_and_files_is_the_same() {
    let stream = sound();
    let flags = ["stream", "recompress", "--codec", "zstd", "--level", "9"];
    let piped = program(&flags, &stream);
    assert_eq!(status(&piped), 0);
    let expected = Work::recompress(Codec::Zstd, Level::Number(9))
        .done(&stream)
        .0;
    assert!(piped.stdout == expected);
    assert_eq!(file(&piped.stdout), text(300_000));
    assert!(String::from_utf8(piped.stderr).unwrap().contains("became"));

    let directory = tempfile::tempdir().unwrap();
    let name = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    let (from, to) = (name("in"), name("out"));
    fs::write(&from, &stream).unwrap();
    let arguments = [&flags[..], &[&from, "-o", &to]].concat();
    assert_eq!(status(&program(&arguments, &[])), 0);
    assert!(fs::read(&to).unwrap() == expected);
    // Not overwritten without being told to.
    assert_eq!(status(&program(&arguments, &[])), 2);
    let forced = [&arguments[..], &["--force", "--jobs", "1"]].concat();
    assert_eq!(status(&program(&forced, &[])), 0);
    assert!(fs::read(&to).unwrap() == expected);

    // A stream that is cut leaves no file.
    fs::write(&from, &stream[..stream.len() - 20]).unwrap();
    let broken = name("broken");
    let arguments = [&flags[..], &[&from, "-o", &broken]].concat();
    let output = program(&arguments, &[]);
    assert_eq!(status(&output), 1);
    assert!(!Path::new(&broken).exists());
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2);
}

#[test]
fn the_other_subcommands() {
    let stream = sound();
    let encoded = program(&["stream", "recompress", "--codec", "lzo"], &stream).stdout;
    let plain = program(&["stream", "decompress"], &encoded);
    assert_eq!(status(&plain), 0);
    assert_eq!(file(&plain.stdout), text(300_000));
    let reframed = program(&["stream", "reframe", "--sector-size", "65536"], &encoded);
    assert_eq!(status(&reframed), 0);
    assert_eq!(file(&reframed.stdout), text(300_000));

    let dump = program(&["stream", "dump"], &encoded);
    assert_eq!(status(&dump), 0);
    let text = String::from_utf8(dump.stdout).unwrap();
    assert!(text.contains("lzo for 4096-byte sectors, total"), "{text}");
    let dump = program(&["--format", "json", "stream", "dump"], &encoded);
    let lines: Vec<serde_json::Value> = String::from_utf8(dump.stdout)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let names: Vec<_> = lines
        .iter()
        .map(|line| line["name"].as_str().unwrap())
        .collect();
    let write = "encoded_write";
    assert_eq!(names, ["subvol", "mkfile", write, write, write, "end"]);
    assert_eq!(lines[1]["attributes"]["path"], "f");

    let arguments = ["stream", "stats", "--estimate", "zstd:3"];
    let stats = program(&arguments, &encoded);
    assert_eq!(status(&stats), 0);
    let text = String::from_utf8(stats.stdout).unwrap();
    assert!(text.contains("zstd:3 would take"), "{text}");
}

#[test]
fn a_full_disk_is_trouble() {
    let stream = sound();
    for arguments in [
        &["check"][..],
        &["recompress"],
        &["decompress"],
        &["reframe", "--sector-size", "65536"],
        &["dump"],
        &["stats"],
    ] {
        let full = fs::File::create("/dev/full").unwrap();
        let arguments = [&["stream"], arguments].concat();
        let output = program_to(full.into(), &arguments, &stream);
        assert_eq!(status(&output), 2, "{arguments:?}");
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(text.contains("No space left on device"), "{text}");
    }
}

/// Whoever reads the output goes away: the end by SIGPIPE, without a word.
#[test]
fn a_closed_pipe_is_silent() {
    for arguments in [
        &["recompress"][..],
        &["decompress"],
        &["reframe", "--sector-size", "65536"],
    ] {
        closed_pipe(arguments);
    }
}

fn closed_pipe(arguments: &[&str]) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_btrfs-payload"))
        .arg("stream")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let mut stdin = child.stdin.take().unwrap();
    let stream = sound();
    let feeder = std::thread::spawn(move || drop(stdin.write_all(&stream)));
    let output = child.wait_with_output().unwrap();
    feeder.join().unwrap();
    assert_eq!(output.status.signal(), Some(SIGPIPE), "{arguments:?}");
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
}

#[test]
fn parents_are_given_beside_the_stream() {
    use btrfs_payload::send_stream::command::{Snapshot, Truncate};
    use btrfs_payload::send_stream::{Uuid, Writer};
    let directory = tempfile::tempdir().unwrap();
    let parent = directory.path().join("parent");
    fs::write(&parent, sound()).unwrap();
    let mut writer = Writer::new(Vec::new(), Version::V1).unwrap();
    let snapshot = Snapshot {
        path: "next".into(),
        uuid: Uuid([8; 16]),
        ctransid: 10,
        clone_uuid: Uuid([7; 16]),
        clone_ctransid: 9,
    };
    writer.write_command(&snapshot).unwrap();
    let truncate = Truncate {
        path: "no such file".into(),
        size: 5,
    };
    writer.write_command(&truncate).unwrap();
    let increment = writer.finish().unwrap();
    assert_eq!(status(&program(&["stream", "check"], &increment)), 0);
    let arguments = ["stream", "check", "--parent", parent.to_str().unwrap()];
    let output = program(&arguments, &increment);
    assert_eq!(status(&output), 1);
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.contains("path-unknown"), "{said}");
    // A parent that is cut short is of no use.
    fs::write(&parent, &sound()[..1000]).unwrap();
    assert_eq!(status(&program(&arguments, &increment)), 2);
}
