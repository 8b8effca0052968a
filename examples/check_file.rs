//! Judges a file on btrfs, extent by extent: what each compressed extent takes, and whether every
//! reader gets the same bytes from it. Needs root.
//!
//! ```sh
//! cargo build --examples && sudo target/debug/examples/check_file /mnt/file
//! ```

#![allow(clippy::print_stdout)] // a program

use std::error::Error;
use std::fs::File;
use std::path::Path;

use btrfs_payload::extent::Content;
use btrfs_payload::ioctl;
use btrfs_payload::validate::validate_on_disk;

/// Compressed extents that were found, and lines about those that are at fault.
pub(crate) fn check_file(path: &Path) -> Result<(u64, Vec<String>), Box<dyn Error>> {
    let file = File::open(path)?;
    let probe = ioctl::probe(&file)?;
    let size = file.metadata()?.len();
    let (mut count, mut faults) = (0, Vec::new());
    for extent in ioctl::extents(&file) {
        let extent = extent?;
        let Content::Encoded(claimed) = extent.content else {
            continue; // plain data, or a hole
        };
        count += 1;
        let mut target = probe.target(extent.offset);
        target.file_size = size;
        let report = validate_on_disk(&claimed.payload, &claimed.fields, &target);
        let findings = report.findings().iter();
        faults.extend(findings.map(|finding| format!("offset {}: {finding}", extent.offset)));
    }
    Ok((count, faults))
}

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args_os().nth(1).ok_or("usage: check_file FILE")?;
    let (count, faults) = check_file(Path::new(&path))?;
    for fault in &faults {
        println!("{fault}");
    }
    println!("{count} compressed extents, {} findings", faults.len());
    Ok(())
}
