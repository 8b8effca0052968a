//! Content that every machine has or that is made from a seed, cut into extents.

use std::fs;
use std::path::{Path, PathBuf};

/// Bytes of an extent.
pub const EXTENT: usize = 128 * 1024;

/// Extents of one kind of content.
#[derive(Debug, Clone)]
pub struct Kind {
    /// What it is.
    pub name: &'static str,
    /// At most 128 KiB each.
    pub extents: Vec<Vec<u8>>,
}

impl Kind {
    fn of(name: &'static str, data: &[u8]) -> Self {
        let extents = data.chunks(EXTENT).map(<[u8]>::to_vec).collect();
        Self { name, extents }
    }

    /// Bytes in all.
    pub fn len(&self) -> usize {
        self.extents.iter().map(Vec::len).sum()
    }

    /// About `bytes` of it, taken evenly from the whole.
    pub fn sample(&self, bytes: usize) -> Self {
        let wanted = bytes.div_ceil(EXTENT).clamp(1, self.extents.len());
        let extents = (0..wanted)
            .map(|i| self.extents[i * self.extents.len() / wanted].clone())
            .collect();
        Self {
            name: self.name,
            extents,
        }
    }
}

/// Every kind, of about `bytes` each: programs and libraries; source text; and, from a seed,
/// words, JSON, noise, zeroes, and extents in which all of these alternate.
pub fn corpus(bytes: usize) -> Vec<Kind> {
    let binaries = gather(&["/usr/lib", "/usr/bin"], bytes, is_program);
    let here = env!("CARGO_MANIFEST_DIR");
    let source = gather(&[here, "/usr/include"], bytes, is_source);
    let mut random = Random(0x5eed);
    let text = words(&mut random, bytes);
    let json = records(&mut random, bytes);
    let noise: Vec<u8> = (0..bytes).map(|_| random.byte()).collect();
    let zeroes = vec![0; bytes.min(4 * EXTENT)];
    let parts = [&binaries, &source, &text, &json, &noise, &zeroes];
    let mut mixed = Vec::with_capacity(bytes);
    while mixed.len() < bytes {
        let part = parts[random.below(parts.len())];
        let len = 1000 + random.below(20_000);
        let start = random.below(part.len().saturating_sub(len).max(1));
        mixed.extend_from_slice(&part[start..part.len().min(start + len)]);
    }
    mixed.truncate(bytes);
    vec![
        Kind::of("binaries", &binaries),
        Kind::of("source", &source),
        Kind::of("text", &text),
        Kind::of("json", &json),
        Kind::of("mixed", &mixed),
        Kind::of("random", &noise),
        Kind::of("zeroes", &zeroes),
    ]
}

/// Words of a language that does not exist, frequent and rare ones as in any.
fn words(random: &mut Random, bytes: usize) -> Vec<u8> {
    let words: Vec<String> = (0..4000)
        .map(|_| {
            let syllable = |random: &mut Random| {
                let pick =
                    |random: &mut Random, from: &[u8]| char::from(from[random.below(from.len())]);
                [pick(random, b"bcdfghklmnprstvw"), pick(random, b"aeiou")]
            };
            (0..1 + random.below(4))
                .flat_map(|_| syllable(random))
                .collect()
        })
        .collect();
    let mut text = Vec::with_capacity(bytes + 16);
    while text.len() < bytes {
        let rank = random.below(words.len()) * random.below(words.len()) / words.len();
        text.extend_from_slice(words[rank].as_bytes());
        let end: &[u8] = match random.below(14) {
            0 => b".\n",
            1 => b", ",
            _ => b" ",
        };
        text.extend_from_slice(end);
    }
    text.truncate(bytes);
    text
}

/// Records of a log.
fn records(random: &mut Random, bytes: usize) -> Vec<u8> {
    let mut text = Vec::with_capacity(bytes + 200);
    let mut time = 1_700_000_000_000_u64;
    while text.len() < bytes {
        time += random.next() % 5000;
        let level = ["debug", "info", "info", "info", "warning", "error"][random.below(6)];
        let record = format!(
            "{{\"time\":{time},\"level\":\"{level}\",\"host\":\"node-{:02}\",\"request\":\"{:016x}\",\
             \"path\":\"/api/v1/items/{}\",\"status\":{},\"bytes\":{},\"seconds\":{}.{:06}}}\n",
            random.below(40),
            random.next(),
            random.below(100_000),
            [200, 200, 200, 204, 304, 404, 500][random.below(7)],
            random.below(50_000),
            random.below(3),
            random.below(1_000_000),
        );
        text.extend_from_slice(record.as_bytes());
    }
    text.truncate(bytes);
    text
}

/// The first megabyte of files below the directories that satisfy `wanted`: files taken evenly
/// from all there are, in the order of their paths, so that no single one weighs much.
fn gather(directories: &[&str], bytes: usize, wanted: fn(&Path, &[u8]) -> bool) -> Vec<u8> {
    let mut files = Vec::new();
    let mut stack: Vec<PathBuf> = directories.iter().rev().map(PathBuf::from).collect();
    while let Some(path) = stack.pop() {
        let Ok(kind) = fs::symlink_metadata(&path) else {
            continue;
        };
        if kind.is_dir() && !path.ends_with("target") && !path.ends_with(".git") {
            let entries = fs::read_dir(&path).into_iter().flatten().flatten();
            let mut entries: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
            entries.sort_unstable_by(|a, b| b.cmp(a));
            stack.extend(entries);
        } else if kind.is_file() && read_some(&path, 512).is_some_and(|start| wanted(&path, &start))
        {
            files.push((path, usize::try_from(kind.len()).unwrap().min(1 << 20)));
        }
    }
    assert!(
        !files.is_empty(),
        "no file of the kind below {directories:?}"
    );
    let available: usize = files.iter().map(|(_, len)| len).sum();
    let (mut content, mut passed) = (Vec::with_capacity(bytes), 0);
    for (path, len) in files {
        // Keeps in step with the part of all files that has been passed.
        if content.len() as u128 * available as u128 <= bytes as u128 * passed as u128 {
            content.extend_from_slice(&read_some(&path, 1 << 20).unwrap_or_default());
        }
        passed += len;
    }
    content.truncate(bytes);
    content
}

fn read_some(path: &Path, bytes: u64) -> Option<Vec<u8>> {
    use std::io::Read;
    let mut data = Vec::new();
    let file = fs::File::open(path).ok()?;
    file.take(bytes).read_to_end(&mut data).ok()?;
    Some(data)
}

fn is_program(_: &Path, data: &[u8]) -> bool {
    data.starts_with(b"\x7fELF")
}

fn is_source(path: &Path, data: &[u8]) -> bool {
    let extension = path.extension().and_then(|extension| extension.to_str());
    data.len() > 200 && matches!(extension, Some("rs" | "h" | "c" | "py" | "md"))
}

/// splitmix64: small, and the same everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn byte(&mut self) -> u8 {
        self.next().to_le_bytes()[0]
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(limit).unwrap()).unwrap()
    }
}
