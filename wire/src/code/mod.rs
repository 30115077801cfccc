//! The one table of error codes: `SF-<area>-<nnn>`, with what each means and what to do about it.
//!
//! A code is the same in the reply, the log, the metric and the audit record. Codes are wire contract: append
//! within an area only; never renumber, never reuse, never change a meaning. Message and hint are fixed texts
//! for clients; `explain` is for whoever looks the code up. The numbers of [`Code`] are permanent too: area times
//! 1000 plus number.

mod any;
mod aud;
mod cfg;
mod cli;
mod effect;
mod list;
mod ord;
mod publish;
mod rsk;
mod ses;
mod sub;
mod tls;

use std::fmt;

use serde::{Serialize, Serializer};

pub use any::AnyCode;
pub use list::Code;

/// What a code is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u16)]
pub enum Area {
    /// What stops a connection before the upgrade. The peer sees a TLS alert only; the code goes to log, metric and audit record.
    Tls = 1,
    /// The upgrade, the connection, and the form of requests.
    Ses = 2,
    /// Subscriptions.
    Sub = 3,
    /// Signed requests and orders.
    Ord = 4,
    /// Limits on what a principal may order.
    Rsk = 5,
    /// Publishers and other sources of market data.
    Pub = 6,
    /// The sealed log.
    Aud = 7,
    /// Configuration, certificates and files of the server. For operators; never sent to clients.
    Cfg = 8,
    /// Several machines. Reserved: no code yet.
    Clu = 9,
    /// What the commands for clients find by themselves. For whoever runs them; never sent.
    Cli = 10,
}

impl Area {
    /// Every area.
    pub const ALL: &[Self] = &[
        Self::Tls,
        Self::Ses,
        Self::Sub,
        Self::Ord,
        Self::Rsk,
        Self::Pub,
        Self::Aud,
        Self::Cfg,
        Self::Clu,
        Self::Cli,
    ];

    /// The three letters in the code.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tls => "TLS",
            Self::Ses => "SES",
            Self::Sub => "SUB",
            Self::Ord => "ORD",
            Self::Rsk => "RSK",
            Self::Pub => "PUB",
            Self::Aud => "AUD",
            Self::Cfg => "CFG",
            Self::Clu => "CLU",
            Self::Cli => "CLI",
        }
    }
}

/// Whether the same request can succeed later without a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Retry {
    /// Yes: after a pause, freshly signed if it was signed. `retryable` is true on the wire.
    Later,
    /// No: something has to change first.
    Never,
}

/// One line of the table.
#[derive(Debug)]
struct Entry {
    code: Code,
    text: &'static str,
    retry: Retry,
    message: &'static str,
    hint: &'static str,
    explain: &'static str,
}

/// Entries of every area: area 1 first; within an area by number. Numbers may be left out.
const TABLES: [&[Entry]; 10] = [
    tls::TABLE,
    ses::TABLE,
    sub::TABLE,
    ord::TABLE,
    rsk::TABLE,
    publish::TABLE,
    aud::TABLE,
    cfg::TABLE,
    &[],
    cli::TABLE,
];

// Sorted, so that a lookup is a search by halves.
const _: () = {
    let mut area = 0;
    while area < TABLES.len() {
        let mut index = 0;
        while index < TABLES[area].len() {
            let number = TABLES[area][index].code as usize;
            assert!(number / 1000 == area + 1);
            assert!(index == 0 || number > TABLES[area][index - 1].code as usize);
            index += 1;
        }
        area += 1;
    }
};

impl Code {
    /// Every code, by area and number.
    pub fn all() -> impl Iterator<Item = Self> {
        TABLES.iter().flat_map(|table| table.iter().map(|entry| entry.code))
    }

    fn entry(self) -> &'static Entry {
        let table = TABLES[usize::from(self.number() / 1000 - 1)];
        let place = table.partition_point(|entry| entry.code < self);
        debug_assert_eq!(table[place].code, self, "every code has its entry");
        &table[place]
    }

    /// The permanent number: area times 1000 plus number within the area.
    #[must_use]
    pub const fn number(self) -> u16 {
        self as u16
    }

    /// The code of a permanent number.
    #[must_use]
    pub fn from_number(number: u16) -> Option<Self> {
        let table = TABLES.get(usize::from(number / 1000).checked_sub(1)?)?;
        let place = table.binary_search_by_key(&number, |entry| entry.code.number()).ok()?;
        Some(table[place].code)
    }

    /// The area.
    #[must_use]
    pub fn area(self) -> Area {
        Area::ALL[usize::from(self.number() / 1000 - 1)]
    }

    /// The text on the wire, such as `SF-ORD-004`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.entry().text
    }

    /// What was wrong: fixed text for clients, lower case, no full stop.
    #[must_use]
    pub fn message(self) -> &'static str {
        self.entry().message
    }

    /// What to do, in one sentence.
    #[must_use]
    pub fn hint(self) -> &'static str {
        self.entry().hint
    }

    /// What happened, why, and what to do: for `sealfeed explain`.
    #[must_use]
    pub fn explain(self) -> &'static str {
        self.entry().explain
    }

    /// Whether the same request can succeed later.
    #[must_use]
    pub fn retry(self) -> Retry {
        self.entry().retry
    }

    /// `retryable` on the wire.
    #[must_use]
    pub fn is_retryable(self) -> bool {
        self.retry() == Retry::Later
    }

    /// The code of a text; `None` for a text that is not in the table.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (area, number) = text.strip_prefix("SF-")?.split_once('-')?;
        let area = Area::ALL.iter().find(|known| known.as_str() == area)?;
        let is_number = number.len() == 3 && number.bytes().all(|byte| byte.is_ascii_digit());
        let number: u16 = if is_number { number.parse().ok()? } else { return None };
        Self::from_number(*area as u16 * 1000 + number)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_reads_back_from_text_and_number() {
        for code in Code::all() {
            assert_eq!(Code::parse(code.as_str()), Some(code));
            assert_eq!(Code::from_number(code.number()), Some(code));
            let text = format!("SF-{}-{:03}", code.area().as_str(), code.number() % 1000);
            assert_eq!(code.as_str(), text, "{code:?}");
        }
        assert_eq!(Code::all().collect::<std::collections::BTreeSet<_>>().len(), Code::all().count());
    }

    #[test]
    fn other_texts_and_numbers_are_no_codes() {
        for bad in [
            "",
            "SF-ORD-000",
            "SF-ORD-999",
            "SF-ORD-1",
            "SF-ORD-+01",
            "sf-ord-001",
            "SF-XXX-001",
            "SF-CLU-001",
        ] {
            assert_eq!(Code::parse(bad), None, "{bad}");
        }
        for bad in [0, 1, 1000, 1999, 9001, u16::MAX] {
            assert_eq!(Code::from_number(bad), None, "{bad}");
        }
    }

    #[test]
    fn every_code_says_what_and_what_to_do() {
        for code in Code::all() {
            let message = code.message();
            let begins_lower = message.chars().next().is_some_and(|first| !first.is_uppercase());
            assert!(
                begins_lower || message.starts_with("TLS") || message.starts_with("MAC"),
                "{code}: {message}"
            );
            assert!(!message.ends_with('.') && message.len() <= 100, "{code}: {message}");
            assert!(code.hint().ends_with('.') && code.hint().len() <= 120, "{code}: {}", code.hint());
            assert!(
                code.explain().ends_with('.') && code.explain().len() >= 40,
                "{code}: {}",
                code.explain()
            );
        }
    }

    #[test]
    fn a_code_of_a_newer_server_is_kept_as_text() {
        let code: AnyCode = serde_json::from_str("\"SF-ORD-777\"").unwrap();
        assert_eq!(code, AnyCode::Other("SF-ORD-777".into()));
        let code: AnyCode = serde_json::from_str("\"SF-ORD-002\"").unwrap();
        assert_eq!(code, Code::OrdTimestampStale);
    }
}
