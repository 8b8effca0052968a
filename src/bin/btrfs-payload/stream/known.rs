//! Options for what the receiver has already: parents, and the memory for their names.

use std::path::PathBuf;

use anyhow::{Context, Result};
use btrfs_payload::transform::{BYTES_PER_NAME, Parents};

use super::io::Input;
use crate::about::about;
use crate::args::{CommandSize, byte_count};

#[derive(Debug, clap::Args)]
pub(super) struct Known {
    /// A stream received before, such as that of the parent; several, oldest first, with one
    /// --parent for each
    #[arg(long = "parent", value_name = "FILE", help_heading = "Parents")]
    parents: Vec<PathBuf>,

    /// Memory that the names of files may take, 144 bytes each; past it paths are not followed
    #[arg(long, help_heading = "Limits", value_name = "BYTES", value_parser = byte_count, default_value = "576M")]
    memory: u64,
}

impl Known {
    /// Names that are remembered.
    pub(super) fn max_names(&self) -> usize {
        usize::try_from(self.memory / BYTES_PER_NAME).unwrap_or(usize::MAX)
    }

    /// Reads the streams received before.
    pub(super) fn parents(&self, command_size: CommandSize) -> Result<Parents> {
        let mut parents = Parents::default();
        for path in &self.parents {
            let parent = Input::open(path)?;
            let (name, bar) = (parent.name(), parent.bar());
            let read = parents.read(command_size.reader(parent), self.max_names());
            bar.finish_and_clear();
            read.with_context(|| about(path, format_args!("cannot use {name} as a parent")))?;
        }
        Ok(parents)
    }
}
