//! Text on a page: what a browser would take for markup stands for itself, and so does what would
//! not be seen.

use std::fmt::{self, Write};

use btrfs_payload::transform::Escaped;

/// Characters shown of one text: what is longer is mostly an attempt.
const LONGEST: usize = 1200;

/// A text, to be put between tags or into an attribute with double quotes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Text<'a>(pub(super) &'a str);

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars().take(LONGEST) {
            match c {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                // Names come with their backslashes doubled.
                '\\' => f.write_char(c)?,
                c if c.is_ascii_graphic() || c == ' ' => f.write_char(c)?,
                c => Escaped(c.encode_utf8(&mut [0; 4]).as_bytes()).fmt(f)?,
            }
        }
        if self.0.chars().nth(LONGEST).is_some() {
            f.write_str(" …")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_and_what_is_not_seen_is_written_out() {
        let text = Text("<b a='\"'>&amp;\u{0}\u{1b}[1m\u{202e}ä\n\\x00").to_string();
        let expected = "&lt;b a=&#39;&quot;&#39;&gt;&amp;amp;\\x00\\x1b[1m\\xe2\\x80\\xaeä\\n\\x00";
        assert_eq!(text, expected);
        let long = "<".repeat(LONGEST + 1);
        let text = Text(&long).to_string();
        assert_eq!(text, "&lt;".repeat(LONGEST) + " …");
        assert_eq!(Text(&long[1..]).to_string(), "&lt;".repeat(LONGEST));
    }
}
