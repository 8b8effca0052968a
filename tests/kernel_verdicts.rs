//! Replays what real kernels did and compares it with what we predict.
//!
//! The verdict files are described in testdata/README.md. Another directory of them is named by
//! the environment variable `BTRFS_PAYLOAD_VERDICTS`; files end in `.jsonl` or `.jsonl.zst`.
//! Rows without a payload are what more kernels did with the row of the same name, there or in
//! testdata.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout
)]

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use btrfs_payload::Kernel;
use btrfs_payload::rules::{
    EncodedIoId, ExtentFields, Placement, Target, WriteAnswer, WriteCall, placement,
};
use btrfs_payload::validate::{Outcome, predict, validate};
use serde::Deserialize;
use sha2::{Digest, Sha256};

/// One encoded write and what kernels did with it.
#[derive(Deserialize, Clone)]
struct Case {
    name: String,
    sector_size: u32,
    compression: u32,
    encryption: u32,
    flags: u64,
    len: u64,
    unencoded_len: u64,
    unencoded_offset: u64,
    offset: i64,
    initial_size: u64,
    options: Vec<CaseOption>,
    payload: String,
    kernels: BTreeMap<String, Observed>,
    #[serde(default, rename = "unsafe")]
    is_unsafe: bool,
    #[serde(default)]
    depends_on_memory_state: bool,
}

#[derive(Deserialize, PartialEq, Eq, Clone, Copy)]
#[serde(rename_all = "kebab-case")]
enum CaseOption {
    NodatacowFile,
    ReservedNonzero,
    #[serde(rename = "old-data-0xaa")]
    OldData,
    ThreeIovecs,
    ReadPageByPage,
    ReadOnlyDescriptor,
}

/// What more kernels did with a case.
#[derive(Deserialize)]
struct More {
    name: String,
    kernels: BTreeMap<String, Observed>,
    #[serde(default)]
    depends_on_memory_state: bool,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Row {
    Case(Box<Case>),
    More(More),
}

#[derive(Deserialize, Debug, Clone)]
#[serde(tag = "outcome", rename_all = "kebab-case")]
enum Observed {
    Refused {
        errno: String,
    },
    NothingWritten,
    Data {
        len: usize,
        sha256: String,
        extent: Option<String>,
    },
    ReadError {
        errno: String,
        good_bytes: usize,
        extent: Option<String>,
    },
    UninitialisedMemory,
    NotRun,
}

/// The kernels of the verdict files: a release, then the size of pages where it is not 4 KiB.
fn kernel_named(name: &str) -> (Kernel, u32) {
    let kernel = name.parse().unwrap_or_else(|error| panic!("{error}"));
    let sizes = [("16k", 16384), ("64k", 65536)];
    let page_size = sizes
        .into_iter()
        .find(|(size, _)| name.split('-').any(|part| part == *size))
        .map_or(4096, |(_, bytes)| bytes);
    (kernel, page_size)
}

fn testdata() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/kernel-verdicts")
}

fn directory() -> PathBuf {
    std::env::var_os("BTRFS_PAYLOAD_VERDICTS").map_or_else(testdata, PathBuf::from)
}

fn cases() -> Vec<Case> {
    let (mut cases, more) = rows(&directory());
    let mut by_name: BTreeMap<String, Case> = BTreeMap::new();
    if !more.is_empty() {
        by_name.extend(rows(&testdata()).0.into_iter().map(|c| (c.name.clone(), c)));
        by_name.extend(cases.iter().map(|c| (c.name.clone(), c.clone())));
    }
    for more in more {
        let case = by_name.get(&more.name);
        let case = case.unwrap_or_else(|| panic!("no case is called {}", more.name));
        cases.push(Case {
            kernels: more.kernels,
            depends_on_memory_state: more.depends_on_memory_state,
            ..case.clone()
        });
    }
    cases
}

fn rows(directory: &Path) -> (Vec<Case>, Vec<More>) {
    let mut files: Vec<PathBuf> = fs::read_dir(directory)
        .expect("the directory of verdict files")
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            let name = path.to_string_lossy();
            name.ends_with(".jsonl") || name.ends_with(".jsonl.zst")
        })
        .collect();
    files.sort();
    let (mut cases, mut more) = (Vec::new(), Vec::new());
    for path in files {
        let file = fs::File::open(&path).unwrap();
        let lines: Box<dyn Read> = if path.extension().is_some_and(|e| e == "zst") {
            let mut decoder = zstd::Decoder::new(file).unwrap();
            decoder.window_log_max(27).unwrap();
            Box::new(decoder)
        } else {
            Box::new(file)
        };
        for (number, line) in BufReader::new(lines).lines().enumerate() {
            let line = line.unwrap();
            let row = serde_json::from_str(&line)
                .unwrap_or_else(|e| panic!("{}:{}: {e}", path.display(), number + 1));
            match row {
                Row::Case(case) => cases.push(*case),
                Row::More(row) => more.push(row),
            }
        }
    }
    (cases, more)
}

impl Case {
    fn has(&self, option: CaseOption) -> bool {
        self.options.contains(&option)
    }

    fn fields(&self) -> ExtentFields {
        ExtentFields {
            len: self.len,
            unencoded_len: self.unencoded_len,
            unencoded_offset: self.unencoded_offset,
            compression: EncodedIoId(self.compression),
            encryption: self.encryption,
        }
    }

    fn target(&self, page_size: u32) -> Target {
        Target::new(self.sector_size)
            .page_size(page_size)
            .at(self.offset.cast_unsigned())
            .file_size(self.initial_size)
            .nodatasum(self.has(CaseOption::NodatacowFile))
    }

    fn answer(
        &self,
        payload: &[u8],
        fields: &ExtentFields,
        target: &Target,
        kernel: Kernel,
    ) -> WriteAnswer {
        let mut call = WriteCall::new(payload.len() as u64, fields, target);
        call.flags = self.flags;
        call.reserved_is_zero = !self.has(CaseOption::ReservedNonzero);
        call.writable = !self.has(CaseOption::ReadOnlyDescriptor);
        call.answer(kernel)
    }

    /// What we say of the case, with the rules of the call itself applied.
    fn predicted(&self, payload: &[u8], kernel: Kernel, page_size: u32) -> Outcome {
        let (fields, target) = (self.fields(), self.target(page_size));
        match self.answer(payload, &fields, &target, kernel) {
            WriteAnswer::Refused(errno) => Outcome::Refused(errno),
            WriteAnswer::NothingWritten => Outcome::NothingWritten,
            WriteAnswer::Taken => predict(payload, &fields, &target, kernel),
            other => panic!("an answer without a prediction: {other:?}"),
        }
    }

    /// The file from `offset` to its end after the write: the slice, then what was there.
    fn file_from_offset(&self, mut slice: Vec<u8>) -> Vec<u8> {
        let old = if self.has(CaseOption::OldData) {
            0xaa
        } else {
            0
        };
        let end = usize::try_from(
            self.initial_size
                .saturating_sub(self.offset.cast_unsigned()),
        );
        let end = end.unwrap().max(slice.len());
        slice.resize(end, old);
        slice
    }

    fn agrees(&self, predicted: &Outcome, observed: &Observed) -> bool {
        let name = |placement: &Placement| match placement {
            Placement::Inline => "inline",
            Placement::Regular => "regular",
        };
        let lands = |extent: &Option<String>, placement: &Placement| {
            extent
                .as_deref()
                .is_none_or(|extent| extent == name(placement))
        };
        match (predicted, observed) {
            (Outcome::DependsOnMemory { roomy, tight }, observed) => {
                self.agrees(roomy, observed) || self.agrees(tight, observed)
            }
            (Outcome::Refused(errno), Observed::Refused { errno: seen }) => errno.name() == seen,
            (Outcome::NothingWritten, Observed::NothingWritten)
            | (Outcome::Uninitialised { .. }, Observed::UninitialisedMemory)
            | (Outcome::Unsafe, Observed::NotRun) => true,
            (
                Outcome::Data {
                    bytes, placement, ..
                },
                Observed::Data {
                    len,
                    sha256,
                    extent,
                },
            ) => {
                let file = self.file_from_offset(bytes.clone());
                lands(extent, placement)
                    && file.len() == *len
                    && hex(&Sha256::digest(&file)) == *sha256
            }
            (
                Outcome::ReadError {
                    errno,
                    good,
                    placement,
                    ..
                },
                Observed::ReadError {
                    errno: seen,
                    good_bytes,
                    extent,
                },
            ) => lands(extent, placement) && errno.name() == seen && good.len() == *good_bytes,
            // What the memory held when a kernel was asked cannot be foretold, only that the
            // read gives as many bytes as the file has.
            (Outcome::Uninitialised { placement, .. }, Observed::Data { len, extent, .. }) => {
                lands(extent, placement) && *len as u64 == self.len.max(self.initial_size)
            }
            _ => false,
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// An outcome in one line, with a digest of what is read.
fn brief(outcome: &Outcome) -> String {
    let digest = outcome.read().map_or_else(String::new, |(bytes, _)| {
        format!(", {}", &hex(&Sha256::digest(bytes))[..8])
    });
    format!("{outcome}{digest}, {:?}", outcome.placement())
}

#[derive(Default)]
struct Tally {
    cases: usize,
    agree: usize,
    /// Agreements on uninitialised memory, where only the length can be compared.
    unknowable: usize,
    disagreements: Vec<String>,
}

#[test]
fn predict_agrees_with_every_recorded_verdict() {
    let mut tallies: BTreeMap<String, Tally> = BTreeMap::new();
    for case in cases() {
        let payload = BASE64.decode(&case.payload).unwrap();
        let recorded: Vec<(&str, &Observed)> = if case.is_unsafe {
            vec![("unsafe", &Observed::NotRun)]
        } else {
            case.kernels.iter().map(|(k, o)| (k.as_str(), o)).collect()
        };
        for (name, observed) in recorded {
            // A case that may not run at all must be called unsafe on every kernel.
            let kernels: Vec<_> = if case.is_unsafe {
                Kernel::ALL.into_iter().map(|k| (k, 4096)).collect()
            } else {
                vec![kernel_named(name)]
            };
            let tally = tallies.entry(name.to_owned()).or_default();
            for (kernel, page_size) in kernels {
                let predicted = case.predicted(&payload, kernel, page_size);
                let dependent = matches!(predicted, Outcome::DependsOnMemory { .. });
                tally.cases += 1;
                if case.agrees(&predicted, observed) && dependent == case.depends_on_memory_state {
                    tally.agree += 1;
                    let unknowable = matches!(predicted, Outcome::Uninitialised { .. })
                        && matches!(observed, Observed::Data { .. });
                    tally.unknowable += usize::from(unknowable);
                } else {
                    tally.disagreements.push(format!(
                        "{} ({} bytes): predicted {}, observed {observed:?}",
                        case.name,
                        payload.len(),
                        brief(&predicted),
                    ));
                }
            }
        }
    }

    println!(
        "{:<16}{:>8}{:>8}{:>14}{:>11}",
        "kernel", "cases", "agree", "disagreements", "unknowable"
    );
    for (name, tally) in &tallies {
        println!(
            "{name:<16}{:>8}{:>8}{:>14}{:>11}",
            tally.cases,
            tally.agree,
            tally.disagreements.len(),
            tally.unknowable
        );
    }
    for (name, tally) in &tallies {
        for disagreement in &tally.disagreements {
            println!("{name}: {disagreement}");
        }
    }
    let ran: usize = tallies.values().map(|tally| tally.cases).sum();
    let disagreements: usize = tallies.values().map(|t| t.disagreements.len()).sum();
    assert_ne!(ran, 0, "no case was run");
    assert_eq!(disagreements, 0, "of {ran} verdicts, see above");
}

#[test]
fn what_was_refused_or_not_written_follows_from_the_rules_alone() {
    let mut ran = 0;
    for case in cases() {
        let payload = BASE64.decode(&case.payload).unwrap();
        for (name, observed) in &case.kernels {
            let (kernel, page_size) = kernel_named(name);
            let (fields, target) = (case.fields(), case.target(page_size));
            let answer = case.answer(&payload, &fields, &target, kernel);
            match observed {
                Observed::Refused { errno } => {
                    let WriteAnswer::Refused(predicted) = answer else {
                        panic!("{}: {name} refused it, the rules do not", case.name);
                    };
                    assert_eq!(predicted.name(), errno, "{}: {name}", case.name);
                }
                Observed::NothingWritten => {
                    assert_eq!(answer, WriteAnswer::NothingWritten, "{}: {name}", case.name);
                }
                _ => assert_eq!(answer, WriteAnswer::Taken, "{}: {name}", case.name),
            }
            ran += 1;
        }
    }
    assert_ne!(ran, 0, "no case was run");
}

#[test]
fn what_landed_inline_follows_from_the_rules_alone() {
    let mut ran = 0;
    for case in cases() {
        let payload = BASE64.decode(&case.payload).unwrap();
        for (name, observed) in &case.kernels {
            let (kernel, page_size) = kernel_named(name);
            let (Observed::Data { extent, .. } | Observed::ReadError { extent, .. }) = observed
            else {
                continue;
            };
            let Some(extent) = extent else { continue };
            let (fields, target) = (case.fields(), case.target(page_size));
            let predicted = match placement(payload.len() as u64, &fields, &target, kernel) {
                Placement::Inline => "inline",
                Placement::Regular => "regular",
            };
            assert_eq!(predicted, extent, "{}: {name}", case.name);
            ran += 1;
        }
    }
    assert_ne!(ran, 0, "no case was run");
}

#[test]
fn sound_payloads_read_back_and_unsound_ones_are_explained() {
    let mut ran = 0;
    for case in cases() {
        let payload = BASE64.decode(&case.payload).unwrap();
        if case.flags != 0
            || case.has(CaseOption::ReservedNonzero)
            || case.has(CaseOption::ReadOnlyDescriptor)
        {
            continue; // about the call, not about the payload
        }
        let report = validate(&payload, &case.fields(), &case.target(case.sector_size));
        for (name, observed) in &case.kernels {
            let good = matches!(observed, Observed::Data { .. });
            assert!(
                good || !report.is_sound(),
                "{}: {name} did {observed:?}, the judge says sound",
                case.name
            );
            ran += 1;
        }
        if case.is_unsafe {
            assert!(
                !report.is_sound(),
                "{}: unsafe, yet called sound",
                case.name
            );
        }
    }
    assert_ne!(ran, 0, "no case was run");
}
