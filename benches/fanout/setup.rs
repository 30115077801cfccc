//! What a server needs before it starts: certificates, configuration, a recording.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use dbn::encode::{DbnEncoder, EncodeRecord as _};
use dbn::{Action, MappingInterval, Metadata, RecordHeader, SType, Schema, SymbolMapping, TradeMsg, rtype};
use tempfile::TempDir;

/// The symbol of a recording.
pub(crate) const RECORDED_SYMBOL: &str = "SEAL";

/// The symbols of a recording of several; the first is [`RECORDED_SYMBOL`].
pub(crate) fn recorded_symbol(place: u32) -> String {
    if place == 0 { RECORDED_SYMBOL.to_owned() } else { format!("SEAL{place}") }
}

/// The symbols of the synthetic market.
pub(crate) const SYNTHETIC_SYMBOLS: [&str; 4] = ["ALFA", "BRAVO", "CHARLIE", "DELTA"];

/// The log fills its next segment with zeros on a thread that then ends: small, so that this is over at once.
const SEGMENT_BYTES: u64 = 8 * 1024 * 1024;

const NANOS_PER_SECOND: u64 = 1_000_000_000;
/// Start of the recording: 2023-12-25 00:00 UTC.
const RECORDED_START_NS: u64 = 1_703_462_400 * NANOS_PER_SECOND;

/// A folder with everything in it; removed in the end.
pub(crate) struct Ground {
    folder: TempDir,
    configurations: u32,
}

impl Ground {
    /// Makes the certificates with the bundled script.
    pub(crate) fn prepare() -> Self {
        let ground = Self { folder: TempDir::new().expect("a temporary folder"), configurations: 0 };
        pki(&ground.pki(), &["init", "--demo"]);
        pki(&ground.pki(), &["server", "localhost", "--san", "DNS:localhost,IP:127.0.0.1"]);
        pki(&ground.pki(), &["client", "acme/load", "--role", "viewer"]);
        let policy = "[[rule]]\nname = \"viewers\"\nmatch = { role = \"viewer\" }\n\
            channels = [\"trades\", \"bbo\", \"book\"]\nsymbols = [\"*\"]\n\
            [rule.limits]\nsessions_max = 100000\nsubscriptions_max = 100000\n";
        fs::write(ground.folder.path().join("entitlements.toml"), policy).expect("the policy");
        ground
    }

    /// Where the certificates are.
    pub(crate) fn pki(&self) -> PathBuf {
        self.folder.path().join("pki")
    }

    /// Writes the configuration of a server with this `[[source]]` and a log of its own. Everything else is as it
    /// is by default, the slow reader's bound included, but for the size of a segment of the log, for how many may
    /// connect from one address, for what all sessions of one principal may ask together, since all are one principal's, and
    /// for the patience with clients that say nothing, since thousands take a while to
    /// connect and the load answers no ping; and but for `limits`, lines of that table.
    pub(crate) fn configuration(&mut self, source: &str, limits: &str) -> PathBuf {
        self.configurations += 1;
        let number = self.configurations;
        let text = format!(
            "[server]\nlisten = \"127.0.0.1:0\"\n\
            [tls]\ncertificate = \"pki/servers/localhost/server.pem\"\nkey = \"pki/servers/localhost/server.key\"\n\
            client_authorities = \"pki/ca/clients.pem\"\nclient_revocation_lists = \"pki/crl/clients.pem\"\n\
            [identity]\nentitlements = \"entitlements.toml\"\nmaster_key = \"pki/master/current.hex\"\n\
            [log]\ndirectory = \"log{number}\"\nsegment_bytes = {SEGMENT_BYTES}\n\
            [limits]\nconnections_per_address_max = 100000\nconnects_per_address_per_second = 100000\n\
            first_request_timeout_ms = 600000\nidle_timeout_ms = 600000\nprincipal_messages_factor = 1024\n{limits}\n\
            [feed]\nheartbeat_ms = 60000\n\
            [telemetry]\nlevel = \"warn\"\n\
            [[source]]\n{source}\n"
        );
        let path = self.folder.path().join(format!("sealfeed{number}.toml"));
        fs::write(&path, text).expect("the configuration");
        path
    }

    /// Writes a recording of trades in so many symbols by turns: one every `gap_ns` by its own time stamps, and a last
    /// one a day later, which is never due: the source's thread must live when its CPU time is read.
    pub(crate) fn recording(&self, trades: u32, gap_ns: u64, symbols: u32) -> PathBuf {
        let path = self.folder.path().join(format!("trades{trades}every{gap_ns}of{symbols}.dbn"));
        let mut encoder = DbnEncoder::new(Vec::new(), &metadata(symbols)).expect("an encoder");
        for index in 0..trades {
            let moment_ns = RECORDED_START_NS + u64::from(index) * gap_ns;
            encoder.encode_record(&trade(index, symbols, moment_ns)).expect("a record");
        }
        let last_ns = RECORDED_START_NS + 24 * 3600 * NANOS_PER_SECOND;
        encoder.encode_record(&trade(trades, symbols, last_ns)).expect("a record");
        fs::write(&path, encoder.get_ref()).expect("the recording");
        path
    }
}

/// Runs the bundled script over the certificates in `folder`.
pub(crate) fn pki(folder: &Path, command: &[&str]) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("pki/pki.sh");
    let mut bash = Command::new("bash");
    bash.arg(script).arg("--dir").arg(folder).args(command).stdin(Stdio::null());
    let output = bash.output().expect("bash runs");
    assert!(output.status.success(), "pki.sh {command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

fn trade(index: u32, symbols: u32, moment_ns: u64) -> TradeMsg {
    TradeMsg {
        hd: RecordHeader::new::<TradeMsg>(rtype::MBP_0, 1, 1 + index % symbols, moment_ns),
        price: 4_800_000_000_000 + i64::from(index % 100) * 250_000_000,
        size: 1 + index % 9,
        action: u8::from(Action::Trade).cast_signed(),
        side: u8::from(if index.is_multiple_of(2) { dbn::Side::Bid } else { dbn::Side::Ask }).cast_signed(),
        ts_recv: moment_ns,
        ..TradeMsg::default()
    }
}

fn metadata(symbols: u32) -> Metadata {
    let day = time::macros::date!(2023 - 12 - 25);
    let mapping = |place: u32| {
        let interval = MappingInterval {
            start_date: day,
            end_date: time::macros::date!(2023 - 12 - 26),
            symbol: (1 + place).to_string(),
        };
        SymbolMapping { raw_symbol: recorded_symbol(place), intervals: vec![interval] }
    };
    Metadata::builder()
        .dataset("BENCH.TRADES")
        .schema(Some(Schema::Trades))
        .start(RECORDED_START_NS)
        .stype_in(Some(SType::RawSymbol))
        .stype_out(SType::InstrumentId)
        .mappings((0..symbols).map(mapping).collect())
        .build()
}
