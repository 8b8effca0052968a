//! `stream cat`: the content of files in stored streams.

use std::io::{self, IsTerminal};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use btrfs_payload::tree::{Data, Inode, Kind, TreeError};

use crate::Verdict;
use crate::output::{Output, shown};
use crate::stored::{Input, Stored, Wanted, none_at, said};

#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    #[command(flatten)]
    stored: Stored,

    /// Files in the tree, one after the other
    #[arg(last = true, required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
}

const AFTER_HELP: &str = "\
Examples:
  btrfs-payload stream cat full.stream monday.stream -- etc/fstab
  btrfs-payload stream cat full.stream -- var/lib/db.sqlite > db.sqlite

A chain is a full stream and its increments, in their order. What stands before -- are streams,
what stands after it are paths in the tree, from its top. Streams that make several subvolumes
which are not each other's parents need --subvol.

Extents are read, verified and decoded one after the other; holes are zeroes. Data is read again
after the names, so a stream from a pipe is refused.

Exit status:
  0  written
  1  a stream is damaged, or its parent is missing, or a payload does not decode
  2  wrong usage, a path that is no file, or an input cannot be read";

/// Zeroes of a hole that are written at a time.
static ZEROES: [u8; 64 * 1024] = [0; 64 * 1024];

pub(crate) fn run(args: &Args, output: &mut Output) -> Result<Verdict> {
    let opened = match args.stored.open(Wanted::Data, output)? {
        Ok(opened) => opened,
        Err(verdict) => return Ok(verdict),
    };
    let subvolume = opened.subvolume()?;
    let mut data = opened.data();
    for path in &args.paths {
        let inode = subvolume.tree.at(path.as_os_str().as_bytes());
        let inode = inode.ok_or_else(|| none_at(path, subvolume))?;
        if *inode.kind() != Kind::File {
            bail!("{} is no regular file", shown(path));
        }
        if let Some(error) = write(inode, path, &mut data, output)? {
            return said(error, &shown(path).to_string(), output);
        }
    }
    Ok(Verdict::Sound)
}

/// Writes a file to standard output; what is wrong with its data is returned.
fn write(
    inode: &Inode,
    path: &Path,
    data: &mut Data<'_, Input>,
    output: &mut Output,
) -> Result<Option<TreeError>> {
    let is_terminal = io::stdout().is_terminal();
    let mut at = 0;
    for extent in inode.extents() {
        zeroes(extent.offset.saturating_sub(at), output)?;
        let bytes = match data.bytes(&extent) {
            Ok(bytes) => bytes,
            Err(error) => return Ok(Some(error)),
        };
        if is_terminal && !is_text(&bytes) {
            bail!(
                "{} is no text, and not written to a terminal; use a pipe",
                shown(path)
            );
        }
        output.bytes(&bytes)?;
        at = extent.end();
    }
    zeroes(inode.size().saturating_sub(at), output)?;
    Ok(None)
}

/// A character may be cut at the end of an extent.
fn is_text(bytes: &[u8]) -> bool {
    !bytes.contains(&0)
        && std::str::from_utf8(bytes).map_or_else(|error| error.error_len().is_none(), |_| true)
}

fn zeroes(len: u64, output: &mut Output) -> Result<()> {
    let mut left = len;
    while left > 0 {
        let now = usize::try_from(left).map_or(ZEROES.len(), |left| left.min(ZEROES.len()));
        output.bytes(ZEROES.get(..now).unwrap_or_default())?;
        left = left.saturating_sub(now as u64);
    }
    Ok(())
}
