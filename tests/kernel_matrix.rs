//! docs/kernels.svg: what every kernel, and `btrfs receive`, makes of a payload with each finding.
//!
//! The codes are those of payloads, the payloads those of testdata/cases, the outcomes the
//! model's. `BLESS=1` draws the picture again, and writes the table of docs/kernels.md.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "support/cases.rs"]
mod cases;

use std::fmt::Write;
use std::fs;
use std::path::PathBuf;

use btrfs_payload::validate::{Outcome, explanations};
use btrfs_payload::{Behaviour, Kernel, name_releases};
use cases::{Case, digest, read};

/// What a reader makes of a payload, from harmless to worst.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Cell {
    Right,
    Refused,
    NothingWritten,
    Error,
    DependsOnMemory,
    Wrong,
    Undefined,
    Unsafe,
}

impl Cell {
    const ALL: [Self; 8] = [
        Self::Right,
        Self::Refused,
        Self::NothingWritten,
        Self::Error,
        Self::DependsOnMemory,
        Self::Wrong,
        Self::Undefined,
        Self::Unsafe,
    ];

    fn of(case: &Case, outcome: &Outcome) -> Self {
        match outcome {
            Outcome::Data { bytes, .. } if digest(bytes) == case.intended_sha256 => Self::Right,
            Outcome::Data { .. } => Self::Wrong,
            Outcome::Refused(_) => Self::Refused,
            Outcome::NothingWritten => Self::NothingWritten,
            Outcome::ReadError { .. } => Self::Error,
            Outcome::Uninitialised { .. } => Self::Undefined,
            Outcome::DependsOnMemory { .. } => Self::DependsOnMemory,
            Outcome::Unsafe => Self::Unsafe,
            other => panic!("no colour for {other:?}"),
        }
    }

    fn colour(self) -> &'static str {
        match self {
            Self::Right => "#8fd18f",
            Self::Refused => "#b9cfe8",
            Self::NothingWritten => "#dcdcdc",
            Self::Error => "#f2c14e",
            Self::DependsOnMemory => "#f29e4e",
            Self::Wrong => "#e0584f",
            Self::Undefined => "#8e3a8e",
            Self::Unsafe => "#222222",
        }
    }

    fn meaning(self) -> &'static str {
        match self {
            Self::Right => "reads what was meant",
            Self::Refused => "refuses the write",
            Self::NothingWritten => "writes nothing and returns 0",
            Self::Error => "an error when it is read",
            Self::DependsOnMemory => "right or an error, depending on memory",
            Self::Wrong => "other bytes, without an error",
            Self::Undefined => "memory that no decoder wrote, without an error",
            Self::Unsafe => "may come to harm",
        }
    }
}

/// One reader: the kernels that agree on every row, or `btrfs receive`.
struct Column {
    title: String,
    cells: Vec<Cell>,
}

/// The cases that show a code: those with no other error, if there are any.
fn showing<'a>(code: &str, cases: &'a [Case]) -> Vec<&'a Case> {
    let shows = |case: &&Case| case.findings.iter().any(|finding| finding.code == code);
    let with: Vec<_> = cases.iter().filter(shows).collect();
    let alone = |case: &&Case| {
        let mut others = case.findings.iter().filter(|finding| finding.code != code);
        others.all(|finding| finding.severity != "error")
    };
    let only: Vec<_> = with.iter().copied().filter(alone).collect();
    if only.is_empty() { with } else { only }
}

fn columns(rows: &[Vec<&Case>]) -> Vec<Column> {
    let worst = |of: &dyn Fn(&Case) -> Cell| -> Vec<Cell> {
        let row = |cases: &Vec<&Case>| cases.iter().map(|case| of(case)).max().unwrap();
        rows.iter().map(row).collect()
    };
    let mut kernels: Vec<(Vec<Kernel>, Vec<Cell>)> = Vec::new();
    for kernel in Kernel::ALL {
        let of = |case: &Case| Cell::of(case, &case.predict(kernel, case.sector_size));
        let cells = worst(&of);
        match kernels.iter_mut().find(|(_, known)| *known == cells) {
            Some((alike, _)) => alike.push(kernel),
            None => kernels.push((vec![kernel], cells)),
        }
    }
    let column = |(alike, cells): (Vec<Kernel>, Vec<Cell>)| Column {
        title: name_releases(|releases| alike.iter().any(|k| k.behaves_like(releases.first))),
        cells,
    };
    let mut columns: Vec<_> = kernels.into_iter().map(column).collect();
    let receive = |case: &Case| {
        if !case.claims_hold() {
            return Cell::Refused;
        }
        match case.receive() {
            Ok(bytes) if digest(&bytes) == case.intended_sha256 => Cell::Right,
            Ok(_) => Cell::Wrong,
            Err(_) => Cell::Error,
        }
    };
    columns.push(Column {
        title: "btrfs receive, decoding".to_owned(),
        cells: worst(&receive),
    });
    columns
}

/// The picture.
fn draw(codes: &[&str], columns: &[Column]) -> String {
    const ROW: usize = 16;
    const LEFT: usize = 230;
    const WIDE: usize = 34;
    const TOP: usize = 330;
    let below = TOP + codes.len() * ROW;
    let height = below + 20 + Cell::ALL.len() * ROW + 10;
    let width = LEFT + columns.len() * WIDE + 130;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
         font-family=\"sans-serif\" font-size=\"11\">\n\
         <title>What kernels and btrfs receive make of payloads with findings</title>\n\
         <rect width=\"{width}\" height=\"{height}\" fill=\"white\"/>\n"
    );
    let mut text = |x: usize, y: usize, more: &str, words: &str| {
        writeln!(svg, "<text x=\"{x}\" y=\"{y}\"{more}>{words}</text>").unwrap();
    };
    for (number, column) in columns.iter().enumerate() {
        let x = LEFT + number * WIDE + 20;
        let turned = format!(" transform=\"rotate(-60 {x} {})\"", TOP - 8);
        text(x, TOP - 8, &turned, &column.title);
    }
    for (row, code) in codes.iter().enumerate() {
        text(10, TOP + row * ROW + 12, "", code);
    }
    for (number, cell) in Cell::ALL.into_iter().enumerate() {
        text(
            LEFT + WIDE,
            below + 20 + number * ROW + 12,
            "",
            cell.meaning(),
        );
    }
    let mut square = |x: usize, y: usize, cell: Cell| {
        let colour = cell.colour();
        let (wide, high) = (WIDE - 2, ROW - 2);
        writeln!(
            svg,
            "<rect x=\"{x}\" y=\"{y}\" width=\"{wide}\" height=\"{high}\" fill=\"{colour}\"/>"
        )
        .unwrap();
    };
    for (number, column) in columns.iter().enumerate() {
        for (row, &cell) in column.cells.iter().enumerate() {
            square(LEFT + number * WIDE, TOP + row * ROW, cell);
        }
    }
    for (number, cell) in Cell::ALL.into_iter().enumerate() {
        square(LEFT, below + 20 + number * ROW, cell);
    }
    svg + "</svg>\n"
}

fn docs(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("docs")
        .join(name)
}

/// Holds a file against what it should be, or writes it.
fn agrees(name: &str, right: &str) {
    if std::env::var_os("BLESS").is_some() {
        fs::write(docs(name), right).unwrap();
    }
    let is = fs::read_to_string(docs(name)).unwrap();
    assert!(
        is == right,
        "docs/{name} is not up to date; BLESS=1 writes it"
    );
}

#[test]
fn the_picture_is_what_the_model_says() {
    let cases = read("cases");
    let codes: Vec<_> = explanations().iter().map(|e| e.code).collect();
    let rows: Vec<_> = codes.iter().map(|code| showing(code, &cases)).collect();
    let columns = columns(&rows);
    agrees("kernels.svg", &draw(&codes, &columns));
}

#[test]
fn the_table_is_that_of_the_behaviours() {
    let mut table = "| behaviour | since | also in | commit, source | since then | before |\n\
                     | --- | --- | --- | --- | --- | --- |\n"
        .to_owned();
    for behaviour in Behaviour::ALL {
        let change = behaviour.change();
        let stable = change.stable.iter().map(ToString::to_string);
        let builds = change
            .builds
            .iter()
            .map(|build| format!("{build} of Ubuntu"));
        let also: Vec<_> = stable.chain(builds).collect();
        writeln!(
            table,
            "| `{}` | {} | {} | {}: {} | {} | {} |",
            change.name,
            change.mainline,
            also.join(", "),
            change.commit,
            change.source,
            change.since,
            change.before
        )
        .unwrap();
    }
    let is = fs::read_to_string(docs("kernels.md")).unwrap();
    let (start, end) = ("<!-- behaviours -->\n", "<!-- end -->\n");
    let (before, rest) = is.split_once(start).unwrap();
    let (_, after) = rest.split_once(end).unwrap();
    agrees("kernels.md", &format!("{before}{start}{table}{end}{after}"));
}
