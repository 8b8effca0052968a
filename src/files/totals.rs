//! Sums over a map: per kind of extent, and per directory.

use std::collections::{BTreeMap, BTreeSet};

use super::directories::DirectoryId;
use super::map::{Extent, Map};
use crate::rules::OnDiskId;

/// What an extent is, for counting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// Not compressed.
    Plain,
    /// Compressed; the number may be of no codec.
    Compressed(OnDiskId),
    /// Reserved, reads as zeroes.
    Preallocated,
}

/// A sum over extents, each counted once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Sum {
    /// Extents.
    pub extents: u64,
    /// Bytes on disk; of inline extents, in the metadata.
    pub disk_bytes: u64,
    /// Bytes that they decode to.
    pub ram_bytes: u64,
}

impl Sum {
    fn add(&mut self, extents: u64, disk_bytes: u64, ram_bytes: u64) {
        self.extents = self.extents.saturating_add(extents);
        self.disk_bytes = self.disk_bytes.saturating_add(disk_bytes);
        self.ram_bytes = self.ram_bytes.saturating_add(ram_bytes);
    }
}

/// Sums over a [`Map`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Totals {
    /// Regular and preallocated extents.
    pub regular: BTreeMap<Kind, Sum>,
    /// Inline extents. Each file has its own: a snapshot's count again.
    pub inline: BTreeMap<Kind, Sum>,
    /// Extents that more than one file shows.
    pub shared: Sum,
    /// Extents of which no file shows some bytes. `ram_bytes` are the bytes that nobody shows, and
    /// `disk_bytes` their share of what is on disk: exact for plain extents.
    pub unreachable: Sum,
    /// Directories as far down as was asked for, by path; each with all that is below it. An
    /// extent counts for the first file that shows it.
    pub directories: BTreeMap<Vec<u8>, Sum>,
}

impl Totals {
    /// Sums, with directories as many names below the paths that were asked for: 0 for those
    /// alone.
    #[must_use]
    pub fn new(map: &Map, depth: usize) -> Self {
        let mut totals = Self::default();
        let mut per_directory: BTreeMap<DirectoryId, Sum> = BTreeMap::new();
        for extent in map.extents() {
            let (disk, ram) = (extent.disk_bytes, extent.ram_bytes);
            let sum = totals.regular.entry(kind(extent)).or_default();
            sum.add(1, disk, ram);
            if extent.shared {
                totals.shared.add(1, disk, ram);
            }
            let hidden = map.unreachable(extent);
            if hidden > 0 {
                totals.unreachable.add(1, share(disk, hidden, ram), hidden);
            }
            let sum = per_directory.entry(extent.directory).or_default();
            sum.add(1, disk, ram);
        }
        for (&(directory, compression), inline) in &map.inline {
            let compression = OnDiskId(u8::try_from(compression).unwrap_or(u8::MAX));
            let sum = totals.inline.entry(by_number(compression)).or_default();
            let (extents, disk, ram) = (inline.extents, inline.disk_bytes, inline.ram_bytes);
            sum.add(extents, disk, ram);
            let sum = per_directory.entry(directory).or_default();
            sum.add(extents, disk, ram);
        }
        let mut seen: BTreeMap<DirectoryId, Sum> = BTreeMap::new();
        for (directory, sum) in per_directory {
            let way = map.directories.way(directory);
            let far = way.into_iter().take(depth.saturating_add(1));
            for above in far.collect::<BTreeSet<_>>() {
                let total = seen.entry(above).or_default();
                total.add(sum.extents, sum.disk_bytes, sum.ram_bytes);
            }
        }
        for (directory, sum) in seen {
            let total = totals.directories.entry(map.directories.path(directory));
            total
                .or_default()
                .add(sum.extents, sum.disk_bytes, sum.ram_bytes);
        }
        totals
    }

    /// Extents of one kind, inline ones too.
    #[must_use]
    pub fn extents_of(&self, kind: Kind) -> u64 {
        let both = [&self.regular, &self.inline].map(|sums| sums.get(&kind));
        let extents = both.into_iter().flatten().map(|sum| sum.extents);
        extents.fold(0, u64::saturating_add)
    }

    /// All extents, inline ones too.
    #[must_use]
    pub fn all(&self) -> Sum {
        let mut all = Sum::default();
        for sum in self.regular.values().chain(self.inline.values()) {
            all.add(sum.extents, sum.disk_bytes, sum.ram_bytes);
        }
        all
    }
}

fn kind(extent: &Extent) -> Kind {
    if extent.preallocated {
        Kind::Preallocated
    } else {
        by_number(extent.compression)
    }
}

fn by_number(compression: OnDiskId) -> Kind {
    match compression {
        OnDiskId(0) => Kind::Plain,
        other => Kind::Compressed(other),
    }
}

/// So much of `disk` as `part` is of `whole`.
fn share(disk: u64, part: u64, whole: u64) -> u64 {
    let product = u128::from(disk).saturating_mul(part.into());
    let share = product.checked_div(whole.into()).unwrap_or(0);
    u64::try_from(share).unwrap_or(u64::MAX)
}
