//! What part of a tree goes into which subvolume.

use anyhow::{Result, bail};

use super::member::{Kind, Member, plain};

/// A subvolume: a directory of the tree, without those in it that are subvolumes of their own.
#[derive(Debug)]
pub(super) struct Scope {
    /// The directory, in the plain form of a path; empty for the whole tree.
    top: Vec<u8>,
    nested: Vec<Vec<u8>>,
    /// The directory has come.
    found: bool,
}

impl Scope {
    /// The whole tree and then each of these directories, without the others.
    pub(super) fn all(directories: &[Vec<u8>]) -> Vec<Self> {
        let mut tops: Vec<Vec<u8>> = directories.iter().map(|path| plain(path)).collect();
        tops.push(Vec::new());
        tops.sort();
        tops.dedup();
        let scope = |top: &Vec<u8>| Self {
            top: top.clone(),
            nested: tops
                .iter()
                .filter(|other| inside(other, top).is_some_and(|rest| !rest.is_empty()))
                .cloned()
                .collect(),
            found: top.is_empty(),
        };
        tops.iter().map(scope).collect()
    }

    /// The name of the subvolume, of a tree of this name.
    pub(super) fn name(&self, tree: &[u8]) -> Vec<u8> {
        let mut name = tree.to_vec();
        for part in self.top.split(|&byte| byte == b'/') {
            if !part.is_empty() {
                name.push(b'-');
                name.extend_from_slice(part);
            }
        }
        name
    }

    /// Whether a path of the tree belongs here; subvolumes of their own do as empty directories.
    pub(super) fn has(&self, path: &[u8]) -> bool {
        self.path(&plain(path)).is_some()
    }

    /// Gives a member the path that it has here.
    ///
    /// # Errors
    /// For a hard link to what is in another subvolume.
    pub(super) fn take(&mut self, member: &mut Member) -> Result<()> {
        let path = plain(&member.path);
        let Some(here) = self.path(&path) else {
            bail!("it is not in {}", self.top.escape_ascii());
        };
        let is_root = here.is_empty();
        if let Kind::HardLink(target) = &mut member.kind {
            let there = plain(target);
            match self.path(&there) {
                Some(_) if self.top.is_empty() => {}
                Some(path) => *target = path.to_vec(),
                None => bail!(
                    "it is another name of {}, which is in another subvolume",
                    there.escape_ascii()
                ),
            }
        }
        // With its slashes and dots, which the builder knows, where nothing has to be cut off.
        if !self.top.is_empty() {
            member.path = here.to_vec();
        }
        if is_root && member.kind == Kind::Directory {
            self.found = true;
        }
        Ok(())
    }

    /// # Errors
    /// Where nothing was there to begin with.
    pub(super) fn check_found(&self) -> Result<()> {
        if self.found {
            return Ok(());
        }
        bail!(
            "--subvol: there is no directory {}",
            self.top.escape_ascii()
        );
    }

    fn path<'a>(&self, path: &'a [u8]) -> Option<&'a [u8]> {
        let here = inside(path, &self.top)?;
        let elsewhere =
            |nested: &Vec<u8>| inside(path, nested).is_some_and(|rest| !rest.is_empty());
        (!self.nested.iter().any(elsewhere)).then_some(here)
    }
}

/// What is left of a path below a directory; nothing for the directory itself.
fn inside<'a>(path: &'a [u8], directory: &[u8]) -> Option<&'a [u8]> {
    if directory.is_empty() {
        return Some(path);
    }
    match path.strip_prefix(directory)? {
        [] => Some(&[]),
        [b'/', rest @ ..] => Some(rest),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_path_is_in_one_subvolume() {
        let scopes = Scope::all(&[b"/var/".to_vec(), b"var/log".to_vec(), b"home".to_vec()]);
        let names: Vec<_> = scopes.iter().map(|scope| scope.name(b"root")).collect();
        assert_eq!(
            names,
            [&b"root"[..], b"root-home", b"root-var", b"root-var-log"]
        );
        for (path, expected) in [
            (&b"etc/x"[..], [Some(&b"etc/x"[..]), None, None, None]),
            (b"home", [Some(b"home"), Some(b""), None, None]),
            (b"homely/x", [Some(b"homely/x"), None, None, None]),
            (b"home/x", [None, Some(b"x"), None, None]),
            (b"var/log", [None, None, Some(b"log"), Some(b"")]),
            (b"var/log/x", [None, None, None, Some(b"x")]),
        ] {
            let found: Vec<_> = scopes.iter().map(|scope| scope.path(path)).collect();
            assert_eq!(found, expected, "{}", path.escape_ascii());
        }
    }
}
