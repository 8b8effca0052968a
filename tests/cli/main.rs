//! Tests of the program, through its command line.
//!
//! * [`golden`]: what it prints, in files beside their cases;
//! * [`findings_page`], [`json_page`]: docs/findings.md, json.md and manifest.md are what is printed;
//! * [`html_pages`]: pages of `--html` are closed, escaped, and load nothing;
//! * [`browser`]: the same pages in Chromium: nothing is wider than the window, everything can be read;
//! * [`pages`]: help, manual pages and completions;
//! * [`manifest`]: manifests as a whole, and what `check` makes of several inputs;
//! * [`dump`]: a dump explains every bit of a payload, once;
//! * [`files`]: what is replaced and what never is, and who may read what is made;
//! * [`error_objects`]: errors in JSON name the file that they are about;
//! * [`several`]: many inputs of `prepare` and `write`, and where their outputs go;
//! * [`terminal`]: what a terminal gets and a pipe does not: colours, bars, rates;
//! * [`pipes`], [`process`], [`stream_ends`]: pipes, threads and signals, and streams that do not end well;
//! * [`trouble`]: inputs and outputs that fail, each with one sentence and nothing half-written;
//! * [`on_btrfs`]: what needs a mounted btrfs (skipped, visibly, where there can be none);
//! * [`scan`]: what is on a mounted btrfs, decoded and estimated (skipped in the same way);
//! * [`went_wrong`]: inputs on which programs have gone wrong.

#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod assemble;
mod browser;
mod chain;
mod dump;
mod error_objects;
mod files;
mod findings_page;
mod golden;
mod html_pages;
mod json_page;
mod manifest;
mod material;
mod on_btrfs;
mod pages;
mod pipes;
mod process;
mod scan;
mod several;
mod stream_ends;
#[path = "../support/mod.rs"]
mod support;
mod terminal;
mod trouble;
mod went_wrong;

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use rustix::process::geteuid;

/// The program, to be run in a directory.
fn program(directory: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_btrfs-payload"));
    command
        .current_dir(directory)
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    command
}

/// The program as a user without privileges, who can reach and run it.
fn as_nobody(dir: &Path) -> Command {
    fs::set_permissions(dir, Permissions::from_mode(0o755)).unwrap();
    let copy = dir.join("program");
    if !copy.exists() {
        support::copy_program(env!("CARGO_BIN_EXE_btrfs-payload"), &copy);
    }
    let mut command = Command::new(copy);
    command.current_dir(dir).stdin(Stdio::null());
    if geteuid().is_root() {
        command.uid(65534).gid(65534);
    }
    command
}

/// What a run has printed and how it ended.
#[derive(Debug, PartialEq, Eq)]
struct Run {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl From<Output> for Run {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

/// Runs the program to its end, with nothing on standard input.
fn run<S: AsRef<std::ffi::OsStr>>(directory: &Path, arguments: impl IntoIterator<Item = S>) -> Run {
    let output = program(directory)
        .args(arguments)
        .stdin(std::process::Stdio::null())
        .output();
    output.unwrap().into()
}

/// One clear sentence on standard error, and exit status 2.
#[track_caller]
fn assert_trouble(run: &Run, parts: &[&str]) {
    assert_eq!(run.code, Some(2), "{run:?}");
    let lines: Vec<&str> = run.stderr.lines().collect();
    let [line] = lines.as_slice() else {
        panic!("one line of trouble expected: {run:?}");
    };
    assert!(line.starts_with("btrfs-payload: "), "{line}");
    for part in parts {
        assert!(line.contains(part), "{part:?} is not said: {line}");
    }
}

/// Names of everything below a directory, sorted, with `/` after those of directories.
fn tree(directory: &Path) -> Vec<String> {
    fn visit(directory: &Path, prefix: &str, names: &mut Vec<String>) {
        for entry in std::fs::read_dir(directory).unwrap() {
            let entry = entry.unwrap();
            let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
            if entry.file_type().unwrap().is_dir() {
                let name = format!("{name}/");
                visit(&entry.path(), &name, names);
                names.push(name);
            } else {
                names.push(name);
            }
        }
    }
    let mut names = Vec::new();
    visit(directory, "", &mut names);
    names.sort();
    names
}
