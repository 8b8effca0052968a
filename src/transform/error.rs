//! Why a stream cannot be read or rewritten.

use std::io;

use thiserror::Error;

use crate::prepare::PrepareError;
use crate::send_stream::{CommandError, EncodeError, ReadError};
use crate::validate::Report;

/// Why a stream cannot be worked on to its end. Offsets are bytes from the start of the input.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TransformError {
    /// The input cannot be read, or is no whole send stream.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A command's checksum is wrong: rewriting it would hide the damage.
    #[error("the checksum of the command at offset {offset} is wrong; `stream check` tells more")]
    Damaged {
        /// Offset of the command.
        offset: u64,
    },
    /// A command that has to be understood cannot be read.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// A command cannot be written in the version asked for.
    #[error("the command at offset {offset} cannot be rewritten")]
    Encode {
        /// Offset of the command.
        offset: u64,
        /// The cause.
        #[source]
        source: EncodeError,
    },
    /// The data of an encoded write cannot be had.
    #[error(
        "the payload of the command at offset {offset} cannot be decoded: {}",
        .report.errors().next().map_or_else(String::new, ToString::to_string)
    )]
    Undecodable {
        /// Offset of the command.
        offset: u64,
        /// Everything that is wrong with it.
        report: Report,
    },
    /// The version asked for has nothing like the command.
    #[error("the command at offset {offset} has no counterpart in version {version}: {reason}")]
    NoCounterpart {
        /// Offset of the command.
        offset: u64,
        /// The version asked for.
        version: u32,
        /// What stands in the way.
        reason: &'static str,
    },
    /// The options cannot be met.
    #[error(transparent)]
    Options(#[from] PrepareError),
    /// The output cannot be written.
    #[error("cannot write the output")]
    Output(#[source] io::Error),
}

impl TransformError {
    /// True when the stream is at fault, and not the input or output device or the caller.
    #[must_use]
    pub fn is_of_stream(&self) -> bool {
        !matches!(
            self,
            Self::Read(ReadError::Io { .. }) | Self::Options(_) | Self::Output(_)
        )
    }
}
