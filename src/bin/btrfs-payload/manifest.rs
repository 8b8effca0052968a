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

/// The codec's name, `unknown` where the number has none.
pub(crate) fn codec_name(compression: EncodedIoId) -> &'static str {
    compression.codec().map_or("unknown", |codec| codec.name())
}
