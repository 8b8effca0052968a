//! The command line.

use std::path::PathBuf;

use btrfs_payload::rules::Codec;

use crate::generate::Placing;

pub const USAGE: &str = "\
usage: live_kernel [--cases N] [--codec zlib|lzo|zstd] [--seed N] [--jobs N]
                   [--placement inline|regular|any] [--one SEED:CASE [--save FILE]]";

/// What is to be done.
#[derive(Debug, Clone)]
pub struct Options {
    /// Cases of each codec.
    pub cases: u64,
    pub codecs: Vec<Codec>,
    pub seed: u64,
    pub placing: Placing,
    pub jobs: usize,
    /// Only the case with this number.
    pub one: Option<u64>,
    /// Where the payload of that case is to be kept.
    pub save: Option<PathBuf>,
}

/// What the command line asks for.
#[derive(Debug)]
pub enum Parsed {
    Run(Options),
    /// What cargo's runner is asked with `--list`.
    List,
    /// Other tests are meant.
    Nothing,
}

impl Options {
    pub fn parse(arguments: impl Iterator<Item = String>) -> Result<Parsed, String> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let mut options = Self {
            cases: 10_000,
            codecs: Codec::ALL.to_vec(),
            seed: 1,
            placing: Placing::Any,
            // Half of them wait for the device at any time.
            jobs: 2 * cores,
            one: None,
            save: None,
        };
        let mut filters = Vec::new();
        let mut arguments = arguments;
        while let Some(argument) = arguments.next() {
            let mut value = || {
                let value = arguments.next();
                value.ok_or_else(|| format!("{argument} wants a value"))
            };
            match argument.as_str() {
                "--cases" => options.cases = number(&value()?)?,
                "--seed" => options.seed = number(&value()?)?,
                "--jobs" => options.jobs = number(&value()?)?.clamp(1, 64) as usize,
                "--codec" => {
                    let codec = value()?.parse();
                    options.codecs = vec![codec.map_err(|error| format!("{error}"))?];
                }
                "--placement" => options.placing = value()?.parse()?,
                "--save" => options.save = Some(value()?.into()),
                "--one" => {
                    let value = value()?;
                    let (seed, case) = value
                        .split_once(':')
                        .ok_or_else(|| format!("{value:?} is not SEED:CASE"))?;
                    options.seed = number(seed)?;
                    options.one = Some(number(case)?);
                }
                // What cargo's own runner understands and what means nothing here.
                "--nocapture" | "--quiet" | "-q" | "--show-output" | "--include-ignored"
                | "--exact" => {}
                "--test-threads" | "--color" | "--format" | "--skip" => drop(value()?),
                "--list" => return Ok(Parsed::List),
                "--ignored" => return Ok(Parsed::Nothing),
                option if option.starts_with('-') => return Err(format!("no option {option}")),
                filter => filters.push(filter.to_owned()),
            }
        }
        if options.one.is_some() && options.codecs.len() != 1 {
            return Err("--one needs --codec".to_owned());
        }
        let meant = filters.is_empty() || filters.iter().any(|f| crate::TEST.contains(f));
        Ok(if meant {
            Parsed::Run(options)
        } else {
            Parsed::Nothing
        })
    }
}

fn number(text: &str) -> Result<u64, String> {
    text.parse()
        .map_err(|_| format!("{text:?} is not a number"))
}
