//! `stream recompress`: compresses a send stream again.

use anyhow::Result;
use btrfs_payload::transform::{OnUnsound, RecompressOptions, Saving, recompress};
use clap::ValueEnum;

use super::rewrite::{InOut, after_help};
use crate::Verdict;
use crate::args::{Methods, sector_size};
use crate::output::Output;

#[derive(Debug, clap::Args)]
#[command(after_help = after_help(EXAMPLES))]
pub(crate) struct Args {
    #[command(flatten)]
    files: InOut,

    #[command(flatten)]
    methods: Methods,

    /// Sector size of the filesystem that is to receive the stream: 4K to 64K
    #[arg(long, default_value = "4K", value_name = "BYTES", value_parser = sector_size, help_heading = "Filesystem")]
    sector_size: u32,

    /// Take every extent that makes the stream smaller, even if it saves no sector
    #[arg(long, conflicts_with = "min_saving", help_heading = "Compression")]
    only_if_smaller: bool,

    /// Take a new extent only if it saves so many sectors, or percent of them, against what
    /// was there
    #[arg(
        long,
        default_value = "1",
        value_name = "N|N%",
        help_heading = "Compression"
    )]
    min_saving: Saving,

    /// What to do with a payload that is not sound
    #[arg(long, value_enum, default_value = "fail", help_heading = "Compression")]
    on_unsound: Unsound,
}

/// See [`OnUnsound`].
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Unsound {
    /// End the stream there, so that receivers fail, too
    Fail,
    /// Pass it on: the receiver gets a file that cannot be read there
    Pass,
    /// Write what the newest kernel reads as plain data, where it can read all of it; else fail
    Plain,
}

const EXAMPLES: &str = "\
Examples:
  btrfs send /mnt/snapshot | btrfs-payload stream recompress -c zstd -l 15 |
      ssh host btrfs receive /backup
  btrfs-payload stream recompress old.stream -o new.stream --codec zstd,zlib --level smallest

Data of WRITE commands becomes extents of up to 128 KiB. An extent that is encoded already is
replaced when the new one saves a sector (--min-saving: more than that; --only-if-smaller: when
it makes the stream smaller by any amount), and stays as it is otherwise.";

pub(crate) fn run(args: &Args, output: &mut Output) -> Result<Verdict> {
    if let Some(done) = args.files.explain.run(output) {
        return done;
    }
    let mut options = RecompressOptions::new(args.methods.options(args.sector_size));
    options.min_saving = if args.only_if_smaller {
        Saving::AnyByte
    } else {
        args.min_saving
    };
    options.on_unsound = match args.on_unsound {
        Unsound::Fail => OnUnsound::Fail,
        Unsound::Pass => OnUnsound::Pass,
        Unsound::Plain => OnUnsound::Plain,
    };
    options.parents = args.files.parents()?;
    options.max_names = args.files.max_names();
    args.files.run(output, |input, out, jobs, report| {
        recompress(input, out, &options, jobs, report)
    })
}
