//! What the codes of findings mean that are neither of a payload nor of a stream: those of
//! manifests and of files on btrfs. docs/manifest.md has the first as a table.

use btrfs_payload::transform;
use btrfs_payload::validate::{self, Explanation};

/// The explanation of a code, whatever it is of.
pub(super) fn explain(code: &str) -> Option<&'static Explanation> {
    TABLE
        .iter()
        .find(|explanation| explanation.code == code)
        .or_else(|| transform::explain(code))
}

/// Every code: of payloads, of streams, of manifests and files.
pub(super) fn explanations() -> impl Iterator<Item = &'static Explanation> {
    validate::explanations()
        .iter()
        .chain(transform::explanations())
        .chain(&TABLE)
}

macro_rules! table {
    ($($code:literal, $rule:literal, $effect:literal;)*) => {
        [$(Explanation { code: $code, rule: $rule, effect: $effect }),*]
    };
}

const TABLE: [Explanation; 20] = table![
    // Manifests.
    "manifest-line", "every line is a JSON object of a known kind with its fields", "the line is left out of the judgement, so what it describes seems to be missing";
    "manifest-header", "the first line, and no other, is the header", "the size of the file and of its sectors is not known; the options are taken instead";
    "manifest-gap", "every byte of the file is in a line", "the file cannot be made of it: extents are missing";
    "manifest-overlap", "no byte of the file is in two lines", "what the file has there depends on who reads the manifest";
    "manifest-order", "the extents come in the order of the file", "lines were moved, or two manifests mixed";
    "manifest-beyond-end", "no extent goes past the end of the file", "the file would become longer than it was";
    "manifest-size", "header, extents and end line agree on the size of the file", "one of them is not of this file";
    "manifest-no-end", "the last line is the end line", "the manifest may be cut anywhere; one that was never finished has no end either";
    "manifest-after-end", "nothing follows the end line", "two manifests were joined, or lines were added; they are not judged";
    "manifest-counts", "the end line counts the lines before it", "lines are missing or were added";
    "manifest-changed", "the lines before the end line have the SHA-256 that it gives", "lines were changed, by damage or by an editor, after they were written";
    "manifest-payload-name", "a payload is a regular file beside the manifest", "the payload is not looked at: a path or a link may lead anywhere";
    "manifest-payload-missing", "the payloads are there", "the file cannot be made of it";
    "manifest-payload-len", "a payload is as long as its line says", "it is cut, or another one";
    "manifest-payload-digest", "a payload has the SHA-256 that its line gives", "it is damaged, or another one; where it decodes all the same, nobody else notices";
    "manifest-data-digest", "a payload decodes to data with the SHA-256 that its line gives", "the payload is not of this data, or the data changed while it was read";
    "manifest-no-digest", "every payload has a SHA-256", "swapped payloads, and damage that decodes, cannot be found";
    "manifest-extra-file", "there is nothing beside a manifest but its payloads", "lines may be missing; --force does not replace such a directory";

    // Files on btrfs.
    "unreadable-extent", "the kernel can read every extent", "reads of the file fail with EIO there; btrfs scrub says whether another copy is good";
    "compressed-without-checksums", "compressed extents have checksums", "damage is decoded like data; new kernels make no such extents, and btrfs check calls them an error";
];
