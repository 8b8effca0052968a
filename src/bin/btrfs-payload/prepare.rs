//! `prepare`: extents of a file, a table of what is saved, and a verdict on each.

use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use btrfs_payload::extent::{Content, EncodedExtent, FileExtent};
use btrfs_payload::prepare::{
    Options, PlainReason, Prepared, prepare_file_with, prepare_reader_with,
};
use btrfs_payload::rules::{Codec, ExtentFields, Sectors, Target, plain_sectors};
use btrfs_payload::validate::validate;
use serde::Serialize;

use crate::Verdict;
use crate::about::bail_about;
use crate::args::{Compression, cannot_read, open_input, sector_size};
use crate::explain::with_sound;
use crate::manifest::{self, Digests, Encoded, Line};
use crate::new_directory::NewDirectory;
use crate::origin::Origin;
use crate::output::{Output, add, count, shown};
use crate::progress::progress;

#[derive(Debug, clap::Args)]
#[command(after_help = with_sound(AFTER_HELP))]
pub(crate) struct Args {
    /// The file, `-` for standard input
    file: PathBuf,

    #[command(flatten)]
    compression: Compression,

    /// Sector size of the filesystem that the extents are for: 4K to 64K
    #[arg(long, default_value = "4K", value_name = "BYTES", value_parser = sector_size, help_heading = "Filesystem")]
    sector_size: u32,

    /// Write one file per payload and manifest.jsonl into this new directory
    #[arg(short, long, value_name = "DIR", help_heading = "Output")]
    out: Option<PathBuf>,

    /// Replace the directory if it is one of these, with nothing in it but what its manifest names
    #[arg(short, long, help_heading = "Output")]
    force: bool,
}

const AFTER_HELP: &str = "\
Examples:
  btrfs-payload prepare disk.img --codec zstd --level 19
  btrfs-payload prepare disk.img --codec zstd:15,zlib:9 --out extents/
  tar -c dir | btrfs-payload prepare -

Exit status:
  0  every payload is sound
  1  a payload is not
  2  wrong usage, or a file cannot be read or written";

/// One extent, as a JSON line.
#[derive(Default, Serialize)]
struct Row<'a> {
    kind: &'static str,
    offset: u64,
    len: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    codec: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    level: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload_len: Option<u64>,
    /// Sectors on disk, and how many fewer than plain data takes.
    sectors: u64,
    saved_sectors: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    sound: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

/// The sums, as the last JSON line.
#[derive(Default, Serialize)]
struct Total {
    kind: &'static str,
    extents: u64,
    encoded: u64,
    plain: u64,
    holes: u64,
    data_bytes: u64,
    payload_bytes: u64,
    plain_sectors: u64,
    sectors: u64,
    saved_bytes: u64,
    unsound: u64,
}

pub(crate) fn run(args: &Args, output: &mut Output) -> Result<Verdict> {
    let options = args.compression.checked_options(args.sector_size)?;
    let (input, origin) = Input::open(&args.file)?;
    let directory = args
        .out
        .as_ref()
        .map(|out| NewDirectory::create(out, args.force, &origin))
        .transpose()?;
    let mut table = Table {
        output,
        options: &options,
        total: Total {
            kind: "total",
            ..Total::default()
        },
        manifest: directory
            .as_ref()
            .map(|directory| directory.open(manifest::NAME).map(manifest::Writer::new))
            .transpose()?,
        directory: directory.as_ref(),
        file_size: None,
    };
    let jobs = args.compression.jobs();
    let name = args.file.to_string_lossy();
    let (filesystem, noted) = (options.target, args.out.is_some());
    let result = match input {
        Input::Stream(reader) => {
            table.start(&name, None)?;
            let inspect = |extent: &FileExtent<_, _>, data: &[u8]| {
                let target = target_at(&filesystem, extent.offset, None);
                Inspected::new(&extent.content, data, &target, noted)
            };
            let consume = |extent, inspected| table.extent(&extent, inspected);
            prepare_reader_with(reader, &options, jobs, inspect, consume)
        }
        Input::File(file, size) => {
            table.start(&name, Some(size))?;
            let bar = progress(size);
            let inspect = |extent: &FileExtent<_, _>, data: &[u8]| {
                let target = target_at(&filesystem, extent.offset, Some(size));
                Inspected::new(&extent.content, data, &target, noted)
            };
            let consume = |extent: FileExtent<_>, inspected| {
                bar.inc(extent.len);
                table.extent(&extent, inspected)
            };
            let result = prepare_file_with(&file, &options, jobs, inspect, consume);
            bar.finish_and_clear();
            result
        }
    };
    result.map_err(|error| match error.into_consumer() {
        Ok(error) => error,
        Err(error) => anyhow::Error::new(error).context(cannot_read(&args.file)),
    })?;
    let verdict = table.finish()?;
    if let Some(directory) = directory {
        directory.finish()?;
    }
    Ok(verdict)
}

/// Where the data is from.
enum Input {
    /// A file and its size, bytes.
    File(File, u64),
    /// What is read from its beginning to its end.
    Stream(File),
}

impl Input {
    fn open(path: &Path) -> Result<(Self, Origin)> {
        let file = open_input(path)?;
        let origin = Origin::of(&file);
        if path == Path::new("-") {
            return Ok((Self::Stream(file), origin));
        }
        let metadata = file.metadata().with_context(|| cannot_read(path))?;
        if metadata.is_dir() {
            bail_about!(
                path,
                "{} is a directory; name a file, or - for standard input",
                shown(path)
            );
        }
        // Files of the kernel's (proc) have data and no size.
        let input = if metadata.is_file() && metadata.len() > 0 {
            Self::File(file, metadata.len())
        } else {
            Self::Stream(file)
        };
        Ok((input, origin))
    }
}

/// The target of an extent at `offset` of a file of that size, where it is known.
fn target_at(filesystem: &Target, offset: u64, file_size: Option<u64>) -> Target {
    filesystem.at(offset).file_size(file_size.unwrap_or(0))
}

/// What is found out about an extent on the threads that encode.
struct Inspected {
    /// The judge's verdict.
    sound: bool,
    /// Why it is plain.
    reason: Option<PlainReason>,
    digests: Digests,
}

impl Inspected {
    /// Digests are made where a manifest will have them.
    fn new(prepared: &Prepared, data: &[u8], target: &Target, noted: bool) -> Self {
        let mut digests = Digests::default();
        if noted && *prepared != Content::Hole {
            digests.data_sha256 = Some(manifest::sha256(data));
        }
        let (sound, reason) = match prepared {
            Content::Encoded(encoded) => {
                digests.payload_sha256 = noted.then(|| manifest::sha256(encoded.payload()));
                let report = validate(encoded.payload(), encoded.fields(), target);
                (report.is_sound(), None)
            }
            Content::Plain(reason) => (true, Some(*reason)),
            Content::Hole => (true, None),
        };
        Self {
            sound,
            reason,
            digests,
        }
    }
}

/// The table while it grows.
struct Table<'a> {
    output: &'a mut Output,
    options: &'a Options,
    total: Total,
    directory: Option<&'a NewDirectory>,
    manifest: Option<manifest::Writer<BufWriter<File>>>,
    file_size: Option<u64>,
}

impl Table<'_> {
    fn start(&mut self, name: &str, size: Option<u64>) -> Result<()> {
        self.file_size = size;
        self.output.row(format_args!(
            "{:>14}  {:<6}{:<10}{:>8}{:>9}{:>9}{:>8}  verdict",
            "offset", "codec", "level", "len", "payload", "sectors", "saved"
        ))?;
        let sector_size = self.options.target.sector_size;
        self.note(&manifest::header(name, size, sector_size))
    }

    /// A line of the manifest, where there is one.
    fn note(&mut self, line: &Line) -> Result<()> {
        match &mut self.manifest {
            Some(manifest) => manifest.line(line),
            None => Ok(()),
        }
    }

    fn extent(&mut self, extent: &FileExtent<EncodedExtent>, inspected: Inspected) -> Result<()> {
        let Inspected {
            sound,
            reason,
            digests,
        } = inspected;
        let &FileExtent { offset, len, .. } = extent;
        let target = target_at(&self.options.target, offset, self.file_size);
        add(&mut self.total.extents, 1);
        add(&mut self.total.data_bytes, len);
        match &extent.content {
            Content::Encoded(encoded) => {
                let (payload, fields) = (encoded.payload(), encoded.fields());
                let line = Encoded::new(offset, fields, payload.len(), digests);
                if let Some(directory) = self.directory {
                    directory.file(&line.payload, payload)?;
                }
                self.note(&Line::Encoded(line))?;
                add(&mut self.total.encoded, 1);
                add(&mut self.total.unsound, u64::from(!sound));
                self.encoded_row(offset, fields, payload.len() as u64, &target, sound)
            }
            Content::Plain(data) => {
                let reason = reason.map(|reason| reason.to_string()).unwrap_or_default();
                let name = manifest::plain_name(offset);
                if let Some(directory) = self.directory {
                    directory.file(&name, data)?;
                }
                self.note(&Line::Plain {
                    offset,
                    len,
                    data_sha256: digests.data_sha256,
                    data: Some(name),
                    reason: reason.clone(),
                })?;
                add(&mut self.total.plain, 1);
                self.plain_row(offset, len, &target, reason)
            }
            Content::Hole => {
                self.note(&Line::Hole { offset, len })?;
                add(&mut self.total.holes, 1);
                self.output.row(format_args!(
                    "{offset:>14}  {:<16}{len:>8}{:>9}{:>9}{:>8}",
                    "hole", "-", 0, "-"
                ))?;
                self.output.json(&Row {
                    kind: "hole",
                    offset,
                    len,
                    ..Row::default()
                })
            }
        }
    }

    /// The level that was asked for a codec; all of them where it was named more than once.
    fn level(&self, codec: Option<Codec>) -> String {
        let methods = self.options.methods.iter();
        let levels = methods.filter(|(of, _)| Some(*of) == codec);
        let levels: Vec<String> = levels.map(|(_, level)| level.to_string()).collect();
        levels.join("|")
    }

    fn encoded_row(
        &mut self,
        offset: u64,
        fields: &ExtentFields,
        payload_len: u64,
        target: &Target,
        sound: bool,
    ) -> Result<()> {
        let Sectors { plain, encoded, .. } = Sectors::of(payload_len, fields, target);
        add(&mut self.total.payload_bytes, payload_len);
        add(&mut self.total.plain_sectors, plain);
        add(&mut self.total.sectors, encoded);
        let codec = manifest::codec_name(fields.compression);
        let level = self.level(fields.compression.codec());
        let saved = plain.saturating_sub(encoded);
        self.output.row(format_args!(
            "{offset:>14}  {codec:<6}{level:<10}{:>8}{payload_len:>9}{encoded:>9}{:>8}  {}",
            fields.len,
            percent(saved, plain),
            if sound { "sound" } else { "NOT SOUND" },
        ))?;
        self.output.json(&Row {
            kind: "encoded",
            offset,
            len: fields.len,
            codec: Some(codec),
            level: Some(&level),
            payload_len: Some(payload_len),
            sectors: encoded,
            saved_sectors: saved,
            sound: Some(sound),
            ..Row::default()
        })
    }

    fn plain_row(&mut self, offset: u64, len: u64, target: &Target, reason: String) -> Result<()> {
        let plain = plain_sectors(len, target);
        add(&mut self.total.payload_bytes, len);
        add(&mut self.total.plain_sectors, plain);
        add(&mut self.total.sectors, plain);
        self.output.row(format_args!(
            "{offset:>14}  {:<16}{len:>8}{:>9}{plain:>9}{:>8}  {reason}",
            "plain", "-", "-"
        ))?;
        self.output.json(&Row {
            kind: "plain",
            offset,
            len,
            sectors: plain,
            reason: Some(reason),
            ..Row::default()
        })
    }

    fn finish(mut self) -> Result<Verdict> {
        if let Some(manifest) = self.manifest {
            manifest.finish()?;
        }
        let total = &mut self.total;
        let sector_size = u64::from(self.options.target.sector_size);
        let bytes = |sectors: u64| sectors.saturating_mul(sector_size);
        let saved = total.plain_sectors.saturating_sub(total.sectors);
        total.saved_bytes = bytes(saved);
        let [data, on_disk, plain] = [
            total.data_bytes,
            bytes(total.sectors),
            bytes(total.plain_sectors),
        ]
        .map(|bytes| self.output.size(bytes));
        if total.extents == 0 {
            self.output.text(format_args!(
                "the input is empty, and so there is no extent"
            ))?;
        }
        let line = format!(
            "{data} in {} ({} encoded, {} plain, {}): {on_disk} on disk instead of {plain}, {} \
             saved; {}",
            count(total.extents, "extent"),
            total.encoded,
            total.plain,
            count(total.holes, "hole"),
            percent(saved, total.plain_sectors),
            if total.encoded == 0 {
                "there is no payload to judge".to_owned()
            } else if total.unsound == 0 {
                "every payload is sound".to_owned()
            } else {
                format!("{} NOT sound", count(total.unsound, "payload"))
            },
        );
        self.output
            .sum(total.unsound == 0, format_args!("{line}"))?;
        self.output.json(total)?;
        // Whoever is not told of the extents does not get them either.
        self.output.finish()?;
        Ok(if total.unsound == 0 {
            Verdict::Sound
        } else {
            Verdict::NotSound
        })
    }
}

fn percent(part: u64, whole: u64) -> String {
    match part.saturating_mul(100).checked_div(whole) {
        Some(percent) => format!("{percent} %"),
        None => "-".to_owned(),
    }
}
