//! The machines that kernels run on.

use crate::behaviour::Behaviour;
use crate::kernel::Kernel;

/// A kernel together with the two sizes that decide how it cuts input and output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Machine {
    /// The kernel.
    pub kernel: Kernel,
    /// Sector size of the filesystem, bytes: a power of two, 4096 to 65536.
    pub sector_size: usize,
    /// Page size of the machine, bytes: a power of two, 4096 to 65536.
    pub page_size: usize,
}

impl Machine {
    /// Bytes the decoders take from the stored extent at a time: a page, or since
    /// [`Behaviour::SectorChunks`] the larger of page and sector.
    #[must_use]
    pub fn input_chunk(&self) -> usize {
        if self.kernel.has(Behaviour::SectorChunks) {
            self.page_size.max(self.sector_size)
        } else {
            self.page_size
        }
    }

    /// Bytes the decoders produce at a time: a page, or since [`Behaviour::SectorChunks`] a
    /// sector.
    #[must_use]
    pub fn output_chunk(&self) -> usize {
        if self.kernel.has(Behaviour::SectorChunks) {
            self.sector_size
        } else {
            self.page_size
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_follow_pages_and_then_sectors() {
        let machine = |kernel, sector_size, page_size| Machine {
            kernel,
            sector_size,
            page_size,
        };
        let subpage = machine(Kernel::line(6, 17), 4096, 65536);
        assert_eq!(
            (subpage.input_chunk(), subpage.output_chunk()),
            (65536, 65536)
        );
        let subpage = machine(Kernel::V7_2, 4096, 65536);
        assert_eq!(
            (subpage.input_chunk(), subpage.output_chunk()),
            (65536, 4096)
        );
    }
}
