//! `stream ls`: the names in stored streams.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use anyhow::Result;
use btrfs_payload::send_stream::Timespec;
use btrfs_payload::transform::Escaped;
use btrfs_payload::tree::{Inode, Kind, Step, Walk};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::Verdict;
use crate::output::{Output, shown};
use crate::stored::{Stored, Wanted, none_at, said};
use crate::utc::Utc;

#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    #[command(flatten)]
    stored: Stored,

    /// Modes, owners, sizes and times too
    #[arg(short, long)]
    long: bool,

    /// What is in directories too
    #[arg(short = 'R', long)]
    recursive: bool,

    /// What to list: a file, or what is in a directory [default: the top]
    #[arg(last = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
}

const AFTER_HELP: &str = "\
Examples:
  btrfs-payload stream ls full.stream monday.stream tuesday.stream
  btrfs-payload stream ls -lR full.stream monday.stream -- etc home/anna
  zstd -dc full.stream.zst | btrfs-payload stream ls -R -

A chain is a full stream and its increments, in their order. What stands before -- are streams,
what stands after it are paths in the tree, from its top. Streams that make several subvolumes
which are not each other's parents need --subvol.

Data is passed over and not looked at: `stream check` judges it. Paths are escaped: \\n, \\\\, and \\xNN
for what is not printable UTF-8. Times are UTC.

Lines of --format json:
  {\"kind\":\"entry\"} path, type (directory, file, symlink, char_device, block_device, fifo, socket),
      inode, links, mode (octal), uid, gid, size, data_bytes (that are no hole), atime, mtime, ctime,
      otime (\"seconds.nanoseconds\"), target, major, minor, xattrs (an object), flags (of the inode)

Exit status:
  0  listed
  1  a stream is damaged, or its parent is missing
  2  wrong usage, a path that is not there, or an input cannot be read";

/// An entry as a JSON line.
#[derive(Serialize)]
struct Line {
    kind: &'static str,
    path: String,
    r#type: &'static str,
    inode: u64,
    links: u32,
    mode: String,
    uid: u32,
    gid: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data_bytes: Option<u64>,
    atime: String,
    mtime: String,
    ctime: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    otime: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    major: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    minor: Option<u32>,
    #[serde(skip_serializing_if = "Map::is_empty")]
    xattrs: Map<String, Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    flags: Option<u64>,
}

pub(crate) fn run(args: &Args, output: &mut Output) -> Result<Verdict> {
    let opened = match args.stored.open(Wanted::Names, output)? {
        Ok(opened) => opened,
        Err(verdict) => return Ok(verdict),
    };
    let subvolume = opened.subvolume()?;
    let top = [PathBuf::new()];
    let paths = if args.paths.is_empty() {
        &top[..]
    } else {
        &args.paths
    };
    for path in paths {
        let walk = subvolume.tree.walk(path.as_os_str().as_bytes());
        let walk = walk.ok_or_else(|| none_at(path, subvolume))?;
        if let Some(verdict) = list(walk, args, &opened.name(), output)? {
            return Ok(verdict);
        }
    }
    Ok(Verdict::Sound)
}

fn list(
    mut walk: Walk<'_>,
    args: &Args,
    name: &str,
    output: &mut Output,
) -> Result<Option<Verdict>> {
    loop {
        let visit = match walk.next() {
            Ok(Some(Step::Enter(visit))) => visit,
            Ok(Some(Step::Leave(_))) => continue,
            Ok(None) => return Ok(None),
            Err(error) => return said(error, name, output).map(Some),
        };
        // Of a directory that is asked for, what is in it.
        if visit.depth == 0 && visit.inode.is_directory() {
            continue;
        }
        print(walk.path(), visit.inode, args.long, output)?;
        if !args.recursive && visit.inode.is_directory() {
            walk.skip_contents();
        }
    }
}

fn print(path: &[u8], inode: &Inode, long: bool, output: &mut Output) -> Result<()> {
    let shown_path = shown(OsStr::from_bytes(path));
    if long {
        let size = match inode.kind() {
            Kind::CharDevice { major, minor } | Kind::BlockDevice { major, minor } => {
                format!("{major},{minor}")
            }
            Kind::File => inode.size().to_string(),
            _ => "-".to_owned(),
        };
        let target = match inode.kind() {
            Kind::Symlink { target } => format!(" -> {}", Escaped(target)),
            _ => String::new(),
        };
        output.text(format_args!(
            "{} {:>3} {:>5} {:>5} {size:>12} {} {shown_path}{target}",
            mode_text(inode),
            inode.links(),
            inode.uid(),
            inode.gid(),
            Utc(inode.times().mtime.seconds),
        ))?;
    } else {
        output.text(format_args!("{shown_path}"))?;
    }
    output.json(&line(path, inode))
}

fn line(path: &[u8], inode: &Inode) -> Line {
    let seconds = |time: Timespec| format!("{}.{:09}", time.seconds, time.nanoseconds);
    let is_file = *inode.kind() == Kind::File;
    let (major, minor) = match *inode.kind() {
        Kind::CharDevice { major, minor } | Kind::BlockDevice { major, minor } => {
            (Some(major), Some(minor))
        }
        _ => (None, None),
    };
    let xattrs = inode.xattrs();
    let text = |bytes: &[u8]| Escaped(bytes).to_string();
    let times = inode.times();
    Line {
        kind: "entry",
        path: text(path),
        r#type: type_name(inode.kind()),
        inode: inode.number(),
        links: inode.links(),
        mode: format!("{:04o}", inode.mode()),
        uid: inode.uid(),
        gid: inode.gid(),
        size: is_file.then(|| inode.size()),
        data_bytes: is_file.then(|| inode.extents().map(|extent| extent.len).sum()),
        atime: seconds(times.atime),
        mtime: seconds(times.mtime),
        ctime: seconds(times.ctime),
        otime: times.otime.map(seconds),
        target: match inode.kind() {
            Kind::Symlink { target } => Some(text(target)),
            _ => None,
        },
        major,
        minor,
        xattrs: xattrs
            .map(|(name, value)| (text(name), text(value).into()))
            .collect(),
        flags: inode.flags(),
    }
}

/// What an inode is, in one word.
pub(super) fn type_name(kind: &Kind) -> &'static str {
    match kind {
        Kind::Directory => "directory",
        Kind::File => "file",
        Kind::Symlink { .. } => "symlink",
        Kind::CharDevice { .. } => "char_device",
        Kind::BlockDevice { .. } => "block_device",
        Kind::Fifo => "fifo",
        Kind::Socket => "socket",
        _ => "unknown",
    }
}

/// Kind and permissions as ls(1) shows them.
fn mode_text(inode: &Inode) -> String {
    let kind = match inode.kind() {
        Kind::Directory => 'd',
        Kind::Symlink { .. } => 'l',
        Kind::CharDevice { .. } => 'c',
        Kind::BlockDevice { .. } => 'b',
        Kind::Fifo => 'p',
        Kind::Socket => 's',
        _ => '-',
    };
    let mode = inode.mode();
    let mut text = String::from(kind);
    for (shift, special, [executable, not_executable]) in [
        (6, 0o4000, ['s', 'S']),
        (3, 0o2000, ['s', 'S']),
        (0, 0o1000, ['t', 'T']),
    ] {
        let bits = mode >> shift;
        let has = |bit: u32, letter: char| if bits & bit == 0 { '-' } else { letter };
        text.push(has(4, 'r'));
        text.push(has(2, 'w'));
        text.push(match (mode & special != 0, bits & 1 != 0) {
            (true, true) => executable,
            (true, false) => not_executable,
            (false, _) => has(1, 'x'),
        });
    }
    text
}
