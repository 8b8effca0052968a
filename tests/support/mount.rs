//! A btrfs in a file, mounted through a loop device, gone when dropped.
//!
//! Every harness directory is named `btrfs-payload.<pid>.<random>`. The next harness that starts
//! removes directories whose process is gone, with their mounts; nothing else is ever touched.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Once;
use std::thread;
use std::time::Duration;

use tempfile::TempDir;

/// Beginning of the name of every harness directory.
const PREFIX: &str = "btrfs-payload.";
/// Name of the mount point.
const MOUNT_POINT: &str = "mnt";
/// Name of the directory that has the image.
const DEVICE: &str = "device";

/// How to make and mount a filesystem.
#[derive(Debug, Clone)]
pub struct Options {
    /// Size of the image, bytes; it is sparse.
    pub size: u64,
    /// Arguments for mkfs.btrfs, for example `["--nodesize", "4096"]`.
    pub mkfs: Vec<String>,
    /// Mount options, for example `compress-force=zstd:3`.
    pub mount: Vec<String>,
    /// Bytes the device really holds: what is written beyond them fails, late. `None` for all.
    pub device_holds: Option<u64>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            size: 1 << 30,
            mkfs: Vec::new(),
            mount: Vec::new(),
            device_holds: None,
        }
    }
}

impl Options {
    /// With this mount option besides.
    pub fn mounted_with(mut self, option: &str) -> Self {
        self.mount.push(option.to_owned());
        self
    }

    /// With these arguments for mkfs.btrfs besides.
    pub fn made_with(mut self, arguments: &[&str]) -> Self {
        self.mkfs.extend(arguments.iter().map(ToString::to_string));
        self
    }

    /// With an image of this size, bytes.
    pub fn sized(mut self, size: u64) -> Self {
        self.size = size;
        self
    }
}

/// A mounted btrfs of our own.
#[derive(Debug)]
pub struct Mount {
    directory: TempDir,
    options: Vec<String>,
}

/// A fresh, mounted btrfs; or `None`, said visibly, where this machine cannot have one.
pub fn btrfs(test: &str, options: &Options) -> Option<Mount> {
    match why_not() {
        None => Some(Mount::new(options)),
        Some(reason) => {
            skip(test, &reason);
            None
        }
    }
}

/// Says that a test does not run, past the capture of test output; panics instead where
/// BTRFS_PAYLOAD_REQUIRE_KERNEL is set.
pub fn skip(test: &str, reason: &str) {
    assert!(
        std::env::var_os("BTRFS_PAYLOAD_REQUIRE_KERNEL").is_none(),
        "{test} was to run and cannot: {reason}"
    );
    // `eprintln!` would be captured and, as the test passes, not shown. One write, so that lines of
    // other threads do not mix in.
    let line = format!("SKIPPED: {test}: {reason}\n");
    let _ = std::io::stderr().write_all(line.as_bytes());
}

fn why_not() -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return Some("mounting needs root".to_owned());
    }
    let found = |program: &str| Command::new(program).arg("--version").output().is_ok();
    for program in ["mkfs.btrfs", "mount", "umount"] {
        if !found(program) {
            return Some(format!("{program} is not installed"));
        }
    }
    let known = fs::read_to_string("/proc/filesystems").unwrap_or_default();
    if !known.lines().any(|line| line.trim() == "btrfs") {
        // It may be a module that is not loaded yet.
        let loaded = Command::new("modprobe").arg("btrfs").output();
        if !loaded.is_ok_and(|output| output.status.success()) {
            return Some("this kernel has no btrfs".to_owned());
        }
    }
    if !Path::new("/dev/loop-control").exists() {
        return Some("there are no loop devices".to_owned());
    }
    None
}

impl Mount {
    fn new(options: &Options) -> Self {
        static CLEANUP: Once = Once::new();
        let base = base_directory(options.size);
        CLEANUP.call_once(|| remove_stale(&base));
        let directory = tempfile::Builder::new()
            .prefix(&format!("{PREFIX}{}.", std::process::id()))
            .tempdir_in(base)
            .expect("a directory for the image");
        fs::create_dir(directory.path().join(MOUNT_POINT)).expect("a mount point");
        fs::create_dir(directory.path().join(DEVICE)).expect("a place for the image");
        // From here on, dropping it cleans up.
        let mount = Self {
            directory,
            options: options.mount.clone(),
        };
        if let Some(bytes) = options.device_holds {
            let mut tmpfs = Command::new("mount");
            tmpfs.args(["-t", "tmpfs", "-o", &format!("size={bytes}"), "tmpfs"]);
            run(tmpfs.arg(mount.directory.path().join(DEVICE)));
        }
        let file = File::create(mount.image()).expect("an image");
        file.set_len(options.size).expect("an image of that size");
        drop(file);
        let mut mkfs = Command::new("mkfs.btrfs");
        run(mkfs.arg("--quiet").args(&options.mkfs).arg(mount.image()));
        mount.mount();
        mount
    }

    /// The root directory of the filesystem.
    pub fn path(&self) -> PathBuf {
        self.directory.path().join(MOUNT_POINT)
    }

    /// A path inside it.
    pub fn join(&self, name: impl AsRef<Path>) -> PathBuf {
        self.path().join(name)
    }

    /// A directory beside it, on another filesystem (usually tmpfs), gone when dropped too.
    pub fn outside(&self) -> &Path {
        self.directory.path()
    }

    /// Unmounts and mounts again: nothing that was read before is cached.
    pub fn remount(&self) {
        self.unmount();
        self.mount();
    }

    /// Like [`Mount::remount`], with work on the image while nobody has it mounted.
    pub fn edit(&self, work: impl FnOnce(&File)) {
        self.unmount();
        let mut options = File::options();
        let image = options.read(true).write(true).open(self.image());
        work(&image.expect("the image"));
        self.mount();
    }

    /// Like [`Mount::remount`], with other mount options.
    pub fn remount_with(&mut self, options: &[&str]) {
        self.options = options.iter().map(ToString::to_string).collect();
        self.remount();
    }

    /// Unmounts and mounts again what the device had by now, as after a power loss.
    pub fn lose_power(&self) {
        let copy = self.image().with_extension("copy");
        let mut cp = Command::new("cp");
        run(cp.arg("--sparse=always").arg(self.image()).arg(&copy));
        self.unmount();
        fs::rename(copy, self.image()).expect("the copy as image");
        self.mount();
    }

    /// The file that is the device.
    pub fn image(&self) -> PathBuf {
        self.directory.path().join(DEVICE).join("image")
    }

    fn mount(&self) {
        let mut options = vec!["loop".to_owned()];
        options.extend(self.options.iter().cloned());
        let mut command = Command::new("mount");
        command.args(["-t", "btrfs", "-o", &options.join(",")]);
        run(command.arg(self.image()).arg(self.path()));
    }

    fn unmount(&self) {
        // Programs that other threads start have our files open until they are what was started.
        for _ in 0..20 {
            if is_unmounted(&self.path()) {
                return;
            }
            thread::sleep(Duration::from_millis(50));
        }
        run(Command::new("umount").arg(self.path()));
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        unmount_all(self.directory.path());
    }
}

/// Unmounts what a harness directory can have mounted.
fn unmount_all(directory: &Path) {
    for name in [MOUNT_POINT, DEVICE] {
        let path = directory.join(name);
        if is_mount_point(&path) {
            unmount_at_any_price(&path);
        }
    }
}

/// Tries to unmount.
fn is_unmounted(path: &Path) -> bool {
    let output = Command::new("umount").arg(path).output();
    output.is_ok_and(|output| output.status.success())
}

/// Waits a little for files that other threads still close, then detaches.
fn unmount_at_any_price(path: &Path) {
    for _ in 0..20 {
        if is_unmounted(path) {
            return;
        }
        thread::sleep(Duration::from_millis(50));
    }
    let _ = Command::new("umount").arg("-l").arg(path).output();
}

/// Memory where there is room for an image that is filled, else the usual place.
fn base_directory(size: u64) -> PathBuf {
    let memory = Path::new("/dev/shm");
    let room = rustix::fs::statvfs(memory).map(|stat| stat.f_bavail.saturating_mul(stat.f_frsize));
    if room.is_ok_and(|room| room >= size) {
        memory.to_owned()
    } else {
        std::env::temp_dir()
    }
}

/// Removes what a killed test run has left behind.
fn remove_stale(base: &Path) {
    let entries = fs::read_dir(base).into_iter().flatten().flatten();
    for entry in entries {
        if entry.file_name().to_str().is_some_and(is_of_dead_process) {
            let path = entry.path();
            unmount_all(&path);
            // Were it still mounted, removing would delete what is inside.
            if !is_mount_point(&path.join(MOUNT_POINT)) {
                let _ = fs::remove_dir_all(path);
            }
        }
    }
}

fn is_of_dead_process(name: &str) -> bool {
    let pid = name
        .strip_prefix(PREFIX)
        .and_then(|rest| rest.split('.').next());
    pid.and_then(|pid| pid.parse::<u32>().ok())
        .is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists())
}

fn is_mount_point(path: &Path) -> bool {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    mounts
        .lines()
        .filter_map(|line| line.split(' ').nth(1))
        .any(|mounted| OsStr::new(mounted) == path.as_os_str())
}

fn run(command: &mut Command) -> Output {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    output
}
