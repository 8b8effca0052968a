//! Content of the kinds that real files have.

use std::fs;
use std::path::{Path, PathBuf};

use super::Random;

/// One file's worth of content.
#[derive(Debug, Clone)]
pub struct Sample {
    /// Where it is from; unique in a corpus, without `/`.
    pub name: String,
    /// The content.
    pub data: Vec<u8>,
}

/// About this many bytes of what this machine has, in equal parts as far as there is enough of
/// each: programs and libraries, text, data that is compressed already. What is missing is made
/// up by [`generated`] content, of which there is always some.
pub fn corpus(bytes: usize) -> Vec<Sample> {
    let share = bytes / 4;
    let sources = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut samples = Vec::new();
    samples.extend(pick(
        &["/usr/bin", "/usr/lib", "/usr/lib64"],
        share,
        is_binary,
    ));
    let text = [
        sources.to_str().unwrap_or("."),
        "/usr/include",
        "/usr/share/perl",
        "/usr/share/doc",
    ];
    samples.extend(pick(&text, share, is_text));
    samples.extend(pick(&["/usr/share", "/var/lib"], share, is_compressed));
    let rest = bytes.saturating_sub(samples.iter().map(|sample| sample.data.len()).sum());
    samples.extend(generated(rest.max(share)));
    for (number, sample) in samples.iter_mut().enumerate() {
        sample.name = format!("{number:03}-{}", sample.name);
    }
    samples
}

/// About this many bytes made from a fixed seed, in six files: zeroes, one repeated line, words,
/// numbers, noise, and noise between zeroes. The same on every machine.
pub fn generated(bytes: usize) -> Vec<Sample> {
    let len = bytes / 6;
    let mut random = Random::new(0x5eed);
    let line = b"the same line over and over again, 42 bytes";
    let words: Vec<String> = (0..500)
        .map(|_| {
            (0..random.below(8) + 2)
                .map(|_| char::from(b'a' + random.byte() % 26))
                .collect()
        })
        .collect();
    let mut text = Vec::with_capacity(len + 16);
    while text.len() < len {
        // Squaring makes some words frequent and most rare, as in any language.
        let rank = random.below(500) * random.below(500) / 500;
        text.extend_from_slice(words[rank].as_bytes());
        text.push(if random.below(12) == 0 { b'\n' } else { b' ' });
    }
    text.truncate(len);
    let numbers = (0..len / 8)
        .flat_map(|i| (1_700_000_000 + i as u64 * 60).to_le_bytes())
        .collect();
    let noise: Vec<u8> = (0..len).map(|_| random.byte()).collect();
    let islands = noise.iter().enumerate();
    let islands = islands
        .map(|(i, &byte)| if i / 5000 % 3 == 0 { byte } else { 0 })
        .collect();
    let samples = [
        ("zeroes", vec![0; len]),
        ("lines", line.iter().copied().cycle().take(len).collect()),
        ("words", text),
        ("numbers", numbers),
        ("noise", noise),
        ("islands", islands),
    ];
    let named = |(name, data): (&str, Vec<u8>)| Sample {
        name: name.to_owned(),
        data,
    };
    samples.map(named).into()
}

/// Regular files below the directories that satisfy `wanted`, in the order of their paths, until
/// there are `bytes`; at most a quarter of that from one file.
fn pick(directories: &[&str], bytes: usize, wanted: fn(&Path, &[u8]) -> bool) -> Vec<Sample> {
    let mut samples = Vec::new();
    let mut missing = bytes;
    let mut looked_at = 0;
    let mut stack: Vec<PathBuf> = directories.iter().rev().map(PathBuf::from).collect();
    while let Some(path) = stack.pop() {
        let Ok(kind) = fs::symlink_metadata(&path) else {
            continue;
        };
        if kind.is_dir() && !path.ends_with("target") {
            let entries = fs::read_dir(&path).into_iter().flatten().flatten();
            let mut entries: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
            entries.sort_unstable_by(|a, b| b.cmp(a));
            stack.extend(entries);
        } else if kind.is_file() && (100..64 << 20).contains(&kind.len()) {
            // A machine without the wanted kind of files is not searched for ever.
            looked_at += 1;
            if missing == 0 || looked_at > 5000 {
                break;
            }
            let Some(mut data) = read_some(&path, missing.min(bytes / 4).max(4096)) else {
                continue;
            };
            if wanted(&path, &data) {
                data.truncate(missing);
                missing -= data.len();
                let name = path.file_name().unwrap_or_default();
                let name = name.to_string_lossy().into_owned();
                samples.push(Sample { name, data });
            }
        }
    }
    samples
}

fn read_some(path: &Path, bytes: usize) -> Option<Vec<u8>> {
    use std::io::Read;
    let mut data = Vec::new();
    let limit = u64::try_from(bytes).ok()?;
    fs::File::open(path)
        .ok()?
        .take(limit)
        .read_to_end(&mut data)
        .ok()?;
    Some(data)
}

fn is_binary(_: &Path, data: &[u8]) -> bool {
    data.starts_with(b"\x7fELF") && data.len() > 20_000
}

fn is_text(_: &Path, data: &[u8]) -> bool {
    data.len() > 1000 && std::str::from_utf8(&data[..1000]).is_ok() && !data.contains(&0)
}

fn is_compressed(path: &Path, data: &[u8]) -> bool {
    let extension = path.extension().and_then(|extension| extension.to_str());
    let known = ["gz", "xz", "zst", "bz2", "png", "jpg", "woff2", "zip"];
    data.len() > 1000 && extension.is_some_and(|extension| known.contains(&extension))
}
