//! What a builder makes of entries, and what it refuses.

use std::io::{Cursor, Write};

use btrfs_payload::pack::{Builder, Identity, Metadata, Node, Options};
use btrfs_payload::prepare::Level;
use btrfs_payload::rules::Codec;
use btrfs_payload::send_stream::{Command, CommandKind, Timespec, Uuid};

use crate::support;
use crate::work::{self, ACL, at, commands, fault, file, file_with, options, pack};

#[test]
fn the_number_of_threads_changes_no_byte() {
    let (one, summary) = pack(options(1), work::fill);
    for jobs in [2, 7] {
        assert!(pack(options(jobs), work::fill).0 == one, "{jobs} jobs");
    }
    assert_eq!(summary.directories, 6);
    assert_eq!(summary.implied_directories, 3);
    assert_eq!((summary.hard_links, summary.symlinks), (2, 1));
    assert_eq!((summary.special, summary.replaced), (4, 2));
    assert!(summary.data.hole_bytes > 300_000_000);
    assert!(summary.data.cloned_bytes > 2_000_000, "{summary:?}");
}

/// The UUID is that of the tree: it does not change with the way in which data is stored, and
/// changes with everything else.
#[test]
fn the_uuid_is_of_the_content() {
    let uuid = |options: Options, content: &[u8], mode| {
        let (stream, summary) = pack(options, |tree| {
            file_with(tree, "f", content, &Metadata::new(mode));
            file(tree, "g", &support::text(200_000));
            file(tree, "h", &support::text(200_000));
        });
        for command in commands(&stream) {
            match command {
                Command::Subvol(c) => assert_eq!(c.uuid, summary.uuid),
                Command::Clone(c) => assert_eq!(c.clone_uuid, summary.uuid),
                _ => {}
            }
        }
        summary.uuid
    };
    let usual = uuid(options(2), b"x", 0o644);
    // Version 8, variant 1 (RFC 9562).
    assert_eq!((usual.0[6] >> 4, usual.0[8] >> 6), (8, 0b10));
    let mut other = options(2);
    other.extents = btrfs_payload::prepare::Options::new(Codec::Lzo, Level::Number(9));
    assert_eq!(uuid(other.clone(), b"x", 0o644), usual);
    other.plain = true;
    assert_eq!(uuid(other.clone(), b"x", 0o644), usual);
    other.dedupe = false;
    assert_eq!(uuid(other.clone(), b"x", 0o644), usual);
    assert_ne!(uuid(other.clone(), b"y", 0o644), usual);
    assert_ne!(uuid(other.clone(), b"x", 0o600), usual);
    other.subvolume = "other".into();
    assert_ne!(uuid(other.clone(), b"x", 0o644), usual);
    other.identity = Identity::Given(Uuid([7; 16]));
    assert_eq!(uuid(other, b"x", 0o644), Uuid([7; 16]));
}

/// A stream that stands behind something else in its file, and one into a pipe.
#[test]
fn outputs_need_not_begin_at_their_start() {
    let (whole, summary) = pack(options(2), work::fill);
    let mut behind = Cursor::new(Vec::new());
    behind.write_all(b"before").unwrap();
    let mut tree = Builder::new(behind, options(2)).unwrap();
    work::fill(&mut tree);
    let behind = tree.finish().unwrap().0;
    assert_eq!(behind.position(), behind.get_ref().len() as u64);
    assert!(behind.get_ref()[6..] == whole);

    let mut options = options(1);
    options.identity = Identity::Given(summary.uuid);
    assert!(pack(options.clone(), work::fill).0 == whole);
    let mut pipe = Builder::streaming(Vec::new(), Uuid([1; 16]), options).unwrap();
    file(&mut tree_in(&mut pipe), "f", b"x");
    assert!(pipe.finish().unwrap().0.starts_with(b"btrfs-stream\0\x02"));
}

/// `file` of `work` is for outputs of another type.
fn tree_in(pipe: &mut Builder<Vec<u8>>) -> work::Tree {
    let mut file = pipe.add_file("f", &Metadata::new(0o644)).unwrap();
    file.write_all(b"x").unwrap();
    file.finish().unwrap();
    Builder::new(Cursor::new(Vec::new()), options(1)).unwrap()
}

#[test]
fn content_is_sent_once() {
    let text = support::text(1_000_000);
    let twice = |tree: &mut work::Tree| {
        file(tree, "a", &text);
        file(tree, "b", &text);
    };
    let clones = |stream: &[u8]| -> Vec<_> {
        let clones = commands(stream).into_iter();
        clones
            .filter_map(|command| match command {
                Command::Clone(c) => Some((c.clone_path, c.clone_offset, c.path, c.clone_len)),
                _ => None,
            })
            .collect()
    };
    let (stream, summary) = pack(options(2), twice);
    assert_eq!(clones(&stream), [("a".into(), 0, "b".into(), 1_000_000)]);
    assert_eq!(summary.data.cloned_bytes, 1_000_000);
    let mut apart = options(2);
    apart.dedupe = false;
    let (apart, summary) = pack(apart, twice);
    assert_eq!((clones(&apart), summary.data.cloned_bytes), (Vec::new(), 0));
    assert!(apart.len() > stream.len() / 2 * 3);
    let mut plain = options(2);
    plain.plain = true;
    let (plain, _) = pack(plain, twice);
    assert_eq!(clones(&plain).len(), 1);
    assert_eq!(plain[13], 1, "the version");
}

/// Owner, permissions, attributes, times: none undoes what came before.
#[test]
fn metadata_comes_in_the_right_order() {
    let (stream, _) = pack(options(1), |tree| {
        let directory = Metadata::new(0o700)
            .times(at(5))
            .xattr("user.x", "1")
            .xattr("system.posix_acl_default", ACL);
        tree.add("d", Node::Directory, &directory).unwrap();
        let metadata = Metadata::new(0o4755)
            .xattr("user.z", "")
            .xattr("security.capability", work::CAPABILITY);
        file_with(tree, "d/f", b"content", &metadata);
    });
    let kinds: Vec<_> = commands(&stream).iter().map(Command::kind).collect();
    use CommandKind::*;
    let directory = [MkDir, Chown, Chmod, SetXattr];
    let file = [MkFile, Write, Chown, Chmod, SetXattr, SetXattr, Utimes];
    let end = [Chown, Chmod, SetXattr, Utimes, Utimes, End];
    let expected = [&[Subvol][..], &directory, &file, &end].concat();
    assert_eq!(kinds, expected);
    assert!(commands(&stream).iter().any(|command| matches!(
        command,
        Command::Utimes(c) if c.path == "d" && c.mtime.seconds == 5
    )));
}

#[test]
fn no_time_is_later_than_asked_for() {
    let mut options = options(1);
    options.latest = Some(Timespec {
        seconds: 100,
        nanoseconds: 5,
    });
    let (stream, _) = pack(options, |tree| {
        tree.add("old", Node::Directory, &Metadata::new(0o755).times(at(99)))
            .unwrap();
        file_with(tree, "new", b"x", &Metadata::new(0o644).times(at(100)));
    });
    for command in commands(&stream) {
        if let Command::Utimes(c) = command {
            let times = [c.atime, c.mtime, c.ctime, c.otime.unwrap()];
            let expected = match &c.path[..] {
                b"new" => (100, 5),
                b"old" => (99, 123_456_789),
                _ => (0, 0),
            };
            for time in times {
                assert_eq!((time.seconds, time.nanoseconds), expected);
            }
        }
    }
}

#[test]
fn what_cannot_stand_in_a_tree_is_refused_by_name() {
    let metadata = Metadata::new(0o644);
    pack(options(1), |tree| {
        let long = "n".repeat(256);
        let deep = "d/".repeat(2100);
        file(tree, "file", b"x");
        tree.add("link", Node::Symlink(b"/etc"), &metadata).unwrap();
        tree.add("directory", Node::Directory, &metadata).unwrap();
        let link = |target: &'static str| Node::HardLink(target.as_bytes());
        for (path, node, expected) in [
            ("../f", Node::Fifo, "../f: a path has no part `..`"),
            (
                "a/../../f",
                Node::Fifo,
                "a/../../f: a path has no part `..`",
            ),
            ("a\0b", Node::Fifo, "a\\x00b: a path holds no zero byte"),
            (&long, Node::Fifo, "has 256 bytes, at most 255 fit"),
            (
                &deep,
                Node::Directory,
                "the path has 4199 bytes; with the name of the subvolume 4085 fit",
            ),
            ("/", Node::Fifo, "it is the top directory"),
            (
                "link/passwd",
                Node::Fifo,
                "what it would be in is no directory: link",
            ),
            (
                "file/x",
                Node::Directory,
                "what it would be in is no directory: file",
            ),
            (
                "directory",
                Node::Fifo,
                "there is a directory of this name already",
            ),
            (
                "x",
                link("later"),
                "x: it is another name of later, which is not there",
            ),
            ("x", link("../../etc/passwd"), "a path has no part `..`"),
            ("x", link("link/passwd"), "which is not there"),
            ("x", link("x"), "which is not there"),
            ("x", link("directory"), "which is a directory"),
            ("x", Node::Symlink(b""), "1 to 4095 bytes"),
            ("x", Node::Symlink(&[b'a'; 4096]), "this one has 4096"),
            (
                "x",
                Node::CharDevice {
                    major: 4096,
                    minor: 0,
                },
                "there is no device 4096:0",
            ),
        ] {
            let said = fault(tree.add(path, node, &metadata));
            assert!(said.contains(expected), "{said}");
        }
        for (metadata, expected) in [
            (
                metadata.clone().xattr("trusted.a", vec![0; 17_000]),
                "as it is too long",
            ),
            (
                metadata.clone().xattr("user.a", "1"),
                "attributes of users are for files",
            ),
            (
                metadata.clone().xattr("system.nfs4_acl", "1"),
                "none of this name",
            ),
            (
                metadata.clone().xattr("security.capability", "1"),
                "with this value",
            ),
        ] {
            let said = fault(tree.add("x", Node::Fifo, &metadata));
            assert!(said.contains(expected), "{said}");
        }
    });
}

#[test]
fn a_file_has_so_many_names_and_a_tree_too() {
    pack(options(2), |tree| {
        file(tree, "f", b"x");
        for n in 1..65_535 {
            let name = format!("{n}");
            tree.add(&name, Node::HardLink(b"f"), &Metadata::default())
                .unwrap();
        }
        let more = tree.add("more", Node::HardLink(b"f"), &Metadata::default());
        assert!(fault(more).contains("at most 65535 names"));
    });
    let mut few = options(1);
    few.max_names = 3;
    pack(few, |tree| {
        for name in ["a", "b", "c"] {
            file(tree, name, b"");
        }
        let more = tree.add("d", Node::Fifo, &Metadata::default());
        assert!(fault(more).contains("has 3 names already"));
        // A name that is there already is no new one.
        file(tree, "c", b"again");
    });
}

#[test]
fn a_file_that_is_not_finished_ends_the_work() {
    let mut tree = Builder::new(Cursor::new(Vec::new()), options(2)).unwrap();
    drop(tree.add_file("half", &Metadata::new(0o644)).unwrap());
    let next = tree.add("next", Node::Fifo, &Metadata::default());
    assert_eq!(fault(next), "the content of half is not complete");
    assert!(tree.finish().is_err());
}

/// The disk is full: the builder says so, sooner or later, and does not wait for ever.
#[test]
fn an_output_that_fails_comes_back() {
    struct Full(usize);
    impl Write for Full {
        fn write(&mut self, data: &[u8]) -> std::io::Result<usize> {
            self.0 = self
                .0
                .checked_sub(data.len())
                .ok_or_else(|| std::io::Error::other("no more room"))?;
            Ok(data.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let noise = work::noise(300_000);
    for room in [0, 20, 200_000, 1_000_000] {
        let result =
            Builder::streaming(Full(room), Uuid([1; 16]), options(2)).and_then(|mut tree| {
                for n in 0..50 {
                    let mut content = noise.clone();
                    content[0] = n;
                    let mut file = tree.add_file(format!("{n}"), &Metadata::new(0o644))?;
                    file.write_all(&content)?;
                    file.finish()?;
                }
                tree.finish()
            });
        let error = anyhow_chain(&result.err().unwrap());
        assert!(error.contains("no more room"), "{room}: {error}");
    }
}

fn anyhow_chain(error: &dyn std::error::Error) -> String {
    let mut said = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        said = format!("{said}: {error}");
        cause = error.source();
    }
    said
}
