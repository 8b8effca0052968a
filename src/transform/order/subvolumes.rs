//! Subvolumes whose content is known: parents, and what is cloned from.

use std::collections::{HashMap, HashSet};

use bytes::Bytes;

use super::super::tree::Tree;
use super::outcome::Trouble;
use crate::send_stream::Uuid;
use crate::validate::Severity::{Error, Warning};

/// What the record of a subvolume takes, in names.
const NAMES_EACH: usize = 8;

/// A subvolume that is whole.
#[derive(Debug, Clone)]
struct Known {
    tree: Tree,
    /// Transaction of its last change at the sender.
    ctransid: u64,
}

/// The subvolumes that are received already.
#[derive(Debug, Clone, Default)]
pub(crate) struct Subvolumes {
    /// By the identity that streams name them by: the one the sender has received them with, or
    /// else their own.
    trees: HashMap<Uuid, Known>,
    /// Names of the subvolumes of the input.
    names: HashSet<Bytes>,
    /// Those that were missed already.
    missed: HashSet<Uuid>,
    /// Names in the trees.
    len: usize,
}

impl Subvolumes {
    /// Number of subvolumes.
    pub(in super::super) fn count(&self) -> usize {
        self.trees.len()
    }

    /// The next input may be received elsewhere, where names are free.
    pub(in super::super) fn free_names(&mut self) {
        self.names.clear();
    }

    /// Names that are remembered.
    pub(super) fn len(&self) -> usize {
        let each = self
            .names
            .len()
            .max(self.trees.len())
            .saturating_add(self.missed.len());
        self.len.saturating_add(each.saturating_mul(NAMES_EACH))
    }

    pub(super) fn tree(&self, uuid: Uuid) -> Option<&Tree> {
        self.trees.get(&uuid).map(|known| &known.tree)
    }

    /// Transaction of the last change of a subvolume, as its own stream says.
    pub(super) fn ctransid(&self, uuid: Uuid) -> Option<u64> {
        self.trees.get(&uuid).map(|known| known.ctransid)
    }

    pub(super) fn add(&mut self, uuid: Uuid, ctransid: u64, mut tree: Tree) {
        self.len = self.len.saturating_add(tree.settle());
        self.trees.insert(uuid, Known { tree, ctransid });
    }

    /// Forgets all but `shared` names, which somebody else uses.
    pub(super) fn forget(&mut self, shared: usize) {
        *self = Self {
            len: shared,
            ..Self::default()
        };
    }

    /// Something wants a subvolume that is not at hand. Where none is, that says nothing, unless the
    /// streams are a whole chain.
    pub(super) fn missing(
        &mut self,
        uuid: Uuid,
        code: &'static str,
        is_chain: bool,
    ) -> Option<Trouble> {
        if is_chain {
            let message = format!("no stream before this one has made the subvolume {uuid}");
            return self.missed.insert(uuid).then_some((code, Error, message));
        }
        if self.trees.is_empty() || !self.missed.insert(uuid) {
            return None;
        }
        let message = format!(
            "the subvolume {uuid} is neither in the input nor among the parents given; what it \
             has is not known"
        );
        Some((code, Warning, message))
    }

    /// The name of a subvolume of the input, which all have different ones.
    pub(super) fn take_name(&mut self, name: Bytes) -> Option<Trouble> {
        (!self.names.insert(name)).then(|| {
            let message = "another subvolume of the input has this name".to_owned();
            ("path-exists", Error, message)
        })
    }

    /// A name is free again: its subvolume has never become whole.
    pub(super) fn free_name(&mut self, name: &[u8]) {
        self.names.remove(name);
    }
}
