//! Sessions and their subscriptions, followed through a log: who had what at any moment.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::Context as _;
use sealfeed_audit::hex;
use serde_json::Value;

use super::rows::{ENDS_HERE, Row, open};

/// A product that a session is subscribed to: channel and symbol.
pub(super) type Product = (String, String);

/// A session that is open.
#[derive(Clone, Debug, Default)]
pub(super) struct Session {
    pub(super) principal: String,
    pub(super) address: String,
    pub(super) certificate: String,
    /// Role in the certificate; empty if it has none, or if the log does not say.
    pub(super) role: String,
    /// How the policy classes the user now: professional, display.
    pub(super) flags: [Option<bool>; 2],
    /// When it began, RFC 3339.
    pub(super) since: String,
    /// What it is subscribed to.
    pub(super) products: BTreeMap<Product, Held>,
    /// The delay with which each product was granted last, in milliseconds, also where the subscription has ended since.
    delays: BTreeMap<Product, u64>,
    /// Messages that left for it, by stream.
    pub(super) delivered: BTreeMap<Stream, Vec<(u64, u64)>>,
}

/// A subscription that stands.
#[derive(Clone, Debug)]
pub(super) struct Held {
    /// Levels a side; 0 is the full book.
    pub(super) depth: u64,
    /// When it was granted, RFC 3339.
    pub(super) since: String,
    /// When it was granted, nanoseconds.
    since_ns: u64,
    /// How much later than the market it comes, in milliseconds; 0: in real time.
    pub(super) delayed_ms: u64,
    /// The delay with which it was said to be switched on.
    counted: Option<u64>,
}

/// A stream of a session: channel, symbol, depth (0 for all), the run of its numbers, and its delay in milliseconds.
pub(super) type Stream = (String, String, u64, String, u64);

/// What is paid for: a product, and with which delay in milliseconds it comes. In real time (0) it is another one than late.
pub(super) type Unit = (Product, u64);

/// What an entry changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// Something was switched on in a session of this principal, at this time in nanoseconds.
    On(String, Unit, u64),
    /// It was switched off, or its session ended.
    Off(String, Unit),
}

/// The sessions that are open, by name.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    pub(super) open: BTreeMap<String, Session>,
}

impl Sessions {
    /// Takes over what an entry says; what it switched off. What is switched on is said by [`Sessions::settle`].
    pub(super) fn learn(&mut self, row: &Row) -> Vec<Change> {
        // A server that starts has no sessions, whatever the one before left unsaid.
        if matches!(row.kind.as_str(), "log.start" | "log.recovery" | "start") {
            let ended: Vec<String> = self.open.keys().cloned().collect();
            return ended.iter().flat_map(|name| self.end(name)).collect();
        }
        let Some(link) = row.entry.header.session else { return Vec::new() };
        let name = hex(&link.id);
        match row.kind.as_str() {
            "connect" => {
                let text = |field: &str| row.text(field).unwrap_or_default().to_owned();
                let session = Session {
                    principal: text("principal"),
                    address: text("address"),
                    certificate: text("certificate"),
                    role: text("role"),
                    flags: flags(row),
                    since: row.time(),
                    ..Session::default()
                };
                self.open.insert(name, session);
                return Vec::new();
            }
            "disconnect" => return self.end(&name),
            _ => {}
        }
        let Some(session) = self.open.get_mut(&name) else { return Vec::new() };
        match row.kind.as_str() {
            "entitlement" => {
                session.flags = flags(row);
                return session.lose(ended(row));
            }
            "subscribe" => session.gain(row),
            "delayed" => session.delay(row),
            "unsubscribe" => return session.lose(products(row, "symbols")),
            "delivered" => session.deliver(row),
            _ => {}
        }
        Vec::new()
    }

    fn end(&mut self, name: &str) -> Vec<Change> {
        let Some(mut session) = self.open.remove(name) else { return Vec::new() };
        let all: Vec<Product> = session.products.keys().cloned().collect();
        session.lose(all.into_iter())
    }

    /// What the entries before `next` switched on; all that is left of it, at the end of a log. The delay of a subscription stands in an entry of its own behind that
    /// of the subscription, so that what was switched on is known with the session's next one that is none of these.
    pub(super) fn settle(&mut self, next: Option<&Row>) -> Vec<Change> {
        let Some(row) = next else { return self.open.values_mut().flat_map(Session::settle).collect() };
        match row.kind.as_str() {
            "log.start" | "log.recovery" | "start" => self.settle(None),
            "subscribe" | "unsubscribe" | "entitlement" | "delivered" | "disconnect" => {
                let link = row.entry.header.session;
                let session = link.and_then(|link| self.open.get_mut(&hex(&link.id)));
                session.map_or_else(Vec::new, Session::settle)
            }
            _ => Vec::new(),
        }
    }

    /// In how many sessions of a principal something is switched on.
    pub(super) fn holding(&self, principal: &str, unit: &Unit) -> usize {
        self.holders(principal, unit).count()
    }

    /// How the policy classes a principal in the sessions in which something is switched on.
    pub(super) fn flags(&self, principal: &str, unit: &Unit) -> Vec<[Option<bool>; 2]> {
        self.holders(principal, unit).map(|session| session.flags).collect()
    }

    fn holders(&self, principal: &str, (product, delayed_ms): &Unit) -> impl Iterator<Item = &Session> {
        let of = self.open.values().filter(move |session| session.principal == principal);
        of.filter(move |session| {
            session.products.get(product).is_some_and(|held| held.counted == Some(*delayed_ms))
        })
    }

    /// Everything that is switched on, with whose it is.
    pub(super) fn in_use(&self) -> BTreeSet<(String, Unit)> {
        let of = |session: &Session| {
            let counted =
                session.products.iter().filter_map(|(product, held)| Some((product.clone(), held.counted?)));
            counted.map(|unit| (session.principal.clone(), unit)).collect::<Vec<_>>()
        };
        self.open.values().flat_map(of).collect()
    }

    /// By how much later than the market an entry `delivered` says that a product came, in milliseconds. Where an older program wrote it, it does not say: then
    /// that with which the session was granted it last.
    pub(super) fn delay_of(&self, row: &Row, product: &Product) -> u64 {
        let session = row.entry.header.session.and_then(|link| self.open.get(&hex(&link.id)));
        session.map_or_else(|| row.number("delayed_ms").unwrap_or_default(), |one| one.delay_of(row, product))
    }
}

impl Session {
    fn settle(&mut self) -> Vec<Change> {
        let mut changes = Vec::new();
        for (product, held) in &mut self.products {
            let counted = held.counted.replace(held.delayed_ms);
            if counted == held.counted {
                continue;
            }
            let unit = |delayed_ms| (product.clone(), delayed_ms);
            changes.extend(counted.map(|before| Change::Off(self.principal.clone(), unit(before))));
            changes.push(Change::On(self.principal.clone(), unit(held.delayed_ms), held.since_ns));
        }
        changes
    }

    fn gain(&mut self, row: &Row) {
        let depth = row.number("depth").unwrap_or(0);
        for product in products(row, "granted") {
            let counted = self.products.get(&product).and_then(|held| held.counted);
            let (since, since_ns) = (row.time(), row.entry.header.stamp.utc_ns);
            self.delays.insert(product.clone(), 0);
            self.products.insert(product, Held { depth, since, since_ns, delayed_ms: 0, counted });
        }
    }

    fn delay(&mut self, row: &Row) {
        let delayed_ms = row.number("delayed_ms").unwrap_or(0);
        for product in products(row, "symbols") {
            if let Some(held) = self.products.get_mut(&product) {
                held.delayed_ms = delayed_ms;
            }
            self.delays.insert(product, delayed_ms);
        }
    }

    fn lose(&mut self, gone: impl Iterator<Item = Product>) -> Vec<Change> {
        let counted = gone.filter_map(|product| Some((self.products.remove(&product)?.counted?, product)));
        counted
            .map(|(delayed_ms, product)| Change::Off(self.principal.clone(), (product, delayed_ms)))
            .collect()
    }

    fn delay_of(&self, row: &Row, product: &Product) -> u64 {
        row.number("delayed_ms").or_else(|| self.delays.get(product).copied()).unwrap_or_default()
    }

    fn deliver(&mut self, row: &Row) {
        let epoch = row.text("epoch").unwrap_or_default();
        for (product, depth, (first, last)) in ranges(row) {
            let delayed_ms = self.delay_of(row, &product);
            let stream = (product.0, product.1, depth, epoch.to_owned(), delayed_ms);
            let ranges = self.delivered.entry(stream).or_default();
            match ranges.last_mut() {
                Some((_, before)) if *before + 1 == first => *before = last,
                _ => ranges.push((first, last)),
            }
        }
    }
}

/// A session that is open at the end of a log.
#[derive(Debug)]
pub(in crate::cli) struct OpenSession {
    /// Whose: firm/user.
    pub(in crate::cli) principal: String,
    /// Role in the certificate; empty if it has none, or if the log does not say.
    pub(in crate::cli) role: String,
    /// Channel, symbol and depth (0: all, or no book) of what it is subscribed to.
    pub(in crate::cli) products: Vec<(String, String, u64)>,
}

/// The sessions that are open at the end of the log in `directory`.
pub(in crate::cli) fn open_sessions(directory: &Path) -> anyhow::Result<Vec<OpenSession>> {
    let mut sessions = Sessions::default();
    for entry in open(directory)? {
        sessions.learn(&Row::new(entry.context(ENDS_HERE)?));
    }
    let of = |session: Session| {
        let products = session.products.into_iter();
        OpenSession {
            principal: session.principal,
            role: session.role,
            products: products.map(|((channel, symbol), held)| (channel, symbol, held.depth)).collect(),
        }
    };
    Ok(sessions.open.into_values().map(of).collect())
}

fn flags(row: &Row) -> [Option<bool>; 2] {
    ["professional", "display"].map(|field| row.fields.get(field).and_then(Value::as_bool))
}

fn products(row: &Row, field: &str) -> impl Iterator<Item = Product> {
    let channel = row.text("channel").unwrap_or_default().to_owned();
    let list = row.fields.get(field).and_then(Value::as_array).cloned().unwrap_or_default();
    list.into_iter().filter_map(move |symbol| Some((channel.clone(), symbol.as_str()?.to_owned())))
}

/// What an entry `entitlement` says has ended.
fn ended(row: &Row) -> impl Iterator<Item = Product> {
    let rows = row.fields.get("ended").and_then(Value::as_array).cloned().unwrap_or_default();
    rows.into_iter().filter_map(|one| Some((one[0].as_str()?.to_owned(), one[1].as_str()?.to_owned())))
}

/// What an entry `delivered` says: product, depth (0 for all), first and last message.
pub(super) fn ranges(row: &Row) -> impl Iterator<Item = (Product, u64, (u64, u64))> {
    row.fields.get("ranges").and_then(Value::as_array).into_iter().flatten().map(|range| {
        let text = |field: &str| range[field].as_str().unwrap_or_default().to_owned();
        let number = |field: &str| range[field].as_u64().unwrap_or_default();
        let product = (text("channel"), text("symbol"));
        (product, number("depth"), (number("first"), number("last")))
    })
}
