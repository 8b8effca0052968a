//! The manifest: JSON lines that say what the payload files of a directory are.
//!
//! docs/manifest.md describes the lines for users. The first is the header (`file`), the last
//! the end (`end`); between them the extents come in the order of the file and cover it.
//! Offsets and lengths are bytes.
//!
//! | file | what it does |
//! | --- | --- |
//! | this one | the lines, and reading them |
//! | `writer` | writes them, counts, and makes the end line |
//! | `whole` | judges what no line shows alone: order, gaps, counts, the end |
//! | `directory` | the files beside a manifest: opens payloads, tells our directories from others |

mod directory;
mod whole;
mod writer;

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use btrfs_payload::rules::{EncodedIoId, ExtentFields, Target, limits};
use btrfs_payload::transform::Escaped;
use btrfs_payload::validate::{Finding, Severity};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

pub(crate) use directory::{Payload, data, extra_files, not_ours, payload};
pub(crate) use whole::Whole;
pub(crate) use writer::{Writer, header};

use crate::about::{About, about, bail_about};
use crate::args::open_file;
use crate::output::shown;

/// The name of the manifest in its directory.
pub(crate) const NAME: &str = "manifest.jsonl";

/// The version of the format that is written; others are not read.
pub(crate) const FORMAT: u64 = 1;

/// True for a directory with a manifest.
pub(crate) fn is_in(directory: &Path) -> bool {
    directory.is_dir() && directory.join(NAME).is_file()
}

/// One line.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub(crate) enum Line {
    /// The file that the extents are of; the first line.
    File(Header),
    /// An encoded extent, its payload in a file beside the manifest.
    Encoded(Encoded),
    /// Data that is not compressed.
    Plain {
        offset: u64,
        len: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        data_sha256: Option<String>,
        /// The name of a file beside the manifest that has the data.
        #[serde(skip_serializing_if = "Option::is_none")]
        data: Option<String>,
        #[serde(default)]
        reason: String,
    },
    /// Zeroes.
    Hole { offset: u64, len: u64 },
    /// The last line.
    End(End),
}

impl Line {
    /// Where the extent is in the file and how long; `None` for lines that are no extent.
    pub(crate) fn extent(&self) -> Option<(u64, u64)> {
        match self {
            Self::Encoded(encoded) => Some((encoded.offset, encoded.fields.len)),
            Self::Plain { offset, len, .. } | Self::Hole { offset, len } => Some((*offset, *len)),
            Self::File(_) | Self::End(_) => None,
        }
    }
}

/// The header.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Header {
    /// [`FORMAT`]; manifests without it also lack the end line and the digests.
    pub(crate) format: Option<u64>,
    /// Who made it.
    #[serde(default)]
    pub(crate) program: String,
    pub(crate) name: String,
    /// `None` where it was not known yet; the end line has it.
    pub(crate) size: Option<u64>,
    pub(crate) sector_size: u32,
}

/// An encoded extent.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Encoded {
    pub(crate) offset: u64,
    #[serde(flatten)]
    pub(crate) fields: ExtentFields,
    #[serde(default)]
    pub(crate) codec: String,
    pub(crate) payload: String,
    pub(crate) payload_len: u64,
    #[serde(flatten)]
    pub(crate) digests: Digests,
}

/// What finds another payload, and other data, than there was. SHA-256, because everybody has
/// `sha256sum` to compare with, without this program.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Digests {
    /// Of the payload's file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) payload_sha256: Option<String>,
    /// Of the `len` bytes that the file shows, as they were read from it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) data_sha256: Option<String>,
}

/// The end line.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct End {
    /// Bytes of the file.
    pub(crate) size: u64,
    #[serde(flatten)]
    pub(crate) counts: Counts,
    /// Of all lines before this one, with their line ends.
    pub(crate) lines_sha256: String,
}

/// The number of lines of each kind.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Counts {
    pub(crate) encoded: u64,
    pub(crate) plain: u64,
    pub(crate) holes: u64,
}

impl Counts {
    pub(crate) fn add(&mut self, line: &Line) {
        let count = match line {
            Line::Encoded(_) => &mut self.encoded,
            Line::Plain { .. } => &mut self.plain,
            Line::Hole { .. } => &mut self.holes,
            Line::File(_) | Line::End(_) => return,
        };
        *count = count.saturating_add(1);
    }
}

impl Encoded {
    /// The line for an extent at `offset`.
    pub(crate) fn new(
        offset: u64,
        fields: &ExtentFields,
        payload_len: usize,
        digests: Digests,
    ) -> Self {
        let codec = codec_name(fields.compression);
        Self {
            offset,
            fields: *fields,
            codec: codec.to_owned(),
            payload: format!("{offset:012}.{codec}"),
            payload_len: payload_len as u64,
            digests,
        }
    }
}

/// The name of the file with the data of a plain extent at `offset`.
pub(crate) fn plain_name(offset: u64) -> String {
    format!("{offset:012}.plain")
}

/// What is wrong with a payload that its line would tell: its length, or its digest.
pub(crate) fn other_payload(encoded: &Encoded, bytes: &[u8], len: u64) -> Option<Finding> {
    if len != encoded.payload_len {
        let claimed = encoded.payload_len;
        let message = format!("payload_len is {claimed}, the file has {len} bytes");
        return Some(fault("manifest-payload-len", message));
    }
    let message = other_digest(encoded.digests.payload_sha256.as_deref(), bytes)?;
    Some(fault("manifest-payload-digest", message))
}

/// What is said where bytes do not have the digest that is expected.
pub(crate) fn other_digest(expected: Option<&str>, bytes: &[u8]) -> Option<String> {
    let got = sha256(bytes);
    expected
        .filter(|expected| *expected != got)
        .map(|_| format!("the SHA-256 is {got}, not the one given here"))
}

/// The digest of some bytes, as the manifest has it.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    format!("{:x}", Sha256::digest(bytes))
}

/// Reads a manifest line by line.
pub(crate) struct Lines {
    path: PathBuf,
    input: BufReader<File>,
    number: u64,
    text: Vec<u8>,
    /// Of the lines before the present one.
    digest: Sha256,
}

/// The number of a line, from 1, and the line, or why it is none.
pub(crate) type Numbered = (u64, Result<Line, String>);

impl Lines {
    /// Far more than any line of ours has, bytes; a name can be of any length.
    const LONGEST: u64 = 1 << 20;
    /// Characters that are said of a line that is none.
    const QUOTED: usize = 200;

    pub(crate) fn new(path: &Path, file: File) -> Self {
        Self {
            path: path.to_owned(),
            input: BufReader::new(file),
            number: 0,
            text: Vec::new(),
            digest: Sha256::new(),
        }
    }

    /// The next line that is not empty. An error where the first is none of a manifest: then
    /// the file is something else.
    pub(crate) fn next(&mut self) -> Result<Option<Numbered>> {
        let first = self.number == 0;
        loop {
            self.digest.update(&self.text);
            self.number = self.number.saturating_add(1);
            self.text.clear();
            let read = self
                .input
                .by_ref()
                .take(Self::LONGEST)
                .read_until(b'\n', &mut self.text)
                .with_context(|| self.here())?;
            match read {
                0 if first => bail_about!(
                    &self.path,
                    "{} has no line of a manifest",
                    shown(&self.path)
                ),
                0 => return Ok(None),
                _ if read as u64 == Self::LONGEST => {
                    bail_about!(&self.path, "{}: too long for a manifest", self.place())
                }
                _ if self.text.trim_ascii().is_empty() => {}
                _ => break,
            }
        }
        let number = self.number;
        match serde_json::from_slice(self.text.trim_ascii_end()) {
            Ok(line) => Ok(Some((number, Ok(line)))),
            Err(error) => {
                // It counts the lines of this one line, and may quote what is in there.
                let text = error.to_string();
                let reason: String = text.chars().take(Self::QUOTED).collect();
                let reason = reason.split(" at line ").next().unwrap_or_default();
                let reason = format!("no line of a manifest: {}", Escaped(reason.as_bytes()));
                // It tells none of a value that is none of its field's.
                let column = Some(error.column()).filter(|&column| column > 0);
                let column = column.map_or_else(String::new, |column| format!("column {column}: "));
                if first {
                    bail_about!(&self.path, "{}: {column}{reason}", self.place());
                }
                Ok(Some((number, Err(format!("{column}{reason}")))))
            }
        }
    }

    /// The manifest and the line, for people.
    pub(crate) fn place(&self) -> String {
        format!("{}, line {}", shown(&self.path), self.number)
    }

    /// The same as a context.
    pub(crate) fn here(&self) -> About {
        about(&self.path, self.place())
    }

    /// The digest of all lines before the present one.
    pub(crate) fn digest(&self) -> String {
        format!("{:x}", self.digest.clone().finalize())
    }
}

/// True for a file with the name or the first line of a manifest.
pub(crate) fn is_one(path: &Path) -> bool {
    path.file_name() == Some(NAME.as_ref())
        || open_file(path).is_ok_and(|file| {
            matches!(
                Lines::new(path, file).next(),
                Ok(Some((_, Ok(Line::File(_)))))
            )
        })
}

/// What the header says of the filesystem and of the file.
pub(crate) fn target(header: &Header) -> Result<Target> {
    let &Header {
        size, sector_size, ..
    } = header;
    if let Some(format) = header.format.filter(|&format| format != FORMAT) {
        bail!("the manifest is of format {format}; this program knows {FORMAT}");
    }
    if !limits::is_sector_size(sector_size) {
        bail!("sector_size {sector_size}; a power of two from 4096 to 65536 is expected");
    }
    if let Some(size) = size.filter(|&size| size > limits::MAX_FILE_SIZE) {
        let most = limits::MAX_FILE_SIZE;
        bail!("the manifest is of a file of {size} bytes; {most} is the most");
    }
    Ok(Target::new(sector_size).file_size(size.unwrap_or(0)))
}

/// A finding that makes a manifest unsound.
pub(crate) fn fault(code: &'static str, message: String) -> Finding {
    Finding::new(code, Severity::Error, message)
}

/// The codec's name, `unknown` where the number has none.
pub(crate) fn codec_name(compression: EncodedIoId) -> &'static str {
    compression.codec().map_or("unknown", |codec| codec.name())
}
