//! `sealfeed doctor`: finds out, step by step and as a client, why a connection does not work or for how long it still will.
//!
//! Nothing is traded and nothing is changed, but with `--security`, whose checks are faults on purpose. Exit codes as the other
//! commands for clients: the first failure decides.

mod checkup;
mod door;
mod endpoint;
mod local;
mod network;
mod report;
mod security;
mod session;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use sealfeed_wire::{Code, Symbol};
use serde_json::json;

use super::context::{ConnectArgs, EXIT_CANNOT_CONNECT, EXIT_USAGE, Problem, Target};
use super::duration::parse_duration;
use report::Report;

/// Arguments of `doctor`.
#[derive(Debug, Args)]
pub(super) struct DoctorArgs {
    /// Address of the feed, wss://HOST:PORT/v1/feed, instead of the context's.
    #[arg(value_name = "URL", conflicts_with = "url")]
    server: Option<String>,
    #[command(flatten)]
    connection: ConnectArgs,
    /// Prove the order key, too: cancels an order that does not exist. It trades nothing and leaves one entry in the server's log.
    #[arg(long)]
    orders: bool,
    /// Symbol to subscribe to for a moment [default: one that the entitlement names].
    #[arg(long, value_name = "SYMBOL")]
    symbol: Option<Symbol>,
    /// Longest time for each step.
    #[arg(long, value_name = "TIME", value_parser = parse_duration, default_value = "10s")]
    timeout: Duration,
    /// Attack the server instead, without rights and without harm, and say whether it holds. Each check is a fault on purpose: it stands in the
    /// server's log, may raise its alerts, and the last ones may ban this principal for a minute.
    #[arg(long, conflicts_with_all = ["orders", "symbol"])]
    security: bool,
    /// Attack a server at another address than this machine's own.
    #[arg(long, requires = "security")]
    yes: bool,
    /// On the server's machine: directory of its sealed log, in which every fault has to stand.
    #[arg(long, value_name = "DIR", requires = "log_key", requires = "security")]
    log: Option<PathBuf>,
    /// Public key of the log: its text, or a file that holds it (log.pub).
    #[arg(long, value_name = "KEY|FILE", requires = "log")]
    log_key: Option<String>,
    /// Print one JSON object instead of lines.
    #[arg(long)]
    json: bool,
}

/// Every step of a check-up, in order. What a failure leaves undone is reported as skipped.
const STEPS: [&str; 17] = [
    "context",
    "files",
    "certificate",
    "key",
    "order key",
    "local clock",
    "dns",
    "tcp",
    "server certificate",
    "tls",
    "client certificate",
    "upgrade",
    "welcome",
    "round trip",
    "clock skew",
    "market data",
    "orders",
];

pub(super) fn run(arguments: &DoctorArgs) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.context("cannot start the runtime")?;
    Ok(runtime.block_on(examine(arguments)))
}

async fn examine(arguments: &DoctorArgs) -> ExitCode {
    let mut report = Report::new(arguments.json);
    let target = match arguments.target() {
        Ok(target) => target,
        Err(problem) => {
            report.fail("context", &(&problem).into());
            report.skip_rest(&STEPS);
            return report.finish("no server", json!({}));
        }
    };
    let url = target.context().url.clone();
    if arguments.security {
        return match Box::pin(attack(arguments, &target)).await {
            Ok(report) => report.finish(&url, json!({"url": url})),
            Err(problem) if arguments.json => {
                report.fail("before the checks", &(&problem).into());
                report.finish(&url, json!({"url": url}))
            }
            Err(problem) => problem.at(target.place()).tell(),
        };
    }
    Box::pin(steps(arguments, &target, &mut report)).await;
    report.skip_rest(&STEPS);
    report.finish(&url, json!({"url": url}))
}

/// All steps up to the first that nothing can go on without.
async fn steps(arguments: &DoctorArgs, target: &Target, report: &mut Report) -> Option<()> {
    let config = local::check(target, report)?;
    let (endpoint, tcp) = network::reach(&config, arguments.timeout, report).await?;
    let tls = network::secure(&endpoint, tcp, config.identity.as_ref(), report).await?;
    let mut session = door::enter(&endpoint, tls, config.identity.as_ref(), report).await?;
    checkup::time(&mut session, report).await;
    checkup::market(&mut session, arguments.symbol.as_ref(), report).await;
    session.close().await;
    if arguments.orders {
        checkup::orders(&config, report).await;
    } else {
        report.skip("orders", "not asked for; --orders proves the order key without trading anything");
    }
    Some(())
}

/// The checks of `--security`, once it is certain that a client with rights gets in.
async fn attack(arguments: &DoctorArgs, target: &Target) -> Result<Report, Problem> {
    let config = target.config()?;
    if !network::is_this_machine(&config.url).await && !arguments.yes {
        return Err(Problem::new(format!(
            "{} is not this machine, and the checks are attacks",
            config.url.authority()
        ))
        .fix("Ask the operator, and say --yes.")
        .code(Code::CliArgumentsInvalid.into())
        .exit(EXIT_USAGE));
    }
    // Silent: only what fails is of interest here.
    let mut before = Report::silent();
    let reached = network::reach(&config, arguments.timeout, &mut before).await;
    let Some((endpoint, tcp)) = reached else { return Err(before.problem()) };
    drop(tcp);
    let Some(identity) = &config.identity else { return Err(before.problem()) };
    match session::Session::open(&endpoint, identity).await {
        Ok(session) => session.close().await,
        Err(error) => {
            let what =
                format!("no session with a good certificate, so nothing can be told: {}", error.words());
            return Err(Problem::new(what)
                .fix("Run `sealfeed doctor` without --security first; after a ban, wait as long as it says.")
                .exit(EXIT_CANNOT_CONNECT));
        }
    }
    anstream::eprintln!(
        "sealfeed: attacking {} as {}: every check is a fault on purpose, stands in the server's log and may raise its alerts",
        endpoint.address,
        target.place()
    );
    let mut report = Report::of_checks(arguments.json);
    let log = arguments.log.as_deref().zip(arguments.log_key.as_deref());
    security::run(&endpoint, &config, log, &mut report).await?;
    Ok(report)
}

impl DoctorArgs {
    fn target(&self) -> Result<Target, Problem> {
        let target = self.connection.target()?;
        Ok(match &self.server {
            Some(url) => target.at_server(url),
            None => target,
        })
    }
}
