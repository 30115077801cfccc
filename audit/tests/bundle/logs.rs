//! Logs with orders in them, written as the server writes them, by hand: this crate does not know its events.

use std::path::Path;

use sealfeed_audit::cosignature::WitnessSigner;
use sealfeed_audit::note::{Note, SigningKey, VerifierKey};
use sealfeed_audit::{ClockEvidence, Draft, Log, Options, OrderLink, SessionLink, kind};
use tempfile::TempDir;

use crate::support::{init_log, options};

/// A payload being written: what postcard makes of a server's event.
#[derive(Default)]
pub(crate) struct Payload(pub(crate) Vec<u8>);

impl Payload {
    pub(crate) fn number(mut self, mut number: u64) -> Self {
        while number >= 0x80 {
            self.0.push(number.to_le_bytes()[0] | 0x80);
            number >>= 7;
        }
        self.0.push(number.to_le_bytes()[0]);
        self
    }

    pub(crate) fn bytes(self, bytes: &[u8]) -> Self {
        let mut payload = self.number(bytes.len() as u64);
        payload.0.extend_from_slice(bytes);
        payload
    }

    pub(crate) fn text(self, text: &str) -> Self {
        self.bytes(text.as_bytes())
    }

    pub(crate) fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }
}

pub(crate) fn draft(kind: u16, payload: Payload) -> Draft {
    Draft { kind, schema: 1, payload: payload.0, ..Draft::default() }
}

pub(crate) fn certificate(leaf: &[u8]) -> Draft {
    let sha256 = sealfeed_audit::hex(&sealfeed_audit::sha256(leaf));
    draft(278, Payload::default().text(&sha256).number(2).bytes(leaf).bytes(b"an authority").number(0))
}

pub(crate) fn connect(session: u8, principal: &str, leaf: &[u8]) -> Draft {
    let sha256 = sealfeed_audit::hex(&sealfeed_audit::sha256(leaf));
    let payload = Payload::default().text("127.0.0.1:5").text(principal).text("0a").text(&sha256);
    let link = Some(SessionLink { id: [session; 32], event: 0 });
    Draft { session: link, ..draft(261, payload.text("agent").text("sealfeed.v1")) }
}

/// The message that makes an order, or that cancels it.
pub(crate) fn order(session: u8, principal: &str, link: OrderLink, op: &str) -> Draft {
    let payload =
        Payload::default().text(principal).text(op).number(link.id).number(1_790_000_000_000_000_000);
    let payload = payload.raw(&[3; 48]).text(r#"{"cl_ord_id":"c-1","price":"1.00"}"#).number(1 << 60);
    let session = Some(SessionLink { id: [session; 32], event: link.event + 1 });
    Draft { session, order: Some(link), ..draft(266, payload.number(u64::MAX)) }
}

pub(crate) fn refused(session: u8, principal: &str, link: OrderLink) -> Draft {
    let payload = Payload::default().text(principal).text("order.cancel").text("SF-ORD-037").number(7);
    let payload = payload.raw(&[4; 48]).text("{}").number(9);
    let session = Some(SessionLink { id: [session; 32], event: link.event + 1 });
    Draft { session, order: Some(link), ..draft(267, payload) }
}

pub(crate) fn execution(principal: &str, link: OrderLink, exec: &str) -> Draft {
    let payload = Payload::default().text(principal).text("c-1").number(link.id).text("SEAL").text(exec);
    let payload = payload.text("buy").number(2).number(300).number(0).number(0).number(0).number(1);
    Draft { order: Some(link), ..draft(268, payload) }
}

pub(crate) fn clock() -> Draft {
    let evidence = ClockEvidence { discipline: None, step_ns: 0, tolerance_ns: 1 };
    Draft { kind: kind::CLOCK, payload: evidence.to_payload(), ..Draft::default() }
}

/// Writes the lives of orders into a log.
pub(crate) struct Writer {
    pub(crate) log: Log,
}

impl Writer {
    pub(crate) fn open(folder: &Path, change: impl FnOnce(&mut Options)) -> Self {
        let mut options = options();
        change(&mut options);
        Self { log: Log::open(folder, options).unwrap() }
    }

    pub(crate) fn add(&self, draft: Draft) -> u64 {
        self.log.append(draft).unwrap()
    }

    /// The life of an order with three events, other entries in between: bought, filled in part, cancelled from another session.
    pub(crate) fn life(&self, id: u64, principal: &str) -> [u64; 4] {
        let first = self.add(order(1, principal, OrderLink { id, previous: None, event: 0 }, "order.new"));
        self.noise(3);
        let link = OrderLink { id, previous: Some(first), event: 1 };
        let second = self.add(execution(principal, link, "partial_fill"));
        self.noise(2);
        let link = OrderLink { id, previous: Some(second), event: 2 };
        let third = self.add(refused(2, principal, link));
        let link = OrderLink { id, previous: Some(third), event: 3 };
        [first, second, third, self.add(execution(principal, link, "canceled"))]
    }

    pub(crate) fn noise(&self, count: usize) {
        for _ in 0..count {
            self.add(draft(300, Payload::default().text("something else")));
        }
    }
}

/// A log with two orders of one principal and one of another.
pub(crate) struct Subject {
    pub(crate) folder: TempDir,
    pub(crate) key: VerifierKey,
    pub(crate) life: [u64; 4],
}

/// The order that is proven.
pub(crate) const ORDER: u64 = 1_001;
pub(crate) const BOB: &str = "acme/bob";

impl Subject {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let key = init_log(folder.path()).public_key;
        let writer = Writer::open(folder.path(), |_| {});
        writer.add(clock());
        writer.noise(300);
        writer.add(certificate(b"erin"));
        writer.add(connect(3, "acme/erin", b"erin"));
        writer.add(certificate(b"bob"));
        writer.add(connect(1, BOB, b"bob"));
        writer.add(connect(2, BOB, b"bob"));
        writer.add(clock());
        writer.life(7, BOB);
        let life = writer.life(ORDER, BOB);
        writer.noise(5);
        writer.add(clock());
        writer.add(clock());
        writer.log.stop().unwrap();
        Self { folder, key, life }
    }

    /// Has witnesses cosign the newest checkpoint; their keys.
    pub(crate) fn cosign(&self, names: &[&str]) -> Vec<sealfeed_audit::cosignature::WitnessKey> {
        let text = std::fs::read_to_string(self.folder.path().join("checkpoints")).unwrap();
        let start = text.trim_end().rfind("\n\nlog.example").unwrap() + 2;
        let note = text[start..].trim_end().to_owned() + "\n";
        std::fs::create_dir_all(self.folder.path().join("witnessed")).unwrap();
        let sign = |(place, name): (usize, &&str)| {
            let seed = [u8::try_from(place).unwrap() + 40; 32];
            let signer = WitnessSigner::new(SigningKey::from_seed(name, &seed).unwrap()).unwrap();
            let line = signer.cosign(Note::parse(&note).unwrap().text, 1_790_000_000).unwrap();
            let file = self.folder.path().join(format!("witnessed/{place}.checkpoint"));
            std::fs::write(file, format!("{note}{line}")).unwrap();
            signer.public().clone()
        };
        names.iter().enumerate().map(sign).collect()
    }
}
