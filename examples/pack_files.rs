//! Packs files into a send stream, without root: from memory, from a reader, from the chunks of a store,
//! and from the members of a tar archive on standard input. The stream goes to a file:
//!
//! ```sh
//! tar -c docs | cargo run --example pack_files image.stream
//! sudo btrfs receive -f image.stream /mnt
//! ```

use std::collections::BTreeMap;
use std::error::Error;
use std::fs::File;
use std::io::{self, Read, Seek, Write};

use btrfs_payload::pack::{Builder, Metadata, Node, Options, Summary, Times};
use btrfs_payload::send_stream::Timespec;

/// A file from memory, in a directory, with a symbolic link to it.
pub(crate) fn add_from_memory<W: Write + Send + 'static>(
    tree: &mut Builder<W>,
) -> Result<(), Box<dyn Error>> {
    tree.add("etc", Node::Directory, &Metadata::new(0o755))?;
    let mut file = tree.add_file("etc/motd", &Metadata::new(0o644))?;
    file.write_all(b"Packed without root.\n")?;
    file.finish()?;
    tree.add("motd", Node::Symlink(b"etc/motd"), &Metadata::default())?;
    Ok(())
}

/// A file from a reader, with a hole of 1 GiB after it.
pub(crate) fn add_from_reader<W: Write + Send + 'static>(
    tree: &mut Builder<W>,
    reader: impl Read,
) -> Result<(), Box<dyn Error>> {
    let metadata = Metadata::new(0o600)
        .owner(1000, 1000)
        .xattr("user.comment", "from a reader");
    let mut file = tree.add_file("disk.img", &metadata)?;
    file.copy(reader)?;
    file.hole(1 << 30)?;
    file.finish()?;
    Ok(())
}

/// A file from the chunks of a store, as a backup tool has them; one that is not in the store is a hole
/// of `chunk_len` bytes.
pub(crate) fn add_from_store<W: Write + Send + 'static>(
    tree: &mut Builder<W>,
    store: &BTreeMap<&str, Vec<u8>>,
    chunks: &[&str],
    chunk_len: u64,
) -> Result<(), Box<dyn Error>> {
    let mut file = tree.add_file("from-store", &Metadata::new(0o644))?;
    for name in chunks {
        match store.get(name) {
            Some(chunk) => file.write_all(chunk)?,
            None => file.hole(chunk_len)?,
        }
    }
    file.finish()?;
    Ok(())
}

/// Files, directories and links of a tar archive. `btrfs-payload pack` reads more of one: sparse
/// files, extended attributes, fractions of seconds.
pub(crate) fn add_from_tar<W: Write + Send + 'static>(
    tree: &mut Builder<W>,
    archive: impl Read,
) -> Result<(), Box<dyn Error>> {
    for member in tar::Archive::new(archive).entries()? {
        let mut member = member?;
        let header = member.header();
        let seconds = header.mtime()?.try_into()?;
        let metadata = Metadata::new(header.mode()?)
            .owner(header.uid()?.try_into()?, header.gid()?.try_into()?)
            .times(Times::all(Timespec {
                seconds,
                nanoseconds: 0,
            }));
        let path = member.path_bytes().into_owned();
        let link = member.link_name_bytes().unwrap_or_default().into_owned();
        match member.header().entry_type() {
            tar::EntryType::Directory => tree.add(path, Node::Directory, &metadata)?,
            tar::EntryType::Symlink => tree.add(path, Node::Symlink(&link), &metadata)?,
            tar::EntryType::Link => tree.add(path, Node::HardLink(&link), &metadata)?,
            tar::EntryType::Regular => {
                let mut file = tree.add_file(path, &metadata)?;
                file.copy(&mut member)?;
                file.finish()?;
            }
            other => return Err(format!("a member of type {other:?}").into()),
        }
    }
    Ok(())
}

/// All of them, into an output that can be written again where its UUID stands.
pub(crate) fn pack_files<W: Read + Write + Seek + Send + 'static>(
    output: W,
    archive: impl Read,
) -> Result<(W, Summary), Box<dyn Error>> {
    let mut tree = Builder::new(output, Options::new("image"))?;
    add_from_memory(&mut tree)?;
    add_from_reader(&mut tree, io::repeat(b'x').take(1_000_000))?;
    let store = BTreeMap::from([("a", vec![b'a'; 300_000]), ("b", vec![b'b'; 5000])]);
    add_from_store(&mut tree, &store, &["a", "b", "none", "a"], 100_000)?;
    add_from_tar(&mut tree, archive)?;
    Ok(tree.finish()?)
}

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args_os().nth(1).ok_or("the name of a new file")?;
    let file = File::options()
        .read(true)
        .write(true)
        .create_new(true)
        .open(path)?;
    let (_, summary) = pack_files(file, io::stdin().lock())?;
    writeln!(
        io::stdout(),
        "{} files, UUID {}, digest {}",
        summary.files,
        summary.uuid,
        summary.digest
    )?;
    Ok(())
}
