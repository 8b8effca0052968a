//! A dump explains every bit of a payload, once and in order, whatever the payload.

use std::fs;

use serde_json::Value;

use crate::material::payloads;
use crate::run;

#[test]
fn pieces_follow_each_other_from_the_first_bit_to_the_last() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("payload");
    for directory in ["cases", "valid"] {
        for case in payloads(directory) {
            fs::write(&path, &case.payload).unwrap();
            let arguments = ["--format", "json", "dump", "payload"].map(str::to_owned);
            let run = run(dir.path(), arguments.into_iter().chain(case.flags));
            let mut next = 0;
            for line in run.stdout.lines() {
                let line: Value = serde_json::from_str(line).unwrap();
                if line["kind"] == "piece" {
                    let number = |field: &str| line[field].as_u64().unwrap();
                    assert!(number("bit") < 8 && number("bits") > 0, "{}", case.name);
                    let start = number("offset") * 8 + number("bit");
                    assert_eq!(start, next, "{}: {line}", case.name);
                    next = start + number("bits");
                }
            }
            assert_eq!(next, case.payload.len() as u64 * 8, "{}", case.name);
            // The findings of a dump are those of a check.
            let unsound = directory == "cases" && run.code == Some(1);
            assert!(unsound || run.code == Some(0), "{}: {run:?}", case.name);
        }
    }
}
