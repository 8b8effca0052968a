//! Streams that a kernel made, kept in testdata with what btrfs-progs lists of them.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use btrfs_payload::send_stream::{Command, RawCommand, Reader, Version, Writer};

use crate::damage;
use crate::dump::{Lister, comparable};

/// Name and bytes of every kept stream.
fn streams() -> Vec<(String, Vec<u8>)> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/send-streams");
    let files: BTreeSet<_> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    let streams: Vec<_> = files
        .iter()
        .filter(|path| path.extension().is_some_and(|end| end == "stream"))
        .map(|path| {
            let name = path.with_extension("").to_str().unwrap().to_owned();
            (name, fs::read(path).unwrap())
        })
        .collect();
    assert!(streams.len() >= 5, "testdata is incomplete");
    streams
}

#[test]
fn read_as_btrfs_progs_reads_them_and_written_to_the_byte() {
    for (name, bytes) in streams() {
        let commands: Vec<RawCommand> = Reader::new(&bytes[..])
            .map(|raw| {
                let raw = raw.unwrap();
                assert_eq!(raw.issues().collect::<Vec<_>>(), [], "{name}");
                raw
            })
            .collect();
        let mut lister = Lister::default();
        let mut writer = Writer::new(Vec::new(), commands[0].version()).unwrap();
        let mut lines = Vec::new();
        for raw in &commands {
            let command = Command::parse(raw).unwrap();
            lines.extend(lister.line(&command));
            writer.write_command(&command).unwrap();
        }
        assert!(writer.finish().unwrap() == bytes, "{name}");
        let dump = fs::read_to_string(format!("{name}.dump")).unwrap();
        let dump: Vec<_> = dump.lines().map(comparable).collect();
        assert_eq!(lines, dump, "{name}");
    }
}

#[test]
fn every_flipped_bit_is_noticed() {
    // The work grows with the square of the length.
    let small: Vec<_> = streams()
        .into_iter()
        .filter(|(_, bytes)| bytes.len() < 8192)
        .collect();
    assert!(small.len() >= 3, "testdata is incomplete");
    for (name, bytes) in small {
        damage::every_flipped_bit_is_noticed_in(&bytes, &name);
    }
}

#[test]
fn cuts_between_commands_are_noticed() {
    for (name, bytes) in streams() {
        let mut reader = Reader::new(&bytes[..]);
        while reader.read_command().unwrap().is_some() {
            let end = usize::try_from(reader.offset()).unwrap();
            if end < bytes.len() {
                let error = Reader::new(&bytes[..end]).find_map(Result::err);
                assert!(error.is_some(), "{name} cut at {end}");
            }
        }
    }
}

#[test]
fn versions_are_as_named() {
    for (name, bytes) in streams() {
        let version = Reader::new(&bytes[..])
            .read_command()
            .unwrap()
            .unwrap()
            .version();
        let expected = if name.contains("-v1") {
            Version::V1
        } else {
            Version::V2
        };
        assert_eq!(version, expected, "{name}");
    }
}
