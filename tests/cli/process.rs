//! The program as a process: threads, jobs and signals.

use std::fs::{self};
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use rustix::process::{Pid, Signal, geteuid, kill_process};

use crate::material::{content, dir, lines};
use crate::support::skip;
use crate::{Run, as_nobody, program, run, tree};

/// `prepare` of a file in so many extents that its table does not fit a pipe: it stands still
/// until somebody reads.
pub(crate) const LONG_TABLE: [&str; 5] =
    ["prepare", "data", "--extent-size", "4096", "--level=-100"];

/// That, into a directory, and what it prints.
pub(crate) fn standing_still(dir: &Path) -> (Child, BufReader<ChildStdout>) {
    let mut command = program(dir);
    command.args(LONG_TABLE).args(["--out", "extents"]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let stdout = BufReader::new(child.stdout.take().unwrap());
    (child, stdout)
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
fn an_interrupt_leaves_nothing_behind() {
    for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
        let dir = dir(&lines(8 << 20));
        let (child, mut stdout) = standing_still(dir.path());
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

/// Runs the program from a shell that sets something up before.
fn in_shell(dir: &Path, before: &str, arguments: &str) -> Run {
    let script = format!("{before} && exec \"$0\" {arguments}");
    let mut shell = Command::new("sh");
    shell.args(["-c", &script]).arg(program(dir).get_program());
    Run::from(shell.current_dir(dir).output().unwrap())
}

#[test]
fn few_descriptors_are_enough_for_deep_trees_and_many_threads() {
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("source");
    let deep = (0..100).fold(source.clone(), |path, _| path.join("d"));
    fs::create_dir_all(&deep).unwrap();
    for number in 0..2000 {
        let at = if number % 2 == 0 { &deep } else { &source };
        fs::write(at.join(number.to_string()), b"data").unwrap();
    }
    let packed = run(dir.path(), ["pack", "source", "-o", "s.stream"]);
    assert_eq!(packed.code, Some(0), "{packed:?}");
    let unpacked = in_shell(dir.path(), "ulimit -n 24", "unpack s.stream -C out -j 64");
    assert_eq!(unpacked.code, Some(0), "{unpacked:?}");
    assert_eq!(tree(&source), tree(&dir.path().join("out")));
}

/// What is unpacked has the modes of the stream, and meanwhile none that lets others in.
#[test]
fn the_umask_changes_no_mode() {
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("source");
    fs::create_dir(&source).unwrap();
    for mode in [
        0o600, 0o644, 0o664, 0o666, 0o640, 0o755, 0o777, 0o400, 0o4755,
    ] {
        let path = source.join(format!("{mode:o}"));
        fs::write(&path, b"data").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    }
    let packed = run(dir.path(), ["pack", "source", "-o", "s.stream"]);
    assert_eq!(packed.code, Some(0), "{packed:?}");
    for umask in ["000", "022", "077", "777"] {
        let arguments = format!("unpack s.stream -C out{umask}");
        let run = in_shell(dir.path(), &format!("umask {umask}"), &arguments);
        assert_eq!(run.code, Some(0), "{run:?}");
        for entry in fs::read_dir(&source).unwrap() {
            let name = entry.unwrap().file_name();
            let mode = |path: &Path| fs::metadata(path.join(&name)).unwrap().mode() & 0o7777;
            let out = dir.path().join(format!("out{umask}"));
            assert_eq!(mode(&out), mode(&source), "{umask}: {name:?}");
        }
    }
}

/// Into a directory of somebody else's, in which everybody may make files.
#[test]
fn times_of_a_foreign_directory_are_left_out() {
    if !geteuid().is_root() {
        return skip("times_of_a_foreign_directory_are_left_out", "needs root");
    }
    let dir = tempfile::tempdir().unwrap();
    let anybody = fs::Permissions::from_mode(0o777);
    fs::set_permissions(dir.path(), anybody.clone()).unwrap();
    for name in ["source", "out"] {
        let path = dir.path().join(name);
        fs::create_dir(&path).unwrap();
        fs::set_permissions(path, anybody.clone()).unwrap();
    }
    fs::write(dir.path().join("source/file"), b"data").unwrap();
    let packed = run(dir.path(), ["pack", "source", "-o", "s.stream"]);
    assert_eq!(packed.code, Some(0), "{packed:?}");
    let mut command = as_nobody(dir.path());
    command.args(["unpack", "s.stream", "-C", "out", "--force"]);
    let unpacked = Run::from(command.output().unwrap());
    assert_eq!(unpacked.code, Some(0), "{unpacked:?}");
    let said = format!("{}{}", unpacked.stdout, unpacked.stderr);
    assert!(said.contains("time"), "{said}");
    assert_eq!(fs::read(dir.path().join("out/file")).unwrap(), b"data");
}
