//! Labels of SELinux, by the paths of files: what setfiles(8) would set, from its file_contexts(5).
//!
//! Each line has a regular expression for whole paths, maybe a kind of file, and a label or
//! `<<none>>`. As in libselinux, a path that is spelled out wins over expressions, and later lines
//! win over earlier ones. Substitutions of directories (file_contexts.subs) are not read.

use std::collections::HashMap;
use std::path::Path;

use anyhow::{Context, Result, bail};
use btrfs_payload::bytes::Bytes;
use regex::bytes::{Regex, RegexBuilder};

use super::member::{Kind, Member, plain};
use crate::args::cannot_read;
use crate::output::shown;

/// The attribute that holds a label.
const LABEL: &str = "security.selinux";

/// The lines of a file_contexts.
pub(super) struct Contexts {
    /// Paths that are spelled out.
    exact: HashMap<Vec<u8>, Vec<Labelled>>,
    patterns: Vec<Pattern>,
}

/// The kind that a line is about, where it names one, and the label.
type Labelled = (Option<u8>, Option<Bytes>);

struct Pattern {
    /// What every path begins with that can match.
    stem: Vec<u8>,
    regex: Regex,
    kind: Option<u8>,
    /// `None` where nothing is labelled.
    label: Option<Bytes>,
}

impl Contexts {
    pub(super) fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| cannot_read(path))?;
        let mut contexts = Self {
            exact: HashMap::new(),
            patterns: Vec::new(),
        };
        for (line, number) in text.lines().zip(1_u64..) {
            let added = contexts.add(line);
            added.with_context(|| format!("{}: line {number}", shown(path)))?;
        }
        Ok(contexts)
    }

    fn add(&mut self, line: &str) -> Result<()> {
        if line.trim_start().starts_with('#') {
            return Ok(());
        }
        let words: Vec<&str> = line.split_whitespace().collect();
        let (pattern, kind, label) = match words[..] {
            [] => return Ok(()),
            [pattern, label] => (pattern, None, label),
            [pattern, kind, label] => (pattern, Some(kind_of(kind)?), label),
            _ => bail!("a path, maybe a kind, and a label are expected"),
        };
        // A label is stored with the zero at its end.
        let label = (label != "<<none>>").then(|| format!("{label}\0").into());
        let (stem, is_all) = stem(pattern);
        if is_all {
            self.exact.entry(stem).or_default().push((kind, label));
            return Ok(());
        }
        let regex = RegexBuilder::new(&format!("^(?:{pattern})$"))
            .unicode(false)
            .dot_matches_new_line(true)
            .build()?;
        self.patterns.push(Pattern {
            stem,
            regex,
            kind,
            label,
        });
        Ok(())
    }

    /// Gives a member its label, in the place of any other.
    pub(super) fn label(&self, member: &mut Member) {
        if matches!(member.kind, Kind::HardLink(_)) {
            return;
        }
        let path = [b"/", &plain(&member.path)[..]].concat();
        let kind = letter(&member.kind);
        let xattrs = &mut member.metadata.xattrs;
        xattrs.retain(|(name, _)| name != LABEL);
        if let Some(label) = self.find(&path, kind) {
            xattrs.push((LABEL.into(), label.clone()));
        }
    }

    fn find(&self, path: &[u8], kind: u8) -> Option<&Bytes> {
        let is_for = |of: Option<u8>| of.is_none_or(|of| of == kind);
        let mut exact = self.exact.get(path).into_iter().flatten().rev();
        if let Some((_, label)) = exact.find(|(of, _)| is_for(*of)) {
            return label.as_ref();
        }
        let mut patterns = self.patterns.iter().rev();
        patterns
            .find(|p| is_for(p.kind) && path.starts_with(&p.stem) && p.regex.is_match(path))
            .and_then(|pattern| pattern.label.as_ref())
    }
}

/// What is in front of the first character with a meaning, and whether that is all.
fn stem(pattern: &str) -> (Vec<u8>, bool) {
    let mut stem = Vec::new();
    let mut bytes = pattern.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' => match bytes.next() {
                // A letter or digit after it may be a class.
                Some(next) if !next.is_ascii_alphanumeric() => stem.push(next),
                _ if has_alternatives(pattern) => return (Vec::new(), false),
                _ => return (stem, false),
            },
            b'?' | b'*' | b'{' => {
                // They are about what is before.
                stem.pop();
                if has_alternatives(pattern) {
                    stem.clear();
                }
                return (stem, false);
            }
            b'.' | b'^' | b'$' | b'+' | b'[' | b'(' | b')' | b'|' => {
                // What is before counts for one alternative only.
                if has_alternatives(pattern) {
                    stem.clear();
                }
                return (stem, false);
            }
            other => stem.push(other),
        }
    }
    (stem, true)
}

/// True where a `|` stands outside all parentheses.
fn has_alternatives(pattern: &str) -> bool {
    let mut depth = 0_usize;
    let mut bytes = pattern.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' => {
                bytes.next();
            }
            b'(' => depth = depth.saturating_add(1),
            b')' => depth = depth.saturating_sub(1),
            b'|' if depth == 0 => return true,
            _ => {}
        }
    }
    false
}

fn kind_of(word: &str) -> Result<u8> {
    Ok(match word {
        "--" => b'-',
        "-b" => b'b',
        "-c" => b'c',
        "-d" => b'd',
        "-p" => b'p',
        "-l" => b'l',
        "-s" => b's',
        _ => bail!("{} is no kind of file", word.escape_debug()),
    })
}

fn letter(kind: &Kind) -> u8 {
    match kind {
        Kind::Directory => b'd',
        Kind::File | Kind::HardLink(_) => b'-',
        Kind::Symlink(_) => b'l',
        Kind::CharDevice(..) => b'c',
        Kind::BlockDevice(..) => b'b',
        Kind::Fifo => b'p',
        Kind::Socket => b's',
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// The lines and what they mean are those of file_contexts(5) and of the policies of Fedora and
    /// Android.
    #[test]
    fn the_last_line_that_matches_wins_and_spelled_out_paths_win_over_all() {
        let text = "# a remark\n\
            /.*\tsystem_u:object_r:default_t:s0\n\
            /etc(/.*)?\tsystem_u:object_r:etc_t:s0\n\
            /etc/passwd -- system_u:object_r:passwd_file_t:s0\n\
            /etc/.*\\.conf\t--\tsystem_u:object_r:conf_t:s0\n\
            /proc -d <<none>>\n\
            /usr/lib(64)?/x\\+y system_u:object_r:lib_t:s0\n\
            /a|/b/c system_u:object_r:alternative_t:s0\n\
            /dev/[hs]d[a-z] -b system_u:object_r:disk_t:s0\n";
        let mut contexts = Contexts {
            exact: HashMap::new(),
            patterns: Vec::new(),
        };
        text.lines().for_each(|line| contexts.add(line).unwrap());
        for (path, kind, expected) in [
            ("/", b'd', Some("default_t")),
            ("/etc", b'd', Some("etc_t")),
            ("/etc/passwd", b'-', Some("passwd_file_t")),
            ("/etc/passwd", b'l', Some("etc_t")),
            ("/etc/x/y.conf", b'-', Some("conf_t")),
            ("/etc/x/y.conf", b'd', Some("etc_t")),
            ("/etcetera", b'-', Some("default_t")),
            ("/proc", b'd', None),
            ("/usr/lib64/x+y", b'-', Some("lib_t")),
            ("/usr/lib/x+y", b'-', Some("lib_t")),
            ("/a", b'-', Some("alternative_t")),
            ("/b/c", b'-', Some("alternative_t")),
            ("/dev/sda", b'b', Some("disk_t")),
            ("/dev/sda", b'c', Some("default_t")),
        ] {
            let label = expected.map(|of| format!("system_u:object_r:{of}:s0\0"));
            let found = contexts.find(path.as_bytes(), kind);
            assert_eq!(found, label.map(Bytes::from).as_ref(), "{path}");
        }
        for wrong in ["/x", "/x -z a:b:c", "/x( a:b:c", "a b c d"] {
            assert!(contexts.add(wrong).is_err(), "{wrong}");
        }
    }
}
