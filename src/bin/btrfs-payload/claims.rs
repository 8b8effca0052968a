//! What is claimed of a single payload: by options, and where one is not given, by the manifest
//! beside the payload, its name, or its first bytes.

use std::ffi::OsStr;
use std::fs::File;
use std::path::Path;

use anyhow::{Context, Result};
use btrfs_payload::rules::{Codec, EncodedIoId, ExtentFields, Target};
use btrfs_payload_zstd::layout::{self as zstd, FrameHeader};

use crate::about::bail_about;
use crate::args::{Filesystem, byte_count, open_input, payload_in};
use crate::beside::{Beside, Claim};
use crate::output::input_name;
use crate::words::{codecs, words};

/// What is claimed of a single payload, and where it is to land.
#[derive(Debug, clap::Args)]
pub(crate) struct Claims {
    /// Compression type of the payload: zlib, lzo or zstd [default: what its manifest, its name or
    /// its first bytes say]
    #[arg(short, long, value_name = "CODEC", value_parser = words(str::parse::<Codec>, codecs), hide_possible_values = true, help_heading = "Payload")]
    pub(crate) codec: Option<Codec>,

    /// Bytes it decodes to [default: what its manifest or the zstd frame says]
    #[arg(short, long, value_name = "BYTES", value_parser = byte_count, help_heading = "Payload")]
    pub(crate) unencoded_len: Option<u64>,

    /// Bytes of it that the file shows [default: from unencoded-offset to the end]
    #[arg(long, value_name = "BYTES", value_parser = byte_count, help_heading = "Payload")]
    pub(crate) len: Option<u64>,

    /// Where in the decoded bytes the file's slice begins
    #[arg(long, default_value = "0", value_name = "BYTES", value_parser = byte_count,
          help_heading = "Payload")]
    pub(crate) unencoded_offset: u64,

    /// Encryption type that is claimed
    #[arg(long, default_value_t = 0, value_name = "N", help_heading = "Payload")]
    pub(crate) encryption: u32,

    /// Offset in the file
    #[arg(long, default_value = "0", value_name = "BYTES", value_parser = byte_count,
          help_heading = "Place")]
    pub(crate) offset: u64,

    /// Size of the file before the write
    #[arg(long, default_value = "0", value_name = "BYTES", value_parser = byte_count,
          help_heading = "Place")]
    pub(crate) file_size: u64,

    #[command(flatten)]
    pub(crate) filesystem: Filesystem,
}

impl Claims {
    /// True when the flags describe a payload.
    pub(crate) fn are_given(&self) -> bool {
        self.codec.is_some() || self.unencoded_len.is_some()
    }

    /// The payload in a file, `-` for standard input, the open file, and what [`Self::of`] says.
    pub(crate) fn read(&self, path: &Path) -> Result<(File, Vec<u8>, ExtentFields, Target)> {
        let input = open_input(path)?;
        let payload = payload_in(&input, path)?;
        let (fields, target) = self.of(path, &payload)?;
        Ok((input, payload, fields, target))
    }

    /// What is claimed of the payload in a file, and where it is to land.
    pub(crate) fn of(&self, path: &Path, payload: &[u8]) -> Result<(ExtentFields, Target)> {
        if !self.are_given() {
            match Beside::default().find(path)? {
                Some(Claim::Payload(fields, target)) => return Ok((fields, target)),
                Some(Claim::Data(..)) => bail_about!(
                    path,
                    "{} is the data of a plain extent, and no payload",
                    input_name(path)
                ),
                None => {}
            }
        }
        let codec = self.codec.or_else(|| codec_of(path, payload));
        let len = self.unencoded_len.or_else(|| match codec {
            Some(Codec::Zstd) => content_size(payload),
            _ => None,
        });
        let (codec, unencoded_len) = match (codec, len) {
            (Some(codec), Some(len)) => (codec, len),
            (None, None) => bail_about!(
                path,
                "{}: a payload needs --codec and --unencoded-len",
                input_name(path)
            ),
            (None, _) => bail_about!(path, "{}: a payload needs --codec", input_name(path)),
            (Some(codec), None) => bail_about!(
                path,
                "{}: a {codec} payload does not tell what it decodes to; it needs --unencoded-len",
                input_name(path)
            ),
        };
        let compression = EncodedIoId::new(codec, self.filesystem.sector_size)
            .context("no compression type for this sector size")?;
        let fields = ExtentFields {
            len: self
                .len
                .unwrap_or(unencoded_len.saturating_sub(self.unencoded_offset)),
            unencoded_len,
            unencoded_offset: self.unencoded_offset,
            compression,
            encryption: self.encryption,
        };
        let target = self.filesystem.target();
        Ok((fields, target.at(self.offset).file_size(self.file_size)))
    }
}

/// The codec that a payload's name or its first bytes tell. LZO has nothing to know it by.
fn codec_of(path: &Path, payload: &[u8]) -> Option<Codec> {
    let extension = path.extension().and_then(OsStr::to_str);
    let named = extension.and_then(|extension| match extension {
        "zst" => Some(Codec::Zstd),
        extension => extension.parse().ok(),
    });
    named.or_else(|| match payload {
        [a, b, c, d, ..] if u32::from_le_bytes([*a, *b, *c, *d]) == zstd::MAGIC => {
            Some(Codec::Zstd)
        }
        // Deflate with a window of up to 32 KiB, and the check of the header (RFC 1950).
        [a, b, ..] if a & 0x8f == 0x08 && u16::from_be_bytes([*a, *b]).is_multiple_of(31) => {
            Some(Codec::Zlib)
        }
        _ => None,
    })
}

fn content_size(payload: &[u8]) -> Option<u64> {
    let frame = FrameHeader::parse(payload).ok()?;
    frame.known_size()
}
