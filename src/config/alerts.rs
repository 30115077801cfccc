//! `[alerts]`: from where on something is an alert, and who is told.

use std::net::IpAddr;
use std::path::PathBuf;

use serde::Deserialize;

/// Most `[[alerts.webhook]]`: each has a thread of its own.
pub const WEBHOOKS_MAX: usize = 8;

/// `[alerts]`. All but the webhooks can change with a reload; webhooks need a restart. What each alert means: `docs/ALERTS.md`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AlertsConfig {
    /// How long an alert fires at least, in milliseconds, 1,000 to 86,400,000: so it fires again no sooner.
    pub refire_ms: u64,
    /// Refused handshakes and upgrades.
    pub failed_authentication: CountThreshold,
    /// Connections from one address, let in or not.
    pub rapid_connects: CountThreshold,
    /// Signed messages that were sent before, or lie outside the freshness window.
    pub replay_attempts: CountThreshold,
    /// Signed messages whose proof is wrong.
    pub forged_messages: CountThreshold,
    /// Messages that are malformed or too large.
    pub malformed_messages: CountThreshold,
    /// Sessions closed because they read too slowly (4001).
    pub slow_consumers: CountThreshold,
    /// Bans.
    pub bans: CountThreshold,
    /// The first revocation list runs out within so many hours, 0 to 8,760; 0: never an alert.
    pub revocation_list_hours: u64,
    /// The server's certificate ends within so many hours, 0 to 8,760; 0: never an alert.
    pub server_certificate_hours: u64,
    /// A client authority ends within so many hours, 0 to 87,600; 0: never an alert.
    pub client_authority_hours: u64,
    /// A reload was refused.
    pub reload_refused: bool,
    /// The clock does not keep `clock.tolerance_us`.
    pub clock_tolerance: bool,
    /// The disk of the sealed log has less room than `log.space_low_percent`.
    pub audit_space: bool,
    /// A kill switch is engaged.
    pub kill_switch: bool,
    /// Who is told of each alert.
    #[serde(rename = "webhook")]
    pub webhooks: Vec<WebhookConfig>,
}

/// So many within so much time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CountThreshold {
    /// From how many on, at most 1,000,000; 0: never an alert.
    pub count: u64,
    /// Within how much time, milliseconds, 1,000 to 3,600,000; counted in tenths of it.
    pub window_ms: u64,
}

/// `[[alerts.webhook]]`: a receiver of alerts over HTTP.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WebhookConfig {
    /// Where to, without user and password: `https://`, or `http://` to an IP address of this machine.
    pub url: String,
    /// File with the secret that signs: `whsec_` and base64 of 24 to 64 bytes, on one line.
    pub secret_file: PathBuf,
    /// With `https://`: authorities that the receiver's certificate must come from, PEM.
    #[serde(default)]
    pub authorities: Option<PathBuf>,
    /// Time for one attempt, milliseconds, 100 to 4,000.
    #[serde(default = "timeout_ms")]
    pub timeout_ms: u64,
}

const fn timeout_ms() -> u64 {
    2_000
}

impl Default for AlertsConfig {
    fn default() -> Self {
        let count = |count, window_ms| CountThreshold { count, window_ms };
        Self {
            refire_ms: 60_000,
            failed_authentication: count(20, 60_000),
            rapid_connects: count(100, 10_000),
            replay_attempts: count(5, 60_000),
            forged_messages: count(10, 60_000),
            malformed_messages: count(20, 60_000),
            slow_consumers: count(3, 60_000),
            bans: count(1, 60_000),
            revocation_list_hours: 24,
            server_certificate_hours: 14 * 24,
            client_authority_hours: 30 * 24,
            reload_refused: true,
            clock_tolerance: true,
            audit_space: true,
            kill_switch: true,
            webhooks: Vec::new(),
        }
    }
}

/// An address may hold a token of its receiver: it is no text for logs.
impl std::fmt::Debug for WebhookConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WebhookConfig").field("timeout_ms", &self.timeout_ms).finish_non_exhaustive()
    }
}

impl WebhookConfig {
    /// What is wrong with its address, if anything; never the address itself.
    pub(super) fn fault(&self) -> Option<&'static str> {
        let Ok(url) = self.url.parse::<hyper::Uri>() else { return Some("`url` is no address") };
        let (Some(scheme), Some(authority)) = (url.scheme_str(), url.authority()) else {
            return Some("`url` must begin with https:// or http://");
        };
        if authority.as_str().contains('@') {
            return Some("`url` must hold no user and no password: the signature says who sends");
        }
        let host = authority.host().trim_matches(['[', ']']);
        match scheme {
            "https" if self.authorities.is_none() => Some("an https:// `url` needs `authorities`"),
            "https" => None,
            "http" if self.authorities.is_some() => Some("`authorities` need an https:// `url`"),
            "http" if host.parse().is_ok_and(|address: IpAddr| address.is_loopback()) => None,
            "http" => Some("an http:// `url` must name an IP address of this machine, such as 127.0.0.1"),
            _ => Some("`url` must begin with https:// or http://"),
        }
    }
}

impl AlertsConfig {
    /// The thresholds that count, with their keys: of the count, and of the window.
    pub(super) const fn counts(&self) -> [(&'static str, &'static str, CountThreshold); 7] {
        [
            (
                "alerts.failed_authentication.count",
                "alerts.failed_authentication.window_ms",
                self.failed_authentication,
            ),
            ("alerts.rapid_connects.count", "alerts.rapid_connects.window_ms", self.rapid_connects),
            ("alerts.replay_attempts.count", "alerts.replay_attempts.window_ms", self.replay_attempts),
            ("alerts.forged_messages.count", "alerts.forged_messages.window_ms", self.forged_messages),
            (
                "alerts.malformed_messages.count",
                "alerts.malformed_messages.window_ms",
                self.malformed_messages,
            ),
            ("alerts.slow_consumers.count", "alerts.slow_consumers.window_ms", self.slow_consumers),
            ("alerts.bans.count", "alerts.bans.window_ms", self.bans),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(url: &str, has_authorities: bool) -> bool {
        let authorities = has_authorities.then(PathBuf::new);
        let secret_file = PathBuf::new();
        WebhookConfig { url: url.to_owned(), secret_file, authorities, timeout_ms: timeout_ms() }
            .fault()
            .is_some()
    }

    #[test]
    fn alerts_leave_the_machine_over_tls_only() {
        for good in ["http://127.0.0.1:8080/x", "http://127.9.9.9", "http://[::1]:9/"] {
            assert!(!fault(good, false), "{good}");
            assert!(fault(good, true), "{good}: authorities would be for nothing");
        }
        for bad in [
            "http://localhost/",
            "http://10.0.0.1/",
            "http://127.0.0.1.example.com/",
            "http://example.com",
            "http://[::2]/",
            "ftp://127.0.0.1/",
            "127.0.0.1:80",
            "/path",
            "",
            "http://",
            "http://user:word@127.0.0.1/",
            "http://127.0.0.1@example.com/",
        ] {
            assert!(fault(bad, false), "{bad}");
        }
        assert!(!fault("https://example.com/hook?a=b", true));
        assert!(fault("https://example.com/hook", false));
        assert!(fault("https://user@example.com/hook", true));
    }

    #[test]
    fn an_address_is_not_shown() {
        let webhook = WebhookConfig {
            url: "https://example.com/token".to_owned(),
            secret_file: PathBuf::from("token"),
            authorities: None,
            timeout_ms: 100,
        };
        assert_eq!(format!("{webhook:?}"), "WebhookConfig { timeout_ms: 100, .. }");
    }
}
