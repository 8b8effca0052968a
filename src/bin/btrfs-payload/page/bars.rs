//! Bars: the shares that a whole is made of.

use super::document::Page;
use super::ink::Ink;
use super::text::Text;
use crate::output::Output;

/// A part of a whole.
#[derive(Debug)]
pub(crate) struct Share<'a> {
    pub(crate) ink: Ink,
    pub(crate) name: &'a str,
    pub(crate) number: u64,
    /// The number for people.
    pub(crate) text: String,
}

impl Page {
    /// A bar of bytes by what they are, and of those that compression saves.
    pub(crate) fn bytes_and_saved<'a>(
        &mut self,
        parts: impl IntoIterator<Item = (Ink, &'a str, u64)>,
        saved: u64,
        output: &Output,
    ) {
        let parts = parts.into_iter().chain([(Ink::Saved, "saved", saved)]);
        let shares: Vec<Share> = parts
            .map(|(ink, name, number)| Share {
                ink,
                name,
                number,
                text: output.size(number),
            })
            .collect();
        self.shares(&shares);
    }

    /// A bar of all shares, and below it what they are. Shares of nothing are left out.
    pub(crate) fn shares(&mut self, shares: &[Share]) {
        let whole: u64 = shares.iter().map(|share| share.number).sum();
        let shares = shares.iter().filter(|share| share.number > 0);
        self.write(format_args!("<div class=\"bar\" aria-hidden=\"true\">"));
        for share in shares.clone() {
            let (class, width) = (share.ink.class(), part_of(share.number, whole));
            self.write(format_args!(
                "<i class=\"{class}\" style=\"width:{width:.3}%\"></i>"
            ));
        }
        self.write(format_args!("</div>\n<ul class=\"legend\">\n"));
        for share in shares {
            let (class, percent) = (share.ink.class(), percent(share.number, whole));
            let (name, text) = (Text(share.name), Text(&share.text));
            self.write(format_args!(
                "<li><i class=\"{class}\"></i>{name} <b>{text}</b> {percent}</li>\n"
            ));
        }
        self.write(format_args!("</ul>\n"));
    }
}

/// Percent that a part is of a whole, from 0 to 100.
pub(super) fn part_of(part: u64, whole: u64) -> f64 {
    (part as f64 * 100.0 / whole.max(1) as f64).min(100.0)
}

/// The same in words.
pub(crate) fn percent(part: u64, whole: u64) -> String {
    format!("{:.1} %", part_of(part, whole))
}
