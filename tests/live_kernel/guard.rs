//! What is never submitted, whatever the running kernel would make of it.
//!
//! Three judges that know nothing of each other's reasons; one objection suffices.

use btrfs_payload::rules::{Codec, ExtentFields, Target};
use btrfs_payload::validate::{Outcome, predict, validate};
use btrfs_payload::{Kernel, MAX_EXTENT};

/// True if the payload may be given to any kernel.
pub fn may_pass(payload: &[u8], fields: &ExtentFields, target: &Target) -> bool {
    // Only what is read as another codec's payload matters, and that is what is claimed.
    let Some(codec) = fields.codec() else {
        return true;
    };
    if !own_opinion(codec, payload, fields, target) {
        return false;
    }
    let findings = validate(payload, fields, target);
    let objection = |finding: &btrfs_payload::validate::Finding| finding.code == "unsafe-payload";
    if findings.findings().iter().any(objection) {
        return false;
    }
    [4096, 65536].into_iter().all(|page_size| {
        let target = target.page_size(page_size);
        Kernel::ALL
            .into_iter()
            .all(|kernel| predict(payload, fields, &target, kernel) != Outcome::Unsafe)
    })
}

/// An opinion that shares nothing with the models.
fn own_opinion(codec: Codec, payload: &[u8], fields: &ExtentFields, target: &Target) -> bool {
    match codec {
        Codec::Zlib => {
            let &[cmf, flg, ..] = payload else {
                return true;
            };
            // Refused unread: not deflate, a dictionary, a wrong check in either way of reckoning.
            let word = |flg: i32| (i32::from(cmf) * 256 + flg) % 31 == 0;
            let read = cmf & 15 == 8
                && flg & 0x20 == 0
                && (word(i32::from(flg)) || word(i32::from(flg.cast_signed())));
            // With a window of less than 32 KiB, only what is sound from end to end.
            !read || cmf == 0x78 || {
                let report = validate(payload, fields, target);
                report
                    .findings()
                    .iter()
                    .all(|finding| !finding.code.starts_with("zlib-"))
            }
        }
        Codec::Lzo => (payload.len() >= 8 || target.offset > 0) && lzo_segments_end_inside(payload),
        Codec::Zstd => true,
    }
}

/// True if no header that the chain of lengths leads to names a segment that ends after the
/// payload's last sector. A total that is not inside that sector leads nowhere.
fn lzo_segments_end_inside(payload: &[u8]) -> bool {
    let disk = payload.len().next_multiple_of(4096);
    let number = |at: usize| {
        let bytes = (at..at + 4).map(|at| payload.get(at).copied().unwrap_or(0));
        bytes
            .rev()
            .fold(0, |number, byte| number << 8 | usize::from(byte))
    };
    let total = number(0);
    if total > disk.min(MAX_EXTENT) || total + 4096 <= disk {
        return true;
    }
    let mut at = 4;
    while at < total {
        at += 4 + number(at);
        if at > disk {
            return false;
        }
        if at % 4096 > 4092 {
            at = at.next_multiple_of(4096);
        }
    }
    true
}
