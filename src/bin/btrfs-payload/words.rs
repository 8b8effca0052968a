//! Words that an argument takes among other values: shells complete them.

use std::ffi::OsStr;

use btrfs_payload::rules::Codec;
use clap::builder::{PossibleValue, TypedValueParser};
use clap::{Arg, Command, Error};

/// A parser, and words that it is known to take.
#[derive(Clone)]
pub(crate) struct Words<P> {
    parser: P,
    words: fn() -> Vec<String>,
}

/// `parser`, with words for shells to complete. It may take other values as well.
pub(crate) fn words<P>(parser: P, words: fn() -> Vec<String>) -> Words<P> {
    Words { parser, words }
}

impl<P: TypedValueParser> TypedValueParser for Words<P> {
    type Value = P::Value;

    fn parse_ref(
        &self,
        command: &Command,
        arg: Option<&Arg>,
        value: &OsStr,
    ) -> Result<P::Value, Error> {
        self.parser.parse_ref(command, arg, value)
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        Some(Box::new((self.words)().into_iter().map(PossibleValue::new)))
    }
}

/// The codecs.
pub(crate) fn codecs() -> Vec<String> {
    Codec::ALL.iter().map(ToString::to_string).collect()
}

/// What a level can be besides a number.
pub(crate) fn levels() -> Vec<String> {
    ["default", "auto", "smallest", "max"]
        .map(str::to_owned)
        .into()
}
