//! Bundles about one order: whatever is done to one, it proves what the log says or nothing.

use std::sync::{Arc, OnceLock};

use sealfeed::journal::Event;
use sealfeed::journal::event::{Bytes, Certificate, Connect, Execution, Order, Text};
use sealfeed_audit::bundle::{Given, Proof, Wanted, check, make_wanted};
use sealfeed_audit::fuzzing::{bundle_of, give_keys, members_of};
use sealfeed_audit::storage::Storage;
use sealfeed_audit::verify::Verdict;
use sealfeed_audit::{
    ClockEvidence, Draft, InitOptions, Log, Options, OrderLink, SEGMENT_BYTES_MIN, SessionLink, hex,
    init_storage, kind, sha256,
};

use crate::damage::Script;
use crate::memory::MemoryStorage;

const ORIGIN: &str = "log.example/audit";
const ORDER: u64 = 1_001;
const SESSION: [u8; 32] = [3; 32];
const LEAF: &[u8] = b"a certificate";

struct Made {
    members: Vec<(String, Vec<u8>)>,
    given: Given,
    proof: Proof,
}

fn made() -> &'static Made {
    static MADE: OnceLock<Option<Made>> = OnceLock::new();
    let made = MADE.get_or_init(make);
    made.as_ref().unwrap_or_else(|| panic!("the bundle to start from cannot be made"))
}

fn make() -> Option<Made> {
    let storage = MemoryStorage::default();
    give_keys(&storage, ORIGIN, &[0x42; 32], [1; 32], 0).ok()?;
    let init = InitOptions { segment_bytes: SEGMENT_BYTES_MIN, ..InitOptions::new(ORIGIN) };
    let key = init_storage(&storage, &init).ok()?.public_key;
    let shared: Arc<dyn Storage> = Arc::new(storage);
    let options = Options { segment_bytes: SEGMENT_BYTES_MIN, ..Options::new(ORIGIN) };
    let log = Log::open_storage(Arc::clone(&shared), options).ok()?;
    for draft in before() {
        log.append(draft?).ok()?;
    }
    let mut previous = None;
    for (place, event) in life().into_iter().enumerate() {
        let link = OrderLink { id: ORDER, previous, event: place as u64 };
        let session = (place == 0).then_some(SessionLink { id: SESSION, event: 1 });
        previous = Some(log.append(Draft { session, order: Some(link), ..draft(&event)? }).ok()?);
    }
    log.append(clock()).ok()?;
    log.stop().ok()?;
    let wanted = Wanted { number: Some(ORDER), is_first: None, has_ended: &|_| false };
    let bundle = make_wanted(&shared, wanted, Some(key.clone())).ok()?.bytes;
    let given = Given { key: Some(key), witnesses: Vec::new() };
    let proof = check(&bundle, &given).proof?;
    Some(Made { members: members_of(&bundle)?, given, proof })
}

/// What stands in the log before the order.
fn before() -> [Option<Draft>; 4] {
    let certificate = hex(&sha256(LEAF));
    let chain = vec![Bytes(LEAF.to_vec())];
    let presented = Certificate { sha256: certificate.clone(), chain, left_out: 0 };
    let connect = Connect {
        address: "192.0.2.7:5".to_owned(),
        principal: "acme/bob".to_owned(),
        serial: "0a".to_owned(),
        certificate,
        user_agent: "agent".to_owned(),
        protocol: "sealfeed.v1.json".to_owned(),
        role: String::new(),
        sessions: 1,
        professional: None,
        display: None,
    };
    let link = Some(SessionLink { id: SESSION, event: 0 });
    let connect = draft(&connect.into()).map(|draft| Draft { session: link, ..draft });
    [Some(clock()), draft(&presented.into()), connect, Some(clock())]
}

/// The order: bought, and filled.
fn life() -> [Event; 2] {
    let principal: Text = "acme/bob".into();
    let order = Order {
        principal: principal.clone(),
        op: "order.new".into(),
        order_id: ORDER,
        ts: 1_790_000_000_000_000_000,
        nonce: [3; 16],
        mac: [4; 32],
        body: r#"{"cl_ord_id":"c-1","symbol":"SEAL","side":"buy","type":"limit","price":"1.00","qty":"2"}"#
            .into(),
        received: 1 << 60,
        admitted: 1 << 60,
        sig: Bytes(Vec::new()),
        on_disconnect: 0,
    };
    let fill = Execution {
        principal,
        cl_ord_id: "c-1".into(),
        order_id: ORDER,
        symbol: "SEAL".into(),
        exec: "fill".into(),
        side: "buy".into(),
        price: 1_000_000_000,
        quantity: 2_000_000_000,
        trade_id: 1,
        leaves: 0,
        cumulative: 2_000_000_000,
        report: 1,
        reason: Text::default(),
        cause: Text::default(),
        taker: false,
        firm_report: 1,
    };
    [order.into(), fill.into()]
}

fn draft(event: &Event) -> Option<Draft> {
    let payload = event.encode().ok()?;
    Some(Draft { kind: event.kind(), schema: event.schema(), payload, ..Draft::default() })
}

fn clock() -> Draft {
    let evidence = ClockEvidence { discipline: None, step_ns: 0, tolerance_ns: 1 };
    Draft { kind: kind::CLOCK, payload: evidence.to_payload(), ..Draft::default() }
}

/// The first byte says what the input is: an archive, or damage to the members of a good one, or to its bytes.
pub(crate) fn bundle(bytes: &[u8]) {
    let Some((what, bytes)) = bytes.split_first() else { return };
    let made = made();
    let damaged = match what % 3 {
        0 => bytes.to_vec(),
        1 => {
            let mut members = made.members.clone();
            Script::new(bytes)
                .damage(&mut members.iter_mut().map(|(_, content)| content).collect::<Vec<_>>());
            bundle_of(&members)
        }
        _ => {
            let mut archive = bundle_of(&made.members);
            Script::new(bytes).damage(&mut [&mut archive]);
            archive
        }
    };
    let report = check(&damaged, &made.given);
    match (report.verdict, report.proof) {
        (Verdict::Verified, Some(proof)) => {
            // Signers whom nobody asked about may be added by anybody, and are named as unchecked.
            let proof = Proof { other_signers: made.proof.other_signers.clone(), ..proof };
            assert_eq!(proof, made.proof, "another story verifies");
        }
        (Verdict::Tampered, None) => {
            let problem = report.problem.unwrap_or_default();
            assert!(!problem.is_empty() && !problem.chars().any(char::is_control), "{problem:?}");
        }
        (verdict, proof) => panic!("{verdict:?} with the log's key: {proof:?}"),
    }
    // Without the key nothing is proven, but all of it is read.
    let alone = check(&damaged, &Given::default());
    assert!(!matches!(alone.verdict, Verdict::Verified | Verdict::Recovered), "verified by its own word");
}
