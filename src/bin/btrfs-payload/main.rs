//! The program: one file per subcommand, and the only place that prints.
#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects))]

mod about;
mod args;
mod assemble;
mod attributes;
mod bars;
mod beside;
mod check;
mod claims;
mod completions;
mod decode;
mod destination;
mod dump;
mod estimates;
mod explain;
mod file_names;
mod inputs;
mod interrupt;
mod kernels;
mod manifest;
mod new_directory;
mod new_file;
mod numbers;
mod origin;
mod output;
mod pack;
mod page;
mod prepare;
mod progress;
mod quota;
mod read;
mod saved;
mod scan;
mod squeeze;
mod stored;
mod stream;
mod unpack;
mod utc;
mod version;
mod words;
mod write;

use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Instant;

use clap::error::ErrorKind;
use clap::{Parser, Subcommand};

use crate::output::{Color, Detail, Format, Output, Style, shown};

/// Makes, judges and moves the compressed payloads of btrfs extents.
#[derive(Parser)]
#[command(
    name = "btrfs-payload",
    version,
    long_version = version::long(),
    max_term_width = 100,
    after_help = explain::with_sound(AFTER_HELP)
)]
struct Cli {
    /// How results are printed; json is one object per line
    #[arg(
        long,
        global = true,
        value_enum,
        default_value_t = Format::Text,
        help_heading = "Output"
    )]
    format: Format,

    /// Print nothing but what is wrong
    #[arg(short, long, global = true, help_heading = "Output")]
    quiet: bool,

    /// Print closing lines only, without tables and findings
    #[arg(long, global = true, conflicts_with = "quiet", help_heading = "Output")]
    summary: bool,

    /// Print every extent, how long it took and how fast that was
    #[arg(short, long, global = true, conflicts_with_all = ["quiet", "summary"], help_heading = "Output")]
    verbose: bool,

    /// Sums in bytes, not in KiB and MiB
    #[arg(long, global = true, help_heading = "Output")]
    bytes: bool,

    /// Show no bar while work goes on
    #[arg(long, global = true, help_heading = "Output")]
    no_progress: bool,

    /// Colour verdicts and findings
    #[arg(
        long,
        global = true,
        value_enum,
        value_name = "WHEN",
        default_value_t = Color::Auto,
        help_heading = "Output"
    )]
    color: Color,

    #[command(subcommand)]
    command: Command,
}

impl Cli {
    fn style(&self) -> Style {
        Style {
            format: self.format,
            detail: match (self.quiet, self.summary, self.verbose) {
                (true, ..) => Detail::Quiet,
                (_, true, _) => Detail::Summary,
                (.., true) => Detail::Verbose,
                _ => Detail::Normal,
            },
            color: self.color,
            raw_bytes: self.bytes,
        }
    }
}

#[derive(Subcommand)]
enum Command {
    /// Make extents of a file and show what is saved
    Prepare(prepare::Args),
    /// Judge payloads: a manifest, a send stream, a file on btrfs, or a payload
    Check(check::Args),
    /// Decode a payload
    Decode(decode::Args),
    /// Explain every byte of a payload
    Dump(dump::Args),
    /// Write a file to btrfs as compressed extents
    Write(write::Args),
    /// Take the extents of a file on btrfs as payloads
    Read(read::Args),
    /// Make the file again that prepare or read took apart
    Assemble(assemble::Args),
    /// Count the extents of files on btrfs: codecs, shared, unreachable
    Scan(scan::Args),
    /// Make files on btrfs smaller, in all snapshots, and change nothing else
    Squeeze(squeeze::Args),
    /// Pack a directory or a tar archive into a send stream, without root
    Pack(pack::Args),
    /// Check, recompress, decompress, reframe and list send streams
    Stream(stream::Args),
    /// Unpack stored send streams into a directory of any filesystem
    Unpack(unpack::Args),
    /// Say what the code of a finding means, and what to do
    Explain(explain::Args),
    /// Print completions for a shell
    Completions(completions::Args),
    /// Print the manual page, or write one for each subcommand
    Man(completions::ManArgs),
}

const AFTER_HELP: &str = "\
Examples:
  btrfs-payload prepare disk.img --codec zstd --level 19
  btrfs-payload prepare disk.img --codec zstd:15,zlib:9 --out extents/
  btrfs-payload check extents/manifest.jsonl
  btrfs-payload write disk.img /mnt/disk.img --level 15 --verify
  btrfs send snapshot | btrfs-payload stream recompress --level 15 > backup.stream
  btrfs-payload stream check backup.stream

Output files and directories appear whole or not at all, and are on the disk by then. --force
replaces regular files, and directories that prepare and read have made; nothing else is ever
replaced: symbolic links are followed, as cp does (those to nothing are refused), pipes and
devices are written to as they are. Who may not read the input may not read the output.

Exit status:
  0  sound, or done
  1  something is not sound
  2  wrong usage, or a file cannot be read or written
When the reader of standard output goes away, check and stream check go on and end as they would
have; everything else dies of SIGPIPE, which is 141 in a shell.";

/// What a subcommand has found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Verdict {
    /// Nothing is wrong.
    Sound,
    /// At least one payload is at fault.
    NotSound,
    /// An input could not be judged, and that has been said.
    Trouble,
}

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are results, everything else is trouble; clap knows which.
            if error.kind() == ErrorKind::DisplayVersion && version::is_verbose() {
                version::print_verbose();
            } else {
                print_usage(&error);
            }
            return ExitCode::from(if error.use_stderr() { 2 } else { 0 });
        }
    };
    if let Err(error) = interrupt::watch() {
        output::remark(format_args!(
            "an interrupt may leave temporary files: {error}"
        ));
    }
    if cli.no_progress || cli.quiet {
        progress::switch_off();
    }
    let begun = Instant::now();
    let mut output = Output::new(cli.style());
    let result = match &cli.command {
        Command::Prepare(args) => prepare::run(args, &mut output),
        Command::Check(args) => check::run(args, &mut output),
        Command::Decode(args) => decode::run(args, &mut output),
        Command::Dump(args) => dump::run(args, &mut output),
        Command::Write(args) => write::run(args, &mut output),
        Command::Read(args) => read::run(args, &mut output),
        Command::Assemble(args) => assemble::run(args, &mut output),
        Command::Scan(args) => scan::run(args, &mut output),
        Command::Squeeze(args) => squeeze::run(args, &mut output),
        Command::Pack(args) => pack::run(args, &mut output),
        Command::Stream(args) => stream::run(args, &mut output),
        Command::Unpack(args) => unpack::run(args, &mut output),
        Command::Explain(args) => explain::run(args, &mut output),
        Command::Completions(args) => completions::run(args, &mut output),
        Command::Man(args) => completions::man(args, &mut output),
    };
    if result.is_err() {
        interrupt::wait_if_ending();
    } else {
        output.took(begun.elapsed());
    }
    match result.and_then(|verdict| output.finish().map(|()| verdict)) {
        Ok(Verdict::Sound) => ExitCode::SUCCESS,
        Ok(Verdict::NotSound) => ExitCode::from(1),
        Ok(Verdict::Trouble) => ExitCode::from(2),
        Err(error) if is_closed_pipe(&error) => {
            interrupt::end_of_pipe();
            ExitCode::from(2)
        }
        Err(error) => {
            output.trouble(&error);
            ExitCode::from(2)
        }
    }
}

/// Prints what clap has to say. It quotes arguments as they are, and a shell's `*` may have put
/// any file's name there: then without colours, so that nothing is left that is not to be shown.
fn print_usage(error: &clap::Error) {
    let is_plain = |argument: OsString| argument.to_str() == Some(&shown(&argument).to_string());
    if std::env::args_os().all(is_plain) {
        let _ = error.print();
        return;
    }
    for line in error.to_string().lines() {
        let _ = writeln!(io::stderr(), "{}", shown(line));
    }
}

/// The reader of our output has had enough.
fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .any(|cause| cause.kind() == io::ErrorKind::BrokenPipe)
}
