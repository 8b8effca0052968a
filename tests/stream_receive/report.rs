//! Counting, and telling of what differs.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use btrfs_payload::send_stream::CommandKind;

use crate::case::{Case, Shape};
use crate::compare::{Comparison, Difference};

/// What has come of the cases so far.
#[derive(Debug)]
pub struct Tally {
    shape: Shape,
    seed: u64,
    cases: u64,
    received: u64,
    /// By code of the error.
    stopped: BTreeMap<&'static str, u64>,
    explained: BTreeMap<&'static str, u64>,
    /// By cause: numbers of the cases.
    different: BTreeMap<String, Vec<u64>>,
    kinds: BTreeSet<CommandKind>,
}

impl Tally {
    pub fn new(shape: Shape, seed: u64) -> Self {
        Self {
            shape,
            seed,
            cases: 0,
            received: 0,
            stopped: BTreeMap::new(),
            explained: BTreeMap::new(),
            different: BTreeMap::new(),
            kinds: BTreeSet::new(),
        }
    }

    pub fn is_new(&self, difference: &Difference) -> bool {
        !self.different.contains_key(&difference.cause)
    }

    pub fn count(&mut self, number: u64, case: &Case, comparison: &Comparison) {
        self.cases += 1;
        for command in case.streams.iter().flat_map(|stream| &stream.commands) {
            self.kinds.insert(command.kind());
        }
        match comparison {
            Comparison::Received => self.received += 1,
            Comparison::Stopped(code) => *self.stopped.entry(code).or_default() += 1,
            Comparison::Explained(why) => *self.explained.entry(why).or_default() += 1,
            Comparison::Differs(difference) => {
                let numbers = self.different.entry(difference.cause.clone()).or_default();
                numbers.push(number);
            }
        }
    }

    /// Prints a small case with a disagreement and keeps it beside the test program.
    pub fn keep(&self, number: u64, (case, difference): &(Case, Difference)) {
        let name = format!("{}-{}-{number}.stream", self.shape.name(), self.seed);
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::write(&path, case.bytes()).unwrap();
        let dump = Command::new(env!("CARGO_BIN_EXE_btrfs-payload"))
            .args(["stream", "dump"])
            .arg(&path)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        say(&format!(
            "\n{}:{number}: {}\n{}\n{}kept as {}",
            self.shape.name(),
            difference.cause,
            difference.text,
            String::from_utf8_lossy(&dump.stdout),
            path.display()
        ));
    }

    /// Fails where anything differs, or where the cases are no trial.
    pub fn finish(self) {
        let stopped = self.stopped.values().sum::<u64>();
        say(&format!(
            "{} streams, seed {}: {} received, {} stopped at the same command, {} explained, \
             {} different",
            self.shape.name(),
            self.seed,
            self.received,
            stopped,
            self.explained.values().sum::<u64>(),
            self.different.values().map(Vec::len).sum::<usize>(),
        ));
        let each = self.stopped.iter();
        let each: Vec<String> = each
            .map(|(code, count)| format!("{code} {count}"))
            .collect();
        say(&format!("stopped by {}", each.join(", ")));
        for (why, count) in &self.explained {
            say(&format!("{count:6} {why}"));
        }
        for (cause, numbers) in &self.different {
            say(&format!(
                "{:6} DIFFERENT: {cause}: {numbers:?}",
                numbers.len()
            ));
        }
        assert!(self.different.is_empty(), "see above");
        if self.cases >= 50 {
            assert!(self.received * 4 > self.cases, "few are received");
            assert!(stopped * 4 > self.cases, "few are stopped");
            // All but END, which is not listed, and ENABLE_VERITY of version 3.
            assert!(
                self.kinds.len() >= CommandKind::ALL.len() - 4,
                "{:?}",
                self.kinds
            );
        }
    }
}

/// Past the capture of test output, in one write.
fn say(text: &str) {
    let _ = std::io::stderr().write_all(format!("{text}\n").as_bytes());
}
