//! `kill -9` under order load: what was acknowledged is in the log, and the log says of itself what happened.
//!
//! Twelve cycles by default; `SEALFEED_KILL_CYCLES` sets another number, `SEALFEED_KILL_SEED` repeats a run's choices. A log takes
//! part in [`CYCLES_PER_LOG`] of them: what the checks read grows with it.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::process::{Pid, Signal, kill_process};
use sealfeed_audit::reader::entries;
use sealfeed_wire::SignedOp;
use serde_json::Value;
use tempfile::TempDir;

use crate::harness::{Client, Frame, Pki, Received, assert_executes_again, frame_text};
use crate::process::{ServerProcess, Verdict, configure, connect, public_key, spawn, verify};

const MARKET: &str = r#"
    [[source]]
    type = "synthetic"
    symbols = ["SEAL"]
    messages_per_second = 200
"#;
const CYCLES: u64 = 12;
const CYCLES_PER_LOG: u64 = 20;
/// Once in so many cycles the venue executes the whole log again.
const EXECUTE_EVERY: u64 = 6;
const CLIENTS: u64 = 4;
/// The server is killed after so many acks at most.
const ACKS_MAX: u64 = 400;

/// Numbers for a test, the same for one seed (`SplitMix64`: Steele, Lea, Flood 2014).
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (word ^ (word >> 31)) % bound
    }
}

/// A number from the environment, for longer runs and for repeated ones.
pub(crate) fn from_environment(name: &str) -> Option<u64> {
    std::env::var(name)
        .ok()
        .map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is no number: {text}")))
}

/// Ends a server once this many acks have come, over all clients.
struct Trigger {
    acks: AtomicU64,
    kill_at: u64,
    server: Pid,
}

impl Trigger {
    fn ack(&self) {
        if self.acks.fetch_add(1, Ordering::Relaxed) + 1 == self.kill_at {
            kill_process(self.server, Signal::KILL).unwrap();
        }
    }
}

/// Sends orders as fast as acks come, until the connection breaks; returns the acks: body and receipt.
async fn trade(mut client: Client, names: String, trigger: Arc<Trigger>) -> Vec<(String, Value)> {
    let mut acks = Vec::new();
    for number in 0.. {
        let name = format!("{names}-{number}");
        // Every third one rests, until as many rest as may: then the refusal is what is acknowledged.
        let tif = if number % 3 == 0 { "day" } else { "ioc" };
        let body = format!(
            r#"{{"cl_ord_id":"{name}","symbol":"SEAL","side":"buy","type":"limit","qty":"1","price":"1.00","tif":"{tif}"}}"#
        );
        let text = frame_text(number, &client.sign(SignedOp::OrderNew, &body));
        // Past the WebSocket layer, because the server may be gone: the next read tells.
        client.send_raw(&Frame { first: 0x81, masked: true, payload: text.as_bytes() }.bytes()).await;
        loop {
            match client.receive().await {
                Received::End(_) => return acks,
                Received::Message(message) if message["id"] == number => {
                    acks.push((body, message["receipt"].clone()));
                    trigger.ack();
                    break;
                }
                Received::Message(_) => {}
            }
        }
    }
    acks
}

/// Everything that was acknowledged, over all cycles.
#[derive(Default)]
struct Promised {
    receipts: BTreeMap<u64, (String, Value)>,
}

impl Promised {
    /// Asserts that the log keeps every promise, and that the verifier, with key and receipts, finds nothing wrong.
    fn check(&self, log: &Path, allowed: &[&str]) -> Verdict {
        let mut left = self.receipts.clone();
        for entry in entries(log).unwrap() {
            let entry = entry.unwrap();
            if let Some((body, receipt)) = left.remove(&entry.header.seq) {
                assert_eq!(sealfeed_audit::hex(&entry.hash), receipt["hash"].as_str().unwrap(), "{body}");
                let found = entry.payload.windows(body.len()).any(|bytes| bytes == body.as_bytes());
                assert!(found, "entry {} is not about {body}", entry.header.seq);
            }
        }
        assert!(left.is_empty(), "{} of {} acks are lost: {left:?}", left.len(), self.receipts.len());
        let file = log.with_file_name("receipts");
        let lines: Vec<String> = self.receipts.values().map(|(_, receipt)| receipt.to_string()).collect();
        fs::write(&file, lines.join("\n")).unwrap();
        let verdict = verify(log, &["--key", &public_key(log), "--receipt", file.to_str().unwrap()]);
        assert!(allowed.contains(&verdict.word()), "a false alarm: {verdict:?}");
        verdict
    }
}

/// One server's life: orders from all sides, and its end in the middle of them.
async fn cycle(server: ServerProcess, number: u64, dice: &mut Dice, promised: &mut Promised) {
    let kill_at = 1 + dice.below(ACKS_MAX);
    let trigger = Arc::new(Trigger { acks: AtomicU64::new(0), kill_at, server: server.pid() });
    let mut clients = Vec::new();
    for client in 0..CLIENTS {
        let name = if client % 2 == 0 { "acme/bob" } else { "acme/erin" };
        let client_of = connect(server.address, &Pki::get().client(name)).await;
        clients.push((client_of, format!("k{number}-{client}")));
    }
    let trades: Vec<_> = clients
        .into_iter()
        .map(|(client, names)| tokio::spawn(trade(client, names, Arc::clone(&trigger))))
        .collect();
    let mut acks = 0;
    for trade in trades {
        for (body, receipt) in trade.await.unwrap() {
            acks += 1;
            let seq = receipt["seq"].as_u64().unwrap_or_else(|| panic!("no receipt for {body}"));
            assert!(
                promised.receipts.insert(seq, (body, receipt)).is_none(),
                "entry {seq} was promised twice"
            );
        }
    }
    assert!(acks >= kill_at);
    let ended = server.wait();
    assert!(ended.status.code().is_none(), "it was killed, it did not stop: {ended:?}");
}

/// What a power cut leaves of a write that was under way, which a killed process alone does not: some of its bytes,
/// behind the last whole group. Whether there was room for them in the segment.
fn tear(log: &Path, dice: &mut Dice) -> bool {
    let segments = fs::read_dir(log.join("segments")).unwrap().map(|entry| entry.unwrap().path());
    let last =
        segments.filter(|path| path.extension().is_some_and(|extension| extension == "seg")).max().unwrap();
    let mut bytes = fs::read(&last).unwrap();
    let used = bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    let torn = used.next_multiple_of(512);
    let length = 1 + usize::try_from(dice.below(4_000)).unwrap();
    let Some(place) = bytes.get_mut(torn..torn + length) else { return false };
    place.iter_mut().for_each(|byte| *byte = u8::try_from(1 + dice.below(255)).unwrap());
    fs::write(&last, bytes).unwrap();
    true
}

/// A start that is cut off after a random while, at whatever it was doing.
async fn interrupted_start(config: &Path, dice: &mut Dice) {
    let mut child = spawn(config);
    tokio::time::sleep(std::time::Duration::from_micros(dice.below(60_000))).await;
    child.kill().unwrap();
    child.wait().unwrap();
}

fn start(config: &Path) -> ServerProcess {
    ServerProcess::start(config).unwrap_or_else(|ended| panic!("it does not recover: {ended:?}"))
}

/// What happened over all logs.
#[derive(Default)]
struct Told {
    acks: usize,
    kills: u64,
    tears: usize,
    recoveries: usize,
}

/// One log, whose server is killed under load once a cycle, and now and then in its start or at rest.
async fn live_through_kills(cycles: u64, dice: &mut Dice, told: &mut Told) {
    let folder = TempDir::new().unwrap();
    let config = configure(folder.path(), &Pki::get().folder, MARKET);
    let log = folder.path().join("log");
    let mut promised = Promised::default();
    let mut tears = 0;
    for number in 1..=cycles {
        let server = start(&config);
        if number > 1 {
            // Alive again: whatever was torn is declared.
            let verdict = promised.check(&log, &["VERIFIED", "RECOVERED"]);
            assert_eq!(verdict.report["live"], true);
            let recoveries = verdict.report["recoveries"].as_array().unwrap().len();
            assert!(recoveries >= tears, "{tears} tears and {recoveries} recoveries: {verdict:?}");
        }
        cycle(server, number, dice, &mut promised).await;
        told.kills += 1;
        // Dead: the verifier may find a torn tail, never damage.
        promised.check(&log, &["VERIFIED", "RECOVERED", "UNCLEAN"]);
        if dice.below(2) == 0 && tear(&log, dice) {
            tears += 1;
            promised.check(&log, &["UNCLEAN"]);
        }
        if dice.below(4) == 0 {
            interrupted_start(&config, dice).await;
            told.kills += 1;
            promised.check(&log, &["VERIFIED", "RECOVERED", "UNCLEAN"]);
        }
        if dice.below(4) == 0 {
            let server = start(&config);
            let killed = dice.below(2) == 0;
            told.kills += u64::from(killed);
            server.signal(if killed { Signal::KILL } else { Signal::TERM });
            server.wait();
        }
        if number % EXECUTE_EVERY == 0 {
            assert_executes_again(&log);
        }
    }
    let server = start(&config);
    server.signal(Signal::TERM);
    assert_eq!(server.wait().status.code(), Some(0));
    let verdict = promised.check(&log, &["VERIFIED", "RECOVERED"]);
    let again = assert_executes_again(&log);
    assert!(again.runs > cycles && again.outputs > cycles, "{again:?}");
    assert_eq!(verdict.report["stopped"], true);
    told.acks += promised.receipts.len();
    told.tears += tears;
    told.recoveries += verdict.report["recoveries"].as_array().unwrap().len();
}

#[tokio::test(flavor = "multi_thread")]
async fn no_acknowledged_order_is_lost_when_the_server_is_killed() {
    let seed = from_environment("SEALFEED_KILL_SEED").unwrap_or_else(|| u64::from(std::process::id()));
    let cycles = from_environment("SEALFEED_KILL_CYCLES").unwrap_or(CYCLES);
    println!("SEALFEED_KILL_SEED={seed} SEALFEED_KILL_CYCLES={cycles}");
    let mut dice = Dice(seed);
    let mut told = Told::default();
    let mut left = cycles;
    while left > 0 {
        let now = left.min(CYCLES_PER_LOG);
        live_through_kills(now, &mut dice, &mut told).await;
        left -= now;
    }
    let Told { acks, kills, tears, recoveries } = told;
    println!(
        "{acks} acks in {cycles} cycles, {kills} kills, {tears} tears, {recoveries} recoveries: none lost, no false alarm"
    );
}
