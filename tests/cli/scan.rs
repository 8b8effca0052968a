//! `scan` on a mounted btrfs.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::IoSlice;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use btrfs_payload::ioctl::{self, Submission};
use btrfs_payload::rules::{EncodedIoId, ExtentFields};
use rustix::fs::{FallocateFlags, fallocate};
use serde_json::Value;

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
    sync(&fs);
    let text = run(
        fs.outside(),
        ["scan", "--verify", fs.path().to_str().unwrap()],
    );
    assert_eq!((text.code, text.stderr.as_str()), (Some(0), ""));
    let last = text.stdout.lines().last().unwrap();
    assert_eq!(
        last,
        "verified: sound (0 extents, 0 inline, 0 bytes of payload for 0 bytes); 2 plain extents \
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
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = child.spawn().unwrap();
        std::thread::sleep(wait);
        let pid = rustix::process::Pid::from_child(&child);
        // It may have ended.
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::INT);
        let output = child.wait_with_output().unwrap();
        let signal = output.status.signal();
        let run = Run::from(output);
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
