//! `read`: the extents of a file on btrfs as payloads and a manifest.

use std::fs::File;
use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context, Result};
use btrfs_payload::ioctl::{self, FileExtentKind};

use crate::Verdict;
use crate::args::cannot_read;
use crate::manifest::{self, Encoded, Line};
use crate::output::{NewDirectory, Output, progress};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A file on btrfs
    file: PathBuf,

    /// The new directory that gets one file a payload and manifest.jsonl
    #[arg(long, value_name = "DIR")]
    out: PathBuf,

    /// Replace the directory if it is one of these
    #[arg(long)]
    force: bool,
}

pub(crate) fn run(args: &Args, output: &mut Output) -> Result<Verdict> {
    let file = File::open(&args.file).with_context(|| cannot_read(&args.file))?;
    let probe = ioctl::probe(&file).with_context(|| cannot_read(&args.file))?;
    let size = file
        .metadata()
        .with_context(|| cannot_read(&args.file))?
        .len();
    let directory = NewDirectory::create(&args.out, args.force)?;
    let mut manifest = directory.open(manifest::NAME)?;
    let mut note = |line: &Line<'_>, output: &mut Output| -> Result<()> {
        serde_json::to_writer(&mut manifest, line)
            .map_err(std::io::Error::from)
            .and_then(|()| manifest.write_all(b"\n"))
            .context("cannot write the manifest")?;
        output.json(line)
    };
    note(
        &Line::File {
            name: args.file.to_string_lossy(),
            size: Some(size),
            sector_size: probe.sector_size,
        },
        output,
    )?;
    output.text(format_args!(
        "{:>14}  {:<6}{:>8}{:>9}{:>10}{:>10}",
        "offset", "codec", "len", "payload", "unencoded", "at"
    ))?;
    let bar = progress(size);
    for extent in ioctl::extents(&file) {
        let extent = extent.with_context(|| cannot_read(&args.file))?;
        let (offset, len) = (extent.offset, extent.len());
        bar.set_position(offset);
        match &extent.kind {
            FileExtentKind::Encoded { payload, fields } => {
                let line = Encoded::new(offset, fields, payload.len());
                directory.file(&line.payload, payload)?;
                output.text(format_args!(
                    "{offset:>14}  {:<6}{len:>8}{:>9}{:>10}{:>10}",
                    line.codec,
                    payload.len(),
                    fields.unencoded_len,
                    fields.unencoded_offset,
                ))?;
                note(&Line::Encoded(line), output)?;
            }
            FileExtentKind::Plain(_) => {
                output.text(format_args!("{offset:>14}  {:<6}{len:>8}", "plain"))?;
                let reason = "stored as it is".into();
                note(
                    &Line::Plain {
                        offset,
                        len,
                        reason,
                    },
                    output,
                )?;
            }
            FileExtentKind::Hole { .. } => {
                output.text(format_args!("{offset:>14}  {:<6}{len:>8}", "hole"))?;
                note(&Line::Hole { offset, len }, output)?;
            }
        }
    }
    bar.finish_and_clear();
    manifest.flush().context("cannot write the manifest")?;
    directory.finish()?;
    Ok(Verdict::Sound)
}
