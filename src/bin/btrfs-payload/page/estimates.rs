//! What compressing again would give: a row for each codec and level.

use super::bars::percent;
use super::document::Page;
use super::ink::Ink;
use super::table::Cell;
use crate::estimates::Estimated;
use crate::output::{Output, count};

impl Page {
    /// Estimates from so many pieces, beside the bytes that are on disk now.
    pub(crate) fn estimates(
        &mut self,
        estimates: &[Estimated],
        samples: u64,
        on_disk: u64,
        output: &Output,
    ) {
        self.heading("What recompressing would give");
        let most = estimates.iter().map(|estimated| {
            let error = estimated.error.unwrap_or(0);
            estimated.bytes.saturating_add(error)
        });
        let whole = most.max().unwrap_or(0).max(on_disk);
        let now = [
            Cell::Ink(Ink::Plain, "as it is".to_owned()),
            Cell::Bar {
                parts: vec![(Ink::Plain, on_disk)],
                whole,
                error: 0,
            },
            Cell::Number(output.size(on_disk)),
            Cell::Number("100.0 %".to_owned()),
            Cell::Number("none".to_owned()),
        ];
        let rows = estimates.iter().map(|estimated| {
            let ink = Ink::of(Some(estimated.codec));
            let error = match estimated.error {
                Some(0) => String::new(),
                Some(error) => format!(" \u{b1} {}", output.size(error)),
                None => ", error unknown".to_owned(),
            };
            [
                Cell::Ink(ink, estimated.method.clone()),
                Cell::Bar {
                    parts: vec![(ink, estimated.bytes)],
                    whole,
                    error: estimated.error.unwrap_or(0),
                },
                Cell::Number(format!("{}{error}", output.size(estimated.bytes))),
                Cell::Number(percent(estimated.bytes, on_disk)),
                Cell::Number(estimated.time_text()),
            ]
        });
        let rows = std::iter::once(now).chain(rows);
        self.table(["level", "beside now", "on disk", "of now", "time"], rows);
        self.note(&format!(
            "From a sample of {}. In 95 of 100 cases the truth is not further away than the error; \
             the time is that of this machine, as busy as it was.",
            count(samples, "piece")
        ));
    }
}
