//! Members on their way into a builder.

use std::fs::File;

use anyhow::Result;
use btrfs_payload::pack::{Builder, FileWriter, Summary};

use super::adjust::Adjust;
use super::member::Member;

/// A pack that is being made.
pub(super) struct Packing {
    tree: Builder<File>,
    adjust: Adjust,
}

impl Packing {
    pub(super) fn new(tree: Builder<File>, adjust: Adjust) -> Self {
        Self { tree, adjust }
    }

    /// Whether what has this path is not packed.
    pub(super) fn leaves_out(&self, path: &[u8]) -> bool {
        self.adjust.exclude.has(path)
    }

    /// Adds a member; `fill` writes the content of a file.
    pub(super) fn add(
        &mut self,
        mut member: Member,
        fill: impl FnOnce(&mut FileWriter<'_, File>) -> Result<()>,
    ) -> Result<()> {
        if self.leaves_out(&member.path) {
            return Ok(());
        }
        self.adjust.apply(&mut member);
        let Member {
            path,
            kind,
            metadata,
        } = &member;
        match kind.node() {
            Some(node) => self.tree.add(path, node, metadata)?,
            None => {
                let mut content = self.tree.add_file(path, metadata)?;
                fill(&mut content)?;
                content.finish()?;
            }
        }
        Ok(())
    }

    /// Ends the stream.
    pub(super) fn finish(self) -> Result<Summary> {
        let (_, summary) = self.tree.finish()?;
        Ok(summary)
    }
}
