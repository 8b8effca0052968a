//! What is estimated of the extents of a tree against a census of them by other means.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)] // helpers fail as tests do

mod support;

use std::fs::{self, File};
use std::num::NonZeroUsize;
use std::ops::ControlFlow;
use std::os::unix::fs::FileExt;
use std::path::Path;

use btrfs_payload::extent::Content;
use btrfs_payload::files::{EstimateOptions, Estimates, Map, MapOptions, estimate};
use btrfs_payload::ioctl;
use btrfs_payload::prepare::{Level, Options, Prepared, Zeroes, prepare_extent};
use btrfs_payload::rules::{Codec, ExtentFields, Target};
use btrfs_payload::validate::decode;
use support::{Mount, create, snapshot, subvolume, text};

const SECTOR: u64 = 4096;

const METHODS: [(Codec, Level); 2] = [
    (Codec::Zstd, Level::Number(9)),
    (Codec::Lzo, Level::Default),
];

fn sync(fs: &Mount) {
    rustix::fs::syncfs(File::open(fs.path()).unwrap()).unwrap();
}

/// What is known when it is ended after so many samples.
fn stopped_after(path: &Path, samples: usize, of: usize) -> Estimates {
    let map = Map::new(&[path.to_owned()], &MapOptions::default()).unwrap();
    let mut options = EstimateOptions::default();
    options.methods = METHODS.to_vec();
    options.samples = of;
    let each = |done, _| match done < u64::try_from(samples).unwrap() {
        true => ControlFlow::Continue(()),
        false => ControlFlow::Break(()),
    };
    estimate(&map, &options, each).unwrap().unwrap()
}

fn estimated(path: &Path, samples: usize) -> Estimates {
    let map = Map::new(&[path.to_owned()], &MapOptions::default()).unwrap();
    let of = |jobs| {
        let mut options = EstimateOptions::default();
        options.methods = METHODS.to_vec();
        options.samples = samples;
        options.jobs = NonZeroUsize::new(jobs).unwrap();
        estimate(&map, &options, |_, _| ControlFlow::Continue(()))
            .unwrap()
            .unwrap()
    };
    let (one, mut three) = (of(1), of(3));
    // What was measured is another each time.
    for (a, b) in three.estimates.iter_mut().zip(&one.estimates) {
        a.work = b.work;
    }
    assert_eq!(one, three);
    one
}

/// Sectors now, and with each method: every extent of every file is read as it is stored, and made
/// again. For files that share nothing and show all that they have.
fn census(path: &Path) -> (u64, [u64; 2]) {
    let (mut now, mut after) = (0, [0; 2]);
    for entry in fs::read_dir(path).unwrap() {
        let entry = entry.unwrap().path();
        let of = if entry.is_dir() {
            census(&entry)
        } else {
            census_of_file(&entry)
        };
        now += of.0;
        after = [after[0] + of.1[0], after[1] + of.1[1]];
    }
    (now, after)
}

fn census_of_file(path: &Path) -> (u64, [u64; 2]) {
    // Not at the start of a file, where some would be inline.
    let place = Target::default().at(SECTOR);
    let (mut now, mut after) = (0, [0; 2]);
    let file = File::open(path).unwrap();
    let mut inline = false;
    ioctl::fiemap(&file, |extent| inline |= extent.inline).unwrap();
    if inline {
        return (now, after);
    }
    for extent in ioctl::extents(file) {
        let extent = extent.unwrap();
        let (sectors, data) = match extent.content {
            Content::Hole => continue,
            Content::Plain(data) => (extent.len.div_ceil(SECTOR), data),
            Content::Encoded(claimed) => {
                let payload = u64::try_from(claimed.payload.len()).unwrap();
                let fields = ExtentFields {
                    len: claimed.fields.unencoded_len,
                    ..claimed.fields
                };
                let data = decode(&claimed.payload, &fields, &place).unwrap();
                (payload.div_ceil(SECTOR), data)
            }
        };
        now += sectors;
        for (sum, (codec, level)) in after.iter_mut().zip(METHODS) {
            let mut options = Options::new(codec, level);
            options.zeroes = Zeroes::Data;
            options.target = place;
            let made = match prepare_extent(&data, &options).unwrap() {
                Prepared::Encoded(made) => u64::try_from(made.payload().len())
                    .unwrap()
                    .div_ceil(SECTOR),
                _ => sectors,
            };
            *sum += made.min(sectors);
        }
    }
    (now, after)
}

/// Whether the truth is where the estimates say, for each that says it.
fn holds(estimates: &Estimates, truth: [u64; 2]) -> Vec<bool> {
    let estimates = estimates.estimates.iter().zip(truth);
    let held = estimates.filter_map(|(estimate, truth)| {
        let off = (estimate.sectors - truth as f64).abs();
        Some(off <= 1.96 * estimate.standard_error? + 0.5)
    });
    held.collect()
}

#[test]
fn the_truth_is_as_near_as_is_said() {
    let mut held = Vec::new();
    for option in ["compress=no", "compress-force=zstd:1", "compress=lzo"] {
        let name = "the_truth_is_as_near_as_is_said";
        let options = support::Options::default().mounted_with(option);
        let Some(fs) = support::btrfs(name, &options) else {
            return;
        };
        // Programs, sources, what is compressed already, and made up.
        for sample in support::corpus(40 << 20) {
            fs::write(fs.join(&sample.name), &sample.data).unwrap();
        }
        // Files of a sector or so; of those that are inline nothing is estimated.
        for (number, sample) in support::generated(1 << 20)
            .iter()
            .cycle()
            .take(600)
            .enumerate()
        {
            let at = number * 7919 % 100_000;
            let len = 2500 + number * 31 % 9000;
            fs::write(
                fs.join(format!("small {number}")),
                &sample.data[at..at + len],
            )
            .unwrap();
        }
        sync(&fs);
        let (now, truth) = census(&fs.path());
        for samples in [100, 200, 400] {
            let estimates = estimated(&fs.path(), samples);
            held.extend(holds(&estimates, truth));
        }
        // Ended early it is as if fewer had been asked for.
        let (mut early, fewer) = (
            stopped_after(&fs.path(), 150, 400),
            estimated(&fs.path(), 150),
        );
        for (a, b) in early.estimates.iter_mut().zip(&fewer.estimates) {
            a.work = b.work;
        }
        assert_eq!(early, fewer);
        // All of it: nothing is left to chance.
        let all = estimated(&fs.path(), usize::MAX / 4);
        assert_eq!((all.sectors, all.unreachable_sectors), (now, 0), "{option}");
        for (estimate, truth) in all.estimates.iter().zip(truth) {
            assert_eq!(estimate.standard_error, Some(0.0));
            assert!(
                (estimate.sectors - truth as f64).abs() < 0.01,
                "{option}: {estimate:?} {truth}"
            );
        }
    }
    let missed = held.iter().filter(|held| !**held).count();
    // With 95 % certainty each, more than four of 18 are one case in a thousand.
    assert!(missed <= 4 && held.len() > 12, "{missed} of {}", held.len());
}

/// However many files show an extent, and whatever part of it.
#[test]
fn extents_count_once_and_what_no_file_shows_is_gone() {
    let name = "extents_count_once_and_what_no_file_shows_is_gone";
    let Some(fs) = support::btrfs(name, &support::Options::default()) else {
        return;
    };
    let live = fs.join("live");
    subvolume(&live);
    let file = create(live.join("file"));
    file.write_all_at(&text(1 << 20), 0).unwrap();
    file.sync_all().unwrap();
    sync(&fs);
    let (now, truth) = census(&live);
    assert_eq!(now, 256);
    let clone = create(live.join("clone"));
    rustix::fs::ioctl_ficlone(&clone, &file).unwrap();
    clone.sync_all().unwrap();
    snapshot(&live, &fs.join("frozen"), &["-r"]);
    sync(&fs);
    let check = |expected: (u64, u64), truth: [u64; 2]| {
        let all = estimated(&fs.path(), 1000);
        assert_eq!((all.sectors, all.unreachable_sectors), expected);
        for (estimate, truth) in all.estimates.iter().zip(truth) {
            assert!(
                (estimate.sectors - truth as f64).abs() < 0.01,
                "{estimate:?} {truth}"
            );
        }
    };
    check((256, 0), truth);
    // A file without checksums, and what it shares with nobody, cannot be compressed.
    let plain = support::chattr_c(&fs.join("plain"));
    plain.write_all_at(&text(64 * 1024), 0).unwrap();
    plain.sync_all().unwrap();
    sync(&fs);
    check((256 + 16, 0), truth.map(|sectors| sectors + 16));
    drop((file, clone, plain));
    // Only 128 KiB in the middle are left.
    for path in ["live/file", "plain"] {
        fs::remove_file(fs.join(path)).unwrap();
    }
    let clone = fs::OpenOptions::new()
        .write(true)
        .open(live.join("clone"))
        .unwrap();
    clone.set_len(512 * 1024).unwrap();
    rustix::fs::fallocate(
        &clone,
        rustix::fs::FallocateFlags::PUNCH_HOLE | rustix::fs::FallocateFlags::KEEP_SIZE,
        0,
        384 * 1024,
    )
    .unwrap();
    clone.sync_all().unwrap();
    support::delete_subvolume(&fs.join("frozen"));
    sync(&fs);
    let left = census(&live);
    check((256, 256 - 32), left.1);
}
