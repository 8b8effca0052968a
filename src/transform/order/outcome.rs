//! The result of following a command.

use crate::validate::Severity::{self, Error};

/// What is wrong with a command: code, severity, sentence.
pub(in super::super) type Trouble = (&'static str, Severity, String);

/// What comes of a command; an error is one where the receiver stops, or does something else
/// than was meant.
pub(super) type Outcome<T = ()> = Result<T, Trouble>;

pub(super) fn trouble<T>(code: &'static str, message: impl Into<String>) -> Outcome<T> {
    Err((code, Error, message.into()))
}
