//! What `btrfs receive` makes of a pack, in both ways that it has.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::process::Command;

use btrfs_payload::prepare::{self, Level};
use btrfs_payload::rules::Codec;

use crate::support::{self, Mount};
use crate::work::{self, options, pack};

pub(crate) fn receive(fs: &Mount, stream: &[u8], into: &str, more: &[&str]) {
    let (input, into) = (fs.outside().join("stream"), fs.join(into));
    fs::write(&input, stream).unwrap();
    fs::create_dir(&into).unwrap();
    let mut command = Command::new("btrfs");
    command.args(["-q", "receive"]).args(more).arg("-f");
    let output = command.arg(input).arg(into).output().unwrap();
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn a_pack_is_received_the_same_in_every_way() {
    let test = "a_pack_is_received_the_same_in_every_way";
    let Some(fs) = support::btrfs(test, &support::Options::default()) else {
        return;
    };
    let (stream, _) = pack(options(2), work::fill);
    receive(&fs, &stream, "encoded", &[]);
    receive(&fs, &stream, "decoded", &["--force-decompress"]);
    let mut plain = options(1);
    plain.plain = true;
    receive(&fs, &pack(plain, work::fill).0, "plain", &[]);
    let mut lzo = options(1);
    lzo.extents = prepare::Options::new(Codec::Lzo, Level::Default);
    lzo.dedupe = false;
    receive(&fs, &pack(lzo, work::fill).0, "lzo", &[]);
    fs.remount();
    let tree = |way: &str| fs.join(way).join("packed");
    for way in ["decoded", "plain", "lzo"] {
        support::assert_same_tree(&tree("encoded"), &tree(way));
    }

    // And it is what was packed, by an independent way: what the calls of `fill` say.
    let packed = tree("encoded");
    let read = |name: &str| fs::read(packed.join(name)).unwrap();
    let text = support::text(700_000);
    let noise = work::noise(300_000);
    assert!(read("long") == text && read("late copy") == text);
    assert!(read("part") == text[131_072..300_000]);
    assert!(read("repeats") == [&noise[..131_072]; 9].concat());
    assert!(read("again") == b"something else");
    assert!(read("zeroes") == [0; 400_000]);
    for (name, len) in [("tiny", 30), ("inline", 3_000), ("sector", 4_096)] {
        assert!(read(name) == text[..len] && read(&format!("{name} again")) == text[..len]);
    }
    let look = |name: &str| fs::symlink_metadata(packed.join(name)).unwrap();
    let holes = look("holes");
    assert_eq!(
        holes.len(),
        (1 << 20) + 5_000 + 10_000_000 + 13 + (300_000_000)
    );
    assert!(holes.blocks() * 512 <= 32 * 1024, "{}", holes.blocks());
    let ping = look("ping");
    assert_eq!(
        (ping.mode() & 0o7777, ping.uid(), ping.gid()),
        (0o4755, 0, 7)
    );
    assert_eq!(
        (ping.mtime(), ping.mtime_nsec()),
        (1_700_000_000, 123_456_789)
    );
    assert_eq!((ping.ino(), ping.nlink()), (look("ping6").ino(), 2));
    let shared = look("shared");
    assert_eq!((shared.mode() & 0o7777, shared.mtime()), (0o2775, -5));
    assert_eq!((shared.uid(), shared.gid()), (1000, 1001));
    let top = look("");
    assert_eq!(
        (top.mode() & 0o7777, top.uid(), top.mtime()),
        (0o751, 3, 1_000)
    );
    assert_eq!(look("implied/one").mode() & 0o7777, 0o711);
    assert_eq!(look("implied/one").mtime(), 77);
    assert_eq!(look("implied").mode() & 0o7777, 0o755);
    assert!(look("empty").is_dir());
    let odd = look("dev/odd").rdev();
    assert_eq!(
        (rustix::fs::major(odd), rustix::fs::minor(odd)),
        (0xabc, 0xf_1234)
    );
    let xattr = |name: &str, attribute: &str| {
        let mut value = [0; 100];
        let len = rustix::fs::lgetxattr(packed.join(name), attribute, &mut value[..]).ok()?;
        Some(value[..len].to_vec())
    };
    assert_eq!(
        xattr("ping", "security.capability").unwrap(),
        work::CAPABILITY
    );
    assert_eq!(
        xattr("listed", "system.posix_acl_access").unwrap(),
        work::ACL
    );
    assert_eq!(
        xattr("shared", "system.posix_acl_default").unwrap(),
        work::ACL
    );
    // Nothing was handed down.
    for name in ["shared/inside", "shared/deeper"] {
        assert_eq!(xattr(name, "system.posix_acl_access"), None);
        assert_eq!(xattr(name, "system.posix_acl_default"), None);
        assert_eq!(xattr(name, "btrfs.compression"), None);
    }
    assert_eq!(look("shared/inside").gid(), 0);
}

/// What takes the place of a file is complete before it has its name.
#[test]
fn a_name_that_comes_twice_has_the_last_content() {
    let test = "a_name_that_comes_twice_has_the_last_content";
    let Some(fs) = support::btrfs(test, &support::Options::default()) else {
        return;
    };
    let (stream, _) = pack(options(1), |tree| {
        work::file(tree, "a", &[1; 5_000]);
        work::file(tree, "a", &[2; 5_000]);
        // The temporary name that the second one had.
        work::file(tree, "o258-1-0", &[3; 5_000]);
        work::file(tree, "b", &[3; 5_000]);
    });
    receive(&fs, &stream, "twice", &[]);
    for (name, byte) in [("a", 2), ("o258-1-0", 3), ("b", 3)] {
        let path = fs.join("twice/packed").join(name);
        assert!(fs::read(path).unwrap() == [byte; 5_000], "{name}");
    }
}
