//! `write`: a file becomes compressed extents of a file on btrfs.

use std::fs::{self, File, Metadata};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use btrfs_payload::ioctl::{self, ExtentWriter, FallbackReason, WriteSummary};
use btrfs_payload::prepare::{Options, PrepareFileError, prepare_file};
use btrfs_payload::rules::limits;
use serde::Serialize;

use crate::Verdict;
use crate::about::{about, bail_about};
use crate::args::{Compression, cannot_read, open_file};
use crate::attributes;
use crate::new_file::NewFile;
use crate::output::{Output, count, remark, shown};
use crate::progress::progress;

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

    /// Copy the file as it is where it cannot be compressed: not on btrfs, no privilege, no
    /// checksums (NOCOW)
    ///
    /// Without it, nothing is written then, and the exit status is 1: who asks for a compressed
    /// file shall notice that there is none.
    #[arg(long, help_heading = "Output")]
    plain_ok: bool,

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
  btrfs-payload write /mnt/disk.img /mnt/disk.img --level 19 --force --verify

The last compresses a file in place: a new one takes its name once it is whole. Snapshots and
reflinks keep the old extents, so that space is freed only when they go. A file with several names
(hard links) is refused, as the others would keep the old file. A symbolic link is followed.

Exit status:
  0  written
  1  nothing was written, as it would not be compressed (--plain-ok writes it all the same)
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
        bail_about!(
            &args.src,
            "{} has data and does not tell its size; copy it to a file first",
            shown(&args.src)
        );
    }
    // What is wrong with the options shows before a file is made.
    args.compression.checked_options(limits::MIN_SECTOR_SIZE)?;
    check_names(args, &metadata)?;
    let cannot_write = || {
        about(
            &args.dest,
            format_args!("cannot write {}", shown(&args.dest)),
        )
    };
    let mut dest = NewFile::create(&args.dest, args.force)?;
    let options = args.compression.options(sector_size_of(dest.file())?);
    let written =
        write(args, &source, metadata.len(), dest.file(), &options).with_context(cannot_write);
    let changed = has_changed(&source, &metadata);
    let summary = match written {
        Ok(Ok(summary)) => summary,
        Ok(Err(reason)) => {
            let sentence = format!(
                "{} is not written, as it would not be compressed: {reason}; --plain-ok writes it \
                 as it is",
                shown(&args.dest)
            );
            output.trouble(&about(&args.dest, sentence).into());
            return Ok(Verdict::NotSound);
        }
        Err(error) if changed => {
            let sentence = format!("{} changed while it was read", shown(&args.src));
            return Err(error.context(about(&args.src, sentence)));
        }
        Err(error) => return Err(error),
    };
    if changed {
        remark(format_args!(
            "{} changed while it was read; {} may have some of both",
            shown(&args.src),
            shown(&args.dest)
        ));
    }
    attributes::keep(&source, &metadata, dest.file());
    dest.finish()?;
    report(args, metadata.len(), &summary, output)?;
    Ok(Verdict::Sound)
}

/// Refuses to give a file in place a new one where it has other names: they would keep the old.
fn check_names(args: &Args, source: &Metadata) -> Result<()> {
    let is_source = |dest: &Metadata| (dest.dev(), dest.ino()) == (source.dev(), source.ino());
    if source.nlink() > 1 && fs::metadata(&args.dest).is_ok_and(|dest| is_source(&dest)) {
        bail_about!(
            &args.dest,
            "{} has {} names (hard links); the others would keep the old file",
            shown(&args.dest),
            source.nlink()
        );
    }
    Ok(())
}

/// True when somebody has written to the file since.
fn has_changed(source: &File, before: &Metadata) -> bool {
    let state = |of: &Metadata| {
        (
            of.len(),
            of.mtime(),
            of.mtime_nsec(),
            of.ctime(),
            of.ctime_nsec(),
        )
    };
    source
        .metadata()
        .is_ok_and(|now| state(&now) != state(before))
}

/// The sector size that the extents are made for; off btrfs everything is written plain, and
/// any will do.
fn sector_size_of(dest: &File) -> Result<u32> {
    match ioctl::probe(dest) {
        Ok(probe) => Ok(probe.sector_size),
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
) -> Result<Result<WriteSummary, FallbackReason>> {
    let original = |offset, buffer: &mut [u8]| source.read_exact_at(buffer, offset);
    // The size first: the kernel then knows which extent ends the file, and makes no inline
    // extent of the first of several.
    dest.set_len(size)?;
    let mut writer = ExtentWriter::new(dest, original)?;
    if let Some(reason) = writer.plain_only().filter(|_| !args.plain_ok) {
        return Ok(Err(reason));
    }
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
    Ok(Ok(if args.verify {
        writer.finish_verified()?
    } else {
        writer.finish()?
    }))
}

fn report(args: &Args, len: u64, summary: &WriteSummary, output: &mut Output) -> Result<()> {
    let name = |path: &Path| shown(path).to_string();
    let WriteSummary {
        encoded,
        plain,
        holes,
        ..
    } = summary;
    let [
        of_file,
        of_encoded,
        of_payload,
        of_plain,
        of_holes,
        of_verified,
    ] = [
        len,
        encoded.bytes,
        encoded.stored,
        plain.bytes,
        holes.bytes,
        summary.verified,
    ]
    .map(|bytes| output.size(bytes));
    let verified = match args.verify {
        true => format!("; {of_verified} read back and compared"),
        false => String::new(),
    };
    output.sum(
        summary.fallbacks.is_empty(),
        format_args!(
            "{}: {of_file}: {} of {of_encoded} as {of_payload} of payload, {of_plain} plain, \
             {of_holes} in holes{verified}",
            shown(&args.dest),
            count(encoded.extents, "extent"),
        ),
    )?;
    for fallback in &summary.fallbacks {
        let bytes = output.size(fallback.tally.bytes);
        output.text(format_args!(
            "{}: {} of {bytes} plain: {}",
            shown(&args.dest),
            count(fallback.tally.extents, "extent"),
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
