//! `scan --verify`: every compressed extent is decoded, and whoever shows a bad one is named.

use std::num::NonZeroUsize;
use std::ops::ControlFlow;

use anyhow::Result;
use btrfs_payload::files::{self, Event, Map, Name, Names, Unsound, Verified, Where};
use btrfs_payload::validate::{Finding, Severity};
use serde::Serialize;

use crate::Verdict;
use crate::file_names::spelled;
use crate::interrupt::Gently;
use crate::output::{Output, count};
use crate::progress::progress;
use crate::quota::{Quota, not_printed};

/// A place where a file shows an extent in which something was found, as a JSON line.
#[derive(Serialize)]
struct PlaceLine<'a> {
    kind: &'static str,
    bytenr: Option<u64>,
    input: &'a str,
    extent: u64,
    subvolume: u64,
    inode: u64,
}

/// A finding as a JSON line.
#[derive(Serialize)]
struct FindingLine<'a> {
    kind: &'static str,
    input: &'a str,
    extent: u64,
    bytenr: Option<u64>,
    code: &'static str,
    severity: String,
    /// Byte of the payload.
    offset: Option<u64>,
    message: &'a str,
}

/// What was done, as a JSON line.
#[derive(Serialize)]
struct VerifiedLine {
    kind: &'static str,
    extents: u64,
    inline_extents: u64,
    plain_extents: u64,
    payload_bytes: u64,
    decoded_bytes: u64,
    unsound: u64,
    unreadable: u64,
    with_warnings: u64,
    gone: u64,
    findings_not_printed: u64,
    stopped: bool,
    sound: bool,
}

/// Decodes all, prints what is wrong and who shows it, and the sums. `plain` extents have nothing
/// to decode.
pub(super) fn run(
    map: &Map,
    plain: u64,
    jobs: NonZeroUsize,
    quota: &mut Quota,
    output: &mut Output,
) -> Result<Verdict> {
    let compressed = map.extents().iter().filter(|it| it.compression.0 != 0);
    let bar = progress(compressed.map(|extent| extent.disk_bytes).sum());
    let mut printer = Printer {
        names: Names::new(map),
        quota,
        output,
    };
    let interrupt = Gently::begin();
    let mut failed = None;
    let verified = files::verify(map, jobs, |event| {
        match event {
            Event::Progress(bytes) => bar.inc(bytes),
            Event::Found(unsound) => {
                let printed = bar.suspend(|| printer.found(&unsound));
                failed = printed.err();
            }
            _ => {}
        }
        if failed.is_some() || interrupt.is_wanted() {
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    });
    bar.finish_and_clear();
    if let Some(error) = failed {
        return Err(error);
    }
    let verified = verified?;
    let verdict = sums(&verified, plain, quota, output)?;
    output.finish()?;
    interrupt.end();
    Ok(verdict)
}

struct Printer<'a> {
    names: Names<'a>,
    quota: &'a mut Quota,
    output: &'a mut Output,
}

/// A file that shows an extent, and where.
struct Shown {
    name: String,
    offset: u64,
    root: u64,
    inode: u64,
}

impl Printer<'_> {
    fn found(&mut self, unsound: &Unsound) -> Result<()> {
        let report = &unsound.report;
        if report.count(Severity::Error) == 0 && !self.output.says_all() {
            return Ok(());
        }
        self.quota.next_payload();
        self.quota.hold_back(report.left_out());
        match unsound.place {
            Where::Regular { bytenr } => self.regular(bytenr, report.findings()),
            Where::Inline { root, inode } => {
                // Where names cannot be had the finding stands all the same.
                let names = self.names.of_file(root, inode);
                let names = names.unwrap_or_else(|_| vec![Name::Nameless]);
                let mut first = true;
                for name in &names {
                    let place = Shown {
                        name: spelled(name, root, inode),
                        offset: 0,
                        root,
                        inode,
                    };
                    let findings = if first { report.findings() } else { &[] };
                    print(self.quota, self.output, None, &place, findings)?;
                    first = false;
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// One line for each file and finding of the first place; of the others, that they show it.
    fn regular(&mut self, bytenr: u64, findings: &[Finding]) -> Result<()> {
        let Self {
            names,
            quota,
            output,
        } = self;
        let mut left = findings;
        let named = names.of_extent(bytenr, |place| -> Result<()> {
            let at = &place.reference;
            for name in &place.names {
                let place = Shown {
                    name: spelled(name, at.root, at.inode),
                    offset: at.offset,
                    root: at.root,
                    inode: at.inode,
                };
                print(
                    quota,
                    output,
                    Some(bytenr),
                    &place,
                    std::mem::take(&mut left),
                )?;
            }
            Ok(())
        });
        if let Err(error) = &named
            && error
                .downcast_ref::<btrfs_payload::ioctl::QueryError>()
                .is_none()
        {
            return named.map(drop);
        }
        if !left.is_empty() {
            // It was freed meanwhile, or nobody tells.
            let place = Shown {
                name: format!("disk address {bytenr}"),
                offset: 0,
                root: 0,
                inode: 0,
            };
            print(quota, output, Some(bytenr), &place, left)?;
        }
        if matches!(named, Ok(true)) {
            output.finding(format_args!("disk address {bytenr}: more files show it"))?;
        }
        Ok(())
    }
}

/// A place, with its findings where it is the first.
fn print(
    quota: &mut Quota,
    output: &mut Output,
    bytenr: Option<u64>,
    place: &Shown,
    findings: &[Finding],
) -> Result<()> {
    let Shown { name, offset, .. } = place;
    output.json(&PlaceLine {
        kind: "place",
        bytenr,
        input: name,
        extent: *offset,
        subvolume: place.root,
        inode: place.inode,
    })?;
    if findings.is_empty() {
        return output.finding(format_args!("{name}: extent at {offset}: the same extent"));
    }
    for finding in findings {
        if !quota.takes(finding.severity) {
            continue;
        }
        output.finding(format_args!("{name}: extent at {offset}: {finding}"))?;
        output.json(&FindingLine {
            kind: "finding",
            input: name,
            extent: *offset,
            bytenr,
            code: finding.code,
            severity: finding.severity.to_string(),
            offset: finding.offset,
            message: &finding.message,
        })?;
    }
    Ok(())
}

fn sums(
    verified: &Verified,
    plain: u64,
    quota: &mut Quota,
    output: &mut Output,
) -> Result<Verdict> {
    let sound = verified.unsound == 0;
    let held_back = quota.take_held_back();
    let mut parts = vec![
        count(verified.extents, "extent"),
        format!("{} inline", verified.inline),
        format!(
            "{} of payload for {}",
            output.size(verified.disk_bytes),
            output.size(verified.ram_bytes)
        ),
    ];
    let mut part = |number: u64, what: &str| {
        if number > 0 {
            parts.push(format!("{number} {what}"));
        }
    };
    part(verified.unsound, "unsound");
    part(verified.unreadable, "of them unreadable");
    part(verified.with_warnings, "with warnings");
    part(verified.gone, "gone meanwhile");
    output.sum(
        sound,
        format_args!(
            "{}: {} ({}); {} with nothing to decode{}",
            if verified.stopped {
                "verified before the interrupt"
            } else {
                "verified"
            },
            if sound { "sound" } else { "NOT SOUND" },
            parts.join(", "),
            count(plain, "plain extent"),
            not_printed(held_back),
        ),
    )?;
    output.json(&VerifiedLine {
        kind: "verified",
        extents: verified.extents,
        inline_extents: verified.inline,
        plain_extents: plain,
        payload_bytes: verified.disk_bytes,
        decoded_bytes: verified.ram_bytes,
        unsound: verified.unsound,
        unreadable: verified.unreadable,
        with_warnings: verified.with_warnings,
        gone: verified.gone,
        findings_not_printed: held_back,
        stopped: verified.stopped,
        sound,
    })?;
    Ok(if sound {
        Verdict::Sound
    } else {
        Verdict::NotSound
    })
}
