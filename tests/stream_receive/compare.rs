//! Who stops where, and why that may differ.

use std::ffi::OsStr;
use std::fs;
use std::io::Cursor;
use std::num::NonZeroUsize;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use btrfs_payload::send_stream::format::STREAM_HEADER_LEN;
use btrfs_payload::send_stream::{Command, RawCommand, Reader};
use btrfs_payload::transform::{CheckOptions, Parents, StreamFinding, check};
use btrfs_payload::tree::{self, Chain, Data, Options, PathError, TreeError};
use btrfs_payload::validate::Severity;
use bytes::Bytes;

use crate::case::{Case, stream_bytes};
use crate::receive::{Received, receive};
use crate::support::Mount;

/// What came of a case.
#[derive(Debug, Clone)]
pub enum Comparison {
    /// Both take it all, and where a tree is expected it is there.
    Received,
    /// Both stop at the same command, over an error of this code.
    Stopped(&'static str),
    /// They part, for a reason that is known.
    Explained(&'static str),
    Differs(Difference),
}

/// How they differ.
#[derive(Debug, Clone)]
pub struct Difference {
    /// The same for all that probably have one cause.
    pub cause: String,
    pub text: String,
}

/// The cause where both take everything and something else is there than was expected.
pub const ANOTHER_TREE: &str = "another tree";

/// Gives an input to both.
pub fn compare(mount: &Mount, case: &Case) -> Comparison {
    let input = case.bytes();
    let raws: Vec<RawCommand> = Reader::new(&input[..]).map(Result::unwrap).collect();
    let error = first_error(&input, Parents::default());
    if let Some(difference) = with_parents_beside(case, error.as_ref()) {
        return Comparison::Differs(difference);
    }
    let (stopped_at, words) = match receive(mount, &input) {
        Received::Everything => (None, String::new()),
        Received::Stopped { bytes, words } => {
            let end = |raw: &RawCommand| raw.offset() + raw.bytes().len() as u64;
            let index = raws.iter().position(|raw| end(raw) == bytes);
            let index = index.unwrap_or_else(|| panic!("{bytes} bytes read: {words}"));
            (Some(index as u64), words)
        }
    };
    let parts_at = match (&error, stopped_at) {
        (None, None) => return trees(mount, case),
        (Some(error), Some(index)) if error.command == index => {
            return Comparison::Stopped(error.code);
        }
        (Some(error), Some(index)) => error.command.min(index),
        (Some(error), None) => error.command,
        (None, Some(index)) => index,
    };
    let raws = &raws[..=usize::try_from(parts_at).unwrap()];
    let commands: Vec<Command> = raws
        .iter()
        .map(|raw| Command::parse(raw).unwrap())
        .collect();
    // The beginning of the input leaves what was there before the command.
    let command = raws.last().unwrap();
    let before = &input[..usize::try_from(command.offset()).unwrap()];
    receive(mount, before);
    let parting = Parting {
        commands: &commands,
        error: error.filter(|_| stopped_at != Some(parts_at)),
        words: &words,
        root: mount.join(OsStr::from_bytes(subvolume(&commands))),
    };
    match REASONS.iter().find(|reason| (reason.applies)(&parting)) {
        Some(reason) => Comparison::Explained(reason.why),
        None => Comparison::Differs(parting.difference()),
    }
}

fn first_error(input: &[u8], parents: Parents) -> Option<StreamFinding> {
    let mut first = None;
    let mut options = CheckOptions::default();
    options.parents = parents;
    let summary = check(input, &options, NonZeroUsize::MIN, |finding| {
        if finding.severity == Severity::Error && first.is_none() {
            first = Some(finding.clone());
        }
    });
    summary.unwrap();
    first
}

/// Where the streams before the last are given as parents, the same has to be found in the last.
fn with_parents_beside(case: &Case, error: Option<&StreamFinding>) -> Option<Difference> {
    let (last, before) = case.streams.split_last().unwrap();
    if before.is_empty() {
        return None;
    }
    let [last, before] = [std::slice::from_ref(last), before].map(stream_bytes);
    let mut parents = Parents::default();
    let max_names = CheckOptions::default().max_names;
    parents.read(&before[..], max_names).unwrap();
    let beside = first_error(&last, parents);
    let offset = before.len() as u64;
    let short =
        |error: &StreamFinding, offset: u64| (error.offset.wrapping_sub(offset), error.code);
    let expected = error.map(|error| short(error, offset));
    let got = beside.map(|error| short(&error, 0));
    // Two subvolumes of one input have different names; where the parents are is not known.
    let is_name = error.is_some_and(|error| error.offset == offset + STREAM_HEADER_LEN as u64);
    (expected != got && !is_name).then(|| Difference {
        cause: "parents beside the stream".to_owned(),
        text: format!("in the same input {expected:?}, beside it {got:?}"),
    })
}

fn trees(mount: &Mount, case: &Case) -> Comparison {
    let differences = from_the_streams(mount, &case.bytes());
    if !differences.is_empty() {
        return Comparison::Differs(Difference {
            cause: "another tree in the streams".to_owned(),
            text: differences.join("\n"),
        });
    }
    for (number, stream) in case.streams.iter().enumerate() {
        if let Some(tree) = &stream.tree {
            let differences = tree.differences(&mount.join(format!("subvolume {number}")));
            if !differences.is_empty() {
                return Comparison::Differs(Difference {
                    cause: ANOTHER_TREE.to_owned(),
                    text: format!("subvolume {number}: {}", differences.join("\n")),
                });
            }
        }
    }
    Comparison::Received
}

/// How the subvolumes differ from what the streams say of them, content and metadata. Times are the
/// receiver's own where a stream sets none last.
fn from_the_streams(mount: &Mount, input: &[u8]) -> Vec<String> {
    let mut chain = Chain::new(Options::default());
    if let Err(error) = chain.read(Cursor::new(input)) {
        return vec![error.to_string()];
    }
    let inputs = [input];
    let data = Data::new(&chain, &inputs);
    let mut differences = Vec::new();
    for subvolume in chain.subvolumes() {
        let name = OsStr::from_bytes(&subvolume.name);
        let compared = tree::compare(
            &subvolume.tree,
            &data,
            &mount.join(name),
            NonZeroUsize::MIN,
            |found| {
                if found.what != "mtime" {
                    differences.push(format!("{name:?}: {found:?}"));
                }
            },
        );
        // What was sent without data cannot be compared.
        let not_sent = |error: &PathError| {
            matches!(
                error,
                PathError::Data {
                    source: TreeError::NotSent { .. },
                    ..
                }
            )
        };
        if let Err(error) = compared
            && !not_sent(&error)
        {
            differences.push(format!("{name:?}: {error:?}"));
        }
    }
    differences
}

/// The command at which they part.
struct Parting<'a> {
    /// The command, and those before it in the input.
    commands: &'a [Command],
    /// What the check finds where the receiver goes on; `None` where the receiver stops and the
    /// check finds nothing.
    error: Option<StreamFinding>,
    /// What the receiver says, there or later.
    words: &'a str,
    /// The subvolume as it is before the command.
    root: PathBuf,
}

/// Why they part.
struct Reason {
    why: &'static str,
    applies: fn(&Parting) -> bool,
}

/// Where the receiver goes on, the error is right all the same: no sender makes such a command, and
/// mostly the files are not those that were sent.
const REASONS: &[Reason] = &[
    Reason {
        why: "receivers do not look at UPDATE_EXTENT",
        applies: |it| it.goes_on() && matches!(it.command(), Command::UpdateExtent(_)),
    },
    Reason {
        why: "receivers skip FILEATTR",
        applies: |it| it.goes_on() && matches!(it.command(), Command::Fileattr(_)),
    },
    Reason {
        why: "MKFILE of a name that is taken empties the file",
        applies: |it| {
            it.code() == "path-exists"
                && matches!(it.command(), Command::MkFile(c) if it.is_file(&c.path))
        },
    },
    Reason {
        why: "receivers go through symbolic links",
        applies: |it| it.is_about_paths() && it.paths().iter().any(|path| it.has_link(path)),
    },
    Reason {
        why: "what is written to was there when the command before wrote to it",
        applies: |it| {
            let (command, before) = it.commands.split_last().unwrap();
            let last = before.iter().rev().find_map(written);
            it.is_about_paths() && last.is_some() && written(command) == last
        },
    },
    Reason {
        why: "RMDIR of the subvolume itself: the receiver stops at END",
        applies: |it| {
            it.goes_on() && matches!(it.command(), Command::RmDir(c) if c.path.is_empty())
        },
    },
    Reason {
        why: "CLONE of length 0 goes to the end of the source",
        applies: |it| it.goes_on() && matches!(it.command(), Command::Clone(c) if c.clone_len == 0),
    },
    Reason {
        why: "what the receiver has besides is not known to the check",
        applies: |it| {
            it.stops_with("cannot find parent subvol")
                || it.stops_with("did not find source subvol")
                || it.stops_with("cannot find source subvol")
        },
    },
    Reason {
        why: "whether a longer value fits depends on what else is in the leaf",
        applies: |it| {
            matches!(it.command(), Command::SetXattr(_)) && it.stops_with("No space left on device")
        },
    },
];

/// The name of the last subvolume.
fn subvolume(commands: &[Command]) -> &[u8] {
    fn name(command: &Command) -> Option<&[u8]> {
        match command {
            Command::Subvol(c) => Some(&c.path),
            Command::Snapshot(c) => Some(&c.path),
            _ => None,
        }
    }
    commands.iter().rev().find_map(name).unwrap()
}

/// The path of a command that opens a file to write to it.
fn written(command: &Command) -> Option<&Bytes> {
    match command {
        Command::Write(c) => Some(&c.path),
        Command::Clone(c) => Some(&c.path),
        Command::Fallocate(c) => Some(&c.path),
        Command::EncodedWrite(c) => Some(&c.path),
        _ => None,
    }
}

impl Parting<'_> {
    fn command(&self) -> &Command {
        self.commands.last().unwrap()
    }

    fn goes_on(&self) -> bool {
        self.error.is_some()
    }

    /// The code of the error; nothing where the receiver stops.
    fn code(&self) -> &'static str {
        self.error.as_ref().map_or("", |error| error.code)
    }

    /// The receiver stops with these words for the error number.
    fn stops_with(&self, words: &str) -> bool {
        !self.goes_on() && self.words.contains(words)
    }

    /// The error says that something is not there, or is something else.
    fn is_about_paths(&self) -> bool {
        let codes = [
            "clone-source-unknown",
            "not-a-directory",
            "not-a-file",
            "parent-unknown",
            "path-exists",
            "path-unknown",
            "through-symlink",
        ];
        codes.contains(&self.code())
    }

    /// The paths of the command.
    fn paths(&self) -> Vec<&Bytes> {
        match self.command() {
            Command::Rename(c) => vec![&c.path, &c.path_to],
            Command::Link(c) => vec![&c.path, &c.path_link],
            Command::Clone(c) => vec![&c.path, &c.clone_path],
            _ => self.error.iter().flat_map(|e| e.path.as_ref()).collect(),
        }
    }

    fn is_file(&self, path: &[u8]) -> bool {
        let metadata = fs::symlink_metadata(self.root.join(OsStr::from_bytes(path)));
        metadata.is_ok_and(|metadata| metadata.is_file())
    }

    /// True where a path, or a part of it, is a symbolic link.
    fn has_link(&self, path: &[u8]) -> bool {
        let mut at = self.root.clone();
        path.split(|&byte| byte == b'/').any(|part| {
            at.push(OsStr::from_bytes(part));
            at.is_symlink()
        })
    }

    fn difference(&self) -> Difference {
        let (kind, words) = (self.command().kind(), self.words);
        match &self.error {
            Some(error) => Difference {
                cause: format!("{kind}: {}; receive goes on", error.code),
                text: format!("{error}\nbtrfs receive goes on, and in the end says: {words}"),
            },
            None => {
                // What the error number means comes last.
                let second = "\nERROR: empty stream is not considered valid";
                let own = words.trim_end_matches(second);
                let meaning = own.rsplit(": ").next().unwrap_or_default();
                Difference {
                    cause: format!("{kind}: receive stops: {meaning}"),
                    text: format!(
                        "no error at command {}\nbtrfs receive: {words:.1000}",
                        self.commands.len() - 1
                    ),
                }
            }
        }
    }
}
