//! Sizes of files at the receiver, as far as they follow from the stream.
//!
//! What a command does can depend on the size that its file has by then: where a hole ends that
//! must not make it longer, whether an encoded write may end inside a sector. A file of the
//! parent snapshot that is not at hand has no known size until the stream gives it one, nor has any
//! file where there are too many names.

use super::finding::StreamFinding;
use super::order::Order;
use super::parents::Parents;
use crate::rules::Target;
use crate::send_stream::{Command, RawCommand};

/// Follows the commands of an input.
#[derive(Debug)]
pub(super) struct Sizes {
    order: Order,
    /// What is wrong with the stream is for `check` to say.
    unsaid: Vec<StreamFinding>,
}

impl Sizes {
    /// From what the parents have, with as many names in all.
    pub(super) fn new(parents: &Parents, max_names: usize) -> Self {
        Self {
            order: Order::new(parents.subvolumes(), Target::default(), max_names),
            unsaid: Vec::new(),
        }
    }

    pub(super) fn follow(&mut self, raw: &RawCommand) {
        match Command::parse(raw) {
            Ok(command) => {
                self.order.follow(raw, &command, &mut self.unsaid);
                self.unsaid.clear();
            }
            Err(_) => self.order.lost(),
        }
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
