//! Requests as a client sends them.

use super::{Op, Proof, Request, ResumePoint, Signed, Subscribe, Symbols};
use crate::ident::Symbol;
use crate::term::SignedOp;
use crate::value::{Nonce, RequestId, UnixNanos};
use crate::{base64url, hex};

impl Request<'_> {
    /// The JSON text of the request. [`super::parse`] reads it back unchanged.
    #[must_use]
    pub fn encode(&self) -> String {
        let mut out = String::with_capacity(128);
        out += "{\"op\":\"";
        out += self.op.name();
        out.push('"');
        match &self.id {
            None => {}
            Some(RequestId::Integer(number)) => out += &format!(",\"id\":{number}"),
            Some(RequestId::Text(text)) => {
                out += ",\"id\":";
                write_text(&mut out, text);
            }
        }
        match &self.op {
            Op::Subscribe(subscribe) => write_subscribe(&mut out, subscribe),
            Op::Unsubscribe(unsubscribe) => {
                out += &format!(",\"channel\":\"{}\"", unsubscribe.channel);
                write_symbols(&mut out, &unsubscribe.symbols);
            }
            Op::Ping { echo: Some(echo) } => {
                out += ",\"echo\":";
                write_text(&mut out, echo);
            }
            Op::Logout { cancel_orders: true } => out += ",\"cancel_orders\":true",
            Op::Ping { echo: None } | Op::Whoami | Op::Logout { cancel_orders: false } => {}
            Op::TokenRenew { token } => {
                out += ",\"token\":";
                write_text(&mut out, &token.0);
            }
            Op::OrderStatus { cl_ord_id } => out += &format!(",\"cl_ord_id\":\"{cl_ord_id}\""),
            Op::Signed(signed) => write_signed(&mut out, signed),
        }
        out.push('}');
        out
    }
}

impl Op<'_> {
    /// The name on the wire.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Subscribe(_) => "subscribe",
            Self::Unsubscribe(_) => "unsubscribe",
            Self::Ping { .. } => "ping",
            Self::Whoami => "whoami",
            Self::OrderStatus { .. } => "order.status",
            Self::TokenRenew { .. } => "token.renew",
            Self::Logout { .. } => "logout",
            Self::Signed(signed) => signed.op.as_str(),
        }
    }
}

/// The JSON text of a signed request, around a body that was signed as it stands here.
#[must_use]
pub fn encode_signed(
    id: Option<RequestId>,
    op: SignedOp,
    ts: UnixNanos,
    nonce: Nonce,
    proof: impl Into<Proof>,
    body: &str,
) -> String {
    let (ts_text, nonce_text) = (ts.to_string(), nonce.to_string());
    let proof = proof.into();
    let signed = Signed { op, ts_text: &ts_text, ts, nonce_text: &nonce_text, nonce, proof, body };
    Request { id, op: Op::Signed(signed) }.encode()
}

fn write_subscribe(out: &mut String, subscribe: &Subscribe) {
    *out += &format!(",\"channel\":\"{}\"", subscribe.channel);
    write_symbols(out, &subscribe.symbols);
    if let Some(depth) = subscribe.depth {
        *out += &format!(",\"depth\":{}", depth.get());
    }
    if let Some(conflate_ms) = subscribe.conflate_ms {
        *out += &format!(",\"conflate_ms\":{}", conflate_ms.get());
    }
    if let Some(on_slow) = subscribe.on_slow {
        *out += &format!(",\"on_slow\":\"{on_slow}\"");
    }
    if !subscribe.resume.is_empty() {
        *out += ",\"resume\":{";
        for (index, (symbol, ResumePoint { epoch, seq })) in subscribe.resume.iter().enumerate() {
            let comma = if index > 0 { "," } else { "" };
            let symbol = symbol.as_ref().map_or("*", Symbol::as_str);
            *out += &format!("{comma}\"{symbol}\":{{\"epoch\":\"{epoch}\",\"seq\":{seq}}}");
        }
        out.push('}');
    }
}

fn write_symbols(out: &mut String, symbols: &Symbols) {
    *out += ",\"symbols\":[";
    match symbols {
        Symbols::All => *out += "\"*\"",
        Symbols::List(list) => {
            for (index, symbol) in list.iter().enumerate() {
                let comma = if index > 0 { "," } else { "" };
                *out += &format!("{comma}\"{symbol}\"");
            }
        }
    }
    out.push(']');
}

fn write_signed(out: &mut String, signed: &Signed<'_>) {
    *out += &format!(",\"ts\":\"{}\",\"nonce\":\"{}\"", signed.ts_text, signed.nonce_text);
    if let Some(mac) = &signed.proof.mac {
        *out += &format!(",\"mac\":\"{}\"", hex::encode(mac));
    }
    if let Some(sig) = &signed.proof.sig {
        *out += &format!(",\"sig\":\"{}\"", base64url::encode(sig));
    }
    *out += &format!(",\"body\":{}", signed.body);
}

/// Appends a JSON string.
pub(crate) fn write_text(out: &mut String, text: &str) {
    out.push('"');
    for character in text.chars() {
        match character {
            '"' | '\\' => {
                out.push('\\');
                out.push(character);
            }
            control if control < ' ' => *out += &format!("\\u{:04x}", u32::from(control)),
            other => out.push(other),
        }
    }
    out.push('"');
}
