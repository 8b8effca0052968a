//! What `prepare` and `read` take apart, `assemble` puts together.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::material::content;
use crate::support::{self, Options};
use crate::{Run, assert_trouble, run, tree};

/// Encoded extents, noise, a hole and a tail; and what else there may be.
const CONTENTS: [&str; 6] = [
    "mixed",
    "empty",
    "noise 200000",
    "zeroes 300000",
    "lines 5",
    "lines 140000",
];

fn assemble(dir: &Path, from: &str, to: &str) -> Run {
    run(dir, ["assemble", from, to, "--format", "json"])
}

#[test]
fn a_file_is_what_it_was_on_any_filesystem() {
    for (codec, name) in ["zstd", "zlib", "lzo"].into_iter().zip(CONTENTS).chain([
        ("zstd", CONTENTS[3]),
        ("zlib", CONTENTS[4]),
        ("lzo", CONTENTS[5]),
    ]) {
        let dir = tempfile::tempdir_in("/dev/shm")
            .or_else(|_| tempfile::tempdir())
            .unwrap();
        let data = content(name);
        fs::write(dir.path().join("data"), &data).unwrap();
        let prepare = ["prepare", "data", "--codec", codec, "--out", "extents"];
        assert_eq!(run(dir.path(), prepare).code, Some(0));
        // The original is not needed.
        fs::remove_file(dir.path().join("data")).unwrap();
        let made = assemble(dir.path(), "extents", "data");
        assert_eq!((made.code, made.stderr.as_str()), (Some(0), ""), "{name}");
        assert!(fs::read(dir.path().join("data")).unwrap() == data, "{name}");
        // What is there stays.
        assert_eq!(
            assemble(dir.path(), "extents/manifest.jsonl", "data").code,
            Some(2)
        );
    }
}

#[test]
fn nothing_is_made_of_what_is_damaged_or_missing() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("data"), content("mixed")).unwrap();
    let prepare = || {
        let arguments = ["prepare", "data", "--out", "extents", "--force"];
        assert_eq!(run(dir.path(), arguments).code, Some(0));
    };
    prepare();
    let files = tree(&dir.path().join("extents"));
    assert_eq!(files.len(), 4, "{files:?}");
    let fails = |what: &str| {
        let made = assemble(dir.path(), "extents", "made");
        assert_eq!(made.code, Some(1), "{what}: {made:?}");
        let object: Value = serde_json::from_str(&made.stdout).unwrap();
        assert_eq!(object["kind"], "error", "{what}");
        assert_eq!(
            tree(dir.path())
                .iter()
                .filter(|name| name.contains("made"))
                .count(),
            0
        );
    };
    for name in files {
        let path = dir.path().join("extents").join(&name);
        let whole = fs::read(&path).unwrap();
        for at in [0, whole.len() / 2, whole.len() - 2] {
            let mut damaged = whole.clone();
            damaged[at] ^= 1;
            fs::write(&path, damaged).unwrap();
            // A header that is none is another file.
            if !(name == "manifest.jsonl" && at == 0) {
                fails(&format!("{name}, byte {at}"));
            }
        }
        fs::write(&path, &whole[..whole.len() - 1]).unwrap();
        if name != "manifest.jsonl" {
            fails(&format!("{name}, cut"));
            fs::remove_file(&path).unwrap();
            fails(&format!("{name}, missing"));
        }
        fs::write(&path, whole).unwrap();
    }
    assert_eq!(assemble(dir.path(), "extents", "made").code, Some(0));
}

/// A manifest of one plain extent, without a digest of its data.
fn write_plain(directory: &Path, len: usize) {
    use sha2::{Digest, Sha256};
    fs::create_dir_all(directory).unwrap();
    fs::write(directory.join("data"), vec![b'x'; len]).unwrap();
    let lines = format!(
        r#"{{"kind":"file","format":1,"name":"f","size":{len},"sector_size":4096}}
{{"kind":"plain","offset":0,"len":{len},"data":"data"}}
"#
    );
    let digest = format!("{:x}", Sha256::digest(&lines));
    let end = format!(
        r#"{{"kind":"end","size":{len},"encoded":0,"plain":1,"holes":0,"lines_sha256":"{digest}"}}"#
    );
    fs::write(directory.join("manifest.jsonl"), lines + &end).unwrap();
}

/// No byte of what is too long becomes a zero, and the line is named.
#[test]
fn plain_extents_are_taken_whole_or_refused() {
    let dir = tempfile::tempdir().unwrap();
    write_plain(&dir.path().join("longest"), 128 << 10);
    assert_eq!(assemble(dir.path(), "longest", "made").code, Some(0));
    assert!(fs::read(dir.path().join("made")).unwrap() == vec![b'x'; 128 << 10]);
    write_plain(&dir.path().join("longer"), 1 << 20);
    for (command, code) in [("check", 1), ("assemble", 1)] {
        let dest = ["other"].into_iter().filter(|_| command == "assemble");
        let made = run(dir.path(), [command, "longer"].into_iter().chain(dest));
        assert_eq!(made.code, Some(code), "{made:?}");
        let said = made.stdout + &made.stderr;
        let expected = "longer/manifest.jsonl, line 2: error: manifest-payload-len: a plain extent \
                        of 1048576 bytes; 131072 is the most";
        assert!(said.contains(expected), "{said}");
    }
    assert!(!dir.path().join("other").exists());
}

#[test]
fn standard_output_is_no_file_to_make() {
    let dir = tempfile::tempdir().unwrap();
    write_plain(&dir.path().join("extents"), 9);
    for arguments in [
        &["assemble", "extents", "-"][..],
        &["write", "--plain-ok", "extents/data", "-"],
    ] {
        let said = ["extents cannot go to standard output; ./- is a file of that name"];
        assert_trouble(&run(dir.path(), arguments), &said);
    }
    assert!(!dir.path().join("-").exists());
    assert_eq!(assemble(dir.path(), "extents", "./-").code, Some(0));
}

#[test]
fn on_btrfs_payloads_become_the_extents_they_were() {
    let name = "on_btrfs_payloads_become_the_extents_they_were";
    let Some(fs) = support::btrfs(name, &Options::default()) else {
        return;
    };
    let data = content("mixed");
    fs::write(fs.outside().join("data"), &data).unwrap();
    let (first, second) = (fs.join("first"), fs.join("second"));
    let [first, second] = [&first, &second].map(|path| path.to_str().unwrap());
    let done = |arguments: &[&str]| {
        let run = run(fs.outside(), arguments.iter().chain(&["--format", "json"]));
        assert_eq!(
            (run.code, run.stderr.as_str()),
            (Some(0), ""),
            "{arguments:?}"
        );
        run.stdout
    };
    done(&["prepare", "data", "--codec", "lzo", "--out", "made"]);
    let made: Value = serde_json::from_str(&done(&["assemble", "made", first])).unwrap();
    assert_eq!(made["encoded_extents"], 2, "{made}");
    fs.remount();
    assert!(fs::read(first).unwrap() == data);
    // And what is read from there has the same payloads.
    done(&["read", first, "--out", "read"]);
    done(&["assemble", "read", second]);
    done(&["assemble", "read", "elsewhere"]);
    fs.remount();
    assert!(fs::read(second).unwrap() == data);
    assert!(fs::read(fs.outside().join("elsewhere")).unwrap() == data);
    let payload =
        |directory: &str| fs::read(fs.outside().join(directory).join("000000000000.lzo")).unwrap();
    let (made, read) = (payload("made"), payload("read"));
    assert!(read.starts_with(&made));
    assert!(done(&["check", first, second]).contains("\"good\":2"));
}
