//! What operators write: the policy and the configuration.

use std::path::Path;

use sealfeed::config::load_text;
use sealfeed::identity::{Policy, fuzzing};
use sealfeed::telemetry::chain;
use sealfeed::types::{Principal, Role, UnixNanos};

/// Whom the rules are asked about; those of the corpus name them.
const ASKED: [(&str, &str, &str); 3] =
    [("acme", "desk7", "trader"), ("acme", "alice", ""), ("vendor", "feed", "publisher")];

/// When they are asked: 2026-11-26.
const NOW: UnixNanos = UnixNanos(1_795_651_200_000_000_000);

pub(crate) fn policy(bytes: &[u8]) {
    let policy = match Policy::parse(bytes) {
        Ok(policy) => policy,
        Err(error) => {
            assert_one_line(&chain(&error));
            return;
        }
    };
    for (firm, user, role) in ASKED {
        let Some(principal) = Principal::new(firm, user) else { continue };
        let role = Role::new(role);
        let entitlement = policy.entitlement(&principal, role.as_ref(), NOW);
        let again = policy.entitlement(&principal, role.as_ref(), NOW);
        assert_eq!(format!("{entitlement:?}"), format!("{again:?}"), "the same question has one answer");
        if let Err(error) = entitlement {
            assert_one_line(&chain(&error));
        }
        let lines = policy.explain(&principal, role.as_ref(), NOW);
        assert!(!lines.is_empty() || policy.entitlement(&principal, role.as_ref(), NOW).is_err());
    }
}

pub(crate) fn configuration(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match load_text(text, Path::new("/etc/sealfeed/sealfeed.toml")) {
        Ok(config) => {
            assert!((1..=1_000_000).contains(&config.limits.connections_max));
            assert!((1_024..=1_048_576).contains(&config.limits.message_bytes_max));
            assert!((100..=60_000).contains(&config.orders.window_ms));
            for path in [&config.tls.key, &config.identity.master_key, &config.log.directory] {
                assert!(path.is_absolute(), "{path:?} depends on where the server was started");
            }
        }
        Err(error) => {
            assert!(error.code().as_str().starts_with("SF-CFG-"));
            assert_one_line(&chain(&error));
        }
    }
}

/// What an operator reads of an error is one line, whatever the file held.
fn assert_one_line(text: &str) {
    assert!(!text.chars().any(char::is_control), "control characters: {text:?}");
}

pub(crate) fn deny_list(bytes: &[u8]) {
    let read = fuzzing::deny_list(bytes, NOW);
    assert_eq!(read, fuzzing::deny_list(bytes, NOW), "the same file says one thing");
    match read {
        Ok((count, found)) => {
            assert!(count <= bytes.len());
            if let Some(why) = found {
                assert!(count > 0);
                assert_one_line(&why);
            }
        }
        Err((_, text)) => assert_one_line(&text),
    }
}
