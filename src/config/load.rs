//! Reading and checking the configuration file.

use std::path::{Path, PathBuf};

use super::{AlertsConfig, Config, LimitsConfig, SourceConfig, TlsConfig, TokensConfig, WEBHOOKS_MAX};
use crate::types::Code;

/// Why a configuration is refused. The server does not start with half of one.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read configuration {path:?}")]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// It is not TOML, or has keys or values that no section knows.
    #[error("configuration {path:?} is not valid")]
    Parse {
        /// Which file.
        path: PathBuf,
        /// Where and what, with the line.
        #[source]
        source: Box<toml::de::Error>,
    },
    /// A value is out of its range.
    #[error("configuration key `{key}` is {value}, allowed is {allowed}")]
    Range {
        /// Which key.
        key: &'static str,
        /// What it says.
        value: u64,
        /// What it may say.
        allowed: &'static str,
    },
    /// The section about tokens cannot be meant.
    #[error("configuration: [tokens]: {what}")]
    Tokens {
        /// What is wrong.
        what: &'static str,
    },
    /// A receiver of alerts cannot be one.
    #[error("configuration: [[alerts.webhook]] number {number}: {what}")]
    Webhook {
        /// Its place in the file, from 1.
        number: usize,
        /// What is wrong; never its address, which may hold a token.
        what: &'static str,
    },
}

impl ConfigError {
    /// The stable code of this error.
    #[must_use]
    pub fn code(&self) -> Code {
        match self {
            Self::Read { .. } => Code::CfgFileUnreadable,
            Self::Range { .. } => Code::CfgValueInvalid,
            Self::Tokens { .. } => Code::CfgTokensInvalid,
            Self::Webhook { .. } => Code::CfgWebhookInvalid,
            // serde's own words are the only thing that tells these apart.
            Self::Parse { source, .. } => match source.message() {
                text if text.starts_with("unknown field") => Code::CfgKeyUnknown,
                text if text.starts_with("missing field") => Code::CfgKeyMissing,
                text if text.starts_with("invalid") || text.starts_with("unknown variant") => {
                    Code::CfgValueInvalid
                }
                _ => Code::CfgSyntaxInvalid,
            },
        }
    }
}

/// Reads, checks and resolves the configuration at `path`. Its relative paths become relative to its folder.
///
/// # Errors
/// [`ConfigError`], naming file, key and what is allowed.
pub fn load(path: &Path) -> Result<Config, ConfigError> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
    let config = load_text(&text, path)?;
    Ok(Config { file: Some(path.to_owned()), ..config })
}

/// As [`load`], from text; `path` is where it would stand.
///
/// # Errors
/// As [`load`].
pub fn load_text(text: &str, path: &Path) -> Result<Config, ConfigError> {
    let mut config: Config = toml::from_str(text)
        .map_err(|source| ConfigError::Parse { path: path.to_owned(), source: Box::new(source) })?;
    check_ranges(&config)?;
    resolve(&mut config, path.parent().unwrap_or(Path::new(".")));
    Ok(config)
}

fn check_ranges(config: &Config) -> Result<(), ConfigError> {
    let (limits, tape) = (&config.limits, &config.tape);
    let checks: [Check; 25] = [
        ("orders.window_ms", config.orders.window_ms, 100..=60_000, "100 to 60000"),
        ("orders.nonces_max", config.orders.nonces_max as u64, 1..=100_000_000, "1 to 100000000"),
        ("orders.state_hash_inputs", config.orders.state_hash_inputs, 1..=1_000_000, "1 to 1000000"),
        ("clock.tolerance_us", config.clock.tolerance_us, 1..=10_000_000, "1 to 10000000"),
        ("server.proxy.timeout_ms", config.server.proxy.timeout_ms, 100..=60_000, "100 to 60000"),
        ("feed.heartbeat_ms", config.feed.heartbeat_ms, 100..=60_000, "100 to 60000"),
        (
            "feed.resume_stream_bytes_max",
            config.feed.resume_stream_bytes_max as u64,
            0..=1 << 28,
            "0 to 268435456",
        ),
        ("feed.resume_bytes_max", config.feed.resume_bytes_max as u64, 0..=1 << 36, "0 to 68719476736"),
        ("feed.resume_keep_ms", config.feed.resume_keep_ms, 0..=86_400_000, "0 to 86400000"),
        ("feed.flush_interval_us", config.feed.flush_interval_us, 0..=100_000, "0 to 100000"),
        ("log.segment_bytes", config.log.segment_bytes, 1 << 20..=1 << 30, "1048576 to 1073741824"),
        ("log.group_window_us", config.log.group_window_us, 0..=100_000, "0 to 100000"),
        ("log.checkpoint_ms", config.log.checkpoint_ms, 10..=60_000, "10 to 60000"),
        ("log.epoch_seconds", config.log.epoch_seconds, 1..=3_600, "1 to 3600"),
        ("log.witness_interval_ms", config.log.witness_interval_ms, 10..=3_600_000, "10 to 3600000"),
        ("log.witness_tolerance_ms", config.log.witness_tolerance_ms, 10..=86_400_000, "10 to 86400000"),
        ("log.heartbeat_seconds", config.log.heartbeat_seconds, 1..=3_600, "1 to 3600"),
        ("log.space_low_percent", config.log.space_low_percent.into(), 0..=90, "0 to 90"),
        (
            "log.space_critical_percent",
            config.log.space_critical_percent.into(),
            0..=config.log.space_low_percent.into(),
            "0 to log.space_low_percent",
        ),
        (
            "tape.segment_bytes",
            tape.segment_bytes.unwrap_or(1 << 20),
            1 << 20..=1 << 30,
            "1048576 to 1073741824",
        ),
        (
            "telemetry.metrics_interval_ms",
            config.telemetry.metrics_interval_ms,
            100..=3_600_000,
            "100 to 3600000",
        ),
        ("tape.block_events", tape.block_events.into(), 1..=8_192, "1 to 8192"),
        ("tape.block_ms", tape.block_ms, 1..=60_000, "1 to 60000"),
        ("tape.keyframe_blocks", tape.keyframe_blocks.into(), 1..=1_000_000, "1 to 1000000"),
        ("tape.compression_level", tape.compression_level.into(), 1..=19, "1 to 19"),
    ];
    in_range(checks)?;
    check_tls(&config.tls)?;
    config.tokens.as_ref().map_or(Ok(()), check_tokens)?;
    check_limits(limits)?;
    check_alerts(&config.alerts)
}

fn check_tls(tls: &TlsConfig) -> Result<(), ConfigError> {
    let checks: [Check; 3] = [
        ("tls.lifetime_days_max", tls.lifetime_days_max.into(), 1..=3_650, "1 to 3650"),
        ("tls.rsa_bits_min", tls.rsa_bits_min.into(), 2_048..=8_192, "2048 to 8192"),
        ("tls.revocation_grace_hours", tls.revocation_grace_hours.into(), 0..=168, "0 to 168"),
    ];
    in_range(checks)
}

fn check_tokens(tokens: &TokensConfig) -> Result<(), ConfigError> {
    in_range([
        ("tokens.leeway_s", tokens.leeway_s, 0..=120, "0 to 120"),
        ("tokens.lifetime_s_max", tokens.lifetime_s_max, 60..=604_800, "60 to 604800"),
    ])?;
    tokens.fault().map_or(Ok(()), |what| Err(ConfigError::Tokens { what }))
}

fn check_limits(limits: &LimitsConfig) -> Result<(), ConfigError> {
    let ban = &limits.ban;
    let checks: [Check; 22] = [
        ("limits.ipv6_prefix_bits", limits.ipv6_prefix_bits.into(), 32..=128, "32 to 128"),
        ("limits.handshakes_max", limits.handshakes_max as u64, 1..=1_000_000, "1 to 1000000"),
        ("limits.handshakes_per_second", limits.handshakes_per_second.into(), 1..=1_000_000, "1 to 1000000"),
        ("limits.fragments_max", limits.fragments_max.into(), 1..=65_536, "1 to 65536"),
        ("limits.message_timeout_ms", limits.message_timeout_ms, 100..=600_000, "100 to 600000"),
        (
            "limits.control_frames_per_second",
            limits.control_frames_per_second.into(),
            1..=100_000,
            "1 to 100000",
        ),
        ("limits.principal_messages_factor", limits.principal_messages_factor.into(), 1..=1_024, "1 to 1024"),
        ("limits.ban.closes_window_ms", ban.closes_window_ms, 1_000..=86_400_000, "1000 to 86400000"),
        ("limits.ban.first_ms", ban.first_ms, 100..=86_400_000, "100 to 86400000"),
        ("limits.ban.max_ms", ban.max_ms, ban.first_ms..=604_800_000, "limits.ban.first_ms to 604800000"),
        ("limits.ban.entries_max", ban.entries_max as u64, 1..=1_000_000, "1 to 1000000"),
        ("limits.connections_max", limits.connections_max as u64, 1..=1_000_000, "1 to 1000000"),
        ("limits.handshake_timeout_ms", limits.handshake_timeout_ms, 100..=60_000, "100 to 60000"),
        ("limits.upgrade_timeout_ms", limits.upgrade_timeout_ms, 100..=60_000, "100 to 60000"),
        ("limits.header_bytes_max", limits.header_bytes_max as u64, 1_024..=65_536, "1024 to 65536"),
        ("limits.message_bytes_max", limits.message_bytes_max as u64, 1_024..=1_048_576, "1024 to 1048576"),
        ("limits.malformed_max", limits.malformed_max.into(), 1..=1_000, "1 to 1000"),
        ("limits.idle_timeout_ms", limits.idle_timeout_ms, 1_000..=3_600_000, "1000 to 3600000"),
        (
            "limits.out_queue_bytes_max",
            limits.out_queue_bytes_max as u64,
            65_536..=1 << 30,
            "65536 to 1073741824",
        ),
        (
            "limits.socket_unsent_bytes_max",
            limits.socket_unsent_bytes_max.into(),
            16_384..=16_777_216,
            "16384 to 16777216",
        ),
        ("limits.out_queue_age_max_ms", limits.out_queue_age_max_ms, 100..=600_000, "100 to 600000"),
        (
            "limits.out_bytes_max",
            limits.out_bytes_max as u64,
            limits.out_queue_bytes_max as u64..=1 << 36,
            "limits.out_queue_bytes_max to 68719476736",
        ),
    ];
    in_range(checks)
}

fn check_alerts(alerts: &AlertsConfig) -> Result<(), ConfigError> {
    let ranges: [Check; 4] = [
        ("alerts.refire_ms", alerts.refire_ms, 1_000..=86_400_000, "1000 to 86400000"),
        ("alerts.revocation_list_hours", alerts.revocation_list_hours, 0..=8_760, "0 to 8760"),
        ("alerts.server_certificate_hours", alerts.server_certificate_hours, 0..=8_760, "0 to 8760"),
        ("alerts.client_authority_hours", alerts.client_authority_hours, 0..=87_600, "0 to 87600"),
    ];
    let counts = alerts.counts().into_iter().flat_map(|(count, window, threshold)| -> [Check; 2] {
        [
            (count, threshold.count, 0..=1_000_000, "0 to 1000000"),
            (window, threshold.window_ms, 1_000..=3_600_000, "1000 to 3600000"),
        ]
    });
    let timeouts = alerts.webhooks.iter().map(|webhook| -> Check {
        ("alerts.webhook.timeout_ms", webhook.timeout_ms, 100..=4_000, "100 to 4000")
    });
    in_range(ranges.into_iter().chain(counts).chain(timeouts))?;
    for (index, webhook) in alerts.webhooks.iter().enumerate() {
        let number = index + 1;
        let fault = if number > WEBHOOKS_MAX { Some("there may be eight") } else { webhook.fault() };
        if let Some(what) = fault {
            return Err(ConfigError::Webhook { number, what });
        }
    }
    Ok(())
}

/// Key, value, what it may be, and the same in words.
type Check = (&'static str, u64, std::ops::RangeInclusive<u64>, &'static str);

fn in_range(checks: impl IntoIterator<Item = Check>) -> Result<(), ConfigError> {
    for (key, value, range, allowed) in checks {
        if !range.contains(&value) {
            return Err(ConfigError::Range { key, value, allowed });
        }
    }
    Ok(())
}

fn resolve(config: &mut Config, folder: &Path) {
    let tls = &mut config.tls;
    let identity = &mut config.identity;
    let mut paths = vec![
        &mut tls.certificate,
        &mut tls.key,
        &mut tls.client_authorities,
        &mut tls.client_revocation_lists,
        &mut identity.entitlements,
        &mut identity.master_key,
        &mut config.log.directory,
    ];
    paths.extend(tls.deny_list.as_mut());
    paths.extend(identity.previous_master_key.as_mut());
    if let Some(tokens) = &mut config.tokens {
        paths.push(&mut tokens.jwks);
        paths.extend(tokens.withdrawn.as_mut());
    }
    paths.extend(config.server.ready_file.as_mut());
    paths.extend(config.log.escrow.as_mut());
    paths.extend(config.tape.directory.as_mut());
    paths.extend(config.tape.escrow.as_mut());
    for witness in &mut config.log.witnesses {
        paths.extend(witness.directory.as_mut());
        paths.extend(witness.authorities.as_mut());
    }
    paths.extend(config.telemetry.directory.as_mut());
    paths.extend(config.telemetry.metrics_file.as_mut());
    for webhook in &mut config.alerts.webhooks {
        paths.push(&mut webhook.secret_file);
        paths.extend(webhook.authorities.as_mut());
    }
    paths.extend(config.sources.iter_mut().filter_map(SourceConfig::path_mut));
    for path in paths {
        *path = folder.join(&*path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Speed;

    const GOOD: &str = r#"
        [server]
        listen = "127.0.0.1:0"
        [tls]
        certificate = "s.pem"
        key = "s.key"
        client_authorities = "ca.pem"
        client_revocation_lists = "crl.pem"
        [identity]
        entitlements = "entitlements.toml"
        master_key = "/abs/current.hex"
        [log]
        directory = "log"
        [[source]]
        type = "dbn"
        path = "x.dbn.zst"
        speed = "max"
    "#;

    fn check(text: &str) -> Result<Config, String> {
        load_text(text, Path::new("/etc/sealfeed/sealfeed.toml"))
            .map_err(|error| format!("{:#}", anyhow::Error::from(error)))
    }

    #[test]
    fn paths_are_relative_to_the_file() {
        let config = check(GOOD).unwrap();
        assert_eq!(config.tls.key, Path::new("/etc/sealfeed/s.key"));
        assert_eq!(config.identity.master_key, Path::new("/abs/current.hex"));
        assert!(matches!(&config.sources[0], SourceConfig::Dbn(file)
            if file.path == Path::new("/etc/sealfeed/x.dbn.zst") && file.speed == Speed::Max));
    }

    #[test]
    fn an_unknown_key_is_an_error_that_names_it_and_its_line() {
        let error = check(&GOOD.replace("[tls]", "[tls]\nplaintext = true")).unwrap_err();
        assert!(error.contains("plaintext") && error.contains("line 5"), "{error}");
    }

    #[test]
    fn a_value_out_of_range_names_the_key_and_the_range() {
        let error = check(&format!("{GOOD}\n[orders]\nwindow_ms = 99")).unwrap_err();
        assert_eq!(error, "configuration key `orders.window_ms` is 99, allowed is 100 to 60000");
        for (tolerance, is_allowed) in [(0, false), (1, true), (10_000_000, true), (10_000_001, false)] {
            let checked = check(&format!("{GOOD}\n[clock]\ntolerance_us = {tolerance}"));
            assert_eq!(checked.is_ok(), is_allowed, "{checked:?}");
        }
    }

    #[test]
    fn receivers_of_alerts_are_checked_one_by_one_and_their_addresses_are_not_told() {
        let webhook = |url: &str, more: &str| {
            format!("[[alerts.webhook]]\nurl = \"{url}\"\nsecret_file = \"a.secret\"\n{more}\n")
        };
        let good = webhook("http://127.0.0.1:1/token", "");
        let config = check(&format!("{GOOD}\n{good}")).unwrap();
        assert_eq!(config.alerts.webhooks[0].secret_file, Path::new("/etc/sealfeed/a.secret"));
        for (more, number, what) in [
            (webhook("http://example.com/token", ""), 2, "an http:// `url` must name an IP address"),
            (webhook("https://example.com/token", ""), 2, "needs `authorities`"),
            (good.repeat(8), 9, "there may be eight"),
        ] {
            let text = format!("{GOOD}\n{good}{more}");
            let error = check(&text).unwrap_err();
            let begins = format!("configuration: [[alerts.webhook]] number {number}: ");
            assert!(
                error.starts_with(&begins) && error.contains(what) && !error.contains("token"),
                "{error}"
            );
            let code = load_text(&text, Path::new("x.toml")).unwrap_err().code();
            assert_eq!((code, code.as_str()), (Code::CfgWebhookInvalid, "SF-CFG-028"));
        }
        for (key, is_allowed) in [
            ("refire_ms = 999", false),
            ("refire_ms = 1000", true),
            ("bans = { count = 0, window_ms = 1000 }", true),
            ("bans = { count = 1, window_ms = 999 }", false),
            ("bans = { count = 1000001, window_ms = 1000 }", false),
            ("bans = { count = 1 }", false),
            ("revocation_list_hours = 8761", false),
            ("failed_logins = { count = 1, window_ms = 1000 }", false),
        ] {
            let checked = check(&format!("{GOOD}\n[alerts]\n{key}"));
            assert_eq!(checked.is_ok(), is_allowed, "{checked:?}");
        }
        let slow =
            check(&format!("{GOOD}\n{}", webhook("http://127.0.0.1", "timeout_ms = 4001"))).unwrap_err();
        assert!(slow.contains("`alerts.webhook.timeout_ms` is 4001"), "{slow}");
    }

    #[test]
    fn a_section_about_tokens_says_whose_they_are_and_how_they_are_signed() {
        let tokens = |more: &str| {
            let section = "issuer = \"https://id.example\"\naudience = \"feed\"\njwks = \"jwks.json\"";
            load_text(&format!("{GOOD}\n[tokens]\n{section}\n{more}"), Path::new("/etc/sealfeed/x.toml"))
        };
        let config = tokens("withdrawn = \"gone.toml\"").unwrap().tokens.unwrap();
        let mut expected = TokensConfig::new("https://id.example", "feed", "/etc/sealfeed/jwks.json".into());
        expected.withdrawn = Some("/etc/sealfeed/gone.toml".into());
        assert_eq!(config, expected);
        for good in [
            "required_for = []",
            "required_for = [\"acme\", \"be*\", \"acme/*\", \"acme/desk7\"]",
            "algorithms = [\"EdDSA\", \"ES256\", \"RS256\", \"PS256\"]",
            "leeway_s = 120\nlifetime_s_max = 60",
        ] {
            assert!(tokens(good).is_ok(), "{good}");
        }
        for (wrong, code) in [
            ("leeway_s = 121", Code::CfgValueInvalid),
            ("lifetime_s_max = 59", Code::CfgValueInvalid),
            ("algorithms = [\"none\"]", Code::CfgValueInvalid),
            ("algorithms = [\"HS256\"]", Code::CfgValueInvalid),
            ("algorithms = []", Code::CfgTokensInvalid),
            ("algorithms = [\"ES256\", \"ES256\"]", Code::CfgTokensInvalid),
            ("required_for = [\"\"]", Code::CfgTokensInvalid),
            ("required_for = [\"acme/a/b\"]", Code::CfgTokensInvalid),
            ("required_for = [\"acme desk\"]", Code::CfgTokensInvalid),
            ("secret = \"x\"", Code::CfgKeyUnknown),
        ] {
            assert_eq!(tokens(wrong).unwrap_err().code(), code, "{wrong}");
        }
        let empty = format!("{GOOD}\n[tokens]\nissuer = \"\"\naudience = \"a\"\njwks = \"j\"");
        let error = load_text(&empty, Path::new("x.toml")).unwrap_err();
        assert_eq!((error.code(), error.code().as_str()), (Code::CfgTokensInvalid, "SF-CFG-031"));
    }

    #[test]
    fn midnight_is_a_midnight_with_its_offset() {
        let itch = |midnight: &str| {
            check(&format!("{GOOD}\n[[source]]\ntype = \"itch\"\npath = \"x\"\nmidnight = \"{midnight}\""))
        };
        let config = itch("2019-12-30T00:00:00-05:00").unwrap();
        let SourceConfig::Itch(source) = &config.sources[1] else { panic!("{:?}", config.sources) };
        assert_eq!(source.midnight.0, 1_577_682_000_000_000_000);
        assert_eq!(source.path, Path::new("/etc/sealfeed/x"));
        for wrong in
            ["2019-12-30", "2019-12-30T00:00:01-05:00", "2019-12-30T00:00:00", "1960-01-01T00:00:00Z", ""]
        {
            assert!(itch(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_speed_of_zero_is_refused() {
        assert!(check(&GOOD.replace("\"max\"", "0")).is_err());
        assert!(check(&GOOD.replace("\"max\"", "25")).is_ok());
    }

    #[test]
    fn the_example_of_the_documentation_is_valid_with_and_without_its_comments() {
        let example = include_str!("../../docs/examples/sealfeed.toml");
        check(example).unwrap();
        let uncommented = example.replace("# [[", "[[").replace("# [tokens]", "[tokens]");
        let all: String = uncommented
            .lines()
            .map(|line| match line.strip_prefix("# ") {
                Some(rest) if rest.contains(" = ") => format!("{rest}\n"),
                _ => format!("{line}\n"),
            })
            .collect();
        let config = check(&all).unwrap();
        assert_eq!(config.sources.len(), 5);
        let tokens = config.tokens.unwrap();
        let mut defaults = TokensConfig::new(&tokens.issuer, &tokens.audience, tokens.jwks.clone());
        defaults.withdrawn.clone_from(&tokens.withdrawn);
        assert_eq!(tokens, defaults, "they are the defaults");
        let alerts = AlertsConfig { webhooks: config.alerts.webhooks.clone(), ..AlertsConfig::default() };
        assert_eq!((&config.alerts, config.alerts.webhooks.len()), (&alerts, 1), "they are the defaults");
        assert_eq!(config.limits.out_queue_bytes_max, LimitsConfig::default().out_queue_bytes_max);
    }

    #[test]
    fn every_fault_of_the_file_has_its_code() {
        let code = |text: &str| load_text(text, Path::new("x.toml")).unwrap_err().code();
        assert_eq!(code(&GOOD.replace("[tls]", "[tls]\nplaintext = true")), Code::CfgKeyUnknown);
        assert_eq!(code(&GOOD.replace("key = \"s.key\"", "")), Code::CfgKeyMissing);
        assert_eq!(code(&GOOD.replace("\"127.0.0.1:0\"", "7")), Code::CfgValueInvalid);
        assert_eq!(code(&GOOD.replace("\"127.0.0.1:0\"", "\"localhost\"")), Code::CfgValueInvalid);
        assert_eq!(code(&format!("{GOOD}\n[orders]\nwindow_ms = 99")), Code::CfgValueInvalid);
        assert_eq!(code("[server"), Code::CfgSyntaxInvalid);
        let nowhere = Path::new("/nowhere/sealfeed.toml");
        assert_eq!(load(nowhere).unwrap_err().code(), Code::CfgFileUnreadable);
    }
}
