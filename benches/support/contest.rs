//! Several contestants doing the same work on the same extents, turn by turn.

use std::time::Duration;

/// One contestant.
pub struct Entry {
    /// Who: `ours`, or a library.
    pub name: &'static str,
    /// Level or variant.
    pub level: String,
    /// Does item number `n` and returns the size of the result, bytes.
    pub run: Box<dyn FnMut(usize) -> usize>,
}

/// The work and who does it.
pub struct Contest {
    /// What is done, for example `zlib encode 6`.
    pub title: String,
    /// Content of how many bytes each item stands for.
    pub items: Vec<usize>,
    /// Who takes part. The first that is named like this is what the others are compared with.
    pub reference: &'static str,
    /// The contestants.
    pub entries: Vec<Entry>,
}

/// How a contestant did.
#[derive(Debug, Clone)]
pub struct Score {
    /// Who.
    pub name: &'static str,
    /// Level or variant.
    pub level: String,
    /// Median of the rounds: megabytes (10^6) of content a second of processor time.
    pub speed: f64,
    /// Size of the results by size of the content.
    pub size: f64,
    /// Median of the rounds' ratios of speeds to the reference; `None` without one.
    pub ratio: Option<f64>,
}

impl Contest {
    /// A contest without contestants.
    pub fn new(title: impl Into<String>, reference: &'static str, items: Vec<usize>) -> Self {
        Self {
            title: title.into(),
            items,
            reference,
            entries: Vec::new(),
        }
    }

    /// With one more contestant.
    #[must_use]
    pub fn with(
        mut self,
        name: &'static str,
        level: impl ToString,
        run: impl FnMut(usize) -> usize + 'static,
    ) -> Self {
        self.entries.push(Entry {
            name,
            level: level.to_string(),
            run: Box::new(run),
        });
        self
    }

    /// Runs everybody `rounds` times, five times as often where a round takes less than a
    /// quarter of a second, taking turns, after a round that does not count.
    ///
    /// Processor time of the thread is measured, which another process takes nothing of; what
    /// both do to the caches hits all contestants alike, as they take turns.
    pub fn run(&mut self, rounds: usize) -> Vec<Score> {
        let content: usize = self.items.iter().sum();
        let mut times = vec![Vec::new(); self.entries.len()];
        let mut sizes = vec![0; self.entries.len()];
        let mut rounds = rounds;
        let mut round = 0;
        let start = processor_time();
        while round <= rounds {
            for (number, entry) in self.entries.iter_mut().enumerate() {
                let start = processor_time();
                sizes[number] = (0..self.items.len()).map(&mut entry.run).sum();
                let time = processor_time() - start;
                if round > 0 {
                    times[number].push(time.as_secs_f64());
                }
            }
            if round == 0 && processor_time() - start < Duration::from_millis(250) {
                rounds *= 5;
            }
            round += 1;
        }
        let reference = self
            .entries
            .iter()
            .position(|entry| entry.name == self.reference);
        let score = |(number, entry): (usize, &Entry)| Score {
            name: entry.name,
            level: entry.level.clone(),
            speed: content as f64 / median(times[number].iter().copied()) / 1e6,
            size: sizes[number] as f64 / content as f64,
            ratio: reference.map(|reference| {
                let pairs = times[reference].iter().zip(&times[number]);
                median(pairs.map(|(reference, own)| reference / own))
            }),
        };
        self.entries.iter().enumerate().map(score).collect()
    }
}

/// The middle value, the upper of two.
pub fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Processor time that this thread has used.
pub fn processor_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(
        time.tv_sec.try_into().unwrap(),
        time.tv_nsec.try_into().unwrap(),
    )
}
