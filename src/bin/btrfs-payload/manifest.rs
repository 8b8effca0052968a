//! The manifest: JSON lines that say what the payload files of a directory are.
//!
//! | line | fields |
//! | --- | --- |
//! | first | `"kind":"file"`, `name`, `size` (bytes), `sector_size` (bytes) |
//! | encoded extent | `"kind":"encoded"`, `offset`, `len`, `unencoded_len`, `unencoded_offset`, `codec`, `compression` (the ioctl's number), `encryption`, `payload` (file name), `payload_len` |
//! | plain data | `"kind":"plain"`, `offset`, `len`, `reason` |
//! | hole | `"kind":"hole"`, `offset`, `len` |
//!
//! Offsets and lengths are bytes. The extents come in the order of the file and cover it.

use std::borrow::Cow;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use btrfs_payload::rules::{EncodedIoId, ExtentFields};
use serde::{Deserialize, Serialize};

/// The name of the manifest in its directory.
pub(crate) const NAME: &str = "manifest.jsonl";

/// One line.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub(crate) enum Line<'a> {
    /// The file that the extents are of; the first line.
    File {
        name: Cow<'a, str>,
        size: Option<u64>,
        sector_size: u32,
    },
    /// An encoded extent, its payload in a file beside the manifest.
    Encoded(Encoded<'a>),
    /// Data that is not compressed. Its bytes are not in the directory.
    Plain {
        offset: u64,
        len: u64,
        reason: Cow<'a, str>,
    },
    /// Zeroes.
    Hole { offset: u64, len: u64 },
}

/// An encoded extent.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Encoded<'a> {
    pub(crate) offset: u64,
    #[serde(flatten)]
    pub(crate) fields: ExtentFields,
    #[serde(default)]
    pub(crate) codec: Cow<'a, str>,
    pub(crate) payload: Cow<'a, str>,
    pub(crate) payload_len: u64,
}

impl<'a> Encoded<'a> {
    /// The line for an extent at `offset`.
    pub(crate) fn new(offset: u64, fields: &ExtentFields, payload_len: usize) -> Self {
        let codec = codec_name(fields.compression);
        Self {
            offset,
            fields: *fields,
            codec: Cow::Borrowed(codec),
            payload: Cow::Owned(format!("{offset:012}.{codec}")),
            payload_len: payload_len as u64,
        }
    }
}

/// Reads a manifest line by line.
pub(crate) struct Lines {
    path: PathBuf,
    input: BufReader<File>,
    number: u64,
    text: Vec<u8>,
}

impl Lines {
    /// Far more than any line of ours has, bytes; a name can be of any length.
    const LONGEST: u64 = 1 << 20;

    pub(crate) fn new(path: &Path, file: File) -> Self {
        Self {
            path: path.to_owned(),
            input: BufReader::new(file),
            number: 0,
            text: Vec::new(),
        }
    }

    /// The next line that is not empty, and where it is; an error for a manifest without any.
    pub(crate) fn next(&mut self) -> Result<Option<(String, Line<'_>)>> {
        let first = self.number == 0;
        loop {
            self.number += 1;
            self.text.clear();
            let place = || format!("{}, line {}", self.path.display(), self.number);
            let read = self
                .input
                .by_ref()
                .take(Self::LONGEST)
                .read_until(b'\n', &mut self.text)
                .with_context(place)?;
            match read {
                0 if first => bail!("{} has no line of a manifest", self.path.display()),
                0 => return Ok(None),
                _ if read as u64 == Self::LONGEST => bail!("{}: too long for a manifest", place()),
                _ if self.text.trim_ascii().is_empty() => continue,
                _ => break,
            }
        }
        let place = format!("{}, line {}", self.path.display(), self.number);
        match serde_json::from_slice(self.text.trim_ascii_end()) {
            Ok(line) => Ok(Some((place, line))),
            Err(error) => {
                // It counts the lines of this one line.
                let text = error.to_string();
                let reason = text.split(" at line ").next().unwrap_or_default();
                bail!(
                    "{place}, column {}: no line of a manifest: {reason}",
                    error.column()
                )
            }
        }
    }
}

/// The codec's name, `unknown` where the number has none.
pub(crate) fn codec_name(compression: EncodedIoId) -> &'static str {
    compression.codec().map_or("unknown", |codec| codec.name())
}
