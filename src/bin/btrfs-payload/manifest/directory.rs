//! The files beside a manifest.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::path::Path;

use anyhow::{Context, Result};
use btrfs_payload::rules::limits;
use btrfs_payload::validate::{Finding, Severity};
use bytes::Bytes;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::{Line, Lines, NAME, fault, other_digest};
use crate::args::cannot_read;
use crate::output::{count, shown};

/// A payload beside a manifest.
pub(crate) struct Payload {
    /// Its bytes, or of a file that is longer than any payload so many that the judge sees it.
    pub(crate) bytes: Vec<u8>,
    /// Length of the file, bytes.
    pub(crate) len: u64,
}

/// Reads the payload that a line names: a regular file in the directory of the manifest. What
/// is anything else is not opened, and a finding.
pub(crate) fn payload(directory: &Path, name: &str) -> Result<Result<Payload, Finding>> {
    if !is_file_name(name) {
        let message = match name.get(..LONGEST_NAME) {
            Some(start) if start != name => format!("{}... is too long a name", shown(start)),
            _ => format!("{} is not a plain file name", shown(name)),
        };
        return Ok(Err(fault("manifest-payload-name", message)));
    }
    let path = directory.join(name);
    // Neither does a link lead out of the directory, nor a pipe make us wait.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let not_regular = || {
        let message = format!("{} is not a regular file", shown(name));
        Ok(Err(fault("manifest-payload-name", message)))
    };
    let file = match rustix::fs::open(&path, flags, Mode::empty()) {
        Ok(file) => File::from(file),
        Err(Errno::NOENT) => {
            let message = format!("there is no file {}", shown(name));
            return Ok(Err(fault("manifest-payload-missing", message)));
        }
        // A symlink; a socket or a device without a driver.
        Err(Errno::LOOP | Errno::NXIO) => return not_regular(),
        Err(errno) => return Err(errno).with_context(|| cannot_read(&path)),
    };
    let metadata = file.metadata().with_context(|| cannot_read(&path))?;
    if !metadata.is_file() {
        return not_regular();
    }
    let mut bytes = Vec::new();
    file.take(limits::MAX_EXTENT.saturating_mul(2))
        .read_to_end(&mut bytes)
        .with_context(|| cannot_read(&path))?;
    let len = metadata.len();
    Ok(Ok(Payload { bytes, len }))
}

/// Reads the data of a plain extent that a line names, and compares it with what the line says.
pub(crate) fn data(
    directory: &Path,
    name: &str,
    len: u64,
    sha256: Option<&str>,
) -> Result<Result<Bytes, Finding>> {
    let payload = match payload(directory, name)? {
        Ok(payload) => payload,
        Err(finding) => return Ok(Err(finding)),
    };
    if payload.len != len {
        let message = format!("len is {len}, the file has {} bytes", payload.len);
        return Ok(Err(fault("manifest-payload-len", message)));
    }
    // Of a longer one not all has been read.
    if len > limits::MAX_EXTENT {
        let most = limits::MAX_EXTENT;
        let message = format!("a plain extent of {len} bytes; {most} is the most");
        return Ok(Err(fault("manifest-payload-len", message)));
    }
    Ok(match other_digest(sha256, &payload.bytes) {
        Some(message) => Err(fault("manifest-data-digest", message)),
        None => Ok(payload.bytes.into()),
    })
}

/// Bytes of a name (`NAME_MAX`, include/uapi/linux/limits.h).
const LONGEST_NAME: usize = 255;

/// True for the name of a file in the present directory.
fn is_file_name(name: &str) -> bool {
    Path::new(name).file_name() == Some(name.as_ref())
        && !name.contains('\0')
        && name.len() <= LONGEST_NAME
}

/// A warning about files beside a manifest that it does not name, where there are any.
pub(crate) fn extra_files(directory: &Path, names: &HashSet<String>) -> Result<Option<Finding>> {
    /// Names that are said.
    const SHOWN: usize = 5;
    let mut extra: u64 = 0;
    let mut first = Vec::new();
    for entry in fs::read_dir(directory).with_context(|| cannot_read(directory))? {
        let name = entry.with_context(|| cannot_read(directory))?.file_name();
        if name == NAME || name.to_str().is_some_and(|name| names.contains(name)) {
            continue;
        }
        extra = extra.saturating_add(1);
        if first.len() < SHOWN {
            first.push(shown(&name).to_string());
        }
    }
    let message = format!(
        "{} beside it that no line names: {}{}",
        count(extra, "file"),
        first.join(", "),
        if extra > SHOWN as u64 { ", ..." } else { "" }
    );
    Ok((extra > 0).then(|| Finding::new("manifest-extra-file", Severity::Warning, message)))
}

/// Why a directory is not one that this program made: its manifest begins with our header, and
/// nothing is in there but the payloads that the manifest names. `None` for one that is.
///
/// # Errors
/// The directory or the manifest cannot be read.
pub(crate) fn not_ours(directory: &Path) -> Result<Option<String>> {
    let path = directory.join(NAME);
    let reason = |reason: &str| Ok(Some(format!("{NAME} {reason}")));
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let file = match rustix::fs::open(&path, flags, Mode::empty()) {
        Ok(file) => File::from(file),
        Err(Errno::NOENT | Errno::NOTDIR) => return reason("is not there"),
        Err(Errno::LOOP | Errno::NXIO) => return reason("is not a regular file"),
        Err(errno) => return Err(errno).with_context(|| cannot_read(&path)),
    };
    let metadata = file.metadata().with_context(|| cannot_read(&path))?;
    if !metadata.is_file() {
        return reason("is not a regular file");
    }
    let Some(names) = names_of_ours(Lines::new(&path, file)) else {
        return reason("is not a manifest of this program's");
    };
    for entry in fs::read_dir(directory).with_context(|| cannot_read(directory))? {
        let entry = entry.with_context(|| cannot_read(directory))?;
        let name = entry.file_name();
        let is_file = match entry.file_type() {
            Ok(kind) => kind.is_file(),
            // It has just gone.
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            Err(error) => return Err(error).with_context(|| cannot_read(directory)),
        };
        if !is_file {
            return Ok(Some(format!("{} is not a regular file", shown(&name))));
        }
        if name != NAME && !name.to_str().is_some_and(|name| names.contains(name)) {
            return Ok(Some(format!("{} is not in its manifest", shown(&name))));
        }
    }
    Ok(None)
}

/// The payloads that a manifest names; `None` where it is no manifest of ours. It may be cut.
fn names_of_ours(mut lines: Lines) -> Option<HashSet<String>> {
    let mut names = HashSet::new();
    let (_, first) = lines.next().ok()??;
    if !matches!(first, Ok(Line::File(header)) if header.format.is_some()) {
        return None;
    }
    while let Some((_, line)) = lines.next().ok()? {
        match line.ok()? {
            Line::Encoded(encoded) => names.insert(encoded.payload),
            Line::Plain {
                data: Some(data), ..
            } => names.insert(data),
            _ => continue,
        };
    }
    Some(names)
}
