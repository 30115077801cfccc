//! An open session: how far away the server is, how far its clock is from ours, whether market data comes, whether the order key is
//! the right one.

use std::time::Duration;

use sealfeed_client::{Client, ClientConfig, OrderOutcome, clock, clock_offset_ns, random_nonce};
use sealfeed_wire::{ClientOrderId, Code, OrderCancel, Symbol, UnixNanos};
use serde_json::json;
use tokio::time::Instant;

use super::super::context::{
    EXIT_CANNOT_CONNECT, EXIT_ORDER_REJECTED, EXIT_ORDER_UNKNOWN, Problem, refusal_exit,
};
use super::network::milliseconds;
use super::report::{Fault, Report};
use super::session::{Came, Session};

/// Pings that are sent.
const PINGS: usize = 5;
/// How far a signed request may be ahead of the server's clock (`docs/PROTOCOL.md`).
const AHEAD_NS_MAX: u128 = 1_000_000_000;

/// Round trips, and the difference of the clocks by the fastest of them.
pub(super) async fn time(session: &mut Session, report: &mut Report) {
    let mut trips: Vec<(Duration, i128)> = Vec::new();
    for number in 0..PINGS {
        let (began, sent) = (Instant::now(), clock::system_time());
        session.send(json!({"op": "ping", "id": format!("ping-{number}")}).to_string()).await;
        let came = session.reply().await;
        let (trip, received) = (began.elapsed(), clock::system_time());
        let Came::Message(message) = &came else {
            let fix = "The server took the session and then did not answer: ask the operator.";
            let what = format!("instead of a pong came {}", came.words());
            return report.fail("round trip", &Fault::new(what, fix).exit(EXIT_CANNOT_CONNECT));
        };
        let Some(server) = message["ts"].as_str().and_then(|ts| UnixNanos::parse(ts).ok()) else {
            let what = format!("instead of a pong with a time came {}", came.words());
            return report
                .fail("round trip", &Fault::new(what, "Ask the operator for the server's version."));
        };
        trips.push((trip, clock_offset_ns(sent, received, server)));
    }
    trips.sort_unstable();
    let (fastest, offset_ns) = trips[0];
    let [middle, slowest] = [trips[PINGS / 2].0, trips[PINGS - 1].0].map(milliseconds);
    let text = format!("{} fastest, {middle} middle, {slowest} slowest of {PINGS}", milliseconds(fastest));
    report.ok("round trip", text);
    skew(session, offset_ns, fastest / 2, report);
}

fn skew(session: &Session, offset_ns: i128, error: Duration, report: &mut Report) {
    let window_ns = u128::from(session.welcome.order_window_ms) * 1_000_000;
    let size_ns = offset_ns.unsigned_abs();
    let (direction, allowed_ns) =
        if offset_ns > 0 { ("ahead of", AHEAD_NS_MAX) } else { ("behind", window_ns) };
    let nanos = |ns: u128| Duration::from_nanos(u64::try_from(ns).unwrap_or(u64::MAX));
    let (size, allowed) = (milliseconds(nanos(size_ns)), milliseconds(nanos(allowed_ns)));
    let text = format!(
        "this machine is {size} {direction} the server, give or take {}; orders may be {allowed} off",
        milliseconds(error)
    );
    let fix = "Keep both clocks by NTP or PTP (chronyc tracking): signed requests are refused by their time.";
    let certainly_ns = size_ns.saturating_sub(error.as_nanos());
    let code = if offset_ns > 0 { Code::OrdTimestampFuture } else { Code::OrdTimestampStale };
    if certainly_ns > allowed_ns && session.welcome.entitlement.orders.is_some() {
        report.fail("clock skew", &Fault::new(text, fix).code(code));
    } else if certainly_ns > allowed_ns / 2 {
        report.warn("clock skew", text, fix);
    } else {
        report.ok("clock skew", text);
    }
}

/// Subscribes to something that is granted, and waits for its first message.
pub(super) async fn market(session: &mut Session, wanted: Option<&Symbol>, report: &mut Report) {
    const STEP: &str = "market data";
    let grants = &session.welcome.entitlement.channels;
    // State comes at once; of events somebody has to trade first.
    let preferred = ["bbo", "book", "definition", "status", "trades"];
    // Execution reports are private streams, not market data.
    let public = grants.iter().filter(|grant| !matches!(&*grant.channel, "orders" | "drop_copy"));
    let best = public.min_by_key(|grant| {
        preferred.iter().position(|channel| *channel == grant.channel).unwrap_or(preferred.len())
    });
    let Some(grant) = best else {
        return report.skip(STEP, "the entitlement has no market data");
    };
    let symbol = match wanted {
        Some(symbol) => symbol.to_string(),
        None => {
            let named = grant.symbols.iter().find(|symbol| *symbol == "*" || !symbol.contains('*'));
            let Some(symbol) = named else {
                let why = format!(
                    "the entitlement names patterns only ({}); name one with --symbol",
                    grant.symbols.join(" ")
                );
                return report.skip(STEP, why);
            };
            symbol.clone()
        }
    };
    let channel = grant.channel.to_string();
    let request = json!({"op": "subscribe", "id": "market", "channel": channel, "symbols": [symbol]});
    let began = Instant::now();
    session.send(request.to_string()).await;
    let came = session.reply().await;
    let refusal = match &came {
        Came::Message(reply) if reply["type"] == "subscribed" => reply["refused"][&symbol].clone(),
        Came::Message(reply) if reply["type"] == "error" => reply.clone(),
        _ => {
            let what =
                format!("the subscription to {channel} of {symbol} was answered with {}", came.words());
            return report.fail(STEP, &Fault::new(what, "Ask the operator.").exit(EXIT_CANNOT_CONNECT));
        }
    };
    let text = |field: &str| refusal[field].as_str().unwrap_or_default().to_owned();
    if let Some(code) = Code::parse(&text("code")) {
        let what = format!("{channel} of {symbol} was refused: {}", text("message"));
        let exit = refusal_exit(&code.into(), super::super::context::EXIT_FAILED);
        return report.fail(STEP, &Fault::new(what, text("hint")).code(code).exit(exit));
    }
    let what = format!("{channel} of {symbol}");
    match first(session, &channel, began).await {
        First::Data(kind, after) => report.ok(STEP, format!("{what}: the first message ({kind}) after {after}")),
        First::Nothing => report.warn(
            STEP,
            format!("{what}: subscribed, but no message came in time"),
            "It may not be trading now, or its source stalls: ask for another with --symbol, or ask the operator.",
        ),
        First::End(how) => {
            let fix = "The session ended: `sealfeed explain` knows the close code.";
            report.fail(STEP, &Fault::new(format!("{what}: {how}"), fix).exit(EXIT_CANNOT_CONNECT));
        }
    }
}

enum First {
    Data(String, String),
    Nothing,
    End(String),
}

async fn first(session: &mut Session, channel: &str, began: Instant) -> First {
    let deadline = Instant::now() + session.timeout();
    loop {
        match session.next().await {
            Came::Message(message) if message["channel"] == channel && message.get("ts_event").is_some() => {
                let kind = message["type"].as_str().unwrap_or_default().to_owned();
                return First::Data(kind, milliseconds(began.elapsed()));
            }
            Came::Message(_) if Instant::now() < deadline => {}
            Came::Message(_) | Came::Nothing => return First::Nothing,
            came => return First::End(came.words()),
        }
    }
}

/// Proves the order key by the cancel of an order that cannot exist: it is authenticated, its time and nonce are judged, and it does nothing.
pub(super) async fn orders(config: &ClientConfig, report: &mut Report) {
    const STEP: &str = "orders";
    let (client, cancel) = match signed(config).await {
        Ok(ready) => ready,
        Err(problem) => return report.fail(STEP, &(&problem).into()),
    };
    if client.welcome().entitlement.orders.is_none() {
        client.close().await;
        return report.skip(STEP, "the entitlement has no orders");
    }
    let outcome = client.order_cancel(&cancel).await;
    client.close().await;
    match outcome {
        Err(error) => report.fail(STEP, &(&Problem::of_request(&error)).into()),
        Ok(OrderOutcome::Rejected(refusal)) if refusal.code == Code::OrdOrderUnknown => report.ok(
            STEP,
            format!(
                "proof, time and nonce were accepted; the cancel of {}, which does not exist, was refused as it must be ({}). \
                 Nothing was traded; the server's log has one entry of it",
                cancel.orig_cl_ord_id, refusal.code
            ),
        ),
        Ok(OrderOutcome::Rejected(refusal)) => {
            let exit = refusal_exit(&refusal.code, EXIT_ORDER_REJECTED);
            let fix = if refusal.code == Code::OrdMacInvalid {
                "Name the order key that was made for this very certificate: a renewed certificate has a new one.".to_owned()
            } else {
                refusal.hint.to_string()
            };
            let what = format!("the proof was not accepted: {}", refusal.message);
            report.fail(STEP, &Fault::new(what, fix).code(refusal.code).exit(exit));
        }
        Ok(other) => {
            let what = format!("the cancel of an order that does not exist was answered with {other:?}");
            report.fail(STEP, &Fault::new(what, "Ask the operator.").exit(EXIT_ORDER_UNKNOWN));
        }
    }
}

async fn signed(config: &ClientConfig) -> Result<(Client, OrderCancel), Problem> {
    let client = Client::connect_with(config).await.map_err(|error| Problem::of_connect(&error))?;
    Ok((client, unknown_order()?))
}

/// A cancel of an order that nobody has placed: both names are fresh random numbers.
pub(super) fn unknown_order() -> Result<OrderCancel, Problem> {
    let name = || {
        let nonce = random_nonce().map_err(|error| Problem::of_request(&error))?;
        let text = format!("dr-{nonce}");
        ClientOrderId::new(&text).map_err(|_| Problem::new("no name for an order could be made"))
    };
    Ok(OrderCancel { cl_ord_id: name()?, orig_cl_ord_id: name()? })
}
