//! Copies a file on btrfs to a new one, on this btrfs or another, without decoding what is
//! compressed. Each payload is judged first: a damaged one ends the copy. Needs root.
//!
//! ```sh
//! cargo build --examples && sudo target/debug/examples/copy_extents /mnt/a /other/b
//! ```

#![allow(clippy::print_stdout, clippy::print_stderr)] // a program

use std::error::Error;
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::ExitCode;

use btrfs_payload::extent::{Content, EncodedExtent, FileExtent};
use btrfs_payload::ioctl::{self, ExtentWriter, WriteSummary};

/// Copies, reads the copy back through the kernel's decoders, and compares.
pub(crate) fn copy_extents(from: &File, to: &File) -> Result<WriteSummary, Box<dyn Error>> {
    let probe = ioctl::probe(to)?;
    let size = from.metadata()?.len();
    // Where a payload cannot be written as it is, the writer asks for the data. So it does to verify.
    let source = |offset, buffer: &mut [u8]| from.read_exact_at(buffer, offset);
    let mut writer = ExtentWriter::new(to, source)?;
    for extent in ioctl::extents(from) {
        let FileExtent {
            offset,
            len,
            content,
        } = extent?;
        writer.write(&match content {
            Content::Encoded(claimed) => {
                // The kernel that takes a payload does not look into it, so the judge does.
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

fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1);
    let (Some(from), Some(to)) = (args.next(), args.next()) else {
        eprintln!("usage: copy_extents FROM TO");
        return ExitCode::from(2);
    };
    let copied = File::open(&from).map_err(Into::into).and_then(|source| {
        let mut options = OpenOptions::new();
        // Read to verify; never a file that is there already.
        let dest = options.read(true).write(true).create_new(true).open(&to)?;
        copy_extents(&source, &dest).inspect_err(|_| {
            let _ = fs::remove_file(&to); // half a copy helps nobody
        })
    });
    match copied {
        Ok(summary) => {
            let (encoded, plain) = (summary.encoded, summary.plain);
            println!("{} bytes as {} payloads", encoded.bytes, encoded.extents);
            println!("{} bytes plain, all read back", plain.bytes);
            for fallback in &summary.fallbacks {
                println!("{} bytes plain: {}", fallback.tally.bytes, fallback.reason);
            }
            ExitCode::SUCCESS
        }
        Err(error) => {
            let [from, to] = [&from, &to].map(|path| Path::new(path).display());
            eprintln!("copy_extents: {from} to {to}: {error}");
            let mut cause = error.source();
            while let Some(error) = cause {
                eprintln!("  {error}");
                cause = error.source();
            }
            ExitCode::FAILURE
        }
    }
}
