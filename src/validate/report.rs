//! Findings, and the report that has those of one payload.

use std::fmt;

use thiserror::Error;

use crate::rules::WriteRule;
use crate::rules::limits::u64_of;
use crate::rules::sums::add;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "lowercase"))]
pub enum Severity {
    /// Worth knowing, no harm.
    Note,
    /// It works on every kernel, but wastes something or works by luck.
    Warning,
    /// Refused, unreadable, or different bytes on some kernel since 5.19 or in the fallback
    /// decoders of `btrfs receive`.
    Error,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Error => "error",
        })
    }
}

/// One thing the judge has found.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Finding {
    /// Stable kebab-case name of the rule; [`super::explain`] tells more.
    pub code: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// Byte of the payload it is about; `None` when it is about a claim and not a byte.
    pub offset: Option<u64>,
    /// One sentence: what is there and what was expected.
    pub message: String,
    /// The rule of the ioctl that is broken, where it is one.
    #[cfg_attr(feature = "serde", serde(skip))]
    pub rule: Option<WriteRule>,
}

impl Finding {
    /// The code of [`Finding::decodes_too_long`].
    pub(super) const DECODES_TOO_LONG: &str = "decodes-too-long";

    /// True where the payload decodes to more than is claimed. Kernels cut it off; of the fallback
    /// decoders of `btrfs receive`, those for zlib and LZO fail.
    #[must_use]
    pub fn decodes_too_long(&self) -> bool {
        self.code == Self::DECODES_TOO_LONG
    }

    /// A finding that is about no byte of a payload and no rule of the ioctl; `code` is a name
    /// that stays.
    #[must_use]
    pub fn new(code: &'static str, severity: Severity, message: impl Into<String>) -> Self {
        Self {
            code,
            severity,
            offset: None,
            message: message.into(),
            rule: None,
        }
    }

    /// A rule of the ioctl is broken.
    pub(super) fn of_rule(rule: WriteRule) -> Self {
        Self {
            rule: Some(rule),
            ..Self::new(rule.code(), Severity::Error, rule.to_string())
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.severity, self.code, self.message)?;
        match self.offset {
            Some(offset) => write!(f, " (at offset {offset:#x})"),
            None => Ok(()),
        }
    }
}

/// Everything the judge has found in one payload, in the order of the payload; what is about
/// claims comes first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    findings: Vec<Finding>,
    /// Notes, warnings and errors found, those that are not kept included.
    counts: [u64; 3],
}

/// As an object: `findings`, `errors`, `warnings`, `notes`; the last three count what is not kept
/// too.
#[cfg(feature = "serde")]
impl serde::Serialize for Report {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct;
        let mut object = to.serialize_struct("Report", 4)?;
        object.serialize_field("findings", &self.findings)?;
        object.serialize_field("errors", &self.count(Severity::Error))?;
        object.serialize_field("warnings", &self.count(Severity::Warning))?;
        object.serialize_field("notes", &self.count(Severity::Note))?;
        object.end()
    }
}

impl Report {
    /// Findings that a report keeps of one payload; the others are counted. A payload of 128 KiB
    /// can be made to break a rule at every seventh byte.
    pub const MAX_FINDINGS: usize = 1000;

    pub(crate) fn add(&mut self, finding: Finding) {
        add(self.sum(finding.severity), 1);
        if self.findings.len() < Self::MAX_FINDINGS {
            self.findings.push(finding);
        } else if finding.severity == Severity::Error
            && self.is_sound()
            && let Some(last) = self.findings.last_mut()
        {
            // Of what makes a payload unsound at least one is kept.
            *last = finding;
        }
    }

    fn sum(&mut self, severity: Severity) -> &mut u64 {
        let [notes, warnings, errors] = &mut self.counts;
        match severity {
            Severity::Note => notes,
            Severity::Warning => warnings,
            Severity::Error => errors,
        }
    }

    /// The same findings seen in another light.
    pub(crate) fn map(self, see: impl Fn(Finding) -> Finding) -> Self {
        let mut new = Self {
            counts: self.counts,
            findings: Vec::with_capacity(self.findings.len()),
        };
        for finding in self.findings {
            let before = finding.severity;
            let finding = see(finding);
            let sum = new.sum(before);
            *sum = sum.saturating_sub(1);
            add(new.sum(finding.severity), 1);
            new.findings.push(finding);
        }
        new
    }

    /// The findings, [`Report::MAX_FINDINGS`] at most.
    #[must_use]
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// How many findings of a severity there are, those that are not kept included.
    #[must_use]
    pub fn count(&self, severity: Severity) -> u64 {
        let [notes, warnings, errors] = self.counts;
        match severity {
            Severity::Note => notes,
            Severity::Warning => warnings,
            Severity::Error => errors,
        }
    }

    /// How many findings there are beyond those kept.
    #[must_use]
    pub fn left_out(&self) -> u64 {
        let found = self
            .counts
            .iter()
            .fold(0_u64, |all, n| all.saturating_add(*n));
        found.saturating_sub(u64_of(self.findings.len()))
    }

    /// True when no finding is an error: the payload reads back as the same bytes on every
    /// kernel since 5.19, and where `btrfs receive` has to decode it itself. The one exception
    /// from the latter are whole-sector inline extents, with a warning `decodes-too-long`.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.errors().next().is_none()
    }

    /// The findings that make a payload unsound.
    pub fn errors(&self) -> impl Iterator<Item = &Finding> {
        self.findings
            .iter()
            .filter(|finding| finding.severity == Severity::Error)
    }
}

impl FromIterator<Finding> for Report {
    fn from_iter<I: IntoIterator<Item = Finding>>(findings: I) -> Self {
        let mut report = Self::default();
        findings.into_iter().for_each(|finding| report.add(finding));
        report
    }
}

/// The payload is not sound, and the report says why. Encode the data again, or write it plain.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("the payload is not sound: {}", first(.0))]
pub struct NotSound(
    /// Everything that is wrong with it.
    pub Report,
);

fn first(report: &Report) -> String {
    report
        .errors()
        .next()
        .map_or_else(String::new, ToString::to_string)
}
