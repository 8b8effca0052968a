//! Copies a file on btrfs to another, on any btrfs, without decoding what is compressed. Each
//! payload is judged first: a damaged one is not copied. Needs root.
//!
//! ```sh
//! cargo build --examples && sudo target/debug/examples/copy_extents /mnt/a /other/b
//! ```

#![allow(clippy::print_stdout)] // a program

use std::error::Error;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;

use btrfs_payload::extent::{Content, EncodedExtent, FileExtent};
use btrfs_payload::ioctl::{self, ExtentWriter, WriteSummary};

pub(crate) fn copy_extents(from: &Path, to: &Path) -> Result<WriteSummary, Box<dyn Error>> {
    let source = File::open(from)?;
    let mut options = OpenOptions::new();
    let dest = options.read(true).write(true).create_new(true).open(to)?;
    let probe = ioctl::probe(&dest)?;
    // Asked where a payload has to be written as plain data (and all of it, to verify).
    let mut writer = ExtentWriter::new(&dest, |offset, buffer: &mut [u8]| {
        source.read_exact_at(buffer, offset)
    })?;
    let size = source.metadata()?.len();
    for extent in ioctl::extents(&source) {
        let FileExtent {
            offset,
            len,
            content,
        } = extent?;
        writer.write(&match content {
            Content::Encoded(claimed) => {
                let target = probe.target(offset);
                let extent = EncodedExtent::new(claimed.payload, claimed.fields, &target)?;
                FileExtent::encoded(offset, extent)
            }
            Content::Plain(data) => FileExtent::plain(offset, data),
            _ => FileExtent::hole(offset, len.min(size.saturating_sub(offset))),
        })?;
    }
    Ok(writer.finish_verified()?)
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args_os().skip(1);
    let (Some(from), Some(to)) = (args.next(), args.next()) else {
        return Err("usage: copy_extents FROM TO".into());
    };
    let summary = copy_extents(Path::new(&from), Path::new(&to))?;
    println!(
        "{} bytes in {} payloads of {} bytes, {} bytes plain, {} bytes of holes",
        summary.encoded.bytes,
        summary.encoded.extents,
        summary.encoded.stored,
        summary.plain.bytes,
        summary.holes.bytes
    );
    for fallback in &summary.fallbacks {
        println!("{} bytes plain: {}", fallback.tally.bytes, fallback.reason);
    }
    Ok(())
}
