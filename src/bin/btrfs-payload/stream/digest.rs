//! `stream digest`: one digest of a tree, from streams or from a directory.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use anyhow::{Context, Result};
use btrfs_payload::tree::{directory_digest, tree_digest};
use serde::Serialize;

use crate::Verdict;
use crate::args::jobs;
use crate::output::{Output, input_name, shown};
use crate::stored::{Reading, Wanted};

#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    /// The streams: a full one, then its increments in their order
    #[arg(value_name = "CHAIN", required_unless_present = "dir")]
    inputs: Vec<PathBuf>,

    /// The digest of a directory, not of streams
    #[arg(long, value_name = "DIR", conflicts_with = "inputs")]
    dir: Option<PathBuf>,

    #[command(flatten)]
    reading: Reading,

    /// Threads that decode, 1024 at most; 0 for all cores
    #[arg(short, long, value_name = "N", value_parser = jobs, default_value = "0", help_heading = "Limits")]
    jobs: NonZeroUsize,
}

const AFTER_HELP: &str = "\
Examples:
  btrfs-payload stream digest full.stream monday.stream tuesday.stream
  btrfs-payload stream digest --dir /mnt/snapshots/tuesday

One SHA-256 of names, kinds, modes, owners, modification times, extended attributes, hard links and
contents. It is the same for any codec, level, version and order of commands, and for the directory
itself: docs/digest.md defines it. Run it as root for a directory: others do not see all of it.

A chain is a full stream and its increments, in their order. Streams that make several subvolumes
which are not each other's parents need --subvol.

Lines of --format json:
  {\"kind\":\"digest\"} input, digest (hexadecimal)

Exit status:
  0  printed
  1  a stream is damaged, or its parent is missing, or a payload does not decode
  2  wrong usage, or a file cannot be read";

#[derive(Serialize)]
struct Line<'a> {
    kind: &'static str,
    input: &'a str,
    digest: String,
}

pub(crate) fn run(args: &Args, output: &mut Output) -> Result<Verdict> {
    let (name, digest) = match &args.dir {
        Some(directory) => {
            let digest = directory_digest(directory, args.jobs);
            let cannot = || format!("cannot read {}", shown(directory));
            (input_name(directory), digest.with_context(cannot)?)
        }
        None => {
            let opened = match args.reading.open(&args.inputs, Wanted::Data, output)? {
                Ok(opened) => opened,
                Err(verdict) => return Ok(verdict),
            };
            let name = opened.name();
            let tree = &opened.subvolume()?.tree;
            match tree_digest(tree, &opened.data(), args.jobs) {
                Ok(digest) => (name, digest),
                Err(error) if error.is_of_stream() => {
                    output.trouble(&anyhow::Error::new(error).context(name));
                    return Ok(Verdict::NotSound);
                }
                Err(error) => return Err(error).with_context(|| format!("cannot read {name}")),
            }
        }
    };
    output.text(format_args!("{digest}  {name}"))?;
    output.json(&Line {
        kind: "digest",
        input: &name,
        digest: digest.to_string(),
    })?;
    Ok(Verdict::Sound)
}
