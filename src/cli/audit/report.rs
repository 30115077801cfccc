//! `sealfeed audit report`: what exchanges, auditors and regulators ask for, counted out of the log.

mod auth;
mod clock;
mod orders;
mod usage;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use serde_json::{Map, Value};

use super::plain;
use super::rows::{ENDS_HERE, Output, Row, harmless, open};

/// Arguments of `audit report`.
#[derive(Debug, Args)]
pub(super) struct ReportArgs {
    #[command(subcommand)]
    which: Which,
}

#[derive(Debug, Subcommand)]
enum Which {
    /// Units enabled in a month: product and its delay, firm and user, activations, deactivations, most at once, and messages that left. What was enabled counts, not what was looked at.
    Usage(usage::UsageArgs),
    /// The state of clock synchronisation over time, and every breach.
    Clock(clock::ClockArgs),
    /// Who came in, who was refused, and why.
    Auth(Common),
    /// One record for each order message, refused ones included: who, what, when, outcome.
    Orders(Common),
}

/// What every report takes.
#[derive(Clone, Debug, Args)]
pub(super) struct Common {
    /// The log's directory.
    directory: PathBuf,
    /// Not before this time: RFC 3339, or nanoseconds since 1970.
    #[arg(long, value_parser = super::rows::parse_time)]
    from: Option<u64>,
    /// Before this time: RFC 3339, or nanoseconds since 1970.
    #[arg(long, value_parser = super::rows::parse_time)]
    until: Option<u64>,
    /// How to print.
    #[arg(long, value_enum, default_value = "auto")]
    output: Output,
}

impl Common {
    fn covers(&self, row: &Row) -> bool {
        let time = row.entry.header.stamp.utc_ns;
        self.from.is_none_or(|from| time >= from) && self.until.is_none_or(|until| time < until)
    }

    /// Calls `each` with every entry of the log, in order.
    fn each(&self, mut each: impl FnMut(&Row)) -> anyhow::Result<()> {
        for entry in open(&self.directory)? {
            each(&Row::new(entry.context(ENDS_HERE)?));
        }
        Ok(())
    }
}

pub(super) fn run(arguments: &ReportArgs) -> anyhow::Result<ExitCode> {
    let (table, output) = match &arguments.which {
        Which::Usage(arguments) => (usage::table(arguments)?, arguments.output()),
        Which::Clock(arguments) => (clock::table(arguments)?, arguments.common().output),
        Which::Auth(common) => (auth::table(common)?, common.output),
        Which::Orders(common) => (orders::table(common)?, common.output),
    };
    match table.print(output) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(ExitCode::SUCCESS),
        printed => {
            printed?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// Rows under named columns.
#[derive(Debug)]
struct Table {
    columns: Vec<&'static str>,
    rows: Vec<Vec<String>>,
}

impl Table {
    fn new(columns: &[&'static str]) -> Self {
        Self { columns: columns.to_vec(), rows: Vec::new() }
    }

    fn print(&self, output: Output) -> std::io::Result<()> {
        use std::io::IsTerminal as _;
        let mut out = std::io::BufWriter::new(std::io::stdout().lock());
        match output {
            Output::Csv => {
                let mut writer = csv::Writer::from_writer(&mut out);
                writer.write_record(&self.columns)?;
                for row in &self.rows {
                    writer.write_record(row.iter().map(|field| harmless(field)))?;
                }
                writer.flush()?;
            }
            Output::Table => self.print_text(&mut out)?,
            Output::Auto if std::io::stdout().is_terminal() => self.print_text(&mut out)?,
            Output::Json | Output::Auto => {
                for row in &self.rows {
                    let pairs = self.columns.iter().zip(row);
                    let object: Map<String, Value> = pairs
                        .map(|(name, value)| ((*name).to_owned(), Value::from(value.as_str())))
                        .collect();
                    writeln!(out, "{}", plain(&Value::Object(object).to_string()))?;
                }
            }
        }
        out.flush()
    }

    fn print_text(&self, out: &mut impl std::io::Write) -> std::io::Result<()> {
        let escaped: Vec<Vec<String>> = self
            .rows
            .iter()
            .map(|row| row.iter().map(|field| field.escape_debug().to_string()).collect())
            .collect();
        let width = |at: usize| {
            let fields = escaped.iter().filter_map(|row| row.get(at)).map(|field| field.chars().count());
            fields.chain(self.columns.get(at).map(|name| name.len())).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..self.columns.len()).map(width).collect();
        let heads: Vec<String> = self.columns.iter().map(|name| (*name).to_owned()).collect();
        for row in std::iter::once(&heads).chain(&escaped) {
            let padded = row.iter().zip(&widths).map(|(field, width)| format!("{field:width$}"));
            writeln!(out, "{}", padded.collect::<Vec<_>>().join("  ").trim_end())?;
        }
        Ok(())
    }
}
