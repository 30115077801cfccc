//! `sealfeed audit replay DIR`: the events of a log, filtered, as a table or as JSON lines.
//!
//! It prints what stands in the log and verifies nothing: `audit verify` does.

use std::io::{IsTerminal as _, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::{Args, ValueEnum};
use sealfeed_audit::hex;
use sealfeed_audit::reader::{Entry, entries};
use serde::Serialize;
use serde_json::{Map, Value};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::clock::format_utc;
use crate::journal::{self, Event};
use crate::types::UnixNanos;

/// Arguments of `audit replay`. Filters that are given must all hold.
#[derive(Debug, Args)]
pub(super) struct ReplayArgs {
    /// The log's directory.
    directory: PathBuf,
    /// Not before this time: RFC 3339, or nanoseconds since 1970.
    #[arg(long, value_parser = parse_time)]
    from: Option<u64>,
    /// Before this time: RFC 3339, or nanoseconds since 1970.
    #[arg(long, value_parser = parse_time)]
    until: Option<u64>,
    /// Of this principal (firm/user) or firm.
    #[arg(long)]
    principal: Option<String>,
    /// Of this symbol.
    #[arg(long)]
    symbol: Option<String>,
    /// Of this order: the server's number, or the client's name.
    #[arg(long)]
    order: Option<String>,
    /// Of this session: the first digits of its name are enough.
    #[arg(long)]
    session: Option<String>,
    /// Of this kind, such as `order` or `handshake_refused`; may be given several times.
    #[arg(long)]
    kind: Vec<String>,
    /// With this error code, such as SF-ORD-003.
    #[arg(long)]
    code: Option<String>,
    /// How to print; a table on a terminal, JSON lines in a pipe.
    #[arg(long, value_enum, default_value = "auto")]
    output: Output,
    /// Execute the venue's inputs again and compare every output: VERIFIED (0), DIVERGED (27) or REFUSED (28).
    #[arg(long, conflicts_with_all = ["from", "until", "principal", "symbol", "order", "session", "kind", "code"])]
    execute: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Output {
    Auto,
    Table,
    Json,
}

fn parse_time(text: &str) -> Result<u64, String> {
    if let Ok(ns) = text.parse() {
        return Ok(ns);
    }
    let moment = OffsetDateTime::parse(text, &Rfc3339)
        .map_err(|error| format!("neither RFC 3339 nor nanoseconds since 1970: {error}"))?;
    u64::try_from(moment.unix_timestamp_nanos()).map_err(|_| "before 1970".to_owned())
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

/// One entry, as it is filtered and printed.
struct Row {
    entry: Entry,
    kind: String,
    fields: Map<String, Value>,
}

pub(super) fn run(arguments: &ReplayArgs) -> anyhow::Result<ExitCode> {
    if arguments.execute {
        return super::execute::run(&arguments.directory, arguments.output == Output::Json);
    }
    check_kinds(&arguments.kind)?;
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    let as_table = match arguments.output {
        Output::Auto => std::io::stdout().is_terminal(),
        Output::Table => true,
        Output::Json => false,
    };
    let log = entries(&arguments.directory)
        .with_context(|| format!("cannot read the log in {:?}", arguments.directory))?;
    for entry in log {
        let row = Row::new(entry.context("the log ends here: run `sealfeed audit verify` on it")?);
        if !row.passes(arguments) {
            continue;
        }
        let written = if as_table { row.write_table(&mut out) } else { row.write_json(&mut out) };
        match written {
            // Whoever reads has seen enough: `| head`.
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => return Ok(ExitCode::SUCCESS),
            written => written?,
        }
    }
    match out.flush() {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(ExitCode::SUCCESS),
    }
}

fn check_kinds(kinds: &[String]) -> anyhow::Result<()> {
    let own = |name: &str| {
        (1..256)
            .filter_map(sealfeed_audit::kind::name)
            .any(|own| name.strip_prefix("log.").is_some_and(|name| own.eq_ignore_ascii_case(name)))
    };
    for kind in kinds {
        if !own(kind) && !Event::KINDS.iter().any(|(_, name)| name == kind) {
            let names: Vec<_> = Event::KINDS.iter().map(|(_, name)| *name).collect();
            bail!("there is no kind {kind:?}; there are {}", names.join(", "));
        }
    }
    Ok(())
}

impl Row {
    fn new(entry: Entry) -> Self {
        let header = &entry.header;
        let (kind, value) = match journal::decode(header.kind, header.schema, &entry.payload) {
            Ok(Some(event)) => (event.name().to_owned(), serde_json::to_value(&event).unwrap_or_default()),
            // The log's own entries, kinds of a newer version, and payloads that do not decode stay visible.
            _ => {
                let name = sealfeed_audit::kind::name(header.kind);
                (
                    name.map_or_else(
                        || format!("log.{}", header.kind),
                        |name| format!("log.{}", name.to_lowercase()),
                    ),
                    Value::Null,
                )
            }
        };
        let mut fields = match value {
            Value::Object(fields) => fields,
            _ => Map::new(),
        };
        fields.values_mut().for_each(bytes_as_hex);
        Self { entry, kind, fields }
    }

    fn text(&self, field: &str) -> Option<&str> {
        self.fields.get(field).and_then(Value::as_str)
    }

    fn passes(&self, arguments: &ReplayArgs) -> bool {
        let header = &self.entry.header;
        let time = header.stamp.utc_ns;
        let holds =
            |wanted: Option<&String>, test: &dyn Fn(&str) -> bool| wanted.is_none_or(|text| test(text));
        arguments.from.is_none_or(|from| time >= from)
            && arguments.until.is_none_or(|until| time < until)
            && (arguments.kind.is_empty()
                || arguments.kind.iter().any(|kind| kind.eq_ignore_ascii_case(&self.kind)))
            && holds(arguments.principal.as_ref(), &|wanted| self.is_of_principal(wanted))
            && holds(arguments.symbol.as_ref(), &|wanted| self.names_symbol(wanted))
            && holds(arguments.order.as_ref(), &|wanted| self.is_of_order(wanted))
            && holds(arguments.code.as_ref(), &|wanted| self.text("code") == Some(wanted))
            && holds(arguments.session.as_ref(), &|wanted| {
                header.session.is_some_and(|session| hex(&session.id).starts_with(wanted))
            })
    }

    fn is_of_principal(&self, wanted: &str) -> bool {
        self.text("principal").is_some_and(|principal| {
            principal == wanted || principal.split_once('/').is_some_and(|(firm, _)| firm == wanted)
        })
    }

    fn names_symbol(&self, wanted: &str) -> bool {
        let in_list = |field: &str| {
            let list = self.fields.get(field).and_then(Value::as_array);
            list.is_some_and(|symbols| symbols.iter().any(|symbol| symbol == wanted || symbol[0] == wanted))
        };
        self.text("symbol") == Some(wanted)
            || ["granted", "symbols", "refused"].into_iter().any(in_list)
            || self.body_field("symbol").as_deref() == Some(wanted)
    }

    fn is_of_order(&self, wanted: &str) -> bool {
        self.entry.header.order.is_some_and(|order| order.id.to_string() == wanted)
            || self.text("cl_ord_id") == Some(wanted)
            || ["cl_ord_id", "orig_cl_ord_id"]
                .into_iter()
                .any(|field| self.body_field(field).as_deref() == Some(wanted))
    }

    /// A field of the signed body that the entry holds.
    fn body_field(&self, field: &str) -> Option<String> {
        let body: Value = serde_json::from_str(self.text("body")?).ok()?;
        body.get(field)?.as_str().map(str::to_owned)
    }

    fn write_json(&self, out: &mut impl Write) -> std::io::Result<()> {
        let header = &self.entry.header;
        let line = Line {
            seq: header.seq,
            time: format_utc(UnixNanos(header.stamp.utc_ns)),
            kind: &self.kind,
            session: header.session.map(|session| hex(&session.id)),
            session_event: header.session.map(|session| session.event),
            order: header.order.map(|order| order.id.to_string()),
            order_event: header.order.map(|order| order.event),
            order_previous: header.order.and_then(|order| order.previous),
            event: &self.fields,
            hash: hex(&self.entry.hash),
        };
        serde_json::to_writer(&mut *out, &line)?;
        out.write_all(b"\n")
    }

    fn write_table(&self, out: &mut impl Write) -> std::io::Result<()> {
        let header = &self.entry.header;
        let session =
            header.session.map_or_else(|| "-".to_owned(), |session| hex(&session.id)[..8].to_owned());
        let principal = self.text("principal").unwrap_or("-");
        let rest =
            self.fields.iter().filter(|(name, _)| !matches!(name.as_str(), "principal" | "nonce" | "mac"));
        let mut details = String::new();
        for (name, value) in rest {
            let text =
                value.as_str().map_or_else(|| value.to_string(), |text| text.escape_debug().to_string());
            let shown: String = text.chars().take(160).collect();
            details.push_str(&format!("{name}={shown} "));
        }
        let time = format_utc(UnixNanos(header.stamp.utc_ns));
        writeln!(
            out,
            "{:>9}  {time}  {session:8}  {principal:20}  {:18}  {}",
            header.seq,
            self.kind,
            details.trim_end()
        )
    }
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
