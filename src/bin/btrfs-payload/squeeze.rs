//! `squeeze`: extents of files on btrfs become smaller, in every file that shows them.

mod state;

use std::fs::File;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use btrfs_payload::files::{FilesError, Name, Names, Share, Squeeze, SqueezeOptions, Squeezed};
use btrfs_payload::ioctl::{self, SpaceUsed};
use btrfs_payload::prepare::{Checksum, Level, Options};
use btrfs_payload::rules::Codec;
use indicatif::{HumanBytes, ProgressBar};
use rustix::process::{Resource, getrlimit, setrlimit};
use serde::Serialize;

use state::{Key, State};

use crate::Verdict;
use crate::args::{Method, byte_count, cannot_read, jobs};
use crate::file_names::spelled;
use crate::interrupt::Gently;
use crate::output::{Output, add, count, shown};
use crate::progress::progress;
use crate::words::{codecs, levels, words};

#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    /// Files and directories on one btrfs
    #[arg(required = true)]
    paths: Vec<PathBuf>,

    /// zlib, lzo or zstd, each with a level if you like (zstd:19). Of several, separated by
    /// commas, the smallest payload is taken
    #[arg(
        short,
        long,
        value_delimiter = ',',
        default_value = "zstd",
        value_name = "CODEC[:LEVEL]",
        value_parser = words(str::parse::<Method>, codecs),
        hide_possible_values = true,
        help_heading = "Compression"
    )]
    codec: Vec<Method>,

    /// A number (zlib 1 to 9, zstd up to 22, lzo 1 or 9), or default, auto, smallest [default: 15
    /// for zstd, 9 for zlib and lzo]
    #[arg(
        short,
        long,
        allow_hyphen_values = true,
        value_parser = words(str::parse::<Level>, levels),
        hide_possible_values = true,
        help_heading = "Compression"
    )]
    level: Option<Level>,

    /// End zstd frames with a checksum of their content
    #[arg(long, help_heading = "Compression")]
    zstd_checksum: bool,

    /// Replace what becomes smaller by so many bytes at least [default: one sector]
    #[arg(long, value_name = "BYTES", value_parser = byte_count, help_heading = "What to squeeze")]
    min_saving: Option<u64>,

    /// Leave alone what holds bytes that no file shows; without this it becomes shorter
    #[arg(long, help_heading = "What to squeeze")]
    no_reclaim: bool,

    /// Only what was made in this generation of the filesystem or after it
    #[arg(
        long,
        value_name = "GENERATION",
        default_value_t = 0,
        help_heading = "What to squeeze"
    )]
    since: u64,

    /// Remember in this file what has been looked at, and look at nothing twice
    ///
    /// One line for each filesystem, paths and codecs: for a timer.
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with_all = ["since", "dry_run"],
        help_heading = "What to squeeze"
    )]
    state: Option<PathBuf>,

    /// Leave what a file shows that somebody has open for writing
    #[arg(long, help_heading = "What to squeeze")]
    skip_busy: bool,

    /// Say what would be saved, and change nothing
    #[arg(short = 'n', long, help_heading = "What to squeeze")]
    dry_run: bool,

    /// Give files new extents even where others have to keep the old ones: more space is used then
    #[arg(long, help_heading = "What to squeeze")]
    allow_growth: bool,

    /// Where unnamed temporary files are made: a writable directory of the same filesystem
    /// [default: the first of the paths that is writable]
    #[arg(long, value_name = "DIR", help_heading = "Limits")]
    temp_dir: Option<PathBuf>,

    /// Wait so long in all for snapshots that are being sent
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = 10,
        help_heading = "Limits"
    )]
    patience: u64,

    /// Read so many bytes per second at most
    #[arg(long, value_name = "BYTES", value_parser = byte_count, help_heading = "Limits")]
    limit_rate: Option<u64>,

    /// Be nice to other processes: 19 is the nicest
    #[arg(
        long,
        value_name = "N",
        value_parser = clap::value_parser!(i32).range(0..=19),
        default_value_t = 0,
        help_heading = "Limits"
    )]
    nice: i32,

    /// Threads that work, 1024 at most; 0 for all cores
    #[arg(short, long, value_name = "N", value_parser = jobs, default_value = "0", help_heading = "Limits")]
    jobs: NonZeroUsize,
}

const AFTER_HELP: &str = "\
Examples:
  btrfs-payload squeeze /mnt --dry-run
  btrfs-payload squeeze /mnt
  btrfs-payload squeeze /mnt/data --codec zstd:19 --since 1234

New extents are made in an unnamed file. The kernel compares them with each place that shows the old
ones, in live files and in read-only snapshots, and exchanges them where all bytes are equal: what
is written meanwhile is never lost, and times and sharing stay. An interrupt stops after what is
begun; starting again goes on. Needs root.

While a snapshot is given something, a btrfs send of it cannot begin: it says EAGAIN, and is to be
started again. Where backups run by themselves, have both wait for one lock (flock). A send that is
under way is waited for, and what it shows is left for the next run.

The top of a subvolume stands for all of it and for the subvolumes and snapshots that lie in it.
Whatever else shows an extent, elsewhere on the filesystem, is given the new one too.

Exit status:
  0  done
  2  wrong usage, a path cannot be read, or the filesystem cannot be written to";

/// A file, as a JSON line: the first that shows these extents.
#[derive(Serialize)]
struct FileLine {
    kind: &'static str,
    path: String,
    subvolume: u64,
    inode: u64,
    extents: u64,
    disk_bytes: u64,
    new_extents: u64,
    new_disk_bytes: u64,
}

/// Extents that stay as they are, as a JSON line.
#[derive(Serialize)]
struct LeftLine {
    kind: &'static str,
    reason: &'static str,
    message: String,
    extents: u64,
    disk_bytes: u64,
}

/// All of it, as a JSON line.
#[derive(Serialize)]
struct Line {
    kind: &'static str,
    dry_run: bool,
    complete: bool,
    extents: u64,
    disk_bytes: u64,
    new_extents: u64,
    new_disk_bytes: u64,
    freed_bytes: u64,
    grown_bytes: u64,
    data_used_before: u64,
    data_used_after: u64,
    metadata_used_before: u64,
    metadata_used_after: u64,
    next_generation: Option<u64>,
}

pub(crate) fn run(args: &Args, output: &mut Output) -> Result<Verdict> {
    allow_many_files();
    if args.nice > 0 {
        rustix::process::nice(args.nice).context("cannot be nicer")?;
    }
    let mut options = args.options()?;
    let state = args.state.as_deref().map(State::read).transpose()?;
    let key = args.key()?;
    if let Some(state) = &state {
        options.since = state.next(&key);
    }
    let interrupt = Gently::begin();
    let mut squeeze = match Squeeze::new(&args.paths, options) {
        Err(error @ FilesError::Temporary { .. }) if args.temp_dir.is_none() => {
            return Err(anyhow::Error::new(error)
                .context("name a writable directory of the same filesystem with --temp-dir"));
        }
        squeeze => squeeze?,
    };
    let used = |squeeze: &Squeeze| {
        ioctl::commit(squeeze.map().top())?;
        ioctl::space_used(squeeze.map().top())
    };
    let before = used(&squeeze)?;
    let mut printer = Printer {
        bar: progress(squeeze.planned().disk_bytes),
        freed: 0,
        file: None,
        said: Ok(()),
        output,
    };
    let stop = || interrupt.is_wanted();
    let result = squeeze.run(stop, |squeezed, names| printer.add(squeezed, names));
    printer.bar.finish_and_clear();
    let looked_at = printer.bar.position();
    printer.say(&mut Names::new(squeeze.map()));
    printer.said?;
    output.moved(looked_at);
    let after = used(&squeeze)?;
    if result.is_ok() || squeeze.summary().before.extents > 0 {
        report(args, &squeeze, &before, &after, output)?;
    }
    result?;
    if let Some((mut state, next)) = state.zip(squeeze.next_generation()) {
        state.set(key, next);
        state.write()?;
    }
    output.finish()?;
    interrupt.end();
    Ok(Verdict::Sound)
}

/// Says what has become of each file.
struct Printer<'a> {
    bar: ProgressBar,
    freed: u64,
    /// The file that is being squeezed.
    file: Option<FileSum>,
    said: Result<()>,
    output: &'a mut Output,
}

impl Printer<'_> {
    fn add(&mut self, squeezed: &Squeezed, names: &mut Names<'_>) {
        let (before, after) = (squeezed.before.disk_bytes, squeezed.after.disk_bytes);
        self.bar.inc(before);
        add(&mut self.freed, before.saturating_sub(after));
        self.bar
            .set_message(format!("{} freed", HumanBytes(self.freed)));
        match &mut self.file {
            Some(file) if file.is_same(squeezed) => file.add(squeezed),
            _ => {
                self.say(names);
                self.file = Some(FileSum::new(squeezed));
            }
        }
    }

    /// The line about the last file.
    fn say(&mut self, names: &mut Names<'_>) {
        if let Some(file) = self.file.take()
            && self.said.is_ok()
        {
            self.said = file.say(names, self.output);
        }
    }
}

impl Args {
    fn options(&self) -> Result<SqueezeOptions> {
        let mut options = Options::new(Codec::Zstd, Level::Default);
        let methods = self.codec.iter().map(|method| {
            let usual = match method.codec {
                Codec::Zstd => 15,
                Codec::Zlib | Codec::Lzo => 9,
            };
            let level = method.level.or(self.level);
            (method.codec, level.unwrap_or(Level::Number(usual)))
        });
        options.methods = methods.collect();
        if self.zstd_checksum {
            options.zstd.checksum = Checksum::Content;
        }
        let mut new = SqueezeOptions::new(options);
        new.jobs = self.jobs;
        new.since = self.since;
        new.min_saving = self.min_saving;
        new.reclaim = !self.no_reclaim;
        new.dry_run = self.dry_run;
        new.allow_growth = self.allow_growth;
        new.temp_dir.clone_from(&self.temp_dir);
        new.skip_busy = self.skip_busy;
        new.bytes_per_second = self.limit_rate.filter(|&rate| rate > 0);
        new.patience = Duration::from_secs(self.patience);
        Ok(new)
    }
}

impl Args {
    /// What a line of the state file is about.
    fn key(&self) -> Result<Key> {
        let first = self.paths.first().context("no path is named")?;
        let file = File::open(first).with_context(|| cannot_read(first))?;
        let filesystem = ioctl::filesystem(&file).with_context(|| cannot_read(first))?;
        let options = self.options()?.prepare;
        let methods = options.methods.iter();
        let methods: Vec<_> = methods
            .map(|(codec, level)| format!("{codec}:{level}"))
            .collect();
        let paths = self.paths.iter().map(|path| {
            let whole = path.canonicalize().with_context(|| cannot_read(path))?;
            Ok(shown(&whole).to_string())
        });
        Ok(Key {
            filesystem: hex(&filesystem.uuid),
            paths: paths.collect::<Result<_>>()?,
            codec: methods.join(","),
        })
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Each thread has up to 128 files open.
fn allow_many_files() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // Where it stays low, so do the threads that can work.
    let _ = setrlimit(Resource::Nofile, limit);
}

/// What has become of the extents of a file.
struct FileSum {
    root: u64,
    inode: u64,
    before: Share,
    after: Share,
}

impl FileSum {
    fn new(squeezed: &Squeezed) -> Self {
        Self {
            root: squeezed.root,
            inode: squeezed.inode,
            before: squeezed.before,
            after: squeezed.after,
        }
    }

    fn is_same(&self, squeezed: &Squeezed) -> bool {
        (self.root, self.inode) == (squeezed.root, squeezed.inode)
    }

    fn add(&mut self, squeezed: &Squeezed) {
        for (sum, more) in [
            (&mut self.before, squeezed.before),
            (&mut self.after, squeezed.after),
        ] {
            sum.extents = sum.extents.saturating_add(more.extents);
            sum.disk_bytes = sum.disk_bytes.saturating_add(more.disk_bytes);
        }
    }

    /// The line about it.
    fn say(&self, names: &mut Names<'_>, output: &mut Output) -> Result<()> {
        if !output.says_all() {
            return Ok(());
        }
        let (root, inode) = (self.root, self.inode);
        // Where names cannot be had, it has a number.
        let names = names.of_file(root, inode).unwrap_or_default();
        let path = spelled(names.first().unwrap_or(&Name::Nameless), root, inode);
        output.detail(format_args!(
            "{path}: {} of {}, now {} of {}",
            count(self.before.extents, "extent"),
            output.size(self.before.disk_bytes),
            count(self.after.extents, "extent"),
            output.size(self.after.disk_bytes),
        ))?;
        output.json(&FileLine {
            kind: "squeezed",
            path,
            subvolume: self.root,
            inode: self.inode,
            extents: self.before.extents,
            disk_bytes: self.before.disk_bytes,
            new_extents: self.after.extents,
            new_disk_bytes: self.after.disk_bytes,
        })
    }
}

fn report(
    args: &Args,
    squeeze: &Squeeze,
    before: &SpaceUsed,
    after: &SpaceUsed,
    output: &mut Output,
) -> Result<()> {
    let summary = squeeze.summary();
    for (reason, share) in &summary.left {
        let size = output.size(share.disk_bytes);
        output.row(format_args!(
            "left as they are: {} of {size}: {reason}",
            count(share.extents, "extent"),
        ))?;
        output.json(&LeftLine {
            kind: "left",
            reason: reason.name(),
            message: reason.to_string(),
            extents: share.extents,
            disk_bytes: share.disk_bytes,
        })?;
    }
    let (old, new) = (&summary.before, &summary.after);
    let [old_size, new_size, freed] =
        [old.disk_bytes, new.disk_bytes, summary.freed_bytes()].map(|bytes| output.size(bytes));
    let (verb, free) = match args.dry_run {
        true => ("would become", "would be freed"),
        false => ("became", "freed"),
    };
    if old.extents == 0 {
        output.sum(true, format_args!("nothing to replace"))?;
    } else {
        output.sum(
            true,
            format_args!(
                "{} of {old_size} {verb} {} of {new_size}: {freed} {free}",
                count(old.extents, "extent"),
                count(new.extents, "extent"),
            ),
        )?;
    }
    if summary.grown_bytes > 0 {
        let grown = output.size(summary.grown_bytes);
        output.sum(
            false,
            format_args!("{grown} more than before, where old extents are still shown"),
        )?;
    }
    if !args.dry_run {
        let [data, metadata] = [(before.data, after.data), (before.metadata, after.metadata)].map(
            |(before, after)| format!("{} before, {} now", output.size(before), output.size(after)),
        );
        output.sum(
            true,
            format_args!("the filesystem uses for data: {data}; for metadata: {metadata}"),
        )?;
    }
    let next = squeeze.next_generation().filter(|_| !args.dry_run);
    match next {
        Some(next) => output.sum(true, format_args!("next time: --since {next}"))?,
        None if !args.dry_run => output.sum(
            false,
            format_args!("stopped before the end; start again to go on"),
        )?,
        None => {}
    }
    output.json(&Line {
        kind: "squeeze",
        dry_run: args.dry_run,
        complete: squeeze.next_generation().is_some(),
        extents: old.extents,
        disk_bytes: old.disk_bytes,
        new_extents: new.extents,
        new_disk_bytes: new.disk_bytes,
        freed_bytes: summary.freed_bytes(),
        grown_bytes: summary.grown_bytes,
        data_used_before: before.data,
        data_used_after: after.data,
        metadata_used_before: before.metadata,
        metadata_used_after: after.metadata,
        next_generation: next,
    })
}
