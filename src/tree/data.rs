//! Where the data of a file is: which of its bytes stand where in which stream.

use std::ops::Range;

use imbl::OrdMap;

/// Extents of a file that are kept in a list; with more, in a map that is shared between
/// snapshots piece by piece.
const FEW: usize = 24;

/// A part of the data of one command of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place {
    /// Offset of the command in its input, bytes.
    pub command: u64,
    /// Bytes of the command, header included.
    pub command_len: u32,
    /// Bytes of the command's data, decoded where it is encoded, that come before.
    pub skip: u32,
    /// Which input, and the version of the stream in it: an index into
    /// [`Chain::sources`](super::Chain::sources).
    pub source: u32,
    /// The command is an `ENCODED_WRITE`.
    pub encoded: bool,
    /// It was cloned, so that other extents may show the same data.
    pub cloned: bool,
}

/// What an extent shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// Data of a command.
    Data(Place),
    /// Data that was not sent (`UPDATE_EXTENT`).
    NotSent,
}

impl Content {
    /// The same without its first bytes.
    fn after(self, bytes: u64) -> Self {
        match self {
            Self::Data(place) => {
                // No command has data of 4 GiB.
                let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
                Self::Data(Place {
                    skip: place.skip.saturating_add(bytes),
                    ..place
                })
            }
            Self::NotSent => self,
        }
    }

    fn cloned(self) -> Self {
        match self {
            Self::Data(place) => Self::Data(Place {
                cloned: true,
                ..place
            }),
            Self::NotSent => self,
        }
    }
}

/// A run of bytes of a file that is no hole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// Offset in the file, bytes.
    pub offset: u64,
    /// Bytes.
    pub len: u64,
    /// Where they are.
    pub content: Content,
}

impl Extent {
    /// The offset after it.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.offset.saturating_add(self.len)
    }

    /// The part inside a range.
    #[must_use]
    pub fn part(&self, range: &Range<u64>) -> Option<Self> {
        let offset = self.offset.max(range.start);
        let end = self.end().min(range.end);
        (offset < end).then(|| Self {
            offset,
            len: end.saturating_sub(offset),
            content: self.content.after(offset.saturating_sub(self.offset)),
        })
    }
}

/// What an extent is without its offset, by which a map has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Run {
    len: u64,
    content: Content,
}

/// The extents of a file, which do not overlap. What none covers is a hole.
#[derive(Debug, Clone)]
pub(super) struct DataMap(Runs);

#[derive(Debug, Clone)]
enum Runs {
    /// In the order of offsets.
    Few(Vec<Extent>),
    Many(OrdMap<u64, Run>),
}

impl Default for DataMap {
    fn default() -> Self {
        Self(Runs::Few(Vec::new()))
    }
}

impl DataMap {
    /// Number of extents.
    pub(super) fn len(&self) -> usize {
        match &self.0 {
            Runs::Few(few) => few.len(),
            Runs::Many(many) => many.len(),
        }
    }

    /// All extents from the one that covers an offset on, or the next.
    pub(super) fn from(&self, offset: u64) -> impl Iterator<Item = Extent> {
        let (few, many) = match &self.0 {
            Runs::Few(few) => {
                let first = few.partition_point(|extent| extent.end() <= offset);
                (few.get(first..), None)
            }
            Runs::Many(many) => {
                let first = match many.get_prev(&offset) {
                    Some((&start, run)) if extent(start, run).end() > offset => start,
                    _ => offset,
                };
                let rest = many.range(first..);
                (None, Some(rest.map(|(&start, run)| extent(start, run))))
            }
        };
        let few = few.unwrap_or_default().iter().copied();
        few.chain(many.into_iter().flatten())
    }

    /// The parts of extents inside a range.
    pub(super) fn inside(&self, range: Range<u64>) -> impl Iterator<Item = Extent> {
        let end = range.end;
        self.from(range.start)
            .take_while(move |extent| extent.offset < end)
            .filter_map(move |extent| extent.part(&range))
    }

    /// Makes a range a hole.
    pub(super) fn punch(&mut self, range: Range<u64>) {
        if range.is_empty() {
            return;
        }
        while let Some(old) = self.first_in(&range) {
            self.remove(old.offset);
            let before = old.part(&(0..range.start));
            let after = old.part(&(range.end..u64::MAX));
            for part in before.into_iter().chain(after) {
                self.insert(part);
            }
        }
    }

    fn first_in(&self, range: &Range<u64>) -> Option<Extent> {
        let first = self.from(range.start).next();
        first.filter(|extent| extent.offset < range.end)
    }

    /// Puts an extent in the place of what is there.
    pub(super) fn put(&mut self, extent: Extent) {
        self.punch(extent.offset..extent.end());
        self.insert(extent);
    }

    /// Shows what another file, or this one as it was, has in a range at `from`. `most` more
    /// extents may come of it; false when there would be more, and nothing is changed.
    pub(super) fn clone_from(
        &mut self,
        other: &Self,
        range: Range<u64>,
        to: u64,
        most: usize,
    ) -> bool {
        let shift = |at: u64| at.saturating_sub(range.start).saturating_add(to);
        let end = shift(range.end);
        // Taken out first: it may be the same file.
        let taken = other.inside(range.clone()).take(most.saturating_add(1));
        let taken: Vec<Extent> = taken.collect();
        if taken.len() > most {
            return false;
        }
        self.punch(to..end);
        for extent in taken {
            self.insert(Extent {
                offset: shift(extent.offset),
                content: extent.content.cloned(),
                ..extent
            });
        }
        true
    }

    fn insert(&mut self, new: Extent) {
        match &mut self.0 {
            Runs::Few(few) if few.len() < FEW => {
                let place = few.partition_point(|extent| extent.offset < new.offset);
                few.insert(place, new);
            }
            Runs::Few(few) => {
                let all = few.iter().chain([&new]);
                let many = all.map(|extent| (extent.offset, run(extent))).collect();
                self.0 = Runs::Many(many);
            }
            Runs::Many(many) => drop(many.insert(new.offset, run(&new))),
        }
    }

    fn remove(&mut self, offset: u64) {
        match &mut self.0 {
            Runs::Few(few) => few.retain(|extent| extent.offset != offset),
            Runs::Many(many) => drop(many.remove(&offset)),
        }
    }
}

fn extent(offset: u64, run: &Run) -> Extent {
    Extent {
        offset,
        len: run.len,
        content: run.content,
    }
}

fn run(extent: &Extent) -> Run {
    Run {
        len: extent.len,
        content: extent.content,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(command: u64) -> Content {
        Content::Data(Place {
            command,
            command_len: 0,
            skip: 0,
            source: 0,
            encoded: false,
            cloned: false,
        })
    }

    /// What a map says of each byte: the command and the byte in it.
    fn bytes(map: &DataMap, len: u64) -> Vec<Option<(u64, u64)>> {
        let mut all = vec![None; usize::try_from(len).unwrap()];
        for extent in map.from(0) {
            for at in extent.offset..extent.end() {
                let Content::Data(place) = extent.content else {
                    panic!();
                };
                let byte = u64::from(place.skip) + at - extent.offset;
                let slot = &mut all[usize::try_from(at).unwrap()];
                assert_eq!(slot.replace((place.command, byte)), None, "overlap at {at}");
            }
        }
        all
    }

    quickcheck::quickcheck! {
        /// Against a list with an entry for each byte. Numbers are small, so that ranges meet.
        fn ranges_are_kept_as_bytes_would_be(steps: Vec<(u8, u8, u8, u8)>) -> bool {
            const LEN: u64 = 512;
            let mut map = DataMap::default();
            let mut model = vec![None; usize::try_from(LEN).unwrap()];
            for (number, &(what, a, b, c)) in steps.iter().enumerate() {
                let command = u64::try_from(number).unwrap();
                let (from, len) = (u64::from(a), u64::from(b % 40) + 1);
                let at = |offset: u64| usize::try_from(offset).unwrap();
                match what % 4 {
                    0 => {
                        map.punch(from..from + len);
                        model[at(from)..at(from + len)].fill(None);
                    }
                    1 => {
                        let to = u64::from(c);
                        let old = map.clone();
                        assert!(map.clone_from(&old, from..from + len, to, 1000));
                        let copy = model[at(from)..at(from + len)].to_vec();
                        model[at(to)..at(to + len)].copy_from_slice(&copy);
                    }
                    _ => {
                        map.put(Extent { offset: from, len, content: place(command) });
                        for byte in 0..len {
                            model[at(from + byte)] = Some((command, byte));
                        }
                    }
                }
            }
            bytes(&map, LEN) == model
        }
    }

    #[test]
    fn what_doubles_is_stopped() {
        let mut map = DataMap::default();
        map.put(Extent {
            offset: 0,
            len: 1,
            content: place(0),
        });
        map.put(Extent {
            offset: 2,
            len: 1,
            content: place(0),
        });
        let mut len = 4;
        let mut stopped = false;
        for _ in 0..40 {
            let old = map.clone();
            stopped = !map.clone_from(&old, 0..len, len, 1000);
            if stopped {
                break;
            }
            len *= 2;
        }
        assert!(stopped && map.len() <= 2000, "{}", map.len());
    }
}
