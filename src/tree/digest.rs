//! One digest of a tree, the same for every stream that describes it and for the directory.
//!
//! docs/digest.md has the definition for those who want to compute it elsewhere. In short:
//!
//! ```text
//! tree      = SHA-256("btrfs-payload tree 1\n" record...)     the root first, names sorted by bytes
//! record    = name(text) kind(1 byte) rest
//! rest of h = number(8)                                        another name of the record of that number
//! rest else = mode(4) uid(4) gid(4) seconds(8) nanoseconds(4) count(4) xattr... then, by kind:
//!             d: entries(8), their records follow    f: size(8) content(32)    l: target(text)
//!             c, b: major(4) minor(4)                p, s: nothing
//! xattr     = name(text) value(text)                           sorted by name
//! text      = length(4) bytes
//! content   = SHA-256(number(8) piece(32)...)                  for each piece of 131072 bytes that is not all zero
//! piece     = SHA-256(number(8) block(4096)...)                for each block of it that is not all zero
//! ```
//!
//! Numbers are little-endian. Pieces, so that a long file can be hashed by several threads.

use std::fmt;

use sha2::{Digest as _, Sha256};

use crate::rules::limits::u64_of;
use crate::send_stream::Timespec;

/// What the digest of a tree begins with; the number changes with the definition.
const MAGIC: &[u8] = b"btrfs-payload tree 1\n";

/// Bytes of a block of [`Content`].
pub const BLOCK: usize = 4096;
const BLOCK_LEN: u64 = 4096;

/// Bytes of a piece of [`Content`].
pub(crate) const PIECE: usize = 128 * 1024;
const PIECE_LEN: u64 = 128 * 1024;
const BLOCKS_PER_PIECE: u64 = PIECE_LEN / BLOCK_LEN;

/// SHA-256 of a tree. Shown as hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TreeDigest(pub [u8; 32]);

impl fmt::Display for TreeDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// SHA-256 of the content of a file: of the digests of its pieces that are not all zero, each after
/// its number. Holes and zeroes that are written are the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ContentDigest(pub [u8; 32]);

/// Computes the [`ContentDigest`] of one file.
///
/// ```
/// use btrfs_payload::tree::digest::Content;
/// let mut dense = Content::new();
/// dense.update(0, &[0; 10_000]);
/// dense.update(10_000, b"end");
/// let mut sparse = Content::new();
/// sparse.update(10_000, b"end");
/// assert_eq!(dense.finish(), sparse.finish());
/// ```
#[derive(Debug, Clone)]
pub struct Content {
    hasher: Sha256,
    /// The piece that is being filled, and its number.
    piece: Piece,
    piece_number: u64,
    /// Number of the block that is being filled.
    number: u64,
    /// The beginning of it, if any of it has come.
    block: Vec<u8>,
}

/// SHA-256 of a piece that is not all zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct PieceDigest([u8; 32]);

/// A piece, block by block.
#[derive(Debug, Clone, Default)]
struct Piece {
    hasher: Sha256,
    has_blocks: bool,
}

impl Piece {
    /// Takes a block of [`BLOCK`] bytes, by its number in the piece.
    fn block(&mut self, number: u64, block: &[u8]) {
        if block.iter().any(|&byte| byte != 0) {
            self.hasher.update(number.to_le_bytes());
            self.hasher.update(block);
            self.has_blocks = true;
        }
    }

    /// The digest, unless all is zero. Another piece can begin.
    fn finish(&mut self) -> Option<PieceDigest> {
        std::mem::take(&mut self.has_blocks)
            .then(|| PieceDigest(self.hasher.finalize_reset().into()))
    }
}

impl PieceDigest {
    /// Of at most [`PIECE`] bytes, and zeroes after them; `None` where all are zero.
    pub(crate) fn of(data: &[u8]) -> Option<Self> {
        let mut piece = Piece::default();
        let blocks = data.chunks_exact(BLOCK);
        let rest = blocks.remainder();
        let mut number = 0;
        for block in blocks {
            piece.block(number, block);
            number = number.saturating_add(1);
        }
        if !rest.is_empty() {
            let mut block = [0; BLOCK];
            block
                .iter_mut()
                .zip(rest)
                .for_each(|(to, from)| *to = *from);
            piece.block(number, &block);
        }
        piece.finish()
    }
}

impl Default for Content {
    fn default() -> Self {
        Self::new()
    }
}

impl Content {
    /// Of a file of which nothing has come.
    #[must_use]
    pub fn new() -> Self {
        Self {
            hasher: Sha256::new(),
            piece: Piece::default(),
            piece_number: 0,
            number: 0,
            block: Vec::new(),
        }
    }

    /// Takes the data at an offset of the file, bytes. Offsets have to rise; what is left out is
    /// zeroes. Data in front of what has come already is not taken.
    pub fn update(&mut self, offset: u64, data: &[u8]) {
        let (mut offset, mut data) = (offset, data);
        while !data.is_empty() {
            let number = offset / BLOCK_LEN;
            let at = usize::try_from(offset % BLOCK_LEN).unwrap_or(0);
            if number != self.number {
                self.close_block();
                self.number = number;
            }
            let (now, rest) = data.split_at(data.len().min(BLOCK.saturating_sub(at)));
            if at == 0 && now.len() == BLOCK && self.block.is_empty() {
                self.hash(now);
            } else {
                if self.block.len() < at {
                    self.block.resize(at, 0);
                }
                self.block.extend_from_slice(now);
                self.block.truncate(BLOCK);
            }
            offset = offset.saturating_add(u64_of(now.len()));
            data = rest;
        }
    }

    /// Takes the piece at an offset as a whole. Offsets have to rise.
    pub(crate) fn piece(&mut self, offset: u64, digest: PieceDigest) {
        self.close_block();
        self.close_piece();
        self.put(offset / PIECE_LEN, digest);
    }

    /// The digest. Zeroes at the end of the file need not have come: the last block is hashed as
    /// if it went on with zeroes to its end.
    #[must_use]
    pub fn finish(mut self) -> ContentDigest {
        self.close_block();
        self.close_piece();
        ContentDigest(self.hasher.finalize().into())
    }

    fn close_block(&mut self) {
        if !self.block.is_empty() {
            let mut block = std::mem::take(&mut self.block);
            block.resize(BLOCK, 0);
            self.hash(&block);
            block.clear();
            self.block = block;
        }
    }

    fn hash(&mut self, block: &[u8]) {
        let piece = self.number / BLOCKS_PER_PIECE;
        if piece != self.piece_number {
            self.close_piece();
            self.piece_number = piece;
        }
        self.piece.block(self.number % BLOCKS_PER_PIECE, block);
    }

    fn close_piece(&mut self) {
        if let Some(digest) = self.piece.finish() {
            self.put(self.piece_number, digest);
        }
    }

    fn put(&mut self, number: u64, digest: PieceDigest) {
        self.hasher.update(number.to_le_bytes());
        self.hasher.update(digest.0);
    }
}

/// What is told of a file, directory or the like beside its content.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Attributes<'a> {
    /// Permissions: the low twelve bits count. Those of a symbolic link are always 0o777.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Last change of the data.
    pub mtime: Timespec,
    /// Extended attributes, name and value, in any order. See [`is_told`].
    pub xattrs: &'a [(&'a [u8], &'a [u8])],
}

/// What a record is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What<'a> {
    /// A directory of so many entries; their records come next, sorted by the bytes of their names.
    Directory {
        /// Number of entries.
        entries: u64,
    },
    /// A regular file.
    File {
        /// Bytes.
        size: u64,
        /// See [`Content`].
        content: ContentDigest,
    },
    /// A symbolic link.
    Symlink {
        /// Where it leads.
        target: &'a [u8],
    },
    /// A character device.
    CharDevice {
        /// Major number.
        major: u32,
        /// Minor number.
        minor: u32,
    },
    /// A block device.
    BlockDevice {
        /// Major number.
        major: u32,
        /// Minor number.
        minor: u32,
    },
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
    /// Another name of what had the record of this number, counted from 0: see [`Tree::add`]. The
    /// attributes are not looked at.
    HardLink {
        /// The number.
        first: u64,
    },
}

/// True for an extended attribute that is part of the digest: those of `user.`, `trusted.` and
/// `security.`, and access lists. `btrfs.compression` is about storage.
#[must_use]
pub fn is_told(name: &[u8]) -> bool {
    let spaces = [&b"user."[..], b"trusted.", b"security."];
    spaces.iter().any(|space| name.starts_with(space))
        || name == b"system.posix_acl_access"
        || name == b"system.posix_acl_default"
}

/// Computes the [`TreeDigest`] from one record for each name.
///
/// ```
/// use btrfs_payload::tree::digest::{Attributes, Content, Tree, What};
///
/// let mut content = Content::new();
/// content.update(0, b"hello\n");
/// let attributes = Attributes { mode: 0o644, ..Attributes::default() };
/// let directory = Attributes { mode: 0o755, ..Attributes::default() };
///
/// let mut tree = Tree::new();
/// tree.add(b"", &directory, &What::Directory { entries: 2 });
/// let file = What::File { size: 6, content: content.finish() };
/// let first = tree.add(b"a", &attributes, &file);
/// tree.add(b"b", &attributes, &What::HardLink { first });
/// assert!(tree.finish().to_string().starts_with("e61450a2"));
/// ```
#[derive(Debug, Clone)]
pub struct Tree {
    hasher: Sha256,
    records: u64,
}

impl Default for Tree {
    fn default() -> Self {
        Self::new()
    }
}

impl Tree {
    /// Without a record.
    #[must_use]
    pub fn new() -> Self {
        let mut hasher = Sha256::new();
        hasher.update(MAGIC);
        Self { hasher, records: 0 }
    }

    /// Adds the record of a name, and returns its number for [`What::HardLink`]. The root comes
    /// first, with an empty name; after a directory come the records of its entries, sorted by the
    /// bytes of their names, each directory among them with its own entries after it.
    pub fn add(&mut self, name: &[u8], attributes: &Attributes<'_>, what: &What<'_>) -> u64 {
        self.text(name);
        match *what {
            What::HardLink { first } => {
                self.hasher.update(b"h");
                self.hasher.update(first.to_le_bytes());
            }
            What::Directory { entries } => {
                self.attributes(b'd', attributes);
                self.hasher.update(entries.to_le_bytes());
            }
            What::File { size, content } => {
                self.attributes(b'f', attributes);
                self.hasher.update(size.to_le_bytes());
                self.hasher.update(content.0);
            }
            What::Symlink { target } => {
                let mode = 0o777;
                self.attributes(
                    b'l',
                    &Attributes {
                        mode,
                        ..*attributes
                    },
                );
                self.text(target);
            }
            What::CharDevice { major, minor } => self.device(b'c', attributes, major, minor),
            What::BlockDevice { major, minor } => self.device(b'b', attributes, major, minor),
            What::Fifo => self.attributes(b'p', attributes),
            What::Socket => self.attributes(b's', attributes),
        }
        let number = self.records;
        self.records = self.records.saturating_add(1);
        number
    }

    /// The digest.
    #[must_use]
    pub fn finish(self) -> TreeDigest {
        TreeDigest(self.hasher.finalize().into())
    }

    fn device(&mut self, kind: u8, attributes: &Attributes<'_>, major: u32, minor: u32) {
        self.attributes(kind, attributes);
        self.hasher.update(major.to_le_bytes());
        self.hasher.update(minor.to_le_bytes());
    }

    fn attributes(&mut self, kind: u8, attributes: &Attributes<'_>) {
        let &Attributes {
            mode,
            uid,
            gid,
            mtime,
            xattrs,
        } = attributes;
        self.hasher.update([kind]);
        for number in [mode & 0o7777, uid, gid] {
            self.hasher.update(number.to_le_bytes());
        }
        self.hasher.update(mtime.seconds.to_le_bytes());
        self.hasher.update(mtime.nanoseconds.to_le_bytes());
        let told = xattrs.iter().filter(|(name, _)| is_told(name));
        let mut told: Vec<_> = told.collect();
        told.sort_unstable();
        self.len(told.len());
        for (name, value) in told {
            self.text(name);
            self.text(value);
        }
    }

    fn text(&mut self, bytes: &[u8]) {
        self.len(bytes.len());
        self.hasher.update(bytes);
    }

    /// Names, targets and values of 4 GiB are not.
    fn len(&mut self, len: usize) {
        let len = u32::try_from(len).unwrap_or(u32::MAX);
        self.hasher.update(len.to_le_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made by the program in docs/digest.md.
    #[test]
    fn the_digest_of_a_content_is_that_of_the_definition() {
        let mut data = vec![0; 300_000];
        data[5000] = 1;
        data[131_072..131_075].copy_from_slice(b"abc");
        data[140_000] = 2;
        data[299_999] = 3;
        let mut content = Content::new();
        content.update(0, &data);
        let ContentDigest(digest) = content.finish();
        let expected = [0x33, 0x4c, 0x93, 0x30, 0xb6, 0x44, 0xc3, 0xd6];
        assert_eq!(digest[..8], expected);
    }

    quickcheck::quickcheck! {
        /// Some pieces as wholes, others in parts, with runs of zeroes.
        fn pieces_and_parts_make_the_same_digest(runs: Vec<(u32, u8)>, wholes: u64) -> bool {
            let mut data = Vec::new();
            for (len, byte) in runs.into_iter().take(20) {
                let len = usize::try_from(len % 50_000).unwrap();
                let byte = if byte.is_multiple_of(2) { 0 } else { byte };
                data.extend(std::iter::repeat_n(byte, len));
            }
            let (mut mixed, mut whole) = (Content::new(), Content::new());
            whole.update(0, &data);
            for (piece, number) in data.chunks(PIECE).zip(0..) {
                let at = number * PIECE_LEN;
                if wholes >> number & 1 == 1 {
                    if let Some(digest) = PieceDigest::of(piece) {
                        mixed.piece(at, digest);
                    }
                } else {
                    let (first, second) = piece.split_at(piece.len() / 3);
                    mixed.update(at, first);
                    mixed.update(at + u64_of(first.len()), second);
                }
            }
            mixed.finish() == whole.finish()
        }
    }
}
