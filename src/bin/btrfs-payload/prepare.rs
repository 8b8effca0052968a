//! `prepare`: extents of files, a table of what is saved, and a verdict on each.

mod table;

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use btrfs_payload::extent::FileExtent;
use btrfs_payload::prepare::{Options, prepare_file_with, prepare_reader_with};

use crate::Verdict;
use crate::about::{about, bail_about};
use crate::args::{Compression, cannot_read, open_input, sector_size};
use crate::destination::Destination;
use crate::explain::with_sound;
use crate::inputs::{Tally, Words, inputs};
use crate::manifest;
use crate::new_directory::NewDirectory;
use crate::origin::{Origin, permit_directory};
use crate::output::{Output, shown};
use crate::progress::progress;
use table::{Inspected, Table, Total, target_at};

#[derive(Debug, clap::Args)]
#[command(after_help = with_sound(AFTER_HELP))]
pub(crate) struct Args {
    /// The files, `-` for standard input
    #[arg(required = true)]
    files: Vec<PathBuf>,

    /// Prepare the files in directories too; links are not followed
    #[arg(short, long)]
    recursive: bool,

    #[command(flatten)]
    compression: Compression,

    /// Sector size of the filesystem that the extents are for: 4K to 64K
    #[arg(long, default_value = "4K", value_name = "BYTES", value_parser = sector_size, help_heading = "Filesystem")]
    sector_size: u32,

    /// Write one file per payload and manifest.jsonl into this new directory; of several files,
    /// or with -r, into a new directory for each, in this one
    #[arg(short, long, value_name = "DIR", help_heading = "Output")]
    out: Option<PathBuf>,

    /// Replace the directory if it is one of these, with nothing in it but what its manifest names
    #[arg(short, long, help_heading = "Output")]
    force: bool,
}

const AFTER_HELP: &str = "\
Examples:
  btrfs-payload prepare disk.img --codec zstd --level 19
  btrfs-payload prepare disk.img --codec zstd:15,zlib:9 --out extents/
  btrfs-payload prepare one.img two.img --out all/
  btrfs-payload prepare -r photos --summary
  tar -c dir | btrfs-payload prepare -

With several files, or -r, --out DIR gets DIR/NAME for each, and -r photos DIR/photos/... as cp -r
would lay it out; DIR is made where it is not there. What is no regular file is counted and left
out. A file that cannot be read does not end the work on the others.

Exit status:
  0  every payload is sound
  1  a payload is not
  2  wrong usage, or a file cannot be read or written";

/// Where the data is from.
enum Input {
    /// A file and its size, bytes.
    File(File, u64),
    /// What is read from its beginning to its end.
    Stream(File),
}

impl Input {
    fn open(path: &Path) -> Result<(Self, Origin)> {
        let file = open_input(path)?;
        let origin = Origin::of(&file);
        if path == Path::new("-") {
            return Ok((Self::Stream(file), origin));
        }
        let metadata = file.metadata().with_context(|| cannot_read(path))?;
        if metadata.is_dir() {
            bail_about!(
                path,
                "{} is a directory; -r prepares the files in it",
                shown(path)
            );
        }
        // Files of the kernel's (proc) have data and no size.
        let input = if metadata.is_file() && metadata.len() > 0 {
            Self::File(file, metadata.len())
        } else {
            Self::Stream(file)
        };
        Ok((input, origin))
    }
}

/// What is said of several files.
const PREPARED: Words = Words {
    good: "prepared",
    bad: "NOT SOUND",
    failed: "failed",
    skipped: " left out, as not regular",
};

pub(crate) fn run(args: &Args, output: &mut Output) -> Result<Verdict> {
    let options = args.compression.checked_options(args.sector_size)?;
    let [file] = args.files.as_slice() else {
        return several(args, &options, output);
    };
    if args.recursive {
        return several(args, &options, output);
    }
    let total = one(args, &options, file, args.out.as_deref(), false, output)?;
    Ok(total.verdict())
}

fn several(args: &Args, options: &Options, output: &mut Output) -> Result<Verdict> {
    let out = args.out.as_deref();
    let mut into = out.map(|out| directory(out, args)).transpose()?;
    let mut tally = Tally::new(PREPARED);
    let mut sums = Total::default();
    for input in inputs(&args.files, args.recursive, |_| None) {
        let came = input.and_then(|input| {
            if input.odd {
                return Ok(None);
            }
            let out = into.as_mut().map(|into| into.of(&input)).transpose()?;
            let total = one(args, options, &input.path, out.as_deref(), true, output)?;
            sums.add(&total);
            Ok(Some(total.verdict()))
        });
        tally.add(came, output)?;
    }
    let sums = format!("; {}", sums.text(args.sector_size, output));
    tally.print(&sums, output)?;
    Ok(tally.verdict())
}

/// The directory that gets one for each file.
fn directory(out: &Path, args: &Args) -> Result<Destination> {
    if manifest::is_in(out) {
        bail_about!(
            out,
            "{} has the payloads of one file; name another directory",
            shown(out)
        );
    }
    if !out.is_dir() {
        let cannot_make = || about(out, format_args!("cannot make {}", shown(out)));
        fs::create_dir(out).with_context(cannot_make)?;
    }
    Destination::new(out, &args.files, permit_directory)
}

/// Prepares one file.
fn one(
    args: &Args,
    options: &Options,
    path: &Path,
    out: Option<&Path>,
    is_named: bool,
    output: &mut Output,
) -> Result<Total> {
    let (input, origin) = Input::open(path)?;
    let directory = out
        .map(|out| NewDirectory::create(out, args.force, &origin))
        .transpose()?;
    let mut table = Table::new(output, options, path, is_named, directory.as_ref())?;
    let (jobs, filesystem) = (args.compression.jobs(), options.target);
    let result = match input {
        Input::Stream(reader) => {
            table.start(None)?;
            let inspect = |extent: &FileExtent<_, _>, data: &[u8]| {
                let target = target_at(&filesystem, extent.offset, None);
                Inspected::new(&extent.content, data, &target, out.is_some())
            };
            let consume = |extent, inspected| table.extent(&extent, inspected);
            prepare_reader_with(reader, options, jobs, inspect, consume)
        }
        Input::File(file, size) => {
            table.start(Some(size))?;
            let bar = progress(size);
            let inspect = |extent: &FileExtent<_, _>, data: &[u8]| {
                let target = target_at(&filesystem, extent.offset, Some(size));
                Inspected::new(&extent.content, data, &target, out.is_some())
            };
            let consume = |extent: FileExtent<_>, inspected| {
                bar.inc(extent.len);
                table.extent(&extent, inspected)
            };
            let result = prepare_file_with(&file, options, jobs, inspect, consume);
            bar.finish_and_clear();
            result
        }
    };
    result.map_err(|error| match error.into_consumer() {
        Ok(error) => error,
        Err(error) => anyhow::Error::new(error).context(cannot_read(path)),
    })?;
    let total = table.finish()?;
    if let Some(directory) = directory {
        directory.finish()?;
    }
    Ok(total)
}
