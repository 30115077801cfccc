//! `docs/asyncapi.yaml` describes the messages, requests and words that this crate knows, and no others; every example of
//! `docs/PROTOCOL.md` is what it describes.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

use std::collections::BTreeSet;

use sealfeed_wire::market::{CancelReason, MarketMessage};
use sealfeed_wire::request::{Op, parse};
use sealfeed_wire::{
    AdminVerb, Aggressor, Channel, Conflation, Depth, KillAction, KillScope, MassCancelScope, OnSlow,
    OrderType, PATH, ProofDemand, SUBPROTOCOL_DBN, SUBPROTOCOL_JSON, ServerMessage, Side, SignedOp, Stp,
    TimeInForce, TradingPhase,
};
use serde_json::{Value, json};

/// Names of the variants of an enum, and a match without a wildcard: a variant that is not in the list does not compile.
macro_rules! names {
    ($list:ident of $type:ty { $($pattern:pat => $name:literal,)+ }) => {
        const $list: &[&str] = &[$($name),+];
        const _: fn(&$type) -> &'static str = |value| match value { $($pattern => $name,)+ };
    };
}

// The empty name: what stands for others, or for none.
names!(SERVER of ServerMessage {
    ServerMessage::Welcome(_) => "welcome",
    ServerMessage::Done(_) => "ok",
    ServerMessage::Subscribed(_) => "subscribed",
    ServerMessage::Pong(_) => "pong",
    ServerMessage::Whoami(_) => "whoami",
    ServerMessage::Order(_) => "order",
    ServerMessage::OrderStatus(_) => "order_status",
    ServerMessage::Error(_) => "error",
    ServerMessage::Entitlement(_) => "entitlement",
    ServerMessage::Shutdown(_) => "server_shutdown",
    ServerMessage::Market(_) | ServerMessage::Unknown { .. } => "",
});

names!(MARKET of MarketMessage {
    MarketMessage::Trade(_) => "trade",
    MarketMessage::Bbo(_) => "bbo",
    MarketMessage::Snapshot(_) => "snapshot",
    MarketMessage::Delta(_) => "delta",
    MarketMessage::Mbo(_) => "mbo",
    MarketMessage::MboSnapshot(_) => "mbo_snapshot",
    MarketMessage::Ohlcv(_) => "ohlcv",
    MarketMessage::Status(_) => "status",
    MarketMessage::Definition(_) => "definition",
    MarketMessage::Exec(_) => "exec",
    MarketMessage::Heartbeat(_) => "heartbeat",
    MarketMessage::Stale(_) => "stale",
    MarketMessage::Gap(_) => "gap",
    MarketMessage::Skipped(_) => "skipped",
    MarketMessage::IntervalEnd(_) => "interval_end",
    MarketMessage::Slow(_) => "slow",
});

names!(OPS of Op<'_> {
    Op::Subscribe(_) => "subscribe",
    Op::Unsubscribe(_) => "unsubscribe",
    Op::Ping { .. } => "ping",
    Op::Whoami => "whoami",
    Op::OrderStatus { .. } => "order.status",
    Op::TokenRenew { .. } => "token.renew",
    Op::Logout { .. } => "logout",
    Op::Signed(_) => "",
});

fn description() -> Value {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/asyncapi.yaml");
    serde_saphyr::from_str(&std::fs::read_to_string(path).expect(path)).unwrap()
}

/// What `$ref` leads to.
fn resolved<'a>(document: &'a Value, value: &'a Value) -> &'a Value {
    match value["$ref"].as_str() {
        Some(path) => {
            let target = document.pointer(path.strip_prefix('#').unwrap());
            resolved(document, target.unwrap_or_else(|| panic!("{path} leads nowhere")))
        }
        None => value,
    }
}

/// The payloads of all messages that have this tag, with the words it has.
fn tagged<'a>(document: &'a Value, tag: &str) -> Vec<(&'a str, &'a Value)> {
    let messages = document["components"]["messages"].as_object().unwrap().values();
    let tagged = messages.filter_map(|message| {
        let word = message["payload"]["properties"][tag]["const"].as_str()?;
        // Some requests have a field `type` too, and no reply has an `op`.
        (message["name"] == word).then_some((word, &message["payload"]))
    });
    tagged.collect()
}

fn set<'a>(words: impl IntoIterator<Item = &'a str>) -> BTreeSet<&'a str> {
    words.into_iter().filter(|word| !word.is_empty()).collect()
}

/// Whether a value has one of the types of a schema that names any.
fn has_type(schema: &Value, value: &Value) -> bool {
    let types = match &schema["type"] {
        Value::String(one) => vec![&one[..]],
        Value::Array(several) => several.iter().map(|one| one.as_str().unwrap()).collect(),
        _ => return true,
    };
    types.into_iter().any(|name| match name {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        other => panic!("the type {other} is not checked"),
    })
}

/// Why a value is not what a schema describes; only the words of JSON Schema that the document uses.
fn check(document: &Value, schema: &Value, value: &Value, place: &str) -> Result<(), String> {
    let schema = resolved(document, schema);
    let wrong = |what: &str| Err(format!("{place}: {value} {what} {schema}"));
    for word in schema.as_object().unwrap().keys() {
        let known = [
            "type",
            "const",
            "enum",
            "oneOf",
            "properties",
            "required",
            "additionalProperties",
            "items",
            "minItems",
            "maxItems",
            "minimum",
            "maximum",
            "maxLength",
            "pattern",
            "description",
            "format",
        ];
        assert!(known.contains(&&word[..]), "{place}: {word} is not checked");
    }
    if !has_type(schema, value) {
        return wrong("has another type than");
    }
    if schema.get("const").is_some_and(|word| word != value) {
        return wrong("is not the word of");
    }
    if schema["enum"].as_array().is_some_and(|words| !words.contains(value)) {
        return wrong("is no word of");
    }
    if let Some(choices) = schema["oneOf"].as_array()
        && !choices.iter().any(|choice| check(document, choice, value, place).is_ok())
    {
        return wrong("is none of");
    }
    if let (Some(list), Some(items)) = (value.as_array(), schema.get("items")) {
        for (index, item) in list.iter().enumerate() {
            check(document, items, item, &format!("{place}[{index}]"))?;
        }
    }
    let Some(fields) = value.as_object() else { return Ok(()) };
    for required in schema["required"].as_array().into_iter().flatten() {
        if !fields.contains_key(required.as_str().unwrap()) {
            return wrong(&format!("lacks {required} of"));
        }
    }
    for (name, field) in fields {
        let place = format!("{place}.{name}");
        match (schema["properties"].get(name), &schema["additionalProperties"]) {
            (Some(schema), _) => check(document, schema, field, &place)?,
            (None, schema) if schema.is_object() => check(document, schema, field, &place)?,
            (None, Value::Null) if schema.get("properties").is_none() => {}
            // Of what is described nothing may be left out, although readers pass over what they do not know.
            (None, _) => return wrong(&format!("has {name}, which is not in")),
        }
    }
    Ok(())
}

#[test]
fn every_type_of_message_and_every_op_is_described_and_no_other() {
    let document = description();
    assert_eq!(document["asyncapi"], "3.0.0");
    let types = tagged(&document, "type").into_iter().map(|(word, _)| word);
    assert_eq!(set(types), set(SERVER.iter().chain(MARKET).copied()));
    let ops = tagged(&document, "op").into_iter().map(|(word, _)| word);
    let signed = SignedOp::ALL.iter().map(|op| op.as_str());
    assert_eq!(set(ops), set(OPS.iter().copied().chain(signed)));
    let messages = document["components"]["messages"].as_object().unwrap();
    let binary: Vec<&String> = messages
        .iter()
        .filter(|(_, message)| message["contentType"] == "application/octet-stream")
        .map(|(name, _)| name)
        .collect();
    assert_eq!(binary, ["dbnHeader", "dbnRecords"]);
    let texts = tagged(&document, "type").len() + tagged(&document, "op").len();
    assert_eq!(messages.len(), texts + binary.len(), "a message of no type and no op");
}

#[test]
fn words_are_those_of_the_wire() {
    let document = description();
    let words = |name: &str| document["components"]["schemas"][name]["enum"].clone();
    fn all<T: serde::Serialize>(words: &[T]) -> Value {
        serde_json::to_value(words).unwrap()
    }
    assert_eq!(words("channel"), all(Channel::ALL));
    assert_eq!(words("onSlow"), all(OnSlow::ALL));
    assert_eq!(words("side"), all(Side::ALL));
    assert_eq!(words("aggressor"), all(Aggressor::ALL));
    assert_eq!(words("orderType"), all(OrderType::ALL));
    assert_eq!(words("timeInForce"), all(TimeInForce::ALL));
    assert_eq!(words("stp"), all(Stp::ALL));
    assert_eq!(words("massCancelScope"), all(MassCancelScope::ALL));
    assert_eq!(words("proofDemand"), all(ProofDemand::ALL));
    assert_eq!(words("adminVerb"), all(AdminVerb::ALL));
    assert_eq!(words("killScope"), all(KillScope::ALL));
    assert_eq!(words("killAction"), all(KillAction::ALL));
    assert_eq!(words("tradingPhase"), all(TradingPhase::ALL));
    let reasons: Vec<&str> = CancelReason::ALL.iter().map(|reason| reason.as_str()).collect();
    assert_eq!(words("cancelReason"), json!(reasons));
    for number in 0..=u16::MAX {
        let is_in = |name: &str| words(name).as_array().unwrap().contains(&json!(number));
        if number <= 1_001 {
            assert_eq!(Depth::try_from(number).is_ok(), is_in("depth"), "depth {number}");
            assert_eq!(Conflation::try_from(number).is_ok(), is_in("conflation"), "conflation {number}");
        }
    }
    let feed = &document["channels"]["feed"];
    assert_eq!(feed["address"], PATH);
    let protocols = &feed["bindings"]["ws"]["headers"]["properties"]["Sec-WebSocket-Protocol"]["enum"];
    assert_eq!(*protocols, json!([SUBPROTOCOL_JSON, SUBPROTOCOL_DBN]));
    assert_eq!(document["components"]["securitySchemes"]["mutualTls"]["type"], "X509");
    let security = resolved(&document, &document["servers"]["feed"]["security"][0]);
    assert_eq!(security["type"], "X509");
}

#[test]
fn every_reference_leads_somewhere_and_every_message_is_sent_or_received() {
    let document = description();
    let mut waiting = vec![&document];
    while let Some(value) = waiting.pop() {
        resolved(&document, value);
        match value {
            Value::Object(fields) => waiting.extend(fields.values()),
            Value::Array(list) => waiting.extend(list),
            _ => {}
        }
    }
    let mut used = BTreeSet::new();
    for (name, operation) in document["operations"].as_object().unwrap() {
        let replies = operation["reply"]["messages"].as_array().into_iter().flatten();
        for message in operation["messages"].as_array().unwrap().iter().chain(replies) {
            let path = message["$ref"].as_str().unwrap();
            used.insert(
                path.strip_prefix("#/channels/feed/messages/").unwrap_or_else(|| panic!("{name}: {path}")),
            );
        }
    }
    let of_channel = document["channels"]["feed"]["messages"].as_object().unwrap();
    assert_eq!(used, of_channel.keys().map(|name| &name[..]).collect());
    assert!(of_channel.keys().eq(document["components"]["messages"].as_object().unwrap().keys()));
}

#[test]
fn every_example_of_the_protocol_and_every_golden_frame_is_as_described() {
    let document = description();
    let file = |name: &str| {
        let path = format!("{}/../{name}", env!("CARGO_MANIFEST_DIR"));
        std::fs::read_to_string(&path).expect(&path)
    };
    let protocol = file("docs/PROTOCOL.md");
    let blocks = protocol.split("```json\n").skip(1).map(|block| block.split("\n```").next().unwrap());
    let vectors: Value = serde_json::from_str(&file("tests/vectors/messages.json")).unwrap();
    // The body of a refused upgrade is no frame.
    let golden = vectors["messages"].as_array().unwrap().iter().map(|case| case["text"].as_str().unwrap());
    let golden = golden.filter(|text| text.starts_with("{\"type\":"));
    let (types, ops) = (tagged(&document, "type"), tagged(&document, "op"));
    let mut seen = BTreeSet::new();
    for frame in blocks.flat_map(str::lines).chain(golden) {
        let value: Value = serde_json::from_str(frame).unwrap();
        let (tag, described) = if value.get("op").is_some() { ("op", &ops) } else { ("type", &types) };
        let word = value[tag].as_str().unwrap();
        let (word, payload) = described.iter().find(|(name, _)| *name == word).expect(word);
        check(&document, payload, &value, word).unwrap_or_else(|error| panic!("{error}\n{frame}"));
        seen.insert((tag, *word));
    }
    let types = set(seen.iter().filter(|(tag, _)| *tag == "type").map(|(_, word)| *word));
    assert_eq!(types, set(SERVER.iter().chain(MARKET).copied()), "every type was seen");
}

#[test]
fn requests_have_the_fields_that_the_wire_takes() {
    let document = description();
    for (op, payload) in tagged(&document, "op") {
        let is_signed = SignedOp::parse(op).is_ok();
        for field in [
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
        ] {
            let described = payload["properties"].get(field).is_some();
            let frame = format!(r#"{{"op":"{op}","{field}":[]}}"#);
            let code = parse(&frame).unwrap_err().code;
            // A field of another op is refused as unknown before any is looked at.
            let is_taken = code != sealfeed_wire::Code::SesFieldUnknown;
            assert_eq!(is_taken, described, "{op}: {field}: {code}");
        }
        assert_eq!(payload["additionalProperties"], false, "{op}");
        assert_eq!(payload["properties"].get("mac").is_some(), is_signed, "{op}");
        assert_eq!(payload["properties"].get("sig").is_some(), is_signed, "{op}");
    }
}
