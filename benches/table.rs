//! Prints what README.md shows: every contest, ours beside the peers, from one run.
//!
//! ```sh
//! cargo bench --features peers --bench table -- --csv benches/results.csv > benches/results.md
//! ```
//!
//! `--only WORD` takes the contests with that word in their title, `--kind WORD` one kind of
//! content, `--rounds N` and `--share X` say how thoroughly to measure.
#![allow(missing_docs, clippy::print_stdout)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::fmt::Write as _;

use support::contest::Score;
use support::contests::contests;
use support::corpus::corpus;

/// What the command line asks for.
struct Args {
    csv: Option<String>,
    only: Option<String>,
    kind: Option<String>,
    rounds: usize,
    share: f64,
}

impl Args {
    fn parse() -> Self {
        let mut parsed = Self {
            csv: None,
            only: None,
            kind: None,
            rounds: 7,
            share: 1.0,
        };
        let mut args = std::env::args().skip(1);
        while let Some(arg) = args.next() {
            let mut value = || args.next().expect("a value");
            match arg.as_str() {
                "--csv" => parsed.csv = Some(value()),
                "--only" => parsed.only = Some(value()),
                "--kind" => parsed.kind = Some(value()),
                "--rounds" => parsed.rounds = value().parse().expect("a number"),
                "--share" => parsed.share = value().parse().expect("a number"),
                // `cargo bench` says so.
                "--bench" => {}
                // `cargo test --benches` runs this to see that it works.
                "--test" => (parsed.rounds, parsed.share) = (1, 0.01),
                other => panic!("{other}? see the beginning of benches/table.rs"),
            }
        }
        parsed
    }
}

fn main() {
    let args = Args::parse();
    let wanted = |choice: &Option<String>, name: &str| {
        choice
            .as_ref()
            .is_none_or(|choice| name.contains(choice.as_str()))
    };
    let mut rows: Vec<(String, Vec<(&str, Score)>)> = Vec::new();
    let mut csv = String::from("contest,kind,who,level,MB/s,size,ratio to reference\n");
    for kind in corpus(16_000_000) {
        if !wanted(&args.kind, kind.name) {
            continue;
        }
        for mut contest in contests(&kind, args.share) {
            if !wanted(&args.only, &contest.title) {
                continue;
            }
            eprint_progress(&contest.title, kind.name);
            for score in contest.run(args.rounds) {
                let ratio = score
                    .ratio
                    .map_or_else(String::new, |ratio| format!("{ratio:.3}"));
                writeln!(
                    csv,
                    "\"{}\",{},{},{},{:.1},{:.4},{ratio}",
                    contest.title, kind.name, score.name, score.level, score.speed, score.size
                )
                .unwrap();
                let same = |title: &str, other: &Score| {
                    *title == contest.title
                        && (other.name, &other.level) == (score.name, &score.level)
                };
                match rows
                    .iter_mut()
                    .find(|(title, scores)| same(title, &scores[0].1))
                {
                    Some((_, scores)) => scores.push((kind.name, score)),
                    None => rows.push((contest.title.clone(), vec![(kind.name, score)])),
                }
            }
        }
    }
    print_table(&rows);
    if let Some(path) = args.csv {
        std::fs::write(path, csv).expect("the CSV file");
    }
}

#[allow(clippy::print_stderr)]
fn eprint_progress(title: &str, kind: &str) {
    eprintln!("{kind}: {title}");
}

/// One row a contestant: the first kind of content in full, of the others the ratio only.
fn print_table(rows: &[(String, Vec<(&str, Score)>)]) {
    let Some((_, first)) = rows.first() else {
        return;
    };
    print!("| contest | who | MB/s | size | ratio: {}", first[0].0);
    first[1..].iter().for_each(|(kind, _)| print!(" | {kind}"));
    println!(" |");
    println!("| --- | --- {}|", "| ---: ".repeat(2 + first.len()));
    let mut last = "";
    for (title, scores) in rows {
        let (_, score) = &scores[0];
        let shown = if title == last { "" } else { title };
        last = title;
        print!(
            "| {shown} | {} {} | {:.0} | {:.4}",
            score.name, score.level, score.speed, score.size
        );
        for (_, score) in scores {
            match score.ratio {
                Some(ratio) => print!(" | {ratio:.2}"),
                None => print!(" | "),
            }
        }
        println!(" |");
    }
}
