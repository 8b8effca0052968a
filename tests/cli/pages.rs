//! Help, manual pages and completions.
//!
//! `pages/NAME.txt` is what `NAME --help` prints, for every subcommand, and `short_pages/NAME.txt`
//! what `NAME -h` prints; `BLESS=1` writes them.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::pipes::fifo;
use crate::{assert_trouble, program, run, tree};

fn directory(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/cli")
        .join(name)
}

/// Every command as the words after the program's name, the program itself first.
fn commands() -> Vec<Vec<String>> {
    let mut commands = vec![Vec::new()];
    let mut at = 0;
    while let Some(command) = commands.get(at).cloned() {
        at += 1;
        let help = help(&command, "--help");
        let listed = help.lines().skip_while(|line| *line != "Commands:");
        for line in listed.skip(1).take_while(|line| !line.is_empty()) {
            match line.split_whitespace().next() {
                None | Some("help") => {}
                Some(name) => commands.push([&command[..], &[name.to_owned()]].concat()),
            }
        }
    }
    assert!(commands.len() > 16, "{commands:?}");
    commands
}

fn help(command: &[String], option: &str) -> String {
    let arguments: Vec<&str> = command.iter().map(String::as_str).collect();
    let help = run(&std::env::temp_dir(), [&arguments[..], &[option]].concat());
    assert_eq!((help.code, help.stderr.as_str()), (Some(0), ""));
    help.stdout
}

#[test]
fn every_help_page_is_the_one_that_was_read() {
    let bless = std::env::var_os("BLESS").is_some();
    let mut complaints = Vec::new();
    for (option, kept_in) in [("--help", "pages"), ("-h", "short_pages")] {
        let mut names = BTreeSet::new();
        for command in commands() {
            let name = [&["btrfs-payload".to_owned()], &command[..]].concat();
            let name = format!("{}.txt", name.join("-"));
            let path = directory(kept_in).join(&name);
            let help = help(&command, option);
            if bless {
                fs::create_dir_all(directory(kept_in)).unwrap();
                fs::write(&path, &help).unwrap();
            }
            if fs::read_to_string(&path).unwrap_or_default() != help {
                complaints.push(format!("{kept_in}/{name} differs; {option} prints\n{help}"));
            }
            names.insert(name);
        }
        let kept: BTreeSet<String> = tree(&directory(kept_in)).into_iter().collect();
        assert_eq!(kept, names, "pages and commands");
    }
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}

/// The short page has every option of the long one, in fewer lines.
#[test]
fn short_help_leaves_nothing_out() {
    for command in commands() {
        let [long, short] = ["--help", "-h"].map(|option| help(&command, option));
        let options = |page: &str| -> BTreeSet<String> {
            let words = page.split_whitespace();
            let words = words.take_while(|word| *word != "Examples:");
            let options = words.filter(|word| word.starts_with("--"));
            options.map(str::to_owned).collect()
        };
        assert!(options(&short).is_subset(&options(&long)), "{command:?}");
        let declared = long.lines().map(str::trim_start);
        let declared = declared.filter(|line| line.starts_with('-'));
        for line in declared {
            let option = line.split(' ').find(|word| word.starts_with("--"));
            let Some(option) = option else { continue };
            assert!(options(&short).contains(option), "{command:?}: {option}");
        }
        assert!(short.lines().count() < long.lines().count(), "{command:?}");
        let widest = short.lines().map(|line| line.chars().count()).max();
        assert!(widest <= Some(100), "{command:?}: {widest:?}");
    }
}

/// Who is told that something is sound is told what that says, and what it does not.
#[test]
fn the_word_sound_is_explained_where_it_is_used() {
    let mut explained = 0;
    for command in commands() {
        let help = help(&command, "--help");
        let mut words = help.split(|c: char| !c.is_alphabetic());
        if words.any(|word| word == "sound") {
            assert!(
                help.contains("Sound: every reader gets the same bytes"),
                "{command:?}: the word, and not what it means"
            );
            explained += 1;
        }
    }
    assert!(explained > 8, "{explained}");
}

#[test]
fn the_version_tells_the_features() {
    let said = |options: &[&str]| {
        let run = run(&std::env::temp_dir(), options);
        assert_eq!((run.code, run.stderr.as_str()), (Some(0), ""));
        run.stdout
    };
    let (short, long) = (said(&["-V"]), said(&["--version"]));
    assert!(long.starts_with(&short) && !long.contains("features"));
    let manifest = include_str!("../../Cargo.toml");
    let (_, features) = manifest.split_once("[features]\n").unwrap();
    let features = features.lines().take_while(|line| !line.is_empty());
    let names = features.filter_map(|line| line.split_once(" = "));
    let names: BTreeSet<&str> = names.map(|(name, _)| name).collect();
    // Those that this test was compiled with.
    let compiled = [
        ("cli", cfg!(feature = "cli")),
        ("libdeflate", cfg!(feature = "libdeflate")),
        ("peers", cfg!(feature = "peers")),
        ("serde", cfg!(feature = "serde")),
    ];
    let known = compiled.map(|(name, _)| name).into_iter();
    assert_eq!(known.chain(["default"]).collect::<BTreeSet<_>>(), names);
    let with = compiled.into_iter().filter(|(_, with)| *with);
    let with: Vec<&str> = with.map(|(name, _)| name).collect();
    let expected = format!("{long}features: {}\n", with.join(", "));
    for options in [
        &["--version", "--verbose"][..],
        &["-v", "--version"],
        &["-vV"],
    ] {
        assert_eq!(said(options), expected, "{options:?}");
    }
}

/// Each command that prints findings explains them, without any other argument.
#[test]
fn findings_are_explained_where_they_are_printed() {
    let mut explain = 0;
    for command in commands() {
        if !help(&command, "--help").contains("--explain [<CODE>]") {
            continue;
        }
        explain += 1;
        let words = |code: &str| {
            let words = command.iter().map(String::as_str);
            let words: Vec<&str> = words.chain(["--explain", code]).collect();
            run(&std::env::temp_dir(), words)
        };
        let code = words("zlib-adler32");
        assert_eq!((code.code, code.stderr.as_str()), (Some(0), ""));
        assert!(code.stdout.starts_with("zlib-adler32\n"), "{code:?}");
        assert_trouble(&words("zlib-adler-32"), &["did you mean zlib-adler32"]);
    }
    // check, dump, decode, assemble; stream check, recompress, decompress, reframe
    assert!(explain >= 8, "{explain}");
}

/// What stands under "Examples" is taken by the program: its files are missing, and no option is
/// wrong.
#[test]
fn every_example_of_the_help_can_be_typed() {
    let dir = tempfile::tempdir().unwrap();
    let mut tried = 0;
    for command in commands() {
        let help = help(&command, "--help");
        let mut lines = help.lines().skip_while(|line| !line.starts_with("Example"));
        lines.next();
        let examples: Vec<&str> = lines.take_while(|line| line.starts_with(' ')).collect();
        let takes_files = !matches!(command.last().map(String::as_str), None | Some("stream"));
        assert!(
            !examples.is_empty() || !takes_files,
            "{command:?}: no example"
        );
        for example in examples {
            let parts = example.split('|').map(str::trim);
            for part in parts.filter(|part| part.starts_with("btrfs-payload ")) {
                let words = part.split_whitespace().skip(1);
                let words: Vec<&str> = words.take_while(|word| *word != ">").collect();
                let missing = words.contains(&"/usr/share/man/man1");
                if missing {
                    continue;
                }
                let run = run(dir.path(), &words);
                assert!(!run.stderr.starts_with("error: "), "{part}: {run:?}");
                tried += 1;
            }
        }
    }
    assert!(tried > 25, "{tried}");
}

/// Says what was not looked at.
#[expect(clippy::print_stderr, reason = "nobody shall take it for looked at")]
fn skipped(what: &str) {
    eprintln!("skipped: {what}");
}

/// Runs a shell on a script; `None`, said aloud, where there is no such shell.
fn shell(name: &str, script: &str) -> Option<String> {
    let output = match Command::new(name).args(["-c", script]).output() {
        Ok(output) => output,
        Err(error) => {
            skipped(&format!("{name}: {error}"));
            return None;
        }
    };
    assert!(output.stderr.is_empty(), "{name}: {output:?}");
    assert!(output.status.success(), "{name}: {output:?}");
    Some(String::from_utf8(output.stdout).unwrap())
}

/// What is typed, and what must be offered for its last word.
const TYPED: [(&[&str], &[&str]); 8] = [
    (&["ch"], &["check"]),
    (&["stream", "re"], &["recompress", "reframe"]),
    (&["check", "--ke"], &["--kernel"]),
    (&["check", "--kernel", "6.1"], &["6.1", "6.12", "6.18"]),
    (&["prepare", "--codec", "z"], &["zlib", "zstd"]),
    (&["stream", "recompress", "--level", "s"], &["smallest"]),
    (
        &["stream", "check", "--explain", "lzo-header-s"],
        &["lzo-header-straddles"],
    ),
    (&["dump", "--format", ""], &["text", "json"]),
];

#[test]
fn shells_complete_subcommands_options_and_values() {
    let dir = tempfile::tempdir().unwrap();
    let script = |shell: &str| {
        let script = run(dir.path(), ["completions", shell]);
        assert_eq!((script.code, script.stderr.as_str()), (Some(0), ""));
        let path = dir.path().join(shell);
        fs::write(&path, script.stdout).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let bash = format!(
        "source {}; function=$(complete -p btrfs-payload | sed 's/.*-F \\([^ ]*\\).*/\\1/')
         t() {{ COMP_WORDS=(btrfs-payload \"$@\"); COMP_CWORD=$#; COMPREPLY=()
         $function btrfs-payload \"${{COMP_WORDS[$#]}}\" \"${{COMP_WORDS[$#-1]}}\"
         echo \"${{COMPREPLY[@]}}\"; }}",
        script("bash")
    );
    let fish = script("fish");
    for (words, expected) in TYPED {
        let quoted: Vec<String> = words.iter().map(|word| format!("'{word}'")).collect();
        let in_bash = shell("bash", &format!("{bash}; t {}", quoted.join(" ")));
        let line = words.join(" ");
        let in_fish = shell(
            "fish",
            &format!("source {fish}; complete -C 'btrfs-payload {line}'"),
        );
        for offered in in_bash.into_iter().chain(in_fish) {
            let offered: Vec<&str> = offered.split_whitespace().collect();
            for word in expected {
                assert!(
                    offered.contains(word),
                    "{line}: {word} is not in {offered:?}"
                );
            }
        }
    }
    let zsh = script("zsh");
    shell(
        "zsh",
        &format!("autoload -U compinit; compinit -D -u; source {zsh}"),
    );
    for shell in ["elvish", "powershell"] {
        let script = fs::read_to_string(script(shell)).unwrap();
        for command in commands().into_iter().filter(|command| !command.is_empty()) {
            let name = command.join(";");
            assert!(script.contains(&name), "{shell}: {command:?}");
        }
    }
}

#[test]
fn every_command_has_a_manual_page() {
    let dir = tempfile::tempdir().unwrap();
    let man = |more: &[&str]| run(dir.path(), [&["man", "--out", "man1"], more].concat());
    let made = man(&[]);
    assert_eq!((made.code, made.stderr.as_str()), (Some(0), ""));
    let pages = commands().into_iter().map(|command| {
        let name = [&["btrfs-payload".to_owned()], &command[..]].concat();
        format!("{}.1", name.join("-"))
    });
    let pages: BTreeSet<String> = pages.collect();
    let written: BTreeSet<String> = tree(&dir.path().join("man1")).into_iter().collect();
    assert_eq!(written, pages);
    // Pages that are there stay, unless --force says otherwise.
    assert_eq!(man(&[]).code, Some(2));
    assert_eq!(man(&["--force"]).code, Some(0));
    // A page is replaced, not written to: who has it open reads the old one to its end.
    let page = dir.path().join("man1/btrfs-payload.1");
    let inode = || fs::metadata(&page).unwrap().ino();
    let (before, held) = (inode(), fs::File::open(&page).unwrap());
    assert_eq!(man(&["--force"]).code, Some(0));
    assert_ne!(inode(), before);
    drop(held);
    // What is no regular file is not waited for, nor replaced.
    fs::remove_file(&page).unwrap();
    fifo(&dir.path().join("man1"));
    fs::rename(dir.path().join("man1/pipe"), &page).unwrap();
    assert_trouble(&man(&["--force"]), &["is not a regular file"]);
    fs::remove_file(&page).unwrap();
    assert_eq!(man(&["--force"]).code, Some(0));
    for page in &pages {
        let path = dir.path().join("man1").join(page);
        let Ok(output) = Command::new("mandoc")
            .args(["-T", "lint", "-W", "error"])
            .arg(&path)
            .output()
        else {
            skipped("mandoc is not there");
            break;
        };
        assert!(output.stdout.is_empty(), "{page}: {output:?}");
    }
    // Without a directory, the page of the program.
    let output = program(dir.path()).arg("man").output().unwrap();
    assert!(output.stdout.starts_with(b".ie \\n(.g"));
}
