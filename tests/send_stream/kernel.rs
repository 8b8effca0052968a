//! Streams that the running kernel makes, and what btrfs-progs says to ours.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;

use btrfs_payload::send_stream::format::STREAM_HEADER_LEN;
use btrfs_payload::send_stream::{Command, CommandKind, RawCommand, Reader, Version, Writer};

use crate::dump::{Lister, comparable};
use crate::support::{self, Mount, Options, assert_same_tree};
use crate::tree::{self, run};

/// A stream and the arguments of `btrfs send` that made it.
pub struct Made {
    pub arguments: &'static str,
    pub bytes: Vec<u8>,
}

/// Every way to send the snapshots `one` and `two`.
const SENDS: &[&str] = &[
    "one",
    "--proto 2 one",
    "--proto 2 --compressed-data one",
    "-p one two",
    "--proto 2 -p one two",
    "--proto 2 --compressed-data -p one two",
    "--proto 2 --compressed-data two",
    "--no-data -p one two",
    "--proto 2 --no-data one",
    "one two",
    "-e one two",
    "--proto 2 -e one two",
];

fn send(fs: &Mount, arguments: &'static str) -> Made {
    let file = fs.outside().join("stream");
    let mut command = vec![
        "send".into(),
        "--quiet".into(),
        "-f".into(),
        file.clone().into_os_string(),
    ];
    for word in arguments.split(' ') {
        command.push(match word {
            "one" | "two" => fs.join(word).into_os_string(),
            option => option.into(),
        });
    }
    let command: Vec<&OsStr> = command.iter().map(AsRef::as_ref).collect();
    run("btrfs", &command);
    let bytes = fs::read(&file).unwrap();
    fs::remove_file(file).unwrap();
    Made { arguments, bytes }
}

/// What `btrfs receive --dump` lists of a stream.
fn dump(fs: &Mount, stream: &[u8]) -> Vec<String> {
    let file = fs.outside().join("to dump");
    fs::write(&file, stream).unwrap();
    let words = ["receive", "--dump", "-f"].map(OsStr::new);
    let output = run("btrfs", &[&words[..], &[file.as_ref()]].concat());
    // Values of extended attributes may be no text.
    String::from_utf8_lossy(&output)
        .lines()
        .map(comparable)
        .collect()
}

/// What it should list.
fn listed(commands: &[RawCommand]) -> Vec<String> {
    let mut lister = Lister::default();
    commands
        .iter()
        .filter_map(|raw| lister.line(&Command::parse(raw).unwrap()))
        .collect()
}

pub fn receive(stream: &[u8], options: &[&str], into: &Mount) {
    let file = into.outside().join("to receive");
    fs::write(&file, stream).unwrap();
    let mut arguments = vec![OsStr::new("receive"), OsStr::new("-f"), file.as_ref()];
    arguments.extend(options.iter().map(OsStr::new));
    let root = into.path();
    arguments.push(root.as_ref());
    run("btrfs", &arguments);
}

/// The commands, after checking that nothing is wrong with any.
fn commands(made: &Made) -> Vec<RawCommand> {
    Reader::new(&made.bytes[..])
        .map(|raw| {
            let raw = raw.unwrap();
            let issues: Vec<_> = raw.issues().collect();
            assert_eq!(issues, [], "btrfs send {}", made.arguments);
            raw
        })
        .collect()
}

/// Writes the streams again, every one in this version. Only data that is too long for one
/// command of version 1 is taken apart.
fn reframed(made: &Made, version: Version) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new(), version).unwrap();
    let mut stream = 0;
    for raw in commands(made) {
        if raw.stream() != stream {
            stream = raw.stream();
            writer.next_stream(version).unwrap();
        }
        match Command::parse(&raw).unwrap() {
            Command::Write(write) if write.data.len() > version.write_data_len() => {
                writer
                    .write_data(&write.path, write.file_offset, &write.data)
                    .unwrap();
            }
            _ => writer.write_raw(&raw).unwrap(),
        }
    }
    writer.finish().unwrap()
}

/// Writes the streams again from nothing but the typed commands.
fn rewritten(made: &Made) -> Vec<u8> {
    let mut writer: Option<Writer<Vec<u8>>> = None;
    let mut stream = 0;
    for raw in commands(made) {
        let writer = match &mut writer {
            None => writer.insert(Writer::new(Vec::new(), raw.version()).unwrap()),
            Some(writer) => writer,
        };
        if raw.stream() != stream {
            stream = raw.stream();
            writer.next_stream(raw.version()).unwrap();
        }
        writer
            .write_command(&Command::parse(&raw).unwrap())
            .unwrap();
    }
    writer.unwrap().finish().unwrap()
}

fn check_reading(fs: &Mount, made: &Made, seen: &mut BTreeSet<CommandKind>) {
    let raw = commands(made);
    let kinds: Vec<CommandKind> = raw.iter().map(|raw| raw.kind().unwrap()).collect();
    // Not assert_eq: a difference in megabytes is no use on a terminal.
    assert!(rewritten(made) == made.bytes, "typed: {}", made.arguments);
    let version = raw[0].version();
    assert!(
        reframed(made, version) == made.bytes,
        "raw: {}",
        made.arguments
    );
    // The dump ends with the first stream of an input.
    for commands in raw.chunk_by(|a, b| a.stream() == b.stream()) {
        let start = usize::try_from(commands[0].offset()).unwrap() - STREAM_HEADER_LEN;
        let (theirs, ours) = (dump(fs, &made.bytes[start..]), listed(commands));
        for (theirs, ours) in theirs.iter().zip(&ours) {
            assert_eq!(theirs, ours, "dump of {}", made.arguments);
        }
        assert_eq!(theirs.len(), ours.len(), "dump of {}", made.arguments);
    }
    seen.extend(kinds);
}

fn compare(fs: &Mount, into: &mut Mount, names: &[&str]) {
    into.remount();
    for name in names {
        assert_same_tree(&fs.join(name), &into.join(name));
    }
}

/// A fresh filesystem that has received the streams and shows the same trees.
fn check_receiving(fs: &Mount, streams: &[&[u8]], options: &[&str], names: &[&str]) {
    let mut into = support::btrfs("receiving", &Options::default()).unwrap();
    for stream in streams {
        receive(stream, options, &into);
    }
    compare(fs, &mut into, names);
}

#[test]
fn streams_of_this_kernel() {
    let Some(mut fs) = support::btrfs("streams_of_this_kernel", &Options::default()) else {
        return;
    };
    tree::make(&mut fs);
    tree::change(&fs);

    let mut seen = BTreeSet::new();
    for arguments in SENDS {
        check_reading(&fs, &send(&fs, arguments), &mut seen);
    }
    // What the trees were made for did happen. Holes became FALLOCATE in 6.17; verity needs
    // an experimental kernel.
    let missing: Vec<_> = CommandKind::ALL
        .iter()
        .filter(|kind| !seen.contains(kind))
        .filter(|kind| !matches!(kind, CommandKind::Fallocate | CommandKind::EnableVerity))
        .collect();
    assert_eq!(missing, [] as [&CommandKind; 0]);

    let full = ["one", "--proto 2 one"].map(|arguments| send(&fs, arguments));
    let difference = send(&fs, "-p one two");
    let both = ["one", "two"];
    // Version 1 framed as version 2, then the other way about. The difference in version 2 may
    // hold commands that version 1 does not have.
    let to_v2 = [&full[0], &difference].map(|made| reframed(made, Version::V2));
    check_receiving(&fs, &[&to_v2[0], &to_v2[1]], &[], &both);
    let to_v1 = reframed(&full[1], Version::V1);
    check_receiving(&fs, &[&to_v1, &difference.bytes], &[], &both);
    // Two streams in one input, framed again.
    let two_streams = reframed(&send(&fs, "one two"), Version::V2);
    check_receiving(&fs, &[&two_streams], &[], &both);
    let one_stream = reframed(&send(&fs, "-e one two"), Version::V2);
    check_receiving(&fs, &[&one_stream], &["-e"], &both);
    // Encoded writes, taken as they are and decoded by btrfs-progs.
    let encoded = [
        "--proto 2 --compressed-data one",
        "--proto 2 --compressed-data -p one two",
    ]
    .map(|arguments| rewritten(&send(&fs, arguments)));
    for options in [&[][..], &["--force-decompress"]] {
        check_receiving(&fs, &[&encoded[0], &encoded[1]], options, &both);
    }
}
