//! The state file: from which generation on a filesystem has not been looked at.
//!
//! One JSON object per line, for each filesystem with the paths and codecs that it was squeezed
//! with: what was looked at with others has to be looked at again.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use crate::args::cannot_read;
use crate::new_file::NewFile;
use crate::output::shown;

/// A state file has a few lines.
const MAX_BYTES: u64 = 1 << 20;

/// What a line is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Key {
    /// The UUID.
    pub(super) filesystem: String,
    /// Absolute paths, escaped.
    pub(super) paths: Vec<String>,
    /// The subvolumes that they are in.
    pub(super) subvolumes: Vec<u64>,
    /// Codecs and levels, and other options that decide what is replaced.
    pub(super) options: String,
}

#[derive(Serialize, Deserialize)]
struct Line {
    #[serde(flatten)]
    key: Key,
    next_generation: u64,
}

/// A state file.
pub(super) struct State {
    path: PathBuf,
    lines: Vec<Line>,
}

impl State {
    /// Reads it; one that is not there is empty.
    pub(super) fn read(path: &Path) -> Result<Self> {
        let path = path.to_owned();
        let lines = match fs::metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            found => {
                let found = found.with_context(|| cannot_read(&path))?;
                if !found.is_file() || found.len() > MAX_BYTES {
                    bail!("{} is no state file of squeeze", shown(&path));
                }
                let text = fs::read_to_string(&path).with_context(|| cannot_read(&path))?;
                let lines: Result<Vec<Line>, _> = text.lines().map(serde_json::from_str).collect();
                lines.with_context(|| format!("{} is no state file of squeeze", shown(&path)))?
            }
        };
        Ok(Self { path, lines })
    }

    /// The generation to begin with; 0 for what has not been looked at.
    pub(super) fn next(&self, key: &Key) -> u64 {
        let line = self.lines.iter().find(|line| line.key == *key);
        line.map_or(0, |line| line.next_generation)
    }

    pub(super) fn set(&mut self, key: Key, next_generation: u64) {
        self.lines.retain(|line| line.key != key);
        self.lines.push(Line {
            key,
            next_generation,
        });
    }

    /// Writes it, whole or not at all.
    pub(super) fn write(&self) -> Result<()> {
        let mut file = NewFile::create(&self.path, true)?;
        for line in &self.lines {
            let line = serde_json::to_string(line)?;
            writeln!(&*file.file(), "{line}")
                .with_context(|| format!("cannot write {}", shown(&self.path)))?;
        }
        file.finish()
    }
}
