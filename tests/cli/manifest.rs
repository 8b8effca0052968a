//! Manifests judged as a whole: whatever is done to one, or to the payloads beside it, is found.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use crate::material::{content, lines};
use crate::pipes::make_fifo;
use crate::support::skip;
use crate::{Run, assert_trouble, run, tree};

fn sha256(bytes: &[u8]) -> String {
    format!("{:x}", Sha256::digest(bytes))
}

/// A directory that `prepare --out` made, in a dir of its own.
struct Extents {
    dir: TempDir,
    /// Its manifest, as text and by lines.
    text: String,
    lines: Vec<Value>,
}

impl Extents {
    /// Of a file with an encoded extent, a plain one, a hole and an encoded tail.
    fn new(codec: &str) -> Self {
        Self::of(&content("mixed"), codec)
    }

    fn of(data: &[u8], codec: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("data"), data).unwrap();
        let prepare = ["prepare", "data", "--codec", codec, "--out", "extents"];
        let prepared = run(dir.path(), prepare);
        assert_eq!(prepared.code, Some(0), "{prepared:?}");
        let text = fs::read_to_string(dir.path().join("extents/manifest.jsonl")).unwrap();
        let line = |line| serde_json::from_str(line).unwrap();
        let lines = text.lines().map(line).collect();
        Self { dir, text, lines }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join("extents").join(name)
    }

    fn payload(&self, line: usize) -> PathBuf {
        self.path(self.lines[line]["payload"].as_str().unwrap())
    }

    /// Writes the manifest as it was.
    fn restore(&self) {
        fs::write(self.path("manifest.jsonl"), &self.text).unwrap();
    }

    /// Writes these lines as they are.
    fn write(&self, lines: &[Value]) {
        let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
        fs::write(self.path("manifest.jsonl"), text).unwrap();
    }

    /// Writes these lines with an end line that fits them, as who made them so would have.
    fn write_sealed(&self, lines: &[Value]) {
        let (_, lines) = lines.split_last().unwrap();
        let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
        let count = |kind: &str| lines.iter().filter(|line| line["kind"] == kind).count();
        let end = json!({
            "kind": "end", "size": self.lines.last().unwrap()["size"],
            "encoded": count("encoded"), "plain": count("plain"), "holes": count("hole"),
            "lines_sha256": sha256(text.as_bytes()),
        });
        fs::write(self.path("manifest.jsonl"), format!("{text}{end}\n")).unwrap();
    }

    fn check(&self) -> Run {
        run(self.dir.path(), ["check", "extents/manifest.jsonl"])
    }

    /// The exit status, and the codes of the findings with the lines they are in.
    fn findings(&self) -> (Option<i32>, Vec<(Option<u64>, String)>) {
        let arguments = ["--format", "json", "check", "extents/manifest.jsonl"];
        let check = run(self.dir.path(), arguments);
        let lines = check.stdout.lines();
        let findings = lines
            .map(|line| serde_json::from_str::<Value>(line).unwrap())
            .filter(|line| line["kind"] == "finding")
            .map(|line| {
                (
                    line["line"].as_u64(),
                    line["code"].as_str().unwrap().to_owned(),
                )
            })
            .collect();
        (check.code, findings)
    }

    /// Exactly these findings, and that the manifest is not sound.
    #[track_caller]
    fn assert_found(&self, expected: &[(Option<u64>, &str)]) {
        let expected: Vec<_> = expected
            .iter()
            .map(|&(line, code)| (line, code.to_owned()))
            .collect();
        assert_eq!(self.findings(), (Some(1), expected));
    }
}

const END: usize = 5;

#[test]
fn digests_are_those_of_the_files() {
    let extents = Extents::new("zstd");
    let data = content("mixed");
    let header = &extents.lines[0];
    assert_eq!(
        (&header["kind"], &header["format"]),
        (&json!("file"), &json!(1))
    );
    assert_eq!(header["size"], data.len());
    for line in &extents.lines[1..END] {
        let number = |name: &str| usize::try_from(line[name].as_u64().unwrap()).unwrap();
        let shown = &data[number("offset")..][..number("len")];
        if line["kind"] == "hole" {
            assert!(line["data_sha256"].is_null(), "{line}");
            continue;
        }
        assert_eq!(line["data_sha256"], sha256(shown), "{line}");
        if line["kind"] == "encoded" {
            let payload = fs::read(extents.path(line["payload"].as_str().unwrap())).unwrap();
            assert_eq!(line["payload_sha256"], sha256(&payload), "{line}");
        }
    }
    let (before, _) = extents.text.trim_end().rsplit_once('\n').unwrap();
    let end = json!({
        "kind": "end", "size": data.len(), "encoded": 2, "plain": 1, "holes": 1,
        "lines_sha256": sha256(format!("{before}\n").as_bytes()),
    });
    assert_eq!(extents.lines[END], end);
    assert_eq!(extents.findings(), (Some(0), Vec::new()));
}

#[test]
fn the_end_line_has_the_size_of_what_was_read_from_a_pipe() {
    let dir = tempfile::tempdir().unwrap();
    let script = format!(
        "printf x | {} prepare - --out extents && {0} check extents/manifest.jsonl",
        env!("CARGO_BIN_EXE_btrfs-payload")
    );
    let mut shell = Command::new("sh");
    let ran = shell.args(["-c", &script]).current_dir(dir.path()).output();
    assert_eq!(Run::from(ran.unwrap()).code, Some(0));
    let text = fs::read_to_string(dir.path().join("extents/manifest.jsonl")).unwrap();
    assert!(text.contains(r#""size":null"#) && text.contains(r#""kind":"end","size":1,"#));
}

#[test]
fn a_cut_anywhere_is_found() {
    for data in [content("mixed"), lines(5000), vec![0; 300_000], Vec::new()] {
        let extents = Extents::of(&data, "lzo");
        let path = extents.path("manifest.jsonl");
        let whole = fs::read(&path).unwrap();
        assert_eq!(extents.findings(), (Some(0), Vec::new()));
        // The last byte is the line end, without which nothing is missing.
        for cut in 0..whole.len() - 1 {
            // Every line end and its neighbours, and some places inside of lines.
            let near = whole[cut.saturating_sub(2)..(cut + 2).min(whole.len())].contains(&b'\n');
            if near || cut % 97 == 0 {
                fs::write(&path, &whole[..cut]).unwrap();
                let check = extents.check();
                assert!(matches!(check.code, Some(1 | 2)), "cut at {cut}: {check:?}");
            }
        }
    }
}

#[test]
fn a_change_of_any_byte_is_found() {
    let extents = Extents::of(&lines(5000), "lzo");
    let path = extents.path("manifest.jsonl");
    let whole = extents.text.as_bytes();
    // The end line has no digest of its own; there also changes of case.
    let end = extents.text.trim_end().rfind('\n').unwrap();
    let anywhere = (0..whole.len()).map(|at| (at, 1));
    for (at, flip) in anywhere.chain((end..whole.len()).map(|at| (at, 0x20))) {
        let mut text = whole.to_vec();
        text[at] ^= flip;
        fs::write(&path, text).unwrap();
        let check = extents.check();
        assert!(matches!(check.code, Some(1 | 2)), "byte {at}: {check:?}");
    }
}

/// The lines as they were before they had an end: whole, and cut.
#[test]
fn a_manifest_without_an_end_is_incomplete() {
    let extents = Extents::new("zstd");
    let mut lines = extents.lines[..END].to_vec();
    for line in &mut lines {
        let fields = line.as_object_mut().unwrap();
        for name in ["format", "program", "payload_sha256", "data_sha256"] {
            fields.remove(name);
        }
    }
    extents.write(&lines);
    let no_end = [(None, "manifest-no-end"), (None, "manifest-no-digest")];
    extents.assert_found(&no_end);
    extents.write(&lines[..1]);
    extents.assert_found(&[
        (None, "manifest-gap"),
        (None, "manifest-no-end"),
        (None, "manifest-extra-file"),
    ]);
    assert!(extents.check().stdout.contains("extents are missing"));
}

/// Lines moved, doubled, left out, changed, with an end line that knows.
#[test]
fn what_lines_do_not_cover_or_cover_twice_is_found() {
    let extents = Extents::new("zstd");
    let edited = |edit: &dyn Fn(&mut Vec<Value>)| {
        let mut lines = extents.lines.clone();
        edit(&mut lines);
        extents.write_sealed(&lines);
    };
    let extra = (None, "manifest-extra-file");
    edited(&|lines| drop(lines.remove(2)));
    extents.assert_found(&[(Some(3), "manifest-gap"), extra]);
    edited(&|lines| drop(lines.remove(4)));
    extents.assert_found(&[(None, "manifest-gap"), extra]);
    edited(&|lines| lines.insert(2, lines[1].clone()));
    extents.assert_found(&[(Some(3), "manifest-overlap")]);
    edited(&|lines| lines.swap(2, 3));
    extents.assert_found(&[(Some(3), "manifest-gap"), (Some(4), "manifest-order")]);
    edited(&|lines| lines[3]["len"] = json!(262_145));
    extents.assert_found(&[(Some(5), "manifest-overlap")]);
    edited(&|lines| lines[3]["len"] = json!(262_143));
    extents.assert_found(&[(Some(5), "manifest-gap")]);
    edited(&|lines| {
        lines.swap_remove(4);
        lines[3]["len"] = json!(u64::MAX);
    });
    extents.assert_found(&[
        (Some(4), "manifest-beyond-end"),
        (Some(5), "manifest-size"),
        extra,
    ]);
    edited(&|lines| drop(lines.remove(0)));
    extents.assert_found(&[(Some(1), "manifest-header")]);
    edited(&|lines| lines.insert(3, lines[0].clone()));
    extents.assert_found(&[(Some(4), "manifest-header")]);
    edited(&|lines| lines[0]["size"] = json!(600_000));
    extents.assert_found(&[
        (Some(5), "unaligned-end"),
        (Some(6), "manifest-size"),
        (None, "manifest-gap"),
    ]);
    // Numbers that no field holds, and a kind that nobody knows: said, and the rest is judged.
    for (field, value) in [
        ("offset", "18446744073709551616"),
        ("len", "-1"),
        ("kind", "\"gap\""),
    ] {
        edited(&|lines| lines[3][field] = serde_json::from_str(value).unwrap());
        let mut expected = vec![(Some(4), "manifest-line"), (Some(5), "manifest-gap")];
        if field != "kind" {
            // Ours counts it as a hole all the same.
            expected.push((Some(6), "manifest-counts"));
        }
        extents.assert_found(&expected);
    }
    // What a later version may add is no fault.
    edited(&|lines| {
        lines
            .iter_mut()
            .for_each(|line| line["new"] = json!([1, {"x": null}]))
    });
    assert_eq!(extents.findings(), (Some(0), Vec::new()));
}

#[test]
fn what_the_end_line_does_not_know_is_found() {
    let extents = Extents::new("zstd");
    let mut lines = extents.lines.clone();
    lines[2]["reason"] = json!("because");
    extents.write(&lines);
    extents.assert_found(&[(Some(6), "manifest-changed")]);
    lines = extents.lines.clone();
    lines[END]["plain"] = json!(2);
    extents.write(&lines);
    extents.assert_found(&[(Some(6), "manifest-counts"), (Some(6), "manifest-changed")]);
    lines = [&extents.lines[..], &extents.lines[..]].concat();
    extents.write(&lines);
    let (code, findings) = extents.findings();
    assert_eq!(code, Some(1));
    let after: Vec<_> = findings
        .iter()
        .filter(|(_, code)| code == "manifest-after-end")
        .collect();
    assert_eq!(after, [&(Some(7), "manifest-after-end".to_owned())]);
}

#[test]
fn a_manifest_of_another_format_is_not_judged() {
    let extents = Extents::new("zstd");
    let mut lines = extents.lines.clone();
    lines[0]["format"] = json!(2);
    extents.write_sealed(&lines);
    let check = extents.check();
    crate::assert_trouble(&check, &["manifest.jsonl, line 1", "format 2"]);
}

#[test]
fn another_payload_than_the_right_one_is_found() {
    // Two extents of the same length, whose payloads decode to as many bytes.
    let extents = Extents::of(
        &[lines(131_072), lines(262_144)[131_072..].to_vec()].concat(),
        "zstd",
    );
    let (one, two) = (extents.payload(1), extents.payload(2));
    let (first, second) = (fs::read(&one).unwrap(), fs::read(&two).unwrap());
    fs::write(&one, &second).unwrap();
    fs::write(&two, &first).unwrap();
    let (code, findings) = extents.findings();
    assert_eq!(code, Some(1));
    let codes: Vec<_> = findings
        .iter()
        .map(|(line, code)| (line.unwrap(), code.trim_start_matches("manifest-")))
        .collect();
    let expected = |other| {
        [
            (2, other),
            (2, "data-digest"),
            (3, other),
            (3, "data-digest"),
        ]
    };
    let other = if first.len() == second.len() {
        "payload-digest"
    } else {
        "payload-len"
    };
    assert_eq!(codes, expected(other));
    // The lines say so as well, and only the data is another's.
    let mut edited = extents.lines.clone();
    for name in ["payload", "payload_len", "payload_sha256"] {
        let (a, b) = (edited[1][name].clone(), edited[2][name].clone());
        (edited[1][name], edited[2][name]) = (b, a);
    }
    fs::write(&one, &first).unwrap();
    fs::write(&two, &second).unwrap();
    extents.write_sealed(&edited);
    extents.assert_found(&[
        (Some(2), "manifest-data-digest"),
        (Some(3), "manifest-data-digest"),
    ]);
    // A length that is not the file's.
    let mut edited = extents.lines.clone();
    edited[1]["payload_len"] = json!(edited[1]["payload_len"].as_u64().unwrap() + 1);
    extents.write_sealed(&edited);
    extents.assert_found(&[(Some(2), "manifest-payload-len")]);
}

/// LZO has no checksum: a changed literal decodes to other data without a fault.
#[test]
fn damage_inside_a_literal_is_found() {
    let extents = Extents::new("lzo");
    let path = extents.payload(1);
    let mut payload = fs::read(&path).unwrap();
    // Total, segment header, the length of the first literal run: then its bytes.
    let at = payload
        .windows(4)
        .position(|bytes| bytes == b"line")
        .unwrap();
    payload[at + 1] ^= 1;
    fs::write(&path, &payload).unwrap();
    extents.assert_found(&[
        (Some(2), "manifest-payload-digest"),
        (Some(2), "manifest-data-digest"),
    ]);
    // Without the digests nobody can tell.
    let mut edited = extents.lines.clone();
    for name in ["payload_sha256", "data_sha256"] {
        edited[1].as_object_mut().unwrap().remove(name);
    }
    extents.write_sealed(&edited);
    let nothing = vec![(None, "manifest-no-digest".to_owned())];
    assert_eq!(extents.findings(), (Some(0), nothing));
}

#[test]
fn a_payload_is_a_file_beside_the_manifest() {
    let extents = Extents::new("zstd");
    let path = extents.payload(1);
    let outside = extents.dir.path().join("outside");
    fs::rename(&path, &outside).unwrap();
    extents.assert_found(&[(Some(2), "manifest-payload-missing")]);
    let absolute = outside.to_str().unwrap();
    for name in [
        "../outside",
        absolute,
        "",
        ".",
        "..",
        "./outside",
        "x/",
        "a\0b",
    ] {
        let mut edited = extents.lines.clone();
        edited[1]["payload"] = json!(name);
        extents.write_sealed(&edited);
        extents.assert_found(&[(Some(2), "manifest-payload-name")]);
    }
    let mut edited = extents.lines.clone();
    edited[1]["payload"] = json!("x".repeat(300_000));
    extents.write_sealed(&edited);
    extents.assert_found(&[(Some(2), "manifest-payload-name")]);
    assert!(extents.check().stdout.len() < 1000);
    extents.restore();
    symlink("../outside", &path).unwrap();
    extents.assert_found(&[(Some(2), "manifest-payload-name")]);
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    extents.assert_found(&[(Some(2), "manifest-payload-name")]);
    fs::remove_dir(&path).unwrap();
    // A pipe that nobody writes to does not make it wait.
    make_fifo(&path);
    extents.assert_found(&[(Some(2), "manifest-payload-name")]);
}

#[test]
fn files_that_no_line_names_are_said() {
    let extents = Extents::new("zstd");
    for number in 0..7 {
        fs::write(extents.path(&format!("extra-{number}")), "").unwrap();
    }
    let check = extents.check();
    assert_eq!(check.code, Some(0), "{check:?}");
    assert!(
        check
            .stdout
            .contains("manifest-extra-file: 7 files beside it"),
        "{check:?}"
    );
}

/// Nothing from a manifest or of a name reaches the terminal raw, or breaks a line.
#[test]
fn no_output_has_control_characters() {
    const EVIL: &str = "\u{1b}[2J\u{1b}]0;x\u{7}\n\u{9b}\u{202e}\u{7f}";
    let extents = Extents::new("zstd");
    let mut manifests: Vec<Vec<Value>> = Vec::new();
    for (line, name) in [
        (0, "name"),
        (0, "kind"),
        (1, "payload"),
        (1, "offset"),
        (2, "reason"),
    ] {
        let mut edited = extents.lines.clone();
        edited[line][name] = json!(EVIL);
        manifests.push(edited);
    }
    let dir = extents.dir.path();
    let named = format!("{EVIL}.jsonl");
    let assert_clean = |run: Run| {
        let text = format!("{}{}", run.stdout, run.stderr);
        let bad = text
            .chars()
            .find(|&c| c.is_control() && c != '\n' || c == '\u{202e}');
        assert_eq!(bad, None, "{text:?}");
        for line in text.lines() {
            assert!(!line.starts_with('\\'), "a line was broken: {text:?}");
        }
    };
    for lines in &manifests {
        extents.write_sealed(lines);
        assert_clean(extents.check());
        fs::copy(extents.path("manifest.jsonl"), extents.path(&named)).unwrap();
        assert_clean(run(dir, ["check".to_owned(), format!("extents/{named}")]));
    }
    fs::write(extents.path(EVIL), "").unwrap();
    assert_clean(extents.check());
    // What a shell makes of `*`.
    assert_clean(run(
        dir,
        ["check", &format!("--{}", EVIL.replace('\n', ""))],
    ));
    // Names of files that are there, and of files that are not.
    fs::write(dir.join(EVIL), lines(9000)).unwrap();
    let payload = ["--codec", "zstd", "--unencoded-len", "9000"];
    for command in ["check", "prepare", "decode", "dump", "read", "write"] {
        for name in [
            EVIL.to_owned(),
            format!("{EVIL}.none"),
            "extents".to_owned(),
            format!("{EVIL}/x"),
        ] {
            let mut arguments = vec![command.to_owned(), name];
            match command {
                "decode" | "dump" => arguments.extend(payload.map(str::to_owned)),
                "read" | "prepare" => arguments.extend(["--out".to_owned(), EVIL.to_owned()]),
                "write" => arguments.push(format!("{EVIL}/none/dest")),
                _ => {}
            }
            assert_clean(run(dir, arguments));
        }
    }
}

/// A file of a few bytes per line does not become gigabytes of findings.
#[test]
fn what_is_no_manifest_is_given_up() {
    let extents = Extents::new("zstd");
    let long = format!("{{\"kind\":\"{}\"}}\n", "x".repeat(100_000));
    let text = [&extents.text, &long, &"x\n".repeat(1_000_000)]
        .map(String::as_str)
        .concat();
    fs::write(extents.path("manifest.jsonl"), text).unwrap();
    let check = extents.check();
    crate::assert_trouble(
        &check,
        &["line 1007: too many lines are none of a manifest"],
    );
    assert!(check.stdout.len() < 200_000, "{}", check.stdout.len());
}

/// Of several inputs one that cannot be read does not hide the others.
#[test]
fn every_input_is_judged() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path();
    fs::write(path.join("data"), lines(9000)).unwrap();
    let prepare = run(path, ["prepare", "data", "--out", "a"]);
    assert_eq!(prepare.code, Some(0));
    let prepare = run(path, ["prepare", "data", "--out", "b"]);
    assert_eq!(prepare.code, Some(0));
    fs::remove_file(path.join("b/000000000000.zstd")).unwrap();
    let check = run(
        path,
        [
            "check",
            "a/manifest.jsonl",
            "missing",
            "b/manifest.jsonl",
            "data",
            "a/manifest.jsonl",
        ],
    );
    // What cannot be read weighs more than what is not sound.
    assert_eq!(check.code, Some(2), "{check:?}");
    let verdicts: Vec<_> = check
        .stdout
        .lines()
        .filter(|line| line.contains(" ("))
        .collect();
    let [a, b, again] = verdicts.as_slice() else {
        panic!("{check:?}");
    };
    assert!(
        a.starts_with("a/manifest.jsonl: sound") && a == again,
        "{check:?}"
    );
    assert!(b.starts_with("b/manifest.jsonl: NOT SOUND"), "{check:?}");
    let trouble: Vec<_> = check.stderr.lines().collect();
    assert_eq!(trouble.len(), 2, "{check:?}");
    assert!(trouble[0].contains("cannot read missing"), "{check:?}");
    assert!(trouble[1].contains("data is no manifest"), "{check:?}");
    let check = run(path, ["check", "b/manifest.jsonl", "a/manifest.jsonl"]);
    assert_eq!(
        (check.code, check.stderr.as_str()),
        (Some(1), ""),
        "{check:?}"
    );
}

/// What `--force` may replace.
/// `DIR/*`: what each file is, its manifest says, which is read once for all of them.
#[test]
fn a_manifest_is_read_once_for_all_that_it_names() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("data"), lines(4 << 20)).unwrap();
    let prepare = "prepare data --extent-size 4096 --codec zlib --keep-smaller --out extents";
    assert_eq!(run(dir.path(), prepare.split(' ')).code, Some(0));
    let extents = dir.path().join("extents");
    let size = |path: PathBuf| fs::metadata(path).unwrap().len();
    let names = tree(&extents);
    assert!(names.len() > 1000);
    let all: u64 = names.iter().map(|name| size(extents.join(name))).sum();
    for order in ["extents/*", "$(ls -r extents/*)"] {
        // What a shell has waited for counts as read by it.
        let script = format!(
            "{} check --summary {order} && cat /proc/$$/io",
            env!("CARGO_BIN_EXE_btrfs-payload")
        );
        let mut shell = Command::new("sh");
        let ran = shell.args(["-c", &script]).current_dir(dir.path()).output();
        let ran = Run::from(ran.unwrap());
        let sums = format!("{} inputs: {0} sound\n", names.len());
        assert!(ran.stdout.contains(&sums), "{ran:?}");
        let read = ran
            .stdout
            .lines()
            .find_map(|line| line.strip_prefix("rchar: "));
        let Some(read) = read else {
            return skip(
                "a_manifest_is_read_once_for_all_that_it_names",
                "this kernel does not count what is read",
            );
        };
        // The manifest is an input too, and so the payloads are read twice. Were it read for each
        // payload, it would be hundreds of MB.
        let read: u64 = read.parse().unwrap();
        assert!(read < 3 * all + (4 << 20), "{order}: {read} of {all}");
    }
}

/// The data of plain extents lies among the payloads, and is compared with the manifest.
#[test]
fn plain_data_is_checked_among_payloads() {
    let extents = Extents::new("zstd");
    let plain = extents.path("000000131072.plain");
    let check = || run(extents.dir.path(), ["check", "extents/000000131072.plain"]);
    let sound = check();
    assert_eq!(sound.code, Some(0), "{sound:?}");
    assert!(sound.stdout.contains("nothing to judge: 1 plain extent"));
    let mut data = fs::read(&plain).unwrap();
    data[1000] ^= 1;
    fs::write(&plain, data).unwrap();
    let changed = check();
    assert_eq!(changed.code, Some(1), "{changed:?}");
    assert!(changed.stdout.contains("manifest-data-digest"));
    let decode = run(extents.dir.path(), ["decode", "extents/000000131072.plain"]);
    assert_trouble(&decode, &["is the data of a plain extent, and no payload"]);
}

#[test]
fn only_what_this_program_made_is_replaced() {
    let again = |extents: &Extents| {
        let arguments = ["prepare", "data", "--out", "extents", "--force"];
        run(extents.dir.path(), arguments)
    };
    let extents = Extents::new("zlib");
    assert_eq!(again(&extents).code, Some(0));
    let spoil: [&dyn Fn(&Extents); 6] = [
        &|extents| fs::write(extents.path("notes"), "mine").unwrap(),
        &|extents| fs::create_dir(extents.path("photos")).unwrap(),
        &|extents| symlink("manifest.jsonl", extents.path("link")).unwrap(),
        &|extents| {
            fs::remove_file(extents.payload(1)).unwrap();
            symlink("../data", extents.payload(1)).unwrap();
        },
        &|extents| fs::write(extents.path("manifest.jsonl"), "{\"kind\":\"photo\"}\n").unwrap(),
        &|extents| {
            let path = extents.path("manifest.jsonl");
            fs::rename(&path, extents.dir.path().join("elsewhere")).unwrap();
            symlink("../elsewhere", path).unwrap();
        },
    ];
    for spoil in spoil {
        let extents = Extents::new("zlib");
        spoil(&extents);
        let before = tree(extents.dir.path());
        crate::assert_trouble(&again(&extents), &["extents exists already"]);
        assert_eq!(tree(extents.dir.path()), before);
    }
    // One that was cut before its payloads were named is not certain to be ours.
    let extents = Extents::new("zlib");
    extents.write(&extents.lines[..2]);
    assert_eq!(again(&extents).code, Some(2));
}

/// Every code of manifests and files is shown by a test.
#[test]
fn every_code_is_shown() {
    let explained = run(Path::new("."), ["--format", "json", "explain"]);
    let mut shown = 0;
    for line in explained.stdout.lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        let tests = match line["of"].as_str().unwrap() {
            "manifest" => include_str!("manifest.rs"),
            "file" => include_str!("on_btrfs.rs"),
            _ => continue,
        };
        let code = line["code"].as_str().unwrap();
        assert!(tests.contains(code), "{code}");
        shown += 1;
    }
    assert!(shown > 15, "{shown}");
}
