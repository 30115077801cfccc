//! The deny-list: certificates, keys, subjects and principals that the operator refuses, whatever their authorities say.
//!
//! A revocation list needs the authority; this file needs an editor. It holds from the reload that reads it, for new
//! connections and for open sessions:
//!
//! ```toml
//! [[deny]]
//! serial = "5f3a09"                       # hexadecimal, as logs print it; colons and leading zeros are ignored
//! issuer = "CN=Acme Clients"              # optional: of this authority only, as logs print it
//! reason = "laptop left in a taxi"        # required; stands in the log beside every refusal
//! until = 2026-12-31                      # optional: the last day (UTC), or a moment with its offset
//!
//! [[deny]]                                # exactly one of serial, key_sha256, principal and subject
//! key_sha256 = "9f86d0..."                # SHA-256 of the SubjectPublicKeyInfo: every certificate of this key
//! reason = "key found in a repository"
//! ```
//!
//! Text is compared with what [`leaf::escape`] makes of a name. That forgets the kinds of strings and cuts very long names, so
//! a subject may hit more certificates than one, never fewer.

use std::collections::HashMap;

use serde::Deserialize;
use time::{Date, Month, OffsetDateTime, Time, UtcOffset};
use toml::Spanned;
use toml::value::{Datetime, Offset};

use super::error::IdentityError;
use super::files::Contents;
use super::leaf;
use crate::clock::format_utc;
use crate::types::principal::is_name;
use crate::types::{TimeArithmetic, UnixNanos};

/// Most entries of one file.
pub const ENTRIES_MAX: usize = 100_000;

/// Most bytes of a reason, a subject or an issuer.
const TEXT_BYTES_MAX: usize = 300;

/// Most bytes of a serial number: what RFC 5280 allows is 20, what is refused for its length may be named too.
const SERIAL_BYTES_MAX: usize = 64;

/// Until when an entry without `until` denies.
const FOREVER: UnixNanos = UnixNanos(u64::MAX);

/// What an entry names.
#[derive(Debug, PartialEq, Eq, Hash)]
enum Named {
    /// Serial number, without leading zeros, and perhaps the issuer.
    Serial(Box<[u8]>, Option<Box<str>>),
    Key([u8; 32]),
    Principal(Box<str>),
    Subject(Box<str>),
}

#[derive(Debug)]
struct Denial {
    line: usize,
    reason: Box<str>,
    /// Last moment at which it denies; the end of time if the file gives none.
    until: UnixNanos,
}

/// A checked deny-list. Looking a certificate up takes five look-ups in a hash table, however long the list is.
#[derive(Debug, Default)]
pub(super) struct DenyList(HashMap<Named, Denial>);

/// What of a certificate the list can name.
pub(super) struct Subjects<'a> {
    pub(super) raw_serial: &'a [u8],
    /// As [`leaf::escape`] prints it.
    pub(super) issuer: &'a str,
    /// As [`leaf::escape`] prints it.
    pub(super) subject: &'a str,
    pub(super) key_sha256: [u8; 32],
    /// `FIRM/USER`, if the certificate names a principal.
    pub(super) principal: Option<String>,
}

impl DenyList {
    /// Checks all of the file.
    pub(super) fn parse(contents: &Contents) -> Result<Self, IdentityError> {
        let text = str::from_utf8(&contents.bytes).map_err(|_| IdentityError::DenyList {
            line: 1,
            what: "the file is not UTF-8 text".to_owned(),
        })?;
        let file: FileText = toml::from_str(text)
            .map_err(|source| IdentityError::DenyListSyntax { source: Box::new(source) })?;
        if file.deny.len() > ENTRIES_MAX {
            let what = format!("{} entries, at most {ENTRIES_MAX} are allowed", file.deny.len());
            return Err(IdentityError::DenyList { line: 1, what });
        }
        let mut entries: HashMap<Named, Denial> = HashMap::with_capacity(file.deny.len());
        let (mut line, mut at) = (1, 0);
        for entry in file.deny {
            let start = entry.span().start.max(at);
            line += text.as_bytes()[at..start].iter().filter(|byte| **byte == b'\n').count();
            at = start;
            let refused = |what: &str| IdentityError::DenyList { line, what: what.to_owned() };
            let (named, denial) = check(entry.into_inner(), line).map_err(refused)?;
            // Named twice, it is denied as long as either says.
            let keeps = entries.get(&named).is_some_and(|before| before.until >= denial.until);
            if !keeps {
                entries.insert(named, denial);
            }
        }
        Ok(Self(entries))
    }

    /// How many certificates, keys and names it has, those whose time is over included.
    pub(super) fn count(&self) -> usize {
        self.0.len()
    }

    /// Whether it has any entry; if not, nothing need be made ready for looking up.
    pub(super) fn is_any(&self) -> bool {
        !self.0.is_empty()
    }

    /// Why the certificate is denied `now`, if it is: entry and reason, for the log.
    pub(super) fn find(&self, subjects: &Subjects<'_>, now: UnixNanos) -> Option<String> {
        let serial = || leaf::serial(subjects.raw_serial).into();
        let found = |named: Named| {
            let denial = self.0.get(&named).filter(|denial| now <= denial.until)?;
            Some(denial.describe(&named))
        };
        found(Named::Serial(serial(), None))
            .or_else(|| found(Named::Serial(serial(), Some(subjects.issuer.into()))))
            .or_else(|| found(Named::Key(subjects.key_sha256)))
            .or_else(|| found(Named::Subject(subjects.subject.into())))
            .or_else(|| found(Named::Principal(subjects.principal.as_deref()?.into())))
    }
}

impl Denial {
    fn describe(&self, named: &Named) -> String {
        let what = match named {
            Named::Serial(serial, None) => format!("serial {}", leaf::serial_hex(serial)),
            Named::Serial(serial, Some(issuer)) => format!("serial {} of {issuer}", leaf::serial_hex(serial)),
            Named::Key(digest) => format!("key {}", sealfeed_wire::hex::encode(digest)),
            Named::Principal(principal) => format!("principal {principal}"),
            Named::Subject(subject) => format!("subject {subject}"),
        };
        let until = match self.until {
            FOREVER => String::new(),
            until => format!(" until {}", format_utc(until)),
        };
        format!("{what} stands in the deny-list (line {}{until}): {}", self.line, self.reason)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileText {
    #[serde(default)]
    deny: Vec<Spanned<EntryText>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EntryText {
    serial: Option<String>,
    issuer: Option<String>,
    key_sha256: Option<String>,
    principal: Option<String>,
    subject: Option<String>,
    reason: String,
    until: Option<Datetime>,
}

fn check(entry: EntryText, line: usize) -> Result<(Named, Denial), &'static str> {
    if !is_printable(&entry.reason) {
        return Err("the reason must be 1 to 300 printable ASCII characters");
    }
    let until = entry.until.map_or(Ok(FOREVER), last_moment)?;
    let printable =
        |text: String, wrong| if is_printable(&text) { Ok(text.into_boxed_str()) } else { Err(wrong) };
    let named = match (entry.serial, entry.key_sha256, entry.principal, entry.subject) {
        (Some(serial), None, None, None) => {
            let wrong = "the issuer must be as the log prints it: 1 to 300 printable ASCII characters";
            let issuer = entry.issuer.map(|issuer| printable(issuer, wrong)).transpose()?;
            return Ok((Named::Serial(serial_of(&serial)?, issuer), denial(line, entry.reason, until)));
        }
        (None, Some(digest), None, None) => {
            Named::Key(digest_of(&digest).ok_or("key_sha256 must be 64 hexadecimal digits")?)
        }
        (None, None, Some(principal), None) => {
            let is_principal =
                principal.split_once('/').is_some_and(|(firm, user)| is_name(firm) && is_name(user));
            if !is_principal {
                return Err(
                    "the principal must be FIRM/USER, each of 1 to 64 characters of A-Z a-z 0-9 . _ -",
                );
            }
            Named::Principal(principal.into())
        }
        (None, None, None, Some(subject)) => Named::Subject(printable(
            subject,
            "the subject must be as the log prints it: 1 to 300 printable ASCII characters",
        )?),
        _ => return Err("an entry needs exactly one of serial, key_sha256, principal and subject"),
    };
    if entry.issuer.is_some() {
        return Err("an issuer goes with a serial only");
    }
    Ok((named, denial(line, entry.reason, until)))
}

fn denial(line: usize, reason: String, until: UnixNanos) -> Denial {
    Denial { line, reason: reason.into(), until }
}

pub(super) fn is_printable(text: &str) -> bool {
    (1..=TEXT_BYTES_MAX).contains(&text.len()) && text.bytes().all(|byte| (b' '..=b'~').contains(&byte))
}

/// A serial number as openssl or the log prints it.
fn serial_of(text: &str) -> Result<Box<[u8]>, &'static str> {
    let wrong = "the serial must be 1 to 64 bytes in hexadecimal digits";
    let digits: Vec<u8> = text.bytes().filter(|byte| *byte != b':').collect();
    if digits.is_empty() || digits.len() > 2 * SERIAL_BYTES_MAX {
        return Err(wrong);
    }
    let value =
        |digit: u8| char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok()).ok_or(wrong);
    let mut bytes = Vec::with_capacity(digits.len().div_ceil(2));
    let (first, pairs) = digits.split_at(digits.len() % 2);
    for digit in first {
        bytes.push(value(*digit)?);
    }
    for pair in pairs.chunks_exact(2) {
        bytes.push(value(pair[0])? << 4 | value(pair[1])?);
    }
    Ok(leaf::serial(&bytes).into())
}

/// A digest of 32 bytes in hexadecimal digits of either case, colons allowed.
pub(super) fn digest_of(text: &str) -> Option<[u8; 32]> {
    let digits: String =
        text.chars().filter(|char| *char != ':').map(|char| char.to_ascii_lowercase()).collect();
    sealfeed_wire::hex::decode(&digits).ok()
}

/// The last moment that a date (all of it, UTC) or a moment with its offset means.
fn last_moment(text: Datetime) -> Result<UnixNanos, &'static str> {
    let wrong = "until must be a date, or a date and time with its offset, after 1970";
    let date = text.date.ok_or(wrong)?;
    let month = Month::try_from(date.month).map_err(|_| wrong)?;
    let date = Date::from_calendar_date(date.year.into(), month, date.day).map_err(|_| wrong)?;
    let moment = match (text.time, text.offset) {
        (None, None) => OffsetDateTime::new_utc(date, Time::MAX),
        (Some(time), Some(offset)) => {
            let minutes = match offset {
                Offset::Z => 0,
                Offset::Custom { minutes } => i32::from(minutes),
            };
            let offset = UtcOffset::from_whole_seconds(minutes * 60).map_err(|_| wrong)?;
            let time = Time::from_hms(time.hour, time.minute, time.second.unwrap_or(0)).map_err(|_| wrong)?;
            OffsetDateTime::new_in_offset(date, time, offset)
        }
        _ => return Err(wrong),
    };
    let seconds = u64::try_from(moment.unix_timestamp()).map_err(|_| wrong)?;
    // To the end of the second that was named.
    Ok(UnixNanos(seconds.saturating_mul(1_000_000_000)).plus_ns(999_999_999))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::error::FileRole;
    use crate::identity::files::FileRecord;

    const NOW: UnixNanos = UnixNanos(1_790_000_000_000_000_000);

    fn parse(text: &str) -> Result<DenyList, String> {
        let record = FileRecord { role: FileRole::DenyList, path: "deny.toml".into(), sha256: None };
        let bytes = text.as_bytes().to_vec();
        DenyList::parse(&Contents { role: FileRole::DenyList, bytes, record, digest: [0; 32] })
            .map_err(|error| format!("{:#}", anyhow::Error::from(error)))
    }

    fn desk7() -> Subjects<'static> {
        Subjects {
            raw_serial: &[0, 0x8f, 1],
            issuer: "CN=Test Clients",
            subject: "O=acme, CN=desk7",
            key_sha256: [0xab; 32],
            principal: Some("acme/desk7".to_owned()),
        }
    }

    fn found(entry: &str) -> Option<String> {
        parse(&format!("[[deny]]\n{entry}\nreason = \"lost\"\n")).unwrap().find(&desk7(), NOW)
    }

    #[test]
    fn each_kind_of_entry_denies_what_it_names_and_says_where_and_why() {
        let key = "AB:".repeat(31) + "ab";
        for (entry, named) in [
            ("serial = \"8f01\"".to_owned(), "serial 8f01 stands"),
            ("serial = \"00:8F:01\"".to_owned(), "serial 8f01 stands"),
            (
                "serial = \"8f01\"\nissuer = \"CN=Test Clients\"".to_owned(),
                "serial 8f01 of CN=Test Clients stands",
            ),
            (format!("key_sha256 = \"{key}\""), "key abab"),
            ("principal = \"acme/desk7\"".to_owned(), "principal acme/desk7 stands"),
            ("subject = \"O=acme, CN=desk7\"".to_owned(), "subject O=acme, CN=desk7 stands"),
        ] {
            let why = found(&entry).unwrap_or_else(|| panic!("{entry}"));
            assert!(why.starts_with(named) && why.ends_with("(line 1): lost"), "{why}");
        }
    }

    #[test]
    fn the_documented_example_is_a_deny_list() {
        let list = parse(include_str!("../../docs/examples/deny.toml")).unwrap();
        assert_eq!(list.count(), 4);
        assert!(list.find(&desk7(), NOW).unwrap().ends_with(": suspended by compliance"));
    }

    #[test]
    fn an_entry_denies_nobody_else() {
        for entry in [
            "serial = \"8f0100\"",
            "serial = \"8f\"",
            "serial = \"8f01\"\nissuer = \"CN=Other Clients\"",
            "principal = \"acme/desk70\"",
            "principal = \"beta/desk7\"",
            "subject = \"O=acme, CN=desk\"",
            "subject = \"CN=desk7, O=acme\"",
            &format!("key_sha256 = \"{}\"", "ac".repeat(32)),
        ] {
            assert_eq!(found(entry), None, "{entry}");
        }
        let nobody = Subjects { principal: None, ..desk7() };
        let list = parse("[[deny]]\nprincipal = \"acme/desk7\"\nreason = \"x\"").unwrap();
        assert_eq!(list.find(&nobody, NOW), None);
    }

    #[test]
    fn an_entry_denies_to_the_end_of_its_day_or_second() {
        // NOW is 2026-09-21T14:13:20Z.
        for (until, is_denied) in [
            ("2026-09-21", true),
            ("2026-09-20", false),
            ("2026-09-21T14:13:20Z", true),
            ("2026-09-21T14:13:19Z", false),
            ("2026-09-21T16:13:20+02:00", true),
            ("2026-09-21T16:13:19+02:00", false),
        ] {
            assert_eq!(found(&format!("serial = \"8f01\"\nuntil = {until}")).is_some(), is_denied, "{until}");
        }
    }

    #[test]
    fn what_is_named_twice_is_denied_as_long_as_either_says() {
        let entry = |until: &str| format!("[[deny]]\nserial = \"8f01\"\nreason = \"x\"\n{until}\n");
        for text in [entry("") + &entry("until = 2026-01-01"), entry("until = 2026-01-01") + &entry("")] {
            let list = parse(&text).unwrap();
            assert_eq!(list.count(), 1);
            assert!(list.find(&desk7(), NOW).is_some());
        }
    }

    #[test]
    fn an_entry_that_cannot_be_meant_is_refused_with_its_line() {
        let key = "ab".repeat(31);
        for entry in [
            "reason = \"x\"",
            "serial = \"1\"\nprincipal = \"a/b\"\nreason = \"x\"",
            "serial = \"\"\nreason = \"x\"",
            "serial = \"0x1\"\nreason = \"x\"",
            "serial = \"1\"\nreason = \"\"",
            "serial = \"1\"\nreason = \"a\\nb\"",
            "serial = \"1\"\nissuer = \"\"\nreason = \"x\"",
            "principal = \"acme\"\nreason = \"x\"",
            "principal = \"acme/a/b\"\nreason = \"x\"",
            "principal = \"acme/*\"\nreason = \"x\"",
            "principal = \"acme/b\"\nissuer = \"CN=x\"\nreason = \"x\"",
            "subject = \"CN=\u{430}\"\nreason = \"x\"",
            &format!("key_sha256 = \"{key}\"\nreason = \"x\""),
            "serial = \"1\"\nreason = \"x\"\nuntil = 2026-09-21T14:13:20",
            "serial = \"1\"\nreason = \"x\"\nuntil = 14:13:20",
            "serial = \"1\"\nreason = \"x\"\nuntil = 1969-12-31",
        ] {
            let good = "# list\n[[deny]]\nserial = \"1\"\nreason = \"x\"\n";
            let error = parse(&format!("{good}[[deny]]\n{entry}\n")).map(|_| ()).expect_err(entry);
            assert!(error.contains("line 5"), "{entry}: {error}");
        }
        for text in
            ["[[deny]]\nserial = \"1\"", "deny = 1", "[[denied]]\nserial = \"1\"\nreason = \"x\"", "x"]
        {
            assert!(parse(text).is_err(), "{text}");
        }
        assert_eq!(parse("").unwrap().count(), 0);
    }

    proptest::proptest! {
        #[test]
        fn a_serial_is_found_in_whatever_form_it_was_written(
            bytes in proptest::collection::vec(proptest::num::u8::ANY, 1..40),
            zeros in 0_usize..3,
            colons in proptest::bool::ANY,
        ) {
            let written = [vec![0; zeros], bytes.clone()].concat();
            let separator = if colons { ":" } else { "" };
            let text: Vec<String> = written.iter().map(|byte| format!("{byte:02X}")).collect();
            let found = serial_of(&text.join(separator)).unwrap();
            proptest::prop_assert_eq!(&*found, leaf::serial(&bytes));
        }
    }
}
