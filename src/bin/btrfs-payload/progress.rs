//! Bars on a terminal while long work goes on; nothing in a pipe.

use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use indicatif::{ProgressBar, ProgressStyle};

static SWITCHED_OFF: AtomicBool = AtomicBool::new(false);

static SHOWN: AtomicBool = AtomicBool::new(false);

/// Takes a bar off the terminal's line, where one may be.
pub(crate) fn clear_line() {
    if SHOWN.load(Ordering::Relaxed) {
        // There is nowhere left to complain.
        let _ = io::stderr().write_all(b"\r\x1b[K");
    }
}

/// From here on there are no bars.
pub(crate) fn switch_off() {
    SWITCHED_OFF.store(true, Ordering::Relaxed);
}

/// A bar for so many bytes.
pub(crate) fn progress(bytes: u64) -> ProgressBar {
    match bytes {
        0 => ProgressBar::hidden(),
        bytes => stream_progress(bytes),
    }
}

/// The same for a stream whose length may not be known (0).
pub(crate) fn stream_progress(bytes: u64) -> ProgressBar {
    if SWITCHED_OFF.load(Ordering::Relaxed) || !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    SHOWN.store(true, Ordering::Relaxed);
    let (bar, template) = if bytes > 0 {
        let template = "{wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {msg} {eta}";
        (ProgressBar::new(bytes), template)
    } else {
        let template = "{spinner} {bytes} {bytes_per_sec} {msg}";
        (ProgressBar::new_spinner(), template)
    };
    let Ok(mut style) = ProgressStyle::with_template(template) else {
        return bar;
    };
    if is_ascii() {
        style = style.progress_chars("#>-").tick_chars("-\\|/ ");
    }
    bar.with_style(style)
}

/// True where the locale has nothing but ASCII.
pub(crate) fn is_ascii() -> bool {
    let set = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
    let locale = set("LC_ALL")
        .or_else(|| set("LC_CTYPE"))
        .or_else(|| set("LANG"));
    locale.is_none_or(|locale| {
        let locale = locale.to_ascii_lowercase();
        !locale.contains("utf-8") && !locale.contains("utf8")
    })
}
