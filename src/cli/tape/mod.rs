//! `sealfeed tape`: for whoever wants the market data that was published.

mod export;
mod info;

use std::process::ExitCode;

use clap::{Args, Subcommand};

/// Arguments of `tape`.
#[derive(Debug, Args)]
pub(super) struct TapeArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Copy market data out as a DBN file.
    Export(export::ExportArgs),
    /// Say what a tape holds.
    Info(info::InfoArgs),
}

pub(super) fn run(arguments: &TapeArgs) -> anyhow::Result<ExitCode> {
    match &arguments.command {
        Command::Export(arguments) => export::run(arguments),
        Command::Info(arguments) => info::run(arguments),
    }
}
