//! What happens, as it stands in the sealed log.
//!
//! Kind numbers are permanent: append only, never renumber, never reuse. Within a kind, fields are only added, at
//! the end, with a new schema number, and only of types that are one zero byte where they say nothing (`false`, 0, `None`, empty). Values are text where a person will read them, so that a log can be
//! understood without this program. Nothing here may hold a secret: MACs are evidence, keys never appear.

#[macro_use]
mod declare;
mod inputs;
#[cfg(test)]
mod tests;
mod text;
mod values;

use serde::{Deserialize, Serialize};

pub use inputs::{PaperInput, SyntheticInput};
pub use text::Text;
pub use values::{Bytes, DeliveredRange, ListedInstrument};

/// What an entry has room for from the start; most are smaller.
const ENCODED_BYTES: usize = 512;

/// Most fields that a kind got with schema 2.
const ADDED_MAX: usize = 8;

/// Version of the layout of a kind's payload, as this program writes it; 1 for kinds that it does not know.
#[must_use]
pub const fn newest_schema(kind: u16) -> u16 {
    if Event::added(kind) > 0 { 2 } else { 1 }
}

/// Kind of the entry with which a run of the server begins.
pub const START: u16 = Event::KINDS[0].0;

/// Decodes all of `payload`; bytes left over are an error, so that one payload has one meaning.
pub(super) fn strict<'a, T: Deserialize<'a>>(payload: &'a [u8]) -> Result<T, postcard::Error> {
    match postcard::take_from_bytes(payload)? {
        (event, []) => Ok(event),
        _ => Err(postcard::Error::DeserializeBadEncoding),
    }
}

events! {
    /// The server started; nothing is admitted before this is durable.
    256 "start" Start {
        /// Version of the program.
        version: String,
        /// Address that was bound.
        listen: String,
        /// Instruments, by symbol.
        symbols: Vec<String>,
    }
    /// The server stops, for this reason. Nothing is admitted after it.
    257 "stop" Stop {
        /// Why.
        reason: String,
    }
    /// A file that decides what is allowed came into force.
    258 "config" Configuration {
        /// Which one: `configuration`, `entitlements`, `client_authorities`, `revocation_lists`, `server_certificate`.
        what: String,
        /// SHA-256 of its bytes, hex.
        sha256: String,
        /// What a person wants to know of it: rules, CRL numbers, dates.
        summary: String,
    }
    /// A TLS handshake was refused, or broke off. What the peer claims is not proven.
    259 "handshake_refused" + 1 HandshakeRefused {
        /// Address and port of the peer.
        address: String,
        /// Code of the reason.
        code: String,
        /// Subject the certificate claims, escaped; empty if none came.
        claimed_subject: String,
        /// Serial the certificate claims, hex; empty if none came.
        claimed_serial: String,
        /// Detail for the operator, escaped.
        detail: String,
        /// Issuer the certificate claims, escaped; empty if none came, and in entries of schema 1.
        claimed_issuer: String,
    }
    /// The HTTP upgrade was refused.
    260 "upgrade_refused" UpgradeRefused {
        /// Address and port of the peer.
        address: String,
        /// Principal, if the certificate named one.
        principal: Option<String>,
        /// Code of the reason.
        code: String,
        /// HTTP status that answered; 0 if the peer was gone before any answer.
        status: u16,
        /// Detail for the operator (path, origin, sub-protocol), escaped.
        detail: String,
    }
    /// A session began.
    261 "connect" + 4 Connect {
        /// Address and port of the peer.
        address: String,
        /// Who.
        principal: String,
        /// Serial of the certificate, hex.
        serial: String,
        /// SHA-256 of the certificate, hex.
        certificate: String,
        /// `User-Agent` of the upgrade, escaped; empty if none.
        user_agent: String,
        /// Sub-protocol in force.
        protocol: String,
        /// Role in the certificate; empty if it has none.
        role: String,
        /// Sessions of the principal at once, this one among them; those that end for a newer one do not count. 0: not known.
        sessions: u32,
        /// Whether the policy calls the user a professional one; `None` if it does not say.
        professional: Option<bool>,
        /// Whether the policy says that the data is for display; `None` if it does not say.
        display: Option<bool>,
    }
    /// A session ended.
    262 "disconnect" Disconnect {
        /// Who.
        principal: String,
        /// Close code that was sent, or received; 1006 if the connection broke without one.
        close_code: u16,
        /// Why, in words.
        reason: String,
        /// Messages received.
        received: u64,
        /// Messages sent.
        sent: u64,
    }
    /// A subscription was asked for.
    263 "subscribe" Subscribe {
        /// Who.
        principal: String,
        /// Channel.
        channel: String,
        /// Depth in levels; 0 is the full book.
        depth: u32,
        /// Symbols granted.
        granted: Vec<String>,
        /// Symbols refused, each with its code.
        refused: Vec<(String, String)>,
    }
    /// Subscriptions were ended by their owner.
    264 "unsubscribe" Unsubscribe {
        /// Who.
        principal: String,
        /// Channel.
        channel: String,
        /// Symbols.
        symbols: Vec<String>,
    }
    /// A request was refused before it had an effect: malformed, unknown, not entitled, or not authentic.
    265 "reject" Reject {
        /// Who.
        principal: String,
        /// What was asked, if that could be read.
        op: String,
        /// Code of the answer.
        code: String,
        /// Detail, escaped; never the message itself.
        detail: String,
    }
    /// A signed order message was authentic and fresh and passed every check; the input of the venue.
    266 "order" + 2 Order {
        /// Who.
        principal: Text,
        /// `order.new`, `order.cancel`, `order.replace`, `order.mass_cancel` or `order.dead_man`.
        op: Text,
        /// The order it makes, changes or cancels; 0 where it is about no single one.
        order_id: u64,
        /// Time stamp as signed, nanoseconds.
        ts: u64,
        /// Nonce as signed.
        nonce: [u8; 16],
        /// MAC as sent.
        mac: [u8; 32],
        /// Body, byte for byte as signed.
        body: Text,
        /// When we received it, nanoseconds.
        received: u64,
        /// When the venue took it, nanoseconds.
        admitted: u64,
        /// Signature by the certificate's key as sent: 64 bytes, or none.
        sig: Bytes,
        /// What happens to the order when the connection it came on ends without a logout: 0 nothing, 1 it is cancelled, 2 it is
        /// cancelled when the last session of its principal ends so.
        on_disconnect: u8,
    }
    /// A signed order message was authentic and was refused.
    267 "order_refused" + 2 OrderRefused {
        /// Who.
        principal: String,
        /// Which operation.
        op: String,
        /// Code of the answer.
        code: String,
        /// Time stamp as signed, nanoseconds.
        ts: u64,
        /// Nonce as signed.
        nonce: [u8; 16],
        /// MAC as sent.
        mac: [u8; 32],
        /// Body, byte for byte as signed.
        body: String,
        /// When we received it, nanoseconds.
        received: u64,
        /// Signature by the certificate's key as sent: 64 bytes, or none.
        sig: Bytes,
        /// Whether this is the message's final answer: sent again, it gets the same one.
        binds: bool,
    }
    /// An execution report: what happened to an order.
    268 "execution" + 4 Execution {
        /// Whose order.
        principal: Text,
        /// The owner's name for it.
        cl_ord_id: Text,
        /// The venue's name for it.
        order_id: u64,
        /// Instrument.
        symbol: Text,
        /// `new`, `partial_fill`, `fill`, `canceled`, `replaced`, `expired`.
        exec: Text,
        /// `buy` or `sell`.
        side: Text,
        /// Price of the fill, or the order's new one, in 1e-9; 0 if it is neither.
        price: i64,
        /// Quantity of the fill, or the order's new one in all, in 1e-9; 0 if it is neither.
        quantity: u64,
        /// Trade it belongs to; 0 if none.
        trade_id: u64,
        /// Open after it, in 1e-9.
        leaves: u64,
        /// Traded in all after it, in 1e-9.
        cumulative: u64,
        /// Its number in the private stream of the principal.
        report: u64,
        /// Why it was cancelled; empty for everything else, and where an older program wrote it.
        reason: Text,
        /// The client's name of the message that cancelled or replaced it; empty if none did.
        cause: Text,
        /// Whether the fill took liquidity.
        taker: bool,
        /// Its number in the stream of all reports of the principal's firm; 0 where an older program wrote it.
        firm_report: u64,
    }
    /// A limit was met.
    269 "limit" Limit {
        /// Who, if known.
        principal: Option<String>,
        /// Address of the peer.
        address: String,
        /// Which limit.
        limit: String,
        /// Code of the answer.
        code: String,
    }
    /// More events of one kind from unknown peers than are written in full; this many were only counted.
    270 "suppressed" Suppressed {
        /// Kind of the events.
        what: String,
        /// Address they came from, or `*` for many.
        address: String,
        /// How many.
        count: u64,
    }
    /// Where a source of market data stands.
    271 "source" Source {
        /// Which one.
        source: String,
        /// `restarted`, `ended`, `failed`; `stale` and `whole` of one instrument; `stalled`, `resumed`.
        state: String,
        /// Counts, or code and reason.
        detail: String,
    }
    /// Orders of the synthetic market, in the order in which the venue took them.
    272 "synthetic" Synthetic {
        /// The inputs of one batch.
        inputs: Vec<SyntheticInput>,
        /// When the venue took them, nanoseconds.
        admitted: u64,
    }
    /// A message with a known client order identifier and the same body: it got the first answer again.
    273 "order_repeated" OrderRepeated {
        /// Who.
        principal: String,
        /// Which operation.
        op: String,
        /// The client's name for the message.
        cl_ord_id: String,
        /// Nonce of the repetition.
        nonce: [u8; 16],
        /// Sequence number of the entry that the first answer stands on.
        answer: u64,
    }
    /// A venue begins, with empty books or with those of the run before: all that a re-execution of its inputs needs to know
    /// beforehand.
    274 "venue" + 1 Venue {
        /// Version of the venue's rules.
        rules: u32,
        /// Trading day, in days since 1970-01-01 UTC.
        day: u64,
        /// First name of orders to give out; trades are numbered from the one after it.
        first_id: u64,
        /// Most orders that may rest in one instrument.
        resting_orders_max: u32,
        /// The digest of the state is sealed whenever so many inputs were taken.
        state_hash_inputs: u64,
        /// How many instruments the entries of kind `instruments` behind this one list.
        instruments: u32,
        /// Whether it goes on with the state in which the run before ended.
        continues: bool,
    }
    /// Instruments of the venue that begins, by their numbers.
    275 "instruments" + 2 Instruments {
        /// Number of the first of them.
        first: u32,
        /// The instruments.
        list: Vec<ListedInstrument>,
        /// Of those whose orders have bounds: number, lowest and highest price in 1e-9. In the order of numbers.
        bands: Vec<(u32, i64, i64)>,
        /// Numbers of those in which orders are filled against a recording, in their order.
        papers: Vec<u32>,
    }
    /// A principal got its number as an owner of orders.
    276 "owner" Owner {
        /// The number; even ones are principals.
        number: u32,
        /// Who.
        principal: String,
    }
    /// The trading day is over: day orders expire. An input of the venue.
    277 "day_end" DayEnd {
        /// The day that begins, in days since 1970-01-01 UTC.
        day: u64,
        /// When the venue took it, nanoseconds.
        admitted: u64,
    }
    /// The certificates that a client presented, before the first `connect` that names them in this run of the server.
    278 "certificate" Certificate {
        /// SHA-256 of the client's own certificate, hex, as `connect` names it.
        sha256: String,
        /// The chain as presented, the client's own certificate first.
        chain: Vec<Bytes>,
        /// How many certificates at the end of the chain are not here because the entry would be too long; 0 if none.
        left_out: u32,
    }
    /// Messages of streams that were sealed and given to a session's socket since its last entry of this kind. Written when a
    /// subscription or the session ends, and at intervals.
    279 "delivered" + 1 Delivered {
        /// Whose session.
        principal: String,
        /// Names the run of all these sequences, 16 hex digits.
        epoch: String,
        /// What.
        ranges: Vec<DeliveredRange>,
        /// How much later than the market all of it was, in milliseconds; 0: in real time. `None` where an older program wrote it.
        delayed_ms: Option<u64>,
    }
    /// Market data of a publisher was authentic and fresh and passed every check; it leaves behind this entry.
    282 "publish" Publish {
        /// Who.
        principal: String,
        /// Which instrument.
        symbol: String,
        /// The publisher's number of it.
        pub_seq: u64,
        /// Messages in it.
        messages: u32,
        /// Records of the market that they are.
        records: u32,
        /// Time stamp as signed, nanoseconds.
        ts: u64,
        /// Nonce as signed.
        nonce: [u8; 16],
        /// MAC as sent.
        mac: [u8; 32],
        /// Body, byte for byte as signed.
        body: String,
        /// When we received it, nanoseconds.
        received: u64,
        /// Whether it was published; else its `pub_seq` had been seen before, and it was only acknowledged.
        published: bool,
    }
    /// The record of market data failed: what is published from here on is not recorded in this run.
    283 "tape" Tape {
        /// `failed`.
        state: String,
        /// Code of what happened.
        code: String,
        /// The tape's log, hex.
        log: String,
        /// Epoch of the feed.
        epoch: u64,
        /// Events of the epoch that were handed to the tape's log; some of the last may not be durable.
        events: u64,
        /// Why.
        detail: String,
    }
    /// The entitlement of an open session changed with the files that the `config` entries before name.
    284 "entitlement" + 2 Entitlement {
        /// Whose session.
        principal: String,
        /// The rules that grant it something now.
        rules: Vec<String>,
        /// Subscriptions that it no longer covers, and that ended: channel, symbol, code.
        ended: Vec<(String, String, String)>,
        /// Whether the policy calls the user a professional one now; `None` if it does not say.
        professional: Option<bool>,
        /// Whether the policy says now that the data is for display; `None` if it does not say.
        display: Option<bool>,
    }
    /// Orders are cancelled by the server. An input of the venue.
    285 "withdrawal" Withdrawal {
        /// Why: `disconnect`, `dead_man`, `restart`, `revoked`.
        cause: String,
        /// Whose orders.
        principal: String,
        /// Those that came on this session, hex; empty for all of them.
        session: String,
        /// When the venue took it, nanoseconds.
        admitted: u64,
    }
    /// An operator's message was authentic and fresh and passed every check. An input of the venue.
    286 "admin" Admin {
        /// Who.
        principal: String,
        /// `admin.kill` or `admin.trading`.
        op: String,
        /// Time stamp as signed, nanoseconds.
        ts: u64,
        /// Nonce as signed.
        nonce: [u8; 16],
        /// MAC as sent.
        mac: [u8; 32],
        /// Signature by the certificate's key as sent: 64 bytes, or none.
        sig: Bytes,
        /// Body, byte for byte as signed.
        body: String,
        /// When we received it, nanoseconds.
        received: u64,
        /// When the venue took it, nanoseconds.
        admitted: u64,
    }
    /// A part of the whole state of the venue and of what was answered, from which a later run, or a re-execution, may go on. All parts
    /// stand behind one another, with no input between them.
    287 "snapshot" Snapshot {
        /// Number of the part, from 0.
        part: u32,
        /// How many there are.
        parts: u32,
        /// Inputs that the state covers.
        inputs: u64,
        /// The part.
        bytes: Bytes,
    }
    /// Of the subscriptions granted by the entry before in this session, these are delivered so much later than the market.
    288 "delayed" Delayed {
        /// Who.
        principal: String,
        /// Channel.
        channel: String,
        /// Symbols.
        symbols: Vec<String>,
        /// By how much, in milliseconds.
        delayed_ms: u64,
    }
    /// What a recording showed that orders on paper depend on. An input of the venue: what it displays to the order whose entry is next, or
    /// what befell orders that rest.
    289 "paper" Paper {
        /// Number of the instrument.
        instrument: u32,
        /// What it showed, in order. What is displayed to an order stands alone.
        inputs: Vec<PaperInput>,
        /// When the venue took it, nanoseconds.
        admitted: u64,
    }
    /// An address or a principal is sent away for a while; a restart forgets it.
    290 "ban" Ban {
        /// `address` (for IPv6 the first of its prefix) or `principal`.
        what: String,
        /// Which one.
        who: String,
        /// Code of the fault that was one too many.
        code: String,
        /// Which one this is in a row; each lasts twice as long as the one before, up to a limit.
        count: u32,
        /// When it ends, nanoseconds.
        until: u64,
    }
    /// Limits are tightened, or are not any more, since the server comes close to a bound of its own.
    291 "pressure" Pressure {
        /// `normal`, `elevated` (rates are halved for whoever is not trusted) or `severe` (and nobody new is let in).
        level: String,
        /// The one before.
        before: String,
        /// What is fullest: `connections`, `handshakes`, `out_bytes` or `nonces`.
        cause: String,
        /// How full each is.
        detail: String,
    }
    /// An alert fires, or is over. What it is about stands in entries of its own.
    292 "alert" Alert {
        /// Which one, as in `docs/ALERTS.md`.
        name: String,
        /// `warning` or `critical`.
        severity: String,
        /// `firing` or `resolved`.
        state: String,
        /// What was found.
        value: String,
        /// From where on it fires.
        threshold: String,
        /// Time over which was counted, in milliseconds; 0 where nothing is counted.
        window_ms: u64,
        /// What is known beyond that: where most came from, the last code.
        detail: String,
        /// What to do.
        hint: String,
    }
    /// A client's certificate does not hold any more: what ended with it. The orders were cancelled by the `withdrawal` in front of it.
    293 "revocation" Revocation {
        /// Whose certificate.
        principal: String,
        /// Its serial number, hex.
        serial: String,
        /// Name of its issuer, escaped.
        issuer: String,
        /// SHA-256 of the certificate, hex.
        certificate: String,
        /// Why: the revocation list by its number, or whatever else withdrew it.
        why: String,
        /// The open sessions that it ended, hex.
        sessions: Vec<String>,
        /// The resting orders that were cancelled.
        orders: Vec<u64>,
    }
    /// A token of an identity provider, in the trail of its session.
    294 "token" Token {
        /// Whose session.
        principal: String,
        /// `granted` with the upgrade, `renewed` in place of the one before, `ended`: the session ends for it, or for want of one.
        what: String,
        /// Its `jti`, escaped; empty where there is no token.
        jti: String,
        /// Name of the key that signed it, escaped.
        kid: String,
        /// When it expires, nanoseconds; 0 where there is no token.
        expires: u64,
        /// With `ended`, the code.
        code: String,
        /// With `ended`, why: which entry of the file of withdrawn tokens, what of the configuration.
        detail: String,
    }
}
