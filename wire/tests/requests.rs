//! Client frames: what is read, what is refused, and with which code.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

use proptest::prelude::*;
use sealfeed_wire::request::{ResumePoint, Unsubscribe, parse};
use sealfeed_wire::{
    Channel, ClientOrderId, Code, Conflation, Depth, Epoch, Nonce, OnSlow, Op, Proof, Request, RequestId,
    Sequence, Signed, SignedOp, Subscribe, Symbol, Symbols, UnixNanos,
};

const TS: &str = "1790000000000000000";
const NONCE: &str = "000102030405060708090a0b0c0d0e0f";
const MAC: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

/// The frame is refused with this code and this recovered id.
#[track_caller]
fn refused(frame: &str, code: Code, id: Option<i64>) {
    let error = parse(frame).expect_err(frame);
    assert_eq!(error.code, code, "{frame}\n{error:?}");
    assert_eq!(error.id, id.map(RequestId::Integer), "{frame}");
}

/// The frame is read as this op, without id.
#[track_caller]
fn read(frame: &str) -> Op<'_> {
    match parse(frame) {
        Ok(request) => request.op,
        Err(error) => panic!("{frame}: {error:?}"),
    }
}

fn symbol(text: &str) -> Symbol {
    Symbol::new(text).unwrap()
}

#[test]
fn a_subscription_is_read_with_all_its_options() {
    let frame = r#"{"op":"subscribe","channel":"book","symbols":["ESH4","MSFT"],"depth":0,"conflate_ms":250,
        "on_slow":"disconnect","resume":{"MSFT":{"epoch":"000000000000001f","seq":9}}}"#;
    let expected = Subscribe {
        channel: Channel::Book,
        symbols: Symbols::List(vec![symbol("ESH4"), symbol("MSFT")]),
        depth: Some(Depth::Full),
        conflate_ms: Some(Conflation::Ms250),
        on_slow: Some(OnSlow::Disconnect),
        resume: vec![(
            Some(symbol("MSFT")),
            ResumePoint { epoch: Epoch(31), seq: Sequence::new(9).unwrap() },
        )],
    };
    assert_eq!(read(frame), Op::Subscribe(expected));
}

#[test]
fn private_channels_are_subscribed_and_resumed_with_a_star() {
    for channel in ["orders", "drop_copy"] {
        let frame = format!(
            r#"{{"op":"subscribe","channel":"{channel}","symbols":["*"],"resume":{{"*":{{"epoch":"0000000000000001","seq":0}}}}}}"#
        );
        let Op::Subscribe(subscribe) = read(&frame) else { panic!() };
        assert_eq!((subscribe.channel.as_str(), subscribe.symbols), (channel, Symbols::All));
        assert_eq!(subscribe.resume, [(None, ResumePoint { epoch: Epoch(1), seq: Sequence::ZERO })]);
    }
}

#[test]
fn the_small_requests_are_read() {
    assert_eq!(read(r#"{"op":"whoami"}"#), Op::Whoami);
    assert_eq!(read(r#"{"op":"logout"}"#), Op::Logout { cancel_orders: false });
    assert_eq!(read(r#"{"op":"logout","cancel_orders":false}"#), Op::Logout { cancel_orders: false });
    assert_eq!(read(r#"{"op":"logout","cancel_orders":true}"#), Op::Logout { cancel_orders: true });
    let longest = "x".repeat(sealfeed_wire::request::TOKEN_BYTES_MAX);
    let renew = format!(r#"{{"op":"token.renew","token":"{longest}"}}"#);
    let Op::TokenRenew { token } = read(&renew) else { panic!("no renewal") };
    assert_eq!(token.0, longest);
    assert_eq!(format!("{token:?}"), "BearerToken(4096 bytes)", "nothing prints a token");
    refused(&renew.replace('x', "xy"), Code::SesFieldValueInvalid, None);
    refused(r#"{"op":"token.renew","id":7,"token":7}"#, Code::SesFieldTypeWrong, Some(7));
    refused(r#"{"op":"token.renew","id":7}"#, Code::SesFieldMissing, Some(7));
    refused(r#"{"op":"logout","id":7,"cancel_orders":1}"#, Code::SesFieldTypeWrong, Some(7));
    assert_eq!(read(r#"{"op":"ping"}"#), Op::Ping { echo: None });
    assert_eq!(read(r#"{"op":"ping","echo":"a\"\u00e9"}"#), Op::Ping { echo: Some("a\"é".into()) });
    let cl_ord_id = ClientOrderId::new("c-1").unwrap();
    assert_eq!(read(r#"{"op":"order.status","cl_ord_id":"c-1"}"#), Op::OrderStatus { cl_ord_id });
    let all = Unsubscribe { channel: Channel::Trades, symbols: Symbols::All };
    assert_eq!(read(r#"{"op":"unsubscribe","channel":"trades","symbols":["*"]}"#), Op::Unsubscribe(all));
}

#[test]
fn a_signed_request_keeps_the_bytes_of_its_body() {
    let body = "{ \"b\" :1,\t\"a\":[{\"x\":\"}\"}] }";
    for op in SignedOp::ALL {
        let frame = format!(
            r#"{{"body": {body} ,"mac":"{MAC}","nonce":"{NONCE}","ts":"{TS}","id":"é","op":"{op}"}}"#
        );
        let request = parse(&frame).unwrap();
        assert_eq!(request.id, Some(RequestId::text("é").unwrap()));
        let Op::Signed(signed) = request.op else { panic!() };
        assert_eq!((signed.op, signed.body), (*op, body));
        assert_eq!((signed.ts_text, signed.ts), (TS, UnixNanos(1_790_000_000_000_000_000)));
        assert_eq!((signed.nonce_text, signed.nonce), (NONCE, Nonce::parse(NONCE).unwrap()));
        assert_eq!(signed.proof.mac.map(|mac| sealfeed_wire::hex::encode(&mac)).as_deref(), Some(MAC));
        assert_eq!(signed.proof.sig, None);
    }
}

#[test]
fn broken_json_is_refused_and_the_id_recovered_if_it_came_before() {
    refused("", Code::SesNotAnObject, None);
    refused("[]", Code::SesNotAnObject, None);
    refused(r#"[{"op":"ping","id":1}]"#, Code::SesNotAnObject, None);
    refused(" {\"op\":\"ping\"}", Code::SesNotAnObject, None);
    refused("null", Code::SesNotAnObject, None);
    refused("{", Code::SesJsonMalformed, None);
    refused(r#"{"op":"ping","id":7"#, Code::SesJsonMalformed, Some(7));
    refused(r#"{"op":"ping","id":7,}"#, Code::SesJsonMalformed, Some(7));
    refused(r#"{"id":7,"op":NaN}"#, Code::SesJsonMalformed, Some(7));
    refused(r#"{"id":7,"op":Infinity}"#, Code::SesJsonMalformed, Some(7));
    refused(r#"{"id":7,op:"ping"}"#, Code::SesJsonMalformed, Some(7));
    refused(r#"{"id":7,"op":'ping'}"#, Code::SesJsonMalformed, Some(7));
    refused(r#"{"id":7,"op":"ping" /* */}"#, Code::SesJsonMalformed, Some(7));
    refused("{\"id\":7,\"op\":\"pi\0ng\"}", Code::SesJsonMalformed, Some(7));
    refused(r#"{"id":7,"op":"\x"}"#, Code::SesJsonMalformed, Some(7));
    refused(r#"{"id":7,"\ud800":1,"op":"ping"}"#, Code::SesJsonMalformed, Some(7));
    refused(r#"{"id":"\ud800","op":"ping"}"#, Code::SesJsonMalformed, None);
    refused(r#"{"id":1e999,"op":"ping"}"#, Code::SesJsonMalformed, None);
    refused(r#"{"id":07,"op":"ping"}"#, Code::SesJsonMalformed, None);
    refused(r#"{"id":+7,"op":"ping"}"#, Code::SesJsonMalformed, None);
}

#[test]
fn bytes_behind_the_object_are_refused() {
    for tail in [" ", "\n", "x", "{}", ",", "\0", "}"] {
        refused(&format!(r#"{{"op":"ping","id":7}}{tail}"#), Code::SesTrailingBytes, Some(7));
    }
}

#[test]
fn a_key_twice_is_refused_at_every_level() {
    refused(r#"{"op":"ping","id":7,"op":"ping"}"#, Code::SesKeyDuplicate, Some(7));
    refused(r#"{"op":"ping","id":7,"\u006fp":"whoami"}"#, Code::SesKeyDuplicate, Some(7));
    refused(r#"{"op":"ping","id":7,"id":7}"#, Code::SesKeyDuplicate, None);
    let resume = r#"{"A":{"epoch":"0000000000000001","seq":1},"A":{"epoch":"0000000000000001","seq":1}}"#;
    let frame = format!(r#"{{"op":"subscribe","id":7,"channel":"bbo","symbols":["A"],"resume":{resume}}}"#);
    refused(&frame, Code::SesKeyDuplicate, Some(7));
    let resume = r#"{"A":{"epoch":"0000000000000001","seq":1,"seq":1}}"#;
    let frame = format!(r#"{{"op":"subscribe","id":7,"channel":"bbo","symbols":["A"],"resume":{resume}}}"#);
    refused(&frame, Code::SubResumeInvalid, Some(7));
}

#[test]
fn an_op_must_be_there_and_known() {
    refused(r#"{"id":7}"#, Code::SesFieldMissing, Some(7));
    refused(r#"{"id":7,"op":1}"#, Code::SesFieldTypeWrong, Some(7));
    refused(r#"{"id":7,"op":null}"#, Code::SesFieldTypeWrong, Some(7));
    refused(r#"{"id":7,"op":"\ud800"}"#, Code::SesJsonMalformed, Some(7));
    for op in ["", "Ping", "ping ", "subscribe\u{0}", "order.new\u{200b}", "orders"] {
        let frame = format!(r#"{{"id":7,"op":{}}}"#, serde_json::to_string(op).unwrap());
        refused(&frame, Code::SesOpUnknown, Some(7));
    }
    refused(r#"{"id":7,"op":"nope","bogus":1}"#, Code::SesOpUnknown, Some(7));
}

#[test]
fn an_id_is_a_safe_integer_or_a_short_text() {
    let long = "x".repeat(37);
    let bad = [
        "null",
        "true",
        "1.0",
        "1e2",
        "-0",
        "9007199254740992",
        "-9007199254740992",
        "[]",
        "{}",
        "99999999999999999999999999",
        r#""\u0000""#,
        r#""\n""#,
    ];
    for id in bad.map(str::to_owned).into_iter().chain([format!("\"{long}\"")]) {
        refused(&format!(r#"{{"op":"ping","id":{id}}}"#), Code::SesIdInvalid, None);
    }
    for (id, expected) in [
        ("9007199254740991", RequestId::Integer(9_007_199_254_740_991)),
        ("-1", RequestId::Integer(-1)),
        ("\"\"", RequestId::Text("".into())),
        (r#""\u00e9""#, RequestId::Text("é".into())),
    ] {
        assert_eq!(parse(&format!(r#"{{"op":"ping","id":{id}}}"#)).unwrap().id, Some(expected));
    }
}

#[test]
fn unknown_fields_are_refused_even_if_another_op_knows_them() {
    refused(r#"{"op":"ping","id":7,"bogus":1}"#, Code::SesFieldUnknown, Some(7));
    refused(r#"{"bogus":{"id":8},"op":"ping","id":7}"#, Code::SesFieldUnknown, Some(7));
    refused(r#"{"op":"ping","id":7,"channel":"bbo"}"#, Code::SesFieldUnknown, Some(7));
    refused(r#"{"op":"whoami","id":7,"echo":"x"}"#, Code::SesFieldUnknown, Some(7));
    refused(r#"{"op":"logout","id":7,"mac":"x"}"#, Code::SesFieldUnknown, Some(7));
    refused(r#"{"op":"ping","id":7,"Echo":"x"}"#, Code::SesFieldUnknown, Some(7));
    let error = parse(r#"{"op":"ping","id":7,"bo\u0000gus\ud83d\ude00":1}"#).unwrap_err();
    assert_eq!(error.detail, r"bo\u{0}gus\u{1f600}", "what is repeated is printable");
}

#[test]
fn the_fields_of_a_subscription_are_checked() {
    let check =
        |fields: &str, code| refused(&format!(r#"{{"op":"subscribe","id":7,{fields}}}"#), code, Some(7));
    check(r#""symbols":["A"]"#, Code::SesFieldMissing);
    check(r#""channel":"bbo""#, Code::SesFieldMissing);
    check(r#""channel":1,"symbols":["A"]"#, Code::SesFieldTypeWrong);
    check(r#""channel":"book2","symbols":["A"]"#, Code::SubChannelUnknown);
    check(r#""channel":"bbo","symbols":"A""#, Code::SesFieldTypeWrong);
    check(r#""channel":"bbo","symbols":{"A":1}"#, Code::SesFieldTypeWrong);
    check(r#""channel":"bbo","symbols":[1]"#, Code::SesFieldTypeWrong);
    check(r#""channel":"bbo","symbols":[null]"#, Code::SesFieldTypeWrong);
    check(r#""channel":"bbo","symbols":[["A"]]"#, Code::SesFieldTypeWrong);
    check(r#""channel":"bbo","symbols":["\ud800"]"#, Code::SesFieldTypeWrong);
    check(r#""channel":"bbo","symbols":[]"#, Code::SubSymbolsInvalid);
    check(r#""channel":"bbo","symbols":["A","B","A"]"#, Code::SubSymbolsInvalid);
    check(r#""channel":"bbo","symbols":["*","A"]"#, Code::SubSymbolsInvalid);
    check(r#""channel":"bbo","symbols":["*","*"]"#, Code::SubSymbolsInvalid);
    check(r#""channel":"bbo","symbols":[""]"#, Code::SubSymbolMalformed);
    check(r#""channel":"bbo","symbols":["A B"]"#, Code::SubSymbolMalformed);
    check(r#""channel":"bbo","symbols":["A\u0000"]"#, Code::SubSymbolMalformed);
    check(r#""channel":"orders","symbols":["A"]"#, Code::SubPrivateWildcardOnly);
    check(r#""channel":"drop_copy","symbols":["A"]"#, Code::SubPrivateWildcardOnly);
    for depth in ["20", "-10", "10.0", "1e1", "65546", "99999999999999999999"] {
        check(&format!(r#""channel":"book","symbols":["A"],"depth":{depth}"#), Code::SubDepthInvalid);
    }
    for depth in [r#""10""#, "null", "true", "[10]"] {
        check(&format!(r#""channel":"book","symbols":["A"],"depth":{depth}"#), Code::SesFieldTypeWrong);
    }
    check(r#""channel":"trades","symbols":["A"],"depth":10"#, Code::SubOptionNotApplicable);
    check(r#""channel":"trades","symbols":["A"],"conflate_ms":0"#, Code::SubOptionNotApplicable);
    check(r#""channel":"bbo","symbols":["A"],"conflate_ms":1"#, Code::SubConflationInvalid);
    check(r#""channel":"bbo","symbols":["A"],"conflate_ms":"0""#, Code::SesFieldTypeWrong);
    check(r#""channel":"bbo","symbols":["A"],"on_slow":"drop""#, Code::SesFieldValueInvalid);
    check(r#""channel":"bbo","symbols":["A"],"on_slow":1"#, Code::SesFieldTypeWrong);
}

#[test]
fn resume_names_symbols_of_the_request_with_epoch_and_seq() {
    let check = |resume: &str, code| {
        let frame =
            format!(r#"{{"op":"subscribe","id":7,"channel":"bbo","symbols":["A"],"resume":{resume}}}"#);
        refused(&frame, code, Some(7));
    };
    check("[]", Code::SesFieldTypeWrong);
    check("null", Code::SesFieldTypeWrong);
    let point = r#"{"epoch":"0000000000000001","seq":1}"#;
    check(&format!(r#"{{"B":{point}}}"#), Code::SubResumeInvalid);
    check(&format!(r#"{{"*":{point}}}"#), Code::SubResumeInvalid);
    for point in [
        "1",
        "[]",
        "{}",
        r#"["0000000000000001",1]"#,
        r#"{"epoch":"0000000000000001"}"#,
        r#"{"epoch":"0000000000000001","seq":-1}"#,
        r#"{"epoch":"0000000000000001","seq":"1"}"#,
        r#"{"epoch":"0000000000000001","seq":1.0}"#,
        r#"{"epoch":"0000000000000001","seq":9007199254740992}"#,
        r#"{"epoch":"000000000000000A","seq":1}"#,
        r#"{"epoch":1,"seq":1}"#,
        r#"{"epoch":"0000000000000001","seq":1,"x":1}"#,
    ] {
        check(&format!(r#"{{"A":{point}}}"#), Code::SubResumeInvalid);
    }
}

#[test]
fn the_fields_of_a_signed_request_are_checked() {
    let frame = |field: &str, value: &str| {
        let mut fields = vec![
            ("ts", format!("\"{TS}\"")),
            ("nonce", format!("\"{NONCE}\"")),
            ("mac", format!("\"{MAC}\"")),
            ("body", "{}".to_owned()),
        ];
        fields.retain(|(name, _)| *name != field);
        let mut text = r#"{"op":"order.new","id":7"#.to_owned();
        for (name, value) in fields {
            text += &format!(",\"{name}\":{value}");
        }
        if !value.is_empty() {
            text += &format!(",\"{field}\":{value}");
        }
        text + "}"
    };
    let check = |field, value: &str, code| refused(&frame(field, value), code, Some(7));
    for field in ["ts", "nonce", "body"] {
        check(field, "", Code::SesFieldMissing);
    }
    check("mac", "", Code::OrdMacMissing);
    for sig in ["", "x", &"A".repeat(85), &format!("{}==", "A".repeat(86)), &format!("{}+", "A".repeat(85))] {
        check("sig", &format!("\"{sig}\""), Code::OrdSignatureMalformed);
    }
    for field in ["ts", "nonce", "mac", "sig"] {
        check(field, "1", Code::SesFieldTypeWrong);
        check(field, "null", Code::SesFieldTypeWrong);
    }
    for ts in ["", "01", "-1", "1.5", "1e9", "18446744073709551616", " 1", r"\u0031"] {
        check("ts", &format!("\"{ts}\""), Code::OrdTimestampMalformed);
    }
    for nonce in ["", "00", &NONCE.to_uppercase(), &NONCE.replace('a', r"\u0061"), &NONCE.replace("0a", "0g")]
    {
        check("nonce", &format!("\"{nonce}\""), Code::OrdNonceMalformed);
    }
    for mac in ["", NONCE, &MAC.to_uppercase(), &format!("{MAC}00")] {
        check("mac", &format!("\"{mac}\""), Code::OrdMacMalformed);
    }
    for body in ["[]", "null", "\"{}\"", "1", "true", "[{}]"] {
        check("body", body, Code::OrdBodyNotObject);
    }
}

#[test]
fn other_fields_of_small_requests_are_checked() {
    refused(r#"{"op":"ping","id":7,"echo":1}"#, Code::SesFieldTypeWrong, Some(7));
    let long = "x".repeat(129);
    refused(&format!(r#"{{"op":"ping","id":7,"echo":"{long}"}}"#), Code::SesFieldValueInvalid, Some(7));
    refused(r#"{"op":"order.status","id":7}"#, Code::SesFieldMissing, Some(7));
    refused(r#"{"op":"order.status","id":7,"cl_ord_id":1}"#, Code::SesFieldTypeWrong, Some(7));
    refused(r#"{"op":"order.status","id":7,"cl_ord_id":"a b"}"#, Code::OrdClientOrderIdInvalid, Some(7));
}

#[test]
fn nesting_of_any_depth_is_survived() {
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        let depth = 100_000;
        let deep = open.repeat(depth) + "1" + &close.repeat(depth);
        refused(&format!(r#"{{"op":"ping","id":7,"x":{deep}}}"#), Code::SesFieldUnknown, Some(7));
        refused(
            &format!(r#"{{"op":"ping","id":7,"x":{}"#, open.repeat(depth)),
            Code::SesJsonMalformed,
            Some(7),
        );
        refused(&format!(r#"{{"op":"ping","id":7,"echo":{deep}}}"#), Code::SesFieldTypeWrong, Some(7));
        let frame = format!(r#"{{"op":"subscribe","id":7,"channel":"bbo","symbols":[{deep}]}}"#);
        refused(&frame, Code::SesFieldTypeWrong, Some(7));
        let frame =
            format!(r#"{{"op":"subscribe","id":7,"channel":"bbo","symbols":["A"],"resume":{{"A":{deep}}}}}"#);
        refused(&frame, Code::SubResumeInvalid, Some(7));
    }
}

fn any_id() -> impl Strategy<Value = Option<RequestId>> {
    prop_oneof![
        Just(None),
        (-((1i64 << 53) - 1)..(1 << 53)).prop_map(|number| Some(RequestId::Integer(number))),
        "[^\\p{Cc}]{0,36}".prop_map(|text| Some(RequestId::text(text).unwrap())),
    ]
}

fn any_symbols() -> impl Strategy<Value = Symbols> {
    prop_oneof![
        Just(Symbols::All),
        prop::collection::btree_set("[A-Za-z0-9._/:-]{1,32}", 1..8)
            .prop_map(|set| Symbols::List(set.iter().map(|text| symbol(text)).collect())),
    ]
}

fn any_subscribe() -> impl Strategy<Value = Subscribe> {
    let channel = prop::sample::select(Channel::ALL);
    let depth = prop::option::of(prop::sample::select(Depth::ALL));
    let conflate_ms = prop::option::of(prop::sample::select(Conflation::ALL));
    let on_slow = prop::option::of(prop::sample::select(OnSlow::ALL));
    let point = (any::<u64>(), 0..=sealfeed_wire::value::INTEGER_MAX);
    let point =
        point.prop_map(|(epoch, seq)| ResumePoint { epoch: Epoch(epoch), seq: Sequence::new(seq).unwrap() });
    (channel, any_symbols(), depth, conflate_ms, on_slow, prop::option::of(point)).prop_map(
        |(channel, symbols, depth, conflate_ms, on_slow, point)| {
            let symbols = if channel.is_private() { Symbols::All } else { symbols };
            let key = match &symbols {
                Symbols::All => (!channel.is_private()).then(|| symbol("ANY")),
                Symbols::List(list) => list.first().copied(),
            };
            Subscribe {
                channel,
                symbols,
                depth: depth.filter(|_| channel == Channel::Book),
                conflate_ms: conflate_ms.filter(|_| matches!(channel, Channel::Bbo | Channel::Book)),
                on_slow,
                resume: point.map(|point| (key, point)).into_iter().collect(),
            }
        },
    )
}

proptest! {
    #[test]
    fn what_a_client_encodes_the_server_reads(id in any_id(), subscribe in any_subscribe(), echo in ".{0,32}") {
        let unsubscribe = Unsubscribe { channel: subscribe.channel, symbols: subscribe.symbols.clone() };
        for op in [Op::Subscribe(subscribe), Op::Unsubscribe(unsubscribe), Op::Ping { echo: Some(echo.into()) }] {
            let request = Request { id: id.clone(), op };
            let frame = request.encode();
            prop_assert_eq!(parse(&frame), Ok(request));
        }
    }

    #[test]
    fn what_a_client_signs_the_server_reads(
        id in any_id(), ts in any::<u64>(), nonce in any::<[u8; 16]>(), mac in any::<[u8; 32]>(), which in 0..3,
        op in prop::sample::select(SignedOp::ALL), text in "[ -!#-\\[\\]-~]{0,40}",
    ) {
        let body = format!("{{\"x\" : \"{text}\"}}");
        let (ts, nonce) = (UnixNanos(ts), Nonce(nonce));
        let mut sig = [7; 64];
        sig[..32].copy_from_slice(&mac);
        let proof = Proof { mac: (which != 1).then_some(mac), sig: (which != 0).then_some(sig) };
        let frame = sealfeed_wire::request::encode_signed(id.clone(), op, ts, nonce, proof, &body);
        let (ts_text, nonce_text) = (ts.to_string(), nonce.to_string());
        let signed = Signed { op, ts_text: &ts_text, ts, nonce_text: &nonce_text, nonce, proof, body: &body };
        prop_assert_eq!(parse(&frame), Ok(Request { id, op: Op::Signed(signed) }));
    }

    #[test]
    fn no_text_makes_the_parser_panic(text in "\\PC*", tail in "[\\{\\}\\[\\]\":,0-9a-z\\\\]{0,64}") {
        let _ = parse(&text);
        let _ = parse(&format!("{{\"op\":\"subscribe\",{tail}"));
        let _ = parse(&format!("{{{tail}"));
    }

    #[test]
    fn one_changed_byte_never_reads_as_the_same_signed_request(at in 0usize..400, byte in 0x20u8..0x7f) {
        let body = r#"{"cl_ord_id":"c-1","symbol":"ESH4","side":"buy","type":"limit","qty":"3","price":"4783.25","tif":"day"}"#;
        let frame = sealfeed_wire::request::encode_signed(
            None, SignedOp::OrderNew, UnixNanos(1), Nonce([0xab; 16]),
            Proof { mac: Some([0xcd; 32]), sig: Some([0xef; 64]) }, body);
        let at = at % frame.len();
        let mut changed = frame.clone().into_bytes();
        prop_assume!(changed[at] != byte);
        changed[at] = byte;
        let changed = String::from_utf8(changed).unwrap();
        let original = parse(&frame).unwrap();
        if let Ok(request) = parse(&changed) {
            prop_assert_ne!(request, original);
        }
    }
}
