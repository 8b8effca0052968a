//! Writing a manifest, from its header to its end line.

use std::io::Write;

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

use super::{Counts, End, FORMAT, Header, Line};

/// Writes the lines and keeps what the end line says of them.
pub(crate) struct Writer<W> {
    output: W,
    digest: Sha256,
    counts: Counts,
    /// Where the extents end so far, bytes.
    size: u64,
}

impl<W: Write> Writer<W> {
    pub(crate) fn new(output: W) -> Self {
        Self {
            output,
            digest: Sha256::new(),
            counts: Counts::default(),
            size: 0,
        }
    }

    /// Writes a line: the header first, then the extents in the order of the file.
    pub(crate) fn line(&mut self, line: &Line) -> Result<()> {
        self.counts.add(line);
        if let Some((offset, len)) = line.extent() {
            self.size = offset.saturating_add(len);
        }
        let text = serde_json::to_vec(line).map(|mut text| {
            text.push(b'\n');
            text
        });
        text.map_err(std::io::Error::from)
            .and_then(|text| {
                self.digest.update(&text);
                self.output.write_all(&text)
            })
            .context("cannot write the manifest")
    }

    /// The lines so far.
    pub(crate) fn counts(&self) -> Counts {
        self.counts
    }

    /// Writes the end line and gives it back.
    pub(crate) fn finish(mut self) -> Result<Line> {
        let lines_sha256 = format!("{:x}", self.digest.clone().finalize());
        let (size, counts) = (self.size, self.counts);
        let end = Line::End(End {
            size,
            counts,
            lines_sha256,
        });
        self.line(&end)?;
        self.output.flush().context("cannot write the manifest")?;
        Ok(end)
    }
}

/// The header of a manifest of this program's.
pub(crate) fn header(name: &str, size: Option<u64>, sector_size: u32) -> Line {
    Line::File(Header {
        format: Some(FORMAT),
        program: concat!("btrfs-payload ", env!("CARGO_PKG_VERSION")).to_owned(),
        name: name.to_owned(),
        size,
        sector_size,
    })
}
