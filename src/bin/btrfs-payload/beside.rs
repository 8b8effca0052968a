//! What manifests say of the files beside them. However many files are asked for, one after another
//! as in `DIR/*`, their manifest is read once.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use anyhow::Result;
use btrfs_payload::rules::{ExtentFields, Target};

use crate::args::open_file;
use crate::manifest::{self, Encoded, Line, Lines};

/// What a line says of a file.
#[derive(Debug, Clone)]
pub(crate) enum Claim {
    /// A payload, and where it is to land.
    Payload(ExtentFields, Target),
    /// The data of a plain extent: its length, bytes, and digest.
    Data(u64, Option<String>),
}

/// The manifest that was asked last.
#[derive(Default)]
pub(crate) struct Beside {
    open: Option<Open>,
}

struct Open {
    path: PathBuf,
    lines: Lines,
    target: Target,
    /// Lines that were read and not forgotten.
    known: HashMap<String, Claim>,
    /// Some were forgotten.
    forgot: bool,
}

impl Beside {
    /// What the manifest beside a file says of it, where there is one that names it.
    pub(crate) fn find(&mut self, path: &Path) -> Result<Option<Claim>> {
        let (Some(directory), Some(name)) =
            (path.parent(), path.file_name().and_then(OsStr::to_str))
        else {
            return Ok(None);
        };
        let manifest = directory.join(manifest::NAME);
        if self.open.as_ref().is_none_or(|open| open.path != manifest) {
            self.open = Open::new(&manifest);
        }
        let Some(open) = &mut self.open else {
            return Ok(None);
        };
        if let Some(claim) = open.find(name)? {
            return Ok(Some(claim));
        }
        if !open.forgot {
            return Ok(None);
        }
        // It was asked for out of order.
        self.open = Open::new(&manifest);
        match &mut self.open {
            Some(open) => open.find(name),
            None => Ok(None),
        }
    }
}

impl Open {
    /// Lines that are remembered: some 10 MiB of them.
    const MOST: usize = 1 << 16;

    fn new(path: &Path) -> Option<Self> {
        let file = open_file(path).ok()?;
        Some(Self {
            path: path.to_owned(),
            lines: Lines::new(path, file),
            target: Target::default(),
            known: HashMap::new(),
            forgot: false,
        })
    }

    /// Reads on to the line of this name, unless it is known. It may be in front of what was
    /// read, if lines were forgotten.
    fn find(&mut self, name: &str) -> Result<Option<Claim>> {
        if let Some(claim) = self.known.get(name) {
            return Ok(Some(claim.clone()));
        }
        // A file of that name may be anything; then it says nothing.
        while let Ok(Some((_, line))) = self.lines.next() {
            let (found, claim) = match line {
                Ok(Line::File(header)) => {
                    self.target = manifest::target(&header)?;
                    continue;
                }
                Ok(Line::Encoded(Encoded {
                    offset,
                    fields,
                    payload,
                    ..
                })) => (payload, Claim::Payload(fields, self.target.at(offset))),
                Ok(Line::Plain {
                    len,
                    data_sha256,
                    data: Some(data),
                    ..
                }) => (data, Claim::Data(len, data_sha256)),
                _ => continue,
            };
            if self.known.len() >= Self::MOST {
                self.known.clear();
                self.forgot = true;
            }
            let is_it = found == name;
            let claim = self.known.entry(found).or_insert(claim);
            if is_it {
                return Ok(Some(claim.clone()));
            }
        }
        Ok(None)
    }
}
