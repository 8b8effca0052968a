//! Reading little-endian fields from a slice, with offsets in the whole payload or stream.

use thiserror::Error;

/// A field or a run of bytes ended before its last byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("{needed} bytes needed, {available} there (at offset {offset})")]
#[non_exhaustive]
pub struct Truncated {
    /// Where the field starts, in bytes from the start of the outermost input.
    pub offset: u64,
    /// Length of the field, bytes.
    pub needed: usize,
    /// Bytes that were left, fewer than `needed`.
    pub available: usize,
}

/// A position in a byte slice that may itself be a slice of something larger.
///
/// `base` is the offset of the slice's first byte in that larger thing, so
/// [`Cursor::offset`] and every [`Truncated`] speak of the outermost input.
///
/// ```
/// use btrfs_payload_common::Cursor;
/// let mut cursor = Cursor::new(&[1, 0, 0, 0, 9], 100);
/// assert_eq!(cursor.u32_le(), Ok(1));
/// assert_eq!(cursor.offset(), 104);
/// assert_eq!(cursor.u32_le().unwrap_err().available, 1);
/// assert_eq!(cursor.rest(), &[9]);
/// ```
#[derive(Debug, Clone)]
pub struct Cursor<'a> {
    rest: &'a [u8],
    offset: u64,
}

impl<'a> Cursor<'a> {
    /// Starts at the first byte of `bytes`, which is byte `base` of the outermost input.
    #[must_use]
    pub fn new(bytes: &'a [u8], base: u64) -> Self {
        Self {
            rest: bytes,
            offset: base,
        }
    }

    /// Offset of the next byte in the outermost input.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The bytes not read yet.
    #[must_use]
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Number of bytes not read yet.
    #[must_use]
    pub fn remaining(&self) -> usize {
        self.rest.len()
    }

    /// True when every byte has been read.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next `len` bytes.
    ///
    /// # Errors
    /// [`Truncated`] when fewer are left; the cursor does not move then.
    pub fn take(&mut self, len: usize) -> Result<&'a [u8], Truncated> {
        let Some((head, tail)) = self.rest.split_at_checked(len) else {
            return Err(Truncated {
                offset: self.offset,
                needed: len,
                available: self.rest.len(),
            });
        };
        self.rest = tail;
        self.offset = self
            .offset
            .saturating_add(u64::try_from(len).unwrap_or(u64::MAX));
        Ok(head)
    }

    /// The next `N` bytes as an array.
    ///
    /// # Errors
    /// [`Truncated`] when fewer are left.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], Truncated> {
        let offset = self.offset;
        let bytes = self.take(N)?;
        // `take` returned exactly N bytes; the error arm keeps the function free of panics.
        bytes.try_into().map_err(|_| Truncated {
            offset,
            needed: N,
            available: bytes.len(),
        })
    }

    /// The next byte.
    ///
    /// # Errors
    /// [`Truncated`] at the end.
    pub fn u8(&mut self) -> Result<u8, Truncated> {
        self.array::<1>().map(|[byte]| byte)
    }

    /// The next two bytes as a little-endian number.
    ///
    /// # Errors
    /// [`Truncated`] when fewer are left.
    pub fn u16_le(&mut self) -> Result<u16, Truncated> {
        self.array().map(u16::from_le_bytes)
    }

    /// The next four bytes as a little-endian number.
    ///
    /// # Errors
    /// [`Truncated`] when fewer are left.
    pub fn u32_le(&mut self) -> Result<u32, Truncated> {
        self.array().map(u32::from_le_bytes)
    }

    /// The next eight bytes as a little-endian number.
    ///
    /// # Errors
    /// [`Truncated`] when fewer are left.
    pub fn u64_le(&mut self) -> Result<u64, Truncated> {
        self.array().map(u64::from_le_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_read_leaves_the_cursor_where_it_was() {
        let mut cursor = Cursor::new(&[1, 2, 3], 10);
        assert_eq!(
            cursor.u64_le(),
            Err(Truncated {
                offset: 10,
                needed: 8,
                available: 3
            })
        );
        assert_eq!(cursor.u16_le(), Ok(0x0201));
        assert_eq!(cursor.offset(), 12);
        assert_eq!(cursor.remaining(), 1);
        assert_eq!(cursor.u8(), Ok(3));
        assert!(cursor.is_empty());
    }
}
