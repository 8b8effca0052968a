//! Inputs on which programs of this kind, ours among them, have gone wrong: what is right.
//!
//! The files lie in `testdata/went-wrong`; each row of [`CASES`] is a run.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use btrfs_payload::send_stream::{Command, Reader};
use serde_json::Value;

use crate::program;

/// A run and what is right about it.
#[derive(Debug, Clone, Copy)]
struct Case {
    /// The file; it stands where the arguments say FILE.
    input: &'static str,
    run: &'static str,
    /// The exit statuses that are right.
    exit: &'static [i32],
    /// What has to be said, in whatever case.
    says: &'static str,
    /// Severity of a finding that has to be there, and the command it is about.
    finding: Option<(&'static str, Option<u64>)>,
    /// Where people met it.
    met: &'static str,
    why: &'static str,
}

const CHECK: Case = Case {
    input: "",
    run: "stream check FILE",
    exit: &[1],
    says: "",
    finding: None,
    met: "",
    why: "",
};

const CASES: &[Case] = &[
    Case {
        input: "clone-length-5000-inside.stream",
        finding: Some(("error", Some(5))),
        met: "kdave/btrfs-progs#340, #787; digint/btrbk#565",
        why: "a length that is no multiple of the sector size has to end where the source ends",
        ..CHECK
    },
    Case {
        input: "clone-of-length-0.stream",
        says: "to the end of the source",
        finding: Some(("error", None)),
        met: "BTRFS_IOC_CLONE_RANGE(2)",
        why: "Linux takes length 0 for the whole rest of the source",
        ..CHECK
    },
    Case {
        input: "clone-overlapping-itself.stream",
        finding: Some(("error", Some(3))),
        met: "kdave/btrfs-progs#340, #787; digint/btrbk#565",
        why: "ranges of one file that overlap: EINVAL",
        ..CHECK
    },
    Case {
        input: "clone-source-offset-100.stream",
        finding: Some(("error", Some(5))),
        met: "kdave/btrfs-progs#340, #787; digint/btrbk#565",
        why: "offsets inside a sector: EINVAL",
        ..CHECK
    },
    Case {
        input: "empty-input.stream",
        says: "the input is empty",
        met: "kdave/btrfs-progs#613; digint/btrbk#557; AmesCornish/buttersink#36",
        why: "the sender died before its first byte",
        ..CHECK
    },
    Case {
        input: "gzip-of-a-stream.stream",
        says: "gzip",
        met: "berrym/btrfs-backup-ng#33",
        why: "people keep streams compressed and forget it",
        ..CHECK
    },
    Case {
        input: "inline-block-zlib-check.stream",
        exit: &[0],
        finding: Some(("warning", None)),
        met: "kdave/btrfs-progs#1171, #1174; armbian/build#9651",
        why: "Linux 7 compresses the whole block of an inline file; every kernel reads it",
        ..CHECK
    },
    Case {
        input: "inline-block-zlib-payload.payload",
        run: "check FILE --codec zlib --unencoded-len 300",
        exit: &[0],
        finding: Some(("warning", None)),
        met: "kdave/btrfs-progs#1171, #1174; armbian/build#9651",
        why: "the same, as a payload",
        ..CHECK
    },
    Case {
        input: "long-path-findings.stream",
        finding: Some(("error", None)),
        why: "every finding held a path of 65,535 bytes: gigabytes from 262 KB",
        ..CHECK
    },
    Case {
        input: "made-twice.stream",
        says: "the file is emptied",
        finding: Some(("error", None)),
        met: "kdave/btrfs-progs#147",
        why: "btrfs receive makes files with creat(2): no EEXIST, and what was there is gone",
        ..CHECK
    },
    Case {
        input: "manifest-cut.jsonl",
        run: "check FILE",
        exit: &[1, 2],
        says: "missing",
        why: "a manifest that was cut has no extents and no fault in any line",
        ..CHECK
    },
    Case {
        input: "manifest-escapes.jsonl",
        run: "check FILE",
        exit: &[1, 2],
        why: "a name in a manifest that clears the screen",
        ..CHECK
    },
    Case {
        input: "many-attributes.stream",
        finding: Some(("error", None)),
        why: "every finding searched all attributes: twice as many took four times as long",
        ..CHECK
    },
    Case {
        input: "name-of-255-bytes.stream",
        exit: &[0],
        met: "NAME_MAX of Linux; maharmstone/btrfs#821",
        why: "255 bytes are allowed",
        ..CHECK
    },
    Case {
        input: "name-of-256-bytes.stream",
        finding: Some(("error", Some(1))),
        met: "NAME_MAX of Linux; maharmstone/btrfs#821",
        why: "ENAMETOOLONG",
        ..CHECK
    },
    Case {
        input: "no-data.stream",
        exit: &[0],
        finding: Some(("warning", None)),
        met: "kdave/btrfs-progs#787",
        why: "the file arrives as zeroes: to be silent calls an empty backup sound",
        ..CHECK
    },
    Case {
        input: "reframe-unsound.stream",
        run: "stream reframe --sector-size 16384 FILE",
        says: "zlib-header",
        why: "an unsound payload was passed on without a word",
        ..CHECK
    },
    Case {
        input: "rename-directory-over-file.stream",
        finding: Some(("error", Some(3))),
        met: "digint/btrbk#608; rename(2)",
        why: "ENOTDIR",
        ..CHECK
    },
    Case {
        input: "restarted-inside-a-command.stream",
        says: "a stream header at offset 9120",
        met: "kdave/btrfs-progs#1063, #719; digint/btrbk#434",
        why: "after a suspend the ioctl starts over inside its output: all of it is there from 9120 on",
        ..CHECK
    },
    Case {
        input: "shrank-full.stream",
        run: "stream recompress FILE",
        exit: &[0],
        met: "fstests btrfs/281, btrfs/312",
        why: "a file that is rewritten shorter",
        ..CHECK
    },
    Case {
        input: "sums-overflow.stream",
        run: "stream stats FILE",
        exit: &[0, 1],
        why: "claims of up to 2^64 - 1 bytes were added up",
        ..CHECK
    },
    Case {
        input: "sums-overflow.stream",
        run: "stream recompress FILE",
        why: "the same",
        ..CHECK
    },
    Case {
        input: "sums-overflow.stream",
        run: "stream reframe --sector-size 16384 FILE",
        why: "the same",
        ..CHECK
    },
    Case {
        input: "text-in-front.stream",
        says: "a stream begins at offset 20",
        met: "kubrickfr/btrfs-send-to-s3#9",
        why: "standard error got into the file",
        ..CHECK
    },
    Case {
        input: "v2-write-of-300000-bytes.stream",
        exit: &[0],
        met: "fs/btrfs/send.h of Linux on version 2",
        why: "the format has no limit",
        ..CHECK
    },
    Case {
        input: "version-0.stream",
        met: "tests/misc-tests/036 of btrfs-progs",
        why: "btrfs-progs looks only for versions that are too new",
        ..CHECK
    },
    Case {
        input: "write-of-0-bytes.stream",
        exit: &[0],
        met: "maharmstone/btrfs#821",
        why: "every receiver does nothing and goes on",
        ..CHECK
    },
    Case {
        input: "xattr-without-a-name.stream",
        finding: Some(("error", Some(2))),
        met: "setxattr(2)",
        why: "ERANGE",
        ..CHECK
    },
    Case {
        input: "xattr-without-a-namespace.stream",
        finding: Some(("error", Some(2))),
        met: "setxattr(2)",
        why: "EOPNOTSUPP",
        ..CHECK
    },
];

/// What a terminal gets of a check: far above all of these, far below a flood.
const FLOOD: usize = 1 << 20;

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/went-wrong")
}

/// Runs the program on a file, in an address space of 1 GiB.
fn run(input: &str, arguments: &str) -> Output {
    let program = program(&directory());
    let mut limited = std::process::Command::new("sh");
    limited
        .args(["-c", "ulimit -v 1048576; exec \"$@\"", "sh"])
        .arg(program.get_program())
        .args(
            arguments
                .split(' ')
                .map(|word| if word == "FILE" { input } else { word }),
        )
        .current_dir(directory())
        .stdin(Stdio::null());
    limited.output().unwrap()
}

impl Case {
    /// Everything that is not right.
    fn complaints(&self) -> Vec<String> {
        let output = run(self.input, self.run);
        let code = output.status.code();
        let mut complaints = Vec::new();
        if !code.is_some_and(|code| self.exit.contains(&code)) {
            complaints.push(format!("ends with {code:?}"));
        }
        let rewrites = ["recompress", "decompress", "reframe"];
        let printed = match rewrites.iter().any(|work| self.run.contains(work)) {
            true => output.stderr,
            false => [output.stdout, output.stderr].concat(),
        };
        // The file's name says something too.
        let said = String::from_utf8_lossy(&printed).replace(self.input, "FILE");
        let said = said.to_lowercase();
        if !said.contains(self.says) {
            complaints.push(format!("does not say {:?}", self.says));
        }
        if printed.iter().any(|&byte| byte < b' ' && byte != b'\n') {
            complaints.push("control characters reach the terminal".to_owned());
        }
        if printed.len() > FLOOD {
            complaints.push(format!("{} bytes are printed", printed.len()));
        }
        if let Some((severity, command)) = self.finding {
            let found = self.findings().into_iter().any(|finding| {
                let about = command.is_none_or(|command| finding["command"] == command);
                finding["severity"] == severity && about
            });
            if !found {
                complaints.push(format!("no {severity} at command {command:?}"));
            }
        }
        if !complaints.is_empty() {
            complaints.push(format!("it says:\n{said:.2000}"));
        }
        complaints
    }

    /// The findings, as JSON.
    fn findings(&self) -> Vec<Value> {
        let output = run(self.input, &format!("{} --format json", self.run));
        let lines = output.stdout.split(|&byte| byte == b'\n');
        lines
            .filter(|line| !line.is_empty())
            .map(|line| serde_json::from_slice::<Value>(line).unwrap())
            .filter(|line| line["kind"] == "finding")
            .collect()
    }
}

#[test]
fn what_went_wrong_once_is_right() {
    let mut complaints = Vec::new();
    for case in CASES {
        for complaint in case.complaints() {
            let Case {
                input,
                run,
                why,
                met,
                ..
            } = case;
            complaints.push(format!("{run} of {input}: {complaint} ({why}; {met})"));
        }
    }
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}

#[test]
fn every_file_is_run() {
    let ours = ["punch-beyond-the-end.stream"];
    for entry in std::fs::read_dir(directory()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let run = CASES.iter().any(|case| case.input == name) || ours.contains(&&name[..]);
        assert!(run, "{name} is not run");
    }
}

/// A hole punched at or past the end keeps the size (kdave/btrfs-progs#1001).
#[test]
fn a_hole_past_the_end_makes_no_file_longer() {
    let output = run("punch-beyond-the-end.stream", "stream decompress FILE");
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let mut sizes = HashMap::new();
    for raw in Reader::new(&output.stdout[..]) {
        match Command::parse(&raw.unwrap()).unwrap() {
            Command::Write(c) => {
                let size: &mut u64 = sizes.entry(c.path).or_default();
                *size = (*size).max(c.file_offset + c.data.len() as u64);
            }
            Command::Truncate(c) => drop(sizes.insert(c.path, c.size)),
            Command::Rename(c) => {
                let size = sizes.remove(&c.path).unwrap_or_default();
                sizes.insert(c.path_to, size);
            }
            _ => {}
        }
    }
    let sizes: Vec<u64> = sizes.into_values().collect();
    assert_eq!(sizes, [4096]);
}

/// Version 0 is received, so the explanation must not say otherwise.
#[test]
fn no_word_of_version_0_being_refused() {
    let output = run("version-0.stream", "check --explain unknown-version");
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(!said.contains("btrfs receive refuses it"), "{said}");
}
