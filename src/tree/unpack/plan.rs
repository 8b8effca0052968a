//! What is to be made, in which order; workers decode the data.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;

use super::super::data::{Content, Extent, Place};
use super::super::error::TreeError;
use super::super::inode::{Inode, Kind};
use super::super::names::{Tree, parts};
use super::super::read::{Data, Fetched, ReadAt, part};
use super::super::walk::{Step, Visit, Walk};
use super::destination::Destination;
use super::error::UnpackError;
use crate::extent::EncodedExtent;
use crate::rules::{ExtentFields, Target};
use crate::send_stream::Command;

/// Bytes of data after which a batch is closed.
const BATCH_LEN: u64 = 256 * 1024;
/// Steps after which it is closed, too.
const BATCH_STEPS: usize = 256;
/// Offsets that can be shared are multiples of this, bytes; on most filesystems of no more.
const BLOCK: u64 = 4096;

/// Paths as bytes; those of shared files are kept.
type Path = Arc<[u8]>;

/// The parts of a tree that are unpacked.
#[derive(Debug)]
pub(super) struct Selection<'a> {
    pub(super) tree: &'a Tree,
    /// Paths of which none is inside another.
    pub(super) paths: Vec<Vec<u8>>,
    /// The directories that they are in, from the top down, without the top.
    pub(super) above: Vec<Vec<u8>>,
}

impl<'a> Selection<'a> {
    pub(super) fn new(tree: &'a Tree, paths: &[&[u8]]) -> Result<Self, UnpackError> {
        let plain = |path: &&[u8]| parts(path).collect::<Vec<_>>().join(&b'/');
        let mut wanted: Vec<Vec<u8>> = paths.iter().map(plain).collect();
        if wanted.is_empty() {
            wanted.push(Vec::new());
        }
        // Sorted by their parts, what is inside a directory comes right after it.
        wanted.sort_by(|a, b| parts(a).cmp(parts(b)));
        let mut selection = Self {
            tree,
            paths: Vec::new(),
            above: Vec::new(),
        };
        let mut known = HashSet::new();
        for path in wanted {
            if tree.at(&path).is_none() {
                let path = path.into();
                return Err(UnpackError::NoSuchPath { path });
            }
            let is_inside = |outer: &Vec<u8>| parts(&path).zip(parts(outer)).all(|(a, b)| a == b);
            if selection.paths.last().is_some_and(is_inside) {
                continue;
            }
            let ends = path.iter().enumerate().filter(|(_, byte)| **byte == b'/');
            for above in ends.filter_map(|(end, _)| path.get(..end)) {
                if known.insert(above.to_vec()) {
                    selection.above.push(above.to_vec());
                }
            }
            selection.paths.push(path);
        }
        Ok(selection)
    }

    /// True where all of the tree is meant.
    pub(super) fn is_all(&self) -> bool {
        matches!(&self.paths[..], [path] if path.is_empty())
    }

    pub(super) fn walks(&self) -> impl Iterator<Item = Walk<'a>> + Send + use<'a> {
        let tree = self.tree;
        self.paths
            .clone()
            .into_iter()
            .filter_map(move |path| tree.walk(&path))
    }
}

/// Something to be done, before a worker had it.
enum Planned {
    Do(Todo),
    /// Data, not decoded yet.
    Data(Extent, Place, Fetched),
}

/// Something to be done.
pub(super) enum Todo {
    /// A directory, symbolic link or the like.
    Make(Path, Arc<Inode>),
    /// A further name; the first is there already.
    Link(Path, Path, Arc<Inode>),
    /// A file begins.
    Begin(Path, Arc<Inode>),
    /// Data of the file.
    Plain(Extent, Bytes),
    /// The same, that may be written encoded.
    Encoded(Extent, EncodedExtent),
    /// Data that another file has already, or the same elsewhere: there it is at this offset.
    Shared(Extent, Path, u64),
    /// The data is not to be had.
    Failed(TreeError),
    /// The file is complete.
    End,
}

/// Steps for one worker.
#[derive(Default)]
pub(super) struct Batch {
    /// Directories that the other steps, and later batches, are in.
    directories: Vec<Todo>,
    steps: Vec<Planned>,
    bytes: u64,
}

/// Data that was placed, and may be shared from there.
struct Placed {
    path: Path,
    offset: u64,
    skip: u32,
    len: u64,
}

/// The same command for all extents that show a part of it.
type Key = (u32, u64);

/// Goes through the selection.
pub(super) struct Plan<'a, R> {
    above: std::vec::IntoIter<(Path, Arc<Inode>)>,
    walks: Box<dyn Iterator<Item = Walk<'a>> + Send + 'a>,
    walk: Option<Walk<'a>>,
    /// The file whose data is under way, and the offset up to which it was planned.
    file: Option<(Path, Arc<Inode>, u64)>,
    data: Data<'a, R>,
    destination: &'a Destination<'a>,
    /// First names of files that have several.
    names: HashMap<u32, Path>,
    /// Data that several extents show.
    shown_often: HashSet<Key>,
    placed: HashMap<Key, Vec<Placed>>,
}

impl<'a, R: ReadAt + Sync> Plan<'a, R> {
    pub(super) fn new(
        selection: &Selection<'a>,
        data: Data<'a, R>,
        destination: &'a Destination<'a>,
    ) -> Result<Self, UnpackError> {
        let above = selection.above.iter().filter_map(|path| {
            let inode = selection.tree.at(path)?;
            Some((path.as_slice().into(), Arc::clone(inode)))
        });
        Ok(Self {
            above: above.collect::<Vec<_>>().into_iter(),
            walks: Box::new(selection.walks()),
            walk: None,
            file: None,
            data,
            destination,
            names: HashMap::new(),
            shown_often: cloned(selection)?,
            placed: HashMap::new(),
        })
    }

    /// The next batch; `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<Batch>, UnpackError> {
        let mut batch = Batch::default();
        while !batch.is_full() {
            if self.file.is_some() {
                self.add_data(&mut batch)?;
            } else if let Some((path, inode)) = self.above.next() {
                batch.directories.push(Todo::Make(path, inode));
            } else if !self.step(&mut batch)? {
                break;
            }
        }
        Ok((batch.len() > 0).then_some(batch))
    }

    /// Takes one step; false at the end.
    fn step(&mut self, batch: &mut Batch) -> Result<bool, UnpackError> {
        let Some(walk) = &mut self.walk else {
            self.walk = self.walks.next();
            return Ok(self.walk.is_some());
        };
        match walk.next()? {
            None => self.walk = None,
            Some(Step::Leave(_)) => {}
            Some(Step::Enter(visit)) => {
                let path: Path = walk.path().into();
                self.enter(path, &visit, batch);
            }
        }
        Ok(true)
    }

    fn enter(&mut self, path: Path, visit: &Visit<'_>, batch: &mut Batch) {
        let inode = visit.inode;
        // The top is there.
        if path.is_empty() {
            return;
        }
        if inode.links() > 1 && !inode.is_directory() {
            if let Some(first) = self.names.get(&visit.id) {
                batch.push(Todo::Link(path, Arc::clone(first), Arc::clone(inode)));
                return;
            }
            self.names.insert(visit.id, Arc::clone(&path));
        }
        match inode.kind() {
            Kind::File => {
                batch.push(Todo::Begin(Arc::clone(&path), Arc::clone(inode)));
                self.file = Some((path, Arc::clone(inode), 0));
            }
            Kind::Directory => batch.directories.push(Todo::Make(path, Arc::clone(inode))),
            _ => batch.push(Todo::Make(path, Arc::clone(inode))),
        }
    }

    /// Plans extents of the file up to the end of the batch, or of the file.
    fn add_data(&mut self, batch: &mut Batch) -> Result<(), UnpackError> {
        let Some((path, inode, at)) = self.file.take() else {
            return Ok(());
        };
        let mut extents = inode.extents_in(at..inode.size());
        while !batch.is_full() {
            let Some(extent) = extents.next() else {
                batch.push(Todo::End);
                return Ok(());
            };
            self.add(&extent, &path, batch)?;
        }
        let next = extents.next().map(|extent| extent.offset);
        match next {
            Some(next) => {
                drop(extents);
                self.file = Some((path, inode, next));
            }
            None => batch.push(Todo::End),
        }
        Ok(())
    }

    fn add(&mut self, extent: &Extent, path: &Path, batch: &mut Batch) -> Result<(), UnpackError> {
        let offset = extent.offset;
        let Content::Data(place) = extent.content else {
            batch.push(Todo::Failed(TreeError::NotSent { offset }));
            return Ok(());
        };
        if let Some((from, offset)) = self.shared(extent, &place, path) {
            batch.push(Todo::Shared(*extent, from, offset));
            batch.bytes = batch.bytes.saturating_add(BLOCK);
            return Ok(());
        }
        let fetched = self.data.fetch(&place);
        let fetched = fetched.map_err(|error| UnpackError::data(path, error))?;
        let read = u64::from(place.command_len);
        batch.bytes = batch.bytes.saturating_add(extent.len.max(read));
        batch.steps.push(Planned::Data(*extent, place, fetched));
        Ok(())
    }

    /// Where the data of an extent is already. If it is nowhere, it will be here.
    fn shared(&mut self, extent: &Extent, place: &Place, path: &Path) -> Option<(Path, u64)> {
        let key = (place.source, place.command);
        if !self.destination.shares()
            || !self.shown_often.contains(&key)
            || !extent.offset.is_multiple_of(BLOCK)
        {
            return None;
        }
        let placed = self.placed.entry(key).or_default();
        for there in placed.iter() {
            let Some(into) = place.skip.checked_sub(there.skip).map(u64::from) else {
                continue;
            };
            let offset = there.offset.saturating_add(into);
            if into.saturating_add(extent.len) <= there.len && offset.is_multiple_of(BLOCK) {
                return Some((Arc::clone(&there.path), offset));
            }
        }
        // A few ways to have it are enough: more would only take time.
        if placed.len() < 4 {
            placed.push(Placed {
                path: Arc::clone(path),
                offset: extent.offset,
                skip: place.skip,
                len: extent.len,
            });
        }
        None
    }
}

/// The commands whose data was cloned.
fn cloned(selection: &Selection<'_>) -> Result<HashSet<Key>, UnpackError> {
    let mut keys = HashSet::new();
    for mut walk in selection.walks() {
        while let Some(step) = walk.next()? {
            let Step::Enter(Visit { inode, .. }) = step else {
                continue;
            };
            for extent in inode.extents() {
                if let Content::Data(place) = extent.content
                    && place.cloned
                {
                    keys.insert((place.source, place.command));
                }
            }
        }
    }
    Ok(keys)
}

impl Batch {
    fn push(&mut self, todo: Todo) {
        self.steps.push(Planned::Do(todo));
    }

    fn len(&self) -> usize {
        self.steps.len().saturating_add(self.directories.len())
    }

    fn is_full(&self) -> bool {
        self.bytes >= BATCH_LEN || self.len() >= BATCH_STEPS
    }

    /// The directories, to be made before a step of this batch or of a later one is done.
    pub(super) fn take_directories(&mut self) -> Vec<Todo> {
        std::mem::take(&mut self.directories)
    }

    /// Verifies and decodes the data. Where encoded extents can be written, what is one stays so.
    pub(super) fn work(self, target: Option<&Target>) -> Vec<Todo> {
        let mut last: Option<(Key, Bytes)> = None;
        let steps = self.steps.into_iter().map(|step| match step {
            Planned::Do(todo) => todo,
            Planned::Data(extent, place, fetched) => {
                if let Some(encoded) =
                    target.and_then(|target| encoded(&extent, &place, &fetched, target))
                {
                    return Todo::Encoded(extent, encoded);
                }
                let key = (place.source, place.command);
                let all = match &last {
                    Some((known, all)) if *known == key => Ok(all.clone()),
                    _ => fetched.decode(),
                };
                let bytes = all.and_then(|all| {
                    let bytes = part(&all, &place, extent.len);
                    last = Some((key, all));
                    bytes
                });
                match bytes {
                    Ok(bytes) => Todo::Plain(extent, bytes),
                    Err(error) => Todo::Failed(error),
                }
            }
        });
        steps.collect()
    }
}

/// An extent as it can be written encoded, in a file that ends where the extent begins.
fn encoded(
    extent: &Extent,
    place: &Place,
    fetched: &Fetched,
    target: &Target,
) -> Option<EncodedExtent> {
    let Ok(Command::EncodedWrite(c)) = fetched.command() else {
        return None;
    };
    let fields = ExtentFields {
        len: extent.len,
        unencoded_offset: c.unencoded_offset.checked_add(u64::from(place.skip))?,
        ..c.fields()
    };
    let target = Target {
        file_size: extent.offset,
        ..target.at(extent.offset)
    };
    EncodedExtent::new(c.data, fields, &target).ok()
}
