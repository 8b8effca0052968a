//! Tables. Where there is little room each row is a card, and each cell has its heading beside it.

use super::bars::part_of;
use super::document::Page;
use super::ink::Ink;
use super::text::Text;

/// What is in a cell.
#[derive(Debug)]
pub(crate) enum Cell {
    /// A number: on the right.
    Number(String),
    /// A name or a place: its letters all have one width, and it may be long.
    Name(String),
    /// A text after a patch of colour.
    Ink(Ink, String),
    /// A bar: parts with their colours, of a whole; and how far to both sides the truth may be.
    Bar {
        parts: Vec<(Ink, u64)>,
        whole: u64,
        error: u64,
    },
    /// Good or bad, in a word.
    Verdict(bool, String),
}

impl Page {
    pub(crate) fn table<const N: usize>(
        &mut self,
        headings: [&str; N],
        rows: impl IntoIterator<Item = [Cell; N]>,
    ) {
        self.write(format_args!("<table>\n<thead><tr>"));
        let rows: Vec<[Cell; N]> = rows.into_iter().collect();
        for (column, heading) in headings.iter().enumerate() {
            let first = rows.first().and_then(|row| row.get(column));
            let class = first.map_or("", Cell::class);
            let heading = Text(heading);
            self.write(format_args!(
                "<th scope=\"col\" class=\"{class}\">{heading}</th>"
            ));
        }
        self.write(format_args!("</tr></thead>\n<tbody>\n"));
        for row in &rows {
            self.write(format_args!("<tr>"));
            for (heading, cell) in headings.iter().zip(row) {
                let (class, heading) = (cell.class(), Text(heading));
                self.write(format_args!("<td class=\"{class}\" data-of=\"{heading}\">"));
                self.cell(cell);
                self.write(format_args!("</td>"));
            }
            self.write(format_args!("</tr>\n"));
        }
        self.write(format_args!("</tbody>\n</table>\n"));
    }

    fn cell(&mut self, cell: &Cell) {
        match cell {
            Cell::Number(text) | Cell::Name(text) | Cell::Verdict(_, text) => {
                self.write(format_args!("{}", Text(text)));
            }
            Cell::Ink(ink, text) => {
                let (class, text) = (ink.class(), Text(text));
                self.write(format_args!("<i class=\"{class}\"></i>{text}"));
            }
            Cell::Bar {
                parts,
                whole,
                error,
            } => {
                self.write(format_args!("<div class=\"bar\" aria-hidden=\"true\">"));
                let mut end: u64 = 0;
                for (ink, part) in parts {
                    end = end.saturating_add(*part);
                    let (class, width) = (ink.class(), part_of(*part, *whole));
                    self.write(format_args!(
                        "<i class=\"{class}\" style=\"width:{width:.3}%\"></i>"
                    ));
                }
                if *error > 0 {
                    let from = part_of(end.saturating_sub(*error), *whole);
                    let width = part_of(end.saturating_add(*error), *whole) - from;
                    self.write(format_args!(
                        "<i class=\"error\" style=\"left:{from:.3}%;width:{width:.3}%\"></i>"
                    ));
                }
                self.write(format_args!("</div>"));
            }
        }
    }
}

impl Cell {
    fn class(&self) -> &'static str {
        match self {
            Self::Number(_) => "number",
            Self::Name(_) => "name",
            Self::Ink(..) => "ink",
            Self::Bar { .. } => "wide",
            Self::Verdict(true, _) => "good",
            Self::Verdict(false, _) => "bad",
        }
    }
}
