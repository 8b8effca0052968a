//! What the tests of packing share.

use std::io::{Cursor, Write};
use std::num::NonZeroUsize;

use btrfs_payload::pack::{Builder, Metadata, Node, Options, PackError, Summary, Times};
use btrfs_payload::send_stream::{Command, Reader, Timespec};
use btrfs_payload::transform::{CheckOptions, check};

use crate::support;

pub(crate) type Tree = Builder<Cursor<Vec<u8>>>;

pub(crate) fn options(jobs: usize) -> Options {
    let mut options = Options::new("packed");
    options.jobs = NonZeroUsize::new(jobs).unwrap();
    options
}

/// Packs what `fill` adds; the stream has to pass the check without a finding.
pub(crate) fn pack(options: Options, fill: impl FnOnce(&mut Tree)) -> (Vec<u8>, Summary) {
    let mut tree = Builder::new(Cursor::new(Vec::new()), options).unwrap();
    fill(&mut tree);
    let (stream, summary) = tree.finish().unwrap();
    let stream = stream.into_inner();
    assert_eq!(summary.stream_bytes, stream.len() as u64);
    assert_sound(&stream);
    (stream, summary)
}

pub(crate) fn assert_sound(stream: &[u8]) {
    let mut findings = Vec::new();
    let jobs = NonZeroUsize::MIN;
    check(stream, &CheckOptions::default(), jobs, |finding| {
        findings.push(finding.to_string());
    })
    .unwrap();
    assert_eq!(findings, Vec::<String>::new());
}

pub(crate) fn commands(stream: &[u8]) -> Vec<Command> {
    Reader::new(stream)
        .map(|raw| Command::parse(&raw.unwrap()).unwrap())
        .collect()
}

pub(crate) fn file(tree: &mut Tree, path: &str, content: &[u8]) {
    file_with(tree, path, content, &Metadata::new(0o644));
}

pub(crate) fn file_with(tree: &mut Tree, path: &str, content: &[u8], metadata: &Metadata) {
    let mut file = tree.add_file(path, metadata).unwrap();
    file.write_all(content).unwrap();
    file.finish().unwrap();
}

pub(crate) fn at(seconds: i64) -> Times {
    Times::all(Timespec {
        seconds,
        nanoseconds: 123_456_789,
    })
}

/// An access list: the owner, one user, the group, the mask, others.
pub(crate) const ACL: &[u8] = &[
    2, 0, 0, 0, //
    1, 0, 7, 0, 255, 255, 255, 255, //
    2, 0, 6, 0, 0x39, 0x30, 0, 0, //
    4, 0, 5, 0, 255, 255, 255, 255, //
    16, 0, 7, 0, 255, 255, 255, 255, //
    32, 0, 5, 0, 255, 255, 255, 255,
];

/// CAP_NET_RAW, permitted and effective (include/uapi/linux/capability.h, revision 2).
pub(crate) const CAPABILITY: &[u8] = &[
    1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
];

/// So many bytes that no compression shrinks.
pub(crate) fn noise(len: usize) -> Vec<u8> {
    let mut noise = support::generated(8 * len).remove(4).data;
    noise.truncate(len);
    assert_eq!(noise.len(), len);
    noise
}

/// A bit of everything.
pub(crate) fn fill(tree: &mut Tree) {
    let text = support::text(700_000);
    let noise = noise(300_000);
    let top = Metadata::new(0o751).owner(3, 4).times(at(1_000));
    tree.add("", Node::Directory, &top).unwrap();
    let handed_down = Metadata::new(0o2775)
        .owner(1000, 1001)
        .times(at(-5))
        .xattr("system.posix_acl_default", ACL)
        .xattr("btrfs.compression", "zstd")
        .xattr("user.a", "1");
    tree.add("shared", Node::Directory, &handed_down).unwrap();
    file(tree, "shared/inside", b"no access list of its own");
    tree.add("shared/deeper", Node::Directory, &Metadata::new(0o700))
        .unwrap();
    file(tree, "implied/one/two", &text[..5_000]);
    let ping = Metadata::new(0o4755)
        .owner(0, 7)
        .times(at(1_700_000_000))
        .xattr("security.capability", CAPABILITY)
        .xattr("user.comment", "sends packets");
    file_with(tree, "ping", &noise[..100_001], &ping);
    let listed = Metadata::new(0o664).xattr("system.posix_acl_access", ACL);
    file_with(tree, "listed", b"x", &listed);
    file(tree, "empty", b"");
    file(tree, "long", &text);
    file(tree, "noise", &noise);
    // The whole of it, a part of it at a sector, and a file that repeats itself.
    file(tree, "again", &text);
    file(tree, "part", &text[131_072..300_000]);
    file(tree, "repeats", &[&noise[..131_072]; 9].concat());
    for (name, len) in [("tiny", 30), ("inline", 3_000), ("sector", 4_096)] {
        file(tree, name, &text[..len]);
        file(tree, &format!("{name} again"), &text[..len]);
    }
    let mut holes = tree.add_file("holes", &Metadata::new(0o600)).unwrap();
    holes.hole(1 << 20).unwrap();
    holes.write_all(&text[..5_000]).unwrap();
    holes.hole(10_000_000).unwrap();
    holes.write_all(b"in the middle").unwrap();
    holes.hole(300_000_000).unwrap();
    holes.finish().unwrap();
    let mut only = tree.add_file("only a hole", &Metadata::new(0o600)).unwrap();
    only.hole(12_345).unwrap();
    only.finish().unwrap();
    file(tree, "zeroes", &[0; 400_000]);
    tree.add("link", Node::Symlink(b"../nowhere"), &top)
        .unwrap();
    tree.add("ping6", Node::HardLink(b"/ping"), &Metadata::default())
        .unwrap();
    tree.add("link too", Node::HardLink(b"link"), &Metadata::default())
        .unwrap();
    let device = Node::CharDevice {
        major: 0xabc,
        minor: 0xf_1234,
    };
    tree.add("dev/odd", device, &Metadata::new(0o666).times(at(9)))
        .unwrap();
    let disk = Node::BlockDevice { major: 8, minor: 1 };
    tree.add("dev/sda1", disk, &Metadata::new(0o660).owner(0, 6))
        .unwrap();
    tree.add("dev/fifo", Node::Fifo, &Metadata::new(0o622))
        .unwrap();
    tree.add("dev/socket", Node::Socket, &Metadata::new(0o755))
        .unwrap();
    // Names that come again.
    file(tree, "again", b"something else");
    tree.add(
        "implied/one",
        Node::Directory,
        &Metadata::new(0o711).times(at(77)),
    )
    .unwrap();
    tree.add("empty", Node::Directory, &Metadata::new(0o755))
        .unwrap();
    file(tree, "odd \u{e4}\n\u{7f}'\"", b"a name");
    file(tree, "late copy", &text);
}

/// The fault of something that cannot be added.
pub(crate) fn fault(result: Result<(), PackError>) -> String {
    result.unwrap_err().to_string()
}
