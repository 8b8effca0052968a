//! What is wrong with the frame of a stream whose commands are listed or counted all the same.

use std::path::Path;

use btrfs_payload::send_stream::{Issue, RawCommand};

use crate::Verdict;
use crate::about::about;
use crate::output::{Output, add, count, input_name};

/// Sums of what receivers fail at. Each command is not said: there may be millions.
#[derive(Debug, Default)]
pub(super) struct Faults {
    /// Commands whose checksum is wrong.
    pub(super) wrong_checksum: u64,
    /// Stream headers that no `END` was before.
    pub(super) header_without_end: u64,
    /// Commands that followed an `END` without a header.
    pub(super) command_after_end: u64,
}

impl Faults {
    pub(super) fn look_at(&mut self, raw: &RawCommand) {
        for issue in raw.issues() {
            match issue {
                Issue::Checksum { .. } => add(&mut self.wrong_checksum, 1),
                Issue::HeaderWithoutEnd { .. } => add(&mut self.header_without_end, 1),
                Issue::CommandAfterEnd { .. } => add(&mut self.command_after_end, 1),
                _ => {}
            }
        }
    }

    /// What there is of them in words, where there is any.
    pub(super) fn words(&self) -> Option<String> {
        let found: Vec<String> = [
            (self.wrong_checksum, "command", " with a wrong checksum"),
            (self.header_without_end, "header", " without END before"),
            (self.command_after_end, "command", " after END"),
        ]
        .into_iter()
        .filter(|(number, ..)| *number > 0)
        .map(|(number, noun, what)| count(number, noun) + what)
        .collect();
        (!found.is_empty()).then(|| found.join(", "))
    }

    /// Says what there is of them.
    pub(super) fn say(&self, input: &Path, output: &mut Output) -> Verdict {
        let Some(found) = self.words() else {
            return Verdict::Sound;
        };
        let sentence = format!(
            "{}: receivers fail: {found}; `stream check` says where",
            input_name(input)
        );
        output.trouble(&about(input, sentence).into());
        Verdict::NotSound
    }
}
