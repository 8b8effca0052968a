//! Output files and directories: what is replaced and what never is, who may read what is made,
//! and what is left of it after a kill.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::Write;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, chown, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use rustix::process::geteuid;
use tempfile::TempDir;

use crate::material::{content, lines, stream};
use crate::pipes::fifo;
use crate::support::skip;
use crate::{Run, as_nobody, assert_trouble, program, run, tree};

/// Arguments that decode `payload` to 3000 bytes.
const DECODE: [&str; 6] = [
    "decode",
    "payload",
    "--codec",
    "zlib",
    "--unencoded-len=3000",
    "-o",
];

/// A directory with a file `data`, a `payload` and a `stream`, all with this mode.
fn dir(mode: u32) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let files = [
        ("data", lines(300_000)),
        ("payload", content("valid zlib-inline")),
        ("stream", stream()),
    ];
    for (name, content) in files {
        fs::write(dir.path().join(name), content).unwrap();
        fs::set_permissions(dir.path().join(name), Permissions::from_mode(mode)).unwrap();
    }
    dir
}

fn decode(dir: &Path, output: &[&str]) -> Run {
    run(dir, DECODE.iter().chain(output))
}

fn mode(path: impl AsRef<Path>) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o7777
}

#[track_caller]
fn assert_done(run: &Run) {
    assert_eq!(run.code, Some(0), "{run:?}");
}

/// The bytes that a pipe gets while the program writes into it.
fn through_a_pipe(dir: &Path, arguments: &[&str]) -> (Run, Vec<u8>) {
    let path = fifo(dir);
    thread::scope(|scope| {
        let reader = scope.spawn(|| fs::read(&path).unwrap());
        let run = decode(dir, arguments);
        (run, reader.join().unwrap())
    })
}

#[test]
fn what_is_no_regular_file_is_written_to_and_stays_what_it_is() {
    for force in [&[][..], &["--force"]] {
        let dir = dir(0o644);
        let path = |name: &str| dir.path().join(name);
        let (run, bytes) = through_a_pipe(dir.path(), &[&["pipe"], force].concat());
        assert_done(&run);
        assert_eq!(bytes.len(), 3000);
        assert!(
            path("pipe")
                .symlink_metadata()
                .unwrap()
                .file_type()
                .is_fifo()
        );

        for device in ["/dev/null", "/dev/zero"] {
            assert_done(&decode(dir.path(), &[&[device], force].concat()));
            assert!(fs::metadata(device).unwrap().file_type().is_char_device());
        }
        let full = decode(dir.path(), &[&["/dev/full"], force].concat());
        assert_trouble(
            &full,
            &["cannot write /dev/full", "No space left on device"],
        );
        assert!(
            fs::metadata("/dev/full")
                .unwrap()
                .file_type()
                .is_char_device()
        );

        // A link to a device: neither is replaced.
        symlink("/dev/null", path("link")).unwrap();
        assert_done(&decode(dir.path(), &[&["link"], force].concat()));
        assert!(path("link").is_symlink());
        assert!(
            fs::metadata("/dev/null")
                .unwrap()
                .file_type()
                .is_char_device()
        );

        let _socket = UnixListener::bind(path("socket")).unwrap();
        let socket = decode(dir.path(), &[&["socket"], force].concat());
        assert_trouble(&socket, &["socket is a socket"]);
        assert!(
            path("socket")
                .symlink_metadata()
                .unwrap()
                .file_type()
                .is_socket()
        );

        // Streams go the same way.
        let arguments = ["stream", "decompress", "stream", "-o", "/dev/null"];
        assert_done(&crate::run(dir.path(), [&arguments, force].concat()));
        assert!(
            fs::metadata("/dev/null")
                .unwrap()
                .file_type()
                .is_char_device()
        );
    }
}

#[test]
fn standard_output_has_names_too() {
    let dir = dir(0o644);
    let file = || {
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true);
        options.open(dir.path().join("out")).unwrap()
    };
    for name in ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1", "-"] {
        for force in [&[][..], &["--force"]] {
            let arguments: Vec<&&str> = DECODE.iter().chain([&name]).chain(force).collect();
            let mut command = program(dir.path());
            command.args(&arguments).stdin(Stdio::null());
            let pipe = Run::from(command.output().unwrap());
            assert_eq!((pipe.code, pipe.stdout.len()), (Some(0), 3000), "{name}");
            // A regular file: written to at its position, and not replaced.
            let out = file();
            let inode = out.metadata().unwrap().ino();
            assert!(command.stdout(out).status().unwrap().success());
            let metadata = fs::metadata(dir.path().join("out")).unwrap();
            assert_eq!((metadata.ino(), metadata.len()), (inode, 3000), "{name}");
        }
    }
    // A stream has no sums among its bytes.
    fs::write(dir.path().join("stream"), stream()).unwrap();
    let decompress = |to: &str| {
        let mut command = program(dir.path());
        command.args(["stream", "decompress", "stream", "-o", to]);
        command.output().unwrap()
    };
    let (dash, name) = (decompress("-"), decompress("/dev/stdout"));
    assert!(dash.stdout.starts_with(b"btrfs-stream\0"));
    assert!(dash == name, "{}", String::from_utf8_lossy(&name.stderr));
    // Another descriptor may be of a file that somebody needs.
    let script = format!(
        "exec {} {} /dev/fd/3 --force 3<>data",
        env!("CARGO_BIN_EXE_btrfs-payload"),
        DECODE.join(" ")
    );
    let mut shell = Command::new("sh");
    let run = shell.args(["-c", &script]).current_dir(dir.path()).output();
    assert_trouble(
        &run.unwrap().into(),
        &["/dev/fd/3 is a file that is open already"],
    );
    assert_eq!(fs::read(dir.path().join("data")).unwrap(), lines(300_000));
}

#[test]
fn links_are_followed_and_stay() {
    let dir = dir(0o644);
    let path = |name: &str| dir.path().join(name);
    fs::create_dir(path("elsewhere")).unwrap();
    fs::write(path("elsewhere/target"), "old").unwrap();
    symlink("elsewhere/target", path("link")).unwrap();
    assert_trouble(&decode(dir.path(), &["link"]), &["link exists already"]);
    assert_eq!(fs::read(path("elsewhere/target")).unwrap(), b"old");
    assert_done(&decode(dir.path(), &["link", "--force"]));
    assert_eq!(
        fs::read_link(path("link")).unwrap(),
        Path::new("elsewhere/target")
    );
    assert_eq!(fs::read(path("elsewhere/target")).unwrap().len(), 3000);

    symlink("nowhere", path("dangling")).unwrap();
    symlink("round", path("round")).unwrap();
    for force in [&[][..], &["--force"]] {
        let dangling = decode(dir.path(), &[&["dangling"], force].concat());
        assert_trouble(&dangling, &["dangling is a symbolic link to nothing"]);
        let round = decode(dir.path(), &[&["round"], force].concat());
        assert_trouble(&round, &["round", "symbolic links"]);
        let prepare = ["prepare", "data", "--out", "dangling"];
        let prepare = crate::run(dir.path(), [&prepare, force].concat());
        assert_trouble(&prepare, &["dangling is a symbolic link to nothing"]);
    }
    // A directory of payloads, reached through a link.
    let prepare = ["prepare", "data", "--out", "payloads"];
    assert_done(&run(dir.path(), prepare));
    symlink("payloads", path("to-payloads")).unwrap();
    let prepare = ["prepare", "data", "--out", "to-payloads", "--force"];
    assert_done(&run(dir.path(), prepare));
    assert!(path("to-payloads").is_symlink());
    assert!(path("payloads/manifest.jsonl").exists());
    assert!(!path("nowhere").exists());
}

#[test]
fn encoded_writes_go_to_regular_files_only() {
    let dir = dir(0o644);
    let path = |name: &str| dir.path().join(name);
    fifo(dir.path());
    symlink("/dev/null", path("link")).unwrap();
    symlink("nowhere", path("dangling")).unwrap();
    fs::create_dir_all(path("sub/data")).unwrap();
    for force in [&[][..], &["--force"]] {
        for dest in [
            "pipe",
            "/dev/null",
            "link",
            "/dev/stdout",
            "/proc/self/fd/2",
        ] {
            let write = run(
                dir.path(),
                [&["write", "--plain-ok", "data", dest], force].concat(),
            );
            let reason = format!("{dest} is not a regular file");
            assert_trouble(&write, &[&reason]);
            assert!(!write.stderr.contains("--force"), "{write:?}");
        }
        let write = run(
            dir.path(),
            [&["write", "--plain-ok", "data", "dangling"], force].concat(),
        );
        assert_trouble(&write, &["dangling is a symbolic link to nothing"]);
        let write = run(dir.path(), [&["write", "data", "sub"], force].concat());
        assert_trouble(&write, &["sub/data is a directory"]);
    }
    assert!(
        fs::metadata("/dev/null")
            .unwrap()
            .file_type()
            .is_char_device()
    );
    assert!(
        path("pipe")
            .symlink_metadata()
            .unwrap()
            .file_type()
            .is_fifo()
    );
}

/// Something that is put into a directory of payloads.
type Change = fn(&Path);

/// What holds anything that this program has not made stays as it is.
#[test]
fn only_directories_of_ours_are_replaced() {
    let first_line =
        r#"{"kind":"file","format":1,"program":"x","name":"x","size":1,"sector_size":4096}"#;
    let strangers: [(&str, Change); 6] = [
        ("notes.txt", |directory| {
            fs::write(directory.join("notes.txt"), "mine").unwrap();
        }),
        ("photos", |directory| {
            fs::create_dir(directory.join("photos")).unwrap();
        }),
        ("link", |directory| {
            symlink("/etc/passwd", directory.join("link")).unwrap();
        }),
        ("000000000000.zstd", |directory| {
            let payload = directory.join("000000000000.zstd");
            fs::remove_file(&payload).unwrap();
            symlink("/etc/passwd", payload).unwrap();
        }),
        (
            "manifest.jsonl is not a manifest of this program's",
            |directory| {
                fs::write(directory.join("manifest.jsonl"), "{\"mine\":1}\n").unwrap();
            },
        ),
        ("manifest.jsonl is not a regular file", |directory| {
            let manifest = directory.join("manifest.jsonl");
            fs::rename(&manifest, directory.join("other.jsonl")).unwrap();
            symlink("other.jsonl", manifest).unwrap();
        }),
    ];
    for (name, add) in strangers {
        let dir = dir(0o644);
        let directory = dir.path().join("extents");
        let prepare = ["prepare", "data", "--out", "extents"];
        assert_done(&run(dir.path(), prepare));
        add(&directory);
        let before = tree(dir.path());
        for force in [&[][..], &["--force"]] {
            let again = run(dir.path(), [&prepare, force].concat());
            assert_trouble(&again, &["extents exists already", name]);
            assert!(!again.stderr.contains("--force"), "{again:?}");
            assert_eq!(tree(dir.path()), before);
        }
    }
    // A manifest of somebody else's, with a first line like ours.
    let dir = dir(0o644);
    let directory = dir.path().join("extents");
    fs::create_dir(&directory).unwrap();
    fs::write(directory.join("manifest.jsonl"), first_line).unwrap();
    fs::write(directory.join("thesis"), "years of work").unwrap();
    let prepare = ["prepare", "data", "--out", "extents", "--force"];
    assert_trouble(&run(dir.path(), prepare), &["thesis"]);
    assert_eq!(
        fs::read(directory.join("thesis")).unwrap(),
        b"years of work"
    );
}

#[test]
fn what_is_made_of_a_private_input_is_private() {
    let dir = dir(0o600);
    let path = |name: &str| dir.path().join(name);
    assert_done(&decode(dir.path(), &["decoded"]));
    for command in ["recompress", "decompress", "reframe"] {
        let arguments = ["stream", command, "stream", "-o", command];
        let more = ["--sector-size=8192"]
            .iter()
            .filter(|_| command == "reframe");
        assert_done(&run(dir.path(), arguments.iter().chain(more)));
        assert_eq!(mode(path(command)), 0o600, "{command}");
    }
    assert_done(&run(dir.path(), ["prepare", "data", "--out", "extents"]));
    assert_eq!(mode(path("decoded")), 0o600);
    assert_eq!(mode(path("extents")), 0o700);
    let files = tree(&path("extents"));
    assert!(files.len() > 2, "{files:?}");
    for name in files {
        assert_eq!(mode(path("extents").join(&name)), 0o600, "{name}");
    }
    // In place, whatever the mode is; and an ordinary input gives an ordinary output.
    fs::set_permissions(path("stream"), Permissions::from_mode(0o640)).unwrap();
    if geteuid().is_root() {
        chown(path("stream"), Some(1234), Some(2345)).unwrap();
    }
    let before = fs::metadata(path("stream")).unwrap();
    let arguments = ["stream", "recompress", "stream", "-o", "stream", "--force"];
    assert_done(&run(dir.path(), arguments));
    let after = fs::metadata(path("stream")).unwrap();
    assert_ne!(after.ino(), before.ino());
    assert_eq!(
        (after.mode(), after.uid(), after.gid()),
        (before.mode(), before.uid(), before.gid())
    );
}

#[test]
fn an_ordinary_input_gives_what_umask_gives() {
    for (umask, file, directory) in [
        ("022", 0o644, 0o755),
        ("077", 0o600, 0o700),
        ("0", 0o644, 0o755),
    ] {
        let dir = dir(0o644);
        let path = |name: &str| dir.path().join(name);
        let shell = |line: &str| {
            let program = env!("CARGO_BIN_EXE_btrfs-payload");
            let line = line.replace("PROGRAM", program);
            let script = format!("umask {umask}; {line}");
            let mut shell = Command::new("sh");
            let run = shell.args(["-c", &script]).current_dir(dir.path()).output();
            assert_done(&run.unwrap().into());
        };
        shell(&format!("PROGRAM {} decoded", DECODE.join(" ")));
        shell("PROGRAM prepare data --out extents");
        shell("cat stream | PROGRAM stream recompress -o from-a-pipe");
        assert_eq!(mode(path("decoded")), file, "umask {umask}");
        assert_eq!(mode(path("extents")), directory, "umask {umask}");
        assert_eq!(mode(path("extents/manifest.jsonl")), file, "umask {umask}");
        let ordinary = 0o666 & !u32::from_str_radix(umask, 8).unwrap();
        assert_eq!(mode(path("from-a-pipe")), ordinary, "umask {umask}");
        // A file that was closed to others does not become open to them.
        fs::set_permissions(path("decoded"), Permissions::from_mode(0o600)).unwrap();
        shell(&format!("PROGRAM {} decoded --force", DECODE.join(" ")));
        assert_eq!(mode(path("decoded")), 0o600, "umask {umask}");
        fs::set_permissions(path("extents"), Permissions::from_mode(0o700)).unwrap();
        shell("PROGRAM prepare data --out extents --force");
        assert_eq!(mode(path("extents")), 0o700, "umask {umask}");
    }
}

/// Members of a group may read the input; those of another are not to read the output.
#[test]
fn a_group_that_may_not_read_the_input_may_not_read_the_output() {
    if !geteuid().is_root() {
        skip(
            "a_group_that_may_not_read_the_input_may_not_read_the_output",
            "needs root",
        );
        return;
    }
    let dir = dir(0o640);
    chown(dir.path().join("payload"), None, Some(4321)).unwrap();
    assert_done(&decode(dir.path(), &["decoded"]));
    assert_eq!(mode(dir.path().join("decoded")), 0o600);
}

/// Nobody but the owner can read what is not complete, and a kill leaves nothing of it.
#[test]
fn a_killed_run_leaves_nothing() {
    let dir = dir(0o644);
    let mut pipe = fifo_open_at_both_ends(dir.path());
    let mut command = program(dir.path());
    command.args(["stream", "recompress", "pipe", "-o", "out"]);
    let mut child = command.stdin(Stdio::null()).spawn().unwrap();
    pipe.write_all(&stream()[..4096.min(stream().len() - 1)])
        .unwrap();
    thread::sleep(Duration::from_millis(300));
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(tree(dir.path()), ["data", "payload", "pipe", "stream"]);
}

fn fifo_open_at_both_ends(dir: &Path) -> File {
    let path = fifo(dir);
    OpenOptions::new()
        .read(true)
        .write(true)
        .open(path)
        .unwrap()
}

/// Killed at any moment: nothing, the old file, or the new one, whole.
#[test]
fn a_kill_at_any_moment_leaves_a_whole_file_or_none() {
    let dir = dir(0o644);
    let out = dir.path().join("out");
    let arguments = ["stream", "decompress", "stream", "-o", "out", "--force"];
    assert_done(&run(dir.path(), arguments));
    let whole = fs::read(&out).unwrap();
    for delay in 0..60 {
        if delay % 2 == 0 {
            fs::remove_file(&out).unwrap();
        }
        let mut command = program(dir.path());
        command
            .args(arguments)
            .stdin(Stdio::null())
            .stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        thread::sleep(Duration::from_micros(delay * 500));
        child.kill().unwrap();
        child.wait().unwrap();
        match fs::read(&out) {
            Ok(bytes) => assert!(bytes == whole, "{delay}: {} bytes", bytes.len()),
            Err(_) => fs::write(&out, &whole).unwrap(),
        }
        // A name that was about to replace another can be left, with the whole content.
        for name in tree(dir.path()).iter().filter(|name| name.starts_with('.')) {
            let left = dir.path().join(name);
            assert!(fs::read(&left).unwrap() == whole, "{name}");
            fs::remove_file(left).unwrap();
        }
    }
}

/// The owner is another after a copy by somebody else, and must not lend his rights.
#[test]
fn set_id_bits_are_not_kept_without_the_owner() {
    if !geteuid().is_root() {
        skip("set_id_bits_are_not_kept_without_the_owner", "needs root");
        return;
    }
    let dir = dir(0o644);
    let data = dir.path().join("data");
    chown(&data, Some(0), Some(0)).unwrap();
    fs::set_permissions(&data, Permissions::from_mode(0o6755)).unwrap();
    // As root, with the owner, they stay.
    assert_done(&run(dir.path(), ["write", "--plain-ok", "data", "copy"]));
    assert_eq!(mode(dir.path().join("copy")), 0o6755);
    let open = dir.path().join("open");
    fs::create_dir(&open).unwrap();
    fs::set_permissions(&open, Permissions::from_mode(0o777)).unwrap();
    let write = as_nobody(dir.path())
        .args(["write", "--plain-ok", "data", "open/copy"])
        .output();
    let write = Run::from(write.unwrap());
    assert_done(&write);
    assert!(write.stderr.contains("the owner is not kept"), "{write:?}");
    assert!(
        write
            .stderr
            .contains("set-user-ID and set-group-ID are not kept"),
        "{write:?}"
    );
    let copy = fs::metadata(open.join("copy")).unwrap();
    assert_eq!((copy.mode() & 0o7777, copy.uid()), (0o755, 65534));
    assert_eq!(fs::read(open.join("copy")).unwrap(), lines(300_000));
}

/// Root without the capability to change owners, but with the one to hand out capabilities.
#[test]
fn capabilities_are_not_kept_without_the_owner() {
    let name = "capabilities_are_not_kept_without_the_owner";
    if !geteuid().is_root() {
        return skip(name, "needs root");
    }
    let dir = dir(0o644);
    let data = dir.path().join("data");
    chown(&data, Some(1234), Some(1234)).unwrap();
    // cap_net_raw, permitted and effective (include/uapi/linux/capability.h, version 2).
    let raw = [
        1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    ];
    let flags = rustix::fs::XattrFlags::empty();
    if rustix::fs::setxattr(&data, "security.capability", &raw, flags).is_err() {
        return skip(name, "the filesystem has no capabilities");
    }
    let write = thread::scope(|scope| {
        let write = scope.spawn(|| {
            let chown = rustix::thread::CapabilitySet::CHOWN;
            rustix::thread::remove_capability_from_bounding_set(chown).unwrap();
            run(dir.path(), ["write", "--plain-ok", "data", "copy"])
        });
        write.join().unwrap()
    });
    assert_done(&write);
    let said = "the attribute security.capability is not kept";
    assert!(write.stderr.contains(said), "{write:?}");
    let copy = dir.path().join("copy");
    let got = rustix::fs::getxattr(&copy, "security.capability", &mut [0; 64]);
    assert!(got.is_err(), "{got:?}");
    // With the owner they are kept.
    assert_done(&run(dir.path(), ["write", "--plain-ok", "data", "other"]));
    let mut value = [0; 64];
    let len = rustix::fs::getxattr(dir.path().join("other"), "security.capability", &mut value);
    assert_eq!(value[..len.unwrap()], raw);
}

/// While it works, nobody else can read what there is.
#[test]
fn a_directory_in_the_making_is_closed() {
    let dir = dir(0o644);
    let mut pipe = fifo_open_at_both_ends(dir.path());
    let mut command = program(dir.path());
    command.args(["prepare", "pipe", "--out", "extents", "--extent-size=4096"]);
    command.stdin(Stdio::null()).stdout(Stdio::null());
    let mut child = command.spawn().unwrap();
    pipe.write_all(&lines(32 << 10)).unwrap();
    thread::sleep(Duration::from_millis(300));
    let entries = fs::read_dir(dir.path())
        .unwrap()
        .map(|entry| entry.unwrap());
    let hidden = |entry: &fs::DirEntry| entry.file_name().to_string_lossy().starts_with('.');
    let made: Vec<_> = entries.filter(hidden).collect();
    assert_eq!(made.len(), 1);
    assert_eq!(mode(made[0].path()), 0o700);
    child.kill().unwrap();
    child.wait().unwrap();
}
