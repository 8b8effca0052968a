//! `write`: a file becomes compressed extents of a file on btrfs.

mod report;

use std::fs::{self, File, Metadata};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use btrfs_payload::ioctl::{self, ExtentWriter, FallbackReason, WriteSummary};
use btrfs_payload::prepare::{Options, PrepareFileError, prepare_file};
use btrfs_payload::rules::limits;

use crate::Verdict;
use crate::about::{about, bail_about};
use crate::args::{Compression, cannot_read, open_file};
use crate::attributes;
use crate::destination::Destination;
use crate::inputs::{Tally, Words, inputs};
use crate::new_file::NewFile;
use crate::output::{Output, add, remark, shown};
use crate::progress::progress;
use crate::saved::Saved;
use report::{Report, saved};

#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    /// The files to write
    #[arg(required = true)]
    src: Vec<PathBuf>,

    /// The new file, on btrfs, or the directory that each file goes into under its own name, as
    /// with cp. A file appears when it is complete. Links are followed, pipes and devices refused
    dest: PathBuf,

    /// Write the files in directories too, each at its place below DEST; links are not followed
    #[arg(short, long)]
    recursive: bool,

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
  btrfs-payload write one.img two.img /mnt/images
  btrfs-payload write -r photos /mnt/backup

The third compresses a file in place: a new one takes its name once it is whole. Snapshots and
reflinks keep the old extents, so that space is freed only when they go; how much was shared is
said. Where DEST has several names (hard links) it is not replaced, as the others would keep the old
file. A symbolic link is followed.

With several files, or -r, DEST is a directory that exists; -r photos makes DEST/photos and what is
in it, directories with owner and mode. Links and other special files in it are counted and left
out, and so are directories without files. A file that cannot be written does not end the work on
the others.

Exit status:
  0  written
  1  nothing was written, as it would not be compressed (--plain-ok writes it all the same)
  2  wrong usage, or a file cannot be read or written";

/// What is said of several files.
const WRITTEN: Words = Words {
    good: "written",
    bad: "NOT written",
    failed: "failed",
    skipped: " left out, as not regular",
};

pub(crate) fn run(args: &Args, output: &mut Output) -> Result<Verdict> {
    // What is wrong with the options shows before a file is made.
    args.compression.checked_options(limits::MIN_SECTOR_SIZE)?;
    let several = args.src.len() > 1 || args.recursive;
    let into = match args.dest.is_dir() {
        true => Some(Destination::new(&args.dest, &args.src, attributes::keep)?),
        false if several => bail_about!(
            &args.dest,
            "{} is no directory that exists; several files need one",
            shown(&args.dest)
        ),
        false => None,
    };
    let Some(mut into) = into else {
        let [src] = args.src.as_slice() else {
            bail!("one file is expected");
        };
        return one(args, src, &args.dest, output).map(|(verdict, _)| verdict);
    };
    let mut tally = Tally::new(WRITTEN);
    let mut sums = Saved::default();
    for input in inputs(&args.src, args.recursive, |_| None) {
        let came = input.and_then(|input| {
            if input.odd {
                return Ok(None);
            }
            let dest = into.of(&input)?;
            let (verdict, summary) = one(args, &input.path, &dest, output)?;
            let Saved { data, stored } = saved(&summary);
            sums.add(data, stored);
            Ok(Some(verdict))
        });
        tally.add(came, output)?;
    }
    let sums = match sums.data {
        0 => String::new(),
        _ => format!("; {}", sums.text(output)),
    };
    tally.print(&sums, output)?;
    Ok(tally.verdict())
}

/// Writes one file.
fn one(
    args: &Args,
    src: &Path,
    dest: &Path,
    output: &mut Output,
) -> Result<(Verdict, WriteSummary)> {
    if src.is_dir() {
        bail_about!(
            src,
            "{} is a directory; -r writes the files in it",
            shown(src)
        );
    }
    let source = open_file(src)?;
    let metadata = source.metadata().with_context(|| cannot_read(src))?;
    if metadata.len() == 0 && source.read_at(&mut [0], 0).is_ok_and(|read| read > 0) {
        bail_about!(
            src,
            "{} has data and does not tell its size; copy it to a file first",
            shown(src)
        );
    }
    let mut new = NewFile::create(dest, args.force)?;
    let sharing_lost = look_at_old(dest, &metadata)?;
    let options = args.compression.options(sector_size_of(new.file())?);
    let cannot_write = || about(dest, format_args!("cannot write {}", shown(dest)));
    let written =
        write(args, &source, metadata.len(), new.file(), &options).with_context(cannot_write);
    let changed = has_changed(&source, &metadata);
    let summary = match written {
        Ok(Ok(summary)) => summary,
        Ok(Err(reason)) => {
            let sentence = format!(
                "{} is not written, as it would not be compressed: {reason}; --plain-ok writes it \
                 as it is",
                shown(dest)
            );
            output.trouble(&about(dest, sentence).into());
            return Ok((Verdict::NotSound, WriteSummary::default()));
        }
        Err(error) if changed => {
            let sentence = format!("{} changed while it was read", shown(src));
            return Err(error.context(about(src, sentence)));
        }
        Err(error) => return Err(error),
    };
    if changed {
        remark(format_args!(
            "{} changed while it was read; {} may have some of both",
            shown(src),
            shown(dest)
        ));
    }
    attributes::keep(&source, &metadata, new.file());
    new.finish()?;
    if sharing_lost > 0 {
        let bytes = output.size(sharing_lost);
        output.warn(format_args!(
            "{}: {bytes} were shared with snapshots or reflinks, which keep the old extents; that \
             space is freed when they go",
            shown(dest)
        ));
    }
    let report = Report {
        src,
        dest,
        len: metadata.len(),
        verified: args.verify,
        sharing_lost,
        summary: &summary,
    };
    report.print(output)?;
    Ok((Verdict::Sound, summary))
}

/// Refuses to replace a file that has other names: they would keep the old one. Of a file in place
/// the bytes that others share, which a new one shares no more.
fn look_at_old(dest: &Path, source: &Metadata) -> Result<u64> {
    let Ok(metadata) = fs::metadata(dest) else {
        return Ok(0);
    };
    if metadata.nlink() > 1 {
        bail_about!(
            dest,
            "{} has {} names (hard links); the others would keep the old file",
            shown(dest),
            metadata.nlink()
        );
    }
    let mut shared = 0;
    if (metadata.dev(), metadata.ino()) == (source.dev(), source.ino())
        && let Ok(old) = File::open(dest)
    {
        // Where it cannot be found out, nothing is known of it.
        let _ = ioctl::fiemap(&old, |extent| {
            if extent.shared {
                add(&mut shared, extent.len);
            }
        });
    }
    Ok(shared)
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
