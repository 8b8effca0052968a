//! `squeeze` without root: files of this user, compressed by the kernel.

use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use btrfs_payload::files::{SqueezeOptions, SqueezeOwn, Squeezed};
use indicatif::HumanBytes;

use super::report::{End, FileSum, report, used};
use crate::Verdict;
use crate::args::cannot_read;
use crate::interrupt::Gently;
use crate::output::{Output, add, shown};
use crate::progress::stream_progress;

pub(super) fn run(
    paths: &[PathBuf],
    options: SqueezeOptions,
    interrupt: &Gently,
    output: &mut Output,
) -> Result<Verdict> {
    ensure!(
        options.prepare.methods.len() == 1,
        "without root the kernel compresses, with one codec: name one"
    );
    let first = paths.first().context("no path is named")?;
    let top = File::open(first).with_context(|| cannot_read(first))?;
    let dry_run = options.dry_run;
    let mut squeeze = SqueezeOwn::new(paths, options)?;
    let (codec, level) = squeeze.method();
    let level = level.map_or_else(String::new, |level| format!(":{level}"));
    output.warn(format_args!(
        "without root: only files of this user, and of them what is plain and not shared; the \
         kernel compresses it ({codec}{level})"
    ));
    let before = used(&top)?;
    let bar = stream_progress(0);
    let (mut freed, mut file, mut said) = (0, None, Ok(()));
    let each = |squeezed: &Squeezed, path: &Path| {
        let (old, new) = (squeezed.before.disk_bytes, squeezed.after.disk_bytes);
        bar.inc(old);
        add(&mut freed, old.saturating_sub(new));
        bar.set_message(format!("{} freed", HumanBytes(freed)));
        match &mut file {
            Some((sum, _)) if FileSum::is_same(sum, squeezed) => sum.add(squeezed),
            _ => {
                let next = (FileSum::new(squeezed), shown(path).to_string());
                say(file.replace(next), &mut said, output);
            }
        }
    };
    let result = squeeze.run(|| interrupt.is_wanted(), each);
    bar.finish_and_clear();
    say(file, &mut said, output);
    said?;
    output.moved(bar.position());
    let end = End {
        summary: squeeze.summary(),
        dry_run,
        is_complete: squeeze.is_finished(),
        next_generation: None,
        before,
        after: used(&top)?,
    };
    if result.is_ok() || end.summary.before.extents > 0 {
        report(&end, output)?;
    }
    result?;
    if !squeeze.takes_levels() {
        output.warn(format_args!(
            "this kernel compresses at its own level: it takes another since Linux 6.15"
        ));
    }
    output.finish()?;
    if squeeze.denied() == 0 {
        return Ok(Verdict::Sound);
    }
    output.warn(format_args!(
        "{} may not be read",
        match squeeze.denied() {
            1 => "1 file or directory".to_owned(),
            denied => format!("{denied} files and directories"),
        }
    ));
    Ok(Verdict::Trouble)
}

/// The line about a file that is done.
fn say(file: Option<(FileSum, String)>, said: &mut Result<()>, output: &mut Output) {
    if let Some((sum, path)) = file
        && said.is_ok()
        && output.says_all()
    {
        *said = sum.say(path, output);
    }
}
