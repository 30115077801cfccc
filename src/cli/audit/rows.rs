//! Entries as people ask for them: decoded, filtered, printed as a table, JSON lines or CSV.
//!
//! What is printed comes from readers that check each entry against the next one's link. Control characters never reach a terminal.

use std::io::{self, IsTerminal as _, Write};
use std::path::Path;

use anyhow::{Context as _, bail};
use clap::{Args, ValueEnum};
use sealfeed_audit::hex;
use sealfeed_audit::reader::{Entries, Entry, entries};
use serde::Serialize;
use serde_json::{Map, Value};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::plain;
use crate::clock::format_utc;
use crate::journal::{self, Event};
use crate::types::UnixNanos;

/// Which entries. Filters that are given must all hold.
#[derive(Clone, Debug, Default, Args)]
pub(super) struct Filter {
    /// Not before this time: RFC 3339, or nanoseconds since 1970.
    #[arg(long, value_parser = parse_time)]
    pub(super) from: Option<u64>,
    /// Before this time: RFC 3339, or nanoseconds since 1970.
    #[arg(long, value_parser = parse_time)]
    pub(super) until: Option<u64>,
    /// Of this principal (firm/user) or firm.
    #[arg(long)]
    pub(super) principal: Option<String>,
    /// Of this firm.
    #[arg(long)]
    pub(super) firm: Option<String>,
    /// Of this symbol.
    #[arg(long)]
    pub(super) symbol: Option<String>,
    /// Of this order: the server's number, or the client's name.
    #[arg(long)]
    pub(super) order: Option<String>,
    /// Of this session: the first digits of its name are enough.
    #[arg(long)]
    pub(super) session: Option<String>,
    /// Of this kind, such as `order` or `handshake_refused`; may be given several times.
    #[arg(long)]
    pub(super) kind: Vec<String>,
    /// With this error code, such as SF-ORD-003.
    #[arg(long)]
    pub(super) code: Option<String>,
}

/// How entries are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Output {
    /// A table on a terminal, JSON lines in a pipe.
    Auto,
    /// For people.
    Table,
    /// One JSON object a line.
    Json,
    /// For spreadsheets. A field that a spreadsheet would take for a formula begins with an apostrophe.
    Csv,
}

pub(in crate::cli) fn parse_time(text: &str) -> Result<u64, String> {
    if let Ok(ns) = text.parse() {
        return Ok(ns);
    }
    let moment = OffsetDateTime::parse(text, &Rfc3339)
        .map_err(|error| format!("neither RFC 3339 nor nanoseconds since 1970: {error}"))?;
    u64::try_from(moment.unix_timestamp_nanos()).map_err(|_| "before 1970".to_owned())
}

/// The entries of the log in `directory`, from its first.
pub(super) fn open(directory: &Path) -> anyhow::Result<Entries> {
    entries(directory).with_context(|| format!("cannot read the log in {directory:?}"))
}

/// What an entry that cannot be read means to whoever asked.
pub(super) const ENDS_HERE: &str = "the log ends here: run `sealfeed audit verify` on it";

/// One entry, decoded.
pub(super) struct Row {
    pub(super) entry: Entry,
    pub(super) kind: String,
    pub(super) fields: Map<String, Value>,
}

/// The instruments of the venue that is at work, by number: entries of the synthetic market name them so.
#[derive(Debug, Default)]
pub(super) struct Symbols(Vec<String>);

impl Symbols {
    /// Takes over what an entry says about instruments.
    pub(super) fn learn(&mut self, row: &Row) {
        let list = |field: &str| row.fields.get(field).and_then(Value::as_array);
        match row.kind.as_str() {
            "venue" => self.0.clear(),
            "instruments" => {
                let names = list("list").into_iter().flatten();
                self.0.extend(names.filter_map(|one| one["symbol"].as_str().map(str::to_owned)));
            }
            _ => {}
        }
    }

    fn name(&self, number: u64) -> Option<&str> {
        self.0.get(usize::try_from(number).ok()?).map(String::as_str)
    }
}

impl Filter {
    /// Refuses a kind that there is not.
    pub(super) fn check(&self) -> anyhow::Result<()> {
        let own = |name: &str| {
            (1..256)
                .filter_map(sealfeed_audit::kind::name)
                .any(|own| name.strip_prefix("log.").is_some_and(|name| own.eq_ignore_ascii_case(name)))
        };
        for kind in &self.kind {
            if !own(kind) && !Event::KINDS.iter().any(|(_, name)| name == kind) {
                let names: Vec<_> = Event::KINDS.iter().map(|(_, name)| *name).collect();
                bail!(
                    "there is no kind {kind:?}; there are {}, and log.* for the log's own",
                    names.join(", ")
                );
            }
        }
        Ok(())
    }

    /// Whether every filter that is given holds.
    pub(super) fn passes(&self, row: &Row, symbols: &Symbols) -> bool {
        let header = &row.entry.header;
        let time = header.stamp.utc_ns;
        let holds =
            |wanted: Option<&String>, test: &dyn Fn(&str) -> bool| wanted.is_none_or(|text| test(text));
        self.from.is_none_or(|from| time >= from)
            && self.until.is_none_or(|until| time < until)
            && (self.kind.is_empty() || self.kind.iter().any(|kind| kind.eq_ignore_ascii_case(&row.kind)))
            && holds(self.principal.as_ref(), &|wanted| row.is_of_principal(wanted))
            && holds(self.firm.as_ref(), &|wanted| row.firm() == Some(wanted))
            && holds(self.symbol.as_ref(), &|wanted| row.names_symbol(wanted, symbols))
            && holds(self.order.as_ref(), &|wanted| row.is_of_order(wanted))
            && holds(self.code.as_ref(), &|wanted| row.has_code(wanted))
            && holds(self.session.as_ref(), &|wanted| {
                header.session.is_some_and(|session| hex(&session.id).starts_with(wanted))
            })
    }
}

impl Row {
    pub(super) fn new(entry: Entry) -> Self {
        let header = &entry.header;
        let (kind, mut fields) = match journal::decode(header.kind, header.schema, &entry.payload) {
            Ok(Some(event)) => {
                let fields = match serde_json::to_value(&event) {
                    Ok(Value::Object(fields)) => fields,
                    _ => Map::new(),
                };
                (event.name().to_owned(), fields)
            }
            // The log's own entries, kinds of a newer version, and payloads that do not decode stay visible.
            _ => match sealfeed_audit::kind::name(header.kind) {
                Some(name) => (format!("log.{}", name.to_lowercase()), lines(&entry.payload)),
                None => {
                    let payload = Value::from(hex(&entry.payload));
                    (format!("log.{}", header.kind), Map::from_iter([("payload".to_owned(), payload)]))
                }
            },
        };
        fields.values_mut().for_each(bytes_as_hex);
        Self { entry, kind, fields }
    }

    pub(super) fn text(&self, field: &str) -> Option<&str> {
        self.fields.get(field).and_then(Value::as_str)
    }

    pub(super) fn number(&self, field: &str) -> Option<u64> {
        self.fields.get(field).and_then(Value::as_u64)
    }

    pub(super) fn time(&self) -> String {
        format_utc(UnixNanos(self.entry.header.stamp.utc_ns))
    }

    /// The symbol it is about, whether the entry says so or the signed body in it.
    pub(super) fn symbol(&self) -> Option<String> {
        self.text("symbol").map(str::to_owned).or_else(|| self.body_field("symbol"))
    }

    pub(super) fn firm(&self) -> Option<&str> {
        self.text("principal").map(|principal| principal.split('/').next().unwrap_or(principal))
    }

    pub(super) fn is_of_principal(&self, wanted: &str) -> bool {
        self.text("principal") == Some(wanted) || self.firm() == Some(wanted)
    }

    /// Names of instruments that the entry gives itself, in whatever field.
    pub(super) fn symbols(&self) -> impl Iterator<Item = String> {
        let list = |field: &str| self.fields.get(field).and_then(Value::as_array).into_iter().flatten();
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let lists = ["granted", "symbols", "refused"].into_iter().flat_map(list);
        let listed = lists.filter_map(move |symbol| text(symbol).or_else(|| text(&symbol[0])));
        let instruments = list("list").filter_map(move |instrument| text(&instrument["symbol"]));
        let own = self.text("symbol").map(str::to_owned);
        own.into_iter().chain(listed).chain(instruments).chain(self.body_field("symbol"))
    }

    /// Codes that the entry carries.
    pub(super) fn codes(&self) -> impl Iterator<Item = &str> {
        let refused = self.fields.get("refused").and_then(Value::as_array).into_iter().flatten();
        self.text("code").into_iter().chain(refused.filter_map(|pair| pair[1].as_str()))
    }

    /// Client's names of orders that the entry is about.
    pub(super) fn order_names(&self) -> impl Iterator<Item = String> {
        let own = self.text("cl_ord_id").map(str::to_owned);
        let signed = ["cl_ord_id", "orig_cl_ord_id"].into_iter().filter_map(|field| self.body_field(field));
        own.into_iter().chain(signed)
    }

    fn has_code(&self, wanted: &str) -> bool {
        self.codes().any(|code| code == wanted)
    }

    fn names_symbol(&self, wanted: &str, symbols: &Symbols) -> bool {
        let list = |field: &str| self.fields.get(field).and_then(Value::as_array).into_iter().flatten();
        self.symbols().any(|symbol| symbol == wanted)
            || list("inputs").any(|input| {
                let number = input["New"]["instrument"].as_u64();
                number.and_then(|number| symbols.name(number)) == Some(wanted)
            })
    }

    pub(super) fn is_of_order(&self, wanted: &str) -> bool {
        self.entry.header.order.is_some_and(|order| order.id.to_string() == wanted)
            || self.order_names().any(|name| name == wanted)
    }

    /// A field of the signed body that the entry holds.
    pub(super) fn body_field(&self, field: &str) -> Option<String> {
        let body: Value = serde_json::from_str(self.text("body")?).ok()?;
        body.get(field)?.as_str().map(str::to_owned)
    }

    /// Everything that is not in a column of its own, for people.
    pub(super) fn details(&self) -> String {
        let shown = |name: &str| !matches!(name, "principal" | "nonce" | "mac");
        let mut details = String::new();
        for (name, value) in self.fields.iter().filter(|(name, _)| shown(name)) {
            let text = match value.as_str() {
                // A part of a state is nothing that people read.
                Some(hex) if name == "bytes" && self.kind == "snapshot" => {
                    format!("({} bytes)", hex.len() / 2)
                }
                Some(text) => text.escape_debug().to_string(),
                None => value.to_string(),
            };
            let text: String = text.chars().take(160).collect();
            details.push_str(&format!("{name}={text} "));
        }
        details.trim_end().to_owned()
    }
}

/// The lines of one of the log's own payloads as fields; a name that comes several times is a list.
fn lines(payload: &[u8]) -> Map<String, Value> {
    let mut fields = Map::new();
    let text = String::from_utf8_lossy(payload);
    for (name, value) in text.lines().skip(1).filter_map(|line| line.split_once(' ')) {
        let value = Value::from(value);
        match fields.get_mut(name) {
            None => {
                fields.insert(name.to_owned(), value);
            }
            Some(Value::Array(list)) => list.push(value),
            Some(one) => *one = Value::Array(vec![one.take(), value]),
        }
    }
    fields
}

/// Nonces and MACs are arrays of bytes in the log; people compare them as hex.
fn bytes_as_hex(value: &mut Value) {
    let Value::Array(items) = value else { return };
    if !matches!(items.len(), 16 | 32) {
        return;
    }
    let bytes: Option<Vec<u8>> =
        items.iter().map(|item| item.as_u64().and_then(|number| u8::try_from(number).ok())).collect();
    if let Some(bytes) = bytes {
        *value = sealfeed_wire::hex::encode(&bytes).into();
    }
}

/// One entry as a JSON line; what an entry does not have is left out.
#[derive(Serialize)]
struct Line<'a> {
    seq: u64,
    time: String,
    kind: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    session: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    session_event: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    order: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    order_event: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    order_previous: Option<u64>,
    event: &'a Map<String, Value>,
    hash: String,
}

/// Prints rows to standard output.
pub(super) struct Printer {
    output: Output,
    out: io::BufWriter<io::StdoutLock<'static>>,
    begun: bool,
}

/// Whether whoever reads wants more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reader {
    /// Go on.
    Listening,
    /// It has seen enough: `| head`.
    Gone,
}

impl Printer {
    pub(super) fn new(output: Output) -> Self {
        let output = match output {
            Output::Auto if io::stdout().is_terminal() => Output::Table,
            Output::Auto => Output::Json,
            output => output,
        };
        Self { output, out: io::BufWriter::new(io::stdout().lock()), begun: false }
    }

    /// Prints one row.
    pub(super) fn print(&mut self, row: &Row) -> io::Result<Reader> {
        let written = match self.output {
            Output::Table => write_table(row, &mut self.out),
            Output::Csv => write_csv(row, !self.begun, &mut self.out),
            Output::Json | Output::Auto => write_json(row, &mut self.out),
        };
        self.begun = true;
        listening(written)
    }

    /// Makes sure that everything printed so far is seen.
    pub(super) fn flush(&mut self) -> io::Result<Reader> {
        listening(self.out.flush())
    }
}

fn listening(written: io::Result<()>) -> io::Result<Reader> {
    match written {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Reader::Gone),
        written => written.map(|()| Reader::Listening),
    }
}

fn write_json(row: &Row, out: &mut impl Write) -> io::Result<()> {
    let header = &row.entry.header;
    let line = Line {
        seq: header.seq,
        time: row.time(),
        kind: &row.kind,
        session: header.session.map(|session| hex(&session.id)),
        session_event: header.session.map(|session| session.event),
        order: header.order.map(|order| order.id.to_string()),
        order_event: header.order.map(|order| order.event),
        order_previous: header.order.and_then(|order| order.previous),
        event: &row.fields,
        hash: hex(&row.entry.hash),
    };
    writeln!(out, "{}", plain(&serde_json::to_string(&line)?))
}

fn write_table(row: &Row, out: &mut impl Write) -> io::Result<()> {
    let header = &row.entry.header;
    let session = header.session.map_or_else(|| "-".to_owned(), |session| hex(&session.id)[..8].to_owned());
    let principal = row.text("principal").unwrap_or("-").escape_debug().to_string();
    let (time, details) = (row.time(), row.details());
    let details = plain(&details);
    writeln!(out, "{:>9}  {time}  {session:8}  {principal:20}  {:18}  {details}", header.seq, row.kind)
}

const CSV_COLUMNS: [&str; 11] = [
    "seq",
    "time",
    "kind",
    "session",
    "order",
    "order_event",
    "principal",
    "symbol",
    "code",
    "event",
    "hash",
];

fn write_csv(row: &Row, first: bool, out: &mut impl Write) -> io::Result<()> {
    let header = &row.entry.header;
    let order =
        |text: &dyn Fn(sealfeed_audit::OrderLink) -> String| header.order.map(text).unwrap_or_default();
    let record = [
        header.seq.to_string(),
        row.time(),
        row.kind.clone(),
        header.session.map(|session| hex(&session.id)).unwrap_or_default(),
        order(&|order| order.id.to_string()),
        order(&|order| order.event.to_string()),
        row.text("principal").unwrap_or_default().to_owned(),
        row.symbol().unwrap_or_default(),
        row.text("code").unwrap_or_default().to_owned(),
        serde_json::to_string(&row.fields)?,
        hex(&row.entry.hash),
    ];
    let mut writer = csv::Writer::from_writer(out);
    if first {
        writer.write_record(CSV_COLUMNS)?;
    }
    writer.write_record(record.iter().map(|field| harmless(field)))?;
    writer.flush()
}

/// A field as no spreadsheet takes it for a formula, and no terminal for a command.
pub(super) fn harmless(field: &str) -> String {
    let formula = field.starts_with(['=', '+', '-', '@', '\t', '\r']);
    let field = plain(field);
    if formula { format!("'{field}") } else { field.into_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_payloads_are_fields_and_repeated_names_are_lists() {
        let fields = lines(b"sealfeed/v1 prune\nfirst 7\nnode aa\nnode bb\nnode cc\n");
        assert_eq!(fields["first"], "7");
        assert_eq!(fields["node"], serde_json::json!(["aa", "bb", "cc"]));
    }

    #[test]
    fn spreadsheets_see_no_formula_and_terminals_no_command() {
        for field in ["=1+1", "+1", "-1", "@x"] {
            assert_eq!(harmless(field), format!("'{field}"));
        }
        for (field, shown) in
            [("\tx", "'\\u0009x"), ("\rx", "'\\u000dx"), ("a\u{9b}2J\n", "a\\u009b2J\\u000a")]
        {
            assert_eq!(harmless(field), shown);
        }
        assert_eq!(harmless("acme/bob"), "acme/bob");
    }

    #[test]
    fn times_are_rfc_3339_or_nanoseconds() {
        assert_eq!(parse_time("1970-01-01T00:00:01Z"), Ok(1_000_000_000));
        assert_eq!(parse_time("17"), Ok(17));
        assert!(parse_time("yesterday").is_err() && parse_time("1969-12-31T23:59:59Z").is_err());
    }
}
