//! The load: connects subscribers, lets them read and check, and measures the server meanwhile. All on one thread.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject as _;
use tokio::task::JoinSet;

use super::process::Server;
use super::subscriber::{Received, Subscriber, connect_in_batches};
use super::tls;

/// Longest time for a fixed number of messages.
const READING_MAX: Duration = Duration::from_secs(300);
/// How many connect at once.
const BATCH: u64 = 250;
/// Between the last subscription and the measurement, where there is no fixed number.
const SETTLING: Duration = Duration::from_millis(300);

/// When a measurement ends.
#[derive(Clone, Copy)]
pub(crate) enum Until {
    /// Every subscriber has had this many messages.
    Messages(u64),
    /// Time has passed.
    Elapsed(Duration),
}

/// What was measured with one server.
#[derive(Clone, Copy)]
pub(crate) struct Outcome {
    /// Messages that came, over all subscribers.
    pub(crate) deliveries: u64,
    /// Their bytes, without frames.
    pub(crate) bytes: u64,
    /// From the last subscription to the end.
    pub(crate) elapsed_ns: u64,
    /// The server's, in that time.
    pub(crate) cpu_ns: u64,
    /// The server's, for one connection up to its welcome.
    pub(crate) connect_cpu_ns: u64,
    /// Memory of the server for one connection that has had its welcome and nothing else.
    pub(crate) idle_bytes: u64,
    /// Memory of the server for one connection in the end, beyond that before the first.
    pub(crate) loaded_bytes: u64,
    /// From the feed's own time in a message to its reader, over all deliveries: the 50th, 99th and 99.9th of 100.
    pub(crate) latency_ns: [u64; 3],
}

/// The subscribers' side of TLS.
pub(crate) fn client_configuration(pki: &Path) -> Arc<ClientConfig> {
    let client = pki.join("clients/acme/load");
    let key = PrivateKeyDer::from_pem_file(client.join("client.key")).expect("the client's key");
    let roots = Arc::new(tls::roots(&client.join("ca.pem")));
    Arc::new(tls::client_configuration(roots, tls::certificates(&client.join("client.pem")), key))
}

/// Connects `count` subscribers to a server, lets them subscribe, and measures until the end.
///
/// With [`Until::Messages`] the last subscription starts the clock, since recordings wait for it.
pub(crate) async fn measure(
    server: &Server,
    configuration: &Arc<ClientConfig>,
    count: u64,
    requests: &[String],
    until: Until,
) -> Outcome {
    let (cpu_at_start, resident_at_start) = (server.cpu_ns(), server.resident_bytes());
    // Many at once: each waits for entries of the log, which are written in groups. Not all: the last of thousands would
    // meet `limits.upgrade_timeout_ms` on a busy machine.
    let subscribers = connect_in_batches(server.address, configuration, count, BATCH).await;
    let connect_cpu_ns = (server.cpu_ns() - cpu_at_start) / count;
    let idle_bytes = server.resident_bytes().saturating_sub(resident_at_start) / count;

    let counts: Vec<_> = subscribers.iter().map(|subscriber| Arc::clone(&subscriber.received)).collect();
    let mark = || Mark::take(server, &counts);
    let requests: Arc<[String]> = requests.into();
    let subscribe = |subscriber: Subscriber| subscriber.subscribed(Arc::clone(&requests));
    let mut others = subscribers;
    let last = others.pop().expect("a subscriber");
    let mut subscribers = others.into_iter().map(subscribe).collect::<JoinSet<_>>().join_all().await;
    // The recording waits for the very last of all requests.
    let (before, last_request) = requests.split_at(requests.len() - 1);
    let last = last.subscribed(before.into()).await;
    let last_request: Arc<[String]> = last_request.into();
    let (begin, end) = match until {
        Until::Messages(messages) => {
            let begin = mark();
            subscribers.push(last.subscribed(last_request).await);
            let mut reading = Reading::start(subscribers, messages);
            let done = tokio::time::timeout(READING_MAX, reading.all_done()).await;
            let end = mark();
            assert!(done.is_ok(), "{} of {} messages came", end.messages, messages * count);
            assert_eq!(end.messages, messages * count, "every message comes once");
            (begin, end)
        }
        Until::Elapsed(elapsed) => {
            subscribers.push(last.subscribed(last_request).await);
            let mut reading = Reading::start(subscribers, u64::MAX);
            reading.go_on(SETTLING).await;
            let begin = mark();
            reading.go_on(elapsed).await;
            (begin, mark())
        }
    };
    let loaded_bytes = server.resident_bytes().saturating_sub(resident_at_start) / count;
    let deliveries = end.messages - begin.messages;
    assert!(deliveries > 0, "nothing was delivered");
    Outcome {
        deliveries,
        bytes: end.bytes - begin.bytes,
        elapsed_ns: end.time_ns - begin.time_ns,
        cpu_ns: end.cpu_ns - begin.cpu_ns,
        connect_cpu_ns,
        idle_bytes,
        loaded_bytes,
        latency_ns: percentiles(&counts),
    }
}

/// The middle, and the ends of what the unluckiest see.
pub(crate) fn percentiles(counts: &[Arc<Received>]) -> [u64; 3] {
    let mut all: Vec<u64> = counts.iter().flat_map(|received| received.latencies.lock().clone()).collect();
    all.sort_unstable();
    let last = all.len().saturating_sub(1);
    [500, 990, 999].map(|of_thousand| all.get(last * of_thousand / 1_000).copied().unwrap_or_default())
}

/// Where everything stands at one moment.
struct Mark {
    messages: u64,
    bytes: u64,
    cpu_ns: u64,
    time_ns: u64,
}

impl Mark {
    fn take(server: &Server, counts: &[Arc<Received>]) -> Self {
        let (messages, bytes) = counts
            .iter()
            .map(|received| received.get())
            .fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
        Self { messages, bytes, cpu_ns: server.cpu_ns(), time_ns: now_ns() }
    }
}

/// Subscribers that read.
pub(crate) struct Reading {
    tasks: JoinSet<Subscriber>,
    /// Whoever is done stays connected till the end: closing costs the server something too.
    done: Vec<Subscriber>,
}

impl Reading {
    pub(crate) fn start(subscribers: Vec<Subscriber>, messages_max: u64) -> Self {
        let mut tasks = JoinSet::new();
        for subscriber in subscribers {
            tasks.spawn(subscriber.read(messages_max));
        }
        Self { tasks, done: Vec::new() }
    }

    /// Waits until each has had its messages. Panics if one has panicked.
    async fn all_done(&mut self) {
        while let Some(ended) = self.tasks.join_next().await {
            self.done.push(ended.expect("a subscriber without a fault"));
        }
    }

    /// Lets them read for a while. Panics if one has panicked.
    pub(crate) async fn go_on(&mut self, elapsed: Duration) {
        let ended = tokio::time::timeout(elapsed, self.all_done()).await;
        assert!(ended.is_err(), "nobody is done");
    }
}

/// Nanoseconds since 1970.
pub(crate) fn utc_ns() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
    u64::try_from(time.tv_sec * 1_000_000_000 + time.tv_nsec).expect("a time since 1970")
}

/// Monotonic time.
pub(crate) fn now_ns() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    u64::try_from(time.tv_sec * 1_000_000_000 + time.tv_nsec).expect("a time since the machine started")
}
