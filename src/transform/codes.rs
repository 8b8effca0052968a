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
        [$(Explanation::new($code, $rule, $effect)),*]
    };
}

const TABLE: [Explanation; 59] = table![
    // The frame.
    "not-a-send-stream", "an input begins with the magic of a send stream, and so does what follows an END", "btrfs receive refuses it";
    "unknown-version", "the version of a stream is 1, 2 or 3", "receivers refuse a version that is too new; they do not look for 0, which btrfs-progs 6.2 receives as it does 1";
    "truncated", "the input does not end inside a header or a command", "btrfs receive fails there and leaves the subvolume incomplete";
    "missing-end", "the last command of an input is END", "btrfs receive takes the end of the input for an error and leaves the subvolume incomplete";
    "empty-input", "an input has at least one byte", "the sender died before the first one; btrfs receive refuses it";
    "command-too-long", "a command is not longer than what the reader may take (--max-command-size, 16 MiB by default)", "mostly the length is damaged; btrfs receive takes any length that is right";
    "large-command", "a command is at most 64 KiB in version 1 and 256 KiB since, as kernels make them", "btrfs receive of btrfs-progs 6.2 takes it; older ones have no room for it";
    "stream-found", "a stream header stands at the beginning of a stream and nowhere else", "a send that was restarted begins again inside its own output, and text gets in front of a stream: what begins at the header is whole if nothing is found in it, and can be cut out (tail -c +N, N being the offset plus 1)";
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
    "name-too-long", "paths are at most 4095 bytes, with the name of the subvolume in front of them; parts of a path, and names of extended attributes, at most 255", "Linux refuses them with ENAMETOOLONG or ERANGE";
    "nanoseconds", "a time has fewer than 1,000,000,000 nanoseconds", "Linux refuses it with EINVAL";

    // The order of commands.
    "no-subvolume", "the first command of a stream is SUBVOL or SNAPSHOT", "btrfs receive has nowhere to put anything";
    "path-outside", "a path has no part `..`", "a receiver may be led out of the subvolume";
    "path-form", "a path has a single slash between its parts, none at its ends, and no part `.`", "senders make no other; btrfs receive takes them for the same files (a warning), but makes, moves and removes nothing under what ends in `.`";
    "path-unknown", "a path is made before it is used", "Linux gives ENOENT";
    "path-exists", "nothing is made under a name that is taken", "Linux gives EEXIST; where MKFILE finds a file, the file is emptied, and a rename replaces what is there";
    "parent-unknown", "a directory is made before what is inside it", "Linux gives ENOENT";
    "not-a-directory", "what has something inside it, is removed by RMDIR, or is replaced by a directory, is a directory", "Linux gives ENOTDIR";
    "not-a-file", "data is written to, and cloned from, regular files", "Linux gives EISDIR or EINVAL";
    "is-a-directory", "LINK and UNLINK are about files, and nothing but a directory replaces one", "Linux gives EPERM or EISDIR";
    "directory-not-empty", "a directory that is removed or replaced is empty", "Linux gives ENOTEMPTY";
    "into-itself", "a directory is not moved into itself", "Linux gives EINVAL";
    "subvolume-name", "a subvolume has a name, which is no path", "Linux gives EACCES or EINVAL";
    "empty-target", "a symbolic link leads somewhere", "Linux gives ENOENT";
    "node-kind", "MKNOD makes a device, pipe, socket or file, with a device number of 32 bits", "Linux gives EPERM or EINVAL";
    "too-many-links", "a file has at most 65535 names", "Linux gives EMLINK";
    "through-symlink", "CHMOD is not about symbolic links", "btrfs receive changes what the link leads to, or gives ENOENT";
    "xattr-name", "an extended attribute has a name, in a namespace that btrfs has", "Linux gives ERANGE, EINVAL or EOPNOTSUPP";
    "xattr-kind", "the file is of a kind that has such an extended attribute", "Linux gives EPERM, EACCES or EOPNOTSUPP";
    "xattr-value", "capabilities, access lists and properties of btrfs have a value that Linux knows", "Linux gives EINVAL or EOPNOTSUPP";
    "xattr-too-long", "name and value of an extended attribute fit into a node", "Linux gives ENOSPC or E2BIG";
    "xattr-unknown", "an extended attribute is set before it is removed", "Linux gives ENODATA; capabilities are dropped when the file is changed";
    "clone-source-unknown", "the file cloned from is there before it is cloned from", "btrfs receive gives ENOENT";
    "clone-beyond-end", "a range cloned from ends inside its file", "Linux gives EINVAL";
    "clone-unaligned", "both offsets of a clone are multiples of the sector size, and so is the length, unless the range ends at the end of the source", "Linux gives EINVAL";
    "clone-too-long", "a clone has at most 2^31 - 1 bytes", "receivers do not take such a length as it is; no sender makes one";
    "clone-overlap", "ranges cloned from and to in one file do not overlap", "Linux gives EINVAL";
    "clone-into-middle", "a clone that ends inside a sector lands at or past the end of the file", "Linux gives EINVAL";
    "beyond-largest-offset", "a range ends at or below file offset 2^63 - 1", "Linux gives EINVAL or EFBIG";
    "fallocate-mode", "FALLOCATE has a mode that Linux knows and btrfs has", "Linux gives EOPNOTSUPP";
    "empty-range", "a range that is written, cloned or reserved is not empty", "a write does nothing; a clone goes to the end of the source; FALLOCATE gives EINVAL";
    "parent-missing", "the parent of an increment is in the input or among the parents given", "btrfs receive needs it on its filesystem; what it has is not known to the check";
    "parent-changed", "the parent of an increment is what it was when the increment was made (of a chain)", "btrfs receive goes on; names and data that the increment does not touch may not be the sender's, and commands may fail";
    "clone-source-missing", "a subvolume cloned from is in the input or among the parents given", "btrfs receive needs it on its filesystem; what it has is not known to the check";
    "data-left-out", "the data of files is in the stream", "after a send without data (--no-data), files have holes where data should be, or end early, and clones from there fail";

    // Payloads.
    "receive-falls-back", "the ioctl takes an encoded write on the target filesystem", "btrfs receive decodes it and writes plain data: slower, and nothing is compressed";
    "order-unchecked", "the paths of a stream are known to the check", "none: the check stops following paths where they take more memory than it may use, or where damage has hidden a command";
];
