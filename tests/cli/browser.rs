//! Pages in Chromium, in light and in dark, on a screen and on a telephone: nothing is wider than
//! the window, everything has contrast, nothing is loaded.
//!
//! Skipped, visibly, where there is no Chromium. That is no failure anywhere: .ci/run does not
//! install one, and [`crate::html_pages`] holds the pages to what can be said without.

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::html_pages::{pages, scanned};

/// Widths of a telephone and of a screen.
const WIDTHS: [u32; 2] = [360, 1100];

/// Says that there is no browser, past the capture of test output.
fn skipped(test: &str, reason: &str) {
    let _ = std::io::stderr().write_all(format!("SKIPPED: {test}: {reason}\n").as_bytes());
}

/// The name of a browser that starts.
fn chromium() -> Option<&'static str> {
    let starts = |name: &&str| {
        let mut command = Command::new(name);
        command
            .arg("--version")
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    };
    let names = ["chromium", "chromium-browser", "google-chrome"];
    names.into_iter().find(starts)
}

/// A document with each page in a frame of each width, and the script that looks at them.
fn document(pages: &[(String, String)]) -> String {
    let mut document = "<!doctype html><html style=\"color-scheme: light dark\"><body>".to_owned();
    for (name, page) in pages {
        let page = page.replace('&', "&amp;").replace('"', "&quot;");
        for width in WIDTHS {
            // Frames have no border, so that their width is that of their window.
            write!(
                document,
                "<iframe title=\"{name}\" width=\"{width}\" height=\"800\" \
                 style=\"border: 0\" srcdoc=\"{page}\"></iframe>"
            )
            .unwrap();
        }
    }
    let script = include_str!("browser.js");
    document + "<script>" + script + "</script></body></html>"
}

/// What the script has seen.
fn look(browser: &str, dir: &Path, pages: &[(String, String)], dark: bool) -> Vec<Value> {
    let path = dir.join("document.html");
    fs::write(&path, document(pages)).unwrap();
    // A browser that hangs is ended.
    let mut command = Command::new("timeout");
    command.args(["--kill-after=5", "120", browser]);
    command.args(["--headless", "--no-sandbox", "--disable-gpu", "--dump-dom"]);
    command.arg(format!(
        "--blink-settings=preferredColorScheme={}",
        if dark { 0 } else { 1 }
    ));
    command.arg(format!("--user-data-dir={}", dir.join("user").display()));
    command.arg(format!("file://{}", path.display()));
    let output = command.env("HOME", dir).output().unwrap();
    let printed = String::from_utf8_lossy(&output.stdout);
    let seen = printed
        .split_once("BEGIN")
        .and_then(|(_, rest)| rest.rsplit_once("END"));
    let (seen, _) = seen.unwrap_or_else(|| panic!("nothing was seen: {output:?}"));
    let seen = seen
        .replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&nbsp;", "\u{a0}");
    let seen: Value = serde_json::from_str(&seen.replace("&amp;", "&")).unwrap();
    seen.as_array().unwrap().clone()
}

#[test]
fn pages_fit_every_window_and_can_be_read() {
    let test = "pages_fit_every_window_and_can_be_read";
    let Some(browser) = chromium() else {
        return skipped(test, "there is no Chromium");
    };
    let dir = tempfile::tempdir().unwrap();
    let made = pages(dir.path()).into_iter().map(|name| {
        let page = fs::read_to_string(dir.path().join(&name)).unwrap();
        (name, page)
    });
    let mut pages: Vec<(String, String)> = made.collect();
    pages.extend(scanned(test).map(|(page, _)| ("scan".to_owned(), page)));
    for dark in [false, true] {
        let seen = look(browser, dir.path(), &pages, dark);
        assert_eq!(seen.len(), pages.len() * WIDTHS.len());
        for page in seen {
            assert_eq!(page["scrolls"], false, "{page:#}");
            assert!(page["wide"].is_null(), "{page:#}");
            assert_eq!(page["dark"], dark, "{page:#}");
            assert!(page["contrast"].as_f64().unwrap() >= 4.5, "{page:#}");
            assert_eq!(page["loaded"].as_array().map(Vec::len), Some(0), "{page:#}");
            assert!(page["text"].as_u64().unwrap() > 50, "{page:#}");
        }
    }
    // The script sees what is too wide, and what is too pale.
    let wrong = "<!doctype html><body style=\"background: #fff\"><main><p style=\"width: 2000px; \
                 color: #ccc\">wide and pale, and as long as a sentence should be at least</p></main>";
    let wrong = [("wrong".to_owned(), wrong.to_owned())];
    for page in look(browser, dir.path(), &wrong, false) {
        assert_eq!(page["scrolls"], true, "{page:#}");
        assert!(page["wide"].is_string(), "{page:#}");
        assert!(page["contrast"].as_f64().unwrap() < 4.5, "{page:#}");
    }
}
