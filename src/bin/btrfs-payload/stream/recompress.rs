//! `stream recompress`: compresses a send stream again.

use anyhow::Result;
use btrfs_payload::prepare::{Level, Options};
use btrfs_payload::rules::Codec;
use btrfs_payload::transform::{RecompressOptions, Saving, recompress};

use super::rewrite::{AFTER_HELP, InOut};
use crate::Verdict;
use crate::args::sector_size;
use crate::output::Output;

#[derive(Debug, clap::Args)]
#[command(after_help = format!("{EXAMPLES}\n\n{AFTER_HELP}"))]
pub(crate) struct Args {
    #[command(flatten)]
    files: InOut,

    /// Compression type; several, separated by commas: the smallest payload of them
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "zstd",
        value_name = "zlib|lzo|zstd"
    )]
    codec: Vec<Codec>,

    /// A number (zlib 1 to 9, zstd up to 22, lzo 1 or 9), auto, smallest or default
    #[arg(long, default_value = "default", allow_hyphen_values = true)]
    level: Level,

    /// End zstd frames with a checksum of their content
    #[arg(long)]
    zstd_checksum: bool,

    /// Sector size of the filesystem that is to receive the stream
    #[arg(long, default_value_t = 4096, value_name = "BYTES", value_parser = sector_size)]
    sector_size: u32,

    /// Take every extent that makes the stream smaller, even if it saves no sector
    #[arg(long, conflicts_with = "min_saving")]
    only_if_smaller: bool,

    /// Take a new extent only if it saves so many sectors, or percent of them, against what
    /// was there
    #[arg(long, default_value = "1", value_name = "N|N%")]
    min_saving: Saving,
}

const EXAMPLES: &str = "\
Examples:
  btrfs send /mnt/snapshot | btrfs-payload stream recompress --codec zstd --level 15 |
      ssh host btrfs receive /backup
  btrfs-payload stream recompress old.stream -o new.stream --codec zstd,zlib --level smallest

Data of WRITE commands becomes extents of up to 128 KiB. An extent that is encoded already is
replaced when the new one saves a sector (--min-saving: more than that; --only-if-smaller: when
it makes the stream smaller by any amount), and stays as it is otherwise.";

pub(crate) fn run(args: &Args, output: &mut Output) -> Result<Verdict> {
    let methods = args.codec.iter().map(|&codec| (codec, args.level));
    let mut extents = Options::new(Codec::Zstd, args.level).sector_size(args.sector_size);
    extents.methods = methods.collect();
    extents.zstd_checksum = args.zstd_checksum;
    let mut options = RecompressOptions::new(extents);
    options.min_saving = args.min_saving;
    options.only_if_smaller = args.only_if_smaller;
    options.parents = args.files.parents()?;
    options.max_names = args.files.max_names();
    args.files.run(output, |input, out, jobs, report| {
        recompress(input, out, &options, jobs, report)
    })
}
