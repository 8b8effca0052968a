//! `stream reframe`: LZO payloads for another sector size.

use anyhow::Result;
use btrfs_payload::prepare::Level;
use btrfs_payload::transform::{ReframeOptions, reframe};

use super::rewrite::{InOut, after_help};
use crate::Verdict;
use crate::args::Filesystem;
use crate::output::Output;
use crate::words::{levels, words};

#[derive(Debug, clap::Args)]
#[command(after_help = after_help(EXAMPLES))]
pub(crate) struct Args {
    #[command(flatten)]
    files: InOut,

    #[command(flatten)]
    filesystem: Filesystem,

    /// 1 (fast), 9 (high ratio), smallest or default
    #[arg(short, long, default_value = "default", value_parser = words(str::parse::<Level>, levels), hide_possible_values = true, help_heading = "Compression")]
    level: Level,
}

const EXAMPLES: &str = "\
Examples:
  btrfs-payload stream reframe --sector-size 16384 from-x86.stream -o for-arm.stream

zlib and zstd payloads are the same for every sector size and stay as they are. Inline zlib
extents that decode to a whole sector (Linux 7) are made again, as receivers may fail with them.
LZO data that does not shrink in the new layout, or does not begin at a sector, becomes plain.";

pub(crate) fn run(args: &Args, output: &mut Output) -> Result<Verdict> {
    if let Some(done) = args.files.explain.run(output) {
        return done;
    }
    let mut options = ReframeOptions::new(args.filesystem.target(), args.level);
    options.parents = args.files.parents()?;
    options.max_names = args.files.max_names();
    args.files.run(output, |input, out, jobs, report| {
        reframe(input, out, &options, jobs, report)
    })
}
