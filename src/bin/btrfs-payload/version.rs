//! What `--version` says: `-V` its first line, `--version --verbose` the compiled features too.

use std::ffi::OsStr;
use std::io::{self, Write};

use btrfs_payload::Kernel;

pub(crate) fn long() -> String {
    format!(
        "{}\nzlib: {}\nlzo: btrfs-payload-lzo {0}\nzstd: libzstd {}\nkernels: {} to {}",
        env!("CARGO_PKG_VERSION"),
        btrfs_payload_zlib::LIBRARY,
        btrfs_payload_zstd::library_version(),
        Kernel::OLDEST,
        Kernel::NEWEST,
    )
}

/// The features of Cargo.toml, and whether this program has them.
const FEATURES: [(&str, bool); 4] = [
    ("cli", cfg!(feature = "cli")),
    ("libdeflate", cfg!(feature = "libdeflate")),
    ("peers", cfg!(feature = "peers")),
    ("serde", cfg!(feature = "serde")),
];

/// True where all of it was asked for: clap stops at the version, and reads no further.
pub(crate) fn is_verbose() -> bool {
    std::env::args_os().any(|argument| says_verbose(&argument))
}

/// All of it.
pub(crate) fn print_verbose() {
    let features = FEATURES.iter().filter(|(_, compiled)| *compiled);
    let features: Vec<&str> = features.map(|(name, _)| *name).collect();
    let (long, features) = (long(), features.join(", "));
    // Whoever cannot be told is not waited for.
    let _ = writeln!(io::stdout(), "btrfs-payload {long}\nfeatures: {features}");
}

/// `--verbose`, or `-v` with or without other letters.
fn says_verbose(argument: &OsStr) -> bool {
    let argument = argument.to_string_lossy();
    let letters = argument.strip_prefix('-').unwrap_or_default();
    argument == "--verbose" || (!letters.starts_with('-') && letters.contains('v'))
}
