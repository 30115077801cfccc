//! Inputs that are bytes: certificates, lists, recordings, entries, states, and scripts of damage.

use std::sync::Arc;

use ::dbn::encode::{DbnEncoder, EncodeRecord};
use ::dbn::{
    Action, FlagSet, MappingInterval, MboMsg, Metadata, RecordHeader, SType, Schema, SymbolMapping, TradeMsg,
    flags, rtype,
};
use rcgen::{
    CertificateParams, CertificateRevocationListParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SanType, SerialNumber,
};
use sealfeed::execute::{Engine, EngineOptions};
use sealfeed::journal::Event;
use sealfeed::journal::event::{Connect, Order, SyntheticInput};
use sealfeed::server::proxy::SIGNATURE;
use sealfeed::types::{
    BookDecimals, Instrument, Instruments, MarketDepth, Price, Principal, Quantity, Symbol,
};
use time::{Duration, OffsetDateTime};

use crate::{file, write};

const UNIT: i64 = 1_000_000_000;

pub(crate) fn write_all() {
    certificates();
    dbn();
    itch();
    log();
    proxy_header();
    state();
}

fn certificates() {
    let params = |names: &[(DnType, &str)]| {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        for (kind, value) in names {
            params.distinguished_name.push(kind.clone(), *value);
        }
        params.serial_number = Some(SerialNumber::from(vec![0x1f, 2, 3]));
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.not_before = OffsetDateTime::from_unix_timestamp(1_790_000_000).unwrap();
        params.not_after = params.not_before + Duration::days(90);
        params
    };
    let desk = [
        (DnType::OrganizationName, "acme"),
        (DnType::OrganizationalUnitName, "trader"),
        (DnType::CommonName, "desk7"),
    ];
    let made = |params: CertificateParams, algorithm| {
        let key = KeyPair::generate_for(algorithm).unwrap();
        params.self_signed(&key).unwrap().der().to_vec()
    };
    let mut named = params(&desk);
    named.subject_alt_names = vec![
        SanType::URI("sealfeed://acme/desk7".try_into().unwrap()),
        SanType::DnsName("desk7.acme.example".try_into().unwrap()),
    ];
    let hostile =
        params(&[(DnType::OrganizationName, "acme"), (DnType::CommonName, "a\u{202e}\r\n\u{1b}[2Jb")]);
    let mut server = params(&desk);
    server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::Any];
    write(
        "certificate",
        &[
            ("p256", made(params(&desk), &rcgen::PKCS_ECDSA_P256_SHA256)),
            ("ed25519", made(named, &rcgen::PKCS_ED25519)),
            ("p384", made(params(&desk[..1]), &rcgen::PKCS_ECDSA_P384_SHA384)),
            ("hostile", made(hostile, &rcgen::PKCS_ECDSA_P256_SHA256)),
            ("server", made(server, &rcgen::PKCS_ECDSA_P256_SHA256)),
        ],
    );
    let mut authority = params(&[(DnType::CommonName, "CA")]);
    authority.key_usages = vec![KeyUsagePurpose::CrlSign, KeyUsagePurpose::KeyCertSign];
    let issuer = Issuer::new(authority, KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap());
    let list = |serials: &[u8], number: u64| {
        let this_update = OffsetDateTime::from_unix_timestamp(1_795_000_000).unwrap();
        let revoked = |serial: &u8| RevokedCertParams {
            serial_number: SerialNumber::from(vec![*serial, 7]),
            revocation_time: this_update,
            reason_code: Some(rcgen::RevocationReason::KeyCompromise),
            invalidity_date: None,
        };
        let params = CertificateRevocationListParams {
            this_update,
            next_update: this_update + Duration::days(365),
            crl_number: SerialNumber::from(number),
            issuing_distribution_point: None,
            revoked_certs: serials.iter().map(revoked).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        signed_part(params.signed_by(&issuer).unwrap().der())
    };
    write("revocation_list", &[("empty", list(&[], 1)), ("three", list(&[1, 2, 0x81], 300))]);
}

/// The first element within a DER sequence.
fn signed_part(der: &[u8]) -> Vec<u8> {
    let length = |der: &[u8]| match der[1] {
        short @ 0..=127 => (2, usize::from(short)),
        0x81 => (3, usize::from(der[2])),
        _ => (4, usize::from(u16::from_be_bytes([der[2], der[3]]))),
    };
    let inner = &der[length(der).0..];
    let (head, content) = length(inner);
    inner[..head + content].to_vec()
}

fn dbn() {
    let metadata = |schema| {
        let day = time::macros::date!(2023 - 12 - 25);
        let mapping = |(symbol, number): &(&str, &str)| SymbolMapping {
            raw_symbol: (*symbol).to_owned(),
            intervals: vec![MappingInterval {
                start_date: day,
                end_date: day.next_day().unwrap(),
                symbol: (*number).to_owned(),
            }],
        };
        Metadata::builder()
            .dataset("TEST.BOOK")
            .schema(Some(schema))
            .start(0)
            .stype_in(Some(SType::RawSymbol))
            .stype_out(SType::InstrumentId)
            .mappings([("X", "1"), ("Y", "2")].iter().map(mapping).collect())
            .build()
    };
    let mbo = |action: Action, order_id: u64, price: i64, flags: u8| MboMsg {
        hd: RecordHeader::new::<MboMsg>(rtype::MBO, 1, 1, 1_000_000_000),
        order_id,
        price,
        size: 3,
        flags: FlagSet::new(flags),
        action: u8::from(action).cast_signed(),
        side: u8::from(::dbn::Side::Bid).cast_signed(),
        ts_recv: 1_000_000_000,
        ..MboMsg::default()
    };
    let mut orders = DbnEncoder::new(Vec::new(), &metadata(Schema::Mbo)).unwrap();
    let records = [
        mbo(Action::Clear, 0, ::dbn::UNDEF_PRICE, flags::SNAPSHOT),
        mbo(Action::Add, 7, 4_800 * UNIT, flags::SNAPSHOT | flags::LAST),
        mbo(Action::Modify, 7, 4_800 * UNIT + UNIT / 4, flags::LAST),
        mbo(Action::Trade, 7, 4_800 * UNIT, 0),
        mbo(Action::Fill, 7, 4_800 * UNIT, flags::LAST),
        mbo(Action::Cancel, 7, 4_800 * UNIT, flags::LAST),
    ];
    orders.encode_records(&records).unwrap();
    let mut trades = DbnEncoder::new(Vec::new(), &metadata(Schema::Trades)).unwrap();
    let trade = TradeMsg {
        hd: RecordHeader::new::<TradeMsg>(rtype::MBP_0, 1, 2, 1_000_000_000),
        price: 5 * UNIT,
        size: 1,
        action: u8::from(Action::Trade).cast_signed(),
        side: u8::from(::dbn::Side::Ask).cast_signed(),
        ts_recv: 1_000_000_000,
        ..TradeMsg::default()
    };
    trades.encode_records(&[trade.clone(), trade.clone()]).unwrap();
    // What the server sends first, and then: whose number an instrument has, and records of it.
    let header = DbnEncoder::new(Vec::new(), &metadata(Schema::Mbo)).unwrap().get_ref().clone();
    let mapping =
        ::dbn::SymbolMappingMsg::new(1, 1, SType::RawSymbol, "X", SType::InstrumentId, "1", 0, 0).unwrap();
    let frame = |bytes: &[u8]| [&u16::try_from(bytes.len()).unwrap().to_le_bytes()[..], bytes].concat();
    let live: Vec<u8> = records.iter().flat_map(|record| record.as_ref().to_vec()).collect();
    let frames = [frame(&header), frame(mapping.as_ref()), frame(&live), frame(trade.as_ref())];
    write("client_records", &[("orders", frames.concat()), ("cut", frames[..2].concat())]);
    let mbp = DbnEncoder::new(Vec::new(), &metadata(Schema::Mbp1)).unwrap();
    write(
        "dbn",
        &[
            ("orders", orders.get_ref().clone()),
            ("trades", trades.get_ref().clone()),
            ("mbp1", mbp.get_ref().clone()),
        ],
    );
}

fn itch() {
    let message = |time: u64, body: &[&[u8]]| {
        let [kind, rest @ ..] = body else { panic!("a message has a kind") };
        let content = [kind, &[0, 1, 0, 0][..], &time.to_be_bytes()[2..], &rest.concat()].concat();
        [&u16::try_from(content.len()).unwrap().to_be_bytes()[..], &content].concat()
    };
    let (order, stock) = (7_u64.to_be_bytes(), b"AAPL    ");
    let (shares, price) = (100_u32.to_be_bytes(), 1_500_000_u32.to_be_bytes());
    let day = [
        message(1, &[b"S", b"O"]),
        message(2, &[b"R", stock, b"QN", &shares, b"NCZ PNN1N", &[0; 4], b"N"]),
        message(3, &[b"H", stock, b"T ", b"    "]),
        message(4, &[b"A", &order, b"B", &shares, stock, &price]),
        message(5, &[b"E", &order, &1_u32.to_be_bytes(), &[0; 8]]),
        message(6, &[b"C", &order, &1_u32.to_be_bytes(), &[0; 8], b"Y", &price]),
        message(7, &[b"X", &order, &1_u32.to_be_bytes()]),
        message(8, &[b"U", &order, &8_u64.to_be_bytes(), &shares, &price]),
        message(9, &[b"D", &8_u64.to_be_bytes()]),
        message(10, &[b"P", &[0; 8], b"B", &shares, stock, &price, &[0; 8]]),
    ];
    write("itch", &[("day", day.concat()), ("directory", day[..3].concat())]);
}

/// A file of the golden log, as far as its lines tell.
fn golden(name: &str) -> Vec<u8> {
    let text = String::from_utf8(file("audit/tests/golden/log.txt")).unwrap();
    let lines = text.lines().skip_while(|line| !line.starts_with(&format!("file {name} "))).skip(1);
    let mut bytes = Vec::new();
    for line in lines.take_while(|line| !line.starts_with("file ")) {
        let (offset, digits) = line.split_once(' ').unwrap();
        bytes.resize(offset.parse().unwrap(), 0);
        let pairs = digits.as_bytes().chunks_exact(2);
        bytes.extend(pairs.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()));
    }
    bytes
}

fn log() {
    let segment = golden("segments/00000000000000000000.seg");
    // Behind the header: a frame's head of 8 bytes and the leaf prefix, then the entry.
    let entry = |kind: u16| {
        let kind = kind.to_le_bytes();
        let at =
            segment.windows(4).position(|four| four[0] == 1 && four[1] < 8 && four[2..] == kind).unwrap();
        let length = u32::from_le_bytes(segment[at + 92..at + 96].try_into().unwrap()) as usize;
        let links = usize::from(segment[at + 1] & 2 != 0) * 40 + usize::from(segment[at + 1] & 4 != 0) * 24;
        segment[at..at + 96 + links + length].to_vec()
    };
    write("audit_entry", &[("session", entry(300)), ("order", entry(301)), ("long", entry(302))]);
    write("audit_segment", &[("whole", segment.clone()), ("cut", segment[..4_096].to_vec())]);
    let scripts = [
        ("flip", vec![0, 3, 0x40, 0, 5]),
        ("overwrite", vec![1, 3, 0x80, 0, 4, 1, 2, 3, 4]),
        ("insert", vec![2, 1, 0x10, 0, 2, 9, 9]),
        ("remove", vec![3, 4, 0x20, 1, 200]),
        ("double", vec![4, 2, 0, 0, 100]),
        ("cut", vec![5, 4, 0x00, 8, 0]),
        ("twice", vec![0, 0, 5, 0, 1, 5, 1, 0x40, 0, 0]),
    ];
    write("audit_tamper", &scripts);
    write("audit_recovery", &scripts);
    let checkpoints = golden("checkpoints");
    let text = String::from_utf8(checkpoints).unwrap();
    let note = text.split("\n\nlog.example").next().unwrap().to_owned() + "\n";
    let key = String::from_utf8(file("audit/tests/golden/log.txt")).unwrap();
    let key = key.lines().find_map(|line| line.strip_prefix("key ")).unwrap().to_owned();
    let proof = format!("c2sp.org/tlog-proof@v1\nindex 3\n{}=\n\n{note}", "A".repeat(43));
    write("audit_note", &[("note", note.into()), ("key", key.into()), ("proof", proof.into())]);
    let bundles: Vec<(&str, Vec<u8>)> =
        scripts.iter().map(|(name, script)| (*name, [&[1], &script[..]].concat())).collect();
    write("bundle", &bundles);
    write("bundle", &[("archive", vec![0; 1_024]), ("bytes", vec![2, 0, 0, 0x90, 3, 7])]);
}

fn proxy_header() {
    let header = |command: u8, family: u8, body: &[u8]| {
        let length = u16::try_from(body.len()).unwrap().to_be_bytes();
        [&SIGNATURE[..], &[command, family], &length, body].concat()
    };
    let four = [192, 0, 2, 7, 198, 51, 100, 1, 0xd4, 0x31, 0x24, 0xe3];
    let six = [[0x20; 16], [0x30; 16]].concat();
    let six = [&six[..], &[0xd4, 0x31, 0x24, 0xe3, 0x02, 0, 1, b'x']].concat();
    write(
        "proxy_header",
        &[
            ("ipv4", header(0x21, 0x11, &four)),
            ("ipv6_with_more", [header(0x21, 0x21, &six), b"TLS".to_vec()].concat()),
            ("local", header(0x20, 0x00, &[])),
            ("version1", b"PROXY TCP4 192.0.2.7 198.51.100.1 54321 9443\r\n".to_vec()),
        ],
    );
}

fn state() {
    let connect = Connect {
        address: "192.0.2.7:5".to_owned(),
        principal: "acme/desk7".to_owned(),
        serial: "0a".to_owned(),
        certificate: "00".to_owned(),
        user_agent: "agent".to_owned(),
        protocol: "sealfeed.v1.json".to_owned(),
        role: String::new(),
        sessions: 1,
        professional: None,
        display: None,
    };
    let order = Order {
        principal: "acme/desk7".into(),
        op: "order.new".into(),
        order_id: 9,
        ts: 1,
        nonce: [3; 16],
        mac: [4; 32],
        body: "{}".into(),
        received: 2,
        admitted: 3,
        sig: sealfeed::journal::event::Bytes::default(),
        on_disconnect: 1,
    };
    let seed = |event: &Event| {
        let schema = u8::try_from(event.schema()).unwrap();
        [&event.kind().to_le_bytes()[..], &[schema], &event.encode().unwrap()].concat()
    };
    let mut seeds =
        vec![("connect".to_owned(), seed(&connect.into())), ("order".to_owned(), seed(&order.into()))];
    // Of every other kind, zeros: where its fields are numbers and texts, that is one.
    for (kind, name) in Event::KINDS {
        seeds.push((format!("{name}-zeros"), [&kind.to_le_bytes()[..], &[1], &[0; 64]].concat()));
    }
    let seeds: Vec<(&str, Vec<u8>)> =
        seeds.iter().map(|(name, bytes)| (name.as_str(), bytes.clone())).collect();
    write("journal_event", &seeds);
    write("snapshot", &[("empty", snapshot(0)), ("orders", snapshot(24))]);
}

/// The state after so many orders in two instruments, every fourth of which trades.
fn snapshot(orders: u64) -> Vec<u8> {
    let mut table = Instruments::new();
    for symbol in ["A", "B"] {
        let build = |id| Instrument {
            id,
            symbol: Symbol::new(symbol).unwrap(),
            decimals: BookDecimals::default(),
            tick: Price::from_nanos(1),
            lot: Quantity::from_nanos(1),
            band: None,
            depth: MarketDepth::Orders,
            tradable: true,
            paper: false,
        };
        table.add(build).unwrap();
    }
    let mut engine = Engine::new(Arc::new(table), EngineOptions::default());
    engine.add_owner(&Principal::new("acme", "desk7").unwrap());
    let mut events = Vec::new();
    for place in 0..orders {
        let order_id = engine.next_id().0;
        let buys = place % 2 == 0;
        let price = if place % 4 == 3 { 90 } else { if buys { 95 } else { 105 } };
        let input = SyntheticInput::New {
            owner: 1 + u32::try_from(place % 4).unwrap() * 2,
            order_id,
            instrument: u32::try_from(place % 2).unwrap(),
            buys,
            price: Some(price),
            rests: true,
            quantity: 1 + place,
        };
        engine.take_synthetic(&input, &mut events);
    }
    engine.snapshot()
}
