//! What thousands of quiet connections hold: memory and CPU time for each, after its welcome and after it has subscribed
//! to a symbol in which nothing happens.

use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Resource, getrlimit, setrlimit};
use rustls::ClientConfig;
use tokio::task::JoinSet;

use super::floor::{FloorOptions, Layer};
use super::process::Server;
use super::subscriber::connect_in_batches;
use super::support::Table;
use super::{Bench, trade_request};

const CONNECTIONS: u64 = 5_000;
const CONNECTIONS_SMOKE: u64 = 60;
/// How many connect, and then subscribe, at once.
const BATCH: usize = 50;
/// Descriptors of this process for everything but connections.
const OTHER_DESCRIPTORS: u64 = 100;
/// What the last handshakes needed is given back in this time.
const SETTLING: Duration = Duration::from_secs(1);

pub(crate) fn run(bench: &mut Bench, is_smoke: bool) {
    let connections = if is_smoke { CONNECTIONS_SMOKE } else { CONNECTIONS };
    allow_descriptors(connections + OTHER_DESCRIPTORS);
    println!(
        "idle: {connections} connections, connected and then subscribed {BATCH} at a time; KB and ms for each"
    );
    let mut table = Table::new(&[
        "server",
        "welcome KB",
        "its own",
        "subscribed KB",
        "its own",
        "connect CPU ms",
        "subscribe CPU ms",
    ]);
    let source = bench.recording(0, 0, 1, u64::from(u32::MAX));
    let product = bench.product(&source, false, "");
    table.row(&held(bench, &product, connections).cells("sealfeed"));
    drop(product);
    for (name, layer) in [("bare", Layer::Bare), ("tokio", Layer::TokioRustls)] {
        let options = FloorOptions {
            pki: bench.ground.pki(),
            subscribers: connections,
            messages: 0,
            messages_per_second: 0,
            message_bytes: 256,
            layer,
        };
        let floor = bench.floor_server(&options);
        table.row(&held(bench, &floor, connections).cells(name));
    }
    table.print();
    println!("until it has subscribed, a connection of `bare` is one of `tokio`");
    println!("its own: without pages of files, such as code that a connection is the first to use");
}

/// Raises the soft limit of open files to the hard one; ends the bench where that does not reach.
fn allow_descriptors(needed: u64) {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).expect("the soft limit goes up to the hard one");
    if let Some(hard) = limit.maximum.filter(|hard| *hard < needed) {
        panic!("{needed} open files are needed and {hard} allowed: raise the hard limit (ulimit -Hn)");
    }
}

/// For one connection.
struct Held {
    /// In all, and without pages of files.
    welcome_bytes: [u64; 2],
    subscribed_bytes: [u64; 2],
    connect_cpu_ns: u64,
    subscribe_cpu_ns: u64,
}

fn held(bench: &Bench, server: &Server, connections: u64) -> Held {
    bench.runtime.block_on(measure(server, &bench.client, connections))
}

async fn measure(server: &Server, client: &Arc<ClientConfig>, connections: u64) -> Held {
    let stand = || (server.cpu_ns(), [server.resident_bytes(), server.anonymous_bytes()]);
    let (cpu_at_start, resident_at_start) = stand();
    let each = |[all, own]: [u64; 2]| {
        let [all_at_start, own_at_start] = resident_at_start;
        [all.saturating_sub(all_at_start), own.saturating_sub(own_at_start)].map(|bytes| bytes / connections)
    };
    let subscribers = connect_in_batches(server.address, client, connections, BATCH as u64).await;
    tokio::time::sleep(SETTLING).await;
    let (cpu_connected, resident_connected) = stand();
    let requests: Arc<[String]> = trade_request().into();
    // Asked for is what a quiet connection holds, not what thousands of requests in one moment leave in the allocator.
    let (mut waiting, mut subscribers) = (subscribers.into_iter().peekable(), Vec::new());
    while waiting.peek().is_some() {
        let batch = waiting.by_ref().take(BATCH);
        let subscribing = batch.map(|subscriber| subscriber.subscribed(Arc::clone(&requests)));
        // They live till the end.
        subscribers.extend(subscribing.collect::<JoinSet<_>>().join_all().await);
    }
    tokio::time::sleep(SETTLING).await;
    let (cpu_subscribed, resident_subscribed) = stand();
    drop(subscribers);
    Held {
        welcome_bytes: each(resident_connected),
        subscribed_bytes: each(resident_subscribed),
        connect_cpu_ns: (cpu_connected - cpu_at_start) / connections,
        subscribe_cpu_ns: (cpu_subscribed - cpu_connected) / connections,
    }
}

#[expect(clippy::cast_precision_loss, reason = "measurements, not amounts")]
impl Held {
    fn cells(&self, name: &str) -> Vec<String> {
        let kilobytes = |bytes: u64| format!("{:.1}", bytes as f64 / 1024.0);
        let milliseconds = |ns: u64| format!("{:.3}", ns as f64 / 1e6);
        vec![
            name.to_owned(),
            kilobytes(self.welcome_bytes[0]),
            kilobytes(self.welcome_bytes[1]),
            kilobytes(self.subscribed_bytes[0]),
            kilobytes(self.subscribed_bytes[1]),
            milliseconds(self.connect_cpu_ns),
            milliseconds(self.subscribe_cpu_ns),
        ]
    }
}
