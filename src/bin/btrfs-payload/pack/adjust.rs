//! Members otherwise than the source has them: other owners, modes, names left out.

use std::fmt;
use std::str::FromStr;

use anyhow::{Context, Result};
use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

use super::member::{Kind, Member, plain};
use super::selinux::Contexts;

/// What is to be otherwise.
#[derive(Default)]
pub(super) struct Adjust {
    pub(super) all_root: bool,
    pub(super) owners: Vec<OwnerMap>,
    pub(super) modes: Vec<ModeChange>,
    pub(super) exclude: Exclude,
    pub(super) labels: Option<Contexts>,
}

impl Adjust {
    pub(super) fn apply(&self, member: &mut Member) {
        if let Some(labels) = &self.labels {
            labels.label(member);
        }
        let Member { kind, metadata, .. } = member;
        metadata.uid = self.owner(metadata.uid, |map| map.users);
        metadata.gid = self.owner(metadata.gid, |map| map.groups);
        if !self.modes.is_empty() && !matches!(kind, Kind::Symlink(_) | Kind::HardLink(_)) {
            let is_directory = *kind == Kind::Directory;
            let changes = self.modes.iter();
            metadata.mode = changes.fold(metadata.mode, |mode, change| {
                change.apply(mode, is_directory)
            });
            let mut xattrs = metadata.xattrs.iter_mut();
            if let Some((_, list)) = xattrs.find(|(name, _)| name == ACCESS_LIST) {
                *list = with_permissions(list, metadata.mode).into();
            }
        }
    }

    fn owner(&self, id: u32, is_about: impl Fn(&OwnerMap) -> bool) -> u32 {
        if self.all_root {
            return 0;
        }
        let map = self.owners.iter().filter(|map| is_about(map));
        map.filter_map(|map| map.mapped(id)).next().unwrap_or(id)
    }
}

const ACCESS_LIST: &str = "system.posix_acl_access";

/// An access list after chmod(2): the owner's entry, that of the mask (of the group where there is no
/// mask) and that of others follow the mode (`__posix_acl_chmod_masq`, fs/posix_acl.c).
fn with_permissions(list: &[u8], mode: u32) -> Vec<u8> {
    const HEADER: usize = 4;
    let mut list = list.to_vec();
    let Some((entries, _)) = list.get_mut(HEADER..).map(<[u8]>::as_chunks_mut::<8>) else {
        return list;
    };
    let has_mask = entries.iter().any(|[tag, ..]| *tag == 0x10);
    for [tag, _, permissions, ..] in entries {
        let bits = match *tag {
            0x01 => mode >> 6,
            0x04 if !has_mask => mode >> 3,
            0x10 => mode >> 3,
            0x20 => mode,
            _ => continue,
        };
        *permissions = u8::try_from(bits & 7).unwrap_or(0);
    }
    list
}

/// Users, groups or both of some numbers get others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct OwnerMap {
    users: bool,
    groups: bool,
    first: u32,
    last: u32,
    to: u32,
}

impl OwnerMap {
    fn mapped(&self, id: u32) -> Option<u32> {
        let inside = id.checked_sub(self.first).filter(|_| id <= self.last)?;
        self.to.checked_add(inside)
    }
}

impl FromStr for OwnerMap {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (users, groups, numbers) = match (text.strip_prefix('u'), text.strip_prefix('g')) {
            (Some(rest), _) => (true, false, rest),
            (_, Some(rest)) => (false, true, rest),
            _ => (true, true, text),
        };
        let map = || {
            let (from, to) = numbers.split_once(':')?;
            let (first, last) = from.split_once('-').unwrap_or((from, from));
            let [first, last, to] = [first, last, to].map(|id| id.parse().ok());
            let map = Self {
                users,
                groups,
                first: first?,
                last: last?,
                to: to?,
            };
            // The largest number is nobody's.
            let span = map.last.checked_sub(map.first)?;
            map.to.checked_add(span).filter(|&id| id < u32::MAX)?;
            (map.last < u32::MAX).then_some(map)
        };
        map().ok_or_else(|| "numbers such as 1000:0, 100000-165535:0, u1000:0 or g100:0".to_owned())
    }
}

/// A change of permissions, as chmod(1) takes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ModeChange {
    /// These permissions.
    To(u32),
    /// For some, some are added, taken away or set.
    Some {
        whom: u32,
        action: char,
        letters: String,
    },
}

impl ModeChange {
    /// Several, separated by commas.
    pub(super) fn parse_all(text: &str) -> Result<Vec<Self>, String> {
        text.split(',').map(str::parse).collect()
    }

    fn apply(&self, mode: u32, is_directory: bool) -> u32 {
        let (whom, action, letters) = match self {
            // chmod(1) leaves these of a directory as they are, unless it is told of them in letters.
            Self::To(to) if is_directory => return *to | mode & 0o6000,
            Self::To(to) => return *to,
            Self::Some {
                whom,
                action,
                letters,
            } => (*whom, *action, letters),
        };
        let mut bits = 0;
        for letter in letters.chars() {
            bits |= match letter {
                'r' => 0o444,
                'w' => 0o222,
                'x' => 0o111,
                // Who may enter a directory, and a file that somebody may run.
                'X' if is_directory || mode & 0o111 != 0 => 0o111,
                's' => 0o6000,
                't' => 0o1000,
                _ => 0,
            };
        }
        bits &= whom;
        match action {
            '+' => mode | bits,
            '-' => mode & !bits,
            // Set-user-id and the like of a directory stay, as chmod(1) has it.
            _ => mode & !(whom & if is_directory { 0o1777 } else { 0o7777 }) | bits,
        }
    }
}

impl FromStr for ModeChange {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || "permissions such as 644, go-w or a+rX,u+w".to_owned();
        if text.starts_with(|c: char| c.is_ascii_digit()) {
            let mode = u32::from_str_radix(text, 8).ok();
            return mode
                .filter(|&mode| mode <= 0o7777)
                .map(Self::To)
                .ok_or_else(wrong);
        }
        let at = text.find(['+', '-', '=']).ok_or_else(wrong)?;
        let (who, rest) = text.split_at(at);
        let mut whom = if who.is_empty() { 0o7777 } else { 0 };
        for letter in who.chars() {
            whom |= match letter {
                'u' => 0o4700,
                'g' => 0o2070,
                'o' => 0o1007,
                'a' => 0o7777,
                _ => return Err(wrong()),
            };
        }
        let mut rest = rest.chars();
        let action = rest.next().ok_or_else(wrong)?;
        let letters: String = rest.collect();
        if !letters.chars().all(|letter| "rwxXst".contains(letter)) {
            return Err(wrong());
        }
        Ok(Self::Some {
            whom,
            action,
            letters,
        })
    }
}

/// Names that are left out, with all inside.
#[derive(Default)]
pub(super) struct Exclude(Option<GlobSet>);

impl fmt::Debug for Exclude {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Exclude").finish_non_exhaustive()
    }
}

impl Exclude {
    /// Patterns of shells. One without a slash is about a name, wherever it is; any other is about a
    /// path from the top. `*` matches no slash, `**` does.
    pub(super) fn new(patterns: &[String]) -> Result<Self> {
        if patterns.is_empty() {
            return Ok(Self(None));
        }
        let mut set = GlobSetBuilder::new();
        for pattern in patterns {
            let plain = pattern.trim_end_matches('/');
            let whole = match plain.strip_prefix('/') {
                Some(from_top) => from_top.to_owned(),
                None if plain.contains('/') => plain.to_owned(),
                None => format!("**/{plain}"),
            };
            let glob = GlobBuilder::new(&whole)
                .literal_separator(true)
                .backslash_escape(true)
                .build();
            set.add(glob.with_context(|| format!("--exclude {}", pattern.escape_debug()))?);
        }
        Ok(Self(Some(set.build()?)))
    }

    /// Whether a path is left out, or something that it is in.
    pub(super) fn has(&self, path: &[u8]) -> bool {
        use std::os::unix::ffi::OsStrExt;
        let Some(set) = &self.0 else {
            return false;
        };
        let path = plain(path);
        let ends = (0..=path.len())
            .filter(|&end| path.get(end).is_none_or(|&byte| byte == b'/') && end > 0);
        let mut parts = ends.filter_map(|end| path.get(..end));
        parts.any(|part| set.is_match(std::ffi::OsStr::from_bytes(part)))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn owners_are_mapped_one_by_one_or_in_ranges() {
        let adjust = |maps: &[&str]| Adjust {
            owners: maps.iter().map(|map| map.parse().unwrap()).collect(),
            ..Adjust::default()
        };
        let both = adjust(&["1000:0", "100000-165535:0", "g5:7"]);
        let ids = |id| {
            (
                both.owner(id, |map| map.users),
                both.owner(id, |map| map.groups),
            )
        };
        assert_eq!(ids(1000), (0, 0));
        assert_eq!(ids(100_033), (33, 33));
        assert_eq!(ids(165_536), (165_536, 165_536));
        assert_eq!(ids(5), (5, 7));
        for wrong in [
            "1000",
            "a:b",
            "5-4:0",
            "0-10:4294967290",
            "4294967295:0",
            "",
        ] {
            assert!(wrong.parse::<OwnerMap>().is_err(), "{wrong}");
        }
    }

    /// Held against chmod(1) of GNU coreutils: `chmod CHANGE` of a file and of a directory of mode
    /// 2754.
    #[test]
    fn modes_change_as_chmod_does() {
        for (change, file, directory) in [
            ("644", 0o644, 0o2644),
            ("go-rwx", 0o2700, 0o2700),
            ("a+rX", 0o2755, 0o2755),
            ("o=", 0o2750, 0o2750),
            ("g=r", 0o744, 0o2744),
            ("u+s,g-s", 0o4754, 0o4754),
            ("+t", 0o3754, 0o3754),
            ("a-x", 0o2644, 0o2644),
        ] {
            let changes = ModeChange::parse_all(change).unwrap();
            let apply = |is_directory| {
                changes
                    .iter()
                    .fold(0o2754, |mode, change| change.apply(mode, is_directory))
            };
            assert_eq!((apply(false), apply(true)), (file, directory), "{change}");
        }
        for wrong in ["", "88", "u", "z+x", "u+q", "10000", "644,"] {
            assert!(ModeChange::parse_all(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn names_are_left_out_with_all_inside() {
        let exclude = |patterns: &[&str]| {
            let patterns: Vec<_> = patterns.iter().map(ToString::to_string).collect();
            Exclude::new(&patterns).unwrap()
        };
        let names = exclude(&["*.o", "/tmp/*", "var/**/cache", "/proc"]);
        for path in [
            "a.o",
            "./x/a.o",
            "x/a.o/inside",
            "tmp/x",
            "/tmp/x/y",
            "var/a/b/cache/x",
            "proc",
        ] {
            assert!(names.has(path.as_bytes()), "{path}");
        }
        for path in [
            "",
            ".",
            "a.oo",
            "tmp",
            "x/tmp/y",
            "x/proc",
            "cache",
            "x/var/a/cache",
        ] {
            assert!(!names.has(path.as_bytes()), "{path}");
        }
        assert!(exclude(&["\u{e4}"]).has("\u{e4}".as_bytes()));
        assert!(exclude(&["?"]).has(b"x"));
        assert!(!exclude(&[]).has(b"x"));
    }
}
