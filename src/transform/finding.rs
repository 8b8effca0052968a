//! What is found in a stream.

use std::fmt;

use bytes::Bytes;

use super::Shortened;
use crate::send_stream::{Attribute, CommandError, CommandKind, Issue, RawCommand, ReadError};
use crate::validate::{Finding, Severity};

/// Findings of one command that are reported, unless the caller asks for more.
pub(super) const MAX_PER_COMMAND: usize = 48;

/// One thing found in a send stream.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
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
    #[cfg_attr(feature = "serde", serde(serialize_with = "as_text"))]
    pub kind: Option<CommandKind>,
    /// The path the command is about.
    #[cfg_attr(feature = "serde", serde(serialize_with = "as_escaped"))]
    pub path: Option<Bytes>,
    /// Offset in the file, bytes.
    pub file_offset: Option<u64>,
    /// Byte of the payload.
    pub payload_offset: Option<u64>,
    /// What is there and what was expected.
    pub message: String,
}

#[cfg(feature = "serde")]
fn as_text<S: serde::Serializer>(kind: &Option<CommandKind>, to: S) -> Result<S::Ok, S::Error> {
    serde::Serialize::serialize(&kind.map(CommandKind::name), to)
}

/// A path need not be text.
#[cfg(feature = "serde")]
fn as_escaped<S: serde::Serializer>(path: &Option<Bytes>, to: S) -> Result<S::Ok, S::Error> {
    let text = path.as_ref().map(|path| super::Escaped(path).to_string());
    serde::Serialize::serialize(&text, to)
}

/// Where a command is and what it is about. Path and file offset are as the command has them: in
/// one whose checksum is wrong they may be the damage, but mostly they tell where it is. To find
/// them takes a walk through the attributes, so all findings of a command share them.
#[derive(Debug, Clone)]
pub(super) struct Subject {
    offset: u64,
    command: u64,
    kind: Option<CommandKind>,
    path: Option<Bytes>,
    file_offset: Option<u64>,
}

impl Subject {
    pub(super) fn of(raw: &RawCommand) -> Self {
        let file_offset = raw
            .value(Attribute::FileOffset)
            .and_then(|value| value.as_ref().try_into().ok().map(u64::from_le_bytes));
        let path = raw.value(Attribute::Path);
        Self {
            offset: raw.offset(),
            command: raw.index(),
            kind: raw.kind(),
            path: path.map(|path| Bytes::copy_from_slice(&path)),
            file_offset,
        }
    }

    /// A finding about the command.
    pub(super) fn finding(
        &self,
        code: &'static str,
        severity: Severity,
        message: String,
    ) -> StreamFinding {
        StreamFinding {
            code,
            severity,
            offset: self.offset,
            command: self.command,
            kind: self.kind,
            path: self.path.clone(),
            file_offset: self.file_offset,
            payload_offset: None,
            message,
        }
    }
}

impl StreamFinding {
    /// A finding about a command of which there are no others.
    pub(super) fn of(
        raw: &RawCommand,
        code: &'static str,
        severity: Severity,
        message: String,
    ) -> Self {
        Subject::of(raw).finding(code, severity, message)
    }

    /// What the judge of payloads has found.
    pub(super) fn of_payload(subject: &Subject, finding: &Finding) -> Self {
        Self {
            payload_offset: finding.offset,
            ..subject.finding(finding.code, finding.severity, finding.message.clone())
        }
    }

    /// The end of reading. `None` when the input failed, which says nothing of the stream.
    pub(super) fn of_end(error: &ReadError, commands: u64) -> Option<Self> {
        let (code, offset) = match *error {
            ReadError::Empty => ("empty-input", 0),
            ReadError::NotASendStream { offset, .. } => ("not-a-send-stream", offset),
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

impl StreamFinding {
    /// A stream header where none was due, from which reading goes on.
    pub(super) fn of_header(offset: u64, commands: u64) -> Self {
        Self {
            code: "stream-found",
            severity: Severity::Note,
            offset,
            command: commands,
            kind: None,
            path: None,
            file_offset: None,
            payload_offset: None,
            message: format!(
                "a stream header at offset {offset}; from there on it is judged as a stream of its \
                 own"
            ),
        }
    }
}

impl fmt::Display for StreamFinding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at {:#x}: command {}", self.offset, self.command)?;
        if let Some(kind) = self.kind {
            write!(f, " ({kind})")?;
        }
        if let Some(path) = &self.path {
            write!(f, ": {}", Shortened(path))?;
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
pub(super) fn issue_code(issue: &Issue) -> (&'static str, Severity) {
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
