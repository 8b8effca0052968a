//! What no line of a manifest shows alone: that the extents follow one another without gap or
//! overlap from the first byte of the file to its last, and that no line is missing.

use btrfs_payload::validate::{Finding, Severity};

use super::{Counts, End, Line, fault};

/// The lines so far.
#[derive(Debug, Default)]
pub(crate) struct Whole {
    any: bool,
    /// Size of the file, bytes, once a line has said it.
    size: Option<u64>,
    /// Where the last extent begins, bytes.
    last: Option<u64>,
    /// Every byte of the file before this one has been in a line, or its gap has been said.
    covered: u64,
    counts: Counts,
    /// Encoded extents without a digest of their payload.
    without_digest: u64,
    ended: bool,
    /// A line after the end has been said.
    continued: bool,
}

impl Whole {
    /// True once the end line has been seen; what follows does not belong to the manifest.
    pub(crate) fn has_ended(&self) -> bool {
        self.ended
    }

    /// Looks at the next line. `digest` is that of all lines before it.
    pub(crate) fn line(&mut self, line: &Line, digest: impl FnOnce() -> String) -> Vec<Finding> {
        let mut findings = Vec::new();
        let mut say = |code, message| findings.push(fault(code, message));
        let first = !std::mem::replace(&mut self.any, true);
        if self.ended {
            if !std::mem::replace(&mut self.continued, true) {
                say("manifest-after-end", "lines follow the end line".to_owned());
            }
            return findings;
        }
        if first != matches!(line, Line::File(_)) {
            say(
                "manifest-header",
                if first {
                    "the first line is not the header, of kind file".to_owned()
                } else {
                    "a second header".to_owned()
                },
            );
        }
        self.counts.add(line);
        match line {
            Line::File(header) => self.size = self.size.or(header.size),
            Line::End(end) => self.end(end, &digest(), &mut say),
            Line::Encoded(encoded) => {
                let without = encoded.digests.payload_sha256.is_none();
                self.without_digest = self.without_digest.saturating_add(u64::from(without));
            }
            Line::Plain { .. } | Line::Hole { .. } => {}
        }
        if let Some((offset, len)) = line.extent() {
            self.extent(offset, len, &mut say);
        }
        findings
    }

    fn extent(&mut self, offset: u64, len: u64, say: &mut impl FnMut(&'static str, String)) {
        let covered = self.covered;
        if let Some(last) = self.last.filter(|&last| offset < last) {
            say(
                "manifest-order",
                format!("an extent at {offset} after one at {last}"),
            );
        } else if offset < covered {
            say(
                "manifest-overlap",
                format!("an extent at {offset}, and the lines before reach to {covered}"),
            );
        } else if offset > covered {
            say("manifest-gap", gap(covered, offset));
        }
        let end = offset.checked_add(len);
        if self
            .size
            .is_some_and(|size| end.is_none_or(|end| end > size))
            || end.is_none()
        {
            let size = self.size.map_or_else(
                || "any file".to_owned(),
                |size| format!("the end of the file at {size}"),
            );
            say(
                "manifest-beyond-end",
                format!("{len} bytes at {offset} go past {size}"),
            );
        }
        self.last = Some(offset);
        self.covered = covered.max(end.unwrap_or(u64::MAX));
    }

    fn end(&mut self, end: &End, digest: &str, say: &mut impl FnMut(&'static str, String)) {
        self.ended = true;
        let size = *self.size.get_or_insert(end.size);
        if size != end.size {
            let message = format!("the header says {size} bytes, the end line {}", end.size);
            say("manifest-size", message);
        }
        if self.covered > size {
            // Said already where the header has the size.
            let message = format!("the lines reach to {}, the file to {size}", self.covered);
            say("manifest-size", message);
        }
        if end.counts != self.counts {
            let text = |counts: &Counts| {
                let Counts {
                    encoded,
                    plain,
                    holes,
                } = counts;
                format!("{encoded} encoded, {plain} plain, {holes} holes")
            };
            let message = format!("{} expected, got {}", text(&end.counts), text(&self.counts));
            say("manifest-counts", message);
        }
        if end.lines_sha256 != digest {
            say(
                "manifest-changed",
                format!("the SHA-256 of the lines before is {digest}, not the one given here"),
            );
        }
    }

    /// What is missing after the last line.
    pub(crate) fn finish(self) -> Vec<Finding> {
        let mut findings = Vec::new();
        if let Some(size) = self.size.filter(|&size| self.covered < size) {
            findings.push(fault("manifest-gap", gap(self.covered, size)));
        }
        if !self.ended {
            let message = "there is no end line: lines may be missing".to_owned();
            findings.push(fault("manifest-no-end", message));
        }
        if self.without_digest > 0 {
            findings.push(Finding::new(
                "manifest-no-digest",
                Severity::Warning,
                format!(
                    "payload_sha256 is missing {} times: whether these are the right payloads \
                     cannot be told",
                    self.without_digest
                ),
            ));
        }
        findings
    }
}

fn gap(from: u64, to: u64) -> String {
    format!("extents are missing: no line has the bytes from {from} to {to}")
}
