//! Where the outputs of several inputs go: one directory, and in it each under its own name. What
//! was found in a directory keeps its place below the name of that directory, as with `cp -r`.

use std::collections::HashSet;
use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, Metadata};
use std::io::{self, ErrorKind};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::about::{about, bail_about};
use crate::inputs::Named;
use crate::output::{input_name, shown};

/// Lets those into a new directory who may enter the one that it is made after.
pub(crate) type Permit = fn(&File, &Metadata, &File);

/// The directory, and those in it that are being made.
pub(crate) struct Destination {
    directory: PathBuf,
    permit: Permit,
    /// From the outermost in: where it is from, and its name. Until they are left, their owner
    /// alone may enter them.
    making: Vec<(PathBuf, PathBuf)>,
}

impl Destination {
    /// `directory` has to exist. Two inputs of one name are refused, and a directory that would go
    /// into itself.
    pub(crate) fn new(directory: &Path, named: &[PathBuf], permit: Permit) -> Result<Self> {
        let mut names = HashSet::new();
        let whole = |path: &Path| {
            let cannot_look = || about(path, format_args!("cannot look at {}", shown(path)));
            fs::canonicalize(path).with_context(cannot_look)
        };
        let into = whole(directory)?;
        for path in named {
            let name = name_of(path)?;
            let is_inside = |root: PathBuf| into.starts_with(&root) && into.join(&name) != root;
            if path.is_dir() && is_inside(whole(path)?) {
                bail_about!(path, "{} cannot go into itself", shown(path));
            }
            if let Some(name) = names.replace(name) {
                bail_about!(
                    path,
                    "two inputs have the name {}; in {} there can be one",
                    shown(&name),
                    shown(directory)
                );
            }
        }
        Ok(Self {
            directory: directory.to_owned(),
            permit,
            making: Vec::new(),
        })
    }

    /// The name of what is made of this input, the directories that it is in made.
    pub(crate) fn of(&mut self, input: &Named) -> Result<PathBuf> {
        let up = |path: &Path, names| path.ancestors().nth(names).map(Path::to_owned);
        let root = up(&input.path, input.depth).unwrap_or_default();
        let mut path = self.directory.join(name_of(&root)?);
        if let Ok(below) = input.path.strip_prefix(&root)
            && input.depth > 0
        {
            path.push(below);
        }
        // What comes after a directory in the order of names lies elsewhere.
        while self
            .making
            .last()
            .is_some_and(|(_, open)| !path.starts_with(open))
        {
            self.leave();
        }
        for names in (1..=input.depth).rev() {
            if let (Some(source), Some(made)) = (up(&input.path, names), up(&path, names)) {
                let cannot_make = || about(&made, format_args!("cannot make {}", shown(&made)));
                self.enter(&source, &made).with_context(cannot_make)?;
            }
        }
        Ok(path)
    }

    fn enter(&mut self, source: &Path, path: &Path) -> io::Result<()> {
        match DirBuilder::new().mode(0o700).create(path) {
            Ok(()) => self.making.push((source.to_owned(), path.to_owned())),
            Err(error) if error.kind() == ErrorKind::AlreadyExists && path.is_dir() => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Nothing more goes into the innermost.
    fn leave(&mut self) {
        let Some((source, path)) = self.making.pop() else {
            return;
        };
        // Without it the directory stays closed, which is safe.
        if let (Ok(source), Ok(path)) = (File::open(source), File::open(path))
            && let Ok(metadata) = source.metadata()
        {
            (self.permit)(&source, &metadata, &path);
        }
    }
}

impl Drop for Destination {
    fn drop(&mut self) {
        while !self.making.is_empty() {
            self.leave();
        }
    }
}

/// The last name of a path; of `.` and `..` that of the directory they stand for.
fn name_of(path: &Path) -> Result<OsString> {
    let name = match path.file_name() {
        Some(name) if path != Path::new("-") => Some(name.to_owned()),
        Some(_) => None,
        None => fs::canonicalize(path)
            .ok()
            .and_then(|path| path.file_name().map(ToOwned::to_owned)),
    };
    let nameless = || {
        about(
            path,
            format_args!("{} has no name to go by", input_name(path)),
        )
    };
    name.with_context(nameless)
}
