//! Forged, replayed, stale and future orders, and orders of somebody who may not trade.

use anyhow::Context as _;
use sealfeed_client::{Client, Event, OrderOutcome, random_nonce};
use sealfeed_wire::{Code, RequestId, ServerMessage, SignedOp, UnixNanos};

use super::market::next;
use super::orders::resting;
use super::setup::Stage;
use super::steps::Steps;
use crate::clock::Clock;
use crate::types::TimeArithmetic as _;

const TEN_SECONDS_NS: u64 = 10_000_000_000;

pub(super) async fn attack(stage: &Stage, steps: &mut Steps) -> anyhow::Result<()> {
    let bob = stage.connect("bob").await?;
    let now = || Clock::System.now();

    let forged = signed(&bob, "forged", now())?;
    let answer = ask(&bob, flip_mac(&forged)?).await?;
    steps.equal("a forged order: one digit of the MAC changed", Code::OrdMacInvalid.as_str(), answer);

    let original = signed(&bob, "original", now())?;
    steps.equal(
        "an honest order, recorded by an eavesdropper",
        "accepted",
        ask(&bob, original.clone()).await?,
    );
    let answer = ask(&bob, original.clone()).await?;
    steps.equal("the same bytes again: a replay", Code::OrdNonceReplayed.as_str(), answer);

    let second = stage.connect("bob").await?;
    let answer = ask(&second, original).await?;
    steps.equal("the same bytes on another connection", Code::OrdMacInvalid.as_str(), answer);
    second.logout().await?;

    let stale = signed(&bob, "stale", UnixNanos(now().0.saturating_sub(TEN_SECONDS_NS)))?;
    let answer = ask(&bob, stale).await?;
    steps.equal("an order signed ten seconds ago", Code::OrdTimestampStale.as_str(), answer);

    let future = signed(&bob, "future", now().plus_ns(TEN_SECONDS_NS))?;
    let answer = ask(&bob, future).await?;
    steps.equal("an order signed ten seconds ahead", Code::OrdTimestampFuture.as_str(), answer);
    bob.logout().await?;

    let alice = stage.connect("alice").await?;
    let answer = match alice.order_new(&resting("viewer-1")?).await? {
        OrderOutcome::Rejected(refusal) => refusal.code.to_string(),
        _ => "no refusal".to_owned(),
    };
    steps.equal("alice, a viewer, sends an order", Code::OrdNotEntitled.as_str(), answer);
    alice.logout().await?;
    Ok(())
}

/// A signed order as the bytes that would be sent.
fn signed(client: &Client, name: &str, ts: UnixNanos) -> anyhow::Result<String> {
    let signer = client.signer().context("bob has no order key")?;
    let id = RequestId::text(name).context("a request id")?;
    let body = resting(name)?.encode();
    signer.sign(Some(id), SignedOp::OrderNew, ts, random_nonce()?, &body).context("the order is not signed")
}

/// Another last digit of the MAC.
fn flip_mac(message: &str) -> anyhow::Result<String> {
    let key = "\"mac\":\"";
    let end = message.find(key).context("the message has no MAC")? + key.len() + 63;
    let other = if message.as_bytes().get(end) == Some(&b'0') { "1" } else { "0" };
    let mut forged = message.to_owned();
    forged.replace_range(end..=end, other);
    Ok(forged)
}

/// Sends bytes and waits for what comes of them: `accepted`, or the code.
async fn ask(client: &Client, message: String) -> anyhow::Result<String> {
    client.send_raw(message).await?;
    loop {
        if let Event::Reply(reply) = next(client).await? {
            return Ok(match *reply {
                ServerMessage::Order(_) => "accepted".to_owned(),
                ServerMessage::Error(refusal) => refusal.code.to_string(),
                other => format!("{other:?}"),
            });
        }
    }
}
