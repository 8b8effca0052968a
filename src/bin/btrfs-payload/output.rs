//! Results on stdout, trouble on stderr, and files that appear whole or not at all.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, BufWriter, IsTerminal, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use btrfs_payload::transform::Escaped;
use clap::ValueEnum;
use serde::Serialize;
use tempfile::{NamedTempFile, TempDir};

use crate::interrupt::Temporary;

/// How results are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    Text,
    /// One JSON object per line.
    Json,
}

/// Standard output, in one of the formats.
pub(crate) struct Output {
    format: Format,
    stdout: BufWriter<io::StdoutLock<'static>>,
}

impl Output {
    pub(crate) fn new(format: Format) -> Self {
        Self {
            format,
            stdout: BufWriter::new(io::stdout().lock()),
        }
    }

    /// One line for people; nothing in JSON.
    pub(crate) fn text(&mut self, line: std::fmt::Arguments<'_>) -> Result<()> {
        if self.format == Format::Text {
            writeln!(self.stdout, "{line}").context("cannot write to standard output")?;
        }
        Ok(())
    }

    /// One object as a line; nothing in text.
    pub(crate) fn json(&mut self, object: &impl Serialize) -> Result<()> {
        if self.format == Format::Json {
            serde_json::to_writer(&mut self.stdout, object)
                .map_err(io::Error::from)
                .and_then(|()| self.stdout.write_all(b"\n"))
                .context("cannot write to standard output")?;
        }
        Ok(())
    }

    /// The format asked for.
    pub(crate) fn format(&self) -> Format {
        self.format
    }

    /// Bytes as they are.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> Result<()> {
        self.stdout
            .write_all(bytes)
            .context("cannot write to standard output")
    }

    pub(crate) fn finish(&mut self) -> Result<()> {
        self.stdout
            .flush()
            .context("cannot write to standard output")
    }
}

/// A path or a name as it is shown to people: escaped, so that it can be turned back, stays on
/// its line, and says nothing to the terminal.
pub(crate) fn shown(name: &(impl AsRef<OsStr> + ?Sized)) -> Escaped<'_> {
    Escaped(name.as_ref().as_bytes())
}

/// Says what went wrong: the error, then its causes.
#[allow(clippy::print_stderr)]
pub(crate) fn trouble(error: &anyhow::Error) {
    let causes: Vec<String> = error.chain().map(ToString::to_string).collect();
    eprintln!("btrfs-payload: {}", causes.join(": "));
}

/// A number and what it counts: `1 extent`, `2 extents`.
pub(crate) fn count(number: u64, noun: &str) -> String {
    let ending = if number == 1 { "" } else { "s" };
    format!("{number} {noun}{ending}")
}

/// A remark that is neither a result nor a failure.
#[allow(clippy::print_stderr)]
pub(crate) fn remark(line: std::fmt::Arguments<'_>) {
    eprintln!("btrfs-payload: {line}");
}

/// One object as a line on standard error, where standard output has a stream.
pub(crate) fn json_to_stderr(object: &impl Serialize) {
    if let Ok(mut line) = serde_json::to_vec(object) {
        line.push(b'\n');
        // There is nowhere left to complain.
        let _ = io::stderr().write_all(&line);
    }
}

/// A bar on the terminal while long work goes on; nothing in a pipe.
pub(crate) fn progress(bytes: u64) -> indicatif::ProgressBar {
    if io::stderr().is_terminal() && bytes > 0 {
        let style = indicatif::ProgressStyle::with_template(
            "{wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {msg} {eta}",
        );
        let bar = indicatif::ProgressBar::new(bytes);
        match style {
            Ok(style) => bar.with_style(style),
            Err(_) => bar,
        }
    } else {
        indicatif::ProgressBar::hidden()
    }
}

/// The same for a stream whose length may not be known (0).
pub(crate) fn stream_progress(bytes: u64) -> indicatif::ProgressBar {
    if !io::stderr().is_terminal() {
        return indicatif::ProgressBar::hidden();
    }
    let (bar, template) = if bytes > 0 {
        let template = "{wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {msg} {eta}";
        (indicatif::ProgressBar::new(bytes), template)
    } else {
        let template = "{spinner} {bytes} {bytes_per_sec} {msg}";
        (indicatif::ProgressBar::new_spinner(), template)
    };
    match indicatif::ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

/// A directory that takes its name when it is complete.
pub(crate) struct NewDirectory {
    parts: TempDir,
    temporary: Temporary,
    name: PathBuf,
    force: bool,
}

impl NewDirectory {
    /// Nothing of that name may exist, except an empty directory; `force` replaces a directory
    /// that this program made and nobody put anything into, and never any other.
    pub(crate) fn create(name: &Path, force: bool) -> Result<Self> {
        if !is_free(name)? {
            if !crate::manifest::is_ours(name)? {
                bail!(
                    "{} exists already and is no directory of this program's alone; name another",
                    shown(name)
                );
            }
            if !force {
                bail!("{} exists already; --force replaces it", shown(name));
            }
        }
        let parent = existing_parent(name)?;
        let parts = tempfile::Builder::new()
            .prefix(".btrfs-payload-")
            .permissions(fs::Permissions::from_mode(0o777)) // less the umask
            .tempdir_in(parent)
            .map_err(|error| in_words(&error))
            .with_context(|| format!("cannot make {} in {}", shown(name), shown(parent)))?;
        Ok(Self {
            temporary: Temporary::new(parts.path()),
            parts,
            name: name.to_owned(),
            force,
        })
    }

    /// Writes a file into it.
    pub(crate) fn file(&self, name: &str, content: &[u8]) -> Result<()> {
        fs::write(self.parts.path().join(name), content)
            .with_context(|| format!("cannot write {} for {}", shown(name), shown(&self.name)))
    }

    /// Opens a file in it for writing.
    pub(crate) fn open(&self, name: &str) -> Result<BufWriter<File>> {
        File::create_new(self.parts.path().join(name))
            .map(BufWriter::new)
            .with_context(|| format!("cannot write {} for {}", shown(name), shown(&self.name)))
    }

    /// Gives it its name.
    pub(crate) fn finish(self) -> Result<()> {
        let complete = || format!("cannot complete {}", shown(&self.name));
        if self.force && self.name.symlink_metadata().is_ok() {
            // Both have a name at every moment; the old one then goes with the temporary name.
            let (new, name) = (self.parts.path(), self.name.as_path());
            let exchange = rustix::fs::RenameFlags::EXCHANGE;
            let here = rustix::fs::CWD;
            let exchanged = rustix::fs::renameat_with(here, new, here, name, exchange);
            return exchanged.map_err(io::Error::from).with_context(complete);
        }
        fs::rename(self.parts.path(), &self.name).with_context(complete)?;
        // Its name is no longer the temporary one; there is nothing to remove.
        drop(self.temporary);
        let _ = self.parts.keep();
        Ok(())
    }
}

/// A file that takes its name when it is complete.
pub(crate) struct NewFile {
    parts: NamedTempFile,
    temporary: Temporary,
    name: PathBuf,
    force: bool,
}

impl NewFile {
    pub(crate) fn create(name: &Path, force: bool) -> Result<Self> {
        if !force && name.symlink_metadata().is_ok() {
            bail!("{} exists already; --force replaces it", shown(name));
        }
        if name.is_dir() {
            bail!("{} is a directory; name a file in it", shown(name));
        }
        let parent = existing_parent(name)?;
        let parts = tempfile::Builder::new()
            .prefix(".btrfs-payload-")
            .permissions(fs::Permissions::from_mode(0o666)) // less the umask
            .tempfile_in(parent)
            .map_err(|error| in_words(&error))
            .with_context(|| format!("cannot make {} in {}", shown(name), shown(parent)))?;
        Ok(Self {
            temporary: Temporary::new(parts.path()),
            parts,
            name: name.to_owned(),
            force,
        })
    }

    pub(crate) fn file(&mut self) -> &mut File {
        self.parts.as_file_mut()
    }

    /// Gives it its name.
    pub(crate) fn finish(self) -> Result<()> {
        let persisted = if self.force {
            self.parts.persist(&self.name)
        } else {
            self.parts.persist_noclobber(&self.name)
        };
        drop(self.temporary);
        persisted
            .map(drop)
            .map_err(|error| error.error)
            .with_context(|| format!("cannot complete {}", shown(&self.name)))
    }
}

/// The directory that `path` is in; it has to be there.
fn existing_parent(path: &Path) -> Result<&Path> {
    let parent = match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    if !parent.is_dir() {
        bail!(
            "cannot make {}: there is no directory {}",
            shown(path),
            shown(parent)
        );
    }
    Ok(parent)
}

/// An error without the temporary name that it is about, which nobody has chosen.
fn in_words(error: &io::Error) -> io::Error {
    io::Error::from(error.kind())
}

fn is_free(name: &Path) -> Result<bool> {
    match fs::read_dir(name) {
        Ok(mut entries) => Ok(entries.next().is_none()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => Ok(false),
        Err(error) => Err(error).with_context(|| format!("cannot look into {}", shown(name))),
    }
}
