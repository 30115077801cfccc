//! `sealfeed admin`: what operators sign. Kill switches, how an instrument of the venue trades, and reading files again.
//!
//! A command sends one signed message. It says the same thing when it is repeated, so where no answer came it is simply
//! given again. The server seals it with its reason.

use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use sealfeed_client::Client;
use sealfeed_wire::{
    AdminKill, AdminReload, AdminTrading, KillAction, KillScope, KillTarget, OperatorReason, SignedOp,
    Symbol, TradingPhase,
};
use serde_json::json;

use super::context::Problem;
use super::signing::{SigningArgs, dry_run, print};

/// Arguments of `admin`.
#[derive(Debug, Args)]
pub(super) struct AdminArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Engage a kill switch: cancel the orders in its scope, and refuse new ones until it is released.
    Kill(KillArgs),
    /// Release a kill switch.
    Release(KillArgs),
    /// Change how an instrument of the venue trades.
    Trading(TradingArgs),
    /// Have the server read its configuration, certificates, revocation lists, keys and policy again, as SIGHUP does.
    Reload(CommonArgs),
}

/// Arguments of `admin kill` and `admin release`.
#[derive(Debug, Args)]
struct KillArgs {
    #[command(flatten)]
    scope: ScopeArgs,
    #[command(flatten)]
    common: CommonArgs,
}

/// Whose orders: exactly one.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct ScopeArgs {
    /// One principal, FIRM/USER.
    #[arg(long, value_name = "FIRM/USER")]
    principal: Option<String>,
    /// Every principal of a firm.
    #[arg(long)]
    firm: Option<String>,
    /// One instrument, whoever trades it.
    #[arg(long)]
    symbol: Option<String>,
    /// Everybody and everything.
    #[arg(long)]
    all: bool,
}

/// Arguments of `admin trading`.
#[derive(Debug, Args)]
struct TradingArgs {
    /// Which instrument.
    symbol: Symbol,
    /// open, auction, halted or closed.
    state: TradingPhase,
    #[command(flatten)]
    common: CommonArgs,
}

#[derive(Debug, Args)]
struct CommonArgs {
    /// Why, for whoever reads the log: 1 to 200 printable ASCII characters.
    #[arg(long, value_name = "TEXT", value_parser = parse_reason)]
    reason: OperatorReason,
    #[command(flatten)]
    signing: SigningArgs,
}

fn parse_reason(text: &str) -> Result<OperatorReason, String> {
    OperatorReason::new(text).ok_or_else(|| "not 1 to 200 printable ASCII characters".to_owned())
}

impl ScopeArgs {
    fn target(&self) -> Result<KillTarget, Problem> {
        let (scope, text) = if let Some(principal) = &self.principal {
            (KillScope::Principal, Some(principal.as_str()))
        } else if let Some(firm) = &self.firm {
            (KillScope::Firm, Some(firm.as_str()))
        } else if let Some(symbol) = &self.symbol {
            (KillScope::Symbol, Some(symbol.as_str()))
        } else {
            // The group demands one of the four.
            (KillScope::All, None)
        };
        KillTarget::new(scope, text).ok_or_else(|| {
            Problem::new(format!("{:?} names no {scope}", text.unwrap_or_default()))
                .at("the arguments")
                .fix("Give FIRM/USER, a firm or a symbol as certificates and messages have them.")
                .exit(super::context::EXIT_USAGE)
        })
    }
}

/// One signed message.
struct Message {
    op: SignedOp,
    body: String,
    /// What it does, for people.
    what: String,
    common: CommonArgs,
}

impl Message {
    fn kill(arguments: KillArgs, action: KillAction) -> Result<Self, Problem> {
        let (target, common) = (arguments.scope.target()?, arguments.common);
        let what = match target.text() {
            Some(text) => format!("{action} the kill switch of {} {text}", target.scope()),
            None => format!("{action} the kill switch of everybody"),
        };
        let kill = AdminKill { target, action, reason: common.reason.clone() };
        Ok(Self { op: SignedOp::AdminKill, body: kill.encode(), what, common })
    }

    fn reload(common: CommonArgs) -> Self {
        let body = AdminReload { reason: common.reason.clone() }.encode();
        Self {
            op: SignedOp::AdminReload,
            body,
            what: "the server's files are in force as they are now".to_owned(),
            common,
        }
    }

    fn trading(arguments: TradingArgs) -> Self {
        let TradingArgs { symbol, state, common } = arguments;
        let body = AdminTrading { symbol, state, reason: common.reason.clone() }.encode();
        Self { op: SignedOp::AdminTrading, body, what: format!("{symbol} is {state} from now on"), common }
    }
}

pub(super) fn run(arguments: AdminArgs) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.context("cannot start the runtime")?;
    let message = match arguments.command {
        Command::Kill(arguments) => Message::kill(arguments, KillAction::Engage),
        Command::Release(arguments) => Message::kill(arguments, KillAction::Release),
        Command::Trading(arguments) => Ok(Message::trading(arguments)),
        Command::Reload(arguments) => Ok(Message::reload(arguments)),
    };
    let outcome = message.and_then(|message| runtime.block_on(submit(&message)));
    Ok(outcome.unwrap_or_else(|problem| problem.tell()))
}

async fn submit(message: &Message) -> Result<ExitCode, Problem> {
    let signing = &message.common.signing;
    let target = signing.target()?;
    let client = target.connect().await?;
    let outcome = if signing.dry_run {
        dry_run(&client, message.op, &message.body, signing.output)
    } else {
        send(&client, message).await
    };
    client.close().await;
    outcome.map_err(|problem| problem.at(target.place()))
}

async fn send(client: &Client, message: &Message) -> Result<ExitCode, Problem> {
    let Message { op, body, what, common } = message;
    client.signed_request(*op, body).await.map_err(|error| Problem::of_request(&error))?;
    if common.signing.output.is_json() {
        let reason = common.reason.as_str();
        print(&json!({"outcome": "done", "op": op, "what": what, "reason": reason}).to_string())?;
    } else {
        print(&format!("done: {what} ({})", common.reason))?;
    }
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        admin: AdminArgs,
    }

    fn check(line: &[&str]) -> Result<String, String> {
        let line =
            Line::try_parse_from(std::iter::once(&"admin").chain(line)).map_err(|error| error.to_string())?;
        let message = match line.admin.command {
            Command::Kill(arguments) => Message::kill(arguments, KillAction::Engage),
            Command::Release(arguments) => Message::kill(arguments, KillAction::Release),
            Command::Trading(arguments) => Ok(Message::trading(arguments)),
            Command::Reload(arguments) => Ok(Message::reload(arguments)),
        };
        message.map(|message| message.body).map_err(|problem| format!("{problem:?}"))
    }

    #[test]
    fn what_is_typed_is_what_is_signed() {
        for (line, body) in [
            (
                &["kill", "--firm", "acme", "--reason", "runaway \"algo\""][..],
                r#"{"scope":"firm","target":"acme","action":"engage","reason":"runaway \"algo\""}"#,
            ),
            (
                &["release", "--principal", "acme/desk7", "--reason", "r"],
                r#"{"scope":"principal","target":"acme/desk7","action":"release","reason":"r"}"#,
            ),
            (&["kill", "--all", "--reason", "r"], r#"{"scope":"all","action":"engage","reason":"r"}"#),
            (
                &["trading", "ESH4", "halted", "--reason", "news pending"],
                r#"{"symbol":"ESH4","state":"halted","reason":"news pending"}"#,
            ),
            (&["reload", "--reason", "list 12"], r#"{"reason":"list 12"}"#),
        ] {
            assert_eq!(check(line).as_deref(), Ok(body));
        }
    }

    #[test]
    fn a_switch_without_a_clear_scope_or_reason_is_not_thrown() {
        for line in [
            &["kill", "--reason", "r"][..],
            &["kill", "--all"],
            &["kill", "--all", "--firm", "acme", "--reason", "r"],
            &["kill", "--firm", "acme/desk7", "--reason", "r"],
            &["kill", "--principal", "acme", "--reason", "r"],
            &["kill", "--symbol", "*", "--reason", "r"],
            &["kill", "--all", "--reason", ""],
            &["kill", "--all", "--reason", "a\nb"],
            &["trading", "ESH4", "paused", "--reason", "r"],
        ] {
            assert!(check(line).is_err(), "{line:?}");
        }
    }
}
