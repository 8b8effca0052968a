//! The tree of a chain beside a directory, difference by difference.

use std::collections::HashMap;
use std::fmt::Display;
use std::num::NonZeroUsize;
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;

use super::content::{self, Failed};
use super::digest::is_told;
use super::directory::{DirectoryWalk, Found};
use super::error::{PathError, TreeError};
use super::inode::{Inode, Kind};
use super::names::{Tree, parts};
use super::read::{Data, ReadAt};
use super::sum::next_visit;
use super::walk::{Visit, Walk};
use crate::pipeline;
use crate::send_stream::Timespec;
use crate::transform::Escaped;

/// Something that a directory has otherwise than the streams.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Difference {
    /// The path, from the top.
    pub path: Bytes,
    /// What it is about: `missing`, `extra`, `type`, `mode`, `owner`, `group`, `mtime`, `xattr`,
    /// `target`, `device`, `size`, `content`, `links`.
    pub what: &'static str,
    /// What was expected, and what is there.
    pub message: String,
}

/// Sums of a comparison.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Compared {
    /// Entries that both have.
    pub entries: u64,
    /// Bytes of data of the streams that were compared, without holes.
    pub data: u64,
}

/// Entries of one path.
enum Pair {
    /// The directory lacks it.
    Missing(Vec<u8>),
    /// The streams do not have it.
    Extra(Vec<u8>),
    Both(Arc<Inode>, Box<Found>, Links),
}

/// The first names of a file on both sides, where it has several.
struct Links {
    expected: Arc<[u8]>,
    got: Arc<[u8]>,
}

/// Compares a directory with a tree: names, kinds, modes, owners, modification times, extended
/// attributes, hard links and content. Each difference goes to `report`, in the order of paths. What
/// [`digest`](super::digest) leaves out is not looked at.
///
/// # Errors
/// [`PathError`] with the file that cannot be read on one of the sides.
pub fn compare<R: ReadAt + Sync>(
    tree: &Tree,
    data: &Data<'_, R>,
    directory: &Path,
    jobs: NonZeroUsize,
    mut report: impl FnMut(&Difference),
) -> Result<Compared, PathError> {
    let walk = tree.walk(b"").ok_or(TreeError::NoSubvolume)?;
    let found = DirectoryWalk::new(directory).map_err(|error| PathError::directory(b"", error))?;
    let mut pairs = Pairs::new(walk, found)?;
    let mut compared = Compared::default();
    pipeline::ordered(
        jobs,
        || pairs.next(),
        || {
            let mut data = data.clone();
            Ok(move |pair: Pair| differences(&pair, &mut data))
        },
        |result| {
            let (differences, of_pair) = result?;
            compared.entries = compared.entries.saturating_add(of_pair.entries);
            compared.data = compared.data.saturating_add(of_pair.data);
            differences.iter().for_each(&mut report);
            Ok(())
        },
    )?;
    Ok(compared)
}

/// Both sides, path by path.
struct Pairs<'a> {
    walk: Walk<'a>,
    expected: Option<Visit<'a>>,
    directory: DirectoryWalk,
    got: Option<Found>,
    first_expected: HashMap<u32, Arc<[u8]>>,
    first_got: HashMap<u64, Arc<[u8]>>,
}

impl<'a> Pairs<'a> {
    fn new(walk: Walk<'a>, directory: DirectoryWalk) -> Result<Self, PathError> {
        let mut pairs = Self {
            walk,
            expected: None,
            directory,
            got: None,
            first_expected: HashMap::new(),
            first_got: HashMap::new(),
        };
        pairs.expect()?;
        pairs.get()?;
        Ok(pairs)
    }

    fn expect(&mut self) -> Result<(), PathError> {
        self.expected = next_visit(&mut self.walk)?;
        Ok(())
    }

    fn get(&mut self) -> Result<(), PathError> {
        let found = self.directory.next();
        self.got = found.map_err(|(path, error)| PathError::directory(&path, error))?;
        Ok(())
    }

    fn next(&mut self) -> Result<Option<Pair>, PathError> {
        let order = match (&self.expected, &self.got) {
            (None, None) => return Ok(None),
            (Some(_), None) => std::cmp::Ordering::Less,
            (None, Some(_)) => std::cmp::Ordering::Greater,
            (Some(_), Some(got)) => parts(self.walk.path()).cmp(parts(&got.path)),
        };
        let path = self.walk.path().to_vec();
        match (order, &self.expected) {
            (std::cmp::Ordering::Less, Some(visit)) => {
                if visit.inode.is_directory() {
                    self.walk.skip_contents();
                }
                self.expect()?;
                Ok(Some(Pair::Missing(path)))
            }
            (std::cmp::Ordering::Equal, Some(visit)) => {
                let inode = Arc::clone(visit.inode);
                let id = visit.id;
                let Some(got) = self.got.take() else {
                    return Ok(None);
                };
                // What is in a directory is compared where both are one.
                let directories = (inode.is_directory(), got.kind == Kind::Directory);
                if directories.0 && !directories.1 {
                    self.walk.skip_contents();
                }
                if directories.1 && !directories.0 {
                    self.directory.skip_contents();
                }
                let path: Arc<[u8]> = path.into();
                let links = Links {
                    expected: first(&mut self.first_expected, id, inode.links().into(), &path),
                    got: first(&mut self.first_got, got.inode, got.links, &path),
                };
                self.expect()?;
                self.get()?;
                Ok(Some(Pair::Both(inode, Box::new(got), links)))
            }
            _ => {
                let Some(got) = self.got.take() else {
                    return Ok(None);
                };
                if got.kind == Kind::Directory {
                    self.directory.skip_contents();
                }
                self.get()?;
                Ok(Some(Pair::Extra(got.path)))
            }
        }
    }
}

/// The first path of what has several.
fn first<K: std::hash::Hash + Eq>(
    known: &mut HashMap<K, Arc<[u8]>>,
    key: K,
    links: u64,
    path: &Arc<[u8]>,
) -> Arc<[u8]> {
    if links < 2 {
        return Arc::clone(path);
    }
    Arc::clone(known.entry(key).or_insert_with(|| Arc::clone(path)))
}

/// What is different of one path.
fn differences<R: ReadAt>(
    pair: &Pair,
    data: &mut Data<'_, R>,
) -> Result<(Vec<Difference>, Compared), PathError> {
    let mut all = Differences::default();
    let mut compared = Compared::default();
    match pair {
        Pair::Missing(path) => all.add(path, "missing", "it is not in the directory".to_owned()),
        Pair::Extra(path) => all.add(path, "extra", "it is not in the streams".to_owned()),
        Pair::Both(inode, found, links) => {
            compared.entries = 1;
            all.of_attributes(inode, found, links);
            if let Some(fd) = &found.file
                && *inode.kind() == Kind::File
                && inode.size() == found.size
            {
                let extents = inode.extents();
                compared.data = extents
                    .map(|extent| extent.len)
                    .fold(0, u64::saturating_add);
                let path = &found.path;
                match content::first_difference(inode, data, fd.as_fd()) {
                    Ok(None) => {}
                    Ok(Some(at)) => {
                        all.add(path, "content", format!("it differs from byte {at} on"));
                    }
                    Err(Failed::Streams(error)) => return Err(PathError::data(path, error)),
                    Err(Failed::File(error)) => return Err(PathError::directory(path, error)),
                }
            }
        }
    }
    Ok((all.0, compared))
}

#[derive(Default)]
struct Differences(Vec<Difference>);

impl Differences {
    fn add(&mut self, path: &[u8], what: &'static str, message: String) {
        let path = Bytes::copy_from_slice(path);
        self.0.push(Difference {
            path,
            what,
            message,
        });
    }

    fn of(&mut self, path: &[u8], what: &'static str, expected: impl Display, got: impl Display) {
        self.add(path, what, format!("{expected} expected, it is {got}"));
    }

    fn of_attributes(&mut self, inode: &Inode, found: &Found, links: &Links) {
        let path = &found.path[..];
        let (expected, got) = (inode.kind(), &found.kind);
        if std::mem::discriminant(expected) != std::mem::discriminant(got) {
            self.of(path, "type", expected, got);
            return;
        }
        if expected != got {
            let what = if matches!(got, Kind::Symlink { .. }) {
                "target"
            } else {
                "device"
            };
            self.of(path, what, expected, got);
        }
        if inode.mode() != found.mode && !matches!(got, Kind::Symlink { .. }) {
            let [expected, got] = [inode.mode(), found.mode].map(|mode| format!("{mode:04o}"));
            self.of(path, "mode", expected, got);
        }
        for (what, expected, got) in [
            ("owner", inode.uid(), found.uid),
            ("group", inode.gid(), found.gid),
        ] {
            if expected != got {
                self.of(path, what, expected, got);
            }
        }
        // A stream may have set none.
        let times = inode.times();
        if *times != Default::default() && times.mtime != found.mtime {
            self.of(path, "mtime", time(times.mtime), time(found.mtime));
        }
        self.of_xattrs(inode, found);
        if *got == Kind::File && inode.size() != found.size {
            self.of(path, "size", inode.size(), found.size);
        }
        if links.expected != links.got && *got != Kind::Directory {
            let name = |first: &[u8]| match first == path {
                true => "the first of its names".to_owned(),
                false => format!("another name of {}", Escaped(first)),
            };
            self.of(path, "links", name(&links.expected), name(&links.got));
        }
    }

    fn of_xattrs(&mut self, inode: &Inode, found: &Found) {
        let path = &found.path[..];
        for (name, value) in inode.xattrs().filter(|(name, _)| is_told(name)) {
            match found.xattrs.get(name) {
                Some(got) if got == value => {}
                Some(_) => self.add(
                    path,
                    "xattr",
                    format!("{} has another value", Escaped(name)),
                ),
                None => self.add(path, "xattr", format!("{} is missing", Escaped(name))),
            }
        }
        let expected = |name: &[u8]| inode.xattrs().any(|(known, _)| known == name);
        for name in found.xattrs.keys().filter(|name| !expected(name)) {
            self.add(
                path,
                "xattr",
                format!("{} is not in the streams", Escaped(name)),
            );
        }
    }
}

fn time(time: Timespec) -> String {
    format!("{}.{:09}", time.seconds, time.nanoseconds)
}
