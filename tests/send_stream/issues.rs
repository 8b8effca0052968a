//! Every issue and every error of the reader, each from bytes made by hand.

use std::io;

use btrfs_payload::send_stream::{
    Attribute, Command, CommandError, CommandKind, Issue, ReadError, Reader, Version,
};

use crate::by_hand::{end, frame, header, read_one, tlv};

fn issues(version: u32, command: &[u8]) -> Vec<Issue> {
    read_one(version, command).issues().collect()
}

fn path() -> Vec<u8> {
    tlv(15, b"a")
}

/// Offset of the first command: the stream header is 17 bytes.
const OFFSET: u64 = 17;

/// Offset of its first attribute.
const FIRST: u64 = 27;

#[test]
fn an_unknown_command() {
    let error = CommandError::UnknownCommand {
        offset: OFFSET,
        got: 27,
    };
    let bytes = frame(27, &path());
    assert_eq!(issues(1, &bytes), [Issue::Command(error.clone())]);
    assert_eq!(Command::parse(&read_one(1, &bytes)), Err(error));
}

#[test]
fn a_command_of_a_later_version() {
    let bytes = frame(24, &[path(), tlv(26, &[0; 8])].concat());
    let command = |expected| Issue::CommandVersion {
        offset: OFFSET,
        command: CommandKind::Fileattr,
        got: Version::V1,
        expected,
    };
    let attribute = Issue::AttributeVersion {
        offset: FIRST + 5,
        attribute: Attribute::Fileattr,
        got: Version::V1,
        expected: Version::V2,
    };
    assert_eq!(issues(1, &bytes), [command(Version::V2), attribute]);
    assert_eq!(issues(2, &bytes), []);
}

#[test]
fn a_wrong_checksum() {
    let mut bytes = frame(11, &path());
    bytes[14] = b'b';
    let found = issues(1, &bytes);
    let stored = u32::from_le_bytes(bytes[6..10].try_into().unwrap());
    let right = frame(11, &tlv(15, b"b"));
    let computed = u32::from_le_bytes(right[6..10].try_into().unwrap());
    assert_eq!(
        found,
        [Issue::Checksum {
            offset: OFFSET,
            stored,
            computed
        }]
    );
    // The command after it is read all the same.
    let stream = [&header(1)[..], &bytes, &right, &end()].concat();
    let sums: Vec<_> = Reader::new(&stream[..])
        .map(|raw| raw.unwrap().crc_ok())
        .collect();
    assert_eq!(sums, [false, true, true]);
}

#[test]
fn attributes_that_do_not_belong() {
    let bytes = frame(
        11,
        &[
            path(),
            tlv(36, b"??"),
            tlv(0, b""),
            tlv(15, b"b"),
            tlv(5, &[0; 8]),
        ]
        .concat(),
    );
    assert_eq!(
        issues(1, &bytes),
        [
            Issue::UnknownAttribute {
                offset: FIRST + 5,
                got: 36
            },
            Issue::UnknownAttribute {
                offset: FIRST + 11,
                got: 0
            },
            Issue::DuplicateAttribute {
                offset: FIRST + 15,
                attribute: Attribute::Path
            },
            Issue::UnusedAttribute {
                offset: FIRST + 20,
                command: CommandKind::Unlink,
                attribute: Attribute::Mode
            },
        ]
    );
    // The last path counts, as for btrfs receive.
    let raw = read_one(1, &bytes);
    let Ok(Command::Unlink(unlink)) = Command::parse(&raw) else {
        panic!("not an unlink");
    };
    assert_eq!(unlink.path, "b");
    assert_eq!(raw.value(Attribute::Path), Some("b".into()));
    assert_eq!(raw.value(Attribute::Ino), None);
}

#[test]
fn a_creation_time_in_version_1() {
    let times = [tlv(11, &[0; 12]), tlv(10, &[0; 12]), tlv(9, &[0; 12])].concat();
    let bytes = frame(20, &[path(), times, tlv(12, &[0; 12])].concat());
    let issue = Issue::AttributeVersion {
        offset: FIRST + 5 + 48,
        attribute: Attribute::Otime,
        got: Version::V1,
        expected: Version::V2,
    };
    assert_eq!(issues(1, &bytes), [issue]);
    assert_eq!(issues(2, &bytes), []);
}

#[test]
fn missing_attributes_are_all_named() {
    let bytes = frame(16, &path());
    let missing = [
        Attribute::FileOffset,
        Attribute::CloneLen,
        Attribute::CloneUuid,
        Attribute::CloneCtransid,
        Attribute::ClonePath,
        Attribute::CloneOffset,
    ]
    .map(|attribute| CommandError::Missing {
        offset: OFFSET,
        command: CommandKind::Clone,
        attribute,
    });
    assert_eq!(issues(1, &bytes), missing.clone().map(Issue::Command));
    assert_eq!(
        Command::parse(&read_one(1, &bytes)).as_ref(),
        Err(&missing[0])
    );
}

#[test]
fn values_of_the_wrong_size() {
    for (len, ok) in [(7, false), (8, true), (9, false)] {
        let bytes = frame(17, &[path(), tlv(4, &vec![0; len])].concat());
        let error = CommandError::Size {
            offset: FIRST + 9,
            attribute: Attribute::Size,
            got: len,
            expected: 8,
        };
        let raw = read_one(1, &bytes);
        let found: Vec<_> = raw.issues().collect();
        if ok {
            assert_eq!(found, []);
        } else {
            assert_eq!(found, [Issue::Command(error.clone())]);
            assert_eq!(Command::parse(&raw), Err(error));
        }
    }
}

#[test]
fn attributes_that_run_past_the_command() {
    // Number cut, length missing, value cut.
    for (rest, needed, available) in [
        (&[5][..], 2, 1),
        (&[5, 0, 8], 2, 1),
        (&[5, 0, 8, 0, 1], 8, 1),
    ] {
        let bytes = frame(18, &[&path()[..], rest].concat());
        let raw = read_one(1, &bytes);
        let found: Vec<_> = raw.issues().collect();
        let [Issue::Command(CommandError::Truncated(truncated))] = &found[..] else {
            panic!("{found:?}");
        };
        assert_eq!((truncated.needed, truncated.available), (needed, available));
        assert_eq!(truncated.offset, OFFSET + bytes.len() as u64 - 1);
        let error = CommandError::Truncated(*truncated);
        assert_eq!(Command::parse(&raw), Err(error));
        assert!(raw.attributes().last().unwrap().is_err());
    }
}

#[test]
fn names_that_linux_does_not_take() {
    let bytes = frame(11, &tlv(15, b"ab\0c"));
    let zero = Issue::ZeroByte {
        offset: FIRST + 6,
        attribute: Attribute::Path,
    };
    assert_eq!(issues(1, &bytes), [zero]);
    for (number, attribute, limit) in [(15, Attribute::Path, 4095), (13, Attribute::XattrName, 255)]
    {
        let long = |len: usize| {
            let value = tlv(number, &vec![b'x'; len]);
            read_one(1, &frame(14, &value))
                .issues()
                .find(|issue| matches!(issue, Issue::TooLong { .. }))
        };
        assert_eq!(long(limit), None);
        let issue = Issue::TooLong {
            offset: FIRST + 4,
            attribute,
            got: limit + 1,
            limit,
        };
        assert_eq!(long(limit + 1), Some(issue));
    }
}

#[test]
fn a_time_of_too_many_nanoseconds() {
    let time = |nanoseconds: u32| [&[0; 8][..], &nanoseconds.to_le_bytes()].concat();
    let times = [
        tlv(11, &time(999_999_999)),
        tlv(10, &time(1_000_000_000)),
        tlv(9, &time(0)),
    ];
    let bytes = frame(20, &[path(), times.concat()].concat());
    let issue = Issue::Nanoseconds {
        offset: FIRST + 5 + 16 + 4,
        attribute: Attribute::Mtime,
        got: 1_000_000_000,
    };
    assert_eq!(issues(1, &bytes), [issue]);
}

#[test]
fn headers_and_ends_in_the_wrong_place() {
    let command = frame(11, &path());
    // A header without an END before it, then a command without a header before it.
    let stream = [
        &header(1)[..],
        &command,
        &header(2),
        &command,
        &end(),
        &command,
        &end(),
    ]
    .concat();
    let commands: Vec<_> = Reader::new(&stream[..]).map(Result::unwrap).collect();
    let found: Vec<Vec<Issue>> = commands.iter().map(|raw| raw.issues().collect()).collect();
    assert_eq!(
        found,
        [
            vec![],
            vec![Issue::HeaderWithoutEnd { offset: 32 }],
            vec![],
            vec![Issue::CommandAfterEnd { offset: 74 }],
            vec![],
        ]
    );
    let streams: Vec<_> = commands
        .iter()
        .map(|raw| (raw.stream(), raw.version()))
        .collect();
    let (one, two) = ((0, Version::V1), (1, Version::V2));
    assert_eq!(streams, [one, two, two, two, two]);
}

/// The error that reading ends with.
fn error(input: &[u8]) -> ReadError {
    Reader::new(input).find_map(Result::err).unwrap()
}

#[test]
fn inputs_that_are_no_send_streams() {
    for input in [
        &b"x"[..],
        b"btrfs-streaM",
        b"btrfs-stream \x01\0\0\0",
        &[0; 100],
    ] {
        let got = error(input);
        assert!(
            matches!(got, ReadError::NotASendStream { offset: 0, .. }),
            "{got}"
        );
    }
    assert!(matches!(error(b""), ReadError::Empty));
    for available in 1..17 {
        let got = error(&header(1)[..available]);
        let ReadError::Truncated {
            offset: 0,
            needed: 17,
            available: a,
            commands: 0,
        } = got
        else {
            panic!("{got}");
        };
        assert_eq!(a, available);
    }
    for version in [0, 4, 0x0100_0000] {
        let got = error(&header(version));
        assert!(
            matches!(got, ReadError::UnknownVersion { offset: 0, got } if got == version),
            "{got}"
        );
    }
    // Something else after a whole stream.
    for tail in [&b"junk"[..], &[0; 512], &[0xff; 4]] {
        let stream = [&header(1)[..], &end(), tail].concat();
        let got = error(&stream);
        assert!(
            matches!(got, ReadError::NotASendStream { offset: 27, .. }),
            "{got}"
        );
    }
}

#[test]
fn a_stream_without_end() {
    let stream = [&header(1)[..], &frame(11, &path())].concat();
    let got = error(&stream);
    assert!(
        matches!(
            got,
            ReadError::MissingEnd {
                offset: 32,
                commands: 1
            }
        ),
        "{got}"
    );
    assert_eq!(
        Reader::new(&stream[..])
            .end_optional()
            .map(Result::unwrap)
            .count(),
        1
    );
}

#[test]
fn lengths_are_checked_before_they_are_believed() {
    let claims = |version, length: u32| {
        let command = [&length.to_le_bytes()[..], &[15, 0], &[0; 4]].concat();
        error(&[&header(version)[..], &command].concat())
    };
    for (version, limit) in [(1, 16 << 20), (2, 16 << 20), (3, 16 << 20)] {
        // The longest allowed is not there, one more is refused unread.
        let longest = u32::try_from(limit).unwrap() - 10;
        let got = claims(version, longest);
        assert!(
            matches!(got, ReadError::Truncated { offset: 17, needed, available: 10, .. } if needed == limit),
            "{got}"
        );
        for length in [longest + 1, u32::MAX] {
            let got = claims(version, length);
            let ReadError::Limit {
                offset: 17,
                got,
                limit: l,
            } = got
            else {
                panic!("{got}");
            };
            assert_eq!((got, l), (u64::from(length) + 10, limit));
        }
    }
}

/// What stands where a stream should begin is named.
#[test]
fn what_is_no_send_stream_is_named() {
    use btrfs_payload::send_stream::Foreign;
    let found = |input: &[u8]| match error(input) {
        ReadError::NotASendStream { found, .. } => found,
        got => panic!("{got}"),
    };
    let stream = [&header(2)[..], &frame(1, &path()), &end()].concat();
    let text = [b"At subvol snapshot\n", &stream[..]].concat();
    assert_eq!(found(&text), Foreign::HeaderAt(19));
    let text = [&b"ERROR: no\n".repeat(7000), &stream[..]].concat();
    assert_eq!(found(&text), Foreign::HeaderAt(70_000));
    // Frames that gzip 1.12, zstd 1.5, xz 5.4, bzip2 1.0 and lz4 1.9 begin with.
    assert_eq!(found(&[0x1f, 0x8b, 8, 8]), Foreign::Compressed("gzip"));
    assert_eq!(
        found(&[0x28, 0xb5, 0x2f, 0xfd]),
        Foreign::Compressed("zstd")
    );
    assert_eq!(found(b"\xfd7zXZ\0\0\x04"), Foreign::Compressed("xz"));
    assert_eq!(found(b"BZh91AY&SY"), Foreign::Compressed("bzip2"));
    assert_eq!(found(&[4, 0x22, 0x4d, 0x18]), Foreign::Compressed("lz4"));
    // Those of `lz4 -l`, pzstd, lzip and compress(1).
    assert_eq!(found(&[2, 0x21, 0x4c, 0x18]), Foreign::Compressed("lz4"));
    assert_eq!(
        found(&[0x50, 0x2a, 0x4d, 0x18]),
        Foreign::Compressed("zstd")
    );
    assert_eq!(found(b"LZIP\x01"), Foreign::Compressed("lzip"));
    assert_eq!(found(&[0x1f, 0x9d, 0x90]), Foreign::Compressed("gzip"));
    assert_eq!(found(&[0; 100]), Foreign::Zeroes);
    assert_eq!(found(b"x"), Foreign::Unknown);
}

/// A stream that begins inside a damaged command, across its claimed end, after junk, or after a
/// command that claims too much is found; one stored inside a sound file is not.
#[test]
fn reading_goes_on_at_the_next_stream() {
    let restarted = [&header(2)[..], &frame(1, &path()), &end()].concat();
    let read_all = |input: &[u8]| {
        let mut reader = Reader::new(input);
        let (mut streams, mut found) = (0, Vec::new());
        loop {
            match reader.read_command() {
                Ok(Some(raw)) => {
                    streams = streams.max(raw.stream() + 1);
                    if !raw.crc_ok() && reader.resync_inside(&raw).unwrap() {
                        found.push(reader.offset());
                    }
                }
                Ok(None) => return (streams, found),
                Err(_) => match reader.resync().unwrap() {
                    Some(offset) => found.push(offset),
                    None => return (streams, found),
                },
            }
        }
    };
    let head = [&header(2)[..], &frame(1, &path())].concat();
    let write = frame(15, &[&path()[..], &[19, 0], &[7; 5000]].concat());
    for cut in [11, 12, 500, write.len() - 1] {
        let input = [&head[..], &write[..cut], &restarted].concat();
        let offset = u64::try_from(head.len() + cut).unwrap();
        assert_eq!(read_all(&input), (2, vec![offset]), "cut at {cut}");
    }
    // The claimed end is that of the header.
    let write = frame(15, &[7; 17 + 30]);
    let input = [&head[..], &write[..40], &restarted].concat();
    let offset = u64::try_from(head.len() + 40).unwrap();
    assert_eq!(read_all(&input), (2, vec![offset]));
    for junk in [
        &b"x"[..],
        &[0; 70_000],
        &[0xff; 65_536 - 8],
        b"btrfs-stream\0\x09\0\0\0",
    ] {
        let input = [&head[..], &end(), junk, &restarted].concat();
        let offset = u64::try_from(head.len() + end().len() + junk.len()).unwrap();
        assert_eq!(
            read_all(&input),
            (2, vec![offset]),
            "{} of junk",
            junk.len()
        );
    }
    // A file that holds a stream, sound and with a wrong checksum: the command ends where it says.
    let stored = frame(15, &[&path()[..], &[19, 0], &restarted].concat());
    let mut damaged = stored.clone();
    damaged[12] ^= 1;
    for stored in [stored, damaged] {
        let input = [&head[..], &stored, &end()].concat();
        assert_eq!(read_all(&input), (1, vec![]));
    }
}

/// Headers, each followed by a damaged command that claims the next megabyte: read to the end
/// each, they would take 20,000 times the time of the input.
#[test]
fn many_streams_inside_damaged_commands_take_time_in_proportion() {
    let mut unit = header(2).to_vec();
    unit.extend((1_u32 << 20).to_le_bytes());
    unit.extend([1, 0, 1, 2, 3, 4]);
    let input = unit.repeat((4 << 20) / unit.len());
    let mut reader = Reader::new(&input[..]).max_command_len(2 << 20);
    let (mut read, mut found) = (0, 0);
    loop {
        match reader.read_command() {
            Ok(Some(raw)) => {
                read += raw.bytes().len();
                found += u32::from(!raw.crc_ok() && reader.resync_inside(&raw).unwrap());
            }
            Ok(None) => break,
            Err(_) if reader.resync().unwrap().is_none() => break,
            Err(_) => {}
        }
    }
    assert!(found > 10, "{found}");
    assert!(read < 16 * input.len(), "{read} bytes of {}", input.len());
}

#[test]
fn memory_is_taken_only_for_bytes_that_come() {
    /// Notes how many bytes it is asked for, and ends after a megabyte.
    struct Asked {
        given: usize,
        most: usize,
    }
    impl io::Read for Asked {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.most = self.most.max(buffer.len());
            let n = buffer.len().min((1 << 20) - self.given);
            self.given += n;
            Ok(n)
        }
    }
    let head = [&header(2)[..], &[0xff; 4], &[15, 0], &[0; 4]].concat();
    let mut asked = Asked { given: 0, most: 0 };
    let input = io::Read::chain(&head[..], &mut asked);
    let mut reader = Reader::new(input).max_command_len(usize::MAX);
    let got = reader.read_command().unwrap_err();
    assert!(
        matches!(got, ReadError::Truncated { offset: 17, available, .. } if available == (1 << 20) + 10),
        "{got}"
    );
    // 4 GiB are claimed; asked for is a quarter of a megabyte at a time.
    assert_eq!(asked.most, 256 * 1024);
}

#[test]
fn a_failing_input_says_where() {
    struct Failing;
    impl io::Read for Failing {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
    }
    let start = [&header(1)[..], &frame(11, &path())].concat();
    let mut reader = Reader::new(io::Read::chain(&start[..], Failing));
    assert!(reader.read_command().unwrap().is_some());
    let got = reader.read_command().unwrap_err();
    assert!(matches!(&got, ReadError::Io { offset: 32, .. }), "{got}");
    let source = std::error::Error::source(&got).unwrap();
    assert_eq!(
        source.to_string(),
        io::Error::from(io::ErrorKind::BrokenPipe).to_string()
    );
    // After an error there is nothing.
    assert!(reader.read_command().unwrap().is_none());
}

#[test]
fn an_open_pipe_need_not_say_more_than_end() {
    /// Gives its bytes and then must not be asked again.
    struct Silent<'a>(&'a [u8]);
    impl io::Read for Silent<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            assert!(!self.0.is_empty(), "asked for more than the stream");
            self.0.read(buffer)
        }
    }
    let stream = [&header(1)[..], &frame(11, &path()), &end()].concat();
    let mut reader = Reader::new(Silent(&stream));
    for number in [11, 21] {
        assert_eq!(reader.read_command().unwrap().unwrap().number(), number);
    }
}
