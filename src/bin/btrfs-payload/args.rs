//! Arguments that several subcommands share.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::num::NonZeroUsize;
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;
use std::str::FromStr;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use btrfs_payload::prepare::{Checksum, Keep, Level, Options, Preparer};
use btrfs_payload::rules::{Codec, Target, limits};
use btrfs_payload::send_stream::Reader;
use rustix::fs::OFlags;

use crate::about::{About, about, bail_about};
use crate::output::shown;
use crate::words::{codecs, levels, words};

/// A codec, and a level for it alone where one is named: `zstd`, `zlib:9`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Method {
    pub(crate) codec: Codec,
    pub(crate) level: Option<Level>,
}

impl FromStr for Method {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (codec, level) = match text.split_once(':') {
            Some((codec, level)) => (codec, Some(level)),
            None => (text, None),
        };
        Ok(Self {
            codec: codec.parse().map_err(|error| format!("{error}"))?,
            level: level
                .map(|level| level.parse().map_err(|error| format!("{error}")))
                .transpose()?,
        })
    }
}

/// With which codecs, and how hard.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Compression")]
pub(crate) struct Methods {
    /// zlib, lzo or zstd, each with a level if you like (zstd:19). Of several, separated by
    /// commas, the smallest payload is taken
    #[arg(
        short,
        long,
        value_delimiter = ',',
        default_value = "zstd",
        value_name = "CODEC[:LEVEL]",
        value_parser = words(str::parse::<Method>, codecs),
        hide_possible_values = true
    )]
    codec: Vec<Method>,

    /// A number (zlib 1 to 9, zstd up to 22, lzo 1 or 9), or default, auto, smallest
    ///
    /// `default` is the kernel's own level (3 for zlib and zstd). `smallest` makes the smallest
    /// payload at any cost; `max` is the same. `auto` makes the fewest sectors on disk, with no
    /// more effort than that takes: use it for data that stays, where a number is a guess.
    #[arg(
        short,
        long,
        default_value = "default",
        allow_hyphen_values = true,
        value_parser = words(str::parse::<Level>, levels),
        hide_possible_values = true
    )]
    level: Level,

    /// End zstd frames with a checksum of their content
    ///
    /// Four bytes per extent. Where a payload is damaged and decodes all the same, readers then
    /// give an error instead of wrong bytes (kernels do not look at a checksum that lies past the
    /// last 4096 bytes of input they need).
    #[arg(long)]
    zstd_checksum: bool,
}

impl Methods {
    /// The options for a filesystem with sectors of so many bytes.
    pub(crate) fn options(&self, sector_size: u32) -> Options {
        let methods = self.codec.iter().map(|method| {
            let level = method.level.unwrap_or(self.level);
            (method.codec, level)
        });
        let mut options = Options::new(Codec::Zstd, self.level).sector_size(sector_size);
        options.methods = methods.collect();
        if self.zstd_checksum {
            options.zstd.checksum = Checksum::Content;
        }
        options
    }
}

/// How to make extents of a file.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Compression")]
pub(crate) struct Compression {
    #[command(flatten)]
    methods: Methods,

    /// Keep a payload that is smaller than its data even if it saves no sector
    #[arg(long)]
    keep_smaller: bool,

    /// Where the file is cut: a multiple of the sector size, at most 128K
    #[arg(long, default_value = "128K", value_name = "BYTES", value_parser = small_byte_count)]
    extent_size: u32,

    /// Threads that encode, 1024 at most; 0 for all cores
    #[arg(short, long, value_name = "N", value_parser = jobs, default_value = "0", help_heading = "Limits")]
    jobs: NonZeroUsize,
}

impl Compression {
    pub(crate) fn options(&self, sector_size: u32) -> Options {
        let mut options = self.methods.options(sector_size);
        if self.keep_smaller {
            options.keep = Keep::Smaller;
        }
        options.extent_size = usize::try_from(self.extent_size).unwrap_or(usize::MAX);
        options
    }

    /// The same, where they can be met: a level that the codec has, a right extent size.
    pub(crate) fn checked_options(&self, sector_size: u32) -> Result<Options> {
        let options = self.options(sector_size);
        Preparer::new(&options)?;
        Ok(options)
    }

    pub(crate) fn jobs(&self) -> NonZeroUsize {
        self.jobs
    }
}

/// More threads than any machine has use for; each has tables of its own.
const MAX_JOBS: NonZeroUsize = NonZeroUsize::new(1024).unwrap();

/// A number of jobs from the command line, 0 for as many as there are cores. They change no byte,
/// so too many are as good as the most.
pub(crate) fn jobs(text: &str) -> Result<NonZeroUsize, std::num::ParseIntError> {
    let jobs = NonZeroUsize::new(text.parse()?);
    Ok(jobs.unwrap_or_else(all_cores).min(MAX_JOBS))
}

/// How long the commands of a stream may be.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(crate) struct CommandSize {
    /// Longest command that is read; each thread may hold a few of them. Kernels make at most 256K
    #[arg(long, help_heading = "Limits", value_name = "BYTES", value_parser = byte_count, default_value = "16M")]
    max_command_size: u64,
}

impl CommandSize {
    /// A reader with this limit.
    pub(crate) fn reader<R: Read>(self, input: R) -> Reader<R> {
        let limit = usize::try_from(self.max_command_size).unwrap_or(usize::MAX);
        Reader::new(input).max_command_len(limit)
    }
}

/// As many jobs as there are cores.
pub(crate) fn all_cores() -> NonZeroUsize {
    let cores = std::thread::available_parallelism();
    cores.unwrap_or(NonZeroUsize::MIN).min(MAX_JOBS)
}

/// A number of bytes from the command line: `1000`, `64K`, `2G`.
pub(crate) fn byte_count(text: &str) -> Result<u64, String> {
    let units = [
        (['K', 'k'], 10),
        (['M', 'm'], 20),
        (['G', 'g'], 30),
        (['T', 't'], 40),
    ];
    let unit = |(unit, shift): ([char; 2], u32)| Some((text.strip_suffix(unit)?, shift));
    let (digits, shift) = units.into_iter().find_map(unit).unwrap_or((text, 0));
    let number = digits.parse::<u64>().ok();
    number
        .and_then(|number| number.checked_mul(1_u64.checked_shl(shift)?))
        .ok_or_else(|| "a number of bytes, or of K, M, G or T (powers of 1024)".to_owned())
}

/// The same where 32 bits hold it.
pub(crate) fn small_byte_count(text: &str) -> Result<u32, String> {
    u32::try_from(byte_count(text)?).map_err(|_| "at most 4G - 1 is expected".to_owned())
}

/// The sizes of the filesystem and the machine.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Filesystem")]
pub(crate) struct Filesystem {
    /// Sector size of the filesystem: 4K to 64K
    #[arg(long, default_value = "4K", value_name = "BYTES", value_parser = sector_size)]
    pub(crate) sector_size: u32,

    /// Page size of the machine [default: the sector size]
    #[arg(long, value_name = "BYTES", value_parser = sector_size)]
    pub(crate) page_size: Option<u32>,

    /// The mount option max_inline
    #[arg(long, default_value_t = limits::DEFAULT_MAX_INLINE, value_name = "BYTES",
          value_parser = small_byte_count)]
    pub(crate) max_inline: u32,

    /// Node size of the filesystem
    #[arg(long, default_value_t = limits::DEFAULT_NODE_SIZE, value_name = "BYTES",
          value_parser = small_byte_count)]
    pub(crate) node_size: u32,
}

impl Filesystem {
    pub(crate) fn target(&self) -> Target {
        let target = Target::new(self.sector_size);
        target
            .page_size(self.page_size.unwrap_or(target.page_size))
            .max_inline(self.max_inline)
            .node_size(self.node_size)
    }
}

/// A sector or page size from the command line.
pub(crate) fn sector_size(text: &str) -> Result<u32, String> {
    small_byte_count(text)
        .ok()
        .filter(|&size| limits::is_sector_size(size))
        .ok_or_else(|| "a power of two from 4K to 64K is expected".to_owned())
}

/// Opens an input to be read once, `-` for standard input.
pub(crate) fn open_input(path: &Path) -> Result<File> {
    if path == Path::new("-") {
        let stdin = io::stdin().as_fd().try_clone_to_owned();
        return stdin.map(File::from).context("cannot read standard input");
    }
    File::open(path).with_context(|| cannot_read(path))
}

/// The same for what decides by what it finds: a named pipe that nobody writes to is given up,
/// instead of waiting for ever.
pub(crate) fn open_with_writer(path: &Path) -> Result<File> {
    /// Time that a shell takes to start whoever writes, many times over.
    const PATIENCE: Duration = Duration::from_secs(3);
    if !std::fs::metadata(path).is_ok_and(|found| found.file_type().is_fifo()) {
        return open_input(path);
    }
    // Opening waits for the other end. The thread goes with the process.
    let (opened, wait) = mpsc::channel();
    let name = path.to_owned();
    let thread = thread::Builder::new().spawn(move || opened.send(open_input(&name)));
    if thread.is_err() {
        return open_input(path);
    }
    wait.recv_timeout(PATIENCE).unwrap_or_else(|_| {
        Err(about(
            path,
            format_args!("{} is a pipe that nobody writes to", shown(path)),
        )
        .into())
    })
}

/// Opens a regular file, and does not wait for a writer where it is a pipe.
pub(crate) fn open_file(path: &Path) -> Result<File> {
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    let opened = OpenOptions::new().read(true).custom_flags(flags).open(path);
    let file = opened.with_context(|| cannot_read(path))?;
    let metadata = file.metadata().with_context(|| cannot_read(path))?;
    if !metadata.is_file() {
        bail_about!(path, "{} is not a regular file", shown(path));
    }
    Ok(file)
}

/// Reads a payload from an open file of that name. More than any payload can be is refused
/// before it is read.
pub(crate) fn payload_in(input: &File, path: &Path) -> Result<Vec<u8>> {
    // A payload and its padding end at 128 KiB; the judge says so of anything longer, but has no
    // need to see gigabytes for it.
    const ENOUGH: u64 = 2 * limits::MAX_EXTENT;
    let mut payload = Vec::new();
    input
        .take(ENOUGH + 1)
        .read_to_end(&mut payload)
        .with_context(|| cannot_read(path))?;
    if payload.len() as u64 > ENOUGH {
        bail_about!(
            path,
            "{} is longer than any payload: at most {} bytes",
            shown(path),
            limits::MAX_EXTENT
        );
    }
    Ok(payload)
}

/// The directory that a file is in.
pub(crate) fn directory_of(file: &Path) -> &Path {
    match file.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    }
}

/// The beginning of every sentence about a file that cannot be read.
pub(crate) fn cannot_read(path: &Path) -> About {
    about(path, format_args!("cannot read {}", shown(path)))
}
