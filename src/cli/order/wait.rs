//! `--wait fill`: follows an order on the channel `orders` until it is finished.
//!
//! The channel is subscribed before the order is sent, so that no report can be missed.

use std::process::ExitCode;
use std::time::Duration;

use sealfeed_client::{Client, Event};
use sealfeed_wire::market::{Exec, ExecKind};
use sealfeed_wire::request::{Subscribe, Symbols};
use sealfeed_wire::{Channel, ClientOrderId};
use serde_json::json;

use super::super::context::{EXIT_FAILED, EXIT_ORDER_UNKNOWN, Problem};
use super::super::signing::{Output, print};

/// Begins to follow all orders of the principal.
pub(super) async fn subscribe(client: &Client) -> Result<(), Problem> {
    let request = Subscribe {
        channel: Channel::Orders,
        symbols: Symbols::All,
        depth: None,
        conflate_ms: None,
        on_slow: None,
        resume: Vec::new(),
    };
    let reply = client.subscribe(request).await.map_err(|error| Problem::of_request(&error))?;
    match reply.refused.into_values().next() {
        None => Ok(()),
        Some(refused) => {
            Err(Problem::new(refused.message).fix(refused.hint).code(refused.code).exit(EXIT_FAILED))
        }
    }
}

/// Prints the reports of an accepted order until the last, `timeout` at most.
pub(super) async fn follow(
    client: &Client,
    order: ClientOrderId,
    timeout: Duration,
    output: Output,
) -> Result<ExitCode, Problem> {
    let hint = format!("Ask `sealfeed order status {order}`.");
    let unknown = |problem: Problem| problem.fix(hint.clone()).exit(EXIT_ORDER_UNKNOWN);
    let following = async {
        loop {
            match client.next_event().await {
                Ok(Event::Execution(exec)) if exec.cl_ord_id == order => {
                    print(&line(&exec, output))?;
                    if let Some(code) = finished(&exec) {
                        return Ok(code);
                    }
                }
                Ok(Event::Gap { .. }) => {
                    return Err(unknown(Problem::new("reports of the order did not come")));
                }
                Ok(_) => {}
                Err(closed) => return Err(unknown(Problem::of_close(&closed))),
            }
        }
    };
    match tokio::time::timeout(timeout, following).await {
        Ok(outcome) => outcome,
        Err(_) => {
            let what =
                format!("the order was accepted, and was not finished within {} ms", timeout.as_millis());
            Err(unknown(Problem::new(what)))
        }
    }
}

/// The exit code, if this report is the last: 0 for a whole fill.
fn finished(exec: &Exec) -> Option<ExitCode> {
    match exec.exec {
        ExecKind::Fill => Some(ExitCode::SUCCESS),
        ExecKind::Canceled | ExecKind::Rejected | ExecKind::Expired => Some(ExitCode::from(EXIT_FAILED)),
        ExecKind::New | ExecKind::PartialFill | ExecKind::Replaced | ExecKind::Unknown => None,
    }
}

fn line(exec: &Exec, output: Output) -> String {
    let average = exec.average_price.map(|price| price.to_string());
    let reason = exec.cancel_reason.map(sealfeed_wire::market::CancelReason::as_str);
    if output.is_json() {
        let (kind, code) = (exec.exec.as_str(), &exec.reason);
        return json!({
            "exec": kind, "cl_ord_id": exec.cl_ord_id, "order_id": exec.order_id, "leaves_qty": exec.leaves_quantity,
            "cum_qty": exec.cumulative_quantity, "avg_price": average, "reason": code, "cancel_reason": reason,
        })
        .to_string();
    }
    let mut text = format!(
        "{}  {}  filled {}  open {}  average price {}",
        exec.exec.as_str(),
        exec.cl_ord_id,
        exec.cumulative_quantity,
        exec.leaves_quantity,
        average.as_deref().unwrap_or("-"),
    );
    if let Some(reason) = reason {
        text += &format!("  ({reason})");
    }
    text
}
