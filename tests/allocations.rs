//! Nothing is allocated per extent once a preparer or a judge has seen a few.
//!
//! What is counted goes through Rust's allocator. The C libraries (libdeflate, libzstd) allocate
//! when their contexts are made and keep those.
#![allow(unsafe_code)] // an allocator has no other face
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use btrfs_payload::prepare::{Keep, Level, Options, Prepared, Preparer};
use btrfs_payload::rules::Codec;
use btrfs_payload::validate::Validator;

/// The system's allocator, with a count of its calls for each thread.
struct Counting;

thread_local! {
    static CALLS: Cell<u64> = const { Cell::new(0) };
}

fn count() {
    // Fails only while the thread ends, when nobody counts any more.
    let _ = CALLS.try_with(|calls| calls.set(calls.get() + 1));
}

// SAFETY: every call is passed on as it is to the system's allocator, which keeps the contract;
// counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's duties are the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's duties are the same, and the pointer is the system's.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's duties are the same.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        count();
        // SAFETY: the caller's duties are the same, and the pointer is the system's.
        unsafe { System.realloc(pointer, layout, new_size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Allocations of this thread while `work` runs.
fn allocations(work: impl FnOnce()) -> u64 {
    let before = CALLS.get();
    work();
    CALLS.get() - before
}

/// Extents that differ in length and in how well they shrink; the last does not at all.
fn extents() -> Vec<Vec<u8>> {
    let mut state = 1_u32;
    let mut noise = move || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    };
    let extent = |(number, len): (usize, usize)| {
        let line = |i: usize| format!("{i}: extent {number}, {}\n", i * i * 2_654_435_761);
        let mut data: Vec<u8> = (0..).flat_map(|i| line(i).into_bytes()).take(len).collect();
        let noisy = len * number / 6;
        data[..noisy].fill_with(&mut noise);
        data
    };
    let lengths = [131_072, 5000, 131_072, 65_536, 3000, 131_072, 131_072];
    lengths.into_iter().enumerate().map(extent).collect()
}

fn levels(codec: Codec) -> Vec<Level> {
    let numbers: &[i32] = match codec {
        Codec::Zlib => &[1, 3, 6, 9],
        // Level 9 is lzokay-native's compressor, which returns a new vector for each sector.
        Codec::Lzo => &[1],
        Codec::Zstd => &[-5, 1, 3, 9, 15, 19],
    };
    let numbers = numbers.iter().map(|&number| Level::Number(number));
    numbers
        .chain([Level::Default, Level::Smallest, Level::Auto])
        .collect()
}

#[test]
fn the_counter_counts() {
    let one = allocations(|| drop(std::hint::black_box(Vec::<u8>::with_capacity(100))));
    assert_eq!(one, 1);
}

#[test]
fn a_preparer_allocates_nothing_per_extent() {
    let extents = extents();
    let mut all = Vec::new();
    for codec in Codec::ALL {
        all.extend(levels(codec).into_iter().map(|level| vec![(codec, level)]));
    }
    for level in [Level::Default, Level::Auto] {
        all.push(Codec::ALL.map(|codec| (codec, level)).to_vec());
    }
    for methods in all {
        let name = format!("{methods:?}");
        let mut options = Options::new(Codec::Zlib, Level::Default);
        options.methods = methods;
        options.keep = Keep::Smaller;
        let mut preparer = Preparer::new(&options).unwrap();
        let mut encoded = 0;
        let mut round = || {
            for extent in &extents {
                let prepared = preparer.prepare(extent).unwrap();
                encoded += u32::from(matches!(prepared, Prepared::Encoded(_)));
            }
        };
        // Buffers grow to their sizes.
        round();
        let count = allocations(|| (0..3).for_each(|_| round()));
        assert_eq!(count, 0, "{name}");
        assert!(encoded >= 4 * 5, "{name} encodes {encoded}");
    }
}

#[test]
fn a_judge_allocates_nothing_per_sound_payload() {
    for codec in Codec::ALL {
        for sector_size in [4096, 65536] {
            let mut options = Options::new(codec, Level::Default).sector_size(sector_size);
            options.keep = Keep::Smaller;
            let mut preparer = Preparer::new(&options).unwrap();
            let payloads: Vec<_> = extents()
                .iter()
                .filter_map(|extent| match preparer.prepare(extent).unwrap() {
                    Prepared::Encoded(extent) => Some(extent),
                    _ => None,
                })
                .collect();
            assert!(payloads.len() >= 5, "{codec}");
            let mut validator = Validator::new();
            let mut round = || {
                for extent in &payloads {
                    let report =
                        validator.validate(extent.payload(), extent.fields(), &options.target);
                    assert!(report.findings().is_empty());
                }
            };
            round();
            let count = allocations(|| (0..3).for_each(|_| round()));
            assert_eq!(count, 0, "{codec}, {sector_size}-byte sectors");
        }
    }
}
