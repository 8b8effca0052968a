//! `stream`: whole send streams.

mod cat;
mod check;
mod compare;
mod decompress;
mod digest;
mod dump;
mod faults;
mod io;
mod known;
mod ls;
mod recompress;
mod reframe;
mod rewrite;
mod stats;

pub(crate) use check::check_stream;

use anyhow::Result;
use clap::Subcommand;

use crate::Verdict;
use crate::output::Output;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Judge a stream: framing, checksums, order of commands, every payload
    Check(check::Args),
    /// Compress a stream again, with any codec and level
    Recompress(recompress::Args),
    /// Turn encoded extents into plain data
    Decompress(decompress::Args),
    /// Lay LZO payloads out for another sector size
    Reframe(reframe::Args),
    /// List every command
    Dump(dump::Args),
    /// List the names in stored streams: a full one and its increments
    Ls(ls::Args),
    /// Print files out of stored streams
    Cat(cat::Args),
    /// Compare stored streams with a directory, difference by difference
    Compare(compare::Args),
    /// Print one digest of the tree of stored streams, or of a directory
    Digest(digest::Args),
    /// Count what a stream holds, and estimate what recompressing would give
    Stats(stats::Args),
}

pub(crate) fn run(args: &Args, output: &mut Output) -> Result<Verdict> {
    match &args.command {
        Command::Check(args) => check::run(args, output),
        Command::Recompress(args) => recompress::run(args, output),
        Command::Decompress(args) => decompress::run(args, output),
        Command::Reframe(args) => reframe::run(args, output),
        Command::Dump(args) => dump::run(args, output),
        Command::Ls(args) => ls::run(args, output),
        Command::Cat(args) => cat::run(args, output),
        Command::Compare(args) => compare::run(args, output),
        Command::Digest(args) => digest::run(args, output),
        Command::Stats(args) => stats::run(args, output),
    }
}
