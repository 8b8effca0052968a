//! `write`: a file becomes compressed extents of a file on btrfs.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use btrfs_payload::ioctl::{self, EncodedIo, ExtentWriter, WriteSummary};
use btrfs_payload::prepare::{Options, PrepareFileError, prepare_file};
use btrfs_payload::rules::limits;
use serde::Serialize;

use crate::Verdict;
use crate::args::{Compression, cannot_read, open_file};
use crate::attributes;
use crate::new_file::NewFile;
use crate::output::{Output, count, progress, remark, shown};

#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    /// The file to write
    src: PathBuf,

    /// The new file, on btrfs; it appears when it is complete. Links are followed, pipes and
    /// devices refused
    dest: PathBuf,

    #[command(flatten)]
    compression: Compression,

    /// Read everything back through the kernel and compare
    #[arg(long, help_heading = "Output")]
    verify: bool,

    /// Replace a regular file that exists
    #[arg(short, long, help_heading = "Output")]
    force: bool,
}

const AFTER_HELP: &str = "\
Examples:
  btrfs-payload write disk.img /mnt/disk.img --level 15 --verify
  btrfs-payload write disk.img /mnt/disk.img --codec zstd:19,zlib:9 --force

Exit status:
  0  written
  2  wrong usage, or a file cannot be read or written";

/// The result, as a JSON line.
#[derive(Serialize)]
struct Line<'a> {
    kind: &'static str,
    src: &'a str,
    dest: &'a str,
    data_bytes: u64,
    encoded_extents: u64,
    encoded_bytes: u64,
    payload_bytes: u64,
    plain_extents: u64,
    plain_bytes: u64,
    hole_bytes: u64,
    fallbacks: Vec<FallbackLine>,
    verified_bytes: Option<u64>,
}

#[derive(Serialize)]
struct FallbackLine {
    reason: String,
    extents: u64,
    bytes: u64,
}

pub(crate) fn run(args: &Args, output: &mut Output) -> Result<Verdict> {
    let source = open_file(&args.src)?;
    let metadata = source.metadata().with_context(|| cannot_read(&args.src))?;
    if metadata.len() == 0 && source.read_at(&mut [0], 0).is_ok_and(|read| read > 0) {
        bail!(
            "{} has data and does not tell its size; copy it to a file first",
            shown(&args.src)
        );
    }
    // What is wrong with the options shows before a file is made.
    args.compression.checked_options(limits::MIN_SECTOR_SIZE)?;
    let cannot_write = || format!("cannot write {}", shown(&args.dest));
    let mut dest = NewFile::create(&args.dest, args.force)?;
    let options = args.compression.options(sector_size_of(dest.file())?);
    let summary =
        write(args, &source, metadata.len(), dest.file(), &options).with_context(cannot_write)?;
    attributes::keep(&source, &metadata, dest.file());
    dest.finish()?;
    report(args, metadata.len(), &summary, output)?;
    Ok(Verdict::Sound)
}

/// The sector size that the extents are made for; off btrfs everything is written plain, and
/// any will do.
fn sector_size_of(dest: &File) -> Result<u32> {
    match ioctl::probe(dest) {
        Ok(probe) => {
            if probe.encoded_io == EncodedIo::NotPermitted {
                remark(format_args!(
                    "encoded writes need CAP_SYS_ADMIN; writing plain data"
                ));
            }
            Ok(probe.sector_size)
        }
        Err(ioctl::ProbeError::NotBtrfs) => Ok(limits::MIN_SECTOR_SIZE),
        Err(error) => Err(error.into()),
    }
}

fn write(
    args: &Args,
    source: &File,
    size: u64,
    dest: &File,
    options: &Options,
) -> Result<WriteSummary> {
    let original = |offset, buffer: &mut [u8]| source.read_exact_at(buffer, offset);
    // The size first: the kernel then knows which extent ends the file, and makes no inline
    // extent of the first of several.
    dest.set_len(size)?;
    let mut writer = ExtentWriter::new(dest, original)?;
    let bar = progress(size);
    let result = prepare_file(source, options, args.compression.jobs(), |extent| {
        bar.inc(extent.len);
        writer.write(&extent)
    });
    bar.finish_and_clear();
    match result {
        Ok(()) => {}
        Err(PrepareFileError::Consumer(error)) => return Err(error.into()),
        Err(error) => return Err(error.into()),
    }
    Ok(if args.verify {
        writer.finish_verified()?
    } else {
        writer.finish()?
    })
}

fn report(args: &Args, len: u64, summary: &WriteSummary, output: &mut Output) -> Result<()> {
    let name = |path: &Path| path.to_string_lossy().into_owned();
    let WriteSummary {
        encoded,
        plain,
        holes,
        ..
    } = summary;
    output.text(format_args!(
        "{}: {}: {} of {} as {} of payload, {} plain, {} in holes{}",
        shown(&args.dest),
        count(len, "byte"),
        count(encoded.extents, "extent"),
        count(encoded.bytes, "byte"),
        count(encoded.stored, "byte"),
        count(plain.bytes, "byte"),
        count(holes.bytes, "byte"),
        if args.verify {
            format!(
                "; {} read back and compared",
                count(summary.verified, "byte")
            )
        } else {
            String::new()
        },
    ))?;
    for fallback in &summary.fallbacks {
        output.text(format_args!(
            "{}: {} of {} plain: {}",
            shown(&args.dest),
            count(fallback.tally.extents, "extent"),
            count(fallback.tally.bytes, "byte"),
            fallback.reason
        ))?;
    }
    output.json(&Line {
        kind: "written",
        src: &name(&args.src),
        dest: &name(&args.dest),
        data_bytes: len,
        encoded_extents: encoded.extents,
        encoded_bytes: encoded.bytes,
        payload_bytes: encoded.stored,
        plain_extents: plain.extents,
        plain_bytes: plain.bytes,
        hole_bytes: holes.bytes,
        fallbacks: summary
            .fallbacks
            .iter()
            .map(|fallback| FallbackLine {
                reason: fallback.reason.to_string(),
                extents: fallback.tally.extents,
                bytes: fallback.tally.bytes,
            })
            .collect(),
        verified_bytes: args.verify.then_some(summary.verified),
    })
}
