//! `read`: the extents of a file on btrfs as payloads and a manifest.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use anyhow::{Context, Result};
use btrfs_payload::extent::{ClaimedExtent, Content};
use btrfs_payload::ioctl;
use btrfs_payload::rules::limits;

use crate::Verdict;
use crate::args::{byte_count, cannot_read, open_file};
use crate::manifest::{self, Digests, Encoded, Line};
use crate::new_directory::NewDirectory;
use crate::origin::Origin;
use crate::output::{Output, count, remark, shown};
use crate::progress::progress;
use crate::saved::Saved;

#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    /// A file on btrfs
    file: PathBuf,

    /// The new directory that gets one file per payload and manifest.jsonl
    #[arg(short, long, value_name = "DIR", help_heading = "Output")]
    out: PathBuf,

    /// Replace the directory if it is one of these, with nothing in it but what its manifest names
    #[arg(short, long, help_heading = "Output")]
    force: bool,

    /// Give up where the payloads would be more bytes
    #[arg(long, help_heading = "Limits", value_name = "BYTES", value_parser = byte_count)]
    max_output: Option<u64>,
}

const AFTER_HELP: &str = "\
Examples:
  btrfs-payload read /mnt/disk.img --out extents/
  btrfs-payload check extents/manifest.jsonl

Exit status:
  0  done
  2  wrong usage, or a file cannot be read or written";

pub(crate) fn run(args: &Args, output: &mut Output) -> Result<Verdict> {
    let file = open_file(&args.file)?;
    let probe = ioctl::probe(&file).with_context(|| cannot_read(&args.file))?;
    let size = file
        .metadata()
        .with_context(|| cannot_read(&args.file))?
        .len();
    let directory = NewDirectory::create(&args.out, args.force, &Origin::of(&file))?;
    let mut manifest = manifest::Writer::new(directory.open(manifest::NAME)?);
    let mut note = |line: &Line, output: &mut Output| -> Result<()> {
        manifest.line(line)?;
        output.json(line)
    };
    let name = args.file.to_string_lossy();
    let header = manifest::header(&name, Some(size), probe.sector_size);
    note(&header, output)?;
    output.row(format_args!(
        "{:>14}  {:<6}{:>8}{:>9}{:>10}{:>10}",
        "offset", "codec", "len", "payload", "unencoded", "at"
    ))?;
    let bar = progress(size);
    let mut saved = Saved::default();
    let mut room = args.max_output.unwrap_or(u64::MAX);
    for extent in ioctl::extents(&file) {
        let extent = extent.with_context(|| cannot_read(&args.file))?;
        let (offset, len) = (extent.offset, extent.len);
        bar.set_position(offset);
        match &extent.content {
            Content::Encoded(ClaimedExtent { payload, fields }) => {
                // Many extents of a file can be one on disk, so that it is much longer than that.
                room = room
                    .checked_sub(payload.len() as u64)
                    .context("the payloads would be more bytes than --max-output")?;
                saved.add(len, payload.len() as u64);
                let digests = Digests {
                    payload_sha256: Some(manifest::sha256(payload)),
                    data_sha256: digest_of_data(&file, offset, len),
                };
                let line = Encoded::new(offset, fields, payload.len(), digests);
                directory.file(&line.payload, payload)?;
                output.row(format_args!(
                    "{offset:>14}  {:<6}{len:>8}{:>9}{:>10}{:>10}",
                    line.codec,
                    payload.len(),
                    fields.unencoded_len,
                    fields.unencoded_offset,
                ))?;
                note(&Line::Encoded(line), output)?;
            }
            Content::Plain(data) => {
                output.row(format_args!("{offset:>14}  {:<6}{len:>8}", "plain"))?;
                room = room
                    .checked_sub(len)
                    .context("the payloads would be more bytes than --max-output")?;
                saved.add(len, len);
                let name = manifest::plain_name(offset);
                directory.file(&name, data)?;
                let line = Line::Plain {
                    offset,
                    len,
                    data_sha256: Some(manifest::sha256(data)),
                    data: Some(name),
                    reason: "stored as it is".to_owned(),
                };
                note(&line, output)?;
            }
            Content::Hole => {
                output.row(format_args!("{offset:>14}  {:<6}{len:>8}", "hole"))?;
                note(&Line::Hole { offset, len }, output)?;
            }
        }
    }
    bar.finish_and_clear();
    let counts = manifest.counts();
    output.json(&manifest.finish()?)?;
    let saved_text = saved.text(output);
    output.sum(
        true,
        format_args!(
            "{}: {} encoded, {} plain, {}: {saved_text}",
            shown(&args.out),
            count(counts.encoded, "extent"),
            counts.plain,
            count(counts.holes, "hole"),
        ),
    )?;
    output.moved(saved.data);
    // Whoever is not told of it does not get it either.
    output.finish()?;
    directory.finish()?;
    Ok(Verdict::Sound)
}

/// The digest of what the kernel decodes the extent to: whoever compares it later with what the
/// payload decodes to learns whether both are still what this file showed. `None`, and a
/// remark, where the kernel cannot decode it.
fn digest_of_data(file: &File, offset: u64, len: u64) -> Option<String> {
    // Compressed extents are at most 128 KiB; more is a lie, and not believed.
    let len = usize::try_from(len.min(limits::MAX_EXTENT)).ok()?;
    let mut data = vec![0; len];
    match file.read_exact_at(&mut data, offset) {
        Ok(()) => Some(manifest::sha256(&data)),
        Err(error) => {
            remark(format_args!(
                "the data at {offset} cannot be read, only its payload: {error}"
            ));
            None
        }
    }
}
