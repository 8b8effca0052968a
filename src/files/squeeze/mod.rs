//! Makes what files have smaller, and gives it to every file that shows it.
//!
//! New extents are made in an unnamed file of the same filesystem, with encoded writes. Then the
//! kernel compares them with each place that shows the old ones, and exchanges the extents where
//! all bytes are equal (`FIDEDUPERANGE`): in live files and in read-only snapshots, without a
//! change of content, time stamps or sharing. A crash leaves each file as it was or better.
//!
//! | file | what it does |
//! | --- | --- |
//! | `options` | how to squeeze |
//! | `plan` | the order of the work |
//! | `run` | who shows the old extents; which become new ones together |
//! | `opened` | the files that show them, opened by their numbers |
//! | `recode` | reads, and makes payloads |
//! | `crew` | who compresses |
//! | `cost` | what a change takes in the metadata |
//! | `work` | what a thread does with a stretch of extents |
//! | `outcome` | what becomes of extents, and why some are left |
//! | `scratch` | the unnamed file |
//! | `give` | has the kernel exchange |
//! | `pace` | time that is waited |
//! | `unprivileged` | the same without root: files of this user, compressed by the kernel |
//!
//! Short extents that follow each other in all files that show them become one. What is compressed
//! already is made again, and replaced where the new payload is smaller: a second run finds next to
//! nothing, a third nothing; [`SqueezeOptions::since`] spares the work.
//!
//! Space: [`Squeeze`] holds 16 MiB or one extent (128 MiB at most) of new extents per thread in
//! the unnamed files; old ones are free for others when the filesystem commits the transaction.
//!
//! Memory, above that of [`Map`]: 8 bytes per extent, and per thread 6 MiB and what its encoders
//! take.

mod cost;
mod crew;
mod give;
mod opened;
mod options;
mod outcome;
mod pace;
mod plan;
mod recode;
mod run;
mod scratch;
mod unprivileged;
mod work;

use std::collections::HashSet;
use std::fs::File;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;

pub use options::SqueezeOptions;
pub use outcome::{Left, Share, SqueezeSummary, Squeezed};
pub use unprivileged::SqueezeOwn;

use crew::Crew;
use pace::{Pace, Patience};
use plan::Plan;
use work::{Shared, Worker};

use super::{FilesError, Map, MapOptions, Names};
use crate::ioctl::{self, EncodedIo, WriteError};
use crate::pipeline;
use crate::prepare::{Preparer, Zeroes};

/// How often what was made while we worked is looked at before that is left for the next time.
const PASSES: u32 = 4;

/// Squeezes all below some paths.
///
/// ```no_run
/// use btrfs_payload::files::{Squeeze, SqueezeOptions};
/// use btrfs_payload::prepare::{Level, Options};
/// use btrfs_payload::rules::Codec;
///
/// let options = SqueezeOptions::new(Options::new(Codec::Zstd, Level::Number(15)));
/// let mut squeeze = Squeeze::new(&["/mnt/data".into()], options)?;
/// squeeze.run(|| false, |done, _| println!("{} bytes", done.before.disk_bytes))?;
/// println!("{} bytes freed", squeeze.summary().freed_bytes());
/// # Ok::<(), btrfs_payload::files::FilesError>(())
/// ```
#[derive(Debug)]
pub struct Squeeze {
    options: SqueezeOptions,
    paths: Vec<PathBuf>,
    map: Map,
    /// Where unnamed files are made.
    directory: Option<File>,
    summary: SqueezeSummary,
    /// The transaction after the last of which every extent is in the map.
    next: u64,
    /// The oldest of what is to be tried again.
    again: Option<u64>,
    is_finished: bool,
}

impl Squeeze {
    /// Finds out what there is. Needs `CAP_SYS_ADMIN`.
    ///
    /// # Errors
    /// [`FilesError`]: a path that cannot be looked at, no directory for unnamed files, options
    /// that contradict each other, a kernel without encoded writes ([`WriteError::Unsupported`]).
    pub fn new(paths: &[PathBuf], mut options: SqueezeOptions) -> Result<Self, FilesError> {
        let (map, next) = look(paths, &options)?;
        if ioctl::probe(map.top()).is_ok_and(|it| it.encoded_io == EncodedIo::Unsupported) {
            return Err(WriteError::Unsupported.into());
        }
        options.prepare = options.prepare.sector_size(map.filesystem.sector_size);
        options.prepare.zeroes = Zeroes::Data;
        // Nothing becomes inline in the unnamed files.
        options.prepare.target = options.prepare.target.at(scratch::HOLE);
        // What is wrong with them shows now.
        Preparer::new(&options.prepare)?;
        let directory = match options.dry_run {
            true => None,
            false => Some(scratch::directory(
                options.temp_dir.as_deref(),
                paths,
                &map.filesystem,
            )?),
        };
        Ok(Self {
            options,
            paths: paths.to_vec(),
            map,
            directory,
            summary: SqueezeSummary::default(),
            next,
            again: None,
            is_finished: false,
        })
    }

    /// What there is: what was found first, or, after [`Squeeze::run`], what came meanwhile.
    #[must_use]
    pub fn map(&self) -> &Map {
        &self.map
    }

    /// What is looked at: extents, but for preallocated ones.
    #[must_use]
    pub fn planned(&self) -> Share {
        let plan = Plan::new(&self.map, |extent| !extent.preallocated);
        Share::new(plan.len(), plan.disk_bytes())
    }

    /// Does it; `each` hears of everything that is done, and can ask for the names of files. Once
    /// `stop` says so it ends after what is begun; what is done stays done.
    ///
    /// # Errors
    /// [`FilesError`], for what hits everything. What keeps an extent as it is, is counted.
    pub fn run(
        &mut self,
        stop: impl Fn() -> bool + Sync,
        mut each: impl FnMut(&Squeezed, &mut Names<'_>),
    ) -> Result<(), FilesError> {
        let shared = Shared {
            crew: Crew::new(self.options.jobs, self.options.prepare.clone()),
            made: Mutex::new(HashSet::new()),
            patience: Patience::new(self.options.patience),
            pace: Pace::new(self.options.bytes_per_second),
            is_full: AtomicBool::new(false),
        };
        for passes_left in (0..PASSES).rev() {
            let is_done = self.pass(&shared, &stop, &mut each)?;
            if stop() {
                break;
            }
            if is_done || self.options.dry_run || passes_left == 0 {
                self.is_finished = true;
                break;
            }
            // What was made while we worked, but not by us.
            self.options.since = self.next;
            (self.map, self.next) = look(&self.paths, &self.options)?;
        }
        Ok(())
    }

    /// True where there was nothing to do.
    fn pass(
        &mut self,
        shared: &Shared,
        stop: &(impl Fn() -> bool + Sync),
        each: &mut impl FnMut(&Squeezed, &mut Names<'_>),
    ) -> Result<bool, FilesError> {
        let (map, options) = (&self.map, &self.options);
        let mut plan = Plan::new(map, |extent| {
            !extent.preallocated && !shared.has_made(extent.bytenr)
        });
        let is_done = plan.len() == 0;
        let (summary, again) = (&mut self.summary, &mut self.again);
        let mut names = Names::new(map);
        pipeline::ordered(
            options.jobs,
            || match stop() {
                true => Ok(None),
                false => Ok(plan.stretch()),
            },
            || {
                let mut worker = Worker::new(map, options, self.directory.as_ref(), shared)?;
                Ok(move |stretch| worker.work(stretch, stop))
            },
            |done: Result<Vec<Squeezed>, FilesError>| {
                for squeezed in done? {
                    summary.add(&squeezed);
                    if squeezed.left.is_some_and(Left::is_for_now) {
                        let oldest = again.get_or_insert(squeezed.generation);
                        *oldest = squeezed.generation.min(*oldest);
                    }
                    each(&squeezed, &mut names);
                }
                Ok::<(), FilesError>(())
            },
        )?;
        Ok(is_done)
    }

    /// What has been done so far.
    #[must_use]
    pub fn summary(&self) -> &SqueezeSummary {
        &self.summary
    }

    /// What to give as [`SqueezeOptions::since`] the next time, so that all is looked at that is
    /// made by then or was left for now ([`Left::is_for_now`]); `None` where it was stopped.
    #[must_use]
    pub fn next_generation(&self) -> Option<u64> {
        let next = self.again.map_or(self.next, |again| again.min(self.next));
        self.is_finished.then_some(next)
    }
}

/// What there is in a transaction that is complete, and the transaction after it.
fn look(paths: &[PathBuf], options: &SqueezeOptions) -> Result<(Map, u64), FilesError> {
    let mut map_options = MapOptions::default();
    (map_options.jobs, map_options.since) = (options.jobs, options.since);
    let first = paths.first().cloned().unwrap_or_default();
    let file = File::open(&first).map_err(|source| FilesError::Open {
        path: first.clone(),
        source,
    })?;
    let committed = ioctl::commit(&file).map_err(|source| FilesError::Path {
        path: first,
        source,
    })?;
    let next = committed.saturating_add(1);
    // Nothing of it was looked at: the filesystem is an older copy, or the number is made up.
    if map_options.since > next {
        map_options.since = 0;
    }
    Ok((Map::of_extents(paths, &map_options)?, next))
}
