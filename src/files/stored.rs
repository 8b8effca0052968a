//! Reads an extent as it is stored, through whatever file shows it.
//!
//! Encoded reads want a file, and files change. So what was read counts only where the file still
//! shows the extent after it; else another file is looked for.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::error::FilesError;
use super::item::FileExtentItem;
use super::map::{Extent, Map};
use super::references::References;
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
    /// Its payload, with the zeroes that fill its last sector, and what the kernel says of it.
    Payload(&'a [u8], ExtentFields),
    /// The kernel does not hand it out.
    Unreadable(Finding),
}

/// A place where a file shows an extent: subvolume, inode, offset.
type Place = (u64, u64, u64);

/// Reads extents; keeps a buffer and the last file.
pub(super) struct ExtentReader<'a> {
    top: &'a File,
    references: References<BorrowedFd<'a>>,
    items: Items<BorrowedFd<'a>>,
    file: Option<((u64, u64), OwnedFd)>,
    buffer: Vec<u8>,
}

/// What came of reading through one file.
enum Tried {
    /// So many bytes of the buffer.
    Read(usize, ExtentFields),
    Unreadable(Finding),
    /// It does not show the extent (any more).
    Elsewhere,
}

impl<'a> ExtentReader<'a> {
    pub(super) fn new(map: &'a Map) -> Self {
        let none = Key::first_of(0)..=Key::first_of(0);
        let top = map.top();
        Self {
            top,
            references: References::new(top.as_fd()),
            items: ioctl::items(top.as_fd(), 0, none).buffer_of(0),
            file: None,
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
            Tried::Read(len, fields) => {
                let payload = self.buffer.get(..len).unwrap_or_default();
                Some(Bytes::Payload(payload, fields))
            }
            Tried::Unreadable(finding) => Some(Bytes::Unreadable(finding)),
            Tried::Elsewhere => None,
        })
    }

    fn try_at(&mut self, extent: &Extent, place: Place) -> Result<Tried, FilesError> {
        let (root, inode, offset) = place;
        if self
            .file
            .as_ref()
            .is_none_or(|(of, _)| *of != (root, inode))
        {
            match ioctl::open_inode(self.top, root, inode, None) {
                Ok(file) => self.file = Some(((root, inode), file)),
                Err(QueryError::Gone { .. }) => return Ok(Tried::Elsewhere),
                Err(error @ QueryError::Call { .. }) => {
                    return Ok(Tried::Unreadable(unreadable(&error)));
                }
                Err(error) => return Err(error.into()),
            }
        }
        let Some((_, file)) = &self.file else {
            return Ok(Tried::Elsewhere);
        };
        let read = ioctl::encoded_read(file, offset, &mut self.buffer);
        if !self.shows(place, extent)? {
            return Ok(Tried::Elsewhere);
        }
        match read {
            Ok(Some(read)) if !read.is_plain() => Ok(Tried::Read(read.payload_len, read.fields)),
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
