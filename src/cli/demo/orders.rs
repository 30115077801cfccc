//! Bob places, trades and cancels signed orders.

use anyhow::Context as _;
use sealfeed_client::{Client, Event, OrderOutcome, subscription};
use sealfeed_wire::market::ExecKind;
use sealfeed_wire::reply::Receipt;
use sealfeed_wire::{
    Channel, ClientOrderId, OrderCancel, OrderNew, OrderType, Price, Quantity, Scaled, Side, Symbol, Symbols,
    TimeInForce,
};

use super::market::next;
use super::setup::{SYMBOL, Stage};
use super::steps::Steps;

/// A limit order far below the market, so that it rests.
pub(super) fn resting(name: &str) -> anyhow::Result<OrderNew> {
    Ok(OrderNew {
        cl_ord_id: ClientOrderId::new(name).context("a client order id")?,
        symbol: Symbol::new(SYMBOL).context("the symbol")?,
        side: Side::Buy,
        order_type: OrderType::Limit,
        quantity: Scaled::<Quantity>::parse("5").context("a quantity")?,
        price: Some(Scaled::<Price>::parse("1.00").context("a price")?),
        time_in_force: TimeInForce::Day,
        post_only: false,
        reduce_only: false,
        stp: None,
        deadline: None,
    })
}

/// Places, cancels, and buys at the market; returns the receipts.
pub(super) async fn trade(stage: &Stage, steps: &mut Steps) -> anyhow::Result<Vec<Receipt>> {
    let client = stage.connect("bob").await?;
    let mut reports = subscription(Channel::Orders, []);
    reports.symbols = Symbols::All;
    client.subscribe(reports).await?;
    let mut receipts = Vec::new();

    let placed = accepted(client.order_new(&resting("demo-1")?).await?, &mut receipts);
    steps.step("bob (trader) places a signed order", "accepted, with a receipt of the sealed log", &placed);
    steps.equal("execution report", "new", report(&client).await?);

    let cancel = OrderCancel {
        cl_ord_id: ClientOrderId::new("demo-2").context("a client order id")?,
        orig_cl_ord_id: ClientOrderId::new("demo-1").context("a client order id")?,
    };
    let canceled = accepted(client.order_cancel(&cancel).await?, &mut receipts);
    steps.step("bob cancels it", "accepted, with a receipt of the sealed log", &canceled);
    steps.equal("execution report", "canceled", report(&client).await?);

    let market = OrderNew {
        order_type: OrderType::Market,
        price: None,
        time_in_force: TimeInForce::Ioc,
        quantity: Scaled::<Quantity>::parse("1").context("a quantity")?,
        ..resting("demo-3")?
    };
    let bought = accepted(client.order_new(&market).await?, &mut receipts);
    steps.step("bob buys at the market", "accepted, with a receipt of the sealed log", &bought);
    let (first, second) = (report(&client).await?, report(&client).await?);
    steps.equal("execution reports", "new, fill", format!("{first}, {second}"));
    client.logout().await?;
    Ok(receipts)
}

fn accepted(outcome: OrderOutcome, receipts: &mut Vec<Receipt>) -> Result<String, String> {
    match outcome {
        OrderOutcome::Accepted { receipt: Some(receipt), .. } => {
            let hash = receipt.hash.to_string();
            let shown = format!("accepted, entry {} with hash {}...", receipt.seq, &hash[..16]);
            receipts.push(receipt);
            Ok(shown)
        }
        OrderOutcome::Accepted { receipt: None, .. } => Err("accepted without a receipt".to_owned()),
        OrderOutcome::Rejected(refusal) => Err(refusal.code.to_string()),
        OrderOutcome::Unknown { cause, .. } => Err(format!("unknown: {cause:?}")),
    }
}

/// The next execution report in one word.
async fn report(client: &Client) -> anyhow::Result<&'static str> {
    loop {
        if let Event::Execution(execution) = next(client).await? {
            return Ok(match execution.exec {
                ExecKind::New => "new",
                ExecKind::Fill => "fill",
                ExecKind::Canceled => "canceled",
                _ => "another report",
            });
        }
    }
}
