//! Names that are made, moved, replaced and taken away, beside a model that knows whole paths only.

use std::collections::BTreeMap;

use btrfs_payload::bytes::Bytes;
use btrfs_payload::send_stream::command;
use btrfs_payload::tree::{Kind, Step, TreeError};

use crate::Read;
use crate::maker::Maker;
use crate::support::Random;

/// Every name with its number, and whether it is a directory.
#[derive(Default)]
struct Model(BTreeMap<String, (bool, u64)>);

impl Model {
    fn is_directory(&self, path: &str) -> bool {
        path.is_empty() || matches!(self.0.get(path), Some((true, _)))
    }

    fn has_inside(&self, path: &str) -> bool {
        let inside = format!("{path}/");
        self.0.keys().any(|name| name.starts_with(&inside))
    }

    /// Something can be made there.
    fn is_free(&self, path: &str) -> bool {
        let parent = path.rsplit_once('/').map_or("", |(parent, _)| parent);
        !self.0.contains_key(path) && self.is_directory(parent)
    }

    /// As rename(2) has it.
    fn can_move(&self, from: &str, to: &str) -> bool {
        let Some(&(is_directory, _)) = self.0.get(from) else {
            return false;
        };
        let is_inside = to == from || to.starts_with(&format!("{from}/"));
        let replaces = match self.0.get(to) {
            None => self.is_free(to),
            Some(&(other, _)) => other == is_directory && !self.has_inside(to),
        };
        !is_inside && replaces
    }

    fn rename(&mut self, from: &str, to: &str) {
        let inside = format!("{from}/");
        self.0.remove(to);
        let moved: Vec<String> = self.0.keys().cloned().collect();
        for name in moved {
            let new = match name.strip_prefix(&inside) {
                Some(rest) => format!("{to}/{rest}"),
                None if name == from => to.to_owned(),
                None => continue,
            };
            let what = self.0.remove(&name).unwrap();
            self.0.insert(new, what);
        }
    }
}

/// A few names only, so that they come again.
fn path(random: &mut Random) -> String {
    let parts: Vec<&str> = (0..random.within(1..=3))
        .map(|_| *random.pick(&["a", "a", "b"]))
        .collect();
    parts.join("/")
}

/// The same path, sometimes in another form; a slash at the end is for directories.
fn form(path: &str, is_directory: bool, random: &mut Random) -> String {
    match random.below(12) {
        0 => format!("./{path}"),
        1 => path.replace('/', "//"),
        2 => path.replace('/', "/./"),
        3..=6 if is_directory => format!("{path}/"),
        _ => path.to_owned(),
    }
}

fn bytes(path: String) -> Bytes {
    path.into_bytes().into()
}

/// Takes one step that a receiver can take.
fn step(model: &mut Model, maker: &mut Maker, random: &mut Random, number: u64) {
    let at = path(random);
    let to = path(random);
    let known = model.0.get(&at).copied();
    let kind = random.below(6);
    let is_directory = known.map_or(kind < 2, |(is_directory, _)| is_directory);
    let path = form(&at, is_directory, random);
    match kind {
        0 | 1 if model.is_free(&at) => {
            maker.directory(&path);
            model.0.insert(at, (true, 0o700));
        }
        2 if model.is_free(&at) => {
            maker.file(&path);
            model.0.insert(at, (false, 0o600));
        }
        3 if model.can_move(&at, &to) => {
            maker.rename(&path, &form(&to, is_directory, random));
            model.rename(&at, &to);
        }
        4 if known.is_some() && !model.has_inside(&at) => {
            let path = bytes(path);
            if is_directory {
                maker.put(command::RmDir { path });
            } else {
                maker.put(command::Unlink { path });
            }
            model.0.remove(&at);
        }
        _ => {
            if let Some((_, mode)) = model.0.get_mut(&at) {
                *mode = number;
                maker.put(command::Chmod {
                    path: bytes(path),
                    mode: number,
                });
            }
        }
    }
}

fn run(seed: u64, steps: u64) -> (Model, Maker) {
    let (mut model, mut maker) = (Model::default(), Maker::new());
    let mut random = Random::of_case(1, seed);
    for number in 0..steps {
        step(&mut model, &mut maker, &mut random, number);
    }
    (model, maker)
}

#[test]
fn names_are_where_they_were_put() {
    for seed in 0..4000 {
        let (model, maker) = run(seed, 80);
        let stream = maker.stream();
        let read = Read::new(&[&stream]).unwrap_or_else(|error| panic!("{seed}: {error}"));
        let mut got = BTreeMap::new();
        let mut walk = read.subvolume().tree.walk(b"").unwrap();
        while let Some(step) = walk.next().unwrap() {
            if let Step::Enter(visit) = step
                && !walk.path().is_empty()
            {
                let is_directory = *visit.inode.kind() == Kind::Directory;
                let path = String::from_utf8(walk.path().to_vec()).unwrap();
                got.insert(path, (is_directory, u64::from(visit.inode.mode())));
            }
        }
        assert_eq!(got, model.0, "{seed}");
    }
}

/// After each step, and not only at the end, a path that leads nowhere is refused.
#[test]
fn names_that_are_gone_are_not_found() {
    for seed in 0..4000 {
        let steps = seed % 60;
        let (model, mut maker) = run(seed, steps);
        let mut random = Random::of_case(2, seed);
        let gone = std::iter::from_fn(|| Some(path(&mut random)))
            .find(|path| !model.0.contains_key(path))
            .unwrap();
        maker.put(command::Chmod {
            path: bytes(gone.clone()),
            mode: 0o600,
        });
        let refused = Read::new(&[&maker.stream()]).err();
        assert!(
            matches!(refused, Some(TreeError::Refused(_))),
            "{seed}: {gone}: {refused:?}"
        );
    }
}
