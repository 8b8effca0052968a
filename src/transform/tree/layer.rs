//! What one stream has changed, on top of what earlier streams have made.
//!
//! A snapshot begins with everything of its parent, so their trees share it: a layer holds the
//! changes, and what it does not hold is looked for in the one below. Layers are put together
//! when the lower one is not much larger, so a chain of increments stays a few layers deep.

use std::collections::HashMap;
use std::sync::Arc;

use super::node::{Entry, Node, NodeId};

#[derive(Debug, Clone, Default)]
pub(super) struct Layer {
    below: Option<Arc<Layer>>,
    /// `None` stands for a name that is known not to be there.
    entries: HashMap<Entry, Option<NodeId>>,
    /// `None` stands for a node that is gone.
    nodes: HashMap<NodeId, Option<Node>>,
    /// Extended attributes that are known to be set (true), or not to be.
    xattrs: HashMap<Entry, bool>,
}

impl Layer {
    /// An empty layer on top of another one.
    pub(super) fn on(below: Arc<Self>) -> Self {
        Self {
            below: Some(below),
            ..Self::default()
        }
    }

    /// Names, or what takes as much memory, without the layers below.
    pub(super) fn len(&self) -> usize {
        let names = self.entries.len().max(self.nodes.len());
        names.saturating_add(self.xattrs.len())
    }

    /// The same for the layers below.
    pub(super) fn len_below(&self) -> usize {
        self.lower().map(Self::len).fold(0, usize::saturating_add)
    }

    pub(super) fn is_lowest(&self) -> bool {
        self.below.is_none()
    }

    /// This layer and those below.
    fn all(&self) -> impl Iterator<Item = &Self> {
        std::iter::once(self).chain(self.lower())
    }

    fn lower(&self) -> impl Iterator<Item = &Self> {
        std::iter::successors(self.below.as_deref(), |layer| layer.below.as_deref())
    }

    pub(super) fn entry(&self, entry: Entry) -> Option<Option<NodeId>> {
        self.all()
            .find_map(|layer| layer.entries.get(&entry))
            .copied()
    }

    /// Returns what was there.
    pub(super) fn set_entry(&mut self, entry: Entry, node: Option<NodeId>) -> Option<NodeId> {
        let before = self.entry(entry).flatten();
        self.entries.insert(entry, node);
        before
    }

    /// Makes a name one of which nothing is known; for lowest layers.
    pub(super) fn forget_entry(&mut self, entry: Entry) {
        self.entries.remove(&entry);
    }

    pub(super) fn node(&self, id: NodeId) -> Option<Node> {
        self.all().find_map(|layer| layer.nodes.get(&id)).copied()?
    }

    pub(super) fn node_mut(&mut self, id: NodeId) -> Option<&mut Node> {
        if !self.nodes.contains_key(&id) {
            let node = self.node(id)?;
            self.nodes.insert(id, Some(node));
        }
        self.nodes.get_mut(&id)?.as_mut()
    }

    pub(super) fn add_node(&mut self, id: NodeId, node: Node) {
        self.nodes.insert(id, Some(node));
    }

    pub(super) fn drop_node(&mut self, id: NodeId) {
        if self.is_lowest() {
            self.nodes.remove(&id);
        } else {
            self.nodes.insert(id, None);
        }
    }

    pub(super) fn xattr(&self, xattr: Entry) -> Option<bool> {
        self.all()
            .find_map(|layer| layer.xattrs.get(&xattr))
            .copied()
    }

    pub(super) fn set_xattr(&mut self, xattr: Entry, is_set: bool) {
        self.xattrs.insert(xattr, is_set);
    }

    /// The layer as others can build on it, together with those below that are at most twice
    /// as large: so each name is copied only as often as the layer it is in doubles.
    pub(super) fn settled(mut self) -> Arc<Self> {
        while let Some(below) = self.below.take() {
            if below.len() / 2 > self.len() {
                self.below = Some(below);
                break;
            }
            self = self.merged_into(below);
        }
        Arc::new(self)
    }

    /// Puts the layer and all below together.
    pub(super) fn flatten(&mut self) {
        while let Some(below) = self.below.take() {
            *self = std::mem::take(self).merged_into(below);
        }
    }

    fn merged_into(self, below: Arc<Self>) -> Self {
        let mut merged = Arc::unwrap_or_clone(below);
        merged.entries.extend(self.entries);
        merged.nodes.extend(self.nodes);
        merged.xattrs.extend(self.xattrs);
        if merged.is_lowest() {
            let nodes = &mut merged.nodes;
            nodes.retain(|_, node| node.is_some());
            // What is not there has to be remembered only where something unknown may be.
            let is_incomplete =
                |id: &NodeId| matches!(nodes.get(id), Some(Some(node)) if !node.complete);
            let entries = &mut merged.entries;
            entries.retain(|(directory, _), node| node.is_some() || is_incomplete(directory));
            let xattrs = &mut merged.xattrs;
            xattrs.retain(|(node, _), is_set| *is_set || is_incomplete(node));
        }
        merged
    }

    /// From now on, what is not known may be there all the same.
    pub(super) fn forget_completeness(&mut self) {
        self.flatten();
        self.entries.retain(|_, node| node.is_some());
        self.xattrs.clear();
        for node in self.nodes.values_mut().flatten() {
            node.complete = false;
            node.size = 0;
            node.size_is_known = false;
        }
    }
}
