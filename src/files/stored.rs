//! Reads an extent as it is stored, through whatever file shows it.
//!
//! Encoded reads want a file, and files change. So what was read counts only where the file still
//! shows the extent after it; else another file is looked for.

use std::fs::File;
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::error::FilesError;
use super::item::FileExtentItem;
use super::map::{Extent, Map};
use super::references::{Reference, References};
use crate::MAX_EXTENT;
use crate::ioctl::{self, Items, Key, QueryError, ReadError};
use crate::rules::ExtentFields;
use crate::rules::limits::u64_of;
use crate::validate::{Finding, Severity};

/// Extents with more bytes on disk are not read: eight times what there can be. A program that
/// knows nothing of the limit may have made them.
const LONGEST: usize = 8 * MAX_EXTENT;
/// Files that are tried before an extent counts as gone.
const PATIENCE: usize = 1000;

/// What is stored of a compressed extent.
pub(super) enum Bytes<'a> {
    /// Its payload, with the zeroes that fill its last sector, what the kernel says of it, and
    /// whether the file that shows it keeps checksums.
    Payload(&'a [u8], ExtentFields, bool),
    /// The kernel does not hand it out.
    Unreadable(Finding),
}

/// A place where a file shows an extent: subvolume, inode, offset.
type Place = (u64, u64, u64);

/// Reads extents; keeps a buffer and the last file.
pub(super) struct ExtentReader<'a> {
    references: References<BorrowedFd<'a>>,
    items: Items<BorrowedFd<'a>>,
    files: Opener<'a>,
    /// The file that was asked last whether it is NODATASUM.
    last_asked: Option<((u64, u64), Option<bool>)>,
    buffer: Vec<u8>,
}

/// Opens files; keeps the last one, as neighbours are often of one file.
struct Opener<'a> {
    top: &'a File,
    last: Option<((u64, u64), OwnedFd)>,
}

impl Opener<'_> {
    fn open(&mut self, root: u64, inode: u64) -> Result<&OwnedFd, QueryError> {
        let last = self.last.take().filter(|(of, _)| *of == (root, inode));
        let file = match last {
            Some((_, file)) => file,
            None => ioctl::open_inode(self.top, root, inode, None)?,
        };
        Ok(&self.last.insert(((root, inode), file)).1)
    }
}

/// What came of reading through one file.
enum Tried {
    /// So many bytes of the buffer, through this file.
    Read(usize, ExtentFields, (u64, u64)),
    Unreadable(Finding),
    /// It does not show the extent (any more).
    Elsewhere,
}

impl<'a> ExtentReader<'a> {
    pub(super) fn new(map: &'a Map) -> Self {
        let none = Key::first_of(0)..=Key::first_of(0);
        let top = map.top();
        Self {
            references: References::new(top.as_fd()),
            items: ioctl::items(top.as_fd(), 0, none).buffer_of(0),
            files: Opener { top, last: None },
            last_asked: None,
            buffer: vec![0; MAX_EXTENT],
        }
    }

    /// Reads a compressed extent; `None` where nobody shows it any more.
    pub(super) fn read(&mut self, extent: &Extent) -> Result<Option<Bytes<'_>>, FilesError> {
        let longest = u64_of(LONGEST);
        if extent.disk_bytes > longest {
            let message = format!(
                "the extent has {} bytes on disk, more than {MAX_EXTENT}: it is not read",
                extent.disk_bytes
            );
            let finding = Finding::new("payload-too-long", Severity::Error, message);
            return Ok(Some(Bytes::Unreadable(finding)));
        }
        let len = usize::try_from(extent.disk_bytes).unwrap_or(LONGEST);
        if len > self.buffer.len() {
            self.buffer.resize(len, 0);
        }
        let first = (extent.root, extent.inode, extent.offset);
        let mut tried = self.try_at(extent, first)?;
        if matches!(tried, Tried::Elsewhere) {
            let found = self.references.of(extent.bytenr)?;
            for place in found.references.iter().take(PATIENCE) {
                tried = self.try_at(extent, (place.root, place.inode, place.offset))?;
                if !matches!(tried, Tried::Elsewhere) {
                    break;
                }
            }
        }
        Ok(match tried {
            Tried::Read(len, fields, file) => {
                let has_checksums = self.is_nodatasum(file)? != Some(true);
                let payload = self.buffer.get(..len).unwrap_or_default();
                Some(Bytes::Payload(payload, fields, has_checksums))
            }
            Tried::Unreadable(finding) => Some(Bytes::Unreadable(finding)),
            Tried::Elsewhere => None,
        })
    }

    /// Every place that shows an extent, where all of them are known and have checksums, so that
    /// compressed extents may take its place; `None` elsewhere.
    pub(super) fn movable(
        &mut self,
        extent: &Extent,
    ) -> Result<Option<Vec<Reference>>, FilesError> {
        let found = self.references.of(extent.bytenr)?;
        if found.truncated || found.references.is_empty() {
            return Ok(None);
        }
        let mut last = None;
        for reference in &found.references {
            let file = (reference.root, reference.inode);
            if last != Some(file) && self.is_nodatasum(file)? != Some(false) {
                return Ok(None);
            }
            last = Some(file);
        }
        Ok(Some(found.references))
    }

    /// Whether a file is NODATASUM: of files with NODATACOW all are. `None` where it is not there.
    fn is_nodatasum(&mut self, file: (u64, u64)) -> Result<Option<bool>, QueryError> {
        /// `flags` in `struct btrfs_inode_item`.
        const FLAGS_AT: usize = 64;
        const NODATASUM: u64 = 1;
        if let Some((_, is_nodatasum)) = self.last_asked.filter(|(last, _)| *last == file) {
            return Ok(is_nodatasum);
        }
        let (root, inode) = file;
        let key = Key {
            objectid: inode,
            item_type: Key::INODE_ITEM,
            offset: 0,
        };
        self.items.restart(root, key..=key);
        let item = match self.items.next_item() {
            Err(QueryError::Gone { .. }) => None,
            item => item?,
        };
        let flags = item.and_then(|item| item.bytes.get(FLAGS_AT..)?.first_chunk().copied());
        let is_nodatasum = flags.map(|flags| u64::from_le_bytes(flags) & NODATASUM != 0);
        self.last_asked = Some((file, is_nodatasum));
        Ok(is_nodatasum)
    }

    /// The bytes of a plain extent in a range of at most 128 KiB, as far as the files go on there;
    /// `None` where none can be had (any more).
    pub(super) fn read_plain(
        &mut self,
        extent: &Extent,
        references: &[Reference],
        range: &Range<u64>,
    ) -> Result<Option<Vec<u8>>, FilesError> {
        let mut data = Vec::new();
        let mut at = range.start;
        while at < range.end {
            let shows = |it: &&Reference| {
                let inside = at.checked_sub(it.extent_offset);
                inside.is_some_and(|inside| inside < it.len)
            };
            let mut read = 0;
            for reference in references.iter().filter(shows).take(PATIENCE) {
                let inside = at.saturating_sub(reference.extent_offset);
                let len = reference.len.saturating_sub(inside);
                let len = len.min(range.end.saturating_sub(at));
                read = self.read_plain_at(extent, reference, inside, len)?;
                if read > 0 {
                    break;
                }
            }
            if read == 0 {
                break;
            }
            at = at.saturating_add(u64_of(read));
            data.extend_from_slice(self.buffer.get(..read).unwrap_or_default());
        }
        Ok((!data.is_empty()).then_some(data))
    }

    /// Reads so many bytes into the buffer through one reference, or fewer; 0 where it has none of
    /// them any more.
    fn read_plain_at(
        &mut self,
        extent: &Extent,
        reference: &Reference,
        inside: u64,
        len: u64,
    ) -> Result<usize, FilesError> {
        let &Reference {
            root,
            inode,
            offset,
            ..
        } = reference;
        let file = match self.files.open(root, inode) {
            Ok(file) => file,
            Err(QueryError::Gone { .. } | QueryError::Call { .. }) => return Ok(0),
            Err(error) => return Err(error.into()),
        };
        let len = usize::try_from(len).unwrap_or(MAX_EXTENT);
        let room = self.buffer.get_mut(..len).unwrap_or_default();
        let read = ioctl::encoded_read(file, offset.saturating_add(inside), room);
        if !self.shows((root, inode, offset), extent)? {
            return Ok(0);
        }
        Ok(match read {
            Ok(Some(read)) if read.is_plain() => read.payload_len,
            _ => 0,
        })
    }

    fn try_at(&mut self, extent: &Extent, place: Place) -> Result<Tried, FilesError> {
        let (root, inode, offset) = place;
        let file = match self.files.open(root, inode) {
            Ok(file) => file,
            Err(QueryError::Gone { .. }) => return Ok(Tried::Elsewhere),
            Err(error @ QueryError::Call { .. }) => {
                return Ok(Tried::Unreadable(unreadable(&error)));
            }
            Err(error) => return Err(error.into()),
        };
        let read = ioctl::encoded_read(file, offset, &mut self.buffer);
        if !self.shows(place, extent)? {
            return Ok(Tried::Elsewhere);
        }
        match read {
            Ok(Some(read)) if !read.is_plain() => {
                Ok(Tried::Read(read.payload_len, read.fields, (root, inode)))
            }
            // After the end of the file.
            Ok(_) => Ok(Tried::Elsewhere),
            Err(
                error @ (ReadError::NotPermitted
                | ReadError::NotReadable
                | ReadError::NotBtrfs
                | ReadError::Unsupported
                | ReadError::NoMemory),
            ) => Err(error.into()),
            Err(error) => Ok(Tried::Unreadable(unreadable(&error))),
        }
    }

    /// True where a file shows the extent there.
    fn shows(&mut self, (root, inode, offset): Place, extent: &Extent) -> Result<bool, QueryError> {
        let key = Key {
            objectid: inode,
            item_type: Key::EXTENT_DATA,
            offset,
        };
        self.items.restart(root, key..=key);
        match self.items.next_item() {
            Ok(item) => {
                let item = item.and_then(|item| FileExtentItem::parse(item.bytes));
                Ok(item.is_some_and(|item| item.bytenr == extent.bytenr))
            }
            Err(QueryError::Gone { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// An extent that the kernel does not hand out.
fn unreadable(error: &dyn std::error::Error) -> Finding {
    let message = format!("the extent is not judged: {error}");
    Finding::new("unreadable-extent", Severity::Error, message)
}
