//! The contests of `table.rs` under criterion, for looking at one of them closely:
//!
//! ```sh
//! cargo bench --features peers --bench codecs -- 'zlib decode'
//! ```
#![allow(missing_docs)]

mod support;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use support::contests::contests;
use support::corpus::corpus;

fn codecs(criterion: &mut Criterion) {
    for kind in corpus(4_000_000) {
        for contest in contests(&kind, 0.25) {
            let mut group = criterion.benchmark_group(format!("{}/{}", contest.title, kind.name));
            let bytes: usize = contest.items.iter().sum();
            group.throughput(Throughput::Bytes(bytes as u64));
            group.sample_size(10);
            for mut entry in contest.entries {
                let items = contest.items.len();
                group.bench_function(BenchmarkId::new(entry.name, entry.level), |bencher| {
                    bencher.iter(|| (0..items).map(&mut entry.run).sum::<usize>());
                });
            }
            group.finish();
        }
    }
}

criterion_group!(benches, codecs);
criterion_main!(benches);
