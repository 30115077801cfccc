//! What an order costs in its stages at least, whoever does it: for the second floor, which does to each order what the bare one leaves out.
//!
//! It decodes envelope and body with `serde_json`, takes an HMAC-SHA256 over the text, puts the nonce into a hash set, the order into (or one
//! out of) an ordered map of prices and a hash map of orders, and hashes what the log holds of an order twice, as a chain and a tree must.
//! It compares no MAC, judges nothing, keeps no positions, repeats no answers, and forgets nothing.

use std::collections::{BTreeMap, HashMap, HashSet};

use hmac::{Hmac, KeyInit as _, Mac as _};
use parking_lot::Mutex;
use serde::Deserialize;
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};

/// Envelope of a signed request, as far as a server has to read it.
#[derive(Deserialize)]
struct Envelope<'a> {
    nonce: &'a str,
    ts: &'a str,
    mac: &'a str,
    #[serde(borrow)]
    body: &'a RawValue,
}

/// Its body.
#[derive(Deserialize)]
struct Body<'a> {
    cl_ord_id: &'a str,
    symbol: &'a str,
    side: &'a str,
    qty: &'a str,
    price: &'a str,
}

/// An order that rests.
struct Resting {
    price: u64,
    quantity: u64,
}

/// What one thread at a time changes.
#[derive(Default)]
struct Venue {
    nonces: HashSet<String>,
    names: HashSet<String>,
    orders: HashMap<u64, Resting>,
    levels: BTreeMap<(usize, u64), u64>,
    next: u64,
}

/// The stages of an order.
pub(crate) struct Stages {
    mac: Hmac<Sha256>,
    venue: Mutex<Venue>,
}

impl Stages {
    pub(crate) fn new() -> Self {
        let mac = Hmac::new_from_slice(&[7; 32]).expect("any length is a key");
        Self { mac, venue: Mutex::default() }
    }

    /// Does with a request what every server must; whether it could be read.
    pub(crate) fn pass(&self, request: &str) -> bool {
        let Ok(envelope) = serde_json::from_str::<Envelope<'_>>(request) else { return false };
        let Ok(body) = serde_json::from_str::<Body<'_>>(envelope.body.get()) else { return false };
        let mut mac = self.mac.clone();
        [envelope.ts, envelope.nonce, envelope.body.get()]
            .iter()
            .for_each(|part| mac.update(part.as_bytes()));
        let is_right = mac.finalize().into_bytes()[0] == envelope.mac.as_bytes()[0];
        let (price, quantity) = (units(body.price), units(body.qty));
        let mut venue = self.venue.lock();
        venue.nonces.insert(envelope.nonce.to_owned());
        venue.names.insert(body.cl_ord_id.to_owned());
        venue.next += 1;
        // Half of the orders trade with the one before, as in the load.
        let id = venue.next;
        if id.is_multiple_of(4) {
            if let Some(Resting { price, quantity }) = venue.orders.remove(&(id - 1)) {
                venue
                    .levels
                    .entry((body.symbol.len(), price))
                    .and_modify(|open| *open -= quantity.min(*open));
            }
        } else {
            venue.orders.insert(id, Resting { price, quantity });
            *venue.levels.entry((body.symbol.len() + body.side.len() % 2, price)).or_default() += quantity;
        }
        std::hint::black_box(is_right);
        true
    }
}

/// What the log's writer does with the bytes of a group of orders: a link of a chain, and a leaf, of each.
pub(crate) fn seal(orders: usize, order_bytes: usize, bytes: &[u8], head: &mut [u8; 32]) {
    let order = &bytes[..order_bytes.min(bytes.len())];
    for _ in 0..orders {
        let leaf: [u8; 32] = Sha256::digest(order).into();
        let link = Sha256::new().chain_update(*head).chain_update(leaf).chain_update(order);
        *head = link.finalize().into();
    }
}

/// A decimal as an integer, its point left out.
fn units(text: &str) -> u64 {
    text.bytes()
        .filter(u8::is_ascii_digit)
        .fold(0, |sum: u64, digit| sum.wrapping_mul(10).wrapping_add(u64::from(digit - b'0')))
}
