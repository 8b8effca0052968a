//! Increments: with their parents they are what a full pack of the new tree is.

use std::fs;
use std::io::{Cursor, Write};
use std::num::NonZeroUsize;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process;
use std::sync::Arc;

use btrfs_payload::pack::{Builder, Identity, Metadata, Node, Options, PackError, Parent, Summary};
use btrfs_payload::send_stream::{Command, Uuid};
use btrfs_payload::transform::{CheckOptions, Parents, check};
use btrfs_payload::tree::digest::Content;
use btrfs_payload::tree::{self, Chain, Data, Step, tree_digest};

use crate::random::Model;
use crate::support::Random;
use crate::support::{self, Mount};
use crate::work::{Tree, at, commands, noise, options, pack};

/// The last subvolume of a chain, as a parent.
pub(crate) fn parent(chain: &[Vec<u8>]) -> Parent {
    let mut read = Chain::new(tree::Options::default());
    for stream in chain {
        read.read(Cursor::new(stream)).unwrap();
    }
    let inputs = chain.iter().map(|stream| Arc::<[u8]>::from(&stream[..]));
    Parent::new(&read, inputs.collect(), None).unwrap()
}

/// An increment on a chain; it has to be sound there.
pub(crate) fn increment(
    chain: &[Vec<u8>],
    mut options: Options,
    fill: impl FnOnce(&mut Tree),
) -> (Vec<u8>, Summary) {
    options.parent = Some(parent(chain));
    let mut tree = Builder::new(Cursor::new(Vec::new()), options).unwrap();
    fill(&mut tree);
    let (stream, summary) = tree.finish().unwrap();
    let stream = stream.into_inner();
    assert_eq!(summary.stream_bytes, stream.len() as u64);
    assert_sound(chain, &stream);
    (stream, summary)
}

/// Checked after its parents, an increment has no finding.
fn assert_sound(chain: &[Vec<u8>], stream: &[u8]) {
    let mut check_options = CheckOptions::default();
    check_options.chain = true;
    let mut parents = Parents::default();
    for parent in chain {
        parents.read(&parent[..], 1 << 20).unwrap();
    }
    check_options.parents = parents;
    let mut findings = Vec::new();
    check(stream, &check_options, NonZeroUsize::MIN, |finding| {
        findings.push(finding.to_string());
    })
    .unwrap();
    assert_eq!(findings, Vec::<String>::new());
}

/// As `stream digest` has it.
fn digest(chain: &[Vec<u8>]) -> String {
    let mut read = Chain::new(tree::Options::default());
    for stream in chain {
        read.read(Cursor::new(stream)).unwrap();
    }
    let inputs: Vec<&[u8]> = chain.iter().map(|stream| &stream[..]).collect();
    let tree = &read.result(None).unwrap().tree;
    let digest = tree_digest(tree, &Data::new(&read, &inputs), NonZeroUsize::MIN);
    digest.unwrap().to_string()
}

/// What a chain says of each name, for people who look for a difference.
fn told(chain: &[Vec<u8>]) -> Vec<String> {
    let mut read = Chain::new(tree::Options::default());
    for stream in chain {
        read.read(Cursor::new(stream)).unwrap();
    }
    let inputs: Vec<&[u8]> = chain.iter().map(|stream| &stream[..]).collect();
    let mut data = Data::new(&read, &inputs);
    let tree = &read.result(None).unwrap().tree;
    let mut walk = tree.walk(b"").unwrap();
    let mut told = Vec::new();
    while let Some(step) = walk.next().unwrap() {
        let Step::Enter(visit) = step else { continue };
        let inode = visit.inode;
        let mut content = Content::new();
        for extent in inode.extents() {
            content.update(extent.offset, &data.bytes(&extent).unwrap());
        }
        let (mode, uid, gid) = (inode.mode(), inode.uid(), inode.gid());
        let mtime = inode.times().mtime.seconds;
        let xattrs: Vec<_> = inode
            .xattrs()
            .map(|(name, _)| name.escape_ascii().to_string())
            .collect();
        told.push(format!(
            "{} {:?} {mode:o} {uid} {gid} {mtime} {xattrs:?} {} {} {:02x?}",
            walk.path().escape_ascii(),
            inode.kind(),
            inode.links(),
            inode.size(),
            content.finish().0[0],
        ));
    }
    told
}

/// A chain of random trees: the increment says what the full stream says, whatever is in its parents.
fn is_as_a_full_pack(seed: u64) -> bool {
    let random = &mut Random::new(seed);
    let mut model = Model::new(random);
    let mut some = options(1 + random.below(3));
    some.plain = random.below(4) == 0;
    some.dedupe = random.below(4) != 0;
    let mut chain = vec![pack(some, |tree| model.fill(tree, seed)).0];
    for step in 0..3 {
        model = model.changed(random);
        let (whole, full) = pack(options(2), |tree| model.fill(tree, seed ^ 77));
        let mut some = options(1 + random.below(3));
        some.subvolume = format!("s{step}").into();
        some.plain = random.below(4) == 0;
        some.dedupe = random.below(4) != 0;
        let (stream, summary) = increment(&chain, some, |tree| model.fill(tree, seed + step));
        let with = [&chain[..], std::slice::from_ref(&stream)].concat();
        assert_same_lines(&told(&with), &told(&[whole]), seed);
        assert_eq!(digest(&with), full.digest.to_string(), "seed {seed}");
        assert_eq!(summary.digest, full.digest, "seed {seed}");
        let changes = summary.changes.unwrap();
        let names = changes.unchanged + changes.changed + changes.new + changes.renamed;
        assert_eq!(names, model.names.len() as u64 - 1, "seed {seed}");
        chain.push(stream);
    }
    true
}

fn assert_same_lines(got: &[String], expected: &[String], seed: u64) {
    for (got, expected) in got.iter().zip(expected) {
        assert_eq!(got, expected, "seed {seed}");
    }
    assert_eq!(got.len(), expected.len(), "seed {seed}");
}

#[test]
fn an_increment_is_as_a_full_pack() {
    let runs = std::env::var("RUNS").map_or(60, |runs| runs.parse().unwrap());
    let from = std::env::var("FROM").map_or(1, |from| from.parse().unwrap());
    for seed in from..from + runs {
        assert!(is_as_a_full_pack(seed));
    }
}

/// `btrfs receive` of the chain and of the full streams makes the same trees. `RUNS` and `FROM` are for
/// who wants more of them.
#[test]
fn increments_are_received_as_full_packs_are() {
    let test = "increments_are_received_as_full_packs_are";
    let Some(fs) = support::btrfs(test, &support::Options::default().sized(8 << 30)) else {
        return;
    };
    let number = |name: &str, usual| std::env::var(name).map_or(usual, |n| n.parse().unwrap());
    let from = number("FROM", 1);
    for seed in from..from + number("RUNS", 12) {
        let random = &mut Random::new(seed);
        let mut model = Model::new(random);
        let named = |name: &str| {
            let mut options = options(2);
            options.subvolume = format!("{name}{seed}").into();
            options
        };
        let mut old = named("old");
        old.plain = seed % 4 == 0;
        let mut chain = vec![pack(old, |tree| model.fill(tree, seed)).0];
        let into = fs.join(seed.to_string());
        fs::create_dir(&into).unwrap();
        receive_into(&fs, &chain[0], &into);
        for step in 0..3 {
            model = model.changed(random);
            let full = pack(named(&format!("full{step}-")), |tree| {
                model.fill(tree, seed)
            });
            receive_into(&fs, &full.0, &into);
            let mut some = named(&format!("new{step}-"));
            some.plain = (seed + step) % 4 == 0;
            let (stream, _) = increment(&chain, some, |tree| model.fill(tree, seed + step));
            receive_into(&fs, &stream, &into);
            chain.push(stream);
            let made = |name: &str| into.join(format!("{name}{step}-{seed}"));
            support::assert_same_tree(&made("new"), &made("full"));
        }
    }
}

/// Kinds and paths of the commands that are not about metadata.
fn said(stream: &[u8]) -> Vec<String> {
    let commands = commands(stream).into_iter();
    let said = commands.filter_map(|command| {
        let text = |path: &[u8]| path.escape_ascii().to_string();
        Some(match command {
            Command::Rename(c) => format!("rename {} {}", text(&c.path), text(&c.path_to)),
            Command::Write(c) => {
                format!("write {} {} {}", text(&c.path), c.file_offset, c.data.len())
            }
            Command::Clone(c) => format!(
                "clone {} {} {} from {} {}",
                text(&c.path),
                c.file_offset,
                c.clone_len,
                text(&c.clone_path),
                c.clone_offset
            ),
            Command::MkFile(c) => format!("mkfile {}", text(&c.path)),
            Command::Truncate(c) => format!("truncate {} {}", text(&c.path), c.size),
            Command::Unlink(c) => format!("unlink {}", text(&c.path)),
            Command::RmDir(c) => format!("rmdir {}", text(&c.path)),
            Command::Utimes(c) => format!("utimes {}", text(&c.path)),
            Command::Snapshot(_) | Command::End(_) => return None,
            other => format!("{other:?}"),
        })
    });
    said.collect()
}

fn dated(tree: &mut Tree, path: &str, content: &[u8], seconds: i64) {
    let metadata = Metadata::new(0o644).times(at(seconds));
    let mut file = tree.add_file(path, &metadata).unwrap();
    file.expect(content.len() as u64);
    file.write_all(content).unwrap();
    file.finish().unwrap();
}

#[test]
fn what_has_not_changed_is_not_said() {
    let noise = noise(300_000);
    let fill = |tree: &mut Tree| {
        tree.add("d", Node::Directory, &Metadata::new(0o750))
            .unwrap();
        dated(tree, "d/a", &noise, 5);
        tree.add("d/b", Node::HardLink(b"d/a"), &Metadata::default())
            .unwrap();
        tree.add("d/l", Node::Symlink(b"x"), &Metadata::default())
            .unwrap();
        tree.add("d/p", Node::Fifo, &Metadata::new(0o600)).unwrap();
    };
    let (old, full) = pack(options(2), fill);
    let (stream, summary) = increment(&[old], options(2), fill);
    assert_eq!(said(&stream), ["utimes "]);
    let changes = summary.changes.unwrap();
    assert_eq!((changes.unchanged, changes.unchanged_bytes), (5, 300_000));
    assert_eq!((summary.digest, full.changes), (full.digest, None));
    // It is another subvolume all the same.
    assert_ne!(summary.uuid, full.uuid);
}

#[test]
fn what_differs_is_all_that_is_written() {
    let old_noise = noise(300_001);
    let (old, _) = pack(options(2), |tree| dated(tree, "f", &old_noise, 5));
    let with = |content: &[u8]| {
        let fill = |tree: &mut Tree| dated(tree, "f", content, 6);
        let (stream, summary) = increment(std::slice::from_ref(&old), options(2), fill);
        let mut said = said(&stream);
        assert_eq!(said.split_off(said.len() - 2), ["utimes ", "utimes f"]);
        let changes = summary.changes.unwrap();
        assert_eq!((changes.changed, changes.unchanged), (1, 0));
        said
    };
    let mut changed = old_noise.clone();
    changed[200_000] ^= 1;
    assert_eq!(with(&changed), ["write f 196608 4096"]);
    assert_eq!(with(&old_noise), Vec::<String>::new());
    assert_eq!(with(&old_noise[..100_000]), ["truncate f 100000"]);
    let longer = [&old_noise[..], &old_noise[..1]].concat();
    assert_eq!(with(&longer), ["write f 299008 994"]);
    changed = old_noise.clone();
    changed[8192..20_480].fill(0);
    assert_eq!(
        with(&changed),
        [
            "mkfile o257-1-0",
            "truncate o257-1-0 134217728",
            "clone f 8192 12288 from o257-1-0 8192",
            "unlink o257-1-0"
        ]
    );
    changed.truncate(100);
    assert_eq!(with(&changed), ["truncate f 100"]);
    changed.fill(7);
    assert_eq!(with(&changed), ["truncate f 100", "write f 0 100"]);
}

#[test]
fn what_moves_is_renamed() {
    let noise = noise(200_000);
    let (old, _) = pack(options(2), |tree| {
        dated(tree, "d/e/a", &noise[..150_000], 5);
        dated(tree, "d/e/b", &noise[150_000..], 6);
        dated(tree, "log", &noise[..9_000], 7);
        dated(tree, "log.1", &noise[9_000..20_000], 8);
    });
    let (stream, summary) = increment(&[old], options(2), |tree| {
        dated(tree, "log.1", &noise[..9_000], 7);
        dated(tree, "log", &noise[9_000..20_000], 8);
        dated(tree, "new/a", &noise[..150_000], 5);
        dated(tree, "new/b", &noise[150_000..], 6);
    });
    assert_eq!(
        said(&stream)[..5],
        [
            "rename log.1 o262-1-0",
            "rename log log.1",
            "rename o262-1-0 log",
            "rename d/e new",
            "rmdir d"
        ]
    );
    let changes = summary.changes.unwrap();
    assert_eq!((changes.renamed, changes.unchanged), (3, 2));
    assert_eq!((changes.deleted, changes.new), (1, 0));
    assert_eq!(summary.data.cloned_bytes, 0);
}

/// Times that all files have, as in a tree that was made to be reproducible, do not hide which file is
/// which where a file beside it tells.
#[test]
fn files_with_one_time_are_told_apart_by_their_neighbours() {
    let noise = noise(200_000);
    let fill = |names: [&'static str; 3]| {
        let noise = noise.clone();
        move |tree: &mut Tree| {
            for (name, part) in names.iter().zip(noise.chunks(60_000)) {
                let (only, rest) = part.split_at(part[0].into());
                dated(tree, &format!("{name}/a"), only, 5);
                dated(tree, &format!("{name}/empty"), b"", 5);
                dated(tree, &format!("{name}/same"), &rest[..40_000], 5);
            }
        }
    };
    let (old, _) = pack(options(2), fill(["d", "e", "f"]));
    let (stream, summary) = increment(&[old], options(2), fill(["x", "y", "z"]));
    let expected = ["rename d x", "rename e y", "rename f z", "utimes "];
    assert_eq!(said(&stream)[..4], expected);
    assert_eq!(summary.changes.unwrap().unchanged, 9);
}

/// What is there elsewhere is cloned from the parent, and no file loses its holes.
#[test]
fn a_copy_is_cloned_and_a_hole_stays_one() {
    let noise = noise(262_144);
    let sparse = |tree: &mut Tree, path: &str, data: &[u8]| {
        let metadata = Metadata::new(0o644).times(at(3));
        let mut file = tree.add_file(path, &metadata).unwrap();
        file.hole(10 << 30).unwrap();
        file.write_all(data).unwrap();
        file.finish().unwrap();
    };
    let (old, _) = pack(options(2), |tree| {
        dated(tree, "a", &noise, 5);
        sparse(tree, "s", &noise[..5000]);
    });
    let (stream, summary) = increment(&[old], options(2), |tree| {
        dated(tree, "a", &noise, 5);
        dated(tree, "b", &noise, 9);
        sparse(tree, "s", &noise[..5001]);
    });
    assert_eq!(
        said(&stream)[..4],
        [
            "mkfile o258-1-0",
            "clone o258-1-0 0 262144 from a 0",
            "write s 10737422336 905",
            "rename o258-1-0 b"
        ]
    );
    assert_eq!(summary.data.cloned_bytes, 262_144);
    assert_eq!(summary.data.hole_bytes, 10 << 30);
}

#[test]
fn parents_that_cannot_be_are_refused() {
    let noise = noise(200_000);
    let fill = |tree: &mut Tree| dated(tree, "f", &noise, 5);
    let mut nameless = options(1);
    nameless.identity = Identity::Given(Uuid::default());
    let (old, _) = pack(nameless, fill);
    let mut of_it = options(1);
    of_it.parent = Some(parent(&[old]));
    let error = Builder::new(Cursor::new(Vec::new()), of_it).unwrap_err();
    assert!(matches!(error, PackError::ParentUuid(_)), "{error}");

    // Its data has changed since the names were read.
    let (old, _) = pack(options(1), fill);
    let mut read = Chain::new(tree::Options::default());
    read.read(Cursor::new(&old)).unwrap();
    let mut damaged = old.clone();
    damaged[100_000] ^= 1;
    let inputs = vec![Arc::<[u8]>::from(&damaged[..])];
    let mut on_it = options(1);
    on_it.parent = Some(Parent::new(&read, inputs, None).unwrap());
    let mut tree = Builder::new(Cursor::new(Vec::new()), on_it).unwrap();
    fill(&mut tree);
    let error = tree.finish().unwrap_err();
    assert!(
        matches!(&error, PackError::Parent { path, .. } if path == "f"),
        "{error}"
    );
}

/// At the receiver too: what has become a hole takes no room, what stays is shared.
#[test]
fn holes_are_punched_and_data_is_shared() {
    let test = "holes_are_punched_and_data_is_shared";
    let Some(fs) = support::btrfs(test, &support::Options::default()) else {
        return;
    };
    let mut noise = noise(8 << 20);
    let fill = |noise: &[u8]| {
        let noise = noise.to_vec();
        move |tree: &mut Tree| dated(tree, "f", &noise, 5)
    };
    let (old, _) = pack(options(2), fill(&noise));
    receive_into(&fs, &old, &fs.path());
    noise[4096..7 << 20].fill(0);
    let mut named = options(2);
    named.subvolume = "new".into();
    let (stream, _) = increment(&[old], named, fill(&noise));
    assert!(stream.len() < 2_000, "{}", stream.len());
    receive_into(&fs, &stream, &fs.path());
    let path = fs.join("new/f");
    assert!(fs::read(&path).unwrap() == noise);
    let blocks = fs::metadata(&path).unwrap().blocks();
    assert_eq!(blocks * 512, (1 << 20) + 4096);
}

fn receive_into(fs: &Mount, stream: &[u8], into: &Path) {
    let input = fs.outside().join("stream");
    fs::write(&input, stream).unwrap();
    let mut command = process::Command::new("btrfs");
    let output = command.args(["-q", "receive", "-f"]).arg(input).arg(into);
    let output = output.output().unwrap();
    assert!(output.status.success(), "{into:?}: {output:?}");
}
