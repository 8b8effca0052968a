//! Metadata as it goes into the stream.

use bytes::Bytes;

use super::entry::{Metadata, Times};
use super::error::EntryFault;
use super::options::Options;
use crate::rules::limits::u64_of;
use crate::rules::sums::add;
use crate::rules::xattr::{self, XattrFault, XattrOn};
use crate::send_stream::Timespec;
use crate::send_stream::format::NANOSECONDS;

/// The metadata as it goes into the stream. What is left out of its attributes is added to a sum.
pub(super) fn checked(
    metadata: &Metadata,
    on: XattrOn,
    options: &Options,
    xattrs_left_out: &mut u64,
) -> Result<Metadata, EntryFault> {
    let mut metadata = metadata.clone();
    metadata.mode &= 0o7777;
    let Times {
        atime,
        mtime,
        ctime,
        otime,
    } = metadata.times;
    for Timespec { nanoseconds, .. } in [atime, mtime, ctime, otime] {
        if nanoseconds >= NANOSECONDS {
            return Err(EntryFault::Nanoseconds { got: nanoseconds });
        }
    }
    if let Some(latest) = options.latest {
        metadata.times = metadata.times.at_most(latest);
    }
    if options.leave_out_xattrs {
        let all = metadata.xattrs.len();
        metadata
            .xattrs
            .retain(|(name, _)| xattr::name_fault(name, on).is_none());
        let left_out = all.saturating_sub(metadata.xattrs.len());
        add(xattrs_left_out, u64_of(left_out));
    }
    let target = &options.extents.target;
    let node_size = target.node_size.max(target.sector_size);
    for (name, value) in &metadata.xattrs {
        if let Some(fault) = xattr::fault(name, value, on, node_size) {
            let why = why(fault);
            let name = name.clone();
            return Err(EntryFault::Xattr { name, why });
        }
    }
    metadata.xattrs.sort();
    settle_access_list(&mut metadata);
    Ok(metadata)
}

/// Permissions become those that an access list says, as Linux does it; a list that says no more than
/// permissions can is not stored.
fn settle_access_list(metadata: &mut Metadata) {
    metadata
        .xattrs
        .retain(|(name, value)| !xattr::is_access(name) || !xattr::is_empty_list(value));
    let list = |(name, _): &(Bytes, Bytes)| name == xattr::ACCESS;
    let Some(at) = metadata.xattrs.iter().position(list) else {
        return;
    };
    let told = metadata
        .xattrs
        .get(at)
        .and_then(|(_, value)| xattr::permissions(value));
    if let Some((permissions, is_all)) = told {
        metadata.mode = metadata.mode & !0o777 | permissions;
        if is_all {
            metadata.xattrs.remove(at);
        }
    }
}

fn why(fault: XattrFault) -> &'static str {
    match fault {
        XattrFault::Nameless => "without a name",
        XattrFault::Name => "as there is none of this name",
        XattrFault::Kind(why) => why,
        XattrFault::Value => "with this value",
        XattrFault::TooLong { .. } => "as it is too long",
    }
}
