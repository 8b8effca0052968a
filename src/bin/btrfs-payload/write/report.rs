//! What is said of files that were written.

use std::path::Path;

use anyhow::Result;
use btrfs_payload::ioctl::WriteSummary;
use serde::Serialize;

use crate::output::{Output, count, percent, shown};
use crate::saved::Saved;

/// The result, as a JSON line.
#[derive(Serialize)]
struct Line<'a> {
    kind: &'static str,
    src: &'a str,
    dest: &'a str,
    data_bytes: u64,
    encoded_extents: u64,
    encoded_bytes: u64,
    payload_bytes: u64,
    plain_extents: u64,
    plain_bytes: u64,
    hole_bytes: u64,
    fallbacks: Vec<FallbackLine>,
    verified_bytes: Option<u64>,
    sharing_lost_bytes: u64,
}

#[derive(Serialize)]
struct FallbackLine {
    reason: String,
    extents: u64,
    bytes: u64,
}

/// The bytes of a file, and what they became.
pub(super) fn saved(summary: &WriteSummary) -> Saved {
    let WriteSummary { encoded, plain, .. } = summary;
    let mut saved = Saved::default();
    saved.add(encoded.bytes, encoded.stored);
    saved.add(plain.bytes, plain.bytes);
    saved
}

/// What came of a file.
pub(super) struct Report<'a> {
    pub(super) src: &'a Path,
    pub(super) dest: &'a Path,
    pub(super) len: u64,
    pub(super) verified: bool,
    pub(super) sharing_lost: u64,
    pub(super) summary: &'a WriteSummary,
}

impl Report<'_> {
    pub(super) fn print(&self, output: &mut Output) -> Result<()> {
        let WriteSummary {
            encoded,
            plain,
            holes,
            fallbacks,
            verified: read_back,
            ..
        } = self.summary;
        let [
            of_file,
            of_encoded,
            of_payload,
            of_plain,
            of_holes,
            of_verified,
        ] = [
            self.len,
            encoded.bytes,
            encoded.stored,
            plain.bytes,
            holes.bytes,
            *read_back,
        ]
        .map(|bytes| output.size(bytes));
        let Saved { data, stored } = saved(self.summary);
        let saved = percent(data.saturating_sub(stored), data);
        output.moved(self.len.saturating_sub(holes.bytes));
        let verified = match self.verified {
            true => format!("; {of_verified} read back and compared"),
            false => String::new(),
        };
        output.sum(
            fallbacks.is_empty(),
            format_args!(
                "{}: {of_file}: {} of {of_encoded} as {of_payload} of payload, {of_plain} plain, \
                 {of_holes} in holes, {saved} saved{verified}",
                shown(self.dest),
                count(encoded.extents, "extent"),
            ),
        )?;
        for fallback in fallbacks {
            let bytes = output.size(fallback.tally.bytes);
            output.text(format_args!(
                "{}: {} of {bytes} plain: {}",
                shown(self.dest),
                count(fallback.tally.extents, "extent"),
                fallback.reason
            ))?;
        }
        output.json(&Line {
            kind: "written",
            src: &shown(self.src).to_string(),
            dest: &shown(self.dest).to_string(),
            data_bytes: self.len,
            encoded_extents: encoded.extents,
            encoded_bytes: encoded.bytes,
            payload_bytes: encoded.stored,
            plain_extents: plain.extents,
            plain_bytes: plain.bytes,
            hole_bytes: holes.bytes,
            fallbacks: fallbacks
                .iter()
                .map(|fallback| FallbackLine {
                    reason: fallback.reason.to_string(),
                    extents: fallback.tally.extents,
                    bytes: fallback.tally.bytes,
                })
                .collect(),
            verified_bytes: self.verified.then_some(*read_back),
            sharing_lost_bytes: self.sharing_lost,
        })
    }
}
