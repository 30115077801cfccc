//! `sealfeed order`: places, changes, cancels and looks up orders, one at a time, signed for this connection.
//!
//! A command sends at most one signed message and never a second by itself. Where the outcome stays unknown it
//! says so (exit code 6) and how to find out; the same command with the same `--id` trades nothing twice.

mod arguments;
mod wait;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use sealfeed_client::{Client, OrderOutcome, PreparedOrder};
use sealfeed_wire::reply::{OrderStatus, Receipt};
use sealfeed_wire::{ClientOrderId, MassCancelScope, OrderCancel, OrderDeadMan, OrderMassCancel, SignedOp};
use serde_json::{Value, json};

use super::context::{EXIT_ORDER_REJECTED, EXIT_ORDER_UNKNOWN, Problem, Target, refusal_exit};
use super::plain::plain;
use super::signing::{Output, SigningArgs, dry_run, print};
pub(super) use arguments::OrderArgs;
use arguments::{Command, DeadManArgs, StatusArgs, own_id};

pub(super) fn run(arguments: OrderArgs) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.context("cannot start the runtime")?;
    let outcome = runtime.block_on(async {
        match arguments.command {
            Command::New(arguments) => {
                let order = arguments.order()?;
                let follow = arguments.wait.of(order.cl_ord_id);
                submit(&(&order).into(), follow, &arguments.common.signing).await
            }
            Command::Cancel(arguments) => {
                let cl_ord_id = own_id(arguments.common.id)?;
                let cancel = OrderCancel { cl_ord_id, orig_cl_ord_id: arguments.orig_id };
                submit(&(&cancel).into(), None, &arguments.common.signing).await
            }
            Command::Replace(arguments) => {
                let replace = arguments.replace()?;
                let follow = arguments.wait.of(replace.orig_cl_ord_id);
                submit(&(&replace).into(), follow, &arguments.common.signing).await
            }
            Command::MassCancel(arguments) => {
                let cancel = OrderMassCancel {
                    cl_ord_id: own_id(arguments.common.id)?,
                    symbol: arguments.symbol,
                    side: arguments.side,
                    // A session of this command has no orders.
                    scope: MassCancelScope::Principal,
                };
                submit(&(&cancel).into(), None, &arguments.common.signing).await
            }
            Command::DeadMan(arguments) => dead_man(&arguments).await,
            Command::Status(arguments) => status(&arguments).await,
        }
    });
    Ok(outcome.unwrap_or_else(|problem| problem.tell()))
}

async fn submit(
    order: &PreparedOrder,
    follow: Option<(ClientOrderId, Duration)>,
    arguments: &SigningArgs,
) -> Result<ExitCode, Problem> {
    let target = arguments.target()?;
    let client = target.connect().await?;
    let outcome = if arguments.dry_run {
        dry_run(&client, order.op(), order.body(), arguments.output)
    } else {
        send(&client, order, follow, arguments.output, &target).await
    };
    client.close().await;
    outcome.map_err(|problem| problem.at(target.place()))
}

async fn send(
    client: &Client,
    order: &PreparedOrder,
    follow: Option<(ClientOrderId, Duration)>,
    output: Output,
    target: &Target,
) -> Result<ExitCode, Problem> {
    if follow.is_some() {
        wait::subscribe(client).await?;
    }
    // Told before anything is sent: whatever happens now, the order can be asked for.
    let principal = plain(&client.welcome().principal);
    anstream::eprintln!("sealfeed: {} {} as {principal}", order.op(), order.cl_ord_id());
    let outcome = client.resend(order).await.map_err(|error| Problem::of_request(&error))?;
    let code = report(&outcome, output, target)?;
    match follow {
        Some((order, timeout)) => wait::follow(client, order, timeout, output).await,
        None => Ok(code),
    }
}

async fn dead_man(arguments: &DeadManArgs) -> Result<ExitCode, Problem> {
    let (signing, OrderDeadMan { timeout_ms }) = (&arguments.signing, arguments.timeout);
    let (op, body) = (SignedOp::OrderDeadMan, arguments.timeout.encode());
    let target = signing.target()?;
    let client = target.connect().await?;
    let outcome = if signing.dry_run {
        dry_run(&client, op, &body, signing.output)
    } else {
        match client.signed_request(op, &body).await {
            Err(error) => Err(Problem::of_request(&error)),
            Ok(()) if signing.output.is_json() => {
                let line = json!({"outcome": "done", "op": op, "timeout_ms": timeout_ms});
                print(&line.to_string()).map(|()| ExitCode::SUCCESS)
            }
            Ok(()) if timeout_ms == 0 => print("the dead-man timer is off").map(|()| ExitCode::SUCCESS),
            Ok(()) => {
                let text = format!("all orders are cancelled in {timeout_ms} ms, unless this comes again");
                print(&text).map(|()| ExitCode::SUCCESS)
            }
        }
    };
    client.close().await;
    outcome.map_err(|problem| problem.at(target.place()))
}

fn report(outcome: &OrderOutcome, output: Output, target: &Target) -> Result<ExitCode, Problem> {
    match outcome {
        OrderOutcome::Accepted { cl_ord_id, order_id, canceled, receipt } => {
            let order_id = order_id.as_ref().map(ToString::to_string);
            if output.is_json() {
                let mut line = json!({
                    "outcome": "accepted", "cl_ord_id": cl_ord_id, "order_id": order_id, "receipt": receipt,
                });
                if let Some(canceled) = canceled {
                    line["canceled"] = (*canceled).into();
                }
                print(&line.to_string())?;
            } else {
                let what = match (canceled, &order_id) {
                    (Some(canceled), _) => format!("{canceled} orders cancelled"),
                    (None, Some(order_id)) => format!("order {order_id}"),
                    (None, None) => "order none".to_owned(),
                };
                print(&format!("accepted  {cl_ord_id}  {what}\n{}", receipt_line(receipt.as_ref())))?;
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
