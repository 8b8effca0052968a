//! The checksum of commands.

use crc_fast::{CrcAlgorithm, Digest};

/// CRC-32C of a whole command with its checksum field taken as zero: initial value 0, no final
/// inversion. Shorter input is summed as if it ended before or inside that field.
#[must_use]
pub(super) fn command_crc(command: &[u8]) -> u32 {
    /// Length and number of the command come before the checksum.
    const BEFORE: usize = 6;
    const FIELD: usize = 4;
    let (head, rest) = command.split_at(BEFORE.min(command.len()));
    let (_, attributes) = rest.split_at(FIELD.min(rest.len()));
    // The bare register: the algorithm's own initial value is left out, its final inversion undone.
    let mut crc = Digest::new_with_init_state(CrcAlgorithm::Crc32Iscsi, 0);
    crc.update(head);
    crc.update(&[0; FIELD]);
    crc.update(attributes);
    let [.., a, b, c, d] = crc.finalize().to_be_bytes();
    !u32::from_be_bytes([a, b, c, d])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The register bit by bit, from the polynomial alone.
    fn bit_by_bit(bytes: &[u8]) -> u32 {
        bytes.iter().fold(0, |crc, &byte| {
            (0..8).fold(crc ^ u32::from(byte), |crc, _| {
                (crc >> 1) ^ if crc & 1 == 1 { 0x82F6_3B78 } else { 0 }
            })
        })
    }

    quickcheck::quickcheck! {
        fn equals_the_polynomial_division(command: Vec<u8>) -> bool {
            let mut zeroed = command.clone();
            zeroed.resize(command.len().max(10), 0);
            zeroed[6..10].fill(0);
            // Short input stands for itself plus the zero field.
            let expected = if command.len() >= 6 {
                bit_by_bit(&zeroed)
            } else {
                bit_by_bit(&[&command[..], &[0; 4]].concat())
            };
            command_crc(&command) == expected
        }
    }

    #[test]
    fn the_end_command_of_a_kernel_made_stream() {
        // The last ten bytes of a stream that Linux 6.18 made.
        let end = [0, 0, 0, 0, 21, 0, 0x50, 0x6c, 0xc9, 0x9d];
        assert_eq!(command_crc(&end), 0x9dc9_6c50);
    }
}
