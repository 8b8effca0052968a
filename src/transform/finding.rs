//! What is found in a stream.

use std::fmt;

use bytes::Bytes;

use super::Escaped;
use crate::send_stream::{Attribute, CommandError, CommandKind, Issue, RawCommand, ReadError};
use crate::validate::{Finding, Severity};

/// One thing found in a send stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamFinding {
    /// Stable kebab-case name of the rule; [`super::explain`] tells more.
    pub code: &'static str,
    /// How bad it is: an error ends `btrfs receive` or gives other files than were sent.
    pub severity: Severity,
    /// Offset of the command in the input, bytes; where none begins, where one is due.
    pub offset: u64,
    /// Commands before it in the input.
    pub command: u64,
    /// Which command it is, where that is known.
    pub kind: Option<CommandKind>,
    /// The path the command is about.
    pub path: Option<Bytes>,
    /// Offset in the file, bytes.
    pub file_offset: Option<u64>,
    /// Byte of the payload.
    pub payload_offset: Option<u64>,
    /// What is there and what was expected.
    pub message: String,
}

impl StreamFinding {
    /// A finding about a command, with path and file offset as the command has them: in one
    /// whose checksum is wrong they may be the damage, but mostly they tell where it is.
    pub(super) fn of(
        raw: &RawCommand,
        code: &'static str,
        severity: Severity,
        message: String,
    ) -> Self {
        let attribute = |attribute| raw.value(attribute);
        let file_offset = attribute(Attribute::FileOffset)
            .and_then(|value| value.as_ref().try_into().ok().map(u64::from_le_bytes));
        Self {
            code,
            severity,
            offset: raw.offset(),
            command: raw.index(),
            kind: raw.kind(),
            path: attribute(Attribute::Path).map(|path| Bytes::copy_from_slice(&path)),
            file_offset,
            payload_offset: None,
            message,
        }
    }

    /// What the judge of payloads has found.
    pub(super) fn of_payload(raw: &RawCommand, finding: &Finding) -> Self {
        Self {
            payload_offset: finding.offset,
            ..Self::of(raw, finding.code, finding.severity, finding.message.clone())
        }
    }

    /// Something that is wrong with a command, whatever its sense.
    pub(super) fn of_issue(raw: &RawCommand, issue: &Issue) -> Self {
        let (code, severity) = issue_code(issue);
        Self::of(raw, code, severity, issue.to_string())
    }

    /// The end of reading. `None` when the input failed, which says nothing of the stream.
    pub(super) fn of_end(error: &ReadError, commands: u64) -> Option<Self> {
        let (code, offset) = match *error {
            ReadError::NotASendStream { offset } => ("not-a-send-stream", offset),
            ReadError::UnknownVersion { offset, .. } => ("unknown-version", offset),
            ReadError::Truncated { offset, .. } => ("truncated", offset),
            ReadError::MissingEnd { offset, .. } => ("missing-end", offset),
            ReadError::Limit { offset, .. } => ("command-too-long", offset),
            ReadError::Io { .. } => return None,
        };
        Some(Self {
            code,
            severity: Severity::Error,
            offset,
            command: commands,
            kind: None,
            path: None,
            file_offset: None,
            payload_offset: None,
            message: error.to_string(),
        })
    }
}

impl fmt::Display for StreamFinding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at {:#x}: command {}", self.offset, self.command)?;
        if let Some(kind) = self.kind {
            write!(f, " ({kind})")?;
        }
        if let Some(path) = &self.path {
            write!(f, ": {}", Escaped(path))?;
        }
        if let Some(offset) = self.file_offset {
            write!(f, ", file offset {offset}")?;
        }
        write!(f, ": {}: {}: {}", self.severity, self.code, self.message)?;
        match self.payload_offset {
            Some(offset) => write!(f, " (at payload offset {offset:#x})"),
            None => Ok(()),
        }
    }
}

/// Code and severity of what the reader finds. Receivers skip unknown commands, ignore unused
/// attributes and take the last of several; everything else ends `btrfs receive` or changes
/// what it does.
fn issue_code(issue: &Issue) -> (&'static str, Severity) {
    use Severity::{Error, Warning};
    match issue {
        Issue::Checksum { .. } => ("command-checksum", Error),
        Issue::HeaderWithoutEnd { .. } => ("header-without-end", Error),
        Issue::CommandAfterEnd { .. } => ("command-after-end", Error),
        Issue::CommandVersion { .. } => ("command-version", Warning),
        Issue::Command(CommandError::UnknownCommand { .. }) => ("unknown-command", Warning),
        Issue::Command(CommandError::Truncated(_)) => ("attribute-truncated", Error),
        Issue::Command(CommandError::Size { .. }) => ("attribute-size", Error),
        Issue::Command(CommandError::Missing { .. }) => ("attribute-missing", Error),
        Issue::UnknownAttribute { .. } => ("unknown-attribute", Error),
        Issue::DuplicateAttribute { .. } => ("duplicate-attribute", Warning),
        Issue::UnusedAttribute { .. } => ("unused-attribute", Warning),
        Issue::AttributeVersion { .. } => ("attribute-version", Warning),
        Issue::ZeroByte { .. } => ("zero-byte", Error),
        Issue::TooLong { .. } => ("name-too-long", Error),
        Issue::Nanoseconds { .. } => ("nanoseconds", Error),
    }
}
