//! The content of files: its digest, and whether a file has it.

use std::io;
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::SeekFrom;
use rustix::io::Errno;

use super::digest::{Content, ContentDigest};
use super::error::TreeError;
use super::inode::Inode;
use super::read::{Data, ReadAt};
use crate::rules::limits::u64_of;

/// Bytes of a file that are read at a time.
const PIECE: usize = 128 * 1024;

/// The digest of what streams have.
pub(super) fn of_inode<R: ReadAt>(
    inode: &Inode,
    data: &mut Data<'_, R>,
) -> Result<ContentDigest, TreeError> {
    let mut content = Content::new();
    for extent in inode.extents() {
        content.update(extent.offset, &data.bytes(&extent)?);
    }
    Ok(content.finish())
}

/// The digest of an open file of this size.
pub(super) fn of_file(fd: BorrowedFd<'_>, size: u64) -> io::Result<ContentDigest> {
    let mut content = Content::new();
    pieces(fd, 0..size, |offset, piece| {
        content.update(offset, piece);
        true
    })?;
    Ok(content.finish())
}

/// Why the content of a file cannot be compared.
pub(super) enum Failed {
    /// That of the streams.
    Streams(TreeError),
    /// That of the file.
    File(io::Error),
}

/// The offset of the first byte that an open file has otherwise than the streams; both have the
/// same size.
pub(super) fn first_difference<R: ReadAt>(
    inode: &Inode,
    data: &mut Data<'_, R>,
    fd: BorrowedFd<'_>,
) -> Result<Option<u64>, Failed> {
    let mut at = 0;
    for extent in inode.extents() {
        if let Some(found) = first_nonzero(fd, at..extent.offset)? {
            return Ok(Some(found));
        }
        let expected = data.bytes(&extent).map_err(Failed::Streams)?;
        let mut got = vec![0; expected.len()];
        let read = read_at(fd, &mut got, extent.offset).map_err(Failed::File)?;
        got.truncate(read);
        if got != expected {
            let same = got
                .iter()
                .zip(&expected)
                .take_while(|(a, b)| a == b)
                .count();
            return Ok(Some(extent.offset.saturating_add(u64_of(same))));
        }
        at = extent.end();
    }
    first_nonzero(fd, at..inode.size())
}

fn first_nonzero(fd: BorrowedFd<'_>, range: Range<u64>) -> Result<Option<u64>, Failed> {
    let mut found = None;
    let read = pieces(fd, range, |offset, piece| {
        let at = piece.iter().position(|&byte| byte != 0);
        found = at.map(|at| offset.saturating_add(u64_of(at)));
        found.is_none()
    });
    read.map_err(Failed::File)?;
    Ok(found)
}

/// Hands out what is in a range of a file, without its holes, until `take` says no.
fn pieces(
    fd: BorrowedFd<'_>,
    range: Range<u64>,
    mut take: impl FnMut(u64, &[u8]) -> bool,
) -> io::Result<()> {
    let mut buffer = Vec::new();
    let mut at = range.start;
    while at < range.end {
        let begin = match rustix::fs::seek(fd, SeekFrom::Data(at)) {
            // No more data.
            Err(Errno::NXIO) => return Ok(()),
            // The filesystem does not tell.
            Err(Errno::INVAL | Errno::OPNOTSUPP) => at,
            begin => begin?,
        };
        let end = match rustix::fs::seek(fd, SeekFrom::Hole(begin)) {
            Err(Errno::NXIO | Errno::INVAL | Errno::OPNOTSUPP) => range.end,
            end => end?.min(range.end),
        };
        at = begin;
        while at < end {
            let len = usize::try_from(end.saturating_sub(at)).map_or(PIECE, |len| len.min(PIECE));
            buffer.resize(len, 0);
            let read = read_at(fd, &mut buffer, at)?;
            let piece = buffer.get(..read).unwrap_or_default();
            // The file has become shorter.
            if piece.is_empty() {
                return Ok(());
            }
            if !take(at, piece) {
                return Ok(());
            }
            at = at.saturating_add(u64_of(read));
        }
        at = at.max(end);
    }
    Ok(())
}

/// Reads until the buffer is full or the file ends.
fn read_at(fd: BorrowedFd<'_>, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut done = 0;
    while let Some(rest) = buffer.get_mut(done..).filter(|rest| !rest.is_empty()) {
        let at = offset.saturating_add(u64_of(done));
        match rustix::io::retry_on_intr(|| rustix::io::pread(fd.as_fd(), &mut *rest, at))? {
            0 => break,
            read => done = done.saturating_add(read),
        }
    }
    Ok(done)
}
