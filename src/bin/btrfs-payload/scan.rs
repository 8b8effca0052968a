//! `scan`: what extents files on btrfs have, each counted once.

mod estimate;
mod page;
mod survey;
mod verify;

use std::num::NonZeroUsize;
use std::path::PathBuf;

use anyhow::Result;
use btrfs_payload::files::{FilesError, Kind, Map, MapOptions, Sum, Totals};
use btrfs_payload::ioctl::QueryError;
use serde::Serialize;

use crate::Verdict;
use crate::args::jobs;
use crate::estimates::Estimate;
use crate::explain::{Explain, with_sound};
use crate::origin::Origin;
use crate::output::{Output, count, shown};
use crate::page::HtmlFile;
use crate::quota::FindingLimit;

#[derive(Debug, clap::Args)]
#[command(after_help = with_sound(AFTER_HELP))]
pub(crate) struct Args {
    /// Files and directories on one btrfs
    #[arg(required_unless_present = "explain")]
    paths: Vec<PathBuf>,

    /// Directories so many names below each path get a line of their own
    #[arg(long, default_value_t = 1, value_name = "N")]
    depth: usize,

    /// Decode every compressed extent, and name the files that show one which is not sound
    #[arg(long)]
    verify: bool,

    #[command(flatten)]
    estimate: Estimate,

    #[command(flatten)]
    html: HtmlFile,

    #[command(flatten)]
    explain: Explain,

    #[command(flatten)]
    limit: FindingLimit,

    /// Threads that work, 1024 at most; 0 for all cores
    #[arg(short, long, value_name = "N", value_parser = jobs, default_value = "0", help_heading = "Limits")]
    jobs: NonZeroUsize,
}

impl Args {
    /// Nothing is wanted that only root can do.
    fn is_simple(&self) -> bool {
        !self.verify && !self.html.is_wanted() && self.estimate.methods().is_empty()
    }
}

const AFTER_HELP: &str = "\
Examples:
  btrfs-payload scan /mnt
  btrfs-payload scan /mnt/data --depth 2
  btrfs-payload scan /mnt/data --depth 3 --html space.html
  btrfs-payload scan /mnt --verify
  btrfs-payload scan /mnt --estimate zstd:15,lzo

The top of a subvolume stands for all of it and for the subvolumes and snapshots that lie in it. An
extent counts once, whatever shows it, for the directory of the first file that does. Unreachable
is what an extent holds and no file of the filesystem shows.

Without root it is less: whether extents are plain, compressed, preallocated, inline or shared, and
where they are, each place on disk counted once; not the codec, not the size on disk of what is
compressed, not what is unreachable. --estimate, --verify and --html need root.

--estimate thinks every extent made again, once for all files of the filesystem that show it, and
is of a sample, with its error: in 95 of 100 cases the truth is not further away. Four times the
samples halve it. Inline and preallocated extents stay, as do those of files without checksums.

--verify is a scrub that decodes: a wrong payload may have a right checksum. Each compressed extent
is read once. Names are of all files of the filesystem: one below no path that was asked for is
shown with its subvolume in brackets, from the top of the filesystem. -v prints warnings too.

Exit status:
  0  done
  1  with --verify: an extent is not sound
  2  wrong usage, or a path cannot be read; without root, neither can a file below it";

/// Extents of one kind, as a JSON line.
#[derive(Serialize)]
struct StoredLine {
    kind: &'static str,
    stored: &'static str,
    inline: bool,
    extents: u64,
    disk_bytes: u64,
    decoded_bytes: u64,
}

/// A directory, as a JSON line.
#[derive(Serialize)]
struct DirectoryLine {
    kind: &'static str,
    path: String,
    extents: u64,
    disk_bytes: u64,
    decoded_bytes: u64,
}

/// All of it, as a JSON line.
#[derive(Serialize)]
struct ScanLine {
    kind: &'static str,
    subvolumes: usize,
    files: u64,
    extents: u64,
    disk_bytes: u64,
    decoded_bytes: u64,
    referenced_bytes: u64,
    holes: u64,
    hole_bytes: u64,
    shared_bytes: u64,
    unreachable_bytes: u64,
    unreachable_decoded_bytes: u64,
}

pub(crate) fn run(args: &Args, output: &mut Output) -> Result<Verdict> {
    if let Some(done) = args.explain.run(output) {
        return done;
    }
    let html = args.html.begin(output)?;
    let mut options = MapOptions::default();
    options.jobs = args.jobs;
    let map = match Map::new(&args.paths, &options) {
        // There is something for everybody.
        Err(FilesError::Query(QueryError::NotPermitted { .. })) if args.is_simple() => {
            return survey::run(&args.paths, args.jobs, output);
        }
        map => map?,
    };
    let totals = Totals::new(&map, args.depth);
    output.row(format_args!(
        "{:<20}{:>10}{:>16}{:>16}{:>7}",
        "stored", "extents", "on disk", "decoded", "ratio"
    ))?;
    let mut parts = Vec::new();
    for (inline, sums) in [(false, &totals.regular), (true, &totals.inline)] {
        for (&kind, sum) in sums {
            parts.push((stored(kind, inline, sum, output)?, sum.disk_bytes));
        }
    }
    output.parts(&parts)?;
    for (path, sum) in &totals.directories {
        directory(path, sum, output)?;
    }
    let all = totals.all();
    let line = ScanLine {
        kind: "scan",
        subvolumes: map.included.len(),
        files: map.files,
        extents: all.extents,
        disk_bytes: all.disk_bytes,
        decoded_bytes: all.ram_bytes,
        referenced_bytes: map.referenced_bytes,
        holes: map.holes,
        hole_bytes: map.hole_bytes,
        shared_bytes: totals.shared.disk_bytes,
        unreachable_bytes: totals.unreachable.disk_bytes,
        unreachable_decoded_bytes: totals.unreachable.ram_bytes,
    };
    output.json(&line)?;
    output.sum(
        true,
        format_args!(
            "{} in {}: {} on disk for {}, {} shared, {} unreachable",
            count(map.files, "file"),
            count(line.subvolumes as u64, "subvolume"),
            output.size(all.disk_bytes),
            output.size(all.ram_bytes),
            output.size(line.shared_bytes),
            output.size(line.unreachable_bytes),
        ),
    )?;
    let unreachable = line.unreachable_bytes;
    let estimated = estimate::run(&map, &args.estimate, unreachable, args.jobs, output)?;
    let mut verdict = Verdict::Sound;
    if args.verify {
        let plain = totals.extents_of(Kind::Plain);
        let mut quota = args.limit.quota();
        verdict = verify::run(&map, plain, args.jobs, &mut quota, output)?;
    }
    if let Some(html) = html {
        let verified = args.verify.then_some(verdict);
        let page = page::page(&map, args.depth, estimated.as_ref(), verified, output);
        html.finish(&page, &Origin::private())?;
    }
    Ok(verdict)
}

/// A row of the table, and what it is called there.
fn stored(kind: Kind, inline: bool, sum: &Sum, output: &mut Output) -> Result<String> {
    let name = match kind {
        Kind::Plain => "plain",
        Kind::Preallocated => "preallocated",
        Kind::Compressed(id) => id.codec().map_or("unknown", |codec| codec.name()),
        _ => "unknown",
    };
    let row = format!("{name}{}", if inline { ", inline" } else { "" });
    output.row(format_args!(
        "{row:<20}{:>10}{:>16}{:>16}{:>7}",
        sum.extents,
        sum.disk_bytes,
        sum.ram_bytes,
        percent(sum)
    ))?;
    output.json(&StoredLine {
        kind: "stored",
        stored: name,
        inline,
        extents: sum.extents,
        disk_bytes: sum.disk_bytes,
        decoded_bytes: sum.ram_bytes,
    })?;
    Ok(row)
}

fn directory(path: &[u8], sum: &Sum, output: &mut Output) -> Result<()> {
    use std::os::unix::ffi::OsStrExt;
    let path = shown(std::ffi::OsStr::from_bytes(path)).to_string();
    output.row(format_args!(
        "{:>30}{:>16}{:>16}{:>7}  {path}",
        sum.extents,
        sum.disk_bytes,
        sum.ram_bytes,
        percent(sum)
    ))?;
    output.json(&DirectoryLine {
        kind: "directory",
        path,
        extents: sum.extents,
        disk_bytes: sum.disk_bytes,
        decoded_bytes: sum.ram_bytes,
    })
}

/// What is on disk of what it decodes to.
fn percent(sum: &Sum) -> String {
    let percent = sum
        .disk_bytes
        .saturating_mul(100)
        .checked_div(sum.ram_bytes);
    percent.map_or_else(String::new, |percent| format!("{percent} %"))
}
