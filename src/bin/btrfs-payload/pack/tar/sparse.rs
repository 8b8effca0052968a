//! Sparse files in archives: a map says where the data belongs that the archive holds.

use std::io::{BufRead, Read};

use anyhow::{Context, Result, ensure};
use tar::GnuExtSparseHeader;

use super::header::{Fields, GnuSparse, pieces};
use super::pax::parsed;
use crate::pack::sparse_map::Map;

/// Pieces that a file may be in: 16 MiB of memory.
const MAX_PIECES: usize = 1 << 20;

/// The map of GNU tar's own form: in the header, and in blocks after it.
pub(super) fn of_gnu(fields: &Fields<'_>, held: u64, input: &mut impl BufRead) -> Result<Map> {
    let GnuSparse {
        pieces: mut all,
        mut goes_on,
        size,
    } = fields.gnu_sparse()?;
    while goes_on {
        let mut block = GnuExtSparseHeader::new();
        input
            .read_exact(block.as_mut_bytes())
            .context("its sparse map")?;
        all.extend(pieces(block.sparse())?);
        check_count(all.len())?;
        goes_on = block.is_extended();
    }
    Map::new(all, size, held)
}

/// The map of the form 1.0 of pax: lines of decimal numbers before the data, filled up to a block.
pub(super) fn in_data(content: &mut impl Read) -> Result<Vec<(u64, u64)>> {
    let mut lines = Lines {
        content,
        block: [0; 512],
        at: 512,
    };
    let count = lines.number()?;
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    check_count(count)?;
    let mut pieces = Vec::new();
    for _ in 0..count {
        pieces.push((lines.number()?, lines.number()?));
    }
    Ok(pieces)
}

fn check_count(pieces: usize) -> Result<()> {
    ensure!(
        pieces <= MAX_PIECES,
        "it is in {pieces} pieces; at most {MAX_PIECES} are read"
    );
    Ok(())
}

/// Lines in blocks.
struct Lines<'a, R> {
    content: &'a mut R,
    block: [u8; 512],
    at: usize,
}

impl<R: Read> Lines<'_, R> {
    fn number(&mut self) -> Result<u64> {
        let mut digits = Vec::new();
        loop {
            if self.at >= self.block.len() {
                self.content
                    .read_exact(&mut self.block)
                    .context("its sparse map")?;
                self.at = 0;
            }
            let byte = self.block.get(self.at).copied().unwrap_or(b'\n');
            self.at = self.at.saturating_add(1);
            if byte == b'\n' {
                return parsed(&digits).context("its sparse map");
            }
            ensure!(
                digits.len() < 20,
                "its sparse map has a line of more than a number"
            );
            digits.push(byte);
        }
    }
}
