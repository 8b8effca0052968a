//! What the program prints, compared with files.
//!
//! A file `golden/NAME.case` is a test. The program runs in a directory of its own, which is not
//! on btrfs. The lines of the file:
//!
//! | line | meaning |
//! | --- | --- |
//! | `# ...` | what it is about |
//! | `FILE NAME = CONTENT` | a file in the directory that the program runs in; see [`content`] |
//! | `BEFORE ARGUMENTS` | the program is run like this first, and ends with 0 |
//! | `STDIN NAME` | this file is standard input; without the line there is none |
//! | `RUN ARGUMENTS` | the run that is looked at |
//! | `EXIT NUMBER` | its exit status; 0 without the line |
//! | `LEAVES NAME ...` | what it leaves in the directory besides the files; nothing without the line |
//!
//! Beside it lie `NAME.stdout` and `NAME.stderr`, each only where there is something to expect.
//! `BLESS=1` writes them again. An expectation without a case fails, and so does a case without
//! an expectation.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use crate::material::content;
use crate::{Run, program, tree};

#[derive(Default)]
struct Case {
    name: String,
    files: Vec<(String, Vec<u8>)>,
    before: Vec<String>,
    stdin: Option<String>,
    run: String,
    exit: i32,
    leaves: Vec<String>,
}

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cli/golden")
}

impl Case {
    fn read(path: &Path) -> Self {
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let mut case = Self {
            name,
            ..Self::default()
        };
        for line in fs::read_to_string(path).unwrap().lines() {
            let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
            match word {
                "" | "#" => {}
                "FILE" => {
                    let (name, made_of) = rest.split_once(" = ").expect("FILE NAME = CONTENT");
                    case.files.push((name.to_owned(), content(made_of)));
                }
                "BEFORE" => case.before.push(rest.to_owned()),
                "STDIN" => case.stdin = Some(rest.to_owned()),
                "RUN" => {
                    assert!(case.run.is_empty(), "{}: two RUN lines", case.name);
                    case.run = rest.to_owned();
                }
                "EXIT" => case.exit = rest.parse().expect("EXIT NUMBER"),
                "LEAVES" => case.leaves = rest.split(' ').map(str::to_owned).collect(),
                _ => panic!("{}: no such line: {line}", case.name),
            }
        }
        assert!(!case.run.is_empty(), "{}: no RUN line", case.name);
        case
    }

    /// Runs it and complains about everything that is not as expected.
    fn complaints(&self, bless: bool) -> Vec<String> {
        // In memory, where there is no btrfs to write to.
        let dir = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir());
        let dir = dir.unwrap();
        for (name, content) in &self.files {
            fs::write(dir.path().join(name), content).unwrap();
        }
        let command = |arguments: &str| {
            let mut command = program(dir.path());
            command.args(arguments.split(' ')).stdin(Stdio::null());
            command
        };
        let mut complaints = Vec::new();
        for before in &self.before {
            let run = Run::from(command(before).output().unwrap());
            if run.code != Some(0) {
                complaints.push(format!("{}: before: {run:?}", self.name));
            }
        }
        let mut command = command(&self.run);
        if let Some(name) = &self.stdin {
            command.stdin(fs::File::open(dir.path().join(name)).unwrap());
        }
        let run = Run::from(command.output().unwrap());
        if run.code != Some(self.exit) {
            let (name, exit) = (&self.name, self.exit);
            complaints.push(format!("{name}: exit status {exit} expected: {run:?}"));
        }
        for (extension, text) in [("stdout", &run.stdout), ("stderr", &run.stderr)] {
            complaints.extend(self.compare(extension, text, bless));
        }
        let mut expected: BTreeSet<String> =
            self.files.iter().map(|(name, _)| name.clone()).collect();
        expected.extend(self.leaves.iter().cloned());
        let left: BTreeSet<String> = tree(dir.path()).into_iter().collect();
        if left != expected {
            complaints.push(format!("{}: leaves {left:?}", self.name));
        }
        complaints
    }

    fn compare(&self, extension: &str, text: &str, bless: bool) -> Option<String> {
        let path = directory().join(format!("{}.{extension}", self.name));
        if bless {
            let _ = fs::remove_file(&path);
            if !text.is_empty() {
                fs::write(&path, text).unwrap();
            }
            return None;
        }
        let expected = fs::read_to_string(&path).unwrap_or_default();
        (expected != text).then(|| {
            let name = &self.name;
            format!("{name}: {extension}:\n--- expected\n{expected}--- got\n{text}")
        })
    }
}

#[test]
fn the_program_prints_what_the_files_say() {
    let bless = std::env::var_os("BLESS").is_some();
    let paths: Vec<PathBuf> = fs::read_dir(directory())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    let is = |path: &Path, extension: &str| path.extension().is_some_and(|got| got == extension);
    let mut complaints = Vec::new();
    let mut cases = 0;
    for path in &paths {
        if is(path, "case") {
            cases += 1;
            complaints.extend(Case::read(path).complaints(bless));
        } else if !is(path, "stdout") && !is(path, "stderr") {
            complaints.push(format!(
                "{} is neither case nor expectation",
                path.display()
            ));
        } else if !path.with_extension("case").exists() {
            complaints.push(format!("{} belongs to no case", path.display()));
        }
    }
    assert!(cases > 30, "only {cases} cases");
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}
