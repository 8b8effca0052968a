//! Inputs and outputs of stream commands.

use std::fs::File;
use std::io::{self, IsTerminal, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result};

use crate::about::bail_about;
use crate::args::{cannot_read, open_input};
use crate::new_file::{self, OutFile};
use crate::origin::Origin;
use crate::output::{input_name, shown};
use crate::progress::stream_progress;

/// A stream to read.
pub(crate) struct Input {
    reader: File,
    origin: Origin,
    name: PathBuf,
    read: Arc<AtomicU64>,
    bar: indicatif::ProgressBar,
}

impl Input {
    /// Opens a file, or standard input for `-`.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        // Not through the buffer of `io::stdin`: streams are read in large pieces.
        let reader = open_input(path)?;
        let metadata = reader.metadata().with_context(|| cannot_read(path))?;
        if metadata.is_dir() {
            bail_about!(path, "{} is a directory, not a send stream", shown(path));
        }
        let size = if path == Path::new("-") {
            0
        } else {
            metadata.len()
        };
        Ok(Self {
            origin: Origin::of(&reader),
            reader,
            name: path.to_owned(),
            read: Arc::default(),
            bar: stream_progress(size),
        })
    }

    /// What it is called in sentences.
    pub(crate) fn name(&self) -> String {
        input_name(&self.name)
    }

    /// The bar on the terminal; hidden where there is none.
    pub(crate) fn bar(&self) -> indicatif::ProgressBar {
        self.bar.clone()
    }

    /// Who may see what is made from it.
    pub(crate) fn origin(&mut self) -> Origin {
        std::mem::take(&mut self.origin)
    }

    /// Bytes read so far, while others read.
    pub(crate) fn read_so_far(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.read)
    }
}

impl Read for Input {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let got = self.reader.read(buffer)?;
        let bytes = u64::try_from(got).unwrap_or(u64::MAX);
        self.read.fetch_add(bytes, Ordering::Relaxed);
        self.bar.inc(bytes);
        Ok(got)
    }
}

/// Standard output. Streams are no text: a terminal is not a place for one.
pub(crate) fn stdout() -> Result<OutFile> {
    if io::stdout().is_terminal() {
        anyhow::bail!("a send stream is not written to a terminal; use -o FILE or a pipe");
    }
    Ok(OutFile::Open(new_file::stdout()?))
}
