//! The examples, on files of the running kernel. `write_stream` is in tests/send_stream.
#![allow(clippy::unwrap_used)] // a failing test may panic

mod support;

use std::fs::{self, File};
use std::process::Command;

use btrfs_payload::send_stream::{CommandKind, Reader};

#[path = "../examples/check_file.rs"]
#[allow(dead_code)] // its `main`
mod check_file;
#[path = "../examples/copy_extents.rs"]
#[allow(dead_code)]
mod copy_extents;
#[path = "../examples/pack_files.rs"]
#[allow(dead_code)]
mod pack_files;
#[path = "../examples/recompress_stream.rs"]
#[allow(dead_code)]
mod recompress_stream;

#[test]
fn files_are_judged_and_copied_without_decoding() {
    let test = "files_are_judged_and_copied_without_decoding";
    let options = support::Options::default().mounted_with("compress-force=zstd:3");
    let Some(fs) = support::btrfs(test, &options) else {
        return;
    };
    // Compressed extents, a hole, and noise that no compression shrinks.
    let mut data = support::text(1_000_000);
    data.resize(1_500_000, 0);
    let noise = support::generated(64 * 1024).remove(4).data;
    data.extend(noise);
    let (from, to) = (fs.join("from"), fs.join("to"));
    fs::write(&from, &data).unwrap();
    fs.remount();

    let (count, found) = check_file::check_file(&from).unwrap();
    assert!(count >= 8, "{count}");
    assert_eq!(found, []);

    let summary = {
        let source = File::open(&from).unwrap();
        let mut options = File::options();
        let dest = options.read(true).write(true).create_new(true).open(&to);
        copy_extents::copy_extents(&source, &dest.unwrap()).unwrap()
    };
    assert!(summary.encoded.extents >= 8, "{summary:?}");
    assert_eq!(summary.fallbacks, []);
    fs.remount();
    assert!(fs::read(&to).unwrap() == data);
    assert_eq!(check_file::check_file(&to).unwrap(), (count, found));
}

#[test]
fn a_stream_is_compressed_again_and_received() {
    let test = "a_stream_is_compressed_again_and_received";
    let Some(fs) = support::btrfs(test, &support::Options::default()) else {
        return;
    };
    let btrfs = |arguments: &[&str]| {
        let output = Command::new("btrfs").args(arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        output.stdout
    };
    let path = |name: &str| fs.join(name).into_os_string().into_string().unwrap();
    btrfs(&["subvolume", "create", &path("data")]);
    let data = support::text(700_000);
    fs::write(path("data/file"), &data).unwrap();
    btrfs(&["subvolume", "snapshot", "-r", &path("data"), &path("snap")]);
    let stream = btrfs(&["-q", "send", &path("snap")]);

    let mut small = Vec::new();
    let summary = recompress_stream::smaller(&stream[..], &mut small).unwrap();
    assert_eq!(summary.bytes_out, small.len() as u64);
    assert!(small.len() < stream.len() / 2);
    let encoded = Reader::new(&small[..])
        .filter(|raw| raw.as_ref().unwrap().kind() == Some(CommandKind::EncodedWrite));
    assert_eq!(encoded.count(), 6);

    fs::write(path("small"), &small).unwrap();
    fs::create_dir(path("received")).unwrap();
    btrfs(&["-q", "receive", "-f", &path("small"), &path("received")]);
    assert!(fs::read(path("received/snap/file")).unwrap() == data);
}

#[test]
fn files_of_several_origins_are_packed_and_received() {
    let test = "files_of_several_origins_are_packed_and_received";
    let Some(fs) = support::btrfs(test, &support::Options::default()) else {
        return;
    };
    // A directory of this repository, in an archive that tar makes.
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/examples");
    let tar = Command::new("tar")
        .args(["--format=ustar", "-C", source, "-c", "."])
        .output()
        .unwrap();
    assert!(tar.status.success(), "{tar:?}");
    let path = fs.outside().join("image.stream");
    let mut new = File::options();
    let file = new.read(true).write(true).create_new(true).open(&path);
    let (_, summary) = pack_files::pack_files(file.unwrap(), &tar.stdout[..]).unwrap();
    assert!(summary.files >= 7, "{summary:?}");
    let receive = Command::new("btrfs")
        .args(["-q", "receive", "-f"])
        .args([path, fs.path()])
        .output()
        .unwrap();
    assert!(receive.status.success(), "{receive:?}");
    let image = fs.join("image");
    let read = |name: &str| fs::read(image.join(name)).unwrap();
    assert_eq!(read("motd"), b"Packed without root.\n");
    let mut disk = File::open(image.join("disk.img")).unwrap();
    let mut begun = vec![0; 1_000_100];
    std::io::Read::read_exact(&mut disk, &mut begun).unwrap();
    assert!(begun[..1_000_000] == [b'x'; 1_000_000] && begun[1_000_000..] == [0; 100]);
    assert_eq!(disk.metadata().unwrap().len(), 1_000_000 + (1 << 30));
    let parts = [(b'a', 300_000), (b'b', 5000), (0, 100_000), (b'a', 300_000)];
    let expected = parts.map(|(byte, len)| vec![byte; len]).concat();
    assert!(read("from-store") == expected);
    for entry in fs::read_dir(source).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        assert!(read(&name) == fs::read(entry.path()).unwrap(), "{name}");
    }
}
