//! Files on a mounted btrfs: what the map has of trees that are known to the byte.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)] // helpers fail as tests do

mod support;

use std::ffi::OsStr;
use std::fs::{self, File};
use std::num::NonZeroUsize;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use btrfs_payload::files::{Extent, FilesError, Kind, Map, MapOptions, References, Totals};
use btrfs_payload::ioctl::{self, Key, QueryError};
use btrfs_payload::rules::OnDiskId;
use rustix::fs::FallocateFlags;
use support::{Mount, create, snapshot, subvolume, text, unprivileged};

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;

fn sync(fs: &Mount) {
    rustix::fs::syncfs(File::open(fs.path()).unwrap()).unwrap();
}

fn noise(len: u64) -> Vec<u8> {
    // xorshift64: nothing shrinks it.
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let words = std::iter::from_fn(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        Some(state.to_le_bytes())
    });
    words
        .flatten()
        .take(usize::try_from(len).unwrap())
        .collect()
}

fn written(path: &Path, data: &[u8]) -> File {
    let file = create(path);
    file.write_all_at(data, 0).unwrap();
    file.sync_all().unwrap();
    file
}

fn map(paths: &[PathBuf]) -> Map {
    let one = Map::new(paths, &MapOptions::default()).unwrap();
    // The number of threads changes nothing.
    let mut options = MapOptions::default();
    options.jobs = NonZeroUsize::new(3).unwrap();
    let several = Map::new(paths, &options).unwrap();
    let seen = |map: &Map| -> Vec<_> {
        let extents = map.extents().iter();
        extents
            .map(|extent| {
                let path = map.directories.path(extent.directory);
                let shown: Vec<_> = map.shown(extent).collect();
                let place = (extent.root, extent.inode, extent.offset);
                (
                    extent.bytenr,
                    extent.disk_bytes,
                    extent.shared,
                    place,
                    shown,
                    path,
                )
            })
            .collect()
    };
    assert_eq!(seen(&one), seen(&several));
    let sums = |map: &Map| {
        let inline = map.inline.values().map(|sum| sum.disk_bytes).sum::<u64>();
        (
            map.files,
            map.holes,
            map.hole_bytes,
            map.referenced_bytes,
            inline,
        )
    };
    assert_eq!(sums(&one), sums(&several));
    one
}

fn sum(extents: &[Extent], of: impl Fn(&Extent) -> u64) -> u64 {
    extents.iter().map(of).sum()
}

/// A live subvolume with a file of every kind, and a read-only snapshot of it.
fn every_kind(fs: &Mount) -> PathBuf {
    let live = fs.join("live");
    subvolume(&live);
    written(&live.join("inline"), b"a few bytes");
    let bookend = written(&live.join("bookend"), &noise(MIB));
    // 512 KiB in the middle of one extent.
    bookend.write_all_at(&noise(512 * KIB), 256 * KIB).unwrap();
    bookend.sync_all().unwrap();
    let sparse = create(live.join("sparse"));
    sparse.write_all_at(&noise(64 * KIB), 1024 * KIB).unwrap();
    sparse.set_len(2 * MIB).unwrap();
    sparse.sync_all().unwrap();
    let reserved = create(live.join("reserved"));
    rustix::fs::fallocate(&reserved, FallocateFlags::empty(), 0, 256 * KIB).unwrap();
    reserved.sync_all().unwrap();
    let clone = create(live.join("clone"));
    rustix::fs::ioctl_ficlone(&clone, &sparse).unwrap();
    clone.sync_all().unwrap();
    let odd = OsStr::from_bytes(b"odd \xff\x1b[31m");
    fs::create_dir(live.join(odd)).unwrap();
    fs::hard_link(live.join("sparse"), live.join(odd).join("link")).unwrap();
    std::os::unix::fs::symlink("inline", live.join("symlink")).unwrap();
    sync(fs);
    live
}

#[test]
fn each_extent_counts_once_whatever_shows_it() {
    let Some(fs) = support::btrfs(
        "each_extent_counts_once_whatever_shows_it",
        &Default::default(),
    ) else {
        return;
    };
    let live = every_kind(&fs);
    let alone = map(std::slice::from_ref(&live));
    let check = |map: &Map, subvolumes: u64| {
        let extents = map.extents();
        let (reserved, data): (Vec<_>, Vec<_>) = extents
            .iter()
            .cloned()
            .partition(|extent| extent.preallocated);
        assert_eq!(sum(&reserved, |extent| extent.disk_bytes), 256 * KIB);
        // 1 MiB and the 512 KiB written over it, and the sparse file's 64 KiB.
        assert_eq!(sum(&data, |extent| extent.disk_bytes), MIB + 576 * KIB);
        assert_eq!(sum(&data, |extent| extent.ram_bytes), MIB + 576 * KIB);
        assert_eq!(sum(&data, |extent| map.unreachable(extent)), 512 * KIB);
        assert_eq!(
            map.referenced_bytes,
            subvolumes * (MIB + 2 * 64 * KIB + 256 * KIB)
        );
        // inline, bookend, sparse, reserved, clone.
        assert_eq!(map.files, subvolumes * 5);
        // Two in the sparse file, two in its clone.
        assert_eq!(map.holes, subvolumes * 4);
        assert_eq!(map.hole_bytes, subvolumes * 2 * (2 * MIB - 64 * KIB));
        let inline: Vec<_> = map.inline.values().collect();
        assert_eq!(
            inline.iter().map(|sum| sum.extents).sum::<u64>(),
            subvolumes
        );
        assert_eq!(
            inline.iter().map(|sum| sum.disk_bytes).sum::<u64>(),
            subvolumes * 11
        );
        assert!(
            extents
                .iter()
                .all(|extent| extent.compression == OnDiskId(0))
        );
    };
    check(&alone, 1);
    let totals = Totals::new(&alone, 1);
    let of = |kind| totals.regular[&kind].disk_bytes;
    assert_eq!(of(Kind::Plain), MIB + 576 * KIB);
    assert_eq!(of(Kind::Preallocated), 256 * KIB);
    assert_eq!(totals.inline[&Kind::Plain].disk_bytes, 11);
    assert_eq!(totals.shared.disk_bytes, 64 * KIB);
    let unreachable = (totals.unreachable.disk_bytes, totals.unreachable.ram_bytes);
    assert_eq!(unreachable, (512 * KIB, 512 * KIB));
    // All of it is below the path; the link's directory has nothing of its own.
    assert_eq!(totals.directories.len(), 1);
    let top = &totals.directories[live.as_os_str().as_bytes()];
    assert_eq!(*top, totals.all());
    assert_eq!(top.disk_bytes, MIB + 832 * KIB + 11);
    let shared = sum(alone.extents(), |extent| u64::from(extent.shared));
    assert_eq!(shared, 1, "the one of sparse and clone");
    assert_eq!(alone.included.len(), 1);

    snapshot(&live, &fs.join("frozen"), &["-r"]);
    sync(&fs);
    // The top: both subvolumes.
    let all = map(&[fs.path()]);
    check(&all, 2);
    assert!(all.extents().iter().all(|extent| extent.shared));
    let mut included: Vec<_> = all
        .included
        .iter()
        .map(|it| (all.directories.path(it.directory), it.read_only, it.whole))
        .collect();
    included.sort();
    let path = |path: PathBuf| path.into_os_string().into_encoded_bytes();
    let expected = [
        (path(fs.path()), false, true),
        (path(fs.join("frozen")), true, true),
        (path(live.clone()), false, true),
    ];
    assert_eq!(included, expected);
    // Both by name: the same extents, and every file counts as often as it is seen.
    check(&map(&[live.clone(), fs.join("frozen")]), 2);
    // The same twice is the same.
    check(&map(&[live.clone(), live]), 1);
}

#[test]
fn a_directory_means_what_is_below_it() {
    let Some(fs) = support::btrfs("a_directory_means_what_is_below_it", &Default::default()) else {
        return;
    };
    let live = every_kind(&fs);
    let odd = live.join(OsStr::from_bytes(b"odd \xff\x1b[31m"));
    let below = map(std::slice::from_ref(&odd));
    // The link to the sparse file.
    assert_eq!((below.files, below.extents().len()), (1, 1));
    let extent = &below.extents()[0];
    assert_eq!(extent.disk_bytes, 64 * KIB);
    assert_eq!(
        below.directories.path(extent.directory),
        odd.as_os_str().as_bytes()
    );
    // Both names of one file, and the directory twice.
    let both = map(&[live.join("sparse"), odd.clone(), odd.clone()]);
    assert_eq!((both.files, both.referenced_bytes), (1, 64 * KIB));

    // A subvolume below a directory is in it, a snapshot's empty place for it is not.
    let nested = odd.join("nested");
    subvolume(&nested);
    written(&nested.join("file"), &noise(128 * KIB));
    snapshot(&live, &fs.join("frozen"), &["-r"]);
    sync(&fs);
    let below = map(&[odd]);
    assert_eq!((below.files, below.included.len()), (2, 2));
    assert_eq!(sum(below.extents(), |extent| extent.disk_bytes), 192 * KIB);
    let frozen = fs
        .join("frozen")
        .join(OsStr::from_bytes(b"odd \xff\x1b[31m"));
    assert_eq!(map(&[frozen]).files, 1);

    // What is overwritten in the live file is still shown by the snapshot: elsewhere.
    let bookend = map(&[live.join("bookend")]);
    let unreachable = |map: &Map| sum(map.extents(), |extent| map.unreachable(extent));
    assert_eq!(unreachable(&bookend), 512 * KIB);
    let file = fs::OpenOptions::new()
        .write(true)
        .open(live.join("bookend"))
        .unwrap();
    file.write_all_at(&noise(128 * KIB), 0).unwrap();
    file.sync_all().unwrap();
    let bookend = map(&[live.join("bookend")]);
    assert_eq!(
        unreachable(&bookend),
        512 * KIB,
        "128 KiB more are in the snapshot only"
    );
}

#[test]
fn compressed_extents_have_both_lengths() {
    let options = support::Options::default().mounted_with("compress-force=zstd:3");
    let Some(fs) = support::btrfs("compressed_extents_have_both_lengths", &options) else {
        return;
    };
    let data = text(300 * 1024);
    let file = written(&fs.join("file"), &data);
    written(&fs.join("inline"), &data[..2000]);
    sync(&fs);
    let map = map(&[fs.path()]);
    assert_eq!(sum(map.extents(), |extent| extent.ram_bytes), 300 * KIB);
    assert!(
        map.extents()
            .iter()
            .all(|extent| extent.compression == OnDiskId(3))
    );
    let inline: Vec<_> = map.inline.iter().collect();
    assert_eq!(inline.len(), 1);
    assert_eq!((inline[0].0.1, inline[0].1.ram_bytes), (3, 2000));
    assert!(inline[0].1.disk_bytes < 2000);
    // Encoded reads as the other source of what is on disk.
    let mut on_disk = 0;
    for extent in ioctl::extents(&file) {
        if let btrfs_payload::extent::Content::Encoded(claimed) = extent.unwrap().content {
            on_disk += u64::try_from(claimed.payload.len()).unwrap();
        }
    }
    assert_eq!(sum(map.extents(), |extent| extent.disk_bytes), on_disk);
    let since = map.extents().iter().map(|extent| extent.generation).max();
    let mut options = MapOptions::default();
    options.since = since.unwrap() + 1;
    assert!(
        Map::new(&[fs.path()], &options)
            .unwrap()
            .extents()
            .is_empty()
    );
    written(&fs.join("later"), &data);
    sync(&fs);
    let later = Map::new(&[fs.path()], &options).unwrap();
    assert_eq!(sum(later.extents(), |extent| extent.ram_bytes), 300 * KIB);
}

/// Parts of extents in several files and snapshots: each place with its bytes.
#[test]
fn references_have_each_place_and_its_part() {
    let Some(fs) = support::btrfs(
        "references_have_each_place_and_its_part",
        &Default::default(),
    ) else {
        return;
    };
    let live = fs.join("live");
    subvolume(&live);
    let data = noise(MIB);
    let file = written(&live.join("file"), &data);
    // The middle again at another place, in another file and in the same one.
    let other = create(live.join("other"));
    // Within a btrfs this copies nothing.
    let clone = |to: &File, mut from: u64, len: u64, mut at: u64| {
        let bytes = usize::try_from(len).unwrap();
        let copied = rustix::fs::copy_file_range(&file, Some(&mut from), to, Some(&mut at), bytes);
        assert_eq!(copied.unwrap(), bytes);
    };
    clone(&other, 256 * KIB, 128 * KIB, 64 * KIB);
    clone(&file, 0, 64 * KIB, 2 * MIB);
    file.sync_all().unwrap();
    other.sync_all().unwrap();
    snapshot(&live, &fs.join("frozen"), &["-r"]);
    sync(&fs);
    let map = map(&[fs.path()]);
    assert_eq!(map.extents().len(), 1);
    let extent = &map.extents()[0];
    let found = References::new(map.top()).of(extent.bytenr).unwrap();
    assert!(!found.truncated);
    let numbers = [&file, &other].map(|file| file.metadata().unwrap().ino());
    let roots = ["live", "frozen"]
        .map(|name| ioctl::subvolume_id(File::open(fs.join(name)).unwrap()).unwrap());
    let expected: Vec<_> = roots
        .iter()
        .flat_map(|&root| {
            [
                (root, numbers[0], 0, MIB, 0),
                (root, numbers[0], 2 * MIB, 64 * KIB, 0),
                (root, numbers[1], 64 * KIB, 128 * KIB, 256 * KIB),
            ]
        })
        .collect();
    let found: Vec<_> = found
        .references
        .iter()
        .map(|it| (it.root, it.inode, it.offset, it.len, it.extent_offset))
        .collect();
    assert_eq!(found, expected);
    // Each shows those bytes of the data.
    for (root, inode, offset, len, from) in found {
        let opened = File::from(ioctl::open_inode(map.top(), root, inode, None).unwrap());
        let mut bytes = vec![0; usize::try_from(len).unwrap()];
        opened.read_exact_at(&mut bytes, offset).unwrap();
        let from = usize::try_from(from).unwrap();
        assert!(bytes == data[from..from + bytes.len()]);
    }
    let opened = File::from(map.open(extent).unwrap());
    assert_eq!(opened.metadata().unwrap().ino(), numbers[0]);
}

#[test]
fn what_cannot_be_looked_at_is_said() {
    let Some(fs) = support::btrfs("what_cannot_be_looked_at_is_said", &Default::default()) else {
        return;
    };
    let options = MapOptions::default();
    let error = |path: PathBuf| Map::new(&[path], &options).unwrap_err();
    assert!(matches!(error(fs.join("nothing")), FilesError::Open { .. }));
    assert!(matches!(
        error("/proc".into()),
        FilesError::Path {
            source: QueryError::NotBtrfs,
            ..
        }
    ));
    let denied = unprivileged(|| error(fs.path()));
    assert!(
        matches!(denied, FilesError::Query(QueryError::NotPermitted { .. })),
        "{denied}"
    );
    assert_eq!(map(&[fs.path()]).extents(), []);
    assert_eq!(Key::FIRST, 256);
}
