//! Figures about the server, for Prometheus: what happened, by kind and code, and how things stand.
//!
//! In: every event that goes to the journal ([`Observer`]), counted by indexes that are made at the start: no lock, no
//! allocation, one atomic addition (two for what was refused). [`Readings`], taken when somebody asks. Out: Prometheus' text format
//! 0.0.4, into a file ([`MetricsFile`]) or to whoever calls [`Metrics::encode`]. Sets of labels are bounded by the program: kinds,
//! codes and names of alerts, never a client. Names and meanings: `docs/ALERTS.md`.

mod events;
mod file;
mod text;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

pub use file::{MetricsFile, MetricsFileError};

use crate::clock::Clock;
use crate::journal::{ClockReading, Event, Observer, Space};
use crate::types::UnixNanos;
use events::EventCounts;

/// How things stand at one moment.
#[derive(Clone, Copy, Debug, Default)]
pub struct Readings {
    /// Sessions that have begun and not ended.
    pub sessions: usize,
    /// Connections, in any state.
    pub connections: usize,
    /// When the first revocation list runs out.
    pub revocation_list_next_update: UnixNanos,
    /// Last moment of the server's certificate.
    pub server_certificate_not_after: UnixNanos,
    /// Last moment of the client authority that ends first.
    pub client_authority_not_after: UnixNanos,
    /// How good the clock is.
    pub clock: ClockReading,
    /// Room on the disk of the sealed log.
    pub space: Space,
    /// Whether the sealed log takes entries.
    pub log_available: bool,
}

/// Takes readings, from any thread. Must not wait for long.
pub type Read = Arc<dyn Fn() -> Readings + Send + Sync>;

/// One label and its value, both fixed texts.
type Label = [(&'static str, &'static str); 1];
/// A gauge of seconds, or of whole numbers below 2^53.
type Seconds = Gauge<f64, AtomicU64>;

/// What became of a message to a webhook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// The receiver took it.
    Delivered,
    /// One attempt failed; there may be another.
    Failed,
    /// It will not be sent: its queue was full, every attempt failed, or the server stopped.
    Dropped,
}

impl Delivery {
    const ALL: [Self; 3] = [Self::Delivered, Self::Failed, Self::Dropped];

    const fn name(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Failed => "failed",
            Self::Dropped => "dropped",
        }
    }
}

/// All figures of one server.
pub struct Metrics {
    clock: Clock,
    registry: Registry,
    events: Arc<EventCounts>,
    alerts: Family<Label, Counter>,
    alert_firing: Family<Label, Gauge>,
    webhook: Family<Label, Counter>,
    gauges: Gauges,
}

/// What is set from [`Readings`], and by reloads.
#[derive(Default)]
struct Gauges {
    sessions: Gauge,
    connections: Gauge,
    reload_successful: Gauge,
    reload_success_timestamp: Seconds,
    revocation_list_next_update: Seconds,
    server_certificate_not_after: Seconds,
    client_authority_not_after: Seconds,
    clock_synchronised: Gauge,
    clock_in_tolerance: Gauge,
    clock_error: Seconds,
    audit_space: Gauge,
    audit_available: Gauge,
    start: Seconds,
}

impl Metrics {
    /// Figures that begin at zero. `clock` dates reloads.
    #[must_use]
    pub fn new(clock: Clock) -> Self {
        let mut registry = Registry::with_prefix("sealfeed");
        let events = Arc::new(EventCounts::new());
        registry.register_collector(Box::new(Arc::clone(&events)));
        let (alerts, alert_firing, webhook) = (Family::default(), Family::default(), Family::default());
        registry.register("alerts", "Alerts that fired", alerts.clone());
        registry.register("alert_firing", "Whether the alert fires now", alert_firing.clone());
        registry.register(
            "webhook_messages",
            "Messages to webhooks, and attempts that failed",
            webhook.clone(),
        );
        for outcome in Delivery::ALL {
            let _: &Counter = &webhook.get_or_create(&[("outcome", outcome.name())]);
        }
        let gauges = Gauges::default();
        gauges.register(&mut registry);
        gauges.start.set(seconds(clock.now()));
        Self { clock, registry, events, alerts, alert_firing, webhook, gauges }
    }

    /// Files and policy were read again, or not: what was in force before stays so.
    pub fn reloaded(&self, success: bool, now: UnixNanos) {
        self.gauges.reload_successful.set(i64::from(success));
        if success {
            self.gauges.reload_success_timestamp.set(seconds(now));
        }
    }

    /// Shows an alert that has never fired.
    pub fn alert_known(&self, name: &'static str) {
        let label = [("alert", name)];
        let _: &Counter = &self.alerts.get_or_create(&label);
        let _: &Gauge = &self.alert_firing.get_or_create(&label);
    }

    /// An alert began to fire, or is over.
    pub fn alert_changed(&self, name: &'static str, fires: bool) {
        let label = [("alert", name)];
        if fires {
            self.alerts.get_or_create(&label).inc();
        }
        self.alert_firing.get_or_create(&label).set(i64::from(fires));
    }

    /// What became of a message to a webhook, so many times.
    pub fn webhook(&self, outcome: Delivery, count: u64) {
        self.webhook.get_or_create(&[("outcome", outcome.name())]).inc_by(count);
    }

    /// All figures, in Prometheus' text format 0.0.4.
    #[must_use]
    pub fn encode(&self, readings: &Readings) -> String {
        self.gauges.set(readings);
        let mut open_metrics = String::with_capacity(16 * 1024);
        // A `String` takes everything; what stands in it after an error is whole lines all the same.
        let _ = prometheus_client::encoding::text::encode_registry(&mut open_metrics, &self.registry);
        text::classic(&open_metrics)
    }
}

impl Observer for Metrics {
    fn observe(&self, event: &Event) {
        self.events.count(event);
        if let Event::Configuration(configuration) = event {
            match configuration.what.as_str() {
                "in_force" => self.reloaded(true, self.clock.now()),
                "reload_refused" => self.reloaded(false, self.clock.now()),
                _ => {}
            }
        }
    }
}

impl Gauges {
    fn register(&self, registry: &mut Registry) {
        let whole = [
            ("sessions", "Sessions that are open", &self.sessions),
            ("connections", "Connections, in any state", &self.connections),
            (
                "config_last_reload_successful",
                "Whether the last reading of files and policy succeeded, the start's included",
                &self.reload_successful,
            ),
            ("clock_synchronised", "Whether something disciplines the clock", &self.clock_synchronised),
            ("clock_in_tolerance", "Whether the clock keeps clock.tolerance_us", &self.clock_in_tolerance),
            (
                "audit_space",
                "Room on the disk of the sealed log: 2 ample, 1 low, 0 critical: new orders are refused",
                &self.audit_space,
            ),
            ("audit_available", "Whether the sealed log takes entries", &self.audit_available),
        ];
        for (name, help, gauge) in whole {
            registry.register(name, help, gauge.clone());
        }
        let times = [
            ("start_time_seconds", "When the server started, since 1970", &self.start),
            (
                "config_last_reload_success_timestamp_seconds",
                "When files and policy were last read with success, since 1970",
                &self.reload_success_timestamp,
            ),
            (
                "revocation_list_next_update_timestamp_seconds",
                "When the first revocation list runs out, since 1970",
                &self.revocation_list_next_update,
            ),
            (
                "server_certificate_not_after_timestamp_seconds",
                "When the server's certificate ends, since 1970",
                &self.server_certificate_not_after,
            ),
            (
                "client_authority_not_after_timestamp_seconds",
                "When the first client authority ends, since 1970",
                &self.client_authority_not_after,
            ),
            (
                "clock_error_seconds",
                "Bound of the clock's error against UTC; NaN: unknown",
                &self.clock_error,
            ),
        ];
        for (name, help, gauge) in times {
            registry.register(name, help, gauge.clone());
        }
    }

    fn set(&self, readings: &Readings) {
        let count = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        self.sessions.set(count(readings.sessions));
        self.connections.set(count(readings.connections));
        self.revocation_list_next_update.set(seconds(readings.revocation_list_next_update));
        self.server_certificate_not_after.set(seconds(readings.server_certificate_not_after));
        self.client_authority_not_after.set(seconds(readings.client_authority_not_after));
        self.clock_synchronised.set(i64::from(readings.clock.synchronised));
        self.clock_in_tolerance.set(i64::from(!readings.clock.breached));
        self.clock_error.set(readings.clock.error_ns.map_or(f64::NAN, |error| f64::from(error) / 1e9));
        self.audit_space.set(match readings.space {
            Space::Ample => 2,
            Space::Low => 1,
            Space::Critical => 0,
        });
        self.audit_available.set(i64::from(readings.log_available));
    }
}

/// Seconds since 1970, to the millisecond: a double has room for no more in our century.
fn seconds(time: UnixNanos) -> f64 {
    let ms = time.0 / 1_000_000;
    #[expect(clippy::cast_precision_loss, reason = "milliseconds stay below 2^53 until the year 287396")]
    let ms = ms as f64;
    ms / 1e3
}

#[cfg(test)]
mod tests;
