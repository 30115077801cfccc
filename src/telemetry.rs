//! Structured logs: tracing, to standard error or to daily rolling files.
//!
//! Values that a peer controls are written with `?` (escaped), never with `%`. Secrets are types whose
//! `Debug` shows nothing.

use tracing_appender::non_blocking::WorkerGuard;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

use crate::config::{LogFormat, TelemetryConfig};

/// Keeps the writer of the log files alive; dropping it flushes them.
#[derive(Debug)]
pub struct TelemetryGuard(#[expect(dead_code, reason = "held for its drop")] Option<WorkerGuard>);

/// Starts logging for the process. A second call changes nothing.
///
/// The level comes from `SEALFEED_LOG` (such as `info,sealfeed::session=debug`), else from the configuration.
#[must_use]
pub fn start(config: &TelemetryConfig) -> TelemetryGuard {
    match &config.directory {
        Some(directory) => {
            let files = tracing_appender::rolling::daily(directory, "sealfeed.log");
            let (writer, guard) = tracing_appender::non_blocking(files);
            install(config, writer, false);
            TelemetryGuard(Some(guard))
        }
        None => {
            install(config, std::io::stderr, std::io::IsTerminal::is_terminal(&std::io::stderr()));
            TelemetryGuard(None)
        }
    }
}

fn install<W>(config: &TelemetryConfig, writer: W, ansi: bool)
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let filter = EnvFilter::try_from_env("SEALFEED_LOG")
        .or_else(|_| EnvFilter::try_new(&config.level))
        .unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer).with_ansi(ansi);
    // A subscriber that stands already (a test's) stays.
    let _ = match config.format {
        LogFormat::Text => builder.try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
}

/// An error and all its sources on one line, for logs: `a: b: c`.
///
/// Some errors quote files over several lines: every run of white space becomes one space, other control characters
/// are escaped.
#[must_use]
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    let mut line = String::with_capacity(text.len());
    for word in text.split_whitespace() {
        if !line.is_empty() {
            line.push(' ');
        }
        for character in word.chars() {
            if character.is_control() {
                line.extend(character.escape_default())
            } else {
                line.push(character)
            }
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_that_quotes_a_file_stands_on_one_line() {
        let error = std::io::Error::other("line 1\n  |\n1 | \u{1b}[31mred\n");
        assert_eq!(chain(&error), r"line 1 | 1 | \u{1b}[31mred");
    }
}
