//! `decode`: the bytes of a payload, or the bytes that a kernel would return.

use std::path::PathBuf;

use anyhow::{Context, Result};
use btrfs_payload::Kernel;
use btrfs_payload::validate::{NotSound, Outcome, decode, predict};

use crate::Verdict;
use crate::args::{Claims, open_input, payload_in};
use crate::new_file::OutFile;
use crate::origin::Origin;
use crate::output::{Output, remark, shown};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The payload, `-` for standard input
    payload: PathBuf,

    #[command(flatten)]
    claims: Claims,

    /// Give what this kernel would return (6.1, 6.12, 6.18 or 7.2; 7.2 without a version), sound or
    /// not
    #[arg(long, value_name = "VERSION", num_args = 0..=1, default_missing_value = "7.2", require_equals = true)]
    as_kernel: Option<Kernel>,

    /// Write to this file instead of standard output. Links are followed, pipes and devices
    /// written to as they are
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,

    /// Replace a regular file that exists
    #[arg(long)]
    force: bool,
}

pub(crate) fn run(args: &Args, output: &mut Output) -> Result<Verdict> {
    let input = open_input(&args.payload)?;
    let payload = payload_in(&input, &args.payload)?;
    let (fields, target) = (args.claims.fields()?, args.claims.target());
    let (bytes, verdict) = match args.as_kernel {
        None => match decode(&payload, &fields, &target) {
            Ok(bytes) => (bytes.to_vec(), Verdict::Sound),
            Err(NotSound(report)) => {
                for finding in report.findings() {
                    remark(format_args!("{finding}"));
                }
                remark(format_args!(
                    "{} is not decoded, as readers differ; --as-kernel gives what one kernel would \
                     return",
                    shown(&args.payload)
                ));
                return Ok(Verdict::NotSound);
            }
        },
        Some(kernel) => as_kernel(kernel, predict(&payload, &fields, &target, kernel)),
    };
    match &args.output {
        None => output.bytes(&bytes)?,
        Some(path) => {
            use std::io::Write;
            let mut file = OutFile::create(path, args.force)?;
            file.file()
                .write_all(&bytes)
                .with_context(|| format!("cannot write {}", shown(path)))?;
            file.finish(&Origin::of(&input))?;
        }
    }
    Ok(verdict)
}

/// The bytes that can be read, and a remark where they are not all of them.
fn as_kernel(kernel: Kernel, outcome: Outcome) -> (Vec<u8>, Verdict) {
    let (bytes, trouble) = match outcome {
        Outcome::Data { bytes, .. } => return (bytes, Verdict::Sound),
        Outcome::Refused(errno) => (Vec::new(), format!("refuses the write with {errno}")),
        Outcome::NothingWritten => (Vec::new(), "writes nothing and says so with 0".to_owned()),
        Outcome::ReadError { errno, good, .. } => {
            let trouble = format!("gives {errno} after {} bytes", good.len());
            (good, trouble)
        }
        Outcome::Uninitialised { good, .. } => {
            let trouble = format!(
                "gives memory that no decoder wrote after {} bytes (undefined-read)",
                good.len()
            );
            (good, trouble)
        }
        Outcome::DependsOnMemory { roomy, .. } => {
            let (bytes, _) = as_kernel(kernel, *roomy);
            let trouble = "may also give EIO at once, depending on its memory".to_owned();
            (bytes, trouble)
        }
        Outcome::Unsafe => (
            Vec::new(),
            "may come to harm (unsafe-payload); no bytes are given".to_owned(),
        ),
    };
    remark(format_args!("Linux {kernel} {trouble}"));
    (bytes, Verdict::NotSound)
}
