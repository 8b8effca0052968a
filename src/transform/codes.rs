//! What each code of a finding in a send stream means. The codes of payloads are those of
//! [`crate::validate::explanations`].

use crate::validate::Explanation;

/// The explanation of a code that findings in send streams carry; payload codes included.
///
/// ```
/// use btrfs_payload::transform::explain;
/// assert!(explain("path-unknown").is_some());
/// assert!(explain("lzo-header-straddles").is_some());
/// assert!(explain("no-such-code").is_none());
/// ```
#[must_use]
pub fn explain(code: &str) -> Option<&'static Explanation> {
    explanations()
        .iter()
        .find(|explanation| explanation.code == code)
        .or_else(|| crate::validate::explain(code))
}

/// Every code of the stream itself, without those of payloads.
#[must_use]
pub fn explanations() -> &'static [Explanation] {
    &TABLE
}

macro_rules! table {
    ($($code:literal, $rule:literal, $effect:literal;)*) => {
        [$(Explanation { code: $code, rule: $rule, effect: $effect }),*]
    };
}

const TABLE: [Explanation; 37] = table![
    // The frame.
    "not-a-send-stream", "an input begins with the magic of a send stream, and so does what follows an END", "btrfs receive refuses it";
    "unknown-version", "the version of a stream is 1, 2 or 3", "btrfs receive refuses it";
    "truncated", "the input does not end inside a header or a command", "btrfs receive fails there and leaves the subvolume incomplete";
    "missing-end", "the last command of an input is END", "btrfs receive takes the end of the input for an error and leaves the subvolume incomplete";
    "command-too-long", "a command is at most 64 KiB in version 1 and 256 KiB since", "older programs refuse it; the length may be damaged";
    "command-checksum", "the CRC-32C of a command is right", "btrfs receive stops there; no byte of the command can be trusted";
    "header-without-end", "a stream ends with END before another one begins", "btrfs receive stops there";
    "command-after-end", "a stream header stands between END and the next command", "btrfs receive stops there";

    // One command.
    "unknown-command", "the number of a command is one of 1 to 26", "btrfs receive skips it without a word";
    "command-version", "the version of the stream has the command", "older receivers skip it or stop";
    "attribute-truncated", "attributes end with their command", "btrfs receive stops there";
    "attribute-size", "a number, time or identity has the size of its kind", "btrfs receive stops there";
    "attribute-missing", "a command has all the attributes it needs", "btrfs receive stops there";
    "unknown-attribute", "the number of an attribute is one of 1 to 35", "btrfs receive stops there";
    "duplicate-attribute", "an attribute is there once", "the last one counts";
    "unused-attribute", "a command has no attributes it does not use", "receivers ignore it";
    "attribute-version", "the version of the stream has the attribute", "receivers ignore it or stop";
    "zero-byte", "paths and names hold no zero byte", "receivers end them there: another file is meant";
    "name-too-long", "paths are at most 4095 bytes, names of extended attributes at most 255", "Linux refuses them with ENAMETOOLONG";
    "nanoseconds", "a time has fewer than 1,000,000,000 nanoseconds", "Linux refuses it with EINVAL";

    // The order of commands.
    "no-subvolume", "the first command of a stream is SUBVOL or SNAPSHOT", "btrfs receive has nowhere to put anything";
    "path-outside", "a path is relative and has no `..`, `.` or empty part", "a receiver may be led out of the subvolume";
    "path-unknown", "a path is made before it is used", "Linux gives ENOENT";
    "path-exists", "nothing is made under a name that is taken", "Linux gives EEXIST, or a rename replaces the file there";
    "parent-unknown", "a directory is made before what is inside it", "Linux gives ENOENT";
    "not-a-directory", "what has something inside it, or is removed by RMDIR, is a directory", "Linux gives ENOTDIR";
    "not-a-file", "data is written to, and cloned from, regular files", "Linux gives EISDIR or EINVAL";
    "is-a-directory", "LINK and UNLINK are about files", "Linux gives EPERM or EISDIR";
    "directory-not-empty", "RMDIR is about an empty directory", "Linux gives ENOTEMPTY";
    "into-itself", "a directory is not moved into itself", "Linux gives EINVAL";
    "clone-source-unknown", "the file cloned from is there before it is cloned from", "btrfs receive gives ENOENT";
    "clone-beyond-end", "a range cloned from ends inside its file", "Linux gives EINVAL";
    "beyond-largest-offset", "a range ends at or below file offset 2^63 - 1", "Linux gives EINVAL or EFBIG";
    "fallocate-mode", "FALLOCATE has a mode that Linux knows and btrfs has", "Linux gives EOPNOTSUPP";
    "empty-range", "a range that is written, cloned or reserved is not empty", "nothing happens, or Linux gives EINVAL";

    // Payloads.
    "receive-falls-back", "the ioctl takes an encoded write on the target filesystem", "btrfs receive decodes it and writes plain data: slower, and nothing is compressed";
    "order-unchecked", "the paths of a stream are known to the check", "none: the check stops following paths where they take more memory than it may use, or where damage has hidden a command";
];
