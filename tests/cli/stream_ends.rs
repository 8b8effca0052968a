//! Streams that end too early, too late, or never.

use std::fs::{self};

use crate::material::{content, dir, stream};
use crate::{Run, assert_trouble, run, tree};

/// What receivers fail at is passed on, and not called done.
#[test]
fn rewriters_tell_of_ends_in_the_wrong_place() {
    /// END: a header of no bytes, its number and its checksum.
    const END: usize = 10;
    let dir = tempfile::tempdir().unwrap();
    let one = stream();
    let (without_end, end) = one.split_at(one.len() - END);
    let inputs = [
        ("one", one.clone(), 0, ""),
        ("two", [&one[..], &one].concat(), 0, ""),
        (
            "glued",
            [without_end, &one].concat(),
            1,
            "1 header without END",
        ),
        (
            "twice",
            [&one[..], end, end].concat(),
            1,
            "2 commands after END",
        ),
    ];
    for (name, bytes, code, said) in inputs {
        fs::write(dir.path().join(name), &bytes).unwrap();
        for command in ["recompress", "decompress", "reframe"] {
            let run = run(
                dir.path(),
                ["stream", command, name, "-o", "out", "--force"],
            );
            assert_eq!(run.code, Some(code), "{command} {name}: {run:?}");
            assert!(run.stderr.contains(said), "{command} {name}: {run:?}");
        }
    }
}

#[test]
fn output_has_a_limit_where_one_is_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("stream"), stream()).unwrap();
    fs::write(dir.path().join("payload"), content("valid zlib-inline")).unwrap();
    let decode = [
        "decode",
        "payload",
        "--codec",
        "zlib",
        "--unencoded-len=3000",
    ];
    let limits = [("2999", "3000", &decode[..])].into_iter();
    let rewriters = ["recompress", "decompress", "reframe"].map(|command| {
        let arguments: &[&str] = match command {
            "recompress" => &["stream", "recompress", "stream"],
            "decompress" => &["stream", "decompress", "stream"],
            _ => &["stream", "reframe", "stream"],
        };
        ("5k", "1T", arguments)
    });
    for (less, enough, arguments) in limits.chain(rewriters) {
        let limited = |limit| {
            let more = ["-o", "out", "--max-output", limit];
            run(dir.path(), [arguments, &more].concat())
        };
        let limit = format!("{} bytes", less.replace("5k", "5120"));
        assert_trouble(&limited(less), &["longer than --max-output", &limit]);
        assert_eq!(tree(dir.path()), ["payload", "stream"]);
        assert_eq!(limited(enough).code, Some(0), "{arguments:?}");
        fs::remove_file(dir.path().join("out")).unwrap();
    }
    for wrong in ["", "K", "-1", "1.5M", "16777216T", "5KiB"] {
        let limit = format!("--max-output={wrong}");
        let run = run(dir.path(), ["stream", "decompress", "stream", &limit]);
        assert_eq!(run.code, Some(2), "{wrong}: {run:?}");
    }
}

/// Receivers fail there; who lists or counts the commands is told.
#[test]
fn dump_and_stats_tell_of_streams_that_do_not_end() {
    let whole = stream();
    let end = whole.len() - 10;
    let (head, last) = (&whole[..17], &whole[end..]);
    let twice = |of: &[u8]| [of, &whole].concat();
    let inputs = [
        (twice(&whole[..end]), "1 header without END before"),
        ([&whole[..], last, last].concat(), "2 commands after END"),
        (
            [&whole[..], last, head, last].concat(),
            "1 command after END",
        ),
    ];
    for (input, said) in inputs {
        let dir = dir(&input);
        for work in ["dump", "stats"] {
            let Run {
                code,
                stdout,
                stderr,
            } = run(dir.path(), ["stream", work, "data"]);
            assert_eq!(code, Some(1), "{work}: {stderr}");
            assert!(stderr.contains(said), "{work}: {stderr}");
            assert!(!stdout.is_empty());
        }
        let check = run(dir.path(), ["stream", "check", "data"]);
        assert_eq!(check.code, Some(1), "{}", check.stdout);
    }
    // Damage: a cut stream, text, and a whole stream.
    let dir = dir(&[&whole[..whole.len() - 300], b"\ntext\n", &whole].concat());
    let dump = run(dir.path(), ["stream", "dump", "data"]);
    assert_eq!(dump.code, Some(1));
    assert!(
        dump.stderr.contains("a stream header at offset"),
        "{}",
        dump.stderr
    );
    let subvolumes = dump.stdout.matches(" subvol ").count();
    assert_eq!(subvolumes, 2, "{}", dump.stdout);
}
