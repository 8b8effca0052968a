//! Squeezing without root, by the program as a user who is nobody: files of this user become
//! smaller, nothing else changes, and nothing grows.

use std::collections::BTreeMap;
use std::fs::{self, File, Permissions};
use std::os::unix::fs::{FileExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

use btrfs_payload::files::{Kind, Map, MapOptions, Totals};
use btrfs_payload::rules::{Codec, OnDiskId};
use rustix::fs::FallocateFlags;
use serde_json::Value;

use crate::support::{self, Mount, chattr_c, create, snapshot, subvolume, text};
use crate::{Kept, noise, state_of};

const MIB: usize = 1024 * 1024;
const NOBODY: u32 = 65534;

/// A directory of nobody, in a subvolume of its own.
fn home(fs: &Mount) -> PathBuf {
    let home = fs.join("home");
    subvolume(&home);
    chown(&home, Some(NOBODY), Some(NOBODY)).unwrap();
    home
}

/// A file of nobody, on disk.
fn written(path: &Path, data: &[u8]) -> File {
    let file = crate::written(path, data);
    chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
    file.sync_all().unwrap();
    file
}

/// Bytes that the filesystem uses for data, by its own account.
fn used(fs: &Mount) -> u64 {
    crate::used(fs).data
}

fn states(paths: &[PathBuf]) -> Vec<Kept> {
    paths.iter().map(|path| state_of(path)).collect()
}

/// What the program says as nobody: its lines by kind, and its exit status.
fn squeeze(fs: &Mount, arguments: &[&str]) -> (Vec<Value>, Option<i32>, String) {
    let program = fs.outside().join("program");
    if !program.exists() {
        support::copy_program(env!("CARGO_BIN_EXE_btrfs-payload"), &program);
        fs::set_permissions(fs.outside(), Permissions::from_mode(0o755)).unwrap();
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]);
    command.arg(program).args(["squeeze", "--format", "json"]);
    let output = command.args(arguments).current_dir("/").output().unwrap();
    let lines = String::from_utf8(output.stdout).unwrap();
    let lines = lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap());
    (
        lines.collect(),
        output.status.code(),
        String::from_utf8(output.stderr).unwrap(),
    )
}

/// The bytes that are left, by reason.
fn left(lines: &[Value]) -> BTreeMap<String, u64> {
    let left = lines.iter().filter(|line| line["kind"] == "left");
    left.map(|line| {
        let reason = line["reason"].as_str().unwrap().to_owned();
        (reason, line["disk_bytes"].as_u64().unwrap())
    })
    .collect()
}

/// Bytes on disk below a path: compressed with this codec, and plain.
fn stored(path: &Path, codec: Codec) -> (u64, u64) {
    let map = Map::new(&[path.to_owned()], &MapOptions::default()).unwrap();
    let totals = Totals::new(&map, 0);
    let of = |kind| totals.regular.get(&kind).map_or(0, |sum| sum.disk_bytes);
    (of(Kind::Compressed(OnDiskId::from(codec))), of(Kind::Plain))
}

/// Everything that the owner may squeeze, and everything that is to be left.
#[test]
fn own_files_become_smaller_and_others_stay() {
    let name = "own_files_become_smaller_and_others_stay";
    let Some(fs) = support::btrfs(name, &support::Options::default()) else {
        return;
    };
    let home = home(&fs);
    let text = text(6 * MIB + 1234);
    let path = |name: &str| home.join(name);
    written(&path("text"), &text);
    written(&path("short"), &text[..20_001]);
    written(&path("inline"), b"four");
    written(&path("noise"), &noise(2 << 20, 1));
    // An extent of which a part is overwritten, so that no file shows it.
    let over = written(&path("over"), &text[..4 * MIB]);
    over.write_all_at(&noise(1 << 20, 2), 1_048_576).unwrap();
    over.sync_all().unwrap();
    fs::hard_link(path("over"), path("link")).unwrap();
    // One that nothing can be saved of without all of it, compressible or not.
    let mixed = [&text[..MIB], &noise(2 << 20, 3), &text[..MIB]].concat();
    written(&path("mixed"), &mixed);
    // Too little of one extent shrinks: 64 KiB of 4 MiB.
    written(
        &path("little"),
        &[&text[..65_536], &noise((4 << 20) - 65_536, 4)].concat(),
    );
    // What is left.
    let reflinked = written(&path("reflinked"), &text[..3 * MIB]);
    let clone = written(&path("clone"), b"");
    rustix::fs::ioctl_ficlone(&clone, &reflinked).unwrap();
    let begun = written(&path("begun"), b"");
    rustix::fs::fallocate(&begun, FallocateFlags::empty(), 0, 2 << 20).unwrap();
    begun.write_all_at(&text[..MIB], 0).unwrap();
    begun.sync_all().unwrap();
    let nocow = chattr_c(&path("nocow"));
    nocow.write_all_at(&text[..MIB], 0).unwrap();
    chown(path("nocow"), Some(NOBODY), Some(NOBODY)).unwrap();
    nocow.sync_all().unwrap();
    create(path("of-root")).write_all_at(&text, 0).unwrap();
    // As is what a snapshot shows.
    subvolume(&path("live"));
    written(&path("live/frozen"), &text[..5 * MIB]);
    snapshot(&path("live"), &path("snapshot"), &["-r"]);
    let names = [
        "text",
        "short",
        "inline",
        "noise",
        "over",
        "mixed",
        "reflinked",
        "clone",
        "begun",
        "nocow",
        "of-root",
        "live/frozen",
        "snapshot/frozen",
    ];
    let paths = names.map(path);
    let (before, used_before) = (states(&paths), used(&fs));
    let target = home.to_str().unwrap();

    // Nothing yet.
    let (lines, code, _) = squeeze(&fs, &["--dry-run", target]);
    let promised = lines.last().unwrap()["freed_bytes"].as_u64().unwrap();
    assert_eq!((code, used(&fs)), (Some(0), used_before));
    let (lines, code, stderr) = squeeze(&fs, &[target]);
    assert_eq!((code, stderr.as_str()), (Some(0), ""), "{lines:?}");
    let last = lines.last().unwrap();
    assert_eq!(last["complete"], true, "{last}");
    assert_eq!(last["grown_bytes"], 0, "{last}");
    assert_eq!(last["next_generation"], Value::Null, "{last}");
    let whole = |bytes: usize| bytes.next_multiple_of(4096) as u64;
    let left_bytes = left(&lines);
    assert_eq!(left_bytes["no-saving"], whole(2 * MIB + 4 * MIB));
    // Both show it.
    assert_eq!(
        left_bytes["shared-unseen"],
        whole(2 * 3 * MIB + 2 * 5 * MIB)
    );
    assert_eq!(left_bytes["preallocated"], whole(MIB));
    assert_eq!(left_bytes["no-checksums"], whole(MIB));
    assert_eq!(left_bytes["out-of-reach"], whole(text.len()));

    // The filesystem says the same: the text is gone but for its payloads.
    let freed = used_before - used(&fs);
    let said = last["freed_bytes"].as_u64().unwrap();
    // What was overwritten is free too; FIEMAP does not show it.
    let freed = freed - whole(MIB);
    assert!(
        freed.abs_diff(promised) < promised / 20,
        "{freed} {promised}"
    );
    assert!(freed.abs_diff(said) < said / 20, "{freed} {said}");
    assert!(freed > whole(7 * MIB), "{freed}");
    assert!(states(&paths) == before, "contents or times have changed");
    // The bytes after the last 128 KiB may be one sector of their own, which stays plain.
    for name in ["text", "short"] {
        let (compressed, plain) = stored(&path(name), Codec::Zstd);
        assert!(
            compressed > 0 && plain <= 4096,
            "{name}: {compressed} {plain}"
        );
    }
    let (_, plain) = stored(&path("mixed"), Codec::Zstd);
    assert!(plain < whole(2 * MIB + 128 * 1024), "{plain}");
    for name in ["of-root", "live/frozen", "reflinked"] {
        assert_eq!(stored(&path(name), Codec::Zstd).0, 0, "{name}");
    }
    let shared = Map::new(&[path("live"), path("snapshot")], &MapOptions::default()).unwrap();
    let sum = Totals::new(&shared, 0).all().disk_bytes;
    assert_eq!(sum, whole(5 * MIB), "stored once");

    // The second time there is nothing to do.
    let used_before = used(&fs);
    let (lines, code, _) = squeeze(&fs, &[target]);
    assert_eq!(
        (code, &lines.last().unwrap()["extents"]),
        (Some(0), &0.into())
    );
    assert_eq!(left(&lines)["compressed-unseen"], 0);
    assert_eq!(used(&fs), used_before);
    drop((over, reflinked, clone, begun, nocow, shared));
    fs.remount();
    assert!(states(&paths) == before, "on disk they have changed");
}

/// Codecs and where the unnamed file is made; what is refused.
#[test]
fn the_codec_the_temporary_file_and_what_needs_root() {
    let name = "the_codec_the_temporary_file_and_what_needs_root";
    let Some(fs) = support::btrfs(name, &support::Options::default()) else {
        return;
    };
    let home = home(&fs);
    let text = text(MIB + 77);
    for (codec, name) in [
        (Codec::Lzo, "lzo"),
        (Codec::Zlib, "zlib"),
        (Codec::Zstd, "zstd"),
    ] {
        let path = home.join(name);
        written(&path, &text);
        let before = state_of(&path);
        let (lines, code, stderr) = squeeze(&fs, &["--codec", name, path.to_str().unwrap()]);
        assert_eq!((code, stderr.as_str()), (Some(0), ""), "{lines:?}");
        let (compressed, plain) = stored(&path, codec);
        assert!(
            compressed > 0 && plain <= 4096,
            "{name}: {compressed} {plain}"
        );
        assert!(state_of(&path) == before, "{name}");
    }
    // Its owner may not make files beside it.
    let [all, most] = [home.to_str().unwrap(), "1G"];
    written(&home.join("large"), &text);
    let (lines, ..) = squeeze(&fs, &["--min-saving", most, all]);
    assert_eq!(lines.last().unwrap()["extents"], 0, "{lines:?}");
    let closed = fs.join("closed");
    fs::create_dir(&closed).unwrap();
    let path = closed.join("file");
    written(&path, &text);
    let target = path.to_str().unwrap();
    let (lines, code, _) = squeeze(&fs, &[target]);
    assert_eq!(code, Some(0));
    assert_eq!(
        left(&lines).into_keys().collect::<Vec<_>>(),
        ["no-temporary"]
    );
    let (lines, code, _) = squeeze(&fs, &[target, "--temp-dir", home.to_str().unwrap()]);
    assert_eq!((code, left(&lines).len()), (Some(0), 0));
    assert!(stored(&path, Codec::Zstd).1 <= 4096);

    let refused = |arguments: &[&str], word: &str| {
        let (lines, code, stderr) = squeeze(&fs, arguments);
        let said = format!("{lines:?}{stderr}");
        assert!(code == Some(2) && said.contains(word), "{said}");
    };
    refused(&[target, "--since", "7"], "--since");
    let state_file = home.join("state");
    refused(
        &[target, "--state", state_file.to_str().unwrap()],
        "--state",
    );
    refused(&[target, "--codec", "zstd,lzo"], "one codec");
    // Who may not read a file is told.
    fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    chown(&path, Some(0), Some(0)).unwrap();
    let (_, code, _) = squeeze(&fs, &[closed.to_str().unwrap()]);
    assert_eq!(code, Some(2));
}
