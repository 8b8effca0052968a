//! Where the size that a file has at the receiver decides: holes at its end, data that ends
//! inside a sector.

use std::collections::BTreeMap;

use btrfs_payload::prepare::Level;
use btrfs_payload::rules::Codec;
use btrfs_payload::send_stream::{Command, Encode, Uuid, Version, Writer, command};
use btrfs_payload::transform::{Parents, TransformError, decode_extent};

use crate::by_hand::{begun, parsed, writes};
use crate::support::text;
use crate::work::Work;

const PUNCH: u32 = 3;
const ZERO_KEEPING_SIZE: u32 = 17;
const ZERO: u32 = 16;

/// The files of a stream as a receiver makes them: what each command does to size and content.
fn files(stream: &[u8]) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut names: BTreeMap<Vec<u8>, usize> = BTreeMap::new();
    let mut nodes: Vec<Vec<u8>> = Vec::new();
    let range = |offset: u64, len: u64| {
        let start = usize::try_from(offset).unwrap();
        start..start + usize::try_from(len).unwrap()
    };
    let put = |file: &mut Vec<u8>, offset: u64, data: &[u8]| {
        let range = range(offset, data.len() as u64);
        file.resize(file.len().max(range.end), 0);
        file[range].copy_from_slice(data);
    };
    for command in parsed(stream) {
        match command {
            Command::MkFile(c) => {
                names.insert(c.path.to_vec(), nodes.len());
                nodes.push(Vec::new());
            }
            Command::Rename(c) => {
                let node = names.remove(&c.path[..]).unwrap();
                names.insert(c.path_to.to_vec(), node);
            }
            Command::Link(c) => {
                let node = names[&c.path_link[..]];
                names.insert(c.path.to_vec(), node);
            }
            Command::Write(c) => put(&mut nodes[names[&c.path[..]]], c.file_offset, &c.data),
            Command::EncodedWrite(c) => {
                let data = decode_extent(&c).unwrap().data;
                put(&mut nodes[names[&c.path[..]]], c.file_offset, &data);
            }
            Command::Truncate(c) => {
                nodes[names[&c.path[..]]].resize(range(c.size, 0).start, 0);
            }
            Command::Fallocate(c) => {
                let file = &mut nodes[names[&c.path[..]]];
                let range = range(c.file_offset, c.size);
                if c.fallocate_mode & 1 == 0 {
                    file.resize(file.len().max(range.end), 0);
                }
                // Space that is reserved hides nothing.
                if c.fallocate_mode & !1 != 0 {
                    let end = range.end.min(file.len());
                    file[range.start.min(end)..end].fill(0);
                }
            }
            _ => {}
        }
    }
    names
        .into_iter()
        .map(|(name, node)| (name, nodes[node].clone()))
        .collect()
}

fn hole(path: &'static str, mode: u32, offset: u64, size: u64) -> command::Fallocate {
    command::Fallocate {
        path: path.into(),
        fallocate_mode: mode,
        file_offset: offset,
        size,
    }
}

fn truncate(path: &'static str, size: u64) -> command::Truncate {
    command::Truncate {
        path: path.into(),
        size,
    }
}

/// Puts commands into a stream.
type Put<'a> = dyn Fn(&mut Writer<Vec<u8>>) + 'a;

/// An increment: what is in the parent snapshot is not known.
fn increment(commands: &[&Put<'_>]) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new(), Version::V2).unwrap();
    put(
        &mut writer,
        &command::Snapshot {
            path: "sub".into(),
            uuid: Uuid([7; 16]),
            ctransid: 9,
            clone_uuid: Uuid([6; 16]),
            clone_ctransid: 8,
        },
    );
    for command in commands {
        command(&mut writer);
    }
    writer.finish().unwrap()
}

fn put(writer: &mut Writer<Vec<u8>>, command: &impl Encode) {
    writer.write_command(command).unwrap();
}

#[test]
fn holes_at_the_end_of_a_file_make_it_no_longer() {
    for mode in [PUNCH, ZERO_KEEPING_SIZE, ZERO] {
        for (offset, size) in [
            (0, 4096),
            (4096, 4096),
            (4096, 1 << 20),
            (5000, 1),
            (8192, 4096),
            (1 << 40, 4096),
        ] {
            // What makes a file longer is written; a terabyte of it is refused elsewhere.
            if mode == ZERO && offset > 1 << 30 {
                continue;
            }
            let mut writer = begun(Version::V2);
            writer.write_data(&"f".into(), 0, &text(5000)).unwrap();
            put(&mut writer, &hole("f", mode, offset, size));
            let stream = writer.finish().unwrap();
            let (out, summary) = Work::decompress(true).done(&stream);
            assert_eq!(files(&out), files(&stream), "{mode} {offset} {size}");
            assert_eq!(summary.holes_trusted, 0);
        }
    }
}

#[test]
fn sizes_follow_names_links_and_truncates() {
    let mut writer = begun(Version::V2);
    writer.write_data(&"f".into(), 0, &text(50_000)).unwrap();
    let link = command::Link {
        path: "g".into(),
        path_link: "f".into(),
    };
    put(&mut writer, &link);
    put(&mut writer, &truncate("g", 9000));
    put(&mut writer, &hole("f", PUNCH, 8192, 65_536));
    let rename = command::Rename {
        path: "f".into(),
        path_to: "h".into(),
    };
    put(&mut writer, &rename);
    put(&mut writer, &truncate("h", 100_000));
    put(&mut writer, &hole("g", ZERO_KEEPING_SIZE, 4096, 200_000));
    let stream = writer.finish().unwrap();
    let (out, _) = Work::decompress(true).done(&stream);
    assert_eq!(files(&stream)[&b"h"[..]].len(), 100_000);
    assert_eq!(files(&out), files(&stream));
}

#[test]
fn of_a_file_of_unknown_size_holes_are_trusted_and_zeroed_ranges_refused() {
    let stream = increment(&[&|w| put(w, &hole("old", PUNCH, 4096, 8192))]);
    let (out, summary) = Work::decompress(true).done(&stream);
    assert_eq!(writes(&out), [(false, 4096, 8192)]);
    assert_eq!(summary.holes_trusted, 1);
    let stream = increment(&[&|w| put(w, &hole("old", ZERO_KEEPING_SIZE, 4096, 8192))]);
    let error = Work::decompress(true).on(&stream, 1);
    assert!(matches!(error, Err(TransformError::NoCounterpart { .. })));
    // The stream can tell the size, or that it is enough.
    let stream = increment(&[
        &|w| w.write_data(&"old".into(), 8192, &[1; 4096]).unwrap(),
        &|w| put(w, &hole("old", ZERO_KEEPING_SIZE, 4096, 8192)),
    ]);
    assert_eq!(Work::decompress(true).done(&stream).1.holes_trusted, 0);
    let stream = increment(&[&|w| put(w, &truncate("old", 6000)), &|w| {
        put(w, &hole("old", ZERO_KEEPING_SIZE, 4096, 8192))
    }]);
    let (out, summary) = Work::decompress(true).done(&stream);
    assert_eq!(writes(&out), [(false, 4096, 1904)]);
    assert_eq!(summary.holes_trusted, 0);
}

#[test]
fn the_sizes_of_files_of_the_parent_come_from_its_stream() {
    let mut writer = begun(Version::V1);
    writer.write_data(&"f".into(), 0, &text(5000)).unwrap();
    let of_parent = writer.finish().unwrap();
    let mut parents = Parents::default();
    parents.read(&of_parent[..], 1000).unwrap();
    let with_parent = |work: Work| match work {
        Work::Decompress(mut options) => {
            options.parents = parents.clone();
            Work::Decompress(options)
        }
        Work::Recompress(mut options) => {
            options.parents = parents.clone();
            Work::Recompress(options)
        }
        Work::Reframe(_) => work,
    };
    let child = |command: &Put<'_>| {
        let mut writer = Writer::new(Vec::new(), Version::V2).unwrap();
        let snapshot = command::Snapshot {
            path: "child".into(),
            uuid: Uuid([8; 16]),
            ctransid: 10,
            clone_uuid: Uuid([7; 16]),
            clone_ctransid: 9,
        };
        put(&mut writer, &snapshot);
        command(&mut writer);
        writer.finish().unwrap()
    };
    for mode in [PUNCH, ZERO_KEEPING_SIZE] {
        let stream = child(&|w| put(w, &hole("f", mode, 4096, 8192)));
        let (out, summary) = with_parent(Work::decompress(true)).done(&stream);
        assert_eq!(writes(&out), [(false, 4096, 904)]);
        assert_eq!(summary.holes_trusted, 0);
    }
    // Not longer than before: an extent may end with the file.
    let stream = child(&|w| w.write_data(&"f".into(), 0, &[7; 70_000]).unwrap());
    let zstd = Work::recompress(Codec::Zstd, Level::Number(3));
    assert_eq!(writes(&zstd.done(&stream).0).len(), 2);
    assert_eq!(
        writes(&with_parent(zstd).done(&stream).0),
        [(true, 0, 70_000)]
    );
}

#[test]
fn reserved_space_makes_a_file_longer_or_is_left_out() {
    const RESERVE: u32 = 0;
    const RESERVE_KEEPING_SIZE: u32 = 1;
    for (mode, offset, size) in [
        (RESERVE, 0, 4096),
        (RESERVE, 4096, 904),
        (RESERVE, 4096, 905),
        (RESERVE, 100_000, 5000),
        (RESERVE_KEEPING_SIZE, 4096, 8192),
    ] {
        let mut writer = begun(Version::V2);
        writer.write_data(&"f".into(), 0, &text(5000)).unwrap();
        put(&mut writer, &hole("f", mode, offset, size));
        let stream = writer.finish().unwrap();
        let (out, _) = Work::decompress(true).done(&stream);
        assert_eq!(files(&out), files(&stream), "{mode} {offset} {size}");
    }
    // Longer or not, without the parent nobody knows.
    let stream = increment(&[&|w| put(w, &hole("old", RESERVE, 0, 8192))]);
    let error = Work::decompress(true).on(&stream, 1);
    assert!(matches!(error, Err(TransformError::NoCounterpart { .. })));
    let stream = increment(&[
        &|w| w.write_data(&"old".into(), 4096, &[1; 4096]).unwrap(),
        &|w| put(w, &hole("old", RESERVE, 0, 8192)),
    ]);
    let (out, _) = Work::decompress(true).done(&stream);
    assert_eq!(writes(&out), [(false, 4096, 4096)]);
}

#[test]
fn data_that_may_end_inside_a_longer_file_is_cut_at_the_sector() {
    let zstd = Work::recompress(Codec::Zstd, Level::Number(3));
    let write = |w: &mut Writer<Vec<u8>>| w.write_data(&"f".into(), 0, &text(70_000)).unwrap();
    let (cut, whole) = (
        [(true, 0, 69_632), (false, 69_632, 368)],
        [(true, 0, 70_000)],
    );
    // A file of the parent, which may be longer.
    let stream = increment(&[&write, &|w| put(w, &truncate("f", 70_000))]);
    let (out, summary) = zstd.done(&stream);
    assert_eq!(writes(&out), cut);
    let (encoded, sectors) = (summary.encoded_out, summary.sectors_out);
    assert_eq!(encoded, 1);
    // The sector of the rest, and those of the extent.
    assert!((2..=summary.sectors_in / 2).contains(&sectors), "{sectors}");
    // One whose size the stream tells, and one that it makes.
    let stream = increment(&[&|w| put(w, &truncate("f", 0)), &write]);
    assert_eq!(writes(&zstd.done(&stream).0), whole);
    let mut writer = begun(Version::V1);
    write(&mut writer);
    assert_eq!(writes(&zstd.done(&writer.finish().unwrap()).0), whole);
    // One that is longer in the stream itself.
    let mut writer = begun(Version::V1);
    put(&mut writer, &truncate("f", 100_000));
    write(&mut writer);
    let stream = writer.finish().unwrap();
    let (out, _) = zstd.done(&stream);
    assert_eq!(writes(&out), cut);
    assert_eq!(files(&out), files(&stream));
    // So short that there is no whole sector.
    let stream = increment(&[&|w| w.write_data(&"f".into(), 0, &text(3000)).unwrap()]);
    assert_eq!(writes(&zstd.done(&stream).0), [(false, 0, 3000)]);
}

#[test]
fn an_encoded_write_into_a_longer_file_is_cut_too() {
    let mut writer = begun(Version::V1);
    writer.write_data(&"f".into(), 0, &text(70_000)).unwrap();
    let (stream, _) =
        Work::recompress(Codec::Zlib, Level::Number(1)).done(&writer.finish().unwrap());
    let encoded = parsed(&stream)
        .into_iter()
        .find_map(|command| match command {
            Command::EncodedWrite(c) => Some(c),
            _ => None,
        });
    let stream = increment(&[&|w| put(w, encoded.as_ref().unwrap())]);
    let (out, summary) = Work::recompress(Codec::Zstd, Level::Number(15)).done(&stream);
    assert_eq!(writes(&out), [(true, 0, 69_632), (false, 69_632, 368)]);
    // As it came a receiver may have to decode it.
    assert_eq!(summary.sectors_in, 18);
    assert!(summary.sectors_out < 9);
}
