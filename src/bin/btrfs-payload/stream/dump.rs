//! `stream dump`: every command as a line.

use std::fmt::Write;
use std::path::PathBuf;

use anyhow::{Context, Result};
use btrfs_payload::send_stream::{
    Attribute, AttributeValue, Command, RawAttribute, RawCommand, ReadError, Timespec,
};
use btrfs_payload::transform::{Escaped, EscapedWord};
use btrfs_payload::validate::Headline;
use serde::Serialize;
use serde_json::{Map, Value};

use super::faults::Faults;
use super::io::Input;
use crate::Verdict;
use crate::about::about;
use crate::args::{CommandSize, cannot_read};
use crate::output::Output;

#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    /// The stream, `-` for standard input
    #[arg(default_value = "-")]
    input: PathBuf,

    #[command(flatten)]
    command_size: CommandSize,
}

const AFTER_HELP: &str = "\
Example:
  btrfs-payload stream dump backup.stream --format json | jq 'select(.name == \"rename\")'

Paths and names are escaped: \\n, \\t, \\r, \\\\, and \\xNN for what is not printable UTF-8, for blanks
and for =, so that a line can be taken apart at its blanks (JSON leaves blanks and = as they are).
Modes are octal, device numbers hexadecimal, times seconds with nanoseconds. Data is shown by its
length, short values of extended attributes as text. What follows # or ! is a remark.

Lines of --format json:
  {\"kind\":\"command\"} offset (bytes), index, stream, version, name (or number), crc (true: right),
      attributes (an object: numbers; text; times as \"seconds.nanoseconds\"; data as its length),
      headline (a phrase, of encoded writes), issues (sentences, where there are any)

Exit status:
  0  the whole input was read
  1  the input is damaged, ends too early, or has a header without END before it or a command after
     END; after damage the list goes on at the next stream header
  2  wrong usage, or the input cannot be read";

/// A command as a JSON line.
#[derive(Serialize)]
struct Line {
    kind: &'static str,
    offset: u64,
    index: u64,
    stream: u64,
    version: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    number: Option<u16>,
    crc: bool,
    attributes: Map<String, Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    headline: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    issues: Vec<String>,
}

pub(crate) fn run(args: &Args, output: &mut Output) -> Result<Verdict> {
    let input = Input::open(&args.input)?;
    let (name, bar) = (input.name(), input.bar());
    let cannot_read = || cannot_read(&args.input);
    let mut verdict = Verdict::Sound;
    let mut faults = Faults::default();
    let mut reader = args.command_size.reader(input);
    loop {
        let goes_on = match reader.read_command() {
            Ok(Some(raw)) => {
                faults.look_at(&raw);
                command(&raw, output)?;
                raw.crc_ok() || !reader.resync_inside(&raw).with_context(cannot_read)?
            }
            Ok(None) => break,
            Err(error @ ReadError::Io { .. }) => return Err(error).with_context(cannot_read),
            Err(error) => {
                verdict = Verdict::NotSound;
                // What looks like a header in a compressed stream is none.
                let is_compressed = error.is_of_compressed_input();
                output.trouble(&anyhow::Error::new(error).context(about(&args.input, &name)));
                if is_compressed || reader.resync().with_context(cannot_read)?.is_none() {
                    break;
                }
                false
            }
        };
        if !goes_on {
            let offset = reader.offset();
            output.warn(format_args!(
                "{name}: a stream header at offset {offset}; from there on it is listed as a \
                 stream of its own"
            ));
        }
    }
    bar.finish_and_clear();
    Ok(verdict.max(faults.say(&args.input, output)))
}

fn command(raw: &RawCommand, output: &mut Output) -> Result<()> {
    let payload = match Command::parse(raw) {
        Ok(Command::EncodedWrite(write)) => {
            Some(Headline::of(&write.data, &write.fields()).to_string())
        }
        _ => None,
    };
    let name = raw.kind().map(|kind| kind.name());
    let number = raw.number();
    let issues: Vec<String> = raw.issues().map(|issue| issue.to_string()).collect();
    let mut text = String::new();
    let mut attributes = Map::new();
    for attribute in raw.attributes() {
        let Ok(attribute) = attribute else { break };
        let name = match attribute.attribute() {
            Some(known) => known.name().to_owned(),
            None => format!("attribute_{}", attribute.number),
        };
        write!(text, " {name}={}", word(&attribute))?;
        attributes.insert(name, json(&attribute));
    }
    let known = name.map_or_else(|| format!("command_{number}"), str::to_owned);
    let phrase = payload
        .as_ref()
        .map_or_else(String::new, |payload| format!("  # {payload}"));
    output.text(format_args!(
        "{:#010x} {known:<14}{text}{phrase}",
        raw.offset()
    ))?;
    for issue in &issues {
        output.text(format_args!("{:10} ! {issue}", ""))?;
    }
    output.json(&Line {
        kind: "command",
        offset: raw.offset(),
        index: raw.index(),
        stream: raw.stream(),
        version: raw.version().number(),
        number: name.is_none().then_some(number),
        name,
        crc: raw.crc_ok(),
        attributes,
        headline: payload,
        issues,
    })
}

/// The value of an attribute in JSON.
fn json(raw: &RawAttribute) -> Value {
    match raw.typed() {
        AttributeValue::Number(number) => number.into(),
        AttributeValue::Uuid(uuid) => uuid.to_string().into(),
        AttributeValue::Time(time) => seconds(&time).into(),
        AttributeValue::Text(text) => Escaped(&text).to_string().into(),
        AttributeValue::Data(data) if is_shown(raw) => Escaped(&data).to_string().into(),
        AttributeValue::Data(bytes) | AttributeValue::WrongSize(bytes) => bytes.len().into(),
        _ => Value::Null,
    }
}

/// The same as one word of a line; modes in octal, device numbers in hexadecimal.
fn word(raw: &RawAttribute) -> String {
    match (raw.typed(), raw.attribute()) {
        (AttributeValue::Number(mode), Some(Attribute::Mode)) => format!("0{mode:o}"),
        (AttributeValue::Number(device), Some(Attribute::Rdev)) => format!("{device:#x}"),
        (AttributeValue::Text(text), _) => EscapedWord(&text).to_string(),
        (AttributeValue::Data(data), _) if is_shown(raw) => EscapedWord(&data).to_string(),
        _ => match json(raw) {
            Value::String(text) => text,
            other => other.to_string(),
        },
    }
}

/// Values of extended attributes are often text; other data is not.
fn is_shown(raw: &RawAttribute) -> bool {
    raw.attribute() == Some(Attribute::XattrData) && raw.value.len() <= 64
}

/// Seconds since 1970 with nine digits of nanoseconds.
fn seconds(time: &Timespec) -> String {
    format!("{}.{:09}", time.seconds, time.nanoseconds)
}
