//! Strict reading of client frames: one text frame in, one typed [`Request`] or one coded [`RequestError`] out.
//!
//! Nothing is guessed: an unknown op or field, a wrong type, a key twice, an array for an object, a byte before
//! or behind the object each have their own code. The id is recovered wherever it can be read, so that the
//! error finds its request. A signed request borrows the raw text of its body; the body is decoded
//! ([`crate::body`]) only after the MAC over those bytes has verified.
//!
//! When several things are wrong the first of this order is the answer: JSON form, key twice, op, id, unknown
//! field, then the op's own fields in the order of the protocol's table.

use std::borrow::Cow;

use crate::code::Code;
use crate::ident::{ClientOrderId, Symbol};
use crate::object::{Fault, Fields, Keys, Value, printable};
use crate::term::{Channel, Conflation, Depth, OnSlow, SignedOp};
use crate::value::{Epoch, Nonce, RequestId, Sequence, UnixNanos};

mod encode;
mod subscribe;

pub use encode::encode_signed;
pub(crate) use encode::write_text;

/// Default limit of a client's message, in bytes. A larger one closes the connection (1009).
pub const MESSAGE_BYTES_MAX: usize = 8 * 1024;

/// Most bytes of a ping's `echo`.
pub const ECHO_BYTES_MAX: usize = 128;

/// Most bytes of a token.
pub const TOKEN_BYTES_MAX: usize = 4 * 1024;

/// One request of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request<'a> {
    /// The client's name for it, to be returned in the reply. `None`: the client gave none.
    pub id: Option<RequestId>,
    /// What it asks for.
    pub op: Op<'a>,
}

/// What a request asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op<'a> {
    /// Start, or replace, subscriptions.
    Subscribe(Subscribe),
    /// End subscriptions.
    Unsubscribe(Unsubscribe),
    /// Is anybody there?
    Ping {
        /// Returned in the pong; at most [`ECHO_BYTES_MAX`] bytes.
        echo: Option<Cow<'a, str>>,
    },
    /// Who am I and what may I do?
    Whoami,
    /// What became of an order?
    OrderStatus {
        /// The order's client order id.
        cl_ord_id: ClientOrderId,
    },
    /// Go on under a new token of the same certificate.
    TokenRenew {
        /// The token.
        token: BearerToken<'a>,
    },
    /// Orderly end of the session.
    Logout {
        /// Whether the resting orders of this session are cancelled, though it ends in order.
        cancel_orders: bool,
    },
    /// A request with a proof that has not been checked yet.
    Signed(Signed<'a>),
}

/// A token as it came: whoever has it, and the certificate's key, can use it, so nothing prints it.
#[derive(Clone, PartialEq, Eq)]
pub struct BearerToken<'a>(pub Cow<'a, str>);

impl std::fmt::Debug for BearerToken<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "BearerToken({} bytes)", self.0.len())
    }
}

/// `subscribe`. An option that is `None` was not sent: the server's default applies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscribe {
    /// The kind of stream.
    pub channel: Channel,
    /// Which instruments; [`Symbols::All`] for the private channels, always.
    pub symbols: Symbols,
    /// Levels a side; only for [`Channel::Book`].
    pub depth: Option<Depth>,
    /// Conflation interval; only for [`Channel::Bbo`] and [`Channel::Book`].
    pub conflate_ms: Option<Conflation>,
    /// Treatment when this reader is slow.
    pub on_slow: Option<OnSlow>,
    /// Where the client's knowledge of a stream ends; symbols of this request only, none twice.
    /// The key is `None` for `"*"` (private channels).
    pub resume: Vec<(Option<Symbol>, ResumePoint)>,
}

/// `unsubscribe`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsubscribe {
    /// The kind of stream.
    pub channel: Channel,
    /// Which instruments; [`Symbols::All`]: all subscriptions of the channel.
    pub symbols: Symbols,
}

/// The instruments of a subscription.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Symbols {
    /// `["*"]`.
    All,
    /// At least one, none twice, in the client's order.
    List(Vec<Symbol>),
}

/// The last message a client has of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResumePoint {
    /// The epoch it belongs to.
    pub epoch: Epoch,
    /// Its sequence number; zero: from the start of the epoch.
    pub seq: Sequence,
}

/// A signed request, well-formed but not yet authentic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signed<'a> {
    /// The operation.
    pub op: SignedOp,
    /// `ts` as sent: part of the signing string.
    pub ts_text: &'a str,
    /// `ts` as a time.
    pub ts: UnixNanos,
    /// `nonce` as sent: part of the signing string.
    pub nonce_text: &'a str,
    /// `nonce` as bytes.
    pub nonce: Nonce,
    /// The proof to be checked.
    pub proof: Proof,
    /// The raw text of the body, from its first to its last brace, exactly as it stands in the frame.
    pub body: &'a str,
}

/// What a signed request carries to prove where it comes from, over the same signing string; at least one of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Proof {
    /// `mac`: HMAC-SHA256 by the order key.
    pub mac: Option<[u8; 32]>,
    /// `sig`: Ed25519, or ECDSA P-256 with SHA-256 as r then s, by the key of the client certificate.
    pub sig: Option<[u8; 64]>,
}

impl From<[u8; 32]> for Proof {
    /// A MAC alone.
    fn from(mac: [u8; 32]) -> Self {
        Self { mac: Some(mac), sig: None }
    }
}

/// Why a frame is no request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {}", code.message())]
pub struct RequestError {
    /// The stable code.
    pub code: Code,
    /// The id, if one could be read.
    pub id: Option<RequestId>,
    /// Which field, in a few printable words. Not stable.
    pub detail: Cow<'static, str>,
}

/// A refusal before the id is attached.
pub(crate) struct Refusal {
    code: Code,
    detail: Cow<'static, str>,
}

impl Refusal {
    fn new(code: Code, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { code, detail: detail.into() }
    }
}

const NAMES: [&str; 17] = [
    "op",
    "id",
    "channel",
    "symbols",
    "depth",
    "conflate_ms",
    "on_slow",
    "resume",
    "echo",
    "cl_ord_id",
    "ts",
    "nonce",
    "mac",
    "sig",
    "body",
    "cancel_orders",
    "token",
];
const OP: usize = 0;
const ID: usize = 1;
const CHANNEL: usize = 2;
const SYMBOLS: usize = 3;
const DEPTH: usize = 4;
const CONFLATE_MS: usize = 5;
const ON_SLOW: usize = 6;
const RESUME: usize = 7;
const ECHO: usize = 8;
const CL_ORD_ID: usize = 9;
const TS: usize = 10;
const NONCE: usize = 11;
const MAC: usize = 12;
const SIG: usize = 13;
const BODY: usize = 14;
const CANCEL_ORDERS: usize = 15;
const TOKEN: usize = 16;

type Envelope<'a> = Fields<'a, { NAMES.len() }>;

const KEYS: Keys = Keys {
    place,
    raw: 1 << SYMBOLS | 1 << RESUME | 1 << BODY,
    long: 1 << TS | 1 << NONCE | 1 << MAC | 1 << SIG | 1 << TOKEN,
};

/// The place of a key in [`NAMES`]. A `match`, because the compiler decides by length first.
fn place(key: &str) -> Option<usize> {
    Some(match key {
        "op" => OP,
        "id" => ID,
        "channel" => CHANNEL,
        "symbols" => SYMBOLS,
        "depth" => DEPTH,
        "conflate_ms" => CONFLATE_MS,
        "on_slow" => ON_SLOW,
        "resume" => RESUME,
        "echo" => ECHO,
        "cl_ord_id" => CL_ORD_ID,
        "ts" => TS,
        "nonce" => NONCE,
        "mac" => MAC,
        "sig" => SIG,
        "body" => BODY,
        "cancel_orders" => CANCEL_ORDERS,
        "token" => TOKEN,
        _ => return None,
    })
}

/// Reads one text frame.
///
/// # Errors
/// [`RequestError`] with the code of the first thing that is wrong, and the id if it could be read.
pub fn parse(frame: &str) -> Result<Request<'_>, RequestError> {
    let fields = Envelope::read(frame, KEYS);
    let id = fields.get(ID).map(request_id);
    match decode(&fields, id.as_ref().is_some_and(Option::is_none)) {
        Ok(op) => Ok(Request { id: id.flatten(), op }),
        Err(Refusal { code, detail }) => Err(RequestError { code, id: id.flatten(), detail }),
    }
}

fn request_id(value: &Value<'_>) -> Option<RequestId> {
    match value.integer() {
        Some(number) => RequestId::integer(number).ok(),
        None => RequestId::text(value.text()?).ok(),
    }
}

fn decode<'a>(fields: &Envelope<'a>, is_id_wrong: bool) -> Result<Op<'a>, Refusal> {
    match &fields.fault {
        Some(Fault::NotAnObject) => return Err(Refusal::new(Code::SesNotAnObject, "")),
        Some(Fault::Malformed) => return Err(Refusal::new(Code::SesJsonMalformed, "")),
        Some(Fault::TrailingBytes) => return Err(Refusal::new(Code::SesTrailingBytes, "")),
        Some(Fault::DuplicateKey(index)) => return Err(Refusal::new(Code::SesKeyDuplicate, NAMES[*index])),
        Some(Fault::UnknownKey(_)) | None => {}
    }
    let op = need_text(fields, OP)?;
    let kind = Kind::parse(op).ok_or_else(|| Refusal::new(Code::SesOpUnknown, printable(op)))?;
    if is_id_wrong {
        return Err(Refusal::new(Code::SesIdInvalid, "id"));
    }
    if let Some(Fault::UnknownKey(name)) = &fields.fault {
        return Err(Refusal::new(Code::SesFieldUnknown, name.clone()));
    }
    let foreign = fields.present() & !kind.allowed();
    if foreign != 0 {
        return Err(Refusal::new(Code::SesFieldUnknown, NAMES[foreign.trailing_zeros() as usize]));
    }
    match kind {
        Kind::Subscribe => subscribe::subscribe(fields).map(Op::Subscribe),
        Kind::Unsubscribe => subscribe::unsubscribe(fields).map(Op::Unsubscribe),
        Kind::Ping => Ok(Op::Ping { echo: echo(fields)? }),
        Kind::Whoami => Ok(Op::Whoami),
        Kind::OrderStatus => {
            let text = need_text(fields, CL_ORD_ID)?;
            let invalid = |_| Refusal::new(Code::OrdClientOrderIdInvalid, "cl_ord_id");
            ClientOrderId::new(text).map(|cl_ord_id| Op::OrderStatus { cl_ord_id }).map_err(invalid)
        }
        Kind::TokenRenew => Ok(Op::TokenRenew { token: token(fields)? }),
        Kind::Logout => match fields.get(CANCEL_ORDERS) {
            None => Ok(Op::Logout { cancel_orders: false }),
            Some(Value::Truth(cancel_orders)) => Ok(Op::Logout { cancel_orders: *cancel_orders }),
            Some(_) => Err(Refusal::new(Code::SesFieldTypeWrong, "cancel_orders")),
        },
        Kind::Signed(op) => signed(fields, op).map(Op::Signed),
    }
}

#[derive(Clone, Copy)]
enum Kind {
    Subscribe,
    Unsubscribe,
    Ping,
    Whoami,
    OrderStatus,
    TokenRenew,
    Logout,
    Signed(SignedOp),
}

impl Kind {
    fn parse(op: &str) -> Option<Self> {
        match op {
            "subscribe" => Some(Self::Subscribe),
            "unsubscribe" => Some(Self::Unsubscribe),
            "ping" => Some(Self::Ping),
            "whoami" => Some(Self::Whoami),
            "order.status" => Some(Self::OrderStatus),
            "token.renew" => Some(Self::TokenRenew),
            "logout" => Some(Self::Logout),
            other => SignedOp::parse(other).ok().map(Self::Signed),
        }
    }

    /// The fields that may stand in the request, one bit each.
    const fn allowed(self) -> u32 {
        let own = match self {
            Self::Subscribe => {
                1 << CHANNEL | 1 << SYMBOLS | 1 << DEPTH | 1 << CONFLATE_MS | 1 << ON_SLOW | 1 << RESUME
            }
            Self::Unsubscribe => 1 << CHANNEL | 1 << SYMBOLS,
            Self::Ping => 1 << ECHO,
            Self::Whoami => 0,
            Self::TokenRenew => 1 << TOKEN,
            Self::Logout => 1 << CANCEL_ORDERS,
            Self::OrderStatus => 1 << CL_ORD_ID,
            Self::Signed(_) => 1 << TS | 1 << NONCE | 1 << MAC | 1 << SIG | 1 << BODY,
        };
        own | 1 << OP | 1 << ID
    }
}

fn need<'f, 'a>(fields: &'f Envelope<'a>, index: usize) -> Result<&'f Value<'a>, Refusal> {
    fields.get(index).ok_or_else(|| Refusal::new(Code::SesFieldMissing, NAMES[index]))
}

fn need_text<'f>(fields: &'f Envelope<'_>, index: usize) -> Result<&'f str, Refusal> {
    need(fields, index)?.text().ok_or_else(|| Refusal::new(Code::SesFieldTypeWrong, NAMES[index]))
}

fn echo<'a>(fields: &Envelope<'a>) -> Result<Option<Cow<'a, str>>, Refusal> {
    match fields.get(ECHO) {
        None => Ok(None),
        Some(Value::Text(echo)) if echo.len() <= ECHO_BYTES_MAX => Ok(Some(echo.clone())),
        Some(Value::Text(_)) => Err(Refusal::new(Code::SesFieldValueInvalid, "echo")),
        Some(_) => Err(Refusal::new(Code::SesFieldTypeWrong, "echo")),
    }
}

fn token<'a>(fields: &Envelope<'a>) -> Result<BearerToken<'a>, Refusal> {
    match need(fields, TOKEN)? {
        Value::Text(token) if (1..=TOKEN_BYTES_MAX).contains(&token.len()) => Ok(BearerToken(token.clone())),
        Value::Text(_) => Err(Refusal::new(Code::SesFieldValueInvalid, "token")),
        _ => Err(Refusal::new(Code::SesFieldTypeWrong, "token")),
    }
}

fn signed<'a>(fields: &Envelope<'a>, op: SignedOp) -> Result<Signed<'a>, Refusal> {
    let ts_text = need_plain(fields, TS, Code::OrdTimestampMalformed)?;
    let ts = UnixNanos::parse(ts_text).map_err(|_| Refusal::new(Code::OrdTimestampMalformed, "ts"))?;
    let nonce_text = need_plain(fields, NONCE, Code::OrdNonceMalformed)?;
    let nonce = Nonce::parse(nonce_text).map_err(|_| Refusal::new(Code::OrdNonceMalformed, "nonce"))?;
    let proof = proof(fields)?;
    let body = need(fields, BODY)?.object().ok_or_else(|| Refusal::new(Code::OrdBodyNotObject, "body"))?;
    Ok(Signed { op, ts_text, ts, nonce_text, nonce, proof, body })
}

/// MAC, signature or both, each whole; which of them must be there is the entitlement's to say.
fn proof(fields: &Envelope<'_>) -> Result<Proof, Refusal> {
    let mut proof = Proof { mac: None, sig: None };
    if fields.get(MAC).is_some() {
        let mac = need_plain(fields, MAC, Code::OrdMacMalformed)?;
        let mac = crate::hex::decode(mac).map_err(|_| Refusal::new(Code::OrdMacMalformed, "mac"))?;
        proof.mac = Some(mac);
    }
    if fields.get(SIG).is_some() {
        let sig = need_plain(fields, SIG, Code::OrdSignatureMalformed)?;
        let malformed = || Refusal::new(Code::OrdSignatureMalformed, "sig");
        proof.sig = Some(crate::base64url::decode(sig).ok_or_else(malformed)?);
    }
    if proof.mac.is_none() && proof.sig.is_none() {
        return Err(Refusal::new(Code::OrdMacMissing, "mac"));
    }
    Ok(proof)
}

/// The content of a string that is signed or compared byte for byte, so it must be written without escapes.
fn need_plain<'a>(fields: &Envelope<'a>, index: usize, malformed: Code) -> Result<&'a str, Refusal> {
    match need(fields, index)? {
        Value::Text(Cow::Borrowed(text)) => Ok(text),
        Value::Text(Cow::Owned(_)) => Err(Refusal::new(malformed, NAMES[index])),
        _ => Err(Refusal::new(Code::SesFieldTypeWrong, NAMES[index])),
    }
}
