//! Where streams come from and go to.

use std::fs::File;
use std::io::{self, IsTerminal, Read};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result};

use crate::args::cannot_read;
use crate::output::stream_progress;

/// A stream to read.
pub(crate) struct Input {
    reader: Box<dyn Read + Send>,
    name: PathBuf,
    read: Arc<AtomicU64>,
    bar: indicatif::ProgressBar,
}

impl Input {
    /// Opens a file, or standard input for `-`.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let (reader, size): (Box<dyn Read + Send>, u64) = if path == Path::new("-") {
            // Not through the buffer of `io::stdin`: streams are read in large pieces.
            let stdin = io::stdin().as_fd().try_clone_to_owned();
            let stdin = stdin.context("cannot read standard input")?;
            (Box::new(File::from(stdin)), 0)
        } else {
            let file = File::open(path).with_context(|| cannot_read(path))?;
            let metadata = file.metadata().with_context(|| cannot_read(path))?;
            if metadata.is_dir() {
                anyhow::bail!("{} is a directory, not a send stream", path.display());
            }
            (Box::new(file), metadata.len())
        };
        Ok(Self {
            reader,
            name: path.to_owned(),
            read: Arc::default(),
            bar: stream_progress(size),
        })
    }

    /// What it is called in sentences.
    pub(crate) fn name(&self) -> String {
        if self.name == Path::new("-") {
            "standard input".to_owned()
        } else {
            self.name.to_string_lossy().into_owned()
        }
    }

    /// The bar on the terminal; hidden where there is none.
    pub(crate) fn bar(&self) -> indicatif::ProgressBar {
        self.bar.clone()
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

/// Standard output without a buffer. Streams are no text: a terminal is not a place for one.
pub(crate) fn stdout() -> Result<File> {
    let stdout = io::stdout();
    if stdout.is_terminal() {
        anyhow::bail!("a send stream is not written to a terminal; use -o FILE or a pipe");
    }
    let stdout = stdout.as_fd().try_clone_to_owned();
    Ok(File::from(stdout.context("cannot write standard output")?))
}
