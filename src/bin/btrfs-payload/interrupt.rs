//! Interrupts leave no temporary files.
//!
//! Files and directories have temporary names until they are complete. On SIGINT, SIGTERM and
//! SIGHUP a thread removes what still has such a name, and then the signal has its usual effect.
//! Work that has something to say of what was done by then ([`Gently`]) is waited for, once.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use signal_hook::consts::{SIGHUP, SIGINT, SIGPIPE, SIGTERM, SIGXFSZ};
use signal_hook::iterator::Signals;
use signal_hook::low_level::emulate_default_handler;

use crate::output::remark;
use crate::progress;

/// Temporary names in use.
static TEMPORARY: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());
/// A signal has come; the thread that handles it ends the process.
static ENDING: AtomicBool = AtomicBool::new(false);

/// Work goes on that ends by itself when it is told to.
static GENTLE: AtomicBool = AtomicBool::new(false);
/// The signal that has told it; 0 before.
static WANTED: AtomicI32 = AtomicI32::new(0);

/// While this lives the first signal ends nothing, and the work that asks
/// [`Gently::is_wanted`] does. The second signal ends the process.
pub(crate) struct Gently(());

impl Gently {
    pub(crate) fn begin() -> Self {
        GENTLE.store(true, Ordering::SeqCst);
        Self(())
    }

    /// A signal has come.
    #[expect(clippy::unused_self, reason = "there is no such question without it")]
    pub(crate) fn is_wanted(&self) -> bool {
        WANTED.load(Ordering::SeqCst) != 0
    }

    /// What was done has been said: a signal that has come has its usual effect now.
    pub(crate) fn end(self) {
        if self.is_wanted() {
            let _ = emulate_default_handler(WANTED.load(Ordering::SeqCst));
        }
    }
}

impl Drop for Gently {
    fn drop(&mut self) {
        GENTLE.store(false, Ordering::SeqCst);
    }
}

/// Keeps a temporary name on the list of what an interrupt removes, until dropped.
pub(crate) struct Temporary(PathBuf);

impl Temporary {
    pub(crate) fn new(path: &Path) -> Self {
        // The list outlives changes of the working directory, of which there are none.
        temporary().push(path.to_owned());
        Self(path.to_owned())
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        temporary().retain(|path| *path != self.0);
    }
}

fn temporary() -> std::sync::MutexGuard<'static, Vec<PathBuf>> {
    TEMPORARY.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Starts the thread that waits for signals. Those that are ignored already, as nohup does, stay
/// ignored.
pub(crate) fn watch() -> io::Result<()> {
    // A file that grows past RLIMIT_FSIZE is a write that fails, and no reason to die of.
    signal_hook::flag::register(SIGXFSZ, Arc::default())?;
    let ignored = ignored_signals();
    let wanted = [SIGINT, SIGTERM, SIGHUP].into_iter();
    let mut signals =
        Signals::new(wanted.filter(|signal| ignored >> signal.saturating_sub(1) & 1 == 0))?;
    let thread = thread::Builder::new().spawn(move || {
        for signal in signals.forever() {
            let is_first = WANTED.swap(signal, Ordering::SeqCst) == 0;
            if is_first && GENTLE.load(Ordering::SeqCst) {
                continue;
            }
            ENDING.store(true, Ordering::SeqCst);
            progress::clear_line();
            let paths = std::mem::take(&mut *temporary());
            for path in &paths {
                remove(path);
            }
            if !paths.is_empty() {
                remark(format_args!("interrupted; nothing is left behind"));
            }
            let _ = emulate_default_handler(signal);
        }
    });
    thread.map(drop)
}

/// Ends the process as a filter ends whose reader has gone. Does not return.
pub(crate) fn end_of_pipe() {
    let _ = emulate_default_handler(SIGPIPE);
}

/// Does not return once a signal has come: what fails then, fails because of it.
pub(crate) fn wait_if_ending() {
    while ENDING.load(Ordering::SeqCst) {
        thread::park();
    }
}

/// Removes a file or a directory into which others may still write.
fn remove(path: &Path) {
    if fs::remove_file(path).is_ok() {
        return;
    }
    // Under another name nobody adds to it.
    let away = path.with_extension("interrupted");
    let path = if fs::rename(path, &away).is_ok() {
        &away
    } else {
        path
    };
    let _ = fs::remove_dir_all(path);
}

/// One bit for each signal that was ignored when the process started (proc(5)); none where that
/// cannot be found out.
fn ignored_signals() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .unwrap_or(0)
}
