//! What comes last: what is about directories, what keeps files from being changed, and the disk.

use std::os::fd::AsFd;

use rustix::fs::OFlags;

use super::super::inode::{Inode, Kind};
use super::super::walk::{Step, Visit};
use super::UnpackSummary;
use super::attributes::Attributes;
use super::destination::Destination;
use super::error::UnpackError;
use super::plan::Selection;

/// Finishes what was made; counts it in the summary.
pub(super) fn finish(
    destination: &Destination<'_>,
    selection: &Selection<'_>,
    summary: &mut UnpackSummary,
) -> Result<(), UnpackError> {
    for mut walk in selection.walks() {
        while let Some(step) = walk.next()? {
            match step {
                Step::Leave(Visit { inode, .. })
                    if !walk.path().is_empty() || selection.is_all() =>
                {
                    directory(destination, walk.path(), inode, summary)?;
                }
                Step::Enter(Visit { inode, .. })
                    if *inode.kind() == Kind::File
                        && Attributes::locks(destination.options, inode) =>
                {
                    let fd = destination.file(walk.path(), OFlags::RDONLY);
                    let fd = fd.map_err(|error| UnpackError::io("open", walk.path(), error))?;
                    Attributes::new(destination.options, summary).lock(fd.as_fd(), inode);
                }
                _ => {}
            }
        }
    }
    for path in selection.above.iter().rev() {
        if let Some(inode) = selection.tree.at(path) {
            directory(destination, path, inode, summary)?;
        }
    }
    if destination.options.sync {
        sync(destination, selection)?;
    }
    Ok(())
}

fn directory(
    destination: &Destination<'_>,
    path: &[u8],
    inode: &Inode,
    summary: &mut UnpackSummary,
) -> Result<(), UnpackError> {
    let error = |source| UnpackError::io("set the attributes of", path, source);
    let fd = destination.directory(path).map_err(error)?;
    let now = rustix::fs::fstat(&fd).map_err(|errno| error(errno.into()))?;
    let mut attributes = Attributes::new(destination.options, summary);
    attributes.of_file(fd.as_fd(), &now, inode).map_err(error)?;
    attributes.lock(fd.as_fd(), inode);
    Ok(())
}

/// The filesystem as a whole is faster than each file; where that fails, the file is looked for.
fn sync(destination: &Destination<'_>, selection: &Selection<'_>) -> Result<(), UnpackError> {
    let Err(failed) = destination.sync() else {
        return Ok(());
    };
    for mut walk in selection.walks() {
        while let Some(step) = walk.next()? {
            if let Step::Enter(Visit { inode, .. }) = step
                && *inode.kind() == Kind::File
            {
                let synced = destination.file(walk.path(), OFlags::RDONLY | OFlags::NONBLOCK);
                let synced = synced.and_then(|fd| Ok(rustix::fs::fsync(fd)?));
                synced.map_err(|source| UnpackError::io("write", walk.path(), source))?;
            }
        }
    }
    Err(UnpackError::Sync(failed))
}
