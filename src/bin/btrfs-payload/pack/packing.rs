//! Members on their way into a builder.

use std::fs::File;

use anyhow::Result;
use btrfs_payload::pack::{Builder, FileWriter, Summary};

use super::adjust::Adjust;
use super::member::Member;
use super::scope::Scope;

/// A pack that is being made.
pub(super) struct Packing<'a> {
    tree: Builder<File>,
    adjust: &'a Adjust,
    scope: Scope,
}

impl<'a> Packing<'a> {
    pub(super) fn new(tree: Builder<File>, adjust: &'a Adjust, scope: Scope) -> Self {
        Self {
            tree,
            adjust,
            scope,
        }
    }

    /// Whether what has this path is not packed, nor anything in it.
    pub(super) fn leaves_out(&self, path: &[u8]) -> bool {
        self.adjust.exclude.has(path)
    }

    /// Whether what has this path goes into this subvolume.
    pub(super) fn wants(&self, path: &[u8]) -> bool {
        !self.leaves_out(path) && self.scope.has(path)
    }

    /// Adds a member; `fill` writes the content of a file.
    pub(super) fn add(
        &mut self,
        mut member: Member,
        fill: impl FnOnce(&mut FileWriter<'_, File>) -> Result<()>,
    ) -> Result<()> {
        if !self.wants(&member.path) {
            return Ok(());
        }
        self.adjust.apply(&mut member);
        self.scope.take(&mut member)?;
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
        self.scope.check_found()?;
        let (_, summary) = self.tree.finish()?;
        Ok(summary)
    }
}
