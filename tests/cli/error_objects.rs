//! Errors in JSON: each names the file that it is about.

use std::fs;

use serde_json::Value;

use crate::material::{content, stream};
use crate::run;

/// What is typed, and the path that the error is about: `None` where it is about no file.
const ERRORS: [(&str, Option<&str>); 22] = [
    ("prepare missing", Some("missing")),
    ("prepare dir", Some("dir")),
    ("prepare data --out no/dir", Some("no/dir")),
    ("prepare data --out data", Some("data")),
    ("check missing", Some("missing")),
    ("check dir", Some("dir")),
    ("check data", Some("data")),
    ("check empty.jsonl", Some("empty.jsonl")),
    ("dump -", None),
    ("decode missing", Some("missing")),
    ("dump data", Some("data")),
    ("decode made/000000000000.zstd -o dir", Some("dir")),
    ("read data --out new", Some("data")),
    ("write missing new", Some("missing")),
    ("write data data", Some("data")),
    ("write data link", Some("link")),
    ("write data new", Some("new")),
    ("assemble dir new", Some("dir")),
    ("assemble empty.jsonl new", Some("empty.jsonl")),
    ("stream check dir", Some("dir")),
    ("stream dump cut", Some("cut")),
    ("stream recompress cut -o new", Some("cut")),
];

#[test]
fn an_error_names_the_file_it_is_about() {
    let dir = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir());
    let dir = dir.unwrap();
    let path = |name: &str| dir.path().join(name);
    fs::write(path("data"), content("mixed")).unwrap();
    fs::write(path("cut"), &stream()[..5000]).unwrap();
    fs::write(path("empty.jsonl"), "").unwrap();
    fs::create_dir(path("dir")).unwrap();
    std::os::unix::fs::symlink("nowhere", path("link")).unwrap();
    let prepare = run(dir.path(), ["prepare", "data", "--out", "made"]);
    assert_eq!(prepare.code, Some(0));
    for (typed, expected) in ERRORS {
        let run = run(dir.path(), typed.split(' ').chain(["--format", "json"]));
        let lines = run.stdout.lines().chain(run.stderr.lines());
        let objects = lines.filter(|line| line.starts_with('{'));
        let mut errors = objects
            .map(|line| serde_json::from_str::<Value>(line).unwrap())
            .filter(|object| object["kind"] == "error");
        let error = errors.next().unwrap_or_else(|| panic!("{typed}: {run:?}"));
        assert_eq!(errors.next(), None, "{typed}");
        let named = error.get("path").map(|path| path.as_str().unwrap());
        assert_eq!(named, expected, "{typed}: {error}");
    }
}
