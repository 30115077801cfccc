//! The table of alerts: names, thresholds' keys, hints. `docs/ALERTS.md` says the same at length, and a test holds the two equal.

use crate::config::{AlertsConfig, CountThreshold};

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// Somebody should look today.
    Warning,
    /// Somebody should look now.
    Critical,
}

impl Severity {
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

/// Declares the alerts: variant, name, severity, key of the threshold in `[alerts]`, what to do.
macro_rules! alerts {
    ($($(#[doc = $doc:literal])+ $alert:ident $name:literal $severity:ident $key:literal $hint:literal;)+) => {
        /// What can be an alert.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Alert { $($(#[doc = $doc])+ $alert,)+ }

        impl Alert {
            /// Every alert.
            pub const ALL: &'static [Self] = &[$(Self::$alert,)+];

            /// Its name, in metrics, entries, logs and messages.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$alert => $name,)+ }
            }

            /// How bad it is.
            #[must_use]
            pub const fn severity(self) -> Severity {
                match self { $(Self::$alert => Severity::$severity,)+ }
            }

            /// The key of its threshold in `[alerts]`.
            #[must_use]
            pub const fn key(self) -> &'static str {
                match self { $(Self::$alert => $key,)+ }
            }

            /// What to do, in one sentence.
            #[must_use]
            pub const fn hint(self) -> &'static str {
                match self { $(Self::$alert => $hint,)+ }
            }
        }
    };
}

alerts! {
    /// Many refused handshakes and upgrades.
    FailedAuthentication "failed_authentication" Warning "failed_authentication"
        "See who knocks: sealfeed audit report auth; block the address, or renew the client's certificate.";
    /// One address connects very often.
    RapidConnects "rapid_connects" Warning "rapid_connects"
        "Find the client that connects again without a pause, or block the address before the server.";
    /// Signed messages that were sent before, or that are stale or dated ahead.
    ReplayAttempts "replay_attempts" Critical "replay_attempts"
        "Ask the principal whether its messages were copied; SF-ORD-002 and 004 alone: check its clock.";
    /// Signed messages whose proof is wrong.
    ForgedMessages "forged_messages" Critical "forged_messages"
        "Ask the principal whether it signs with an old key; if not, somebody signs in its name: revoke.";
    /// Messages that are malformed or too large.
    MalformedMessages "malformed_messages" Warning "malformed_messages"
        "Ask the principal what it changed in its client; if nothing, end its sessions.";
    /// Sessions closed because they read too slowly.
    SlowConsumers "slow_consumers" Warning "slow_consumers"
        "One principal: its client or line is too slow; many: look at this machine's network and load.";
    /// Peers were banned.
    Bans "bans" Warning "bans"
        "See who and why: sealfeed audit replay --kind ban.";
    /// The first revocation list runs out soon.
    RevocationListExpiring "revocation_list_expiring" Warning "revocation_list_hours"
        "Publish a fresh list (pki/pki.sh crl) and reload (SIGHUP).";
    /// A revocation list has run out: everybody whom it covers is refused, or let in by grace alone.
    RevocationListExpired "revocation_list_expired" Critical "revocation_list_hours"
        "Publish a fresh list now (pki/pki.sh crl) and reload (SIGHUP).";
    /// The server's certificate ends soon, or has ended.
    ServerCertificateExpiring "server_certificate_expiring" Critical "server_certificate_hours"
        "Issue a new server certificate (pki/pki.sh server) and reload (SIGHUP).";
    /// A client authority ends soon, or has ended.
    ClientAuthorityExpiring "client_authority_expiring" Warning "client_authority_hours"
        "Make a new authority, add it to tls.client_authorities, issue its clients anew, and reload (SIGHUP).";
    /// The last reload was refused: what was in force before still is.
    ReloadRefused "reload_refused" Critical "reload_refused"
        "Mend the file that the detail names, and reload (SIGHUP).";
    /// The clock does not keep its tolerance.
    ClockTolerance "clock_tolerance" Critical "clock_tolerance"
        "Run chrony or another NTP client on the host, and let it poll often (SF-AUD-006).";
    /// The disk of the sealed log is filling up.
    AuditSpaceLow "audit_space_low" Warning "audit_space"
        "Make room: store and prune old segments (sealfeed audit prune), or a larger disk.";
    /// The disk of the sealed log is nearly full: new orders are refused.
    AuditSpaceCritical "audit_space_critical" Critical "audit_space"
        "Make room now: new orders are refused (SF-AUD-002) until there is.";
    /// A kill switch is engaged: orders are refused.
    KillSwitchEngaged "kill_switch_engaged" Critical "kill_switch"
        "Ask the operator whom the entry names; sealfeed admin release ends it.";
}

/// Alerts that count events within a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub(super) enum Counted {
    FailedAuthentication,
    RapidConnects,
    ReplayAttempts,
    ForgedMessages,
    MalformedMessages,
    SlowConsumers,
    Bans,
}

impl Counted {
    pub(super) const ALL: [Self; 7] = [
        Self::FailedAuthentication,
        Self::RapidConnects,
        Self::ReplayAttempts,
        Self::ForgedMessages,
        Self::MalformedMessages,
        Self::SlowConsumers,
        Self::Bans,
    ];

    /// Its place among all that count.
    pub(super) const fn index(self) -> usize {
        self as usize
    }

    pub(super) const fn threshold(self, config: &AlertsConfig) -> CountThreshold {
        match self {
            Self::FailedAuthentication => config.failed_authentication,
            Self::RapidConnects => config.rapid_connects,
            Self::ReplayAttempts => config.replay_attempts,
            Self::ForgedMessages => config.forged_messages,
            Self::MalformedMessages => config.malformed_messages,
            Self::SlowConsumers => config.slow_consumers,
            Self::Bans => config.bans,
        }
    }
}
