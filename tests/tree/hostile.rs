//! Streams that nobody sends who means well.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command as Process;
use std::time::{Duration, Instant};

use btrfs_payload::send_stream::{Reader, Version, Writer, command};
use btrfs_payload::tree::{Options, TreeError, UnpackOptions, directory_digest};
use quickcheck::quickcheck;

use crate::maker::Maker;
use crate::{JOBS, Read};

/// Longer than anything here takes that does not grow with a number in the stream.
const SOON: Duration = Duration::from_secs(20);

fn refused(make: impl FnOnce(&mut Maker)) -> String {
    let mut maker = Maker::new();
    make(&mut maker);
    let stream = maker.stream();
    match Read::new(&[&stream]) {
        Ok(_) => panic!("it was taken"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn paths_that_lead_outside_are_refused() {
    for path in ["..", "../x", "a/../x", "a/..", "/../x", "a/b/../../../x"] {
        let said = refused(|maker| {
            maker.directory("a").directory("a/b").file(path);
        });
        assert!(said.contains("path-outside"), "{said}");
    }
    let said = refused(|maker| {
        maker.file("f").rename("f", "../f");
    });
    assert!(said.contains("path-outside"), "{said}");
    let name = "n".repeat(256);
    let said = refused(|maker| {
        maker.file(&name);
    });
    assert!(said.contains("name-too-long"), "{said}");
    // A slash in front leads to the same place, as `btrfs receive` has it.
    let mut maker = Maker::new();
    maker.file("/f");
    let stream = maker.stream();
    assert!(
        Read::new(&[&stream])
            .unwrap()
            .subvolume()
            .tree
            .at(b"f")
            .is_some()
    );
}

#[test]
fn nothing_goes_through_a_symbolic_link_of_the_stream() {
    let said = refused(|maker| {
        maker.symlink("a", Path::new("/tmp")).file("a/f");
    });
    assert!(said.contains("not-a-directory"), "{said}");
    let said = refused(|maker| {
        maker
            .directory("d")
            .file("d/f")
            .symlink("a", Path::new("d"));
        maker.rename("d/f", "a/g");
    });
    assert!(said.contains("not-a-directory"), "{said}");
}

/// Nor through one that is in the directory.
#[test]
fn nothing_goes_through_a_symbolic_link_that_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let [out, outside] = ["out", "outside"].map(|name| dir.path().join(name));
    for path in [&out, &outside] {
        fs::create_dir(path).unwrap();
    }
    fs::write(outside.join("f"), "as it was").unwrap();
    symlink(&outside, out.join("d")).unwrap();
    symlink(outside.join("f"), out.join("g")).unwrap();
    let mut maker = Maker::new();
    maker.directory("d").file("d/f").file("g");
    maker.0.write_data(&"d/f".into(), 0, b"new").unwrap();
    maker.0.write_data(&"g".into(), 0, b"new").unwrap();
    let stream = maker.stream();
    let read = Read::new(&[&stream]).unwrap();
    let mut options = UnpackOptions::default();
    assert!(read.unpack(&[], &out, &options).is_err(), "it is not empty");
    options.force = true;
    read.unpack(&[], &out, &options).unwrap();
    assert_eq!(fs::read(outside.join("f")).unwrap(), b"as it was");
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 1);
    assert_eq!(fs::read(out.join("d/f")).unwrap(), b"new");
    assert_eq!(fs::read(out.join("g")).unwrap(), b"new");
    assert!(fs::symlink_metadata(out.join("d")).unwrap().is_dir());
}

#[test]
fn a_hole_of_any_size_costs_nothing() {
    let begun = Instant::now();
    let mut maker = Maker::new();
    let size = (1 << 63) - 1;
    maker.file("f").put(command::Truncate {
        path: "f".into(),
        size,
    });
    maker
        .0
        .write_data(&"f".into(), 1 << 62, b"in the middle")
        .unwrap();
    let stream = maker.stream();
    let read = Read::new(&[&stream]).unwrap();
    assert_eq!(read.subvolume().tree.at(b"f").unwrap().size(), size);
    read.digest().unwrap();
    assert!(begun.elapsed() < SOON);
}

#[test]
fn a_file_that_doubles_itself_is_stopped() {
    let begun = Instant::now();
    let mut maker = Maker::new();
    maker.file("f");
    for sector in 0..2 {
        maker
            .0
            .write_data(&"f".into(), sector * 4096, &[7; 4096])
            .unwrap();
    }
    let mut len = 8192;
    while len < 1 << 30 {
        maker.clone("f", len, 0, len);
        len *= 2;
    }
    // On and on with half of it.
    for turn in 2..60 {
        maker.clone("f", turn << 30, 0, 1 << 29);
    }
    let stream = maker.stream();
    let mut options = Options::default();
    options.max_memory = 64 << 20;
    let read = Read::with(&[&stream], options);
    assert!(matches!(read.err(), Some(TreeError::Memory { .. })));
    assert!(begun.elapsed() < SOON);
}

/// No path is longer than 4095 bytes, and yet renaming puts directories as deep as one likes.
#[test]
fn directories_are_as_deep_as_they_are() {
    const DEPTH: usize = 10_000;
    let mut maker = Maker::new();
    maker.directory("d").file("d/bottom");
    for _ in 1..DEPTH {
        maker.directory("t").rename("d", "t/d").rename("t", "d");
    }
    let stream = maker.stream();
    let read = Read::new(&[&stream]).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    let mut options = UnpackOptions::default();
    options.sync = false;
    let summary = read.unpack(&[], &out, &options).unwrap();
    let all = u64::try_from(DEPTH).unwrap();
    assert_eq!((summary.directories, summary.files), (all, 1));
    directory_digest(&out, JOBS).unwrap();
    // The standard library would open all of them at once.
    assert!(
        Process::new("rm")
            .arg("-rf")
            .arg(&out)
            .status()
            .unwrap()
            .success()
    );

    let mut maker = Maker::new();
    maker.directory("d");
    for _ in 0..20_000 {
        maker.directory("t").rename("d", "t/d").rename("t", "d");
    }
    let stream = maker.stream();
    let said = Read::new(&[&stream]).unwrap().digest().unwrap_err();
    assert!(said.contains("TooDeep"), "{said}");
}

#[test]
fn a_directory_is_not_moved_into_itself() {
    let said = refused(|maker| {
        maker.directory("a").directory("a/b").rename("a", "a/b/c");
    });
    assert!(said.contains("into-itself"), "{said}");
}

#[test]
fn many_names_are_bounded() {
    let mut maker = Maker::new();
    for number in 0..100_000 {
        maker.file(&format!("a file with a name of its own, number {number}"));
    }
    let stream = maker.stream();
    assert_eq!(
        Read::new(&[&stream]).unwrap().subvolume().tree.len(),
        100_000
    );
    let mut options = Options::default();
    options.max_memory = 16 << 20;
    let read = Read::with(&[&stream], options);
    assert!(matches!(read.err(), Some(TreeError::Memory { .. })));
}

#[test]
fn data_that_was_not_sent_is_missed() {
    let mut maker = Maker::new();
    maker.file("f");
    maker.put(command::UpdateExtent {
        path: "f".into(),
        file_offset: 0,
        size: 100,
    });
    maker.put(command::Truncate {
        path: "f".into(),
        size: 100,
    });
    let stream = maker.stream();
    let read = Read::new(&[&stream]).unwrap();
    assert!(read.digest().unwrap_err().contains("NotSent"));
}

/// The commands of a kernel's stream, in any order and number.
fn shuffled(picks: &[usize]) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/send-streams");
    let streams = ["full-v1.stream", "difference-v1.stream"];
    let streams = streams.map(|name| fs::read(path.join(name)).unwrap());
    let commands: Vec<_> = streams
        .iter()
        .flat_map(|stream| Reader::new(&stream[..]))
        .map(Result::unwrap)
        .collect();
    let mut writer = Writer::new(Vec::new(), Version::V1).unwrap();
    writer.write_raw(&commands[0]).unwrap();
    for pick in picks {
        let raw = &commands[pick % commands.len()];
        // Nothing may come after it.
        if raw.number() != 21 {
            writer.write_raw(raw).unwrap();
        }
    }
    writer.finish().unwrap()
}

quickcheck! {
    /// Whatever comes, a tree that is taken can be walked through, and has the names it says.
    fn commands_in_any_order_do_no_harm(picks: Vec<usize>) -> bool {
        let stream = shuffled(&picks);
        let Ok(read) = Read::new(&[&stream]) else {
            return true;
        };
        let Ok(subvolume) = read.chain.result(Some(b"one")) else {
            return true;
        };
        let mut walk = subvolume.tree.walk(b"").unwrap();
        let mut names = 0;
        while let Some(step) = walk.next().unwrap() {
            names += usize::from(matches!(step, btrfs_payload::tree::Step::Enter(_)));
        }
        names == subvolume.tree.len() + 1
    }

    fn any_bytes_do_no_harm(bytes: Vec<u8>) -> bool {
        let stream = [&b"btrfs-stream\0\x02\0\0\0"[..], &bytes].concat();
        let _ = Read::new(&[&stream]);
        true
    }
}
