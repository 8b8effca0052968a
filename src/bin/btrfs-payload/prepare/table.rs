//! The extents of a file as a table, and their sums.

use std::fs::File;
use std::io::BufWriter;
use std::path::Path;

use anyhow::Result;
use btrfs_payload::extent::{Content, EncodedExtent, FileExtent};
use btrfs_payload::prepare::{Options, PlainReason, Prepared};
use btrfs_payload::rules::{Codec, ExtentFields, Sectors, Target, plain_sectors};
use btrfs_payload::validate::validate;
use serde::Serialize;

use crate::Verdict;
use crate::bars::{Bars, Strip};
use crate::manifest::{self, Digests, Encoded, Line};
use crate::new_directory::NewDirectory;
use crate::output::{Output, add, count, input_name, percent};

/// One extent, as a JSON line.
#[derive(Default, Serialize)]
struct Row<'a> {
    kind: &'static str,
    input: &'a str,
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

/// The sums of a file, or of several.
#[derive(Debug, Default, Serialize)]
pub(super) struct Total {
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

impl Total {
    pub(super) fn verdict(&self) -> Verdict {
        match self.unsound {
            0 => Verdict::Sound,
            _ => Verdict::NotSound,
        }
    }

    pub(super) fn add(&mut self, of: &Self) {
        for (sum, more) in [
            (&mut self.extents, of.extents),
            (&mut self.encoded, of.encoded),
            (&mut self.plain, of.plain),
            (&mut self.holes, of.holes),
            (&mut self.data_bytes, of.data_bytes),
            (&mut self.payload_bytes, of.payload_bytes),
            (&mut self.plain_sectors, of.plain_sectors),
            (&mut self.sectors, of.sectors),
            (&mut self.saved_bytes, of.saved_bytes),
            (&mut self.unsound, of.unsound),
        ] {
            add(sum, more);
        }
    }

    /// The sums in words; sectors are of so many bytes.
    pub(super) fn text(&self, sector_size: u32, output: &Output) -> String {
        let bytes = |sectors: u64| sectors.saturating_mul(u64::from(sector_size));
        let [data, on_disk, plain] = [
            self.data_bytes,
            bytes(self.sectors),
            bytes(self.plain_sectors),
        ]
        .map(|bytes| output.size(bytes));
        format!(
            "{data} in {} ({} encoded, {} plain, {}): {on_disk} on disk instead of {plain}, {} \
             saved; {}",
            count(self.extents, "extent"),
            self.encoded,
            self.plain,
            count(self.holes, "hole"),
            percent(
                self.plain_sectors.saturating_sub(self.sectors),
                self.plain_sectors
            ),
            if self.encoded == 0 {
                "there is no payload to judge".to_owned()
            } else if self.unsound == 0 {
                "every payload is sound".to_owned()
            } else {
                format!("{} NOT sound", count(self.unsound, "payload"))
            },
        )
    }
}

/// The sums of a file, as the last JSON line of it.
#[derive(Serialize)]
struct TotalLine<'a> {
    kind: &'static str,
    input: &'a str,
    #[serde(flatten)]
    total: &'a Total,
}

/// The target of an extent at `offset` of a file of that size, where it is known.
pub(super) fn target_at(filesystem: &Target, offset: u64, file_size: Option<u64>) -> Target {
    filesystem.at(offset).file_size(file_size.unwrap_or(0))
}

/// What is found out about an extent on the threads that encode.
pub(super) struct Inspected {
    /// The judge's verdict.
    sound: bool,
    /// Why it is plain.
    reason: Option<PlainReason>,
    digests: Digests,
}

impl Inspected {
    /// Digests are made where a manifest will have them.
    pub(super) fn new(prepared: &Prepared, data: &[u8], target: &Target, noted: bool) -> Self {
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

/// Bytes that are stored of an extent; `None` for a hole.
fn stored(content: &Content<EncodedExtent>) -> Option<u64> {
    match content {
        Content::Encoded(extent) => Some(extent.payload().len() as u64),
        Content::Plain(data) => Some(data.len() as u64),
        Content::Hole => None,
    }
}

/// The table while it grows.
pub(super) struct Table<'a> {
    output: &'a mut Output,
    options: &'a Options,
    /// What the file is called.
    input: String,
    /// It is one of several, and its lines say which.
    is_named: bool,
    total: Total,
    directory: Option<&'a NewDirectory>,
    manifest: Option<manifest::Writer<BufWriter<File>>>,
    file: &'a Path,
    file_size: Option<u64>,
    /// For a terminal.
    strip: Option<(Bars, Strip)>,
}

impl<'a> Table<'a> {
    pub(super) fn new(
        output: &'a mut Output,
        options: &'a Options,
        file: &'a Path,
        is_named: bool,
        directory: Option<&'a NewDirectory>,
    ) -> Result<Self> {
        let strip = output.bars().map(|bars| (bars, Strip::default()));
        Ok(Self {
            strip,
            output,
            options,
            input: input_name(file),
            is_named,
            total: Total::default(),
            manifest: directory
                .map(|directory| directory.open(manifest::NAME).map(manifest::Writer::new))
                .transpose()?,
            directory,
            file,
            file_size: None,
        })
    }

    pub(super) fn start(&mut self, size: Option<u64>) -> Result<()> {
        self.file_size = size;
        if self.is_named {
            self.output.row(format_args!("{}:", self.input))?;
        }
        self.output.row(format_args!(
            "{:>14}  {:<6}{:<10}{:>8}{:>9}{:>9}{:>8}  verdict",
            "offset", "codec", "level", "len", "payload", "sectors", "saved"
        ))?;
        let sector_size = self.options.target.sector_size;
        let name = self.file.to_string_lossy();
        self.note(&manifest::header(&name, size, sector_size))
    }

    /// A line of the manifest, where there is one.
    fn note(&mut self, line: &Line) -> Result<()> {
        match &mut self.manifest {
            Some(manifest) => manifest.line(line),
            None => Ok(()),
        }
    }

    pub(super) fn extent(
        &mut self,
        extent: &FileExtent<EncodedExtent>,
        inspected: Inspected,
    ) -> Result<()> {
        let Inspected {
            sound,
            reason,
            digests,
        } = inspected;
        let &FileExtent { offset, len, .. } = extent;
        let target = target_at(&self.options.target, offset, self.file_size);
        add(&mut self.total.extents, 1);
        add(&mut self.total.data_bytes, len);
        if let Some((_, strip)) = &mut self.strip {
            strip.add(offset, len, stored(&extent.content));
        }
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
                    input: &self.input,
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
            input: &self.input,
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
            input: &self.input,
            offset,
            len,
            sectors: plain,
            reason: Some(reason),
            ..Row::default()
        })
    }

    pub(super) fn finish(mut self) -> Result<Total> {
        if let Some(manifest) = self.manifest {
            manifest.finish()?;
        }
        let total = &mut self.total;
        let sector_size = self.options.target.sector_size;
        let saved = total.plain_sectors.saturating_sub(total.sectors);
        total.saved_bytes = saved.saturating_mul(u64::from(sector_size));
        let name = match self.is_named {
            true => format!("{}: ", self.input),
            false => String::new(),
        };
        if total.extents == 0 {
            self.output.text(format_args!(
                "{name}the input is empty, and so there is no extent"
            ))?;
        }
        if let Some((bars, strip)) = &self.strip {
            for line in bars.strip(strip) {
                self.output.row(format_args!("{line}"))?;
            }
        }
        self.output.moved(total.data_bytes);
        let line = total.text(sector_size, self.output);
        self.output
            .sum(total.unsound == 0, format_args!("{name}{line}"))?;
        self.output.json(&TotalLine {
            kind: "total",
            input: &self.input,
            total,
        })?;
        // Whoever is not told of the extents does not get them either.
        self.output.finish()?;
        Ok(self.total)
    }
}
