//! Several inputs, and what is in directories: a bad one does not keep the others from being judged.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::Serialize;
use walkdir::{DirEntry, WalkDir};

use crate::Verdict;
use crate::args::cannot_read;
use crate::manifest;
use crate::output::{Output, add, count};

#[derive(Debug, Clone, Copy, clap::Args)]
pub(crate) struct Recursive {
    /// Look at everything in directories, and below; links are not followed. What holds no extents
    /// is counted and left out
    #[arg(short, long)]
    recursive: bool,
}

/// Something to look at.
pub(crate) struct Named {
    pub(crate) path: PathBuf,
    /// It was found in a directory, and may be anything.
    pub(crate) found: bool,
}

impl Recursive {
    /// What is named, with what is in directories in its place. A directory where `instead`
    /// names a file stands for that file.
    pub(crate) fn inputs<'a>(
        self,
        named: &'a [PathBuf],
        instead: fn(&Path) -> Option<PathBuf>,
    ) -> impl Iterator<Item = Result<Named>> + use<'a> {
        named.iter().flat_map(move |path| {
            let inputs: Box<dyn Iterator<Item = Result<Named>>> = if let Some(path) = instead(path)
            {
                Box::new(std::iter::once(Ok(Named { path, found: false })))
            } else if self.recursive && path.is_dir() {
                Box::new(below(path, instead))
            } else {
                let path = path.clone();
                Box::new(std::iter::once(Ok(Named { path, found: false })))
            };
            inputs
        })
    }
}

/// The manifest of a directory that has one.
pub(crate) fn manifest_in(directory: &Path) -> Option<PathBuf> {
    let manifest = directory.join(manifest::NAME);
    (directory.is_dir() && manifest.is_file()).then_some(manifest)
}

/// Regular files below a directory, in the order of their names.
fn below(
    directory: &Path,
    instead: fn(&Path) -> Option<PathBuf>,
) -> impl Iterator<Item = Result<Named>> {
    let mut entries = WalkDir::new(directory).sort_by_file_name().into_iter();
    std::iter::from_fn(move || {
        loop {
            let entry = match entries.next()? {
                Ok(entry) => entry,
                Err(error) => {
                    let path = error.path().unwrap_or(directory).to_owned();
                    // Without the path, which it has as it is. Without links there are no loops.
                    let cause = error.into_io_error();
                    let cause = cause.unwrap_or_else(|| std::io::ErrorKind::Other.into());
                    return Some(Err(cause).with_context(|| cannot_read(&path)));
                }
            };
            let is = |kind: fn(&std::fs::FileType) -> bool| kind(&DirEntry::file_type(&entry));
            if is(std::fs::FileType::is_file) {
                let path = entry.into_path();
                return Some(Ok(Named { path, found: true }));
            }
            if is(std::fs::FileType::is_dir)
                && let Some(path) = instead(entry.path())
            {
                entries.skip_current_dir();
                return Some(Ok(Named { path, found: true }));
            }
        }
    })
}

/// What was found in several inputs.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    sound: u64,
    not_sound: u64,
    trouble: u64,
    skipped: u64,
}

/// The same, as a JSON line.
#[derive(Serialize)]
struct Line {
    kind: &'static str,
    inputs: u64,
    good: u64,
    bad: u64,
    failed: u64,
    skipped: u64,
}

impl Tally {
    pub(crate) fn add(&mut self, verdict: Verdict) {
        let of = match verdict {
            Verdict::Sound => &mut self.sound,
            Verdict::NotSound => &mut self.not_sound,
            Verdict::Trouble => &mut self.trouble,
        };
        add(of, 1);
    }

    /// Something without extents.
    pub(crate) fn skip(&mut self) {
        add(&mut self.skipped, 1);
    }

    /// One line for all, where there are several.
    pub(crate) fn print(&self, output: &mut Output) -> Result<()> {
        let &Self {
            sound,
            not_sound,
            trouble,
            skipped,
        } = self;
        let inputs = [sound, not_sound, trouble].into_iter().sum();
        if inputs < 2 && skipped == 0 {
            return Ok(());
        }
        let mut parts = vec![format!("{sound} sound")];
        if not_sound > 0 {
            parts.push(format!("{not_sound} NOT SOUND"));
        }
        if trouble > 0 {
            parts.push(format!("{trouble} could not be judged"));
        }
        if skipped > 0 {
            parts.push(format!(
                "{} without extents left out",
                count(skipped, "file")
            ));
        }
        output.sum(
            not_sound == 0 && trouble == 0,
            format_args!("{}: {}", count(inputs, "input"), parts.join(", ")),
        )?;
        output.json(&Line {
            kind: "inputs",
            inputs,
            good: sound,
            bad: not_sound,
            failed: trouble,
            skipped,
        })
    }
}
