//! Several inputs, and what is in directories: a bad one does not end the work on the others.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::Serialize;
use walkdir::WalkDir;

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
    /// It is no regular file and no directory either; only where it was found.
    pub(crate) odd: bool,
    /// Names below the directory that was named.
    pub(crate) depth: usize,
}

impl Named {
    fn as_argument(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            found: false,
            odd: false,
            depth: 0,
        }
    }
}

impl Recursive {
    /// What is named, with what is in directories in its place. A directory where `instead`
    /// names a file stands for that file.
    pub(crate) fn inputs<'a>(
        self,
        named: &'a [PathBuf],
        instead: fn(&Path) -> Option<PathBuf>,
    ) -> impl Iterator<Item = Result<Named>> + use<'a> {
        let inputs = inputs(named, self.recursive, instead);
        inputs.filter(|input| !input.as_ref().is_ok_and(|named| named.odd))
    }
}

/// The same, with what is no regular file as well.
pub(crate) fn inputs(
    named: &[PathBuf],
    recursive: bool,
    instead: fn(&Path) -> Option<PathBuf>,
) -> impl Iterator<Item = Result<Named>> {
    named.iter().flat_map(move |path| {
        let inputs: Box<dyn Iterator<Item = Result<Named>>> = if let Some(path) = instead(path) {
            Box::new(std::iter::once(Ok(Named::as_argument(&path))))
        } else if recursive && path.is_dir() {
            Box::new(below(path, instead))
        } else {
            Box::new(std::iter::once(Ok(Named::as_argument(path))))
        };
        inputs
    })
}

/// The manifest of a directory that has one.
pub(crate) fn manifest_in(directory: &Path) -> Option<PathBuf> {
    manifest::is_in(directory).then(|| directory.join(manifest::NAME))
}

/// What is below a directory, other than directories, in the order of their names.
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
            let kind = entry.file_type();
            let named = |path: PathBuf| Named {
                path,
                found: true,
                odd: !kind.is_dir() && !kind.is_file(),
                depth: entry.depth(),
            };
            if !kind.is_dir() {
                return Some(Ok(named(entry.path().to_owned())));
            }
            if let Some(path) = instead(entry.path()) {
                entries.skip_current_dir();
                return Some(Ok(named(path)));
            }
        }
    })
}

/// What is said of inputs, by what came of them.
pub(crate) struct Words {
    pub(crate) good: &'static str,
    pub(crate) bad: &'static str,
    pub(crate) failed: &'static str,
    /// After the number of files that were found and left out.
    pub(crate) skipped: &'static str,
}

/// What commands that judge say.
pub(crate) const JUDGED: Words = Words {
    good: "sound",
    bad: "NOT SOUND",
    failed: "could not be judged",
    skipped: " without extents left out",
};

/// What came of several inputs.
pub(crate) struct Tally {
    words: Words,
    good: u64,
    bad: u64,
    failed: u64,
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
    pub(crate) fn new(words: Words) -> Self {
        Self {
            words,
            good: 0,
            bad: 0,
            failed: 0,
            skipped: 0,
        }
    }

    /// Counts what came of an input; `None` for what was left out. An error is said, and is one
    /// of this input only, unless it is standard output that fails.
    pub(crate) fn add(&mut self, came: Result<Option<Verdict>>, output: &mut Output) -> Result<()> {
        let verdict = match came {
            Ok(verdict) => verdict,
            Err(error) => {
                // Where nothing can be printed, the others cannot be reported either.
                output.finish()?;
                output.trouble(&error);
                Some(Verdict::Trouble)
            }
        };
        let of = match verdict {
            None => &mut self.skipped,
            Some(Verdict::Sound) => &mut self.good,
            Some(Verdict::NotSound) => &mut self.bad,
            Some(Verdict::Trouble) => &mut self.failed,
        };
        add(of, 1);
        Ok(())
    }

    /// The worst that came of any.
    pub(crate) fn verdict(&self) -> Verdict {
        match (self.bad, self.failed) {
            (0, 0) => Verdict::Sound,
            (_, 0) => Verdict::NotSound,
            _ => Verdict::Trouble,
        }
    }

    /// One line for all, where there are several, with the sums of all after it.
    pub(crate) fn print(&self, sums: &str, output: &mut Output) -> Result<()> {
        let &Self {
            good,
            bad,
            failed,
            skipped,
            ref words,
        } = self;
        let inputs = [good, bad, failed].into_iter().sum();
        if inputs < 2 && skipped == 0 {
            return Ok(());
        }
        let mut parts = vec![format!("{good} {}", words.good)];
        if bad > 0 {
            parts.push(format!("{bad} {}", words.bad));
        }
        if failed > 0 {
            parts.push(format!("{failed} {}", words.failed));
        }
        if skipped > 0 {
            parts.push(count(skipped, "file") + words.skipped);
        }
        output.sum(
            self.verdict() == Verdict::Sound,
            format_args!("{}: {}{sums}", count(inputs, "input"), parts.join(", ")),
        )?;
        output.json(&Line {
            kind: "inputs",
            inputs,
            good,
            bad,
            failed,
            skipped,
        })
    }
}
