//! Temporary names, which stand at the top: in the form that `btrfs send` has for them.

use bytes::Bytes;

/// A temporary name that is free. The number is another one each time.
pub(super) fn temporary(number: u64, is_free: impl Fn(&[u8]) -> bool) -> Bytes {
    let names = (0_u64..).map(|more| format!("o{number}-1-{more}"));
    let mut names = names.map(Bytes::from);
    names.find(|name| is_free(name)).unwrap_or_default()
}

/// Whether something may have had this path for a while.
pub(super) fn is_temporary(path: &[u8]) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let text = std::str::from_utf8(path).ok();
    let numbers = text.and_then(|text| text.strip_prefix('o')?.split_once("-1-"));
    numbers.is_some_and(|(number, more)| digits(number) && digits(more))
}
