//! The option `--html`, and the file that it names.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::document::Page;
use crate::new_file::OutFile;
use crate::origin::Origin;
use crate::output::{Output, shown};

/// For commands that make a page.
#[derive(Debug, clap::Args)]
pub(crate) struct HtmlFile {
    /// Write a page for a browser, too: one file without scripts, which loads nothing. With `-` it
    /// goes to standard output, and what is printed to standard error
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    html: Option<PathBuf>,

    /// Replace the page, a regular file, where there is one
    #[arg(long, requires = "html", help_heading = "Output")]
    force: bool,
}

impl HtmlFile {
    /// A page is asked for.
    pub(crate) fn is_wanted(&self) -> bool {
        self.html.is_some()
    }

    /// Begins the file, where one is asked for: what cannot be made is said before the work.
    pub(crate) fn begin(&self, output: &mut Output) -> Result<Option<PageFile>> {
        let Some(name) = &self.html else {
            return Ok(None);
        };
        let file = OutFile::create(name, self.force)?;
        if name == Path::new("-") {
            output.give_up_stdout();
        }
        let name = name.clone();
        Ok(Some(PageFile { file, name }))
    }
}

/// A file for a page, which appears when the page is in it.
pub(crate) struct PageFile {
    file: OutFile,
    name: PathBuf,
}

impl PageFile {
    /// Writes the page, which those may read who may read its origin.
    pub(crate) fn finish(mut self, page: &Page, origin: &Origin) -> Result<()> {
        let written = self.file.file().write_all(page.html().as_bytes());
        written.with_context(|| format!("cannot write {}", shown(&self.name)))?;
        self.file.finish(origin)
    }
}
