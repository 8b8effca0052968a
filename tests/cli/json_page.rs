//! docs/json.md has every kind and every field that is printed, with its type, and nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::material::{content, lines};
use crate::run;

/// The types of each field of each kind.
type Fields = BTreeMap<(String, String), BTreeSet<String>>;

/// The rows of the page: type words, and `optional` and `null` among them.
fn documented() -> Fields {
    let page = include_str!("../../docs/json.md");
    let mut fields = Fields::new();
    for row in page.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let name = |cell: &str| cell.trim_matches('`').to_owned();
        let words = cells[3].split([' ', ',']).map(str::to_owned);
        let new = fields.insert((name(cells[1]), name(cells[2])), words.collect());
        assert!(new.is_none(), "twice: {row}");
    }
    fields
}

/// Objects that are printed, by kind.
fn printed() -> Vec<Value> {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| fs::write(dir.path().join(name), bytes).unwrap();
    write("stream", &content("stream"));
    write("damaged", &content("stream-damaged-at 490"));
    write("data", &content("mixed"));
    write("odd", &content("case zstd-skippable-frame-first"));
    let number_of_no_command = [
        &b"btrfs-stream\0\x02\0\0\0"[..],
        &[0, 0, 0, 0, 99, 0],
        &[0; 4],
    ];
    write("unknown", &number_of_no_command.concat());
    let zlib = "odd --codec zstd --unencoded-len 8192";
    let commands = [
        "explain lzo-header-straddles".to_owned(),
        "prepare data --out extents".to_owned(),
        "check extents/manifest.jsonl missing".to_owned(),
        format!("check {zlib} --kernel all"),
        format!("dump {zlib}"),
        format!("decode {zlib}"),
        "stream check stream".to_owned(),
        "stream check damaged".to_owned(),
        "stream check unknown".to_owned(),
        "stream dump unknown".to_owned(),
        "stream dump stream".to_owned(),
        "stream stats stream --estimate zstd:3".to_owned(),
        "stream recompress stream -o out".to_owned(),
    ];
    let mut objects = Vec::new();
    let mut add = |text: &str| {
        for line in text.lines().filter(|line| line.starts_with('{')) {
            objects.push(serde_json::from_str(line).unwrap());
        }
    };
    for command in commands {
        let arguments = command.split(' ').chain(["--format", "json"]);
        let run = run(dir.path(), arguments);
        add(&run.stdout);
        add(&run.stderr);
    }
    // A manifest with a line that is none, and an extent that is not sound.
    let manifest = fs::read_to_string(dir.path().join("extents/manifest.jsonl")).unwrap();
    write(
        "extents/manifest.jsonl",
        manifest.replacen("131072", "131071", 3).as_bytes(),
    );
    let check = [
        "check",
        "extents/manifest.jsonl",
        "--format",
        "json",
        "--kernel",
        "6.18",
    ];
    add(&run(dir.path(), check).stdout);
    for entry in
        fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cli/golden")).unwrap()
    {
        add(&fs::read_to_string(entry.unwrap().path()).unwrap());
    }
    objects
}

fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// Complains of what is printed and not on the page; returns the fields that were seen.
fn compare(objects: &[Value], documented: &Fields) -> BTreeSet<(String, String)> {
    let mut seen = BTreeSet::new();
    for object in objects {
        let kind = object["kind"].as_str().unwrap().to_owned();
        let fields = object.as_object().unwrap();
        for (field, value) in fields.iter().filter(|(field, _)| *field != "kind") {
            let key = (kind.clone(), field.clone());
            let words = documented
                .get(&key)
                .unwrap_or_else(|| panic!("{key:?} is not in docs/json.md"));
            assert!(
                words.contains(type_of(value)),
                "{key:?}: {value}, and docs/json.md: {words:?}"
            );
            seen.insert(key);
        }
        // What is not optional is there.
        let of_kind = documented.iter().filter(|((of, _), _)| *of == kind);
        for ((_, field), words) in of_kind {
            assert!(
                words.contains("optional") || fields.contains_key(field),
                "no {field}: {object}"
            );
        }
    }
    seen
}

#[test]
fn every_object_is_as_the_page_says_and_the_page_has_no_other() {
    let documented = documented();
    let seen = compare(&printed(), &documented);
    let missing: Vec<_> = documented
        .keys()
        .filter(|key| key.0 != "written" && !seen.contains(*key))
        .collect();
    assert!(missing.is_empty(), "never printed: {missing:?}");
}

#[test]
fn what_write_prints_is_as_the_page_says() {
    let dir = tempfile::tempdir_in("/dev/shm")
        .or_else(|_| tempfile::tempdir())
        .unwrap();
    fs::write(dir.path().join("data"), lines(9000)).unwrap();
    // Not on btrfs: everything is plain, and that is said.
    let write = run(
        dir.path(),
        ["write", "--plain-ok", "data", "copy", "--format", "json"],
    );
    let object: Value = serde_json::from_str(&write.stdout).unwrap();
    let documented = documented();
    let seen = compare(&[object], &documented);
    let written = documented.keys().filter(|key| key.0 == "written");
    assert_eq!(written.count(), seen.len());
}
