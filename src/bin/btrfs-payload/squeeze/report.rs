//! What is said of the work.

use std::fs::File;

use anyhow::Result;
use btrfs_payload::files::{Share, SqueezeSummary, Squeezed};
use btrfs_payload::ioctl::{self, QueryError, SpaceUsed};
use serde::Serialize;

use crate::output::{Output, count};

/// A file, as a JSON line: the first that shows these extents.
#[derive(Serialize)]
struct FileLine {
    kind: &'static str,
    path: String,
    subvolume: u64,
    inode: u64,
    extents: u64,
    disk_bytes: u64,
    new_extents: u64,
    new_disk_bytes: u64,
}

/// Extents that stay as they are, as a JSON line.
#[derive(Serialize)]
struct LeftLine {
    kind: &'static str,
    reason: &'static str,
    message: String,
    extents: u64,
    disk_bytes: u64,
}

/// All of it, as a JSON line.
#[derive(Serialize)]
struct Line {
    kind: &'static str,
    dry_run: bool,
    complete: bool,
    extents: u64,
    disk_bytes: u64,
    new_extents: u64,
    new_disk_bytes: u64,
    freed_bytes: u64,
    grown_bytes: u64,
    data_used_before: u64,
    data_used_after: u64,
    metadata_used_before: u64,
    metadata_used_after: u64,
    next_generation: Option<u64>,
}

/// What has become of the extents of a file.
pub(super) struct FileSum {
    pub(super) root: u64,
    pub(super) inode: u64,
    before: Share,
    after: Share,
}

impl FileSum {
    pub(super) fn new(squeezed: &Squeezed) -> Self {
        Self {
            root: squeezed.root,
            inode: squeezed.inode,
            before: squeezed.before,
            after: squeezed.after,
        }
    }

    pub(super) fn is_same(&self, squeezed: &Squeezed) -> bool {
        (self.root, self.inode) == (squeezed.root, squeezed.inode)
    }

    pub(super) fn add(&mut self, squeezed: &Squeezed) {
        for (sum, more) in [
            (&mut self.before, squeezed.before),
            (&mut self.after, squeezed.after),
        ] {
            sum.extents = sum.extents.saturating_add(more.extents);
            sum.disk_bytes = sum.disk_bytes.saturating_add(more.disk_bytes);
        }
    }

    /// The line about it.
    pub(super) fn say(&self, path: String, output: &mut Output) -> Result<()> {
        output.detail(format_args!(
            "{path}: {} of {}, now {} of {}",
            count(self.before.extents, "extent"),
            output.size(self.before.disk_bytes),
            count(self.after.extents, "extent"),
            output.size(self.after.disk_bytes),
        ))?;
        output.json(&FileLine {
            kind: "squeezed",
            path,
            subvolume: self.root,
            inode: self.inode,
            extents: self.before.extents,
            disk_bytes: self.before.disk_bytes,
            new_extents: self.after.extents,
            new_disk_bytes: self.after.disk_bytes,
        })
    }
}

/// What the filesystem uses, once everything is on disk.
pub(super) fn used(top: &File) -> Result<SpaceUsed, QueryError> {
    ioctl::commit(top)?;
    ioctl::space_used(top)
}

/// How it ended.
pub(super) struct End<'a> {
    pub(super) summary: &'a SqueezeSummary,
    pub(super) dry_run: bool,
    pub(super) is_complete: bool,
    pub(super) next_generation: Option<u64>,
    pub(super) before: SpaceUsed,
    pub(super) after: SpaceUsed,
}

/// The last lines.
pub(super) fn report(end: &End<'_>, output: &mut Output) -> Result<()> {
    let End {
        summary,
        dry_run,
        is_complete,
        before,
        after,
        ..
    } = end;
    for (reason, share) in &summary.left {
        let of_size = match share.disk_bytes {
            0 => String::new(),
            bytes => format!(" of {}", output.size(bytes)),
        };
        output.row(format_args!(
            "left as they are: {}{of_size}: {reason}",
            count(share.extents, "extent"),
        ))?;
        output.json(&LeftLine {
            kind: "left",
            reason: reason.name(),
            message: reason.to_string(),
            extents: share.extents,
            disk_bytes: share.disk_bytes,
        })?;
    }
    let (old, new) = (&summary.before, &summary.after);
    let [old_size, new_size, freed] =
        [old.disk_bytes, new.disk_bytes, summary.freed_bytes()].map(|bytes| output.size(bytes));
    let (verb, free) = match dry_run {
        true => ("would become", "would be freed"),
        false => ("became", "freed"),
    };
    if old.extents == 0 {
        output.sum(true, format_args!("nothing to replace"))?;
    } else {
        output.sum(
            true,
            format_args!(
                "{} of {old_size} {verb} {} of {new_size}: {freed} {free}",
                count(old.extents, "extent"),
                count(new.extents, "extent"),
            ),
        )?;
    }
    if summary.grown_bytes > 0 {
        let grown = output.size(summary.grown_bytes);
        output.sum(
            false,
            format_args!("{grown} more than before, where old extents are still shown"),
        )?;
    }
    if !dry_run {
        let [data, metadata] = [(before.data, after.data), (before.metadata, after.metadata)].map(
            |(before, after)| format!("{} before, {} now", output.size(before), output.size(after)),
        );
        output.sum(
            true,
            format_args!("the filesystem uses for data: {data}; for metadata: {metadata}"),
        )?;
    }
    let next = end.next_generation.filter(|_| !dry_run);
    if let Some(next) = next {
        output.sum(true, format_args!("next time: --since {next}"))?;
    } else if !dry_run && !is_complete {
        output.sum(
            false,
            format_args!("stopped before the end; start again to go on"),
        )?;
    }
    output.json(&Line {
        kind: "squeeze",
        dry_run: *dry_run,
        complete: *is_complete,
        extents: old.extents,
        disk_bytes: old.disk_bytes,
        new_extents: new.extents,
        new_disk_bytes: new.disk_bytes,
        freed_bytes: summary.freed_bytes(),
        grown_bytes: summary.grown_bytes,
        data_used_before: before.data,
        data_used_after: after.data,
        metadata_used_before: before.metadata,
        metadata_used_after: after.metadata,
        next_generation: next,
    })
}
