//! Submits generated payloads to the running kernel, reads them back and compares with what
//! [`predict`](btrfs_payload::validate::predict) says of it: the error number, the number of
//! good bytes, every byte.
//!
//! ```text
//! cargo test --release --test live_kernel -- --cases 1000000 --codec lzo --seed 7
//! cargo test --release --test live_kernel -- --codec lzo --placement any --one 7:123
//! ```
//!
//! Needs root and btrfs. Payloads that any kernel line may come to harm on are kept back.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // as in all tests
#![allow(clippy::print_stdout, clippy::print_stderr)] // it is a program of its own
#![allow(clippy::cast_possible_truncation)] // lengths of at most 128 KiB
#![allow(unreachable_pub)] // modules of a program

mod generate;
mod guard;
mod lab;
mod observed;
mod options;
mod run;
#[path = "../support/mod.rs"]
mod support;

use std::process::ExitCode;
use std::time::Instant;

use options::{Options, Parsed};

const TEST: &str = "live_kernel";

fn main() -> ExitCode {
    let options = match Options::parse(std::env::args().skip(1)) {
        Ok(Parsed::Run(options)) => options,
        Ok(Parsed::List) => {
            println!("{TEST}: test");
            return ExitCode::SUCCESS;
        }
        Ok(Parsed::Nothing) => return closing(0, 0, Instant::now()),
        Err(message) => {
            eprintln!("{message}\n{}", options::USAGE);
            return ExitCode::from(2);
        }
    };
    let begin = Instant::now();
    println!("\nrunning {} tests", options.codecs.len());
    let filesystem = support::Options::default()
        .sized(4 << 30)
        .made_with(&["--metadata", "single"]);
    let Some(mount) = support::btrfs(TEST, &filesystem) else {
        return closing(0, 0, begin);
    };
    if let Some(number) = options.one {
        return if run::one(&mount, &options, number) {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        };
    }
    let mut failed = 0;
    let mut tallies = Vec::new();
    for &codec in &options.codecs {
        let tally = run::all(&mount, &options, codec);
        failed += usize::from(!tally.passed());
        tallies.push((codec, tally));
    }
    run::print_table(&tallies);
    for (codec, tally) in &tallies {
        let result = if tally.passed() { "ok" } else { "FAILED" };
        println!("test {TEST}::{codec} ... {result}");
    }
    closing(tallies.len() - failed, failed, begin)
}

/// The last line, as cargo's own runner has it.
fn closing(passed: usize, failed: usize, begin: Instant) -> ExitCode {
    let result = if failed == 0 { "ok" } else { "FAILED" };
    let seconds = begin.elapsed().as_secs_f64();
    println!(
        "\ntest result: {result}. {passed} passed; {failed} failed; 0 ignored; 0 measured; \
         0 filtered out; finished in {seconds:.2}s\n"
    );
    if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(101)
    }
}
