//! The rules in which decoders differ: three versions of libzstd, and this crate's strict one.

/// Whose rules a frame is decoded by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Rules {
    /// libzstd 1.4.10, in Linux 5.16 to 6.1.
    V1_4_10,
    /// libzstd 1.5.2, in Linux 6.2 to 6.15.
    V1_5_2,
    /// libzstd 1.5.7, in Linux 6.16 and later.
    V1_5_7,
    /// Everything that any of them refuses or that RFC 8878 forbids.
    Strict,
}

impl Rules {
    /// Bytes a compressed block must have.
    pub(crate) fn block_min(self) -> usize {
        match self {
            Self::V1_5_7 => 2,
            _ => 3,
        }
    }

    /// Fewer literals than four streams can share are refused as such.
    pub(crate) fn four_streams_need_six(self) -> bool {
        self >= Self::V1_5_7
    }

    /// The literals' four streams may not start after the last literal.
    pub(crate) fn streams_start_inside(self) -> bool {
        self >= Self::V1_5_2
    }

    /// Largest weight of a Huffman tree.
    pub(crate) fn weight_max(self) -> u8 {
        match self {
            Self::V1_4_10 | Self::Strict => 11,
            _ => 12,
        }
    }

    /// FSE-coded weights must hold both first states.
    pub(crate) fn weights_need_states(self) -> bool {
        self >= Self::V1_5_7
    }

    /// Exponent of the table that decodes two literals at a time, where codes allow it.
    pub(crate) fn pair_table_log(self) -> u32 {
        match self {
            Self::V1_4_10 => 12,
            _ => 11,
        }
    }

    /// Four long literal streams need not end where their last literal does.
    pub(crate) fn streams_end_anywhere(self) -> bool {
        self == Self::V1_5_7
    }

    /// Literals are always decoded one at a time, and each stream must end exactly.
    pub(crate) fn single_literals(self) -> bool {
        self == Self::Strict
    }

    /// 1 where what lies after the literals is set, which shows only in matches that reach much
    /// too far; else 0.
    pub(crate) fn slack_cleared(self) -> usize {
        usize::from(self == Self::V1_4_10)
    }

    /// Zero sequences in the long form end the section, and nothing may follow.
    pub(crate) fn zero_ends_section(self) -> bool {
        self >= Self::V1_5_7
    }

    /// The reserved bits of the modes byte must be zero.
    pub(crate) fn modes_checked(self) -> bool {
        self >= Self::V1_5_7
    }

    /// The bitstream must end exactly with the last sequence; else reading too much is fine.
    pub(crate) fn bitstream_exact(self) -> bool {
        self >= Self::V1_5_7
    }

    /// A repeated offset of zero is an error; else it is one.
    pub(crate) fn offset_zero_refused(self) -> bool {
        self >= Self::V1_5_7
    }
}
