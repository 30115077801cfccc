//! Inputs that are text, or nearly.

use serde_json::Value;

use crate::{file, write};

pub(crate) fn write_all() {
    requests();
    configuration();
    connection();
    messages();
}

fn vectors(name: &str) -> Value {
    serde_json::from_slice(&file(&format!("tests/vectors/{name}.json"))).unwrap()
}

fn texts<'a>(list: &'a Value, field: &str) -> Vec<&'a str> {
    list.as_array().unwrap().iter().filter_map(|one| one[field].as_str()).collect()
}

fn numbered(names: &[String], seeds: Vec<Vec<u8>>) -> Vec<(&str, Vec<u8>)> {
    names.iter().map(String::as_str).zip(seeds).collect()
}

fn names(count: usize) -> Vec<String> {
    (0..count).map(|place| format!("{place:03}")).collect()
}

fn requests() {
    let requests = vectors("requests");
    let frames: Vec<Vec<u8>> =
        texts(&requests["accepted"], "frame").into_iter().map(|frame| frame.as_bytes().to_vec()).collect();
    write("request", &numbered(&names(frames.len()), frames));
    let bodies = [
        (
            0,
            r#"{"cl_ord_id":"c-1","symbol":"ESH4","side":"buy","type":"limit","price":"4.25","qty":"2","tif":"gtc","stp":"cancel_both","post_only":true}"#,
        ),
        (0, r#"{"cl_ord_id":"c-1","symbol":"ESH4","side":"sell","type":"market","qty":"0.5","tif":"ioc"}"#),
        (1, r#"{"cl_ord_id":"c-2","orig_cl_ord_id":"c-1"}"#),
        (2, r#"{"cl_ord_id":"c-2","orig_cl_ord_id":"c-1","qty":"3","price":"4.50"}"#),
        (3, r#"{"cl_ord_id":"c-2","symbol":"ESH4","side":"buy","scope":"session"}"#),
        (4, r#"{"timeout_ms":5000}"#),
        (
            5,
            r#"{"pub_seq":1,"symbol":"IDX","messages":[{"type":"trade","ts_event":"1","price":"1.5","qty":"2","side":"buy"},{"type":"snapshot","ts_event":"2","bids":[["1","2",3]],"asks":[]},{"type":"delta","ts_event":"3","bids":[["1","0",0]],"asks":[]},{"type":"bbo","ts_event":"4","bid":["1","2",1],"ask":null}]}"#,
        ),
        (6, r#"{"scope":"principal","target":"acme/desk7","action":"engage","reason":"loss"}"#),
        (7, r#"{"symbol":"ESH4","state":"halted","reason":"news"}"#),
    ];
    let seeds: Vec<Vec<u8>> = bodies.iter().map(|(op, body)| [&[*op], body.as_bytes()].concat()).collect();
    write("signed_body", &numbered(&names(seeds.len()), seeds));
    let messages = vectors("messages");
    let seeds: Vec<Vec<u8>> = ["messages", "open"]
        .iter()
        .flat_map(|list| texts(&messages[*list], "text"))
        .map(|text| text.as_bytes().to_vec())
        .collect();
    write("server_message", &numbered(&names(seeds.len()), seeds));
}

fn configuration() {
    let policy = String::from_utf8(file("docs/examples/entitlements.toml")).unwrap();
    let uncommented = policy.replace("\n# ", "\n");
    let bare = |text: &str| {
        let lines = text.lines().map(|line| line.split(" #").next().unwrap().trim_end());
        lines
            .filter(|line| !line.starts_with('#') && !line.is_empty())
            .map(|line| format!("{line}\n"))
            .collect::<String>()
    };
    write("policy", &[("example", bare(&policy).into()), ("everything", bare(&uncommented).into())]);
    let configuration = String::from_utf8(file("docs/examples/sealfeed.toml")).unwrap();
    let all = configuration.replace("# [[source]]", "[[source]]");
    let all: String = all
        .lines()
        .map(|line| match line.strip_prefix("# ") {
            Some(rest) if rest.contains(" = ") => format!("{rest}\n"),
            _ => format!("{line}\n"),
        })
        .collect();
    write("deny_list", &[("example", file("docs/examples/deny.toml"))]);
    write("configuration", &[("example", bare(&configuration).into()), ("everything", bare(&all).into())]);
}

fn connection() {
    let head = "GET /v1/feed HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n";
    let key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let seed = |more: &str| format!("\x07{head}{key}{more}\r\n").into_bytes();
    write(
        "upgrade",
        &[
            ("plain", seed("")),
            ("protocols", seed("Sec-WebSocket-Protocol: chat, sealfeed.v1.dbn\r\nUser-Agent: a/1\r\n")),
            ("origin", seed("Origin: https://desk.example\r\n")),
            ("refused", seed("Origin: https://evil.example\r\nContent-Length: 4\r\n")),
            ("frames", [seed(""), b"\x81\x80\0\0\0\0".to_vec()].concat()),
        ],
    );
    let frame = |first: u8, payload: &[u8]| {
        let length = u8::try_from(payload.len()).unwrap();
        let masked = payload.iter().zip([1, 2, 3, 4].iter().cycle()).map(|(byte, mask)| byte ^ mask);
        [vec![first, 0x80 | length, 1, 2, 3, 4], masked.collect()].concat()
    };
    let all = |frames: &[Vec<u8>]| [&[3][..], &frames.concat()].concat();
    write(
        "websocket",
        &[
            ("text", all(&[frame(0x81, b"{\"op\":\"ping\"}"), frame(0x8a, b"")])),
            ("fragments", all(&[frame(1, b"{\"op\":"), frame(0x89, b"?"), frame(0x80, b"\"whoami\"}")])),
            ("close", all(&[frame(0x82, b"\x01"), frame(0x88, b"\x03\xe8bye"), frame(0x81, b"more")])),
            ("long", all(&[vec![0x81, 0xfe, 0x04, 0x01, 0, 0, 0, 0]])),
            ("huge", all(&[vec![0x82, 0xff, 0, 0, 0, 0, 0x40, 0, 0, 0, 0, 0, 0, 0]])),
        ],
    );
}

fn messages() {
    let lines = |exchange: u8, lines: &[&str]| {
        let timed = lines.iter().enumerate().map(|(place, line)| format!("{place}.5: {line}\n"));
        [vec![exchange], timed.collect::<String>().into_bytes()].concat()
    };
    write(
        "messages",
        &[
            (
                "kraken",
                lines(
                    0,
                    &[
                        r#"[1,{"as":[["3.0","1.0","1.0"]],"bs":[["2.0","1.0","1.0"]]},"book-10","A/B"]"#,
                        r#"[1,{"b":[["2.0","1.5","2.0"]],"c":"1"},"book-10","A/B"]"#,
                        r#"[1,[["2.5","1.0","2.0","b","m",""]],"trade","A/B"]"#,
                        r#"{"event":"heartbeat"}"#,
                    ],
                ),
            ),
            (
                "okx",
                lines(
                    1,
                    &[
                        r#"{"event":"subscribe","arg":{"channel":"books","instId":"A-B"}}"#,
                        r#"{"arg":{"channel":"books","instId":"A-B"},"action":"snapshot","data":[{"asks":[],"bids":[["2","1","0","1"]],"ts":"1","checksum":1,"seqId":7,"prevSeqId":-1}]}"#,
                        r#"{"arg":{"channel":"books","instId":"A-B"},"action":"update","data":[{"asks":[["3","1","0","1"]],"bids":[["2","0","0","0"]],"ts":"1","checksum":1,"seqId":8,"prevSeqId":7}]}"#,
                        r#"{"arg":{"channel":"trades","instId":"A-B"},"data":[{"instId":"A-B","tradeId":"1","px":"2","sz":"1","side":"buy","ts":"1"}]}"#,
                    ],
                ),
            ),
            (
                "binance",
                lines(
                    6,
                    &[
                        r#"{"lastUpdateId":5,"bids":[["1.0","1.0"]],"asks":[["9.0","1.0"]]}"#,
                        r#"{"stream":"btcusdt@depth","data":{"e":"depthUpdate","E":1,"s":"BTCUSDT","U":4,"u":6,"b":[["2","1.0"]],"a":[]}}"#,
                        r#"{"stream":"btcusdt@trade","data":{"e":"trade","E":1,"s":"BTCUSDT","t":1,"p":"2","q":"1","T":1,"m":true}}"#,
                        r#"{"stream":"btcusdt@bookTicker","data":{"u":6,"s":"BTCUSDT","b":"2","B":"1","a":"9","A":"1"}}"#,
                    ],
                ),
            ),
            (
                "coinbase",
                lines(
                    3,
                    &[
                        r#"{"type":"snapshot","product_id":"A-B","bids":[["1","1"]],"asks":[["2","1"]]}"#,
                        r#"{"type":"l2update","product_id":"A-B","changes":[["buy","1.5","1"]],"time":"2021-04-17T16:48:52.000000Z"}"#,
                        r#"{"type":"match","trade_id":1,"product_id":"A-B","size":"1","price":"2","side":"buy","time":"2021-04-17T16:48:52.000000Z"}"#,
                    ],
                ),
            ),
            (
                "nanoseconds",
                [&[2][..], b"1723161253937085768 {\"lastUpdateId\":5,\"bids\":[],\"asks\":[]}\n"].concat(),
            ),
        ],
    );
}
