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
    /// Products, each with its depth and when it was granted.
    pub(super) products: BTreeMap<Product, (u64, String)>,
    /// By how much products are delayed, in milliseconds; those in real time are not listed.
    pub(super) delays: BTreeMap<Product, u64>,
    /// Messages that left for it, by stream.
    pub(super) delivered: BTreeMap<Stream, Vec<(u64, u64)>>,
}

/// A stream of a session: channel, symbol, depth (0 for all) and the run of its numbers.
pub(super) type Stream = (String, String, u64, String);

/// What an entry changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// A product was switched on in a session of this principal.
    On(String, Product),
    /// It was switched off, or its session ended.
    Off(String, Product),
}

/// The sessions that are open, by name.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    pub(super) open: BTreeMap<String, Session>,
}

impl Sessions {
    /// Takes over what an entry says; what it switched on or off.
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
                    products: BTreeMap::new(),
                    delays: BTreeMap::new(),
                    delivered: BTreeMap::new(),
                };
                self.open.insert(name, session);
                Vec::new()
            }
            "disconnect" => self.end(&name),
            "entitlement" => {
                if let Some(session) = self.open.get_mut(&name) {
                    session.flags = flags(row);
                }
                Vec::new()
            }
            "subscribe" => self.subscribe(&name, row),
            "delayed" => {
                if let Some(session) = self.open.get_mut(&name) {
                    let delayed_ms = row.number("delayed_ms").unwrap_or(0);
                    session.delays.extend(products(row, "symbols").map(|product| (product, delayed_ms)));
                }
                Vec::new()
            }
            "unsubscribe" => self.unsubscribe(&name, row),
            "delivered" => {
                self.deliver(&name, row);
                Vec::new()
            }
            _ => Vec::new(),
        }
    }

    fn end(&mut self, name: &str) -> Vec<Change> {
        let Some(session) = self.open.remove(name) else { return Vec::new() };
        let off = |product| Change::Off(session.principal.clone(), product);
        session.products.into_keys().map(off).collect()
    }

    fn subscribe(&mut self, name: &str, row: &Row) -> Vec<Change> {
        let Some(session) = self.open.get_mut(name) else { return Vec::new() };
        let depth = row.number("depth").unwrap_or(0);
        let mut changes = Vec::new();
        for product in products(row, "granted") {
            session.delays.remove(&product);
            if session.products.insert(product.clone(), (depth, row.time())).is_none() {
                changes.push(Change::On(session.principal.clone(), product));
            }
        }
        changes
    }

    fn unsubscribe(&mut self, name: &str, row: &Row) -> Vec<Change> {
        let Some(session) = self.open.get_mut(name) else { return Vec::new() };
        let gone = products(row, "symbols").filter(|product| session.products.remove(product).is_some());
        gone.map(|product| Change::Off(session.principal.clone(), product)).collect()
    }

    fn deliver(&mut self, name: &str, row: &Row) {
        let Some(session) = self.open.get_mut(name) else { return };
        let epoch = row.text("epoch").unwrap_or_default();
        for range in row.fields.get("ranges").and_then(Value::as_array).into_iter().flatten() {
            let text = |field: &str| range[field].as_str().unwrap_or_default().to_owned();
            let number = |field: &str| range[field].as_u64().unwrap_or_default();
            let stream = (text("channel"), text("symbol"), number("depth"), epoch.to_owned());
            let ranges = session.delivered.entry(stream).or_default();
            match ranges.last_mut() {
                Some((_, last)) if *last + 1 == number("first") => *last = number("last"),
                _ => ranges.push((number("first"), number("last"))),
            }
        }
    }

    /// In how many sessions of a principal a product is switched on.
    pub(super) fn holding(&self, principal: &str, product: &Product) -> usize {
        let of = self.open.values().filter(|session| session.principal == principal);
        of.filter(|session| session.products.contains_key(product)).count()
    }

    /// How the policy classes a principal in the sessions in which a product is switched on.
    pub(super) fn flags(&self, principal: &str, product: &Product) -> Vec<[Option<bool>; 2]> {
        let of = self.open.values().filter(|session| session.principal == principal);
        of.filter(|session| session.products.contains_key(product)).map(|session| session.flags).collect()
    }

    /// Every product that is switched on, with whose it is.
    pub(super) fn in_use(&self) -> BTreeSet<(String, Product)> {
        let of = |session: &Session| {
            let principal = session.principal.clone();
            session
                .products
                .keys()
                .map(move |product| (principal.clone(), product.clone()))
                .collect::<Vec<_>>()
        };
        self.open.values().flat_map(of).collect()
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
            products: products.map(|((channel, symbol), (depth, _))| (channel, symbol, depth)).collect(),
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
