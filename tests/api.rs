//! docs/api.txt is the public face of the library, so that a change of it shows in a diff;
//! `BLESS=1` writes it. The lint `unreachable_pub` sees to it that what says `pub` is public.
#![allow(clippy::unwrap_used)] // a failing test may panic

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::{env, fs, thread};

use btrfs_payload::extent::EncodedExtent;
use btrfs_payload::prepare::{Options, Preparer};
use btrfs_payload::send_stream::{Command, RawCommand, Reader, Writer};
use btrfs_payload::validate::{Finding, NotSound, Outcome, Report, Validator};

/// Source files below a directory, sorted, without those of the program and of unit tests.
fn sources(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let mut files = Vec::new();
    for path in paths {
        if path.is_dir() && !path.ends_with("bin") {
            files.extend(sources(&path));
        } else if path.extension().is_some_and(|it| it == "rs") && !path.ends_with("tests.rs") {
            files.push(path);
        }
    }
    files
}

/// The public items of a file, each on a line: up to its body, with the names of its variants.
fn items(text: &str) -> Vec<String> {
    let mut items: Vec<String> = Vec::new();
    let mut open: Option<String> = None;
    let mut in_enum = false;
    let code = text.lines().take_while(|line| *line != "#[cfg(test)]");
    for line in code.filter(|line| !line.trim_start().starts_with("//")) {
        let trimmed = line.trim();
        if line == "}" {
            in_enum = false;
        }
        let variant = line
            .strip_prefix("    ")
            .filter(|rest| in_enum && rest.starts_with(|c: char| c.is_ascii_uppercase()));
        if let (Some(variant), None) = (variant, &open) {
            let name: String = variant
                .chars()
                .take_while(|c| c.is_alphanumeric())
                .collect();
            items.push(format!("    {name}"));
            continue;
        }
        let starts = ["pub ", "impl ", "impl<"]
            .iter()
            .any(|word| trimmed.starts_with(word));
        let mut item = match open.take() {
            Some(item) => format!("{item} {trimmed}"),
            None if starts => line.trim_end().to_owned(),
            None => continue,
        };
        // A list of imports has braces of its own.
        let end = match item.trim_start().starts_with("pub use") {
            true => item.ends_with(';'),
            false => item.ends_with(['{', ';', ',']) || item.ends_with("{}"),
        };
        if !end || item.matches('(').count() != item.matches(')').count() {
            open = Some(item);
            continue;
        }
        in_enum |= item.starts_with("pub enum");
        for end in [" {}", " {", ";", ","] {
            item = item.strip_suffix(end).unwrap_or(&item).to_owned();
        }
        items.push(item.replace("( ", "(").replace(", )", ")"));
    }
    items
}

#[test]
fn the_public_face_is_the_one_that_was_looked_at() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut list = String::from(
        "The public items of the library and the codec crates, as their sources have them.\n",
    );
    let crates = [
        "src",
        "codecs/common/src",
        "codecs/zlib/src",
        "codecs/lzo/src",
        "codecs/zstd/src",
    ];
    for path in crates.iter().flat_map(|name| sources(&root.join(name))) {
        let all = items(&fs::read_to_string(&path).unwrap());
        // An `impl` without public items says what traits there are, which the items show better.
        let public = all.iter().any(|item| item.trim_start().starts_with("pub "));
        if public {
            writeln!(list, "\n{}", path.strip_prefix(root).unwrap().display()).unwrap();
            for item in all {
                writeln!(list, "  {item}").unwrap();
            }
        }
    }
    let path = root.join("docs/api.txt");
    if env::var_os("BLESS").is_some() {
        fs::write(&path, &list).unwrap();
    }
    let looked_at = fs::read_to_string(&path).unwrap_or_default();
    let first = looked_at
        .lines()
        .zip(list.lines())
        .find(|(old, new)| old != new);
    assert!(
        looked_at == list,
        "BLESS=1 writes docs/api.txt; the first difference: {first:?}"
    );
}

/// What goes from thread to thread in a program that prepares, judges or reads.
#[test]
fn the_main_types_are_send_and_sync() {
    fn is_both<T: Send + Sync + 'static>() {}
    fn is_send<T: Send + 'static>() {}
    is_both::<EncodedExtent>();
    is_both::<Options>();
    is_both::<Command>();
    is_both::<RawCommand>();
    is_both::<Finding>();
    is_both::<Report>();
    is_both::<NotSound>();
    is_both::<Outcome>();
    is_send::<Preparer>();
    is_send::<Validator>();
    is_send::<Reader<fs::File>>();
    is_send::<Writer<fs::File>>();
    // And one that is really used on two threads at once.
    let options = Options::new(
        btrfs_payload::rules::Codec::Zstd,
        btrfs_payload::prepare::Level::Number(3),
    );
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| Preparer::new(&options).unwrap());
        }
    });
}
