//! What is written is read back.

use std::collections::BTreeSet;
use std::io::Read;

use btrfs_payload::send_stream::{
    Command, CommandKind, EncodeError, RawCommand, Reader, Version, WriteError, Writer, command,
};
use bytes::Bytes;
use quickcheck::{Gen, TestResult, quickcheck};

use crate::arbitrary::{self, Stream};

/// The bytes of a whole stream.
pub fn write(stream: &Stream) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new(), stream.version).unwrap();
    for command in &stream.commands {
        writer.write_command(command).unwrap();
    }
    writer.finish().unwrap()
}

/// Every command of an input that is sound; panics on the first issue.
fn read(input: impl Read) -> Vec<RawCommand> {
    Reader::new(input)
        .map(|raw| {
            let raw = raw.unwrap();
            assert_eq!(raw.issues().collect::<Vec<_>>(), []);
            raw
        })
        .collect()
}

fn parse(commands: &[RawCommand]) -> Vec<Command> {
    commands
        .iter()
        .map(|raw| Command::parse(raw).unwrap())
        .collect()
}

/// An input that gives its bytes in pieces of changing size, with interruptions.
struct Pieces<'a> {
    rest: &'a [u8],
    sizes: Vec<u8>,
    turn: usize,
}

impl Read for Pieces<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.turn += 1;
        let size = self.sizes.get(self.turn % self.sizes.len().max(1)).copied();
        let size = match size {
            Some(0) if self.turn.is_multiple_of(2) => {
                return Err(std::io::ErrorKind::Interrupted.into());
            }
            Some(size) => usize::from(size).max(1),
            None => 1000,
        };
        let n = size.min(buffer.len()).min(self.rest.len());
        buffer[..n].copy_from_slice(&self.rest[..n]);
        self.rest = &self.rest[n..];
        Ok(n)
    }
}

quickcheck! {
    fn written_commands_are_read_back(stream: Stream) -> bool {
        let mut expected = stream.commands.clone();
        expected.push(command::End {}.into());
        parse(&read(&write(&stream)[..])) == expected
    }

    fn the_way_the_input_comes_in_does_not_matter(stream: Stream, sizes: Vec<u8>) -> bool {
        let bytes = write(&stream);
        let pieces = Pieces { rest: &bytes, sizes, turn: 0 };
        read(pieces) == read(&bytes[..])
    }

    fn passing_through_changes_no_byte(stream: Stream) -> bool {
        let bytes = write(&stream);
        let mut writer = Writer::new(Vec::new(), stream.version).unwrap();
        for raw in read(&bytes[..]) {
            writer.write_raw(&raw).unwrap();
        }
        writer.finish().unwrap() == bytes
    }

    fn framing_again_is_writing_the_same_commands(stream: Stream, number: u32) -> TestResult {
        let version = Version::ALL[(number % 3) as usize];
        let mut again = Writer::new(Vec::new(), version).unwrap();
        let mut typed = Writer::new(Vec::new(), version).unwrap();
        for raw in read(&write(&stream)[..]) {
            let mut command = Command::parse(&raw).unwrap();
            // The one attribute that is left out on the way to version 1.
            if let (Command::Utimes(times), Version::V1) = (&mut command, version) {
                times.otime = None;
            }
            let result = again.write_raw(&raw).map_err(|e| e.to_string());
            assert_eq!(result, typed.write_command(&command).map_err(|e| e.to_string()));
        }
        TestResult::from_bool(again.finish().unwrap() == typed.finish().unwrap())
    }

    fn there_and_back_gives_the_same_bytes(stream: Stream) -> TestResult {
        if stream.version != Version::V1 {
            return TestResult::discard();
        }
        let bytes = write(&stream);
        let through = |bytes: &[u8], version| {
            let mut writer = Writer::new(Vec::new(), version).unwrap();
            for raw in read(bytes) {
                writer.write_raw(&raw).unwrap();
            }
            writer.finish().unwrap()
        };
        let later = through(&bytes, Version::V2);
        TestResult::from_bool(through(&later, Version::V1) == bytes)
    }
}

#[test]
fn every_command_of_every_version_is_read_back() {
    let mut g = Gen::new(100);
    for version in Version::ALL {
        let commands: Vec<Command> = arbitrary::kinds(version)
            .into_iter()
            .flat_map(|kind| std::iter::repeat_n(kind, 20))
            .map(|kind| arbitrary::command(&mut g, kind, version))
            .collect();
        let mut read_back = parse(&read(
            &write(&Stream {
                version,
                commands: commands.clone(),
            })[..],
        ));
        assert_eq!(read_back.pop(), Some(command::End {}.into()));
        assert_eq!(read_back, commands);
        let seen: BTreeSet<CommandKind> = read_back.iter().map(Command::kind).collect();
        let all = CommandKind::ALL
            .iter()
            .filter(|kind| kind.since() <= version);
        assert_eq!(seen.len() + 1, all.count(), "all but END");
    }
}

#[test]
fn several_streams_in_one_output() {
    let unlink = command::Unlink {
        path: Bytes::from_static(b"a"),
    };
    let mut writer = Writer::new(Vec::new(), Version::V1).unwrap();
    writer.write_command(&unlink).unwrap();
    writer.next_stream(Version::V2).unwrap();
    writer.write_command(&unlink).unwrap();
    writer.write_command(&command::End {}).unwrap();
    assert!(matches!(
        writer.write_command(&unlink),
        Err(WriteError::Ended)
    ));
    writer.next_stream(Version::V3).unwrap();
    let bytes = writer.finish().unwrap();
    let commands = read(&bytes[..]);
    let places: Vec<_> = commands
        .iter()
        .map(|c| (c.stream(), c.version(), c.number()))
        .collect();
    assert_eq!(
        places,
        [
            (0, Version::V1, 11),
            (0, Version::V1, 21),
            (1, Version::V2, 11),
            (1, Version::V2, 21),
            (2, Version::V3, 21),
        ]
    );
}

#[test]
fn pieces_without_header_and_end() {
    let unlink = command::Unlink {
        path: Bytes::from_static(b"a"),
    };
    let mut writer = Writer::headerless(Vec::new(), Version::V2);
    writer.write_command(&unlink).unwrap();
    let piece = writer.finish_open().unwrap();
    assert_eq!(
        RawCommand::encode(&unlink, Version::V2).unwrap().bytes(),
        &piece
    );
    let mut reader = Reader::headerless(&piece[..], Version::V2).end_optional();
    let raw = reader.read_command().unwrap().unwrap();
    assert_eq!(Command::parse(&raw), Ok(unlink.into()));
    assert_eq!((raw.offset(), raw.stream()), (0, 0));
    assert!(reader.read_command().unwrap().is_none());
}

#[test]
fn long_data_becomes_several_writes() {
    let path = Bytes::from_static(b"a");
    for (version, expected) in [
        (
            Version::V1,
            vec![(5, 49152), (49157, 49152), (98309, 49152), (147_461, 2544)],
        ),
        (Version::V2, vec![(5, 131_072), (131_077, 18928)]),
    ] {
        let mut writer = Writer::new(Vec::new(), version).unwrap();
        writer.write_data(&path, 5, &vec![7; 150_000]).unwrap();
        let bytes = writer.finish().unwrap();
        let writes: Vec<_> = parse(&read(&bytes[..]))
            .into_iter()
            .filter_map(|command| match command {
                Command::Write(write) => Some((write.file_offset, write.data.len())),
                _ => None,
            })
            .collect();
        assert_eq!(writes, expected);
    }
}

#[test]
fn a_wrong_checksum_passes_through_but_is_not_made_right() {
    let write = command::Write {
        path: Bytes::from_static(b"a"),
        file_offset: 0,
        data: Bytes::from_static(b"data"),
    };
    let mut bytes = write_one(&write, Version::V1);
    let last_of_data = bytes.len() - 11;
    bytes[last_of_data] ^= 1;
    let raw = Reader::new(&bytes[..]).read_command().unwrap().unwrap();
    assert!(!raw.crc_ok());
    let mut same = Writer::new(Vec::new(), Version::V1).unwrap();
    same.write_raw(&raw).unwrap();
    assert_eq!(same.finish().unwrap(), bytes);
    let mut other = Writer::new(Vec::new(), Version::V2).unwrap();
    let refused = other.write_raw(&raw).unwrap_err();
    assert!(matches!(
        refused,
        WriteError::Command(EncodeError::Checksum { offset: 17 })
    ));
}

/// A stream of one command and `END`.
pub fn write_one(command: &impl btrfs_payload::send_stream::Encode, version: Version) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new(), version).unwrap();
    writer.write_command(command).unwrap();
    writer.finish().unwrap()
}
