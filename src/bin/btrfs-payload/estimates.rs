//! Estimates of what compressing again would give: the options, and how they are printed.

use std::num::NonZeroUsize;
use std::time::Duration;

use anyhow::Result;
use btrfs_payload::prepare::{self, Level};
use btrfs_payload::rules::Codec;
use serde::Serialize;

use crate::args::Method;
use crate::output::{Output, count};
use crate::words::{codecs, words};

#[derive(Debug, clap::Args)]
pub(crate) struct Estimate {
    /// Estimate what recompressing would give, by compressing a sample; several, separated by commas
    #[arg(short, long, value_name = "CODEC[:LEVEL]", value_delimiter = ',',
          value_parser = words(str::parse::<Method>, codecs), hide_possible_values = true)]
    estimate: Vec<Method>,

    /// Pieces of up to 128 KiB that an estimate is made from, 30 at least
    #[arg(long, default_value_t = 400, value_name = "N", value_parser = samples)]
    pub(crate) samples: usize,
}

impl Estimate {
    /// What was asked for.
    pub(crate) fn methods(&self) -> Vec<(Codec, Level)> {
        let methods = self.estimate.iter();
        let methods = methods.map(|method| (method.codec, method.level.unwrap_or_default()));
        methods.collect()
    }
}

/// With fewer pieces the truth is further away than the error says.
const MIN_SAMPLES: usize = 30;

fn samples(text: &str) -> Result<usize, String> {
    let number = text.parse().ok().filter(|&number| number >= MIN_SAMPLES);
    number.ok_or_else(|| format!("a number is expected, {MIN_SAMPLES} at least"))
}

/// An estimate as a JSON line.
#[derive(Serialize)]
struct EstimateLine {
    kind: &'static str,
    codec: &'static str,
    level: String,
    samples: u64,
    sectors: f64,
    standard_error: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sectors_now: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    unreachable_bytes: Option<u64>,
}

/// Standard errors within which the truth is, with 95 % certainty.
const SURE: f64 = 1.96;

/// What compressing again would give.
#[derive(Debug)]
pub(crate) struct Estimated {
    pub(crate) codec: Codec,
    /// Codec and level.
    pub(crate) method: String,
    /// Bytes on disk.
    pub(crate) bytes: u64,
    /// How far away the truth may be with 95 % certainty, bytes; `None` where that is not known.
    pub(crate) error: Option<u64>,
    /// How long it takes.
    pub(crate) time: Duration,
}

impl Estimated {
    /// On a filesystem with sectors of this size, by so many threads.
    pub(crate) fn new(estimate: &prepare::Estimate, sector_size: u32, jobs: NonZeroUsize) -> Self {
        let size = f64::from(sector_size);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a size that is not negative, and no more than there is"
        )]
        let bytes = |sectors: f64| (sectors * size).round() as u64;
        let jobs = u32::try_from(jobs.get()).unwrap_or(u32::MAX);
        Self {
            codec: estimate.codec,
            method: format!("{}:{}", estimate.codec, estimate.level),
            bytes: bytes(estimate.sectors),
            error: estimate.standard_error.map(|error| bytes(error * SURE)),
            time: estimate.work.checked_div(jobs).unwrap_or_default(),
        }
    }

    /// The time in words. It is a guess: one figure that matters is enough.
    pub(crate) fn time_text(&self) -> String {
        let seconds = self.time.as_secs();
        match seconds {
            0 => "under 1 s".to_owned(),
            1..120 => format!("{seconds} s"),
            120..7200 => format!("{} min", seconds / 60),
            _ => format!("{} h", seconds / 3600),
        }
    }
}

/// What an estimate is compared with.
pub(crate) struct Now {
    sectors: u64,
    bytes: u64,
    /// On a filesystem: bytes that no file shows, which are gone afterwards.
    unreachable: Option<u64>,
}

impl Now {
    /// What a stream takes.
    pub(crate) fn of_stream(sectors: u64, sector_size: u32) -> Self {
        Self {
            sectors,
            bytes: sectors.saturating_mul(u64::from(sector_size)),
            unreachable: None,
        }
    }

    /// What the extents of a filesystem take.
    pub(crate) fn of_extents(sectors: u64, sector_size: u32, unreachable: u64) -> Self {
        Self {
            unreachable: Some(unreachable),
            ..Self::of_stream(sectors, sector_size)
        }
    }
}

/// Prints an estimate.
pub(crate) fn print(
    estimate: &prepare::Estimate,
    estimated: &Estimated,
    now: &Now,
    output: &mut Output,
) -> Result<()> {
    let [after, before] = [estimated.bytes, now.bytes].map(|bytes| output.size(bytes));
    let error = match estimated.error {
        Some(0) => String::new(),
        Some(error) => format!(" +- {} (95 %)", output.size(error)),
        None => " (error unknown)".to_owned(),
    };
    let freed = now.unreachable.map(|unreachable| {
        let freed = output.size(now.bytes.saturating_sub(estimated.bytes));
        match unreachable {
            0 => format!(", {freed} less"),
            _ => format!(
                ", {freed} less, {} of that unreachable now",
                output.size(unreachable)
            ),
        }
    });
    output.text(format_args!(
        "{} would take {after}{error} on disk instead of {before} ({:.1} %){}; {} compressed",
        estimated.method,
        estimate.sectors / (now.sectors.max(1) as f64) * 100.0,
        freed.unwrap_or_default(),
        count(estimate.samples, "piece"),
    ))?;
    output.detail(format_args!(
        "compressing with {} would take {} here",
        estimated.method,
        estimated.time_text()
    ))?;
    output.json(&EstimateLine {
        kind: "estimate",
        codec: estimate.codec.name(),
        level: estimate.level.to_string(),
        samples: estimate.samples,
        sectors: estimate.sectors,
        standard_error: estimate.standard_error,
        sectors_now: now.unreachable.map(|_| now.sectors),
        unreachable_bytes: now.unreachable,
    })
}
