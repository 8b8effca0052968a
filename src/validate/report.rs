//! What the judge says.

use std::fmt;

use serde::Serialize;
use thiserror::Error;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Stable kebab-case name of the rule; [`super::explain`] tells more.
    pub code: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// Byte of the payload it is about; `None` when it is about a claim and not a byte.
    pub offset: Option<u64>,
    /// One sentence: what is there and what was expected.
    pub message: String,
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
}

impl Report {
    pub(super) fn add(&mut self, finding: Finding) {
        self.findings.push(finding);
    }

    /// The findings.
    #[must_use]
    pub fn findings(&self) -> &[Finding] {
        &self.findings
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
