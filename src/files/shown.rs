//! Which bytes of an extent, or of the disk, files show: ranges that are united.

use std::collections::BTreeMap;
use std::ops::Range;

/// Ranges without gaps between those that touch, sorted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Ranges(BTreeMap<u64, u64>);

impl Ranges {
    /// Adds a range to the union.
    pub(super) fn add(&mut self, range: Range<u64>) {
        let Range { mut start, mut end } = range;
        if start >= end {
            return;
        }
        // Every range that touches it: none that begins after its end, none that ends before it.
        while let Some((&from, &to)) = self.0.range(..=end).next_back() {
            if to < start {
                break;
            }
            self.0.remove(&from);
            (start, end) = (start.min(from), end.max(to));
        }
        self.0.insert(start, end);
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = Range<u64>> {
        self.0.iter().map(|(&start, &end)| start..end)
    }

    /// Bytes in all of them.
    pub(super) fn sum(&self) -> u64 {
        let lengths = self.0.iter().map(|(start, end)| end.saturating_sub(*start));
        lengths.fold(0, u64::saturating_add)
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Against a list of bytes, for all pairs of three short ranges.
    #[test]
    fn the_union_has_the_bytes_of_all() {
        let short = || (0..7).flat_map(|start| (start..8).map(move |end| start..end));
        for a in short() {
            for b in short() {
                for c in short().step_by(5) {
                    let mut ranges = Ranges::default();
                    let mut bytes = [false; 8];
                    for range in [&a, &b, &c] {
                        ranges.add(range.clone());
                        range
                            .clone()
                            .for_each(|at| bytes[usize::try_from(at).unwrap()] = true);
                    }
                    let mut expected = Vec::new();
                    for at in 0..8 {
                        let set = |at: usize| bytes.get(at).copied().unwrap_or(false);
                        if set(at) && (at == 0 || !set(at - 1)) {
                            let end = (at..9).find(|&end| !set(end)).unwrap();
                            expected.push(u64::try_from(at).unwrap()..u64::try_from(end).unwrap());
                        }
                    }
                    assert_eq!(
                        ranges.iter().collect::<Vec<_>>(),
                        expected,
                        "{a:?} {b:?} {c:?}"
                    );
                    assert_eq!(ranges.len(), expected.len());
                    let set = bytes.iter().filter(|set| **set).count();
                    assert_eq!(ranges.sum(), u64::try_from(set).unwrap());
                }
            }
        }
    }
}
