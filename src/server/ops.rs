//! What watches over a running server: its figures, where they are shown, and its alerts.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;

use super::start::StartError;
use crate::alerts::{Alerts, WebhookError};
use crate::clock::Clock;
use crate::config::{AlertsConfig, Config};
use crate::execute::KillSwitches;
use crate::journal::Observer;
use crate::metrics::{Metrics, MetricsFile, Read, Readings};
use crate::session::SessionContext;

/// The watch of one server.
pub(super) struct Ops {
    metrics: Arc<Metrics>,
    alerts: Alerts,
    /// Once there is something to read.
    read: Option<Read>,
    file: Option<MetricsFile>,
}

impl Ops {
    /// A watch that counts events, and does nothing else yet.
    ///
    /// # Errors
    /// [`WebhookError`].
    pub(super) fn new(config: &AlertsConfig, clock: &Clock) -> Result<Self, WebhookError> {
        let metrics = Arc::new(Metrics::new(clock.clone()));
        let alerts = Alerts::prepare(config, Arc::clone(&metrics))?;
        Ok(Self { metrics, alerts, read: None, file: None })
    }

    /// Kill switches that outlived the run before.
    pub(super) fn engaged(&mut self, switches: &KillSwitches) {
        self.alerts.engaged(switches.iter().map(|(scope, target)| (scope.as_str(), target)));
    }

    /// Who has to see every event, from the first one on.
    pub(super) fn observers(&self) -> Vec<Arc<dyn Observer>> {
        vec![Arc::<Metrics>::clone(&self.metrics), self.alerts.observer()]
    }

    /// Begins to watch the server that `context` belongs to.
    ///
    /// # Errors
    /// [`StartError::MetricsFile`], [`StartError::System`].
    pub(super) fn start(&mut self, config: &Config, context: &SessionContext) -> Result<(), StartError> {
        let read = reader(context);
        self.read = Some(Arc::clone(&read));
        self.alerts
            .start(context.journal.clone(), context.clock.clone(), Arc::clone(&read))
            .map_err(|source| StartError::System { what: "the alerts' threads", source })?;
        if let Some(path) = &config.telemetry.metrics_file {
            let interval = Duration::from_millis(config.telemetry.metrics_interval_ms);
            self.file = Some(MetricsFile::start(path, interval, Arc::clone(&self.metrics), read)?);
        }
        Ok(())
    }

    /// All figures as they are now.
    pub(super) fn figures(&self) -> String {
        let readings = self.read.as_ref().map_or_else(Readings::default, |read| read());
        self.metrics.encode(&readings)
    }

    /// The thresholds of alerts, for a reload to change.
    pub(super) fn thresholds(&self) -> Arc<ArcSwap<AlertsConfig>> {
        self.alerts.thresholds()
    }

    /// Ends the watch, after everything that it watches and before the log.
    pub(super) fn stop(self) {
        // The figures of the last alerts stand in the file.
        drop(self.alerts);
        drop(self.file);
    }
}

/// Reads how things stand. Holds nothing whose end something waits for.
fn reader(context: &SessionContext) -> Read {
    let (registry, identity) = (Arc::clone(&context.registry), Arc::clone(&context.identity));
    let journal = context.journal.clone();
    Arc::new(move || Readings {
        sessions: registry.sessions(),
        connections: registry.connections(),
        revocation_list_next_update: identity
            .revocation_state()
            .iter()
            .map(|list| list.next_update)
            .min()
            .unwrap_or_default(),
        server_certificate_not_after: identity.server_certificate_not_after(),
        client_authority_not_after: identity.client_authority_not_after(),
        clock: journal.clock_reading(),
        space: journal.space(),
        log_available: journal.is_available(),
    })
}
