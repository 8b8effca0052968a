//! A map of bytes beside the explanation of each part: what is clicked on in the map is shown
//! there.

use std::collections::BTreeMap;

use super::document::Page;
use super::ink::Ink;
use super::text::Text;

/// Cells in a row of the map.
const WIDTH: usize = 64;
/// Rows at the most; of long input a cell stands for several bytes.
const HEIGHT: usize = 48;
/// Parts, and remarks, that are listed.
const LISTED: usize = 1500;

/// A part of the bytes, or a remark about one.
#[derive(Debug)]
pub(crate) enum Line {
    Part {
        ink: Ink,
        /// First byte, and the one after the last.
        start: usize,
        end: usize,
        /// Where it begins, in words.
        place: String,
        /// Its first bytes.
        raw: String,
        meaning: String,
    },
    /// What is wrong, and at which byte if it is at one.
    Remark { at: Option<usize>, text: String },
}

/// What a cell of the map shows, and the line that explains it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Cell {
    ink: Ink,
    line: usize,
    /// Every second part of a colour: neighbours are told apart.
    odd: bool,
}

impl Page {
    /// So many bytes, of which `lines` has all parts in their order.
    pub(crate) fn explained(&mut self, len: usize, lines: &[Line]) {
        self.write(format_args!("<div class=\"beside\">\n"));
        self.map(len, lines);
        self.write(format_args!("<ol class=\"parts\">\n"));
        for (number, line) in lines.iter().take(LISTED).enumerate() {
            match line {
                Line::Part {
                    ink,
                    place,
                    raw,
                    meaning,
                    ..
                } => {
                    let (class, [place, raw, meaning]) =
                        (ink.class(), [place, raw, meaning].map(|text| Text(text)));
                    self.write(format_args!(
                        "<li id=\"p{number}\"><i class=\"{class}\"></i><code>{place}</code> \
                         {meaning}<br><code class=\"raw\">{raw}</code></li>\n"
                    ));
                }
                Line::Remark { text, .. } => self.write(format_args!(
                    "<li id=\"p{number}\" class=\"wrong\">{}</li>\n",
                    Text(text)
                )),
            }
        }
        self.write(format_args!("</ol>\n</div>\n"));
        if let Some(more) = lines.len().checked_sub(LISTED).filter(|&more| more > 0) {
            self.note(&format!("{more} more; --format json lists them."));
        }
    }

    fn map(&mut self, len: usize, lines: &[Line]) {
        let per_cell = len.div_ceil(WIDTH * HEIGHT).max(1);
        let cells = cells(len, per_cell, lines);
        let height = cells.len().div_ceil(WIDTH).max(1);
        self.write(format_args!(
            "<div class=\"map\">\n<svg viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" \
             aria-label=\"map of the bytes\">\n"
        ));
        for (y, row) in cells.chunks(WIDTH).enumerate() {
            let mut x = 0_usize;
            for run in row.chunk_by(|a, b| a == b) {
                if let Some(Some(Cell { ink, line, odd })) = run.first() {
                    let (class, width) = (ink.class(), run.len());
                    let odd = if *odd { " odd" } else { "" };
                    let line = (*line).min(LISTED.saturating_sub(1));
                    self.write(format_args!(
                        "<a href=\"#p{line}\"><rect class=\"{class}{odd}\" x=\"{x}\" y=\"{y}\" \
                         width=\"{width}\" height=\"1\"></rect></a>"
                    ));
                }
                x = x.saturating_add(run.len());
            }
            self.write(format_args!("\n"));
        }
        let of = match per_cell {
            1 => "A square is a byte".to_owned(),
            _ => format!("A square is {per_cell} bytes"),
        };
        self.write(format_args!(
            "</svg>\n<p class=\"note\">{of}, a row {}. A click leads to what it is.</p>\n</div>\n",
            per_cell.saturating_mul(WIDTH)
        ));
    }
}

/// The cells: of several parts in one, the one that is harder to find elsewhere.
fn cells(len: usize, per_cell: usize, lines: &[Line]) -> Vec<Option<Cell>> {
    let mut cells: Vec<Option<Cell>> = vec![None; len.div_ceil(per_cell)];
    let mut odd: BTreeMap<Ink, bool> = BTreeMap::new();
    for (number, line) in lines.iter().enumerate() {
        let (ink, start, end) = match line {
            Line::Part {
                ink, start, end, ..
            } => (*ink, *start, *end),
            Line::Remark { at: Some(at), .. } => (Ink::Broken, *at, at.saturating_add(1)),
            Line::Remark { at: None, .. } => continue,
        };
        let cell = |byte: usize| byte.checked_div(per_cell).unwrap_or(0);
        let end = end.div_ceil(per_cell).min(cells.len());
        let odd = odd.entry(ink).or_default();
        *odd = !*odd;
        let new = Cell {
            ink,
            line: number,
            odd: *odd,
        };
        for cell in cells.get_mut(cell(start)..end).into_iter().flatten() {
            if cell.is_none_or(|old| old.ink < ink) {
                *cell = Some(new);
            }
        }
    }
    cells
}
