//! Where a pack goes: to its place at once, or through a temporary file where its UUID stands at the
//! beginning, is known at the end, and the place is a pipe.

use std::fs::File;
use std::io::{self, Seek};
use std::path::Path;

use anyhow::{Context, Result};
use btrfs_payload::pack::{Builder, Identity, Options};

use crate::new_file::OutFile;
use crate::origin::Origin;

/// The output.
pub(super) struct Destination {
    out: OutFile,
    /// What waits for its UUID.
    waiting: Option<File>,
}

impl Destination {
    /// What `-o` names.
    pub(super) fn create(name: &Path, force: bool) -> Result<Self> {
        Ok(Self {
            out: OutFile::create(name, force)?,
            waiting: None,
        })
    }

    /// A builder that writes here, after what has been written before.
    pub(super) fn builder(&mut self, options: &Options) -> Result<Builder<File>> {
        let options = options.clone();
        let cannot_write = "cannot write the output";
        let builder = match (&mut self.out, options.identity) {
            (OutFile::New(file), _) => {
                let file = file.file().try_clone().context(cannot_write)?;
                Builder::new(file, options)?
            }
            (OutFile::Open(file), Identity::Given(uuid)) => {
                let file = file.try_clone().context(cannot_write)?;
                Builder::streaming(file, uuid, options)?
            }
            (OutFile::Open(_), _) => {
                let cannot_hold = "cannot make a temporary file; --uuid does without";
                let held = match self.waiting.take() {
                    Some(held) => held,
                    None => tempfile::tempfile().context(cannot_hold)?,
                };
                let copy = held.try_clone().context(cannot_hold)?;
                self.waiting = Some(held);
                Builder::new(copy, options)?
            }
        };
        Ok(builder)
    }

    /// The pack is whole.
    pub(super) fn finish(mut self, origin: &Origin) -> Result<()> {
        if let Some(mut held) = self.waiting.take() {
            let copied = held
                .rewind()
                .and_then(|()| io::copy(&mut held, self.out.file()));
            copied.context("cannot write the output")?;
        }
        self.out.finish(origin)
    }
}
