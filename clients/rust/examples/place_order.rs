//! Places one limit order and says what became of it.
//!
//! `cargo run -p sealfeed-client --example place_order -- context.toml ESH4 buy 1 4783.25 my-order-1`

use std::error::Error;
use std::io::Write;

use sealfeed_client::wire::{OrderNew, OrderType, Scaled, TimeInForce};
use sealfeed_client::{Client, Context, OrderOutcome};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [context, symbol, side, quantity, price, cl_ord_id] = arguments.as_slice() else {
        return Err("CONTEXT SYMBOL buy|sell QTY PRICE ID".into());
    };
    let order = OrderNew {
        cl_ord_id: cl_ord_id.parse()?,
        symbol: symbol.parse()?,
        side: side.parse()?,
        order_type: OrderType::Limit,
        quantity: Scaled::parse(quantity)?,
        price: Some(Scaled::parse(price)?),
        time_in_force: TimeInForce::Day,
        post_only: false,
        reduce_only: false,
        stp: None,
        deadline: None,
    };
    let client = Client::connect(&Context::load(context)?).await?;
    let said = match client.order_new(&order).await? {
        OrderOutcome::Accepted { order_id, receipt, .. } => format!("accepted as {order_id:?}: {receipt:?}"),
        OrderOutcome::Rejected(refusal) => format!("rejected: {} {}", refusal.code, refusal.message),
        // Never a new order for it: ask, or send the same bytes again with `client.resend(&order)`.
        OrderOutcome::Unknown { order, cause } => format!("{} is unknown: {cause}", order.cl_ord_id()),
    };
    writeln!(std::io::stdout(), "{said}")?;
    client.close().await;
    Ok(())
}
