//! The stream, in order: commands as they come, data as extents, plain, or as clones.

use std::io::Write;

use bytes::Bytes;

use super::dedupe::{Known, Place};
use super::error::PackError;
use super::parent::Change;
use super::record::FileContent;
use super::work::{Digest, Done, Piece, Step};
use crate::extent::Content;
use crate::rules::sums::add;
use crate::send_stream::{Attribute, Command, Uuid, Version, Writer, command};
use crate::tree::digest::{Content as ContentHasher, TreeDigest};

/// Transaction that the stream names for its subvolume: the first there can be.
pub(super) const CTRANSID: u64 = 1;

/// Bytes that one `CLONE` has at the most, as no extent that Linux clones has more
/// (`BTRFS_MAX_EXTENT_SIZE`, fs/btrfs/fs.h).
pub(super) const LONGEST_CLONE: u64 = 128 << 20;

/// Sums of what was packed. Lengths are bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Summary {
    /// The UUID that the stream names.
    #[cfg_attr(feature = "serde", serde(skip))]
    pub uuid: Uuid,
    /// The digest of the tree (docs/digest.md): the same for every stream with this tree in it, and
    /// for a directory that has it.
    #[cfg_attr(feature = "serde", serde(serialize_with = "in_digits"))]
    pub digest: TreeDigest,
    /// Directories, without the top one.
    pub directories: u64,
    /// Files, each once.
    pub files: u64,
    /// Symbolic links.
    pub symlinks: u64,
    /// Names of files beyond the first.
    pub hard_links: u64,
    /// Devices, pipes and sockets.
    pub special: u64,
    /// Directories that nobody has added and something is in.
    pub implied_directories: u64,
    /// Names that came again, and whose first owner has gone.
    pub replaced: u64,
    /// Extended attributes that btrfs has not.
    pub xattrs_left_out: u64,
    /// What became of data.
    #[cfg_attr(feature = "serde", serde(flatten))]
    pub data: Sums,
    /// Of an increment: what it changes.
    #[cfg_attr(feature = "serde", serde(flatten))]
    pub changes: Option<Changes>,
    /// The stream.
    pub stream_bytes: u64,
}

/// What became of data. Lengths are bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Sums {
    /// Sizes of files.
    pub data_bytes: u64,
    /// Of them, what is in holes.
    pub hole_bytes: u64,
    /// Of them, what is cloned, as the stream has it elsewhere.
    pub cloned_bytes: u64,
    /// Extents.
    pub encoded: u64,
    /// What they decode to.
    pub encoded_bytes: u64,
    /// Their payloads.
    pub payload_bytes: u64,
    /// What is written plain.
    pub plain_bytes: u64,
}

/// What an increment changes. Each name of the new tree is counted once, and those that have gone.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Changes {
    /// Names of which nothing has changed.
    pub unchanged: u64,
    /// Names whose files have other content, metadata or entries, or are others.
    pub changed: u64,
    /// Names that were not there.
    pub new: u64,
    /// Names that are no longer there.
    pub deleted: u64,
    /// Names of what had another one. What is in a directory that has been renamed is not counted
    /// here.
    pub renamed: u64,
    /// Bytes of files that stay as they are.
    pub unchanged_bytes: u64,
}

/// What goes on the stream.
#[derive(Debug)]
pub(super) struct Sink<W> {
    pub(super) writer: Writer<W>,
    pub(super) uuid: Uuid,
    /// Offsets of the commands that name the UUID, where it is not known yet.
    pub(super) places: Option<Vec<u64>>,
    pub(super) known: Known,
    pub(super) sums: Sums,
    /// Of the files, in the order in which they came.
    pub(super) contents: Vec<FileContent>,
    /// Of the present file.
    content: ContentHasher,
    /// A clone that may become longer.
    pending: Option<command::Clone>,
    /// Where the last data of the present file ends, bytes.
    end_of_data: u64,
    /// An increment.
    pub(super) change: Option<Change>,
    /// The end has come.
    pub(super) complete: bool,
}

impl Sums {
    /// What is in no form in the stream is in holes.
    pub(super) fn with_holes(mut self, unchanged: u64) -> Self {
        let told = [self.encoded_bytes, self.plain_bytes, self.cloned_bytes];
        self.hole_bytes = told
            .into_iter()
            .chain([unchanged])
            .fold(self.data_bytes, u64::saturating_sub);
        self
    }
}

impl<W: Write> Sink<W> {
    pub(super) fn new(writer: Writer<W>, uuid: Option<Uuid>) -> Self {
        Self {
            writer,
            uuid: uuid.unwrap_or_default(),
            places: uuid.is_none().then(Vec::new),
            known: Known::default(),
            sums: Sums::default(),
            contents: Vec::new(),
            content: ContentHasher::new(),
            pending: None,
            end_of_data: 0,
            change: None,
            complete: false,
        }
    }

    /// Begins the subvolume.
    pub(super) fn begin(&mut self, subvolume: Bytes) -> Result<(), PackError> {
        let (path, uuid, ctransid) = (subvolume, self.uuid, CTRANSID);
        let begin: Command = match &self.change {
            None => command::Subvol {
                path,
                uuid,
                ctransid,
            }
            .into(),
            Some(parent) => command::Snapshot {
                path,
                uuid,
                ctransid,
                clone_uuid: parent.uuid,
                clone_ctransid: parent.ctransid,
            }
            .into(),
        };
        self.command(&begin)
    }

    /// What a thread has made.
    pub(super) fn take(&mut self, done: Vec<Done>) -> Result<(), PackError> {
        done.into_iter().try_for_each(|done| match done {
            Done::Data(made) => {
                self.hash(made.piece.offset, &made.digest);
                match self.change {
                    None => self.piece(made.piece),
                    Some(_) => self.new_piece(made.piece),
                }
            }
            Done::Compared {
                offset,
                digest,
                parts,
            } => {
                self.hash(offset, &digest);
                self.compared(parts)
            }
            Done::Step(Step::Begin(begin)) => self.begin_file(begin),
            Done::Step(Step::Command(command)) => self.command(&command),
            Done::Step(Step::EndOfFile { path, size }) => self.end_of_file(path, size),
            Done::Step(Step::Forget) => {
                self.known.forget();
                Ok(())
            }
            Done::Step(Step::End) => {
                self.complete = true;
                self.end_clone()
            }
            // Workers leave none.
            Done::Step(Step::Data(_) | Step::Hole { .. }) => Ok(()),
        })
    }

    pub(super) fn command(&mut self, command: &Command) -> Result<(), PackError> {
        self.end_clone()?;
        self.put(command)
    }

    /// Writes a command, and remembers where where it names the UUID.
    fn put(&mut self, command: &Command) -> Result<(), PackError> {
        let names_uuid = match command {
            Command::Subvol(_) | Command::Snapshot(_) => true,
            Command::Clone(clone) => clone.clone_uuid == self.uuid,
            _ => false,
        };
        if let Some(places) = self.places.as_mut().filter(|_| names_uuid) {
            places.push(self.writer.position());
        }
        if let Command::Utimes(times) = command
            && self.writer.version() < Attribute::Otime.since()
        {
            let otime = None;
            let times = command::Utimes {
                otime,
                ..times.clone()
            };
            return Ok(self.writer.write_command(&times)?);
        }
        Ok(self.writer.write_command(command)?)
    }

    /// What data at an offset of the present file, bytes, does to the digest of its content.
    pub(super) fn hash(&mut self, offset: u64, digest: &Digest) {
        match digest {
            Digest::Piece(Some(digest)) => self.content.piece(offset, *digest),
            Digest::Piece(None) => {}
            Digest::Part(data) => self.content.update(offset, data),
        }
    }

    pub(super) fn piece(&mut self, piece: Piece) -> Result<(), PackError> {
        if piece.content == Content::Hole {
            return Ok(());
        }
        self.end_of_data = piece.offset.saturating_add(piece.len);
        if let Some(place) = self.known.place(&piece) {
            add(&mut self.sums.cloned_bytes, piece.len);
            return self.clone(&piece.path, piece.offset, piece.len, place);
        }
        self.end_clone()?;
        let sums = &mut self.sums;
        match piece.content {
            Content::Encoded(extent) => {
                add(&mut sums.encoded, 1);
                add(&mut sums.encoded_bytes, piece.len);
                add(
                    &mut sums.payload_bytes,
                    u64::try_from(extent.payload().len()).unwrap_or(u64::MAX),
                );
                self.writer
                    .write_encoded(&piece.path, piece.offset, &extent)?;
            }
            Content::Plain(data) => {
                add(&mut sums.plain_bytes, piece.len);
                self.writer.write_data(&piece.path, piece.offset, &data)?;
            }
            Content::Hole => {}
        }
        Ok(())
    }

    /// Clones a piece, together with what came before where that is cloned from before there.
    pub(super) fn clone(
        &mut self,
        path: &Bytes,
        offset: u64,
        len: u64,
        from: Place,
    ) -> Result<(), PackError> {
        let (clone_uuid, clone_ctransid) = match &self.change {
            Some(parent) if from.of_parent => (parent.uuid, parent.ctransid),
            _ => (self.uuid, CTRANSID),
        };
        if let Some(clone) = &mut self.pending {
            let end = |offset: u64| offset.checked_add(clone.clone_len);
            if clone.path == *path
                && clone.clone_path == from.path
                && clone.clone_uuid == clone_uuid
                && end(clone.file_offset) == Some(offset)
                && end(clone.clone_offset) == Some(from.offset)
                && clone.clone_len.saturating_add(len) <= LONGEST_CLONE
            {
                clone.clone_len = clone.clone_len.saturating_add(len);
                return Ok(());
            }
        }
        self.end_clone()?;
        self.pending = Some(command::Clone {
            file_offset: offset,
            clone_len: len,
            path: path.clone(),
            clone_uuid,
            clone_ctransid,
            clone_path: from.path,
            clone_offset: from.offset,
        });
        Ok(())
    }

    pub(super) fn end_clone(&mut self) -> Result<(), PackError> {
        match self.pending.take() {
            Some(clone) => self.put(&clone.into()),
            None => Ok(()),
        }
    }

    /// A file is as long as its last data unless it is said to be longer.
    fn end_of_file(&mut self, path: Bytes, size: u64) -> Result<(), PackError> {
        self.end_clone()?;
        let content = std::mem::take(&mut self.content);
        self.contents.push(FileContent {
            size,
            digest: content.finish(),
        });
        add(&mut self.sums.data_bytes, size);
        if self.change.is_some() {
            return self.end_changed_file(size);
        }
        if self.end_of_data != size {
            self.writer
                .write_command(&command::Truncate { path, size })?;
        }
        self.end_of_data = 0;
        Ok(())
    }
}

/// The version that holds what is asked for.
pub(super) fn version(plain: bool) -> Version {
    if plain { Version::V1 } else { Version::V2 }
}

#[cfg(feature = "serde")]
fn in_digits<S: serde::Serializer>(digest: &TreeDigest, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(digest)
}
