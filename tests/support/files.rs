//! Files, and threads without privileges to open them in.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::Path;
use std::process::Command;
use std::thread;

use rustix::thread::{CapabilitySet, capabilities, set_capabilities};

/// A new file, empty, for reading and writing.
pub fn create(path: impl AsRef<Path>) -> File {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .open(path)
        .unwrap()
}

/// A new file that is NODATACOW.
pub fn chattr_c(path: &Path) -> File {
    let file = create(path);
    assert!(
        Command::new("chattr")
            .arg("+C")
            .arg(path)
            .status()
            .unwrap()
            .success()
    );
    file
}

/// A source that reads from memory.
pub fn from(data: &[u8]) -> impl FnMut(u64, &mut [u8]) -> io::Result<()> {
    |offset, buffer| {
        let start = usize::try_from(offset).unwrap();
        buffer.copy_from_slice(&data[start..start + buffer.len()]);
        Ok(())
    }
}

/// Runs in a thread that has given up `CAP_SYS_ADMIN`; capabilities are an affair of threads.
pub fn unprivileged<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| {
        let thread = scope.spawn(|| {
            let mut sets = capabilities(None).unwrap();
            sets.effective.remove(CapabilitySet::SYS_ADMIN);
            set_capabilities(None, sets).unwrap();
            work()
        });
        thread.join().unwrap()
    })
}

/// Copies a program, so that it can be run at once. By another process: what this one has open for
/// writing, a test that starts a program at that moment has open as well, and then it cannot be run.
pub fn copy_program(program: &str, to: &Path) {
    let mut cp = Command::new("cp");
    assert!(cp.arg(program).arg(to).status().unwrap().success());
}
