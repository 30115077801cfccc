//! The body of `publish`: market data from an entitled publisher.
//!
//! `{"pub_seq":1,"symbol":"X","messages":[...]}`. The messages are those of market data without channel, symbol, epoch and sequence: the server gives them these.
//! Reading is strict, as of every signed body: whatever is not known is an error, and an error in one message refuses all.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::body::BodyError;
use crate::code::Code;
use crate::decimal::{Price, Quantity, Scaled};
use crate::ident::{Symbol, TradeId};
use crate::object::{Fault, Fields, Keys, Value};
use crate::term::Aggressor;
use crate::value::{Sequence, UnixNanos};

/// Body of `publish`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publish {
    /// Grows with each `publish` of this symbol; one seen before is acknowledged and not published again. Never 0.
    pub pub_seq: Sequence,
    /// Which instrument.
    pub symbol: Symbol,
    /// What happened, in order; never empty. Each is one event.
    pub messages: Vec<Published>,
}

/// One message of a publisher.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase", deny_unknown_fields)]
pub enum Published {
    /// A trade.
    Trade {
        /// When it happened.
        ts_event: UnixNanos,
        /// At which price.
        price: Scaled<Price>,
        /// How much.
        qty: Scaled<Quantity>,
        /// Side of the aggressor.
        side: Aggressor,
        /// The publisher's number of it; the server counts where there is none. A number of digits alone.
        #[serde(default)]
        trade_id: Option<TradeId>,
    },
    /// The best bid and offer now.
    Bbo {
        /// When it came about.
        ts_event: UnixNanos,
        /// Best bid, or null.
        bid: Option<PublishedLevel>,
        /// Best offer, or null.
        ask: Option<PublishedLevel>,
    },
    /// The whole book now.
    Snapshot {
        /// When it was so.
        ts_event: UnixNanos,
        /// All bids.
        bids: Vec<PublishedLevel>,
        /// All asks.
        asks: Vec<PublishedLevel>,
    },
    /// What of the book changed.
    Delta {
        /// When it did.
        ts_event: UnixNanos,
        /// Changed bids; quantity zero removes.
        bids: Vec<PublishedLevel>,
        /// Changed asks; quantity zero removes.
        asks: Vec<PublishedLevel>,
    },
}

/// A level as on the wire: `[price, qty, orders]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct PublishedLevel(pub Scaled<Price>, pub Scaled<Quantity>, pub u32);

const NAMES: [&str; 3] = ["pub_seq", "symbol", "messages"];
const PUB_SEQ: usize = 0;
const SYMBOL: usize = 1;
const MESSAGES: usize = 2;

const KEYS: Keys = Keys { place, raw: 1 << MESSAGES, long: 0 };

fn place(key: &str) -> Option<usize> {
    NAMES.iter().position(|name| *name == key)
}

impl Publish {
    /// Reads the raw body of a `publish` whose MAC has verified.
    ///
    /// # Errors
    /// [`BodyError`] with the code of the first thing that is wrong.
    pub fn decode(body: &str) -> Result<Self, BodyError> {
        Self::from_fields(&Fields::read(body, KEYS))
    }

    fn from_fields(fields: &Fields<'_, { NAMES.len() }>) -> Result<Self, BodyError> {
        match &fields.fault {
            None => {}
            Some(Fault::DuplicateKey(index)) => return Err(error(Code::OrdBodyKeyDuplicate, NAMES[*index])),
            Some(Fault::UnknownKey(_)) => return Err(error(Code::OrdBodyFieldUnknown, "body")),
            Some(_) => return Err(error(Code::OrdBodyNotObject, "body")),
        }
        let need = |index: usize| fields.get(index).ok_or(error(Code::OrdBodyFieldMissing, NAMES[index]));
        let wrong_type = |index: usize| error(Code::OrdBodyFieldTypeWrong, NAMES[index]);
        let number = need(PUB_SEQ)?.integer().ok_or(wrong_type(PUB_SEQ))?;
        let pub_seq = u64::try_from(number).ok().and_then(Sequence::new).filter(|seq| *seq != Sequence::ZERO);
        let symbol = need(SYMBOL)?.text().ok_or(wrong_type(SYMBOL))?;
        let Value::Raw(messages) = need(MESSAGES)? else { return Err(wrong_type(MESSAGES)) };
        if !messages.starts_with('[') {
            return Err(wrong_type(MESSAGES));
        }
        let invalid = || error(Code::PubMessageInvalid, NAMES[MESSAGES]);
        let raw: Vec<&RawValue> = serde_json::from_str(messages).map_err(|_| invalid())?;
        let messages: Vec<_> = raw.iter().filter_map(|message| published(message.get())).collect();
        if messages.is_empty() || messages.len() < raw.len() {
            return Err(invalid());
        }
        Ok(Self {
            pub_seq: pub_seq.ok_or(error(Code::OrdBodyFieldValueInvalid, NAMES[PUB_SEQ]))?,
            symbol: Symbol::new(symbol).map_err(|_| error(Code::OrdBodyFieldValueInvalid, NAMES[SYMBOL]))?,
            messages,
        })
    }
}

/// One message, if it is one. A structure would also be read from a list of its fields.
fn published(text: &str) -> Option<Published> {
    text.starts_with('{').then(|| serde_json::from_str(text).ok())?
}

fn error(code: Code, field: &'static str) -> BodyError {
    BodyError { code, cl_ord_id: None, detail: field.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(body: &str) -> Result<usize, Code> {
        Publish::decode(body).map(|publish| publish.messages.len()).map_err(|error| error.code)
    }

    fn of(messages: &str) -> String {
        format!(r#"{{"pub_seq":7,"symbol":"X","messages":[{messages}]}}"#)
    }

    #[test]
    fn every_kind_of_message_is_read() {
        let messages = [
            r#"{"type":"trade","ts_event":"1","price":"1.5","qty":"2","side":"buy"}"#,
            r#"{"type":"trade","ts_event":"1","price":"-1.5","qty":"2","side":"none","trade_id":"9"}"#,
            r#"{"type":"bbo","ts_event":"1","bid":["1","2",3],"ask":null}"#,
            r#"{"type":"snapshot","ts_event":"1","bids":[],"asks":[["1.5","2",0]]}"#,
            r#"{"type":"delta","ts_event":"1","bids":[["1","0",0]],"asks":[]}"#,
        ];
        assert_eq!(check(&of(&messages.join(","))), Ok(5));
    }

    #[test]
    fn whatever_is_wrong_has_its_code() {
        let trade = r#"{"type":"trade","ts_event":"1","price":"1.5","qty":"2","side":"buy"}"#;
        for (body, code) in [
            (of(""), Code::PubMessageInvalid),
            (of(&trade.replace("trade", "quote")), Code::PubMessageInvalid),
            (of(&trade.replace("\"1.5\"", "1.5")), Code::PubMessageInvalid),
            (of(&trade.replace("1.5", "1e5")), Code::PubMessageInvalid),
            (of(&trade.replace("1.5", "1.0123456789")), Code::PubMessageInvalid),
            (of(&trade.replace("buy", "long")), Code::PubMessageInvalid),
            (of(&trade.replace("{", "{\"seq\":1,")), Code::PubMessageInvalid),
            (of(&trade.replace("{", "{\"qty\":\"2\",")), Code::PubMessageInvalid),
            (of(&trade.replace(",\"side\":\"buy\"", "")), Code::PubMessageInvalid),
            (of(r#"["trade","1","1.5","2","buy"]"#), Code::PubMessageInvalid),
            (of(r#"{"type":"bbo","ts_event":"1","bid":["1","2"],"ask":null}"#), Code::PubMessageInvalid),
            (of(&format!("{trade},7")), Code::PubMessageInvalid),
            ("[]".to_owned(), Code::OrdBodyNotObject),
            (of(trade).replace("7", "0"), Code::OrdBodyFieldValueInvalid),
            (of(trade).replace("7", "-7"), Code::OrdBodyFieldValueInvalid),
            (of(trade).replace("7", "\"7\""), Code::OrdBodyFieldTypeWrong),
            (of(trade).replace("\"X\"", "\"X Y\""), Code::OrdBodyFieldValueInvalid),
            (of(trade).replace("\"symbol\":\"X\",", ""), Code::OrdBodyFieldMissing),
            (of(trade).replace("pub_seq", "seq"), Code::OrdBodyFieldUnknown),
            (of(trade).replace("\"symbol\":", "\"pub_seq\":8,\"symbol\":"), Code::OrdBodyKeyDuplicate),
            (r#"{"pub_seq":7,"symbol":"X","messages":{}}"#.to_owned(), Code::OrdBodyFieldTypeWrong),
        ] {
            assert_eq!(check(&body), Err(code), "{body}");
        }
    }
}
