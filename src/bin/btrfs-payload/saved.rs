//! Bytes of data, and what they became.

use crate::output::{Output, add, percent};

#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Saved {
    /// Without holes.
    pub(crate) data: u64,
    pub(crate) stored: u64,
}

impl Saved {
    pub(crate) fn add(&mut self, data: u64, stored: u64) {
        add(&mut self.data, data);
        add(&mut self.stored, stored);
    }

    /// `444.0 KiB for 904.2 KiB of data, 51 % saved`.
    pub(crate) fn text(self, output: &Output) -> String {
        let Self { data, stored } = self;
        let [of_data, of_stored] = [data, stored].map(|bytes| output.size(bytes));
        let saved = percent(data.saturating_sub(stored), data);
        format!("{of_stored} for {of_data} of data, {saved} saved")
    }
}
