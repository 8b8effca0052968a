//! `stream decompress`: plain data for receivers that know no encoded writes.

use anyhow::Result;
use btrfs_payload::transform::{DecompressOptions, PlainVersion, decompress};

use super::rewrite::{InOut, after_help};
use crate::Verdict;
use crate::output::Output;

#[derive(Debug, clap::Args)]
#[command(after_help = after_help(EXAMPLES))]
pub(crate) struct Args {
    #[command(flatten)]
    files: InOut,

    /// Version of the output
    #[arg(long, default_value_t = 1, value_name = "1|2", value_parser = clap::value_parser!(u8).range(1..=2))]
    to_version: u8,
}

const EXAMPLES: &str = "\
Examples:
  btrfs-payload stream decompress new.stream | ssh old-host btrfs receive /backup
  btrfs-payload stream decompress --to-version 2 new.stream -o plain.stream

In version 1, punched holes become zeroes (up to 64 GiB each) that end with the file. Where an
increment does not tell the size of a file, its holes are taken to end inside it. FILEATTR is left
out, which receivers ignore. A stream that enables fs-verity is refused: version 1 cannot say it.";

pub(crate) fn run(args: &Args, output: &mut Output) -> Result<Verdict> {
    if let Some(done) = args.files.explain.run(output) {
        return done;
    }
    let mut options = DecompressOptions::default();
    options.version = match args.to_version {
        1 => PlainVersion::V1,
        _ => PlainVersion::V2,
    };
    options.parents = args.files.parents()?;
    options.max_names = args.files.max_names();
    args.files.run(output, |input, out, jobs, _| {
        decompress(input, out, &options, jobs)
    })
}
