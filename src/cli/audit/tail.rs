//! `sealfeed audit tail DIR`: events as they become certain, verified along the way, across segments and restarts of the server.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use sealfeed_audit::tail::{Tail, TailError};

use super::rows::{Filter, Output, Printer, Reader, Row, Symbols};
use crate::telemetry;
use sealfeed_audit::tool::read_key;

/// How often the log is looked at.
const PAUSE: Duration = Duration::from_millis(50);
/// Exit code of a log that does not continue: the verifier's TAMPERED.
const EXIT_TAMPERED: u8 = 20;
const EXIT_NO_LOG: u8 = 66;
const EXIT_UNREADABLE: u8 = 74;

/// Arguments of `audit tail`.
#[derive(Debug, Args)]
#[command(
    after_help = "An entry is shown once a signed checkpoint covers it, at most about a second after it happened. Ends with exit \
    code 20 at the first entry or checkpoint that does not fit. What came before the segment in which it begins is not looked at: \
    `audit verify` is for that."
)]
pub(super) struct TailArgs {
    /// The log's directory.
    directory: PathBuf,
    /// Public key of the log: its text, or a file that holds it (log.pub). Without it the log's own word is taken for it.
    #[arg(long, value_name = "KEY|FILE")]
    key: Option<String>,
    /// Begin with this sequence number; at the newest entry when absent.
    #[arg(long, value_name = "SEQ")]
    since: Option<u64>,
    /// End after so many entries.
    #[arg(short = 'n', long, value_name = "N")]
    lines: Option<u64>,
    #[command(flatten)]
    filter: Filter,
    /// How to print.
    #[arg(long, value_enum, default_value = "auto")]
    output: Output,
}

pub(super) fn run(arguments: &TailArgs) -> anyhow::Result<ExitCode> {
    arguments.filter.check()?;
    let key = arguments.key.as_deref().map(read_key).transpose()?;
    match follow(arguments, key) {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(error) => {
            let Some(error) = error.downcast_ref::<TailError>() else { return Err(error) };
            anstream::eprintln!("sealfeed: error: {}", telemetry::chain(error));
            anstream::eprintln!(
                "sealfeed: nothing after this can be believed: run `sealfeed audit verify` on the log"
            );
            Ok(ExitCode::from(match error {
                TailError::Read(sealfeed_audit::reader::ReadError::NoLog) => EXIT_NO_LOG,
                TailError::Read(sealfeed_audit::reader::ReadError::Io { .. }) => EXIT_UNREADABLE,
                _ => EXIT_TAMPERED,
            }))
        }
    }
}

fn follow(arguments: &TailArgs, key: Option<sealfeed_audit::note::VerifierKey>) -> anyhow::Result<()> {
    // From the newest entry on, the segment that is open is still read from its start: it must continue from somewhere.
    let mut tail = Tail::new(&arguments.directory, arguments.since.unwrap_or(u64::MAX), key.clone())?;
    if arguments.since.is_none() {
        let newest = tail.size_now()?;
        tail = Tail::new(&arguments.directory, newest, key)?;
    }
    let mut printer = Printer::new(arguments.output);
    let mut symbols = Symbols::default();
    let mut left = arguments.lines.unwrap_or(u64::MAX);
    loop {
        for entry in tail.poll()? {
            let row = Row::new(entry);
            symbols.learn(&row);
            if !arguments.filter.passes(&row, &symbols) {
                continue;
            }
            if printer.print(&row)? == Reader::Gone {
                return Ok(());
            }
            left -= 1;
            if left == 0 {
                printer.flush()?;
                return Ok(());
            }
        }
        if printer.flush()? == Reader::Gone {
            return Ok(());
        }
        std::thread::sleep(PAUSE);
    }
}
