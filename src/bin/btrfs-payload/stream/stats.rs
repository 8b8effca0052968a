//! `stream stats`: what a stream holds, and what recompressing it would give.

mod page;

use std::num::NonZeroUsize;
use std::path::PathBuf;

use anyhow::{Context, Result};
use btrfs_payload::transform::{CodecStats, Stats, StatsOptions, stats};
use serde::Serialize;

use super::faults::Faults;
use super::io::Input;
use crate::Verdict;
use crate::about::about;
use crate::args::{CommandSize, Filesystem, cannot_read, jobs};
use crate::estimates::{self, Estimate, Estimated, Now};
use crate::output::{Output, add, count};
use crate::page::HtmlFile;

#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    /// The stream, `-` for standard input
    #[arg(default_value = "-")]
    input: PathBuf,

    #[command(flatten)]
    estimate: Estimate,

    #[command(flatten)]
    filesystem: Filesystem,

    #[command(flatten)]
    command_size: CommandSize,

    #[command(flatten)]
    html: HtmlFile,

    /// Threads that work, 1024 at most; 0 for all cores
    #[arg(short, long, value_name = "N", value_parser = jobs, default_value = "0", help_heading = "Limits")]
    jobs: NonZeroUsize,
}

const AFTER_HELP: &str = "\
Examples:
  btrfs-payload stream stats backup.stream
  btrfs-payload stream stats backup.stream --estimate zstd:15,zlib:9
  btrfs-payload stream stats backup.stream --estimate zstd:3,zstd:9,zstd:15 --html stats.html

Sizes on disk are whole sectors; an inline extent takes none. Data that is cloned counts once,
where it is written. An estimate is of a sample, with its error: in 95 of 100 cases the truth is
not further away. Four times the samples halve it. There is none where all data was compressed;
it is unknown where what was compressed is all alike. The page of --html, and -v, have the time that
compressing would take here.

Lines of --format json:
  {\"kind\":\"contents\"} input, streams, bytes, command_counts (an object: name to number)
  {\"kind\":\"data\"} codec (plain, zlib, lzo, zstd, unknown), extents, data_bytes, payload_bytes,
      sectors, plain_sectors (without compression)
  {\"kind\":\"estimate\"} codec, level, samples, sectors, standard_error (sectors)

Exit status:
  0  the whole input was read
  1  the input is damaged, ends too early, or has a header without END before it or a command after
     END
  2  wrong usage, or the input cannot be read";

#[derive(Serialize)]
struct StreamLine<'a> {
    kind: &'static str,
    input: &'a str,
    streams: u64,
    bytes: u64,
    command_counts: serde_json::Map<String, serde_json::Value>,
}

#[derive(Serialize)]
struct DataLine {
    kind: &'static str,
    codec: &'static str,
    extents: u64,
    data_bytes: u64,
    payload_bytes: u64,
    sectors: u64,
    plain_sectors: u64,
}

pub(crate) fn run(args: &Args, output: &mut Output) -> Result<Verdict> {
    let mut input = Input::open(&args.input)?;
    let html = args.html.begin(output)?;
    let (name, bar, origin) = (input.name(), input.bar(), input.origin());
    let mut options = StatsOptions::default();
    options.target = args.filesystem.target();
    options.estimates = args.estimate.methods();
    options.samples = args.estimate.samples;
    let input = args.command_size.reader(input);
    let stats = stats(input, &options, args.jobs);
    bar.finish_and_clear();
    let stats = match stats {
        Ok(stats) => stats,
        Err(error) if error.is_of_stream() => {
            let error = anyhow::Error::new(error);
            if let Some(html) = html {
                html.finish(&page::damaged(&name, &error), &origin)?;
            }
            output.trouble(&error.context(about(&args.input, name)));
            return Ok(Verdict::NotSound);
        }
        Err(error) => return Err(error).with_context(|| cannot_read(&args.input)),
    };
    let sector_size = args.filesystem.sector_size;
    let estimated = stats.estimates.iter();
    let estimated = estimated.map(|estimate| Estimated::new(estimate, sector_size, args.jobs));
    let estimated: Vec<Estimated> = estimated.collect();
    print(&name, &stats, &estimated, sector_size, output)?;
    let faults = Faults {
        header_without_end: stats.header_without_end,
        command_after_end: stats.command_after_end,
        ..Faults::default()
    };
    if let Some(html) = html {
        let sector = u64::from(sector_size);
        let faults = faults.words();
        let faults = faults.as_deref();
        let page = page::page(&name, &stats, &estimated, faults, sector, output);
        html.finish(&page, &origin)?;
    }
    Ok(faults.say(&args.input, output))
}

fn print(
    name: &str,
    stats: &Stats,
    estimated: &[Estimated],
    sector_size: u32,
    output: &mut Output,
) -> Result<()> {
    let (streams, bytes) = (stats.streams, stats.bytes);
    output.moved(bytes);
    let counts = stats.commands.iter();
    let size = output.size(bytes);
    output.text(format_args!(
        "{name}: {}, {}",
        count(streams, "stream"),
        size
    ))?;
    for (kind, number) in counts.clone() {
        output.text(format_args!("  {:<16}{number:>12}", kind.name()))?;
    }
    let commands = counts.map(|(kind, number)| (kind.name().to_owned(), (*number).into()));
    output.json(&StreamLine {
        kind: "contents",
        input: name,
        streams,
        bytes,
        command_counts: commands.collect(),
    })?;
    output.text(format_args!(
        "{:<10}{:>10}{:>16}{:>16}{:>9}{:>12}{:>14}",
        "data", "extents", "bytes", "in the stream", "ratio", "sectors", "uncompressed"
    ))?;
    let codecs = stats.encoded.iter().map(|(codec, sums)| {
        let name = codec.map_or("unknown", |codec| codec.name());
        (name, sums)
    });
    let all = [("plain", &stats.plain)]
        .into_iter()
        .chain(codecs)
        .chain([("unknown", &stats.unknown)]);
    let mut sectors = 0;
    let mut parts = Vec::new();
    for (codec, sums) in all {
        add(&mut sectors, sums.sectors);
        if sums.extents > 0 {
            data(codec, sums, output)?;
            parts.push((codec.to_owned(), sums.payload));
        }
    }
    output.parts(&parts)?;
    for (estimate, estimated) in stats.estimates.iter().zip(estimated) {
        let now = Now::of_stream(sectors, sector_size);
        estimates::print(estimate, estimated, &now, output)?;
    }
    Ok(())
}

fn data(codec: &'static str, sums: &CodecStats, output: &mut Output) -> Result<()> {
    let ratio = sums.data as f64 / sums.payload.max(1) as f64;
    output.text(format_args!(
        "{codec:<10}{:>10}{:>16}{:>16}{ratio:>9.2}{:>12}{:>14}",
        sums.extents, sums.data, sums.payload, sums.sectors, sums.plain_sectors
    ))?;
    output.json(&DataLine {
        kind: "data",
        codec,
        extents: sums.extents,
        data_bytes: sums.data,
        payload_bytes: sums.payload,
        sectors: sums.sectors,
        plain_sectors: sums.plain_sectors,
    })
}
