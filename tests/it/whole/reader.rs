//! A reader who comes and goes, reads or does not, and knows of every stream either what it says or that it knows nothing.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::FutureExt as _;
use serde_json::{Value, json};

use crate::harness::{Client, Pki, Received, Server};

/// Who reads late.
pub(super) const LATE: &str = "dave";

/// What a reader holds of one symbol. It begins with a state and goes on with every change; what cannot follow is an assertion that fails.
pub(super) trait Followed: std::fmt::Debug {
    /// Of which channel.
    const CHANNEL: &'static str;

    /// What a subscription asks for beside channel and symbol.
    fn asked() -> Value;

    /// Subscribed to: a state has to come first.
    fn awaited(symbol: &str) -> Self;

    /// Where it stands, epoch and number; `None` while a state is awaited.
    fn stands(&self) -> Option<(String, u64)>;

    /// Takes a message of its stream that is no notice; whether it was a change.
    fn take(&mut self, message: &Value) -> bool;

    /// Nothing is missing up to this heartbeat.
    fn beat(&mut self, message: &Value);
}

/// What happened to readers, to be counted: a run that meets nothing proves nothing.
#[derive(Debug, Default)]
pub(super) struct Met {
    pub(super) deltas: u64,
    pub(super) skipped: u64,
    pub(super) recovered: u64,
    /// Of these, across a restart; and of a stream that is late.
    pub(super) over_restart: u64,
    pub(super) late: u64,
    /// By the reason that was given.
    pub(super) lost: BTreeMap<String, u64>,
    pub(super) withdrawn: u64,
    pub(super) cut_off: u64,
    pub(super) refused: u64,
}

impl Met {
    /// Adds what was met in another case.
    pub(super) fn add(&mut self, other: &Self) {
        self.deltas += other.deltas;
        self.skipped += other.skipped;
        self.recovered += other.recovered;
        self.over_restart += other.over_restart;
        self.late += other.late;
        for (reason, count) in &other.lost {
            *self.lost.entry(reason.clone()).or_default() += count;
        }
        self.withdrawn += other.withdrawn;
        self.cut_off += other.cut_off;
        self.refused += other.refused;
    }

    /// Whether nothing was left out.
    pub(super) fn is_everything(&self) -> bool {
        let over = [self.over_restart, self.late];
        let all = [self.deltas, self.skipped, self.recovered, self.withdrawn, self.refused];
        over.iter().chain(&all).all(|count| *count > 0)
    }
}

/// One reader.
pub(super) struct Reader<F> {
    user: &'static str,
    client: Option<Client>,
    held: BTreeMap<String, F>,
    on_slow: BTreeMap<String, &'static str>,
    /// Resumptions that are not answered yet: what is asked behind one may be answered before it, and would be undone by it.
    resuming: BTreeSet<String>,
    /// It has stopped reading.
    pub(super) is_paused: bool,
    /// The server was started again since it was there.
    pub(super) comes_after_restart: bool,
}

impl<F: Followed> Reader<F> {
    /// One that is not there yet.
    pub(super) fn new(user: &'static str) -> Self {
        Self {
            user,
            client: None,
            held: BTreeMap::new(),
            on_slow: BTreeMap::new(),
            resuming: BTreeSet::new(),
            is_paused: false,
            comes_after_restart: false,
        }
    }

    /// Whether it is granted what it reads so much later only.
    pub(super) fn is_late(&self) -> bool {
        self.user == LATE
    }

    /// Its name, as certificates and policy have it.
    pub(super) const fn user(&self) -> &'static str {
        self.user
    }

    /// Whether it is connected.
    pub(super) const fn is_there(&self) -> bool {
        self.client.is_some()
    }

    /// Connects, over a socket that holds little, and resumes what it had, or forgets it.
    pub(super) async fn come(&mut self, server: &Server, resumes: bool) {
        assert!(!self.is_there());
        let firm = if self.is_late() { "beta" } else { "acme" };
        let who = Pki::get().client(&format!("{firm}/{}", self.user));
        self.client = Some(server.connect_with_a_small_window(&who).await);
        self.is_paused = false;
        self.resuming.clear();
        if !resumes {
            self.held.clear();
        }
        for (symbol, held) in std::mem::take(&mut self.held) {
            let resume = match held.stands() {
                Some((epoch, seq)) => json!({ &symbol: {"epoch": epoch, "seq": seq} }),
                None => json!({}),
            };
            let on_slow = self.on_slow[&symbol];
            self.held.insert(symbol.clone(), held);
            self.ask(&symbol, on_slow, resume).await;
        }
    }

    /// Goes without a word.
    pub(super) fn leave(&mut self) {
        self.client = None;
        self.comes_after_restart = false;
        self.is_paused = false;
    }

    /// Subscribes afresh.
    pub(super) async fn subscribe(&mut self, symbol: &str, on_slow: &'static str) {
        if self.resuming.contains(symbol) {
            return;
        }
        self.on_slow.insert(symbol.to_owned(), on_slow);
        self.ask(symbol, on_slow, json!({})).await;
    }

    async fn ask(&mut self, symbol: &str, on_slow: &str, resume: Value) {
        let Some(client) = &mut self.client else { return };
        let mut request = json!({
            "op": "subscribe", "id": symbol, "channel": F::CHANNEL, "symbols": [symbol], "on_slow": on_slow,
        });
        request.as_object_mut().unwrap().append(F::asked().as_object_mut().unwrap());
        if resume.as_object().is_some_and(|resume| !resume.is_empty()) {
            request["resume"] = resume;
            self.resuming.insert(symbol.to_owned());
        }
        client.send_if_open(request.to_string()).await;
    }

    /// Ends a subscription; what is on its way still counts until the answer.
    pub(super) async fn unsubscribe(&mut self, symbol: &str) {
        if self.resuming.contains(symbol) {
            return;
        }
        let Some(client) = &mut self.client else { return };
        let id = format!("end {symbol}");
        let request = json!({"op": "unsubscribe", "id": id, "channel": F::CHANNEL, "symbols": [symbol]});
        client.send_if_open(request.to_string()).await;
    }

    /// Reads what is there, without waiting for more.
    pub(super) async fn read_some(&mut self, met: &mut Met) {
        while let Some(client) = &mut self.client {
            // The receive is cancel-safe: what was not complete is read the next time.
            let Some(received) = client.receive().now_or_never() else { break };
            self.take(received, met);
        }
        tokio::task::yield_now().await;
    }

    /// Reads until `is_done`, or until it was cut off.
    pub(super) async fn read_until(&mut self, met: &mut Met, mut is_done: impl FnMut(&Self) -> bool) {
        while self.is_there() && !is_done(self) {
            let Some(client) = &mut self.client else { break };
            let received = client.receive().await;
            self.take(received, met);
        }
    }

    /// Reads until everything that it has asked for was answered.
    pub(super) async fn settle(&mut self, met: &mut Met) {
        let Some(client) = &mut self.client else { return };
        let id = client.fresh_id();
        client.send_if_open(json!({"op": "ping", "id": id}).to_string()).await;
        // Requests are answered in their order, but for a subscription that the tape is asked about.
        let mut is_answered = false;
        while let Some(client) = &mut self.client {
            let received = client.receive().await;
            if let Received::Message(message) = &received {
                is_answered |= message["type"] == "pong" && message["id"] == id;
            }
            self.take(received, met);
            if is_answered {
                break;
            }
        }
    }

    /// What it holds of a symbol, if it is subscribed to it.
    pub(super) fn of(&self, symbol: &str) -> Option<&F> {
        self.held.get(symbol).filter(|_| self.is_there())
    }

    fn take(&mut self, received: Received, met: &mut Met) {
        match received {
            Received::Message(message) => self.message(&message, met),
            Received::End(ended) => {
                let expected = [Some(4001), Some(1012), Some(1001), None];
                assert!(expected.contains(&ended.code), "{}: {ended:?}", self.user);
                met.cut_off += u64::from(ended.code == Some(4001));
                self.client = None;
                self.is_paused = false;
            }
        }
    }

    fn message(&mut self, message: &Value, met: &mut Met) {
        let symbol = message["symbol"].as_str().unwrap_or_default();
        match message["type"].as_str().unwrap() {
            "subscribed" => self.granted(message, met),
            "entitlement" => self.withdrawn(message, met),
            "ok" => {
                let ended = message["id"].as_str().and_then(|id| id.strip_prefix("end "));
                ended.map(|symbol| self.held.remove(symbol));
            }
            // Not subscribed: it was withdrawn just before.
            "error" => assert_eq!(message["code"], "SF-SUB-011", "{message}"),
            "skipped" => {
                let held = self.held.get_mut(symbol).unwrap_or_else(|| panic!("not asked for: {message}"));
                if let Some((_, seq)) = held.stands() {
                    assert_eq!(message["from"], seq + 1, "{message}");
                }
                *held = F::awaited(symbol);
                met.skipped += 1;
            }
            "heartbeat" | "stale" => {
                if let Some(held) = self.held.get_mut(symbol).filter(|held| held.stands().is_some()) {
                    held.beat(message);
                }
            }
            "pong" | "slow" | "server_shutdown" => {}
            _ if message["channel"] == F::CHANNEL => {
                let held = self.held.get_mut(symbol).unwrap_or_else(|| panic!("not asked for: {message}"));
                met.deltas += u64::from(held.take(message));
            }
            other => panic!("{} got {other}: {message}", self.user),
        }
    }

    fn granted(&mut self, message: &Value, met: &mut Met) {
        for (symbol, stream) in message["symbols"].as_object().unwrap() {
            self.resuming.remove(symbol);
            let before = self.held.remove(symbol);
            let goes_on = stream["recovered"] == true;
            met.recovered += u64::from(goes_on);
            met.over_restart += u64::from(goes_on && self.comes_after_restart);
            met.late += u64::from(goes_on && self.is_late());
            assert_eq!(stream["delayed_ms"].is_null(), !self.is_late(), "{message}");
            if let Some(reason) = stream["reason"].as_str() {
                *met.lost.entry(reason.to_owned()).or_default() += 1;
            }
            let held = match before.filter(|_| goes_on) {
                Some(held) => {
                    let stood = held.stands().map(|(epoch, _)| epoch);
                    assert_eq!(stream["epoch"].as_str(), stood.as_deref(), "{message}");
                    held
                }
                None => {
                    assert!(!goes_on, "nothing was there to go on with: {message}");
                    F::awaited(symbol)
                }
            };
            self.held.insert(symbol.clone(), held);
        }
        for (symbol, refused) in message["refused"].as_object().unwrap() {
            assert_eq!(refused["code"], "SF-SUB-003", "{message}");
            self.resuming.remove(symbol);
            self.held.remove(symbol);
            met.refused += 1;
        }
    }

    fn withdrawn(&mut self, message: &Value, met: &mut Met) {
        for ended in message["ended"].as_array().unwrap() {
            assert_eq!(ended["channel"], F::CHANNEL, "{message}");
            for (symbol, refused) in ended["symbols"].as_object().unwrap() {
                assert_eq!(refused["code"], "SF-SUB-003", "{message}");
                assert!(self.held.remove(symbol).is_some(), "{message}");
                met.withdrawn += 1;
            }
        }
    }
}
