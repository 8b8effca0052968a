//! As root: in every file and snapshot that shows an extent.

use std::fs::{self, File};
use std::num::NonZeroUsize;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use btrfs_payload::files::{FilesError, Left, Map, MapOptions, Squeeze};
use btrfs_payload::prepare::Level;
use btrfs_payload::rules::{Codec, OnDiskId};
use rustix::fs::FallocateFlags;

use crate::support::{self, Mount, chattr_c, corpus, create, snapshot, subvolume, text};
use crate::{
    KIB, MIB, live_with, mounted, noise, options, sending, sent, size, squeezed, state, used,
    written, zstd,
};

fn stream_len(parent: &Path, child: &Path) -> usize {
    let mut send = Command::new("btrfs");
    send.arg("send").arg("-q").arg("-p").arg(parent).arg(child);
    let output = send.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    output.stdout.len()
}

/// Files of every kind in `live`, and two read-only snapshots with a change in between.
fn tree(fs: &Mount) -> PathBuf {
    let live = fs.join("live");
    subvolume(&live);
    for sample in corpus(size(8 * MIB)) {
        written(&live.join(&sample.name), &sample.data);
    }
    let text = text(size(3 * MIB) + 1234);
    written(&live.join("text"), &text);
    written(&live.join("noise"), &noise(2 * MIB, 1));
    // Compressible and not, by turns, in one extent.
    let mut mixed = Vec::new();
    for turn in 0..8 {
        mixed.extend(&text[..size(256 * KIB)]);
        mixed.extend(noise(192 * KIB, turn));
    }
    written(&live.join("mixed"), &mixed);
    let bookend = written(&live.join("bookend"), &text[..size(2 * MIB)]);
    let sparse = create(live.join("sparse"));
    sparse.write_all_at(&text[..100_000], 1024 * KIB).unwrap();
    sparse.set_len(4 * MIB).unwrap();
    sparse.sync_all().unwrap();
    // Grown by small pieces, each an extent.
    let log = create(live.join("log"));
    for at in 0..40 {
        let from = at * 5000;
        log.write_all_at(&text[from..from + 5000], from as u64)
            .unwrap();
        log.sync_all().unwrap();
    }
    written(&live.join("inline"), b"a few bytes");
    let clone = create(live.join("clone"));
    rustix::fs::ioctl_ficlone(&clone, File::open(live.join("text")).unwrap()).unwrap();
    fs::hard_link(live.join("text"), live.join("link")).unwrap();
    // Within itself, one part twice, and parts of another.
    let patched = written(&live.join("patched"), &text[..size(MIB)]);
    for (from, to, len) in [(64 * KIB, 512 * KIB, 128 * KIB), (0, 768 * KIB, 40 * KIB)] {
        clone_range(&patched, from, len, &patched, to);
    }
    clone_range(
        &File::open(live.join("mixed")).unwrap(),
        128 * KIB,
        512 * KIB,
        &patched,
        MIB,
    );
    patched.sync_all().unwrap();
    snapshot(&live, &fs.join("s1"), &["-r"]);
    // In the middle of one extent, without its snapshot and with it.
    bookend.write_all_at(&noise(MIB, 9), 512 * KIB).unwrap();
    bookend.sync_all().unwrap();
    let file = fs::OpenOptions::new()
        .append(true)
        .open(live.join("text"))
        .unwrap();
    std::io::Write::write_all(&mut &file, b"one line more\n").unwrap();
    file.sync_all().unwrap();
    fs::remove_file(live.join("sparse")).unwrap();
    snapshot(&live, &fs.join("s2"), &["-r"]);
    snapshot(&live, &fs.join("writable"), &[]);
    used(fs);
    live
}

/// Clones, as btrfs does for this call.
fn clone_range(from: &File, at: u64, len: u64, to: &File, offset: u64) {
    let (mut at, mut offset) = (at, offset);
    let copied = rustix::fs::copy_file_range(from, Some(&mut at), to, Some(&mut offset), size(len));
    assert_eq!(copied.unwrap(), size(len));
}

/// Each codec to each other, and from none: contents, times and sharing stay, and as much space
/// is free as was promised.
#[test]
fn nothing_changes_but_the_space() {
    let Some(fs) = mounted("nothing_changes_but_the_space") else {
        return;
    };
    tree(&fs);
    let before = state(&fs.path());
    let increment = stream_len(&fs.join("s1"), &fs.join("s2"));
    let references = |fs: &Mount| {
        let map = Map::new(&[fs.path()], &MapOptions::default()).unwrap();
        (map.referenced_bytes, map.files, map.hole_bytes)
    };
    let shown = references(&fs);
    let steps = [
        (Codec::Zstd, Level::Number(1)),
        (Codec::Zlib, Level::Number(9)),
        (Codec::Lzo, Level::Number(9)),
        (Codec::Zstd, Level::Auto),
        (Codec::Zlib, Level::Smallest),
        (Codec::Lzo, Level::Auto),
        (Codec::Zstd, Level::Smallest),
    ];
    for (step, (codec, level)) in steps.into_iter().enumerate() {
        let mut options = options(codec, level);
        // So that each codec replaces the one before it.
        let enough = used(&fs).data;
        options.min_saving = (step > 0).then_some(0);
        let (squeeze, _) = squeezed(&fs.path(), options);
        let now = used(&fs);
        let summary = squeeze.summary();
        assert_eq!(
            enough - now.data,
            summary.freed_bytes(),
            "{codec} {level}: {summary:?}"
        );
        assert_eq!(summary.grown_bytes, 0);
        assert!(step > 0 || summary.freed_bytes() > 4 * MIB, "{summary:?}");
        assert_eq!(state(&fs.path()), before, "{codec} {level}");
        assert_eq!(references(&fs), shown, "{codec} {level}");
        let sent = stream_len(&fs.join("s1"), &fs.join("s2"));
        // A write may be cut elsewhere, which is a header more or less.
        assert!(
            sent.abs_diff(increment) < size(4 * KIB),
            "{increment} became {sent}"
        );
        // Only what nothing can be done about is not compressed.
        let map = Map::new(&[fs.path()], &MapOptions::default()).unwrap();
        for extent in map.extents() {
            assert_eq!(map.unreachable(extent), 0, "{extent:?}");
        }
    }
    fs.remount();
    assert_eq!(state(&fs.path()), before);
    let scrub = Command::new("btrfs")
        .args(["scrub", "start", "-B"])
        .arg(fs.path())
        .output();
    assert!(scrub.unwrap().status.success());
    fs.edit(|_| {
        let check = Command::new("btrfs")
            .arg("check")
            .arg(fs.image())
            .output()
            .unwrap();
        assert!(check.status.success(), "{check:?}");
    });
}

/// Where a file cannot be given new extents, every other keeps the old ones.
#[test]
fn what_cannot_be_moved_is_left_whole() {
    let Some(fs) = mounted("what_cannot_be_moved_is_left_whole") else {
        return;
    };
    let text = text(size(MIB));
    let [nocow, reserved, immutable] = ["nocow", "reserved", "immutable"].map(|name| fs.join(name));
    chattr_c(&nocow).write_all_at(&text, 0).unwrap();
    let file = create(&reserved);
    rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, MIB).unwrap();
    file.write_all_at(&text[..size(512 * KIB)], 0).unwrap();
    written(&immutable, &text);
    let clone = create(fs.join("clone"));
    rustix::fs::ioctl_ficlone(&clone, File::open(&immutable).unwrap()).unwrap();
    let chattr = |flag: &str| {
        let status = Command::new("chattr").arg(flag).arg(&immutable).status();
        assert!(status.unwrap().success());
    };
    used(&fs);
    chattr("+i");
    let before = state(&fs.path());
    let space = used(&fs);
    let (squeeze, _) = squeezed(&fs.path(), zstd(3));
    chattr("-i");
    let left: Vec<_> = squeeze
        .summary()
        .left
        .iter()
        .map(|(left, share)| (*left, share.extents))
        .collect();
    let all = [
        (Left::NoChecksums, 1),
        (Left::Preallocated, 1),
        (Left::Immutable, 1),
    ];
    assert_eq!(left, all);
    assert_eq!(used(&fs).data, space.data);
    chattr("+i");
    let mut after = state(&fs.path());
    chattr("-i");
    // chattr sets its ctime.
    let times = before[&immutable].0.clone();
    after.get_mut(&immutable).unwrap().0 = times;
    assert_eq!(after, before);
}

/// While a snapshot is sent, what it shows is left; afterwards it is squeezed.
#[test]
fn a_snapshot_that_is_being_sent_is_waited_for() {
    let Some(fs) = mounted("a_snapshot_that_is_being_sent_is_waited_for") else {
        return;
    };
    live_with(&fs, 4 * MIB, &["s"]);
    let space = used(&fs);
    let send = sending(&fs.join("s"));
    let (squeeze, _) = squeezed(&fs.path(), zstd(3));
    let left: Vec<_> = squeeze.summary().left.keys().copied().collect();
    assert_eq!(left, [Left::Busy]);
    assert_eq!(squeeze.summary().freed_bytes(), 0);
    assert_eq!(used(&fs).data, space.data, "nothing has grown");
    sent(send);
    // What was left for now is looked at again.
    let mut options = zstd(3);
    options.since = squeeze.next_generation().unwrap();
    let (squeeze, _) = squeezed(&fs.path(), options);
    assert!(squeeze.summary().left.is_empty(), "{:?}", squeeze.summary());
    assert_eq!(space.data - used(&fs).data, squeeze.summary().freed_bytes());
}

/// What somebody has open for writing is left, where that is asked for.
#[test]
fn files_that_are_open_for_writing_can_be_left() {
    let Some(fs) = mounted("files_that_are_open_for_writing_can_be_left") else {
        return;
    };
    let file = written(&fs.join("open"), &text(size(MIB)));
    drop(written(&fs.join("closed"), &text(size(2 * MIB))));
    let careful = |since| {
        let mut options = zstd(3);
        options.skip_busy = true;
        options.since = since;
        squeezed(&fs.path(), options).0
    };
    let first = careful(0);
    let left: Vec<_> = first.summary().left.iter().collect();
    assert_eq!(left.len(), 1, "{left:?}");
    assert_eq!((*left[0].0, left[0].1.extents), (Left::OpenForWriting, 1));
    assert_eq!(first.summary().before.extents, 1);
    drop(file);
    let second = careful(first.next_generation().unwrap());
    assert!(
        second
            .summary()
            .left
            .keys()
            .all(|left| *left == Left::NoSaving)
    );
    assert_eq!(second.summary().before.extents, 1);
}

/// A read-only snapshot alone: there has to be another place for what is temporary.
#[test]
fn a_snapshot_alone_needs_a_place_for_temporary_files() {
    let Some(fs) = mounted("a_snapshot_alone_needs_a_place_for_temporary_files") else {
        return;
    };
    live_with(&fs, MIB, &["s"]);
    let make = |temp_dir: Option<&Path>| {
        let mut options = zstd(3);
        options.temp_dir = temp_dir.map(Path::to_owned);
        Squeeze::new(&[fs.join("s")], options)
    };
    assert!(matches!(make(None), Err(FilesError::Temporary { .. })));
    let elsewhere = make(Some(fs.outside()));
    assert!(matches!(elsewhere, Err(FilesError::OtherFilesystem { .. })));
    let space = used(&fs);
    let mut squeeze = make(Some(&fs.path())).unwrap();
    squeeze.run(|| false, |_, _| {}).unwrap();
    // The live file has it too.
    assert_eq!(space.data - used(&fs).data, squeeze.summary().freed_bytes());
    assert!(squeeze.summary().freed_bytes() > 512 * KIB);
}

/// What is given to a snapshot makes leaves of its tree its own: where that takes more than is saved,
/// nothing is given.
#[test]
fn with_many_snapshots_space_does_not_grow() {
    let Some(fs) = mounted("with_many_snapshots_space_does_not_grow") else {
        return;
    };
    let live = fs.join("live");
    subvolume(&live);
    // One in fifty has a sector or two to save.
    for number in 0..1000_u64 {
        let data = match number % 50 {
            0 => text(size(16 * KIB)),
            _ => noise(4 * KIB, number),
        };
        fs::write(live.join(number.to_string()), data).unwrap();
    }
    for number in 0..30 {
        snapshot(&live, &fs.join(format!("s{number}")), &["-r"]);
    }
    let space = used(&fs);
    squeezed(&fs.path(), zstd(3));
    let now = used(&fs);
    assert!(now.total() <= space.total(), "{space:?} became {now:?}");
    // Alone it is worth it.
    for number in 0..30 {
        let snapshot = fs.join(format!("s{number}"));
        let delete = Command::new("btrfs")
            .args(["subvolume", "delete", "-c"])
            .arg(snapshot)
            .output();
        assert!(delete.unwrap().status.success());
    }
    let wait = Command::new("btrfs")
        .args(["subvolume", "sync"])
        .arg(fs.path())
        .output();
    assert!(wait.unwrap().status.success());
    let space = used(&fs);
    let (squeeze, _) = squeezed(&fs.path(), zstd(3));
    assert_eq!(squeeze.summary().before.extents, 20);
    let now = used(&fs);
    assert_eq!(space.data - now.data, squeeze.summary().freed_bytes());
    assert!(now.total() < space.total(), "{space:?} became {now:?}");
}

/// A writer who changes a file all the time loses nothing.
#[test]
fn no_write_is_lost() {
    let Some(fs) = mounted("no_write_is_lost") else {
        return;
    };
    let live = fs.join("live");
    subvolume(&live);
    let path = live.join("busy");
    let mut expected = text(size(2 * MIB) + 777);
    written(&path, &expected);
    snapshot(&live, &fs.join("s"), &["-r"]);
    let original = expected.clone();
    let stop = AtomicBool::new(false);
    let mut rounds = 0;
    thread::scope(|scope| {
        let squeezer = scope.spawn(|| {
            let mut rounds = 0;
            while !stop.load(Ordering::Relaxed) {
                let level = 1 + rounds % 3;
                let mut options = zstd(level);
                options.min_saving = Some(0);
                squeezed(&fs.path(), options);
                rounds += 1;
            }
            rounds
        });
        let file = fs::OpenOptions::new()
            .read(true)
            .write(true)
            .open(&path)
            .unwrap();
        let mut random = 88_172_645_463_325_252_u64;
        for write in 0..10_000_u32 {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            let at = usize::try_from(random % (2 * MIB)).unwrap();
            let len = usize::try_from(random >> 40).unwrap() % 9000 + 1;
            let end = (at + len).min(expected.len());
            let data = format!("{write:>9}").repeat(1001);
            expected[at..end].copy_from_slice(&data.as_bytes()[..end - at]);
            file.write_all_at(&expected[at..end], at as u64).unwrap();
            match write % 50 {
                0 => file.sync_data().unwrap(),
                1 => thread::sleep(Duration::from_millis(3)),
                _ => {}
            }
        }
        stop.store(true, Ordering::Relaxed);
        rounds = squeezer.join().unwrap();
    });
    assert!(rounds > 1, "nothing was squeezed while it was written");
    assert!(fs::read(&path).unwrap() == expected);
    used(&fs);
    fs.remount();
    assert!(fs::read(&path).unwrap() == expected);
    assert!(fs::read(fs.join("s").join("busy")).unwrap() == original);
}

/// A run after another has next to nothing to do: short extents that have become neighbours in all
/// files that show them. With the generation that the last one named it reads no file.
#[test]
fn the_next_run_finds_nothing() {
    let Some(fs) = mounted("the_next_run_finds_nothing") else {
        return;
    };
    let live = tree(&fs);
    let (first, _) = squeezed(&fs.path(), zstd(6));
    let all = first.summary().before.extents;
    let (second, _) = squeezed(&fs.path(), zstd(6));
    let found = second.summary().before.extents;
    assert!(found < all / 50, "{found} after {all}");
    let space = used(&fs);
    let (third, _) = squeezed(&fs.path(), zstd(6));
    assert_eq!(third.summary().before.extents, 0, "{:?}", third.summary());
    assert_eq!(used(&fs).data, space.data);
    let next = first.next_generation().unwrap();
    let since = |since| {
        let mut options = zstd(6);
        options.since = since;
        squeezed(&fs.path(), options)
    };
    // What the second run made is not what the first knows.
    let (fourth, _) = since(next);
    let next = fourth.next_generation().unwrap();
    let (fifth, seen) = since(next);
    assert_eq!(fifth.planned().extents, 0);
    assert!(seen.is_empty());
    // What is made now is found, and nothing else.
    written(&live.join("new"), &text(size(MIB)));
    let (sixth, seen) = since(fifth.next_generation().unwrap());
    assert_eq!(sixth.summary().before.extents, 1, "{seen:?}");
    let (seventh, _) = since(sixth.next_generation().unwrap());
    assert_eq!(seventh.planned().extents, 0);
}

/// Where a mount option would cut plain data into pieces, it stays in one.
#[test]
fn plain_data_stays_in_long_extents() {
    let options = support::Options::default().mounted_with("compress-force=zstd:3");
    let Some(fs) = support::btrfs("plain_data_stays_in_long_extents", &options) else {
        return;
    };
    let mut data = noise(8 * MIB, 3);
    data.extend(text(size(8 * MIB)));
    written(&fs.join("file"), &data);
    let map = |fs: &Mount| Map::new(&[fs.path()], &MapOptions::default()).unwrap();
    let plain = |map: &Map| {
        let plain = map
            .extents()
            .iter()
            .filter(|extent| extent.compression == OnDiskId(0));
        plain.map(|extent| extent.disk_bytes).collect::<Vec<_>>()
    };
    // In one extent before, so that all of it has to be made again.
    fs.edit(|_| {});
    let file = File::options().write(true).open(fs.join("file")).unwrap();
    file.set_len(0).unwrap();
    rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, 16 * MIB).unwrap();
    file.write_all_at(&data, 0).unwrap();
    file.sync_all().unwrap();
    assert_eq!(map(&fs).extents().len(), 1, "{:?}", map(&fs).extents());
    let (squeeze, _) = squeezed(&fs.path(), zstd(3));
    assert_eq!(squeeze.summary().before.extents, 1);
    assert_eq!(plain(&map(&fs)), [8 * MIB]);
    assert!(fs::read(fs.join("file")).unwrap() == data);
}

/// Without a change it says what would be saved, to the byte.
#[test]
fn a_dry_run_says_what_would_be_saved() {
    let Some(fs) = mounted("a_dry_run_says_what_would_be_saved") else {
        return;
    };
    tree(&fs);
    let space = used(&fs);
    let mut dry = zstd(3);
    dry.dry_run = true;
    let (dry, _) = squeezed(&fs.path(), dry);
    assert_eq!(used(&fs), space);
    let (real, _) = squeezed(&fs.path(), zstd(3));
    assert_eq!(dry.summary(), real.summary());
}

/// Idle threads help with a long extent: the same new extents come in the same order.
#[test]
fn a_long_extent_is_the_same_with_many_threads() {
    let Some(fs) = mounted("a long extent on many threads") else {
        return;
    };
    // Of all kinds, so that compressed and plain extents take turns.
    let mut data = Vec::new();
    for seed in 0..24 {
        data.extend(text(size(640 * KIB) + size(seed)));
        data.extend(noise(300 * KIB + seed, seed));
    }
    let mut results = Vec::new();
    for jobs in [1, 5] {
        let directory = fs.path().join(format!("on {jobs}"));
        fs::create_dir(&directory).unwrap();
        let path = directory.join("file");
        let file = create(&path);
        let len = u64::try_from(data.len()).unwrap();
        rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, len).unwrap();
        written(&path, &data);
        let mut options = zstd(1);
        options.jobs = NonZeroUsize::new(jobs).unwrap();
        let (squeeze, _) = squeezed(&directory, options);
        assert!(squeeze.summary().freed_bytes() > 8 * MIB);
        assert!(fs::read(&path).unwrap() == data);
        let mut offsets: Vec<_> = Map::new(&[directory], &MapOptions::default())
            .unwrap()
            .extents()
            .iter()
            .map(|extent| (extent.offset, extent.disk_bytes, extent.compression))
            .collect();
        offsets.sort_unstable_by_key(|&(offset, ..)| offset);
        results.push(offsets);
    }
    assert_eq!(results[0], results[1]);
    assert!(results[0].len() > 40, "{results:?}");
}

/// A tail that takes a sector in either form stays plain: compressed it could only be inline.
#[test]
fn no_extent_is_compressed_for_nothing() {
    let Some(fs) = mounted("no extent is compressed for nothing") else {
        return;
    };
    let directory = fs.path().join("tails");
    fs::create_dir(&directory).unwrap();
    for tail in [100, 2800, 4000, 4095] {
        written(
            &directory.join(format!("{tail}")),
            &text(size(384 * KIB + tail)),
        );
    }
    squeezed(&directory, zstd(3));
    let map = Map::new(&[directory], &MapOptions::default()).unwrap();
    let compressed = |sectors: u64| {
        let all = map.extents().iter();
        all.filter(move |extent| extent.ram_bytes == sectors * 4 * KIB)
            .map(|extent| extent.compression.0)
            .collect::<Vec<_>>()
    };
    assert_eq!(compressed(1), [0; 4]);
    assert_eq!(compressed(32), [3; 12]);
}
