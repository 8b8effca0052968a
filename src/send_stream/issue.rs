//! What can be wrong with a command whose frame holds.

use thiserror::Error;

use super::format::{Attribute, Version};
use super::kind::CommandKind;
use btrfs_payload_common::Truncated;

/// Why a command cannot be read into a [`Command`](super::Command). Offsets are bytes from the
/// start of the input.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CommandError {
    /// The number is none of the 26. Receivers skip such a command without a word.
    #[error("no command has the number {got} (at offset {offset})")]
    UnknownCommand {
        /// Offset of the command.
        offset: u64,
        /// The number.
        got: u16,
    },
    /// The last attribute runs past the end of the command.
    #[error("an attribute runs past the end of its command: {0}")]
    Truncated(Truncated),
    /// An attribute of fixed size has another.
    #[error("attribute {attribute} has {got} bytes, not {expected} (at offset {offset})")]
    Size {
        /// Offset of the value.
        offset: u64,
        /// The attribute.
        attribute: Attribute,
        /// Bytes there.
        got: usize,
        /// Bytes it must have.
        expected: usize,
    },
    /// An attribute that every receiver needs is not there.
    #[error("command {command} has no attribute {attribute} (at offset {offset})")]
    Missing {
        /// Offset of the command.
        offset: u64,
        /// The command.
        command: CommandKind,
        /// The attribute.
        attribute: Attribute,
    },
}

/// Something about a command that a sound stream does not have. Reading goes on after it.
/// Offsets are bytes from the start of the input.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Issue {
    /// The checksum is wrong: no other byte of the command can be trusted, its length included.
    #[error(
        "the checksum of the command is {computed:#010x}, {stored:#010x} is stored \
         (at offset {offset})"
    )]
    Checksum {
        /// Offset of the command.
        offset: u64,
        /// What the command says.
        stored: u32,
        /// What its bytes give.
        computed: u32,
    },
    /// A stream header stands before this command, but the stream before has no `END`.
    /// `btrfs receive` fails there.
    #[error(
        "a stream header at offset {offset}, where a command is due: the stream before has no END"
    )]
    HeaderWithoutEnd {
        /// Offset of the header.
        offset: u64,
    },
    /// The command follows an `END`; a stream header is due there. `btrfs receive` fails there.
    #[error("a command where a stream header is due, after END (at offset {offset})")]
    CommandAfterEnd {
        /// Offset of the command.
        offset: u64,
    },
    /// The stream's version does not have the command.
    #[error(
        "command {command} came with version {expected}, the stream is version {got} (at offset {offset})"
    )]
    CommandVersion {
        /// Offset of the command.
        offset: u64,
        /// The command.
        command: CommandKind,
        /// The stream's version.
        got: Version,
        /// The first version that has it.
        expected: Version,
    },
    /// The command cannot be read.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// The number is none of the 35. `btrfs receive` fails on it.
    #[error("no attribute has the number {got} (at offset {offset})")]
    UnknownAttribute {
        /// Offset of the attribute.
        offset: u64,
        /// The number.
        got: u16,
    },
    /// The attribute is there more than once; the last one counts.
    #[error("attribute {attribute} is there again; the last one counts (at offset {offset})")]
    DuplicateAttribute {
        /// Offset of the attribute.
        offset: u64,
        /// The attribute.
        attribute: Attribute,
    },
    /// The command does not use the attribute. Receivers ignore it.
    #[error("command {command} does not use attribute {attribute} (at offset {offset})")]
    UnusedAttribute {
        /// Offset of the attribute.
        offset: u64,
        /// The command.
        command: CommandKind,
        /// The attribute.
        attribute: Attribute,
    },
    /// The stream's version does not have the attribute. Receivers ignore it.
    #[error(
        "attribute {attribute} came with version {expected}, the stream is version {got} (at offset {offset})"
    )]
    AttributeVersion {
        /// Offset of the attribute.
        offset: u64,
        /// The attribute.
        attribute: Attribute,
        /// The stream's version.
        got: Version,
        /// The first version that has it.
        expected: Version,
    },
    /// A zero byte in a path or name: receivers end it there.
    #[error("attribute {attribute} holds a zero byte (at offset {offset})")]
    ZeroByte {
        /// Offset of the zero byte.
        offset: u64,
        /// The attribute.
        attribute: Attribute,
    },
    /// A path or name is longer than Linux allows.
    #[error("attribute {attribute} has {got} bytes, Linux allows {limit} (at offset {offset})")]
    TooLong {
        /// Offset of the value.
        offset: u64,
        /// The attribute.
        attribute: Attribute,
        /// Bytes there.
        got: usize,
        /// Bytes allowed.
        limit: usize,
    },
    /// A time has a second or more of nanoseconds: utimensat(2) refuses it.
    #[error("attribute {attribute} has {got} nanoseconds (at offset {offset})")]
    Nanoseconds {
        /// Offset of the value.
        offset: u64,
        /// The attribute.
        attribute: Attribute,
        /// The nanoseconds.
        got: u32,
    },
}
