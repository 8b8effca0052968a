//! `unpack`: files out of stored streams, in a directory of any filesystem.

use std::num::NonZeroUsize;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use anyhow::{Context, Result};
use btrfs_payload::tree::{Flags, LeftOut, UnpackOptions, UnpackSummary, unpack};
use clap::ValueEnum;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::Verdict;
use crate::args::jobs;
use crate::output::{Output, count, shown};
use crate::progress::progress;
use crate::stored::{Stored, Wanted};

#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    #[command(flatten)]
    stored: Stored,

    /// The directory: new, or empty
    #[arg(short = 'C', long, value_name = "DIR")]
    directory: PathBuf,

    /// Unpack into a directory that is not empty; files of the same path are replaced
    #[arg(short, long)]
    force: bool,

    /// Set owners and groups; root does so without being told
    #[arg(long, overrides_with = "no_same_owner")]
    same_owner: bool,

    /// Everything belongs to whoever unpacks
    #[arg(long)]
    no_same_owner: bool,

    /// File attributes such as NOCOW and immutable: set, kept as the extended attribute
    /// user.btrfs.flags, or dropped, as `btrfs receive` does
    #[arg(long, value_enum, value_name = "WHAT", default_value_t = Attributes::Drop)]
    attributes: Attributes,

    /// Do not wait until everything is on the disk
    #[arg(long)]
    no_sync: bool,

    /// Threads that decode and make files, 1024 at most; 0 for all cores
    #[arg(short, long, value_name = "N", value_parser = jobs, default_value = "0", help_heading = "Limits")]
    jobs: NonZeroUsize,

    /// What to unpack, with the directories it is in [default: all]
    #[arg(last = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Attributes {
    Apply,
    Xattr,
    Drop,
}

const AFTER_HELP: &str = "\
Examples:
  btrfs-payload unpack full.stream monday.stream -C restored
  btrfs-payload unpack full.stream -C /tmp/etc -- etc home/anna/letter

A chain is a full stream and its increments, in their order. What stands before -- are streams,
what stands after it are paths in the tree, from its top. Streams that make several subvolumes
which are not each other's parents need --subvol.

Holes stay holes, and what was cloned is shared where the filesystem can. On btrfs, as root,
extents are written as they are in the stream; elsewhere they are decoded. Nothing is written
outside the directory or through a symbolic link, whatever the stream says (openat2, Linux 5.6).
What the process may not set, or the filesystem does not have, is left out, and said at the end.
A failure names the file; what was unpacked until then stays.

Lines of --format json:
  {\"kind\":\"unpacked\"} input, directories, files, links, symlinks, specials, data_bytes,
      shared_bytes, encoded_bytes, left_out (an object: what, and how many times)

Exit status:
  0  unpacked
  1  a stream is damaged, or its parent is missing, or a payload does not decode
  2  wrong usage, or a file cannot be read or written";

/// The sums as a JSON line.
#[derive(Serialize)]
struct Line<'a> {
    kind: &'static str,
    input: &'a str,
    directories: u64,
    files: u64,
    links: u64,
    symlinks: u64,
    specials: u64,
    data_bytes: u64,
    shared_bytes: u64,
    encoded_bytes: u64,
    left_out: Map<String, Value>,
}

pub(crate) fn run(args: &Args, output: &mut Output) -> Result<Verdict> {
    let opened = match args.stored.open(Wanted::Data, output)? {
        Ok(opened) => opened,
        Err(verdict) => return Ok(verdict),
    };
    let subvolume = opened.subvolume()?;
    let mut options = UnpackOptions::default();
    options.same_owner |= args.same_owner;
    options.same_owner &= !args.no_same_owner;
    options.flags = match args.attributes {
        Attributes::Apply => Flags::Apply,
        Attributes::Xattr => Flags::Xattr,
        Attributes::Drop => Flags::Drop,
    };
    options.sync = !args.no_sync;
    options.force = args.force;
    let paths = args.paths.iter().map(|path| path.as_os_str().as_bytes());
    let paths: Vec<&[u8]> = paths.collect();
    let bar = progress(opened.len());
    let unpacked = unpack(
        &subvolume.tree,
        &opened.data(),
        &paths,
        &args.directory,
        &options,
        args.jobs,
        |bytes| bar.inc(bytes),
    );
    bar.finish_and_clear();
    let name = opened.name();
    match unpacked {
        Ok(mut summary) => {
            // Whoever asks for it need not be told.
            if args.no_same_owner {
                summary.left_out.remove(&LeftOut::Owner);
            }
            print(&name, &summary, args, output)?;
            Ok(Verdict::Sound)
        }
        Err(error) if error.is_of_stream() => {
            output.trouble(&anyhow::Error::new(error).context(name));
            Ok(Verdict::NotSound)
        }
        Err(error) => Err(error)
            .with_context(|| format!("cannot unpack {name} into {}", shown(&args.directory))),
    }
}

fn print(name: &str, summary: &UnpackSummary, args: &Args, output: &mut Output) -> Result<()> {
    let &UnpackSummary {
        directories,
        files,
        links,
        symlinks,
        specials,
        data,
        shared,
        encoded,
        ref left_out,
        ..
    } = summary;
    let named = left_out
        .iter()
        .map(|(what, number)| (what.to_string(), *number));
    output.json(&Line {
        kind: "unpacked",
        input: name,
        directories,
        files,
        links,
        symlinks,
        specials,
        data_bytes: data,
        shared_bytes: shared,
        encoded_bytes: encoded,
        left_out: named
            .clone()
            .map(|(what, number)| (what, number.into()))
            .collect(),
    })?;
    let of_data = match (shared, encoded) {
        (0, 0) => output.size(data),
        _ => format!(
            "{} ({} shared, {} encoded)",
            output.size(data),
            output.size(shared),
            output.size(encoded)
        ),
    };
    output.sum(
        true,
        format_args!(
            "{}: {}, {} with {of_data} of data, {}, {}, {}",
            shown(&args.directory),
            count(directories, "directory").replace("directorys", "directories"),
            count(files, "file"),
            count(links, "further name"),
            count(symlinks, "symbolic link"),
            count(specials, "device, pipe or socket").replace("sockets", "socket"),
        ),
    )?;
    if !left_out.is_empty() {
        let left_out: Vec<String> = named.map(|(what, number)| count(number, &what)).collect();
        output.warn(format_args!(
            "left out, as not permitted or not known to the filesystem: {}",
            left_out.join(", ")
        ));
    }
    Ok(())
}
