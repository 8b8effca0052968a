//! `completions` and `man`: what a package installs beside the program.

use anyhow::Result;
use clap::CommandFactory;

use crate::output::Output;
use crate::{Cli, Verdict};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The shell
    shell: clap_complete::Shell,
}

pub(crate) fn run(args: &Args, output: &mut Output) -> Result<Verdict> {
    let mut script = Vec::new();
    clap_complete::generate(
        args.shell,
        &mut Cli::command(),
        "btrfs-payload",
        &mut script,
    );
    output.bytes(&script)?;
    Ok(Verdict::Sound)
}

pub(crate) fn man(output: &mut Output) -> Result<Verdict> {
    let mut page = Vec::new();
    clap_mangen::Man::new(Cli::command()).render(&mut page)?;
    output.bytes(&page)?;
    Ok(Verdict::Sound)
}
