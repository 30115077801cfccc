//! What the gate costs one signed order, from the text frame to the admitted order, beside the sum of its floors.
//!
//! Floors, measured in the same run on the same frame: `serde_json` over envelope and body with a raw value between
//! them, HMAC-SHA256 over the same bytes with a state keyed once, and one insertion of the nonce into a hash set.
//! The gate does more than these: strict schema, digest of the request, time, rates, entitlement, risk. That `serde_json` leaves every value
//! a text; a second sum has it decode them, too: time, nonce and MAC from their digits, price and quantity to fixed point.
//!
//! `cargo bench --bench gate`, or `-- --smoke` for about a second.

#![expect(clippy::print_stdout, clippy::expect_used, reason = "a bench prints its numbers and may stop")]

mod support;

use std::borrow::Cow;
use std::collections::HashSet;
use std::hint::black_box;

use hmac::{Hmac, KeyInit, Mac};
use sealfeed::config::OrdersConfig;
use sealfeed::gate::{AuthenticRequest, Gate, RiskContext, SessionGate};
use sealfeed::types::{
    BookDecimals, Decimals, Entitlement, Instrument, Instruments, MarketDepth, Nonce, OrderRights, OwnerId,
    Price, Principal, ProofDemand, Quantity, SessionId, SessionLimits, Symbol, SymbolPatterns, UnixNanos,
};
use sealfeed_wire::{KeyedMac, Op, OrderKey, SessionMac, SignedOp, request};
use serde::Deserialize;
use serde_json::value::RawValue;
use sha2::Sha256;

const NOW: UnixNanos = UnixNanos(1_790_000_000_000_000_000);
const OWNER: OwnerId = OwnerId(1);
const BODY: &str = r#"{"cl_ord_id":"c-1","symbol":"SEAL","side":"buy","type":"limit","qty":"3","price":"4783.25","tif":"day"}"#;

fn main() {
    let is_smoke = support::smoke();
    let (orders, rounds) = if is_smoke { (5_000, 3) } else { (100_000, 9) };
    let plan = Plan::new(orders);
    println!(
        "gate: one order.new of {} bytes, CPU ns, median of {rounds} rounds of {orders}",
        plan.frames[0].len()
    );
    let session = median(rounds, || plan.time_session());
    let owner = median(rounds, || plan.time_owner());
    let whole = median(rounds, || plan.time_whole());
    println!("{:>34} {session:>8.1}", "session half (decode, MAC, body)");
    println!("{:>34} {owner:>8.1}", "owner half (time, nonce, admit)");
    println!("{:>34} {whole:>8.1}", "decode to admitted");
    let json = median(rounds, || plan.time_json(|_, _| ()));
    let decoded = median(rounds, || plan.time_json(decode_texts));
    let mac = median(rounds, || plan.time_mac());
    let nonce = median(rounds, || plan.time_nonce());
    println!("{:>34} {json:>8.1}", "floor: serde_json, raw body");
    println!("{:>34} {decoded:>8.1}", "the same, texts decoded");
    println!("{:>34} {mac:>8.1}", "floor: HMAC-SHA256");
    println!("{:>34} {nonce:>8.1}", "floor: nonce into a hash set");
    for (name, json) in [("sum of floors", json), ("sum of floors, texts decoded", decoded)] {
        let floor = json + mac + nonce;
        println!("{name:>34} {floor:>8.1}   ratio {:.2}", whole / floor);
    }
}

/// Signed frames, each with its own nonce, and what checks them.
struct Plan {
    frames: Vec<String>,
    /// The bytes that each MAC is over.
    signed: Vec<Vec<u8>>,
    nonces: Vec<[u8; 16]>,
    session: SessionGate,
    entitlement: Entitlement,
    instruments: Instruments,
}

impl Plan {
    fn new(orders: usize) -> Self {
        let key = OrderKey::from_bytes([7; 32]);
        let session = SessionId([3; 32]);
        let mac = KeyedMac::new(&key).for_session(&session);
        let nonces: Vec<[u8; 16]> = (0..orders).map(nonce).collect();
        Self {
            frames: nonces.iter().map(|nonce| frame(&mac, Nonce(*nonce))).collect(),
            signed: nonces.iter().map(|nonce| signed_bytes(&session, Nonce(*nonce))).collect(),
            nonces,
            session: SessionGate::new(
                Principal::new("acme", "desk7").expect("a principal"),
                session,
                &key,
                None,
                None,
                &SessionLimits::default(),
            ),
            entitlement: entitlement(),
            instruments: instruments(),
        }
    }

    fn authenticate(&self, frame: &str) -> AuthenticRequest {
        let Ok(request::Request { op: Op::Signed(signed), .. }) = request::parse(frame) else {
            panic!("the frame is a signed request");
        };
        self.session.authenticate(&signed, ProofDemand::Mac, NOW).expect("the MAC is right")
    }

    fn admit(&self, gate: &mut Gate, request: &AuthenticRequest) {
        gate.spend(request, OWNER, NOW).expect("fresh, and its nonce is new");
        let context = |_: &Instrument, _| RiskContext::default();
        let order = gate.admit(request, OWNER, &self.entitlement, &self.instruments, context, NOW);
        black_box(order.expect("within every bound"));
    }

    fn time_session(&self) -> f64 {
        let start = cpu_ns();
        for frame in &self.frames {
            black_box(self.authenticate(black_box(frame)));
        }
        per_operation(start, self.frames.len())
    }

    fn time_owner(&self) -> f64 {
        let requests: Vec<AuthenticRequest> =
            self.frames.iter().map(|frame| self.authenticate(frame)).collect();
        let mut gate = self.gate();
        let start = cpu_ns();
        for request in &requests {
            self.admit(&mut gate, request);
        }
        per_operation(start, requests.len())
    }

    fn time_whole(&self) -> f64 {
        let mut gate = self.gate();
        let start = cpu_ns();
        for frame in &self.frames {
            let request = self.authenticate(black_box(frame));
            self.admit(&mut gate, &request);
        }
        per_operation(start, self.frames.len())
    }

    fn gate(&self) -> Gate {
        Gate::new(&OrdersConfig {
            nonces_max: self.frames.len(),
            nonces_per_principal_max: self.frames.len(),
            ..OrdersConfig::default()
        })
    }

    fn time_json(&self, decode: impl Fn(&Envelope<'_>, &Body<'_>)) -> f64 {
        let start = cpu_ns();
        for frame in &self.frames {
            let envelope: Envelope<'_> = serde_json::from_str(black_box(frame)).expect("an envelope");
            let body: Body<'_> = serde_json::from_str(envelope.body.get()).expect("a body");
            black_box((&envelope, &body));
            decode(&envelope, &body);
        }
        per_operation(start, self.frames.len())
    }

    fn time_mac(&self) -> f64 {
        let keyed = Hmac::<Sha256>::new_from_slice(&[7; 32]).expect("a key of any length");
        let tag = [0; 32];
        let start = cpu_ns();
        for signed in &self.signed {
            let mut mac = keyed.clone();
            mac.update(black_box(signed));
            black_box(mac.verify_slice(&tag).is_ok());
        }
        per_operation(start, self.signed.len())
    }

    fn time_nonce(&self) -> f64 {
        let mut seen = HashSet::with_capacity(self.nonces.len());
        let start = cpu_ns();
        for nonce in &self.nonces {
            black_box(seen.insert((OWNER, *black_box(nonce))));
        }
        per_operation(start, self.nonces.len())
    }
}

/// The least that can be read of the frame: every value borrowed, nothing checked beyond JSON.
#[derive(Deserialize)]
#[expect(dead_code, reason = "read to be timed")]
struct Envelope<'a> {
    op: &'a str,
    id: u64,
    ts: &'a str,
    nonce: &'a str,
    mac: &'a str,
    #[serde(borrow)]
    body: &'a RawValue,
}

/// Likewise of the body.
#[derive(Deserialize)]
#[expect(dead_code, reason = "read to be timed")]
struct Body<'a> {
    #[serde(borrow)]
    cl_ord_id: Cow<'a, str>,
    symbol: &'a str,
    side: &'a str,
    r#type: &'a str,
    qty: &'a str,
    price: &'a str,
    tif: &'a str,
}

/// What no gate can do without: numbers and bytes from their texts.
fn decode_texts(envelope: &Envelope<'_>, body: &Body<'_>) {
    let ts = UnixNanos::parse(envelope.ts).expect("a time");
    let nonce = Nonce::parse(envelope.nonce).expect("a nonce");
    let mac: [u8; 32] = sealfeed_wire::hex::decode(envelope.mac).expect("a MAC");
    let (quantity, price) = (Quantity::parse(body.qty), Price::parse(body.price));
    black_box((ts, nonce, mac, quantity.expect("a quantity"), price.expect("a price")));
}

fn nonce(number: usize) -> [u8; 16] {
    let mut bytes = [0xa5; 16];
    bytes[..8].copy_from_slice(&(number as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes());
    bytes
}

fn frame(mac: &SessionMac, nonce: Nonce) -> String {
    let tag = sealfeed_wire::hex::encode(&mac.sign(NOW, nonce, SignedOp::OrderNew, BODY));
    format!(r#"{{"op":"order.new","id":7,"ts":"{NOW}","nonce":"{nonce}","mac":"{tag}","body":{BODY}}}"#)
}

fn signed_bytes(session: &SessionId, nonce: Nonce) -> Vec<u8> {
    let (ts, nonce) = (NOW.to_string(), nonce.to_string());
    sealfeed_wire::signing::signing_string(session, &ts, &nonce, SignedOp::OrderNew, BODY).into_bytes()
}

fn entitlement() -> Entitlement {
    // More than a bench can send, so that the rate is counted and never refuses.
    let rate = u32::MAX;
    let rights = OrderRights {
        quantity_max: Quantity::parse("1000").expect("a quantity"),
        notional_max: 5_000_000,
        open_orders_max: 100,
        ..OrderRights::unbounded("traders", SymbolPatterns::new(["ES*", "SEAL"]), rate)
    };
    Entitlement { orders: Some(rights), ..Entitlement::default() }
}

fn instruments() -> Instruments {
    let mut instruments = Instruments::new();
    let build = |id| Instrument {
        id,
        symbol: Symbol::new("SEAL").expect("a symbol"),
        decimals: BookDecimals {
            price: Decimals::new(2).expect("at most nine"),
            quantity: Decimals::default(),
        },
        tick: Price::parse("0.25").expect("a price"),
        lot: Quantity::parse("1").expect("a quantity"),
        band: None,
        depth: MarketDepth::Orders,
        tradable: true,
        paper: false,
    };
    instruments.add(build).expect("the only instrument");
    instruments
}

fn median(rounds: usize, mut round: impl FnMut() -> f64) -> f64 {
    let mut results: Vec<f64> = (0..rounds).map(|_| round()).collect();
    results.sort_by(f64::total_cmp);
    results[rounds / 2]
}

#[expect(clippy::cast_precision_loss, reason = "a measurement, not an amount")]
fn per_operation(start_ns: i128, operations: usize) -> f64 {
    (cpu_ns() - start_ns) as f64 / operations as f64
}

/// CPU time of this thread, in nanoseconds: what other processes do on the machine does not count.
fn cpu_ns() -> i128 {
    i128::from(support::thread_cpu_ns())
}
