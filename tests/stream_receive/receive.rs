//! What `btrfs receive` does with an input.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::Seek;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::Mount;

/// Longer than any input of ours takes: it waits for something, for example for the other end of
/// a pipe.
const TOO_LONG: Duration = Duration::from_secs(5);

/// How it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Received {
    Everything,
    /// It has read this many bytes and then given up, with these words.
    Stopped {
        bytes: u64,
        words: String,
    },
}

/// Receives an input into the root of a filesystem that has nothing else.
pub fn receive(mount: &Mount, input: &[u8]) -> Received {
    clear(mount);
    let [input_path, words_path] = ["input", "words"].map(|name| mount.outside().join(name));
    fs::write(&input_path, input).unwrap();
    // `btrfs receive` reads what it needs and no more. The position is shared with our descriptor
    // and tells at which command it stopped, whatever the status.
    let mut file = File::open(input_path).unwrap();
    let mut child = Command::new("btrfs")
        .args(["--quiet", "receive"])
        .arg(mount.path())
        .stdin(file.try_clone().unwrap())
        .stdout(Stdio::null())
        .stderr(File::create(&words_path).unwrap())
        .spawn()
        .unwrap();
    let begin = Instant::now();
    let status = loop {
        match child.try_wait().unwrap() {
            Some(status) => break Some(status),
            None if begin.elapsed() > TOO_LONG => {
                child.kill().unwrap();
                child.wait().unwrap();
                break None;
            }
            None => thread::sleep(Duration::from_micros(500)),
        }
    };
    let bytes = file.stream_position().unwrap();
    if status.is_some_and(|status| status.success()) && bytes == input.len() as u64 {
        return Received::Everything;
    }
    let words = fs::read(words_path).unwrap();
    let mut words = String::from_utf8_lossy(&words).trim().to_owned();
    if status.is_none() {
        words.push_str(" (it waits)");
    }
    Received::Stopped { bytes, words }
}

/// Removes all subvolumes.
fn clear(mount: &Mount) {
    let paths: Vec<OsString> = fs::read_dir(mount.path())
        .unwrap()
        .map(|entry| entry.unwrap().path().into_os_string())
        .collect();
    if !paths.is_empty() {
        let mut delete = Command::new("btrfs");
        delete.args(["--quiet", "subvolume", "delete"]).args(paths);
        let output = delete.stdin(Stdio::null()).output().unwrap();
        assert!(output.status.success(), "{output:?}");
    }
}
