//! The door: whether the server takes our certificate, the upgrade, and `welcome`.

use std::io;

use rustls::AlertDescription;
use sealfeed_client::ClientIdentity;
use sealfeed_wire::{AnyCode, Code};

use super::super::alert;
use super::super::context::{EXIT_CANNOT_CONNECT, refusal_exit};
use super::endpoint::{Answer, Asked, Endpoint, Tls, alert_in};
use super::network::unreached;
use super::report::{Fault, Report};
use super::session::Session;

/// Asks for the upgrade and reads `welcome`.
pub(super) async fn enter(
    endpoint: &Endpoint,
    mut tls: Tls,
    identity: Option<&ClientIdentity>,
    report: &mut Report,
) -> Option<Session> {
    let answer = match endpoint.upgrade(&mut tls, &Asked::default()).await {
        Ok(answer) => answer,
        Err(error) => {
            not_taken(endpoint, identity, &error, report).await;
            return None;
        }
    };
    report.ok("client certificate", "accepted by the server");
    if !answer.is_accepted {
        report.fail("upgrade", &not_upgraded(endpoint, &answer));
        return None;
    }
    report.ok("upgrade", "101, bound to this request");
    match Session::begin(tls, answer.rest, endpoint).await {
        Ok(session) => {
            report.ok("welcome", summary(&session));
            Some(session)
        }
        Err(error) => {
            let fix = "Ask the operator; if the session is not bound to this connection, something takes TLS apart: do not trade.";
            report.fail("welcome", &unreached(error.words(), fix));
            None
        }
    }
}

/// Who we are and what we may do, in one line.
fn summary(session: &Session) -> String {
    let welcome = &session.welcome;
    let channels: Vec<String> = welcome
        .entitlement
        .channels
        .iter()
        .map(|grant| format!("{} of {}", grant.channel, grant.symbols.join(" ")))
        .collect();
    let channels = if channels.is_empty() { "none".to_owned() } else { channels.join(", ") };
    let orders = match &welcome.entitlement.orders {
        Some(orders) => format!("orders in {}", orders.symbols.join(" ")),
        None => "no orders".to_owned(),
    };
    let limits = &welcome.limits;
    let rates: Vec<String> = limits
        .rates
        .iter()
        .map(|rate| format!("{} {} in {} ms", rate.limit, rate.name, rate.interval_ms))
        .collect();
    format!(
        "{} on {}, session {}; market data: {channels}; {orders}; limits: {}, {} bytes a message, {} sessions",
        welcome.principal,
        welcome.server,
        session.id,
        rates.join(", "),
        limits.message_bytes_max,
        limits.sessions_max,
    )
}

/// The server ended the connection in place of an answer: in TLS 1.3 that is how it refuses a certificate.
async fn not_taken(
    endpoint: &Endpoint,
    identity: Option<&ClientIdentity>,
    error: &io::Error,
    report: &mut Report,
) {
    // What we wrote may have cost us the alert: a reset throws away what was not read. Whoever writes nothing reads it.
    let alert = match alert_in(error) {
        Some(alert) => Some(alert),
        None => endpoint.raw_probe(identity).await.err().as_ref().and_then(alert_in),
    };
    let fault = match alert {
        Some(alert) => refused(alert),
        None if error.kind() == io::ErrorKind::TimedOut => unreached(
            format!("no answer to the upgrade within {:?}", endpoint.timeout),
            "The server hangs or is overloaded; ask the operator.",
        ),
        None => unreached(
            format!("the server ended the connection without a word: {error}"),
            "Ask the operator: the server's log names this address and the reason. A proxy in between may have cut it off.",
        ),
    };
    report.fail("client certificate", &fault);
}

/// A refusal by alert, in words.
pub(super) fn refused(received: AlertDescription) -> Fault {
    match alert::of(received) {
        Some(alert) => {
            let fault = unreached(
                format!("refused by the alert {} ({}): {}", alert.name, alert.number, alert.meaning),
                alert.fix,
            );
            match alert.codes.first() {
                Some(code) => fault.code(*code),
                None => fault,
            }
        }
        None => unreached(
            format!("refused by the alert {received:?}"),
            "Ask the operator: the server's log names this address and the reason.",
        ),
    }
}

fn not_upgraded(endpoint: &Endpoint, answer: &Answer) -> Fault {
    let status = answer.status;
    let code = Some(answer.text("code")).filter(|code| !code.is_empty());
    let Some(code) = code.map(|code| Code::parse(&code).map_or(AnyCode::Other(code.into()), AnyCode::from))
    else {
        let what = match status {
            101 => "the answer to the upgrade is a 101 to another request".to_owned(),
            _ => format!("the upgrade was answered with HTTP {status} and nothing that a feed says"),
        };
        let fix = format!(
            "What answers {} is not the feed: check the path, and what stands in between.",
            endpoint.url
        );
        return unreached(what, fix);
    };
    let wait = answer.header("retry-after").map(|seconds| format!("; again after {seconds} s"));
    let what = format!("HTTP {status}: {}{}", answer.text("message"), wait.unwrap_or_default());
    let exit = refusal_exit(&code, EXIT_CANNOT_CONNECT);
    Fault::new(what, answer.text("hint")).code(code).exit(exit)
}
