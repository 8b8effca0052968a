//! Files for the program to work on.

use std::fs;
use std::path::{Path, PathBuf};

use btrfs_payload::send_stream::{Uuid, Version, Writer, command};
use serde_json::Value;
use tempfile::TempDir;

/// The directory of the tests' data.
pub(crate) fn testdata() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata")
}

/// Numbered lines: they shrink, and no two are the same.
pub(crate) fn lines(len: usize) -> Vec<u8> {
    (0..)
        .flat_map(|i| format!("line {i} of some text\n").into_bytes())
        .take(len)
        .collect()
}

/// Bytes that do not shrink.
pub(crate) fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    (0..len).map(|_| next()).collect()
}

/// Content by its name: `lines 5000`, `noise 5000`, `zeroes 5000`, `mixed`, `case NAME`,
/// `valid NAME`, `stream`, `stream-cut-to BYTES`, `stream-damaged-at OFFSET`, `chain full`, `archive`,
/// `chain increment`, or `text ...`.
pub(crate) fn content(name: &str) -> Vec<u8> {
    let (kind, rest) = name.split_once(' ').unwrap_or((name, ""));
    let number = || rest.parse().unwrap_or_else(|_| panic!("no number: {name}"));
    match kind {
        "empty" => Vec::new(),
        "lines" => lines(number()),
        "noise" => noise(number()),
        "zeroes" => vec![0; number()],
        // An extent of each kind: encoded, plain, a hole, and a tail.
        "mixed" => [
            lines(131_072),
            noise(131_072),
            vec![0; 262_144],
            lines(5000),
        ]
        .concat(),
        "text" => format!("{rest}\n").into_bytes(),
        // A send stream; all of it, or so many bytes, or with one byte changed.
        "stream" => stream(),
        "stream-cut-to" => stream()[..number()].to_vec(),
        "stream-damaged-at" => {
            let mut stream = stream();
            stream[number()] ^= 0xff;
            stream
        }
        // A tar archive: a file in a directory, the same once more, and a hole of zeroes.
        "archive" => archive(),
        "chain" => crate::chain::stream(rest),
        "case" => payload("cases", rest).payload,
        "valid" => payload("valid", rest).payload,
        _ => panic!("no such content: {name}"),
    }
}

fn archive() -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    let mut add = |name: &str, kind, content: &[u8]| {
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(kind);
        header.set_mode(0o750);
        header.set_uid(1000);
        header.set_gid(1000);
        header.set_mtime(1_700_000_000);
        header.set_size(content.len() as u64);
        archive.append_data(&mut header, name, content).unwrap();
    };
    add("directory/", tar::EntryType::Directory, b"");
    add("directory/lines", tar::EntryType::Regular, &lines(100_000));
    add("directory/again", tar::EntryType::Regular, &lines(100_000));
    add("directory/zeroes", tar::EntryType::Regular, &[0; 50_000]);
    archive.into_inner().unwrap()
}

/// A send stream with encoded writes.
pub(crate) fn stream() -> Vec<u8> {
    std::fs::read(testdata().join("send-streams/full-v2-compressed.stream")).unwrap()
}

/// A payload of testdata, and the flags that make its claims.
pub(crate) struct Payload {
    pub(crate) name: String,
    pub(crate) payload: Vec<u8>,
    pub(crate) flags: Vec<String>,
}

/// Every payload of a directory of testdata whose claims can be written as flags.
pub(crate) fn payloads(directory: &str) -> Vec<Payload> {
    let entries = std::fs::read_dir(testdata().join(directory)).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().path())
        .map(|path| path.file_stem().unwrap().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
        .iter()
        .filter(|name| !name.starts_with("call-"))
        .map(|name| payload(directory, name))
        .collect()
}

fn payload(directory: &str, name: &str) -> Payload {
    let path = testdata().join(directory).join(format!("{name}.json"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{name}: {error}"));
    let file: Value = serde_json::from_str(&text).unwrap();
    let bytes = |hex: &str| -> Vec<u8> {
        (0..hex.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap())
            .collect()
    };
    let mut payload = Vec::new();
    for piece in file["payload"].as_array().unwrap() {
        match piece.as_str() {
            Some(hex) => payload.extend(bytes(hex)),
            None => {
                let times = usize::try_from(piece["times"].as_u64().unwrap()).unwrap();
                payload.extend(bytes(piece["repeat"].as_str().unwrap()).repeat(times));
            }
        }
    }
    let codec = match file["compression"].as_u64().unwrap() {
        1 => "zlib",
        2 => "zstd",
        _ => "lzo",
    };
    let mut flags = vec!["--codec".to_owned(), codec.to_owned()];
    for name in [
        "unencoded_len",
        "len",
        "unencoded_offset",
        "offset",
        "file_size",
        "sector_size",
    ] {
        flags.push(format!("--{}", name.replace('_', "-")));
        flags.push(file[name].to_string());
    }
    Payload {
        name: name.to_owned(),
        payload,
        flags,
    }
}

/// A directory with one file `data`.
pub(crate) fn dir(data: &[u8]) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("data"), data).unwrap();
    dir
}

/// A stream that makes a subvolume and nothing yet in it.
pub(crate) fn begun_stream() -> Writer<Vec<u8>> {
    let mut writer = Writer::new(Vec::new(), Version::V2).unwrap();
    let subvol = command::Subvol {
        path: "sub".into(),
        uuid: Uuid([7; 16]),
        ctransid: 9,
    };
    writer.write_command(&subvol).unwrap();
    writer
}
