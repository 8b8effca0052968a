//! Where the data of a sparse file belongs.

use std::fs::File;
use std::io::Read;

use anyhow::{Result, ensure};
use btrfs_payload::pack::FileWriter;

/// Where data belongs: pieces in the order of the file, none over another, all inside its size.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Map {
    /// Offsets and lengths, bytes.
    pieces: Vec<(u64, u64)>,
    /// Size of the file, bytes.
    size: u64,
}

impl Map {
    /// A map for a file of this size, of which the archive holds so many bytes.
    pub(super) fn new(pieces: Vec<(u64, u64)>, size: u64, held: u64) -> Result<Self> {
        let (mut end, mut sum) = (0_u64, 0_u64);
        for &(offset, len) in &pieces {
            let next = offset.checked_add(len).filter(|&next| next <= size);
            ensure!(
                offset >= end && next.is_some(),
                "its sparse map has a piece of {len} bytes at {offset}, which is over another, or \
                 outside the file's {size} bytes"
            );
            end = next.unwrap_or(end);
            sum = sum.saturating_add(len);
        }
        ensure!(
            sum == held,
            "its sparse map has {sum} bytes, the archive {held}"
        );
        Ok(Self { pieces, size })
    }

    /// Bytes that it takes in memory.
    pub(super) fn memory(&self) -> usize {
        self.pieces.len().saturating_mul(size_of::<(u64, u64)>())
    }
}

/// Writes the content of a file: the `len` bytes that the reader gives, or the pieces of a map one after
/// another.
pub(super) fn fill(
    content: &mut FileWriter<'_, File>,
    mut from: impl Read,
    len: u64,
    map: Option<&Map>,
) -> Result<()> {
    content.expect(map.map_or(len, |map| map.size));
    let Some(map) = map else {
        content.copy(from)?;
        return Ok(());
    };
    let mut at = 0_u64;
    for &(offset, len) in &map.pieces {
        content.hole(offset.saturating_sub(at))?;
        content.copy((&mut from).take(len))?;
        at = offset.saturating_add(len);
    }
    content.hole(map.size.saturating_sub(at))?;
    Ok(())
}
