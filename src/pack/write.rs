//! The stream, in order: commands as they come, data as extents, plain, or as clones.

use std::io::Write;

use bytes::Bytes;

use super::dedupe::{Known, Place};
use super::error::PackError;
use super::record::FileContent;
use super::work::{Digest, Done, Made, Step};
use crate::extent::Content;
use crate::rules::sums::add;
use crate::send_stream::{Attribute, Command, Uuid, Version, Writer, command};
use crate::tree::digest::{Content as ContentHasher, TreeDigest};

/// Transaction that the stream names for its subvolume: the first there can be.
pub(super) const CTRANSID: u64 = 1;

/// Bytes that one `CLONE` has at the most, as no extent that Linux clones has more
/// (`BTRFS_MAX_EXTENT_SIZE`, fs/btrfs/fs.h).
const LONGEST_CLONE: u64 = 128 << 20;

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
    /// The end has come.
    pub(super) complete: bool,
}

impl Sums {
    /// What is in no form in the stream is in holes.
    pub(super) fn with_holes(mut self) -> Self {
        self.hole_bytes = [self.encoded_bytes, self.plain_bytes, self.cloned_bytes]
            .into_iter()
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
            complete: false,
        }
    }

    /// Begins the subvolume.
    pub(super) fn begin(&mut self, subvolume: Bytes) -> Result<(), PackError> {
        let begin = Command::from(command::Subvol {
            path: subvolume,
            uuid: self.uuid,
            ctransid: CTRANSID,
        });
        self.command(&begin)
    }

    /// What a thread has made.
    pub(super) fn take(&mut self, done: Vec<Done>) -> Result<(), PackError> {
        done.into_iter().try_for_each(|done| match done {
            Done::Data(made) => self.data(made),
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
            Done::Step(Step::Data(_)) => Ok(()),
        })
    }

    fn command(&mut self, command: &Command) -> Result<(), PackError> {
        self.end_clone()?;
        self.put(command)
    }

    /// Writes a command, and remembers where where it names the UUID.
    fn put(&mut self, command: &Command) -> Result<(), PackError> {
        let names_uuid = matches!(command, Command::Subvol(_) | Command::Clone(_));
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

    fn data(&mut self, made: Made) -> Result<(), PackError> {
        match &made.digest {
            Digest::Piece(Some(digest)) => self.content.piece(made.offset, *digest),
            Digest::Piece(None) => {}
            Digest::Part(data) => self.content.update(made.offset, data),
        }
        if made.content == Content::Hole {
            return Ok(());
        }
        self.end_of_data = made.offset.saturating_add(made.len);
        if let Some(place) = self.known.place(&made) {
            add(&mut self.sums.cloned_bytes, made.len);
            return self.clone(&made, place);
        }
        self.end_clone()?;
        let sums = &mut self.sums;
        match made.content {
            Content::Encoded(extent) => {
                add(&mut sums.encoded, 1);
                add(&mut sums.encoded_bytes, made.len);
                add(
                    &mut sums.payload_bytes,
                    u64::try_from(extent.payload().len()).unwrap_or(u64::MAX),
                );
                self.writer
                    .write_encoded(&made.path, made.offset, &extent)?;
            }
            Content::Plain(data) => {
                add(&mut sums.plain_bytes, made.len);
                self.writer.write_data(&made.path, made.offset, &data)?;
            }
            Content::Hole => {}
        }
        Ok(())
    }

    /// Clones a piece, together with what came before where that is cloned from before there.
    fn clone(&mut self, made: &Made, from: Place) -> Result<(), PackError> {
        if let Some(clone) = &mut self.pending {
            let end = |offset: u64| offset.checked_add(clone.clone_len);
            if clone.path == made.path
                && clone.clone_path == from.path
                && end(clone.file_offset) == Some(made.offset)
                && end(clone.clone_offset) == Some(from.offset)
                && clone.clone_len.saturating_add(made.len) <= LONGEST_CLONE
            {
                clone.clone_len = clone.clone_len.saturating_add(made.len);
                return Ok(());
            }
        }
        self.end_clone()?;
        self.pending = Some(command::Clone {
            file_offset: made.offset,
            clone_len: made.len,
            path: made.path.clone(),
            clone_uuid: self.uuid,
            clone_ctransid: CTRANSID,
            clone_path: from.path,
            clone_offset: from.offset,
        });
        Ok(())
    }

    fn end_clone(&mut self) -> Result<(), PackError> {
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
