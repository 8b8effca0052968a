//! `decode`: the bytes of a payload, or the bytes that a kernel would return.

use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use btrfs_payload::Kernel;
use btrfs_payload::validate::{NotSound, Outcome, decode, predict};

use crate::Verdict;
use crate::about::about;
use crate::args::byte_count;
use crate::claims::Claims;
use crate::explain::{Explain, with_sound};
use crate::kernels::{self, Named};
use crate::new_file::OutFile;
use crate::origin::Origin;
use crate::output::{FindingLine, Output, remark, shown};
use crate::words::words;

#[derive(Debug, clap::Args)]
#[command(override_usage = USAGE, after_help = with_sound(AFTER_HELP))]
pub(crate) struct Args {
    /// The payload, `-` for standard input
    #[arg(required_unless_present = "explain")]
    payload: Option<PathBuf>,

    #[command(flatten)]
    claims: Claims,

    /// Give what this kernel would return, sound or not: a release (6.8.12), a line (6.18), or the
    /// running one; without a value, the newest known
    #[arg(long, value_name = "RELEASE|running", num_args = 0..=1, default_missing_value = Kernel::NEWEST.to_string(),
          help_heading = "Kernels", hide_possible_values = true,
          value_parser = words(str::parse::<Named>, kernels::names))]
    as_kernel: Option<Named>,

    /// Write to this file instead of standard output. Links are followed, pipes and devices
    /// written to as they are
    #[arg(short, long, value_name = "FILE", help_heading = "Output")]
    output: Option<PathBuf>,

    /// Replace a regular file that exists
    #[arg(short, long, help_heading = "Output")]
    force: bool,

    /// Give up where the output would be longer
    #[arg(long, help_heading = "Limits", value_name = "BYTES", value_parser = byte_count)]
    max_output: Option<u64>,

    #[command(flatten)]
    explain: Explain,
}

const USAGE: &str = "\
btrfs-payload decode [OPTIONS] <PAYLOAD>
       btrfs-payload decode --explain [CODE]";

const AFTER_HELP: &str = "\
Examples:
  btrfs-payload decode extents/000000000000.zstd -o data
  btrfs-payload decode payload --codec zlib --unencoded-len 3000 --as-kernel 6.8.12 | xxd

Exit status:
  0  decoded
  1  the payload is not sound
  2  wrong usage, or a file cannot be read or written";

pub(crate) fn run(args: &Args, output: &mut Output) -> Result<Verdict> {
    if let Some(done) = args.explain.run(output) {
        return done;
    }
    let path = args.payload.as_deref().context("a payload is expected")?;
    let (input, payload, fields, target) = args.claims.read(path)?;
    let (bytes, verdict) = match &args.as_kernel {
        None => match decode(&payload, &fields, &target) {
            Ok(bytes) => (bytes.to_vec(), Verdict::Sound),
            Err(NotSound(report)) => {
                for finding in report.findings() {
                    output.warn(format_args!("{finding}"));
                    output.json(&FindingLine::new(finding))?;
                }
                output.warn(format_args!(
                    "{} is not decoded, as readers differ; --as-kernel gives what one kernel would \
                     return",
                    shown(path)
                ));
                return Ok(Verdict::NotSound);
            }
        },
        Some(named) => {
            let outcome = predict(&payload, &fields, &target, named.kernel);
            as_kernel(named, &outcome)
        }
    };
    if let Some(most) = args.max_output.filter(|&most| bytes.len() as u64 > most) {
        bail!("the output would be longer than --max-output, {most} bytes");
    }
    output.moved(bytes.len() as u64);
    match args
        .output
        .as_deref()
        .filter(|path| *path != Path::new("-"))
    {
        None if io::stdout().is_terminal() && std::str::from_utf8(&bytes).is_err() => {
            bail!("the data is no text, and not written to a terminal; use -o FILE or a pipe");
        }
        None => output.bytes(&bytes)?,
        Some(path) => {
            use std::io::Write;
            let mut file = OutFile::create(path, args.force)?;
            if !file.is_new() {
                output.give_up_stdout();
            }
            file.file()
                .write_all(&bytes)
                .with_context(|| about(path, format_args!("cannot write {}", shown(path))))?;
            file.finish(&Origin::of(&input))?;
            let [data, stored] =
                [bytes.len(), payload.len()].map(|bytes| output.size(bytes as u64));
            output.sum(
                verdict == Verdict::Sound,
                format_args!("{}: {data} from {stored} of payload", shown(path)),
            )?;
        }
    }
    Ok(verdict)
}

/// The bytes that can be read, and a remark where they are not all of them, or not right.
fn as_kernel(named: &Named, outcome: &Outcome) -> (Vec<u8>, Verdict) {
    if let Some(note) = &named.note {
        remark(format_args!("{note}"));
    }
    let bytes = outcome
        .read()
        .map_or_else(Vec::new, |(bytes, _)| bytes.to_vec());
    if matches!(outcome, Outcome::Data { bytes, right, .. } if *right == bytes.len()) {
        return (bytes, Verdict::Sound);
    }
    remark(format_args!("Linux {} {outcome}", named.kernel));
    (bytes, Verdict::NotSound)
}
