//! Checks of an open session: size, type and form of messages, frames of RFC 6455, floods.
//!
//! The last three (fragments, malformed messages, a flood) end a session for repeated faults. As many such ends as the server bears
//! (three in ten minutes unless configured) ban the principal for a while: nothing may come behind them.

use std::time::Duration;

use serde_json::json;

use super::super::session::{Came as Received, NoSession, Session};
use super::{Came, Examiner, Who};

/// Frames of one message in the flood of fragments.
const FRAGMENTS: usize = 5_000;
/// A message rate above this is not reached by a polite check.
const RATE_MAX: u32 = 20_000;
/// Messages written at once in the flood.
const CHUNK: usize = 100;

/// What is sent.
enum Sent {
    Text(String),
    Binary(Vec<u8>),
    Raw(Vec<u8>),
}

/// Checks whose faults count towards nothing.
pub(super) async fn check(examiner: &mut Examiner<'_>) {
    for (name, sent, code) in [
        ("S7 binary frame", Sent::Binary(vec![0; 16]), 1003),
        ("S7 unmasked frame", Sent::Raw(frame(0x81, None, b"{}")), 1002),
        ("S7 reserved bits", Sent::Raw(frame(0xf1, Some([1, 2, 3, 4]), b"{}")), 1002),
        ("S7 control frame", Sent::Raw(frame(0x89, Some([1, 2, 3, 4]), &[b'x'; 126])), 1002),
        ("S7 invalid UTF-8", Sent::Raw(frame(0x81, Some([1, 2, 3, 4]), b"{\"op\":\"\xff\xfe\"}")), 1007),
    ] {
        closed(examiner, name, sent, code).await;
    }
    oversized(examiner).await;
    answered(examiner, "S7 unknown op", &json!({"op": "doctor.unknown", "id": "c"}).to_string()).await;
    answered(examiner, "S7 unknown field", &json!({"op": "ping", "id": "c", "doctor": 1}).to_string()).await;
    answered(examiner, "S7 malformed", "{\"op\":").await;
}

/// Checks whose faults may ban.
pub(super) async fn check_what_bans(examiner: &mut Examiner<'_>) {
    fragments(examiner).await;
    malformed(examiner).await;
    flood(examiner).await;
    ban(examiner).await;
}

/// One message, and the close code that it must earn.
async fn closed(examiner: &mut Examiner<'_>, name: &'static str, sent: Sent, code: u16) {
    let (came, who) = match examiner.session().await {
        Err(came) => (came, None),
        Ok(mut session) => {
            match sent {
                Sent::Text(text) => session.send(text).await,
                Sent::Binary(bytes) => session.send_binary(bytes).await,
                Sent::Raw(bytes) => session.send_raw(&bytes).await,
            }
            let ended = session.end().await;
            let came = match &ended {
                Received::Closed(came, _) if *came == code => Came::Pass(ended.words()),
                _ => Came::Fail(ended.words()),
            };
            (came, Some(Who::Session(session.id.to_string())))
        }
    };
    examiner.note(name, &format!("closed with {code}"), came, who, &["reject"]);
}

async fn oversized(examiner: &mut Examiner<'_>) {
    // 20 KB, as the guides have it; more where the server takes that much.
    let bytes = match examiner.session().await {
        Err(came) => return examiner.note("S7 oversized message", "closed with 1009", came, None, &[]),
        Ok(session) => {
            let bytes_max = usize::try_from(session.welcome.limits.message_bytes_max).unwrap_or(usize::MAX);
            session.close().await;
            bytes_max.saturating_add(1).max(20 * 1024)
        }
    };
    if bytes > 16 << 20 {
        return examiner.skip("S7 oversized message", "the server takes messages of more than 16 MiB");
    }
    let text = json!({"op": "ping", "id": "c", "echo": "x".repeat(bytes)}).to_string();
    closed(examiner, "S7 oversized message", Sent::Text(text), 1009).await;
}

/// One message, and a coded error in answer; the session goes on.
async fn answered(examiner: &mut Examiner<'_>, name: &'static str, text: &str) {
    let (came, who) = match examiner.session().await {
        Err(came) => (came, None),
        Ok(mut session) => {
            session.send(text).await;
            let reply = session.reply().await;
            session.send(json!({"op": "ping", "id": "after"}).to_string()).await;
            let after = session.reply().await;
            let goes_on = matches!(&after, Received::Message(message) if message["type"] == "pong");
            let came = if !reply.error_code().starts_with("SF-") {
                Came::Fail(reply.words())
            } else if goes_on {
                Came::Pass(format!("{}, and the session goes on", reply.words()))
            } else {
                Came::Fail(format!("{}, and then {}", reply.words(), after.words()))
            };
            let id = session.id.to_string();
            session.close().await;
            (came, Some(Who::Session(id)))
        }
    };
    examiner.note(name, "an error with a code", came, who, &["reject"]);
}

async fn fragments(examiner: &mut Examiner<'_>) {
    let (name, expected) = ("S10 fragments", "closed with 4504 or 1009");
    let (came, who) = match examiner.session().await {
        Err(came) => (came, None),
        Ok(mut session) => {
            let mut bytes = frame(0x01, Some([1, 2, 3, 4]), b"{");
            for _ in 0..FRAGMENTS {
                bytes.extend(frame(0x00, Some([1, 2, 3, 4]), b" "));
            }
            session.send_raw(&bytes).await;
            let ended = session.end().await;
            let came = match &ended {
                Received::Closed(4504 | 1009, _) => Came::Pass(ended.words()),
                _ => Came::Fail(ended.words()),
            };
            (came, Some(Who::Session(session.id.to_string())))
        }
    };
    examiner.note(name, expected, came, who, &["limit", "reject"]);
}

async fn malformed(examiner: &mut Examiner<'_>) {
    let (name, expected) = ("S7 malformed repeated", "errors with a code, then closed with 4505");
    let (came, who) = match examiner.session().await {
        Err(came) => (came, None),
        Ok(mut session) => {
            let borne = session.welcome.limits.malformed_max.min(1_000);
            let mut errors = 0;
            let mut last = Received::Nothing;
            for _ in 0..borne.saturating_add(1) {
                session.send("{\"op\":").await;
                last = session.reply().await;
                if !last.error_code().starts_with("SF-") {
                    break;
                }
                errors += 1;
            }
            if matches!(last, Received::Message(_)) {
                last = session.end().await;
            }
            let text = format!("{errors} errors, then {}", last.words());
            let is_ended = errors > 0 && matches!(last, Received::Closed(4505, _));
            let came = if is_ended { Came::Pass(text) } else { Came::Fail(text) };
            (came, Some(Who::Session(session.id.to_string())))
        }
    };
    examiner.note(name, expected, came, who, &["limit"]);
}

async fn flood(examiner: &mut Examiner<'_>) {
    let (name, expected) = ("S10 flood", "errors with retry_after_ms, then closed with 4005");
    let (came, who) = match examiner.session().await {
        Err(came) => (came, None),
        Ok(mut session) => {
            let rates = &session.welcome.limits.rates;
            let limit = rates.iter().find(|rate| rate.name == "messages").map(|rate| rate.limit);
            let came = match limit {
                Some(limit) if limit > RATE_MAX => {
                    Came::Skip(format!("{limit} messages a second are allowed"))
                }
                _ => flooded(&mut session, limit.unwrap_or(1_000)).await,
            };
            (came, Some(Who::Session(session.id.to_string())))
        }
    };
    examiner.note(name, expected, came, who, &["limit"]);
}

/// Sends as fast as it goes until the server ends it, five times what it allows in a second at most.
async fn flooded(session: &mut Session, limit: u32) -> Came {
    let ping = frame(0x81, Some([1, 2, 3, 4]), br#"{"op":"ping","id":"f"}"#);
    let chunk = ping.repeat(CHUNK);
    let allowed = usize::try_from(limit).unwrap_or(usize::MAX).saturating_mul(5).saturating_add(1_000);
    let (mut sent, mut throttled) = (0, 0_u32);
    loop {
        if sent < allowed {
            session.send_raw(&chunk).await;
            sent += CHUNK;
        }
        // While there is more to send only what has come already is read.
        let patience = if sent < allowed { Duration::from_millis(1) } else { session.timeout() };
        loop {
            match session.next_within(patience).await {
                Received::Message(message) if message["type"] == "error" => {
                    throttled += u32::from(message["retry_after_ms"].is_u64());
                }
                Received::Message(_) => {}
                Received::Nothing if sent < allowed => break,
                ended => {
                    let text =
                        format!("{throttled} of them after some {sent} messages, then {}", ended.words());
                    let is_ended = throttled > 0 && matches!(ended, Received::Closed(4005, _));
                    return if is_ended { Came::Pass(text) } else { Came::Fail(text) };
                }
            }
        }
    }
}

/// Whether the faults above have earned a ban. That they have not is no failure: the operator says how many do.
async fn ban(examiner: &mut Examiner<'_>) {
    let (name, expected) = ("S10 ban", "HTTP 429 for a principal whose sessions end for faults");
    let came = match Session::open(examiner.endpoint, examiner.identity).await {
        Err(NoSession::Refused(answer)) if answer.status == 429 => {
            let wait = answer.header("retry-after").unwrap_or("some");
            Came::Pass(format!("429 {}; this principal may come again in {wait} s", answer.text("code")))
        }
        Err(error) => Came::Fail(error.words()),
        Ok(session) => {
            session.close().await;
            Came::Skip("three ended sessions have not banned this principal: it is trusted, or limits.ban bears more".to_owned())
        }
    };
    examiner.note(name, expected, came, None, &[]);
}

/// A frame of RFC 6455, well-formed or not: first byte, mask, payload of less than 64 KiB.
fn frame(first: u8, mask: Option<[u8; 4]>, payload: &[u8]) -> Vec<u8> {
    let mask_bit = if mask.is_some() { 0x80 } else { 0 };
    let mut bytes = vec![first];
    match u8::try_from(payload.len()) {
        Ok(length @ 0..126) => bytes.push(mask_bit | length),
        _ => {
            bytes.push(mask_bit | 126);
            bytes.extend(u16::try_from(payload.len()).unwrap_or(u16::MAX).to_be_bytes());
        }
    }
    let key = mask.unwrap_or_default();
    if mask.is_some() {
        bytes.extend(key);
    }
    bytes.extend(payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key));
    bytes
}
