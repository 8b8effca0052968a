//! Submits recorded encoded writes to the running kernel and prints what it does with them, as
//! rows for the test `kernel_verdicts`. docs/kernels.md has the command that runs it on other
//! kernels.
//!
//! ```sh
//! observe_kernel ROWS.jsonl > harmless.jsonl
//! observe_kernel harmless.jsonl DIRECTORY-ON-BTRFS NAME > more.jsonl
//! ```
//!
//! The first marks the rows that no kernel may come to harm on, and leaves out the others; the
//! second submits what is marked, and asks no model, which takes long in an emulator. NAME is the
//! kernel's release, with `-16k-pages` or `-64k-pages` after it where pages are larger than 4 KiB.

use std::error::Error;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, IoSlice, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use btrfs_payload::Kernel;
use btrfs_payload::ioctl::{self, Submission};
use btrfs_payload::rules::{Codec, EncodedIoId, ExtentFields, Target};
use btrfs_payload::validate::{Outcome, predict};
use rustix::fs::{Advice, IFlags};
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// An encoded write; testdata/README.md tells more.
#[derive(Deserialize)]
struct Row {
    name: String,
    sector_size: u32,
    compression: u32,
    encryption: u32,
    flags: u64,
    len: u64,
    unencoded_len: u64,
    unencoded_offset: u64,
    offset: i64,
    initial_size: u64,
    options: Vec<String>,
    payload: String,
    #[serde(default)]
    depends_on_memory_state: bool,
    /// Put here by the first step.
    #[serde(default)]
    harmless: bool,
}

impl Row {
    fn has(&self, option: &str) -> bool {
        self.options.iter().any(|given| given == option)
    }

    fn fields(&self) -> ExtentFields {
        ExtentFields {
            len: self.len,
            unencoded_len: self.unencoded_len,
            unencoded_offset: self.unencoded_offset,
            compression: EncodedIoId(self.compression),
            encryption: self.encryption,
        }
    }

    /// No kernel, whatever its pages, may come to harm.
    fn is_harmless(&self, payload: &[u8]) -> bool {
        let fields = self.fields();
        let short_lzo = fields.codec() == Some(Codec::Lzo) && payload.len() < 8 && self.offset == 0;
        let harmless = |page_size| {
            let target = Target::new(self.sector_size)
                .page_size(page_size)
                .at(self.offset.cast_unsigned())
                .file_size(self.initial_size);
            let outcome = |kernel| predict(payload, &fields, &target, kernel);
            Kernel::ALL
                .into_iter()
                .all(|kernel| outcome(kernel) != Outcome::Unsafe)
        };
        !short_lzo && [4096, 16384, 65536].into_iter().all(harmless)
    }

    fn observe(&self, payload: &[u8], path: &Path) -> io::Result<Value> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .open(path)?;
        rustix::fs::fadvise(&file, 0, None, Advice::Random)?;
        if self.has("nodatacow-file") {
            rustix::fs::ioctl_setflags(&file, IFlags::NOCOW)?;
        }
        file.set_len(self.initial_size)?;
        if self.has("old-data-0xaa") {
            let len = usize::try_from(self.initial_size).map_err(io::Error::other)?;
            file.write_all_at(&vec![0xaa; len], 0)?;
        }
        let mut submission = Submission {
            flags: self.flags,
            ..Submission::new(self.offset, self.fields())
        };
        if self.has("reserved-nonzero") {
            submission.reserved = [1; 64];
        }
        let size = if self.has("three-iovecs") {
            payload.len().div_ceil(3)
        } else {
            payload.len()
        };
        let slices: Vec<_> = payload.chunks(size.max(1)).map(IoSlice::new).collect();
        let written = if self.has("read-only-descriptor") {
            ioctl::submit(File::open(path)?, &submission, &slices)
        } else {
            ioctl::submit(&file, &submission, &slices)
        };
        match written {
            Err(error) => Ok(json!({"outcome": "refused", "errno": name(&error)})),
            Ok(0) => Ok(json!({"outcome": "nothing-written"})),
            Ok(_) => self.read(payload, &file),
        }
    }

    fn read(&self, payload: &[u8], file: &File) -> io::Result<Value> {
        let offset = self.offset.cast_unsigned();
        let end = file.metadata()?.len();
        let mut bytes = Vec::new();
        let mut page = [0; 4096];
        let mut failed = None;
        while offset + (bytes.len() as u64) < end {
            match file.read_at(&mut page, offset + bytes.len() as u64) {
                Ok(0) => break,
                Ok(read) => bytes.extend_from_slice(&page[..read]),
                Err(error) => {
                    failed = Some(error);
                    break;
                }
            }
        }
        let mut stored = vec![0; 131_072];
        let stored = ioctl::encoded_read(file, offset, &mut stored).map_err(io::Error::other)?;
        let unpadded = stored.is_some_and(|stored| stored.payload_len == payload.len());
        let inline = unpadded && !payload.len().is_multiple_of(self.sector_size as usize);
        let extent = if inline { "inline" } else { "regular" };
        Ok(match failed {
            Some(error) => json!({
                "outcome": "read-error", "errno": name(&error), "good_bytes": bytes.len(),
                "extent": extent,
            }),
            None => json!({
                "outcome": "data", "len": bytes.len(), "sha256": hex(&Sha256::digest(&bytes)),
                "extent": extent,
            }),
        })
    }
}

fn name(error: &io::Error) -> String {
    let names = [
        (5, "EIO"),
        (9, "EBADF"),
        (22, "EINVAL"),
        (25, "ENOTTY"),
        (117, "EUCLEAN"),
    ];
    let known = names
        .into_iter()
        .find(|(number, _)| error.raw_os_error() == Some(*number));
    known.map_or_else(|| error.to_string(), |(_, name)| name.to_owned())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Marks the rows that may be submitted.
fn mark(rows: &str) -> Result<(), Box<dyn Error>> {
    let mut output = io::stdout().lock();
    for line in BufReader::new(File::open(rows)?).lines() {
        let line = line?;
        let row: Row = serde_json::from_str(&line)?;
        if row.is_harmless(&BASE64.decode(&row.payload)?) {
            let mut marked: Value = serde_json::from_str(&line)?;
            marked["harmless"] = true.into();
            writeln!(output, "{marked}")?;
        }
    }
    Ok(())
}

/// Submits the rows that are marked.
fn observe(rows: &str, directory: &str, kernel: &str) -> Result<(), Box<dyn Error>> {
    let path = Path::new(directory).join("observed");
    let mut output = io::stdout().lock();
    for line in BufReader::new(File::open(rows)?).lines() {
        let row: Row = serde_json::from_str(&line?)?;
        if !row.harmless {
            continue;
        }
        let outcome = row.observe(&BASE64.decode(&row.payload)?, &path)?;
        fs::remove_file(&path)?;
        let observed = json!({
            "name": row.name,
            "kernels": {kernel: outcome},
            "depends_on_memory_state": row.depends_on_memory_state,
        });
        writeln!(output, "{observed}")?;
    }
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    match arguments.as_slice() {
        [rows] => mark(rows),
        [rows, directory, kernel] => observe(rows, directory, kernel),
        _ => Err("usage: observe_kernel ROWS.jsonl [DIRECTORY NAME]".into()),
    }
}
