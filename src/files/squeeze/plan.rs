//! The order of the work: extents as they follow each other in files, in stretches that a thread
//! works on as a whole.

use crate::files::{Extent, Map};
use crate::rules::limits::u64_of;

/// Bytes that the extents of a stretch decode to, where one alone has not more.
const STRETCH: u64 = 16 * 1024 * 1024;
/// Extents of a stretch.
const EXTENTS: usize = 64;

/// Hands out stretches.
pub(super) struct Plan<'a> {
    map: &'a Map,
    /// Places in the map.
    order: Vec<usize>,
    next: usize,
}

impl<'a> Plan<'a> {
    /// With those extents that are `wanted`.
    pub(super) fn new(map: &'a Map, wanted: impl Fn(&Extent) -> bool) -> Self {
        let extents = map.extents();
        let numbered = extents.iter().enumerate();
        let wanted = numbered.filter(|(_, extent)| wanted(extent));
        let mut order: Vec<usize> = wanted.map(|(index, _)| index).collect();
        order.sort_unstable_by_key(|&index| {
            let extent = extents.get(index);
            extent.map(|extent| (extent.root, extent.inode, extent.offset))
        });
        Self {
            map,
            order,
            next: 0,
        }
    }

    /// Extents of all of it.
    pub(super) fn len(&self) -> u64 {
        u64_of(self.order.len())
    }

    /// Bytes on disk of all of it.
    pub(super) fn disk_bytes(&self) -> u64 {
        let extents = self.order.iter().filter_map(|&index| self.extent(index));
        extents.fold(0, |sum, extent| sum.saturating_add(extent.disk_bytes))
    }

    fn extent(&self, index: usize) -> Option<&Extent> {
        self.map.extents().get(index)
    }

    /// The next stretch; `None` after the last.
    pub(super) fn stretch(&mut self) -> Option<Vec<Extent>> {
        let mut stretch = Vec::new();
        let mut bytes = 0_u64;
        while let Some(extent) = self.order.get(self.next).and_then(|&at| self.extent(at)) {
            bytes = bytes.saturating_add(extent.ram_bytes);
            if !stretch.is_empty() && (bytes > STRETCH || stretch.len() >= EXTENTS) {
                break;
            }
            stretch.push(extent.clone());
            self.next = self.next.saturating_add(1);
        }
        (!stretch.is_empty()).then_some(stretch)
    }
}
