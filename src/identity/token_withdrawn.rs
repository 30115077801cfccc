//! Tokens that the operator has withdrawn before their time:
//!
//! ```toml
//! [[withdrawn]]
//! jti = "2c1d0f3e"                        # one token
//! reason = "posted in a ticket"           # required; stands in the log beside every refusal
//!
//! [[withdrawn]]
//! sub = "acme/desk7"                      # every token of the principal that was issued before a moment
//! before = 2026-11-26T09:00:00Z
//! reason = "left the firm"
//! ```
//!
//! It holds from the reload that reads it, for new connections and for open sessions.

use std::collections::HashMap;

use serde::Deserialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use toml::Spanned;
use toml::value::Datetime;

use super::deny_list::is_printable;
use super::error::IdentityError;
use super::files::Contents;
use super::token::{NAME_BYTES_MAX, escaped};
use crate::clock::format_utc;
use crate::types::UnixNanos;
use crate::types::principal::is_name;

/// Most entries of one file.
const ENTRIES_MAX: usize = 100_000;

/// A checked file. Looking a token up takes two look-ups in hash tables, however long the file is.
#[derive(Debug, Default)]
pub(super) struct WithdrawnTokens {
    ids: HashMap<Box<str>, Entry>,
    /// With the second before which their tokens were issued.
    principals: HashMap<Box<str>, (u64, Entry)>,
}

#[derive(Debug)]
struct Entry {
    line: usize,
    reason: Box<str>,
}

impl WithdrawnTokens {
    /// Checks all of the file.
    pub(super) fn parse(contents: &Contents) -> Result<Self, IdentityError> {
        let at = |line: usize, what: String| IdentityError::WithdrawnTokens { line, what };
        let text =
            str::from_utf8(&contents.bytes).map_err(|_| at(1, "the file is not UTF-8 text".to_owned()))?;
        let file: FileText = toml::from_str(text)
            .map_err(|source| IdentityError::WithdrawnTokensSyntax { source: Box::new(source) })?;
        if file.withdrawn.len() > ENTRIES_MAX {
            let what = format!("{} entries, at most {ENTRIES_MAX} are allowed", file.withdrawn.len());
            return Err(at(1, what));
        }
        let mut withdrawn = Self::default();
        let (mut line, mut place) = (1, 0);
        for entry in file.withdrawn {
            let start = entry.span().start.max(place);
            line += text.as_bytes()[place..start].iter().filter(|byte| **byte == b'\n').count();
            place = start;
            withdrawn.add(entry.into_inner(), line).map_err(|what| at(line, what.to_owned()))?;
        }
        Ok(withdrawn)
    }

    fn add(&mut self, text: EntryText, line: usize) -> Result<(), &'static str> {
        if !is_printable(&text.reason) {
            return Err("the reason must be 1 to 300 printable ASCII characters");
        }
        let entry = Entry { line, reason: text.reason.into() };
        match (text.jti, text.sub, text.before) {
            (Some(id), None, None) if (1..=NAME_BYTES_MAX).contains(&id.len()) => {
                self.ids.insert(id.into(), entry);
            }
            (Some(_), None, None) => return Err("jti must be a text of 1 to 128 bytes"),
            (None, Some(principal), Some(before)) => {
                let is_principal =
                    principal.split_once('/').is_some_and(|(firm, user)| is_name(firm) && is_name(user));
                if !is_principal {
                    return Err("sub must be FIRM/USER, each of 1 to 64 characters of A-Z a-z 0-9 . _ -");
                }
                let before = second(before)?;
                // Named twice, the later moment withdraws what both do.
                let keeps = self.principals.get(&*principal).is_some_and(|(other, _)| *other >= before);
                if !keeps {
                    self.principals.insert(principal.into(), (before, entry));
                }
            }
            _ => return Err("an entry needs either jti, or sub and before"),
        }
        Ok(())
    }

    /// How many tokens and principals it names.
    pub(super) fn count(&self) -> usize {
        self.ids.len() + self.principals.len()
    }

    /// Why a token is withdrawn, if it is: entry and reason, for the log.
    pub(super) fn find(&self, id: &str, principal: &str, issued_s: u64) -> Option<String> {
        if let Some(Entry { line, reason }) = self.ids.get(id) {
            return Some(format!(
                "jti {} stands in the file of withdrawn tokens (line {line}): {reason}",
                escaped(id)
            ));
        }
        let (before, Entry { line, reason }) =
            self.principals.get(principal).filter(|(before, _)| issued_s < *before)?;
        let before = format_utc(UnixNanos(before.saturating_mul(1_000_000_000)));
        Some(format!("tokens of {principal} issued before {before} are withdrawn (line {line}): {reason}"))
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileText {
    #[serde(default)]
    withdrawn: Vec<Spanned<EntryText>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EntryText {
    jti: Option<String>,
    sub: Option<String>,
    before: Option<Datetime>,
    reason: String,
}

/// The second at or behind a moment with its offset.
fn second(moment: Datetime) -> Result<u64, &'static str> {
    let wrong = "before must be a date and time with its offset, after 1970";
    let moment = OffsetDateTime::parse(&moment.to_string(), &Rfc3339).map_err(|_| wrong)?;
    let seconds = moment.unix_timestamp() + i64::from(moment.nanosecond() > 0);
    u64::try_from(seconds).map_err(|_| wrong)
}
