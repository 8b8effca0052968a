//! `completions` and `man`: what a package installs beside the program.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::CommandFactory;
use clap_complete::Shell;

use crate::about::about;
use crate::new_file::NewFile;
use crate::origin::Origin;
use crate::output::{Output, shown};
use crate::{Cli, Verdict};

const NAME: &str = "btrfs-payload";

#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    /// The shell
    shell: Shell,
}

const AFTER_HELP: &str = "\
Examples:
  btrfs-payload completions bash > /usr/share/bash-completion/completions/btrfs-payload
  btrfs-payload completions zsh > /usr/share/zsh/site-functions/_btrfs-payload
  btrfs-payload completions fish > /usr/share/fish/vendor_completions.d/btrfs-payload.fish";

pub(crate) fn run(args: &Args, output: &mut Output) -> Result<Verdict> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), NAME, &mut script);
    let mut script = String::from_utf8(script)?;
    if args.shell == Shell::Bash {
        // clap_complete 4.6 writes the name of a program with a hyphen in two ways, and offers
        // nothing after a subcommand (https://github.com/clap-rs/clap/issues/6421).
        script = script.replace("btrfs__subcmd__payload__", "btrfs__payload__");
    }
    output.bytes(script.as_bytes())?;
    Ok(Verdict::Sound)
}

#[derive(Debug, clap::Args)]
#[command(after_help = MAN_AFTER_HELP)]
pub(crate) struct ManArgs {
    /// Write a page for the program and one for each subcommand into this directory
    #[arg(short, long, value_name = "DIR")]
    out: Option<PathBuf>,

    /// Replace pages that are there
    #[arg(short, long, requires = "out")]
    force: bool,
}

const MAN_AFTER_HELP: &str = "\
Examples:
  btrfs-payload man | man -l -
  btrfs-payload man --out /usr/share/man/man1";

pub(crate) fn man(args: &ManArgs, output: &mut Output) -> Result<Verdict> {
    let mut command = Cli::command();
    command.build();
    let Some(directory) = &args.out else {
        let mut page = Vec::new();
        clap_mangen::Man::new(command).render(&mut page)?;
        output.bytes(&page)?;
        return Ok(Verdict::Sound);
    };
    if directory == Path::new("-") {
        bail!("several pages cannot go to standard output; ./- is a directory of that name");
    }
    fs::create_dir_all(directory)
        .with_context(|| about(directory, format_args!("cannot make {}", shown(directory))))?;
    pages(command, NAME.to_owned(), directory, args.force)?;
    Ok(Verdict::Sound)
}

/// Writes the page of a command, and those of its subcommands.
fn pages(command: clap::Command, name: String, directory: &Path, force: bool) -> Result<()> {
    for sub in command.get_subcommands() {
        // `help` repeats what the pages say.
        if sub.get_name() != "help" {
            let name = format!("{name}-{}", sub.get_name());
            pages(sub.clone(), name, directory, force)?;
        }
    }
    let mut page = Vec::new();
    let path = directory.join(format!("{name}.1"));
    // clap names the command as it is typed: with blanks.
    let command = command.name(name).version(env!("CARGO_PKG_VERSION"));
    clap_mangen::Man::new(command).render(&mut page)?;
    let mut file = NewFile::create(&path, force)?;
    let written = file.file().write_all(&page);
    written.with_context(|| about(&path, format_args!("cannot write {}", shown(&path))))?;
    // It is made from nothing that is closed to anybody.
    file.permit(&Origin::default());
    file.finish()
}
