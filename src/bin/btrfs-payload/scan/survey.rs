//! `scan` without root: what FIEMAP tells.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use anyhow::Result;
use btrfs_payload::files::{Survey, survey};
use serde::Serialize;

use crate::Verdict;
use crate::output::{Output, count};

/// What was seen, as a JSON line.
#[derive(Serialize)]
struct SurveyLine {
    kind: &'static str,
    files: u64,
    denied: u64,
    referenced_bytes: u64,
    plain_bytes: u64,
    shared_plain_bytes: u64,
    compressed_extents: u64,
    compressed_shown_bytes: u64,
    shared_compressed_extents: u64,
    preallocated_bytes: u64,
    inline_extents: u64,
    inline_bytes: u64,
}

pub(super) fn run(paths: &[PathBuf], jobs: NonZeroUsize, output: &mut Output) -> Result<Verdict> {
    let seen = survey(paths, jobs)?;
    rows(&seen, output)?;
    let Survey {
        files,
        denied,
        shared_compressed,
        ..
    } = seen;
    output.sum(
        true,
        format_args!(
            "{}: {} of plain data on disk, {} of it shared; {}, {shared_compressed} of them shared",
            count(files, "file"),
            output.size(seen.plain_bytes),
            output.size(seen.shared_plain_bytes),
            count(seen.compressed, "compressed extent"),
        ),
    )?;
    output.sum(
        true,
        format_args!(
            "without root it is not known: codecs, what compressed extents take on disk, what no \
             file shows, who else shares"
        ),
    )?;
    output.json(&SurveyLine {
        kind: "survey",
        files,
        denied,
        referenced_bytes: seen.referenced_bytes,
        plain_bytes: seen.plain_bytes,
        shared_plain_bytes: seen.shared_plain_bytes,
        compressed_extents: seen.compressed,
        compressed_shown_bytes: seen.compressed_shown_bytes,
        shared_compressed_extents: shared_compressed,
        preallocated_bytes: seen.preallocated_bytes,
        inline_extents: seen.inline,
        inline_bytes: seen.inline_bytes,
    })?;
    if denied == 0 {
        return Ok(Verdict::Sound);
    }
    output.warn(format_args!(
        "{} may not be read, and what is in them is not counted",
        match denied {
            1 => "1 file or directory".to_owned(),
            _ => format!("{denied} files and directories"),
        }
    ));
    Ok(Verdict::Trouble)
}

fn rows(seen: &Survey, output: &mut Output) -> Result<()> {
    let number = |number: u64| Some(number);
    output.row(format_args!(
        "{:<20}{:>10}{:>16}{:>16}",
        "stored", "extents", "on disk", "shown"
    ))?;
    let plain = (None, number(seen.plain_bytes), None);
    let compressed = (
        number(seen.compressed),
        None,
        number(seen.compressed_shown_bytes),
    );
    let preallocated = (None, number(seen.preallocated_bytes), None);
    let inline = (number(seen.inline), None, number(seen.inline_bytes));
    for (name, (extents, on_disk, shown)) in [
        ("plain", plain),
        ("compressed", compressed),
        ("preallocated", preallocated),
        ("inline", inline),
    ] {
        let known = |number: Option<u64>| number.map_or("?".to_owned(), |it| it.to_string());
        if extents.or(on_disk) != Some(0) {
            output.row(format_args!(
                "{name:<20}{:>10}{:>16}{:>16}",
                known(extents),
                known(on_disk),
                known(shown)
            ))?;
        }
    }
    Ok(())
}
