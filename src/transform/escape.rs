//! Paths and names for display. They are bytes; what is shown can be turned back into them.

use std::fmt::{self, Write};

/// Shows bytes as text without losing one: what is printable UTF-8 stands for itself, a
/// backslash is doubled, a newline, tab and carriage return have their usual letters, and every
/// other byte is `\x` with two hexadecimal digits.
///
/// ```
/// use btrfs_payload::transform::Escaped;
/// assert_eq!(Escaped(b"dir/n\xc3\xa4me\n\xff\\").to_string(), r"dir/näme\n\xff\\");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Escaped<'a>(pub &'a [u8]);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.0.utf8_chunks() {
            for c in chunk.valid().chars() {
                match c {
                    '\\' => f.write_str("\\\\")?,
                    '\n' => f.write_str("\\n")?,
                    '\t' => f.write_str("\\t")?,
                    '\r' => f.write_str("\\r")?,
                    // Controls, and what turns the direction of writing round.
                    c if c.is_control() || is_invisible(c) => {
                        let mut utf8 = [0; 4];
                        bytes(f, c.encode_utf8(&mut utf8).as_bytes())?;
                    }
                    c => f.write_char(c)?,
                }
            }
            bytes(f, chunk.invalid())?;
        }
        Ok(())
    }
}

/// Shows bytes as [`Escaped`] does, and blanks and `=` as `\\x20` and `\\x3d`: one word, which can
/// stand in a list of `name=value`.
///
/// ```
/// use btrfs_payload::transform::EscapedWord;
/// assert_eq!(EscapedWord(b"my file=1").to_string(), r"my\x20file\x3d1");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EscapedWord<'a>(pub &'a [u8]);

impl fmt::Display for EscapedWord<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let breaks = |byte: &u8| matches!(byte, b' ' | b'=');
        for part in self.0.split_inclusive(breaks) {
            let (word, last) = match part.split_last() {
                Some((last, word)) if breaks(last) => (word, Some(*last)),
                _ => (part, None),
            };
            Escaped(word).fmt(f)?;
            bytes(f, last.as_slice())?;
        }
        Ok(())
    }
}

/// Shows bytes as [`Escaped`] does, but of more than 1024 bytes only the beginning, the end and
/// how many there are: paths of that length are mostly attempts.
///
/// ```
/// use btrfs_payload::transform::Shortened;
/// assert_eq!(Shortened(b"a/b").to_string(), "a/b");
/// assert!(Shortened(&[b'a'; 5000]).to_string().ends_with("aaa (5000 bytes)"));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shortened<'a>(pub &'a [u8]);

/// Bytes up to which nothing is left out.
const WHOLE: usize = 1024;
/// Bytes shown of what is longer, of the beginning and of the end.
const SHOWN: usize = 64;

impl fmt::Display for Shortened<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(all) = *self;
        match (all.first_chunk::<SHOWN>(), all.last_chunk::<SHOWN>()) {
            (Some(first), Some(last)) if all.len() > WHOLE => {
                let (first, last) = (Escaped(first), Escaped(last));
                write!(f, "{first} ... {last} ({} bytes)", all.len())
            }
            _ => Escaped(all).fmt(f),
        }
    }
}

fn bytes(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(f, "\\x{byte:02x}"))
}

/// Characters that show as nothing, or change how their neighbours show.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads the escaped form back.
    fn unescape(text: &str) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut chars = text.chars();
        while let Some(c) = chars.next() {
            if c != '\\' {
                bytes.extend(c.to_string().as_bytes());
                continue;
            }
            match chars.next().unwrap() {
                'n' => bytes.push(b'\n'),
                't' => bytes.push(b'\t'),
                'r' => bytes.push(b'\r'),
                '\\' => bytes.push(b'\\'),
                'x' => {
                    let digits: String = chars.by_ref().take(2).collect();
                    bytes.push(u8::from_str_radix(&digits, 16).unwrap());
                }
                other => panic!("{other}"),
            }
        }
        bytes
    }

    quickcheck::quickcheck! {
        fn nothing_is_lost(bytes: Vec<u8>) -> bool {
            let text = Escaped(&bytes).to_string();
            !text.chars().any(char::is_control) && unescape(&text) == bytes
        }
    }
}
