//! Checks one command: lists everything about it that a sound stream does not have.

#![deny(clippy::indexing_slicing)]

use btrfs_payload_common::Truncated;

use super::format::{Attribute, NANOSECONDS, STREAM_HEADER_LEN, ValueType};
use super::issue::{CommandError, Issue};
use super::kind::CommandKind;
use super::raw::{Lead, RawCommand, Tlv};
use crate::rules::limits::u64_of;

impl RawCommand {
    /// Everything about the command that a sound stream does not have, in the order of the
    /// bytes; what is missing comes last.
    pub fn issues(&self) -> impl Iterator<Item = Issue> {
        let mut seen = Seen::default();
        self.header_issues()
            .into_iter()
            .chain(
                self.tlvs()
                    .flat_map(move |tlv| self.attribute_issues(tlv, &mut seen)),
            )
            .flatten()
            .chain(self.missing_attributes())
    }

    fn header_issues(&self) -> [Option<Issue>; 4] {
        let offset = self.offset();
        let (_, number, stored) = self.header();
        let kind = CommandKind::from_number(number);
        [
            match self.lead() {
                Lead::AsDue => None,
                Lead::HeaderWithoutEnd => Some(Issue::HeaderWithoutEnd {
                    offset: offset.saturating_sub(u64_of(STREAM_HEADER_LEN)),
                }),
                Lead::End => Some(Issue::CommandAfterEnd { offset }),
            },
            (stored != self.computed_crc()).then_some(Issue::Checksum {
                offset,
                stored,
                computed: self.computed_crc(),
            }),
            kind.is_none().then(|| self.unknown().into()),
            kind.filter(|kind| kind.since() > self.version())
                .map(|command| Issue::CommandVersion {
                    offset,
                    command,
                    got: self.version(),
                    expected: command.since(),
                }),
        ]
    }

    fn attribute_issues(
        &self,
        tlv: Result<Tlv<'_>, Truncated>,
        seen: &mut Seen,
    ) -> [Option<Issue>; 4] {
        let tlv = match tlv {
            Ok(tlv) => tlv,
            Err(truncated) => {
                let issue = CommandError::Truncated(truncated).into();
                return [Some(issue), None, None, None];
            }
        };
        let offset = tlv.offset;
        let Some(attribute) = Attribute::from_number(tlv.number) else {
            let got = tlv.number;
            let issue = Issue::UnknownAttribute { offset, got };
            return [Some(issue), None, None, None];
        };
        [
            (!seen.insert(attribute)).then_some(Issue::DuplicateAttribute { offset, attribute }),
            self.kind()
                .filter(|kind| kind.attributes().iter().all(|u| u.attribute != attribute))
                .map(|command| Issue::UnusedAttribute {
                    offset,
                    command,
                    attribute,
                }),
            (attribute.since() > self.version()).then(|| Issue::AttributeVersion {
                offset,
                attribute,
                got: self.version(),
                expected: attribute.since(),
            }),
            value_issue(attribute, tlv.value_offset, tlv.value),
        ]
    }

    /// Needed attributes that are not there. Nothing where the attributes cannot be told
    /// apart, or the command is unknown.
    fn missing_attributes(&self) -> impl Iterator<Item = Issue> {
        let mut seen = Seen::default();
        let whole = self.tlvs().all(|tlv| {
            tlv.is_ok_and(|tlv| {
                if let Some(attribute) = Attribute::from_number(tlv.number) {
                    seen.insert(attribute);
                }
                true
            })
        });
        self.kind()
            .filter(|_| whole)
            .into_iter()
            .flat_map(move |command| {
                command
                    .attributes()
                    .iter()
                    .filter(move |usage| !usage.optional && !seen.contains(usage.attribute))
                    .map(move |usage| self.missing(command, usage.attribute).into())
            })
    }
}

/// What is wrong with the value of an attribute, whatever command it is in.
fn value_issue(attribute: Attribute, offset: u64, value: &[u8]) -> Option<Issue> {
    let got = value.len();
    let form = attribute.value_type();
    if let Some(expected) = form.size().filter(|&size| size != got) {
        return Some(Issue::Command(CommandError::Size {
            offset,
            attribute,
            got,
            expected,
        }));
    }
    match form {
        ValueType::Timespec => {
            let got = u32::from_le_bytes(*value.last_chunk()?);
            (got >= NANOSECONDS).then_some(Issue::Nanoseconds {
                offset,
                attribute,
                got,
            })
        }
        ValueType::String if got > attribute.max_len() => Some(Issue::TooLong {
            offset,
            attribute,
            got,
            limit: attribute.max_len(),
        }),
        ValueType::String => {
            let zero = value.iter().position(|&byte| byte == 0)?;
            Some(Issue::ZeroByte {
                offset: offset.saturating_add(u64_of(zero)),
                attribute,
            })
        }
        _ => None,
    }
}

/// A set of attributes.
#[derive(Debug, Clone, Copy, Default)]
struct Seen(u64);

impl Seen {
    /// The attribute's bit; numbers end at 35.
    fn bit(attribute: Attribute) -> u64 {
        1 << attribute.number()
    }

    /// Adds it; false when it was there.
    fn insert(&mut self, attribute: Attribute) -> bool {
        let new = !self.contains(attribute);
        self.0 |= Self::bit(attribute);
        new
    }

    fn contains(self, attribute: Attribute) -> bool {
        self.0 & Self::bit(attribute) != 0
    }
}
