//! `assemble`: the file that a manifest and its payloads were made from. On btrfs, as root, payloads
//! become extents again; anywhere else they are decoded.

use std::cell::RefCell;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use btrfs_payload::extent::{EncodedExtent, FileExtent};
use btrfs_payload::ioctl::{self, ExtentWriter};
use btrfs_payload::rules::Target;
use btrfs_payload::validate::{Finding, Severity, decode};
use bytes::Bytes;
use serde::Serialize;

use crate::Verdict;
use crate::about::{about, bail_about};
use crate::args::{directory_of, open_file};
use crate::explain::{Explain, with_sound};
use crate::manifest::{self, Encoded, Line};
use crate::new_file::NewFile;
use crate::origin::Origin;
use crate::output::{Output, add, count, shown};
use crate::saved::Saved;

#[derive(Debug, clap::Args)]
#[command(override_usage = USAGE, after_help = with_sound(AFTER_HELP))]
pub(crate) struct Args {
    /// The directory that prepare or read has made, or the manifest in it
    #[arg(required_unless_present = "explain")]
    input: Option<PathBuf>,

    /// The new file; it appears when it is complete
    #[arg(required_unless_present = "explain")]
    dest: Option<PathBuf>,

    /// Replace a regular file that exists
    #[arg(short, long, help_heading = "Output")]
    force: bool,

    #[command(flatten)]
    explain: Explain,
}

const USAGE: &str = "\
btrfs-payload assemble [OPTIONS] <INPUT> <DEST>
       btrfs-payload assemble --explain [CODE]";

const AFTER_HELP: &str = "\
Examples:
  btrfs-payload prepare disk.img --out extents/
  btrfs-payload assemble extents/ disk.img

Every digest of the manifest is compared before anything is written, payload by payload. On btrfs,
as root, payloads become compressed extents as they are; anywhere else they are decoded.

Exit status:
  0  the file is there, and as the manifest says
  1  something is missing, damaged or not sound; there is no file
  2  wrong usage, or a file cannot be read or written";

/// The result, as a JSON line.
#[derive(Serialize)]
struct Assembled<'a> {
    kind: &'static str,
    input: &'a str,
    dest: &'a str,
    data_bytes: u64,
    encoded_extents: u64,
    decoded_extents: u64,
}

/// What keeps the file from being made, and where it is said.
struct Fault {
    place: String,
    finding: Finding,
}

pub(crate) fn run(args: &Args, output: &mut Output) -> Result<Verdict> {
    if let Some(done) = args.explain.run(output) {
        return done;
    }
    let (Some(input), Some(name)) = (&args.input, &args.dest) else {
        bail!("a directory and the name of a new file are expected");
    };
    if input.is_dir() && !manifest::is_in(input) {
        bail_about!(
            input,
            "{} has no {}; name a directory that prepare or read has made of one file",
            shown(input),
            manifest::NAME
        );
    }
    let path = match input.is_dir() {
        true => input.join(manifest::NAME),
        false => input.clone(),
    };
    let file = open_file(&path)?;
    let origin = Origin::of(&file);
    let mut dest = NewFile::create(name, args.force)?;
    let made = assemble(&path, file, dest.file());
    let sums = match made.with_context(|| format!("cannot assemble {}", shown(name)))? {
        Ok(sums) => sums,
        Err(Fault { place, finding }) => {
            output.trouble(&about(&path, format_args!("{place}: {finding}")).into());
            return Ok(Verdict::NotSound);
        }
    };
    dest.permit(&origin);
    dest.finish()?;
    let size = output.size(sums.bytes);
    let saved = match sums.encoded {
        0 => String::new(),
        _ => format!(": {}", sums.saved.text(output)),
    };
    output.sum(
        true,
        format_args!(
            "{}: {size}; {} as they were, {} decoded{saved}",
            shown(name),
            count(sums.encoded, "extent"),
            sums.decoded
        ),
    )?;
    output.moved(sums.saved.data);
    output.json(&Assembled {
        kind: "assembled",
        input: &shown(&path).to_string(),
        dest: &shown(name).to_string(),
        data_bytes: sums.bytes,
        encoded_extents: sums.encoded,
        decoded_extents: sums.decoded,
    })?;
    Ok(Verdict::Sound)
}

#[derive(Default)]
struct Sums {
    bytes: u64,
    encoded: u64,
    decoded: u64,
    saved: Saved,
}

fn assemble(path: &Path, input: File, dest: &File) -> Result<Result<Sums, Fault>> {
    let directory = directory_of(path);
    let on_btrfs = ioctl::probe(dest).ok();
    let mut lines = manifest::Lines::new(path, input);
    let mut whole = manifest::Whole::default();
    let mut target = Target::default();
    // What the present extent decodes to, where the filesystem does not take it as it is.
    let decoded: RefCell<(u64, Bytes)> = RefCell::default();
    let mut writer = ExtentWriter::new(dest, |offset, buffer: &mut [u8]| {
        let (start, data) = &*decoded.borrow();
        let data = (*start == offset)
            .then(|| data.get(..buffer.len()))
            .flatten();
        let data = data.ok_or(io::ErrorKind::UnexpectedEof)?;
        buffer.copy_from_slice(data);
        Ok(())
    })?;
    let mut size = 0;
    while let Some((number, line)) = lines.next()? {
        let fault = |finding| {
            let place = lines.place();
            Ok(Err(Fault { place, finding }))
        };
        let line = match line {
            Ok(line) => line,
            Err(reason) => return fault(manifest::fault("manifest-line", reason)),
        };
        let findings = whole.line(&line, || lines.digest());
        if let Some(finding) = first_error(findings) {
            return fault(finding);
        }
        let extent = match line {
            Line::File(header) => {
                target = manifest::target(&header).with_context(|| lines.here())?;
                // The kernel then knows which extent ends the file, and makes no inline extent
                // of the first of several.
                if let Some(size) = header.size {
                    dest.set_len(size)?;
                }
                continue;
            }
            Line::End(end) => {
                size = end.size;
                continue;
            }
            Line::Hole { offset, len } => FileExtent::hole(offset, len),
            Line::Plain {
                offset,
                len,
                data_sha256,
                data,
                ..
            } => {
                let Some(name) = data else {
                    bail_about!(
                        path,
                        "line {number}: the data of a plain extent is not in the directory; an \
                         older version made it"
                    );
                };
                match manifest::data(directory, &name, len, data_sha256.as_deref())? {
                    Ok(data) => FileExtent::plain(offset, data),
                    Err(finding) => return fault(finding),
                }
            }
            Line::Encoded(encoded) => {
                let (payload, data) = match payload_and_data(directory, &encoded, &target)? {
                    Ok(both) => both,
                    Err(finding) => return fault(finding),
                };
                let offset = encoded.offset;
                let here = on_btrfs.as_ref().map(|probe| probe.target(offset));
                let extent = here.and_then(|here| {
                    EncodedExtent::new(payload, encoded.fields, &here.file_size(0)).ok()
                });
                match extent {
                    Some(extent) => {
                        *decoded.borrow_mut() = (offset, data);
                        FileExtent::encoded(offset, extent)
                    }
                    // Of another sector size, or not on btrfs at all.
                    None => FileExtent::plain(offset, data),
                }
            }
        };
        writer.write(&extent)?;
    }
    if let Some(finding) = first_error(whole.finish()) {
        let place = shown(path).to_string();
        return Ok(Err(Fault { place, finding }));
    }
    let summary = writer.finish()?;
    dest.set_len(size)?;
    let mut sums = Sums {
        bytes: size,
        encoded: summary.encoded.extents,
        ..Sums::default()
    };
    add(&mut sums.decoded, summary.plain.extents);
    sums.saved
        .add(summary.encoded.bytes, summary.encoded.stored);
    sums.saved.add(summary.plain.bytes, summary.plain.bytes);
    Ok(Ok(sums))
}

fn first_error(findings: Vec<Finding>) -> Option<Finding> {
    let mut findings = findings.into_iter();
    findings.find(|finding| finding.severity == Severity::Error)
}

/// The payload of a line and what the file shows of it, both as their digests say.
fn payload_and_data(
    directory: &Path,
    encoded: &Encoded,
    target: &Target,
) -> Result<Result<(Bytes, Bytes), Finding>> {
    let manifest::Payload { bytes, len } = match manifest::payload(directory, &encoded.payload)? {
        Ok(payload) => payload,
        Err(finding) => return Ok(Err(finding)),
    };
    if let Some(finding) = manifest::other_payload(encoded, &bytes, len) {
        return Ok(Err(finding));
    }
    let data = match decode(&bytes, &encoded.fields, &target.at(encoded.offset)) {
        Ok(data) => data,
        Err(not_sound) => {
            let first = not_sound.0.errors().next().cloned();
            let finding = first.context("a payload is not sound, and nobody says why")?;
            return Ok(Err(finding));
        }
    };
    if let Some(message) = manifest::other_digest(encoded.digests.data_sha256.as_deref(), &data) {
        let finding = manifest::fault("manifest-data-digest", message);
        return Ok(Err(finding));
    }
    Ok(Ok((bytes.into(), data)))
}
