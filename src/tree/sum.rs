//! The digest of the tree of a chain, and of a directory. Files are read by several threads.

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

use super::content;
use super::digest::{self, Attributes, ContentDigest, TreeDigest, What};
use super::directory::{DirectoryWalk, Found};
use super::error::{PathError, TreeError};
use super::inode::{Inode, Kind};
use super::names::Tree;
use super::read::{Data, ReadAt};
use super::walk::{Step, Visit, Walk};
use crate::pipeline;
use crate::rules::limits::u64_of;
use crate::send_stream::Timespec;

/// A record without the digest of the content.
struct Record {
    path: Vec<u8>,
    name: Vec<u8>,
    kind: Kind,
    mode: u32,
    uid: u32,
    gid: u32,
    mtime: Timespec,
    xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    size: u64,
    entries: u64,
    /// The record of the first name of the same file.
    first: Option<u64>,
    content: Unread,
}

/// Where the content of a file is.
enum Unread {
    /// There is none.
    None,
    Inode(Arc<Inode>),
    File(OwnedFd),
}

/// The digest of a tree; see [`digest`](super::digest).
///
/// # Errors
/// [`PathError`] with the file whose data is not sound or cannot be had.
pub fn tree_digest<R: ReadAt + Sync>(
    tree: &Tree,
    data: &Data<'_, R>,
    jobs: NonZeroUsize,
) -> Result<TreeDigest, PathError> {
    let mut walk = tree.walk(b"").ok_or(TreeError::NoSubvolume)?;
    let mut numbers = Numbers::default();
    let source = || match next_visit(&mut walk)? {
        Some(visit) => Ok(Some(of_visit(walk.path(), &visit, tree, &mut numbers))),
        None => Ok(None),
    };
    sum(source, data, jobs)
}

/// The digest of a directory, as it would be of the streams that made it. Directories in which
/// another subvolume or filesystem is are left out.
///
/// # Errors
/// [`PathError::Directory`].
pub fn directory_digest(directory: &Path, jobs: NonZeroUsize) -> Result<TreeDigest, PathError> {
    let mut walk =
        DirectoryWalk::new(directory).map_err(|error| PathError::directory(b"", error))?;
    let mut numbers = Numbers::default();
    let source = || {
        let found = walk.next();
        let found = found.map_err(|(path, error)| PathError::directory(&path, error))?;
        Ok(found.map(|found| of_found(found, &mut numbers)))
    };
    let none: [&[u8]; 0] = [];
    sum(source, &Data::of_nothing(&none), jobs)
}

/// Numbers of records, and which file has which.
#[derive(Default)]
struct Numbers {
    next: u64,
    first: HashMap<u64, u64>,
}

impl Numbers {
    /// The record of the first name of an inode that has several; `None` for the first itself.
    fn first(&mut self, inode: u64, has_several: bool) -> Option<u64> {
        let number = self.next;
        self.next = number.saturating_add(1);
        if !has_several {
            return None;
        }
        let first = *self.first.entry(inode).or_insert(number);
        (first != number).then_some(first)
    }
}

pub(super) fn next_visit<'a>(walk: &mut Walk<'a>) -> Result<Option<Visit<'a>>, TreeError> {
    loop {
        match walk.next()? {
            Some(Step::Enter(visit)) => return Ok(Some(visit)),
            Some(Step::Leave(_)) => {}
            None => return Ok(None),
        }
    }
}

fn of_visit(path: &[u8], visit: &Visit<'_>, tree: &Tree, numbers: &mut Numbers) -> Record {
    let inode = visit.inode;
    let several = inode.links() > 1 && !inode.is_directory();
    let xattrs = inode.xattrs();
    Record {
        path: path.to_vec(),
        name: visit.name.to_vec(),
        kind: inode.kind().clone(),
        mode: inode.mode(),
        uid: inode.uid(),
        gid: inode.gid(),
        mtime: inode.times().mtime,
        xattrs: xattrs
            .map(|(name, value)| (name.to_vec(), value.to_vec()))
            .collect(),
        size: inode.size(),
        entries: match inode.kind() {
            Kind::Directory => u64_of(tree.children(visit.id).count()),
            _ => 0,
        },
        first: numbers.first(visit.id.into(), several),
        content: match inode.kind() {
            Kind::File => Unread::Inode(Arc::clone(inode)),
            _ => Unread::None,
        },
    }
}

fn of_found(found: Found, numbers: &mut Numbers) -> Record {
    let several = found.links > 1 && found.kind != Kind::Directory;
    Record {
        first: numbers.first(found.inode, several),
        path: found.path,
        name: found.name,
        kind: found.kind,
        mode: found.mode,
        uid: found.uid,
        gid: found.gid,
        mtime: found.mtime,
        xattrs: found.xattrs.into_iter().collect(),
        size: found.size,
        entries: found.entries,
        content: found.file.map_or(Unread::None, Unread::File),
    }
}

fn sum<R: ReadAt + Sync>(
    source: impl FnMut() -> Result<Option<Record>, PathError> + Send,
    data: &Data<'_, R>,
    jobs: NonZeroUsize,
) -> Result<TreeDigest, PathError> {
    let mut tree = digest::Tree::new();
    pipeline::ordered(
        jobs,
        source,
        || {
            let mut data = data.clone();
            Ok(move |record: Record| {
                let content = content_of(&record, &mut data);
                (record, content)
            })
        },
        |(record, content)| {
            add(&mut tree, &record, content?);
            Ok(())
        },
    )?;
    Ok(tree.finish())
}

/// The digest of the content of a file, and any for what is none.
fn content_of<R: ReadAt>(
    record: &Record,
    data: &mut Data<'_, R>,
) -> Result<ContentDigest, PathError> {
    match &record.content {
        _ if record.first.is_some() => Ok(ContentDigest([0; 32])),
        Unread::None => Ok(ContentDigest([0; 32])),
        Unread::Inode(inode) => {
            let digest = content::of_inode(inode, data);
            digest.map_err(|error| PathError::data(&record.path, error))
        }
        Unread::File(fd) => {
            let digest = content::of_file(fd.as_fd(), record.size);
            digest.map_err(|error| PathError::directory(&record.path, error))
        }
    }
}

fn add(tree: &mut digest::Tree, record: &Record, content: ContentDigest) {
    let xattrs = record
        .xattrs
        .iter()
        .map(|(name, value)| (&name[..], &value[..]));
    let xattrs: Vec<(&[u8], &[u8])> = xattrs.collect();
    let attributes = Attributes {
        mode: record.mode,
        uid: record.uid,
        gid: record.gid,
        mtime: record.mtime,
        xattrs: &xattrs,
    };
    let what = match (&record.kind, record.first) {
        (_, Some(first)) => What::HardLink { first },
        (Kind::Directory, _) => What::Directory {
            entries: record.entries,
        },
        (Kind::File, _) => What::File {
            size: record.size,
            content,
        },
        (Kind::Symlink { target }, _) => What::Symlink { target },
        (&Kind::CharDevice { major, minor }, _) => What::CharDevice { major, minor },
        (&Kind::BlockDevice { major, minor }, _) => What::BlockDevice { major, minor },
        (Kind::Fifo, _) => What::Fifo,
        (Kind::Socket, _) => What::Socket,
    };
    tree.add(&record.name, &attributes, &what);
}
