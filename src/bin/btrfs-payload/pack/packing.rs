//! Members on their way into a builder.

use std::fs::File;
use std::io::Read;

use anyhow::Result;
use btrfs_payload::pack::{Builder, FileWriter, Summary};

use super::adjust::Adjust;
use super::list::Entry;
use super::member::Member;
use super::scope::Scope;
use super::sorted::Sorted;
use super::sparse_map::{Map, fill};

/// A pack that is being made.
pub(super) struct Packing<'a> {
    tree: Builder<File>,
    adjust: &'a Adjust,
    scope: Scope,
    /// Where members wait that are to be sorted.
    sorted: Option<Sorted>,
}

impl<'a> Packing<'a> {
    pub(super) fn new(
        tree: Builder<File>,
        adjust: &'a Adjust,
        scope: Scope,
        sorted: Option<Sorted>,
    ) -> Self {
        Self {
            tree,
            adjust,
            scope,
            sorted,
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

    /// Adds a member of an archive, now or when all have come; `content` is what the archive holds of
    /// a file, `len` bytes.
    pub(super) fn add_member(
        &mut self,
        member: Member,
        map: Option<Map>,
        content: impl Read,
        len: u64,
    ) -> Result<()> {
        if !self.wants(&member.path) {
            return Ok(());
        }
        match &mut self.sorted {
            Some(sorted) => sorted.hold(member, map, content),
            None => self.add(member, None, |file| fill(file, content, len, map.as_ref())),
        }
    }

    /// Adds a member, of which a list may have the last word; `write` writes the content of a file.
    pub(super) fn add(
        &mut self,
        mut member: Member,
        said: Option<&Entry>,
        write: impl FnOnce(&mut FileWriter<'_, File>) -> Result<()>,
    ) -> Result<()> {
        if !self.wants(&member.path) {
            return Ok(());
        }
        self.adjust.apply(&mut member);
        if let Some(entry) = said {
            entry.apply(&mut member)?;
        }
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
                write(&mut content)?;
                content.finish()?;
            }
        }
        Ok(())
    }

    /// Ends the stream.
    pub(super) fn finish(mut self) -> Result<Summary> {
        let replaced = match self.sorted.take() {
            Some(sorted) => sorted.release(|member, content, bytes| {
                self.add(member, None, |file| {
                    fill(file, bytes, content.len, content.map.as_ref())
                })
            })?,
            None => 0,
        };
        self.scope.check_found()?;
        let (_, mut summary) = self.tree.finish()?;
        summary.replaced = summary.replaced.saturating_add(replaced);
        Ok(summary)
    }
}
