//! A directory of many long names: packed, read, hashed and unpacked, in no more memory than is said.
#![cfg(target_os = "linux")]
#![allow(unsafe_code)] // an allocator has no other face
#![allow(clippy::unwrap_used)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::io::Seek;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};

use btrfs_payload::pack::{self, Builder, Metadata};
use btrfs_payload::transform;
use btrfs_payload::tree::{self, Chain, Data, Options, UnpackOptions, tree_digest, unpack};

const NAMES: usize = 100_000;
/// The longest that there are (`NAME_MAX`).
const NAME_LEN: usize = 255;

/// For everything but names: batches and results on their way, encoders.
const ROOM: usize = 8 << 20;

const JOBS: NonZeroUsize = NonZeroUsize::new(2).unwrap();

/// The system's allocator; knows how much is out, and how much there was at the most.
struct Counting;

static OUT: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);

fn taken(bytes: usize) {
    let out = OUT.fetch_add(bytes, Ordering::Relaxed) + bytes;
    MOST.fetch_max(out, Ordering::Relaxed);
}

// SAFETY: every call is passed on as it is to the system's allocator, which keeps the contract;
// counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        taken(layout.size());
        // SAFETY: the caller's duties are the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        OUT.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's duties are the same, and the pointer is the system's.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        taken(new_size);
        OUT.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's duties are the same, and the pointer is the system's.
        unsafe { System.realloc(pointer, layout, new_size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// What `work` gives, and how many bytes it needed at a time.
fn most<T>(work: impl FnOnce() -> T) -> (T, usize) {
    let before = OUT.load(Ordering::Relaxed);
    MOST.store(before, Ordering::Relaxed);
    let done = work();
    (done, MOST.load(Ordering::Relaxed) - before)
}

/// The only test here: others would take memory meanwhile.
#[test]
fn many_names_in_one_directory_take_as_much_memory_as_is_said() {
    let stream = tempfile::tempfile().unwrap();
    let metadata = Metadata::new(0o644);
    let ((stream, packed), needed) = most(|| {
        let mut options = pack::Options::new("many");
        options.jobs = JOBS;
        let mut tree = Builder::new(stream, options).unwrap();
        for number in 0..NAMES {
            let name = format!("{number:0NAME_LEN$}");
            tree.add_file(&name, &metadata).unwrap().finish().unwrap();
        }
        tree.finish().unwrap()
    });
    let said = NAMES * (pack::BYTES_PER_NAME + NAME_LEN) + ROOM;
    assert!(needed <= said, "pack: {needed} bytes, {said} are said");
    assert_eq!(packed.files, 100_000);

    let (chain, needed) = most(|| {
        let mut chain = Chain::new(Options::default());
        let mut stream = stream.try_clone().unwrap();
        stream.rewind().unwrap();
        chain.read(stream).unwrap();
        chain
    });
    let each = usize::try_from(tree::BYTES_PER_NAME + transform::BYTES_PER_NAME).unwrap();
    let said = NAMES * (each + 2 * NAME_LEN) + ROOM;
    assert!(needed <= said, "chain: {needed} bytes, {said} are said");

    let tree = &chain.result(None).unwrap().tree;
    let inputs = [stream];
    let data = Data::new(&chain, &inputs);
    assert_eq!(tree_digest(tree, &data, JOBS).unwrap(), packed.digest);

    let to = tempfile::tempdir().unwrap();
    let mut options = UnpackOptions::default();
    options.sync = false;
    let unpacked = unpack(tree, &data, &[], to.path(), &options, JOBS, |_| {}).unwrap();
    assert_eq!(unpacked.files, packed.files);
    assert_eq!(std::fs::read_dir(to.path()).unwrap().count(), NAMES);
}
