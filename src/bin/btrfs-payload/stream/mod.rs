//! `stream`: whole send streams.

mod check;
mod io;

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
}

pub(crate) fn run(args: &Args, output: &mut Output) -> Result<Verdict> {
    match &args.command {
        Command::Check(args) => check::run(args, output),
    }
}
