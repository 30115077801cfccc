//! `sealfeed audit`: for whoever has to believe the log.

mod execute;
mod hold;
mod init;
mod maintain;
mod prune;
mod replay;
#[cfg(feature = "store")]
mod store;
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
    /// Set, lift and list legal holds.
    Hold(hold::HoldArgs),
    /// Let the beginning of a log leave that has been kept long enough.
    Prune(prune::PruneArgs),
    /// Copy sealed segments into an object store.
    #[cfg(feature = "store")]
    Store(store::StoreArgs),
    /// Bring such copies back.
    #[cfg(feature = "store")]
    Restore(store::RestoreArgs),
}

pub(super) fn run(arguments: &AuditArgs) -> anyhow::Result<ExitCode> {
    match &arguments.command {
        Command::Init(arguments) => init::run(arguments),
        Command::Verify(arguments) => verify::run(arguments),
        Command::Replay(arguments) => replay::run(arguments),
        Command::Hold(arguments) => hold::run(arguments),
        Command::Prune(arguments) => prune::run(arguments),
        #[cfg(feature = "store")]
        Command::Store(arguments) => store::store(arguments),
        #[cfg(feature = "store")]
        Command::Restore(arguments) => store::restore(arguments),
    }
}
