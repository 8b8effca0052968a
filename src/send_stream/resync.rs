//! Going on after damage: where does the next stream begin?
//!
//! A send that is restarted begins again inside its own output, and standard error gets in front of
//! a stream. The bytes from the next header on are a stream of their own. A header is only looked
//! for where reading cannot go on. So a stream that is stored in a file, and sent inside another
//! stream, is not taken for a restart.

use std::io::Read;

use bytes::BytesMut;

use super::foreign::{HEADER_AND_NUMBER, begins_stream, find_header};
use super::format::{MAGIC, STREAM_HEADER_LEN};
use super::raw::RawCommand;
use super::read::{ReadError, Reader};
use crate::rules::limits::u64_of;

/// Bytes looked at together.
const WINDOW: usize = 64 * 1024;

/// How often, on average, the bytes of an input are read once more because a stream begins inside
/// a damaged command. Headers that each claim the rest of the input would take time without end.
const REREAD: u64 = 4;

impl<R: Read> Reader<R> {
    /// After an error: drops bytes up to the next stream header, from which reading goes on.
    /// Returns its offset; `None` when there is none up to the end of the input. Takes time in
    /// proportion to what is dropped, and no more memory than a command.
    ///
    /// # Errors
    /// [`ReadError::Io`].
    pub fn resync(&mut self) -> Result<Option<u64>, ReadError> {
        // What cannot be read begins here: the header itself is not what is looked for.
        self.consume(1);
        loop {
            let bytes = self.peek(WINDOW)?;
            let (len, found) = (bytes.len(), find_header(bytes));
            // The beginning of a header at the end of the window is looked at again.
            let whole = |at: usize| len < WINDOW || len.saturating_sub(at) >= HEADER_AND_NUMBER;
            match found.filter(|&at| whole(at)) {
                Some(at) => {
                    self.consume(at);
                    self.start_again();
                    return Ok(Some(self.offset()));
                }
                None if len < WINDOW => {
                    self.consume(len);
                    return Ok(None);
                }
                None => drop(self.consume(len.saturating_sub(HEADER_AND_NUMBER))),
            }
        }
    }

    /// For a command with a wrong checksum, the last one that was read: true when reading does not
    /// go on after its claimed end and a stream begins inside it. Then that stream is read next,
    /// from [`Reader::offset`] on. An input with more such commands than damage makes is read on
    /// after their claimed ends, so that time stays in proportion to its length.
    ///
    /// # Errors
    /// [`ReadError::Io`].
    pub fn resync_inside(&mut self, command: &RawCommand) -> Result<bool, ReadError> {
        let end = command
            .offset()
            .saturating_add(u64_of(command.bytes().len()));
        let bytes = command.bytes();
        let read = end.saturating_add(u64_of(self.longest_command()));
        if end != self.offset() || self.reread > read.saturating_mul(REREAD) {
            return Ok(false);
        }
        if self.goes_on()? && !self.header_ends(bytes)? {
            return Ok(false);
        }
        // The header may stand across the claimed end.
        let after = self.peek(HEADER_AND_NUMBER)?;
        let mut joined = BytesMut::with_capacity(bytes.len().saturating_add(after.len()));
        joined.extend_from_slice(bytes);
        joined.extend_from_slice(after);
        let Some(at) = find_header(joined.get(1..).unwrap_or_default()) else {
            return Ok(false);
        };
        let at = at.saturating_add(1);
        // What comes next was looked at too, up to the length that it claims.
        let looked_at = bytes.len().saturating_add(self.peeked());
        self.reread = self.reread.saturating_add(u64_of(looked_at));
        if at < bytes.len() {
            self.give_back(bytes.slice(at..));
        } else {
            self.consume(at.saturating_sub(bytes.len()));
        }
        self.start_again();
        Ok(true)
    }

    /// True where the last bytes are a stream header, and its first command comes next.
    fn header_ends(&mut self, bytes: &[u8]) -> Result<bool, ReadError> {
        let Some((_, header)) = bytes.split_last_chunk::<STREAM_HEADER_LEN>() else {
            return Ok(false);
        };
        let number = self.peek(HEADER_AND_NUMBER.saturating_sub(STREAM_HEADER_LEN))?;
        Ok(header.starts_with(&MAGIC) && begins_stream(&[header, number].concat()))
    }
}
