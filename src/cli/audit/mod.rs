//! `sealfeed audit`: for whoever has to believe the log.

mod at;
mod book;
mod execute;
mod export;
mod hashed;
mod hold;
mod index;
mod init;
mod maintain;
#[cfg(feature = "parquet")]
mod parquet;
mod prove;
mod prune;
mod replay;
mod report;
mod rows;
mod sessions;
#[cfg(feature = "store")]
mod store;
mod tail;
mod terms;
mod trace;
mod verify;

use std::process::ExitCode;

pub(super) use execute::last_checkpoint;
pub(super) use rows::parse_time;
pub(super) use sessions::{OpenSession, open_sessions};

use super::plain::plain;

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
    /// Print what happened, or execute it again.
    Replay(replay::ReplayArgs),
    /// Print what happens, as it becomes certain.
    Tail(tail::TailArgs),
    /// Print the whole life of an order, provably without gaps.
    Trace(trace::TraceArgs),
    /// Prove one order to an outsider: a file with its entries, their proofs, and a program that checks them.
    Prove(prove::ProveArgs),
    /// Say what a principal could see and had at a moment.
    At(at::AtArgs),
    /// Count who used what, who was refused, what was ordered, how good the clock was.
    Report(report::ReportArgs),
    /// Copy entries out, with an index and hashes of every file.
    Export(export::ExportArgs),
    /// Build the indexes of sealed segments, which make `trace` and `replay --index` fast and are never trusted.
    Index(index::IndexArgs),
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
        Command::Verify(arguments) => Ok(verify::run(arguments)),
        Command::Replay(arguments) => replay::run(arguments),
        Command::Tail(arguments) => tail::run(arguments),
        Command::Trace(arguments) => trace::run(arguments),
        Command::Prove(arguments) => prove::run(arguments),
        Command::At(arguments) => at::run(arguments),
        Command::Report(arguments) => report::run(arguments),
        Command::Export(arguments) => export::run(arguments),
        Command::Index(arguments) => index::run(arguments),
        Command::Hold(arguments) => hold::run(arguments),
        Command::Prune(arguments) => prune::run(arguments),
        #[cfg(feature = "store")]
        Command::Store(arguments) => store::store(arguments),
        #[cfg(feature = "store")]
        Command::Restore(arguments) => store::restore(arguments),
    }
}
