//! Streams put together byte by byte, without the crate's help.

use btrfs_payload::rules::EncodedIoId;
use btrfs_payload::send_stream::{
    Command, RawCommand, Reader, Timespec, Uuid, Version, Writer, command,
};
use bytes::Bytes;

/// CRC-32C from its polynomial, initial value 0, no final inversion.
fn crc(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| {
            (crc >> 1) ^ if crc & 1 == 1 { 0x82F6_3B78 } else { 0 }
        })
    })
}

/// A stream header.
pub fn header(version: u32) -> Vec<u8> {
    [&b"btrfs-stream\0"[..], &version.to_le_bytes()].concat()
}

/// A command around attributes, with its right checksum.
pub fn frame(number: u16, attributes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(attributes.len()).unwrap().to_le_bytes();
    let mut bytes = [&length[..], &number.to_le_bytes(), &[0; 4], attributes].concat();
    let crc = crc(&bytes).to_le_bytes();
    bytes[6..10].copy_from_slice(&crc);
    bytes
}

/// An attribute with a length field.
pub fn tlv(number: u16, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(value.len()).unwrap().to_le_bytes();
    [&number.to_le_bytes()[..], &length, value].concat()
}

/// The `END` command.
pub fn end() -> Vec<u8> {
    frame(21, &[])
}

/// Reads the first command of a stream of this version.
pub fn read_one(version: u32, command: &[u8]) -> RawCommand {
    let stream = [&header(version)[..], command, &end()].concat();
    Reader::new(&stream[..]).read_command().unwrap().unwrap()
}

const NUMBER: u64 = 0x8899_aabb_ccdd_eeff;
const NUMBER_BYTES: [u8; 8] = [0xff, 0xee, 0xdd, 0xcc, 0xbb, 0xaa, 0x99, 0x88];

fn both_ways(version: u32, number: u16, attributes: &[Vec<u8>], expected: impl Into<Command>) {
    let bytes = frame(number, &attributes.concat());
    let raw = read_one(version, &bytes);
    let expected = expected.into();
    assert_eq!(raw.issues().collect::<Vec<_>>(), []);
    assert_eq!(Command::parse(&raw).as_ref(), Ok(&expected));
    let version = Version::from_number(version).unwrap();
    let written = RawCommand::encode(&expected, version).unwrap();
    assert_eq!(written.bytes(), &bytes, "{}", expected.kind());
}

fn path() -> Vec<u8> {
    tlv(15, b"d/\xff\n")
}

fn path_value() -> Bytes {
    Bytes::from_static(b"d/\xff\n")
}

#[test]
fn commands_with_every_form_of_value() {
    let uuid: [u8; 16] = std::array::from_fn(|i| u8::try_from(i).unwrap());
    both_ways(
        1,
        2,
        &[
            path(),
            tlv(1, &uuid),
            tlv(2, &NUMBER_BYTES),
            tlv(20, &uuid),
            tlv(21, &[7, 0, 0, 0, 0, 0, 0, 0]),
        ],
        command::Snapshot {
            path: path_value(),
            uuid: Uuid(uuid),
            ctransid: NUMBER,
            clone_uuid: Uuid(uuid),
            clone_ctransid: 7,
        },
    );
    let time = |second: u8| {
        let bytes = [second, 0, 0, 0, 0, 0, 0, 0, 0, 0xca, 0x9a, 0x3a];
        let value = Timespec {
            seconds: second.into(),
            nanoseconds: 0x3a9a_ca00,
        };
        (bytes, value)
    };
    both_ways(
        2,
        20,
        &[
            path(),
            tlv(11, &time(1).0),
            tlv(10, &time(2).0),
            tlv(9, &time(3).0),
            tlv(12, &time(4).0),
        ],
        command::Utimes {
            path: path_value(),
            atime: time(1).1,
            mtime: time(2).1,
            ctime: time(3).1,
            otime: Some(time(4).1),
        },
    );
    both_ways(
        3,
        26,
        &[
            path(),
            tlv(32, &[2]),
            tlv(33, &[0, 0x10, 0, 0]),
            tlv(34, b"salt\0"),
            tlv(35, b""),
        ],
        command::EnableVerity {
            path: path_value(),
            verity_algorithm: 2,
            verity_block_size: 4096,
            verity_salt_data: Bytes::from_static(b"salt\0"),
            verity_sig_data: Bytes::new(),
        },
    );
}

#[test]
fn data_has_a_length_in_version_1_and_none_later() {
    let offset = tlv(18, &NUMBER_BYTES);
    let write = command::Write {
        path: path_value(),
        file_offset: NUMBER,
        data: Bytes::from_static(b"abc"),
    };
    let v1 = [path(), offset.clone(), tlv(19, b"abc")];
    both_ways(1, 15, &v1, write.clone());
    let v2 = [path(), offset, b"\x13\0abc".to_vec()];
    both_ways(2, 15, &v2, write.clone());
    both_ways(3, 15, &v2, write);
}

#[test]
fn encoded_write_with_and_without_encryption() {
    let without = |encryption| command::EncodedWrite {
        path: path_value(),
        file_offset: 4096,
        unencoded_file_len: 5000,
        unencoded_len: 8192,
        unencoded_offset: 0,
        compression: Some(EncodedIoId::ZSTD),
        encryption,
        data: Bytes::from_static(b"payload"),
    };
    let number = |n: u64| n.to_le_bytes();
    let head = [
        path(),
        tlv(18, &number(4096)),
        tlv(27, &number(5000)),
        tlv(28, &number(8192)),
        tlv(29, &number(0)),
        tlv(30, &[2, 0, 0, 0]),
    ];
    let data = b"\x13\0payload".to_vec();
    let regular = [&head[..], &[tlv(31, &[0; 4]), data.clone()]].concat();
    both_ways(2, 25, &regular, without(Some(0)));
    let inline = [&head[..], &[data]].concat();
    both_ways(2, 25, &inline, without(None));
}

#[test]
fn the_order_of_attributes_does_not_matter() {
    let backwards = [tlv(7, &[3, 0, 0, 0, 0, 0, 0, 0]), tlv(6, &[0; 8]), path()];
    let raw = read_one(1, &frame(19, &backwards.concat()));
    assert_eq!(raw.issues().count(), 0);
    assert_eq!(
        Command::parse(&raw),
        Ok(command::Chown {
            path: path_value(),
            uid: 0,
            gid: 3
        }
        .into())
    );
}

#[test]
fn data_in_front_comes_last_when_framed_anew() {
    let (data, offset) = (tlv(19, b"abc"), tlv(18, &NUMBER_BYTES));
    let raw = read_one(1, &frame(15, &[data, path(), offset.clone()].concat()));
    let mut writer = Writer::headerless(Vec::new(), Version::V2);
    writer.write_raw(&raw).unwrap();
    let expected = frame(15, &[path(), offset, b"\x13\0abc".to_vec()].concat());
    assert_eq!(writer.finish_open().unwrap(), expected);
}

#[test]
fn a_command_knows_where_it_is() {
    let first = frame(11, &path());
    let stream = [
        &header(1)[..],
        &first,
        &end(),
        &header(2),
        &first,
        &frame(12, &path()),
        &end(),
    ]
    .concat();
    let mut reader = Reader::new(&stream[..]);
    let mut places = Vec::new();
    while let Some(raw) = reader.read_command().unwrap() {
        assert_eq!(raw.issues().count(), 0);
        let version = raw.version().number();
        places.push((
            raw.offset(),
            raw.index(),
            raw.stream(),
            version,
            raw.bytes().len(),
        ));
    }
    // 17 bytes of header, 10 + 4 + 4 of a command with a path, 10 of END.
    assert_eq!(
        places,
        [
            (17, 0, 0, 1, 18),
            (35, 1, 0, 1, 10),
            (62, 2, 1, 2, 18),
            (80, 3, 1, 2, 18),
            (98, 4, 1, 2, 10),
        ]
    );
    assert_eq!(reader.offset(), 108);
    assert_eq!(reader.commands(), 5);
}

#[test]
fn attributes_know_where_they_are() {
    let raw = read_one(1, &frame(11, &[tlv(99, b"x"), path()].concat()));
    let attributes: Vec<_> = raw.attributes().map(Result::unwrap).collect();
    assert_eq!(attributes.len(), 2);
    assert_eq!((attributes[0].offset, attributes[0].value_offset), (27, 31));
    assert_eq!(
        (attributes[0].number, attributes[0].attribute()),
        (99, None)
    );
    assert_eq!((attributes[1].offset, attributes[1].value_offset), (32, 36));
    assert_eq!(attributes[1].value, path_value());
}
