//! Changes that no kernel makes, in the image of a btrfs that nobody has mounted.
//!
//! Of a node of a tree (`struct btrfs_header`, 101 bytes): checksum of what follows its 32 bytes,
//! here CRC-32C in the first 4; `fsid` at 32, `owner` at 88, `nritems` at 96, `level` at 100. A
//! leaf goes on with items of 25 bytes: a key of `objectid` (8), `type` (1), `offset` (8), then
//! where its data is, counted from the end of the header, and the size of it (4 each).

use std::fs::File;
use std::os::unix::fs::FileExt;

use crc_fast::{CrcAlgorithm, checksum};

/// Node size that mkfs.btrfs chooses, bytes.
const NODE: usize = 16384;
/// Where the first superblock is, and its `fsid` in it, bytes.
const FSID_AT: u64 = 65536 + 32;
const HEADER: usize = 101;
const ITEM: usize = 25;
/// The tree of the files of the first subvolume.
const FS_TREE: u64 = 5;
const INODE_ITEM: u8 = 1;
const EXTENT_DATA: u8 = 108;
/// `size` and `flags` in `struct btrfs_inode_item`.
const INODE_SIZE: usize = 16;
const INODE_FLAGS: usize = 64;
/// `ram_bytes` and `num_bytes` in `struct btrfs_file_extent_item`.
const RAM_BYTES: usize = 8;
const NUM_BYTES: usize = 45;

/// Sets flags of an inode of the first subvolume, in every copy of its leaf.
pub fn set_inode_flags(image: &File, inode: u64, flags: u64) {
    change_item(image, inode, INODE_ITEM, |item| {
        let place = &mut item[INODE_FLAGS..INODE_FLAGS + 8];
        let value = u64::from_le_bytes(place.try_into().unwrap()) | flags;
        place.copy_from_slice(&value.to_le_bytes());
    });
}

/// Has a file of the first subvolume end at this byte, whatever extents it has.
pub fn set_inode_size(image: &File, inode: u64, size: u64) {
    change_item(image, inode, INODE_ITEM, |item| {
        item[INODE_SIZE..INODE_SIZE + 8].copy_from_slice(&size.to_le_bytes());
    });
}

/// Has the first extent of a file of the first subvolume decode to so many bytes, and the file
/// show all of them up to its end.
pub fn set_extent_len(image: &File, inode: u64, len: u64) {
    change_item(image, inode, EXTENT_DATA, |item| {
        item[RAM_BYTES..RAM_BYTES + 8].copy_from_slice(&len.to_le_bytes());
        item[NUM_BYTES..NUM_BYTES + 8].copy_from_slice(&len.to_le_bytes());
    });
}

/// Changes the first item of this type that an inode has, in every copy of its leaf.
fn change_item(image: &File, inode: u64, item_type: u8, change: impl Fn(&mut [u8])) {
    let mut fsid = [0; 16];
    image.read_exact_at(&mut fsid, FSID_AT).unwrap();
    let mut changed = 0;
    each_block(image, NODE, |node, at| {
        let u64_at = |at: usize| u64::from_le_bytes(node[at..at + 8].try_into().unwrap());
        let u32_at = |at: usize| u32::from_le_bytes(node[at..at + 4].try_into().unwrap());
        if node[32..48] != fsid || u64_at(88) != FS_TREE || node[100] != 0 {
            return;
        }
        let items = (0..u32_at(96) as usize).map(|number| HEADER + number * ITEM);
        let item = items
            .into_iter()
            .find(|&item| u64_at(item) == inode && node[item + 8] == item_type);
        let Some(item) = item else { return };
        let place = HEADER + u32_at(item + 17) as usize;
        let len = u32_at(item + 21) as usize;
        let mut node = node.to_vec();
        change(&mut node[place..place + len]);
        let sum = checksum(CrcAlgorithm::Crc32Iscsi, &node[32..]);
        let sum = u32::try_from(sum).unwrap();
        node[..4].copy_from_slice(&sum.to_le_bytes());
        image.write_all_at(&node, at).unwrap();
        changed += 1;
    });
    assert!(changed > 0, "there is no such item of inode {inode}");
}

/// Changes a byte wherever a sector of the image begins with these bytes.
pub fn damage(image: &File, start: &[u8]) {
    let mut changed = 0;
    each_block(image, 4096, |sector, at| {
        if sector.starts_with(start) {
            let byte = [sector[start.len() - 1] ^ 1];
            let at = at + u64::try_from(start.len()).unwrap() - 1;
            image.write_all_at(&byte, at).unwrap();
            changed += 1;
        }
    });
    assert!(changed > 0, "the data is nowhere");
}

fn each_block(image: &File, size: usize, mut look: impl FnMut(&[u8], u64)) {
    let end = image.metadata().unwrap().len();
    let mut block = vec![0; size];
    let size = u64::try_from(size).unwrap();
    for at in (0..end / size).map(|number| number * size) {
        image.read_exact_at(&mut block, at).unwrap();
        look(&block, at);
    }
}
