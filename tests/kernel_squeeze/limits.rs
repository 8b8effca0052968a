//! What options and the filesystem allow: what is left, given back, waited for.

use std::fs;
use std::io::IoSliceMut;
use std::num::NonZeroUsize;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use btrfs_payload::files::{Left, Squeeze, SqueezeOptions};
use rustix::fs::FallocateFlags;
use rustix::io::ReadWriteFlags;

use crate::support::{self, Mount, create, image, subvolume, text};
use crate::{
    KIB, MIB, live_with, mounted, noise, sending, sent, size, squeezed, state, state_of, used,
    written, zstd,
};

fn left(squeeze: &Squeeze) -> Vec<(Left, u64)> {
    let left = squeeze.summary().left.iter();
    left.map(|(left, share)| (*left, share.extents)).collect()
}

fn command(program: &str, words: &[&str], path: &Path) {
    let output = Command::new(program).args(words).arg(path).output();
    let output = output.unwrap();
    assert!(output.status.success(), "{words:?}: {output:?}");
}

/// A file of one extent, however long; it is compressible up to half.
fn in_one_extent(path: &Path, len: u64) -> Vec<u8> {
    let mut data = text(size(len / 2));
    data.extend(noise(len - len / 2, 5));
    let file = create(path);
    rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, len).unwrap();
    file.write_all_at(&data, 0).unwrap();
    file.sync_all().unwrap();
    data
}

/// Bytes that no file shows come back, compressible or not, unless they are to stay.
#[test]
fn what_no_file_shows_is_given_back_or_left() {
    let Some(fs) = mounted("what_no_file_shows_is_given_back_or_left") else {
        return;
    };
    let file = written(&fs.join("file"), &noise(MIB, 1));
    file.write_all_at(&noise(512 * KIB, 2), 256 * KIB).unwrap();
    file.sync_all().unwrap();
    let space = used(&fs);
    let mut options = zstd(1);
    options.reclaim = false;
    let (squeeze, _) = squeezed(&fs.path(), options);
    assert_eq!(left(&squeeze), [(Left::NoSaving, 2)]);
    assert_eq!(used(&fs).data, space.data);
    let (squeeze, _) = squeezed(&fs.path(), zstd(1));
    assert_eq!(squeeze.summary().freed_bytes(), 512 * KIB);
    assert_eq!(space.data - used(&fs).data, 512 * KIB);
}

/// A subvolume and two snapshots, the later of which is being sent.
fn one_of_two_is_sent(fs: &Mount) -> (Child, ChildStdout) {
    live_with(fs, 4 * MIB, &["s1", "s2"]);
    used(fs);
    sending(&fs.join("s2"))
}

/// Where one snapshot cannot be given anything, what others have got is taken back; they keep it
/// where growth is allowed.
#[test]
fn nothing_grows_unless_that_is_allowed() {
    let Some(fs) = mounted("nothing_grows_unless_that_is_allowed") else {
        return;
    };
    let send = one_of_two_is_sent(&fs);
    let (space, before) = (used(&fs), state(&fs.path()));
    let mut options = zstd(3);
    options.patience = Duration::ZERO;
    let (squeeze, all) = squeezed(&fs.path(), options.clone());
    assert!(!all.is_empty());
    assert!(all.iter().all(|it| it.left == Some(Left::Busy)), "{all:?}");
    assert_eq!((squeeze.summary().grown_bytes, used(&fs)), (0, space));
    options.allow_growth = true;
    let (squeeze, _) = squeezed(&fs.path(), options);
    let grown = squeeze.summary().grown_bytes;
    assert!(grown > 0, "{:?}", squeeze.summary());
    assert_eq!(used(&fs).data - space.data, grown);
    assert!(state(&fs.path()) == before);
    sent(send);
}

/// Read-only snapshots are asked first: where one refuses, no live file has been touched.
#[test]
fn snapshots_are_asked_before_live_files() {
    let Some(fs) = mounted("snapshots_are_asked_before_live_files") else {
        return;
    };
    live_with(&fs, 4 * MIB, &["s"]);
    let space = used(&fs);
    let send = sending(&fs.join("s"));
    let mut options = zstd(3);
    options.patience = Duration::ZERO;
    // Or else the live file would keep what it got.
    options.allow_growth = true;
    let (squeeze, _) = squeezed(&fs.path(), options);
    assert_eq!(squeeze.summary().grown_bytes, 0);
    assert_eq!(used(&fs).data, space.data);
    sent(send);
}

/// A send that ends in time keeps nothing from its new extents.
#[test]
fn a_send_that_ends_is_waited_for() {
    let Some(fs) = mounted("a_send_that_ends_is_waited_for") else {
        return;
    };
    let send = one_of_two_is_sent(&fs);
    let ends = thread::spawn(move || {
        thread::sleep(Duration::from_millis(500));
        sent(send);
    });
    let mut options = zstd(3);
    options.patience = Duration::from_secs(600);
    let (squeeze, _) = squeezed(&fs.path(), options);
    ends.join().unwrap();
    assert_eq!(left(&squeeze), []);
    assert!(squeeze.summary().freed_bytes() > 2 * MIB);
}

/// Bytes are read no faster than is allowed.
#[test]
fn the_rate_is_limited() {
    let Some(fs) = mounted("the_rate_is_limited") else {
        return;
    };
    written(&fs.join("text"), &text(size(MIB)));
    let mut options = zstd(1);
    options.bytes_per_second = Some(2 * MIB);
    let begin = Instant::now();
    squeezed(&fs.path(), options);
    // The first 128 KiB are read at once.
    assert!(begin.elapsed() >= Duration::from_millis(437));
}

/// In a long extent, too, an interrupt is obeyed at once, however many threads work on it.
#[test]
fn it_stops_within_a_long_extent() {
    let Some(fs) = mounted("it_stops_within_a_long_extent") else {
        return;
    };
    in_one_extent(&fs.join("long"), 32 * MIB);
    let space = used(&fs);
    for jobs in [1, 4] {
        let mut options = zstd(1);
        options.jobs = NonZeroUsize::new(jobs).unwrap();
        // Some 128 KiB are read before it stops.
        options.bytes_per_second = Some(4 * MIB);
        let mut squeeze = Squeeze::new(&[fs.path()], options).unwrap();
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                thread::sleep(Duration::from_millis(300));
                stop.store(true, Ordering::Relaxed);
            });
            let stop = || stop.load(Ordering::Relaxed);
            squeeze.run(stop, |_, _| {}).unwrap();
        });
        assert_eq!(squeeze.summary().before.extents, 0, "{jobs}");
        assert_eq!(squeeze.next_generation(), None);
        drop(squeeze);
        assert_eq!(used(&fs).data, space.data);
    }
}

/// Twenty files of 1 MiB, of which half shrinks.
fn twenty_files(directory: &Path) -> Vec<PathBuf> {
    subvolume(directory);
    let data = [text(size(512 * KIB)), noise(512 * KIB, 1)].concat();
    let files: Vec<_> = (0..20)
        .map(|file| directory.join(file.to_string()))
        .collect();
    for path in &files {
        written(path, &data);
    }
    files
}

/// Squeezes where nothing fits: that ends nothing, and next to nothing is read in vain. What to go on
/// with.
fn without_space(fs: &Mount, files: &[PathBuf], options: SqueezeOptions) -> u64 {
    let live = files[0].parent().unwrap();
    let before = state(live);
    fs.remount();
    let (squeeze, _) = squeezed(live, options);
    let replaced = squeeze.summary().before.extents;
    assert_eq!((replaced, left(&squeeze)), (0, vec![(Left::NoSpace, 20)]));
    let is_read = |path: &&PathBuf| {
        let mut byte = [0];
        let mut buffers = [IoSliceMut::new(&mut byte)];
        let file = fs::File::open(path).unwrap();
        rustix::io::preadv2(file, &mut buffers, 0, ReadWriteFlags::NOWAIT).is_ok()
    };
    let read = files.iter().filter(is_read).count();
    assert!(read < 8, "{read} files were read");
    assert!(state(live) == before);
    squeeze.next_generation().unwrap()
}

#[test]
fn a_full_quota_is_no_space() {
    let Some(fs) = mounted("a_full_quota_is_no_space") else {
        return;
    };
    let temporary = fs.join("temporary");
    subvolume(&temporary);
    let files = twenty_files(&fs.join("live"));
    command("btrfs", &["quota", "enable"], &fs.path());
    command("btrfs", &["quota", "rescan", "-w"], &fs.path());
    command("btrfs", &["qgroup", "limit", "256K"], &temporary);
    let before = state(&fs.join("live"));
    let mut options = zstd(3);
    options.temp_dir = Some(temporary.clone());
    options.since = without_space(&fs, &files, options.clone());
    // What was left for now is squeezed where there is room.
    command("btrfs", &["qgroup", "limit", "none"], &temporary);
    let (squeeze, _) = squeezed(&fs.join("live"), options);
    let replaced = squeeze.summary().before.extents;
    assert_eq!((replaced, left(&squeeze)), (20, Vec::new()));
    assert!(state(&fs.join("live")) == before);
}

#[test]
fn a_full_filesystem_is_no_space() {
    let name = "a_full_filesystem_is_no_space";
    let small = support::Options::default().sized(256 << 20);
    let Some(fs) = support::btrfs(name, &small.made_with(&["-m", "single"])) else {
        return;
    };
    let files = twenty_files(&fs.join("live"));
    let file = create(fs.join("filler"));
    let mut len = 0;
    for piece in [16 * MIB, MIB, 64 * KIB, 4 * KIB] {
        while rustix::fs::fallocate(&file, FallocateFlags::empty(), len, piece).is_ok() {
            len += piece;
        }
    }
    drop(file);
    let mut options = zstd(3);
    options.temp_dir = Some(fs.path());
    without_space(&fs, &files, options);
}

/// Where new files keep no checksums, the temporary one does.
#[test]
fn new_files_may_be_without_checksums() {
    for option in ["", "nodatasum", "nodatacow"] {
        let name = "new_files_may_be_without_checksums";
        let Some(mut fs) = mounted(name) else {
            return;
        };
        let data = text(size(MIB));
        drop(written(&fs.join("file"), &data));
        let directory = fs.join("nocow");
        fs::create_dir(&directory).unwrap();
        command("chattr", &["+C"], &directory);
        if !option.is_empty() {
            fs.remount_with(&[option]);
        }
        let space = used(&fs);
        let mut options = zstd(3);
        options.temp_dir = Some(directory);
        options.dry_run = true;
        let (dry, _) = squeezed(&fs.path(), options.clone());
        options.dry_run = false;
        let (squeeze, _) = squeezed(&fs.path(), options);
        assert_eq!(dry.summary(), squeeze.summary());
        assert!(squeeze.summary().freed_bytes() > 512 * KIB, "{option}");
        assert_eq!(space.data - used(&fs).data, squeeze.summary().freed_bytes());
        drop((dry, squeeze));
        fs.remount();
        assert!(fs::read(fs.join("file")).unwrap() == data);
    }
}

/// Who wants a file uncompressed says so by its property. The attribute `m` says no such thing: the
/// kernel gives it to files whose first bytes do not shrink.
#[test]
fn a_property_keeps_files_plain() {
    let Some(fs) = mounted("a_property_keeps_files_plain") else {
        return;
    };
    let [plain, clone, marked] = ["plain", "clone", "marked"].map(|name| fs.join(name));
    let of_plain = written(&plain, &text(size(MIB)));
    rustix::fs::ioctl_ficlone(create(&clone), of_plain).unwrap();
    let status = Command::new("btrfs")
        .args(["property", "set"])
        .arg(&plain)
        .args(["compression", "none"])
        .status();
    assert!(status.unwrap().success());
    written(&marked, &text(size(MIB)));
    command("chattr", &["+m"], &marked);
    used(&fs);
    let (squeeze, _) = squeezed(&fs.path(), zstd(3));
    assert_eq!(left(&squeeze), [(Left::NotWanted, 1)]);
    assert_eq!(squeeze.summary().before.extents, 1);
}

/// A file that was cut off within the last sector that another shows, and one that ends before an
/// extent of it, which its length in the image makes so.
#[test]
fn files_that_end_elsewhere_are_left() {
    let Some(fs) = mounted("files_that_end_elsewhere_are_left") else {
        return;
    };
    let data = text(100_000);
    let [first, clone, short] = ["first", "clone", "short"].map(|name| fs.join(name));
    let file = written(&first, &data);
    let cut = create(&clone);
    rustix::fs::ioctl_ficlone(&cut, file).unwrap();
    cut.set_len(99_000).unwrap();
    drop(cut);
    // Two extents, the second past what will be the end.
    let file = written(&short, &data[..40_960]);
    file.write_all_at(&data, 65_536).unwrap();
    file.sync_all().unwrap();
    drop(file);
    let of_short = fs::metadata(&short).unwrap().ino();
    fs.edit(|image| image::set_inode_size(image, of_short, 40_960));
    let before = state(&fs.path());
    let (squeeze, _) = squeezed(&fs.path(), zstd(3));
    let expected = [(Left::PastTheEnd, 1), (Left::DifferentEnds, 1)];
    assert_eq!(left(&squeeze), expected);
    assert_eq!(squeeze.summary().before.extents, 1);
    drop(squeeze);
    fs.remount();
    assert!(state(&fs.path()) == before);
}

/// A device that fails while new extents are written: it is said, and no file has changed.
#[test]
fn what_cannot_be_written_ends_it() {
    let options = support::Options {
        device_holds: Some(64 << 20),
        ..support::Options::default()
    };
    let Some(fs) = support::btrfs(
        "what_cannot_be_written_ends_it",
        &options.sized(512 << 20).made_with(&["-m", "single"]),
    ) else {
        return;
    };
    let data = text(size(24 * MIB));
    drop(written(&fs.join("file"), &data));
    let before = state_of(&fs.join("file"));
    used(&fs);
    // From here on the device takes next to nothing more.
    let device = fs.image();
    let rest = device.with_extension("rest");
    let filled = create(&rest);
    let full = (0..).find(|&at| filled.write_all_at(&noise(MIB, at), at * MIB).is_err());
    assert!(full.is_some());
    let mut options = zstd(1);
    options.min_saving = Some(0);
    let mut squeeze = Squeeze::new(&[fs.path()], options).unwrap();
    let result = squeeze.run(|| false, |_, _| {});
    assert!(result.is_err(), "{:?}", squeeze.summary());
    assert_eq!(state_of(&fs.join("file")), before);
    fs::remove_file(rest).unwrap();
}
