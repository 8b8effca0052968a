//! The example for producers, received.

use btrfs_payload::send_stream::{CommandKind, Reader};

use crate::kernel::receive;
use crate::support::{self, Options};

#[path = "../../examples/write_stream.rs"]
#[allow(dead_code)] // its `main`
mod write_stream;

#[test]
fn the_example_is_received() {
    let mut stream = Vec::new();
    write_stream::write_stream(&mut stream).unwrap();
    let kinds: Vec<_> = Reader::new(&stream[..])
        .map(|raw| {
            let raw = raw.unwrap();
            assert_eq!(raw.issues().collect::<Vec<_>>(), []);
            raw.kind().unwrap()
        })
        .collect();
    let count = |kind| kinds.iter().filter(|k| **k == kind).count();
    // 340,000 bytes are three extents.
    assert_eq!(count(CommandKind::EncodedWrite), 3);
    assert_eq!(count(CommandKind::Write), 1);

    let Some(fs) = support::btrfs("the_example_is_received", &Options::default()) else {
        return;
    };
    receive(&stream, &[], &fs);
    fs.remount();
    for (name, data) in write_stream::files() {
        let path = fs.join("example").join(name);
        assert!(std::fs::read(path).unwrap() == data, "{name}");
    }
}
