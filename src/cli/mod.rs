//! The command line: arguments in, exit codes out. Data goes to standard output, everything else to standard
//! error.
//!
//! Exit codes: 0 done; 1 failed; 2 usage; 3 cannot connect; 4 not entitled; 5 order rejected; 6 order outcome
//! unknown; 70 the sealed log failed; 71 the state of the sealed log forbids to start; 78 configuration.
//! `record`, `bench`: 7 with gaps, 73 cannot create. `policy`: 1 a case failed, 4 `explain` was asked about what is not granted, 78 the policy is invalid.
//! `audit verify` has the verdicts of `audit/FORMAT.md`; `audit replay --execute`: 27 DIVERGED, 28 REFUSED;
//! `audit prove`: 66 no such log or order, 73 cannot create, 74 cannot read, 75 too recent.

mod admin;
mod alert;
mod audit;
mod bench;
mod book;
mod context;
mod demo;
mod doctor;
mod duration;
mod explain;
mod order;
mod plain;
mod policy;
mod record;
mod serve;
mod signing;
mod tape;
mod watch;
mod witness;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Mutual-TLS trading data feed server: certificates in, market data out, signed orders in, a sealed log behind.
#[derive(Debug, Parser)]
#[command(name = "sealfeed", version, propagate_version = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show everything at work in one minute: certificates, a live market, orders, attacks, the sealed log.
    Demo(demo::DemoArgs),
    /// Run the server.
    Serve(serve::ServeArgs),
    /// Follow a symbol, or the execution reports of a firm.
    Watch(watch::WatchArgs),
    /// Show a book as a ladder, with its last trades.
    Book(book::BookArgs),
    /// Write what a subscriber receives into a DBN file.
    Record(record::RecordArgs),
    /// Place, change, cancel and look up orders.
    Order(order::OrderArgs),
    /// Operators: kill switches, and how instruments trade.
    Admin(admin::AdminArgs),
    /// Check, test, explain and compare entitlement policies.
    Policy(policy::PolicyArgs),
    /// Measure how a running server delivers.
    Bench(bench::BenchArgs),
    /// Verify and replay a sealed log.
    Audit(audit::AuditArgs),
    /// Export and describe recorded market data.
    Tape(tape::TapeArgs),
    /// Keep the checkpoints of other machines' logs, and cosign what continues them.
    Witness(witness::WitnessArgs),
    /// Find out why a connection does not work, or whether a server holds its door.
    Doctor(doctor::DoctorArgs),
    /// Say what an error code means and what to do about it.
    Explain(explain::ExplainArgs),
}

/// Runs the program with the process's arguments.
#[must_use]
pub fn run() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Demo(arguments) => demo::run(arguments),
        Command::Serve(arguments) => serve::run(&arguments),
        Command::Watch(arguments) => watch::run(arguments),
        Command::Book(arguments) => book::run(&arguments),
        Command::Record(arguments) => record::run(arguments),
        Command::Order(arguments) => order::run(arguments),
        Command::Admin(arguments) => admin::run(arguments),
        Command::Policy(arguments) => Ok(policy::run(&arguments)),
        Command::Bench(arguments) => bench::run(arguments),
        Command::Audit(arguments) => audit::run(&arguments),
        Command::Tape(arguments) => tape::run(&arguments),
        Command::Witness(arguments) => witness::run(&arguments),
        Command::Doctor(arguments) => doctor::run(&arguments),
        Command::Explain(arguments) => Ok(explain::run(&arguments)),
    };
    result.unwrap_or_else(|error| {
        anstream::eprintln!("sealfeed: error: {error:#}");
        ExitCode::FAILURE
    })
}
