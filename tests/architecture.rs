//! The structure that lib.rs and docs/architecture.md describe, in a table and in a drawing, is
//! the one that the source files have: imports go down, and no two files import each other.
//!
//! The reader of imports is our own: a parser of Rust would be built with more features than the
//! macros of other crates need, and everything that stands on those twice.
#![allow(clippy::unwrap_used, clippy::panic)] // a failing test may panic

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The path of a module from its crate's root; empty for the root.
type Module = Vec<String>;

/// A crate's modules.
struct Crate {
    files: BTreeMap<Module, PathBuf>,
    /// What each module takes from elsewhere in the crate, as paths from the root.
    uses: BTreeMap<Module, BTreeSet<Vec<String>>>,
    /// Names that a module hands on, and where they come from.
    handed_on: BTreeMap<Vec<String>, Vec<String>>,
}

impl Crate {
    fn read(root: &str) -> Self {
        let mut new = Self {
            files: BTreeMap::new(),
            uses: BTreeMap::new(),
            handed_on: BTreeMap::new(),
        };
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(root);
        new.add(&root, root.parent().unwrap(), &[]);
        new
    }

    /// Reads a file and the files of its modules, which are in `directory`.
    fn add(&mut self, file: &Path, directory: &Path, module: &[String]) {
        let text = fs::read_to_string(file).unwrap();
        self.files.insert(module.to_vec(), file.to_owned());
        let mut taken = Taken {
            module,
            children: Vec::new(),
            paths: BTreeSet::new(),
            handed_on: Vec::new(),
        };
        taken.read(&text);
        self.uses.insert(module.to_vec(), taken.paths);
        self.handed_on.extend(taken.handed_on);
        for child in taken.children {
            let flat = directory.join(format!("{child}.rs"));
            let inside = directory.join(&child);
            let file = if flat.exists() {
                flat
            } else {
                inside.join("mod.rs")
            };
            let module = [module, &[child]].concat();
            self.add(&file, &inside, &module);
        }
    }

    /// The module whose file has what a path names, through all that hand it on.
    fn home(&self, path: &[String]) -> Module {
        let mut path = path.to_vec();
        for _ in 0..20 {
            let Some((to, rest)) = (1..=path.len())
                .rev()
                .find_map(|n| Some((self.handed_on.get(&path[..n])?, path[n..].to_vec())))
            else {
                break;
            };
            path = [to.clone(), rest].concat();
        }
        let longest = (0..=path.len()).rev();
        let mut modules = longest.map(|n| path[..n].to_vec());
        modules
            .find(|module| self.files.contains_key(module))
            .unwrap()
    }

    /// From which module to which others.
    fn arrows(&self) -> BTreeMap<Module, BTreeSet<Module>> {
        let arrows = self.uses.iter().map(|(from, paths)| {
            let to = paths.iter().map(|path| self.home(path));
            (from.clone(), to.filter(|to| to != from).collect())
        });
        arrows.collect()
    }
}

/// What one file takes from its crate.
struct Taken<'a> {
    module: &'a [String],
    children: Vec<String>,
    paths: BTreeSet<Vec<String>>,
    handed_on: Vec<(Vec<String>, Vec<String>)>,
}

impl Taken<'_> {
    fn read(&mut self, text: &str) {
        let words = words(text);
        for window in words.windows(3) {
            if window[0] == "mod" && window[2] == ";" {
                self.children.push(window[1].clone());
            }
        }
        let mut at = 0;
        while at < words.len() {
            if words[at] == "use" {
                // `pub` or `pub(super)` before it.
                let public = at > 0 && matches!(&words[at - 1][..], "pub" | ")");
                at = self.use_tree(&words, at + 1, &[], public);
            } else if matches!(&words[at][..], "crate" | "super" | "self")
                && (at == 0 || words[at - 1] != "::")
            {
                let start = at;
                while words.get(at + 1).is_some_and(|word| word == "::") {
                    at += 2;
                }
                let path: Vec<String> = words[start..=at.min(words.len() - 1)]
                    .iter()
                    .step_by(2)
                    .cloned()
                    .collect();
                if path.len() > 1 {
                    self.paths.extend(self.resolve(&path));
                }
                at += 1;
            } else {
                at += 1;
            }
        }
    }

    /// Reads what stands after `use` (or after a `::` in it); returns where it ends.
    fn use_tree(
        &mut self,
        words: &[String],
        mut at: usize,
        before: &[String],
        public: bool,
    ) -> usize {
        if words[at] == "{" {
            while words[at] != "}" {
                at = self.use_tree(words, at + 1, before, public);
            }
            return at + 1;
        }
        if words[at] == "}" {
            return at;
        }
        let mut path = before.to_vec();
        if !matches!(&words[at][..], "self" | "*") || path.is_empty() {
            path.push(words[at].clone());
        }
        at += 1;
        if words[at] == "::" {
            return self.use_tree(words, at + 1, &path, public);
        }
        let mut name = path.last().cloned();
        if words[at] == "as" {
            name = Some(words[at + 1].clone());
            at += 2;
        }
        if let Some(path) = self.resolve(&path) {
            match name.filter(|_| public) {
                // A module that hands on what its parts have is a signboard, not an importer.
                Some(name) => self.handed_on.push(([self.module, &[name]].concat(), path)),
                None => drop(self.paths.insert(path)),
            }
        }
        at
    }

    /// The path from the root; `None` for what is not of this crate.
    fn resolve(&self, path: &[String]) -> Option<Vec<String>> {
        match path.first()?.as_str() {
            "crate" => Some(path[1..].to_vec()),
            "self" => Some([self.module, &path[1..]].concat()),
            "super" => {
                let ups = path.iter().take_while(|part| *part == "super").count();
                let parent = self.module.get(..self.module.len().checked_sub(ups)?)?;
                Some([parent, &path[ups..]].concat())
            }
            child if self.children.iter().any(|name| name == child) => {
                Some([self.module, path].concat())
            }
            _ => None,
        }
    }
}

/// The words and signs of a file up to its tests, without comments and strings.
fn words(text: &str) -> Vec<String> {
    let code: Vec<&str> = text
        .lines()
        .take_while(|line| !line.contains("#[cfg(test)]"))
        .map(|line| line.split("//").next().unwrap_or_default())
        .collect();
    let mut words: Vec<String> = Vec::new();
    let mut in_string = false;
    let mut last = ' ';
    for c in code.join("\n").chars() {
        let quote = c == '"' && last != '\\' && last != '\'';
        in_string ^= quote;
        if !in_string && !quote && !c.is_whitespace() {
            let of_word = |c: char| c.is_alphanumeric() || c == '_';
            match words.last_mut() {
                Some(word) if of_word(c) && of_word(last) => word.push(c),
                Some(word) if c == ':' && last == ':' && word == ":" => word.push(c),
                _ => words.push(c.to_string()),
            }
        }
        last = c;
    }
    words
}

/// The table of modules in a text: name, and the modules it stands on.
fn table(text: &str) -> BTreeMap<String, BTreeSet<String>> {
    let names = |cell: &str| -> Vec<String> {
        let words = cell.split('`').skip(1).step_by(2);
        words
            .map(|word| word.trim_matches(['[', ']']).to_owned())
            .collect()
    };
    let rows = text
        .lines()
        .map(|line| line.trim_start_matches("//!").trim())
        .skip_while(|line| !line.starts_with("| module |"))
        .skip(2)
        .take_while(|line| line.starts_with('|'));
    rows.map(|row| {
        let cells: Vec<&str> = row.trim_matches('|').split('|').collect();
        let [module, _, stands_on] = cells[..] else {
            panic!("a row has three cells: {row}");
        };
        let module = names(module).remove(0);
        (module, names(stands_on).into_iter().collect())
    })
    .collect()
}

/// The arrows of the drawing in a text. Boxes are in brackets, an arrow is a column of `|` and
/// `v` from one box to another.
fn drawing(text: &str) -> BTreeMap<String, BTreeSet<String>> {
    let block = text.split("```").nth(1).unwrap();
    let lines: Vec<Vec<char>> = block.lines().map(|line| line.chars().collect()).collect();
    // The first word of the box that covers this place.
    let boxed = |row: usize, column: usize| {
        let line = lines.get(row)?;
        let open = (0..=column).rev().find(|&at| line.get(at) == Some(&'['))?;
        let close = (open..line.len()).find(|&at| line[at] == ']')?;
        let text: String = line[open + 1..close].iter().collect();
        (column < close).then(|| text.split_whitespace().next().unwrap().to_owned())
    };
    let mut arrows = BTreeMap::<String, BTreeSet<String>>::new();
    for (row, line) in lines.iter().enumerate() {
        for column in (0..line.len()).filter(|&at| matches!(line[at], 'v' | '|')) {
            let (None, Some(to)) = (boxed(row, column), boxed(row + 1, column)) else {
                continue;
            };
            assert_eq!(line[column], 'v', "an arrow to {to} without a head");
            let from = (0..row).rev().find_map(|above| boxed(above, column));
            arrows.entry(from.unwrap()).or_default().insert(to);
        }
    }
    arrows
}

/// The arrows of a table without those that follow from others.
fn without_what_follows(
    table: &BTreeMap<String, BTreeSet<String>>,
) -> BTreeMap<String, BTreeSet<String>> {
    fn leads(table: &BTreeMap<String, BTreeSet<String>>, from: &String, to: &String) -> bool {
        let on = table.get(from);
        on.is_some_and(|on| on.contains(to) || on.iter().any(|next| leads(table, next, to)))
    }
    let rows = table.iter().map(|(from, on)| {
        let direct = on
            .iter()
            .filter(|to| !on.iter().any(|next| leads(table, next, to)));
        (from.clone(), direct.cloned().collect())
    });
    rows.collect()
}

const LIB: &str = "src/lib.rs";
const BIN: &str = "src/bin/btrfs-payload/main.rs";

#[test]
fn imports_go_down_as_the_table_says() {
    let table = table(include_str!("../src/lib.rs"));
    let library = Crate::read(LIB);
    let mut wrong = Vec::new();
    for (from, to) in library.arrows() {
        for to in to {
            let (Some(from_room), Some(to_room)) = (from.first(), to.first()) else {
                continue;
            };
            let allowed = table.get(from_room).is_some_and(|on| on.contains(to_room));
            if from_room != to_room && !allowed {
                wrong.push(format!("{} imports {}", from.join("::"), to.join("::")));
            }
        }
    }
    assert!(wrong.is_empty(), "not in the table: {wrong:#?}");
    // Every module has a row, and nobody stands on what stands on it.
    let modules: BTreeSet<&String> = library.files.keys().filter_map(|m| m.first()).collect();
    let rows: BTreeSet<&String> = table.keys().filter(|row| !row.contains('/')).collect();
    assert_eq!(modules, rows, "modules, and rows of the table");
    let mut below: Vec<&String> = Vec::new();
    while below.len() < table.len() {
        let next = table.iter().find(|(row, on)| {
            !below.contains(row)
                && on
                    .iter()
                    .all(|on| below.contains(&on) || !table.contains_key(on))
        });
        let Some((row, _)) = next else {
            panic!("modules that stand on each other, none of {below:?}");
        };
        below.push(row);
    }
}

#[test]
fn the_documentation_has_the_same_table() {
    let library = table(include_str!("../src/lib.rs"));
    assert!(library.len() > 5);
    assert_eq!(library, table(include_str!("../docs/architecture.md")));
}

#[test]
fn the_drawing_has_the_arrows_of_the_table() {
    let table = table(include_str!("../src/lib.rs"));
    let mut drawn = drawing(include_str!("../docs/architecture.md"));
    // Neither has a row in the table that says what it imports.
    assert!(drawn.remove("program").is_some());
    for to in drawn.values_mut() {
        to.remove("codecs/");
    }
    drawn.retain(|_, to| !to.is_empty());
    let mut expected = without_what_follows(&table);
    expected.retain(|_, on| !on.is_empty());
    assert_eq!(drawn, expected);
}

#[test]
fn a_codec_knows_common_and_no_other_crate_of_ours() {
    let codecs = Path::new(env!("CARGO_MANIFEST_DIR")).join("codecs");
    let mut seen = 0;
    for entry in fs::read_dir(codecs).unwrap() {
        let manifest = fs::read_to_string(entry.unwrap().path().join("Cargo.toml")).unwrap();
        let ours = manifest
            .lines()
            .filter(|line| line.starts_with("btrfs-payload"));
        for line in ours {
            assert!(line.starts_with("btrfs-payload-common "), "{line}");
            seen += 1;
        }
    }
    assert_eq!(seen, 3);
}

/// Neither do two files import each other, nor is there a longer way back.
#[test]
fn no_file_imports_itself_through_others() {
    for root in [LIB, BIN] {
        let mut arrows = Crate::read(root).arrows();
        // Whatever imports nothing that is left can be at the bottom of a circle no more.
        loop {
            let ended = |to: &BTreeSet<Module>| to.iter().all(|to| !arrows.contains_key(to));
            let bottom = arrows.iter().filter(|(_, to)| ended(to));
            let bottom: Vec<_> = bottom.map(|(from, _)| from.clone()).collect();
            if bottom.is_empty() {
                break;
            }
            arrows.retain(|from, _| !bottom.contains(from));
        }
        let left: Vec<_> = arrows.keys().map(|module| module.join("::")).collect();
        assert!(left.is_empty(), "in a circle, or above one: {left:#?}");
    }
}

/// The reader of source files sees what it should: an import, a path in code, a name handed on.
#[test]
fn arrows_are_seen() {
    let arrows = Crate::read(LIB).arrows();
    let has = |from: &[&str], to: &[&str]| {
        let module = |path: &[&str]| path.iter().map(ToString::to_string).collect::<Vec<_>>();
        arrows[&module(from)].contains(&module(to))
    };
    assert!(has(&["send_stream", "write"], &["send_stream", "frame"]));
    assert!(has(&["validate", "quick"], &["validate", "judge"]));
    // `crate::rules::Target` is handed on by rules.
    assert!(has(&["validate", "judge"], &["rules", "fields"]));
    assert!(!has(&["send_stream", "frame"], &["send_stream", "write"]));
}
