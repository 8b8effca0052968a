//! The program on a mounted btrfs.

use std::fs::{self, File, FileTimes, Permissions};
use std::io::IoSlice;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

use btrfs_payload::ioctl::{self, Submission};
use btrfs_payload::rules::{EncodedIoId, ExtentFields};
use rustix::fs::XattrFlags;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::json_page::{Page, is_of_filesystems};
use crate::material::{content, lines, noise, stream};
use crate::support::{self, Options, chattr_c, create, text};
use crate::{Run, assert_trouble, program, run, tree};

fn json(text: &str) -> Vec<Value> {
    let line = |line| serde_json::from_str(line).unwrap();
    text.lines().map(line).collect()
}

#[test]
fn a_file_is_written_checked_read_and_decoded() {
    let Some(fs) = support::btrfs(
        "a_file_is_written_checked_read_and_decoded",
        &Options::default(),
    ) else {
        return;
    };
    let data = content("mixed");
    let dir = fs.outside();
    let source = dir.join("source");
    fs::write(&source, &data).unwrap();
    fs::set_permissions(&source, Permissions::from_mode(0o640)).unwrap();
    rustix::fs::setxattr(&source, "user.note", b"kept", XattrFlags::empty()).unwrap();
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    let times = FileTimes::new().set_modified(time);
    File::open(&source).unwrap().set_times(times).unwrap();

    for codec in ["zlib", "lzo", "zstd"] {
        let dest = fs.join(codec);
        let dest = dest.to_str().unwrap();
        let write = run(
            dir,
            [
                "--format", "json", "write", "source", dest, "--codec", codec, "--verify",
            ],
        );
        assert_eq!((write.code, write.stderr.as_str()), (Some(0), ""));
        let written = &json(&write.stdout)[0];
        assert_eq!(written["encoded_extents"], 2, "{written}");
        assert_eq!(written["verified_bytes"], data.len(), "{written}");
        assert_eq!(written["fallbacks"], Value::Array(Vec::new()));

        fs.remount();
        assert!(fs::read(dest).unwrap() == data);
        let metadata = fs::metadata(dest).unwrap();
        assert_eq!(metadata.mode() & 0o7777, 0o640);
        assert_eq!(metadata.modified().unwrap(), time);
        let mut value = [0; 16];
        let length = rustix::fs::getxattr(dest, "user.note", &mut value).unwrap();
        assert_eq!(&value[..length], b"kept");

        let check = run(dir, ["check", dest]);
        assert_eq!(
            (check.code, check.stderr.as_str()),
            (Some(0), ""),
            "{check:?}"
        );
        assert!(check.stdout.contains(": sound (2 extents, "), "{check:?}");

        let read = run(dir, ["--format", "json", "read", dest, "--out", codec]);
        assert_eq!((read.code, read.stderr.as_str()), (Some(0), ""), "{read:?}");
        let manifest = format!("{codec}/manifest.jsonl");
        assert_eq!(
            fs::read_to_string(dir.join(&manifest)).unwrap(),
            read.stdout
        );
        let check = run(dir, ["check", &manifest]);
        assert_eq!(check.code, Some(0), "{check:?}");
        // Every extent of the manifest decodes to its part of the file, and they cover it.
        let mut end = 0;
        let lines = json(&read.stdout);
        assert_eq!(lines.last().unwrap()["size"], data.len());
        for line in &lines[1..lines.len() - 1] {
            let number = |field: &str| usize::try_from(line[field].as_u64().unwrap()).unwrap();
            let (offset, len) = (number("offset"), number("len"));
            assert_eq!(offset, end, "{line}");
            end += len;
            if line["kind"] != "hole" {
                let digest = format!("{:x}", Sha256::digest(&data[offset..end]));
                assert_eq!(line["data_sha256"], digest, "{line}");
            }
            if line["kind"] == "encoded" {
                let payload = format!("{codec}/{}", line["payload"].as_str().unwrap());
                let claims = ["len", "unencoded_len", "unencoded_offset", "offset"]
                    .map(|name| format!("--{}={}", name.replace('_', "-"), line[name]));
                let arguments = [
                    "decode", &payload, "--codec", codec, "-o", "part", "--force",
                ];
                let decode = run(dir, arguments.iter().map(|a| (*a).to_owned()).chain(claims));
                assert_eq!(decode.code, Some(0), "{decode:?}");
                assert!(fs::read(dir.join("part")).unwrap() == data[offset..offset + len]);
            }
        }
        assert_eq!(end, data.len());
    }
    let names = tree(&fs.path());
    assert_eq!(names, ["lzo", "zlib", "zstd"], "something is left over");
}

/// A file on btrfs whose second extent the kernel reads and btrfs receive does not.
#[test]
fn an_unsound_extent_of_a_file_is_found() {
    let Some(fs) = support::btrfs("an_unsound_extent_of_a_file_is_found", &Options::default())
    else {
        return;
    };
    let path = fs.join("file");
    let file = create(&path);
    let fields = ExtentFields::whole(8192, EncodedIoId::ZLIB);
    for (offset, name) in [
        (0, "case zlib-second-stream-behind-a-full-one"),
        (8192, "case zlib-adler32-wrong"),
    ] {
        let payload = content(name);
        let submission = Submission::new(offset, fields);
        let sent = ioctl::submit(&file, &submission, &[IoSlice::new(&payload)]);
        assert_eq!(sent.unwrap(), payload.len());
    }
    file.sync_all().unwrap();
    let path = path.to_str().unwrap();
    let check = run(fs.outside(), ["--format", "json", "check", path]);
    assert_eq!(check.code, Some(1), "{check:?}");
    let findings = json(&check.stdout);
    let found: Vec<_> = findings
        .iter()
        .filter(|line| line["kind"] == "finding")
        .map(|line| (line["extent"].as_u64(), line["code"].as_str().unwrap()))
        .collect();
    assert_eq!(
        found,
        [
            (Some(0), "zlib-behind-stream"),
            (Some(8192), "zlib-adler32")
        ]
    );
    // Read and judged from the manifest it is the same.
    let read = run(fs.outside(), ["read", path, "--out", "extents"]);
    assert_eq!(read.code, Some(0), "{read:?}");
    let check = run(fs.outside(), ["check", "extents/manifest.jsonl"]);
    assert_eq!(check.code, Some(1), "{check:?}");
    assert!(check.stdout.contains("extent at 8192: error: zlib-adler32"));
}

/// docs/json.md and docs/manifest.md describe what is printed about files on btrfs too.
#[test]
fn what_is_printed_about_files_is_as_the_pages_say() {
    let name = "what_is_printed_about_files_is_as_the_pages_say";
    let Some(fs) = support::btrfs(name, &Options::default()) else {
        return;
    };
    let (mut page, mut manifest) = (Page::json(), Page::manifest());
    fs::write(fs.outside().join("source"), content("mixed")).unwrap();
    let (dest, damaged) = (fs.join("dest"), fs.join("damaged"));
    // An extent that the kernel takes and cannot decode.
    let file = create(&damaged);
    let submission = Submission::new(0, ExtentFields::whole(8192, EncodedIoId::ZLIB));
    let payload = content("case zlib-match-before-the-start");
    ioctl::submit(&file, &submission, &[IoSlice::new(&payload)]).unwrap();
    file.sync_all().unwrap();
    // The same inline.
    let file = create(fs.join("inline"));
    let submission = Submission::new(0, ExtentFields::whole(3000, EncodedIoId::ZLIB));
    ioctl::submit(&file, &submission, &[IoSlice::new(&payload)]).unwrap();
    file.sync_all().unwrap();
    let [dest, damaged] = [&dest, &damaged].map(|path| path.to_str().unwrap());
    let json = |arguments: &[&str]| {
        let arguments = [arguments, &["--format", "json"]].concat();
        run(fs.outside(), arguments).stdout
    };
    let written = json(&["write", "source", dest, "--verify"]);
    assert!(written.contains("\"verified_bytes\":"), "{written}");
    page.see(&written);
    for path in [dest, damaged] {
        page.see(&json(&["check", path, "--kernel", "6.18"]));
        manifest.see(&json(&["read", path, "--out", "extents", "--force"]));
        page.see(&json(&["check", "extents/manifest.jsonl"]));
    }
    let scan = json(&[
        "scan",
        "--verify",
        "--estimate",
        "lzo",
        fs.path().to_str().unwrap(),
    ]);
    assert_eq!(
        scan.lines()
            .filter(|line| line.contains("\"scan\""))
            .count(),
        1
    );
    page.see(&scan);
    // Estimates of streams have less.
    fs::write(fs.outside().join("stream"), stream()).unwrap();
    page.see(&json(&["stream", "stats", "stream", "--estimate", "lzo"]));
    // A file that has to stay as it is, and one that becomes smaller.
    fs::write(fs.join("text"), text(200_000)).unwrap();
    chattr_c(&fs.join("nocow"))
        .write_all_at(&text(8192), 0)
        .unwrap();
    page.see(&json(&["squeeze", fs.path().to_str().unwrap()]));
    page.see(&json(&[
        "squeeze",
        "--dry-run",
        fs.path().to_str().unwrap(),
    ]));
    let mut missing = page.not_seen();
    // A survey is what others than root see.
    missing.retain(|missing| is_of_filesystems(missing) && !missing.starts_with("survey "));
    assert!(missing.is_empty(), "{missing:?}");
    let seen = |page: &Page, missing: &str| !page.not_seen().contains(&missing.to_owned());
    assert!(seen(&page, "written verified_bytes: number"));
    assert!(seen(&manifest, "encoded data_sha256: optional"));
    assert!(seen(&manifest, "file size: number"));
}

/// The verdict on a file, and where its findings are.
fn findings(dir: &Path, path: &Path) -> (Option<i32>, Vec<(u64, String)>, Value) {
    let check = run(dir, ["--format", "json", "check", path.to_str().unwrap()]);
    assert_eq!(check.stderr, "", "{check:?}");
    let mut lines = json(&check.stdout);
    let verdict = lines.pop().unwrap();
    let findings = lines.iter().map(|line| {
        let code = line["code"].as_str().unwrap().to_owned();
        (line["extent"].as_u64().unwrap(), code)
    });
    (check.code, findings.collect(), verdict)
}

/// The kernel refuses an extent whose stored bytes have changed; the others are judged.
#[test]
fn an_unreadable_extent_does_not_hide_the_others() {
    let name = "an_unreadable_extent_does_not_hide_the_others";
    let options = Options::default().sized(256 << 20);
    let Some(fs) = support::btrfs(name, &options.mounted_with("compress-force=zstd:3")) else {
        return;
    };
    const EXTENT: u64 = 131_072;
    let path = fs.join("file");
    let file = create(&path);
    // Four extents of text, a hole, and noise, which stays plain.
    file.write_all_at(&lines(4 * 131_072), 0).unwrap();
    file.write_all_at(&noise(131_072), 5 * EXTENT).unwrap();
    file.sync_all().unwrap();
    let stored = |offset| {
        let mut buffer = vec![0; 131_072];
        ioctl::encoded_read(&file, offset, &mut buffer).unwrap();
        buffer.truncate(64);
        buffer
    };
    let damaged = [EXTENT, 3 * EXTENT, 5 * EXTENT];
    let starts = damaged.map(stored);
    drop(file);
    fs.edit(|image| {
        for start in &starts {
            support::image::damage(image, start);
        }
    });
    // Data that has not been written when the extents are looked for.
    let file = File::options().write(true).open(&path).unwrap();
    file.write_all_at(&lines(131_072), 6 * EXTENT).unwrap();
    let (code, found, verdict) = findings(fs.outside(), &path);
    assert_eq!(code, Some(1));
    assert_eq!(
        found,
        damaged.map(|at| (at, "unreadable-extent".to_owned()))
    );
    // Two of the first four, and the last.
    assert_eq!(verdict["extents"], 3, "{verdict}");
    assert_eq!(
        (&verdict["unsound"], &verdict["other_errors"]),
        (&0.into(), &3.into())
    );
    let check = run(fs.outside(), ["check", path.to_str().unwrap()]);
    assert!(
        check
            .stdout
            .contains("bytes 131072 to 262144 are not judged"),
        "{check:?}"
    );
    assert!(check.stdout.contains(", 3 other errors)"), "{check:?}");
}

/// Old kernels made such files; the running one makes none, so the flag is set in the image.
#[test]
fn compressed_extents_without_checksums_are_pointed_out() {
    let name = "compressed_extents_without_checksums_are_pointed_out";
    let options = Options::default().sized(256 << 20);
    let Some(fs) = support::btrfs(name, &options.mounted_with("compress-force=lzo")) else {
        return;
    };
    let path = fs.join("file");
    let file = create(&path);
    file.write_all_at(&lines(262_144), 131_072).unwrap();
    file.sync_all().unwrap();
    file.write_all_at(&noise(131_072), 0).unwrap();
    file.sync_all().unwrap();
    let inode = file.metadata().unwrap().ino();
    drop(file);
    let (code, found, _) = findings(fs.outside(), &path);
    assert_eq!((code, found), (Some(0), Vec::new()));
    // NODATASUM alone, which no attribute shows, and with NODATACOW.
    for flags in [1, 3] {
        fs.edit(|image| support::image::set_inode_flags(image, inode, flags));
        let (code, found, _) = findings(fs.outside(), &path);
        let expected = vec![(131_072, "compressed-without-checksums".to_owned())];
        assert_eq!((code, found), (Some(0), expected));
    }
    let check = run(fs.outside(), ["check", path.to_str().unwrap()]);
    assert!(
        check.stdout.contains("2 compressed extents from here on"),
        "{check:?}"
    );
    // A scrub says it of each.
    let scan = ["scan", "--verify", "-v", "--format", "json"];
    let scan = run(
        fs.outside(),
        scan.into_iter().chain([path.to_str().unwrap()]),
    );
    assert_eq!(scan.code, Some(0), "{scan:?}");
    let found = json(&scan.stdout);
    let found = found
        .iter()
        .filter(|line| line["code"] == "compressed-without-checksums");
    assert_eq!(found.count(), 2, "{scan:?}");
    assert_eq!(json(&scan.stdout).last().unwrap()["with_warnings"], 2);
    // Plain data without checksums is what chattr +C is for.
    let plain = fs.join("plain");
    support::chattr_c(&plain);
    fs::write(&plain, noise(200_000)).unwrap();
    let (code, found, _) = findings(fs.outside(), &plain);
    assert_eq!((code, found), (Some(0), Vec::new()));
}

#[test]
fn files_that_take_no_payloads_get_plain_data_and_it_is_said() {
    let name = "files_that_take_no_payloads_get_plain_data_and_it_is_said";
    let Some(fs) = support::btrfs(name, &Options::default().mounted_with("nodatasum")) else {
        return;
    };
    let data = content("mixed");
    fs::write(fs.outside().join("source"), &data).unwrap();
    let dest = fs.join("dest");
    let write = |more: &[&str]| {
        let arguments = ["write", "source", dest.to_str().unwrap(), "--verify"];
        run(fs.outside(), [&arguments, more].concat())
    };
    // Not what was asked for: nothing is made, unless that is in order.
    let refused = write(&[]);
    assert_eq!((refused.code, refused.stdout.as_str()), (Some(1), ""));
    assert!(refused.stderr.contains("NODATASUM"), "{refused:?}");
    assert!(!dest.exists());
    let write = write(&["--plain-ok"]);
    assert_eq!((write.code, write.stderr.as_str()), (Some(0), ""));
    assert!(write.stdout.contains("NODATASUM"), "{write:?}");
    fs.remount();
    assert!(fs::read(dest).unwrap() == data);
}

/// Runs the program with a source larger than what the filesystem holds, and with the name of
/// a file to be made there; nothing of it may be left.
fn on_a_full_filesystem(test: &str, source: &[u8], arguments: &[&str]) {
    let small = Options::default().sized(128 << 20);
    let Some(fs) = support::btrfs(test, &small.made_with(&["-m", "single"])) else {
        return;
    };
    fs::write(fs.outside().join("source"), source).unwrap();
    let dest = fs.join("dest").to_str().unwrap().to_owned();
    let arguments = arguments
        .iter()
        .map(|argument| argument.replace("DEST", &dest));
    let run = run(fs.outside(), arguments);
    assert_trouble(&run, &["cannot write ", &dest, "No space left on device"]);
    assert_eq!(tree(&fs.path()), Vec::<String>::new());
}

#[test]
fn writing_to_a_full_filesystem_is_trouble() {
    on_a_full_filesystem(
        "writing_to_a_full_filesystem_is_trouble",
        &noise(160 << 20),
        &["write", "source", "DEST", "--codec", "lzo"],
    );
}

#[test]
fn preparing_on_a_full_filesystem_is_trouble() {
    on_a_full_filesystem(
        "preparing_on_a_full_filesystem_is_trouble",
        &hex(&noise(160 << 20)),
        &["prepare", "source", "--out", "DEST", "--level", "1"],
    );
}

/// Text that shrinks to half.
fn hex(data: &[u8]) -> Vec<u8> {
    let digit = |nibble: u8| b"0123456789abcdef"[usize::from(nibble)];
    data.iter()
        .flat_map(|byte| [digit(byte >> 4), digit(byte & 15)])
        .collect()
}

#[test]
fn what_is_no_file_has_no_extents() {
    let Some(fs) = support::btrfs("what_is_no_file_has_no_extents", &Options::default()) else {
        return;
    };
    fs::create_dir(fs.join("directory")).unwrap();
    create(fs.join("empty"));
    let path = |name: &str| fs.join(name).to_str().unwrap().to_owned();
    let read = run(
        fs.outside(),
        ["read", &path("directory"), "--out", "extents"],
    );
    assert_trouble(&read, &["directory"]);
    let check = run(fs.outside(), ["check", &path("directory")]);
    assert_trouble(&check, &["is a directory"]);
    assert!(!Path::new(&fs.outside().join("extents")).exists());
    let check = run(fs.outside(), ["check", &path("empty")]);
    assert_eq!(check.code, Some(0), "{check:?}");
    let read = run(fs.outside(), ["read", &path("empty"), "--out", "extents"]);
    assert_eq!(read.code, Some(0), "{read:?}");
    assert_eq!(tree(&fs.outside().join("extents")), ["manifest.jsonl"]);
}

/// What is said to be done is there after a power loss, whole and under its name.
#[test]
fn what_is_done_outlives_a_power_loss() {
    let name = "what_is_done_outlives_a_power_loss";
    let Some(fs) = support::btrfs(name, &Options::default().sized(256 << 20)) else {
        return;
    };
    let dir = fs.outside();
    fs::write(dir.join("source"), lines(3 << 20)).unwrap();
    fs::write(dir.join("payload"), content("valid zlib-inline")).unwrap();
    fs::write(dir.join("stream"), stream()).unwrap();
    let commands = [
        "decode payload --codec zlib --unencoded-len 3000 -o DEST",
        "stream recompress stream -o DEST",
        "prepare source --codec lzo --out DEST",
        "write --plain-ok source DEST",
    ];
    for (number, command) in commands.into_iter().enumerate() {
        let run = |dest: &str, force: &[&str]| {
            let arguments = command.split(' ').map(|word| word.replace("DEST", dest));
            let arguments = arguments.chain(force.iter().map(|word| (*word).to_owned()));
            let run = run(dir, arguments);
            assert_eq!(run.code, Some(0), "{run:?}");
        };
        let expected = format!("{number}");
        run(&expected, &[]);
        let dest = fs.join(&expected);
        // A new name, and one that replaces another.
        for force in [&[][..], &["--force"]] {
            run(dest.to_str().unwrap(), force);
            fs.lose_power();
            let diff = Command::new("diff")
                .arg("-r")
                .arg(&dest)
                .arg(dir.join(&expected))
                .output();
            let diff = Run::from(diff.unwrap());
            assert_eq!(diff.code, Some(0), "{command} {force:?}: {diff:?}");
        }
    }
}

/// Sources with holes keep them, and take no more space than their data.
#[test]
fn holes_stay_holes() {
    let Some(fs) = support::btrfs("holes_stay_holes", &Options::default()) else {
        return;
    };
    let source = create(fs.outside().join("source"));
    source.set_len(5 << 30).unwrap();
    source.write_all_at(&lines(9000), 3 << 30).unwrap();
    let dest = fs.join("dest");
    let write = run(fs.outside(), ["write", "source", dest.to_str().unwrap()]);
    assert_eq!(write.code, Some(0), "{write:?}");
    let metadata = fs::metadata(&dest).unwrap();
    assert_eq!(metadata.len(), 5 << 30);
    assert!(metadata.blocks() * 512 < 1 << 20, "{}", metadata.blocks());
    let mut got = vec![0; 9000];
    File::open(dest)
        .unwrap()
        .read_exact_at(&mut got, 3 << 30)
        .unwrap();
    assert!(got == lines(9000));
}

#[test]
fn a_file_is_compressed_in_place_unless_it_has_other_names() {
    let name = "a_file_is_compressed_in_place_unless_it_has_other_names";
    let Some(fs) = support::btrfs(name, &Options::default()) else {
        return;
    };
    let data = content("lines 300000");
    let (file, other, link) = (fs.join("file"), fs.join("other"), fs.join("link"));
    fs::write(&file, &data).unwrap();
    fs::hard_link(&file, &other).unwrap();
    std::os::unix::fs::symlink("file", &link).unwrap();
    let write = |from: &Path, to: &Path| {
        let paths = [from, to].map(|path| path.to_str().unwrap());
        run(
            fs.outside(),
            ["write", paths[0], paths[1], "--force", "--verify"],
        )
    };
    for to in [&file, &other, &link] {
        assert_trouble(&write(&file, to), &["2 names", "the others would keep"]);
    }
    fs::remove_file(&other).unwrap();
    // Through the link, which stays one.
    let through = write(&link, &link);
    assert_eq!((through.code, through.stderr.as_str()), (Some(0), ""));
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    fs.remount();
    assert!(fs::read(&file).unwrap() == data);
    let check = run(fs.outside(), ["check", file.to_str().unwrap()]);
    assert!(check.stdout.contains("sound (3 extents"), "{check:?}");
}

/// Most of the file is a hole, which nobody has to read.
#[test]
fn a_large_hole_is_verified_without_reading_it() {
    let name = "a_large_hole_is_verified_without_reading_it";
    let Some(fs) = support::btrfs(name, &Options::default()) else {
        return;
    };
    let source = fs.join("source");
    let file = File::create(&source).unwrap();
    let data = content("lines 200000");
    let size = 1_u64 << 42;
    file.write_all_at(&data, 0).unwrap();
    file.write_all_at(&data, size - 65_536).unwrap();
    let dest = fs.join("dest");
    let paths = [&source, &dest].map(|path| path.to_str().unwrap());
    let options = ["--verify", "--format", "json"];
    let write = run(
        fs.outside(),
        [&["write", paths[0], paths[1]], &options[..]].concat(),
    );
    assert_eq!((write.code, write.stderr.as_str()), (Some(0), ""));
    // What was not read is not said to be: short holes beside the data are all that may be.
    let verified = json(&write.stdout)[0]["verified_bytes"].as_u64().unwrap();
    let data_bytes = 2 * data.len() as u64;
    assert!(
        (data_bytes..data_bytes + (8 << 20)).contains(&verified),
        "{verified}"
    );
    let mut end = vec![0; data.len()];
    let file = File::open(&dest).unwrap();
    file.read_exact_at(&mut end, size - 65_536).unwrap();
    assert!(end == data);
}

#[test]
fn a_tree_on_btrfs_is_checked_and_ends_with_one_line() {
    let name = "a_tree_on_btrfs_is_checked_and_ends_with_one_line";
    let options = Options::default().mounted_with("compress-force=zstd:3");
    let Some(fs) = support::btrfs(name, &options) else {
        return;
    };
    fs::create_dir_all(fs.join("a/b")).unwrap();
    fs::write(fs.join("a/b/text"), lines(300_000)).unwrap();
    fs::write(fs.join("a/short"), b"four").unwrap();
    fs::write(fs.join("a/stream"), stream()).unwrap();
    std::os::unix::fs::symlink("/", fs.join("a/link")).unwrap();
    fs.remount();
    let path = fs.join("a").to_str().unwrap().to_owned();
    let check = run(fs.outside(), ["check", "-r", &path]);
    assert_eq!((check.code, check.stderr.as_str()), (Some(0), ""));
    let last = check.stdout.lines().last().unwrap();
    assert_eq!(last, "2 inputs: 2 sound, 1 file without extents left out");
    // One that is damaged does not keep the others from being judged.
    fs::write(fs.join("a/cut"), &stream()[..5000]).unwrap();
    let check = run(fs.outside(), ["check", "-r", &path]);
    assert_eq!(check.code, Some(1));
    let last = check.stdout.lines().last().unwrap();
    assert_eq!(
        last,
        "3 inputs: 2 sound, 1 NOT SOUND, 1 file without extents left out"
    );
}

/// The number is that of the process while it works.
#[test]
fn squeeze_is_as_nice_as_it_is_told() {
    let Some(fs) = support::btrfs("squeeze_is_as_nice_as_it_is_told", &Options::default()) else {
        return;
    };
    fs::write(fs.join("file"), text(4 << 20)).unwrap();
    let mut command = program(fs.outside());
    command.args(["squeeze", "--nice", "7", "--limit-rate", "64K"]);
    let mut child = command
        .arg(fs.path())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    // It would take a minute.
    let nice = || {
        let stat = fs::read_to_string(format!("/proc/{}/stat", child.id())).unwrap();
        // proc(5): the 19th field; the second is the name in brackets.
        let rest = stat.rsplit_once(')').unwrap().1;
        rest.split_whitespace()
            .nth(16)
            .unwrap()
            .parse::<i32>()
            .unwrap()
    };
    let is_nice = (0..400).any(|_| {
        std::thread::sleep(Duration::from_millis(25));
        nice() == 7
    });
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(is_nice);
}

/// With a state file nothing is looked at twice, unless it is looked at in another way.
#[test]
fn squeeze_remembers_what_it_has_looked_at() {
    let name = "squeeze_remembers_what_it_has_looked_at";
    let Some(fs) = support::btrfs(name, &Options::default()) else {
        return;
    };
    let write = |name: &str| {
        let file = create(fs.join(name));
        file.write_all_at(&text(200_000), 0).unwrap();
        file.sync_all().unwrap();
    };
    write("first");
    let path = fs.path();
    let squeeze = |more: &[&str]| {
        let words = [
            "squeeze",
            path.to_str().unwrap(),
            "--format",
            "json",
            "--state",
            "state",
        ];
        let run = run(fs.outside(), words.iter().chain(more));
        assert_eq!(run.code, Some(0), "{run:?}");
        let sums = json(&run.stdout).pop().unwrap();
        assert_eq!(sums["kind"], "squeeze");
        let left = json(&run.stdout)
            .iter()
            .filter(|line| line["kind"] == "left")
            .count();
        (sums["extents"].as_u64().unwrap(), left)
    };
    assert_eq!(squeeze(&["--min-saving", "1G"]), (0, 1));
    assert_eq!(squeeze(&["--min-saving", "1G"]), (0, 0));
    // Other options: it is looked at again.
    assert_eq!(squeeze(&[]), (1, 0));
    assert_eq!(squeeze(&[]), (0, 0));
    write("second");
    assert_eq!(squeeze(&[]), (1, 0));
    let state = fs.outside().join("state");
    let lines = fs::read_to_string(&state).unwrap();
    assert_eq!(lines.lines().count(), 2, "{lines}");
    // One that the filesystem has not reached is not believed.
    let wrong = lines.replace("\"next_generation\":", "\"next_generation\":99999999");
    fs::write(&state, wrong).unwrap();
    assert_eq!(squeeze(&[]).1, 1, "all is looked at");
    fs::write(&state, "no state").unwrap();
    let run = run(
        fs.outside(),
        ["squeeze", path.to_str().unwrap(), "--state", "state"],
    );
    assert_trouble(&run, &["no state file"]);
    assert_eq!(fs::read_to_string(&state).unwrap(), "no state");
}
