//! docs/api.txt is the public face of the library, so that a change of it shows in a diff;
//! `BLESS=1` writes it. The lint `unreachable_pub` sees to it that what says `pub` is public.
#![allow(clippy::unwrap_used)] // a failing test may panic

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::{env, fs, thread};

use btrfs_payload::extent::{EncodedExtent, FileExtent};
use btrfs_payload::prepare::{Level, Options, PrepareError, PrepareFileError, Preparer};
use btrfs_payload::rules::{Codec, ExtentFields, Target};
use btrfs_payload::send_stream::{
    Command, CommandKind, RawCommand, ReadError, Reader, WriteError, Writer,
};
use btrfs_payload::transform::{
    CheckOptions, DecompressOptions, Parents, RecompressOptions, ReframeOptions, StatsOptions,
    StreamFinding, TransformError,
};
use btrfs_payload::validate::{Finding, NotSound, Outcome, Report, Validator};
use btrfs_payload::{codecs, ioctl};

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

/// The public items of a file, each on a line: up to its body, with what stands in front of it that
/// a caller notices, and with its variants.
fn items(text: &str) -> Vec<String> {
    let mut items: Vec<String> = Vec::new();
    let mut open: Option<String> = None;
    let mut in_enum = false;
    let mut attributes = String::new();
    let code = text.lines().take_while(|line| *line != "#[cfg(test)]");
    for line in code.filter(|line| !line.trim_start().starts_with("//")) {
        let trimmed = line.trim();
        if line == "}" {
            in_enum = false;
        }
        if open.is_none() && trimmed.starts_with("#[") {
            let noticed = ["#[non_exhaustive", "#[doc(hidden", "#[derive", "#[cfg"];
            if noticed.iter().any(|word| trimmed.starts_with(word)) {
                attributes += trimmed.split(" //").next().unwrap_or_default();
                attributes.push(' ');
            }
            continue;
        }
        let is_variant = in_enum
            && line
                .strip_prefix("    ")
                .is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_uppercase()));
        let starts = ["pub ", "impl ", "impl<"]
            .iter()
            .any(|word| trimmed.starts_with(word));
        let mut item = match open.take() {
            // What thiserror does with a field is no matter of the caller's.
            Some(item) if trimmed.starts_with("#[") => {
                open = Some(item);
                continue;
            }
            Some(item) => format!("{item} {trimmed}"),
            None if starts || is_variant => {
                let indent = line.len() - line.trim_start().len();
                format!("{}{attributes}{trimmed}", &line[..indent])
            }
            None => {
                // Of something else, unless it is the rest of a long attribute.
                if trimmed.is_empty() || trimmed.ends_with(['{', '}', ';']) {
                    attributes.clear();
                }
                continue;
            }
        };
        attributes.clear();
        // A list of imports and the fields of a variant have braces of their own.
        let word = item.trim_start();
        let balanced = |open, close| item.matches(open).count() == item.matches(close).count();
        let end = match in_enum || word.contains("pub use") {
            true => item.ends_with([';', ',']) && balanced('{', '}'),
            false => item.ends_with(['{', ';', ',']) || item.ends_with("{}"),
        };
        if !end || !balanced('(', ')') {
            open = Some(item);
            continue;
        }
        in_enum |= !item.starts_with(' ') && item.contains("pub enum");
        for end in [" {}", " {", ";", ","] {
            item = item.strip_suffix(end).unwrap_or(&item).to_owned();
        }
        for inside in ["#[from] ", "#[source] "] {
            item = item.replace(inside, "");
        }
        items.push(
            item.replace("( ", "(")
                .replace(", )", ")")
                .replace(", }", " }"),
        );
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
        let public = all.iter().any(|item| item.contains("pub "));
        if public {
            writeln!(list, "\n{}", path.strip_prefix(root).unwrap().display()).unwrap();
            for item in all {
                writeln!(list, "  {item}").unwrap();
            }
        }
    }
    // Macros make the types of commands out of a table, which this is.
    writeln!(list, "\nCommands of send streams and their attributes").unwrap();
    for &kind in CommandKind::ALL {
        writeln!(list, "  {kind:?}, {}, {}", kind.number(), kind.since()).unwrap();
        for one in kind.attributes() {
            let (attribute, form) = (one.attribute, one.attribute.value_type());
            let optional = if one.optional { ", optional" } else { "" };
            writeln!(list, "      {attribute:?}: {form:?}{optional}").unwrap();
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
    fn is_both<T: Send + Sync + Unpin + 'static>() {}
    fn is_send<T: Send + Unpin + 'static>() {}
    // Made, moved and judged.
    is_both::<EncodedExtent>();
    is_both::<FileExtent<EncodedExtent>>();
    is_both::<ExtentFields>();
    is_both::<Target>();
    is_both::<Report>();
    is_both::<NotSound>();
    is_both::<Finding>();
    is_both::<Outcome>();
    // Send streams.
    is_both::<Command>();
    is_both::<RawCommand>();
    is_both::<StreamFinding>();
    is_both::<Parents>();
    // What is asked for.
    is_both::<Options>();
    is_both::<CheckOptions>();
    is_both::<RecompressOptions>();
    is_both::<DecompressOptions>();
    is_both::<ReframeOptions>();
    is_both::<StatsOptions>();
    // Errors, which programs box and send.
    is_both::<PrepareError>();
    is_both::<PrepareFileError<std::io::Error>>();
    is_both::<ReadError>();
    is_both::<WriteError>();
    is_both::<TransformError>();
    is_both::<ioctl::ProbeError>();
    is_both::<ioctl::ReadError>();
    is_both::<ioctl::WriteError>();
    is_both::<ioctl::WriterError>();
    // Each at home on one thread at a time.
    is_send::<Preparer>();
    is_send::<Validator>();
    is_send::<Reader<fs::File>>();
    is_send::<Writer<fs::File>>();
    is_send::<ioctl::ExtentWriter<fs::File, fs::File>>();
    is_send::<ioctl::Extents<fs::File>>();
    is_send::<codecs::zlib::Encoder>();
    is_send::<codecs::lzo::Encoder>();
    is_send::<codecs::zstd::Encoder>();
    is_send::<codecs::zstd::Decoder>();
    // And one that is really used on two threads at once.
    let options = Options::new(Codec::Zstd, Level::Number(3));
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| Preparer::new(&options).unwrap());
        }
    });
}
