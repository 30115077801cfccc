//! The pipeline's own log, executed again: by the same rules, by another rule, over the turn of a day, and after a crash.

use std::collections::HashMap;

use proptest::prelude::*;
use sealfeed_audit::reader::{Entry, entries};
use sealfeed_wire::{KeyedMac, Nonce, Op, OrderKey, SignedOp, request};
use tempfile::TempDir;

use super::batch::Batch;
use super::*;
use crate::config::{ClockConfig, FeedConfig, LogConfig, OrdersConfig};
use crate::execute::replay::{How, Report, Verdict, reexecute, reexecute_with};
use crate::execute::replay::{Output as Expected, follow};
use crate::execute::{Engine, EngineOptions, Outcome, ReportMessage, ReportStream, RestoreError, restore};
use crate::feed::{Encoding, Inbox};
use crate::gate::SessionGate;
use crate::journal::{self, Event};
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
    /// A run that begins with an empty venue, whatever was before.
    pub(super) fn open(folder: TempDir, first_id: u64, day_start: u64) -> Self {
        Self::begin(folder, first_id, day_start, &[("TAPE", false), ("SEAL", true)], false)
    }

    /// A run that goes on with what the ones before left, over these instruments.
    fn reopen(folder: TempDir, first_id: u64, day_start: u64, symbols: &[(&str, bool)]) -> Self {
        Self::begin(folder, first_id, day_start, symbols, true)
    }

    fn begin(
        folder: TempDir,
        first_id: u64,
        day_start: u64,
        symbols: &[(&str, bool)],
        goes_on: bool,
    ) -> Self {
        let mut config = LogConfig::new(&folder.path().join("log"), "pipeline.test/log");
        config.segment_bytes = 1 << 20;
        let journal =
            Journal::new(journal::open(&config, &ClockConfig::default(), b"").unwrap(), Shutdown::new());
        let mut instruments = Instruments::new();
        for &(symbol, tradable) in symbols {
            let build = |id| Instrument {
                id,
                symbol: Symbol::new(symbol).unwrap(),
                decimals: BookDecimals::default(),
                tick: Price::parse("1").unwrap(),
                lot: Quantity::parse("1").unwrap(),
                band: None,
                depth: MarketDepth::Orders,
                tradable,
                paper: false,
            };
            instruments.add(build).unwrap();
        }
        let options = PipelineOptions {
            instruments: Arc::new(instruments),
            source_instruments: HashMap::new(),
            publishers: Vec::new(),
            orders: OrdersConfig { snapshot_inputs: 10, ..OrdersConfig::default() },
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
        if goes_on {
            let log = folder.path().join("log");
            core = core.going_on_with(restore(&log, journal.log_id(), 1 << 20).unwrap());
        }
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
        let order = Box::new(gate.authenticate(&signed, sealfeed_wire::ProofDemand::Mac, self.now).unwrap());
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

    /// As much again, under other names, on the next day.
    fn trade_on(&mut self) {
        for number in 0..12 {
            self.order(0, &format!("on-a-{number}"), "buy", 2, 60, "gtc");
            self.order(1, &format!("on-b-{number}"), "sell", 3, 60, "ioc");
            self.synthetic(number * 2, Side::Sell, 1, 60);
        }
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
    let gate = SessionGate::new(principal.clone(), id, &key, None, None, &SessionLimits::default());
    let entitlement = Arc::new(Entitlement { orders: Some(rights), ..Entitlement::default() });
    let inbox = Arc::new(Inbox::new(|| {}));
    let handle = SessionHandle::new((1, id), principal, entitlement, Encoding::Json, 1_000, inbox);
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
fn nothing_is_taken_from_a_session_whose_certificate_was_withdrawn_and_the_entry_names_its_orders() {
    let mut desk = Desk::open(TempDir::new().unwrap(), 1_000, MORNING);
    desk.order(0, "a-1", "buy", 5, 100, "gtc");
    desk.order(1, "b-1", "buy", 5, 90, "gtc");
    let session = Arc::clone(&desk.sessions[0].2);
    let revoked = Revoked {
        principal: session.principal.clone(),
        serial: "1f".to_owned(),
        issuer: "CN=clients".to_owned(),
        certificate: [7; 32],
        why: "because".to_owned(),
        keeps_orders: false,
        sessions: vec![session],
    };
    let mut batch = Batch::default();
    desk.core.handle(Command::Revoke(Box::new(revoked)), desk.now, &mut batch).unwrap();
    // It was on its way when the certificate was withdrawn.
    desk.order(0, "a-2", "buy", 1, 100, "gtc");
    desk.order(1, "b-2", "buy", 1, 90, "gtc");
    let entries = read(&desk.close());
    let events = |kind: u16| {
        let of_kind = entries.iter().filter(move |entry| entry.header.kind == kind);
        of_kind.map(|entry| {
            journal::decode(entry.header.kind, entry.header.schema, &entry.payload).unwrap().unwrap()
        })
    };
    let orders: Vec<u64> = events(266)
        .filter_map(|event| if let Event::Order(order) = event { Some(order.order_id) } else { None })
        .collect();
    let [Event::Revocation(revocation)] = &events(293).collect::<Vec<_>>()[..] else {
        panic!("not one entry")
    };
    assert_eq!((revocation.orders.as_slice(), orders.len()), (&orders[..1], 3));
    let [Event::OrderRefused(refused)] = &events(267).collect::<Vec<_>>()[..] else {
        panic!("not one refusal")
    };
    assert_eq!((&*refused.code, refused.binds), ("SF-SES-032", false));
    assert_eq!(again(&entries).verdict, Verdict::Verified);
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
    // A pruned beginning takes the state along: what comes before the next snapshot or the next venue is counted, not executed.
    let pruned = again(&all[whole / 2..]);
    assert_eq!((&pruned.verdict, pruned.runs), (&Verdict::Verified, 1));
    assert_eq!(inputs_before(&all[..whole / 2]) + pruned.headless + pruned.inputs, report.inputs);
    assert!(pruned.headless > 0 && pruned.headless < pruned.inputs, "{pruned:?}");
}

const SYMBOLS: [(&str, bool); 2] = [("TAPE", false), ("SEAL", true)];

fn is_output(entry: &Entry) -> bool {
    matches!(entry.header.kind, 268 | 11) || (entry.header.kind == 267 && entry.header.order.is_some())
}

#[test]
fn a_run_goes_on_with_orders_answers_and_numbers_of_the_one_before() {
    let mut first = Desk::open(TempDir::new().unwrap(), 1_000, MORNING);
    first.order(0, "a-1", "buy", 5, 100, "gtc");
    first.order(1, "b-1", "sell", 2, 100, "gtc");
    first.order(1, "b-2", "sell", 3, 110, "day");
    first.order(1, "b-3", "sell", 1, 500, "fok");
    first.synthetic(0, Side::Sell, 3, 120);
    let before =
        first.core.engine.resting().filter(|order| order.owner.0.is_multiple_of(2)).collect::<Vec<_>>();
    let folder = first.close();
    let mut second = Desk::reopen(folder, 2_000, MORNING + 1, &SYMBOLS);
    let engine = &second.core.engine;
    let resting: Vec<_> = engine.resting().collect();
    assert_eq!(resting, before, "clients' orders rest where they rested, the synthetic market's are gone");
    let alice = engine.owner(&Principal::new("acme", "alice").unwrap()).unwrap();
    assert_eq!((engine.epoch(), engine.last_report(alice).get()), (Epoch(1_000), 2));
    let refused = engine.owner(&Principal::new("acme", "bob").unwrap()).unwrap();
    let answer = engine.answers().find(refused, ClientOrderId::new("b-3").unwrap()).unwrap();
    assert!(matches!(answer.outcome, Outcome::Refused(_)), "{answer:?}");
    assert!(answer.receipt.get().is_some());
    // The same body trades nothing; the order trades and is cancelled as if nothing had been.
    second.order(0, "a-1", "buy", 5, 100, "gtc");
    second.order(1, "b-4", "sell", 1, 100, "ioc");
    second.cancel(0, "a-2", "a-1");
    assert_eq!(second.core.engine.last_report(alice).get(), 4);
    assert_eq!(second.core.engine.open_orders(alice), 0);
    let entries = read(&second.close());
    let report = again(&entries);
    assert_eq!((&report.verdict, report.runs, report.cut), (&Verdict::Verified, 2, 0));
    assert!(report.snapshots >= 2);
}

#[test]
fn what_a_crash_cuts_off_is_what_the_next_run_writes_first() {
    let mut first = Desk::open(TempDir::new().unwrap(), 1_000, MORNING);
    first.trade();
    first.trade_on();
    let folder = first.close();
    let all = read(&folder);
    let mut due_in_all = 0;
    for end in 1..=all.len() {
        let followed = follow(all[..end].iter().cloned().map(Ok), [0; 32], 0).unwrap();
        assert_eq!(followed.report.verdict, Verdict::Verified, "cut at {end}");
        let behind = all[end..].iter().filter(|entry| is_output(entry));
        due_in_all += followed.due.len();
        for (due, entry) in followed.due.iter().zip(behind) {
            let payload = match &due.output {
                Expected::Event(event) => event.encode().unwrap(),
                Expected::State(state) => state.to_payload(),
            };
            assert_eq!(payload, entry.payload, "cut at {end}");
        }
    }
    assert!(due_in_all > 20, "some cut is between an input and its outputs");
}

#[test]
fn the_newest_reports_and_their_copies_are_told_again_within_one_bound_of_bytes() {
    let mut desk = Desk::open(TempDir::new().unwrap(), 1_000, MORNING);
    desk.trade();
    desk.trade_on();
    let all = read(&desk.close());
    let told = |bytes_max| follow(all.iter().cloned().map(Ok), [0; 32], bytes_max).unwrap().told;
    let whole = told(usize::MAX);
    let executions = all.iter().filter(|entry| entry.header.kind == 268).count();
    assert_eq!(whole.len(), 2 * executions, "each for its owner and for the firm");
    let numbers = |stream: &ReportStream| {
        whole.iter().filter(|one| one.stream == *stream).map(|one| one.seq.get()).collect::<Vec<_>>()
    };
    for ReportMessage { stream, .. } in &whole {
        let found = numbers(stream);
        assert_eq!(found, (1..=found.len() as u64).collect::<Vec<_>>(), "{stream:?}");
    }
    assert_eq!(numbers(&ReportStream::Firm("acme".into())).len(), executions, "both owners are of one firm");
    let bytes = |told: &[ReportMessage]| told.iter().map(|one| one.text.len()).sum::<usize>();
    for bytes_max in [0, 1, 700, 5_000, bytes(&whole) - 1, bytes(&whole)] {
        let kept = told(bytes_max);
        let left_out = whole.len() - kept.len();
        assert_eq!(kept, whole[left_out..], "the newest");
        assert!(bytes(&kept) <= bytes_max);
        assert!(
            left_out == 0 || bytes(&whole[left_out - 1..]) > bytes_max,
            "no fewer than there is room for"
        );
    }
}

#[test]
fn a_pruned_log_is_executed_from_its_first_snapshot() {
    let mut desk = Desk::open(TempDir::new().unwrap(), 1_000, MORNING);
    desk.trade();
    desk.trade_on();
    let all = read(&desk.close());
    let whole = again(&all);
    assert!(whole.snapshots >= 2, "{whole:?}");
    let snapshot = all.iter().position(|entry| entry.header.kind == 287).unwrap();
    for from in [snapshot, snapshot - 1, snapshot / 2] {
        let report = again(&all[from..]);
        assert_eq!(report.verdict, Verdict::Verified, "from {from}");
        assert_eq!(report.inputs + report.headless, whole.inputs - inputs_before(&all[..from]));
        assert_eq!(report.snapshots, whole.snapshots);
    }
    // A snapshot that is not the state is found, like any other output.
    let last = all.iter().rposition(|entry| entry.header.kind == 287).unwrap();
    let mut other = all;
    *other[last].payload.last_mut().unwrap() ^= 1;
    let Verdict::Diverged(found) = again(&other).verdict else { panic!("it was taken") };
    assert_eq!((found.how, found.seq), (How::Snapshot, other[last].header.seq));
}

#[test]
fn orders_whose_beginning_was_pruned_forbid_to_begin_anew() {
    let mut desk = Desk::open(TempDir::new().unwrap(), 1_000, MORNING);
    let filler = "x".repeat(10_000);
    for _ in 0..150 {
        desk.journal.record(journal::event::Stop { reason: filler.clone() }).unwrap();
    }
    desk.order(0, "a-1", "buy", 5, 100, "gtc");
    let Desk { journal, folder, .. } = desk;
    journal.stop().unwrap();
    let log = folder.path().join("log");
    assert!(restore(&log, [0; 32], 0).unwrap().is_some());
    let first = sealfeed_audit::reader::segments(&log).unwrap();
    assert!(first.len() > 1, "the order stands in a later segment");
    std::fs::remove_file(log.join(format!("segments/{:020}.seg", first[0]))).unwrap();
    let Err(error) = restore(&log, [0; 32], 0) else { panic!("it began anew") };
    assert!(matches!(error, RestoreError::NoBeginning { .. }), "{error}");
}

fn inputs_before(entries: &[Entry]) -> u64 {
    entries.iter().filter(|entry| matches!(entry.header.kind, 266 | 272 | 277 | 285)).count() as u64
}

#[test]
fn orders_in_what_is_not_traded_any_more_are_cancelled_and_the_rest_finds_its_new_place() {
    let mut first = Desk::begin(
        TempDir::new().unwrap(),
        1_000,
        MORNING,
        &[("OTHER", true), ("SEAL", true), ("TAPE", false)],
        false,
    );
    first.order(0, "a-1", "buy", 5, 100, "gtc");
    first.order(1, "b-1", "buy", 5, 100, "gtc");
    let folder = first.close();
    let second = Desk::reopen(folder, 2_000, MORNING + 1, &[("TAPE", false), ("SEAL", true)]);
    assert_eq!(
        second.core.engine.resting().map(|order| order.instrument).collect::<Vec<_>>(),
        [InstrumentId(1); 2]
    );
    let folder = second.close();
    let third = Desk::reopen(folder, 3_000, MORNING + 2, &[("SEAL", false), ("TAPE", false)]);
    assert_eq!(third.core.engine.resting().count(), 0);
    let entries = read(&third.close());
    let canceled = entries.iter().filter(|entry| entry.header.kind == 268).filter(|entry| {
        let found = |word: &[u8]| entry.payload.windows(word.len()).any(|bytes| bytes == word);
        found(b"canceled") && found(b"restart")
    });
    assert_eq!(canceled.count(), 2);
    let report = again(&entries);
    assert_eq!((&report.verdict, report.runs), (&Verdict::Verified, 3));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// A snapshot may be the bytes of any file.
    #[test]
    fn hostile_snapshots_are_refused_or_make_an_engine_that_holds(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4)
    ) {
        static BYTES: std::sync::LazyLock<Vec<u8>> = std::sync::LazyLock::new(|| {
            let mut desk = Desk::open(TempDir::new().unwrap(), 1_000, MORNING);
            desk.trade();
            desk.core.engine.snapshot()
        });
        let same = Engine::from_snapshot(&BYTES, [0; 32]).unwrap();
        prop_assert_eq!(&same.snapshot(), &*BYTES);
        let mut bytes = BYTES.clone();
        for (at, byte) in changes {
            *at.get_mut(&mut bytes) = byte;
        }
        if let Ok(mut engine) = Engine::from_snapshot(&bytes, [0; 32]) {
            let mut events = Vec::new();
            engine.end_day(40_000, &mut events);
            let _ = engine.state();
        }
    }

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
