//! The payloads of testdata/cases and testdata/valid: each is judged as its file says, every
//! code of a finding has a payload that shows it, and somebody really breaks on every error.
//!
//! The files are described in testdata/README.md.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "support/cases.rs"]
mod cases;

use std::collections::BTreeSet;

use btrfs_payload::Kernel;
use btrfs_payload::rules::{EncodedIoId, ExtentFields, Target};
use btrfs_payload::validate::{
    Outcome, Report, Severity, decode, explanations, validate, validate_by_walking,
};
use cases::{Case, Expected, Observed, digest, read};

/// A reader that is no kernel.
const RECEIVE: &str = "btrfs receive";

fn cases() -> Vec<Case> {
    read("cases")
}

fn valid() -> Vec<Case> {
    read("valid")
}

/// What is said of a case.
impl Case {
    /// Every reader, and in words what it makes of the payload where that is not what was
    /// intended.
    fn readers(&self) -> Vec<(String, Option<String>)> {
        let mut readers = Vec::new();
        for page_size in [4096, 65536].into_iter().filter(|&p| p >= self.sector_size) {
            for kernel in Kernel::ALL {
                let otherwise = self.otherwise(&self.predict(kernel, page_size));
                let name = format!("Linux {kernel}, {} KiB pages", page_size / 1024);
                readers.push((name, otherwise));
            }
        }
        if self.claims_hold() {
            let otherwise = match self.receive() {
                Ok(bytes) if digest(&bytes) == self.intended_sha256 => None,
                Ok(_) => Some("other bytes".to_owned()),
                Err(errno) => Some(errno.to_string()),
            };
            readers.push((RECEIVE.to_owned(), otherwise));
        }
        readers
    }

    fn otherwise(&self, outcome: &Outcome) -> Option<String> {
        match outcome {
            Outcome::Data { bytes, .. } if digest(bytes) == self.intended_sha256 => None,
            Outcome::Data { .. } => Some("other bytes".to_owned()),
            Outcome::Refused(errno) => Some(format!("refused, {errno}")),
            Outcome::NothingWritten => Some("nothing written".to_owned()),
            Outcome::ReadError { errno, good, .. } => {
                Some(format!("{errno} after {} bytes", good.len()))
            }
            Outcome::Uninitialised { .. } => Some("undefined-read".to_owned()),
            Outcome::DependsOnMemory { .. } => Some("depends on memory".to_owned()),
            Outcome::Unsafe => Some("unsafe-payload".to_owned()),
            other => panic!("no words for {other:?}"),
        }
    }

    /// True for an inline extent as Linux 7 makes them, which kernels read; that the fallback of
    /// `btrfs receive` fails with some is only a warning.
    fn is_whole_sector(&self) -> bool {
        let code = |finding: &Expected| finding.code == "decodes-too-long";
        self.findings.iter().any(code) && !self.has(Severity::Error)
    }

    fn has(&self, severity: Severity) -> bool {
        let severity = severity.to_string();
        self.findings
            .iter()
            .any(|finding| finding.severity == severity)
    }

    fn judged(&self) -> Vec<Expected> {
        validate(&self.payload, &self.fields, &self.target())
            .findings()
            .iter()
            .map(|finding| Expected {
                code: finding.code.to_owned(),
                severity: finding.severity.to_string(),
                offset: finding.offset,
            })
            .collect()
    }
}

/// Panics with all complaints, or with none does nothing.
fn none(complaints: Vec<String>) {
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}

/// A payload can break a rule at every seventh byte; the report is bounded and counts all.
#[test]
fn a_report_is_bounded() {
    // LZO segments of an end marker and nothing else: 126 KiB of them.
    let mut payload = vec![0; 4];
    while payload.len() < 126 * 1024 {
        let left = 4096 - payload.len() % 4096;
        payload.resize(payload.len() + if left < 4 { left } else { 0 }, 0);
        payload.extend([3, 0, 0, 0, 17, 0, 0]);
    }
    let total = u32::try_from(payload.len()).unwrap();
    payload[..4].copy_from_slice(&total.to_le_bytes());
    let fields = ExtentFields::whole(131_072, EncodedIoId::LZO_4K);
    let report = validate(&payload, &fields, &Target::default().at(4096));
    let kept = report.findings().len();
    assert_eq!(kept, Report::MAX_FINDINGS);
    let all = [Severity::Note, Severity::Warning, Severity::Error].map(|s| report.count(s));
    assert_eq!(all.iter().sum::<u64>(), report.left_out() + kept as u64);
    assert!(report.left_out() > 10_000, "{}", report.left_out());
}

#[test]
fn every_case_is_judged_as_its_file_says() {
    let mut complaints = Vec::new();
    for case in cases() {
        assert!(!case.findings.is_empty(), "{} expects nothing", case.name);
        let got = case.judged();
        let (fields, target) = (&case.fields, &case.target());
        assert_eq!(
            validate_by_walking(&case.payload, fields, target),
            validate(&case.payload, fields, target),
            "{}",
            case.name
        );
        if got != case.findings {
            let (name, expected) = (&case.name, &case.findings);
            complaints.push(format!(
                "{name}:\n  expected {expected:?}\n  got      {got:?}"
            ));
        }
    }
    none(complaints);
}

#[test]
fn what_others_make_is_judged_clean_and_decodes_to_their_data() {
    for case in valid() {
        assert_eq!(case.judged(), [], "{}", case.name);
        let bytes = decode(&case.payload, &case.fields, &case.target()).unwrap();
        assert_eq!(digest(&bytes), case.intended_sha256, "{}", case.name);
        for (reader, otherwise) in case.readers() {
            assert_eq!(otherwise, None, "{}: {reader}", case.name);
        }
    }
}

#[test]
fn codes_of_cases_and_explained_codes_are_the_same() {
    let cases = cases();
    let shown: BTreeSet<&str> = cases
        .iter()
        .flat_map(|case| &case.findings)
        .map(|finding| finding.code.as_str())
        .collect();
    let explained: BTreeSet<&str> = explanations().iter().map(|entry| entry.code).collect();
    assert_eq!(
        explained.len(),
        explanations().len(),
        "a code is explained twice"
    );
    assert_eq!(shown, explained);
}

#[test]
fn somebody_breaks_on_every_error_and_nobody_on_less() {
    let mut complaints = Vec::new();
    for case in cases() {
        let readers = case.readers();
        let broken: Vec<_> = readers
            .iter()
            .filter(|(who, how)| how.is_some() && !(who == RECEIVE && case.is_whole_sector()))
            .collect();
        if case.has(Severity::Error) && broken.is_empty() {
            complaints.push(format!("{}: an error, and all is well", case.name));
        }
        if !case.has(Severity::Error) && !broken.is_empty() {
            complaints.push(format!("{}: no error, but {broken:?}", case.name));
        }
    }
    none(complaints);
}

#[test]
fn every_error_code_is_alone_in_a_case() {
    // So that it is this fault that somebody breaks on. Three never come alone: no payload is no
    // stream either, a payload longer than an extent is longer than any data, and a block
    // without an end cannot be followed by the end of the stream.
    let never = ["empty-payload", "payload-too-long", "zlib-no-end-of-block"];
    let mut errors = BTreeSet::new();
    let mut alone = BTreeSet::from(never.map(str::to_owned));
    for case in cases() {
        let codes: BTreeSet<String> = case
            .findings
            .into_iter()
            .filter(|finding| finding.severity == "error")
            .map(|finding| finding.code)
            .collect();
        if codes.len() == 1 {
            alone.extend(codes.clone());
        }
        errors.extend(codes);
    }
    assert_eq!(alone, errors);
}

#[test]
fn the_models_say_what_was_observed() {
    let mut complaints = Vec::new();
    let mut compared = 0;
    for case in cases().into_iter().chain(valid()) {
        for (who, observed) in &case.observed {
            let fits = match who.strip_prefix("Linux ") {
                Some(release) => {
                    let kernel = release.parse().unwrap();
                    was_predicted(&case.predict(kernel, 4096), observed)
                }
                None => {
                    assert!(who.starts_with("btrfs receive "), "{who}");
                    match (case.receive(), observed) {
                        (Ok(bytes), Observed::Data { sha256 }) => digest(&bytes) == *sha256,
                        (Err(_), Observed::Failed) => true,
                        _ => false,
                    }
                }
            };
            compared += 1;
            if !fits {
                complaints.push(format!("{}: {who} gave {observed:?}", case.name));
            }
        }
    }
    none(complaints);
    assert!(compared > 200, "{compared} observations");
}

fn was_predicted(outcome: &Outcome, observed: &Observed) -> bool {
    match (outcome, observed) {
        (Outcome::Refused(expected), Observed::Refused { errno }) => expected.name() == errno,
        (Outcome::NothingWritten, Observed::NothingWritten) => true,
        (Outcome::Data { bytes, .. }, Observed::Data { sha256 }) => digest(bytes) == *sha256,
        (
            Outcome::ReadError {
                errno: expected,
                good,
                ..
            },
            Observed::ReadError { errno, good_bytes },
        ) => expected.name() == errno && good.len() == *good_bytes,
        (Outcome::DependsOnMemory { roomy, tight }, _) => {
            was_predicted(roomy, observed) || was_predicted(tight, observed)
        }
        _ => false,
    }
}

/// What some kernel may come to harm on has never been given to one.
#[test]
fn no_unsafe_payload_was_given_to_a_kernel() {
    for case in cases() {
        let is_unsafe = case
            .readers()
            .iter()
            .any(|(_, how)| how.as_deref() == Some("unsafe-payload"));
        let named = case
            .findings
            .iter()
            .any(|finding| finding.code == "unsafe-payload");
        assert_eq!(named, is_unsafe, "{}", case.name);
        assert!(!is_unsafe || case.observed.is_empty(), "{}", case.name);
    }
}
