//! No secret leaves the place it belongs to: nothing that a run writes, prints, answers or exports holds a key.
//!
//! Looked for: master secrets, order keys, private keys, secrets of receivers of alerts, and the keys of the log itself; as they stand in their files, as bytes, in
//! both cases of hexadecimal, in both alphabets of base64 at every offset, and as the list of numbers that a careless `Debug` prints.

use std::collections::HashMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;
use rustix::process::Signal;
use sealfeed_wire::{SignedOp, hex};
use serde_json::json;
use tempfile::TempDir;

use crate::harness::{Client, Identity, LIMIT, Pki, frame_text, wait_until};
use crate::orders::{assert_accepted, assert_error, resting};
use crate::outputs::{Place, exported, files, printed, stop, telemetry};
use crate::process::{ServerProcess, configure, connect};

/// So many bytes of any form of a secret give it away.
const TELLING: usize = 16;

/// Pieces of secrets in every form, and what they are of.
#[derive(Default)]
struct Needles(HashMap<[u8; TELLING], String>);

impl Needles {
    /// Takes in a secret, in every form.
    fn add(&mut self, name: &str, secret: &[u8]) {
        for (form, text) in forms(secret) {
            for piece in text.windows(TELLING) {
                // Runs of one character are of no secret: zeros at the head of a number, and the like.
                if let Some(piece) = piece.first_chunk::<TELLING>()
                    && piece.iter().any(|byte| *byte != piece[0])
                {
                    self.0.insert(*piece, format!("{name} as {form}"));
                }
            }
        }
    }

    /// What of it stands in `bytes`, if anything does.
    fn find(&self, bytes: &[u8]) -> Option<&str> {
        let mut begins = vec![false; 1 << 16];
        let pair = |bytes: &[u8]| usize::from(bytes[0]) << 8 | usize::from(bytes[1]);
        self.0.keys().for_each(|piece| begins[pair(piece)] = true);
        let mut windows = bytes.windows(TELLING).filter(|window| begins[pair(window)]);
        windows.find_map(|window| self.0.get(window)).map(String::as_str)
    }
}

/// A secret as it may be written.
fn forms(secret: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let lower = hex::encode(secret);
    let list: Vec<String> = secret.iter().map(u8::to_string).collect();
    let mut forms = vec![
        ("bytes", secret.to_vec()),
        ("upper-case hexadecimal", lower.to_uppercase().into_bytes()),
        ("hexadecimal", lower.into_bytes()),
        ("a list", list.join(", ").into_bytes()),
    ];
    // What stands in front of it shifts the digits: all three ways of that, without the digits that are not its alone.
    for offset in 0..3 {
        let digits = base64(&secret[offset..]);
        forms.push(("base64 for URLs", digits.replace('+', "-").replace('/', "_").into_bytes()));
        forms.push(("base64", digits.into_bytes()));
    }
    forms
}

/// Base64 (RFC 4648) of whole groups of three bytes; what is left over is left out.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digit = |group: u32, place: u32| char::from(DIGITS[(group >> (18 - 6 * place) & 63) as usize]);
    let groups = bytes.as_chunks::<3>().0.iter();
    let groups = groups.map(|[first, second, third]| u32::from_be_bytes([0, *first, *second, *third]));
    groups.flat_map(|group| (0..4).map(move |place| digit(group, place))).collect()
}

/// The bytes of base64 digits; line ends and padding are passed over.
fn unbase64(text: &str) -> Vec<u8> {
    let values: Vec<u32> = text
        .bytes()
        .filter_map(|byte| match byte {
            b'A'..=b'Z' => Some(u32::from(byte - b'A')),
            b'a'..=b'z' => Some(u32::from(byte - b'a') + 26),
            b'0'..=b'9' => Some(u32::from(byte - b'0') + 52),
            b'+' => Some(62),
            b'/' => Some(63),
            _ => None,
        })
        .collect();
    let mut bytes = Vec::new();
    for group in values.chunks(4) {
        let bits = group.iter().fold(0, |bits, value| bits << 6 | value) << (6 * (4 - group.len()));
        bytes.extend(&bits.to_be_bytes()[1..group.len()]);
    }
    bytes
}

/// The part of a private key that is secret: in a PKCS #8 file of P-256 the 32 bytes behind its header, of others all behind theirs.
fn private_part(pem: &str) -> Vec<u8> {
    let digits: String = pem.lines().filter(|line| !line.starts_with("-----")).collect();
    let der = unbase64(&digits);
    // ECPrivateKey (RFC 5915): version 1, then an octet string of 32 bytes.
    let scalar = der.windows(5).position(|window| window == [2, 1, 1, 4, 32]);
    match scalar {
        Some(at) => der[at + 5..at + 37].to_vec(),
        None => der[64.min(der.len() / 2)..].to_vec(),
    }
}

/// Every secret in the files of a PKI and of a log with its escrow.
fn needles(pki: &Path, log: &Path) -> Needles {
    let mut needles = Needles::default();
    let escrow = sealfeed::journal::escrow_directory(log);
    let mut kinds = [0; 4];
    for (name, content) in [files(pki), files(&log.join("keys")), files(&escrow)].concat() {
        let text = String::from_utf8_lossy(&content).into_owned();
        if text.contains("PRIVATE KEY") {
            let secret = private_part(&text);
            assert!(secret.len() >= 32, "{name} was not read");
            needles.add(&name, &secret);
            kinds[0] += 1;
        } else if let Ok(secret) = hex::decode::<32>(text.trim_end()) {
            // Masters, order keys, the first epoch key.
            needles.add(&name, &secret);
            kinds[1] += 1;
        } else if let Some(rest) = text.strip_prefix("PRIVATE+KEY+") {
            // A signed-note key: name, hash, and a byte for the algorithm in front of the seed.
            let digits = rest.trim_end().splitn(3, '+').last().unwrap_or_default();
            needles.add(&name, &unbase64(digits)[1..]);
            kinds[2] += 1;
        } else if name.ends_with("epoch.key") {
            let used: Vec<&[u8]> =
                content.chunks(4_096).filter(|slot| slot.iter().any(|byte| *byte != 0)).collect();
            // A slot says its kind, its number, the key, and a checksum; the key is what has no zeros around it.
            used.iter().for_each(|slot| needles.add(&name, &slot[16..48]));
            kinds[3] += used.len();
        }
    }
    assert!(kinds.iter().all(|count| *count > 0), "a kind of secret was not found: {kinds:?}");
    needles
}

/// What a session does that has to do with keys: good, forged, malformed and forbidden.
async fn trade(client: &mut Client) -> Vec<Place> {
    let mut answers = vec![client.welcome.clone()];
    let accepted = client.order(SignedOp::OrderNew, &resting("c-1")).await;
    assert_accepted(&accepted);
    answers.push(accepted);
    let mut forged = client.sign(SignedOp::OrderNew, &resting("c-2"));
    forged["mac"] = "0".repeat(64).into();
    let refused = client.send_signed(&forged).await;
    assert_error(&refused, "SF-ORD-001");
    answers.push(refused);
    let mut cut = client.sign(SignedOp::OrderNew, &resting("c-3"));
    cut["mac"] = "00".into();
    answers.push(client.send_signed(&cut).await);
    let body = r#"{"cl_ord_id":"c-4","symbol":"SEAL","side":"buy","type":"limit","price":"1.00","qty":"1","key":"x"}"#;
    answers.push(client.order(SignedOp::OrderNew, body).await);
    let signed = client.sign(SignedOp::AdminKill, r#"{"scope":"all","action":"engage","reason":"x"}"#);
    answers.push(client.ask(frame_text(90, &signed)).await);
    answers.push(client.request(json!({"op": "whoami"})).await);
    answers.push(client.ask("{\"op\":").await);
    answers.into_iter().map(|answer| ("an answer".to_owned(), answer.to_string().into_bytes())).collect()
}

/// Reloads until the log says that it was done, or refused.
async fn reload(server: &ServerProcess, folder: &Path, what: &str) {
    let said = || {
        let logs = files(&folder.join("logs")).concat_text();
        logs.matches(what).count()
    };
    let before = said();
    server.signal(Signal::HUP);
    assert!(wait_until(LIMIT, || said() > before).await, "nothing was said of the reload: {what}");
}

trait Text {
    fn concat_text(&self) -> String;
}

impl Text for Vec<Place> {
    fn concat_text(&self) -> String {
        self.iter().map(|(_, bytes)| String::from_utf8_lossy(bytes)).collect()
    }
}

#[test]
fn a_secret_is_found_in_every_form_wherever_it_stands() {
    let secret: Vec<u8> = (0..32).map(|place| place * 7 + 3).collect();
    let mut needles = Needles::default();
    needles.add("the secret", &secret);
    let around: Vec<u8> = (0..200).map(|place| b' ' + place % 90).collect();
    assert_eq!(needles.find(&around), None);
    for (form, text) in forms(&secret) {
        for at in [0, 1, 2, 100, around.len()] {
            let mut hay = around.clone();
            hay.splice(at..at, text.iter().copied());
            assert!(needles.find(&hay).is_some(), "{form} at {at}");
        }
    }
    // A part of it, shifted by what stands in front, as a dump of a structure would have it.
    for front in 0..6 {
        let dump = [&vec![0; front][..], &secret[..24], &[1, 2, 3]].concat();
        assert!(needles.find(base64(&dump).as_bytes()).is_some(), "{front} bytes in front");
        assert!(needles.find(format!("{dump:?}").as_bytes()).is_some());
        assert!(needles.find(hex::encode(&dump).as_bytes()).is_some());
    }
    assert_eq!(unbase64(&base64(&secret[..30])), &secret[..30]);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_key_stands_in_anything_that_a_run_writes_prints_answers_or_exports() {
    for format in ["text", "json"] {
        let folder = TempDir::new().unwrap();
        let pki = Pki::get().copy_to(folder.path());
        let (receiver, sent) = receiver();
        let shared: Vec<u8> = (0..33).map(|place| place * 7 + 5).collect();
        let secret = folder.path().join("webhook.secret");
        std::fs::write(&secret, format!("whsec_{}\n", base64(&shared))).unwrap();
        std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o600)).unwrap();
        let more = format!(
            "{}metrics_file = \"metrics.prom\"\nmetrics_interval_ms = 100\n[[alerts.webhook]]\nurl = \"http://{receiver}/alerts\"\n\
             secret_file = \"webhook.secret\"\n",
            telemetry(format)
        );
        let config = configure(folder.path(), &pki.folder, &more);
        let log = folder.path().join("log");
        let server = ServerProcess::start(&config).unwrap();
        let mut bob = connect(server.address, &pki.client("acme/bob")).await;
        let mut places = trade(&mut bob).await;
        refuse(&server, &pki).await;

        // New keys, then files that are none: what is said of them says nothing of what they hold.
        let master = pki.folder.join("master/current.hex");
        let first = std::fs::read_to_string(&master).unwrap();
        pki.run(&["rotate-master"]);
        reload(&server, folder.path(), "reloaded").await;
        let whole = std::fs::read_to_string(&master).unwrap();
        std::fs::write(&master, format!("{}\n", &whole[..40])).unwrap();
        reload(&server, folder.path(), "reload refused").await;
        std::fs::write(&master, &whole).unwrap();
        let key = pki.folder.join("servers/localhost/server.key");
        let pem = std::fs::read_to_string(&key).unwrap();
        std::fs::write(&key, pem.replace("-----END", "-----ENDE")).unwrap();
        reload(&server, folder.path(), "reload refused").await;
        std::fs::write(&key, pem).unwrap();
        bob.leave();
        // A refused reload is an alert.
        assert!(wait_until(LIMIT, || !sent.lock().is_empty()).await, "no alert was sent");
        places.push(("what the receiver of alerts was sent".to_owned(), sent.lock().clone()));
        places.push(("the figures".to_owned(), std::fs::read(folder.path().join("metrics.prom")).unwrap()));

        places.extend(stop(server, folder.path()));
        places.extend(files(&log.join("segments")));
        places.extend(printed(&log, "c-1"));
        places.extend(exported(&log, folder.path(), "c-1"));
        places.push(order_command(&pki));
        let mut needles = needles(&pki.folder, &log);
        needles.add("the receiver's secret", &shared);
        needles.add("the first master", &hex::decode::<32>(first.trim_end()).unwrap());
        for (place, bytes) in &places {
            assert_eq!(needles.find(bytes), None, "{place}");
        }
        // The same search finds one that is put there.
        for (place, bytes) in &mut places {
            bytes.splice(bytes.len() / 2..bytes.len() / 2, whole.trim_end().bytes());
            assert!(needles.find(bytes).is_some_and(|of| of.contains("current.hex")), "{place}");
        }
    }
}

/// A receiver of alerts: where it listens, and all that it is sent.
fn receiver() -> (std::net::SocketAddr, Arc<Mutex<Vec<u8>>>) {
    use std::io::{Read as _, Write as _};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let (address, sent) = (listener.local_addr().unwrap(), Arc::new(Mutex::default()));
    let all: Arc<Mutex<Vec<u8>>> = Arc::clone(&sent);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let (mut request, mut buffer) = (Vec::new(), [0; 4_096]);
            while !request.ends_with(b"}") {
                match stream.read(&mut buffer) {
                    Ok(count @ 1..) => request.extend(&buffer[..count]),
                    Ok(0) | Err(_) => break,
                }
            }
            all.lock().extend(&request);
            let _ = stream.write_all(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n");
        }
    });
    (address, sent)
}

/// Handshakes that are refused.
async fn refuse(server: &ServerProcess, pki: &Pki) {
    for who in [pki.client("acme/gone"), Pki::foreign().client("acme/alice"), Identity::none()] {
        let tcp = crate::harness::tcp_from(crate::harness::fresh_address(), server.address).await;
        let connector = tokio_rustls::TlsConnector::from(Arc::new(crate::harness::configuration(&who)));
        let name = rustls_pki_types::ServerName::try_from("localhost").unwrap();
        let Ok(mut tls) = connector.connect(name, tcp).await else { continue };
        // In TLS 1.3 the server's refusal comes with the first read.
        let mut byte = [0];
        assert!(tokio::io::AsyncReadExt::read_exact(&mut tls, &mut byte).await.is_err());
    }
}

/// What the command for orders says of a key that it was given and cannot use.
fn order_command(pki: &Pki) -> Place {
    let client = pki.folder.join("clients/acme/bob");
    let file = |name: &str| client.join(name).to_str().unwrap().to_owned();
    let (cert, key, authorities) = (file("client.pem"), file("client.key"), file("ca.pem"));
    // Nothing listens there; and the order key is another kind of file.
    let output = crate::process::run(&[
        "order",
        "new",
        "SEAL",
        "buy",
        "1",
        "1.00",
        "--url",
        "wss://127.0.0.1:1/v1/feed",
        "--cert",
        &cert,
        "--key",
        &key,
        "--cacert",
        &authorities,
        "--order-key",
        &key,
    ]);
    assert!(!output.status.success());
    ("the order command".to_owned(), [output.stdout, output.stderr].concat())
}
