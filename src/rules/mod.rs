//! Every number and size rule of encoded writes, and the types that carry claims.
//!
//! Pure arithmetic: nothing here looks into a payload, allocates in proportion to one, or
//! touches a file.
//!
//! * [`ExtentFields`]: what somebody claims of a payload, unchecked;
//! * [`Target`]: where it is to land;
//! * [`WriteCall`]: one call of the encoded-write ioctl; which rules it breaks, what a kernel
//!   answers;
//! * [`Placement`]: whether the extent becomes inline or regular; [`Sectors`]: what it takes;
//! * [`Codec`], [`EncodedIoId`], [`OnDiskId`]: the compression types and their two numberings.

mod fields;
pub mod limits;
mod numbering;
mod placement;
pub(crate) mod sums;
mod write_call;
pub(crate) mod xattr;

pub use fields::{ExtentFields, Target};
pub use numbering::{Codec, EncodedIoId, OnDiskId, ParseCodecError};
pub use placement::{Placement, Sectors, can_be_inline, placement, plain_sectors};
pub use write_call::{Received, WriteAnswer, WriteCall, WriteRule};
