//! What the writer refuses, and that a refusal leaves no trace in the output.

use btrfs_payload::rules::{EncodedIoId, ExtentFields, WriteRule};
use btrfs_payload::send_stream::{
    Attribute, Command, CommandKind, EncodeError, RawCommand, Reader, Timespec, Version,
    WriteError, Writer, command,
};
use bytes::Bytes;

fn refusal(command: impl Into<Command>, version: Version) -> EncodeError {
    let command = command.into();
    let mut writer = Writer::new(Vec::new(), version).unwrap();
    let unlink = command::Unlink { path: "a".into() };
    writer.write_command(&unlink).unwrap();
    let Err(WriteError::Command(error)) = writer.write_command(&command) else {
        panic!("{} was taken", command.kind());
    };
    assert_eq!(RawCommand::encode(&command, version).as_ref(), Err(&error));
    // Nothing of it is in the stream.
    let stream = writer.finish().unwrap();
    let kinds: Vec<_> = Reader::new(&stream[..])
        .map(|raw| raw.unwrap().kind().unwrap())
        .collect();
    assert_eq!(kinds, [CommandKind::Unlink, CommandKind::End]);
    error
}

#[test]
fn commands_and_attributes_of_later_versions() {
    let fileattr = command::Fileattr {
        path: "a".into(),
        fileattr: 0,
    };
    assert_eq!(
        refusal(fileattr, Version::V1),
        EncodeError::CommandVersion {
            command: CommandKind::Fileattr,
            got: Version::V1,
            expected: Version::V2
        }
    );
    let verity = command::EnableVerity {
        path: "a".into(),
        verity_algorithm: 1,
        verity_block_size: 4096,
        verity_salt_data: Bytes::new(),
        verity_sig_data: Bytes::new(),
    };
    assert_eq!(
        refusal(verity, Version::V2),
        EncodeError::CommandVersion {
            command: CommandKind::EnableVerity,
            got: Version::V2,
            expected: Version::V3
        }
    );
    assert_eq!(
        refusal(utimes(0, Some(Timespec::default())), Version::V1),
        EncodeError::AttributeVersion {
            attribute: Attribute::Otime,
            got: Version::V1,
            expected: Version::V2
        }
    );
}

fn utimes(nanoseconds: u32, otime: Option<Timespec>) -> command::Utimes {
    let time = Timespec {
        seconds: 0,
        nanoseconds,
    };
    command::Utimes {
        path: "a".into(),
        atime: Timespec::default(),
        mtime: time,
        ctime: Timespec::default(),
        otime,
    }
}

#[test]
fn values_that_receivers_cannot_use() {
    assert_eq!(
        refusal(
            command::Unlink {
                path: Bytes::from_static(b"a\0b")
            },
            Version::V2
        ),
        EncodeError::ZeroByte {
            attribute: Attribute::Path
        }
    );
    assert_eq!(
        refusal(utimes(1_000_000_000, None), Version::V2),
        EncodeError::Nanoseconds {
            attribute: Attribute::Mtime,
            got: 1_000_000_000
        }
    );
    for (attribute, limit, command) in [
        (
            Attribute::Path,
            4095,
            Command::from(command::Unlink { path: long(4096) }),
        ),
        (
            Attribute::XattrName,
            255,
            command::RemoveXattr {
                path: "a".into(),
                xattr_name: long(256),
            }
            .into(),
        ),
        (
            Attribute::XattrData,
            65535,
            command::SetXattr {
                path: "a".into(),
                xattr_name: "user.a".into(),
                xattr_data: long(65536),
            }
            .into(),
        ),
    ] {
        assert_eq!(
            refusal(command, Version::V2),
            EncodeError::TooLong {
                attribute,
                got: limit + 1,
                limit
            }
        );
    }
}

fn long(len: usize) -> Bytes {
    Bytes::from(vec![b'x'; len])
}

fn write(len: usize) -> command::Write {
    command::Write {
        path: "a".into(),
        file_offset: 0,
        data: long(len),
    }
}

#[test]
fn commands_longer_than_receivers_take() {
    // 10 of header, 5 of path, 12 of offset, 4 or 2 before the data.
    let longest_v1 = 65536 - 31;
    assert!(RawCommand::encode(&write(longest_v1), Version::V1).is_ok());
    assert_eq!(
        refusal(write(longest_v1 + 1), Version::V1),
        EncodeError::CommandTooLong {
            command: CommandKind::Write,
            version: Version::V1,
            got: 65537,
            limit: 65536
        }
    );
    assert_eq!(
        refusal(write(65536), Version::V1),
        EncodeError::TooLong {
            attribute: Attribute::Data,
            got: 65536,
            limit: 65535
        }
    );
    let longest_v2 = 262_144 - 29;
    assert!(RawCommand::encode(&write(longest_v2), Version::V2).is_ok());
    assert_eq!(
        refusal(write(longest_v2 + 1), Version::V2),
        EncodeError::CommandTooLong {
            command: CommandKind::Write,
            version: Version::V2,
            got: 262_145,
            limit: 262_144
        }
    );
}

#[test]
fn encoded_writes_that_receive_fails_on() {
    let sound = ExtentFields::whole(8192, EncodedIoId::ZLIB);
    let with = |change: fn(&mut ExtentFields)| {
        let mut fields = sound;
        change(&mut fields);
        fields
    };
    let payload = long(100);
    let refused = |fields: &ExtentFields, payload: &Bytes, file_offset| {
        let path = Bytes::from_static(b"a");
        let command = command::EncodedWrite::claimed(path, file_offset, fields, payload.clone());
        let EncodeError::EncodedWrite(rule) = refusal(command, Version::V2) else {
            panic!("refused for another reason");
        };
        rule.code()
    };
    for (expected, fields) in [
        ("not-encoded", with(|f| f.compression = EncodedIoId(0))),
        (
            "unknown-compression",
            with(|f| f.compression = EncodedIoId(8)),
        ),
        ("encrypted", with(|f| f.encryption = 1)),
        (
            "slice-offset-beyond-end",
            with(|f| f.unencoded_offset = 8193),
        ),
        ("slice-beyond-end", with(|f| f.len = 8193)),
        (
            "slice-beyond-end",
            with(|f| f.unencoded_offset = u64::MAX / 4 % 8192 + 1),
        ),
        ("empty-slice", with(|f| f.len = 0)),
        ("unencoded-too-long", with(|f| f.unencoded_len = 131_073)),
    ] {
        assert_eq!(refused(&fields, &payload, 0), expected);
    }
    assert_eq!(refused(&sound, &Bytes::new(), 0), "empty-payload");
    assert_eq!(refused(&sound, &long(131_073), 0), "payload-too-long");
    assert_eq!(refused(&sound, &payload, u64::MAX), "beyond-largest-file");

    // What only makes receive decode the payload itself is taken: kernels send such extents.
    let mut writer = Writer::new(Vec::new(), Version::V2).unwrap();
    let path = Bytes::from_static(b"a");
    for fields in [
        sound,
        with(|f| f.compression = EncodedIoId::LZO_64K),
        ExtentFields::whole(100, EncodedIoId::ZLIB),
    ] {
        writer.write_claimed(&path, 0, &fields, &payload).unwrap();
    }
    assert_eq!(
        WriteRule::EmptyPayload.to_string(),
        "the payload is empty: the call succeeds and writes nothing"
    );
}
