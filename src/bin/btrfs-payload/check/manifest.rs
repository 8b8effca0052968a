//! A manifest and its payloads.

use std::collections::HashSet;
use std::fs::File;
use std::path::Path;

use anyhow::{Context, Result};
use btrfs_payload::rules::Target;
use btrfs_payload::validate::{decode, validate};

use super::{Check, Place};
use crate::about::bail_about;
use crate::args::directory_of;
use crate::claims::Claims;
use crate::manifest::{self, Encoded, Line, fault};
use crate::output::add;

/// Lines that are none of a manifest, and are said one by one: with more of them the file is
/// something else.
const MOST_DAMAGED: u64 = 1000;

impl Check<'_> {
    pub(super) fn manifest(&mut self, input: &Path, file: File, claims: &Claims) -> Result<()> {
        let directory = directory_of(input);
        let mut target = claims.filesystem.target();
        let mut whole = manifest::Whole::default();
        let mut names = HashSet::new();
        let mut lines = manifest::Lines::new(input, file);
        let mut damaged: u64 = 0;
        while let Some((number, line)) = lines.next()? {
            let place = Place::line(number);
            let line = match line {
                Ok(line) => line,
                Err(reason) => {
                    damaged = damaged.saturating_add(1);
                    if damaged > MOST_DAMAGED {
                        bail_about!(
                            input,
                            "{}: too many lines are none of a manifest",
                            lines.place()
                        );
                    }
                    self.other(input, place, &fault("manifest-line", reason))?;
                    continue;
                }
            };
            let ended = whole.has_ended();
            for finding in whole.line(&line, || lines.digest()) {
                self.other(input, place, &finding)?;
            }
            match line {
                // They belong to no manifest.
                _ if ended => {}
                Line::File(header) => {
                    target = manifest::target(&header).with_context(|| lines.here())?;
                }
                Line::Encoded(encoded) => {
                    let target = target.at(encoded.offset);
                    self.encoded(input, directory, number, &encoded, &target)?;
                    names.insert(encoded.payload);
                }
                Line::Plain {
                    len,
                    data_sha256,
                    data,
                    ..
                } => {
                    add(&mut self.plain, 1);
                    if let Some(name) = data {
                        match manifest::data(directory, &name, len, data_sha256.as_deref()) {
                            Ok(Ok(_)) => {}
                            Ok(Err(finding)) => self.other(input, place, &finding)?,
                            Err(cause) => self.cannot_be_read(&cause)?,
                        }
                        names.insert(name);
                    }
                }
                Line::Hole { .. } | Line::End(_) => {}
            }
        }
        for finding in whole.finish() {
            self.other(input, Place::default(), &finding)?;
        }
        // Under another name it need not be the only manifest there.
        if input.file_name() == Some(manifest::NAME.as_ref())
            && let Some(finding) = manifest::extra_files(directory, &names)?
        {
            self.other(input, Place::default(), &finding)?;
        }
        Ok(())
    }

    /// The data of a plain extent, which is as its manifest says or not.
    pub(super) fn plain_data(
        &mut self,
        input: &Path,
        len: u64,
        sha256: Option<&str>,
    ) -> Result<()> {
        add(&mut self.plain, 1);
        let name = input.file_name().and_then(|name| name.to_str());
        match manifest::data(directory_of(input), name.unwrap_or_default(), len, sha256)? {
            Ok(_) => Ok(()),
            Err(finding) => self.other(input, Place::default(), &finding),
        }
    }

    /// A file that cannot be read is said, and the others are judged.
    fn cannot_be_read(&mut self, cause: &anyhow::Error) -> Result<()> {
        self.output.finish()?;
        self.output.trouble(cause);
        self.verdict = self.verdict.max(crate::Verdict::Trouble);
        Ok(())
    }

    /// The payload of a line. One that cannot be read is said, and the others are judged.
    fn encoded(
        &mut self,
        input: &Path,
        directory: &Path,
        number: u64,
        encoded: &Encoded,
        target: &Target,
    ) -> Result<()> {
        let place = Place::line(number);
        let payload = match manifest::payload(directory, &encoded.payload) {
            Ok(Ok(payload)) => payload,
            Ok(Err(finding)) => return self.other(input, place, &finding),
            Err(cause) => return self.cannot_be_read(&cause),
        };
        let manifest::Payload { bytes, len } = &payload;
        let digests = &encoded.digests;
        if let Some(finding) = manifest::other_payload(encoded, bytes, *len) {
            self.other(input, place, &finding)?;
        }
        let fields = &encoded.fields;
        let report = validate(bytes, fields, target);
        let place = Place {
            extent: Some(encoded.offset),
            ..place
        };
        self.quota.hold_back(report.left_out());
        self.judged(input, place, bytes, fields, target, report.findings())?;
        if digests.data_sha256.is_some()
            && let Ok(data) = decode(bytes, fields, target)
            && let Some(message) = manifest::other_digest(digests.data_sha256.as_deref(), &data)
        {
            let message = format!("the payload decodes to other data: {message}");
            self.other(input, place, &fault("manifest-data-digest", message))?;
        }
        Ok(())
    }
}
