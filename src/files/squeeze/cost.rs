//! What a change takes in the metadata, against what it saves.
//!
//! A snapshot shares the leaves of its tree with others until something in them changes: what is
//! given to it makes them its own.

use std::collections::HashMap;

use super::recode::Recoded;
use super::run::Run;
use crate::files::Extent;
use crate::rules::limits::u64_of;

/// What an extent takes in the metadata, bytes: its item and that of its checksum
/// (include/uapi/linux/btrfs_tree.h, 6.18, with the headers of items in a leaf).
const ITEM: u64 = 90;
/// And for each reference: `struct btrfs_file_extent_item` with its header, 53 and 25 bytes.
const ITEM_PER_REFERENCE: u64 = 78;
/// What a file takes beside its extents, bytes: `struct btrfs_inode_item`, 160, and a name, each
/// with a header.
const PER_INODE: u64 = 230;
/// Copies of metadata: what mkfs.btrfs makes (`DUP`, `RAID1`), but for `-m single`.
const COPIES: u64 = 2;

/// Whether a run becomes smaller by `least` bytes, with what its extents take in the metadata.
///
/// The leaves are taken for shared by all that show the run: its items are there once before, and in
/// each subvolume afterwards.
pub(super) fn saves(run: &Run, recoded: &Recoded, least: u64) -> bool {
    let old = u64_of(run.extents.len());
    let references = u64_of(run.references()).div_ceil(old.max(1));
    let shared = references.div_ceil(u64_of(run.subvolumes()).max(1));
    let items = |extents: u64, references| {
        let per_extent = ITEM.saturating_add(ITEM_PER_REFERENCE.saturating_mul(references));
        extents.saturating_mul(per_extent)
    };
    let before = run.disk_bytes().saturating_add(items(old, shared));
    let after = recoded
        .disk_bytes
        .saturating_add(items(recoded.extents, references));
    before
        .checked_sub(after)
        .is_some_and(|saved| saved >= least && saved > 0 && recoded.disk_bytes < run.disk_bytes())
}

/// The leaves that the files of a stretch are in, and what is saved by changing them.
///
/// Which items are in a leaf nobody says: it is taken for as many as fit, in the order of the
/// files.
pub(super) struct Leaves {
    leaves: Vec<Leaf>,
    /// By the address of an extent.
    index: HashMap<u64, usize>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Leaf {
    /// Bytes of its items.
    bytes: u64,
    /// Bytes on disk that are saved by what changes in it.
    saved: u64,
    /// Subvolumes that it changes in.
    subvolumes: u64,
}

impl Leaves {
    /// Those of these extents; a leaf has `size` bytes.
    pub(super) fn of(stretch: &[Extent], size: u64) -> Self {
        let mut leaves: Vec<Leaf> = Vec::new();
        let mut index = HashMap::new();
        let (mut bytes, mut last) = (0_u64, None);
        for extent in stretch {
            let file = Some((extent.root, extent.inode));
            let more = if file == last { 0 } else { PER_INODE };
            last = file;
            bytes = bytes
                .saturating_add(ITEM_PER_REFERENCE)
                .saturating_add(more);
            if bytes > size || leaves.is_empty() {
                bytes = bytes.min(ITEM_PER_REFERENCE.saturating_add(more));
                // The one before is full.
                if let Some(full) = leaves.last_mut() {
                    full.bytes = size;
                }
                leaves.push(Leaf::default());
            }
            if let Some(leaf) = leaves.last_mut() {
                leaf.bytes = bytes;
            }
            index.insert(extent.bytenr, leaves.len().saturating_sub(1));
        }
        Self { leaves, index }
    }

    fn index_of(&self, run: &Run) -> Option<usize> {
        let first = run.extents.first()?;
        self.index.get(&first.extent.bytenr).copied()
    }

    /// A run is to be replaced.
    pub(super) fn change(&mut self, run: &Run, recoded: &Recoded) {
        let leaf = self
            .index_of(run)
            .and_then(|index| self.leaves.get_mut(index));
        if let Some(leaf) = leaf {
            let saved = run.disk_bytes().saturating_sub(recoded.disk_bytes);
            leaf.saved = leaf.saved.saturating_add(saved);
            leaf.subvolumes = leaf.subvolumes.max(u64_of(run.subvolumes()));
        }
    }

    /// Whether what is saved in the run's leaf is more than the leaf takes in all subvolumes but one,
    /// which keeps the leaf that is there.
    pub(super) fn is_worth_it(&self, run: &Run) -> bool {
        let leaf = self.index_of(run).and_then(|index| self.leaves.get(index));
        leaf.is_none_or(|leaf| {
            let copies = leaf.subvolumes.saturating_sub(1).saturating_mul(COPIES);
            copies == 0 || leaf.saved > leaf.bytes.saturating_mul(copies)
        })
    }
}
