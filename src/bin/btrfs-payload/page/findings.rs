//! Findings, by their codes: a backup may have millions, and a page stays one that can be mailed.

use std::collections::BTreeMap;

use btrfs_payload::validate::Severity;

use super::document::Page;
use super::text::Text;
use crate::explain;
use crate::output::{add, count};

/// Places shown of one code.
const PLACES: usize = 20;

/// What was found, in all inputs.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    by_code: BTreeMap<&'static str, Found>,
    /// Findings that were counted by somebody else, who does not say their codes.
    others: u64,
}

/// What was found under one code.
#[derive(Debug)]
struct Found {
    severity: Severity,
    number: u64,
    places: Vec<Place>,
}

/// Where it was found.
#[derive(Debug)]
pub(crate) struct Place {
    /// The file, or what else it is in.
    pub(crate) name: String,
    /// Where in that.
    pub(crate) offsets: String,
    /// What is there, and what was expected.
    pub(crate) message: String,
}

impl Findings {
    /// `place` is asked where there is room to show it.
    pub(crate) fn add(
        &mut self,
        code: &'static str,
        severity: Severity,
        place: impl FnOnce() -> Place,
    ) {
        let found = self.by_code.entry(code).or_insert_with(|| Found {
            severity,
            number: 0,
            places: Vec::new(),
        });
        add(&mut found.number, 1);
        found.severity = found.severity.max(severity);
        if found.places.len() < PLACES {
            found.places.push(place());
        }
    }

    /// So many more, of which the codes are not known.
    pub(crate) fn add_others(&mut self, number: u64) {
        add(&mut self.others, number);
    }
}

impl Page {
    /// Findings, errors first: each with its rule, what happens and what to do, then the places.
    pub(crate) fn findings(&mut self, findings: &Findings) {
        let mut all: Vec<_> = findings.by_code.iter().collect();
        if all.is_empty() {
            return;
        }
        self.heading("Findings");
        all.sort_by_key(|(_, found)| std::cmp::Reverse((found.severity, found.number)));
        for (code, found) in all {
            self.found(code, found);
        }
        if findings.others > 0 {
            let others = count(findings.others, "more finding");
            self.note(&format!(
                "{others} in commands that have too many to list them all."
            ));
        }
    }

    fn found(&mut self, code: &str, found: &Found) {
        let (severity, number) = (found.severity, found.number);
        let times = match number {
            1 => "once".to_owned(),
            _ => format!("{number} times"),
        };
        self.write(format_args!(
            "<section class=\"finding {severity}\">\n<h3><span>{severity}</span> {} \
             <small>{times}</small></h3>\n",
            Text(code)
        ));
        if let Some((explanation, advice)) = explain::of(code, severity) {
            self.write(format_args!("<dl>\n"));
            for (what, text) in [
                ("Rule", explanation.rule),
                ("If broken", explanation.effect),
                ("To do", advice),
            ] {
                self.write(format_args!("<dt>{what}</dt><dd>{}</dd>\n", Text(text)));
            }
            self.write(format_args!("</dl>\n"));
        }
        self.write(format_args!("<ul class=\"places\">\n"));
        for place in &found.places {
            let [name, offsets, message] =
                [&place.name, &place.offsets, &place.message].map(|text| Text(text));
            self.write(format_args!(
                "<li><b>{name}</b> <span>{offsets}</span><br>{message}</li>\n"
            ));
        }
        self.write(format_args!("</ul>\n"));
        let shown = u64::try_from(found.places.len()).unwrap_or(u64::MAX);
        if number > shown {
            let more = number.saturating_sub(shown);
            self.note(&format!("{more} more; --format json lists them."));
        }
        self.write(format_args!("</section>\n"));
    }
}
