//! When an alert fires and when it is over: pure, with time as an argument.
//!
//! While the condition of an alert holds, the alert fires. It goes on firing until the condition holds no longer, and for
//! `refire_ms` at least: so it is told of again no sooner than that, and nothing that happens meanwhile hides behind a pause.

use std::collections::BTreeSet;

use super::signal::{Change, Counting};
use super::table::{Alert, Counted};
use super::window::Window;
use crate::config::AlertsConfig;
use crate::journal::Space;
use crate::metrics::Readings;
use crate::types::{Code, TimeArithmetic as _, UnixNanos};

/// Kill switches that are told apart; the venue engages no more at once.
const SWITCHES_MAX: usize = 10_001;
const HOUR_NS: i128 = 3_600_000_000_000;
/// A clock that was set back by more than this begins every count anew.
const STEP_BACK_NS: u64 = 1_000_000_000;

/// What is found about one alert.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Finding {
    /// Whether its condition holds.
    pub(super) holds: bool,
    /// What was found.
    pub(super) value: String,
    /// From where on it fires.
    pub(super) threshold: String,
    /// Time over which was counted, in milliseconds; 0 where nothing is.
    pub(super) window_ms: u64,
    /// What is known beyond that.
    pub(super) detail: String,
}

/// An alert begins to fire, or is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Transition {
    pub(super) alert: Alert,
    pub(super) fires: bool,
    pub(super) finding: Finding,
}

/// All alerts of one server.
pub(super) struct Engine {
    config: AlertsConfig,
    windows: [Window; Counted::ALL.len()],
    last_codes: [Option<Code>; Counted::ALL.len()],
    refused_reload: Option<String>,
    switches: BTreeSet<String>,
    /// Since when each fires, by its place in [`Alert::ALL`].
    firing: Vec<Option<UnixNanos>>,
    now: UnixNanos,
}

impl Engine {
    /// No alert fires yet.
    pub(super) fn new(config: AlertsConfig) -> Self {
        Self {
            windows: windows(&config),
            config,
            last_codes: Default::default(),
            refused_reload: None,
            switches: BTreeSet::new(),
            firing: vec![None; Alert::ALL.len()],
            now: UnixNanos(0),
        }
    }

    /// Goes on under other thresholds. What was counted within a window that has another length now is forgotten.
    pub(super) fn reconfigure(&mut self, config: &AlertsConfig) {
        for what in Counted::ALL {
            let window_ms = what.threshold(config).window_ms;
            if window_ms != what.threshold(&self.config).window_ms {
                self.windows[what.index()] = Window::new(window_ms);
            }
        }
        self.config = config.clone();
    }

    /// Counts one event.
    pub(super) fn count(&mut self, now: UnixNanos, event: &Counting) {
        self.pass(now);
        let index = event.what.index();
        self.windows[index].add(self.now, event.source.as_deref(), 1);
        self.last_codes[index] = event.code.or(self.last_codes[index]);
    }

    /// Counts events of which nothing but their number is known.
    pub(super) fn count_unnamed(&mut self, now: UnixNanos, what: Counted, count: u64) {
        self.pass(now);
        self.windows[what.index()].add(self.now, None, count);
    }

    /// Takes over a change of state.
    pub(super) fn change(&mut self, change: Change) {
        match change {
            Change::Reload { refused } => self.refused_reload = refused,
            Change::Kill { switch, engaged: true } if self.switches.len() < SWITCHES_MAX => {
                self.switches.insert(switch);
            }
            Change::Kill { engaged: true, .. } => {}
            Change::Kill { switch, engaged: false } => {
                self.switches.remove(&switch);
            }
        }
    }

    /// Judges every alert; what has changed.
    pub(super) fn judge(&mut self, now: UnixNanos, readings: &Readings) -> Vec<Transition> {
        self.pass(now);
        for window in &mut self.windows {
            window.advance(self.now);
        }
        let refire_ns = self.config.refire_ms.saturating_mul(1_000_000);
        let mut transitions = Vec::new();
        for (index, alert) in Alert::ALL.iter().copied().enumerate() {
            let finding = self.find(alert, readings);
            let fires = match (self.firing[index], finding.holds) {
                (None, true) => true,
                (Some(since), false) if self.now.since(since) >= refire_ns => false,
                _ => continue,
            };
            self.firing[index] = fires.then_some(self.now);
            transitions.push(Transition { alert, fires, finding });
        }
        transitions
    }

    /// Lets time pass. A clock that was set back would leave what was counted in the future for as long as it takes to come there.
    fn pass(&mut self, now: UnixNanos) {
        if self.now.since(now) > STEP_BACK_NS {
            self.windows = windows(&self.config);
            self.firing.iter_mut().flatten().for_each(|since| *since = now);
            self.now = now;
        }
        self.now = self.now.max(now);
    }

    fn find(&self, alert: Alert, readings: &Readings) -> Finding {
        let config = &self.config;
        match alert {
            Alert::FailedAuthentication => self.counted(Counted::FailedAuthentication),
            Alert::RapidConnects => self.counted(Counted::RapidConnects),
            Alert::ReplayAttempts => self.counted(Counted::ReplayAttempts),
            Alert::ForgedMessages => self.counted(Counted::ForgedMessages),
            Alert::MalformedMessages => self.counted(Counted::MalformedMessages),
            Alert::SlowConsumers => self.counted(Counted::SlowConsumers),
            Alert::Bans => self.counted(Counted::Bans),
            Alert::RevocationListExpiring => {
                self.remaining(readings.revocation_list_next_update, config.revocation_list_hours)
            }
            Alert::RevocationListExpired => {
                let finding =
                    self.remaining(readings.revocation_list_next_update, config.revocation_list_hours);
                let is_past = readings.revocation_list_next_update < self.now;
                Finding { holds: finding.holds && is_past, threshold: "0 hours".to_owned(), ..finding }
            }
            Alert::ServerCertificateExpiring => {
                self.remaining(readings.server_certificate_not_after, config.server_certificate_hours)
            }
            Alert::ClientAuthorityExpiring => {
                self.remaining(readings.client_authority_not_after, config.client_authority_hours)
            }
            Alert::ReloadRefused => {
                let refused = self.refused_reload.as_deref();
                let value = if refused.is_some() { "refused" } else { "in force" };
                state(config.reload_refused && refused.is_some(), value, refused.unwrap_or_default())
            }
            Alert::ClockTolerance => clock(config.clock_tolerance, readings),
            Alert::AuditSpaceLow => space(config.audit_space, readings.space, Space::Low),
            Alert::AuditSpaceCritical => space(config.audit_space, readings.space, Space::Critical),
            Alert::KillSwitchEngaged => {
                let shown: Vec<&str> = self.switches.iter().take(10).map(String::as_str).collect();
                let holds = config.kill_switch && !self.switches.is_empty();
                let value = format!("{} engaged", self.switches.len());
                Finding { threshold: "1 engaged".to_owned(), ..state(holds, &value, &shown.join(", ")) }
            }
        }
    }

    /// How a count stands: of one source where that is what the alert is about, of all otherwise.
    fn counted(&self, what: Counted) -> Finding {
        let threshold = what.threshold(&self.config);
        let window = &self.windows[what.index()];
        let total = window.total();
        let busiest = window.busiest();
        let value = match what {
            Counted::RapidConnects => busiest.map_or(0, |(_, count)| count),
            _ => total,
        };
        let mut detail = busiest
            .map(|(source, count)| format!("most from {source}: {count} of {total}"))
            .unwrap_or_default();
        if let (Some(code), true) = (self.last_codes[what.index()], total > 0) {
            detail.push_str(&format!("{}last code {code}", if detail.is_empty() { "" } else { "; " }));
        }
        Finding {
            holds: threshold.count > 0 && value >= threshold.count,
            value: value.to_string(),
            threshold: threshold.count.to_string(),
            window_ms: threshold.window_ms,
            detail,
        }
    }

    /// How long something is still good; 0 hours of warning: nobody wants to know.
    fn remaining(&self, until: UnixNanos, warn_hours: u64) -> Finding {
        let left_ns = i128::from(until.0) - i128::from(self.now.0);
        Finding {
            holds: warn_hours > 0 && left_ns < i128::from(warn_hours) * HOUR_NS,
            value: format!("{} hours", left_ns.div_euclid(HOUR_NS)),
            threshold: format!("{warn_hours} hours"),
            window_ms: 0,
            detail: format!("good until {}", crate::clock::format_utc(until)),
        }
    }
}

fn windows(config: &AlertsConfig) -> [Window; Counted::ALL.len()] {
    Counted::ALL.map(|what| Window::new(what.threshold(config).window_ms))
}

fn state(holds: bool, value: &str, detail: &str) -> Finding {
    Finding {
        holds,
        value: value.to_owned(),
        threshold: String::new(),
        window_ms: 0,
        detail: detail.to_owned(),
    }
}

fn clock(is_wanted: bool, readings: &Readings) -> Finding {
    let clock = readings.clock;
    let value = if clock.breached { "outside its tolerance" } else { "within its tolerance" };
    let by = if clock.synchronised { "synchronised" } else { "not synchronised" };
    let error = clock.error_ns.map_or("error unknown".to_owned(), |ns| format!("error {} us", ns / 1_000));
    state(is_wanted && clock.breached, value, &format!("{by}, {error}"))
}

/// Room below `level`. Where it is critical, it is low too.
fn space(is_wanted: bool, space: Space, level: Space) -> Finding {
    let value = match space {
        Space::Ample => "ample",
        Space::Low => "low",
        Space::Critical => "critical",
    };
    let holds = match level {
        Space::Ample => false,
        Space::Low => space != Space::Ample,
        Space::Critical => space == Space::Critical,
    };
    let threshold = if level == Space::Critical { "critical" } else { "low" };
    Finding { threshold: threshold.to_owned(), ..state(is_wanted && holds, value, "") }
}

#[cfg(test)]
#[path = "engine_tests.rs"]
mod tests;
