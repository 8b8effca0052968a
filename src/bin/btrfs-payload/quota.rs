//! How many findings are printed: hostile input can break a rule at every byte.

use btrfs_payload::validate::Severity;

use crate::output::{add, count};

/// Findings of one payload that are printed where there may be many payloads.
const PER_PAYLOAD: u64 = 48;

#[derive(Debug, Clone, Copy, clap::Args)]
pub(crate) struct FindingLimit {
    /// Findings printed in all, and 48 of one command or payload; the others are counted
    #[arg(
        long,
        help_heading = "Limits",
        default_value_t = 4096,
        value_name = "N"
    )]
    max_findings: u64,
}

impl FindingLimit {
    pub(crate) fn quota(self) -> Quota {
        Quota {
            max: self.max_findings,
            per_payload: PER_PAYLOAD,
            printed: 0,
            of_payload: 0,
            error_printed: false,
            held_back: 0,
        }
    }
}

/// What is left of the limit. Of what makes an input or a payload unsound, at least one finding is
/// printed.
#[derive(Debug)]
pub(crate) struct Quota {
    max: u64,
    per_payload: u64,
    printed: u64,
    /// Printed of the present payload.
    of_payload: u64,
    /// An error of the present payload was printed, or one after the limit was reached.
    error_printed: bool,
    /// Findings of the present input that were not printed.
    held_back: u64,
}

impl Quota {
    /// One payload may use all of it.
    pub(crate) fn for_one_payload(self) -> Self {
        Self {
            per_payload: self.max,
            ..self
        }
    }

    /// Another payload begins.
    pub(crate) fn next_payload(&mut self) {
        self.of_payload = 0;
        // Past the limit one error speaks for all.
        self.error_printed &= self.printed >= self.max;
    }

    /// True when a finding is to be printed; otherwise it is counted.
    pub(crate) fn takes(&mut self, severity: Severity) -> bool {
        let is_error = severity == Severity::Error;
        let has_room = self.printed < self.max && self.of_payload < self.per_payload;
        let takes = has_room || (is_error && !self.error_printed);
        if takes {
            add(&mut self.printed, 1);
            add(&mut self.of_payload, 1);
            self.error_printed |= is_error;
        } else {
            add(&mut self.held_back, 1);
        }
        takes
    }

    /// Findings that somebody else has counted and not handed on.
    pub(crate) fn hold_back(&mut self, findings: u64) {
        add(&mut self.held_back, findings);
    }

    /// How many findings of the present input were not printed; the next input begins.
    pub(crate) fn take_held_back(&mut self) -> u64 {
        std::mem::take(&mut self.held_back)
    }
}

/// The end of a closing line where findings were not printed.
pub(crate) fn not_printed(findings: u64) -> String {
    match findings {
        0 => String::new(),
        _ => format!("; {} more not printed", count(findings, "finding")),
    }
}
