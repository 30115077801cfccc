//! The load: connections that subscribe, read, hold every message against its stream and keep nothing but counts.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use sealfeed_client::{ClientConfig, Closed, RawFeed, clock};
use sealfeed_wire::ServerMessage;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::histogram::Histogram;
use super::sequence::{Sequences, Taken, ts_out};
use crate::cli::context::{Problem, refusal_exit};

/// Connections that are made at the same time.
const CONNECTING_MAX: usize = 64;

/// What all connections together have seen.
#[derive(Debug)]
pub(super) struct Seen {
    /// From the first packet to `welcome`, nanoseconds.
    pub(super) connect: Histogram,
    /// From `ts_out` to this process, nanoseconds.
    pub(super) latency: Histogram,
    pub(super) messages: AtomicU64,
    /// Bytes of the messages, without frames and TLS.
    pub(super) bytes: AtomicU64,
    /// Places where messages did not come, and how many did not.
    pub(super) gaps: AtomicU64,
    pub(super) missing: AtomicU64,
    /// Messages that, by the two clocks, came before they were sent.
    pub(super) from_the_future: AtomicU64,
    /// Connections that ended, and how the first of them did.
    pub(super) ended: AtomicU64,
    pub(super) first_end: Mutex<Option<Closed>>,
    is_measured: AtomicBool,
}

impl Seen {
    pub(super) fn new() -> Self {
        let none = || AtomicU64::new(0);
        Self {
            connect: Histogram::new(),
            latency: Histogram::new(),
            messages: none(),
            bytes: none(),
            gaps: none(),
            missing: none(),
            from_the_future: none(),
            ended: none(),
            first_end: Mutex::new(None),
            is_measured: AtomicBool::new(false),
        }
    }

    fn take(&self, sequences: &mut Sequences, message: &[u8]) {
        let now = clock::system_time().0;
        let taken = sequences.take(message);
        if !self.is_measured.load(Ordering::Relaxed) {
            return;
        }
        if let Taken::Data { missing: 1.. } | Taken::Notice { missing: 1.. } = taken {
            self.gaps.fetch_add(1, Ordering::Relaxed);
        }
        match taken {
            Taken::Data { missing } => {
                self.missing.fetch_add(missing, Ordering::Relaxed);
                self.messages.fetch_add(1, Ordering::Relaxed);
                self.bytes.fetch_add(message.len() as u64, Ordering::Relaxed);
                if let Some(sent) = ts_out(message) {
                    if sent > now {
                        self.from_the_future.fetch_add(1, Ordering::Relaxed);
                    }
                    self.latency.add(now.saturating_sub(sent));
                }
            }
            Taken::Notice { missing } => drop(self.missing.fetch_add(missing, Ordering::Relaxed)),
            Taken::Other => {}
        }
    }

    fn end(&self, closed: Closed) {
        self.ended.fetch_add(1, Ordering::Relaxed);
        self.first_end.lock().get_or_insert(closed);
    }
}

/// One connection.
struct Subscriber {
    feed: RawFeed,
    sequences: Sequences,
}

impl Subscriber {
    async fn connect(config: &ClientConfig, requests: &[String], seen: &Seen) -> Result<Self, Problem> {
        let began = Instant::now();
        let feed = RawFeed::connect_with(config).await.map_err(|error| Problem::of_connect(&error))?;
        seen.connect.add(u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX));
        let mut subscriber = Self { feed, sequences: Sequences::default() };
        subscriber.subscribe(requests, seen).await?;
        Ok(subscriber)
    }

    /// Sends the requests one after the other; each must be granted in full.
    async fn subscribe(&mut self, requests: &[String], seen: &Seen) -> Result<(), Problem> {
        for request in requests {
            let ended = |closed: Closed| Problem::of_close(&closed);
            self.feed.send(request.clone()).await.map_err(ended)?;
            loop {
                let message = self.feed.next().await.map_err(ended)?;
                if !message.starts_with(b"{\"type\":\"subscribed\"")
                    && !message.starts_with(b"{\"type\":\"error\"")
                {
                    seen.take(&mut self.sequences, &message);
                    continue;
                }
                granted(&message)?;
                break;
            }
        }
        Ok(())
    }

    async fn read(mut self, seen: Arc<Seen>) {
        loop {
            match self.feed.next().await {
                Ok(message) => seen.take(&mut self.sequences, &message),
                Err(closed) => return seen.end(closed),
            }
        }
    }
}

/// Refuses a reply that does not grant everything.
fn granted(message: &[u8]) -> Result<(), Problem> {
    let text = std::str::from_utf8(message).unwrap_or_default();
    let refused = |code: &sealfeed_wire::AnyCode, message: &str, hint: &str| {
        let exit = refusal_exit(code, 1);
        Err(Problem::new(message.to_owned()).fix(hint.to_owned()).code(code.clone()).exit(exit))
    };
    match ServerMessage::decode(text) {
        Ok(ServerMessage::Subscribed(reply)) => match reply.refused.iter().next() {
            None => Ok(()),
            Some((symbol, reason)) => {
                let what = format!("{} of {symbol} is refused: {}", reply.channel.as_str(), reason.message);
                refused(&reason.code, &what, &reason.hint)
            }
        },
        Ok(ServerMessage::Error(reply)) => {
            refused(&reply.code, &format!("the server refused: {}", reply.message), &reply.hint)
        }
        _ => Err(Problem::new("the server's answer to a subscription cannot be read")
            .fix("Check that the address is a feed of this version.")),
    }
}

/// What is to be done.
pub(super) struct Load {
    pub(super) config: ClientConfig,
    pub(super) connections: usize,
    /// Between the beginnings of two connections.
    pub(super) connect_pause: Duration,
    /// What each connection asks for.
    pub(super) requests: Vec<String>,
    pub(super) length: Duration,
}

/// Connects, subscribes, and counts; how long it counted. Nothing is counted before the last connection has its subscriptions.
pub(super) async fn measure(load: Load, seen: &Arc<Seen>) -> Result<Duration, Problem> {
    let Load { config, connections, connect_pause, requests, length } = load;
    let (config, requests) = (Arc::new(config), Arc::new(requests));
    let gate = Arc::new(Semaphore::new(CONNECTING_MAX));
    let (mut pace, mut reading) = (tokio::time::interval(connect_pause), JoinSet::new());
    let mut connecting: JoinSet<Result<Subscriber, Problem>> = JoinSet::new();
    let mut begun = 0;
    while begun < connections || !connecting.is_empty() {
        tokio::select! {
            _ = pace.tick(), if begun < connections => {
                begun += 1;
                let (config, requests) = (Arc::clone(&config), Arc::clone(&requests));
                let (gate, seen) = (Arc::clone(&gate), Arc::clone(seen));
                connecting.spawn(async move {
                    // Never closed.
                    let _place = gate.acquire().await;
                    Subscriber::connect(&config, &requests, &seen).await
                });
            }
            Some(connected) = connecting.join_next() => {
                let subscriber = connected.map_err(|error| Problem::of_error(&error))??;
                // Read from here on: a server ends connections that do not read.
                reading.spawn(subscriber.read(Arc::clone(seen)));
            }
        }
    }
    seen.is_measured.store(true, Ordering::Relaxed);
    anstream::eprintln!("sealfeed: {connections} connections stand; measuring for {length:?}");
    let began = Instant::now();
    tokio::select! {
        () = tokio::time::sleep(length) => {}
        // Every connection has ended: there is nothing more to wait for.
        () = async { while reading.join_next().await.is_some() {} } => {}
    }
    seen.is_measured.store(false, Ordering::Relaxed);
    Ok(began.elapsed())
}
