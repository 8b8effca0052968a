//! Judges a file on btrfs, extent by extent: whether every reader gets the same bytes from each of
//! its compressed extents, and if not, what is wrong at which byte. Needs root.
//!
//! ```sh
//! cargo build --examples && sudo target/debug/examples/check_file /mnt/file
//! ```
//!
//! Exit status 0: sound; 1: not sound; 2: the file cannot be read.

#![allow(clippy::print_stdout, clippy::print_stderr)] // a program

use std::error::Error;
use std::fs::File;
use std::path::Path;
use std::process::ExitCode;

use btrfs_payload::extent::Content;
use btrfs_payload::ioctl;
use btrfs_payload::validate::{Finding, Severity, validate_on_disk};

/// What was found, each with the offset in the file of the extent it is about, bytes.
pub(crate) type Found = Vec<(u64, Finding)>;

/// How many compressed extents there are, and what was found in them.
pub(crate) fn check_file(path: &Path) -> Result<(u64, Found), Box<dyn Error>> {
    let file = File::open(path)?;
    // Sector, page and node size, and the size of the file: the rules depend on them.
    let probe = ioctl::probe(&file)?;
    let (mut count, mut found) = (0, Found::new());
    for extent in ioctl::extents(&file) {
        let extent = extent?;
        let Content::Encoded(claimed) = extent.content else {
            continue; // plain data, or a hole
        };
        count += 1;
        let target = probe.target(extent.offset);
        let report = validate_on_disk(&claimed.payload, &claimed.fields, &target);
        let findings = report.findings().iter().cloned();
        found.extend(findings.map(|finding| (extent.offset, finding)));
    }
    Ok((count, found))
}

fn main() -> ExitCode {
    let Some(path) = std::env::args_os().nth(1) else {
        eprintln!("usage: check_file FILE");
        return ExitCode::from(2);
    };
    match check_file(Path::new(&path)) {
        Ok((count, found)) => {
            for (offset, finding) in &found {
                println!("extent at {offset}: {finding}");
            }
            println!("{count} compressed extents, {} findings", found.len());
            let unsound = |(_, finding): &(u64, Finding)| finding.severity == Severity::Error;
            ExitCode::from(u8::from(found.iter().any(unsound)))
        }
        Err(error) => {
            eprintln!("check_file: {}: {error}", Path::new(&path).display());
            ExitCode::from(2)
        }
    }
}
