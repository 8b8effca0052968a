//! docs/json.md and docs/manifest.md have every kind and every field that is printed, with its
//! type, and nothing that nobody prints.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::material::{begun_stream, content, lines};
use crate::run;

const TYPES: [&str; 6] = ["string", "number", "boolean", "null", "array", "object"];

/// A field of a kind. Those of objects in an array are `array[].field`.
type Field = (String, String);

/// The tables of a page, and what was seen of them in objects that were printed.
pub(crate) struct Page {
    name: &'static str,
    /// The words in the column of types.
    fields: BTreeMap<Field, BTreeSet<String>>,
    /// Types of values, and `optional` where a field was left out.
    seen: BTreeSet<(Field, &'static str)>,
}

impl Page {
    /// What `--format json` prints.
    pub(crate) fn json() -> Self {
        Self::read("docs/json.md", include_str!("../../docs/json.md"))
    }

    /// The lines of a manifest.
    pub(crate) fn manifest() -> Self {
        Self::read("docs/manifest.md", include_str!("../../docs/manifest.md"))
    }

    fn read(name: &'static str, page: &str) -> Self {
        let mut fields = BTreeMap::new();
        for row in page.lines().filter(|line| line.starts_with("| `")) {
            let cells: Vec<&str> = row.split('|').map(str::trim).collect();
            let name = |cell: &str| cell.trim_matches('`').to_owned();
            let words = cells[3].split([' ', ',']).map(str::to_owned);
            let new = fields.insert((name(cells[1]), name(cells[2])), words.collect());
            assert!(new.is_none(), "twice: {row}");
        }
        let seen = BTreeSet::new();
        Self { name, fields, seen }
    }

    /// Looks at every line that is an object; other lines are remarks for people.
    pub(crate) fn see(&mut self, printed: &str) {
        for line in printed.lines().filter(|line| line.starts_with('{')) {
            let object: Value = serde_json::from_str(line).unwrap();
            let kind = object["kind"].as_str().unwrap();
            self.object(kind, "", &object);
        }
    }

    /// Complains of what is not on the page, or not as it is there.
    fn object(&mut self, kind: &str, prefix: &str, object: &Value) {
        let page = self.name;
        let present = object.as_object().unwrap();
        for (field, value) in present.iter().filter(|(field, _)| *field != "kind") {
            let key = (kind.to_owned(), format!("{prefix}{field}"));
            let words = self.fields.get(&key);
            let words = words.unwrap_or_else(|| panic!("{key:?} is not in {page}: {object}"));
            let whole = value.is_u64() || !value.is_number() || words.contains("fraction");
            assert!(
                words.contains(type_of(value)) && whole,
                "{key:?} is {value}, and in {page}: {words:?}"
            );
            self.seen.insert((key, type_of(value)));
            for part in value.as_array().into_iter().flatten() {
                if part.is_object() {
                    self.object(kind, &format!("{field}[]."), part);
                }
            }
        }
        for ((of, field), words) in self.fields.iter().filter(|((of, _), _)| of == kind) {
            let Some(field_here) = field.strip_prefix(prefix) else {
                continue;
            };
            if !field_here.contains("[].") && !present.contains_key(field_here) {
                assert!(words.contains("optional"), "no {field}: {object}");
                let key = (of.clone(), field.clone());
                self.seen.insert((key, "optional"));
            }
        }
    }

    /// What is on the page and was not printed: fields, one of their types (`kind field: type`),
    /// or objects without an optional field.
    pub(crate) fn not_seen(&self) -> Vec<String> {
        let mut missing = Vec::new();
        for (key, words) in &self.fields {
            let types = TYPES.into_iter().chain(["optional"]);
            for word in types.filter(|word| words.contains(*word)) {
                if !self.seen.contains(&(key.clone(), word)) {
                    missing.push(format!("{} {}: {word}", key.0, key.1));
                }
            }
        }
        missing
    }
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

/// A stream with pieces of which a few tell nothing of the others.
fn pieces_alike() -> Vec<u8> {
    let mut writer = begun_stream();
    for piece in 0..100 {
        let path = "f".into();
        writer
            .write_data(&path, piece << 20, &[b'a'; 8192])
            .unwrap();
    }
    writer.finish().unwrap()
}

/// Files to look at, in a directory.
fn material(dir: &Path) {
    let write = |name: &str, bytes: &[u8]| fs::write(dir.join(name), bytes).unwrap();
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
    let mut holes = vec![0; 4 * 131_072];
    holes[..100_000].copy_from_slice(&lines(100_000)[..100_000]);
    write("holes", &holes);
    write("alike", &pieces_alike());
}

/// True for what only `scan` and `squeeze` print.
pub(crate) fn is_of_filesystems(field: &str) -> bool {
    let kind = field.split(' ').next().unwrap();
    [
        "stored",
        "directory",
        "scan",
        "survey",
        "place",
        "verified",
        "squeezed",
        "left",
        "squeeze",
    ]
    .contains(&kind)
        || [
            "finding bytenr",
            "estimate sectors_now",
            "estimate unreachable_bytes",
        ]
        .into_iter()
        .any(|of_scan| field.starts_with(of_scan))
}

#[test]
fn the_page_of_json_is_what_is_printed() {
    let dir = tempfile::tempdir().unwrap();
    let mut page = Page::json();
    material(dir.path());
    let zstd = "odd --codec zstd --unencoded-len 8192";
    let commands = [
        "explain lzo-header-straddles".to_owned(),
        "prepare data --out extents".to_owned(),
        "assemble extents made".to_owned(),
        "check extents/manifest.jsonl missing".to_owned(),
        format!("check {zstd} --kernel all"),
        format!("check {zstd} --kernel 6.18 --offset 1"),
        format!("dump {zstd}"),
        format!("decode {zstd}"),
        "dump -".to_owned(),
        "stream check stream".to_owned(),
        "stream check damaged".to_owned(),
        "stream check unknown".to_owned(),
        "stream dump unknown".to_owned(),
        "stream dump stream".to_owned(),
        "stream stats stream --estimate zstd:3".to_owned(),
        "stream stats alike --estimate lzo --samples 30".to_owned(),
        "stream recompress stream -o out".to_owned(),
        "pack extents -o packed".to_owned(),
        "pack extents --parent packed -o increment".to_owned(),
        "write data copy --plain-ok".to_owned(),
    ];
    for command in commands {
        let arguments = command.split(' ').chain(["--format", "json"]);
        let run = run(dir.path(), arguments);
        page.see(&run.stdout);
        page.see(&run.stderr);
    }
    // How much is said for people changes nothing.
    let prepare = |more: &str| {
        let words = format!("prepare data --format json {more}");
        run(dir.path(), words.split_whitespace())
    };
    for more in ["--quiet", "--summary", "--verbose", "--bytes"] {
        assert_eq!(prepare(more).stdout, prepare("").stdout, "{more}");
    }
    // A manifest with a line that is none, and an extent that is not sound.
    let manifest = dir.path().join("extents/manifest.jsonl");
    let text = fs::read_to_string(&manifest).unwrap();
    fs::write(&manifest, text.replacen("131072", "131071", 3)).unwrap();
    let check = "check extents/manifest.jsonl --kernel 6.18 --format json";
    page.see(&run(dir.path(), check.split(' ')).stdout);
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cli/golden");
    for entry in fs::read_dir(golden).unwrap() {
        page.see(&fs::read_to_string(entry.unwrap().path()).unwrap());
    }
    // Nothing is read back where the file is not on btrfs; `on_btrfs` has the rest.
    // Nor is anything scanned or squeezed.
    let mut missing = page.not_seen();
    missing.retain(|missing| !is_of_filesystems(missing));
    assert_eq!(missing, ["written verified_bytes: number"]);
}

/// A name means the same wherever it stands.
#[test]
fn a_name_has_one_type_in_all_kinds() {
    let mut types: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for ((_, field), words) in Page::json().fields {
        let name = field.rsplit('.').next().unwrap().to_owned();
        let words = words.into_iter();
        let words = words.filter(|word| *word != "null" && TYPES.contains(&word.as_str()));
        types.entry(name).or_default().extend(words);
    }
    types.retain(|_, words| words.len() != 1);
    assert!(types.is_empty(), "{types:?}");
}

#[test]
fn the_page_of_manifests_is_what_is_written() {
    let dir = tempfile::tempdir().unwrap();
    material(dir.path());
    let mut page = Page::manifest();
    let mut prepare = |input: &str, stdin: &str| {
        let mut program = crate::program(dir.path());
        program.args(["prepare", input, "--out", "extents", "--force"]);
        program.stdin(fs::File::open(dir.path().join(stdin)).unwrap());
        assert!(program.output().unwrap().status.success());
        page.see(&fs::read_to_string(dir.path().join("extents/manifest.jsonl")).unwrap());
    };
    prepare("data", "data");
    prepare("holes", "holes");
    prepare("-", "data");
    // Digests are missing where a kernel cannot read an extent, which `on_btrfs` has; the name of
    // plain data in manifests of before.
    let optional = ["encoded data_sha256: optional", "plain data: optional"];
    assert_eq!(page.not_seen(), optional);
}
