//! `scan` on a mounted btrfs.

use std::collections::BTreeSet;
use std::fs::{self, File, Permissions};
use std::io::IoSlice;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use btrfs_payload::ioctl::{self, Submission};
use btrfs_payload::rules::{EncodedIoId, ExtentFields};
use rustix::fs::{FallocateFlags, fallocate};
use serde_json::Value;

use crate::json_page::Page;
use crate::material::{content, lines, noise};
use crate::support::{self, Mount, Options, create, snapshot, subvolume, zlib_of};
use crate::{Run, program, run};

fn sync(fs: &Mount) {
    rustix::fs::syncfs(File::open(fs.path()).unwrap()).unwrap();
}

/// The lines of one kind.
fn of_kind(run: &Run, kind: &str) -> Vec<Value> {
    let line = |line| serde_json::from_str::<Value>(line).unwrap();
    let lines = run.stdout.lines().map(line);
    lines.filter(|line| line["kind"] == kind).collect()
}

/// `scan --verify` of a path, in JSON; with one job and with three it says the same.
fn verify(fs: &Mount, path: &Path) -> Run {
    let of = |jobs: &str| {
        let path = path.to_str().unwrap();
        let arguments = ["scan", "--verify", path, "--format", "json", "--jobs", jobs];
        run(fs.outside(), arguments)
    };
    let one = of("1");
    assert_eq!(one.stderr, "", "{one:?}");
    assert_eq!(one, of("3"));
    one
}

/// Puts a payload into a file as it is; nobody judges it.
fn submit(file: &File, offset: i64, payload: &[u8], fields: ExtentFields) {
    let submission = Submission::new(offset, fields);
    let sent = ioctl::submit(file, &submission, &[IoSlice::new(payload)]);
    assert_eq!(sent.unwrap(), payload.len());
}

/// A zlib payload whose checksum is wrong: kernels read it, and nothing tells that the data is
/// not what it was.
fn damaged_zlib(data: &[u8]) -> Vec<u8> {
    let mut payload = zlib_of(data);
    *payload.last_mut().unwrap() ^= 1;
    payload
}

/// The files that show an extent with findings: name and offset.
fn places(run: &Run) -> BTreeSet<(String, u64)> {
    let places = of_kind(run, "place").into_iter().map(|line| {
        let name = line["input"].as_str().unwrap().to_owned();
        (name, line["extent"].as_u64().unwrap())
    });
    places.collect()
}

fn codes(run: &Run) -> Vec<String> {
    let findings = of_kind(run, "finding").into_iter();
    let errors = findings.filter(|finding| finding["severity"] == "error");
    errors
        .map(|finding| finding["code"].as_str().unwrap().to_owned())
        .collect()
}

/// Each damage has its code, and every file that shows it is named, wherever it is.
#[test]
fn what_does_not_decode_is_found_and_everybody_who_shows_it_is_named() {
    let name = "what_does_not_decode_is_found_and_everybody_who_shows_it_is_named";
    let Some(fs) = support::btrfs(name, &Options::default()) else {
        return;
    };
    let live = fs.join("live");
    subvolume(&live);
    fs::create_dir(live.join("sub")).unwrap();
    let file = create(live.join("sub/file"));
    let data = lines(131_072);
    let whole = ExtentFields::whole(131_072, EncodedIoId::ZLIB);
    submit(&file, 0, &zlib_of(&data), whole);
    submit(&file, 131_072, &damaged_zlib(&data), whole);
    file.sync_all().unwrap();
    fs::hard_link(live.join("sub/file"), live.join("link")).unwrap();
    let odd = create(live.join("clone\n"));
    rustix::fs::ioctl_ficlone(&odd, &file).unwrap();
    // 8 KiB in the middle of the bad one, somewhere else.
    let slice = create(live.join("slice"));
    let (mut from, mut to) = (131_072 + 65_536, 16_384);
    rustix::fs::copy_file_range(&file, Some(&mut from), &slice, Some(&mut to), 8192).unwrap();
    snapshot(&live, &fs.join("frozen"), &["-r"]);
    sync(&fs);

    let all = verify(&fs, &fs.path());
    assert_eq!(all.code, Some(1), "{all:?}");
    assert_eq!(codes(&all), ["zlib-adler32"]);
    let place = |path: &str, at| (fs.join(path).to_str().unwrap().to_owned(), at);
    let expected = ["live", "frozen"].map(|top| {
        [
            place(&format!("{top}/sub/file"), 131_072),
            place(&format!("{top}/link"), 131_072),
            place(&format!("{top}/clone\\n"), 131_072),
            place(&format!("{top}/slice"), 16_384),
        ]
    });
    assert_eq!(places(&all), expected.concat().into_iter().collect());
    let verified = &of_kind(&all, "verified")[0];
    assert_eq!(verified["extents"], 2, "{verified}");
    assert_eq!(verified["unsound"], 1, "{verified}");
    assert_eq!(verified["decoded_bytes"], 262_144, "{verified}");
    assert_eq!(verified["sound"], false, "{verified}");

    // One that shows only a part of it, not the last bytes: the extent is as bad.
    let one = verify(&fs, &live.join("slice"));
    assert_eq!((one.code, codes(&one).len()), (Some(1), 1), "{one:?}");
    let named =
        |run: &Run| -> BTreeSet<String> { places(run).into_iter().map(|(name, _)| name).collect() };
    let expected = [
        place("live/slice", 0).0,
        "[/live]/sub/file".to_owned(),
        "[/live]/link".to_owned(),
        "[/live]/clone\\n".to_owned(),
        "[/frozen]/sub/file".to_owned(),
        "[/frozen]/link".to_owned(),
        "[/frozen]/clone\\n".to_owned(),
        "[/frozen]/slice".to_owned(),
    ];
    assert_eq!(named(&one), expected.into());
    // Below a directory names begin with it.
    let below = verify(&fs, &live.join("sub"));
    assert!(named(&below).contains(&place("live/sub/file", 0).0));
    assert!(named(&below).contains("[/live]/link"));

    // As text: the finding with the first file, then the others.
    let text = run(fs.outside(), ["scan", "--verify", live.to_str().unwrap()]);
    assert_eq!(text.code, Some(1));
    let of_extents: Vec<_> = text
        .stdout
        .lines()
        .filter(|l| l.contains(": extent at "))
        .collect();
    assert_eq!(of_extents.len(), 8, "{text:?}");
    assert!(of_extents[0].contains(": extent at 131072: error: zlib-adler32: "));
    assert!(
        of_extents[1..]
            .iter()
            .all(|line| line.ends_with(": the same extent"))
    );
    let last = text.stdout.lines().last().unwrap();
    assert!(
        last.contains("verified: NOT SOUND (2 extents, 0 inline, "),
        "{last}"
    );

    // Only what is still there is named.
    drop((file, odd, slice));
    for path in ["live/sub/file", "live/link", "live/clone\n"] {
        fs::remove_file(fs.join(path)).unwrap();
    }
    let left = verify(&fs, &live);
    assert_eq!(left.code, Some(1));
    assert!(named(&left).contains(&place("live/slice", 0).0));
    assert_eq!(named(&left).len(), 5, "{left:?}");
}

#[test]
fn an_inline_payload_is_judged_too() {
    let Some(fs) = support::btrfs("an_inline_payload_is_judged_too", &Options::default()) else {
        return;
    };
    let data = lines(3000);
    for (path, payload) in [("good", zlib_of(&data)), ("bad", damaged_zlib(&data))] {
        let file = create(fs.join(path));
        submit(
            &file,
            0,
            &payload,
            ExtentFields::whole(3000, EncodedIoId::ZLIB),
        );
        file.sync_all().unwrap();
    }
    sync(&fs);
    let run = verify(&fs, &fs.path());
    assert_eq!(codes(&run), ["zlib-adler32"], "{run:?}");
    let bad = fs.join("bad").to_str().unwrap().to_owned();
    assert_eq!(places(&run), [(bad, 0)].into());
    let verified = &of_kind(&run, "verified")[0];
    assert_eq!(
        (&verified["extents"], &verified["inline_extents"]),
        (&0.into(), &2.into())
    );
}

/// What the kernel itself compresses is sound, with every codec, and with bookends, tails and
/// inline extents among it.
#[test]
fn nothing_is_found_in_what_the_kernel_made() {
    for codec in ["zlib", "lzo", "zstd"] {
        let options = Options::default().mounted_with(&format!("compress-force={codec}"));
        let Some(fs) = support::btrfs("nothing_is_found_in_what_the_kernel_made", &options) else {
            return;
        };
        let live = fs.join("live");
        subvolume(&live);
        for sample in support::corpus(16 << 20) {
            fs::write(live.join(&sample.name), &sample.data).unwrap();
        }
        for len in [1, 100, 2000, 4095, 4096, 4097, 130_000] {
            fs::write(live.join(format!("text {len}")), lines(len)).unwrap();
        }
        let file = create(live.join("overwritten"));
        file.write_all_at(&lines(1 << 20), 0).unwrap();
        file.sync_all().unwrap();
        snapshot(&live, &fs.join("frozen"), &["-r"]);
        file.write_all_at(&noise(300_000), 200_000).unwrap();
        fallocate(&file, FallocateFlags::empty(), 2 << 20, 1 << 20).unwrap();
        file.set_len(900_001).unwrap();
        sync(&fs);
        let run = verify(&fs, &fs.path());
        assert_eq!((run.code, codes(&run)), (Some(0), Vec::new()), "{run:?}");
        let verified = &of_kind(&run, "verified")[0];
        assert!(verified["extents"].as_u64().unwrap() > 100, "{verified}");
        assert!(
            verified["inline_extents"].as_u64().unwrap() >= 6,
            "{verified}"
        );
        assert_eq!(verified["gone"], 0, "{verified}");
        // Those are all that there are.
        let stored = of_kind(&run, "stored");
        let extents = |inline| {
            let of = |line: &&Value| line["stored"] == codec && line["inline"] == inline;
            stored.iter().find(of).unwrap()["extents"].clone()
        };
        assert_eq!(verified["extents"], extents(false));
        assert_eq!(verified["inline_extents"], extents(true));
    }
}

/// The checksum of the kernel is wrong, or there is more than an extent holds.
#[test]
fn what_the_kernel_does_not_hand_out_or_never_made_is_said() {
    let name = "what_the_kernel_does_not_hand_out_or_never_made_is_said";
    let options = Options::default().sized(256 << 20);
    let Some(fs) = support::btrfs(name, &options.mounted_with("compress-force=zstd")) else {
        return;
    };
    let file = create(fs.join("damaged"));
    file.write_all_at(&lines(3 * 131_072), 0).unwrap();
    file.sync_all().unwrap();
    let mut stored = vec![0; 131_072];
    ioctl::encoded_read(&file, 131_072, &mut stored).unwrap();
    // A frame of 1 MiB, as a program that knows of no limit would make it. The ioctl does not take
    // such claims, so the item says it afterwards. Nothing decodes it here.
    let foreign = create(fs.join("foreign"));
    let payload = support::zstd_of(&lines(1 << 20));
    assert!(payload.len() < 131_072);
    submit(
        &foreign,
        0,
        &payload,
        ExtentFields::whole(131_072, EncodedIoId::ZSTD),
    );
    foreign.sync_all().unwrap();
    let inode = foreign.metadata().unwrap().ino();
    drop((file, foreign));
    fs.edit(|image| {
        support::image::damage(image, &stored[..64]);
        support::image::set_extent_len(image, inode, 1 << 20);
    });
    let run = verify(&fs, &fs.path());
    assert_eq!(run.code, Some(1), "{run:?}");
    let mut codes: BTreeSet<_> = codes(&run).into_iter().collect();
    assert!(codes.remove("unreadable-extent"), "{run:?}");
    assert!(codes.contains("unencoded-too-long"), "{codes:?}");
    let expected = ["damaged", "foreign"].map(|path| fs.join(path).to_str().unwrap().to_owned());
    let expected = expected.into_iter().zip([131_072, 0]);
    assert_eq!(places(&run), expected.collect());
    let verified = &of_kind(&run, "verified")[0];
    assert_eq!(
        (
            &verified["extents"],
            &verified["unsound"],
            &verified["unreadable"]
        ),
        (&4.into(), &2.into(), &1.into())
    );
    let message = of_kind(&run, "finding");
    let message = message
        .iter()
        .find(|it| it["code"] == "unreadable-extent")
        .unwrap();
    assert!(
        message["message"]
            .as_str()
            .unwrap()
            .contains("checksum (EIO)"),
        "{message}"
    );
}

/// Nothing compressed: nothing to decode, and that is said.
#[test]
fn plain_extents_are_counted_and_not_decoded() {
    let name = "plain_extents_are_counted_and_not_decoded";
    let Some(fs) = support::btrfs(name, &Options::default()) else {
        return;
    };
    fs::write(fs.join("plain"), content("mixed")).unwrap();
    fs::write(fs.join("inline"), b"four").unwrap();
    // A swap file, which is not in use.
    let swap = support::chattr_c(&fs.join("swap"));
    fallocate(&swap, FallocateFlags::empty(), 0, 1 << 20).unwrap();
    swap.write_all_at(&noise(1 << 20), 0).unwrap();
    swap.sync_all().unwrap();
    let mkswap = Command::new("mkswap").arg(fs.join("swap")).output();
    assert!(mkswap.unwrap().status.success());
    sync(&fs);
    let text = run(
        fs.outside(),
        ["scan", "--verify", fs.path().to_str().unwrap()],
    );
    assert_eq!((text.code, text.stderr.as_str()), (Some(0), ""));
    let last = text.stdout.lines().last().unwrap();
    assert_eq!(
        last,
        "verified: sound (0 extents, 0 inline, 0 bytes of payload for 0 bytes); 3 plain extents \
         with nothing to decode"
    );
}

/// The first interrupt: what was done by then is said, and the process ends as by the signal.
#[test]
fn an_interrupt_says_what_was_done() {
    let name = "an_interrupt_says_what_was_done";
    let options = Options::default().mounted_with("compress-force=zstd:3");
    let Some(fs) = support::btrfs(name, &options) else {
        return;
    };
    // Some quarter of a second of work.
    let data = lines(64 << 20);
    for number in 0..6 {
        fs::write(fs.join(format!("file {number}")), &data).unwrap();
    }
    sync(&fs);
    // How long it takes until there is something to interrupt depends on the machine.
    for wait in (0..200).map(|tries| Duration::from_millis(10 + tries * 37 % 400)) {
        let arguments = ["scan", "--verify", "--jobs", "1", "--format", "json"];
        let mut command = program(fs.outside());
        command.args(arguments).arg(fs.path());
        let (run, signal) = interrupted(&mut command, wait);
        let Some(verified) = of_kind(&run, "verified").pop() else {
            // Before anything was done.
            assert_eq!(signal, Some(2), "{run:?}");
            continue;
        };
        assert_eq!(verified["stopped"], signal == Some(2), "{run:?}");
        if signal == Some(2) {
            assert_eq!(run.stderr, "");
            let extents = verified["extents"].as_u64().unwrap();
            assert!(extents < 6 * 512, "{verified}");
            return;
        }
    }
    panic!("it always ended before the interrupt, or had done nothing");
}

/// An estimate that is interrupted is one of what was compressed by then.
#[test]
fn an_interrupted_estimate_is_printed() {
    let name = "an_interrupted_estimate_is_printed";
    let Some(fs) = support::btrfs(name, &Options::default()) else {
        return;
    };
    fs::write(fs.join("file"), lines(192 << 20)).unwrap();
    sync(&fs);
    // How long it takes until something is done depends on the machine.
    for wait in (1..100).map(|tries| Duration::from_millis(100 * tries)) {
        let mut command = program(fs.outside());
        command.args([
            "scan",
            "--jobs",
            "1",
            "--format",
            "json",
            "--samples",
            "100000",
        ]);
        command.args(["--estimate", "zstd:19"]).arg(fs.path());
        let (run, signal) = interrupted(&mut command, wait);
        assert_eq!(signal, Some(2), "{run:?}");
        if let Some(estimate) = of_kind(&run, "estimate").pop() {
            let samples = estimate["samples"].as_u64().unwrap();
            assert!((1..1536).contains(&samples), "{estimate}");
            return;
        }
    }
    panic!("nothing was done before the interrupt");
}

/// The program as a user who is nobody: a copy of it where everybody may run it.
fn as_nobody(fs: &Mount, arguments: &[&str]) -> Run {
    let mut command = crate::as_nobody(fs.outside());
    command.args(arguments);
    command.current_dir("/").output().unwrap().into()
}

/// Without root: each place on disk once, and what is not known is said.
#[test]
fn without_root_it_says_what_anybody_may_see() {
    let name = "without_root_it_says_what_anybody_may_see";
    let options = Options::default().mounted_with("compress-force=zstd");
    let Some(fs) = support::btrfs(name, &options) else {
        return;
    };
    let live = fs.join("live");
    subvolume(&live);
    fs::create_dir(live.join("sub")).unwrap();
    subvolume(&live.join("sub/nested"));
    fs::write(live.join("noise"), noise(1 << 20)).unwrap();
    fs::write(live.join("sub/nested/text"), lines(1 << 20)).unwrap();
    fs::write(live.join("inline"), b"four").unwrap();
    fs::hard_link(live.join("noise"), live.join("sub/link")).unwrap();
    std::os::unix::fs::symlink("noise", live.join("symlink")).unwrap();
    let reserved = create(live.join("reserved"));
    fallocate(&reserved, FallocateFlags::empty(), 0, 256 << 10).unwrap();
    reserved.sync_all().unwrap();
    sync(&fs);
    // The same extents again, the first half of one of them, and a snapshot of most.
    let text = File::open(live.join("sub/nested/text")).unwrap();
    let clone = create(live.join("clone"));
    rustix::fs::ioctl_ficlone(&clone, &text).unwrap();
    let half = create(live.join("half"));
    rustix::fs::copy_file_range(&text, Some(&mut 0), &half, Some(&mut 0), 65_536).unwrap();
    snapshot(&live, &fs.join("frozen"), &["-r"]);
    sync(&fs);
    let path = fs.path().to_str().unwrap().to_owned();

    let seen = as_nobody(&fs, &["scan", &path, "--format", "json"]);
    assert_eq!((seen.code, seen.stderr.as_str()), (Some(0), ""), "{seen:?}");
    let mut page = Page::json();
    page.see(&seen.stdout);
    let missing = page.not_seen().into_iter();
    let missing: Vec<_> = missing
        .filter(|field| field.starts_with("survey "))
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
    let survey = &of_kind(&seen, "survey")[0];
    let number = |field: &str| survey[field].as_u64().unwrap();
    // Root sees the same, and more.
    let root = run(fs.outside(), ["scan", &path, "--format", "json"]);
    let stored = of_kind(&root, "stored");
    let of = |kind: &str, inline: bool, field: &str| {
        let of_kind = |line: &&Value| line["stored"] == kind && line["inline"] == inline;
        stored.iter().find(of_kind).unwrap()[field]
            .as_u64()
            .unwrap()
    };
    assert_eq!(number("plain_bytes"), of("plain", false, "disk_bytes"));
    assert_eq!(number("compressed_extents"), of("zstd", false, "extents"));
    assert_eq!(
        number("compressed_shown_bytes"),
        of("zstd", false, "decoded_bytes")
    );
    assert_eq!(
        number("preallocated_bytes"),
        of("preallocated", false, "disk_bytes")
    );
    assert_eq!(number("inline_extents"), of("plain", true, "extents"));
    let scan = &of_kind(&root, "scan")[0];
    assert_eq!(
        (&survey["files"], &survey["referenced_bytes"]),
        (&scan["files"], &scan["referenced_bytes"])
    );
    // All of it is in the snapshot too.
    assert_eq!(number("shared_plain_bytes"), 1 << 20);
    assert_eq!(number("shared_compressed_extents"), 8);
    // However often it is asked for.
    let sub = live.join("sub").to_str().unwrap().to_owned();
    let twice = as_nobody(
        &fs,
        &["scan", &sub, &path, &path, &sub, "--format", "json", "-j3"],
    );
    assert_eq!(seen, twice);

    let text = as_nobody(&fs, &["scan", &path]);
    assert_eq!(text.code, Some(0));
    let last = text.stdout.lines().last().unwrap();
    assert!(last.starts_with("without root it is not known: "), "{last}");
    let wants_root = ["--verify", "--estimate=lzo", "--html=/dev/null"];
    for more in wants_root {
        let denied = as_nobody(&fs, &["scan", &path, more]);
        assert_eq!(
            (denied.code, denied.stdout.as_str()),
            (Some(2), ""),
            "{denied:?}"
        );
        assert!(denied.stderr.contains("root"), "{denied:?}");
    }

    // What may not be read is counted, and no more than that.
    let private = Permissions::from_mode(0o600);
    fs::set_permissions(live.join("noise"), private.clone()).unwrap();
    fs::set_permissions(live.join("sub"), private).unwrap();
    let denied = as_nobody(&fs, &["scan", live.to_str().unwrap(), "--format", "json"]);
    assert_eq!(
        (denied.code, denied.stderr.as_str()),
        (Some(2), ""),
        "{denied:?}"
    );
    let survey = &of_kind(&denied, "survey")[0];
    assert_eq!(
        (&survey["files"], &survey["denied"]),
        (&4.into(), &2.into())
    );
    let denied = as_nobody(&fs, &["scan", live.to_str().unwrap()]);
    assert_eq!(
        denied.stderr,
        "btrfs-payload: 2 files and directories may not be read, and what is in them is not \
         counted\n"
    );
}

/// Directories and snapshots come and go; nobody is kept from an answer by that.
#[test]
fn what_goes_away_meanwhile_stops_nothing() {
    let name = "what_goes_away_meanwhile_stops_nothing";
    let options = Options::default().mounted_with("compress-force=zstd:1");
    let Some(fs) = support::btrfs(name, &options) else {
        return;
    };
    let live = fs.join("live");
    subvolume(&live);
    fs::write(live.join("stays"), lines(1 << 20)).unwrap();
    sync(&fs);
    let ends = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let data = lines(200_000);
            let mut number = 0;
            while !ends.load(Ordering::Relaxed) {
                number += 1;
                let path = live.join(format!("{}", number % 7));
                let below = path.join("a/b/c");
                fs::create_dir_all(&below).unwrap();
                for file in 0..20 {
                    fs::write(below.join(format!("{file}")), &data).unwrap();
                    fs::write(path.join(format!("{file}")), &data[..1000]).unwrap();
                }
                if number % 3 == 0 {
                    sync(&fs);
                    snapshot(&live, &fs.join("frozen"), &["-r"]);
                    support::delete_subvolume(&fs.join("frozen"));
                }
                fs::remove_dir_all(&path).unwrap();
            }
        });
        // Also where one of them panics.
        let _ends = EndsOnDrop(&ends);
        let path = fs.path().to_str().unwrap().to_owned();
        for round in 0..20 {
            let arguments: &[&str] = match round % 4 {
                0 => &["--verify"],
                1 => &["--estimate", "lzo", "--samples", "30"],
                _ => &[],
            };
            let all = [&["scan", &path, "--format", "json"], arguments].concat();
            let run = if round % 4 == 2 {
                as_nobody(&fs, &all)
            } else {
                run(fs.outside(), all)
            };
            assert_eq!((run.code, run.stderr.as_str()), (Some(0), ""), "{run:?}");
            for verified in of_kind(&run, "verified") {
                assert!(verified["extents"].as_u64().unwrap() >= 8, "{verified}");
            }
        }
    });
}

struct EndsOnDrop<'a>(&'a AtomicBool);

impl Drop for EndsOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Against compsize, where it is installed; in the memory that the documentation of `Map` allows.
#[test]
fn a_hundred_thousand_files_are_counted_as_compsize_counts_them() {
    const FILES: u64 = 100_000;
    let name = "a_hundred_thousand_files_are_counted_as_compsize_counts_them";
    // Regular extents only, so that there is one for each file.
    let options = Options::default().mounted_with("compress-force=lzo");
    let Some(fs) = support::btrfs(name, &options.mounted_with("max_inline=0").sized(3 << 30))
    else {
        return;
    };
    let data = lines(9000);
    for directory in 0..100 {
        let path = fs.join(format!("{directory}"));
        fs::create_dir(&path).unwrap();
        for file in 0..FILES / 100 {
            let len = 1 + usize::try_from((directory * 1000 + file) * 7919 % 9000).unwrap();
            fs::write(path.join(format!("{file}")), &data[..len]).unwrap();
        }
    }
    sync(&fs);
    let path = fs.path().to_str().unwrap().to_owned();
    let limit = (64 << 20) + 300 * FILES;
    let mut command = Command::new("prlimit");
    command.arg(format!("--data={limit}"));
    command.arg(env!("CARGO_BIN_EXE_btrfs-payload"));
    let arguments = ["scan", &path, "--format", "json", "--jobs", "1"];
    let bounded = Run::from(command.args(arguments).output().unwrap());
    assert_eq!(bounded.code, Some(0), "{bounded:?}");
    let scan = &of_kind(&bounded, "scan")[0];
    assert_eq!(scan["files"], FILES);
    // A few are written in two pieces.
    let extents = scan["extents"].as_u64().unwrap();
    assert!((FILES..FILES + 5000).contains(&extents), "{scan}");
    assert_eq!(
        bounded,
        run(
            fs.outside(),
            ["scan", &path, "--format", "json", "--jobs", "3"]
        )
    );
    let survey = as_nobody(&fs, &["scan", &path, "--format", "json"]);
    let survey = &of_kind(&survey, "survey")[0];
    assert_eq!(survey["files"], FILES, "{survey}");
    let Ok(output) = Command::new("compsize").args(["-b", &path]).output() else {
        support::skip(name, "compsize is not installed; the rest was tested");
        return;
    };
    let printed = String::from_utf8(output.stdout).unwrap();
    let total = printed
        .lines()
        .find(|line| line.starts_with("TOTAL"))
        .unwrap();
    let numbers: Vec<u64> = total
        .split_whitespace()
        .skip(2)
        .map(|n| n.parse().unwrap())
        .collect();
    let ours = ["disk_bytes", "decoded_bytes", "referenced_bytes"];
    assert_eq!(
        numbers,
        ours.map(|field| scan[field].as_u64().unwrap()),
        "{printed}"
    );
}

/// What a command says that is interrupted after this time, and the signal that it died of.
fn interrupted(command: &mut Command, wait: Duration) -> (Run, Option<i32>) {
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = child.spawn().unwrap();
    std::thread::sleep(wait);
    let pid = rustix::process::Pid::from_child(&child);
    // It may have ended.
    let _ = rustix::process::kill_process(pid, rustix::process::Signal::INT);
    let output = child.wait_with_output().unwrap();
    let signal = output.status.signal();
    (Run::from(output), signal)
}
