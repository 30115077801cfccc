//! `sealfeed order`: places, cancels and looks up orders, one at a time, signed for this connection.
//!
//! A command sends at most one signed message and never a second by itself. Where the outcome stays unknown it
//! says so (exit code 6) and how to find out; the same command with the same `--id` trades nothing twice.

use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args, Subcommand, ValueEnum};
use sealfeed_client::{Client, OrderOutcome, PreparedOrder, clock, random_nonce};
use sealfeed_wire::reply::{OrderStatus, Receipt};
use sealfeed_wire::signing::signing_string;
use sealfeed_wire::{
    ClientOrderId, OrderCancel, OrderNew, OrderType, Price, Quantity, Scaled, Side, Symbol, TimeInForce, hex,
};
use serde_json::{Value, json};

use super::context::{
    ConnectArgs, EXIT_ORDER_REJECTED, EXIT_ORDER_UNKNOWN, EXIT_USAGE, Problem, Target, refusal_exit,
};

/// Arguments of `order`.
#[derive(Debug, Args)]
pub(super) struct OrderArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Place an order.
    New(NewArgs),
    /// Cancel an order.
    Cancel(CancelArgs),
    /// Say what became of an order, or of a cancel.
    Status(StatusArgs),
}

/// Arguments of `order new`.
#[derive(Debug, Args)]
struct NewArgs {
    /// What to trade.
    symbol: Symbol,
    /// buy or sell.
    side: Side,
    /// How much, exactly: digits and at most one point.
    #[arg(value_parser = parse_quantity)]
    qty: Scaled<Quantity>,
    /// At what price or better; none for a market order.
    #[arg(value_parser = parse_price, allow_negative_numbers = true)]
    price: Option<Scaled<Price>>,
    /// limit or market.
    #[arg(long = "type", default_value = "limit", value_name = "TYPE")]
    order_type: OrderType,
    /// day, gtc or ioc [default: day for a limit order, ioc for a market order].
    #[arg(long)]
    tif: Option<TimeInForce>,
    #[command(flatten)]
    common: SignedArgs,
}

/// Arguments of `order cancel`.
#[derive(Debug, Args)]
struct CancelArgs {
    /// Your id of the order to cancel.
    orig_id: ClientOrderId,
    #[command(flatten)]
    common: SignedArgs,
}

/// Arguments of `order status`.
#[derive(Debug, Args)]
struct StatusArgs {
    /// Your id of the order or cancel.
    id: ClientOrderId,
    /// How to print; a table on a terminal, one JSON line in a pipe.
    #[arg(long, value_enum, default_value = "auto")]
    output: Output,
    #[command(flatten)]
    connection: ConnectArgs,
}

/// What the signed commands share.
#[derive(Debug, Args)]
struct SignedArgs {
    /// Your own id of this request: 1 to 36 of A-Z a-z 0-9 . _ : -, never used today [default: a random one].
    #[arg(long, value_name = "CL_ORD_ID")]
    id: Option<ClientOrderId>,
    /// Connect and sign, print the exact bytes signed and the MAC, and send nothing.
    #[arg(long)]
    dry_run: bool,
    /// How to print; a table on a terminal, one JSON line in a pipe.
    #[arg(long, value_enum, default_value = "auto")]
    output: Output,
    #[command(flatten)]
    connection: ConnectArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Output {
    Auto,
    Table,
    Json,
}

impl Output {
    fn is_json(self) -> bool {
        match self {
            Self::Auto => !std::io::stdout().is_terminal(),
            Self::Table => false,
            Self::Json => true,
        }
    }
}

fn parse_quantity(text: &str) -> Result<Scaled<Quantity>, String> {
    let quantity = Scaled::<Quantity>::parse(text).map_err(|error| error.to_string())?;
    if quantity.value.is_zero() { Err("the quantity is zero".to_owned()) } else { Ok(quantity) }
}

fn parse_price(text: &str) -> Result<Scaled<Price>, String> {
    Scaled::<Price>::parse(text).map_err(|error| error.to_string())
}

pub(super) fn run(arguments: OrderArgs) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.context("cannot start the runtime")?;
    let outcome = runtime.block_on(async {
        match arguments.command {
            Command::New(arguments) => {
                let order = arguments.order()?;
                submit(&(&order).into(), &arguments.common).await
            }
            Command::Cancel(arguments) => {
                let cl_ord_id = own_id(arguments.common.id)?;
                let cancel = OrderCancel { cl_ord_id, orig_cl_ord_id: arguments.orig_id };
                submit(&(&cancel).into(), &arguments.common).await
            }
            Command::Status(arguments) => status(&arguments).await,
        }
    });
    Ok(outcome.unwrap_or_else(|problem| problem.tell()))
}

impl NewArgs {
    fn order(&self) -> Result<OrderNew, Problem> {
        let wrong = match (self.order_type, self.price) {
            (OrderType::Limit, None) => {
                Some(("a limit order needs a price", "Give a price, or --type market."))
            }
            (OrderType::Market, Some(_)) => {
                Some(("a market order has no price", "Leave the price out, or --type limit."))
            }
            (OrderType::Limit, Some(_)) | (OrderType::Market, None) => None,
        };
        if let Some((what, fix)) = wrong {
            return Err(Problem::new(what).at("the arguments").fix(fix).exit(EXIT_USAGE));
        }
        let default_tif = match self.order_type {
            OrderType::Limit => TimeInForce::Day,
            OrderType::Market => TimeInForce::Ioc,
        };
        Ok(OrderNew {
            cl_ord_id: own_id(self.common.id)?,
            symbol: self.symbol,
            side: self.side,
            order_type: self.order_type,
            quantity: self.qty,
            price: self.price,
            time_in_force: self.tif.unwrap_or(default_tif),
            post_only: false,
            reduce_only: false,
            stp: None,
            deadline: None,
        })
    }
}

/// The id that was given, or a random one.
fn own_id(given: Option<ClientOrderId>) -> Result<ClientOrderId, Problem> {
    if let Some(id) = given {
        return Ok(id);
    }
    let nonce = random_nonce().map_err(|error| Problem::of_request(&error))?;
    let text = format!("cli-{}", hex::encode(&nonce.0[..8]));
    ClientOrderId::new(&text).map_err(|error| Problem::of_error(&error))
}

async fn submit(order: &PreparedOrder, arguments: &SignedArgs) -> Result<ExitCode, Problem> {
    let target = arguments.connection.target()?;
    let client = target.connect().await?;
    if arguments.dry_run {
        let shown = dry_run(&client, order, arguments.output);
        client.close().await;
        return shown.map_err(|problem| problem.at(target.place()));
    }
    // Told before anything is sent: whatever happens now, the order can be asked for.
    anstream::eprintln!("sealfeed: {} {} as {}", order.op(), order.cl_ord_id(), client.welcome().principal);
    let outcome = client.resend(order).await;
    let code = match outcome {
        Ok(outcome) => report(&outcome, arguments.output, &target),
        Err(error) => Err(Problem::of_request(&error).at(target.place())),
    };
    client.close().await;
    code
}

fn report(outcome: &OrderOutcome, output: Output, target: &Target) -> Result<ExitCode, Problem> {
    match outcome {
        OrderOutcome::Accepted { cl_ord_id, order_id, receipt } => {
            let order_id = order_id.as_ref().map(ToString::to_string);
            if output.is_json() {
                print(&json!({"outcome": "accepted", "cl_ord_id": cl_ord_id, "order_id": order_id, "receipt": receipt}).to_string())?;
            } else {
                let order_id = order_id.as_deref().unwrap_or("none");
                print(&format!(
                    "accepted  {cl_ord_id}  order {order_id}\n{}",
                    receipt_line(receipt.as_ref())
                ))?;
            }
            Ok(ExitCode::SUCCESS)
        }
        OrderOutcome::Rejected(refusal) => {
            if output.is_json() {
                let mut line = serde_json::to_value(refusal).unwrap_or(Value::Null);
                line["outcome"] = "rejected".into();
                print(&line.to_string())?;
            }
            let detail = refusal.detail.as_ref().map(|detail| format!(" ({detail})")).unwrap_or_default();
            Err(Problem::new(format!("the order was rejected: {}{detail}", refusal.message))
                .at(target.place())
                .fix(refusal.hint.clone())
                .code(refusal.code.clone())
                .exit(refusal_exit(&refusal.code, EXIT_ORDER_REJECTED)))
        }
        OrderOutcome::Unknown { order, cause } => {
            let id = order.cl_ord_id();
            if output.is_json() {
                print(&json!({"outcome": "unknown", "cl_ord_id": id}).to_string())?;
            }
            let reason = Problem::of_error(cause);
            Err(reason
                .prefixed("the outcome is unknown")
                .at(target.place())
                .fix(format!("Ask `sealfeed order status {id}`, or repeat the same command with --id {id}: it trades nothing twice."))
                .exit(EXIT_ORDER_UNKNOWN))
        }
    }
}

fn dry_run(client: &Client, order: &PreparedOrder, output: Output) -> Result<ExitCode, Problem> {
    let problem = |error| Problem::of_request(&error);
    let signer = client.signer().ok_or(sealfeed_client::RequestError::OrderKeyMissing).map_err(problem)?;
    let (ts, nonce) = (clock::system_time(), random_nonce().map_err(problem)?);
    let (op, body) = (order.op(), order.body());
    let signed = signing_string(client.session(), &ts.to_string(), &nonce.to_string(), op, body);
    let mac = hex::encode(&signer.mac(op, ts, nonce, body));
    let message = signer.sign(None, op, ts, nonce, body);
    if output.is_json() {
        print(&json!({"outcome": "not_sent", "signed": signed, "mac": mac, "message": message}).to_string())?;
    } else {
        let bytes = signed.len();
        print(&format!(
            "signed bytes ({bytes}, no line feed at the end):\n{signed}\n\nmac: {mac}\n\nmessage:\n{message}\n\nnothing was sent"
        ))?;
    }
    Ok(ExitCode::SUCCESS)
}

async fn status(arguments: &StatusArgs) -> Result<ExitCode, Problem> {
    let target = arguments.connection.target()?;
    let client = target.connect().await?;
    let status = client.order_status(arguments.id).await;
    client.close().await;
    let status = status.map_err(|error| Problem::of_request(&error).at(target.place()))?;
    if arguments.output.is_json() {
        print(&serde_json::to_string(&status).unwrap_or_default())?;
    } else {
        print(&status_text(&status))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn status_text(status: &OrderStatus) -> String {
    let state = json!(status.state);
    let number = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    let mut text = format!("{}  {}", status.cl_ord_id, state.as_str().unwrap_or("unknown"));
    if let Some(orig) = &status.orig_cl_ord_id {
        text += &format!("  (a cancel of {orig})");
    }
    if let Some(order_id) = &status.order_id {
        text += &format!("  order {order_id}");
    }
    text += &format!(
        "\nleaves {}  filled {}  average price {}\n",
        number(status.leaves_qty.map(|number| number.to_string())),
        number(status.cum_qty.map(|number| number.to_string())),
        number(status.avg_price.map(|number| number.to_string())),
    );
    if let Some(reason) = &status.reason {
        text += &format!("reason {reason} (sealfeed explain {reason})\n");
    }
    text + &receipt_line(status.receipt.as_ref())
}

fn receipt_line(receipt: Option<&Receipt>) -> String {
    match receipt {
        Some(receipt) => {
            format!("receipt   entry {} of log {}, hash {}", receipt.seq, receipt.log, receipt.hash)
        }
        None => "receipt   none".to_owned(),
    }
}

/// Prints to standard output; a reader who left is no failure.
fn print(text: &str) -> Result<(), Problem> {
    match writeln!(anstream::stdout(), "{text}") {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(Problem::of_error(&error)),
        Ok(()) | Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        order: OrderArgs,
    }

    fn check(line: &str) -> Result<OrderNew, String> {
        let words = std::iter::once("order").chain(line.split(' '));
        let line = Line::try_parse_from(words).map_err(|error| error.to_string())?;
        let Command::New(arguments) = line.order.command else { panic!("not new") };
        arguments.order().map_err(|problem| format!("{problem:?}"))
    }

    #[test]
    fn a_limit_order_keeps_its_numbers_as_typed() {
        let order = check("new ESH4 buy 3.10 -0.25 --id c-1").unwrap();
        assert_eq!(
            order.encode(),
            r#"{"cl_ord_id":"c-1","symbol":"ESH4","side":"buy","type":"limit","qty":"3.10","price":"-0.25","tif":"day"}"#
        );
    }

    #[test]
    fn an_order_without_an_id_gets_a_random_one() {
        let [one, two] = ["new ESH4 sell 1 --type market"; 2].map(|line| check(line).unwrap());
        assert_ne!(one.cl_ord_id, two.cl_ord_id);
        assert_eq!(one.time_in_force, TimeInForce::Ioc);
    }

    #[test]
    fn what_is_no_order_is_refused_before_anything_is_sent() {
        for line in [
            "new ESH4 buy 1",
            "new ESH4 buy 1 2 --type market",
            "new ESH4 buy 0 1",
            "new ESH4 buy -1 1",
            "new ESH4 buy 1e3 1",
            "new ESH4 hold 1 1",
            "new ES*4 buy 1 1",
            "new ESH4 buy 1 1 --id a/b",
            "new ESH4 buy 1 1 --tif never",
        ] {
            assert!(check(line).is_err(), "{line}");
        }
    }
}
