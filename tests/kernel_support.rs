//! The harness itself: what it makes it removes, what it compares it compares.
#![allow(clippy::unwrap_used)] // helpers fail as tests do

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

fn is_mounted(path: &Path) -> bool {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    mounts
        .lines()
        .any(|line| line.split(' ').nth(1) == path.to_str())
}

#[test]
fn a_mount_is_gone_after_a_panic() {
    let Some(fs) = support::btrfs("a_mount_is_gone_after_a_panic", &Default::default()) else {
        return;
    };
    let path = fs.path();
    fs::write(fs.join("file"), "content").unwrap();
    fs.remount();
    assert_eq!(fs::read(fs.join("file")).unwrap(), b"content");
    assert!(is_mounted(&path));
    let outside = fs.outside().to_owned();
    let panicked = catch_unwind(AssertUnwindSafe(move || {
        let _moved = fs;
        panic!("a failing test");
    }));
    assert!(panicked.is_err());
    assert!(!is_mounted(&path) && !outside.exists());
}

#[test]
fn every_difference_between_trees_is_found() {
    let directory = tempfile::tempdir().unwrap();
    let [left, right] = ["left", "right"].map(|name| directory.path().join(name));
    let make = |root: &Path| {
        fs::create_dir_all(root.join("sub")).unwrap();
        fs::write(root.join("sub/file"), vec![1; 3 << 20]).unwrap();
        fs::hard_link(root.join("sub/file"), root.join("link")).unwrap();
        fs::write(root.join("single"), "x").unwrap();
        symlink("sub", root.join("symlink")).unwrap();
        let time = fs::FileTimes::new().set_modified(std::time::UNIX_EPOCH);
        for name in ["sub/file", "single", "sub", ""] {
            fs::File::open(root.join(name))
                .unwrap()
                .set_times(time)
                .unwrap();
        }
        let epoch = rustix::fs::Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        let times = rustix::fs::Timestamps {
            last_access: epoch,
            last_modification: epoch,
        };
        let flags = rustix::fs::AtFlags::SYMLINK_NOFOLLOW;
        rustix::fs::utimensat(rustix::fs::CWD, root.join("symlink"), &times, flags).unwrap();
    };
    let same = || {
        let compare = || support::assert_same_tree(&left, &right);
        catch_unwind(AssertUnwindSafe(compare)).is_ok()
    };
    let changes: [fn(&Path); 6] = [
        |root| {
            let file = fs::OpenOptions::new()
                .write(true)
                .open(root.join("sub/file"))
                .unwrap();
            let time = file.metadata().unwrap().modified().unwrap();
            std::os::unix::fs::FileExt::write_all_at(&file, &[2], 3_000_000).unwrap();
            file.set_modified(time).unwrap();
        },
        |root| {
            fs::set_permissions(
                root.join("single"),
                std::os::unix::fs::PermissionsExt::from_mode(0o600),
            )
            .unwrap()
        },
        |root| fs::write(root.join("new"), "").unwrap(),
        |root| {
            fs::remove_file(root.join("link")).unwrap();
            fs::copy(root.join("sub/file"), root.join("link")).unwrap();
        },
        |root| {
            fs::remove_file(root.join("symlink")).unwrap();
            symlink("single", root.join("symlink")).unwrap();
        },
        |root| {
            rustix::fs::setxattr(
                root.join("single"),
                "user.a",
                b"b",
                rustix::fs::XattrFlags::empty(),
            )
            .unwrap()
        },
    ];
    for (number, change) in changes.into_iter().enumerate() {
        make(&left);
        make(&right);
        assert!(same(), "before change {number}");
        change(&right);
        assert!(!same(), "after change {number}");
        fs::remove_dir_all(&left).unwrap();
        fs::remove_dir_all(&right).unwrap();
    }
}

#[test]
fn the_corpus_has_its_size_and_unique_names() {
    let corpus = support::corpus(4 << 20);
    let total: usize = corpus.iter().map(|sample| sample.data.len()).sum();
    assert!((3 << 20..=5 << 20).contains(&total), "{total}");
    let names: BTreeSet<_> = corpus.iter().map(|sample| &sample.name).collect();
    assert_eq!(names.len(), corpus.len());
    assert!(names.iter().all(|name| !name.contains('/')));
    let [a, b] = [(); 2].map(|()| support::generated(1 << 20));
    assert!(a.iter().zip(&b).all(|(a, b)| a.data == b.data));
    assert_eq!(a.len(), 6);
}
