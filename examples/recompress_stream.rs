//! Compresses a send stream again while it passes, at zstd level 15:
//!
//! ```sh
//! cargo build --release --example recompress_stream
//! sudo btrfs send /mnt/snapshot | target/release/examples/recompress_stream |
//!     ssh host sudo btrfs receive /backup
//! ```

#![allow(clippy::print_stderr)] // a program

use std::io::{self, BufWriter, Read, Write};
use std::num::NonZeroUsize;
use std::process::ExitCode;
use std::thread::available_parallelism;

use btrfs_payload::prepare::{Level, Options};
use btrfs_payload::rules::Codec;
use btrfs_payload::send_stream::Reader;
use btrfs_payload::transform::{RecompressOptions, RewriteSummary, TransformError, recompress};

pub(crate) fn smaller(
    input: impl Read + Send,
    output: impl Write,
) -> Result<RewriteSummary, TransformError> {
    let options = RecompressOptions::new(Options::new(Codec::Zstd, Level::Number(15)));
    // By default a payload that nobody can read ends the stream, and `btrfs receive` with it. What
    // else is found, such as a CLONE that will be refused, is told of here.
    let report = |finding: &_| eprintln!("{finding}");
    let jobs = available_parallelism().unwrap_or(NonZeroUsize::MIN);
    let mut output = BufWriter::new(output);
    let summary = recompress(Reader::new(input), &mut output, &options, jobs, report)?;
    // A stream whose end was not written is not whole: nothing is left to Drop.
    output.flush().map_err(TransformError::Output)?;
    Ok(summary)
}

fn main() -> ExitCode {
    match smaller(io::stdin(), io::stdout().lock()) {
        Ok(summary) => {
            eprintln!("{} bytes became {}", summary.bytes_in, summary.bytes_out);
            ExitCode::from(u8::from(!summary.is_sound()))
        }
        Err(error) => {
            eprintln!("recompress_stream: {error}");
            // 1: the stream is at fault; 2: input or output is.
            ExitCode::from(if error.is_of_stream() { 1 } else { 2 })
        }
    }
}
