//! The payloads of testdata/cases and testdata/valid, described in testdata/README.md.

#![allow(dead_code, unreachable_pub)] // each test uses a part of it
#![allow(clippy::unwrap_used, clippy::panic)] // helpers fail as tests do

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use btrfs_payload::rules::{Codec, ExtentFields, Target};
use btrfs_payload::validate::{Outcome, predict};
use btrfs_payload::{Errno, Kernel};
use serde::Deserialize;
use sha2::{Digest, Sha256};

/// A file of testdata/cases or testdata/valid.
#[derive(Deserialize)]
pub struct Case {
    #[serde(skip)]
    pub name: String,
    #[serde(flatten)]
    pub fields: ExtentFields,
    pub offset: u64,
    pub file_size: u64,
    pub sector_size: u32,
    pub nodatasum: bool,
    /// Digest of the `len` bytes that whoever made the payload meant the file to show.
    pub intended_sha256: String,
    pub findings: Vec<Expected>,
    /// What a program other than ours was seen to do with it.
    #[serde(default)]
    pub observed: BTreeMap<String, Observed>,
    #[serde(deserialize_with = "payload")]
    pub payload: Vec<u8>,
}

#[derive(Deserialize, Debug, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct Expected {
    pub code: String,
    pub severity: String,
    pub offset: Option<u64>,
}

#[derive(Deserialize, Debug, PartialEq, Eq)]
#[serde(tag = "outcome", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Observed {
    Refused { errno: String },
    NothingWritten,
    Data { sha256: String },
    ReadError { errno: String, good_bytes: usize },
    Failed,
}

/// Hexadecimal digits, or some that are repeated.
#[derive(Deserialize)]
#[serde(untagged)]
enum Piece {
    Once(String),
    Repeated { repeat: String, times: usize },
}

fn payload<'de, D: serde::Deserializer<'de>>(input: D) -> Result<Vec<u8>, D::Error> {
    let bytes = |hex: &str| -> Vec<u8> {
        let digits = hex.as_bytes().chunks(2);
        let byte = |pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
        digits.map(byte).collect()
    };
    let pieces: Vec<Piece> = Vec::deserialize(input)?;
    Ok(pieces
        .iter()
        .flat_map(|piece| match piece {
            Piece::Once(hex) => bytes(hex),
            Piece::Repeated { repeat, times } => bytes(repeat).repeat(*times),
        })
        .collect())
}

pub fn read(directory: &str) -> Vec<Case> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("testdata")
        .join(directory);
    let mut cases: Vec<Case> = fs::read_dir(&directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| {
            let text = fs::read_to_string(&path).unwrap();
            let mut case: Case = serde_json::from_str(&text)
                .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            case.name = path.file_stem().unwrap().to_string_lossy().into_owned();
            case
        })
        .collect();
    cases.sort_by(|a, b| a.name.cmp(&b.name));
    assert!(!cases.is_empty(), "no file in {}", directory.display());
    cases
}

pub fn digest(bytes: &[u8]) -> String {
    let hash = Sha256::digest(bytes);
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Case {
    pub fn target(&self) -> Target {
        Target::new(self.sector_size)
            .at(self.offset)
            .file_size(self.file_size)
            .nodatasum(self.nodatasum)
    }

    pub fn predict(&self, kernel: Kernel, page_size: u32) -> Outcome {
        let target = self.target().page_size(page_size);
        predict(&self.payload, &self.fields, &target, kernel)
    }

    /// The bytes of the slice as the fallback of `btrfs receive` gives them. It believes the
    /// claims, so it is asked only where they hold together.
    pub fn receive(&self) -> Result<Vec<u8>, Errno> {
        let len = usize::try_from(self.fields.unencoded_len).unwrap();
        let mut out = Vec::new();
        match self.fields.codec().unwrap() {
            Codec::Zlib => btrfs_payload_zlib::receive::fallback(&self.payload, len, &mut out)?,
            Codec::Zstd => btrfs_payload_zstd::receive::fallback(&self.payload, len, &mut out)?,
            Codec::Lzo => {
                let sector_size = self.fields.compression.lzo_sector_size().unwrap() as usize;
                btrfs_payload_lzo::receive::fallback(&self.payload, len, sector_size, &mut out)?;
            }
        }
        let start = usize::try_from(self.fields.unencoded_offset).unwrap();
        Ok(out[start..start + usize::try_from(self.fields.len).unwrap()].to_vec())
    }

    /// True where the ioctl takes the claims.
    pub fn claims_hold(&self) -> bool {
        self.fields.codec().is_some()
            && !matches!(
                self.predict(Kernel::V6_18, self.sector_size),
                Outcome::Refused(_) | Outcome::NothingWritten
            )
    }
}
