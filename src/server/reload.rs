//! Reading configuration, certificates, revocation lists, keys and policy again while the server runs.
//!
//! All of it is one step: every file is valid and fits the others, or nothing changes. Then open sessions are judged by what is in
//! force now. What a reload did, or why it was refused, is sealed.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwap;
use toml::{Table, Value};

use super::start::record_in_force;
use crate::config::{self, AlertsConfig, Config, ConfigError};
use crate::feed::Ending;
use crate::identity::{Changes, Identified, Identity, IdentityError, Token};
use crate::journal::{Journal, JournalError, event};
use crate::pipeline::{Command, Revoked};
use crate::session::{self, RevokedCertificate, SessionContext, Swept, Verdict, standing, verdict};
use crate::types::{Code, Entitlement, UnixNanos};

/// Keys of the configuration that a running server takes anew, each with everything below it. All others need a restart.
const RELOADABLE: [&str; 5] = ["tls", "identity", "tokens", "limits", "alerts"];
/// Exceptions from that: what was put together at the start.
const FIXED: [&str; 3] = ["limits.out_bytes_max", "limits.out_queue_bytes_max", "alerts.webhook"];

/// Who wants a reload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trigger {
    /// SIGHUP, or the program that runs the server.
    Asked,
    /// A file has changed.
    Files,
    /// An operator, by a signed message.
    Operator(String),
}

impl std::fmt::Display for Trigger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Asked => f.write_str("signal"),
            Self::Files => f.write_str("changed files"),
            Self::Operator(principal) => write!(f, "operator {principal}"),
        }
    }
}

/// What was refused. If it is the configuration, the files that the one in force names were read all the same; else nothing has changed.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// The configuration file cannot be used.
    #[error("the configuration is refused")]
    Configuration(#[source] ConfigError),
    /// It differs in keys that only a start reads.
    #[error("keys that need a restart have changed: {}", keys.join(", "))]
    NeedsRestart {
        /// Which ones, by their full names.
        keys: Vec<String>,
    },
    /// A file that decides who gets in cannot be used.
    #[error("certificates and policy are refused")]
    Identity(#[source] IdentityError),
    /// Reading the files panicked.
    #[error("reading the files failed")]
    Panicked(#[source] tokio::task::JoinError),
    /// The log takes no entries: the server stops.
    #[error("cannot write to the sealed log")]
    Journal(#[from] JournalError),
}

impl ReloadError {
    /// The stable code of this error; `None` if it is our own fault.
    #[must_use]
    pub fn code(&self) -> Option<Code> {
        match self {
            Self::Configuration(error) => Some(error.code()),
            Self::NeedsRestart { .. } => Some(Code::CfgNeedsRestart),
            Self::Identity(error) => Some(error.code()),
            Self::Panicked(_) => None,
            Self::Journal(_) => Some(Code::AudLogFailed),
        }
    }
}

/// What a reload has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reloaded {
    /// Sessions that were ended because their certificate no longer holds or nothing is left of their entitlement.
    pub sessions_ended: usize,
    /// Sessions that go on under another entitlement.
    pub sessions_changed: usize,
}

/// What is in force of the configuration.
struct InForce {
    config: Config,
    /// As it was read.
    text: Vec<u8>,
}

/// Reloads, one at a time.
pub(super) struct Reloader {
    context: Arc<SessionContext>,
    thresholds: Arc<ArcSwap<AlertsConfig>>,
    in_force: tokio::sync::Mutex<InForce>,
}

impl Reloader {
    /// For a server that runs by this configuration.
    pub(super) fn new(
        context: Arc<SessionContext>,
        thresholds: Arc<ArcSwap<AlertsConfig>>,
        config: &Config,
        text: &[u8],
    ) -> Self {
        let in_force = InForce { config: config.clone(), text: text.to_vec() };
        Self { context, thresholds, in_force: tokio::sync::Mutex::new(in_force) }
    }

    /// What all sessions share.
    pub(super) const fn context(&self) -> &Arc<SessionContext> {
        &self.context
    }

    /// Every file that a reload reads.
    pub(super) async fn files(&self) -> Vec<PathBuf> {
        super::watch::files(&self.in_force.lock().await.config)
    }

    /// Reads everything again. Sessions whose certificate no longer holds, or of whose entitlement nothing is left, end; those that
    /// have another one go on under it. A file that cannot be used leaves everything as it was. Not cancel-safe.
    ///
    /// # Errors
    /// [`ReloadError`]: what was refused stays as it was, unless the log failed.
    pub(super) async fn reload(&self, trigger: Trigger) -> Result<Reloaded, ReloadError> {
        let mut in_force = self.in_force.lock().await;
        let result = self.put_in_force(&mut in_force, &trigger).await;
        if let Err(error) = &result {
            let detail = crate::telemetry::chain(error);
            let code = error.code().map_or("", Code::as_str);
            tracing::error!(
                error = detail, code, %trigger, "reload refused: what was in force stays in force"
            );
            self.journal().record(event::Configuration {
                what: "reload_refused".to_owned(),
                sha256: String::new(),
                summary: format!("by {trigger}: {code} {detail}"),
            })?;
        }
        result
    }

    async fn put_in_force(&self, in_force: &mut InForce, trigger: &Trigger) -> Result<Reloaded, ReloadError> {
        // A configuration that waits for a restart, or is half edited, must not keep a revocation away: the files are read by the one
        // in force, and what is wrong with the other is said behind that.
        let (next, keys, refused) = match next_configuration(in_force) {
            Ok((next, keys)) => (next, keys, None),
            Err(error) => (None, BTreeSet::new(), Some(error)),
        };
        let now = self.context.clock.now();
        let context = Arc::clone(&self.context);
        let config = next.as_ref().map_or(&in_force.config, |next| &next.config);
        let (tls, identity, tokens) = (config.tls.clone(), config.identity.clone(), config.tokens.clone());
        let reading = tokio::task::spawn_blocking(move || {
            context.identity.reconfigure(&tls, &identity, tokens.as_ref(), now)
        });
        // If it panicked, what was in force stays so, as for every file that cannot be used.
        let changes = reading.await.map_err(ReloadError::Panicked)?.map_err(ReloadError::Identity)?;
        if let Some(next) = next {
            self.context.limits.reconfigure(&next.config.limits);
            self.thresholds.store(Arc::new(next.config.alerts.clone()));
            *in_force = next;
            if !keys.is_empty() {
                self.journal().record(event::Configuration {
                    what: "configuration".to_owned(),
                    sha256: sealfeed_audit::hex(&sealfeed_audit::sha256(&in_force.text)),
                    summary: format!("changed: {}", listed(&keys)),
                })?;
            }
        }
        record_in_force(self.journal(), &changes.in_force)?;
        let reloaded = self.sweep(verdict, now).await;
        self.journal().record(event::Configuration {
            what: "reloaded".to_owned(),
            sha256: String::new(),
            summary: summary(trigger, &changes, &keys, reloaded),
        })?;
        let Reloaded { sessions_ended, sessions_changed } = reloaded;
        tracing::info!(%trigger, files = changes.changed.len(), sessions_ended, sessions_changed, "reloaded");
        refused.map_or(Ok(reloaded), Err)
    }

    /// Judges open sessions by what time alone has changed: certificates and authorities that are over, entitlements that begin or
    /// end at a date.
    pub(super) async fn let_time_pass(&self) {
        // Not beside a reload: each session is told once.
        let _in_force = self.in_force.lock().await;
        let swept = self.sweep(standing, self.context.clock.now()).await;
        if swept != (Reloaded { sessions_ended: 0, sessions_changed: 0 }) {
            let Reloaded { sessions_ended, sessions_changed } = swept;
            tracing::info!(sessions_ended, sessions_changed, "time has changed what sessions may do");
        }
    }

    async fn sweep(
        &self,
        judge: fn(&Identity, &Identified, &Entitlement, Option<&Token>, UnixNanos) -> Verdict,
        now: UnixNanos,
    ) -> Reloaded {
        let context = &self.context;
        let Swept { ended, changed, revoked } = context
            .registry
            .sweep(|session, entitlement, token| judge(&context.identity, session, entitlement, token, now));
        for RevokedCertificate { identity, why, keeps_orders, sessions } in revoked {
            let revoked = Revoked {
                principal: identity.principal.clone(),
                serial: identity.serial(),
                issuer: identity.issuer_name().to_owned(),
                certificate: identity.fingerprint,
                why,
                keeps_orders,
                sessions: sessions.clone(),
            };
            context.pipeline.send(Command::Revoke(Box::new(revoked))).await;
            // Behind that, so that the end of none of them reaches the pipeline first and takes its orders out of the entry.
            let ending = Ending::because(Code::SesCertificateRevoked);
            sessions.iter().for_each(|session| session.close_with(ending));
        }
        let sessions_changed = changed.len();
        for (session, entitlement) in changed {
            let notice = Box::new(session::changed(context, &entitlement));
            context.pipeline.send(Command::Entitle { session, entitlement, notice }).await;
        }
        Reloaded { sessions_ended: ended, sessions_changed }
    }

    fn journal(&self) -> &Journal {
        &self.context.journal
    }
}

/// The configuration as its file has it now; `None` where it came from no file.
fn read_again(in_force: &InForce) -> Result<Option<InForce>, ReloadError> {
    let Some(path) = in_force.config.file.clone() else { return Ok(None) };
    let text = std::fs::read_to_string(&path)
        .map_err(|source| ReloadError::Configuration(ConfigError::Read { path: path.clone(), source }))?;
    let config = config::load_text(&text, &path).map_err(ReloadError::Configuration)?;
    Ok(Some(InForce { config, text: text.into_bytes() }))
}

/// The configuration as its file has it now, and in which keys it differs; refused if a start alone could take one of them.
fn next_configuration(in_force: &InForce) -> Result<(Option<InForce>, BTreeSet<String>), ReloadError> {
    let Some(next) = read_again(in_force)? else { return Ok((None, BTreeSet::new())) };
    let keys = changed_keys(&in_force.text, &next.text);
    let fixed: Vec<String> = keys.iter().filter(|key| !is_reloadable(key)).cloned().collect();
    if fixed.is_empty() { Ok((Some(next), keys)) } else { Err(ReloadError::NeedsRestart { keys: fixed }) }
}

fn is_reloadable(key: &str) -> bool {
    let is_below = |prefix: &&str| {
        key.strip_prefix(*prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    RELOADABLE.iter().any(&is_below) && !FIXED.iter().any(is_below)
}

/// Full names of the keys in which two configurations differ. A list is one key.
fn changed_keys(before: &[u8], after: &[u8]) -> BTreeSet<String> {
    let table = |text: &[u8]| -> Table {
        // Both were loaded before: they are TOML.
        std::str::from_utf8(text).ok().and_then(|text| text.parse().ok()).unwrap_or_default()
    };
    let mut keys = BTreeSet::new();
    compare(&table(before), &table(after), "", &mut keys);
    keys
}

fn compare(before: &Table, after: &Table, prefix: &str, keys: &mut BTreeSet<String>) {
    for key in before.keys().chain(after.keys()) {
        let name = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
        match (before.get(key), after.get(key)) {
            (old, new) if old == new => {}
            (Some(Value::Table(old)), Some(Value::Table(new))) => compare(old, new, &name, keys),
            (Some(Value::Table(old)), None) => compare(old, &Table::new(), &name, keys),
            (None, Some(Value::Table(new))) => compare(&Table::new(), new, &name, keys),
            _ => {
                keys.insert(name);
            }
        }
    }
}

fn listed(keys: &BTreeSet<String>) -> String {
    keys.iter().map(String::as_str).collect::<Vec<_>>().join(", ")
}

/// What a reload did, in one line.
fn summary(trigger: &Trigger, changes: &Changes, keys: &BTreeSet<String>, reloaded: Reloaded) -> String {
    let files: Vec<String> = changes.changed.iter().map(ToString::to_string).collect();
    let files = if files.is_empty() { "none".to_owned() } else { files.join(", ") };
    let keys = if keys.is_empty() { String::new() } else { format!("; keys changed: {}", listed(keys)) };
    let Reloaded { sessions_ended, sessions_changed } = reloaded;
    format!(
        "by {trigger}; files changed: {files}{keys}; {sessions_ended} sessions ended, {sessions_changed} changed"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(before: &str, after: &str) -> Vec<String> {
        changed_keys(before.as_bytes(), after.as_bytes()).into_iter().collect()
    }

    #[test]
    fn the_keys_that_differ_are_named_in_full() {
        let before = "a = 1\n[tls]\nkey = \"k\"\n[log]\ndirectory = \"l\"\n[[source]]\ntype = \"x\"\n";
        assert!(check(before, before).is_empty());
        assert!(check(before, &format!("# a comment\n{before}")).is_empty());
        assert_eq!(check(before, &before.replace("\"k\"", "\"other\"")), ["tls.key"]);
        assert_eq!(check(before, &before.replace("[log]\ndirectory = \"l\"\n", "")), ["log.directory"]);
        assert_eq!(check(before, &format!("b = 2\n{before}")), ["b"]);
        assert_eq!(check(before, &before.replace("\"x\"", "\"y\"")), ["source"]);
        assert_eq!(check(before, &before.replace("a = 1", "a.b = 1")), ["a"]);
    }

    #[test]
    fn a_key_is_reloadable_with_what_is_below_it_and_not_with_what_merely_begins_alike() {
        assert!(is_reloadable("tls.client_revocation_lists"));
        assert!(is_reloadable("identity") && is_reloadable("tokens.required_for"));
        assert!(is_reloadable("limits.ban.closes_max") && is_reloadable("alerts.refire_ms"));
        assert!(!is_reloadable("limits.out_bytes_max") && !is_reloadable("alerts.webhook"));
        assert!(!is_reloadable("tlsx"));
        assert!(!is_reloadable("log.directory"));
    }
}
