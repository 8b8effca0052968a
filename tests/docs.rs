//! What the pages name is there: files, tests, and the targets of links inside the repository.
#![allow(clippy::unwrap_used)] // a failing test may panic

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Every file of the repository, as its path from the root.
fn files() -> BTreeSet<String> {
    fn visit(root: &Path, directory: &Path, files: &mut BTreeSet<String>) {
        for entry in fs::read_dir(directory).unwrap() {
            let entry = entry.unwrap();
            let (path, name) = (entry.path(), entry.file_name());
            let is_hidden = name.to_string_lossy().starts_with('.');
            if is_hidden || name == "target" {
                continue;
            }
            if entry.file_type().unwrap().is_dir() {
                visit(root, &path, files);
            } else {
                let path = path.strip_prefix(root).unwrap();
                files.insert(path.to_str().unwrap().to_owned());
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = BTreeSet::new();
    visit(root, root, &mut files);
    files
}

/// The pages, without the changelog, which also names what was.
fn pages(files: &BTreeSet<String>) -> Vec<(String, String)> {
    let is_page = |path: &&String| path.ends_with(".md") && *path != "CHANGELOG.md";
    let read = |path: &String| {
        let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path));
        (path.clone(), text.unwrap())
    };
    files.iter().filter(is_page).map(read).collect()
}

/// The words of a text that may be paths or names.
fn words(text: &str) -> impl Iterator<Item = &str> {
    let of_word = |c: char| c.is_alphanumeric() || "_-./".contains(c);
    text.split(move |c| !of_word(c))
        .map(|word| word.trim_end_matches('.'))
}

#[test]
fn files_and_tests_that_pages_name_are_there() {
    let files = files();
    let is_file = |word: &str| {
        let tail = format!("/{word}");
        files
            .iter()
            .any(|file| file == word || file.ends_with(&tail))
    };
    let sources = files.iter().filter(|file| file.ends_with(".rs"));
    let sources: String = sources
        .map(|file| fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap())
        .collect();
    let mut missing = Vec::new();
    let mut named = 0;
    for (page, text) in pages(&files) {
        for word in words(&text) {
            let is_there = if word.ends_with(".rs") && !word.starts_with("//") {
                is_file(word)
            } else if page == "docs/architecture.md" && word.matches('_').count() > 3 {
                sources.contains(&format!("fn {word}("))
            } else {
                continue;
            };
            named += 1;
            if !is_there {
                missing.push(format!("{page}: {word}"));
            }
        }
    }
    assert!(missing.is_empty(), "named and not there: {missing:#?}");
    assert!(named > 40, "{named} names in all pages");
}

#[test]
fn links_inside_the_repository_lead_somewhere() {
    let files = files();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut missing = Vec::new();
    let mut links = 0;
    for (page, text) in pages(&files) {
        let directory: PathBuf = root.join(Path::new(&page).parent().unwrap());
        for link in text
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split(')').next())
        {
            if link.starts_with("http") {
                continue;
            }
            links += 1;
            let (path, heading) = link.split_once('#').unwrap_or((link, ""));
            let target = directory.join(path);
            // GitHub names headings in lower case, with hyphens for blanks.
            let has_heading = |text: String| {
                let headings = text.lines().filter(|line| line.starts_with('#'));
                let mut names = headings.map(|line| line.trim_start_matches(['#', ' ']));
                names.any(|name| name.to_lowercase().replace(' ', "-") == heading)
            };
            let leads = target.exists()
                && (heading.is_empty() || fs::read_to_string(&target).is_ok_and(has_heading));
            if !leads {
                missing.push(format!("{page}: {link}"));
            }
        }
    }
    assert!(missing.is_empty(), "lead nowhere: {missing:#?}");
    assert!(links > 10, "{links} links in all pages");
}
