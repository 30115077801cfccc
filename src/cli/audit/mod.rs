//! `sealfeed audit`: for whoever has to believe the log.

mod init;
mod replay;
mod verify;

use std::process::ExitCode;

use clap::{Args, Subcommand};

/// Arguments of `audit`.
#[derive(Debug, Args)]
pub(super) struct AuditArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a log, with its keys in escrow.
    Init(init::InitArgs),
    /// Check every byte of a log and say what it proves.
    Verify(verify::VerifyArgs),
    /// Print what happened.
    Replay(replay::ReplayArgs),
}

pub(super) fn run(arguments: &AuditArgs) -> anyhow::Result<ExitCode> {
    match &arguments.command {
        Command::Init(arguments) => init::run(arguments),
        Command::Verify(arguments) => verify::run(arguments),
        Command::Replay(arguments) => replay::run(arguments),
    }
}
