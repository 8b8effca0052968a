//! `squeeze`: extents of files on btrfs become smaller, in every file that shows them.

mod own;
mod report;
mod state;

use std::fs::File;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use btrfs_payload::files::{FilesError, Name, Names, Squeeze, SqueezeOptions, Squeezed};
use btrfs_payload::ioctl::{self, QueryError, WriteError};
use btrfs_payload::prepare::{Checksum, Level, Options};
use btrfs_payload::rules::Codec;
use indicatif::{HumanBytes, ProgressBar};
use rustix::process::{Resource, getrlimit, setrlimit};

use report::{End, FileSum, report, used};
use state::{Key, State};

use crate::Verdict;
use crate::args::{Method, byte_count, cannot_read, jobs};
use crate::file_names::spelled;
use crate::interrupt::Gently;
use crate::output::{Output, add, shown};
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
begun; starting again goes on.

Without root it is less: your own files, and of them what is neither compressed, shared nor
preallocated. The kernel compresses that, with one codec: zstd up to level 15, zlib, or lzo; before
Linux 6.15 at its own level. What may lie in one extent is replaced together, where a thirty-second
of it is saved. There is no --since and no --state, and one thread.

While a snapshot is given something, a btrfs send of it cannot begin: it says EAGAIN, and is to be
started again. Where backups run by themselves, have both wait for one lock (flock). A send that is
under way is waited for, and what it shows is left for the next run.

The top of a subvolume stands for all of it and for the subvolumes and snapshots that lie in it.
Whatever else shows an extent, elsewhere on the filesystem, is given the new one too.

Exit status:
  0  done
  2  wrong usage, a path cannot be read, or the filesystem cannot be written to; without root, a
     file below a path cannot be read";

const NO_ENCODED_WRITES: &str = "\
this kernel takes no compressed extents for this filesystem (that came with Linux 5.18, and for \
sectors larger than a page with 6.19): boot a newer one, or run squeeze as the user whose files they \
are; the kernel compresses then";

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
    let mut squeeze = match Squeeze::new(&args.paths, options.clone()) {
        Err(FilesError::Query(QueryError::NotPermitted { .. })) => {
            anyhow::ensure!(
                args.since == 0 && args.state.is_none(),
                "without root it is not known when an extent was made: leave out --since and --state"
            );
            let verdict = own::run(&args.paths, options, &interrupt, output)?;
            interrupt.end();
            return Ok(verdict);
        }
        Err(FilesError::Encoded(WriteError::Unsupported)) => bail!(NO_ENCODED_WRITES),
        Err(error @ FilesError::Temporary { .. }) if args.temp_dir.is_none() => {
            return Err(anyhow::Error::new(error)
                .context("name a writable directory of the same filesystem with --temp-dir"));
        }
        squeeze => squeeze?,
    };
    let before = used(squeeze.map().top())?;
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
    let end = End {
        summary: squeeze.summary(),
        dry_run: args.dry_run,
        is_complete: squeeze.next_generation().is_some(),
        next_generation: squeeze.next_generation(),
        before,
        after: used(squeeze.map().top())?,
    };
    if result.is_ok() || end.summary.before.extents > 0 {
        report(&end, output)?;
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
            && self.output.says_all()
        {
            let (root, inode) = (file.root, file.inode);
            // Where names cannot be had, it has a number.
            let names = names.of_file(root, inode).unwrap_or_default();
            let path = spelled(names.first().unwrap_or(&Name::Nameless), root, inode);
            self.said = file.say(path, self.output);
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
        let options = self.options()?;
        let methods = options.prepare.methods.iter();
        let mut words: Vec<_> = methods
            .map(|(codec, level)| format!("{codec}:{level}"))
            .collect();
        words.extend(self.zstd_checksum.then(|| "checksum".to_owned()));
        words.extend(self.no_reclaim.then(|| "no-reclaim".to_owned()));
        words.extend(self.min_saving.map(|bytes| format!("min-saving {bytes}")));
        let subvolumes = self.paths.iter().map(|path| {
            let file = File::open(path).with_context(|| cannot_read(path))?;
            ioctl::subvolume_id(&file).with_context(|| cannot_read(path))
        });
        let paths = self.paths.iter().map(|path| {
            let whole = path.canonicalize().with_context(|| cannot_read(path))?;
            Ok(shown(&whole).to_string())
        });
        Ok(Key {
            filesystem: hex(&filesystem.uuid),
            paths: paths.collect::<Result<_>>()?,
            subvolumes: subvolumes.collect::<Result<_>>()?,
            options: words.join(", "),
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

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    fn options(words: &str) -> SqueezeOptions {
        let words = ["squeeze", "path"].into_iter().chain(words.split(' '));
        let line = Line::try_parse_from(words).expect("right words");
        line.args.options().expect("options")
    }

    /// Each word does what it says, and nothing else.
    #[test]
    fn options_arrive() {
        let usual = format!("{:?}", options("--jobs 2"));
        let change = |words, change: fn(&mut SqueezeOptions)| {
            let mut expected = options("--jobs 2");
            change(&mut expected);
            let got = format!("{:?}", options(&format!("--jobs 2 {words}")));
            assert_eq!(got, format!("{expected:?}"), "{words}");
            assert_ne!(got, usual, "{words}");
        };
        change("--min-saving 8K", |it| it.min_saving = Some(8192));
        change("--no-reclaim", |it| it.reclaim = false);
        change("--since 7", |it| it.since = 7);
        change("--dry-run", |it| it.dry_run = true);
        change("--allow-growth", |it| it.allow_growth = true);
        change("--skip-busy", |it| it.skip_busy = true);
        change("--temp-dir d", |it| it.temp_dir = Some("d".into()));
        change("--patience 3", |it| it.patience = Duration::from_secs(3));
        change("--limit-rate 1M", |it| it.bytes_per_second = Some(1 << 20));
        change("--zstd-checksum", |it| {
            it.prepare.zstd.checksum = Checksum::Content;
        });
    }
}
