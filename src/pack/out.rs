//! Commands on their way to the threads.

use std::io::Write;

use bytes::Bytes;

use super::entry::{Metadata, Times};
use super::error::PackError;
use super::parent::Old;
use super::queue::Queue;
use super::work::Step;
use crate::rules::xattr;
use crate::send_stream::{Command, command};

/// Where commands go, and what is said of every entry.
#[derive(Debug)]
pub(super) struct Out<W> {
    pub(super) queue: Queue<W>,
    /// A file whose content has begun.
    pub(super) unfinished: Option<Bytes>,
    /// The parent of an increment. What is said of names is left for the end then.
    pub(super) old: Option<Old>,
}

impl<W: Write + Send + 'static> Out<W> {
    /// Owner, permissions and extended attributes, in the order in which none undoes another:
    /// a new owner takes capabilities and the set-user-id bit away, permissions change an access
    /// list. Returns the attributes that are for the end.
    pub(super) fn describe(
        &mut self,
        path: &Bytes,
        metadata: &Metadata,
        has_mode: bool,
    ) -> Result<Vec<(Bytes, Bytes)>, PackError> {
        self.command(command::Chown {
            path: path.clone(),
            uid: metadata.uid.into(),
            gid: metadata.gid.into(),
        })?;
        if has_mode {
            self.command(command::Chmod {
                path: path.clone(),
                mode: metadata.mode.into(),
            })?;
        }
        let (late, now): (Vec<_>, Vec<_>) = metadata
            .xattrs
            .iter()
            .cloned()
            .partition(|(name, _)| is_handed_down(name));
        self.xattrs(path, now)?;
        Ok(late)
    }

    pub(super) fn xattrs(
        &mut self,
        path: &Bytes,
        xattrs: Vec<(Bytes, Bytes)>,
    ) -> Result<(), PackError> {
        for (xattr_name, xattr_data) in xattrs {
            self.command(command::SetXattr {
                path: path.clone(),
                xattr_name,
                xattr_data,
            })?;
        }
        Ok(())
    }

    pub(super) fn utimes(&mut self, path: Bytes, times: Times) -> Result<(), PackError> {
        self.command(command::Utimes {
            path,
            atime: times.atime,
            mtime: times.mtime,
            ctime: times.ctime,
            otime: Some(times.otime),
        })
    }

    pub(super) fn command(&mut self, command: impl Into<Command>) -> Result<(), PackError> {
        if self.old.is_some() {
            return Ok(());
        }
        let command = command.into();
        let weight = match &command {
            Command::SetXattr(set) => set.xattr_data.len(),
            Command::Symlink(link) => link.path_link.len(),
            _ => 0,
        };
        self.queue.push(Step::Command(command), weight)
    }

    pub(super) fn step(&mut self, step: Step, weight: usize) -> Result<(), PackError> {
        self.queue.push(step, weight)
    }
}

/// Attributes of a directory that whatever is made in it gets too: they are for the end.
pub(super) fn is_handed_down(name: &[u8]) -> bool {
    matches!(name, xattr::DEFAULT | xattr::COMPRESSION)
}
