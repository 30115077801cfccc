//! Reading and checking the configuration file.

use std::path::{Path, PathBuf};

use super::{Config, LimitsConfig, SourceConfig};
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
}

impl ConfigError {
    /// The stable code of this error.
    #[must_use]
    pub fn code(&self) -> Code {
        match self {
            Self::Read { .. } => Code::CfgFileUnreadable,
            Self::Range { .. } => Code::CfgValueInvalid,
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
    load_text(&text, path)
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
    let checks: [Check; 24] = [
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
        ("tape.block_events", tape.block_events.into(), 1..=8_192, "1 to 8192"),
        ("tape.block_ms", tape.block_ms, 1..=60_000, "1 to 60000"),
        ("tape.keyframe_blocks", tape.keyframe_blocks.into(), 1..=1_000_000, "1 to 1000000"),
        ("tape.compression_level", tape.compression_level.into(), 1..=19, "1 to 19"),
    ];
    in_range(checks)?;
    check_limits(limits)
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
    paths.extend(identity.previous_master_key.as_mut());
    paths.extend(config.server.ready_file.as_mut());
    paths.extend(config.log.escrow.as_mut());
    paths.extend(config.tape.directory.as_mut());
    paths.extend(config.tape.escrow.as_mut());
    for witness in &mut config.log.witnesses {
        paths.extend(witness.directory.as_mut());
        paths.extend(witness.authorities.as_mut());
    }
    paths.extend(config.telemetry.directory.as_mut());
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
        let uncommented = example.replace("# [[source]]", "[[source]]");
        let all: String = uncommented
            .lines()
            .map(|line| match line.strip_prefix("# ") {
                Some(rest) if rest.contains(" = ") => format!("{rest}\n"),
                _ => format!("{line}\n"),
            })
            .collect();
        let config = check(&all).unwrap();
        assert_eq!(config.sources.len(), 5);
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
