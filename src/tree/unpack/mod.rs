//! Unpacking: a tree becomes files in a directory, on any filesystem.
//!
//! Nothing is written outside the directory, and nothing through a symbolic link:
//! [`Beneath`](crate::files::Beneath) opens every path. First everything is made, with its data; what is
//! about directories, and what would stand in the way, comes last.
//!
//! Making a small file takes the kernel longer than writing its data, so all threads make files. A
//! directory is made before anybody gets a step inside it; what needs other files to be there (a
//! further name, shared data) and files longer than a batch wait until everything before them is done.
//!
//! | file | what it does |
//! | --- | --- |
//! | `plan` | what is to be made, in which order, and what is shared |
//! | `destination` | the directory, as all threads know it |
//! | `write` | makes it |
//! | `attributes` | owners, modes, times, extended attributes, flags |
//! | `finish` | what comes last |
//! | `error` | [`UnpackError`] |

mod attributes;
mod destination;
mod error;
mod finish;
mod plan;
mod write;

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io;
use std::num::NonZeroUsize;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

pub use error::UnpackError;
use rustix::process::{Resource, getrlimit};

use self::destination::Destination;
use self::write::Writer;
use super::names::Tree;
use super::read::{Data, ReadAt};
use crate::files::Beneath;
use crate::ioctl::{self, EncodedIo, Probe};
use crate::pipeline;
use crate::rules::sums::add;

/// What becomes of the flags of inodes (`FILEATTR`), which `btrfs receive` drops.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Flags {
    /// They are set where the filesystem has them: NOCOW before there is data, immutable at last.
    Apply,
    /// They become an extended attribute, [`FLAGS_XATTR`], with the number as text.
    Xattr,
    /// They are dropped.
    #[default]
    Drop,
}

/// The extended attribute of [`Flags::Xattr`].
pub const FLAGS_XATTR: &str = "user.btrfs.flags";

/// How to unpack.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct UnpackOptions {
    /// Owners and groups are set. Without privilege only one's own can be.
    pub same_owner: bool,
    /// What becomes of the flags of inodes.
    pub flags: Flags,
    /// Waits until everything is on the disk.
    pub sync: bool,
    /// The directory may have something in it, which is replaced where it has the same path.
    pub force: bool,
}

impl Default for UnpackOptions {
    fn default() -> Self {
        Self {
            same_owner: rustix::process::geteuid().is_root(),
            flags: Flags::default(),
            sync: true,
            force: false,
        }
    }
}

/// What could not be kept, as the process may not set it or the filesystem does not have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum LeftOut {
    /// Owner or group.
    Owner,
    /// Set-user-ID or set-group-ID, as the owner is another one.
    SetId,
    /// A device node: it is not there.
    Device,
    /// An extended attribute.
    Xattr,
    /// Flags of an inode.
    Flags,
    /// Permissions.
    Mode,
    /// Times, of a directory that was there and belongs to somebody else.
    Time,
}

impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Owner => "owner",
            Self::SetId => "set-id bit",
            Self::Device => "device node",
            Self::Xattr => "extended attribute",
            Self::Flags => "file attribute",
            Self::Mode => "mode",
            Self::Time => "time",
        })
    }
}

/// What was unpacked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct UnpackSummary {
    /// Directories, without the one that everything is in.
    pub directories: u64,
    /// Regular files, each once.
    pub files: u64,
    /// Further names of files.
    pub links: u64,
    /// Symbolic links.
    pub symlinks: u64,
    /// Devices, pipes, sockets.
    pub specials: u64,
    /// Bytes of data, without holes.
    pub data: u64,
    /// Those of them that are shared with what was there already.
    pub shared: u64,
    /// Those of them that were written encoded.
    pub encoded: u64,
    /// What was left out, and how many times.
    pub left_out: BTreeMap<LeftOut, u64>,
}

impl UnpackSummary {
    fn add(&mut self, other: &Self) {
        let Self {
            directories,
            files,
            links,
            symlinks,
            specials,
            data,
            shared,
            encoded,
            left_out,
        } = self;
        for (sum, more) in [
            (directories, other.directories),
            (files, other.files),
            (links, other.links),
            (symlinks, other.symlinks),
            (specials, other.specials),
            (data, other.data),
            (shared, other.shared),
            (encoded, other.encoded),
        ] {
            add(sum, more);
        }
        for (what, more) in &other.left_out {
            add(left_out.entry(*what).or_default(), *more);
        }
    }
}

/// Unpacks what is at some paths of a tree, with the directories they are in; all of it where no
/// path is named. The directory is made where nothing is.
///
/// On btrfs, with `CAP_SYS_ADMIN`, extents are written encoded as they are. `progress` is told of
/// data that is written, bytes.
///
/// # Errors
/// [`UnpackError`] with the path. What was unpacked until then stays.
pub fn unpack<R: ReadAt + Sync>(
    tree: &Tree,
    data: &Data<'_, R>,
    paths: &[&[u8]],
    directory: &Path,
    options: &UnpackOptions,
    jobs: NonZeroUsize,
    mut progress: impl FnMut(u64),
) -> Result<UnpackSummary, UnpackError> {
    let selection = plan::Selection::new(tree, paths)?;
    let beneath = prepare(directory, options.force).map_err(UnpackError::Directory)?;
    let probe = ioctl::probe(beneath.top()).ok();
    let encodes = |probe: &Probe| probe.encoded_io == EncodedIo::Supported;
    let target = probe.filter(encodes).map(|probe| probe.target(0));
    let destination = &Destination::new(beneath, options, target);
    let writer = || Writer::new(destination, data.clone());
    let mut plan = plan::Plan::new(&selection, data.clone(), destination)?;
    let (mut directories, mut rest) = (writer(), writer());
    let mut summary = UnpackSummary::default();
    pipeline::ordered(
        within_open_files(jobs),
        || -> Result<_, UnpackError> {
            let mut batch = plan.next()?;
            if let Some(batch) = &mut batch {
                directories.write(batch.take_directories())?;
            }
            Ok(batch)
        },
        || {
            let mut writer = writer();
            Ok(move |batch: plan::Batch| {
                let steps = batch.work(destination.target());
                let rest = writer.write_what_stands_alone(steps)?;
                Ok((rest, writer.take_summary()))
            })
        },
        |made: Result<_, UnpackError>| {
            let (steps, mut made) = made?;
            rest.write(steps)?;
            made.add(&rest.take_summary());
            summary.add(&made);
            progress(made.data);
            Ok(())
        },
    )?;
    summary.add(&directories.take_summary());
    finish::finish(destination, &selection, &mut summary)?;
    Ok(summary)
}

/// As many threads as there are descriptors for: one may have a file open, and a directory.
fn within_open_files(jobs: NonZeroUsize) -> NonZeroUsize {
    let Some(limit) = getrlimit(Resource::Nofile).current else {
        return jobs;
    };
    let open = fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
    // The directories that stay open, and a file that data is shared from.
    let taken = open.saturating_add(Beneath::MOST_OPEN).saturating_add(2);
    let left = usize::try_from(limit)
        .unwrap_or(usize::MAX)
        .saturating_sub(taken);
    NonZeroUsize::new(left / 2).map_or(NonZeroUsize::MIN, |most| most.min(jobs))
}

/// Opens the directory, which has to be empty or not there.
fn prepare(directory: &Path, force: bool) -> io::Result<Beneath> {
    match fs::DirBuilder::new().mode(0o700).create(directory) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    let beneath = Beneath::open(directory)?;
    if !force && fs::read_dir(directory)?.next().is_some() {
        return Err(io::Error::new(
            io::ErrorKind::DirectoryNotEmpty,
            "it is not empty; --force replaces what has the same path",
        ));
    }
    Ok(beneath)
}
