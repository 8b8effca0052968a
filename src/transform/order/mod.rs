//! The order of commands: whether a receiver can do what each one says when it comes to it.
//!
//! A full stream starts from nothing, so every path has to be made before it is used. An
//! incremental one starts from its parent. Where the parent is in the same input, or given with
//! `--parent`, its tree is known. Where it is not, any path may be there, except those that the stream
//! itself has made or removed.
//!
//! The judge is `btrfs receive` (btrfs-progs 6.2, cmds/receive.c): what it asks Linux for, and
//! what Linux 6.18 answers.

mod clone;
mod data;
mod names;
mod outcome;
mod paths;
mod subvolumes;
mod xattr;

use bytes::Bytes;

use super::finding::StreamFinding;
use super::tree::{Found, Kind, Node, Tree};
use crate::rules::Target;
use crate::send_stream::{Command, Issue, RawCommand, Uuid, command};
use crate::validate::Severity::{Error, Note, Warning};

pub(super) use clone::misplaced as misplaced_clone;
use outcome::{Outcome, Trouble};
pub(crate) use subvolumes::Subvolumes;

/// Follows the commands of an input.
#[derive(Debug)]
pub(crate) struct Order {
    /// `None` before the first subvolume, and where there are too many names.
    tree: Option<Tree>,
    /// The subvolume being received.
    own: Option<Own>,
    stream: Option<u64>,
    /// A command was lost: what is not known may be there.
    damaged: bool,
    known: Subvolumes,
    max_names: usize,
    /// The filesystem of the receiver.
    target: Target,
    /// The streams are all that the receiver has.
    is_chain: bool,
}

/// The subvolume being received.
#[derive(Debug)]
struct Own {
    uuid: Uuid,
    ctransid: u64,
    name: Bytes,
    /// That data is left out has been said.
    lacks_data: bool,
}

/// What following a command gives.
#[derive(Debug, Default)]
struct Followed {
    /// Size of the file before an encoded write, bytes; the least it can be where it is not
    /// known.
    file_size: u64,
    /// A warning or note.
    remark: Option<Trouble>,
}

impl Order {
    pub(crate) fn new(known: Subvolumes, target: Target, max_names: usize) -> Self {
        Self {
            tree: None,
            own: None,
            stream: None,
            damaged: false,
            known,
            max_names,
            target,
            is_chain: false,
        }
    }

    /// The streams are a whole chain: what is not in them is not there.
    pub(super) fn chain(self, is_chain: bool) -> Self {
        Self { is_chain, ..self }
    }

    /// A command that cannot be read may have made or moved anything.
    pub(super) fn lost(&mut self) {
        if !std::mem::replace(&mut self.damaged, true)
            && let Some(tree) = &mut self.tree
        {
            tree.forget_completeness();
        }
    }

    /// Follows a command; what is wrong with it is added to `findings`. Returns the size the
    /// file has before an encoded write, at least.
    pub(crate) fn follow(
        &mut self,
        raw: &RawCommand,
        command: &Command,
        findings: &mut Vec<StreamFinding>,
    ) -> u64 {
        let mut add = |(code, severity, message): Trouble| {
            findings.push(StreamFinding::of(raw, code, severity, message));
        };
        let starts_subvolume = matches!(command, Command::Subvol(_) | Command::Snapshot(_));
        if self.stream != Some(raw.stream()) {
            // A send that was restarted makes its subvolume once more. Receivers have failed
            // before, and who cuts the beginning off has no other one.
            let without_end = |issue| matches!(issue, Issue::HeaderWithoutEnd { .. });
            if let Some(own) = &self.own
                && (self.damaged || raw.issues().any(without_end))
            {
                self.known.free_name(&own.name);
            }
            self.finish();
            self.stream = Some(raw.stream());
            if !starts_subvolume && !self.damaged {
                add((
                    "no-subvolume",
                    Error,
                    "a stream begins with SUBVOL or SNAPSHOT".to_owned(),
                ));
            }
        }
        let name_len = self.own.as_ref().map_or(0, |own| own.name.len());
        if starts_subvolume {
            self.start(command).into_iter().for_each(add);
            return 0;
        }
        if let Some(fault) = paths::fault(command, name_len) {
            let is_error = fault.1 == Error;
            add(fault);
            if is_error {
                return 0;
            }
        }
        if !self.has_room() {
            self.tree = None;
            add((
                "order-unchecked",
                Note,
                format!(
                    "more than {} names; paths are not followed from here on",
                    self.max_names
                ),
            ));
        }
        match self.step(command) {
            Ok(followed) => {
                followed.remark.into_iter().for_each(add);
                followed.file_size
            }
            Err(trouble) => {
                add(trouble);
                0
            }
        }
    }

    /// What is known of a file that has been made or touched.
    pub(super) fn node(&self, path: &[u8]) -> Option<Node> {
        let tree = self.tree.as_ref()?;
        match tree.peek(path) {
            Some(Found::Node(id)) => tree.node(id),
            _ => None,
        }
    }

    /// The next input comes: its subvolumes may have the names of those before.
    pub(crate) fn next_input(&mut self) {
        self.finish();
        self.stream = None;
        self.known.free_names();
    }

    /// The subvolumes that are known at the end of the input.
    pub(super) fn into_subvolumes(mut self) -> Subvolumes {
        self.finish();
        self.known
    }

    /// The subvolume is whole: from now on others can be made from it.
    fn finish(&mut self) {
        if let (Some(own), Some(tree)) = (self.own.take(), self.tree.take()) {
            self.known.add(own.uuid, own.ctransid, tree);
        }
    }

    fn start(&mut self, command: &Command) -> Option<Trouble> {
        self.finish();
        // A subvolume of its own begins, whatever happened to the one before.
        self.damaged = false;
        let (path, uuid, ctransid, tree, remark) = match command {
            Command::Subvol(c) => (&c.path, c.uuid, c.ctransid, Tree::new(true), None),
            Command::Snapshot(c) => match self.known.tree(c.clone_uuid) {
                Some(tree) => {
                    let tree = tree.clone();
                    (&c.path, c.uuid, c.ctransid, tree, self.changed_parent(c))
                }
                None => {
                    let (parent, code) = (c.clone_uuid, "parent-missing");
                    let missing = self.known.missing(parent, code, self.is_chain);
                    (&c.path, c.uuid, c.ctransid, Tree::new(false), missing)
                }
            },
            _ => return None,
        };
        let name = Bytes::copy_from_slice(path);
        self.tree = Some(tree);
        self.own = Some(Own {
            uuid,
            ctransid,
            name: name.clone(),
            lacks_data: false,
        });
        paths::subvolume_fault(path)
            .or_else(|| self.known.take_name(name))
            .or(remark)
    }

    /// The parent is not as it was when the increment was made from it.
    fn changed_parent(&self, c: &command::Snapshot) -> Option<Trouble> {
        let got = self.known.ctransid(c.clone_uuid)?;
        if !self.is_chain || got == c.clone_ctransid {
            return None;
        }
        let message = format!(
            "the increment is made from its parent as of transaction {}; the stream of the parent \
             is of {got}",
            c.clone_ctransid
        );
        Some(("parent-changed", Error, message))
    }

    /// Makes sure of the memory that a command may take. Trees of earlier subvolumes go first.
    fn has_room(&mut self) -> bool {
        let Some(tree) = &self.tree else {
            return true;
        };
        let fits = |known: &Subvolumes| known.len().saturating_add(tree.len()) <= self.max_names;
        if !fits(&self.known) {
            self.known.forget(tree.shared_len());
        }
        fits(&self.known)
    }

    fn step(&mut self, command: &Command) -> Outcome<Followed> {
        let (Some(tree), Some(own)) = (&mut self.tree, &mut self.own) else {
            return Ok(Followed::default());
        };
        let damaged = self.damaged;
        let mut remark = None;
        match command {
            Command::MkFile(c) => names::make_file(tree, &c.path, damaged)?,
            Command::MkDir(c) => names::make(tree, &c.path, Kind::Directory, damaged)?,
            Command::MkNod(c) => names::make_node(tree, c, damaged)?,
            Command::MkFifo(c) => names::make(tree, &c.path, Kind::Special, damaged)?,
            Command::MkSock(c) => names::make(tree, &c.path, Kind::Special, damaged)?,
            Command::Symlink(c) => names::make_symlink(tree, c, damaged)?,
            Command::Rename(c) => remark = names::rename(tree, c)?,
            Command::Link(c) => names::link(tree, c, damaged)?,
            Command::Unlink(c) => names::unlink(tree, &c.path)?,
            Command::RmDir(c) => names::rmdir(tree, &c.path)?,
            Command::SetXattr(c) => xattr::set(tree, c, &self.target)?,
            Command::RemoveXattr(c) => xattr::remove(tree, c)?,
            Command::Chmod(c) => names::chmod(tree, &c.path)?,
            Command::Chown(c) => {
                let id = paths::exists(tree, &c.path)?;
                xattr::drop_capability(tree, id);
            }
            Command::Utimes(c) => drop(paths::exists(tree, &c.path)?),
            Command::EnableVerity(c) => drop(paths::file(tree, &c.path)?),
            Command::Truncate(c) => data::truncate(tree, c)?,
            Command::Write(c) => remark = data::write(tree, c)?,
            Command::EncodedWrite(c) => {
                let file_size = data::encoded_write(tree, c)?;
                return Ok(Followed {
                    file_size,
                    remark: None,
                });
            }
            Command::Fallocate(c) => data::fallocate(tree, c)?,
            Command::Clone(c) => {
                let is_chain = self.is_chain;
                remark = clone::clone(tree, c, own.uuid, &mut self.known, &self.target, is_chain)?
            }
            // Receivers do not look at its path even.
            Command::UpdateExtent(c) => {
                if c.size > 0 && !std::mem::replace(&mut own.lacks_data, true) {
                    remark = Some((
                        "data-left-out",
                        Warning,
                        "the stream was sent without data (UPDATE_EXTENT): files of the \
                         subvolume have holes instead, or end early"
                            .to_owned(),
                    ));
                }
            }
            // Receivers skip it.
            Command::Fileattr(_) => {}
            Command::Subvol(_) | Command::Snapshot(_) | Command::End(_) => {}
        }
        Ok(Followed {
            file_size: 0,
            remark,
        })
    }
}
