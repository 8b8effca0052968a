//! What the kernel is asked about trees, extents, inodes and subvolumes, on the running kernel.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)] // helpers fail as tests do

mod support;

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Read;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::process::Command;

use btrfs_payload::ioctl::{self, Deduped, Destination, Key, QueryError};
use support::{Mount, chattr_c, create, snapshot, subvolume, text, unprivileged};

const KIB: usize = 1024;

fn write(path: &Path, data: &[u8]) -> File {
    let file = create(path);
    file.write_all_at(data, 0).unwrap();
    file.sync_all().unwrap();
    file
}

fn mounted(test: &str) -> Option<Mount> {
    support::btrfs(test, &support::Options::default())
}

/// The addresses of the regular extents of an inode, from its items.
fn extents_of(fd: impl AsFd, root: u64, inode: u64) -> Vec<(u64, u64)> {
    let mut items = ioctl::items(fd, root, Key::first_of(inode)..=Key::last_of(inode));
    let mut found = Vec::new();
    while let Some(item) = items.next_item().unwrap() {
        assert_eq!(item.key.objectid, inode);
        if item.key.item_type == Key::EXTENT_DATA && item.bytes[20] == 1 {
            let bytenr = u64::from_le_bytes(item.bytes[21..29].try_into().unwrap());
            found.push((item.key.offset, bytenr));
        }
    }
    found
}

/// With the smallest buffer, the usual one and the largest: the same items, in order, and as many
/// as there are files.
#[test]
fn items_come_in_order_whatever_the_buffer() {
    let Some(fs) = mounted("items_come_in_order_whatever_the_buffer") else {
        return;
    };
    for number in 0..300 {
        // Inline extents of all lengths up to the largest.
        fs::write(fs.join(format!("{number}")), &text(2048)[..number * 6 + 1]).unwrap();
    }
    let top = File::open(fs.path()).unwrap();
    rustix::fs::syncfs(&top).unwrap();
    let all = |buffer: Option<usize>| {
        let mut items = ioctl::items(&top, 0, Key::first_of(0)..=Key::last_of(u64::MAX));
        if let Some(bytes) = buffer {
            items = items.buffer_of(bytes);
        }
        let mut found = Vec::new();
        while let Some(item) = items.next_item().unwrap() {
            found.push((item.key, item.bytes.to_vec()));
        }
        found
    };
    let usual = all(None);
    assert!(usual.is_sorted_by(|a, b| a.0 < b.0));
    let inline = usual
        .iter()
        .filter(|(key, bytes)| key.item_type == Key::EXTENT_DATA && bytes[20] == 0);
    assert_eq!(inline.count(), 300);
    assert!(usual == all(Some(0)));
    assert!(usual == all(Some(usize::MAX)));
    // And again with the buffer that is there.
    let mut items = ioctl::items(&top, 0, Key::first_of(0)..=Key::last_of(u64::MAX));
    for _ in 0..2 {
        assert!(items.next_item().unwrap().is_some());
        items.restart(0, Key::first_of(256)..=Key::last_of(256));
        assert_eq!(items.next_item().unwrap().unwrap().key.objectid, 256);
    }
    // Nothing was written after the last transaction.
    let mut none =
        ioctl::items(&top, 0, Key::first_of(0)..=Key::last_of(u64::MAX)).changed_since(u64::MAX);
    assert!(none.next_item().unwrap().is_none());
    let mut missing = ioctl::items(&top, 77, Key::first_of(0)..=Key::last_of(u64::MAX));
    assert!(matches!(missing.next_item(), Err(QueryError::Gone { .. })));
}

#[test]
fn an_extent_s_files_are_found_and_opened_in_every_subvolume() {
    let Some(fs) = mounted("an_extent_s_files_are_found_and_opened_in_every_subvolume") else {
        return;
    };
    let (live, frozen) = (fs.join("live"), fs.join("frozen"));
    subvolume(&live);
    let data = text(200 * KIB);
    let file = write(&live.join("file"), &data);
    let odd = OsStr::from_bytes(b"odd \xff\n name");
    fs::create_dir(live.join("directory")).unwrap();
    fs::hard_link(live.join("file"), live.join("directory").join(odd)).unwrap();
    // The whole again in another file, by cloning.
    let clone = create(live.join("clone"));
    rustix::fs::ioctl_ficlone(&clone, &file).unwrap();
    clone.sync_all().unwrap();
    snapshot(&live, &frozen, &["-r"]);
    let top = File::open(fs.path()).unwrap();
    rustix::fs::syncfs(&top).unwrap();

    let live_dir = File::open(&live).unwrap();
    let frozen_dir = File::open(&frozen).unwrap();
    let roots = [&live_dir, &frozen_dir].map(|fd| ioctl::subvolume_id(fd).unwrap());
    assert_eq!(ioctl::subvolume_id(&top).unwrap(), Key::TOP_SUBVOLUME);
    let inode = file.metadata().unwrap().ino();
    let clone_inode = clone.metadata().unwrap().ino();
    let extents = extents_of(&top, roots[0], inode);
    assert!(!extents.is_empty());
    for (offset, bytenr) in extents {
        let found = ioctl::inodes_of(&top, bytenr).unwrap();
        assert!(!found.truncated);
        let mut expected: Vec<_> = roots
            .iter()
            .flat_map(|root| [(*root, inode, offset), (*root, clone_inode, offset)])
            .collect();
        expected.sort_unstable();
        let found = found.references.iter();
        let found: Vec<_> = found.map(|it| (it.root, it.inode, it.offset)).collect();
        assert_eq!(found, expected);
    }
    assert!(ioctl::inodes_of(&top, 4096).unwrap().references.is_empty());

    // The descriptor may be of any subvolume.
    for (root, path) in [(roots[0], &live), (roots[1], &frozen)] {
        for through in [&top, &live_dir, &frozen_dir] {
            let opened = ioctl::open_inode(through, root, inode, None).unwrap();
            let mut opened = File::from(opened);
            let metadata = opened.metadata().unwrap();
            let expected = fs::metadata(path.join("file")).unwrap();
            assert_eq!((metadata.dev(), metadata.ino()), (expected.dev(), inode));
            let mut bytes = Vec::new();
            opened.read_to_end(&mut bytes).unwrap();
            assert!(bytes == data);
        }
    }
    assert!(matches!(
        ioctl::open_inode(&top, roots[0], inode, Some(1)),
        Err(QueryError::Gone { .. })
    ));
    assert!(matches!(
        ioctl::open_inode(&top, roots[0], 1_000_000, None),
        Err(QueryError::Gone { .. })
    ));

    let mut paths = ioctl::paths_of(&live_dir, inode).unwrap();
    paths.sort();
    assert_eq!(
        paths,
        [b"directory/odd \xff\n name".to_vec(), b"file".to_vec()]
    );
    let directory = fs::metadata(live.join("directory")).unwrap().ino();
    assert_eq!(
        ioctl::directory_path(&top, roots[1], directory).unwrap(),
        b"directory"
    );
    // A file without a name.
    fs::remove_file(live.join("clone")).unwrap();
    rustix::fs::syncfs(&top).unwrap();
    assert!(ioctl::paths_of(&live_dir, clone_inode).unwrap().is_empty());

    let (info, frozen_info) = (
        ioctl::subvolume(&live_dir).unwrap(),
        ioctl::subvolume(&frozen_dir).unwrap(),
    );
    assert_eq!((info.id, frozen_info.id), (roots[0], roots[1]));
    assert_eq!(
        (&info.name[..], &frozen_info.name[..]),
        (&b"live"[..], &b"frozen"[..])
    );
    assert_eq!((info.read_only, frozen_info.read_only), (false, true));
    assert_eq!(frozen_info.parent_uuid, info.uuid);
    assert_eq!(info.parent, Key::TOP_SUBVOLUME);
}

/// Into a read-only snapshot too, with a descriptor for reading; and what refuses.
#[test]
fn dedupe_shares_what_is_equal() {
    let Some(fs) = mounted("dedupe_shares_what_is_equal") else {
        return;
    };
    let (live, frozen) = (fs.join("live"), fs.join("frozen"));
    subvolume(&live);
    let data = text(256 * KIB);
    write(&live.join("file"), &data);
    snapshot(&live, &frozen, &["-r"]);
    let source = write(&live.join("source"), &data);
    let target = File::open(frozen.join("file")).unwrap();
    let other = write(&live.join("other"), &vec![b'x'; 256 * KIB]);
    let no_sums = chattr_c(&live.join("no-sums"));
    no_sums.write_all_at(&data, 0).unwrap();
    no_sums.sync_all().unwrap();
    let before = target.metadata().unwrap();
    let to = |file| Destination { file, offset: 0 };
    let destinations = [to(target.as_fd()), to(other.as_fd()), to(no_sums.as_fd())];
    let len = 256 * 1024;
    let results = ioctl::dedupe(&source, 0, len, &destinations).unwrap();
    assert!(
        matches!(results[0], Deduped::Same { len: 262_144 }),
        "{results:?}"
    );
    assert!(matches!(results[1], Deduped::Different), "{results:?}");
    let Deduped::Failed(error) = &results[2] else {
        panic!("{results:?}");
    };
    assert_eq!(error.raw_os_error(), Some(22));
    let after = target.metadata().unwrap();
    assert_eq!(
        (before.mtime(), before.mtime_nsec()),
        (after.mtime(), after.mtime_nsec())
    );
    let physical = |file: &File| {
        let mut found = Vec::new();
        ioctl::fiemap(file, |extent| found.push((extent.offset, extent.physical))).unwrap();
        found
    };
    assert_eq!(physical(&source), physical(&target));
    assert_ne!(physical(&source), physical(&other));
    assert!(fs::read(frozen.join("file")).unwrap() == data);
    assert!(ioctl::dedupe(&source, 0, ioctl::MAX_DEDUPE + 4096, &destinations).is_err());
}

#[test]
fn anybody_sees_extents_subvolume_and_space() {
    let options = support::Options::default().mounted_with("compress-force=zstd");
    let Some(fs) = support::btrfs("anybody_sees_extents_subvolume_and_space", &options) else {
        return;
    };
    let compressed = write(&fs.join("compressed"), &text(256 * KIB));
    write(&fs.join("inline"), b"short");
    let plain = write(
        &fs.join("plain"),
        &support::generated(256 * KIB).pop().unwrap().data,
    );
    rustix::fs::fallocate(
        &plain,
        rustix::fs::FallocateFlags::KEEP_SIZE,
        1 << 20,
        1 << 20,
    )
    .unwrap();
    let clone = create(fs.join("clone"));
    rustix::fs::ioctl_ficlone(&clone, &compressed).unwrap();
    let used = unprivileged(|| {
        let top = File::open(fs.path()).unwrap();
        let seen = |name: &str| {
            let file = File::open(fs.join(name)).unwrap();
            let mut found = Vec::new();
            ioctl::fiemap(&file, |extent| found.push(extent)).unwrap();
            found
        };
        let extents = seen("compressed");
        assert_eq!(
            extents.iter().map(|extent| extent.len).sum::<u64>(),
            256 * 1024
        );
        assert!(
            extents
                .iter()
                .all(|extent| extent.compressed && extent.shared)
        );
        let inline = seen("inline");
        assert!(inline.len() == 1 && inline[0].inline);
        let plain = seen("plain");
        assert!(
            plain
                .iter()
                .any(|extent| extent.preallocated && extent.len == 1 << 20)
        );
        let odd = plain.iter().any(|extent| extent.shared || extent.inline);
        assert!(!odd, "{plain:?}");
        assert_eq!(ioctl::subvolume_id(&top).unwrap(), Key::TOP_SUBVOLUME);
        assert_eq!(ioctl::filesystem(&top).unwrap().sector_size, 4096);
        let mut items = ioctl::items(&top, 0, Key::first_of(0)..=Key::last_of(u64::MAX));
        assert!(matches!(
            items.next_item(),
            Err(QueryError::NotPermitted { .. })
        ));
        assert!(matches!(
            ioctl::inodes_of(&top, extents[0].physical),
            Err(QueryError::NotPermitted { .. })
        ));
        rustix::fs::syncfs(&top).unwrap();
        ioctl::space_used(&top).unwrap()
    });
    // `btrfs filesystem df --raw` as the other source.
    let output = Command::new("btrfs")
        .args(["filesystem", "df", "--raw"])
        .arg(fs.path())
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let of = |kind: &str| -> u64 {
        let line = text.lines().find(|line| line.starts_with(kind)).unwrap();
        line.rsplit("used=").next().unwrap().trim().parse().unwrap()
    };
    let expected = [of("Data"), of("Metadata"), of("System")];
    assert_eq!([used.data, used.metadata, used.system], expected, "{text}");
    assert!(used.data >= 256 * 1024);
    let not_btrfs = File::open("/proc").unwrap();
    assert!(matches!(
        ioctl::subvolume_id(&not_btrfs),
        Err(QueryError::NotBtrfs)
    ));
}
