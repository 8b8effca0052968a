//! `stream compare`: stored streams beside a directory, difference by difference.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use anyhow::{Context, Result};
use btrfs_payload::transform::Escaped;
use btrfs_payload::tree::{Compared, compare};
use clap::ValueEnum;
use serde::Serialize;

use crate::Verdict;
use crate::args::jobs;
use crate::output::{Output, count, shown};
use crate::stored::{Stored, Wanted};

#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    #[command(flatten)]
    stored: Stored,

    /// The directory: the snapshot itself, or what was restored
    #[arg(short = 'C', long, value_name = "DIR")]
    directory: PathBuf,

    /// What may differ; several, separated by commas
    #[arg(long, value_enum, value_name = "WHAT", value_delimiter = ',')]
    ignore: Vec<What>,

    /// Threads that decode, 1024 at most; 0 for all cores
    #[arg(short, long, value_name = "N", value_parser = jobs, default_value = "0", help_heading = "Limits")]
    jobs: NonZeroUsize,
}

/// What can be left out, by the names that differences have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum What {
    Mode,
    Owner,
    Group,
    Mtime,
    Xattr,
    Links,
    Extra,
}

impl What {
    fn is(self, what: &str) -> bool {
        self.to_possible_value()
            .is_some_and(|value| value.get_name() == what)
    }
}

const AFTER_HELP: &str = "\
Examples:
  btrfs-payload stream compare full.stream monday.stream -C /mnt/snapshots/monday
  btrfs-payload stream compare full.stream -C restored --ignore owner,group

Names, kinds, modes, owners, modification times, extended attributes, hard links and contents are
compared; docs/digest.md says what is left out. Run it as root: others do not see all of a
directory.

A chain is a full stream and its increments, in their order. Streams that make several subvolumes
which are not each other's parents need --subvol.

Lines of --format json:
  {\"kind\":\"difference\"} input, path (escaped), what (missing: not in the directory, extra: not in
      the streams, type, mode, owner, group, mtime, xattr, target, device, size, content, links),
      message
  {\"kind\":\"compared\"} input, entries (that both have), data_bytes (of the streams), differences

Exit status:
  0  no difference
  1  there are some, or a stream is damaged
  2  wrong usage, or a file cannot be read";

#[derive(Serialize)]
struct DifferenceLine<'a> {
    kind: &'static str,
    input: &'a str,
    path: String,
    what: &'static str,
    message: &'a str,
}

#[derive(Serialize)]
struct ComparedLine<'a> {
    kind: &'static str,
    input: &'a str,
    entries: u64,
    data_bytes: u64,
    differences: u64,
}

pub(crate) fn run(args: &Args, output: &mut Output) -> Result<Verdict> {
    let opened = match args.stored.open(Wanted::Data, output)? {
        Ok(opened) => opened,
        Err(verdict) => return Ok(verdict),
    };
    let name = opened.name();
    let tree = &opened.subvolume()?.tree;
    let (mut differences, mut printed) = (0_u64, Ok(()));
    let compared = compare(tree, &opened.data(), &args.directory, args.jobs, |found| {
        if printed.is_err() || args.ignore.iter().any(|what| what.is(found.what)) {
            return;
        }
        differences = differences.saturating_add(1);
        let path = Escaped(if found.path.is_empty() {
            b"."
        } else {
            &found.path
        });
        printed = output
            .finding(format_args!("{path}: {}: {}", found.what, found.message))
            .and_then(|()| {
                output.json(&DifferenceLine {
                    kind: "difference",
                    input: &name,
                    path: Escaped(&found.path).to_string(),
                    what: found.what,
                    message: &found.message,
                })
            });
    });
    printed?;
    let Compared { entries, data, .. } = match compared {
        Ok(compared) => compared,
        Err(error) if error.is_of_stream() => {
            output.trouble(&anyhow::Error::new(error).context(name));
            return Ok(Verdict::NotSound);
        }
        Err(error) => {
            let cannot = || format!("cannot compare with {}", shown(&args.directory));
            return Err(error).with_context(cannot);
        }
    };
    let equal = differences == 0;
    output.sum(
        equal,
        format_args!(
            "{}: {} ({} and {} of data compared)",
            shown(&args.directory),
            if equal {
                "equal".to_owned()
            } else {
                count(differences, "difference")
            },
            count(entries, "entry").replace("entrys", "entries"),
            output.size(data),
        ),
    )?;
    output.json(&ComparedLine {
        kind: "compared",
        input: &name,
        entries,
        data_bytes: data,
        differences,
    })?;
    Ok(if equal {
        Verdict::Sound
    } else {
        Verdict::NotSound
    })
}
