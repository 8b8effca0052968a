//! Writes a send stream of a few files, compressed, to standard output. No btrfs is needed:
//!
//! ```sh
//! cargo run --example write_stream > example.stream
//! sudo btrfs receive -f example.stream /mnt
//! ```

use std::error::Error;
use std::io::{self, Write};

use btrfs_payload::MAX_EXTENT;
use btrfs_payload::prepare::{Level, Options, Prepared, Preparer};
use btrfs_payload::rules::{Codec, Target};
use btrfs_payload::send_stream::{Uuid, Version, Writer, command};
use bytes::Bytes;

/// Names and contents.
pub(crate) fn files() -> [(&'static str, Vec<u8>); 3] {
    [
        ("empty", Vec::new()),
        ("short", b"too short to shrink".to_vec()),
        (
            "long",
            b"a line that comes again and again\n".repeat(10_000),
        ),
    ]
}

pub(crate) fn write_stream(output: impl Write) -> Result<(), Box<dyn Error>> {
    let mut preparer = Preparer::new(&Options::new(Codec::Zstd, Level::Number(15)))?;
    let mut stream = Writer::new(output, Version::V2)?;
    let (path, uuid) = ("example".into(), Uuid(*b"write_stream.rs\0"));
    stream.write_command(&command::Subvol {
        path,
        uuid,
        ctransid: 1,
    })?;
    for (ino, (name, data)) in (257..).zip(files()) {
        let path = Bytes::from(name);
        stream.write_command(&command::MkFile {
            path: path.clone(),
            ino,
        })?;
        let mut offset = 0;
        for piece in data.chunks(MAX_EXTENT) {
            match preparer.prepare_for(piece, &Target::default().at(offset))? {
                Prepared::Encoded(extent) => stream.write_encoded(&path, offset, &extent)?,
                Prepared::Plain { .. } => stream.write_data(&path, offset, piece)?,
                Prepared::Hole => {}
            }
            offset += piece.len() as u64;
        }
        stream.write_command(&command::Truncate {
            path: path.clone(),
            size: offset,
        })?;
        stream.write_command(&command::Chmod { path, mode: 0o644 })?;
    }
    stream.finish()?;
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    write_stream(io::stdout().lock())
}
