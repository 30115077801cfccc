//! What an operator has to be told of at once: judged from the events on their way into the log and from how things stand, sealed,
//! counted, logged, and sent to webhooks.
//!
//! In: every event that goes to the journal, by [`Alerts::observer`], which neither waits nor fails; readings, four times a second. Out: an
//! entry `alert` for each alert that begins to fire or is over, its metric, a line for the operator, and a message to each
//! receiver. One thread judges (`alerts`), and one a receiver posts (`webhook-N`). An alert's own entry is none of its causes. A
//! run begins with no alert firing: what still holds fires anew. What each alert means: `docs/ALERTS.md`.

mod engine;
mod secret;
mod signal;
mod table;
mod webhook;
mod window;

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use arc_swap::ArcSwap;

pub use secret::SecretError;
pub use table::{Alert, Severity};
pub use webhook::WebhookError;

use crate::clock::{Clock, format_utc};
use crate::config::AlertsConfig;
use crate::journal::{Journal, Observer, event};
use crate::metrics::{Metrics, Read};
use crate::types::UnixNanos;
use engine::{Engine, Finding, Transition};
use signal::{COUNTED_MAX, Change, STATES_MAX, Signals, Watcher, switch_name};
use table::Counted;
use webhook::{Data, Message, Prepared, Webhook};

/// How often alerts are judged.
const LOOK: Duration = Duration::from_millis(250);

/// The alerts of one server. Dropping them ends their threads in bounded time.
pub struct Alerts {
    watcher: Arc<Watcher>,
    config: Arc<ArcSwap<AlertsConfig>>,
    metrics: Arc<Metrics>,
    /// Until the thread takes them.
    prepared: Option<(Signals, Vec<Prepared>, Vec<Change>)>,
    thread: Option<(SyncSender<()>, JoinHandle<()>)>,
}

impl Alerts {
    /// Reads the files of all receivers, so that a start fails before anything is opened; judges nothing yet.
    ///
    /// # Errors
    /// [`WebhookError`] for the first receiver that cannot be used.
    pub fn prepare(config: &AlertsConfig, metrics: Arc<Metrics>) -> Result<Self, WebhookError> {
        let webhooks = config.webhooks.iter().enumerate();
        let prepared =
            webhooks.map(|(index, webhook)| Prepared::new(index + 1, webhook)).collect::<Result<_, _>>()?;
        let (watcher, signals) = Watcher::new();
        for alert in Alert::ALL {
            metrics.alert_known(alert.name());
        }
        Ok(Self {
            watcher: Arc::new(watcher),
            config: Arc::new(ArcSwap::from_pointee(config.clone())),
            metrics,
            prepared: Some((signals, prepared, Vec::new())),
            thread: None,
        })
    }

    /// Who has to see every event.
    #[must_use]
    pub fn observer(&self) -> Arc<dyn Observer> {
        Arc::<Watcher>::clone(&self.watcher)
    }

    /// Kill switches that were engaged in the run before and still are, by scope and target; before [`Alerts::start`].
    pub fn engaged(&mut self, switches: impl Iterator<Item = (&'static str, String)>) {
        if let Some((_, _, changes)) = &mut self.prepared {
            changes.extend(switches.map(|(scope, target)| {
                let switch = switch_name(scope, &target);
                Change::Kill { switch, engaged: true }
            }));
        }
    }

    /// Begins to judge. A second call changes nothing.
    ///
    /// # Errors
    /// The system has no thread for it.
    pub fn start(&mut self, journal: Journal, clock: Clock, read: Read) -> io::Result<()> {
        let Some((signals, prepared, changes)) = self.prepared.take() else { return Ok(()) };
        let webhooks = prepared
            .into_iter()
            .map(|prepared| Webhook::start(prepared, Arc::clone(&self.metrics), clock.clone()))
            .collect::<Result<_, _>>()?;
        let in_force = self.config.load_full();
        let mut engine = Engine::new((*in_force).clone());
        changes.into_iter().for_each(|change| engine.change(change));
        let mut judge = Judge {
            engine,
            in_force,
            config: Arc::clone(&self.config),
            signals,
            watcher: Arc::clone(&self.watcher),
            journal,
            metrics: Arc::clone(&self.metrics),
            webhooks,
            clock,
            read,
        };
        let (stop, stopped) = sync_channel(0);
        let thread =
            std::thread::Builder::new().name("alerts".to_owned()).spawn(move || judge.run(&stopped))?;
        self.thread = Some((stop, thread));
        Ok(())
    }

    /// The thresholds, which may be changed while it runs: others hold from the next look on. Receivers stay as they were.
    #[must_use]
    pub fn thresholds(&self) -> Arc<ArcSwap<AlertsConfig>> {
        Arc::clone(&self.config)
    }
}

impl Drop for Alerts {
    fn drop(&mut self) {
        let Some((stop, thread)) = self.thread.take() else { return };
        drop(stop);
        if thread.join().is_err() {
            tracing::error!("the thread of the alerts panicked");
        }
    }
}

/// What the thread owns.
struct Judge {
    engine: Engine,
    /// The configuration that the engine has.
    in_force: Arc<AlertsConfig>,
    config: Arc<ArcSwap<AlertsConfig>>,
    signals: Signals,
    watcher: Arc<Watcher>,
    journal: Journal,
    metrics: Arc<Metrics>,
    webhooks: Vec<Webhook>,
    clock: Clock,
    read: Read,
}

impl Judge {
    fn run(&mut self, stopped: &Receiver<()>) {
        loop {
            let is_last = stopped.recv_timeout(LOOK) != Err(RecvTimeoutError::Timeout);
            self.look();
            if is_last {
                // The receivers end with this thread.
                return;
            }
        }
    }

    /// Takes in what happened since the last look, and tells what that changes.
    fn look(&mut self) {
        let now = self.clock.now();
        let config = self.config.load_full();
        if !Arc::ptr_eq(&config, &self.in_force) {
            self.engine.reconfigure(&config);
            self.in_force = config;
        }
        // Bounded, so that a flood cannot keep it from judging.
        for counting in self.signals.counted.try_iter().take(COUNTED_MAX) {
            self.engine.count(now, &counting);
        }
        for what in Counted::ALL {
            let unnamed = self.watcher.take_unnamed(what);
            if unnamed > 0 {
                self.engine.count_unnamed(now, what, unnamed);
            }
        }
        for change in self.signals.changes.try_iter().take(STATES_MAX) {
            self.engine.change(change);
        }
        let lost = self.watcher.take_lost();
        if lost > 0 {
            tracing::error!(
                lost,
                "alerts about reloads and kill switches may be wrong: too many came at once"
            );
        }
        for transition in self.engine.judge(now, &(self.read)()) {
            self.tell(now, transition);
        }
    }

    /// Seals, counts, logs and sends.
    fn tell(&self, now: UnixNanos, transition: Transition) {
        let Transition { alert, fires, finding } = transition;
        let Finding { value, threshold, window_ms, detail, .. } = finding;
        let state = if fires { "firing" } else { "resolved" };
        let entry = self.journal.record(event::Alert {
            name: alert.name().to_owned(),
            severity: alert.severity().as_str().to_owned(),
            state: state.to_owned(),
            value: value.clone(),
            threshold: threshold.clone(),
            window_ms,
            detail: detail.clone(),
            hint: alert.hint().to_owned(),
        });
        self.metrics.alert_changed(alert.name(), fires);
        let (name, hint) = (alert.name(), alert.hint());
        match (fires, alert.severity()) {
            (true, Severity::Critical) => {
                tracing::error!(alert = name, value, threshold, ?detail, hint, "an alert fires")
            }
            (true, Severity::Warning) => {
                tracing::warn!(alert = name, value, threshold, ?detail, hint, "an alert fires")
            }
            (false, _) => tracing::info!(alert = name, value, threshold, ?detail, "an alert is over"),
        }
        if self.webhooks.is_empty() {
            return;
        }
        // A log that takes no more entries stops the server; its receivers are told all the same.
        let entry = entry.ok();
        let log = sealfeed_audit::hex(&self.journal.log_id());
        let of_log = log.get(..16).unwrap_or(&log);
        let id = entry.map_or_else(
            || format!("alert_{of_log}_{name}_{}", now.0),
            |entry| format!("alert_{of_log}_{entry}"),
        );
        let kind = if fires { "alert.firing" } else { "alert.resolved" };
        let severity = alert.severity().as_str();
        let data =
            Data { name, severity, state, value, threshold, window_ms, detail, hint, log, entry, dropped: 0 };
        let message = Message { id, kind, timestamp: format_utc(now), data };
        for webhook in &self.webhooks {
            webhook.send(message.clone());
        }
    }
}
