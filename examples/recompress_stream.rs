//! Compresses a send stream again while it passes, at zstd level 15:
//!
//! ```sh
//! sudo btrfs send /mnt/snapshot | cargo run --release --example recompress_stream > small.stream
//! ```

#![allow(clippy::print_stderr)] // a program

use std::error::Error;
use std::io::{self, BufWriter, Read, Write};
use std::thread::available_parallelism;

use btrfs_payload::prepare::{Level, Options};
use btrfs_payload::rules::Codec;
use btrfs_payload::send_stream::Reader;
use btrfs_payload::transform::{RecompressOptions, RewriteSummary, recompress};

pub(crate) fn smaller(
    input: impl Read + Send,
    output: impl Write,
) -> Result<RewriteSummary, Box<dyn Error>> {
    let options = RecompressOptions::new(Options::new(Codec::Zstd, Level::Number(15)));
    // Payloads that are not sound are passed on as they are, and told of.
    let report = |finding: &_| eprintln!("{finding}");
    let jobs = available_parallelism()?;
    Ok(recompress(
        Reader::new(input),
        output,
        &options,
        jobs,
        report,
    )?)
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut output = BufWriter::new(io::stdout().lock());
    let summary = smaller(io::stdin(), &mut output)?;
    output.flush()?;
    eprintln!("{} bytes became {}", summary.bytes_in, summary.bytes_out);
    Ok(())
}
