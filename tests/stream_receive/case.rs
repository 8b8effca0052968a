//! Inputs made from random numbers.

use btrfs_payload::send_stream::{Command, Version, Writer};

use crate::maker::Maker;
use crate::support::Random;
use crate::tree::Tree;

/// Which kind of stream is on trial, at the end of the input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    Full,
    Increment,
}

impl Shape {
    pub fn name(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Increment => "increment",
        }
    }

    pub fn number(self) -> u64 {
        match self {
            Self::Full => 0,
            Self::Increment => 1,
        }
    }
}

/// A stream, without its `END`.
#[derive(Debug, Clone)]
pub struct Stream {
    pub version: Version,
    pub commands: Vec<Command>,
    /// What the subvolume holds when everything is right with it.
    pub tree: Option<Tree>,
}

/// An input.
#[derive(Debug, Clone)]
pub struct Case {
    pub streams: Vec<Stream>,
}

impl Case {
    pub fn generate(random: &mut Random, shape: Shape) -> Self {
        let mut streams = Vec::new();
        let mut sources = Vec::new();
        if random.percent(40) {
            let mut maker = Maker::full(random, streams.len(), &sources);
            maker.right(5..=25);
            let (source, stream) = maker.done(true);
            sources.push(source);
            streams.push(stream);
        }
        if shape == Shape::Increment {
            let mut maker = Maker::full(random, streams.len(), &sources);
            maker.right(10..=50);
            let (source, stream) = maker.done(true);
            sources.push(source);
            streams.push(stream);
            if random.percent(25) {
                let mut maker = Maker::increment(random, streams.len(), &sources);
                maker.right(1..=20);
                let (source, stream) = maker.done(true);
                sources.push(source);
                streams.push(stream);
            }
        }
        let number = streams.len();
        let mut maker = match shape {
            Shape::Full => Maker::full(random, number, &sources),
            Shape::Increment => Maker::increment(random, number, &sources),
        };
        let all_right = match maker.random.below(40) {
            0..=11 => {
                maker.right(5..=80);
                true
            }
            12 => {
                maker.odd_beginning();
                maker.right(0..=5);
                false
            }
            13..=35 => {
                maker.right(5..=60);
                maker.blind(1..=6);
                maker.right(0..=6);
                false
            }
            _ => {
                maker.blind(3..=30);
                false
            }
        };
        streams.push(maker.done(all_right).1);
        Self { streams }
    }

    /// The input's bytes.
    pub fn bytes(&self) -> Vec<u8> {
        stream_bytes(&self.streams)
    }
}

/// Streams as one input.
pub fn stream_bytes(streams: &[Stream]) -> Vec<u8> {
    let mut writer: Option<Writer<Vec<u8>>> = None;
    for stream in streams {
        let writer = match &mut writer {
            Some(writer) => {
                writer.next_stream(stream.version).unwrap();
                writer
            }
            None => writer.insert(Writer::new(Vec::new(), stream.version).unwrap()),
        };
        for command in &stream.commands {
            writer.write_command(command).unwrap();
        }
    }
    writer.unwrap().finish().unwrap()
}
