//! One receiver of alerts: a bounded queue, and a thread that posts what stands in it, in order.
//!
//! A message that is not taken (no answer in time, or any status but 2xx) is sent again with the same id and a new signature, after
//! growing pauses, a dozen times; then it is dropped. The queue drops its oldest when it is full. The next message that is sent says how
//! many were dropped before it. At the stop each message that waits is tried once, for a few seconds in all.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use serde::Serialize;

use super::secret::{Secret, SecretError};
use crate::clock::Clock;
use crate::config::WebhookConfig;
use crate::metrics::{Delivery, Metrics};
use crate::types::{Code, TimeArithmetic as _};

/// Messages that may wait for one receiver.
pub(super) const QUEUE_MAX: usize = 64;
/// Attempts at one message: some four minutes.
const ATTEMPTS_MAX: u32 = 12;
/// Pause behind the first attempt; each one behind it is twice as long.
const PAUSE_MIN: Duration = Duration::from_millis(250);
const PAUSE_MAX: Duration = Duration::from_secs(60);
/// How long messages are still sent after the stop, the attempt that runs then apart.
const STOP_NS: u64 = 3_000_000_000;

/// Why a receiver cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum WebhookError {
    /// Its secret cannot be used.
    #[error("[[alerts.webhook]] number {number}")]
    Secret {
        /// Its place in the file, from 1.
        number: usize,
        /// Why.
        #[source]
        source: SecretError,
    },
    /// Its authorities cannot be used.
    #[error("[[alerts.webhook]] number {number}: authorities cannot be used: {what}")]
    Authorities {
        /// Its place in the file, from 1.
        number: usize,
        /// Why.
        what: String,
    },
}

impl WebhookError {
    /// The stable code of this error.
    #[must_use]
    pub const fn code(&self) -> Code {
        match self {
            Self::Secret { source, .. } => source.code(),
            Self::Authorities { .. } => Code::CfgWebhookInvalid,
        }
    }
}

/// An alert as its receivers read it.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Message {
    /// Names the message, over all attempts.
    #[serde(skip)]
    pub(super) id: String,
    /// `alert.firing` or `alert.resolved`.
    #[serde(rename = "type")]
    pub(super) kind: &'static str,
    /// When it was judged, RFC 3339.
    pub(super) timestamp: String,
    /// The alert.
    pub(super) data: Data,
}

/// The alert in a message.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Data {
    pub(super) name: &'static str,
    pub(super) severity: &'static str,
    pub(super) state: &'static str,
    pub(super) value: String,
    pub(super) threshold: String,
    pub(super) window_ms: u64,
    pub(super) detail: String,
    pub(super) hint: &'static str,
    /// The sealed log, and the number of the alert's entry; `null` if the log took it no more.
    pub(super) log: String,
    pub(super) entry: Option<u64>,
    /// Messages to this receiver that were dropped since the last one.
    pub(super) dropped: u64,
}

/// A receiver whose files were read.
pub(super) struct Prepared {
    number: usize,
    agent: ureq::Agent,
    url: String,
    secret: Secret,
}

impl Prepared {
    /// Reads the files of the receiver at this place in the configuration, from 1.
    pub(super) fn new(number: usize, config: &WebhookConfig) -> Result<Self, WebhookError> {
        let secret =
            Secret::read(&config.secret_file).map_err(|source| WebhookError::Secret { number, source })?;
        let timeout = Duration::from_millis(config.timeout_ms);
        let agent = crate::outbound::agent(timeout, config.authorities.as_deref())
            .map_err(|what| WebhookError::Authorities { number, what })?;
        Ok(Self { number, agent, url: config.url.clone(), secret })
    }

    /// One attempt. What went wrong is told without the address, which may hold a token.
    fn post(&self, id: &str, timestamp: u64, body: &str) -> Result<(), String> {
        let answer = self
            .agent
            .post(&self.url)
            .header("content-type", "application/json")
            .header("user-agent", concat!("sealfeed/", env!("CARGO_PKG_VERSION")))
            .header("webhook-id", id)
            .header("webhook-timestamp", timestamp.to_string())
            .header("webhook-signature", self.secret.sign(id, timestamp, body))
            .send(body);
        match answer {
            Ok(answer) if answer.status().is_success() => Ok(()),
            Ok(answer) => Err(format!("it answered with status {}", answer.status().as_u16())),
            Err(ureq::Error::Timeout(_)) => Err("no answer in time".to_owned()),
            Err(ureq::Error::Io(error)) => Err(format!("connection: {}", error.kind())),
            Err(ureq::Error::HostNotFound) => Err("its host is not known".to_owned()),
            Err(ureq::Error::Rustls(error)) => Err(format!("TLS: {error}")),
            Err(_) => Err("the request failed".to_owned()),
        }
    }
}

/// What the thread and those who give it work share.
#[derive(Default)]
struct Shared {
    queue: Mutex<Queue>,
    changed: Condvar,
}

#[derive(Default)]
struct Queue {
    messages: VecDeque<Message>,
    /// Since the last message that was begun.
    dropped: u64,
    stopping: bool,
}

/// A receiver at work. Dropping it ends its thread in bounded time.
pub(super) struct Webhook {
    shared: Arc<Shared>,
    metrics: Arc<Metrics>,
    thread: Option<JoinHandle<()>>,
}

impl Webhook {
    /// Starts the thread.
    pub(super) fn start(prepared: Prepared, metrics: Arc<Metrics>, clock: Clock) -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let sender =
            Sender { shared: Arc::clone(&shared), metrics: Arc::clone(&metrics), clock, receiver: prepared };
        let thread = std::thread::Builder::new()
            .name(format!("webhook-{}", sender.receiver.number))
            .spawn(move || sender.run())?;
        Ok(Self { shared, metrics, thread: Some(thread) })
    }

    /// Queues a message; drops the oldest if there is no room. Never waits.
    pub(super) fn send(&self, message: Message) {
        if self.shared.queue.lock().push(message) {
            self.metrics.webhook(Delivery::Dropped, 1);
        }
        self.shared.changed.notify_one();
    }
}

impl Drop for Webhook {
    fn drop(&mut self) {
        self.shared.queue.lock().stopping = true;
        self.shared.changed.notify_all();
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("a webhook's thread panicked");
        }
    }
}

impl Queue {
    /// Whether the oldest had to go.
    fn push(&mut self, message: Message) -> bool {
        let is_full = self.messages.len() >= QUEUE_MAX;
        if is_full {
            self.messages.pop_front();
            self.dropped += 1;
        }
        self.messages.push_back(message);
        is_full
    }

    /// The next message, with what was dropped before it.
    fn pop(&mut self) -> Option<Message> {
        let mut message = self.messages.pop_front()?;
        message.data.dropped = std::mem::take(&mut self.dropped);
        Some(message)
    }
}

/// What the thread owns.
struct Sender {
    shared: Arc<Shared>,
    metrics: Arc<Metrics>,
    clock: Clock,
    receiver: Prepared,
}

impl Sender {
    fn run(&self) {
        while let Some(message) = self.next() {
            // Every field is a text or a number.
            let Ok(body) = serde_json::to_string(&message) else { continue };
            if !self.deliver(&message.id, &body) {
                // It took the word of those before it along.
                let lost = message.data.dropped + 1;
                self.shared.queue.lock().dropped += lost;
                self.metrics.webhook(Delivery::Dropped, 1);
            }
            if self.shared.queue.lock().stopping {
                return self.finish();
            }
        }
    }

    /// Waits for a message; `None` when there is none and the server stops.
    fn next(&self) -> Option<Message> {
        let mut queue = self.shared.queue.lock();
        self.shared.changed.wait_while(&mut queue, |queue| queue.messages.is_empty() && !queue.stopping);
        queue.pop()
    }

    /// Sends one message until it is taken; whether it was.
    fn deliver(&self, id: &str, body: &str) -> bool {
        let number = self.receiver.number;
        let mut pause = PAUSE_MIN;
        for attempt in 1..=ATTEMPTS_MAX {
            let Err(why) = self.attempt(id, body) else { return true };
            let is_last = attempt == ATTEMPTS_MAX || self.paused(pause);
            if is_last {
                tracing::error!(
                    webhook = number,
                    id,
                    attempt,
                    why,
                    "an alert was dropped: its receiver does not take it"
                );
                return false;
            }
            if attempt == 1 {
                tracing::warn!(
                    webhook = number,
                    id,
                    why,
                    "a receiver did not take an alert: it is tried again"
                );
            }
            pause = (pause * 2).min(PAUSE_MAX);
        }
        false
    }

    fn attempt(&self, id: &str, body: &str) -> Result<(), String> {
        let posted = self.receiver.post(id, self.clock.now().0 / 1_000_000_000, body);
        let outcome = if posted.is_ok() { Delivery::Delivered } else { Delivery::Failed };
        self.metrics.webhook(outcome, 1);
        posted
    }

    /// Waits before the next attempt; whether the server stops.
    fn paused(&self, pause: Duration) -> bool {
        let mut queue = self.shared.queue.lock();
        self.shared.changed.wait_while_for(&mut queue, |queue| !queue.stopping, pause);
        queue.stopping
    }

    /// One attempt at each message that waits, for as long as there is time and they are taken.
    fn finish(&self) {
        let began = Clock::System.now();
        loop {
            let next = self.shared.queue.lock().pop();
            let Some(message) = next else { return };
            let in_time = Clock::System.now().since(began) < STOP_NS;
            let body = serde_json::to_string(&message);
            if in_time && body.is_ok_and(|body| self.attempt(&message.id, &body).is_ok()) {
                continue;
            }
            let dropped = self.shared.queue.lock().messages.len() as u64 + 1;
            self.metrics.webhook(Delivery::Dropped, dropped);
            tracing::error!(webhook = self.receiver.number, dropped, "alerts were dropped: the server stops");
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(number: usize) -> Message {
        let data = Data {
            name: "bans",
            severity: "warning",
            state: "firing",
            value: number.to_string(),
            threshold: String::new(),
            window_ms: 0,
            detail: String::new(),
            hint: "",
            log: String::new(),
            entry: None,
            dropped: 0,
        };
        Message { id: number.to_string(), kind: "alert.firing", timestamp: String::new(), data }
    }

    #[test]
    fn a_full_queue_drops_its_oldest_and_the_next_message_says_so() {
        let mut queue = Queue::default();
        for number in 0..QUEUE_MAX + 3 {
            assert_eq!(queue.push(message(number)), number >= QUEUE_MAX);
        }
        let first = queue.pop().unwrap();
        assert_eq!((first.id.as_str(), first.data.dropped), ("3", 3));
        assert_eq!(queue.pop().unwrap().data.dropped, 0, "it is said once");
        assert_eq!(queue.messages.len(), QUEUE_MAX - 2);
    }
}
