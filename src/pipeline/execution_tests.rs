//! The pipeline's own log, executed again: by the same rules, by another rule, over the turn of a day, and after a crash.

use std::collections::HashMap;

use arc_swap::ArcSwap;
use proptest::prelude::*;
use sealfeed_audit::reader::{Entry, entries};
use sealfeed_wire::{KeyedMac, Nonce, Op, OrderKey, SignedOp, request};
use tempfile::TempDir;

use super::*;
use crate::config::{ClockConfig, FeedConfig, LogConfig, OrdersConfig};
use crate::execute::replay::{How, Report, Verdict, reexecute, reexecute_with};
use crate::execute::{Engine, EngineOptions};
use crate::feed::{Encoding, Inbox, OutboundQueue};
use crate::gate::SessionGate;
use crate::journal::{self, SessionTrail};
use crate::source::{Member, OrderSlot, SyntheticOrder, SyntheticTerms};
use crate::types::{
    BookDecimals, Entitlement, Epoch, Instrument, InstrumentId, Instruments, MarketDepth, OrderKind,
    OrderRights, Price, Principal, Quantity, SessionId, SessionLimits, Side, Symbol, SymbolPatterns,
    TimeInForce, UnixNanos,
};

pub(super) const DAY_NS: u64 = 24 * 60 * 60 * 1_000_000_000;
pub(super) const MORNING: u64 = 20_000 * DAY_NS + 1_000_000_000;

/// A pipeline without its threads, and who trades through it.
pub(super) struct Desk {
    pub(super) core: Core,
    journal: Journal,
    folder: TempDir,
    pub(super) sessions: Vec<(SessionGate, OrderKey, Arc<SessionHandle>)>,
    nonce: u8,
    pub(super) now: UnixNanos,
}

impl Desk {
    pub(super) fn open(folder: TempDir, first_id: u64, day_start: u64) -> Self {
        let mut config = LogConfig::new(&folder.path().join("log"), "pipeline.test/log");
        config.segment_bytes = 1 << 20;
        let journal =
            Journal::new(journal::open(&config, &ClockConfig::default(), b"").unwrap(), Shutdown::new());
        let mut instruments = Instruments::new();
        for (symbol, tradable) in [("TAPE", false), ("SEAL", true)] {
            let build = |id| Instrument {
                id,
                symbol: Symbol::new(symbol).unwrap(),
                decimals: BookDecimals::default(),
                tick: Price::parse("1").unwrap(),
                lot: Quantity::parse("1").unwrap(),
                depth: MarketDepth::Orders,
                tradable,
            };
            instruments.add(build).unwrap();
        }
        let options = PipelineOptions {
            instruments: Arc::new(instruments),
            source_instruments: HashMap::new(),
            publishers: Vec::new(),
            orders: OrdersConfig::default(),
            feed: FeedConfig::default(),
            epoch: Epoch(1),
            engine: EngineOptions {
                first_id,
                day: day_of(UnixNanos(day_start)),
                resting_orders_max: 8,
                state_hash_inputs: 4,
            },
        };
        let mut core = Core::new(&options, journal.clone());
        core.open(UnixNanos(day_start)).unwrap();
        let sessions = [("acme", "alice"), ("acme", "bob")].map(|(firm, user)| session(firm, user)).into();
        Self { core, journal, folder, sessions, nonce: 0, now: UnixNanos(day_start) }
    }

    fn send(&mut self, who: usize, op: SignedOp, body: &str) {
        self.nonce += 1;
        let (gate, key, handle) = &self.sessions[who];
        let nonce = Nonce([self.nonce; 16]);
        let mac = KeyedMac::new(key).for_session(&handle.id());
        let tag = sealfeed_wire::hex::encode(&mac.sign(self.now, nonce, op, body));
        let ts = self.now;
        let frame =
            format!(r#"{{"op":"{op}","id":1,"ts":"{ts}","nonce":"{nonce}","mac":"{tag}","body":{body}}}"#);
        let Op::Signed(signed) = request::parse(&frame).unwrap().op else { panic!("not signed") };
        let order = Box::new(gate.authenticate(&signed, self.now).unwrap());
        let command = Command::Order { session: Arc::clone(handle), id: None, order };
        self.core.handle(command, self.now, &mut Batch::default()).unwrap();
    }

    pub(super) fn order(&mut self, who: usize, name: &str, side: &str, quantity: u64, price: i64, tif: &str) {
        let body = format!(
            r#"{{"cl_ord_id":"{name}","symbol":"SEAL","side":"{side}","type":"limit","qty":"{quantity}","price":"{price}","tif":"{tif}"}}"#
        );
        self.send(who, SignedOp::OrderNew, &body);
    }

    pub(super) fn cancel(&mut self, who: usize, name: &str, target: &str) {
        let body = format!(r#"{{"cl_ord_id":"{name}","orig_cl_ord_id":"{target}"}}"#);
        self.send(who, SignedOp::OrderCancel, &body);
    }

    pub(super) fn synthetic(&mut self, slot: u32, side: Side, quantity: u64, price: i64) {
        let order = SyntheticTerms {
            instrument: InstrumentId(1),
            side,
            quantity: Quantity::from_nanos(quantity * 1_000_000_000),
            kind: OrderKind::Limit(Price::from_nanos(price * 1_000_000_000)),
            time_in_force: TimeInForce::GoodTillCancel,
        };
        let rest = SyntheticOrder::Rest { member: Member(3), slot: OrderSlot(slot), order };
        let cancel = SyntheticOrder::Cancel { member: Member(3), slot: OrderSlot(slot + 1) };
        let batch = SourceBatch::Orders(vec![rest, cancel]);
        self.core.take(batch, self.now, &mut Batch::default()).unwrap();
    }

    /// Orders of all fates: they rest, meet one another at one price, are cancelled too late, find the book full, and last a day.
    fn trade(&mut self) {
        self.order(0, "a-1", "buy", 5, 100, "day");
        self.order(1, "b-1", "buy", 5, 100, "gtc");
        self.synthetic(0, Side::Sell, 3, 100);
        self.order(0, "a-2", "sell", 4, 99, "ioc");
        self.cancel(0, "a-3", "a-1");
        self.cancel(1, "b-2", "b-1");
        for number in 0..8 {
            self.order(1, &format!("full-{number}"), "buy", 1, 50, "day");
        }
        self.order(0, "a-4", "buy", 1, 40, "gtc");
        self.now = UnixNanos(self.now.0 + DAY_NS);
        self.order(0, "a-5", "buy", 2, 41, "gtc");
        self.cancel(0, "a-6", "a-5");
    }

    pub(super) fn close(mut self) -> TempDir {
        self.core.close().unwrap();
        self.journal.record(journal::event::Stop { reason: "test".to_owned() }).unwrap();
        self.journal.stop().unwrap();
        self.folder
    }
}

fn session(firm: &str, user: &str) -> (SessionGate, OrderKey, Arc<SessionHandle>) {
    let principal = Principal::new(firm, user).unwrap();
    let id = SessionId([u8::try_from(user.len()).unwrap(); 32]);
    let key = OrderKey::from_bytes([7; 32]);
    let rights = OrderRights::unbounded("traders", SymbolPatterns::new(["*"]), 1_000);
    let gate = SessionGate::new(principal.clone(), id, &key, None, &SessionLimits::default());
    let handle = SessionHandle {
        number: 1,
        principal,
        entitlement: ArcSwap::from_pointee(Entitlement { orders: Some(rights), ..Entitlement::default() }),
        encoding: Encoding::Json,
        resume_bytes_max: 1_000,
        queue: Arc::new(OutboundQueue::new(Arc::new(Inbox::new(|| {})), 1)),
        trail: SessionTrail::new(id),
    };
    (gate, key, Arc::new(handle))
}

fn traded() -> TempDir {
    let mut desk = Desk::open(TempDir::new().unwrap(), 1_000, MORNING);
    desk.trade();
    desk.close()
}

pub(super) fn read(folder: &TempDir) -> Vec<Entry> {
    entries(&folder.path().join("log")).unwrap().map(Result::unwrap).collect()
}

pub(super) fn again(entries: &[Entry]) -> Report {
    reexecute(entries.iter().cloned().map(Ok)).unwrap()
}

#[test]
fn every_fate_of_an_order_is_executed_again() {
    let entries = read(&traded());
    let report = again(&entries);
    assert_eq!(report.verdict, Verdict::Verified);
    assert_eq!((report.runs, report.cut), (1, 0));
    let count = |kind: u16| entries.iter().filter(|entry| entry.header.kind == kind).count() as u64;
    // Each pair of the synthetic market is one entry and, its cancel meeting an empty slot, one input.
    assert_eq!(report.inputs, count(266) + count(272) + count(277));
    assert_eq!(count(277), 1, "a day ended");
    let refused = entries.iter().filter(|entry| entry.header.kind == 267 && entry.header.order.is_some());
    let refused = refused.count() as u64;
    assert!(refused >= 2, "the book was full, and a cancel came too late");
    assert_eq!((report.outputs, report.states), (count(268) + refused, count(11)));
    assert!(report.states > 4);
}

#[test]
fn rule_changed_in_the_venue_replay_refuses_or_diverges() {
    let entries = read(&traded());
    let newest_first = |instruments, options| Engine::new(instruments, options).with_newest_first();
    let report = reexecute_with(entries.iter().cloned().map(Ok), newest_first).unwrap();
    let Verdict::Diverged(found) = report.verdict else { panic!("{report:?}") };
    // The first trade went to the older of two orders at one price.
    let fill = entries.iter().find(|entry| {
        entry.header.kind == 268 && entry.payload.windows(12).any(|bytes| bytes == b"partial_fill")
    });
    assert_eq!((found.how, found.seq), (How::Output, fill.unwrap().header.seq), "{found:?}");
    assert!(found.agreed.is_some_and(|(_, inputs)| inputs == 0), "{found:?}");

    // A rule that was changed on purpose has another number.
    let venue = entries.iter().position(|entry| entry.header.kind == 274).unwrap();
    let mut other = entries;
    other[venue].payload[0] += 1;
    assert!(matches!(again(&other).verdict, Verdict::Refused { .. }));
}

#[test]
fn each_run_begins_with_an_empty_venue_and_what_a_crash_cut_off_is_not_missed() {
    let first = Desk::open(TempDir::new().unwrap(), 1_000, MORNING);
    let mut first = first;
    first.trade();
    let folder = first.close();
    let whole = read(&folder).len();
    let mut second = Desk::open(folder, 2_000, MORNING + 2 * DAY_NS);
    second.trade();
    let folder = second.close();
    let all = read(&folder);
    let report = again(&all);
    assert_eq!((&report.verdict, report.runs, report.cut), (&Verdict::Verified, 2, 0));
    // The first run as if it had ended anywhere: what follows is another run, and nothing is wrong.
    let mut cuts = 0;
    for end in 1..whole {
        let mut cut = all[..end].to_vec();
        cut.extend(all[whole..].iter().cloned());
        let report = again(&cut);
        assert_eq!(report.verdict, Verdict::Verified, "cut at {end}");
        cuts += report.cut;
    }
    assert!(cuts > 0, "some cut is between an input and its outputs");
    // A pruned beginning takes the state along: what is left of its run is counted, the next one is executed.
    let pruned = again(&all[whole / 2..]);
    assert_eq!((&pruned.verdict, pruned.runs), (&Verdict::Verified, 1));
    assert_eq!(pruned.inputs * 2, report.inputs);
    assert!(pruned.headless > 0 && pruned.headless < pruned.inputs, "{pruned:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Bytes of a file can be anything: they are judged, they break nothing.
    #[test]
    fn hostile_entries_are_judged_and_break_nothing(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), any::<u8>()), 1..4)
    ) {
        static ENTRIES: std::sync::LazyLock<Vec<Entry>> = std::sync::LazyLock::new(|| read(&traded()));
        let mut entries = ENTRIES.clone();
        for (entry, at, byte) in changes {
            let entry = entry.get_mut(&mut entries);
            if !entry.payload.is_empty() {
                let at = at.index(entry.payload.len());
                entry.payload[at] = byte;
            }
        }
        let report = again(&entries);
        if let Verdict::Diverged(found) = report.verdict {
            prop_assert!(!found.got.described().chars().any(char::is_control));
        }
    }
}
