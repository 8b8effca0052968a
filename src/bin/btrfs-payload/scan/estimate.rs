//! `scan --estimate`: what compressing the extents again would free.

use std::num::NonZeroUsize;
use std::ops::ControlFlow;

use anyhow::Result;
use btrfs_payload::files::{self, EstimateOptions, Map};

use crate::estimates::{self, Estimate, Estimated, Now};
use crate::interrupt::Gently;
use crate::output::Output;
use crate::progress::progress;

/// What was printed.
pub(super) struct Done {
    /// Bytes on disk now.
    pub(super) now: u64,
    pub(super) samples: u64,
    pub(super) estimates: Vec<Estimated>,
}

/// Estimates and prints; `unreachable` are the bytes on disk that no file shows. `None` where nothing
/// was asked for.
pub(super) fn run(
    map: &Map,
    args: &Estimate,
    unreachable: u64,
    jobs: NonZeroUsize,
    output: &mut Output,
) -> Result<Option<Done>> {
    let mut options = EstimateOptions::default();
    options.methods = args.methods();
    options.samples = args.samples;
    options.jobs = jobs;
    if options.methods.is_empty() {
        return Ok(None);
    }
    let interrupt = Gently::begin();
    let bar = progress(u64::try_from(args.samples)?);
    let estimated = files::estimate(map, &options, |done, of| {
        bar.set_length(of);
        bar.set_position(done);
        match interrupt.is_wanted() {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    });
    bar.finish_and_clear();
    let Some(estimated) = estimated? else {
        interrupt.end();
        return Ok(None);
    };
    let sector_size = map.filesystem.sector_size;
    let mut done = Done {
        now: estimated.sectors.saturating_mul(sector_size.into()),
        samples: 0,
        estimates: Vec::new(),
    };
    for estimate in &estimated.estimates {
        let now = Now::of_extents(estimated.sectors, sector_size, unreachable);
        let said = Estimated::new(estimate, sector_size, jobs);
        estimates::print(estimate, &said, &now, output)?;
        done.samples = estimate.samples;
        done.estimates.push(said);
    }
    if interrupt.is_wanted() {
        output.finish()?;
        interrupt.end();
    }
    Ok(Some(done))
}
