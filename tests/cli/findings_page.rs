//! docs/findings.md is what `explain` prints; `BLESS=1` writes it.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::run;

const SECTIONS: [(&str, &str, &str); 4] = [
    (
        "payload",
        "Payloads",
        "What is said of a payload, by `check`, `scan`, `stream check`, `dump`, `decode` and the commands \
         that rewrite streams. A finding is an error where some kernel since 5.19, or the fallback \
         decoder of `btrfs receive`, does not give the intended bytes. A warning or a note is about \
         less: space that is wasted, what works by luck, or a small file that only the fallback \
         cannot decode (`decodes-too-long`). Where kernels are named, Linux 6.1, 6.12, 6.18 and 7.2 \
         were looked at. For each code there is a payload in testdata/cases.",
    ),
    (
        "stream",
        "Send streams",
        "What `stream check` says of the commands around the payloads. A finding is an error where \
         `btrfs receive` stops or makes other files than the sender had.",
    ),
    (
        "manifest",
        "Manifests",
        "What `check` says of a manifest and the files beside it; [manifest.md](manifest.md) has \
         the format.",
    ),
    (
        "file",
        "Files on btrfs",
        "What `check` and `scan --verify` say of files on btrfs beside what they say of the \
         payloads.",
    ),
];

#[test]
fn the_page_of_findings_is_what_the_program_explains() {
    let printed = run(&std::env::temp_dir(), ["explain", "--format", "json"]);
    assert_eq!((printed.code, printed.stderr.as_str()), (Some(0), ""));
    let lines = printed.stdout.lines();
    let lines: Vec<Value> = lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let text = |line: &Value, key: &str| line[key].as_str().unwrap().to_owned();
    let codes: BTreeSet<String> = lines.iter().map(|line| text(line, "code")).collect();
    assert_eq!(codes.len(), lines.len(), "a code is explained twice");

    let mut page = String::from(
        "# Findings\n\nEvery code that a finding can have. `btrfs-payload explain CODE` says the \
         same, and what to do. Codes are stable: scripts may rely on them.\n",
    );
    for (of, title, about) in SECTIONS {
        write!(
            page,
            "\n## {title}\n\n{about}\n\n| code | rule | what happens when it is broken |\n\
             | --- | --- | --- |\n"
        )
        .unwrap();
        for line in lines.iter().filter(|line| line["of"] == of) {
            let [code, rule, effect] = ["code", "rule", "effect"].map(|key| text(line, key));
            writeln!(page, "| `{code}` | {rule} | {effect} |").unwrap();
        }
    }
    assert_eq!(
        page.lines().filter(|line| line.starts_with("| `")).count(),
        lines.len()
    );
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/findings.md");
    if std::env::var_os("BLESS").is_some() {
        fs::write(&path, &page).unwrap();
    }
    let written = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == page,
        "docs/findings.md is not what is explained; BLESS=1 writes it"
    );
}
