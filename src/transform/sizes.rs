//! Sizes of files at the receiver, as far as they follow from the stream.
//!
//! What a command does can depend on the size of its file at that moment: where a hole ends that
//! must not make it longer, whether an encoded write may end inside a sector. The size is not known
//! of a file of a parent that was not given, until the stream sets it, and of no file where there are
//! too many names.

use super::finding::StreamFinding;
use super::order::{Order, misplaced_clone};
use super::parents::Parents;
use crate::rules::Target;
use crate::send_stream::{Command, RawCommand};

/// Findings about the range that a CLONE names.
const CLONE_RANGES: [&str; 4] = [
    "clone-beyond-end",
    "clone-into-middle",
    "clone-overlap",
    "clone-unaligned",
];

/// Follows the commands of an input.
#[derive(Debug)]
pub(super) struct Sizes {
    order: Order,
    target: Target,
    /// What is wrong with the stream is for `check` to say.
    unsaid: Vec<StreamFinding>,
}

impl Sizes {
    /// From what the parents have, with as many names in all.
    pub(super) fn new(parents: &Parents, max_names: usize, target: Target) -> Self {
        Self {
            order: Order::new(parents.subvolumes(), target, max_names),
            target,
            unsaid: Vec::new(),
        }
    }

    /// Follows a command; `None` for one that cannot be taken apart. Returns what is wrong with a range that is cloned: a filesystem with the
    /// target's sectors does not take it, whoever passes it on.
    pub(super) fn follow(
        &mut self,
        raw: &RawCommand,
        command: Option<&Command>,
    ) -> Option<StreamFinding> {
        let Some(command) = command else {
            self.order.lost();
            return None;
        };
        self.order.follow(raw, command, &mut self.unsaid);
        let mut found = self.unsaid.drain(..);
        let Command::Clone(clone) = command else {
            return None;
        };
        found
            .find(|finding| CLONE_RANGES.contains(&finding.code))
            .or_else(|| {
                let (code, severity, message) = misplaced_clone(clone, &self.target)?;
                Some(StreamFinding::of(raw, code, severity, message))
            })
    }

    /// Bytes; `None` where it is not known.
    pub(super) fn of(&self, path: &[u8]) -> Option<u64> {
        let node = self.order.node(path)?;
        node.size_is_known.then_some(node.size)
    }

    /// Bytes that the file has at least.
    pub(super) fn at_least(&self, path: &[u8]) -> u64 {
        self.order.node(path).map_or(0, |node| node.size)
    }

    /// Bytes, and more than any file has where it is not known: a file that may be longer is
    /// treated as one that is.
    pub(super) fn at_most(&self, path: &[u8]) -> u64 {
        self.of(path).unwrap_or(u64::MAX)
    }
}
