//! Random trees, and random changes to them.

use std::collections::BTreeMap;
use std::io::Write;

use btrfs_payload::pack::{Metadata, Node};

use crate::support::Random;
use crate::work::{ACL, CAPABILITY, Tree, at};

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum What {
    Directory,
    File(Vec<u8>),
    Link(Vec<u8>),
    Fifo,
    Device(u32),
}

#[derive(Debug, Clone)]
pub(crate) struct Inode {
    what: What,
    metadata: Metadata,
}

/// A tree: names, and what has them. The first is the tree itself.
#[derive(Debug, Clone)]
pub(crate) struct Model {
    pub(crate) names: BTreeMap<Vec<String>, usize>,
    inodes: Vec<Inode>,
    clock: i64,
}

impl Model {
    pub(crate) fn new(random: &mut Random) -> Self {
        let mut model = Self {
            names: BTreeMap::from([(Vec::new(), 0)]),
            inodes: vec![Inode {
                what: What::Directory,
                metadata: Metadata::new(0o755).times(at(1)),
            }],
            clock: 1_000,
        };
        for _ in 0..random.below(25) {
            model.change(random);
        }
        model
    }

    pub(crate) fn changed(&self, random: &mut Random) -> Self {
        let mut model = self.clone();
        for _ in 0..random.below(10) {
            model.change(random);
        }
        model
    }

    fn any(&self, random: &mut Random, is_it: impl Fn(&What) -> bool) -> Option<Vec<String>> {
        let names = self
            .names
            .iter()
            .filter(|(_, inode)| is_it(&self.inodes[**inode].what));
        let names: Vec<_> = names.map(|(name, _)| name).collect();
        (!names.is_empty()).then(|| names[random.below(names.len())].clone())
    }

    /// A name that may be there already, in a directory.
    fn spot(&self, random: &mut Random) -> Vec<String> {
        let mut path = self.any(random, |what| *what == What::Directory).unwrap();
        path.push(["a", "b", "c", "o257-1-0", "o258-1-0"][random.below(5)].to_owned());
        path
    }

    fn remove(&mut self, path: &[String]) {
        self.names.retain(|name, _| !name.starts_with(path));
    }

    fn add(&mut self, random: &mut Random, path: Vec<String>, what: What) {
        self.remove(&path);
        let mut metadata = Metadata::new([0o644, 0o755, 0o4755, 0o2770][random.below(4)]);
        // Times that several files have, and such that none has.
        let time = if random.below(3) == 0 { 7 } else { self.tick() };
        metadata = metadata.times(at(time));
        if what == What::Directory && random.below(4) == 0 {
            metadata = metadata.xattr("system.posix_acl_default", ACL);
        }
        if what == What::Directory && random.below(4) == 0 {
            metadata = metadata.xattr("btrfs.compression", "zstd");
        }
        self.names.insert(path, self.inodes.len());
        self.inodes.push(Inode { what, metadata });
    }

    fn tick(&mut self) -> i64 {
        self.clock += 1;
        self.clock
    }

    fn change(&mut self, random: &mut Random) {
        match random.below(16) {
            0..=2 => {
                let (path, content) = (self.spot(random), content(random));
                self.add(random, path, What::File(content));
            }
            3 => {
                let path = self.spot(random);
                self.add(random, path, What::Directory);
            }
            4 => {
                let path = self.spot(random);
                let what = match random.below(3) {
                    0 => What::Link(vec![b'x'; 1 + random.below(3)]),
                    1 => What::Fifo,
                    _ => What::Device(u32::try_from(random.below(3)).unwrap()),
                };
                self.add(random, path, what);
            }
            5 => {
                let path = self.spot(random);
                self.remove(&path);
            }
            6 | 7 => {
                let to = self.spot(random);
                let from = self.any(random, |_| true).unwrap();
                self.rename(&from, &to);
            }
            8 => self.swap(random),
            9 => {
                // A directory gets into one that was in it.
                if let Some(inner) = self.any(random, |what| *what == What::Directory)
                    && inner.len() >= 2
                {
                    let outer = inner[..inner.len() - 1].to_vec();
                    let aside = vec!["aside".to_owned()];
                    self.rename(&inner, &aside);
                    self.rename(&outer, &[aside.clone(), vec!["in".to_owned()]].concat());
                    self.rename(&aside, &outer);
                }
            }
            10 => {
                let to = self.spot(random);
                let from = self.any(random, |what| *what != What::Directory);
                if let Some(from) = from.filter(|from| !from.starts_with(&to)) {
                    let inode = self.names[&from];
                    self.remove(&to);
                    self.names.insert(to, inode);
                }
            }
            11 => {
                // A copy, as `cp -p` makes it.
                let to = self.spot(random);
                if let Some(from) = self.any(random, |what| matches!(what, What::File(_)))
                    && !from.starts_with(&to)
                {
                    let copy = self.inodes[self.names[&from]].clone();
                    self.remove(&to);
                    self.names.insert(to, self.inodes.len());
                    self.inodes.push(copy);
                }
            }
            12 | 13 => {
                if let Some(path) = self.any(random, |what| matches!(what, What::File(_))) {
                    let time = self.tick();
                    let keeps_time = random.below(3) == 0;
                    let inode = &mut self.inodes[self.names[&path]];
                    if !keeps_time {
                        inode.metadata.times = at(time);
                    }
                    if let What::File(content) = &mut inode.what {
                        edit(random, content);
                    }
                }
            }
            _ => {
                let path = self.any(random, |_| true).unwrap();
                let inode = &mut self.inodes[self.names[&path]];
                let metadata = &mut inode.metadata;
                let is_file = matches!(inode.what, What::File(_));
                match random.below(6) {
                    0 => metadata.mode = [0o600, 0o711, 0o6755][random.below(3)],
                    1 => metadata.uid = u32::try_from(random.below(3)).unwrap(),
                    2 => metadata.times = at(i64::try_from(random.below(9)).unwrap()),
                    3 if is_file || inode.what == What::Directory => {
                        let names = ["user.a", "user.b", "security.capability"];
                        let name = names[random.below(if is_file { 3 } else { 2 })];
                        metadata.xattrs.retain(|(had, _)| had != name);
                        if random.below(2) == 0 {
                            let value = match name {
                                "security.capability" => CAPABILITY,
                                _ => [&b"1"[..], b"", b"two"][random.below(3)],
                            };
                            metadata.xattrs.push((name.into(), value.to_vec().into()));
                        }
                    }
                    4 if is_file => {
                        metadata
                            .xattrs
                            .retain(|(had, _)| had != "system.posix_acl_access");
                        if random.below(2) == 0 {
                            let list = ("system.posix_acl_access".into(), ACL.into());
                            metadata.xattrs.push(list);
                        }
                    }
                    _ => metadata.xattrs.clear(),
                }
            }
        }
    }

    /// Moves a name with all inside.
    fn rename(&mut self, from: &[String], to: &[String]) {
        if from.is_empty() || to.starts_with(from) || from.starts_with(to) {
            return;
        }
        self.remove(to);
        let moved: Vec<_> = self
            .names
            .iter()
            .filter(|(name, _)| name.starts_with(from))
            .map(|(name, inode)| ([to, &name[from.len()..]].concat(), *inode))
            .collect();
        self.remove(from);
        self.names.extend(moved);
    }

    fn swap(&mut self, random: &mut Random) {
        let (Some(a), Some(b)) = (self.any(random, |_| true), self.any(random, |_| true)) else {
            return;
        };
        if a.starts_with(&b) || b.starts_with(&a) {
            return;
        }
        let aside = vec!["aside".to_owned()];
        if a == aside || b == aside || a.starts_with(&aside) || b.starts_with(&aside) {
            return;
        }
        self.rename(&a, &aside);
        self.rename(&b, &a);
        self.rename(&aside, &b);
    }

    /// Adds everything to a pack. `seed` decides how, which is not to matter.
    pub(crate) fn fill(&self, tree: &mut Tree, seed: u64) {
        let random = &mut Random::new(seed);
        let mut first = BTreeMap::<usize, String>::new();
        for (path, &inode) in &self.names {
            let path = path.join("/");
            let Inode { what, metadata } = &self.inodes[inode];
            if *what != What::Directory
                && let Some(first) = first.get(&inode)
            {
                let link = Node::HardLink(first.as_bytes());
                tree.add(&path, link, metadata).unwrap();
                continue;
            }
            first.insert(inode, path.clone());
            let mut metadata = metadata.clone();
            let node = match what {
                What::Directory => Node::Directory,
                What::Link(target) => Node::Symlink(target),
                What::Fifo => Node::Fifo,
                What::Device(minor) => Node::BlockDevice {
                    major: 8,
                    minor: *minor,
                },
                What::File(content) => {
                    // A name that comes again, as in an archive.
                    if random.below(10) == 0 {
                        let mut before = tree.add_file(&path, &metadata).unwrap();
                        before.write_all(&content[..content.len() / 2]).unwrap();
                        before.write_all(b"replaced").unwrap();
                        before.finish().unwrap();
                    }
                    let mut file = tree.add_file(&path, &metadata).unwrap();
                    if random.below(2) == 0 {
                        file.expect(content.len() as u64);
                    }
                    let with_holes = random.below(2) == 0;
                    for block in content.chunks(4096) {
                        match with_holes && block.iter().all(|&byte| byte == 0) {
                            true => file.hole(block.len() as u64).unwrap(),
                            false => file.write_all(block).unwrap(),
                        }
                    }
                    file.finish().unwrap();
                    continue;
                }
            };
            if !matches!(what, What::Directory) {
                metadata.xattrs.clear();
            }
            tree.add(&path, node, &metadata).unwrap();
        }
    }
}

fn content(random: &mut Random) -> Vec<u8> {
    let mut content = Vec::new();
    for _ in 0..random.below(6) {
        block(random, &mut content);
    }
    content.truncate(content.len().saturating_sub(random.below(3) * 1000));
    content
}

/// Some bytes more: zeroes, noise or what shrinks.
fn block(random: &mut Random, content: &mut Vec<u8>) {
    let len = [100, 4096, 4096, 12_288, 131_072, 150_000][random.below(6)];
    let kind = random.below(4);
    let start = random.below(3);
    content.extend((0..len).map(|at: usize| {
        match kind {
            0 => 0,
            1 => u8::try_from((at + start) * 7 % 251).unwrap(),
            2 => u8::try_from((at / 50 + start) % 256).unwrap(),
            _ => (at as u64 + 1 + start as u64)
                .wrapping_mul(0x9e37_79b9_7f4a_7c15)
                .to_be_bytes()[0],
        }
    }));
}

fn edit(random: &mut Random, content: &mut Vec<u8>) {
    let len = content.len();
    let at = random.below(len + 1);
    let to = (at + [1, 4096, 20_000, 140_000][random.below(4)]).min(len);
    match random.below(6) {
        0 => content.truncate(at),
        1 => block(random, content),
        2 => content[at..to].fill(0),
        3 => content.resize(len + random.below(10_000), 0),
        4 => {
            // From a block on.
            let at = at / 4096 * 4096;
            content[at..to].fill(0);
        }
        _ => content[at..to]
            .iter_mut()
            .for_each(|byte| *byte = byte.wrapping_add(1)),
    }
}
