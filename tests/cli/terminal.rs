//! The program on a terminal, which script(1) provides.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::material::{content, stream};
use crate::run;
use crate::support::{self, Options, skip};

/// Runs the program on a terminal; what it prints there, or `None` without script(1).
fn on_a_terminal(dir: &Path, arguments: &str) -> Option<String> {
    let command = format!("{} {arguments}", env!("CARGO_BIN_EXE_btrfs-payload"));
    let mut script = Command::new("script");
    script
        .args(["-qec", &command, "/dev/null"])
        .current_dir(dir);
    match script.stdin(Stdio::null()).output() {
        Ok(output) => Some(String::from_utf8_lossy(&output.stdout).into_owned()),
        Err(error) => {
            skip(
                "a_terminal_gets_colours_and_no_binary_data",
                &error.to_string(),
            );
            None
        }
    }
}

#[test]
fn a_terminal_gets_colours_and_no_binary_data() {
    // Every byte there is, which is no text.
    let bytes: Vec<u8> = (0..=255).cycle().take(9000).collect();
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("data"), bytes).unwrap();
    fs::write(dir.path().join("stream"), stream()).unwrap();
    let prepare = run(dir.path(), ["prepare", "data", "--out", "extents"]);
    assert_eq!(prepare.code, Some(0));
    for arguments in [
        "decode extents/000000000000.zstd",
        "stream recompress stream",
        "stream decompress stream",
    ] {
        let Some(said) = on_a_terminal(dir.path(), arguments) else {
            return;
        };
        assert!(
            said.contains("to a terminal; use -o FILE or a pipe"),
            "{arguments}: {said}"
        );
        assert!(said.len() < 400, "{arguments}: {} bytes", said.len());
    }
    let check = |options: &str| {
        on_a_terminal(dir.path(), &format!("stream check stream {options}")).unwrap()
    };
    let coloured = check("");
    assert!(coloured.contains("\x1b[32msound\x1b[0m"), "{coloured:?}");
    let plain = check("--color never --no-progress");
    assert!(!plain.contains('\x1b'), "{plain:?}");
    assert!(plain.contains(": sound ("), "{plain:?}");
}

/// A file with an extent of each kind, and a stream.
fn material() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("data"), content("mixed")).unwrap();
    fs::write(dir.path().join("stream"), stream()).unwrap();
    dir
}

/// The bars that are printed, one a line, on a terminal of so many columns.
fn bars(dir: &Path, arguments: &str, columns: usize, environment: &str) -> Option<Vec<String>> {
    let program = env!("CARGO_BIN_EXE_btrfs-payload");
    let set = format!("stty cols {columns}; {environment}");
    let command = format!("{set} {program} {arguments} --no-progress");
    let mut script = Command::new("script");
    script
        .args(["-qec", &command, "/dev/null"])
        .current_dir(dir);
    script.env("LC_ALL", "C.UTF-8").env_remove("NO_COLOR");
    let Ok(output) = script.stdin(Stdio::null()).output() else {
        skip("terminals", "script(1) is not there");
        return None;
    };
    assert!(output.status.success(), "{command}: {output:?}");
    let printed = String::from_utf8(output.stdout).unwrap();
    let marks = ["\u{2581}", "\u{2584}", "\u{2588}", "#"];
    let is_bar = |line: &&str| {
        let is_marked = line.ends_with('%') || marks.iter().any(|mark| line.contains(mark));
        line.starts_with("  ") && is_marked
    };
    let lines = printed.lines().map(str::trim_end).filter(is_bar);
    Some(lines.map(str::to_owned).collect())
}

/// What is left of a line without its colours.
fn plain(line: &str) -> String {
    let mut plain = line.to_owned();
    for color in ["\x1b[31m", "\x1b[32m", "\x1b[0m"] {
        plain = plain.replace(color, "");
    }
    plain
}

#[test]
fn bars_fit_their_terminal_and_its_locale() {
    let dir = material();
    for (command, number) in [("prepare data", 2), ("stream stats stream", 2)] {
        for columns in [40, 57, 100, 200] {
            let Some(coloured) = bars(dir.path(), command, columns, "") else {
                return;
            };
            assert_eq!(coloured.len(), number, "{columns}: {coloured:?}");
            assert!(coloured.concat().contains("\x1b[32m"), "{coloured:?}");
            let colourless = bars(dir.path(), command, columns, "NO_COLOR=1").unwrap();
            let without: Vec<String> = coloured.iter().map(|line| plain(line)).collect();
            assert_eq!(colourless, without);
            let ascii = bars(dir.path(), command, columns, "LC_ALL=C NO_COLOR=1").unwrap();
            assert!(ascii.concat().is_ascii(), "{ascii:?}");
            assert_eq!(ascii.len(), number, "{columns}: {ascii:?}");
            for line in colourless.iter().chain(&ascii) {
                assert!(line.chars().count() < columns, "{columns}: {line}");
            }
            // The widest use the terminal, up to 100 columns.
            let widest = colourless.iter().map(|line| line.chars().count()).max();
            assert!(
                widest.unwrap() >= columns.min(100) - 8,
                "{columns}: {colourless:?}"
            );
        }
        for off in ["--quiet", "--summary", "--format json", "| cat"] {
            let command = format!("{command} {off}");
            // Options after a pipe are those of cat.
            let command = command.replace("| cat", "--no-progress | cat; true");
            assert_eq!(
                bars(dir.path(), &command, 80, "").unwrap(),
                [""; 0],
                "{off}"
            );
        }
    }
    assert_eq!(bars(dir.path(), "prepare data", 39, "").unwrap(), [""; 0]);
    // An encoded extent, a plain one, a hole of two, and a short tail.
    let strip = &bars(dir.path(), "prepare data", 68, "LC_ALL=C NO_COLOR=1").unwrap()[0];
    let shown: Vec<char> = strip.chars().skip(2).collect();
    assert_eq!([shown[8], shown[24], shown[48]], ['.', '#', ' '], "{strip}");
    assert_eq!(shown.last(), Some(&'.'), "{strip}");
}

#[test]
fn a_scan_shows_what_has_the_bytes() {
    let name = "a_scan_shows_what_has_the_bytes";
    let Some(fs) = support::btrfs(name, &Options::default().mounted_with("compress=zstd")) else {
        return;
    };
    fs::write(fs.join("text"), content("lines 3000000")).unwrap();
    fs::write(fs.join("noise"), content("noise 1000000")).unwrap();
    fs.remount();
    let scan = format!("scan {}", fs.path().to_str().unwrap());
    let Some(bars) = bars(fs.outside(), &scan, 60, "NO_COLOR=1") else {
        return;
    };
    let share = |name: &str| {
        let bar = bars.iter().find(|bar| bar.trim_start().starts_with(name));
        let bar = bar.unwrap_or_else(|| panic!("no {name}: {bars:?}"));
        bar.matches('\u{2588}').count()
    };
    assert!(share("plain") > 3 * share("zstd"), "{bars:?}");
}

/// Whoever watches is told how long it took and how fast that was; a pipe only with -v.
#[test]
fn a_terminal_is_told_the_rate() {
    let dir = material();
    let rate = |said: &str| said.contains("btrfs-payload: took ");
    for command in [
        "prepare data",
        "write --plain-ok data copy --force",
        "stream check stream",
        "stream recompress stream -o new --force",
        "decode made/000000000000.zstd -o part --force",
        "assemble made copy --force",
    ] {
        let prepare = "prepare data --out made --force";
        assert_eq!(run(dir.path(), prepare.split(' ')).code, Some(0));
        let Some(said) = on_a_terminal(dir.path(), command) else {
            return;
        };
        assert!(rate(&said), "{command}: {said}");
        let verbose = run(dir.path(), command.split(' ').chain(["-v"]));
        assert!(rate(&verbose.stderr), "{command}: {verbose:?}");
        for quiet in [&[][..], &["--format", "json"]] {
            let run = run(dir.path(), command.split(' ').chain(quiet.iter().copied()));
            assert!(!rate(&run.stderr) && !rate(&run.stdout), "{run:?}");
        }
        for quiet in ["--quiet", "--format json"] {
            let said = on_a_terminal(dir.path(), &format!("{command} {quiet}")).unwrap();
            assert!(!rate(&said), "{command} {quiet}: {said}");
        }
    }
}
