//! Bars of text on a terminal: parts of a whole, and what of a file is stored where. There are none
//! in a pipe.

use std::io;

use btrfs_payload::rules::limits;

use crate::numbers::{add, percent};
use crate::progress::is_ascii;

/// Narrower terminals get none.
const NARROWEST: usize = 40;
/// On wider ones a bar has no more to say.
const WIDEST: usize = 100;
/// Columns in front of everything.
const INDENT: &str = "  ";

const GREEN: &str = "\x1b[32m";
const RED: &str = "\x1b[31m";
const PLAIN: &str = "\x1b[0m";

/// A terminal that shows bars.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bars {
    width: usize,
    is_ascii: bool,
    is_coloured: bool,
}

impl Bars {
    /// Bars as wide as the terminal that standard output is; `None` where it is none.
    pub(crate) fn on_stdout(is_coloured: bool) -> Option<Self> {
        let size = rustix::termios::tcgetwinsize(io::stdout()).ok()?;
        let width = usize::from(size.ws_col).min(WIDEST);
        (width >= NARROWEST).then(|| Self {
            width,
            is_ascii: is_ascii(),
            is_coloured,
        })
    }

    /// A bar for each part of a whole: its name, and how many bytes of all it has.
    pub(crate) fn parts(self, parts: &[(String, u64)]) -> Vec<String> {
        let name_width = parts.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
        let whole = parts
            .iter()
            .fold(0, |sum: u64, (_, part)| sum.saturating_add(*part));
        // Indent, name, two blanks, bar, blank, `100 %`, and a column that stays free: in the last
        // one some terminals begin a new line.
        let taken = INDENT.len().saturating_add(name_width).saturating_add(9);
        let bar_width = self.width.saturating_sub(taken);
        let bars = parts.iter().map(|(name, part)| {
            let bar = self.bar(*part, whole, bar_width);
            let bar = self.coloured(if name.starts_with("plain") { "" } else { GREEN }, &bar);
            format!(
                "{INDENT}{name:<name_width$}  {bar} {:>5}",
                percent(*part, whole)
            )
        });
        bars.collect()
    }

    /// So much of so many columns; in eighths of one where the terminal has them.
    fn bar(self, part: u64, whole: u64, columns: usize) -> String {
        const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
        let eighths = scaled(part, whole, columns.saturating_mul(8));
        let (full, rest) = (eighths / 8, eighths % 8);
        let (mut bar, mut len) = match self.is_ascii {
            true => ("#".repeat(full), full),
            false => ("█".repeat(full), full),
        };
        if let Some(rest) = EIGHTHS.get(rest).filter(|rest| !rest.is_empty()) {
            bar.push_str(if self.is_ascii { " " } else { rest });
            len = len.saturating_add(1);
        }
        bar.push_str(&" ".repeat(columns.saturating_sub(len)));
        bar
    }

    /// A file from its first byte to its last: the more of a place is stored, the higher. Then
    /// what that means.
    pub(crate) fn strip(self, strip: &Strip) -> Vec<String> {
        const LEVELS: [&str; 8] = ["▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"];
        const ASCII: [&str; 8] = [".", ".", "-", "-", "=", "=", "+", "#"];
        let levels = if self.is_ascii { ASCII } else { LEVELS };
        let columns = self.width.saturating_sub(INDENT.len()).saturating_sub(1);
        let mut runs: Vec<(&str, String)> = Vec::new();
        for column in strip.columns(columns) {
            let level = scaled(column.stored, column.data, levels.len());
            let mark = levels.get(level.saturating_sub(1)).copied();
            let (color, mark) = match mark.filter(|_| column.data > 0) {
                Some(mark) if column.stored < column.data => (GREEN, mark),
                Some(mark) => (RED, mark),
                None => ("", " "),
            };
            match runs.last_mut() {
                Some((of, run)) if *of == color => run.push_str(mark),
                _ => runs.push((color, mark.to_owned())),
            }
        }
        let runs = runs.iter().map(|(color, run)| self.coloured(color, run));
        let line: String = std::iter::once(INDENT.to_owned()).chain(runs).collect();
        let [little, .., all] = levels;
        let legend = format!("{INDENT}stored: {little} little, {all} all; blank: holes");
        vec![line, legend]
    }

    fn coloured(self, color: &str, text: &str) -> String {
        match self.is_coloured && !color.is_empty() {
            true => format!("{color}{text}{PLAIN}"),
            false => text.to_owned(),
        }
    }
}

/// `part` of `whole`, in units of which the whole has `units`; anything at all is one at least.
fn scaled(part: u64, whole: u64, units: usize) -> usize {
    let units = units as u128;
    let scaled = u128::from(part)
        .saturating_mul(units)
        .div_ceil(u128::from(whole.max(1)));
    usize::try_from(scaled.min(units)).unwrap_or(usize::MAX)
}

/// How much of each place of a file is stored. Whatever the size of the file, it has so many places.
#[derive(Debug)]
pub(crate) struct Strip {
    /// Bytes of a place.
    place: u64,
    places: Vec<Place>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Place {
    /// Bytes that are no hole.
    data: u64,
    stored: u64,
}

impl Place {
    fn add(&mut self, other: Self) {
        add(&mut self.data, other.data);
        add(&mut self.stored, other.stored);
    }
}

impl Default for Strip {
    fn default() -> Self {
        Self {
            place: u64::from(limits::MIN_SECTOR_SIZE),
            places: Vec::new(),
        }
    }
}

impl Strip {
    const MOST: usize = 1024;

    /// An extent and what is stored of it; `None` for a hole.
    pub(crate) fn add(&mut self, offset: u64, len: u64, stored: Option<u64>) {
        let end = offset.saturating_add(len);
        while end.div_ceil(self.place) > Self::MOST as u64 {
            let pairs = self.places.chunks(2).map(|pair| {
                let mut sum = Place::default();
                pair.iter().for_each(|&place| sum.add(place));
                sum
            });
            self.places = pairs.collect();
            self.place = self.place.saturating_mul(2);
        }
        let places = usize::try_from(end.div_ceil(self.place)).unwrap_or(Self::MOST);
        if self.places.len() < places {
            self.places.resize(places, Place::default());
        }
        let Some(stored) = stored else { return };
        let mut at = offset;
        while at < end {
            let number = at.checked_div(self.place).unwrap_or(0);
            let next = number.saturating_add(1).saturating_mul(self.place).min(end);
            let data = next.saturating_sub(at);
            let part = u128::from(stored).saturating_mul(u128::from(data));
            let part = part.checked_div(u128::from(len)).unwrap_or(0);
            let stored = u64::try_from(part).unwrap_or(u64::MAX);
            let place = usize::try_from(number).ok();
            if let Some(place) = place.and_then(|number| self.places.get_mut(number)) {
                place.add(Place { data, stored });
            }
            at = next;
        }
    }

    /// The file in so many columns; none where there is no file.
    fn columns(&self, columns: usize) -> impl Iterator<Item = Place> {
        let places = self.places.len();
        let columns = if places == 0 { 0 } else { columns };
        let at = move |column: usize| {
            let at = column.saturating_mul(places).checked_div(columns);
            at.unwrap_or(0)
        };
        (0..columns).map(move |column| {
            let from = at(column);
            let to = at(column.saturating_add(1)).max(from.saturating_add(1));
            let mut sum = Place::default();
            let part = self.places.get(from..to).unwrap_or_default();
            part.iter().for_each(|&place| sum.add(place));
            sum
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TERMINAL: Bars = Bars {
        width: 40,
        is_ascii: true,
        is_coloured: false,
    };

    #[test]
    fn parts_are_as_long_as_they_are_large() {
        let parts = [("zstd", 75), ("plain", 25), ("lzo", 0)];
        let bars = TERMINAL.parts(&parts.map(|(name, part)| (name.to_owned(), part)));
        // 40 columns: 2, 5 and 9 are taken.
        let bar = |name: &str, marks: usize, percent: &str| {
            format!("  {name:<5}  {:<24} {percent:>5}", "#".repeat(marks))
        };
        let expected = [
            bar("zstd", 18, "75 %"),
            bar("plain", 6, "25 %"),
            bar("lzo", 0, "0 %"),
        ];
        assert_eq!(bars, expected);
    }

    #[test]
    fn a_strip_shows_what_is_stored_where() {
        let mut strip = Strip::default();
        let extent = 131_072;
        strip.add(0, extent, Some(4096));
        strip.add(extent, extent, Some(extent));
        strip.add(2 * extent, extent, None);
        strip.add(3 * extent, extent, Some(extent / 2));
        let [line, legend] = &TERMINAL.strip(&strip)[..] else {
            panic!("two lines");
        };
        // 37 columns for four extents.
        assert_eq!(line.len(), 2 + 37);
        let shown: Vec<char> = line.chars().skip(2).collect();
        assert_eq!(
            [shown[3], shown[12], shown[23], shown[33]],
            ['.', '#', ' ', '-']
        );
        assert!(legend.len() < 40);
    }

    #[test]
    fn a_strip_of_anything_is_short_and_loses_nothing() {
        let mut strip = Strip::default();
        let (mut data, mut at) = (0, 0);
        for number in 0..5000_u64 {
            let len = 4096 * (1 + number % 32);
            strip.add(at, len, Some(len));
            data += len;
            at += len;
        }
        strip.add(at, 1 << 60, None);
        strip.add(at + (1 << 60), 131_072, Some(1));
        assert!(strip.places.len() <= Strip::MOST);
        let sum = |of: fn(&Place) -> u64| strip.places.iter().map(of).sum::<u64>();
        assert_eq!(sum(|place| place.data), data + 131_072);
        // Parts of one byte are rounded down.
        assert!((data..=data + 1).contains(&sum(|place| place.stored)));
        strip.add(u64::MAX - 1, 1, Some(1));
        assert!(strip.places.len() <= Strip::MOST);
        assert_eq!(TERMINAL.strip(&Strip::default())[0], INDENT);
    }
}
